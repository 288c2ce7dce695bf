//! Members and service accounts: adding them, assigning roles, removing them.

use std::collections::BTreeSet;

use super::{About, AuthenticationService, Basis, Standing, Tries, Written};
use crate::{
    audit::{Origin, Outcome},
    error::{Code, Error, FieldError, Result},
    id::{MemberId, StoreId, UserId},
    organization::{self, RoleAssignment},
    permission::{Decision, Model, Permission, is_owner, judge_assignment},
    store::{Assignment, Joined, MemberKind, MemberPage, MemberRecord, NewMember},
    user::email::Email,
};

const CREATE: Permission = crate::permission!("members:create");
const UPDATE: Permission = crate::permission!("members:update");
const DELETE: Permission = crate::permission!("members:delete");

/// A role to assign as a request names it.
#[derive(Debug, Clone)]
pub(crate) struct WantedRole {
    /// The role's name.
    pub(crate) role: String,
    /// The store to hold it at, by slug or id; at the organization if none.
    pub(crate) store: Option<String>,
}

/// Who is to become a member.
#[derive(Debug, Clone)]
pub(crate) enum Candidate {
    /// The user with this e-mail.
    Email(Email),
    /// The user with this id.
    User(UserId),
    /// A new service account of this name.
    ServiceAccount(String),
}

impl AuthenticationService {
    /// Adds a member, with roles.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::PrivilegeEscalation`], [`Code::ValidationFailed`]
    /// on `roles` or on a service account's `name`, [`Code::UserNotFound`], [`Code::TooManyAttempts`] for who tries
    /// many unknown users, [`Code::AlreadyAMember`], or an outage.
    pub(crate) async fn add_member(
        &self,
        standing: &Standing,
        candidate: &Candidate,
        wanted: &[WantedRole],
        origin: &Origin,
    ) -> Result<Written<(MemberRecord, Vec<RoleAssignment>)>> {
        let action = match candidate {
            Candidate::ServiceAccount(_) => "service_account.created",
            Candidate::Email(_) | Candidate::User(_) => "member.added",
        };
        let mut found = None;
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let roles = resolve(&basis.model, wanted)?;
            require_everywhere(&basis.standing, &CREATE, places(&roles))?;
            let new = match &found {
                Some(new) => new,
                None => found.insert(self.newcomer(standing, candidate, origin).await?),
            };
            let new = NewMember { roles, ..new.clone() };
            // Judged as one who joins, a member would be judged by roles that it does not hold.
            if self.0.store.member(basis.at.organization, new.id).await?.is_some() {
                return Err(already_a_member());
            }
            let act = standing.act(action, origin).on(new.id);
            let gained = (new.id, !new.roles.is_empty(), is_owner(&basis.model, &new.roles));
            let judged = judge_assignment(&basis.model, basis.author(), new.id, &[], &new.roles, &basis.owners);
            if let Err(refusal) = judged {
                return Err(self.refused(act, &refusal).await?);
            }
            let Some((joined, revision)) = tries.settle(self.0.store.add_member(basis.at, new, act).await?).await?
            else {
                continue;
            };
            return match joined {
                Joined::New(record) => {
                    self.tell_of_roles(standing, gained, origin);
                    Ok(self.shown(&basis, record, revision))
                }
                Joined::Already => Err(already_a_member()),
            };
        }
    }

    /// Replaces the roles of a member of that kind.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such member, [`Code::PermissionDenied`], [`Code::StepUpRequired`],
    /// [`Code::PrivilegeEscalation`], [`Code::LastOwner`], [`Code::ValidationFailed`] on `roles`, or an outage.
    pub(crate) async fn assign_roles(
        &self,
        standing: &Standing,
        (kind, member): (MemberKind, MemberId),
        wanted: &[WantedRole],
        origin: &Origin,
    ) -> Result<Written<(MemberRecord, Vec<RoleAssignment>)>> {
        let action = match kind {
            MemberKind::User => "member.roles_changed",
            MemberKind::ServiceAccount => "service_account.roles_changed",
        };
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let before = self.member(standing, kind, member).await?.roles;
            let after = resolve(&basis.model, wanted)?;
            require_everywhere(&basis.standing, &UPDATE, changed_places(&before, &after))?;
            let act = standing.act(action, origin).on(member);
            if let Err(refusal) = judge_assignment(&basis.model, basis.author(), member, &before, &after, &basis.owners)
            {
                return Err(self.refused(act, &refusal).await?);
            }
            let has_more = after.iter().any(|role| !before.contains(role));
            let becomes_owner = is_owner(&basis.model, &after) && !is_owner(&basis.model, &before);
            let assigned = self.0.store.assign_roles(basis.at, member, after, act).await?;
            if let Some((record, revision)) = tries.settle(assigned).await? {
                self.tell_of_roles(standing, (member, has_more, becomes_owner), origin);
                return Ok(self.shown(&basis, record, revision));
            }
        }
    }

    /// Tells the security monitor of a member that has more roles than before.
    fn tell_of_roles(&self, by: &Standing, (member, has_more, is_owner): (MemberId, bool, bool), origin: &Origin) {
        if has_more {
            let about = About { user: by.principal.user_id(), organization: Some(by.organization.id), ip: origin.ip };
            self.0.monitor.privilege_changed(about, ("member_id", member.to_string()), is_owner);
        }
    }

    /// Removes a member of that kind. A user may always remove itself: it leaves.
    ///
    /// # Errors
    /// As [`assign_roles`](Self::assign_roles).
    pub(crate) async fn remove_member(
        &self,
        standing: &Standing,
        (kind, member): (MemberKind, MemberId),
        origin: &Origin,
    ) -> Result<Written<()>> {
        let action = match kind {
            MemberKind::User => "member.removed",
            MemberKind::ServiceAccount => "service_account.deleted",
        };
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            if member == standing.member() && standing.is_in_person() {
                standing.require_unbound()?;
            } else {
                basis.standing.require(&DELETE)?;
            }
            let before = self.member(standing, kind, member).await?.roles;
            let act = standing.act(action, origin).on(member);
            if let Err(refusal) = judge_assignment(&basis.model, basis.author(), member, &before, &[], &basis.owners) {
                return Err(self.refused(act, &refusal).await?);
            }
            let removed = self.0.store.remove_member(basis.at, member, act).await?;
            if let Some(done) = tries.settle(removed).await? {
                return Ok(self.written(basis.at, done));
            }
        }
    }

    /// A member of that kind.
    ///
    /// # Errors
    /// [`Code::NotFound`], the same for what does not exist and what belongs to another organization; or an outage.
    pub(crate) async fn member(&self, standing: &Standing, kind: MemberKind, member: MemberId) -> Result<MemberRecord> {
        let found = self.0.store.member(standing.organization.id, member).await?;
        found.filter(|found| found.kind == kind).ok_or_else(no_member)
    }

    /// A page of members with the roles that they hold.
    ///
    /// # Errors
    /// An outage.
    pub(crate) async fn members(
        &self,
        standing: &Standing,
        page: MemberPage,
    ) -> Result<Vec<(MemberRecord, Vec<RoleAssignment>)>> {
        let organization = standing.organization.id;
        let records = self.0.store.members(organization, page).await?;
        let named = |records: Vec<MemberRecord>, model: &Model| {
            let name = |record: MemberRecord| {
                let roles = RoleAssignment::all(&record.roles, model);
                (record, roles)
            };
            records.into_iter().map(name).collect()
        };
        let model = standing.access.snapshot().model();
        let mut assignments = records.iter().flat_map(|record| &record.roles);
        if assignments.all(|assignment| model.role_by_id(assignment.role).is_some()) {
            return Ok(named(records, model));
        }
        // Another node has made a role, and this one has not heard of it yet.
        match self.0.store.role_book(organization).await? {
            Some(book) => Ok(named(records, &Model::try_from(book)?)),
            None => Ok(Vec::new()),
        }
    }

    /// Goes on only if the caller may assign roles, be it at one store alone. Where exactly it may, is judged with the
    /// roles.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], or an outage.
    pub(crate) async fn require_assigning(&self, standing: &Standing) -> Result<()> {
        let mut decision = standing.decide(&UPDATE, standing.bound_to);
        if decision == Decision::Denied && standing.bound_to.is_none() {
            let held = self.0.store.access(standing.organization.id, standing.member()).await?;
            let stores: BTreeSet<StoreId> =
                held.iter().flat_map(|held| &held.roles).filter_map(|assignment| assignment.store).collect();
            for store in stores {
                match standing.decide(&UPDATE, Some(store)) {
                    Decision::Allowed => return Ok(()),
                    Decision::Denied => {}
                    step_up @ Decision::StepUp(_) => decision = step_up,
                }
            }
        }
        standing.principal.refuse(&UPDATE, decision)
    }

    /// Whom the candidate names. Trying unknown users counts per caller, so that addresses cannot be tried in bulk.
    async fn newcomer(&self, standing: &Standing, candidate: &Candidate, origin: &Origin) -> Result<NewMember> {
        if let Candidate::ServiceAccount(name) = candidate {
            let mut problems = Vec::new();
            let name = organization::named(name, &mut problems);
            if !problems.is_empty() {
                return Err(Error::invalid(problems));
            }
            return Ok(NewMember { id: MemberId::new(), user: None, name: Some(name), roles: Vec::new() });
        }
        let caller = standing.member().to_string();
        let attempt = self.0.throttle.admit_lookup(&self.0.store, &caller, || self.now()).await?;
        let user = match candidate {
            Candidate::Email(email) => self.0.store.user_by_email(email.key()).await?,
            Candidate::User(id) => self.0.store.user(*id).await?,
            Candidate::ServiceAccount(_) => None,
        };
        let Some(user) = user else {
            let act = standing.act("member.added", origin).ended(Outcome::Failure, "user_not_found");
            self.0.store.count_failure(attempt.on_failure, act).await?;
            return Err(Error::new(Code::UserNotFound, "nobody has registered like this"));
        };
        Ok(NewMember { id: user.id.into(), user: Some(user.id), name: None, roles: Vec::new() })
    }

    fn shown(
        &self,
        basis: &Basis,
        record: MemberRecord,
        revision: i64,
    ) -> Written<(MemberRecord, Vec<RoleAssignment>)> {
        let roles = RoleAssignment::all(&record.roles, &basis.model);
        self.written(basis.at, ((record, roles), revision))
    }
}

/// The one answer for a member that does not exist and for one of another organization.
pub(crate) fn no_member() -> Error {
    Error::new(Code::NotFound, "there is no such member")
}

fn already_a_member() -> Error {
    Error::new(Code::AlreadyAMember, "assign roles to it instead")
}

/// The roles that a request names, each once and in order; or every name that nobody knows.
fn resolve(model: &Model, wanted: &[WantedRole]) -> Result<Vec<Assignment>> {
    let (mut roles, mut problems) = (BTreeSet::new(), Vec::new());
    for (place, WantedRole { role, store }) in wanted.iter().enumerate() {
        let found = model.role(role);
        if found.is_none() {
            let field = format!("roles[{place}].role");
            problems.push(FieldError::new(field, "unknown_role", "is not a role of this organization"));
        }
        let at = store.as_deref().map(|name| model.store(name));
        if at == Some(None) {
            let field = format!("roles[{place}].store");
            problems.push(FieldError::new(field, "unknown_store", "is not a store of this organization"));
        }
        roles.extend(found.map(|role| Assignment { role: role.id, store: at.flatten() }));
    }
    if problems.is_empty() { Ok(roles.into_iter().collect()) } else { Err(Error::invalid(problems)) }
}

/// Where whoever holds these roles joins: the organization, and the stores where they are held.
fn places(roles: &[Assignment]) -> BTreeSet<Option<StoreId>> {
    roles.iter().map(|assignment| assignment.store).chain([None]).collect()
}

/// Where something changes.
fn changed_places(before: &[Assignment], after: &[Assignment]) -> BTreeSet<Option<StoreId>> {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    before.symmetric_difference(&after).map(|assignment| assignment.store).collect()
}

fn require_everywhere(standing: &Standing, permission: &Permission, places: BTreeSet<Option<StoreId>>) -> Result<()> {
    places.into_iter().try_for_each(|place| standing.require_at(permission, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::OrgId,
        permission::{MEMBER, OWNER, builtin_roles},
    };

    fn model() -> (Model, StoreId) {
        let store = StoreId::new();
        let mut model = Model::new(OrgId::new(), 1, "UTC").with_roles(builtin_roles().into()).unwrap();
        model.stores = vec![(store, "north".to_owned())];
        (model, store)
    }

    fn wanted(role: &str, store: Option<&str>) -> WantedRole {
        WantedRole { role: role.to_owned(), store: store.map(str::to_owned) }
    }

    #[test]
    fn a_role_named_twice_is_assigned_once() {
        let (model, store) = model();
        let named = [
            wanted(MEMBER, None),
            wanted(OWNER, Some("north")),
            wanted(MEMBER, None),
            wanted(OWNER, Some(&store.to_string())),
        ];
        let mut expected = vec![
            Assignment { role: model.role(MEMBER).unwrap().id, store: None },
            Assignment { role: model.role(OWNER).unwrap().id, store: Some(store) },
        ];
        expected.sort();
        assert_eq!(resolve(&model, &named).unwrap(), expected);
        assert_eq!(places(&expected), BTreeSet::from([None, Some(store)]));
    }

    #[test]
    fn every_unknown_name_is_told_by_its_path() {
        let (model, _) = model();
        let refused = resolve(&model, &[wanted(MEMBER, None), wanted("boss", Some("south")), wanted("", None)]);
        let problems: Vec<_> =
            refused.unwrap_err().fields().iter().map(|problem| (problem.field.clone(), problem.code)).collect();
        assert_eq!(
            problems,
            [
                ("roles[1].role".to_owned(), "unknown_role"),
                ("roles[1].store".to_owned(), "unknown_store"),
                ("roles[2].role".to_owned(), "unknown_role")
            ]
        );
    }

    #[test]
    fn only_places_where_something_changes_are_asked_about() {
        let (model, store) = model();
        let role = model.role(MEMBER).unwrap().id;
        let (here, there) = (Assignment { role, store: None }, Assignment { role, store: Some(store) });
        assert_eq!(changed_places(&[here, there], &[here]), BTreeSet::from([Some(store)]));
        assert_eq!(changed_places(&[here], &[here]), BTreeSet::new());
        assert_eq!(changed_places(&[here], &[there]), BTreeSet::from([None, Some(store)]));
    }
}
