//! The tenant of a session: chosen at sign-in, changed by a switch.

use super::{AuthenticationService, Credentials, SignedIn, TokenType};
use crate::{
    audit::{Act, Actor, Origin},
    error::{Code, Error, Result},
    id::{OrgId, UserId},
    mfa::SECOND_FACTOR,
    organization::{Organization, RoleAssignment, Store},
    permission::{Model, is_at_least, is_name},
    principal::{Method, Principal},
    secret::Secret,
    session::Session,
    store::{OrganizationName, UserRecord},
    tenant::Tenant,
    user::User,
};

impl OrganizationName {
    /// Reads a slug or an id; none if the text is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<OrgId>() {
            Ok(id) => Some(Self::Id(id)),
            Err(_) => is_name(text).then(|| Self::Slug(text.to_owned())),
        }
    }
}

/// What a principal is in its tenant: nothing in none.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    pub(crate) organization: Option<Organization>,
    pub(crate) store: Option<Store>,
    /// The roles held at the organization, and at the store that the credential is bound to, or else at any.
    pub(crate) roles: Vec<RoleAssignment>,
    /// The patterns granted where the credential acts.
    pub(crate) permissions: Vec<String>,
}

impl AuthenticationService {
    /// Where the caller is, and what it is there.
    ///
    /// # Errors
    /// An outage.
    pub(crate) async fn whereabouts(&self, principal: &Principal) -> Result<Whereabouts> {
        let (Some(Tenant { organization, store }), Some(access)) = (principal.tenant(), principal.access()) else {
            return Ok(Whereabouts::default());
        };
        let book = self.0.store.role_book(organization).await?;
        let Some(member) = access.member() else { return Ok(Whereabouts::default()) };
        let member = self.0.store.member(organization, member).await?;
        // One of them has gone since the request was authenticated.
        let (Some(book), Some(member)) = (book, member) else { return Ok(Whereabouts::default()) };
        let store_record = book.stores.iter().find(|record| Some(record.id) == store).map(Store::from);
        let organization = Organization::from(&book.organization);
        let mut roles = RoleAssignment::all(&member.roles, &Model::try_from(book)?);
        roles.retain(|held| store.is_none() || held.store.is_none() || held.store == store);
        Ok(Whereabouts {
            organization: Some(organization),
            store: store_record,
            roles,
            permissions: access.snapshot().permissions(access.rights(), store),
        })
    }

    /// The tenant of that name, if the user belongs to it.
    ///
    /// # Errors
    /// An outage.
    pub(super) async fn tenant_of(
        &self,
        user: UserId,
        organization: &str,
        store: Option<&str>,
    ) -> Result<Option<Tenant>> {
        let Some(name) = OrganizationName::parse(organization) else { return Ok(None) };
        let Some(organization) = self.0.store.organization(&name).await? else { return Ok(None) };
        let Some(access) = self.0.permissions.access(organization.id, user.into()).await? else { return Ok(None) };
        let tenant = |store| Tenant { organization: organization.id, store };
        Ok(match store {
            None => Some(tenant(None)),
            Some(name) => access.snapshot().model().store(name).map(|store| tenant(Some(store))),
        })
    }

    /// Goes on only if a user that proved who it is to the class `acr` meets an organization's policy on second factors.
    ///
    /// # Errors
    /// [`Code::MfaEnrollmentRequired`] for a user that has none, [`Code::StepUpRequired`] for one that did not show it;
    /// or an outage.
    pub(super) async fn require_second_factor(&self, tenant: Tenant, user: &UserRecord, acr: &str) -> Result<()> {
        let access = self.0.permissions.access(tenant.organization, user.id.into()).await?;
        let is_wanted = access.is_some_and(|access| access.wants_mfa());
        match (is_wanted && !is_at_least(acr, SECOND_FACTOR), user.mfa_enabled) {
            (false, _) => Ok(()),
            (true, true) => Err(Error::second_factor_wanted()),
            (true, false) => Err(Error::new(
                Code::MfaEnrollmentRequired,
                "sign in without an organization, and enrol a second factor first",
            )),
        }
    }

    /// Takes the caller's session into another tenant. The refresh token stays and refreshes into it; tokens issued
    /// before go on in the tenant that they name, for as long as they live and the user belongs there. `cookie` is
    /// the cookie that the request came with, where it came with one.
    ///
    /// # Errors
    /// [`Code::NotAMember`], the same for what does not exist; [`Code::MfaEnrollmentRequired`] or
    /// [`Code::StepUpRequired`] where the organization wants a second factor; or an outage.
    pub async fn switch(
        &self,
        principal: &Principal,
        organization: &str,
        store: Option<&str>,
        cookie: Option<Secret>,
        origin: &Origin,
    ) -> Result<SignedIn> {
        let live = principal.signed_in()?;
        let (user, session) = (live.user().id, live.session().id);
        let Some(tenant) = self.tenant_of(user, organization, store).await? else { return Err(not_a_member()) };
        if cookie.is_none() {
            self.require_signing().await?;
        }
        let act =
            Act::new("session.switched", Actor::User(user), self.now(), origin).within(tenant.organization).on(session);
        self.require_second_factor(tenant, live.user(), principal.acr())
            .await
            .map_err(|error| error.with_scheme(principal.scheme()))?;
        let Some(session) = self.0.store.enter(user, session, tenant, act).await? else {
            // It was a member a moment ago, or the session was live.
            return Err(not_a_member());
        };
        let session = principal.assured(session);
        let credentials = match (principal.method(), cookie) {
            (Method::Cookie, Some(secret)) => self.cookie(&session, secret),
            _ => {
                let (access_token, expires_in) = self.access_token(&session).await?;
                Credentials::Access { token_type: TokenType::of(&session), access_token, expires_in }
            }
        };
        Ok(SignedIn { user: User::from(live.user()), session: Session::of(&session, true), credentials })
    }
}

pub(super) fn not_a_member() -> Error {
    Error::new(Code::NotAMember, "you do not belong to it, or it does not exist")
}
