//! Keys that rotate, stall, lie and die.

use std::time::{Duration, Instant};

use authv2_tests::issuer::{Document, Issuer};
use serde_json::{Value, json};

use super::{Plain, World, jwks, key, until, usual, with};
use crate::contract::fixture::assert_problem;

#[tokio::test]
async fn a_rotation_goes_without_a_hiccup() {
    let plain = Plain::start(json!({"unknown_key_interval": 1}), 600).await;
    let (old, new) = (plain.token("ed-1"), plain.token("ed-2"));
    assert_eq!(plain.world.private(&old).await.status, 200);
    // Nobody was told: the first token of the new key makes this node look.
    plain.issuer.publish_keys("", &jwks(&["ed-1", "ed-2"]), 600);
    for token in [&new, &old, &new] {
        assert_eq!(plain.world.private(token).await.status, 200);
    }
    assert_eq!(plain.issuer.asked("/keys").times, 2);
}

#[tokio::test]
async fn keys_are_fetched_ahead_of_their_end_and_under_a_condition() {
    // Good for twelve seconds, they are fetched after seven or so: the machine may be busy.
    let plain = Plain::start(json!({"refresh_max": 12}), 12).await;
    let token = plain.token("ed-1");
    until("it asks under a condition", async || {
        assert_eq!(plain.world.health("partner").await.1, "ok", "at no time are its keys old");
        plain.issuer.asked("/keys").unchanged >= 2
    })
    .await;
    let asked = plain.issuer.asked("/keys");
    assert_eq!(asked.times, asked.unchanged + 1, "{asked:?}");
    assert_eq!(plain.issuer.asked("/.well-known/openid-configuration").times, 1);
    assert_eq!(plain.world.private(&token).await.status, 200);
    // A key that was withdrawn verifies nothing from the next time on.
    plain.issuer.publish_keys("", &jwks(&["ed-2"]), 12);
    until("the old key is forgotten", async || plain.world.private(&token).await.status == 401).await;
    assert_eq!(plain.world.private(&plain.token("ed-2")).await.status, 200);
}

#[tokio::test]
async fn keys_that_are_made_up_cost_the_issuer_a_bounded_number_of_requests() {
    let plain = Plain::start(json!({"unknown_key_interval": 2}), 600).await;
    assert_eq!(plain.world.private(&plain.token("ed-1")).await.status, 200);
    let (begun, world) = (Instant::now(), &plain.world);
    for round in 0..40 {
        let plain = &plain;
        let tokens = (0..25).map(|number| {
            let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
            (header.typ, header.kid) = (Some("at+jwt".into()), Some(format!("made-up-{round}-{number}")));
            key("ed-2").sign_with(&header, &plain.claims())
        });
        let calls = tokens.map(|token| async move { world.private(&token).await });
        for answer in futures_util::future::join_all(calls).await {
            assert_problem(&answer, 401, "invalid_token");
        }
    }
    let allowed = 2 + usize::try_from(begun.elapsed().as_secs() / 2 + 1).unwrap();
    let asked = plain.issuer.asked("/keys").times;
    assert!(asked <= allowed, "{asked} requests in {:?}", begun.elapsed());
    assert_eq!(plain.world.private(&plain.token("ed-1")).await.status, 200);
}

#[tokio::test]
async fn a_crowd_at_the_start_is_one_request() {
    let issuer = Issuer::start().await.unwrap();
    issuer.publish_keys("", &jwks(&["ed-1"]), 600);
    issuer.stall(true);
    let plain = Plain::of(issuer, json!({"timeout": 30})).await;
    let token = plain.token("ed-1");
    let crowd = futures_util::future::join_all((0..50).map(|_| plain.world.private(&token)));
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        plain.issuer.stall(false);
    };
    let (answers, ()) = tokio::join!(crowd, release);
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers.first());
    assert_eq!(plain.issuer.asked("/keys").times, 1);
    assert_eq!(plain.issuer.asked("/.well-known/openid-configuration").times, 1);
}

#[tokio::test]
async fn keys_of_a_dead_issuer_go_on_for_a_while_and_then_nobody_knows() {
    let mut plain = Plain::start(json!({"refresh_max": 1, "stale_if_error": 3, "unknown_key_interval": 1}), 1).await;
    let token = plain.token("ed-1");
    assert_eq!(plain.world.private(&token).await.status, 200);
    assert_eq!(plain.world.health("partner").await, (200, "ok".into(), "closed".into()));
    plain.issuer.die().await;
    until("its keys are old", async || plain.world.health("partner").await.1 == "degraded").await;
    // Whether this key is one of its keys can be said by nobody now.
    until("a key is not known", async || plain.world.private(&plain.token("ed-2")).await.status == 503).await;
    until("its keys are too old", async || plain.world.private(&token).await.status == 503).await;
    let answer = plain.world.private(&token).await;
    assert_problem(&answer, 503, "unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(plain.world.private(&plain.world.owner.access).await.status, 200, "others are served");
    until("nobody asks any longer", async || {
        plain.world.health("partner").await == (200, "degraded".into(), "open".into())
    })
    .await;
    for _ in 0..100 {
        assert_problem(&plain.world.private(&token).await, 503, "unavailable");
    }

    plain.issuer.revive().await.unwrap();
    until("it is heard of again", async || plain.world.private(&token).await.status == 200).await;
    until("health says so", async || plain.world.health("partner").await == (200, "ok".into(), "closed".into())).await;
}

#[tokio::test]
async fn an_issuer_that_stalls_is_an_outage_of_its_tokens_alone() {
    let issuer = Issuer::start().await.unwrap();
    issuer.publish_keys("", &jwks(&["ed-1"]), 600);
    issuer.stall(true);
    let plain = Plain::of(issuer, json!({})).await;
    let token = plain.token("ed-1");
    assert_problem(&plain.world.private(&token).await, 503, "unavailable");
    assert_eq!(plain.world.private(&plain.world.owner.access).await.status, 200);
    plain.issuer.stall(false);
    until("it answers", async || plain.world.private(&token).await.status == 200).await;
}

/// What an issuer must not publish, and the good keys behind it that must not be taken.
fn lies(issuer: &Issuer) -> Vec<(&'static str, Vec<(&'static str, Document)>)> {
    const METADATA: &str = "/.well-known/openid-configuration";
    let json = |value: Value| Document::json(&value, 600);
    let metadata = |iss: String, keys: String| vec![(METADATA, json(json!({"issuer": iss, "jwks_uri": keys})))];
    let keys = |document| vec![("/keys", document)];
    let elsewhere = issuer.at("/elsewhere");
    let twice = format!(r#"{{"issuer":"{0}","issuer":"{0}","jwks_uri":"{1}"}}"#, issuer.at(""), issuer.at("/keys"));
    vec![
        ("another issuer", metadata("https://other.example".into(), issuer.at("/keys"))),
        ("itself, with a slash", metadata(issuer.at("/"), issuer.at("/keys"))),
        ("keys by another scheme", metadata(issuer.at(""), "ftp://127.0.0.1/keys".into())),
        ("keys in a file", metadata(issuer.at(""), "file:///etc/hosts".into())),
        ("keys in the clear elsewhere", metadata(issuer.at(""), "http://keys.example/keys".into())),
        ("its issuer twice", vec![(METADATA, Document::other(200, &[], twice))]),
        ("no keys", vec![(METADATA, json(json!({"issuer": issuer.at("")})))]),
        ("a page", vec![(METADATA, Document::other(200, &[("content-type", "text/html")], "<html>Sign in</html>"))]),
        ("metadata elsewhere", vec![(METADATA, Document::other(302, &[("location", &elsewhere)], ""))]),
        ("keys elsewhere", keys(Document::other(302, &[("location", &elsewhere)], ""))),
        ("a list", keys(json(json!(jwks(&["ed-1"]))))),
        ("an empty set", keys(json(json!({"keys": []})))),
        ("a shared secret", keys(json(json!({"keys": [{"kty": "oct", "kid": "ed-1", "k": "c2VjcmV0"}]})))),
        ("two keys of one name", keys(json(json!({"keys": jwks(&["ed-1", "ed-1"])})))),
        ("a huge set", keys(json(json!({"keys": jwks(&["ed-1"]), "pad": "x".repeat(300 * 1024)})))),
        ("a set of many keys", keys(json(json!({"keys": vec![json!({"kty": "x"}); 65]})))),
        ("an error with keys in it", keys(Document::other(500, &[], json!({"keys": jwks(&["ed-1"])}).to_string()))),
        ("half a set", keys(Document::other(200, &[], "{\"keys\":["))),
        ("nothing new, unasked", keys(Document::other(304, &[], ""))),
    ]
}

#[tokio::test]
async fn nothing_that_an_issuer_lies_about_is_taken() {
    for number in 0..lies(&Issuer::start().await.unwrap()).len() {
        let issuer = Issuer::start().await.unwrap();
        issuer.publish_keys("", &jwks(&["ed-1"]), 600);
        issuer.publish("/elsewhere", Document::json(&json!({"keys": jwks(&["ed-1"])}), 600));
        let (lie, documents) = lies(&issuer).swap_remove(number);
        for (path, document) in documents {
            issuer.publish(path, document);
        }
        let issuers =
            authv2_core::issuer::Issuers::start(&[config(&issuer)], authv2_core::config::Profile::Development);
        let token = key("ed-1").sign(Some("at+jwt"), &super::claims(&issuer.at("")));
        let issuers = issuers.unwrap();
        let trusted = issuers.of(&token).unwrap();
        let verdict = trusted.verify(&token, authv2_core::clock::Timestamp::from_seconds(now())).await;
        assert!(verdict.is_err(), "{lie}: {verdict:?}");
        assert_eq!(issuer.asked("/elsewhere").times, 0, "{lie}");
        // It tells the truth again.
        issuer.publish_keys("", &jwks(&["ed-1"]), 600);
        let now = authv2_core::clock::Timestamp::from_seconds(now());
        until(lie, async || matches!(trusted.verify(&token, now).await, Ok(Ok(_)))).await;
    }
}

fn now() -> i64 {
    i64::try_from(super::now()).unwrap()
}

fn config(issuer: &Issuer) -> authv2_core::config::IssuerConfig {
    authv2_core::config::IssuerConfig {
        issuer: issuer.at(""),
        audiences: vec!["api".to_owned()],
        organizations: vec!["acme".to_owned()],
        timeout: Duration::from_secs(2),
        ..Default::default()
    }
}

#[tokio::test]
async fn metadata_may_be_at_either_place_or_be_left_out() {
    let issuer = Issuer::start().await.unwrap();
    let metadata =
        |path: &str| Document::json(&json!({"issuer": issuer.at(path), "jwks_uri": issuer.at("/keys")}), 600);
    issuer.publish("/keys", Document::json(&json!({"keys": jwks(&["ed-1"])}), 600));
    issuer.publish("/.well-known/oauth-authorization-server/two", metadata("/two"));
    issuer.publish("/somewhere", metadata("/three"));
    let entry = |path: &str, more: Value| {
        with(&usual(&issuer), with(&json!({"issuer": issuer.at(path), "name": path.trim_matches('/')}), more))
    };
    let world = World::start(&json!([
        entry("/one", json!({"jwks_uri": issuer.at("/keys")})),
        entry("/two", json!({})),
        entry("/three", json!({"discovery": issuer.at("/somewhere")})),
    ]))
    .await;
    for path in ["/one", "/two", "/three"] {
        let token = key("ed-1").sign(Some("at+jwt"), &super::claims(&issuer.at(path)));
        let answer = world.private(&token).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn keys_that_turn_to_nonsense_leave_those_of_before() {
    let plain = Plain::start(json!({"refresh_max": 1, "stale_if_error": 600}), 1).await;
    let token = plain.token("ed-1");
    assert_eq!(plain.world.private(&token).await.status, 200);
    plain.issuer.publish("/keys", Document::other(200, &[], "{\"keys\":[]}"));
    until("its keys are old", async || plain.world.health("partner").await.1 == "degraded").await;
    assert_eq!(plain.world.private(&token).await.status, 200);
}

#[tokio::test]
async fn metadata_that_are_gone_take_no_keys_away() {
    let plain = Plain::start(json!({"refresh_max": 1, "stale_if_error": 2, "unknown_key_interval": 1}), 1).await;
    let token = plain.token("ed-1");
    assert_eq!(plain.world.private(&token).await.status, 200);
    plain.issuer.publish("/.well-known/openid-configuration", Document::other(500, &[], ""));
    // One failure of the keys makes it ask the metadata, which do not answer: it looks where they were.
    plain.issuer.publish("/keys", Document::other(500, &[], ""));
    until("its keys are old", async || plain.world.health("partner").await.1 == "degraded").await;
    plain.issuer.publish("/keys", Document::json(&json!({"keys": jwks(&["ed-1", "ed-2"])}), 1));
    until("new keys are found", async || plain.world.private(&plain.token("ed-2")).await.status == 200).await;
    assert!(plain.issuer.asked("/.well-known/openid-configuration").times > 1);
    assert_eq!(plain.world.private(&token).await.status, 200);
}
