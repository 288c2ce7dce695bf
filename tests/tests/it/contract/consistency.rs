//! The revision that a write answers with: who sends it back is decided on data at least that new.

use std::{collections::BTreeSet, fs, time::Instant};

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_problem, on_each_store, quick, send},
    tenancy::{Organization, Person, allow, deploy, held},
};

on_each_store!(writes_of_roles_and_members_answer_with_a_revision);

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
        owner.delete(&acme.path("/roles/clerk")).await,
    ]);
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

#[tokio::test]
async fn a_write_on_one_node_holds_on_the_other_for_who_sends_its_revision() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let node = || quick().store(database.url()).start().unwrap();
    let (one, two) = (node(), node());
    let (one, two) =
        (Api::new(one.url()).map(|api| (api, one)).unwrap(), Api::new(two.url()).map(|api| (api, two)).unwrap());
    let acme = Organization::found(&one.0, "acme", "ada").await;
    acme.role("clerk", json!([])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let there = Person { api: two.0.clone(), ..bob.clone() };
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
