//! Who may see how rights and sessions are used.

use super::{AuthenticationService, tenancy::no_organization};
use crate::{
    error::{Code, Error, Result},
    id::OrgId,
    permission::Analytics,
    principal::Principal,
    session::SessionAnalytics,
    store::OrganizationName,
};

impl AuthenticationService {
    /// How the rights of an organization are used: of the one named, a slug or an id, or else of the caller's own.
    ///
    /// # Errors
    /// [`NotFound`](crate::Code::NotFound) if there is no such organization, or the caller neither belongs to it nor administers the
    /// platform; [`PermissionDenied`](crate::Code::PermissionDenied) for a member without `audit:read` at the organization; or an outage.
    pub(crate) async fn analytics(&self, principal: &Principal, organization: Option<&str>) -> Result<Analytics> {
        let own = || principal.tenant().map(|tenant| tenant.organization.to_string());
        let name = organization.map(str::to_owned).or_else(own).ok_or_else(no_organization)?;
        let organization = if principal.is_platform_admin() {
            self.organization_id(&name).await?
        } else {
            let standing = self.standing(principal, &name).await?;
            standing.require(&crate::permission!("audit:read"))?;
            standing.organization.id
        };
        self.0.permissions.analytics(organization).await?.ok_or_else(no_organization)
    }

    /// The sessions of the deployment; `days` is how far back peak and median look.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] for whoever does not administer the platform, or an outage.
    pub(crate) async fn session_analytics(&self, principal: &Principal, days: u32) -> Result<SessionAnalytics> {
        if !principal.is_platform_admin() {
            return Err(Error::new(Code::PermissionDenied, "this is for administrators of the platform"));
        }
        Ok(self.0.sessions.analytics(days).await?)
    }

    async fn organization_id(&self, name: &str) -> Result<OrgId> {
        let name = OrganizationName::parse(name).ok_or_else(no_organization)?;
        Ok(self.0.store.organization(&name).await?.ok_or_else(no_organization)?.id)
    }
}
