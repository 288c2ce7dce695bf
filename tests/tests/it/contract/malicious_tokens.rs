//! Malicious tokens over HTTP: whatever is wrong with one, the answer is the same to the byte.

use authv2_tests::client::Api;
use jsonwebtoken::{EncodingKey, Header, crypto};
use serde_json::{Value, json};

use super::{
    fixture::{assert_problem, get, is_live},
    token_claims::{SHARED_KEY, forgeable, sign},
};

/// A token whose header and payload are written by hand, well signed.
fn written(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", base64url(header), base64url(claims));
    let key = EncodingKey::from_secret(SHARED_KEY);
    let signature = crypto::sign(input.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{input}.{signature}")
}

fn base64url(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(text)
}

/// The most telling classes; each class has a test of its own beside the code.
fn malicious(header: &Header, claims: &Value) -> Vec<(&'static str, String)> {
    let kid = header.kid.clone().unwrap();
    let now = claims["iat"].as_i64().unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        sign(header, &changed)
    };
    let headed = |change: &str| {
        let plain = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"{change}}}"#);
        written(&plain, &claims.to_string())
    };
    let good = sign(header, claims);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let none = base64url(&format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{kid}"}}"#));
    let payload = base64url(&claims.to_string());
    let twice = format!(r#"{},"\u0073ub":"{}"}}"#, claims.to_string().trim_end_matches('}'), super::tenancy::NOBODY_ID);
    vec![
        ("is not signed", format!("{none}.{payload}.")),
        (
            "is signed by another key",
            jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(b"another key of thirty-two bytes!"))
                .unwrap(),
        ),
        ("has its signature cut short", format!("{input}.{}", &signature[..20])),
        ("has its signature left out", format!("{input}.")),
        (
            "names another algorithm",
            written(&format!(r#"{{"typ":"at+jwt","alg":"HS512","kid":"{kid}"}}"#), &claims.to_string()),
        ),
        (
            "names a key that is not there",
            written(r#"{"typ":"at+jwt","alg":"HS256","kid":"../../x"}"#, &claims.to_string()),
        ),
        ("names no key", written(r#"{"typ":"at+jwt","alg":"HS256"}"#, &claims.to_string())),
        ("demands an extension", headed(r#","crit":["exp"]"#)),
        (
            "is of another type",
            written(&format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{kid}"}}"#), &claims.to_string()),
        ),
        ("wraps another one", headed(r#","cty":"JWT""#)),
        ("names its subject twice", written(&format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#), &twice)),
        ("has expired", with("exp", json!(now - 1))),
        ("was issued in the future", with("iat", json!(now + 3600))),
        ("is of another issuer", with("iss", json!("https://evil.example"))),
        ("is for somebody else", with("aud", json!(["https://evil.example"]))),
        ("is of another user", with("sub", json!(super::tenancy::NOBODY_ID))),
        ("is of a session that never was", with("sid", json!(super::tenancy::NOBODY_ID))),
        ("is bound to a key", with("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}))),
        ("is too large", format!("{good}{}", "A".repeat(8 * 1024))),
        ("is nothing", "x".to_owned()),
    ]
}

/// Everything of an answer that a client could tell answers apart by, save what names the request.
async fn seen(api: &Api, token: &str) -> (u16, Vec<(String, String)>, Value) {
    let answer = get(api, "/auth/me", token).await;
    assert_problem(&answer, 401, "invalid_token");
    let mut body = answer.json.clone();
    body.as_object_mut().unwrap().remove("request_id");
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort_unstable();
    (answer.status, headers, body)
}

#[tokio::test]
async fn every_malicious_token_gets_the_same_answer() {
    let (deployment, header, claims) = forgeable().await;
    let api = &deployment.api;
    assert!(is_live(api, &sign(&header, &claims)).await, "what follows would prove nothing");
    let expected = seen(api, "avr_nothing").await;
    assert!(
        expected
            .1
            .contains(&("www-authenticate".to_owned(), "Bearer realm=\"authv2\", error=\"invalid_token\"".to_owned()))
    );
    for (what, token) in malicious(&header, &claims) {
        assert_eq!(seen(api, &token).await, expected, "a token that {what}");
    }
    assert!(is_live(api, &sign(&header, &claims)).await);
}
