//! The calls on members of an organization, and the parts that those on service accounts share.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    cursor::{Cursor, PAGE_DEFAULT, PAGE_MAX},
    fields::Fields,
    problem::Problem,
    query::Query,
};
use crate::{
    authentication::{Candidate, WantedRole, no_member},
    error::{Error, Result},
    id::{MemberId, UserId},
    organization::{Member, RoleAssignment},
    permission,
    store::{MemberKind, MemberPage, MemberRecord},
    user::email::Email,
};

/// The most roles that one member may hold.
const ROLES_MAX: usize = 100;

/// A role to hold.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct WantedRoleRequest {
    /// The role's name.
    role: String,
    /// The store to hold it at: slug or id. At the organization, which reaches its stores, if none.
    store: Option<String>,
}

/// `POST /auth/orgs/{org}/members`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct AddMemberRequest {
    /// The e-mail of a user; this or `user_id`.
    #[schema(format = Email)]
    email: Option<String>,
    /// The id of a user; this or `email`.
    #[schema(format = Uuid)]
    user_id: Option<String>,
    /// At most 100.
    roles: Vec<WantedRoleRequest>,
}

/// `PUT …/roles`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct AssignRolesRequest {
    /// All roles that it holds from now on, at most 100.
    roles: Vec<WantedRoleRequest>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberResponse {
    member: Member,
}

/// `GET /auth/orgs/{org}/members`.
#[derive(Serialize, ToSchema)]
pub(super) struct MembersResponse {
    members: Vec<Member>,
    /// Send it as `cursor` for the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Add a member
///
/// Needs `members:create`, and whatever the roles give. Answers to writes carry the header
/// `X-Authv2-Revision`: a request that sends it back is decided on data at least that new.
#[utoipa::path(post, path = "/auth/orgs/{org}/members", tag = "members", request_body = AddMemberRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 201, body = MemberResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it; `user_not_found`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`already_a_member`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn add(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    standing.require(&permission!("members:create"))?;
    let mut fields = call.fields()?;
    let candidate = candidate(&mut fields);
    let wanted = wanted_roles(&mut fields);
    fields.finish()?;
    // Whatever stood in its way was refused just now.
    let candidate = candidate.ok_or_else(|| Error::invalid(Vec::new()))?;
    let added = call.auth.add_member(&standing, &candidate, &wanted, &call.origin).await?;
    let member = member(added.value)?;
    Ok(Reply::json(StatusCode::CREATED, &MemberResponse { member })?.with_revision(&added.revision))
}

/// Exactly one of `email` and `user_id`.
fn candidate(fields: &mut Fields) -> Option<Candidate> {
    let one_alone = "send either `email` or `user_id`";
    let (has_email, has_id) = (fields.has("email"), fields.has("user_id"));
    if has_email && has_id {
        fields.refuse("user_id", "ambiguous", one_alone);
    } else if !has_email && !has_id {
        fields.refuse("email", "required", one_alone);
    }
    let id: Option<UserId> = fields.optional_parsed("user_id", "invalid_id");
    let email = fields.optional_string("email").and_then(|text| {
        Email::parse(&text).map_err(|problem| fields.refuse("email", "invalid_email", problem.to_string())).ok()
    });
    email.map(Candidate::Email).or(id.map(Candidate::User))
}

/// List members
///
/// Oldest first. Needs `members:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/members", tag = "members",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("limit" = Option<u32>, Query, description = "How many at most: 1 to 200, 50 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
    (status = 200, body = MembersResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let (members, next_cursor) = page(&call, MemberKind::User).await?;
    let members = members.into_iter().map(member).collect::<Result<_>>()?;
    Reply::json(StatusCode::OK, &MembersResponse { members, next_cursor })
}

/// Assign roles to a member
///
/// Replaces those it holds. Needs `members:update` wherever something changes, and whatever the roles give; nobody
/// but an owner narrows an owner.
#[utoipa::path(put, path = "/auth/orgs/{org}/members/{user_id}/roles", tag = "members",
    request_body = AssignRolesRequest,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("user_id" = String, Path, description = "The user's id"),
    ),
    responses(
    (status = 200, body = MemberResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or member, or not a member oneself", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn assign(call: Call<'_>) -> Result<Reply> {
    let (value, revision) = assign_roles(&call, MemberKind::User, "user_id").await?;
    let member = member(value)?;
    Ok(Reply::json(StatusCode::OK, &MemberResponse { member })?.with_revision(&revision))
}

/// Remove a member, or leave
///
/// Needs `members:delete`, but for leaving. The user's sessions in the organization go on in none.
#[utoipa::path(delete, path = "/auth/orgs/{org}/members/{user_id}", tag = "members",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("user_id" = String, Path, description = "The user's id"),
    ),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or member, or not a member oneself", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn remove(call: Call<'_>) -> Result<Reply> {
    remove_member(&call, MemberKind::User, "user_id").await
}

type Shown = (MemberRecord, Vec<RoleAssignment>);

/// Assigns the roles that the body names to the member that the path names.
pub(super) async fn assign_roles(call: &Call<'_>, kind: MemberKind, parameter: &str) -> Result<(Shown, String)> {
    let standing = call.standing().await?;
    call.auth.require_assigning(&standing).await?;
    let id = member_id(call, parameter)?;
    call.auth.member(&standing, kind, id).await?;
    let mut fields = call.fields()?;
    let wanted = wanted_roles(&mut fields);
    fields.finish()?;
    let assigned = call.auth.assign_roles(&standing, (kind, id), &wanted, &call.origin).await?;
    Ok((assigned.value, assigned.revision))
}

/// Removes the member that the path names.
pub(super) async fn remove_member(call: &Call<'_>, kind: MemberKind, parameter: &str) -> Result<Reply> {
    let standing = call.standing().await?;
    let id = match member_id(call, parameter) {
        Ok(id) => id,
        // Nobody is called that; yet whoever may not remove members is told so first, as with every other name.
        Err(no_member) => return standing.require(&permission!("members:delete")).and(Err(no_member)),
    };
    let removed = call.auth.remove_member(&standing, (kind, id), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_revision(&removed.revision))
}

/// The page of members that the query asks for, and where the next one begins.
pub(super) async fn page(call: &Call<'_>, kind: MemberKind) -> Result<(Vec<Shown>, Option<String>)> {
    let standing = call.standing().await?;
    standing.require(&permission!("members:read"))?;
    let mut query = Query::of(&call.head.uri);
    let limit = query.number("limit", 1..=PAGE_MAX).unwrap_or(PAGE_DEFAULT);
    let after: Option<Cursor> = query.parsed("cursor", "invalid_cursor");
    query.finish()?;
    let after = after.map(|Cursor(joined_at, member)| (joined_at, member.into()));
    // One more than asked for tells whether there is a page after this one.
    let mut members = call.auth.members(&standing, MemberPage { kind, after, limit: limit + 1 }).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = members.len() > most;
    members.truncate(most);
    let last = members.last().filter(|_| has_more);
    let next = last.map(|(record, _)| Cursor(record.joined_at, record.id.as_uuid()).to_string());
    Ok((members, next))
}

/// The field `roles`, which must be there.
pub(super) fn wanted_roles(fields: &mut Fields) -> Vec<WantedRole> {
    fields.objects("roles", ROLES_MAX, |role| WantedRole {
        role: role.string("role"),
        store: role.optional_string("store"),
    })
}

fn member_id(call: &Call<'_>, parameter: &str) -> Result<MemberId> {
    call.parameters.get(parameter).and_then(|id| id.parse().ok()).ok_or_else(no_member)
}

fn member((record, roles): Shown) -> Result<Member> {
    Member::of(&record, roles).ok_or_else(no_member)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_candidate_is_named_in_exactly_one_way() {
        let id = UserId::new();
        let read = |body: String| {
            let mut fields = Fields::parse(&Bytes::from(body), false).unwrap();
            let found = candidate(&mut fields);
            fields.finish().map(|()| found).map_err(|refused| {
                refused.fields().iter().map(|problem| (problem.field.clone(), problem.code)).collect::<Vec<_>>()
            })
        };
        assert!(matches!(read(r#"{"email": "a@b.example"}"#.to_owned()), Ok(Some(Candidate::Email(_)))));
        assert!(matches!(read(format!(r#"{{"user_id": "{id}"}}"#)), Ok(Some(Candidate::User(found))) if found == id));
        for (body, field, code) in [
            ("{}".to_owned(), "email", "required"),
            (format!(r#"{{"email": "a@b.example", "user_id": "{id}"}}"#), "user_id", "ambiguous"),
            (r#"{"email": "a"}"#.to_owned(), "email", "invalid_email"),
            (r#"{"user_id": "a"}"#.to_owned(), "user_id", "invalid_id"),
            (r#"{"user_id": 1}"#.to_owned(), "user_id", "invalid_type"),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), [(field.to_owned(), code)], "{body}");
        }
    }
}
