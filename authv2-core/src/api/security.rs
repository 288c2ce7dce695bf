//! The administration's call on security events.

use std::str::FromStr;

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    problem::Problem,
    query::Query,
};
use crate::{clock::Timestamp, error::Result, security::SecurityEvent, store::EventQuery};

/// How many events a page holds at most, and if nobody says.
const PAGE_MAX: u32 = 200;
const PAGE_DEFAULT: u32 = 50;

/// `GET /auth/security/events`.
#[derive(Serialize, ToSchema)]
pub(super) struct SecurityEventsResponse {
    events: Vec<SecurityEvent>,
    /// Send it as `cursor` for the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The last event of a page: its moment and its number.
struct Cursor(Timestamp, i64);

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, std::num::ParseIntError> {
        let (at, seq) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self(Timestamp::from_micros(at.parse()?), seq.parse()?))
    }
}

/// List security events
///
/// What the security monitor noticed on all nodes, newest first, as long as `security.keep_events` says. For
/// administrators of the platform.
#[utoipa::path(get, path = "/auth/security/events", tag = "administration",
    params(
        ("kind" = Option<String>, Query, description = "Of this kind alone, as `credential_stuffing`"),
        ("severity" = Option<String>, Query, description = "Of this severity alone: `info`, `low`, `medium`, `high`, `critical`"),
        ("from" = Option<String>, Query, description = "At this moment (RFC 3339) or later"),
        ("to" = Option<String>, Query, description = "Before this moment"),
        ("limit" = Option<u32>, Query, description = "How many at most: 1 to 200, 50 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
    (status = 200, body = SecurityEventsResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let mut query = Query::of(&call.head.uri);
    let limit = query.number("limit", 1..=PAGE_MAX).unwrap_or(PAGE_DEFAULT);
    let asked = EventQuery {
        kind: query.parsed("kind", "invalid_choice"),
        severity: query.parsed("severity", "invalid_choice"),
        from: query.moment("from", "invalid_time"),
        to: query.moment("to", "invalid_time"),
        before: query.parsed("cursor", "invalid_cursor").map(|Cursor(at, seq)| (at, seq)),
        limit: limit + 1,
    };
    query.finish()?;
    let mut found = call.auth.security_events(call.principal()?, asked).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    let next_cursor =
        found.last().filter(|_| has_more).map(|last| format!("{}.{}", last.event.at.as_micros(), last.seq));
    let events = found.into_iter().map(|stored| stored.event).collect();
    Reply::json(StatusCode::OK, &SecurityEventsResponse { events, next_cursor })
}
