//! Quotas of API keys: exact under load, over nodes and through `kill -9`, and told of when they are used up.

use authv2_tests::{
    client::{Answer, Api},
    server::{Server, Settings},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_problem, get, on_each_store, quick},
    tenancy::{Organization, deploy},
};

on_each_store!(says_when_it_is_used_up_and_until_when, grants_exactly_as_much_to_many_at_once);

/// A key of the organization's owner, with these fields beside name and scopes.
pub(super) async fn key(of: &Organization, more: Value) -> Minted {
    let mut body = json!({"name": "nightly", "scopes": ["*"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = of.owner.post(&of.path("/api-keys"), body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.string("/api_key/id").to_owned();
    Minted { path: of.path(&format!("/api-keys/{id}")), secret: answer.string("/secret").to_owned(), id }
}

/// A key that was just made.
#[derive(Debug, Clone)]
pub(super) struct Minted {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) path: String,
}

fn quota(requests: u64) -> Value {
    json!({"quota": {"requests": requests, "per": "day"}})
}

/// Asks until it is refused, or the server is gone; how often it was served.
async fn use_up(api: Api, secret: String) -> u64 {
    let mut served = 0;
    loop {
        match api.get("/private", &secret).await {
            Ok(Answer { status: 200, .. }) => served += 1,
            Ok(answer) => {
                assert_problem(&answer, 429, "quota_exceeded");
                return served;
            }
            Err(_) => return served,
        }
    }
}

/// So many callers at once, each of them until it is refused.
async fn use_up_at_once<'a>(servers: impl Iterator<Item = &'a Server>, secret: &str) -> u64 {
    let callers = servers.map(|server| tokio::spawn(use_up(Api::new(server.url()).unwrap(), secret.to_owned())));
    join_all(callers).await.into_iter().map(Result::unwrap).sum()
}

async fn says_when_it_is_used_up_and_until_when(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let (limited, other) = (key(&acme, quota(3)).await, key(&acme, json!({})).await);
    for _ in 0..3 {
        assert_eq!(get(&deployment.api, "/private", &limited.secret).await.status, 200);
    }
    for path in ["/private", "/auth/permissions/check"] {
        let refused = match path {
            "/private" => get(&deployment.api, path, &limited.secret).await,
            _ => deployment.api.post(path, &limited.secret, &json!({"permission": "orders:read"})).await.unwrap(),
        };
        assert_problem(&refused, 429, "quota_exceeded");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=86_400).contains(&wait), "{wait}");
        assert_eq!(refused.header("ratelimit-policy"), "\"quota\";q=3;w=86400");
        assert_eq!(refused.header("ratelimit"), format!("\"quota\";r=0;t={wait}"));
    }
    assert_eq!(get(&deployment.api, "/private", &other.secret).await.status, 200, "each key has its own");
    // A rotation gives nothing back.
    let rotated = acme.owner.post(&format!("{}/rotate", limited.path), json!({})).await;
    let next = rotated.string("/secret");
    assert_problem(&get(&deployment.api, "/private", next).await, 429, "quota_exceeded");
}

async fn grants_exactly_as_much_to_many_at_once(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let limited = key(&acme, quota(400)).await;
    let callers = std::iter::repeat_n(&deployment.server, 64);
    assert_eq!(use_up_at_once(callers, &limited.secret).await, 400);
}

async fn over_three_nodes(settings: Settings) {
    const QUOTA: u64 = 900;
    let mut servers: Vec<Server> = (0..3).map(|_| settings.clone().start().unwrap()).collect();
    let acme = Organization::found(&Api::new(servers[0].url()).unwrap(), "acme", "ada").await;
    let limited = key(&acme, quota(QUOTA)).await;
    let served = use_up_at_once(servers.iter().cycle().take(24), &limited.secret).await;
    // A hundredth of what was left, at each of the others.
    assert!((QUOTA - 18..=QUOTA).contains(&served), "{served}");
    // What they have not served, they give back as they end.
    for server in &mut servers[1..] {
        server.stop().unwrap();
    }
    servers[0].stop().unwrap();
    servers[0].restart().unwrap();
    let rest = use_up_at_once(servers.iter().take(1), &limited.secret).await;
    assert_eq!(served + rest, QUOTA);
}

#[tokio::test]
async fn three_nodes_on_one_file_serve_no_more_than_one() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/authv2.db", directory.path().display());
    over_three_nodes(quick().store(&url)).await;
}

#[tokio::test]
async fn three_nodes_on_postgres_serve_no_more_than_one() {
    let database = authv2_tests::postgres::Postgres::shared().fresh_database().await.unwrap();
    over_three_nodes(quick().store(database.url())).await;
}

async fn through_crashes(settings: Settings) {
    const QUOTA: u64 = 1_000;
    const CALLERS: u64 = 8;
    let mut server = settings.start().unwrap();
    let acme = Organization::found(&Api::new(server.url()).unwrap(), "acme", "ada").await;
    let limited = key(&acme, quota(QUOTA)).await;
    let (mut served, mut crashes) = (0, 0);
    for _ in 0..3 {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| tokio::spawn(use_up(Api::new(server.url()).unwrap(), limited.secret.clone())))
            .collect();
        // Some of them at least are served before it dies.
        for _ in 0..20 {
            if get(&Api::new(server.url()).unwrap(), "/private", &limited.secret).await.status == 200 {
                served += 1;
            }
        }
        server.kill_9().unwrap();
        crashes += 1;
        served += join_all(callers).await.into_iter().map(Result::unwrap).sum::<u64>();
        server.restart().unwrap();
    }
    served += use_up_at_once(std::iter::repeat_n(&server, 8), &limited.secret).await;
    // At each crash a block is lost, and what was served and not heard of.
    let lost = crashes * (QUOTA / 100 + CALLERS);
    assert!((QUOTA - lost..=QUOTA).contains(&served), "{served}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_cost_blocks_and_never_serve_more_on_sqlite() {
    through_crashes(quick()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_cost_blocks_and_never_serve_more_on_postgres() {
    let database = authv2_tests::postgres::Postgres::shared().fresh_database().await.unwrap();
    through_crashes(quick().store(database.url())).await;
}
