//! API keys: made, shown, presented, rotated and deleted.

use std::process::Command;

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    fixture::{Store, assert_invalid, assert_problem, eventually, get, members, on_each_store, quick, send},
    tenancy::{NOBODY_ID, Organization, Person, allow, assert_not_found, assert_refuses, deploy, held, held_at},
};

on_each_store!(
    a_key_is_made_shown_once_listed_and_deleted,
    a_key_opens_what_any_credential_opens,
    the_old_secret_works_until_the_grace_is_over,
    lists_come_oldest_first_in_pages_and_by_store,
);

/// A key just made: what to present, and its path.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) path: String,
}

impl Organization {
    /// Makes a key as `by`.
    pub(crate) async fn mint(&self, by: &Person, body: Value) -> Answer {
        by.post(&self.path("/api-keys"), body).await
    }

    /// Makes a key of `by`, and it works.
    pub(crate) async fn key(&self, by: &Person, more: Value) -> Key {
        let mut body = json!({"name": "nightly", "scopes": ["*"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.minted(&self.mint(by, body).await)
    }

    pub(crate) fn minted(&self, answer: &Answer) -> Key {
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = answer.string("/api_key/id").to_owned();
        Key { path: self.path(&format!("/api-keys/{id}")), secret: answer.string("/secret").to_owned(), id }
    }
}

/// Whether a key is taken: any other answer than a good one says that it is none.
pub(crate) async fn opens(api: &Api, secret: &str) -> bool {
    let answer = get(api, "/private", secret).await;
    if answer.status != 200 {
        assert_problem(&answer, 401, "invalid_token");
    }
    answer.status == 200
}

async fn a_key_is_made_shown_once_listed_and_deleted(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    let path = acme.path("/api-keys");
    assert_eq!(acme.owner.get(&path).await.json, json!({"api_keys": []}));
    let body = json!({
        "name": " Nightly export ", "scopes": ["orders:read", "invoices:*", "orders:read"], "expires_in": 3600,
        "store": "north", "rate_limit": {"requests": 10, "per_seconds": 60, "burst": 5},
        "quota": {"requests": 1000, "per": "month"}, "environment": "test",
        "allowed_ips": ["127.0.0.0/8", "::1"], "metadata": {"team": "ops", "deep": {"a": [1, null]}},
    });
    let made = acme.mint(&acme.owner, body).await;
    let key = acme.minted(&made);
    assert_eq!(members(&made.json), ["api_key", "secret"]);
    assert_eq!(made.header("cache-control"), "no-store");
    let shown = &made.json["api_key"];
    assert_eq!(
        members(shown),
        [
            "allowed_ips",
            "created_at",
            "created_by",
            "environment",
            "expires_at",
            "id",
            "metadata",
            "name",
            "prefix",
            "quota",
            "rate_limit",
            "scopes",
            "store",
        ]
    );
    let expected = json!({
        "id": key.id, "name": "Nightly export", "environment": "test", "prefix": key.secret[..31],
        "scopes": ["orders:read", "invoices:*"], "store": north, "created_by": acme.owner.id,
        "rate_limit": {"requests": 10, "per_seconds": 60, "burst": 5}, "quota": {"requests": 1000, "per": "month"},
        "allowed_ips": ["127.0.0.0/8", "::1/128"], "metadata": {"team": "ops", "deep": {"a": [1, null]}},
        "created_at": shown["created_at"], "expires_at": shown["expires_at"],
    });
    assert_eq!(*shown, expected);
    assert_eq!(Uuid::parse_str(&key.id).unwrap().get_version_num(), 7);
    assert!(key.secret.starts_with("avk_test_") && key.secret.len() == 81, "{}", key.secret.len());
    assert!(!made.header("x-authv2-revision").is_empty());

    // Never again.
    let (read, listed) = (acme.owner.get(&key.path).await, acme.owner.get(&path).await);
    assert_eq!((read.status, &read.json), (200, &json!({"api_key": shown})));
    assert_eq!((listed.status, &listed.json), (200, &json!({"api_keys": [shown]})));
    let plain = acme.mint(&acme.owner, json!({"name": "plain", "scopes": ["*"]})).await;
    let names =
        ["allowed_ips", "created_at", "created_by", "environment", "id", "metadata", "name", "prefix", "scopes"];
    assert_eq!(members(&plain.json["api_key"]), names);
    assert_eq!(plain.json["api_key"]["environment"], "live");

    let rotated = acme.owner.post(&format!("{}/rotate", key.path), json!({})).await;
    assert_eq!((rotated.status, members(&rotated.json)), (201, vec!["api_key", "secret"]), "{}", rotated.text);
    assert_eq!(&rotated.json["api_key"], shown, "it keeps all but its secret");
    let gone = acme.owner.delete(&key.path).await;
    assert_eq!((gone.status, &*gone.text), (204, ""));
    for answer in [
        acme.owner.get(&key.path).await,
        acme.owner.delete(&key.path).await,
        acme.owner.post(&format!("{}/rotate", key.path), json!({})).await,
    ] {
        assert_not_found(&answer);
    }
    assert_eq!(acme.owner.get(&path).await.json, json!({"api_keys": [plain.json["api_key"]]}));
}

async fn a_key_opens_what_any_credential_opens(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let key = acme.key(&acme.owner, json!({"scopes": ["orders:read"]})).await;
    let expected = json!({"user_id": acme.owner.id, "organization": acme.id, "method": "api_key"});
    let as_header = || api.request(Method::GET, "/private").header("x-api-key", &key.secret);
    for answer in [get(api, "/private", &key.secret).await, send(as_header()).await] {
        assert_eq!((answer.status, &answer.json), (200, &expected), "{}", answer.text);
    }
    assert_problem(&send(as_header().bearer_auth(&key.secret)).await, 400, "ambiguous_credentials");
    assert_problem(&send(as_header().header("x-api-key", &key.secret)).await, 400, "ambiguous_credentials");
    let answer = get(api, "/orders/7", &key.secret).await;
    assert_eq!((answer.status, &answer.json["organization"]), (200, &json!(acme.id)), "{}", answer.text);
    assert_eq!(acme.owner.delete(&key.path).await.status, 204);
    assert!(!opens(api, &key.secret).await, "dead at once");
    assert_problem(&send(as_header()).await, 401, "invalid_token");
}

async fn the_old_secret_works_until_the_grace_is_over(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let key = acme.key(&acme.owner, json!({})).await;
    let rotate = async |body: Value| {
        let answer = acme.owner.post(&format!("{}/rotate", key.path), body).await;
        acme.minted(&answer).secret
    };
    let second = rotate(json!({"grace_seconds": 3600})).await;
    assert!(opens(api, &key.secret).await && opens(api, &second).await);
    assert_eq!(key.secret[..31], second[..31], "the same key");
    // What is shorter ends the older ones too.
    let third = rotate(json!({"grace_seconds": 1})).await;
    assert!(opens(api, &third).await);
    eventually(async || !opens(api, &second).await && !opens(api, &key.secret).await).await;
    let fourth = rotate(json!({})).await;
    assert!(!opens(api, &third).await && opens(api, &fourth).await, "without a grace it ends at once");
    for secret in [&key.secret, &second, &third] {
        assert!(!opens(api, secret).await);
    }
    assert_eq!(acme.owner.delete(&key.path).await.status, 204);
    assert!(!opens(api, &fourth).await);
}

async fn lists_come_oldest_first_in_pages_and_by_store(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let more = if number % 2 == 0 { json!({"store": "north"}) } else { json!({}) };
        ids.push(acme.key(&acme.owner, more).await.id);
    }
    let list = async |query: &str| {
        let answer = acme.owner.get(&acme.path(&format!("/api-keys{query}"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let keys = answer.json["api_keys"].as_array().unwrap().clone();
        let ids: Vec<String> = keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
        (ids, answer.string("/next_cursor").to_owned())
    };
    assert_eq!(list("").await, (ids.clone(), String::new()));
    let (first, cursor) = list("?limit=2").await;
    let (second, next) = list(&format!("?limit=2&cursor={cursor}")).await;
    let (third, end) = list(&format!("?limit=2&cursor={next}")).await;
    assert_eq!((first, second, third, &*end), (ids[..2].to_vec(), ids[2..4].to_vec(), ids[4..].to_vec(), ""));
    let of_store = vec![ids[0].clone(), ids[2].clone(), ids[4].clone()];
    assert_eq!(list("?store=north").await.0, of_store);
    assert_eq!(list(&format!("?store={north}&limit=1")).await.0, of_store[..1]);
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?cursor=x", "cursor"),
        ("?store=south", "store"),
        (&*format!("?store={NOBODY_ID}"), "store"),
    ] {
        assert_refuses(&acme.owner.get(&acme.path(&format!("/api-keys{query}"))).await, field);
    }
    // Who reads the keys of one store reads no others.
    acme.role("keeper", json!([allow("api_keys:read")])).await;
    let bob = acme.member("bob", json!([held_at("keeper", "north")])).await;
    assert_problem(&bob.get(&acme.path("/api-keys")).await, 403, "permission_denied");
    let answer = bob.get(&acme.path("/api-keys?store=north")).await;
    assert_eq!(answer.json["api_keys"].as_array().map(Vec::len), Some(3), "{}", answer.text);
    let bound = bob.at_store("acme", "north").await;
    let answer = bound.get(&acme.path("/api-keys")).await;
    assert_eq!(answer.json["api_keys"].as_array().map(Vec::len), Some(3), "{}", answer.text);
    assert_eq!(bob.get(&acme.path(&format!("/api-keys/{}", ids[0]))).await.status, 200);
    assert_problem(&bob.get(&acme.path(&format!("/api-keys/{}", ids[1]))).await, 403, "permission_denied");
    assert_not_found(&bound.get(&acme.path(&format!("/api-keys/{}", ids[1]))).await);
}

/// CRC-32 bit by bit, as IEEE 802.3 defines it, in six digits of base62.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| char::from(digits[usize::try_from(!crc / 62_u32.pow(place) % 62).unwrap()]);
    (0..6).rev().map(digit).collect()
}

#[tokio::test]
async fn nothing_else_is_the_key() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (key, other) = (acme.key(&acme.owner, json!({})).await, acme.key(&acme.owner, json!({})).await);
    let (body, own_checksum) = key.secret.split_at(key.secret.len() - 6);
    assert_eq!(checksum(body), own_checksum);
    let mut wrong = Vec::new();
    for place in 0..key.secret.len() {
        let mut bytes = key.secret.clone().into_bytes();
        bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
        wrong.push(String::from_utf8(bytes).unwrap());
    }
    // With a checksum that is right: another secret, another environment, the secret of another key.
    let with_checksum = |body: String| format!("{body}{}", checksum(&body));
    for place in [32, 50, 74] {
        let mut bytes = body.to_owned().into_bytes();
        bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
        wrong.push(with_checksum(String::from_utf8(bytes).unwrap()));
    }
    wrong.push(with_checksum(body.replacen("_live_", "_test_", 1)));
    wrong.push(with_checksum(format!("{}{}", &key.secret[..32], &other.secret[32..75])));
    wrong.push(with_checksum(format!("avk_live_{}_{}", "0".repeat(22), "0".repeat(43))));
    wrong.extend([key.secret[..31].to_owned(), format!("{}0", key.secret), "avk_".to_owned(), key.id.clone()]);
    for text in wrong {
        assert!(!opens(api, &text).await, "{text}");
    }
    assert!(opens(api, &key.secret).await && opens(api, &other.secret).await);
    assert!(opens(api, &with_checksum(body.to_owned())).await);
}

#[tokio::test]
async fn a_key_ends_at_its_end() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (short, long) =
        (acme.key(&acme.owner, json!({"expires_in": 1})).await, acme.key(&acme.owner, json!({"expires_in": 60})).await);
    eventually(async || !opens(api, &short.secret).await).await;
    assert!(opens(api, &long.secret).await);
    assert_not_found(&acme.owner.post(&format!("{}/rotate", short.path), json!({})).await);
    assert_eq!(acme.owner.get(&short.path).await.status, 200, "it can still be looked at, and deleted");
    assert_eq!(acme.owner.delete(&short.path).await.status, 204);
}

#[tokio::test]
async fn what_one_node_does_to_a_key_holds_on_the_other() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let node = || quick().store(database.url()).start().unwrap();
    let (first, second) = (node(), node());
    let (one, two) = (Api::new(first.url()).unwrap(), Api::new(second.url()).unwrap());
    let acme = Organization::found(&one, "acme", "ada").await;
    let key = acme.key(&acme.owner, json!({})).await;
    assert!(
        opens(&one, &key.secret).await && opens(&two, &key.secret).await,
        "known at once, wherever it is presented"
    );
    let rotated = acme.minted(&acme.owner.post(&format!("{}/rotate", key.path), json!({})).await);
    assert!(opens(&two, &rotated.secret).await, "so is a new secret");
    assert!(!opens(&one, &key.secret).await, "and the old one is dead at once where it was said");
    eventually(async || !opens(&two, &key.secret).await).await;
    assert!(opens(&two, &rotated.secret).await);
    assert_eq!(acme.owner.delete(&key.path).await.status, 204);
    assert!(!opens(&one, &rotated.secret).await);
    eventually(async || !opens(&two, &rotated.secret).await).await;
}

#[tokio::test]
async fn refuses_what_is_not_acceptable_field_by_field() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    let bob = acme.member("bob", json!([])).await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"name": "nightly", "scopes": ["*"]});
        body[field] = value;
        body
    };
    for (body, field, code) in [
        (json!({"scopes": ["*"]}), "name", "required"),
        (json!({"name": "nightly"}), "scopes", "required"),
        (with("name", json!(" ")), "name", "too_short"),
        (with("name", json!("x".repeat(201))), "name", "too_long"),
        (with("scopes", json!([])), "scopes", "too_few"),
        (with("scopes", json!(["orders"])), "scopes[0]", "invalid_permission"),
        (with("store", json!("south")), "store", "unknown_store"),
        (with("store", json!(NOBODY_ID)), "store", "unknown_store"),
        (with("service_account", json!(NOBODY_ID)), "service_account", "unknown_service_account"),
        (with("service_account", json!(bob.id)), "service_account", "unknown_service_account"),
        (with("service_account", json!("robot")), "service_account", "invalid_id"),
        (with("environment", json!("Live")), "environment", "invalid_environment"),
        (with("allowed_ips", json!(["10.0.0.0/99"])), "allowed_ips[0]", "invalid_network"),
        (with("rate_limit", json!({"requests": 1})), "rate_limit.per_seconds", "required"),
        (with("quota", json!({"requests": 1, "per": "hour"})), "quota.per", "invalid_choice"),
        (with("secret", json!("avk_live_mine")), "secret", "unknown_field"),
    ] {
        assert_invalid(&acme.mint(&acme.owner, body).await, field, code);
    }
    let key = acme.key(&acme.owner, json!({"store": north})).await;
    for (body, code) in
        [(json!({"grace_seconds": -1}), "out_of_range"), (json!({"grace_seconds": 2_592_001}), "out_of_range")]
    {
        assert_invalid(&acme.owner.post(&format!("{}/rotate", key.path), body).await, "grace_seconds", code);
    }
    // Whoever may not make keys is told that, whatever it sends.
    assert_problem(&acme.mint(&bob, json!({"name": 1})).await, 403, "permission_denied");
    assert_problem(
        &acme.mint(&bob, json!({"name": "x", "scopes": ["*"], "store": "x"})).await,
        403,
        "permission_denied",
    );
    acme.set_roles(&bob, json!([held("admin")])).await;
    assert_eq!(acme.owner.get(&acme.path("/api-keys")).await.json["api_keys"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_scanner_finds_a_key_by_the_expression_in_the_guide() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let guide = include_str!("../../../../docs/api-keys.md");
    let (_, rest) = guide.split_once("```regex\n").expect("the guide shows an expression");
    let (expression, _) = rest.split_once("\n```").unwrap();
    let mut text = String::new();
    let mut secrets = Vec::new();
    for environment in ["live", "a", "sandboxsandboxes"] {
        let key = acme.key(&acme.owner, json!({"environment": environment})).await;
        text += &format!("KEY={}\n{{\"key\":\"{}\"}}\n(avk_{environment}_123)\n", key.secret, key.secret);
        secrets.extend([key.secret.clone(), key.secret]);
    }
    let file = deployment.server.directory().join("leaked.txt");
    std::fs::write(&file, text).unwrap();
    let found = Command::new("grep").args(["-oE", expression]).arg(&file).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.lines().collect::<Vec<_>>(), secrets);
}
