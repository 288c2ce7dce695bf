//! The calls on declared resource types.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    problem::Problem,
    roles::status,
};
use crate::{
    error::{Code, Error, Result},
    permission,
    permission::{AttributeType, InvalidName, ResourceType, is_name},
};

/// The most attributes of one type, and the longest name of one, in characters.
const ATTRIBUTES_MAX: usize = 200;
const ATTRIBUTE_NAME_MAX: usize = 100;

const TYPES: [(&str, AttributeType); 5] = [
    ("string", AttributeType::String),
    ("long", AttributeType::Long),
    ("boolean", AttributeType::Boolean),
    ("ip", AttributeType::Ip),
    ("string_set", AttributeType::StringSet),
];

/// `PUT …/resource-types/{type}`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct ResourceTypeRequest {
    /// At most 200; `id` and `type` are strings unless this says otherwise.
    attributes: BTreeMap<String, AttributeType>,
}

/// A declared resource type.
#[derive(Serialize, ToSchema)]
pub(super) struct DeclaredType {
    /// The part of permissions before the colon.
    name: String,
    attributes: BTreeMap<String, AttributeType>,
}

/// A declared resource type.
#[derive(Serialize, ToSchema)]
pub(super) struct ResourceTypeResponse {
    resource_type: DeclaredType,
}

/// `GET …/resource-types`.
#[derive(Serialize, ToSchema)]
pub(super) struct ResourceTypesResponse {
    resource_types: Vec<DeclaredType>,
}

/// Declare a resource type
///
/// Conditions on its permissions are checked against it when a role is written. One that contradicts a condition of a
/// role there is, is refused. Needs `roles:update`.
#[utoipa::path(put, path = "/auth/orgs/{org}/resource-types/{type}", tag = "roles", request_body = ResourceTypeRequest,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("type" = String, Path, description = "The part of permissions before the colon"),
    ),
    responses(
    (status = 200, description = "Replaced", body = ResourceTypeResponse),
    (status = 201, description = "Declared", body = ResourceTypeResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`: `contradicts_condition` tells which", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn put(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("roles:update"))?;
    let name = name(&call);
    let mut fields = call.fields()?;
    if !is_name(name) {
        fields.refuse("type", "invalid_name", InvalidName::Name.to_string());
    }
    let attributes = fields.choices("attributes", ATTRIBUTES_MAX, &TYPES);
    if attributes.iter().any(|(name, _)| name.is_empty() || name.chars().count() > ATTRIBUTE_NAME_MAX) {
        let message = format!("names have 1 to {ATTRIBUTE_NAME_MAX} characters");
        fields.refuse("attributes", "invalid_name", message);
    }
    fields.finish()?;
    let declared = ResourceType { attributes: attributes.into_iter().collect() };
    let written = call.auth.put_resource_type(&standing, name, &declared, &call.origin).await?;
    let resource_type = shown(name, &declared);
    let reply = Reply::json(status(written.value), &ResourceTypeResponse { resource_type })?;
    Ok(reply.with_revision(&written.revision))
}

/// List the declared resource types
///
/// By name. Needs `roles:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/resource-types", tag = "roles",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = ResourceTypesResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let types = &standing.roles()?.resource_types;
    let resource_types = types.iter().map(|(name, declared)| shown(name, declared)).collect();
    Reply::json(StatusCode::OK, &ResourceTypesResponse { resource_types })
}

/// Read a declared resource type
///
/// Needs `roles:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/resource-types/{type}", tag = "roles",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("type" = String, Path, description = "The part of permissions before the colon"),
    ),
    responses(
    (status = 200, body = ResourceTypeResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or declaration, or not a member", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let name = name(&call);
    let declared = standing.roles()?.resource_types.get(name);
    let declared = declared.ok_or_else(|| Error::new(Code::NotFound, "there is no such resource type"))?;
    Reply::json(StatusCode::OK, &ResourceTypeResponse { resource_type: shown(name, declared) })
}

fn shown(name: &str, declared: &ResourceType) -> DeclaredType {
    DeclaredType { name: name.to_owned(), attributes: declared.attributes.clone() }
}

fn name<'a>(call: &'a Call<'_>) -> &'a str {
    call.parameters.get("type").unwrap_or_default()
}
