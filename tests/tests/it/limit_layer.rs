//! The layer that limits requests, over a service in memory.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use authv2_axum::{RateLimitLayer, auth_layer, router};
use authv2_core::{
    AuthenticationService, Config,
    audit::Origin,
    authentication::{By, Credentials, Login, Peer, RequestLimit},
    clock::{FakeClock, SystemClock},
    limit::{Outage, Policy, Rate, Subject, Take},
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

const PASSWORD: &str = "correct horse battery";

struct World {
    auth: AuthenticationService,
    clock: Arc<FakeClock>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::development();
        config.store.url = Secret::from("sqlite::memory:");
        config.password.memory_kib = 64;
        config.password.iterations = 1;
        set(&mut config);
        let clock = Arc::new(FakeClock::at(SystemClock::wall()));
        let auth = AuthenticationService::builder(config).clock(clock.clone()).build().await.unwrap();
        Self { auth, clock }
    }

    async fn sign_up(&self, email: &str) -> String {
        let account = NewAccount { email, password: &Secret::from(PASSWORD), display_name: None };
        self.auth.register(account, &Origin::default()).await.unwrap();
        let login = Login {
            email: email.to_owned(),
            password: Secret::from(PASSWORD),
            organization: None,
            store: None,
            transport: Transport::Bearer,
            proof: None,
        };
        match self.auth.login(login, &Origin::default()).await.unwrap().credentials {
            Credentials::Tokens { access_token, .. } => access_token.expose().clone(),
            _ => panic!("a bearer sign-in gave a cookie"),
        }
    }

    /// An application with one route, `limits` around it from the inside out.
    fn app(&self, limits: impl IntoIterator<Item = RequestLimit>) -> Router {
        let routes = Router::new().route("/", get(async || "found"));
        let limited = limits.into_iter().fold(routes, |app, limit| app.layer(RateLimitLayer::new(&self.auth, limit)));
        limited.layer(auth_layer(&self.auth))
    }
}

/// So many in a minute.
fn policy(name: &'static str, requests: u32) -> Policy {
    Policy::new(name, Rate::new(requests, Duration::from_secs(60), None).unwrap())
}

fn by(token: &str) -> Request<Body> {
    Request::builder().uri("/").header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn from(ip: &str) -> Request<Body> {
    let peer = Peer(SocketAddr::new(ip.parse().unwrap(), 4711));
    Request::builder().uri("/").extension(peer).body(Body::empty()).unwrap()
}

async fn ask(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

/// How many of so many requests pass.
async fn pass(app: &Router, requests: usize, request: impl Fn() -> Request<Body>) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        let status = ask(app, request()).await.status();
        assert!([StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(&status), "{status}");
        passed += usize::from(status == StatusCode::OK);
    }
    passed
}

#[tokio::test]
async fn each_caller_has_its_own_count_and_is_told_of_it() {
    let world = World::new().await;
    let app = world.app([RequestLimit::new(By::Caller, policy("search", 3))]);
    let (ada, bob) = (world.sign_up("ada@example.com").await, world.sign_up("bob@example.com").await);
    for left in [2, 1, 0] {
        let answer = ask(&app, by(&ada)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["ratelimit-policy"], "\"search\";q=3;w=60");
        assert_eq!(answer.headers()["ratelimit"], format!("\"search\";r={left};t={}", 60 - left * 20));
    }
    let refused = ask(&app, by(&ada)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "20");
    assert_eq!(refused.headers()["ratelimit"], "\"search\";r=0;t=20");
    assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(refused.headers().contains_key("x-request-id"));
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(pass(&app, 5, || by(&bob)).await, 3);
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(pass(&app, 5, || by(&ada)).await, 1);
}

#[tokio::test]
async fn a_refused_request_is_counted_by_none_of_several() {
    let world = World::new().await;
    let limit = RequestLimit::new(By::Caller, policy("own", 3)).and(By::Everybody, policy("all", 7));
    let app = world.app([limit]);
    let (ada, bob) = (world.sign_up("ada@example.com").await, world.sign_up("bob@example.com").await);
    assert_eq!(pass(&app, 20, || by(&ada)).await, 3);
    assert_eq!(pass(&app, 20, || by(&bob)).await, 3);
    let eve = world.sign_up("eve@example.com").await;
    assert_eq!(pass(&app, 20, || by(&eve)).await, 1);
}

#[tokio::test]
async fn a_request_that_passes_two_layers_counts_once() {
    let world = World::new().await;
    let ada = world.sign_up("ada@example.com").await;
    let limit = || RequestLimit::new(By::Caller, policy("search", 4));
    assert_eq!(pass(&world.app([limit(), limit()]), 9, || by(&ada)).await, 4);
    // Whatever the layer, a limit is counted once; another one is another limit.
    let other = world.app([RequestLimit::new(By::Caller, policy("other", 2)), limit()]);
    assert_eq!(pass(&other, 9, || by(&ada)).await, 0);
}

#[tokio::test]
async fn a_layer_leaves_out_no_more_than_what_was_counted_around_it() {
    let world = World::new().await;
    let ada = world.sign_up("ada@example.com").await;
    let own = || RequestLimit::new(By::Caller, policy("api", 4));
    let both = own().and(By::Everybody, policy("all", 3));
    assert_eq!(pass(&world.app([both, own()]), 9, || by(&ada)).await, 3, "its other limit counts");

    // Around the layer that knows the caller its network is counted, and inside of it the caller, by the same limit.
    let limit = || RateLimitLayer::new(&world.auth, RequestLimit::new(By::Caller, policy("who", 2)));
    let routes = Router::new().route("/", get(async || "found"));
    let app = routes.layer(limit()).layer(auth_layer(&world.auth)).layer(limit());
    let ada_from = |ip: &str| {
        let mut request = by(&ada);
        request.extensions_mut().insert(Peer(SocketAddr::new(ip.parse().unwrap(), 4711)));
        request
    };
    assert_eq!(pass(&app, 5, || ada_from("192.0.2.1")).await, 2);
    assert_eq!(pass(&app, 5, || ada_from("192.0.2.2")).await, 0, "ada has used up hers");
    assert_eq!(pass(&app, 5, || from("192.0.2.3")).await, 2);
}

#[tokio::test]
async fn policies_of_one_name_and_different_rates_count_apart() {
    let world = World::new().await;
    let ada = world.sign_up("ada@example.com").await;
    let day = Duration::from_secs(86_400);
    let search = world.app([RequestLimit::new(By::Caller, policy("api", 60))]);
    let export = world.app([RequestLimit::new(By::Caller, Policy::new("api", Rate::new(5, day, None).unwrap()))]);
    let mut exported = 0;
    for _ in 0..9 {
        exported += pass(&export, 1, || by(&ada)).await;
        assert_eq!(pass(&search, 1, || by(&ada)).await, 1);
    }
    assert_eq!(exported, 5);
}

#[tokio::test]
async fn networks_count_by_64_56_and_48() {
    let world = World::new().await;
    let app = world.app([RequestLimit::new(By::Network, policy("p", 2))]);
    assert_eq!(pass(&app, 5, || from("192.0.2.1")).await, 2);
    assert_eq!(pass(&app, 5, || from("::ffff:192.0.2.1")).await, 0);
    assert_eq!(pass(&app, 5, || from("192.0.2.2")).await, 2);
    assert_eq!(pass(&app, 5, || from("2001:db8::1")).await, 2);
    assert_eq!(pass(&app, 5, || from("2001:db8::2")).await, 0, "of the same /64");
    let mut in_56 = 2;
    for subnet in 1..=9 {
        in_56 += pass(&app, 3, || from(&format!("2001:db8:0:{subnet}::1"))).await;
    }
    assert_eq!(in_56, 8, "four times as many from the /56");
    let mut in_48 = in_56;
    for subnet in 1..=9 {
        for host in 0..6 {
            in_48 += pass(&app, 3, || from(&format!("2001:db8:0:{subnet}{host}0::1"))).await;
        }
    }
    assert_eq!(in_48, 32, "sixteen times as many from the /48");
    assert_eq!(pass(&app, 5, || from("2001:db8:1::1")).await, 2);
}

#[tokio::test]
async fn whoever_is_nobody_is_counted_by_network_and_without_an_address_all_together() {
    let world = World::new().await;
    let app = world.app([RequestLimit::new(By::Organization, policy("p", 2))]);
    let ada = world.sign_up("ada@example.com").await;
    assert_eq!(pass(&app, 5, || from("192.0.2.1")).await, 2);
    assert_eq!(pass(&app, 5, || from("192.0.2.2")).await, 2);
    assert_eq!(pass(&app, 5, || by(&ada)).await, 2, "in no organization, and from nowhere");
    assert_eq!(pass(&app, 5, || Request::new(Body::empty())).await, 0);
}

#[tokio::test]
async fn the_api_limits_whoever_has_no_address_all_together() {
    let world = World::with(|config| config.limits.network_per_minute = 2).await;
    let app: Router = router(&world.auth);
    let asked = async || {
        let request = Request::builder().uri("/auth/me").body(Body::empty()).unwrap();
        ask(&app, request).await.status()
    };
    assert_eq!([asked().await, asked().await], [StatusCode::UNAUTHORIZED; 2]);
    assert_eq!(asked().await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_preflight_counts_for_nothing_and_a_layer_may_stand_alone() {
    let world = World::new().await;
    let limit = RequestLimit::new(By::Everybody, policy("p", 2));
    let app = Router::new().route("/", get(async || "found")).layer(RateLimitLayer::new(&world.auth, limit));
    let preflight = || {
        let request = Request::builder().uri("/").method("OPTIONS").header(header::ORIGIN, "https://app.example");
        request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET").body(Body::empty()).unwrap()
    };
    for _ in 0..5 {
        assert_eq!(ask(&app, preflight()).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(pass(&app, 5, || from("192.0.2.1")).await, 2);
    let refused = ask(&app, from("192.0.2.1")).await;
    assert!(refused.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn an_application_takes_by_hand_at_any_cost() {
    let world = World::new().await;
    let take = |cost| Take { cost, ..Take::one(policy("export", 10), Subject::Other("tenant 7")) };
    let taken = async |cost| world.auth.limiter().take(&[take(cost)], Outage::Refuse).await.unwrap();
    assert_eq!(taken(6).await.remaining, 4);
    let refused = taken(5).await;
    assert_eq!((refused.allowed, refused.remaining, refused.retry_after), (false, 4, Some(Duration::from_secs(6))));
    assert!(taken(4).await.allowed && !taken(1).await.allowed);
    assert_eq!(taken(11).await.retry_after, None, "more than a burst never passes");
    assert!(world.auth.limiter().take_at_hand(&[]).unwrap().allowed);
}
