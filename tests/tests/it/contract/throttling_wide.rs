//! Throttling of what is spread out: one account from many networks, and many accounts from one network.

use authv2_tests::client::Api;
use futures_util::future::join_all;

use super::fixture::{
    ADA, Deployment, PASSWORD, Store, WRONG, assert_problem, login, on_each_store, quick, register, sign_up, start,
};

on_each_store!(past_fifty_failures_strangers_go_at_a_pace, past_a_hundred_failures_a_network_waits);

/// Fails to sign in to an account from so many networks, ten times each.
async fn attack(deployment: &Deployment, email: &str, networks: u8) {
    for network in 0..networks {
        let api = deployment.from(50, network + 1);
        for _ in 0..10 {
            assert_eq!(login(&api, email, WRONG).await.status, 401);
        }
    }
}

async fn assert_throttled(api: &Api, email: &str, password: &str) {
    let answer = login(api, email, password).await;
    assert_problem(&answer, 429, "too_many_attempts");
    assert!(!answer.header("retry-after").is_empty());
}

async fn past_fifty_failures_strangers_go_at_a_pace(store: Store) {
    let deployment = store.deploy(quick()).await;
    let home = deployment.from(60, 1);
    sign_up(&home, ADA).await;
    attack(&deployment, ADA, 5).await;

    // One attempt for each network never seen, and the next one waits, right or wrong.
    for network in 1..=20 {
        let stranger = deployment.from(61, network);
        assert_eq!(login(&stranger, ADA, WRONG).await.status, 401, "stranger {network}");
        assert_throttled(&stranger, ADA, PASSWORD).await;
    }
    // All of them together: twenty a minute.
    assert_throttled(&deployment.from(61, 21), ADA, PASSWORD).await;

    // The owner, at home, is not among the strangers.
    assert_eq!(login(&home, ADA, WRONG).await.status, 401);
    assert_eq!(login(&home, ADA, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_stranger_with_the_right_password_passes_at_that_pace() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    attack(&deployment, ADA, 5).await;
    assert_eq!(login(&deployment.from(61, 1), ADA, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_unknown_email_is_paced_alike() {
    let deployment = start(quick()).await;
    let unknown = "nobody@example.org";
    attack(&deployment, unknown, 5).await;
    let stranger = deployment.from(61, 1);
    assert_eq!(login(&stranger, unknown, WRONG).await.status, 401);
    assert_throttled(&stranger, unknown, WRONG).await;
}

#[tokio::test]
async fn parallel_strangers_do_not_outrun_the_pace() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let strangers: Vec<Api> = (1..=100).map(|network| deployment.from(61, network)).collect();
    let answers = join_all(strangers.iter().map(|stranger| login(stranger, ADA, WRONG))).await;
    let judged = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((50..=70).contains(&judged), "fifty, and twenty at the pace: {judged}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
}

#[tokio::test]
async fn a_known_pair_has_a_limit_of_its_own() {
    let deployment = start(quick()).await;
    let home = deployment.from(60, 1);
    sign_up(&home, ADA).await;
    for _ in 0..10 {
        assert_eq!(login(&home, ADA, WRONG).await.status, 401);
    }
    assert_throttled(&home, ADA, PASSWORD).await;
    // Its failures are not counted on the account: ten less do not make the others strangers sooner.
    attack(&deployment, ADA, 5).await;
    assert_eq!(login(&deployment.from(61, 1), ADA, PASSWORD).await.status, 200);
}

async fn past_a_hundred_failures_a_network_waits(store: Store) {
    let deployment = store.deploy(quick()).await;
    let office = deployment.from(70, 1);
    sign_up(&office, ADA).await;
    register(&deployment.api, "bob@example.org").await;
    for guess in 0..100 {
        let answer = login(&office, &format!("guess{guess}@example.org"), WRONG).await;
        assert_eq!(answer.status, 401, "guess {guess}: {}", answer.text);
    }
    for email in ["bob@example.org", "guess0@example.org", "fresh@example.org"] {
        assert_throttled(&office, email, PASSWORD).await;
    }
    // Who signed in from there lately is left out, and so is everybody elsewhere.
    assert_eq!(login(&office, ADA, PASSWORD).await.status, 200);
    assert_eq!(login(&deployment.from(70, 2), "bob@example.org", PASSWORD).await.status, 200);
    assert_throttled(&office, "bob@example.org", PASSWORD).await;
}

#[tokio::test]
async fn parallel_guesses_at_many_accounts_stop_at_a_hundred() {
    let deployment = start(quick()).await;
    let office = deployment.from(70, 1);
    let emails: Vec<String> = (0..120).map(|guess| format!("guess{guess}@example.org")).collect();
    let answers = join_all(emails.iter().map(|email| login(&office, email, WRONG))).await;
    let judged = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(judged, 100);
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
}

#[tokio::test]
async fn finding_out_taken_addresses_is_throttled_too() {
    let deployment = start(quick()).await;
    let office = deployment.from(70, 1);
    register(&office, ADA).await;
    for _ in 0..100 {
        assert_eq!(office.register(ADA, PASSWORD).await.unwrap().status, 409);
    }
    assert_problem(&office.register(ADA, PASSWORD).await.unwrap(), 429, "too_many_attempts");
    assert_problem(&office.register("new@example.org", PASSWORD).await.unwrap(), 429, "too_many_attempts");
    register(&deployment.api, "new@example.org").await;
}
