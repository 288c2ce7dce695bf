//! Decisions about others, as OpenID AuthZEN asks for them: evaluations and searches in the caller's organization.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{AuthenticationService, Resource, ResourceQuery};
use crate::{
    clock::Timestamp,
    error::{Code, Error, Result},
    id::{MemberId, UserId},
    permission::{Access, Decision, Permission, Question, Rights, Snapshot, Subject},
    principal::Principal,
    store::{MemberKind, MemberPage, MemberRecord, UserRecord, UserStatus},
    tenant::Tenant,
};

/// The only type of subject: an account.
const USER: &str = "user";
/// How many pages one search looks through before it answers with what it found so far.
const ROUNDS: usize = 10;

/// A subject or a resource.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    pub(crate) kind: String,
    /// Empty where a search asks for it.
    pub(crate) id: String,
    pub(crate) properties: Map<String, Value>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    /// Empty where a search asks for it.
    pub(crate) name: String,
    pub(crate) properties: Map<String, Value>,
}

/// A question about somebody else.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation {
    pub(crate) subject: Entity,
    pub(crate) action: Action,
    pub(crate) resource: Entity,
    pub(crate) context: Map<String, Value>,
}

/// Which page of a search.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) token: Option<String>,
    pub(crate) limit: u32,
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Ids, or names of actions.
    pub(crate) names: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

/// Answers for one caller, in its organization and at its store.
#[derive(Debug)]
pub(crate) struct Evaluator<'a> {
    auth: &'a AuthenticationService,
    tenant: Tenant,
    now: Timestamp,
    /// The subjects of this request so far: a batch often asks about one.
    subjects: HashMap<String, Option<(UserRecord, Access)>>,
}

impl AuthenticationService {
    /// Goes on only for a caller who holds `permission` in its organization.
    pub(crate) fn evaluator(&self, principal: &Principal, permission: &Permission) -> Result<Evaluator<'_>> {
        principal.check(permission.clone()).require()?;
        // Whoever has a permission has it in a tenant.
        let tenant = principal.tenant().ok_or_else(|| Error::new(Code::PermissionDenied, "a permission is missing"))?;
        Ok(Evaluator { auth: self, tenant, now: self.now(), subjects: HashMap::new() })
    }

    /// Whether there is a directory to search resources in.
    pub(crate) fn lists_resources(&self) -> bool {
        self.0.directory.is_some()
    }
}

impl Evaluator<'_> {
    /// Decides. Who is not an active member of the organization may do nothing in it.
    pub(crate) async fn evaluate(&mut self, evaluation: &Evaluation) -> Result<Decision> {
        let subject = &evaluation.subject;
        if subject.kind != USER {
            return Ok(Decision::Denied);
        }
        if !self.subjects.contains_key(&subject.id) {
            let found = self.member(&subject.id).await?;
            self.subjects.insert(subject.id.clone(), found);
        }
        let Some(Some((user, access))) = self.subjects.get(&subject.id) else { return Ok(Decision::Denied) };
        let asked = Asked::new(evaluation, user.id, &user.email);
        Ok(asked.map_or(Decision::Denied, |asked| {
            asked.put(self.tenant, |question, subject| access.advise(question, subject, self.now))
        }))
    }

    /// The active users of the organization who may.
    pub(crate) async fn search_subjects(&self, evaluation: &Evaluation, page: &Page) -> Result<Found> {
        let mut found = Found { names: Vec::new(), next: page.token.clone() };
        let organization = self.tenant.organization;
        // The members are read from the store: the roles must be at least as new.
        self.auth.arrive_at_present(organization).await?;
        let snapshot = self.auth.permissions().snapshot(organization).await?;
        let Some(snapshot) = snapshot.filter(|_| evaluation.subject.kind == USER) else {
            return Ok(Found { names: Vec::new(), next: None });
        };
        for _ in 0..ROUNDS {
            let limit = remaining(page, &found);
            let after = found.next.as_deref().map(read_cursor).transpose()?;
            let wanted = MemberPage { kind: MemberKind::User, after, limit };
            let members = self.auth.store().members(self.tenant.organization, wanted).await?;
            let is_last = members.len() < usize::try_from(limit).unwrap_or(usize::MAX);
            found.next = members.last().filter(|_| !is_last).map(cursor);
            for member in &members {
                found.names.extend(self.name_if_it_may(&snapshot, evaluation, member).await?);
            }
            if is_last || remaining(page, &found) == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// The application's id for the user where it has one, else ours: either is taken as a subject.
    async fn name_if_it_may(
        &self,
        snapshot: &Snapshot,
        evaluation: &Evaluation,
        member: &MemberRecord,
    ) -> Result<Option<String>> {
        let Some(user) = &member.user else { return Ok(None) };
        let rights = snapshot.rights(&member.roles);
        if !self.would_allow(snapshot, &rights, evaluation, (user.id, &user.email)) {
            return Ok(None);
        }
        let active = self.active(user.id).await?;
        Ok(active.map(|user| user.external_id.unwrap_or_else(|| user.id.to_string())))
    }

    /// The resources of the type, as far as the application lists them, to which the subject may do it. Without a
    /// directory there are none.
    pub(crate) async fn search_resources(&self, evaluation: &Evaluation, page: &Page) -> Result<Found> {
        let mut found = Found { names: Vec::new(), next: page.token.clone() };
        let Some(directory) = &self.auth.0.directory else { return Ok(Found { next: None, ..found }) };
        let Some((user, access)) = self.holder(&evaluation.subject).await? else {
            return Ok(Found { next: None, ..found });
        };
        let mut asked = evaluation.clone();
        for _ in 0..ROUNDS {
            let query = ResourceQuery {
                organization: self.tenant.organization,
                store: self.tenant.store,
                kind: &evaluation.resource.kind,
                after: found.next.as_deref(),
                limit: remaining(page, &found),
            };
            let listed = directory.resources(query).await?;
            for Resource { id, properties } in listed.resources {
                asked.resource = Entity { kind: evaluation.resource.kind.clone(), id, properties };
                if self.would_allow(access.snapshot(), access.rights(), &asked, (user.id, &user.email)) {
                    found.names.push(asked.resource.id.clone());
                }
            }
            found.next = listed.next;
            if found.next.is_none() || remaining(page, &found) == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// What the subject may do to the resource, among the actions that the organization's roles name.
    pub(crate) async fn search_actions(&self, evaluation: &Evaluation) -> Result<Found> {
        let mut names = Vec::new();
        if let Some((user, access)) = self.holder(&evaluation.subject).await? {
            let mut asked = evaluation.clone();
            for name in access.snapshot().actions(&evaluation.resource.kind) {
                asked.action.name = name.to_owned();
                if self.would_allow(access.snapshot(), access.rights(), &asked, (user.id, &user.email)) {
                    names.push(name.to_owned());
                }
            }
        }
        Ok(Found { names, next: None })
    }

    /// Decides without counting: a search is many questions that nobody asked.
    fn would_allow(
        &self,
        snapshot: &Snapshot,
        rights: &Rights,
        evaluation: &Evaluation,
        (user, email): (UserId, &str),
    ) -> bool {
        Asked::new(evaluation, user, email).is_some_and(|asked| {
            let decide =
                |question: &Question<'_>, subject: &Subject<'_>| snapshot.decide(rights, question, subject, self.now);
            asked.put(self.tenant, decide).is_allowed()
        })
    }

    async fn member(&self, name: &str) -> Result<Option<(UserRecord, Access)>> {
        let Some(user) = self.user(name).await? else { return Ok(None) };
        let access = self.auth.permissions().access(self.tenant.organization, user.id.into()).await?;
        Ok(access.map(|access| (user, access)))
    }

    async fn holder(&self, subject: &Entity) -> Result<Option<(UserRecord, Access)>> {
        if subject.kind != USER {
            return Ok(None);
        }
        let Some(user) = self.user(&subject.id).await? else { return Ok(None) };
        let access = self.auth.permissions().access(self.tenant.organization, user.id.into()).await?;
        Ok(access.map(|access| (user, access)))
    }

    /// An active user by id or by the application's id for it.
    async fn user(&self, name: &str) -> Result<Option<UserRecord>> {
        // PostgreSQL's text holds none, and refuses to look for one: that would be an outage instead of nobody.
        if name.contains('\0') {
            return Ok(None);
        }
        let by_id = match name.parse() {
            Ok(id) => self.auth.store().user(id).await?,
            Err(_) => None,
        };
        let user = match by_id {
            Some(user) => Some(user),
            None => self.auth.store().user_by_external_id(name).await?,
        };
        Ok(user.filter(|user| user.status == UserStatus::Active))
    }

    async fn active(&self, id: UserId) -> Result<Option<UserRecord>> {
        Ok(self.auth.store().user(id).await?.filter(|user| user.status == UserStatus::Active))
    }
}

/// An evaluation in the form of a question.
struct Asked<'a> {
    permission: Permission,
    resource: Map<String, Value>,
    evaluation: &'a Evaluation,
    id: String,
    email: &'a str,
}

impl<'a> Asked<'a> {
    /// `None` where type and action make no permission, so that no grant can speak of it.
    fn new(evaluation: &'a Evaluation, user: UserId, email: &'a str) -> Option<Self> {
        let Entity { kind, id, properties } = &evaluation.resource;
        let permission = format!("{kind}:{}", evaluation.action.name).parse().ok()?;
        let mut resource = properties.clone();
        resource.insert("id".to_owned(), id.as_str().into());
        resource.insert("type".to_owned(), kind.as_str().into());
        Some(Self { permission, resource, evaluation, id: user.to_string(), email })
    }

    fn put(&self, tenant: Tenant, decide: impl FnOnce(&Question<'_>, &Subject<'_>) -> Decision) -> Decision {
        let question = Question {
            permission: &self.permission,
            store: tenant.store,
            resource: Some(&self.resource),
            action: Some(&self.evaluation.action.properties),
            context: Some(&self.evaluation.context),
        };
        // No session: it is not the subject who asks.
        let subject = Subject {
            id: &self.id,
            email: Some(self.email),
            properties: Some(&self.evaluation.subject.properties),
            method: None,
            session: None,
            ip: None,
        };
        decide(&question, &subject)
    }
}

fn remaining(page: &Page, found: &Found) -> u32 {
    page.limit.saturating_sub(u32::try_from(found.names.len()).unwrap_or(u32::MAX))
}

fn cursor(member: &MemberRecord) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", member.joined_at.as_micros(), member.id))
}

fn read_cursor(token: &str) -> Result<(Timestamp, MemberId)> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (joined, id) = text.split_once('.')?;
        Some((Timestamp::from_micros(joined.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Error::new(Code::MalformedRequest, "page.token: none of ours"))
}
