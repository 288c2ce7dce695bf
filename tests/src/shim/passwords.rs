//! `password-verify`: the core's password verification, line by line.

use authv2_core::{
    store::Redacted,
    user::password::{
        Password,
        hasher::{Argon2Params, HashError, PasswordHasher, WorkMemory},
    },
};
use serde_json::{Value, json};

use super::Unreadable;

/// The hasher of a deployment with default settings, in this thread.
#[derive(Debug)]
pub struct Verifier {
    hasher: PasswordHasher,
    memory: WorkMemory,
}

impl Verifier {
    pub(super) fn new() -> Result<Self, HashError> {
        Ok(Self { hasher: PasswordHasher::new(Argon2Params::default())?, memory: WorkMemory::default() })
    }

    /// A hash that cannot be judged matches nothing, and the reason says why; so does a password that is too long to
    /// be anybody's.
    pub(super) fn verify_line(&mut self, line: &Value) -> Result<Value, Unreadable> {
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        let password = text("password").ok_or("no `password`")?;
        let hash = text("hash").ok_or("no `hash`")?;
        let Some(password) = Password::for_verification(password) else {
            return Ok(json!({"match": false, "rehash": false, "reason": "password_too_long"}));
        };
        Ok(match self.hasher.verify(&Redacted(hash.to_owned()), &password, &mut self.memory) {
            Ok(found) => json!({"match": found.matches, "rehash": found.needs_rehash}),
            Err(error) => json!({"match": false, "rehash": false, "reason": reason(error)}),
        })
    }
}

fn reason(error: HashError) -> &'static str {
    match error {
        HashError::Malformed => "malformed",
        HashError::UnknownAlgorithm => "unknown_algorithm",
        HashError::TooCostly { .. } => "too_costly",
        HashError::InvalidParameters => "invalid_parameters",
        HashError::UnknownPepper => "unknown_pepper",
        HashError::OutOfMemory => "out_of_memory",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(password: &str, hash: &str) -> Value {
        Verifier::new().unwrap().verify_line(&json!({"id": 1, "password": password, "hash": hash})).unwrap()
    }

    #[test]
    fn judges_a_hash_of_todays_parameters_and_wants_older_ones_anew() {
        let hasher = PasswordHasher::new(Argon2Params::default()).unwrap();
        let password = Password::for_verification("violet teapot").unwrap();
        let today = hasher.hash(&password, &mut WorkMemory::default()).unwrap().0;
        assert_eq!(verify("violet teapot", &today), json!({"match": true, "rehash": false}));
        assert_eq!(verify("violet teapoT", &today), json!({"match": false, "rehash": false}));
        let cheap = PasswordHasher::new(Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 }).unwrap();
        let older = cheap.hash(&password, &mut WorkMemory::default()).unwrap().0;
        assert_eq!(verify("violet teapot", &older), json!({"match": true, "rehash": true}));
    }

    #[test]
    fn says_why_a_hash_cannot_be_judged() {
        for (hash, why) in [
            ("", "malformed"),
            ("$argon2id$v=19$m=65536,t=2,p=1", "malformed"),
            (
                "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
                "unknown_algorithm",
            ),
            ("$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aM15713r3Xsvxbi31lqr1Q", "too_costly"),
        ] {
            assert_eq!(verify("x", hash), json!({"match": false, "rehash": false, "reason": why}), "{hash}");
        }
        assert_eq!(verify(&"x".repeat(257), "")["reason"], "password_too_long");
    }

    #[test]
    fn refuses_a_line_without_password_or_hash() {
        let mut verifier = Verifier::new().unwrap();
        assert!(verifier.verify_line(&json!({"id": 1, "password": "x"})).is_err());
        assert!(verifier.verify_line(&json!({"id": 1, "hash": "x"})).is_err());
    }
}
