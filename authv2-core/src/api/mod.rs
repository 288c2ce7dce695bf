//! The HTTP contract in framework-neutral form: routes, requests, responses, errors, OpenAPI.
//!
//! [`Api::call`] takes any request of the `http` crate and answers it; adapters mount it and add nothing.

mod accounts;
mod analytics;
mod api_keys;
mod authzen;
mod authzen_shapes;
mod body;
mod call;
mod client;
mod cursor;
mod decisions;
mod devices;
mod fields;
mod form;
mod health;
mod introspection;
mod key_usage;
mod members;
mod metadata;
mod mfa;
mod mfa_policy;
mod new_api_key;
mod oauth;
mod openapi;
mod organizations;
mod problem;
mod query;
mod recovery;
mod resource_types;
mod roles;
mod routes;
mod security;
mod security_stream;
mod service_accounts;
mod sessions;
mod shapes;
mod signing_keys;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tracing::Instrument as _;

pub use self::{
    body::Body,
    problem::{FORM as PROBLEM_FORM, Problem, refuse, respond as problem_response, tell_limit},
};
use self::{
    body::Takes,
    call::{Call, Handler, Reply},
    routes::{Access, Route, Routes},
};
use crate::{
    authentication::{AuthenticationService, REQUEST_ID, RequestId},
    error::{Code, Error, Result},
    limit::Verdict,
    metering::RouteClass,
    principal::Principal,
    telemetry,
};

/// The largest request body, in bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// The HTTP contract over one service. A cheap clone.
#[derive(Debug, Clone)]
pub struct Api {
    auth: AuthenticationService,
    routes: Arc<Routes>,
}

impl Api {
    /// The contract's calls on `auth`.
    #[must_use]
    pub fn new(auth: AuthenticationService) -> Self {
        Self { auth, routes: Arc::new(Routes::new()) }
    }

    /// The patterns of all paths, with `{name}` for a parameter, each once: what an adapter mounts.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.routes.paths()
    }

    /// Answers a request. Never fails: a refusal is a problem response.
    ///
    /// The peer's address is taken from the extension [`Peer`](crate::authentication::Peer), the request's id from
    /// [`RequestId`] or else from its header.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send,
    {
        let begin = Instant::now();
        let (mut head, body) = request.into_parts();
        let sent_id = head.headers.get(REQUEST_ID).cloned();
        let id = match head.extensions.get::<RequestId>() {
            Some(id) => id.clone(),
            None => RequestId::of(&head.headers),
        };
        // Whatever looks at the header from here on sees the id in force.
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            head.headers.insert(REQUEST_ID, value);
        }
        head.extensions.insert(id.clone());
        let found = self.routes.find(&head.method, head.uri.path());
        let pattern = found.as_ref().map_or("unmatched", |found| found.pattern);
        let is_oauth =
            found.as_ref().is_some_and(|found| found.route.as_ref().is_ok_and(|route| route.body == Takes::Form));
        let span = tracing::info_span!(
            "http.server.request",
            http.request.method = %head.method,
            http.route = pattern,
            http.response.status_code = tracing::field::Empty,
            authv2.request_id = id.as_str(),
            trace_id = tracing::field::Empty,
        );
        if let Some(trace) = trace_id(&head.headers) {
            span.record("trace_id", trace);
        }
        let mut limits = [None; 2];
        let answered = async {
            let [network, caller] = &mut limits;
            // Whoever asks after its health asks for all.
            if !pattern.starts_with("/health") {
                *network = self.auth.admit_network(&head).await?;
            }
            match found {
                Some(found) => self.dispatch(found, &head, body, caller).await,
                None => Err(Error::new(Code::NotFound, "there is nothing at this path")),
            }
        }
        .instrument(span.clone())
        .await;
        let mut response = match answered {
            Ok(reply) => reply.into_response(),
            Err(error) => {
                span.in_scope(|| report(&error));
                let refusal = if is_oauth { oauth::refuse(&error) } else { problem::respond(&error, &id) };
                refusal.map(Body::from)
            }
        };
        finish(&mut response, &id);
        limits.iter().flatten().for_each(|verdict| tell_limit(&mut response, verdict));
        if let Some((name, nonce)) = self.auth.next_nonce(&head) {
            response.headers_mut().insert(name, nonce);
        }
        // AuthZEN has the id echoed as it was sent, whatever it looks like.
        if let Some(sent_id) = sent_id.filter(|_| pattern.starts_with("/access/v1/")) {
            response.headers_mut().insert(REQUEST_ID, sent_id);
        }
        if head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        let status = response.status();
        span.record("http.response.status_code", status.as_u16());
        measure(pattern, &head.method, status, begin);
        response
    }

    async fn dispatch<B>(
        &self,
        found: routes::Found<'_>,
        head: &http::request::Parts,
        body: B,
        limit: &mut Option<Verdict>,
    ) -> Result<Reply>
    where
        B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send,
    {
        let Route { access, body: takes, handler, .. } = match found.route {
            Ok(route) => route,
            Err(allowed) if head.method == Method::OPTIONS => {
                return Ok(Reply::empty(StatusCode::NO_CONTENT).with(header::ALLOW, allowed.header()));
            }
            Err(allowed) => return Ok(method_not_allowed(&allowed, head)),
        };
        let begin = Instant::now();
        let principal = match access {
            Access::Public => None,
            Access::SameSite => {
                self.auth.refuse_foreign_origin(head)?;
                None
            }
            Access::SignedIn => Some(signed_in(self.auth.authenticate(head).await?)?),
            Access::Ending => Some(signed_in(self.auth.authenticate_to_end(head).await?)?),
            Access::Proving => Some(signed_in(self.auth.authenticate_to_prove(head).await?)?),
        };
        *limit = principal.as_ref().and_then(Principal::limit).copied();
        let class = RouteClass::new(found.pattern);
        let metered = principal.as_ref().and_then(|principal| self.auth.metered(principal, class));
        let answer = self.answer((found.parameters, *takes, *handler), head, body, (principal, begin)).await;
        if let Some(metered) = metered {
            metered.answered(class, answer.as_ref().map_or_else(|error| error.code().status(), Reply::status));
        }
        answer
    }

    /// Answers a call, once it is known who makes it.
    async fn answer<B>(
        &self,
        (parameters, takes, handler): (routes::Parameters<'_>, Takes, Handler),
        head: &http::request::Parts,
        body: B,
        (principal, begin): (Option<Principal>, Instant),
    ) -> Result<Reply>
    where
        B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send,
    {
        let spent = begin.elapsed();
        // A slow client takes its own time, not that of its answer.
        let body = body::read(takes, &head.headers, body).await?;
        let call =
            Call { auth: &self.auth, origin: self.auth.origin_on_device(head), head, parameters, principal, body };
        self.auth.in_time(spent, handler(call)).await
    }
}

fn signed_in(principal: Option<Principal>) -> Result<Principal> {
    principal.ok_or_else(|| Error::new(Code::Unauthenticated, "send a bearer token or a session cookie"))
}

fn method_not_allowed(allowed: &routes::Methods, head: &http::request::Parts) -> Reply {
    let error = Error::new(Code::MethodNotAllowed, "see the header `Allow`");
    let id = head.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::of(&head.headers));
    Reply::problem(problem::respond(&error, &id)).with(header::ALLOW, allowed.header())
}

/// Gives a response what every one carries: the request's id, unless it names one already, and `Cache-Control: no-store`,
/// unless it says otherwise. For adapters, where somebody else made the response.
pub fn finish<B>(response: &mut Response<B>, id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.entry(REQUEST_ID).or_insert(id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn report(error: &Error) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    match error.code() {
        Code::Internal => tracing::error!(code = error.code().as_str(), source, "request failed"),
        Code::Unavailable => tracing::warn!(code = error.code().as_str(), source, "request failed"),
        code => tracing::debug!(code = code.as_str(), "request refused"),
    }
}

fn measure(pattern: &'static str, method: &Method, status: StatusCode, begin: Instant) {
    // Methods are a closed set as far as labels go: anybody can invent one.
    let method = match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    };
    metrics::counter!(
        telemetry::HTTP_REQUESTS,
        "route" => pattern,
        "method" => method,
        "status" => status.as_str().to_owned(),
    )
    .increment(1);
    metrics::histogram!(telemetry::HTTP_SECONDS, "route" => pattern).record(begin.elapsed().as_secs_f64());
}

/// The trace id of a W3C `traceparent` of version 00, if it is well-formed.
fn trace_id(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = trace.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (version == "00" && trace.len() == 32 && is_hex && trace.bytes().any(|b| b != b'0')).then_some(trace)
}

/// A body of JSON that this crate wrote.
fn json(value: &impl serde::Serialize) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Error::internal)
}
