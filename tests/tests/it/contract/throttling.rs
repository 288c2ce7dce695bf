//! Throttling of failed sign-ins: one account from one network, and passwords asked again.

use authv2_tests::{
    client::{Answer, Api},
    server::Settings,
};
use futures_util::future::join_all;
use serde_json::json;

use super::fixture::{
    ADA, Deployment, PASSWORD, Store, WRONG, assert_problem, is_live, login, on_each_store, post, quick, register,
    send, sign_in, sign_up, start,
};

on_each_store!(
    after_ten_failures_even_the_right_password_waits,
    parallel_guesses_are_judged_ten_times_at_most,
    a_password_asked_again_counts_per_account,
);

const NOBODY: &str = "nobody@example.org";

/// Fails to sign in so often; every attempt is judged.
async fn fail(api: &Api, email: &str, times: usize) {
    for attempt in 0..times {
        let answer = login(api, email, WRONG).await;
        assert_eq!(answer.status, 401, "attempt {attempt} for {email}: {}", answer.text);
    }
}

fn assert_throttled(answer: &Answer) {
    assert_waits(answer, 900);
}

/// Passwords asked again count for thirty days.
fn assert_reasked_enough(answer: &Answer) {
    assert_waits(answer, 30 * 24 * 3600);
}

fn assert_waits(answer: &Answer, window: u64) {
    assert_problem(answer, 429, "too_many_attempts");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let (limit, policy) = (answer.header("ratelimit"), answer.header("ratelimit-policy"));
    assert_eq!(limit, format!("\"sign-in\";r=0;t={wait}"));
    assert_eq!(policy, format!("\"sign-in\";q=10;w={window}"));
}

async fn after_ten_failures_even_the_right_password_waits(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let mut texts = Vec::new();
    // One nobody knows is throttled alike, so that the throttle tells nobody who has an account.
    for email in [ADA, NOBODY] {
        fail(api, email, 10).await;
        for password in [WRONG, PASSWORD] {
            let mut answer = login(api, email, password).await;
            assert_throttled(&answer);
            answer.json["request_id"] = json!("");
            texts.push(answer.json);
        }
        // Another spelling is the same account.
        assert_throttled(&login(api, &email.to_uppercase(), PASSWORD).await);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    // Another network is not held liable.
    assert_eq!(login(&deployment.from(1, 1), ADA, PASSWORD).await.status, 200);
    assert_throttled(&login(api, ADA, PASSWORD).await);
}

#[tokio::test]
async fn what_is_no_email_is_throttled_like_any_other() {
    let deployment = start(quick()).await;
    fail(&deployment.api, "no e-mail at all", 10).await;
    assert_throttled(&login(&deployment.api, "no e-mail at all", WRONG).await);
}

async fn parallel_guesses_are_judged_ten_times_at_most(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    for email in [ADA, NOBODY] {
        let answers = join_all((0..64).map(|_| login(api, email, WRONG))).await;
        let (judged, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
        assert_eq!((judged.len(), refused.len()), (10, 54), "{email}");
        refused.into_iter().for_each(assert_throttled);
        assert_throttled(&login(api, email, PASSWORD).await);
    }
}

#[tokio::test]
async fn parallel_right_passwords_all_pass() {
    let deployment = start(quick().with("AUTHV2_SESSION__MAX_PER_USER", "100")).await;
    register(&deployment.api, ADA).await;
    for answer in join_all((0..40).map(|_| login(&deployment.api, ADA, PASSWORD))).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_completed_sign_in_clears_the_count() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    for _ in 0..3 {
        fail(api, ADA, 9).await;
        sign_in(api, ADA).await;
    }
    fail(api, ADA, 10).await;
    assert_throttled(&login(api, ADA, PASSWORD).await);
}

#[tokio::test]
async fn a_refused_sign_in_clears_nothing() {
    let settings = quick().with("AUTHV2_SESSION__MAX_PER_USER", "1").with("AUTHV2_SESSION__OVER_LIMIT", "reject");
    let deployment = start(settings).await;
    let api = &deployment.api;
    sign_up(api, ADA).await;
    fail(api, ADA, 9).await;
    assert_problem(&login(api, ADA, PASSWORD).await, 409, "too_many_sessions");
    fail(api, ADA, 1).await;
    assert_throttled(&login(api, ADA, PASSWORD).await);
}

#[tokio::test]
async fn the_throttle_survives_a_restart() {
    let mut deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    fail(&deployment.api, ADA, 10).await;
    deployment.server.restart().unwrap();
    let api = Api::new(deployment.server.url()).unwrap();
    assert_throttled(&login(&api, ADA, PASSWORD).await);
}

async fn change(api: &Api, token: &str, current: &str) -> Answer {
    post(api, "/auth/password/change", token, json!({"current_password": current, "new_password": PASSWORD})).await
}

async fn a_password_asked_again_counts_per_account(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let tokens = [sign_in(api, ADA).await, sign_in(api, ADA).await];
    let other = sign_up(api, "bob@example.org").await;
    // Over two calls, two sessions and ten networks.
    for attempt in 0..10_u8 {
        let api = deployment.from(2, attempt + 1);
        let token = &tokens[usize::from(attempt % 2)].access;
        let answer = match attempt % 3 {
            0 => post(&api, "/auth/me/delete", token, json!({"password": WRONG})).await,
            _ => change(&api, token, WRONG).await,
        };
        assert_problem(&answer, 403, "wrong_password");
    }
    for held in &tokens {
        assert_reasked_enough(&change(api, &held.access, PASSWORD).await);
        assert_reasked_enough(&post(api, "/auth/me/delete", &held.access, json!({"password": PASSWORD})).await);
        assert!(is_live(api, &held.access).await, "being throttled ends no session");
    }
    assert_problem(&change(api, &other.access, WRONG).await, 403, "wrong_password");
    let fresh = sign_in(api, ADA).await;
    assert_eq!(change(api, &fresh.access, PASSWORD).await.status, 204);
}

#[tokio::test]
async fn a_right_password_in_between_does_not_clear_those_asked_again() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    for _ in 0..9 {
        assert_problem(&change(api, &tokens.access, WRONG).await, 403, "wrong_password");
    }
    assert_eq!(change(api, &tokens.access, PASSWORD).await.status, 204);
    assert_problem(&change(api, &tokens.access, WRONG).await, 403, "wrong_password");
    assert_reasked_enough(&change(api, &tokens.access, PASSWORD).await);
}

/// A deployment behind a proxy that is trusted.
async fn proxied(settings: Settings) -> Deployment {
    start(settings.with("AUTHV2_PROXY__TRUSTED", "127.0.0.1")).await
}

async fn login_from(deployment: &Deployment, address: &str, password: &str) -> Answer {
    let body = json!({"email": ADA, "password": password});
    let request = deployment.api.request(reqwest::Method::POST, "/auth/login").json(&body);
    send(request.header("x-forwarded-for", address)).await
}

#[tokio::test]
async fn networks_are_told_apart_behind_a_proxy() {
    let deployment = proxied(quick()).await;
    register(&deployment.api, ADA).await;
    for _ in 0..10 {
        assert_eq!(login_from(&deployment, "198.51.100.7", WRONG).await.status, 401);
    }
    assert_throttled(&login_from(&deployment, "198.51.100.7", PASSWORD).await);
    // What the client itself wrote to the left does not make it another one.
    assert_throttled(&login_from(&deployment, "203.0.113.1, 198.51.100.7", PASSWORD).await);
    assert_eq!(login_from(&deployment, "198.51.100.8", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn all_addresses_of_an_ipv6_line_are_one_network() {
    let deployment = proxied(quick()).await;
    register(&deployment.api, ADA).await;
    for host in 0..10 {
        let address = format!("2001:db8:1:2:{host}::{host}");
        assert_eq!(login_from(&deployment, &address, WRONG).await.status, 401);
    }
    // The /64 itself, another /64 of the /56, and another /56 of the /48.
    for address in ["2001:db8:1:2:ffff::1", "2001:db8:1:3::1", "2001:db8:1:ff00::1"] {
        assert_throttled(&login_from(&deployment, address, PASSWORD).await);
    }
    assert_eq!(login_from(&deployment, "2001:db8:2::1", PASSWORD).await.status, 200);
}
