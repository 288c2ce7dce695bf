//! Liveness and readiness.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::call::{Call, Reply};
use crate::{AuthenticationService, changes::FeedHealth, clock::Timestamp, error::Result, store::breaker::Circuit};

/// A component that does not answer within this is down, as far as readiness goes.
const PATIENCE: Duration = Duration::from_millis(900);

/// Whether a component can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It can.
    Ok,
    /// It cannot, and requests are served without it.
    Degraded,
    /// It cannot.
    Down,
}

/// `GET /health/ready`.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: Status,
    components: BTreeMap<Cow<'static, str>, Component>,
}

/// One component's health.
#[derive(Serialize, ToSchema)]
pub(super) struct Component {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    /// Where its circuit breaker stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<Circuit>,
    /// When it last did what it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
}

impl Component {
    /// One that works if `works`, and says `problem` otherwise.
    fn new(works: bool, problem: &str) -> Self {
        Self {
            status: if works { Status::Ok } else { Status::Down },
            detail: (!works).then(|| problem.to_owned()),
            latency_ms: None,
            circuit: None,
            last_success_at: None,
        }
    }
}

/// `GET /health/live`.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    status: Status,
}

/// Whether the process runs
#[utoipa::path(get, path = "/health/live", tag = "operations", responses((status = 200, body = Alive)))]
pub(super) async fn live(_: Call<'_>) -> Result<Reply> {
    Reply::json(StatusCode::OK, &Alive { status: Status::Ok })
}

/// Whether requests can be served
#[utoipa::path(get, path = "/health/ready", tag = "operations", responses(
    (status = 200, body = Health),
    (status = 503, body = Health),
))]
pub(super) async fn ready(call: Call<'_>) -> Result<Reply> {
    let auth = call.auth;
    let (store, cache) = tokio::join!(store(auth), cache(auth));
    let components: BTreeMap<_, _> = [
        ("store", Some(store)),
        ("cache", cache),
        ("signing_keys", Some(signing_keys(auth))),
        ("revocation_feed", Some(revocation_feed(auth))),
        ("password_hasher", Some(password_hasher(auth))),
    ]
    .into_iter()
    .filter_map(|(name, component)| Some((Cow::from(name), component?)))
    .chain(issuers(auth))
    .collect();
    let is = |status| components.values().any(|component| component.status == status);
    let (code, status) = if is(Status::Down) {
        (StatusCode::SERVICE_UNAVAILABLE, Status::Down)
    } else if is(Status::Degraded) {
        (StatusCode::OK, Status::Degraded)
    } else {
        (StatusCode::OK, Status::Ok)
    };
    let reply = Reply::json(code, &Health { status, components })?;
    let retry = (http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    Ok(if status == Status::Down { reply.with(retry.0, retry.1) } else { reply })
}

async fn store(auth: &AuthenticationService) -> Component {
    let begin = Instant::now();
    let answered = timeout(PATIENCE, auth.store().ping()).await.is_ok_and(|ping| ping.is_ok());
    let health = auth.store_health();
    Component {
        latency_ms: Some(begin.elapsed().as_secs_f64() * 1000.0),
        circuit: Some(health.circuit),
        last_success_at: health.last_success.map(|ago| auth.now() - ago),
        ..Component::new(answered, "does not answer")
    }
}

/// The Redis that nodes share, where there is one: requests are served without it, more slowly.
async fn cache(auth: &AuthenticationService) -> Option<Component> {
    let begin = Instant::now();
    let answered = timeout(PATIENCE, auth.shared_cache().ping()).await.unwrap_or(false);
    let health = auth.shared_cache().health()?;
    Some(Component {
        status: if answered { Status::Ok } else { Status::Degraded },
        latency_ms: Some(begin.elapsed().as_secs_f64() * 1000.0),
        circuit: Some(health.circuit),
        last_success_at: health.last_success.map(|ago| auth.now() - ago),
        ..Component::new(answered, "does not answer: served without it")
    })
}

/// A signer that does not answer is no reason to take this node out of service: every other one has the same, and tokens
/// are verified without it.
fn signing_keys(auth: &AuthenticationService) -> Component {
    let signs = auth.jwt().can_sign(auth.now());
    let mut component = Component::new(signs, "no key signs at present");
    if let Some(signer) = auth.jwt().signer_health(auth.now()) {
        component.circuit = Some(signer.circuit);
        component.last_success_at = signer.last_success.map(|ago| auth.now() - ago);
        if signer.circuit != Circuit::Closed {
            component.status = Status::Degraded;
            component.detail = Some("the signer fails: tokens are verified, and none are made".to_owned());
        }
    }
    // They are read before the next token is verified.
    let changed = (!auth.keys_are_current()).then(|| "changed, and not read since".to_owned());
    Component { detail: component.detail.or(changed), ..component }
}

/// What other nodes revoked is refused here as long as their changes are read.
fn revocation_feed(auth: &AuthenticationService) -> Component {
    let FeedHealth { lag, is_stale } = auth.feed().health();
    let component =
        Component::new(!is_stale, "what other nodes changed cannot be read: the store is asked at each request");
    let too_many = "not all revoked tokens are known: the store is asked for each token".to_owned();
    Component {
        detail: component.detail.or((!auth.knows_revoked_tokens()).then_some(too_many)),
        latency_ms: lag.map(|lag| lag.as_secs_f64() * 1000.0),
        last_success_at: lag.map(|lag| auth.now() - lag),
        ..component
    }
}

/// The issuers elsewhere whose tokens are taken. One that does not answer is no reason to take this node out of service:
/// every other node has the same one, and all other callers are served.
#[cfg(feature = "issuers")]
fn issuers(auth: &AuthenticationService) -> impl Iterator<Item = (Cow<'static, str>, Component)> {
    use crate::issuer::KeyState;
    auth.issuers().iter().map(|issuer| {
        let health = issuer.health();
        let (status, detail) = match health.keys {
            KeyState::Fresh => (Status::Ok, None),
            KeyState::Stale => (Status::Degraded, Some("does not answer: its keys of before still verify")),
            KeyState::Missing => {
                (Status::Degraded, Some("there are no keys: its tokens are neither taken nor refused"))
            }
        };
        let component = Component {
            status,
            detail: detail.map(str::to_owned),
            latency_ms: None,
            circuit: Some(health.circuit),
            last_success_at: health.last_success.map(|ago| auth.now() - ago),
        };
        (format!("issuer:{}", issuer.name()).into(), component)
    })
}

#[cfg(not(feature = "issuers"))]
fn issuers(_: &AuthenticationService) -> impl Iterator<Item = (Cow<'static, str>, Component)> {
    std::iter::empty()
}

fn password_hasher(auth: &AuthenticationService) -> Component {
    let detail = Some(format!("{} waiting", auth.users().hash_pool_depth()));
    Component { detail, ..Component::new(true, "") }
}
