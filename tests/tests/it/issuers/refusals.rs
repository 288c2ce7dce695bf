//! What is refused, and what becomes of rights.

use authv2_tests::issuer::Issuer;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use super::{Plain, World, claims, jwks, key, now, usual, with};
use crate::contract::{
    dpop_client::{dpop, new_key},
    fixture::{assert_problem, send},
};

#[tokio::test]
async fn refuses_every_claim_that_is_not_as_it_must_be() {
    let plain =
        Plain::start(json!({"leeway": 5, "required_claims": {"tier": ["gold", "silver"], "scope": "sell"}}), 600).await;
    let good = json!({"tier": "gold", "scope": "buy sell"});
    assert_eq!(plain.answer(good.clone()).await.status, 200);
    assert_eq!(plain.answer(with(&good, json!({"tier": ["tin", "silver"], "scope": ["sell"]}))).await.status, 200);
    assert_eq!(
        plain.answer(with(&good, json!({"exp": now() - 1, "nbf": now() + 3, "aud": ["x", "api"]}))).await.status,
        200
    );
    for members in [
        json!({"iss": "https://other.example"}),
        json!({"aud": "other"}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "s".repeat(256)}),
        json!({"exp": null}),
        json!({"exp": now() - 6}),
        json!({"exp": "9999999999"}),
        json!({"nbf": now() + 20}),
        json!({"iat": null}),
        json!({"iat": now() + 20}),
        json!({"tier": null}),
        json!({"tier": "tin"}),
        json!({"tier": "gold silver"}),
        json!({"tier": true}),
        json!({"scope": "buy"}),
        json!({"scope": "seller"}),
        json!({"at_hash": "x"}),
        json!({"c_hash": "x"}),
        json!({"token_use": "id"}),
        json!({"typ": "id"}),
        json!({"events": {}}),
        json!({"cnf": {}}),
    ] {
        let claims = with(&with(&plain.claims(), good.clone()), members.clone());
        let answer = plain.world.private(&key("ed-1").sign(Some("at+jwt"), &claims)).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{members}: {}", answer.text);
    }
    assert!(plain.issuer.asked("/keys").times <= 1, "none of that is worth a question");
}

#[tokio::test]
async fn an_issuers_keys_verify_its_own_tokens_alone() {
    let (one, other) = (Issuer::start().await.unwrap(), Issuer::start().await.unwrap());
    one.publish_keys("", &jwks(&["ed-1"]), 600);
    other.publish_keys("", &jwks(&["ed-2", "rsa-1"]), 600);
    let second = with(&usual(&other), json!({"name": "second", "organizations": ["beta"], "algorithms": ["EdDSA"]}));
    let world = World::start(&json!([usual(&one), second])).await;
    let token = |kid: &str, issuer: &Issuer| key(kid).sign(Some("at+jwt"), &claims(&issuer.at("")));
    assert_eq!(world.private(&token("ed-1", &one)).await.status, 200);
    assert_eq!(world.private(&token("ed-2", &other)).await.status, 200);
    assert_problem(&world.private(&token("ed-2", &one)).await, 401, "invalid_token");
    assert_problem(&world.private(&token("ed-1", &other)).await, 401, "invalid_token");
    // A key that is published, of an algorithm that is not taken.
    assert_problem(&world.private(&token("rsa-1", &other)).await, 401, "invalid_token");
    // The other issuer's key under this one's name for its own.
    let mut header = Header::new(Algorithm::EdDSA);
    (header.typ, header.kid) = (Some("at+jwt".into()), Some("ed-1".into()));
    let forged = key("ed-2").sign_with(&header, &claims(&one.at("")));
    assert_problem(&world.private(&forged).await, 401, "invalid_token");
    // Neither of them signs for this deployment, nor does this deployment for them.
    let own = with(&claims(world.deployment.server.url()), json!({"aud": world.deployment.server.url()}));
    assert_problem(&world.private(&key("ed-1").sign(Some("at+jwt"), &own)).await, 401, "invalid_token");
    assert_eq!(world.private(&world.owner.access).await.status, 200);
    let nobody = key("ed-1").sign(Some("at+jwt"), &claims("https://nobody.example"));
    assert_problem(&world.private(&nobody).await, 401, "invalid_token");
}

#[tokio::test]
async fn an_issuer_speaks_for_its_organizations_alone() {
    let plain = Plain::start(json!({"organization_claim": "org", "organizations": ["acme"]}), 600).await;
    for org in [json!("acme"), json!(["acme"]), json!({"acme": {"id": "1"}})] {
        assert_eq!(plain.answer(json!({"org": org})).await.status, 200, "{org}");
    }
    for org in
        [json!("beta"), json!(["acme", "beta"]), json!({"acme": {}, "beta": {}}), json!([]), json!(1), Value::Null]
    {
        assert_problem(&plain.answer(json!({"org": org})).await, 401, "invalid_token");
    }
    let missing = Plain::start(json!({"organizations": ["gamma"]}), 600).await;
    assert_problem(&missing.answer(json!({})).await, 401, "invalid_token");
}

#[tokio::test]
async fn rights_follow_the_roles_at_once() {
    let plain = Plain::start(json!({}), 600).await;
    let (world, token) = (&plain.world, plain.token("ed-1"));
    assert_eq!(world.order(&token).await, 200);
    world.seller_may(json!([])).await;
    assert_eq!(world.order(&token).await, 403);
    let when = "principal.amr.contains(\"otp\") && principal.email == \"sam@example.com\"";
    world.seller_may(json!([{"permission": "orders:read", "effect": "allow", "when": when}])).await;
    assert_eq!(world.order(&token).await, 403, "a condition that fails");
    let order = async |members: Value| {
        let claims = with(&plain.claims(), members);
        world.order(&key("ed-1").sign(Some("at+jwt"), &claims)).await
    };
    let full = json!({"amr": ["pwd", "otp"], "email": "sam@example.com", "email_verified": true});
    assert_eq!(order(full.clone()).await, 200);
    assert_eq!(order(with(&full, json!({"email_verified": false}))).await, 403, "an e-mail that nobody verified");
    assert_eq!(order(with(&full, json!({"email_verified": null}))).await, 403);
    world.seller_may(json!([{"permission": "*", "effect": "allow"}])).await;
    for roles in [json!([]), json!(["seller"]), json!(["owner"]), json!("other"), json!(7), Value::Null] {
        assert_eq!(order(json!({"roles": roles})).await, 403, "{roles}: only what the table names");
    }
    for roles in [json!(["x", "sales"]), json!("x sales"), json!("sales")] {
        assert_eq!(order(json!({"roles": roles})).await, 200, "{roles}");
    }
}

#[tokio::test]
async fn a_subject_like_a_users_id_is_not_that_user() {
    let plain = Plain::start(json!({}), 600).await;
    let me = crate::contract::fixture::get(&plain.world.deployment.api, "/auth/me", &plain.world.owner.access).await;
    let user = me.string("/user/id");
    let when = format!("principal.id == \"{user}\"");
    plain.world.seller_may(json!([{"permission": "orders:read", "effect": "allow", "when": when}])).await;
    let token = key("ed-1").sign(Some("at+jwt"), &with(&plain.claims(), json!({"sub": user})));
    assert_eq!(plain.world.private(&token).await.json["user_id"], format!("{}|{user}", plain.issuer.at("")));
    assert_eq!(plain.world.order(&token).await, 403);
}

#[tokio::test]
async fn a_token_bound_to_a_key_is_taken_with_a_proof_of_that_key_alone() {
    let plain = Plain::start(json!({}), 600).await;
    let (holder, thief) = (new_key(), new_key());
    let claims = with(&plain.claims(), json!({"cnf": {"jkt": holder.thumbprint()}}));
    let token = key("ed-1").sign(Some("at+jwt"), &claims);
    let (api, base) = (&plain.world.deployment.api, plain.world.deployment.server.url());
    let proved = async |key, token: &str| send(dpop(api, key, reqwest::Method::GET, base, "/private", token)).await;
    for _ in 0..2 {
        assert_eq!(proved(&holder, &token).await.status, 200);
        assert_problem(&plain.world.private(&token).await, 401, "invalid_token");
        assert_problem(&proved(&thief, &token).await, 401, "invalid_token");
    }
    assert_problem(&proved(&holder, &plain.token("ed-1")).await, 401, "invalid_token");
}

#[tokio::test]
async fn who_would_revoke_a_token_here_is_told_that_its_issuer_must() {
    let plain = Plain::start(json!({}), 600).await;
    let token = plain.token("ed-1");
    let request = plain.world.deployment.api.request(reqwest::Method::POST, "/auth/oauth/revoke");
    let form = request.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"));
    let answer = send(form).await;
    assert_eq!((answer.status, answer.json["error"].as_str()), (400, Some("unsupported_token_type")));
    assert_eq!(plain.world.private(&token).await.status, 200);
}
