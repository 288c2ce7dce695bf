//! `jws-verify` and `jwt-verify`: the core's verification, line by line.

use authv2_core::{
    clock::{SystemClock, Timestamp},
    jwt::{
        Algorithm, Audience, CLOCK_LEEWAY, ClaimRules, NumericDate, TokenRefusal, TrustedKeys, verify_jws, verify_jwt,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ShimError, Unreadable};

/// Answers one line of `jws-verify`.
pub(super) fn verify_jws_line(line: &Value) -> Result<Value, Unreadable> {
    let token = token_of(line, "jws")?;
    let jwks = line.get("jwks").ok_or("no `jwks`")?;
    let algorithm: Option<Result<Algorithm, _>> = match line.get("alg") {
        None | Some(Value::Null) => None,
        Some(name) => Some(name.as_str().unwrap_or_default().parse()),
    };
    let allowed = match algorithm {
        None => None,
        Some(Ok(algorithm)) => Some([algorithm]),
        Some(Err(_)) => return Ok(refused(TokenRefusal::UnsupportedAlgorithm.as_str())),
    };
    let keys = match TrustedKeys::from_jwks(jwks, allowed.as_ref().map(<[_; 1]>::as_slice)) {
        Ok(keys) => keys,
        Err(error) => return Ok(refused(error.as_str())),
    };
    Ok(verdict(verify_jws(&token, &keys).map(drop)))
}

/// The trust file of `jwt-verify`: whose tokens pass, and what they must say.
#[derive(Debug)]
pub struct Trust {
    keys: TrustedKeys,
    rules: ClaimRules,
    now: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TrustFile {
    issuer: String,
    audience: Audience,
    jwks: Value,
    typ: Option<String>,
    /// Names that are no algorithm spoken here allow nothing; so does an empty list.
    algs: Option<Vec<String>>,
    #[serde(default)]
    required_claims: Vec<String>,
    /// Unix seconds; the system's clock where it is missing.
    now: Option<NumericDate>,
}

impl Trust {
    pub(super) fn read(json: &[u8]) -> Result<Self, ShimError> {
        let file: TrustFile = serde_json::from_slice(json)?;
        let allowed: Option<Vec<Algorithm>> =
            file.algs.map(|names| names.iter().filter_map(|name| name.parse().ok()).collect());
        Ok(Self {
            keys: TrustedKeys::from_jwks(&file.jwks, allowed.as_deref())?,
            rules: ClaimRules {
                issuer: file.issuer,
                audiences: file.audience.iter().map(str::to_owned).collect(),
                typ: file.typ,
                required: file.required_claims,
                leeway: CLOCK_LEEWAY,
            },
            now: file.now.map(|now| now.0),
        })
    }

    pub(super) fn verify_line(&self, line: &Value) -> Result<Value, Unreadable> {
        let token = token_of(line, "token")?;
        let now = self.now.unwrap_or_else(SystemClock::wall);
        Ok(verdict(verify_jwt(&token, &self.keys, &self.rules, now)))
    }
}

/// The token as text. One in the JSON serialization is handed on as such, for the core to refuse.
fn token_of(line: &Value, name: &'static str) -> Result<String, Unreadable> {
    match line.get(name) {
        Some(Value::String(token)) => Ok(token.clone()),
        Some(object @ Value::Object(_)) => Ok(object.to_string()),
        _ => Err("no token".into()),
    }
}

fn verdict(outcome: Result<(), TokenRefusal>) -> Value {
    match outcome {
        Ok(()) => json!({"valid": true}),
        Err(refusal) => refused(refusal.as_str()),
    }
}

fn refused(reason: &str) -> Value {
    json!({"valid": false, "reason": reason})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(typ: &Value, algs: &Value) -> Trust {
        let file = json!({
            "issuer": "https://issuer.example", "audience": "api", "typ": typ, "algs": algs, "now": 1_700_000_000,
            "required_claims": ["sub"], "jwks": {"keys": [
                {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
            ]}
        });
        Trust::read(file.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_trust_file_without_a_usable_algorithm_trusts_nothing() {
        let line = json!({"id": 1, "token": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.AAAA"});
        let reason = |algs: Value| trust(&Value::Null, &algs).verify_line(&line).unwrap()["reason"].clone();
        assert_eq!(reason(json!(["EdDSA"])), "bad_signature");
        assert_eq!(reason(Value::Null), "bad_signature");
        assert_eq!(reason(json!([])), "unusable_key");
        assert_eq!(reason(json!(["none"])), "unusable_key");
    }

    #[test]
    fn the_type_is_the_trust_files() {
        let line = json!({"id": 1, "token": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.AAAA"});
        let answer = trust(&json!("at+jwt"), &json!(["EdDSA"])).verify_line(&line).unwrap();
        assert_eq!(answer, json!({"valid": false, "reason": "wrong_type"}));
    }
}
