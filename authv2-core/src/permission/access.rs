//! What somebody may do in one organization, at hand: a decision on it waits for nothing.

use std::{borrow::Cow, hash::BuildHasher as _, sync::Arc};

use foldhash::fast::FixedState;

use super::{
    cache::{Member, Organization, Standing},
    definition::RoleDefinition,
    explain::Explanation,
    model::{Model, ModelError},
    named_roles::NamedRoles,
    question::{Decision, Question, Subject},
    scope::Scope,
    snapshot::{Judged, Rights, Snapshot, with_second_factor},
    tally::{Label, Outcome, Tally},
};
use crate::{
    audit::{self, Act, Actor, Origin},
    clock::Timestamp,
    id::{MemberId, StoreId, UserId},
    store::Assignment,
};

/// Somebody's rights in an organization, as of the moment they were asked for. A cheap clone.
///
/// Decisions made through it count in the organization's statistics. One that is only tried (a search, a what-if) is
/// made with [`Access::snapshot`] and [`Access::rights`] instead.
#[derive(Debug, Clone)]
pub struct Access {
    organization: Arc<Organization>,
    holder: Holder,
    standing: Arc<Standing>,
    tally: Arc<Tally>,
    /// What the credential may do at most.
    scope: Option<Arc<Scope>>,
}

/// Whose rights they are.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    /// A member's.
    Member(Arc<Member>),
    /// Of somebody whom an issuer elsewhere gives roles.
    Elsewhere(Arc<NamedRoles>),
}

impl Holder {
    fn roles(&self, model: &Model) -> Cow<'_, [Assignment]> {
        match self {
            Self::Member(member) => member.roles().into(),
            Self::Elsewhere(roles) => roles.in_model(model).into(),
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::Member(member) => Actor::User(UserId::from(member.id.as_uuid())),
            Self::Elsewhere(_) => Actor::Anonymous,
        }
    }
}

/// Somebody's rights under roles that are only proposed. Made by [`Access::what_if`].
#[derive(Debug)]
pub struct WhatIf {
    snapshot: Snapshot,
    rights: Rights,
    scope: Option<Arc<Scope>>,
}

impl WhatIf {
    /// Decides as if the roles were so, and says why.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Explanation {
        if self.scope.as_ref().is_some_and(|scope| !scope.covers(question.permission)) {
            return Explanation::nothing();
        }
        self.snapshot.explain(&self.rights, question, subject, now)
    }
}

impl Access {
    pub(super) fn new(
        organization: Arc<Organization>,
        holder: Holder,
        standing: Arc<Standing>,
        tally: Arc<Tally>,
    ) -> Self {
        Self { organization, holder, standing, tally, scope: None }
    }

    /// The same, of a credential that may do no more than `scope` says.
    #[must_use]
    pub(crate) fn within(mut self, scope: Arc<Scope>) -> Self {
        self.scope = Some(scope);
        self
    }

    /// What the credential may do at most; none where that is whatever its holder may.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// The member, if it is one.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        match &self.holder {
            Holder::Member(member) => Some(member.id),
            Holder::Elsewhere(_) => None,
        }
    }

    /// The organization's roles.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.organization.snapshot
    }

    /// The rights, which mean something in this snapshot only.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.standing.rights
    }

    /// What could be done if these roles were written, each in place of the one of its name: nothing is written,
    /// and what is decided on it is not counted.
    ///
    /// # Errors
    /// [`ModelError`] if they do not fit together.
    pub fn what_if(&self, proposed: &[RoleDefinition]) -> Result<WhatIf, ModelError> {
        let mut model = self.snapshot().model().clone();
        for definition in proposed {
            model = model.with_role(definition)?;
        }
        let snapshot = Snapshot::compile(model);
        let rights = snapshot.rights(&self.holder.roles(snapshot.model()));
        Ok(WhatIf { snapshot, rights, scope: self.scope.clone() })
    }

    /// Decides, and counts the decision. A denial counts towards a burst of them.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Decision {
        let decision = self.advise(question, subject, now);
        if matches!(decision, Decision::Denied) {
            self.note_denial(now);
        }
        decision
    }

    /// Counts a denial towards a burst: whoever holds this, or the key that it is of, tries what it may not do.
    pub(crate) fn note_denial(&self, now: Timestamp) {
        if let Holder::Member(_) = self.holder {
            self.tally.note_denial(self.organization.id(), self.actor(), now);
        }
    }

    /// Decides, and counts the decision, for somebody who wants to know and does nothing: a denial is held against
    /// nobody.
    #[must_use]
    pub(crate) fn advise(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Decision {
        let mut judged = match self.is_within_scope(question) {
            true => self.snapshot().judge(self.rights(), question, subject, now),
            false => Judged { decision: Decision::Denied, atom: None, by: None },
        };
        if self.wants_mfa() {
            judged.decision = with_second_factor(judged.decision, subject.session.as_ref());
        }
        self.count(&judged, question, subject, now);
        judged.decision
    }

    /// Decides, counts, and says why. As advice: a denial is held against nobody.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Explanation {
        if !self.is_within_scope(question) {
            let _ = self.advise(question, subject, now);
            return Explanation::nothing();
        }
        let (mut explanation, atom, by) = self.snapshot().explain_judged(self.rights(), question, subject, now);
        if self.wants_mfa() {
            explanation.decision = with_second_factor(explanation.decision, subject.session.as_ref());
        }
        let judged = Judged { decision: explanation.decision.clone(), atom, by };
        self.count(&judged, question, subject, now);
        explanation
    }

    /// Whether the organization wants a second factor of whoever holds this: of members in person, whom an issuer
    /// elsewhere does not speak for.
    #[inline]
    #[must_use]
    pub fn wants_mfa(&self) -> bool {
        self.rights().wants_mfa() && matches!(self.holder, Holder::Member(_)) && self.scope.is_none()
    }

    #[inline]
    fn is_within_scope(&self, question: &Question<'_>) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.covers(question.permission))
    }

    #[inline]
    fn count(&self, judged: &Judged, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) {
        let outcome = match judged.decision {
            Decision::Allowed => Outcome::Allowed,
            Decision::Denied => Outcome::Denied,
            Decision::StepUp(_) => Outcome::StepUp,
        };
        if let Some(atom) = judged.atom {
            // Without a grant named, the roles that reach the place settle which one it is.
            let roles = if judged.by.is_some() { 0 } else { self.standing.roles_at(question.store) };
            let key = FixedState::default().hash_one((self.organization.serial, roles, atom, judged.by, outcome));
            self.tally.count(key, || self.label(judged, question.store, outcome));
        }
        match (outcome, &self.holder) {
            (Outcome::Allowed, Holder::Member(member)) if member.is_use_due(now) => {
                self.tally.note_use(self.organization.id(), member.id, now);
            }
            (Outcome::Denied, _) => self.tally.sample(now, || self.denial(judged, question, subject, now)),
            (Outcome::Allowed | Outcome::StepUp, _) => {}
        }
    }

    /// Who asks: the credential, where it has a scope of its own.
    fn actor(&self) -> Actor {
        self.scope.as_ref().map_or_else(|| self.holder.actor(), |scope| scope.actor)
    }

    /// What a decision counts as.
    fn label(&self, judged: &Judged, store: Option<StoreId>, outcome: Outcome) -> Label {
        let (role, granted) = self.attributed(judged, store).unwrap_or_default();
        Label {
            organization: self.organization.id(),
            permission: judged.atom.map_or("*", |atom| self.snapshot().name(atom)).to_owned(),
            role,
            granted,
            outcome,
        }
    }

    /// The role whose grant decided, and what that grant speaks of.
    fn attributed(&self, judged: &Judged, store: Option<StoreId>) -> Option<(String, String)> {
        let id = match judged.by {
            Some(id) => id,
            None => self.snapshot().attribute(self.rights(), judged.atom?, store)?,
        };
        let (role, grant) = self.snapshot().grant(id)?;
        Some((role.to_owned(), grant.permission.to_string()))
    }

    fn denial(&self, judged: &Judged, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Act {
        let reason = match self.attributed(judged, question.store) {
            Some((role, granted)) => Cow::from(format!("the role {role} denies {granted}")),
            None if !self.is_within_scope(question) => Cow::from("the credential's scopes do not cover it"),
            None => Cow::from("no grant allows it"),
        };
        let origin = Origin { ip: subject.ip, ..Origin::default() };
        Act::new("permission.denied", self.actor(), now, &origin)
            .within(self.organization.id())
            .on(question.permission)
            .ended(audit::Outcome::Denied, reason)
    }
}
