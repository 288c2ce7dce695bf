//! More than one process on one database: after each other, and at the same time.

use std::thread;

use authv2_tests::{
    client::Api,
    postgres::Postgres,
    server::{Server, Settings},
};
use serde_json::json;

use super::fixture::{
    ADA, Browser, Store, assert_problem, eventually, get, is_live, login, on_each_store, post, quick, refresh,
    register, sign_in,
};

on_each_store!(a_restart_forgets_nothing_and_revives_nothing);

async fn a_restart_forgets_nothing_and_revives_nothing(store: Store) {
    let mut deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (kept, left) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    let (browser, _) = Browser::sign_in(api, ADA).await;
    assert_eq!(post(api, "/auth/logout", &left.access, json!({})).await.status, 204);
    deployment.server.restart().unwrap();

    let api = Api::new(deployment.server.url()).unwrap();
    assert!(is_live(&api, &kept.access).await);
    assert_eq!(refresh(&api, &kept.refresh).await.status, 200);
    assert!(!is_live(&api, &left.access).await);
    assert_problem(&refresh(&api, &left.refresh).await, 401, "invalid_refresh_token");
    let browser = Browser { api: api.clone(), ..browser };
    let me = browser.get("/auth/me").await;
    assert_eq!(me.string("/csrf_token"), browser.csrf, "{}", me.text);
    sign_in(&api, ADA).await;
}

#[tokio::test]
async fn what_one_node_grants_or_ends_holds_on_the_other() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let node = || quick().store(database.url()).start().unwrap();
    let (one, two) = (node(), node());
    let (one, two) =
        (Api::new(one.url()).map(|api| (api, one)).unwrap(), Api::new(two.url()).map(|api| (api, two)).unwrap());
    let (one, two) = (&one.0, &two.0);
    register(one, ADA).await;
    let (first, second) = (sign_in(one, ADA).await, sign_in(two, ADA).await);
    for node in [one, two] {
        assert!(is_live(node, &first.access).await && is_live(node, &second.access).await);
    }
    assert_eq!(get(one, "/.well-known/jwks.json", "").await.json, get(two, "/.well-known/jwks.json", "").await.json);
    assert_eq!(post(one, "/auth/logout", &second.access, json!({})).await.status, 204);
    assert!(!is_live(one, &second.access).await, "at once where it was said");
    eventually(async || !is_live(two, &second.access).await).await;
    assert_problem(&get(two, "/private", &second.access).await, 401, "invalid_token");
    assert_problem(&refresh(two, &second.refresh).await, 401, "invalid_refresh_token");

    // Either node derives the same successor, and knows the other's.
    let here = refresh(one, &first.refresh).await;
    let there = refresh(two, &first.refresh).await;
    assert_eq!(here.string("/refresh_token"), there.string("/refresh_token"));
    assert_eq!(refresh(two, here.string("/refresh_token")).await.status, 200);
    // A cookie of one is the other's, its CSRF token too.
    let (browser, _) = Browser::sign_in(one, ADA).await;
    let browser = Browser { api: two.clone(), ..browser };
    let logout = browser.page_request(reqwest::Method::POST, "/auth/logout");
    assert_eq!(super::fixture::send(logout).await.status, 204);
    // Failures on both count as one.
    for node in [one, two, one, two, one, two, one, two, one, two] {
        assert_eq!(login(node, "nobody@example.org", "wrong").await.status, 401);
    }
    for node in [one, two] {
        assert_problem(&login(node, "nobody@example.org", "wrong").await, 429, "too_many_attempts");
    }
}

#[tokio::test]
async fn refreshes_on_two_nodes_at_once_agree() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let servers = start_together(vec![quick().store(database.url()); 2]);
    let apis: Vec<Api> = servers.iter().map(|server| Api::new(server.url()).unwrap()).collect();
    register(&apis[0], ADA).await;
    let mut token = sign_in(&apis[0], ADA).await.refresh;
    for _ in 0..5 {
        let answers = futures_util::future::join_all((0..8).map(|turn| refresh(&apis[turn % 2], &token))).await;
        let next = answers[0].string("/refresh_token").to_owned();
        for answer in answers {
            assert_eq!((answer.status, answer.string("/refresh_token")), (200, &*next), "{}", answer.text);
        }
        token = next;
    }
}

/// Starts servers at the same moment.
fn start_together(settings: Vec<Settings>) -> Vec<Server> {
    let starts: Vec<_> = settings.into_iter().map(|settings| thread::spawn(|| settings.start())).collect();
    starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
}

/// Nodes that came up together share keys, issuer and administrator.
async fn assert_one_deployment(servers: &[Server]) {
    let admin = sign_in(&Api::new(servers[0].url()).unwrap(), "root@example.org").await;
    for server in servers {
        let api = Api::new(server.url()).unwrap();
        assert!(is_live(&api, &admin.access).await, "{}", server.stderr());
    }
}

fn founding() -> Settings {
    quick()
        .with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.org")
        .with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", super::fixture::PASSWORD)
}

#[tokio::test]
async fn three_nodes_start_at_once_on_an_empty_postgres() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let servers = start_together(vec![founding().store(database.url()); 3]);
    assert_one_deployment(&servers).await;
}

#[tokio::test]
async fn three_processes_start_at_once_on_an_empty_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("shared.db").display());
    let servers = start_together(vec![founding().store(&url); 3]);
    assert_one_deployment(&servers).await;
}
