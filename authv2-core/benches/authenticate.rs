//! Who makes this request, for a session that the node has seen: by cookie, and by access token (verified each time).
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark may stop where it cannot go on")]

use std::{hint::black_box, thread};

use authv2_core::{
    AuthenticationService, Config,
    audit::Origin,
    authentication::{Credentials, Login},
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http::Request;
use tokio::runtime::Runtime;

criterion_group!(benches, warm);
criterion_main!(benches);

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

/// A service with one user, and requests with a cookie and with a token of its.
async fn world() -> (AuthenticationService, Request<()>, Request<()>) {
    let mut config = Config::development();
    config.store.url = Secret::from("sqlite::memory:");
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    let auth = AuthenticationService::builder(config).build().await.unwrap();
    let password = Secret::from(PASSWORD);
    let account = NewAccount { email: EMAIL, password: &password, display_name: None };
    auth.register(account, &Origin::default()).await.unwrap();
    let sign_in = async |transport| {
        let login = Login {
            email: EMAIL.into(),
            password: PASSWORD.into(),
            organization: None,
            store: None,
            transport,
            proof: None,
        };
        auth.login(login, &Origin::default()).await.unwrap().credentials
    };
    let Credentials::Cookie { secret, .. } = sign_in(Transport::Cookie).await else { panic!("no cookie") };
    let Credentials::Tokens { access_token, .. } = sign_in(Transport::Bearer).await else { panic!("no token") };
    let cookie = format!("authv2={}", secret.expose());
    let bearer = format!("Bearer {}", access_token.expose());
    let cookie = Request::builder().header("cookie", cookie).body(()).unwrap();
    let bearer = Request::builder().header("authorization", bearer).body(()).unwrap();
    for request in [&cookie, &bearer] {
        assert!(auth.authenticate(request).await.unwrap().is_some());
    }
    (auth, cookie, bearer)
}

fn warm(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (auth, cookie, bearer) = runtime.block_on(world());
    let _within = runtime.enter();
    let ask = |request: &Request<()>| {
        // What is at hand waits for nothing.
        auth.authenticate(black_box(request)).now_or_never().unwrap().unwrap().unwrap()
    };
    let mut group = criterion.benchmark_group("authenticate, warm");
    group.bench_function("session cookie", |bencher| bencher.iter(|| ask(&cookie)));
    group.bench_function("access token, verified", |bencher| bencher.iter(|| ask(&bearer)));
    group.bench_function("session cookie, two threads", |bencher| {
        bencher.iter_custom(|times| {
            let begun = std::time::Instant::now();
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let _within = runtime.enter();
                        for _ in 0..times {
                            black_box(ask(&cookie));
                        }
                    });
                }
            });
            begun.elapsed()
        });
    });
    group.finish();
}
