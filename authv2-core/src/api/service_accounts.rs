//! The calls on service accounts: members that are no person.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    members::{self, AssignRolesRequest, WantedRoleRequest},
    problem::Problem,
};
use crate::{
    authentication::{Candidate, no_member},
    error::Result,
    organization::{RoleAssignment, ServiceAccount},
    permission,
    store::{MemberKind, MemberRecord},
};

/// `POST /auth/orgs/{org}/service-accounts`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct CreateServiceAccountRequest {
    /// What people call it: 1 to 200 characters.
    name: String,
    /// At most 100.
    roles: Vec<WantedRoleRequest>,
}

/// A service account.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceAccountResponse {
    service_account: ServiceAccount,
}

/// `GET /auth/orgs/{org}/service-accounts`.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceAccountsResponse {
    service_accounts: Vec<ServiceAccount>,
    /// Send it as `cursor` for the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Make a service account
///
/// A member that is no person, owns API keys and outlives its maker. Needs `members:create`, and whatever the roles
/// give.
#[utoipa::path(post, path = "/auth/orgs/{org}/service-accounts", tag = "members",
    request_body = CreateServiceAccountRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 201, body = ServiceAccountResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn create(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("members:create"))?;
    let mut fields = call.fields()?;
    let name = fields.string("name");
    let wanted = members::wanted_roles(&mut fields);
    fields.finish()?;
    let candidate = Candidate::ServiceAccount(name);
    let created = call.auth.add_member(&standing, &candidate, &wanted, &call.origin).await?;
    let service_account = service_account(created.value)?;
    let reply = Reply::json(StatusCode::CREATED, &ServiceAccountResponse { service_account })?;
    Ok(reply.with_revision(&created.revision))
}

/// List service accounts
///
/// Oldest first. Needs `members:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/service-accounts", tag = "members",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("limit" = Option<u32>, Query, description = "How many at most: 1 to 200, 50 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
    (status = 200, body = ServiceAccountsResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let (accounts, next_cursor) = members::page(&call, MemberKind::ServiceAccount).await?;
    let service_accounts = accounts.into_iter().map(service_account).collect::<Result<_>>()?;
    Reply::json(StatusCode::OK, &ServiceAccountsResponse { service_accounts, next_cursor })
}

/// Assign roles to a service account
///
/// Replaces those it holds. Needs `members:update` wherever something changes, and whatever the roles give.
#[utoipa::path(put, path = "/auth/orgs/{org}/service-accounts/{id}/roles", tag = "members",
    request_body = AssignRolesRequest,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("id" = String, Path, description = "The service account's id"),
    ),
    responses(
    (status = 200, body = ServiceAccountResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or service account, or not a member oneself", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn assign(call: Call<'_>) -> Result<Reply> {
    let (value, revision) = members::assign_roles(&call, MemberKind::ServiceAccount, "id").await?;
    let service_account = service_account(value)?;
    Ok(Reply::json(StatusCode::OK, &ServiceAccountResponse { service_account })?.with_revision(&revision))
}

/// Delete a service account
///
/// Needs `members:delete`.
#[utoipa::path(delete, path = "/auth/orgs/{org}/service-accounts/{id}", tag = "members",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("id" = String, Path, description = "The service account's id"),
    ),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or service account, or not a member oneself", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(call: Call<'_>) -> Result<Reply> {
    members::remove_member(&call, MemberKind::ServiceAccount, "id").await
}

fn service_account((record, roles): (MemberRecord, Vec<RoleAssignment>)) -> Result<ServiceAccount> {
    ServiceAccount::of(&record, roles).ok_or_else(no_member)
}
