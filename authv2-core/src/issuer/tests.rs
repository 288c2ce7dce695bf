//! The pure parts against documents that are made up: nothing panics, nothing is taken that cannot be meant.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{judge::Judge, metadata};
use crate::{
    clock::Timestamp,
    config::{ClaimPath, IssuerConfig},
    jwt::{OpenedToken, TokenRefusal},
};

const NOW: i64 = 1_700_000_000;

fn config() -> IssuerConfig {
    IssuerConfig {
        issuer: "https://idp.example".to_owned(),
        audiences: vec!["api".to_owned()],
        organizations: vec!["acme".to_owned()],
        roles_claim: Some(ClaimPath::new("roles")),
        role_map: [("sales team", "seller"), ("a", "seller"), ("b", "auditor")]
            .map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()))
            .into(),
        ..IssuerConfig::default()
    }
}

fn judge(typ: Option<&str>, members: Value) -> Result<super::Vouched, TokenRefusal> {
    let mut claims = json!({"iss": "https://idp.example", "sub": "s", "aud": "api", "iat": NOW, "exp": NOW + 60});
    if let (Value::Object(claims), Value::Object(members)) = (&mut claims, members) {
        claims.extend(members);
    }
    let Value::Object(claims) = claims else { unreachable!("an object") };
    let token = OpenedToken { typ: typ.map(str::to_owned), claims };
    Judge::new(&config()).judge(&token, Timestamp::from_seconds(NOW))
}

#[test]
fn a_type_that_says_nothing_needs_a_claim_that_says_more() {
    assert!(judge(Some("at+jwt"), json!({})).is_ok());
    assert!(judge(Some("at+jwt"), json!({"nonce": "n"})).is_ok());
    for evidence in ["scope", "scp", "client_id", "cid", "permissions", "gty", "azpacr", "appidacr"] {
        for typ in [None, Some("JWT")] {
            assert!(judge(typ, json!({evidence: "x"})).is_ok(), "{evidence}");
            assert_eq!(judge(typ, json!({evidence: "x", "nonce": "n"})), Err(TokenRefusal::NotAnAccessToken));
        }
    }
    for more in
        [json!({}), json!({"azp": "x"}), json!({"sid": "x", "roles": ["a"]}), json!({"acr": "1", "amr": ["pwd"]})]
    {
        assert_eq!(judge(Some("JWT"), more.clone()), Err(TokenRefusal::NotAnAccessToken), "{more}");
    }
    for said in [json!({"token_use": "access"}), json!({"typ": "Bearer"}), json!({"typ": "bearer", "nonce": "n"})] {
        assert!(judge(None, said.clone()).is_ok(), "{said}");
    }
    for other in [
        json!({"token_use": "id"}),
        json!({"token_use": ["access"]}),
        json!({"token_use": null}),
        json!({"typ": "ID"}),
        json!({"typ": "refresh"}),
        json!({"typ": "Offline"}),
        json!({"at_hash": null}),
        json!({"s_hash": "x"}),
        json!({"events": {}}),
    ] {
        assert_eq!(judge(Some("at+jwt"), other.clone()), Err(TokenRefusal::NotAnAccessToken), "{other}");
    }
}

#[test]
fn roles_are_those_of_the_table_each_once() {
    let roles = |claim: Value| judge(Some("at+jwt"), json!({"roles": claim})).map(|vouched| vouched.roles);
    assert_eq!(roles(json!(["sales team", "a", "b", "a", 1, "owner"])).unwrap(), ["auditor", "seller"]);
    assert_eq!(roles(json!("sales team")).unwrap(), ["seller"]);
    assert_eq!(roles(json!("x b")).unwrap(), ["auditor"]);
    assert!(roles(json!({"a": "b"})).unwrap().is_empty());
}

#[test]
fn says_who_it_is_and_what_is_told_of_it() {
    let members = json!({
        "client_id": "app", "scope": "x y", "amr": ["pwd", "otp"], "acr": "2", "auth_time": NOW - 5, "email": "a@b.example",
        "email_verified": "true",
    });
    let vouched = judge(Some("at+jwt"), members).unwrap();
    let identity = vouched.identity;
    assert_eq!((identity.id.as_str(), identity.subject.as_str()), ("https://idp.example|s", "s"));
    assert_eq!((identity.client_id.as_deref(), identity.scope.as_deref()), (Some("app"), Some("x y")));
    assert_eq!((identity.amr.as_str(), identity.acr.as_str()), ("pwd otp", "2"));
    assert_eq!((identity.auth_time.as_seconds(), identity.email.as_deref()), (NOW - 5, Some("a@b.example")));
    assert_eq!(vouched.expires_at.as_seconds(), NOW + 90, "with the leeway");
    let bare = judge(Some("at+jwt"), json!({"email": "a@b.example"})).unwrap().identity;
    assert_eq!((bare.email, bare.auth_time), (None, Timestamp::from_micros(0)));
}

/// JSON of any form, with the names that matter more often than not.
fn document() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("issuer".to_owned()),
        Just("jwks_uri".to_owned()),
        Just("keys".to_owned()),
        Just("kty".to_owned()),
        Just("kid".to_owned()),
        Just("n".to_owned()),
        Just("x".to_owned()),
        Just("crv".to_owned()),
        ".{0,8}",
    ];
    let word = prop_oneof![
        Just("RSA".to_owned()),
        Just("EC".to_owned()),
        Just("OKP".to_owned()),
        Just("oct".to_owned()),
        Just("Ed25519".to_owned()),
        Just("P-256".to_owned()),
        Just("https://idp.example".to_owned()),
        "[A-Za-z0-9_-]{0,90}",
        ".{0,20}",
    ];
    let leaf = prop_oneof![
        word.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: prop::test_runner::RngSeed::Fixed(20_250_821), cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_document_is_taken_for_metadata_or_keys_by_chance(document in document(), cut in 0_usize..64, bytes: Vec<u8>) {
        let text = document.to_string();
        let cut = text.get(..text.len().saturating_sub(cut)).unwrap_or_default();
        let set = json!({"keys": [document, document]}).to_string();
        for body in [text.as_bytes(), cut.as_bytes(), set.as_bytes(), &bytes] {
            if let Ok(place) = metadata::keys_location(body, "https://idp.example", false) {
                prop_assert!(place.is_tls());
            }
            if let Ok(keys) = metadata::keys(body, &config().algorithms) {
                prop_assert!(keys.can_verify());
            }
        }
    }

    #[test]
    fn no_claims_panic(claims in document(), typ in prop::option::of(".{0,8}")) {
        let Value::Object(mut claims) = claims else { return Ok(()) };
        claims.insert("iss".to_owned(), "https://idp.example".into());
        let token = OpenedToken { typ, claims };
        let _verdict = Judge::new(&config()).judge(&token, Timestamp::from_seconds(NOW));
    }
}
