//! The calls on an organization's policy on second factors.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    problem::Problem,
};
use crate::{
    error::{Error, FieldError, Result},
    mfa::MfaPolicy,
    permission,
};

/// How many roles a policy may name.
const ROLES_MAX: usize = 100;

/// `PUT /auth/orgs/{org}/mfa-policy`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct PutMfaPolicyRequest {
    require: Demand,
    /// With `roles`, by name: whoever holds one of them, or one that inherits it, anywhere in the organization.
    roles: Option<Vec<String>>,
}

/// Who needs a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Demand {
    /// Nobody.
    Optional,
    /// Every member.
    Required,
    /// Whoever holds one of some roles.
    Roles,
}

/// A policy.
#[derive(Serialize, ToSchema)]
pub(super) struct MfaPolicyShape {
    require: Demand,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
}

/// A policy.
#[derive(Serialize, ToSchema)]
pub(super) struct MfaPolicyResponse {
    mfa_policy: MfaPolicyShape,
}

impl From<&MfaPolicy> for MfaPolicyResponse {
    fn from(policy: &MfaPolicy) -> Self {
        let (require, roles) = match policy {
            MfaPolicy::Optional => (Demand::Optional, None),
            MfaPolicy::Required => (Demand::Required, None),
            MfaPolicy::Roles(names) => (Demand::Roles, Some(names.iter().cloned().collect())),
        };
        Self { mfa_policy: MfaPolicyShape { require, roles } }
    }
}

/// Read who needs a second factor
#[utoipa::path(get, path = "/auth/orgs/{org}/mfa-policy", tag = "organizations",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = MfaPolicyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let policy = MfaPolicy::of(&standing.organization);
    Reply::json(StatusCode::OK, &MfaPolicyResponse::from(&policy))
}

/// Say who needs a second factor
///
/// Needs `organization:update`, and a sign-in with a second factor at most 15 minutes ago.
#[utoipa::path(put, path = "/auth/orgs/{org}/mfa-policy", tag = "organizations", request_body = PutMfaPolicyRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = MfaPolicyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn put(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("organization:update"))?;
    let mut fields = call.fields()?;
    let choices = [("optional", Demand::Optional), ("required", Demand::Required), ("roles", Demand::Roles)];
    let (require, roles) = (fields.choice("require", &choices), fields.optional_strings("roles", ROLES_MAX));
    let is_missing = require == Some(Demand::Roles) && roles.as_ref().is_none_or(Vec::is_empty);
    if require.is_some_and(|require| require != Demand::Roles) && roles.is_some() {
        fields.refuse("roles", "not_allowed", "means something only with `require` \"roles\"");
    }
    fields.finish()?;
    if is_missing {
        return Err(Error::invalid(vec![FieldError::new("roles", "required", "must name at least one role")]));
    }
    let roles = roles.unwrap_or_default();
    let policy = match require {
        Some(Demand::Required) => MfaPolicy::Required,
        Some(Demand::Roles) => MfaPolicy::Roles(roles.iter().cloned().collect()),
        Some(Demand::Optional) | None => MfaPolicy::Optional,
    };
    let written = call.auth.put_mfa_policy(&standing, &policy, &roles, &call.origin).await?;
    Ok(Reply::json(StatusCode::OK, &MfaPolicyResponse::from(&written.value))?.with_revision(&written.revision))
}
