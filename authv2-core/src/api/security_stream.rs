//! Security events as they are noticed, for administrators that watch.
//!
//! Each stream reads the store at the pace of its reader: a slow one costs a page of memory, and misses nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Body,
    call::{Call, Reply},
    problem::Problem,
};
use crate::{
    authentication::EventWatch,
    error::{Error, FieldError, Result},
    id::EventId,
    security::SecurityEvent,
};

/// How often a comment is sent where there is nothing else: proxies end what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back, in milliseconds.
const GREETING: &str = "retry: 2000\n: the events from here on\n\n";

/// Watch security events
///
/// A stream of server-sent events: `id` is the event's id, `event` its kind, `data` the event as JSON. After a
/// reconnection `Last-Event-ID` goes on where the stream was left, over events of all nodes; without it the stream
/// begins now. It ends when the session or the access token does, or the caller administers the platform no longer. A
/// page of another site is refused. For administrators of the platform.
#[utoipa::path(get, path = "/auth/security/events/stream", tag = "administration",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses(
    (status = 200, body = String, content_type = "text/event-stream"),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`: `Last-Event-ID` is no id", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`: too many watch on this node", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn open(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    // Whatever it accepts, a browser could read what comes.
    call.auth.refuse_foreign_origin(call.head)?;
    let after = last_event_id(call.head.headers.get("last-event-id"))?;
    let (watch, place) = call.auth.watch_security_events(principal, after).await?;
    let streaming = Streaming { watch, spoke: Instant::now(), is_greeted: false, _place: place };
    let body = Body::stream(futures_util::stream::unfold(streaming, Streaming::next));
    let reply = Reply::stream("text/event-stream", body);
    // Nginx would gather what it is sent.
    Ok(reply.with(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")))
}

fn last_event_id(value: Option<&HeaderValue>) -> Result<Option<EventId>> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let refused = || Error::invalid(vec![FieldError::new("Last-Event-ID", "invalid_id", "is not the id of an event")]);
    value.to_str().ok().and_then(|id| id.parse().ok()).map(Some).ok_or_else(refused)
}

/// A stream under way.
struct Streaming {
    watch: EventWatch,
    spoke: Instant,
    is_greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Streaming {
    /// The next piece; none at its end.
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        if !self.is_greeted {
            self.is_greeted = true;
            return Some((Ok(Bytes::from_static(GREETING.as_bytes())), self));
        }
        loop {
            let events = self.watch.next(HEARTBEAT.saturating_sub(self.spoke.elapsed())).await?;
            if !events.is_empty() || self.spoke.elapsed() >= HEARTBEAT {
                self.spoke = Instant::now();
                return Some((Ok(written(&events)), self));
            }
        }
    }
}

/// Events as the stream has them; a comment if there are none.
fn written(events: &[SecurityEvent]) -> Bytes {
    if events.is_empty() {
        return Bytes::from_static(b":\n\n");
    }
    let mut text = String::new();
    for event in events {
        // It was read from JSON a moment ago, and JSON in one line ends no field.
        let Ok(data) = serde_json::to_string(event) else { continue };
        text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind.as_str()));
    }
    Bytes::from(text)
}
