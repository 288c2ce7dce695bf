//! Refresh tokens: one use each, one successor, and what a second use means.

use std::time::Duration;

use authv2_tests::server::Settings;
use futures_util::future::join_all;
use serde_json::json;

use super::fixture::{
    ADA, Store, Tokens, assert_problem, get, is_live, members, on_each_store, post, quick, refresh, register, sign_in,
    sign_up, start,
};

on_each_store!(
    each_refresh_gives_new_tokens_of_the_same_session,
    a_lost_answer_is_given_again,
    a_token_whose_successor_is_used_is_refused_without_consequences,
    a_token_used_again_after_the_grace_ends_its_session_alone,
    parallel_refreshes_agree_on_one_successor,
);

/// No answer may be lost: every second use is one too many.
fn without_grace() -> Settings {
    quick().with("AUTHV2_SESSION__REFRESH_GRACE", "0")
}

async fn each_refresh_gives_new_tokens_of_the_same_session(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let mut held = sign_up(api, ADA).await;
    for _ in 0..4 {
        let answer = refresh(api, &held.refresh).await;
        assert_eq!(
            members(&answer.json),
            ["access_token", "expires_in", "refresh_expires_in", "refresh_token", "session", "token_type", "user"]
        );
        let next = Tokens::of(&answer);
        assert_eq!(next.session, held.session);
        assert_ne!(next.refresh, held.refresh);
        assert_ne!(next.access, held.access);
        assert_eq!(answer.string("/user/email"), ADA);
        assert_eq!(answer.json["session"]["current"], true);
        assert!(is_live(api, &next.access).await && is_live(api, &held.access).await);
        held = next;
    }
    let sessions = get(api, "/auth/sessions", &held.access).await;
    assert_eq!(sessions.json["sessions"].as_array().unwrap().len(), 1, "{}", sessions.text);
}

async fn a_lost_answer_is_given_again(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let first = sign_up(api, ADA).await;
    let successor = Tokens::of(&refresh(api, &first.refresh).await);
    for _ in 0..3 {
        let again = Tokens::of(&refresh(api, &first.refresh).await);
        assert_eq!(again.refresh, successor.refresh);
        assert!(is_live(api, &again.access).await);
    }
    assert_eq!(refresh(api, &successor.refresh).await.status, 200);
}

async fn a_token_whose_successor_is_used_is_refused_without_consequences(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let first = sign_up(api, ADA).await;
    let second = Tokens::of(&refresh(api, &first.refresh).await);
    let third = Tokens::of(&refresh(api, &second.refresh).await);
    assert_problem(&refresh(api, &first.refresh).await, 401, "invalid_refresh_token");
    assert!(is_live(api, &third.access).await);
    assert_eq!(Tokens::of(&refresh(api, &second.refresh).await).refresh, third.refresh);
    assert_eq!(refresh(api, &third.refresh).await.status, 200);
}

async fn a_token_used_again_after_the_grace_ends_its_session_alone(store: Store) {
    let deployment = store.deploy(without_grace()).await;
    let api = &deployment.api;
    let stolen = sign_up(api, ADA).await;
    let other = sign_in(api, ADA).await;
    let successor = Tokens::of(&refresh(api, &stolen.refresh).await);
    assert_problem(&refresh(api, &stolen.refresh).await, 401, "refresh_token_reused");
    for dead in [&stolen, &successor] {
        assert!(!is_live(api, &dead.access).await);
        assert_problem(&refresh(api, &dead.refresh).await, 401, "invalid_refresh_token");
    }
    assert!(is_live(api, &other.access).await, "another session was ended too");
    assert_eq!(refresh(api, &other.refresh).await.status, 200);
}

#[tokio::test]
async fn the_grace_is_as_long_as_it_is_set() {
    let deployment = start(quick().with("AUTHV2_SESSION__REFRESH_GRACE", "1")).await;
    let api = &deployment.api;
    let first = sign_up(api, ADA).await;
    let successor = Tokens::of(&refresh(api, &first.refresh).await);
    assert_eq!(Tokens::of(&refresh(api, &first.refresh).await).refresh, successor.refresh);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_problem(&refresh(api, &first.refresh).await, 401, "refresh_token_reused");
    assert!(!is_live(api, &successor.access).await);
}

async fn parallel_refreshes_agree_on_one_successor(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let first = sign_up(api, ADA).await;
    let answers = join_all((0..24).map(|_| refresh(api, &first.refresh))).await;
    let tokens: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
    assert!(tokens.iter().all(|held| held.refresh == tokens[0].refresh), "the family forked");
    assert!(is_live(api, &tokens[23].access).await);
    assert_eq!(refresh(api, &tokens[0].refresh).await.status, 200);
}

#[tokio::test]
async fn parallel_uses_without_grace_leave_no_live_session() {
    let deployment = start(without_grace()).await;
    let api = &deployment.api;
    let first = sign_up(api, ADA).await;
    let answers = join_all((0..8).map(|_| refresh(api, &first.refresh))).await;
    let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(good.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.code() == "refresh_token_reused").count(), 1);
    assert!(!is_live(api, good[0].string("/access_token")).await);
}

#[tokio::test]
async fn refuses_what_is_no_refresh_token() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let other = format!("avr_{}", "A".repeat(43));
    let capitals = tokens.refresh.to_uppercase();
    let spaced = format!("{} ", tokens.refresh);
    for token in ["", "avr_", "nonsense", &tokens.access, &other, &capitals, &spaced] {
        assert_problem(&refresh(api, token).await, 401, "invalid_refresh_token");
    }
    // An access token, or nothing at all, renews nothing.
    for token in ["", tokens.access.as_str()] {
        assert_problem(&post(api, "/auth/refresh", token, json!({})).await, 401, "invalid_refresh_token");
    }
    assert_eq!(refresh(api, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token_and_is_taken_beside_an_expired_one() {
    let deployment = start(quick().with("AUTHV2_TOKENS__ACCESS_TTL", "2")).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let tokens = sign_in(api, ADA).await;
    assert!(!is_live(api, &tokens.refresh).await);
    tokio::time::sleep(Duration::from_millis(2050)).await;
    assert!(!is_live(api, &tokens.access).await);
    let renewed = post(api, "/auth/refresh", &tokens.access, json!({"refresh_token": tokens.refresh})).await;
    assert_eq!(Tokens::of(&renewed).session, tokens.session);
}
