//! Liveness and readiness.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::call::{Call, Reply};
use crate::error::Result;

/// A component that does not answer within this is down, as far as readiness goes.
const PATIENCE: Duration = Duration::from_millis(900);

/// Whether a component can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It can.
    Ok,
    /// It cannot.
    Down,
}

/// `GET /health/ready`.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: Status,
    components: BTreeMap<&'static str, Component>,
}

/// One component's health.
#[derive(Serialize, ToSchema)]
pub(super) struct Component {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
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
    let begin = Instant::now();
    let answered = timeout(PATIENCE, call.auth.store().ping()).await.is_ok_and(|ping| ping.is_ok());
    let store = Component {
        status: if answered { Status::Ok } else { Status::Down },
        detail: (!answered).then(|| "does not answer".to_owned()),
        latency_ms: Some(begin.elapsed().as_secs_f64() * 1000.0),
    };
    let signs = call.auth.jwt().keys().signer(call.auth.now()).is_some();
    let signing_keys = Component {
        status: if signs { Status::Ok } else { Status::Down },
        detail: (!signs).then(|| "no key signs at present".to_owned()),
        latency_ms: None,
    };
    let password_hasher = Component {
        status: Status::Ok,
        detail: Some(format!("{} waiting", call.auth.users().hash_pool_depth())),
        latency_ms: None,
    };
    let components: BTreeMap<_, _> =
        [("store", store), ("signing_keys", signing_keys), ("password_hasher", password_hasher)].into();
    let all = components.values().all(|component| component.status == Status::Ok);
    let (code, status) =
        if all { (StatusCode::OK, Status::Ok) } else { (StatusCode::SERVICE_UNAVAILABLE, Status::Down) };
    let reply = Reply::json(code, &Health { status, components })?;
    Ok(if all { reply } else { reply.with(http::header::RETRY_AFTER, http::HeaderValue::from_static("1")) })
}
