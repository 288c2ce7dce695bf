//! Acting in an organization that a request names: what the caller is there, and writes that others may get ahead of.

use std::{sync::Arc, time::Duration};

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    error::{Code, Error, Result},
    id::{MemberId, OrgId, StoreId, UserId},
    permission::{Access, Author, CatchUpError, Decision, Model, OWNER, Permission, Question, Refusal},
    principal::Principal,
    secret::random_bytes,
    store::{Assignment, AtRevision, Holder, MemberKind, OrganizationName, OrganizationRecord, Revised},
    tenant::Tenant,
};

/// How often a write is decided anew because others got ahead of it.
const TRIES: u32 = 30;

/// A caller in an organization that it named and belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) principal: Principal,
    /// The member that it is, or that bounds it where it is a key.
    member: MemberId,
    pub(crate) organization: OrganizationRecord,
    pub(crate) access: Access,
    /// The store that the caller's credential is bound to: it acts nowhere else.
    pub(crate) bound_to: Option<StoreId>,
}

impl Standing {
    /// Goes on only if the caller may do this at the organization.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], or [`Code::StepUpRequired`] where a fresher or stronger sign-in would do.
    pub(crate) fn require(&self, permission: &Permission) -> Result<()> {
        self.require_at(permission, None)
    }

    /// Goes on only if the caller may do this at a place: the organization, or a store of it.
    ///
    /// # Errors
    /// As [`Standing::require`].
    pub(crate) fn require_at(&self, permission: &Permission, place: Option<StoreId>) -> Result<()> {
        self.principal.refuse(permission, self.decide(permission, place))
    }

    /// Goes on only if the caller acts at the organization itself.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] for a credential that is bound to a store.
    pub(crate) fn require_unbound(&self) -> Result<()> {
        self.principal.require_unbound()
    }

    pub(super) fn decide(&self, permission: &Permission, place: Option<StoreId>) -> Decision {
        if self.bound_to.is_some() && self.bound_to != place {
            return Decision::Denied;
        }
        let question = Question { store: place, ..Question::new(permission) };
        self.access.decide(&question, &self.principal.subject(), self.principal.now())
    }

    /// The caller as a member; of a key the one whose rights bound it.
    pub(crate) fn member(&self) -> MemberId {
        self.member
    }

    /// What kind of member that is.
    pub(crate) fn kind(&self) -> MemberKind {
        match self.principal.api_key() {
            Some(key) if key.user().is_none() => MemberKind::ServiceAccount,
            _ => MemberKind::User,
        }
    }

    /// Whether that member itself is calling, and not a key.
    pub(crate) fn is_in_person(&self) -> bool {
        self.principal.api_key().is_none()
    }

    /// The caller as the audit trail has it.
    pub(crate) fn actor(&self) -> Actor {
        match self.principal.api_key() {
            Some(key) => Actor::ApiKey(key.record().id),
            None => Actor::User(UserId::from(self.member.as_uuid())),
        }
    }

    /// An act of the caller in the organization.
    pub(crate) fn act(&self, action: &'static str, origin: &Origin) -> Act {
        Act::new(action, self.actor(), self.principal.now(), origin).within(self.organization.id)
    }
}

/// What a change of rights is judged on. If it is written [`at`](Self::at) the revision given, then all of this was
/// true at that moment.
#[derive(Debug)]
pub(crate) struct Basis {
    /// The caller, what it may do as new as the rest.
    pub(crate) standing: Standing,
    /// The revision, read before anything else.
    pub(crate) at: AtRevision,
    /// The roles.
    pub(crate) model: Model,
    /// The roles that the caller holds.
    pub(crate) roles: Vec<Assignment>,
    /// All who hold the built-in owner role, or one that inherits it.
    pub(crate) owners: Vec<Holder>,
}

impl Basis {
    /// Whose rights bound the change.
    pub(crate) fn author(&self) -> Author<'_> {
        let scopes = self.standing.access.scope().map(|scope| scope.patterns());
        Author { roles: &self.roles, bound_to: self.standing.bound_to, scopes }
    }
}

impl AuthenticationService {
    /// The caller in the organization of that name: a slug or an id. A key is in its own and in no other.
    ///
    /// # Errors
    /// [`Code::NotFound`] unless the caller belongs to it, the same for what does not exist; or an outage.
    pub(crate) async fn standing(&self, principal: &Principal, organization: &str) -> Result<Standing> {
        let member = match principal.api_key() {
            Some(key) => key.record().member,
            None => principal.signed_in()?.user().id.into(),
        };
        let name = OrganizationName::parse(organization).ok_or_else(no_organization)?;
        let organization = self.0.store.organization(&name).await?.ok_or_else(no_organization)?;
        if principal.api_key().is_some_and(|key| key.record().organization != organization.id) {
            return Err(no_organization());
        }
        let bound_to = match principal.tenant() {
            Some(Tenant { organization: home, store: Some(store) }) if home == organization.id => Some(store),
            Some(Tenant { store: Some(_), .. }) => return Err(no_organization()),
            _ => None,
        };
        let access = self.access_of(principal, organization.id, member).await?;
        Ok(Standing { principal: principal.clone(), member, organization, access, bound_to })
    }

    /// What a member may do in an organization, as far as the caller's credential allows.
    async fn access_of(&self, principal: &Principal, organization: OrgId, member: MemberId) -> Result<Access> {
        let access = self.0.permissions.access(organization, member).await?.ok_or_else(no_organization)?;
        Ok(match principal.access().and_then(Access::scope) {
            Some(scope) => access.within(Arc::clone(scope)),
            None => access,
        })
    }

    /// Reads anew, from the store, what a change of rights is judged on.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the organization has gone, or the caller from it; or an outage.
    pub(crate) async fn basis(&self, standing: &Standing) -> Result<Basis> {
        let (organization, member) = (standing.organization.id, standing.member());
        let book = self.0.store.role_book(organization).await?.ok_or_else(no_organization)?;
        let at = AtRevision { organization, revision: book.organization.revision };
        let record = book.organization.clone();
        let model = Model::try_from(book)?;
        let held = self.0.store.access(organization, member).await?.ok_or_else(no_organization)?;
        let owners = match model.role(OWNER) {
            Some(owner) => self.0.store.holders(organization, owner.id).await?,
            None => Vec::new(),
        };
        // This node may not have heard yet of what another one wrote.
        self.arrive(at).await?;
        let access = self.access_of(&standing.principal, organization, member).await?;
        let standing = Standing { organization: record, access, ..standing.clone() };
        Ok(Basis { standing, at, model, roles: held.roles, owners })
    }

    /// Makes decisions on this node from now on on data that is at least as new as what the store has now.
    ///
    /// # Errors
    /// An outage.
    pub(super) async fn arrive_at_present(&self, organization: OrgId) -> Result<()> {
        match self.0.store.organization(&OrganizationName::Id(organization)).await? {
            Some(record) => self.arrive(AtRevision { organization, revision: record.revision }).await,
            None => Ok(()),
        }
    }

    /// Waits until decisions on this node are made on data of that revision or a later one.
    async fn arrive(&self, at: AtRevision) -> Result<()> {
        self.0.permissions.reach(at.organization, at.revision).await.map_err(|error| match error {
            CatchUpError::Store(error) => error.into(),
            not_yet @ CatchUpError::NotYet => Error::unavailable(not_yet),
            other => Error::internal(other),
        })
    }

    /// The answer to a change of rights that was judged and refused; an attempt to escalate is recorded as `act`.
    ///
    /// # Errors
    /// An outage, where the attempt cannot be recorded.
    pub(crate) async fn refused(&self, act: Act, refusal: &Refusal) -> Result<Error> {
        if *refusal == Refusal::LastOwner {
            return Ok(Error::new(Code::LastOwner, "make somebody else an owner first"));
        }
        self.0.store.count_failure(Vec::new(), act.ended(Outcome::Denied, "privilege_escalation")).await?;
        Ok(Error::new(Code::PrivilegeEscalation, refusal.to_string()))
    }

    /// What was written at a revision, with the consistency token of it.
    pub(crate) fn written<T>(&self, at: AtRevision, (value, revision): (T, i64)) -> Written<T> {
        Written { value, revision: self.0.permissions.token(at.organization, revision) }
    }
}

/// What was written, and the consistency token that makes any node decide on it.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) revision: String,
}

/// The tries of a write that is decided on a reading: read, judge, write, and all over again where somebody else wrote
/// in between.
///
/// ```text
/// let mut tries = Tries::new();
/// loop {
///     let basis = auth.basis(&standing).await?;
///     // ... judge ...
///     if let Some(done) = tries.settle(store.assign_roles(basis.at, ..).await?).await? {
///         return Ok(auth.written(basis.at, done));
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Tries(u32);

impl Tries {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// What was written, and the revision from then on; `None` where it must be decided anew, after a moment.
    ///
    /// # Errors
    /// [`Code::NotFound`] if what was to be written about has gone; [`Code::Unavailable`] after too many tries.
    pub(crate) async fn settle<T>(&mut self, outcome: Revised<T>) -> Result<Option<(T, i64)>> {
        match outcome {
            Revised::Done { revision, value } => Ok(Some((value, revision))),
            Revised::Missing => Err(Error::new(Code::NotFound, "it has been removed meanwhile")),
            Revised::Stale => self.again().await.map(|()| None),
        }
    }

    /// Waits a moment, longer and longer and never twice the same, so that those who write at once come apart.
    ///
    /// # Errors
    /// [`Code::Unavailable`] after too many tries.
    pub(crate) async fn again(&mut self) -> Result<()> {
        self.0 += 1;
        if self.0 >= TRIES {
            return Err(Error::new(Code::Unavailable, "too many others write to it: try again in a moment"));
        }
        let [random] = random_bytes()?;
        tokio::time::sleep(Duration::from_micros(u64::from(random) * 8 * u64::from(self.0))).await;
        Ok(())
    }
}

/// The one answer for what does not exist and for what the caller may not see.
pub(super) fn no_organization() -> Error {
    Error::new(Code::NotFound, "there is no such organization")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_a_write_up_after_thirty_tries() {
        let mut tries = Tries::new();
        for _ in 1..TRIES {
            assert_eq!(tries.settle::<()>(Revised::Stale).await.unwrap(), None);
        }
        let refused = tries.settle::<()>(Revised::Stale).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn what_has_gone_is_not_found() {
        let gone = Tries::new().settle::<()>(Revised::Missing).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        let done = Tries::new().settle(Revised::Done { revision: 7, value: "x" }).await.unwrap();
        assert_eq!(done, Some(("x", 7)));
    }
}
