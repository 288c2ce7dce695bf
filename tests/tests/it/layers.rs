//! The tower layers and the axum extractors, over a service in memory.

use std::time::Duration;

use authv2_axum::{CurrentSession, CurrentUser, Principal, RequireLayer, auth_layer, router};
use authv2_core::{
    AuthenticationService, Config,
    audit::Origin,
    authentication::{Credentials, Login},
    clock::{FakeClock, SystemClock},
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;
use tower::ServiceExt as _;

struct World {
    auth: AuthenticationService,
    clock: Arc<FakeClock>,
    token: String,
}

const PASSWORD: &str = "correct horse battery";

async fn world() -> World {
    let mut config = Config::development();
    config.allowed_origins = vec!["https://app.example".parse().unwrap()];
    config.store.url = Secret::from("sqlite::memory:");
    config.password.memory_kib = 64;
    config.password.iterations = 1;
    let clock = Arc::new(FakeClock::at(SystemClock::wall()));
    let auth = AuthenticationService::builder(config).clock(clock.clone()).build().await.unwrap();
    let account = NewAccount { email: "ada@example.com", password: &Secret::from(PASSWORD), display_name: None };
    auth.register(account, &Origin::default()).await.unwrap();
    let token = sign_in(&auth).await;
    World { auth, clock, token }
}

async fn sign_in(auth: &AuthenticationService) -> String {
    match auth.login(login(Transport::Bearer), &Origin::default()).await.unwrap().credentials {
        Credentials::Tokens { access_token, .. } => access_token.expose().clone(),
        _ => panic!("a bearer sign-in gave a cookie"),
    }
}

/// The `Cookie` header of a new session.
async fn sign_in_by_cookie(auth: &AuthenticationService) -> String {
    match auth.login(login(Transport::Cookie), &Origin::default()).await.unwrap().credentials {
        Credentials::Cookie { secret, .. } => format!("authv2={}", secret.expose()),
        _ => panic!("a cookie sign-in gave tokens"),
    }
}

fn login(transport: Transport) -> Login {
    Login {
        email: "ada@example.com".to_owned(),
        password: Secret::from(PASSWORD),
        organization: None,
        store: None,
        transport,
        proof: None,
    }
}

fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(path)
}

fn with_token(path: &str, token: &str) -> Request<Body> {
    request(path).header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
}

async fn ask(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

async fn read(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn code(response: Response<Body>) -> String {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

fn routes() -> Router {
    Router::new()
        .route("/open", get(async |user: Option<CurrentUser>| user.map_or("nobody".to_owned(), |user| user.0.email)))
        .route("/principal", get(async |Principal(principal): Principal| principal.id().to_owned()))
        .route("/session", get(async |CurrentSession(session): CurrentSession| session.id.to_string()))
}

#[tokio::test]
async fn the_layer_lets_nobody_through_as_nobody_and_a_user_as_that_user() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth));
    let nobody = ask(&app, request("/open").body(Body::empty()).unwrap()).await;
    assert_eq!(nobody.into_body().collect().await.unwrap().to_bytes(), "nobody");
    let ada = ask(&app, with_token("/open", &world.token)).await;
    assert_eq!(ada.headers()[header::CACHE_CONTROL], "no-store");
    assert!(ada.headers().contains_key("x-request-id"));
    assert_eq!(ada.into_body().collect().await.unwrap().to_bytes(), "ada@example.com");
}

#[tokio::test]
async fn a_use_of_a_key_counts_though_its_caller_hangs_up() {
    let world = world().await;
    let api: Router = router(&world.auth);
    let post = |path: &str, body: Value| {
        let head = request(path).method("POST").header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        head.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
    };
    let founded = ask(&api, post("/auth/orgs", json!({"slug": "acme", "name": "Acme"}))).await;
    assert_eq!(founded.status(), StatusCode::CREATED);
    let keys = "/auth/orgs/acme/api-keys";
    let minted = ask(&api, post(keys, json!({"name": "nightly", "scopes": ["*"]}))).await;
    assert_eq!(minted.status(), StatusCode::CREATED);
    let minted = read(minted).await;
    let usage = format!("{keys}/{}/usage", minted["api_key"]["id"].as_str().unwrap());

    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let slow = get(move || async move {
        told.notify_one();
        std::future::pending::<()>().await;
    });
    let app = Router::new().route("/slow", slow).layer(auth_layer(&world.auth));
    tokio::select! {
        answer = ask(&app, with_token("/slow", minted["secret"].as_str().unwrap())) => panic!("{answer:?}"),
        () = begun.notified() => {}
    }
    // Counts are written every few seconds.
    for _ in 0..300 {
        let used = read(ask(&api, with_token(&usage, &world.token)).await).await;
        if used["total"] == 1 {
            assert_eq!(used["allowed"], 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was never counted");
}

#[tokio::test]
async fn an_invalid_credential_is_refused_even_where_none_is_needed() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth));
    let refused = ask(&app, with_token("/open", "nonsense")).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().contains("error=\"invalid_token\""));
    assert_eq!(code(refused).await, "invalid_token");
}

#[tokio::test]
async fn a_strict_layer_refuses_anonymous_requests_but_lets_preflights_pass() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth).required());
    let refused = ask(&app, request("/open").body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"authv2\"");
    assert_eq!(code(refused).await, "unauthenticated");
    let preflight = request("/open")
        .method("OPTIONS")
        .header(header::ORIGIN, "https://elsewhere.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
    let passed = ask(&app, preflight.body(Body::empty()).unwrap()).await;
    // Nothing here answers preflights; what matters is that the layer did not.
    assert_eq!(passed.status(), StatusCode::METHOD_NOT_ALLOWED);
    let merely_options = ask(&app, request("/open").method("OPTIONS").body(Body::empty()).unwrap()).await;
    assert_eq!(merely_options.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn extractors_refuse_anonymous_requests_and_say_when_the_layer_is_missing() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth));
    for path in ["/principal", "/session"] {
        let refused = ask(&app, request(path).body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ask(&app, with_token(path, &world.token)).await.status(), StatusCode::OK, "{path}");
    }
    for path in ["/open", "/principal", "/session"] {
        let failed = ask(&routes(), with_token(path, &world.token)).await;
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(code(failed).await, "internal");
    }
}

#[tokio::test]
async fn a_requirement_without_the_layer_lets_nobody_through() {
    let world = world().await;
    let app = routes().layer(RequireLayer::signed_in());
    let failed = ask(&app, with_token("/open", &world.token)).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_old_sign_in_is_asked_to_step_up() {
    let world = world().await;
    let app = routes().layer(RequireLayer::recent_auth(Duration::from_secs(60))).layer(auth_layer(&world.auth));
    assert_eq!(ask(&app, with_token("/open", &world.token)).await.status(), StatusCode::OK);
    world.clock.advance(Duration::from_secs(61));
    let refused = ask(&app, with_token("/open", &world.token)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()[header::WWW_AUTHENTICATE],
        "Bearer realm=\"authv2\", error=\"insufficient_user_authentication\", max_age=\"60\""
    );
    assert_eq!(code(refused).await, "step_up_required");
    let fresh = sign_in(&world.auth).await;
    assert_eq!(ask(&app, with_token("/open", &fresh)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_weak_sign_in_is_asked_to_step_up() {
    let world = world().await;
    let day = Duration::from_secs(24 * 3600);
    for (layer, challenge) in [
        (RequireLayer::acr("aal2"), Some("acr_values=\"aal2\"")),
        (RequireLayer::acr("aal3"), Some("acr_values=\"aal3\"")),
        (RequireLayer::recent_acr("aal2", day), Some("acr_values=\"aal2\", max_age=\"86400\"")),
        (RequireLayer::acr("urn:example:gold"), Some("acr_values=\"urn:example:gold\"")),
        (RequireLayer::acr("aal1"), None),
        (RequireLayer::recent_acr("aal1", day), None),
    ] {
        let app = routes().layer(layer.clone()).layer(auth_layer(&world.auth));
        let answer = ask(&app, with_token("/open", &world.token)).await;
        let Some(challenge) = challenge else {
            assert_eq!(answer.status(), StatusCode::OK, "{layer:?}");
            continue;
        };
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{layer:?}");
        let wanted = format!("Bearer realm=\"authv2\", error=\"insufficient_user_authentication\", {challenge}");
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], wanted.as_str());
        assert_eq!(code(answer).await, "step_up_required");
    }
    // Strong enough and too old.
    let app = routes().layer(RequireLayer::recent_acr("aal1", Duration::from_secs(60))).layer(auth_layer(&world.auth));
    world.clock.advance(Duration::from_secs(61));
    let refused = ask(&app, with_token("/open", &world.token)).await;
    assert_eq!(code(refused).await, "step_up_required");
}

#[tokio::test]
async fn a_user_is_no_platform_administrator() {
    let world = world().await;
    let app = routes().layer(RequireLayer::platform_admin()).layer(auth_layer(&world.auth));
    let refused = ask(&app, with_token("/open", &world.token)).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(code(refused).await, "permission_denied");
}

#[tokio::test]
async fn an_outage_is_unavailable_and_neither_a_denial_nor_anonymous() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth)).merge(router(&world.auth));
    world.auth.store().close().await;
    for path in ["/open", "/principal", "/auth/me"] {
        let failed = ask(&app, with_token(path, &world.token)).await;
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(failed.headers().contains_key(header::RETRY_AFTER), "{path}");
        assert_eq!(code(failed).await, "unavailable", "{path}");
    }
    let ready = ask(&app, request("/health/ready").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old_and_not_before() {
    let world = world().await;
    let app = routes().layer(auth_layer(&world.auth));
    let config = &world.auth.config().session;
    let cookie = sign_in_by_cookie(&world.auth).await;
    let by_cookie = || request("/principal").header(header::COOKIE, &cookie).body(Body::empty()).unwrap();
    // Used again and again it outlives its idle time, up to its absolute end: steps that divide neither.
    let step = Duration::from_secs(7 * 3600);
    let steps = u32::try_from(config.absolute_ttl.as_secs() / step.as_secs()).unwrap();
    assert!(config.idle_ttl < step * steps / 2);
    for passed in 1..=steps {
        world.clock.advance(step);
        assert_eq!(ask(&app, by_cookie()).await.status(), StatusCode::OK, "step {passed} of {steps}");
    }
    world.clock.advance(step);
    assert_eq!(ask(&app, by_cookie()).await.status(), StatusCode::UNAUTHORIZED);

    // A page of another origin opens no channel with the cookie.
    let cookie = sign_in_by_cookie(&world.auth).await;
    for (name, value) in [("upgrade", "WebSocket"), ("accept", "text/event-stream")] {
        let from = |origin: &str| {
            let request = request("/principal").header(header::COOKIE, &cookie).header(name, value);
            request.header(header::ORIGIN, origin).body(Body::empty()).unwrap()
        };
        let refused = ask(&app, from("http://elsewhere.example")).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{name}");
        assert_eq!(code(refused).await, "csrf_failed");
        assert_eq!(ask(&app, from("https://app.example")).await.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn a_preflight_is_anonymous_to_what_stands_inside() {
    let world = world().await;
    let app = routes().layer(RequireLayer::signed_in()).layer(auth_layer(&world.auth));
    let preflight = request("/open")
        .method("OPTIONS")
        .header(header::ORIGIN, "https://app.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
    let refused = ask(&app, preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authv2.db");
    let mut config = Config::development();
    config.store.url = Secret::new(format!("sqlite://{}", file.display()));
    let auth = AuthenticationService::builder(config).build().await.unwrap();
    for name in ["authv2.db", "authv2.db-wal", "authv2.db-shm"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    auth.shut_down().await;
}
