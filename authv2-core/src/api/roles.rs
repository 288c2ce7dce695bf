//! The calls on roles.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    fields::Fields,
    problem::Problem,
};
use crate::{
    authentication::{Put, no_role, require_seeing_impact},
    error::Result,
    permission::{Effect, Grant, Impact, InvalidName, Role, RoleDefinition, StepUp, is_name},
};

/// The most parents and grants of one role, and the longest description.
const PARENTS_MAX: usize = 100;
const GRANTS_MAX: usize = 1000;
const DESCRIPTION_MAX: usize = 1000;
/// The oldest sign-in that a grant can ask for, in seconds: older than any session.
const MAX_AGE_MAX: u64 = 10 * 366 * 24 * 3600;
/// The longest authentication context class, in characters.
const ACR_MAX: usize = 200;

/// A role to write.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RoleRequest {
    /// What it is for: at most 1,000 characters.
    description: Option<String>,
    /// The names of the roles whose grants it has too, at most 100.
    inherits: Vec<String>,
    /// Its own grants, at most 1,000.
    grants: Vec<Grant>,
}

/// A role.
#[derive(Serialize, ToSchema)]
pub(super) struct RoleResponse {
    role: Role,
}

/// `GET …/roles`.
#[derive(Serialize, ToSchema)]
pub(super) struct RolesResponse {
    roles: Vec<Role>,
}

/// Write a role
///
/// Makes it, or replaces it whole. Needs `roles:create` or `roles:update`, and whatever the role brings. Answers to
/// writes carry the header `X-Authv2-Revision`: a request that sends it back is decided on data at least that new.
#[utoipa::path(put, path = "/auth/orgs/{org}/roles/{name}", tag = "roles", request_body = RoleRequest,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("name" = String, Path, description = "The role's name: a lower-case letter, then at most 62 of `a-z0-9_-`"),
    ),
    responses(
    (status = 200, description = "Replaced", body = RoleResponse),
    (status = 201, description = "Made", body = RoleResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`role_is_builtin`, `role_cycle`, `last_owner`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`: `invalid_condition` tells line and column", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn put(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    call.auth.require_writing_role(&standing, name(&call))?;
    let definition = definition(&call)?;
    let written = call.auth.put_role(&standing, &definition, &call.origin).await?;
    let (role, put) = written.value;
    Ok(Reply::json(status(put), &RoleResponse { role })?.with_revision(&written.revision))
}

/// List the roles of an organization
///
/// By name. Needs `roles:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/roles", tag = "roles",
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 200, body = RolesResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let mut roles = standing.roles()?.roles().to_vec();
    roles.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Reply::json(StatusCode::OK, &RolesResponse { roles })
}

/// Read a role
///
/// Needs `roles:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/roles/{name}", tag = "roles",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("name" = String, Path, description = "The role's name"),
    ),
    responses(
    (status = 200, body = RoleResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or role, or not a member", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let role = standing.roles()?.role(name(&call)).cloned().ok_or_else(no_role)?;
    Reply::json(StatusCode::OK, &RoleResponse { role })
}

/// Remove a role
///
/// One that no member holds and no role inherits. Needs `roles:delete`.
#[utoipa::path(delete, path = "/auth/orgs/{org}/roles/{name}", tag = "roles",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("name" = String, Path, description = "The role's name"),
    ),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or role, or not a member", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`role_is_builtin`, `role_in_use`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let deleted = call.auth.delete_role(&standing, name(&call), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_revision(&deleted.revision))
}

/// Ask what a role would change
///
/// Who would gain and who would lose what, if the role were written like this. Needs `roles:read` and `members:read`.
#[utoipa::path(post, path = "/auth/orgs/{org}/roles/{name}/impact", tag = "roles", request_body = RoleRequest,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("name" = String, Path, description = "The role's name; it need not exist"),
    ),
    responses(
    (status = 200, body = Impact),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`role_is_builtin`, `role_cycle`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`: `invalid_condition` tells line and column", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn impact(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    require_seeing_impact(&standing)?;
    let definition = definition(&call)?;
    let impact: Impact = call.auth.role_impact(&standing, &definition).await?;
    Reply::json(StatusCode::OK, &impact)
}

/// The status that says what a write did.
pub(super) fn status(put: Put) -> StatusCode {
    match put {
        Put::New => StatusCode::CREATED,
        Put::Replaced => StatusCode::OK,
    }
}

fn name<'a>(call: &'a Call<'_>) -> &'a str {
    call.parameters.get("name").unwrap_or_default()
}

/// The role that path and body describe.
fn definition(call: &Call<'_>) -> Result<RoleDefinition> {
    let mut fields = call.fields()?;
    let name = name(call).to_owned();
    if !is_name(&name) {
        fields.refuse("name", "invalid_name", InvalidName::Name.to_string());
    }
    let definition = read_definition(name, &mut fields);
    fields.finish()?;
    Ok(definition)
}

fn read_definition(name: String, fields: &mut Fields) -> RoleDefinition {
    let description = at_most(fields, "description", DESCRIPTION_MAX);
    let inherits = fields.strings("inherits", PARENTS_MAX);
    let grants = fields.objects("grants", GRANTS_MAX, read_grant);
    RoleDefinition { name, description, inherits, grants: grants.into_iter().flatten().collect() }
}

/// A grant, where nothing in it is refused.
fn read_grant(fields: &mut Fields) -> Option<Grant> {
    let permission = fields.parsed("permission", "invalid_permission");
    let effect = fields.choice("effect", &[("allow", Effect::Allow), ("deny", Effect::Deny)]);
    let when = fields.optional_string("when");
    let problems = fields.problems();
    let step_up = fields.optional_object("step_up", |step_up| StepUp {
        max_age: step_up.optional_integer("max_age", 1..=MAX_AGE_MAX),
        acr: acr(step_up),
    });
    match &step_up {
        Some(_) if effect == Some(Effect::Deny) => fields.refuse("step_up", "not_for_denies", "is for allows alone"),
        Some(StepUp { max_age: None, acr: None }) if fields.problems() == problems => {
            fields.refuse("step_up", "empty", "must say `max_age`, `acr` or both");
        }
        _ => {}
    }
    Some(Grant { permission: permission?, effect: effect?, when, step_up })
}

/// An authentication context class: what may stand in a challenge's quoted string.
fn acr(fields: &mut Fields) -> Option<String> {
    let acr = at_most(fields, "acr", ACR_MAX)?;
    if acr.is_empty() || !acr.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        fields.refuse("acr", "invalid_character", "must be of visible ASCII characters without quotes or backslashes");
    }
    Some(acr)
}

/// A string of at most so many characters, if it is there.
fn at_most(fields: &mut Fields, name: &'static str, most: usize) -> Option<String> {
    let text = fields.optional_string(name)?;
    if text.chars().count() > most {
        fields.refuse(name, "too_long", format!("must have at most {most} characters"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(body: &str) -> Result<RoleDefinition> {
        let mut fields = Fields::parse(&Bytes::from(body.to_owned()), false)?;
        let definition = read_definition("clerk".to_owned(), &mut fields);
        fields.finish().map(|()| definition)
    }

    #[test]
    fn reads_a_role() {
        let body = r#"{"description": "x", "inherits": ["member"], "grants": [
            {"permission": "orders:*", "effect": "allow", "when": "true", "step_up": {"max_age": 60, "acr": "aal2"}},
            {"permission": "*", "effect": "deny", "when": null}]}"#;
        let mut role = read(body).unwrap();
        let step_up = StepUp { max_age: Some(60), acr: Some("aal2".to_owned()) };
        let allow = Grant {
            permission: "orders:*".parse().unwrap(),
            effect: Effect::Allow,
            when: Some("true".to_owned()),
            step_up: Some(step_up),
        };
        let deny = Grant { permission: "*".parse().unwrap(), effect: Effect::Deny, when: None, step_up: None };
        assert_eq!(std::mem::take(&mut role.grants), [allow, deny]);
        let expected = RoleDefinition {
            name: "clerk".to_owned(),
            description: Some("x".to_owned()),
            inherits: vec!["member".to_owned()],
            grants: Vec::new(),
        };
        assert_eq!(role, expected);
    }

    #[test]
    fn tells_every_problem_with_a_role() {
        let long = "x".repeat(1001);
        let grant = |more: &str| format!(r#"{{"permission": "a:b", "effect": "allow"{more}}}"#);
        let grants = [
            grant(r#", "until": 1"#),
            grant(r#", "step_up": {}"#),
            grant(r#", "step_up": {"max_age": 0}"#),
            grant(r#", "step_up": {"age": 1}"#),
            r#"{"permission": "a:b", "effect": "deny", "step_up": {"acr": "a"}}"#.to_owned(),
            r#"{"permission": "a", "effect": "no", "when": 1}"#.to_owned(),
        ];
        let body = format!(r#"{{"description": "{long}", "inherits": [1], "grants": [{}]}}"#, grants.join(","));
        let refused = read(&body).unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        let expected = [
            ("description", "too_long"),
            ("inherits[0]", "invalid_type"),
            ("grants[0].until", "unknown_field"),
            ("grants[1].step_up", "empty"),
            ("grants[2].step_up.max_age", "out_of_range"),
            ("grants[3].step_up.age", "unknown_field"),
            ("grants[4].step_up", "not_for_denies"),
            ("grants[5].permission", "invalid_permission"),
            ("grants[5].effect", "invalid_choice"),
            ("grants[5].when", "invalid_type"),
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_role_has_its_limits() {
        let grants = vec![r#"{"permission": "a:b", "effect": "allow"}"#; GRANTS_MAX + 1].join(",");
        let parents = vec![r#""member""#; PARENTS_MAX + 1].join(",");
        let refused = read(&format!(r#"{{"inherits": [{parents}], "grants": [{grants}]}}"#)).unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        assert_eq!(problems, [("inherits", "too_many"), ("grants", "too_many")]);
    }
}
