//! An organization's policy on second factors.

use super::AuthenticationService;
use crate::{
    audit::Origin,
    authentication::{Requirement, Standing, Written, requirement::RECENT},
    error::{Code, Error, FieldError, Result},
    mfa::{MfaPolicy, SECOND_FACTOR},
    permission::is_at_least,
    store::{AtRevision, OrganizationChange},
};

impl AuthenticationService {
    /// Replaces an organization's policy on second factors; `roles` are the names in it as they were sent. Whether the
    /// caller may change the organization was asked before.
    ///
    /// Who changes it, must have shown a second factor in its session: so nobody locks everybody out by a slip, and a
    /// stolen password alone does not lift it.
    ///
    /// # Errors
    /// [`Code::StepUpRequired`] where the sign-in is not recent, or without a second factor; [`Code::PermissionDenied`] for
    /// an API key; [`Code::ValidationFailed`] for a role that is not there; [`Code::NotFound`] if the organization has gone
    /// meanwhile; or an outage.
    pub(crate) async fn put_mfa_policy(
        &self,
        standing: &Standing,
        policy: &MfaPolicy,
        roles: &[String],
        origin: &Origin,
    ) -> Result<Written<MfaPolicy>> {
        let principal = &standing.principal;
        principal.signed_in()?;
        Requirement::RecentAuth(RECENT).check(Some(principal), self.now())?;
        if !is_at_least(principal.acr(), SECOND_FACTOR) {
            return Err(Error::second_factor_wanted().with_scheme(principal.scheme()));
        }
        let organization = standing.organization.id;
        self.require_roles(standing, roles).await?;
        let change = OrganizationChange { mfa: Some(policy.parts()), ..OrganizationChange::default() };
        let act = standing.act("organization.mfa_policy_changed", origin).on(organization);
        let updated = self.0.store.update_organization(organization, change, act).await?;
        let updated = updated.ok_or_else(|| Error::new(Code::NotFound, "it has been removed"))?;
        let at = AtRevision { organization, revision: updated.revision };
        Ok(self.written(at, (MfaPolicy::of(&updated), updated.revision)))
    }

    async fn require_roles(&self, standing: &Standing, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let basis = self.basis(standing).await?;
        let unknown = names.iter().enumerate().filter(|(_, name)| basis.model.role(name).is_none());
        let problems: Vec<FieldError> = unknown
            .map(|(place, _)| {
                FieldError::new(format!("roles[{place}]"), "unknown_role", "is not a role of this organization")
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::invalid(problems)) }
    }
}
