//! The calls on organizations and their stores.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    problem::Problem,
};
use crate::{
    error::Result,
    organization::{Organization, Store},
    permission,
};

/// `POST /auth/orgs`, `POST /auth/orgs/{org}/stores`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct FoundRequest {
    /// A lower-case letter, then at most 62 of `a-z0-9_-`.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,62}$")]
    slug: String,
    /// What people call it: 1 to 200 characters.
    name: String,
}

/// `PATCH /auth/orgs/{org}`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct UpdateOrganizationRequest {
    /// What people call it: 1 to 200 characters.
    name: Option<String>,
    /// An IANA name.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
}

/// An organization.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationResponse {
    organization: Organization,
}

/// `GET /auth/orgs`.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationsResponse {
    organizations: Vec<Organization>,
}

/// A store.
#[derive(Serialize, ToSchema)]
pub(super) struct StoreResponse {
    store: Store,
}

/// `GET /auth/orgs/{org}/stores`.
#[derive(Serialize, ToSchema)]
pub(super) struct StoresResponse {
    stores: Vec<Store>,
}

/// Found an organization
///
/// The caller is its owner.
#[utoipa::path(post, path = "/auth/orgs", tag = "organizations", request_body = FoundRequest, responses(
    (status = 201, body = OrganizationResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`: the credential is bound to a store", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`slug_taken`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn found(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.require_unbound()?;
    let mut fields = call.fields()?;
    let (slug, name) = (fields.string("slug"), fields.string("name"));
    fields.finish()?;
    let organization = call.auth.found_organization(principal, &slug, &name, &call.origin).await?;
    Reply::json(StatusCode::CREATED, &OrganizationResponse { organization })
}

/// List one's organizations
///
/// Those that one is a member of, by slug.
#[utoipa::path(get, path = "/auth/orgs", tag = "organizations", responses(
    (status = 200, body = OrganizationsResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let organizations = call.auth.organizations_of(call.principal()?).await?;
    Reply::json(StatusCode::OK, &OrganizationsResponse { organizations })
}

/// Read an organization
#[utoipa::path(get, path = "/auth/orgs/{org}", tag = "organizations",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = OrganizationResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let organization = Organization::from(&standing.organization);
    Reply::json(StatusCode::OK, &OrganizationResponse { organization })
}

/// Change an organization
///
/// Needs `organization:update`.
#[utoipa::path(patch, path = "/auth/orgs/{org}", tag = "organizations", request_body = UpdateOrganizationRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = OrganizationResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn update(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("organization:update"))?;
    let mut fields = call.fields()?;
    let (name, time_zone) = (fields.optional_string("name"), fields.optional_string("time_zone"));
    fields.finish()?;
    let updated = call.auth.update_organization(&standing, name.as_deref(), time_zone.as_deref(), &call.origin);
    Reply::json(StatusCode::OK, &OrganizationResponse { organization: updated.await? })
}

/// Remove an organization
///
/// With everything in it, for good. For its owners, who must have signed in at most 15 minutes ago.
#[utoipa::path(delete, path = "/auth/orgs/{org}", tag = "organizations",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(call: Call<'_>) -> Result<Reply> {
    call.auth.delete_organization(&call.standing().await?, &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Open a store
///
/// Needs `stores:create`.
#[utoipa::path(post, path = "/auth/orgs/{org}/stores", tag = "organizations", request_body = FoundRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 201, body = StoreResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`slug_taken`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn open_store(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("stores:create"))?;
    let mut fields = call.fields()?;
    let (slug, name) = (fields.string("slug"), fields.string("name"));
    fields.finish()?;
    let store = call.auth.open_store(&standing, &slug, &name, &call.origin).await?;
    Reply::json(StatusCode::CREATED, &StoreResponse { store })
}

/// List the stores of an organization
///
/// By slug. A credential that is bound to a store sees no other.
#[utoipa::path(get, path = "/auth/orgs/{org}/stores", tag = "organizations",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = StoresResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list_stores(call: Call<'_>) -> Result<Reply> {
    let stores = call.auth.stores(&call.standing().await?).await?;
    Reply::json(StatusCode::OK, &StoresResponse { stores })
}
