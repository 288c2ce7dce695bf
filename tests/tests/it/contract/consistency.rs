//! The revision that a write answers with: who sends it back is decided on data at least that new.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use authv2_tests::{
    client::{Answer, Api},
    postgres::{Database, Postgres},
    server::Server,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    fixture::{Store, assert_problem, on_each_store, quick, send},
    tenancy::{Organization, Person, allow, deploy, held},
};

on_each_store!(
    writes_of_roles_and_members_answer_with_a_revision,
    a_write_on_one_node_holds_on_the_other_for_who_sends_its_revision,
    without_a_revision_a_write_reaches_the_other_node_within_seconds,
);

const REVISION: &str = "x-authv2-revision";

/// A call that sends a revision back.
async fn call_at(person: &Person, method: Method, path: &str, body: Option<Value>, revision: &str) -> Answer {
    let request = person.api.request(method, path).bearer_auth(&person.tokens.access).header(REVISION, revision);
    send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

async fn check_at(person: &Person, permission: &str, revision: &str) -> Answer {
    let body = json!({"permission": permission});
    call_at(person, Method::POST, "/auth/permissions/check", Some(body), revision).await
}

async fn writes_of_roles_and_members_answer_with_a_revision(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let bob = Person::new(&deployment.api, "bob").await;
    let owner = &acme.owner;
    let empty = json!({"inherits": [], "grants": []});
    let roles = json!({"roles": [held("clerk")]});
    let no_roles = json!({"roles": []});
    let member = acme.path(&format!("/members/{}", bob.id));
    let mut answers = vec![
        owner.put(&acme.path("/roles/clerk"), empty.clone()).await,
        owner.put(&acme.path("/roles/clerk"), empty).await,
        owner.post(&acme.path("/members"), json!({"user_id": bob.id, "roles": []})).await,
        owner.put(&format!("{member}/roles"), roles.clone()).await,
        owner.put(&format!("{member}/roles"), no_roles.clone()).await,
        owner.delete(&member).await,
        owner.post(&acme.path("/service-accounts"), json!({"name": "robot", "roles": []})).await,
    ];
    let robot = acme.path(&format!("/service-accounts/{}", answers[6].string("/service_account/id")));
    answers.extend([
        owner.put(&format!("{robot}/roles"), roles).await,
        owner.put(&format!("{robot}/roles"), no_roles).await,
        owner.delete(&robot).await,
        owner.post(&acme.path("/api-keys"), json!({"name": "nightly", "scopes": ["*"]})).await,
        owner.delete(&acme.path("/roles/clerk")).await,
    ]);
    let key = acme.path(&format!("/api-keys/{}", answers[10].string("/api_key/id")));
    answers.extend([owner.post(&format!("{key}/rotate"), json!({})).await, owner.delete(&key).await]);
    let mut seen = BTreeSet::new();
    for (number, answer) in answers.iter().enumerate() {
        assert!((200..300).contains(&answer.status), "call {number}: {}", answer.text);
        let revision = answer.header(REVISION);
        assert!(!revision.is_empty(), "call {number} answers with no revision");
        assert!(revision.len() <= 200 && !revision.contains(&acme.id) && !revision.contains("acme"), "{revision}");
        seen.insert(revision.to_owned());
        // Taken back by whatever is called.
        assert_eq!(check_at(owner, "a:b", revision).await.json, json!({"allowed": true}));
        for path in ["/auth/me", "/private", "/orders/7", "/auth/orgs/acme/members"] {
            let answer = call_at(owner, Method::GET, path, None, revision).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
    assert_eq!(seen.len(), answers.len(), "each write has a revision of its own");
}

#[tokio::test]
async fn a_revision_that_was_touched_is_refused() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let made = acme.owner.put(&acme.path("/roles/clerk"), json!({"inherits": [], "grants": []})).await;
    let good = made.header(REVISION).to_owned();
    let mut bad: Vec<String> = ["", "1", "nonsense", "===="].map(str::to_owned).to_vec();
    bad.extend([good[..good.len() - 1].to_owned(), format!("{good}A"), format!("{good}="), good[1..].to_owned()]);
    bad.push(format!("{good}, {good}"));
    for position in 0..good.len() {
        // The neighbour in the alphabet differs in the lowest bit, too, which the last character may not use.
        let other = if good[position..].starts_with('A') { "Q" } else { "A" };
        bad.push(format!("{}{other}{}", &good[..position], &good[position + 1..]));
    }
    for revision in &bad {
        let answer = check_at(&acme.owner, "a:b", revision).await;
        assert_eq!(answer.status, 400, "{revision:?}: {}", answer.text);
        assert_problem(&answer, 400, "malformed_request");
    }
    let elsewhere = deploy(Store::Sqlite).await;
    let other = Organization::found(&elsewhere.api, "acme", "ada").await;
    assert_eq!(check_at(&other.owner, "a:b", &good).await.status, 400, "another deployment's");
    assert_eq!(check_at(&acme.owner, "a:b", &good).await.status, 200);
}

/// Two processes on one database, which goes with this.
struct Nodes {
    one: Api,
    two: Api,
    _servers: [Server; 2],
    _database: Option<Database>,
    _directory: Option<TempDir>,
}

impl Nodes {
    async fn start(store: Store) -> Self {
        let (url, database, directory) = match store {
            Store::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                (format!("sqlite://{}", directory.path().join("shared.db").display()), None, Some(directory))
            }
            Store::Postgres => {
                let database = Postgres::shared().fresh_database().await.unwrap();
                (database.url().to_owned(), Some(database), None)
            }
        };
        let servers = [(); 2].map(|()| quick().store(&url).start().unwrap());
        let [one, two] = [0, 1].map(|node: usize| Api::new(servers[node].url()).unwrap());
        Self { one, two, _servers: servers, _database: database, _directory: directory }
    }
}

async fn a_write_on_one_node_holds_on_the_other_for_who_sends_its_revision(store: Store) {
    let nodes = Nodes::start(store).await;
    let acme = Organization::found(&nodes.one, "acme", "ada").await;
    acme.role("clerk", json!([])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let there = Person { api: nodes.two.clone(), ..bob.clone() };
    for round in 0..20 {
        // Warm on the other node, with what is about to be wrong.
        assert!(!there.may(&format!("orders:read-{round}")).await);
        let grants = json!([allow(&format!("orders:read-{round}"))]);
        let (revision, expected) = match round % 2 {
            0 => (acme.owner.put(&acme.path("/roles/clerk"), json!({"inherits": [], "grants": grants})).await, true),
            _ => (acme.assign(&acme.owner, &bob, json!([])).await, false),
        };
        let answer = check_at(&there, &format!("orders:read-{round}"), revision.header(REVISION)).await;
        assert_eq!(answer.json, json!({"allowed": expected}), "round {round}: {}", answer.text);
        if !expected {
            let old = check_at(&there, &format!("orders:read-{}", round - 1), revision.header(REVISION)).await;
            assert_eq!(old.json, json!({"allowed": false}), "round {round}: {}", old.text);
            let back = acme.assign(&acme.owner, &bob, json!([held("clerk")])).await;
            let again = check_at(&there, &format!("orders:read-{}", round - 1), back.header(REVISION)).await;
            assert_eq!(again.json, json!({"allowed": true}), "round {round}: {}", again.text);
        }
    }
    // Who is removed has no right left there.
    let member = acme.path(&format!("/members/{}", bob.id));
    acme.set_roles(&bob, json!([held("clerk")])).await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let renewed = acme.owner.post(&acme.path("/service-accounts"), json!({"name": "robot", "roles": []})).await;
    assert_eq!(check_at(&there, "orders:read", renewed.header(REVISION)).await.json, json!({"allowed": true}));
    let removed = acme.owner.delete(&member).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    let refused = call_at(&there, Method::GET, "/orders/7", None, removed.header(REVISION)).await;
    assert_problem(&refused, 403, "permission_denied");
    assert_eq!(check_at(&there, "orders:read", removed.header(REVISION)).await.json, json!({"allowed": false}));
}

/// No request waits for the other node, and none is deceived for long.
async fn without_a_revision_a_write_reaches_the_other_node_within_seconds(store: Store) {
    let nodes = Nodes::start(store).await;
    let acme = Organization::found(&nodes.one, "acme", "ada").await;
    acme.role("clerk", json!([])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let there = Person { api: nodes.two.clone(), ..bob.clone() };
    let comes = async |expected: bool, what: &str| {
        let begin = Instant::now();
        while there.may("orders:read").await != expected {
            assert!(begin.elapsed() < Duration::from_secs(3), "{what} has not come in {:?}", begin.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for round in 0..2 {
        comes(false, "nothing").await;
        acme.role("clerk", json!([allow("orders:read")])).await;
        comes(true, &format!("the grant of round {round}")).await;
        acme.role("clerk", json!([])).await;
        comes(false, &format!("its end in round {round}")).await;
    }
    acme.role("clerk", json!([allow("orders:read")])).await;
    comes(true, "the last grant").await;
    acme.set_roles(&bob, json!([])).await;
    comes(false, "a role taken away").await;
    acme.set_roles(&bob, json!([held("clerk")])).await;
    comes(true, "a role given").await;
    let removed = acme.owner.delete(&acme.path(&format!("/members/{}", bob.id))).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    comes(false, "a member's removal").await;
    assert_problem(&there.get("/orders/7").await, 403, "permission_denied");
    assert_eq!(there.get("/private").await.status, 200);
}

/// A database restored from a backup is behind what it once answered: the node waits a second for it, no longer.
#[tokio::test]
async fn a_revision_that_does_not_come_is_an_outage() {
    let mut deployment = super::fixture::start(quick()).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("clerk", json!([])).await;
    let directory = deployment.server.directory().to_owned();
    let backup = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.extension().is_none_or(|extension| extension != "log") {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    deployment.server.stop().unwrap();
    copy(&directory, backup.path());
    deployment.server.restart().unwrap();
    let owner = Person { api: Api::new(deployment.server.url()).unwrap(), ..acme.owner.clone() };
    let written =
        owner.put(&acme.path("/roles/clerk"), json!({"inherits": [], "grants": [allow("orders:read")]})).await;
    assert_eq!(written.status, 200, "{}", written.text);
    let revision = written.header(REVISION).to_owned();
    deployment.server.stop().unwrap();
    for leftover in ["authv2.db-wal", "authv2.db-shm"] {
        fs::remove_file(directory.join(leftover)).ok();
    }
    copy(backup.path(), &directory);
    deployment.server.restart().unwrap();

    let owner = Person { api: Api::new(deployment.server.url()).unwrap(), ..owner };
    let begin = Instant::now();
    let answer = check_at(&owner, "a:b", &revision).await;
    assert_problem(&answer, 503, "unavailable");
    assert!(!answer.header("retry-after").is_empty());
    let waited = begin.elapsed().as_millis();
    assert!((900..5_000).contains(&waited), "{waited} ms");
    assert!(owner.may("a:b").await, "without it, all is well");
}
