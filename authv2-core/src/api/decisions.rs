//! The calls that ask what the caller may do.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    fields::Fields,
    problem::Problem,
};
use crate::{
    error::{Code, Error, Result},
    permission,
    permission::{Decision, Needed, Permission, Reason, StepUp, Trial},
    principal::Principal,
};

/// The most checks of one call.
const CHECKS_MAX: usize = 100;

/// `POST /auth/permissions/check`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct CheckRequest {
    /// `resource:action`.
    #[schema(example = "orders:refund")]
    permission: String,
    /// The store it is about: slug or id. By default the token's, else the organization.
    store: Option<String>,
    /// What it is to be done to: `resource` in conditions.
    resource: Option<Map<String, Value>>,
    /// More about the circumstances: `context` in conditions.
    context: Option<Map<String, Value>>,
    /// Whether to say why.
    explain: Option<bool>,
}

/// `POST /auth/permissions/check-many`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct CheckManyRequest {
    /// At most 100.
    checks: Vec<CheckRequest>,
}

/// The answer to a check.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckResponse {
    /// Whether the caller may.
    allowed: bool,
    /// The sign-in that alone is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_up: Option<StepUp>,
    /// With `explain`: the grant that decided; none where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// With `explain`: the conditions tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<Vec<Trial>>,
    /// With `explain`, for a no: what would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<Vec<Needed>>,
}

/// `POST /auth/permissions/check-many`.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckManyResponse {
    /// In the order of the checks.
    results: Vec<CheckResponse>,
}

/// May I?
///
/// Decided in the caller's organization. What the caller says of the resource and the context is its own claim.
#[utoipa::path(post, path = "/auth/permissions/check", tag = "decisions", request_body = CheckRequest, responses(
    (status = 200, body = CheckResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such store", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn check(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let asked = Asked::read(&mut fields);
    fields.finish()?;
    let principal = call.principal()?;
    let answer = asked.answer(principal)?;
    note_denials(principal, std::slice::from_ref(&answer));
    Reply::json(StatusCode::OK, &answer)
}

/// May I do these?
#[utoipa::path(post, path = "/auth/permissions/check-many", tag = "decisions", request_body = CheckManyRequest, responses(
    (status = 200, body = CheckManyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such store", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn check_many(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let asked = fields.objects("checks", CHECKS_MAX, Asked::read);
    fields.finish()?;
    let principal = call.principal()?;
    let results: Vec<_> = asked.into_iter().map(|asked| asked.answer(principal)).collect::<Result<_>>()?;
    note_denials(principal, &results);
    Reply::json(StatusCode::OK, &CheckManyResponse { results })
}

/// Advice that is no counts towards a burst of denials once a call: a page asks for all its buttons at a time.
fn note_denials(principal: &Principal, answers: &[CheckResponse]) {
    if let Some(access) = principal.access().filter(|_| answers.iter().any(CheckResponse::is_denied)) {
        access.note_denial(principal.now());
    }
}

/// A check as asked for.
struct Asked {
    /// None where it was refused: the reading fails as a whole then.
    permission: Option<Permission>,
    store: Option<String>,
    resource: Option<Map<String, Value>>,
    context: Option<Map<String, Value>>,
    explain: bool,
}

impl Asked {
    fn read(fields: &mut Fields) -> Self {
        Self {
            permission: fields.parsed("permission", "invalid_permission"),
            store: fields.optional_string("store"),
            resource: fields.optional_data("resource"),
            context: fields.optional_data("context"),
            explain: fields.optional_bool("explain").unwrap_or(false),
        }
    }

    fn answer(self, principal: &Principal) -> Result<CheckResponse> {
        let Some(permission) = self.permission else { return Err(Error::invalid(Vec::new())) };
        let mut check = principal.check(permission);
        if let (Some(name), Some(access)) = (&self.store, principal.access()) {
            let bound_to = principal.tenant().and_then(|tenant| tenant.store);
            let store = access.snapshot().model().store(name);
            let store = store.filter(|store| bound_to.is_none_or(|bound_to| bound_to == *store));
            check = check.at(store.ok_or_else(|| Error::new(Code::NotFound, "there is no such store"))?);
        }
        if let Some(resource) = self.resource {
            check = check.resource(resource.into());
        }
        if let Some(context) = self.context {
            check = check.context(context.into());
        }
        if !self.explain {
            return Ok(CheckResponse::of(&check.advise()));
        }
        let explained = check.explain();
        let is_allowed = explained.decision.is_allowed();
        Ok(CheckResponse {
            reason: explained.reason,
            tried: Some(explained.tried),
            // It tells of roles that the caller does not hold.
            needed: (!is_allowed && principal.check(permission!("roles:read")).advise().is_allowed())
                .then_some(explained.needed),
            ..CheckResponse::of(&explained.decision)
        })
    }
}

impl CheckResponse {
    fn is_denied(&self) -> bool {
        !self.allowed && self.step_up.is_none()
    }

    fn of(decision: &Decision) -> Self {
        let step_up = match decision {
            Decision::StepUp(wanted) => Some(wanted.clone()),
            Decision::Allowed | Decision::Denied => None,
        };
        Self { allowed: decision.is_allowed(), step_up, reason: None, tried: None, needed: None }
    }
}
