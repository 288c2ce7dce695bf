//! One's own sessions: listed, ended, limited.

use std::time::{Duration, Instant};

use authv2_tests::client::{Answer, Api};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{
    ADA, Browser, PASSWORD, Store, Tokens, assert_problem, call, get, is_live, login, members, on_each_store, quick,
    refresh, register, send, sign_in, sign_up, start,
};

on_each_store!(
    lists_ones_own_newest_first,
    ends_one_of_ones_own_and_nobody_elses,
    over_the_limit_the_oldest_goes,
    over_the_limit_a_sign_in_is_refused,
    parallel_sign_ins_stay_within_the_limit,
);

async fn list(api: &Api, token: &str) -> Vec<Value> {
    let answer = get(api, "/auth/sessions", token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(members(&answer.json), ["sessions"]);
    answer.json["sessions"].as_array().unwrap().clone()
}

async fn lists_ones_own_newest_first(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    sign_up(api, "bob@example.org").await;
    register(api, ADA).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(sign_in(api, ADA).await);
    }
    let sessions = list(api, &held[1].access).await;
    let ids: Vec<&Value> = sessions.iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, [&json!(held[2].session), &json!(held[1].session), &json!(held[0].session)]);
    let current: Vec<&Value> = sessions.iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true), &json!(false)]);
    for session in &sessions {
        assert_eq!(
            members(session),
            [
                "auth_methods",
                "created_at",
                "current",
                "device",
                "expires_at",
                "id",
                "idle_expires_at",
                "ip",
                "last_seen_at",
                "risk",
                "user_agent",
            ]
        );
        assert_eq!(session["auth_methods"], json!(["pwd"]));
        assert_eq!((&session["ip"], &session["risk"]), (&json!("127.0.0.1"), &json!("low")));
        let instant = |name: &str| session[name].as_str().unwrap().to_owned();
        assert!(instant("created_at") < instant("idle_expires_at"));
        assert!(instant("idle_expires_at") <= instant("expires_at"));
    }
}

#[tokio::test]
async fn tells_the_device_that_signed_in() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.5 Mobile/15E148 Safari/604.1";
    for (agent, os, browser) in [(firefox, "Linux", "Firefox"), (phone, "iOS", "Safari")] {
        let body = json!({"email": ADA, "password": PASSWORD});
        let answer = send(api.request(Method::POST, "/auth/login").header("user-agent", agent).json(&body)).await;
        assert_eq!(answer.string("/session/user_agent"), agent);
        let device = &answer.json["session"]["device"];
        assert_eq!(members(device), ["browser", "kind", "os"]);
        assert_eq!((&device["os"], &device["browser"]), (&json!(os), &json!(browser)), "{device}");
    }
    let none = sign_in(api, ADA).await;
    let own = list(api, &none.access).await.remove(0);
    assert!(own["user_agent"].is_null());
    assert_eq!(members(&own["device"]), ["browser", "kind", "os"]);
}

async fn revoke(api: &Api, token: &str, session: &str) -> Answer {
    call(api, Method::DELETE, &format!("/auth/sessions/{session}"), token).await
}

async fn ends_one_of_ones_own_and_nobody_elses(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let bob = sign_up(api, "bob@example.org").await;
    register(api, ADA).await;
    let (own, other) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    for id in [&*bob.session, "0198c0de-0000-7000-8000-000000000000", "nonsense", "%00", "1", "..%2fme"] {
        assert_problem(&revoke(api, &own.access, id).await, 404, "not_found");
    }
    assert!(is_live(api, &bob.access).await);
    assert_problem(&revoke(api, "", &own.session).await, 401, "unauthenticated");

    let ended = revoke(api, &own.access, &other.session).await;
    assert_eq!((ended.status, &*ended.text), (204, ""));
    assert!(!is_live(api, &other.access).await);
    assert_problem(&refresh(api, &other.refresh).await, 401, "invalid_refresh_token");
    assert_problem(&revoke(api, &own.access, &other.session).await, 404, "not_found");
    assert_eq!(list(api, &own.access).await.len(), 1);
    assert_eq!(revoke(api, &own.access, &own.session).await.status, 204);
    assert!(!is_live(api, &own.access).await);
}

async fn over_the_limit_the_oldest_goes(store: Store) {
    let deployment = store.deploy(quick().with("AUTHV2_SESSION__MAX_PER_USER", "3")).await;
    let api = &deployment.api;
    let bob = sign_up(api, "bob@example.org").await;
    register(api, ADA).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(sign_in(api, ADA).await);
    }
    for (number, tokens) in held.iter().enumerate() {
        assert_eq!(is_live(api, &tokens.access).await, number >= 2, "session {number}");
    }
    assert_problem(&refresh(api, &held[0].refresh).await, 401, "invalid_refresh_token");
    assert_eq!(list(api, &held[4].access).await.len(), 3);
    assert!(is_live(api, &bob.access).await);
}

async fn over_the_limit_a_sign_in_is_refused(store: Store) {
    let settings = quick().with("AUTHV2_SESSION__MAX_PER_USER", "2").with("AUTHV2_SESSION__OVER_LIMIT", "reject");
    let deployment = store.deploy(settings).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (first, second) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    assert_problem(&login(api, ADA, PASSWORD).await, 409, "too_many_sessions");
    // Only who knows the password learns that.
    assert_problem(&login(api, ADA, "wrong").await, 401, "invalid_credentials");
    assert!(is_live(api, &first.access).await && is_live(api, &second.access).await);
    assert_eq!(api.post("/auth/logout", &first.access, &json!({})).await.unwrap().status, 204);
    sign_in(api, ADA).await;
}

async fn parallel_sign_ins_stay_within_the_limit(store: Store) {
    for (policy, refused) in [("evict_oldest", 0), ("reject", 7)] {
        let settings = quick().with("AUTHV2_SESSION__MAX_PER_USER", "3").with("AUTHV2_SESSION__OVER_LIMIT", policy);
        let deployment = store.deploy(settings).await;
        let api = &deployment.api;
        register(api, ADA).await;
        let answers = join_all((0..10).map(|_| login(api, ADA, PASSWORD))).await;
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(bad.len(), refused, "{policy}");
        for answer in bad {
            assert_problem(answer, 409, "too_many_sessions");
        }
        let mut live = 0;
        for answer in good {
            live += usize::from(is_live(api, &Tokens::of(answer).access).await);
        }
        assert_eq!(live, 3, "{policy}");
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_at_its_end() {
    let settings = quick().with("AUTHV2_SESSION__IDLE_TTL", "1").with("AUTHV2_SESSION__ABSOLUTE_TTL", "2");
    let deployment = start(settings).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let idle = sign_in(api, ADA).await;
    let (used, _) = Browser::sign_in(api, ADA).await;
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 1500 {
        assert_eq!(used.get("/private").await.status, 200, "after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(!is_live(api, &idle.access).await);
    assert_problem(&refresh(api, &idle.refresh).await, 401, "invalid_refresh_token");
    while begin.elapsed().as_millis() < 2050 {
        used.get("/private").await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_problem(&used.get("/private").await, 401, "unauthenticated");
}
