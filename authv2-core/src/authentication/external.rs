//! Callers whom an issuer elsewhere vouches for.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{AuthenticationService, authenticate::invalid_token};
use crate::{
    changes::Since,
    error::{Error, Result},
    id::OrgId,
    issuer::{Issuer, Issuers, Vouched},
    permission::{Access, NamedRoles},
    principal::{Known, Membership},
    store::OrganizationName,
    telemetry,
    tenant::Tenant,
};

/// The issuers, and which organizations are those that the settings name.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) issuers: Issuers,
    /// By slug. A slug stays with its organization for as long as that is there.
    organizations: RwLock<HashMap<String, OrgId>>,
}

impl Elsewhere {
    pub(super) fn new(issuers: Issuers) -> Self {
        Self { issuers, organizations: RwLock::default() }
    }

    fn known(&self, slug: &str) -> Option<OrgId> {
        self.organizations.read().unwrap_or_else(PoisonError::into_inner).get(slug).copied()
    }

    fn know(&self, slug: &str, organization: OrgId) {
        self.organizations.write().unwrap_or_else(PoisonError::into_inner).insert(slug.to_owned(), organization);
    }

    fn forget(&self, slug: &str) {
        self.organizations.write().unwrap_or_else(PoisonError::into_inner).remove(slug);
    }
}

impl AuthenticationService {
    /// The issuers elsewhere whose tokens are taken.
    #[must_use]
    pub fn issuers(&self) -> &Issuers {
        &self.0.elsewhere.issuers
    }

    /// What is to be known of the bearer of a token of an issuer elsewhere. `since` is from before this began.
    ///
    /// # Errors
    /// [`Code::InvalidToken`](crate::Code::InvalidToken), or an outage: the issuer's, where its keys are not to be had.
    pub(super) async fn find_out_elsewhere(&self, issuer: &Issuer, token: &str, since: Since) -> Result<Known> {
        let refused = |reason| {
            telemetry::count_issuer_refusal(issuer.name(), reason);
            tracing::debug!(issuer = &**issuer.name(), reason, "token of an issuer elsewhere refused");
            invalid_token()
        };
        let verified = issuer.verify_while_trusted(token, self.now()).await.map_err(Error::unavailable)?;
        let (vouched, trust) = verified.map_err(|refusal| refused(refusal.as_str()))?;
        let Vouched { identity, organization, roles, expires_at, .. } = vouched;
        let access = self.access_elsewhere(&organization, roles).await?;
        let access = access.ok_or_else(|| refused("no_such_organization"))?;
        let tenant = Tenant { organization: access.snapshot().model().organization, store: None };
        let membership = Membership { tenant, access };
        Ok(Known::of_external(identity, trust, membership, Arc::clone(&self.0.clock), (expires_at, since)))
    }

    /// What these roles may do in the organization of that id or slug; none if there is none.
    async fn access_elsewhere(&self, organization: &str, roles: Vec<String>) -> Result<Option<Access>> {
        let roles = Arc::new(NamedRoles::new(roles));
        if let Ok(id) = organization.parse() {
            return Ok(self.0.permissions.access_by_roles(id, &roles).await?);
        }
        let elsewhere = &self.0.elsewhere;
        if let Some(id) = elsewhere.known(organization) {
            if let Some(access) = self.0.permissions.access_by_roles(id, &roles).await? {
                return Ok(Some(access));
            }
            elsewhere.forget(organization);
        }
        let name = OrganizationName::Slug(organization.to_owned());
        let Some(found) = self.0.store.organization(&name).await? else { return Ok(None) };
        elsewhere.know(organization, found.id);
        Ok(self.0.permissions.access_by_roles(found.id, &roles).await?)
    }
}
