//! Permissions as an application asks for them: layers, extractors, handlers, and a directory of its resources. Over a
//! service in memory.
#![allow(clippy::needless_pass_by_value, reason = "a test reads better with values")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use authv2_axum::{Principal, Rejection, Require, RequireLayer, auth_layer};
use authv2_core::{
    AuthenticationService, Config,
    api::Api,
    authentication::{Resource, ResourceDirectory, ResourcePage, ResourceQuery},
    clock::{FakeClock, SystemClock},
    permission,
    secret::Secret,
    store::StoreError,
};
use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const PASSWORD: &str = "correct horse battery";

/// An organization, acme, and its owner.
struct World {
    auth: AuthenticationService,
    clock: Arc<FakeClock>,
    owner: String,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    challenge: String,
    request_id: String,
    json: Value,
}

impl Answer {
    async fn read<B>(response: http::Response<B>) -> Self
    where
        B: http_body_util::BodyExt,
        B::Error: std::fmt::Debug,
    {
        let (head, body) = response.into_parts();
        let text = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let json = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
        Self { status: head.status, challenge: text("www-authenticate"), request_id: text("x-request-id"), json }
    }

    fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    fn outcome(&self) -> (u16, &str) {
        (self.status.as_u16(), self.code())
    }
}

impl World {
    async fn new() -> Self {
        Self::with_directory(None).await
    }

    async fn with_directory(directory: Option<Arc<dyn ResourceDirectory>>) -> Self {
        let mut config = Config::development();
        config.store.url = Secret::from("sqlite::memory:");
        config.password.memory_kib = 64;
        config.password.iterations = 1;
        let clock = Arc::new(FakeClock::at(SystemClock::wall()));
        let mut builder = AuthenticationService::builder(config).clock(clock.clone());
        if let Some(directory) = directory {
            builder = builder.resource_directory(directory);
        }
        let mut world = Self { auth: builder.build().await.unwrap(), clock, owner: String::new() };
        world.register("owner").await;
        let founder = world.sign_in("owner", json!({})).await;
        world.made(Method::POST, "/auth/orgs", &founder, json!({"slug": "acme", "name": "Acme"})).await;
        world.owner = world.sign_in("owner", json!({"organization": "acme"})).await;
        world
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        Answer::read(Api::new(self.auth.clone()).call(request.body(Body::from(body.to_string())).unwrap()).await).await
    }

    async fn made(&self, method: Method, path: &str, token: &str, body: Value) -> Value {
        let answer = self.call(method, path, token, &body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.json);
        answer.json
    }

    async fn register(&self, name: &str) -> String {
        let body = json!({"email": format!("{name}@example.org"), "password": PASSWORD});
        let registered = self.made(Method::POST, "/auth/register", "", body).await;
        registered["user"]["id"].as_str().unwrap().to_owned()
    }

    async fn sign_in(&self, name: &str, place: Value) -> String {
        let mut body = json!({"email": format!("{name}@example.org"), "password": PASSWORD});
        body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        let tokens = self.made(Method::POST, "/auth/login", "", body).await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// Makes an account that is a member of acme, with a role of its own that has these grants: its id and its token.
    async fn member(&self, name: &str, grants: Value) -> (String, String) {
        let role = json!({"inherits": [], "grants": grants});
        self.made(Method::PUT, &format!("/auth/orgs/acme/roles/{name}"), &self.owner, role).await;
        let id = self.register(name).await;
        let body = json!({"user_id": id, "roles": [{"role": name}]});
        self.made(Method::POST, "/auth/orgs/acme/members", &self.owner, body).await;
        (id, self.sign_in(name, json!({"organization": "acme"})).await)
    }

    async fn with_grants(&self, name: &str, grants: Value) -> String {
        self.member(name, grants).await.1
    }
}

fn allow(permission: &str) -> Value {
    json!({"permission": permission, "effect": "allow"})
}

fn allow_when(permission: &str, condition: &str) -> Value {
    json!({"permission": permission, "effect": "allow", "when": condition})
}

#[allow(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn stepping_up(permission: &str, step_up: Value) -> Value {
    json!({"permission": permission, "effect": "allow", "step_up": step_up})
}

permission!(ReadOrders = "orders:read");
permission!(CloseOrders = "orders:close");

async fn refund(Principal(principal): Principal, body: String) -> Result<&'static str, Rejection> {
    let order: Value = serde_json::from_str(&body).unwrap_or_default();
    principal.check(permission!("orders:refund")).resource(order).require()?;
    Ok("{}")
}

fn routes() -> Router {
    let orders = permission!("orders:read");
    let close = permission!("orders:close");
    let reports = permission!("reports:read");
    let guarded = |layer: RequireLayer| get(async || "{}").layer(layer);
    Router::new()
        .route("/one", guarded(RequireLayer::permission(orders.clone())))
        .route("/close", guarded(RequireLayer::permission(close.clone())))
        .route("/both", guarded(RequireLayer::all([orders.clone(), close.clone()])))
        .route("/either", guarded(RequireLayer::any([orders, close, reports])))
        .route("/extracted", get(async |Require(principal, _): Require<ReadOrders>| principal.id().to_owned()))
        .route("/extracted/close", get(async |_: Require<CloseOrders>| "{}"))
        .route("/refund", post(refund))
}

async fn ask(app: &Router, method: Method, path: &str, token: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-request-id", "asked-7");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    Answer::read(app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()).await
}

async fn get_outcome(app: &Router, path: &str, token: &str) -> (u16, String) {
    let answer = ask(app, Method::GET, path, token, "").await;
    assert_eq!(answer.request_id, "asked-7", "{path}");
    if !answer.status.is_success() {
        assert_eq!(answer.json["request_id"], "asked-7", "{path}");
        assert_eq!(!answer.challenge.is_empty(), answer.status == StatusCode::UNAUTHORIZED, "{path}");
    }
    let (status, code) = answer.outcome();
    (status, code.to_owned())
}

fn outcome(status: u16) -> (u16, String) {
    let code = match status {
        401 => "unauthenticated",
        403 => "permission_denied",
        500 => "internal",
        _ => "",
    };
    (status, code.to_owned())
}

#[tokio::test]
async fn layers_and_extractors_let_through_who_has_the_permission() {
    let world = World::new().await;
    let app = routes().layer(auth_layer(&world.auth));
    let reader = world.with_grants("reader", json!([allow("orders:read")])).await;
    let closer = world.with_grants("closer", json!([allow("orders:*")])).await;
    let analyst = world.with_grants("analyst", json!([allow("reports:read")])).await;
    let nobody = world.with_grants("nobody", json!([])).await;
    let suspended = json!([allow("orders:*"), {"permission": "orders:read", "effect": "deny"}]);
    let suspended = world.with_grants("suspended", suspended).await;
    // In no organization the owner of one may do nothing.
    let nowhere = world.sign_in("owner", json!({})).await;
    for (token, one, both, either) in [
        (reader.as_str(), 200, 403, 200),
        (&closer, 200, 200, 200),
        (&analyst, 403, 403, 200),
        (&nobody, 403, 403, 403),
        (&suspended, 403, 403, 200),
        (&world.owner, 200, 200, 200),
        (&nowhere, 403, 403, 403),
        ("", 401, 401, 401),
    ] {
        for (path, status) in [("/one", one), ("/extracted", one), ("/both", both), ("/either", either)] {
            assert_eq!(get_outcome(&app, path, token).await, outcome(status), "{path}");
        }
    }
    // Without the layer that finds out who calls, nobody passes.
    for path in ["/one", "/both", "/either", "/extracted"] {
        assert_eq!(ask(&routes(), Method::GET, path, &closer, "").await.outcome(), (500, "internal"), "{path}");
    }
}

#[tokio::test]
async fn a_role_taken_away_closes_the_route_at_once() {
    let world = World::new().await;
    let app = routes().layer(auth_layer(&world.auth));
    let reader = world.with_grants("reader", json!([allow("orders:read")])).await;
    for grants in [json!([]), json!([allow("orders:read")]), json!([])] {
        let role = json!({"inherits": [], "grants": grants});
        world.made(Method::PUT, "/auth/orgs/acme/roles/reader", &world.owner, role).await;
        let status = if grants == json!([]) { 403 } else { 200 };
        for path in ["/one", "/either", "/extracted"] {
            assert_eq!(get_outcome(&app, path, &reader).await, outcome(status), "{path} {grants}");
        }
    }
}

#[tokio::test]
async fn a_grant_that_wants_a_better_sign_in_asks_for_one() {
    let world = World::new().await;
    let app = routes().layer(auth_layer(&world.auth));
    let strong = json!([stepping_up("orders:close", json!({"acr": "aal2"}))]);
    let reading = json!([allow("orders:read"), strong[0]]);
    let (strong, reading) = (world.with_grants("strong", strong).await, world.with_grants("reading", reading).await);
    let asked = async |app: &Router, path: &str, token: &str, parameter: &str| {
        let answer = ask(app, Method::GET, path, token, "").await;
        assert_eq!(answer.outcome(), (401, "step_up_required"), "{path}");
        let expected = format!("Bearer realm=\"authv2\", error=\"insufficient_user_authentication\", {parameter}");
        assert_eq!(answer.challenge, expected, "{path}");
        assert_eq!((answer.request_id.as_str(), &answer.json["request_id"]), ("asked-7", &json!("asked-7")));
    };
    for path in ["/close", "/extracted/close", "/either"] {
        asked(&app, path, &strong, "acr_values=\"aal2\"").await;
    }
    // It would not help where something else is missing, and is not wanted where another right will do.
    assert_eq!(get_outcome(&app, "/both", &strong).await, outcome(403));
    asked(&app, "/both", &reading, "acr_values=\"aal2\"").await;
    assert_eq!(get_outcome(&app, "/either", &reading).await, outcome(200));

    let fresh = world.with_grants("fresh", json!([stepping_up("orders:close", json!({"max_age": 60}))])).await;
    for path in ["/close", "/extracted/close", "/either"] {
        assert_eq!(get_outcome(&app, path, &fresh).await, outcome(200), "{path}");
    }
    world.clock.advance(Duration::from_secs(61));
    for path in ["/close", "/extracted/close", "/either"] {
        asked(&app, path, &fresh, "max_age=\"60\"").await;
    }
    let again = world.sign_in("fresh", json!({"organization": "acme"})).await;
    assert_eq!(get_outcome(&app, "/close", &again).await, outcome(200));
}

#[tokio::test]
async fn a_handlers_refusal_is_the_contracts_answer_to_its_request() {
    let world = World::new().await;
    let app = routes().layer(auth_layer(&world.auth));
    let clerk = world.with_grants("clerk", json!([allow_when("orders:refund", "resource.amount <= 500")])).await;
    let strong = world.with_grants("strong", json!([stepping_up("orders:refund", json!({"acr": "aal2"}))])).await;
    for (token, body, expected) in [
        (clerk.as_str(), "{\"amount\": 500}", (200, "")),
        (&clerk, "{\"amount\": 501}", (403, "permission_denied")),
        (&clerk, "{}", (403, "permission_denied")),
        (&clerk, "[500]", (403, "permission_denied")),
        (&strong, "{\"amount\": 1}", (401, "step_up_required")),
        ("", "{\"amount\": 1}", (401, "unauthenticated")),
    ] {
        let answer = ask(&app, Method::POST, "/refund", token, body).await;
        assert_eq!(answer.outcome(), expected, "{body}");
        assert_eq!(answer.request_id, "asked-7");
        if expected.0 != 200 {
            assert_eq!(answer.json["request_id"], "asked-7", "{body}");
            assert_eq!(answer.json["status"], expected.0, "{body}");
        }
        let challenge = answer.challenge;
        assert_eq!(challenge.contains("acr_values=\"aal2\""), expected.1 == "step_up_required", "{challenge}");
    }
    // One that brings no id is given one, the same in header and body.
    let request = Request::post("/refund").header(header::AUTHORIZATION, format!("Bearer {clerk}"));
    let answer = Answer::read(app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await;
    assert_eq!(answer.outcome(), (403, "permission_denied"));
    assert!(!answer.request_id.is_empty());
    assert_eq!(answer.json["request_id"], json!(answer.request_id));
}

/// Twelve invoices, of which every third is closed. It notes what it was asked.
#[derive(Debug, Default)]
struct Invoices {
    asked: Mutex<Vec<(String, Option<String>, u32)>>,
}

#[async_trait]
impl ResourceDirectory for Invoices {
    async fn resources(&self, query: ResourceQuery<'_>) -> Result<ResourcePage, StoreError> {
        let store = query.store.map(|store| store.to_string());
        self.asked.lock().unwrap().push((query.organization.to_string(), store, query.limit));
        match query.kind {
            "invoice" => {}
            "parcel" => return Err(StoreError::unavailable("the warehouse does not answer")),
            _ => return Ok(ResourcePage::default()),
        }
        let first = query.after.map_or(1, |after| after.parse().unwrap_or(u32::MAX)).min(13);
        let end = first.saturating_add(query.limit).min(13);
        let resource = |number: u32| {
            let state = if number.is_multiple_of(3) { "closed" } else { "open" };
            let properties = json!({"state": state}).as_object().unwrap().clone();
            Resource { id: format!("i-{number}"), properties }
        };
        let next = (end < 13).then(|| end.to_string());
        Ok(ResourcePage { resources: (first..end).map(resource).collect(), next })
    }
}

#[tokio::test]
async fn a_directory_makes_resources_searchable() {
    let directory = Arc::new(Invoices::default());
    let world = World::with_directory(Some(directory.clone())).await;
    let gateway = world.with_grants("gateway", json!([allow("authz:search")])).await;
    let open = json!([allow_when("invoice:approve", "resource.state == \"open\"")]);
    let closed = json!([allow_when("invoice:approve", "resource.state == \"closed\""), allow("parcel:approve")]);
    let ((ann, _), (ben, _)) = (world.member("ann", open).await, world.member("ben", closed).await);
    let body = |user: &str, kind: &str, page: Value| {
        json!({
            "subject": {"type": "user", "id": user}, "action": {"name": "approve"},
            "resource": {"type": kind, "properties": {"state": "open"}}, "page": page,
        })
    };
    let search = async |body: Value| world.call(Method::POST, "/access/v1/search/resource", &gateway, &body).await;
    let ids = |answer: &Answer| -> Vec<String> {
        let results = answer.json["results"].as_array().unwrap();
        assert!(results.iter().all(|found| found["type"] == "invoice"), "{}", answer.json);
        results.iter().map(|found| found["id"].as_str().unwrap().to_owned()).collect()
    };
    let all_closed = ["i-3", "i-6", "i-9", "i-12"];
    let answer = search(body(&ben, "invoice", json!(null))).await;
    assert_eq!(
        (ids(&answer), &answer.json["page"]),
        (all_closed.map(str::to_owned).to_vec(), &json!({"next_token": ""}))
    );
    assert_eq!(ids(&search(body(&ann, "invoice", json!(null))).await).len(), 8);
    // An id is not what is looked for: it is ignored.
    let mut named = body(&ben, "invoice", json!(null));
    named["resource"]["id"] = json!("i-3");
    assert_eq!(ids(&search(named).await), all_closed);

    for limit in [1, 2, 3, 5] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let answer = search(body(&ben, "invoice", json!({"limit": limit, "token": token}))).await;
            let page = ids(&answer);
            assert!(page.len() <= limit);
            found.extend(page);
            answer.json["page"]["next_token"].as_str().unwrap().clone_into(&mut token);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, all_closed, "pages of {limit}");
    }
    for nothing in [body("nobody", "invoice", json!(null)), body(&ben, "spaceship", json!(null))] {
        let answer = search(nothing).await;
        assert_eq!(answer.json, json!({"results": [], "page": {"next_token": ""}}));
    }
    // A directory that cannot tell is an outage, not an empty list.
    assert_eq!(search(body(&ben, "parcel", json!(null))).await.outcome(), (503, "unavailable"));

    let organization = world.call(Method::GET, "/auth/orgs/acme", &world.owner, &json!({})).await;
    let id = organization.json["organization"]["id"].as_str().unwrap();
    let asked = directory.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(asked, store, limit)| asked == id && store.is_none() && *limit > 0), "{asked:?}");
    let configuration = world.call(Method::GET, "/.well-known/authzen-configuration", "", &json!({})).await;
    let endpoint = configuration.json["search_resource_endpoint"].as_str().unwrap();
    assert!(endpoint.ends_with("/access/v1/search/resource"), "{endpoint}");
}
