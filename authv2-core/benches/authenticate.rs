//! Who makes this request, for what the node has seen: by access token at hand, by cookie, and by API key. Each on one
//! thread and on two at once, over many tokens in no order; beside them what a token takes of the memory.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may stop where it cannot go on"
)]

use std::{
    fs,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use authv2_core::{
    AuthenticationService, Config,
    api::Api,
    audit::Origin,
    authentication::{Credentials, Login},
    jwt::AccessClaims,
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use futures_util::FutureExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Runtime;
use uuid::Uuid;

criterion_group!(benches, warm);
criterion_main!(benches);

/// So many tokens are at hand.
const TOKENS: usize = 20_000;
const SESSIONS: usize = 200;
const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

struct World {
    auth: AuthenticationService,
    cookies: Vec<Presented>,
    bearers: Vec<Presented>,
    keys: Vec<Presented>,
}

/// A header that presents a credential.
struct Presented(&'static str, String);

impl World {
    /// One user with many sessions, each with a cookie or with many tokens.
    async fn new() -> Self {
        let mut config = Config::development();
        config.store.url = Secret::from("sqlite::memory:");
        (config.password.memory_kib, config.password.iterations) = (8, 1);
        config.tokens.access_ttl = HOUR;
        // Each of them once by cookie and once by token.
        config.session.max_per_user = 400;
        let auth = AuthenticationService::builder(config).build().await.unwrap();
        let password = Secret::from(PASSWORD);
        let account = NewAccount { email: EMAIL, password: &password, display_name: None };
        auth.register(account, &Origin::default()).await.unwrap();
        let (mut cookies, mut bearers) = (Vec::new(), Vec::new());
        for _ in 0..SESSIONS {
            let Credentials::Cookie { secret, .. } = sign_in(&auth, Transport::Cookie).await else { panic!() };
            cookies.push(Presented("cookie", format!("authv2={}", secret.expose())));
            let Credentials::Tokens { access_token, .. } = sign_in(&auth, Transport::Bearer).await else { panic!() };
            let claims = auth.jwt().verify(access_token.expose(), auth.now()).unwrap();
            for _ in 0..TOKENS / SESSIONS {
                let claims = AccessClaims { jti: Uuid::now_v7().to_string(), ..claims.clone() };
                let token = auth.jwt().mint(&claims, auth.now()).await.unwrap();
                bearers.push(Presented("authorization", format!("Bearer {token}")));
            }
        }
        let keys = keys(&auth, &bearers[0]).await;
        for cookie in cookies.iter().chain(&keys) {
            assert!(auth.authenticate(&cookie.request()).await.unwrap().is_some());
        }
        let before = resident();
        for bearer in &bearers {
            assert!(auth.authenticate(&bearer.request()).await.unwrap().is_some());
        }
        println!("memory: {} bytes resident for each token at hand", (resident() - before) / bearers.len());
        Self { auth, cookies, bearers, keys }
    }

    fn ask(&self, request: &Request<()>) {
        // What is at hand waits for nothing.
        black_box(self.auth.authenticate(black_box(request)).now_or_never().unwrap().unwrap().unwrap());
    }

    /// Asks for `times` of the credentials, each time another one, in requests that have just come in.
    fn ask_many(&self, credentials: &[Presented], times: u64, from: usize) -> Duration {
        const AT_ONCE: u64 = 16;
        let (mut next, mut spent) = (from, Duration::ZERO);
        for begin in (0..times).step_by(16) {
            let requests: Vec<_> = (begin..times.min(begin + AT_ONCE))
                .map(|_| {
                    next = next.wrapping_add(7919);
                    credentials[next % credentials.len()].request()
                })
                .collect();
            let begun = Instant::now();
            requests.iter().for_each(|request| self.ask(request));
            spent += begun.elapsed();
        }
        spent
    }
}

/// Keys of one organization, made by its owner.
async fn keys(auth: &AuthenticationService, owner: &Presented) -> Vec<Presented> {
    let api = Api::new(auth.clone());
    let post = async |path: &str, body: &str| {
        let Presented(header, value) = owner;
        let request = Request::post(path).header(*header, value).header("content-type", "application/json");
        let response = api.call(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()).await;
        assert_eq!(response.status(), 201);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    post("/auth/orgs", r#"{"slug": "acme", "name": "Acme"}"#).await;
    let mut keys = Vec::new();
    for _ in 0..SESSIONS {
        let made = post("/auth/orgs/acme/api-keys", r#"{"name": "bench", "scopes": ["orders:read"]}"#).await;
        keys.push(Presented("x-api-key", made["secret"].as_str().unwrap().to_owned()));
    }
    keys
}

const HOUR: Duration = Duration::from_secs(3600);

async fn sign_in(auth: &AuthenticationService, transport: Transport) -> Credentials {
    let login = Login {
        email: EMAIL.into(),
        password: PASSWORD.into(),
        organization: None,
        store: None,
        transport,
        proof: None,
    };
    auth.login(login, &Origin { user_agent: Some(AGENT.to_owned()), ..Origin::default() }).await.unwrap().credentials
}

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

impl Presented {
    /// A request that brings it, as a server has read it from its connection a moment ago.
    fn request(&self) -> Request<()> {
        let Self(header, value) = self;
        Request::builder()
            .header("host", "example.org")
            .header("accept", "application/json")
            .header("user-agent", AGENT)
            .header(*header, value)
            .body(())
            .unwrap()
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn warm(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let _within = runtime.enter();
    let mut group = criterion.benchmark_group("authenticate, warm");
    // As many as stay close to a processor; and so many that each comes from the memory.
    let few = &world.bearers[..200];
    for (name, requests) in [
        ("access token, one of 200", few),
        ("access token, one of 20,000", &world.bearers[..]),
        ("session cookie, one of 200", &world.cookies[..]),
        ("API key, one of 200", &world.keys[..]),
    ] {
        group.bench_function(name, |bencher| bencher.iter_custom(|times| world.ask_many(requests, times, 0)));
        on_two_threads(&mut group, name, &world, requests);
    }
    group.finish();
}

/// The time that each of two threads takes for the same work.
fn on_two_threads(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, world: &World, requests: &[Presented]) {
    group.bench_function(format!("{name}, two threads"), |bencher| {
        bencher.iter_custom(|times| {
            let handle = tokio::runtime::Handle::current();
            thread::scope(|scope| {
                let threads = [0, requests.len() / 2].map(|from| {
                    let handle = handle.clone();
                    scope.spawn(move || {
                        let _within = handle.enter();
                        world.ask_many(requests, times, from)
                    })
                });
                threads.map(|thread| thread.join().unwrap()).into_iter().max().unwrap()
            })
        });
    });
}
