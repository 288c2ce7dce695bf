//! The administration of signing keys: listing, adding, rotating, revoking, and who may.

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, decode_header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use super::{
    fixture::{
        Browser, Deployment, PASSWORD, Store, assert_invalid, assert_problem, eventually, get, is_live, members,
        on_each_store, quick, send, sign_up,
    },
    tenancy::Person,
};
use authv2_tests::server::Settings;

on_each_store!(keys_are_made_rotated_and_revoked, what_was_revoked_never_comes_back);

pub(crate) const KEYS: &str = "/auth/admin/signing-keys";
const ROTATE: &str = "/auth/admin/signing-keys/rotate";
const ROOT: &str = "root@example.org";
/// The key of RFC 8410 section 10.3.
const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
/// Appendix A.3.1 of RFC 7515.
const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// With an administrator, and verifiers that keep the keys for a second.
pub(crate) fn administered() -> Settings {
    quick()
        .with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", ROOT)
        .with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", PASSWORD)
        .with("AUTHV2_TOKENS__JWKS_MAX_AGE", "1")
        // Who looks whether another key signs signs in, and must not put its other sessions out.
        .with("AUTHV2_SESSION__MAX_PER_USER", "10000")
}

pub(crate) async fn root(api: &Api) -> Person {
    Person::sign_in(api, ROOT, json!({})).await
}

/// The `kid` of a token.
pub(crate) fn kid(token: &str) -> String {
    decode_header(token).unwrap().kid.unwrap()
}

/// Each key's name and state, oldest first.
async fn states(root: &Person) -> Vec<(String, String)> {
    let answer = root.get(KEYS).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    answer.json["signing_keys"].as_array().unwrap().iter().map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

async fn published(api: &Api) -> Vec<String> {
    let jwks = get(api, "/.well-known/jwks.json", "").await;
    jwks.json["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn key_of(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.string("/signing_key/kid").to_owned()
}

async fn keys_are_made_rotated_and_revoked(store: Store) {
    let deployment = store.deploy_confined(administered()).await;
    let api = &deployment.api;
    let root = root(api).await;
    let first = kid(&root.tokens.access);
    let listed = root.get(KEYS).await;
    assert_eq!(members(&listed.json), ["signing_keys"]);
    assert_eq!(members(&listed.json["signing_keys"][0]), ["activates_at", "alg", "created_at", "kid", "state"]);
    assert_eq!(states(&root).await, [(first.clone(), "active".to_owned())]);

    let made = root.post(KEYS, json!({"alg": "ES256"})).await;
    let second = key_of(&made, 201);
    assert_eq!((made.string("/signing_key/state"), made.string("/signing_key/alg")), ("pending", "ES256"));
    assert_eq!(published(api).await, [first.clone(), second.clone()], "before it signs");
    assert_eq!(kid(&root_token(api).await), first);

    // The pending key is taken; it signs once no verifier can hold the keys without it.
    let rotated = root.post(ROTATE, json!({})).await;
    assert_eq!(key_of(&rotated, 200), second);
    let again = root.call(Method::POST, ROTATE, None).await;
    assert_eq!(again.json, rotated.json, "it is one rotation");
    eventually(async || kid(&root_token(api).await) == second).await;
    assert_eq!(states(&root).await, [(first.clone(), "retiring".to_owned()), (second.clone(), "active".to_owned())]);
    assert!(root.get(KEYS).await.json["signing_keys"][0]["retires_at"].is_string());
    assert!(is_live(api, &root.tokens.access).await, "a token of the key before");

    // A made one, at once.
    let third = key_of(&root.post(ROTATE, json!({"activate_now": true})).await, 200);
    let fresh = Person::sign_in(api, ROOT, json!({})).await;
    assert_eq!(kid(&fresh.tokens.access), third);
    assert!(is_live(api, &fresh.tokens.access).await && is_live(api, &root.tokens.access).await);

    let revoked = root.post(&format!("{KEYS}/{third}/revoke"), json!({})).await;
    assert_eq!(key_of(&revoked, 200), third);
    assert_eq!(revoked.string("/signing_key/state"), "retired");
    assert!(!is_live(api, &fresh.tokens.access).await && is_live(api, &root.tokens.access).await);
    assert!(!published(api).await.contains(&third));
    let replaced = root_token(api).await;
    assert!(is_live(api, &replaced).await);
    assert_eq!(states(&root).await.last().unwrap(), &(kid(&replaced), "active".to_owned()));

    let first_page = root.get(&format!("{KEYS}?limit=3")).await;
    let cursor = first_page.string("/next_cursor");
    let rest = root.get(&format!("{KEYS}?limit=3&cursor={cursor}")).await;
    let page = |answer: &Answer| answer.json["signing_keys"].as_array().unwrap().clone();
    assert_eq!([page(&first_page), page(&rest)].concat(), page(&root.get(KEYS).await));
    assert_eq!(rest.json.get("next_cursor"), None);
}

async fn root_token(api: &Api) -> String {
    root(api).await.tokens.access
}

async fn what_was_revoked_never_comes_back(store: Store) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ED25519_PEM).unwrap();
    let settings = administered().with("AUTHV2_TOKENS__SIGNING_KEY_FILE", file.path().to_string_lossy());
    let mut deployment = store.deploy(settings).await;
    let root = root(&deployment.api).await;
    let stolen = kid(&root.tokens.access);
    assert_eq!(root.post(&format!("{KEYS}/{stolen}/revoke"), json!({})).await.status, 200);
    assert!(!is_live(&deployment.api, &root.tokens.access).await, "the caller's own token too");

    deployment.server.restart().unwrap();
    let api = Api::new(deployment.server.url()).unwrap();
    assert!(!is_live(&api, &root.tokens.access).await);
    let root = self::root(&api).await;
    assert_ne!(kid(&root.tokens.access), stolen);
    let again = root.post(KEYS, json!({"alg": "EdDSA", "pem": ED25519_PEM})).await;
    assert_invalid(&again, "pem", "refused_key");
    assert!(!again.text.contains("MC4CAQ"), "{}", again.text);
    let same = root.post(&format!("{KEYS}/{stolen}/revoke"), json!({})).await;
    assert_eq!(same.status, 200, "{}", same.text);
}

async fn deploy() -> Deployment {
    Store::Sqlite.deploy_confined(administered()).await
}

#[tokio::test]
async fn keys_are_brought_along() {
    let deployment = deploy().await;
    let root = root(&deployment.api).await;
    let pem = root.post(KEYS, json!({"alg": "EdDSA", "pem": ED25519_PEM})).await;
    let jwk: Value = serde_json::from_str(P256_JWK).unwrap();
    let jwk = root.post(KEYS, json!({"alg": "ES256", "jwk": jwk})).await;
    let (pem, jwk) = (key_of(&pem, 201), key_of(&jwk, 201));
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    assert_eq!(jwks.string("/keys/1/x"), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE", "{}", jwks.text);
    assert_eq!(jwks.string("/keys/2/x"), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "{}", jwks.text);
    for private in ["\"d\"", "MC4CAQ", "jpsQnn"] {
        assert!(!jwks.text.contains(private), "{}", jwks.text);
    }
    for taken in [pem, jwk] {
        assert_eq!(key_of(&root.post(ROTATE, json!({"activate_now": true})).await, 200), taken, "the oldest first");
        let token = root_token(&deployment.api).await;
        assert!(kid(&token) == taken && is_live(&deployment.api, &token).await);
    }
    let shared = root.post(KEYS, json!({"alg": "HS256"})).await;
    assert!(!published(&deployment.api).await.contains(&key_of(&shared, 201)));
}

#[tokio::test]
async fn the_old_tokens_are_good_for_as_long_as_the_overlap_that_is_asked_for() {
    let deployment = deploy().await;
    let root = root(&deployment.api).await;
    let patient = root.post(ROTATE, json!({"overlap_seconds": 3600})).await;
    assert_eq!(patient.status, 200, "{}", patient.text);
    eventually(async || kid(&root_token(&deployment.api).await) == patient.string("/signing_key/kid")).await;
    assert!(is_live(&deployment.api, &root.tokens.access).await);

    let root = self::root(&deployment.api).await;
    let hurried = root.post(ROTATE, json!({"overlap_seconds": 0, "activate_now": true})).await;
    assert_eq!(hurried.status, 200, "{}", hurried.text);
    assert!(!is_live(&deployment.api, &root.tokens.access).await);
}

#[tokio::test]
async fn nobody_else_comes_near_them() {
    let deployment = deploy().await;
    let (api, root) = (&deployment.api, root(&deployment.api).await);
    let first = kid(&root.tokens.access);
    let revoke = format!("{KEYS}/{first}/revoke");
    let calls = [(Method::GET, KEYS), (Method::POST, KEYS), (Method::POST, ROTATE), (Method::POST, &revoke)];
    let user = sign_up(api, "ada@example.org").await;
    for (method, path) in calls {
        let body = (method == Method::POST).then(|| json!({}));
        let as_user = api.call(method.clone(), path, &user.access, body.as_ref()).await.unwrap();
        assert_problem(&as_user, 403, "permission_denied");
        assert_problem(&api.call(method, path, "", body.as_ref()).await.unwrap(), 401, "unauthenticated");
    }
    // A browser's administrator needs the token of the page.
    let (browser, _) = Browser::sign_in(api, ROOT).await;
    assert_eq!(browser.get(KEYS).await.status, 200);
    assert_problem(&send(browser.request(Method::POST, ROTATE).json(&json!({}))).await, 403, "csrf_failed");
    assert_eq!(states(&root).await, [(first, "active".to_owned())]);
    let page = browser.page_request(Method::POST, ROTATE).json(&json!({"activate_now": true}));
    assert_eq!(send(page).await.status, 200);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_field() {
    let deployment = deploy().await;
    let root = root(&deployment.api).await;
    let create = |body: Value| root.post(KEYS, body);
    assert_invalid(&create(json!({})).await, "alg", "required");
    for alg in ["none", "eddsa", "ES256K", "ES512", "RS384", "HS512", ""] {
        assert_invalid(&create(json!({"alg": alg})).await, "alg", "invalid_choice");
    }
    assert_invalid(&create(json!({"alg": "ES256", "kid": "mine"})).await, "kid", "unknown_field");
    assert_invalid(&create(json!({"alg": "ES256", "pem": ED25519_PEM})).await, "pem", "invalid_key");
    assert_invalid(&create(json!({"alg": "ES256", "pem": "x"})).await, "pem", "invalid_key");
    assert_invalid(&create(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "c2hvcnQ"}})).await, "jwk", "weak_key");
    assert_invalid(&create(json!({"alg": "ES256", "jwk": {"kty": "EC"}})).await, "jwk", "invalid_key");
    let both = json!({"alg": "EdDSA", "pem": ED25519_PEM, "jwk": {}});
    assert_invalid(&create(both).await, "jwk", "ambiguous");
    assert_eq!(create(json!({"alg": "EdDSA", "pem": ED25519_PEM})).await.status, 201);
    assert_invalid(&create(json!({"alg": "EdDSA", "pem": ED25519_PEM})).await, "pem", "known_key");

    assert_invalid(&root.post(ROTATE, json!({"overlap_seconds": -1})).await, "overlap_seconds", "out_of_range");
    assert_invalid(&root.post(ROTATE, json!({"activate_now": "yes"})).await, "activate_now", "invalid_type");
    assert_invalid(&root.post(ROTATE, json!({"now": true})).await, "now", "unknown_field");
    for unknown in ["AAAAAAAAAAAAAAAAAAAAAA", "x", "%00"] {
        assert_problem(&root.post(&format!("{KEYS}/{unknown}/revoke"), json!({})).await, 404, "not_found");
    }
    assert_invalid(&root.get(&format!("{KEYS}?limit=0")).await, "limit", "out_of_range");
    assert_invalid(&root.get(&format!("{KEYS}?cursor=x")).await, "cursor", "invalid_cursor");
}

/// Nobody waits fifteen minutes here: the sign-ins are made older in the database.
#[tokio::test]
async fn who_signed_in_long_ago_signs_in_again_before_changing_them() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let mut server = administered().store(database.url()).start().unwrap();
    let root = root(&Api::new(server.url()).unwrap()).await;
    server.stop().unwrap();
    let pool = sqlx::PgPool::connect(&database.admin_url()).await.unwrap();
    pool.execute("UPDATE sessions SET auth_time = auth_time - 901000000").await.unwrap();
    pool.close().await;
    server.restart().unwrap();
    let root = root.refreshed(&Api::new(server.url()).unwrap()).await;
    let revoke = format!("{KEYS}/{}/revoke", kid(&root.tokens.access));
    for path in [KEYS, ROTATE, &revoke] {
        let refused = root.post(path, json!({"alg": "EdDSA"})).await;
        assert_problem(&refused, 401, "step_up_required");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
        assert!(challenge.contains("max_age=\"900\"") || challenge.contains("max_age=900"), "{challenge}");
    }
    assert_eq!(root.get(KEYS).await.status, 200, "looking changes nothing");
    let again = Person::sign_in(&root.api, ROOT, json!({})).await;
    assert_eq!(again.post(ROTATE, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_key_of_one_node_is_good_on_the_other_from_its_first_token_on_and_revoked_on_both() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let start = || administered().store(database.url()).start().unwrap();
    let (here, there) = (start(), start());
    let (here, there) = (Api::new(here.url()).map(|api| (api, here)), Api::new(there.url()).map(|api| (api, there)));
    let (here, there) = (here.unwrap(), there.unwrap());
    let (one, two) = (&here.0, &there.0);
    for _ in 0..5 {
        let root = root(one).await;
        let made = key_of(&root.post(ROTATE, json!({"activate_now": true})).await, 200);
        let fresh = root_token(one).await;
        assert_eq!(kid(&fresh), made);
        assert!(is_live(two, &fresh).await, "whether it has heard of the key or not");
    }
    // Names that were made up do not keep it from that.
    let made_up = |n: u32| {
        let typ = Some("at+jwt".to_owned());
        let header = Header { typ, kid: Some(format!("{n:022}")), ..Header::new(Algorithm::HS256) };
        encode(&header, &json!({}), &EncodingKey::from_secret(b"made up")).unwrap()
    };
    for n in 0..5 {
        assert!(!is_live(two, &made_up(n)).await);
    }
    let root = self::root(one).await;
    let token = root.tokens.access.clone();
    assert!(is_live(two, &token).await);
    assert_eq!(root.post(&format!("{KEYS}/{}/revoke", kid(&token)), json!({})).await.status, 200);
    assert!(!is_live(one, &token).await, "at once where it was said");
    eventually(async || !is_live(two, &token).await).await;
}
