//! Malicious tokens, one class a test: each is refused for the reason that it should be.
//!
//! Most are signed by the real key, as an insider or a defect elsewhere could make them, so that nothing but the rule
//! under test stands in their way.

mod algorithms_and_keys;
mod claims;
mod headers;
mod payloads;
mod signatures;
mod spelling;
mod times;

use aws_lc_rs::hmac;

use super::*;

/// A deployment, and the means to make any token with its key.
struct Forge {
    deployment: Deployment,
    claims: Value,
}

impl Forge {
    fn new(algorithm: Algorithm) -> Self {
        Self { deployment: deployment(algorithm), claims: serde_json::to_value(claims()).unwrap() }
    }

    fn key(&self) -> &SigningKey {
        &self.deployment.key
    }

    fn kid(&self) -> &str {
        &self.deployment.record.kid
    }

    fn header(&self) -> Value {
        self.deployment.header()
    }

    fn good(&self) -> String {
        self.signed(&self.header(), &self.claims)
    }

    fn parts(&self) -> [String; 3] {
        let good = self.good();
        let parts: Vec<&str> = good.split('.').collect();
        [parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned()]
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        self.raw(header.to_string(), claims.to_string())
    }

    /// Any bytes as header and payload, with a good signature.
    fn raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key().sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A header with one member set to something else.
    fn header_with(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        self.signed(&header, &self.claims)
    }

    fn header_without(&self, name: &str) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().remove(name);
        self.signed(&header, &self.claims)
    }

    /// A header that goes on after its last member.
    fn header_plus(&self, more: &str) -> String {
        let header = self.header().to_string();
        self.raw(format!("{},{more}}}", header.strip_suffix('}').unwrap()), self.claims.to_string())
    }

    fn claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header(), &claims)
    }

    /// A claim as it is written, which need not be JSON.
    fn claim_as(&self, name: &str, text: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        let claims = claims.to_string();
        self.payload(format!("{},\"{name}\":{text}}}", claims.strip_suffix('}').unwrap()))
    }

    fn claim_without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.signed(&self.header(), &claims)
    }

    fn payload(&self, payload: impl AsRef<[u8]>) -> String {
        self.raw(self.header().to_string(), payload)
    }

    fn payload_plus(&self, more: &str) -> String {
        let claims = self.claims.to_string();
        self.payload(format!("{},{more}}}", claims.strip_suffix('}').unwrap()))
    }

    /// Signed by a key that the forger brings, whose header may say more than usual.
    fn by(&self, key: &SigningKey, header: &Value) -> String {
        sign_with(key, &header.to_string(), &self.claims.to_string())
    }

    /// As HS256, with a secret that the forger knows.
    fn hmac(&self, secret: &[u8]) -> String {
        let mut header = self.header();
        header["alg"] = json!("HS256");
        let input = self.input_of(&header);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn input_of(&self, header: &Value) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(self.claims.to_string()))
    }

    /// The good token with its signature changed.
    fn signature(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
        let [header, payload, signature] = self.parts();
        let signature = change(URL_SAFE_NO_PAD.decode(signature).unwrap());
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn public(&self) -> Vec<u8> {
        let jwk = self.key().public_jwk("k").unwrap();
        URL_SAFE_NO_PAD.decode(jwk.x.or(jwk.n).unwrap()).unwrap()
    }
}

/// Rows of a name, the refusal expected, and the token, under the algorithm of the key: a test each.
macro_rules! refused {
    ($($algorithm:ident: { $($name:ident: $refusal:ident, $token:expr;)+ })+) => {$($(
        #[test]
        fn $name() {
            let forge = Forge::new(Algorithm::$algorithm);
            assert!(forge.deployment.verify(&forge.good()).is_ok(), "what follows would prove nothing");
            let token: fn(&Forge) -> String = $token;
            let token = token(&forge);
            assert_eq!(forge.deployment.verify(&token), Err(TokenRefusal::$refusal), "{token}");
        }
    )+)+};
}
use refused;
