//! Settings of access tokens and the keys that sign them.

use std::{path::PathBuf, time::Duration};

use super::{
    DAY,
    problem::{Problem, Problems},
    setting::{Setting, choice},
    visitor::Visitor,
};
use crate::jwt::Algorithm;

choice!(Algorithm, "one of `EdDSA`, `ES256`, `ES384`, `RS256`, `PS256`, `HS256`");

/// What access tokens are made of and how long they live.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// The algorithm of keys that are made here; `EdDSA` by default.
    pub alg: Algorithm,
    /// The life of an access token, from 1 s to a day; 600 s by default. Verifiers elsewhere that hear of no
    /// revocations honour a stolen token this long.
    pub access_ttl: Duration,
    /// How long verifiers may cache the JWKS, at most a day; 300 s by default. A new key waits this long before it
    /// signs.
    pub jwks_max_age: Duration,
    /// The `aud` of access tokens; the issuer by default.
    pub audience: Option<String>,
    /// The first signing key of a fresh store: PEM, or raw bytes for HS256. Without it one is made.
    pub signing_key_file: Option<PathBuf>,
    /// How long a key made here signs before the next one does; 90 days by default, zero for as long as nobody asks.
    /// Keys that were brought along are never replaced by schedule. The longer a key signs, the longer a stolen one
    /// serves.
    pub rotation_interval: Duration,
    /// How far ahead of the clock `iat` and `nbf` may be, at most 60 s; 30 s by default. `exp` has no leeway.
    pub leeway: Duration,
    /// About how many bytes the verified tokens at hand may take, about 1 KiB each; 64 MiB by default. A session that a
    /// token at hand belongs to stays in memory as well.
    pub cache_bytes: usize,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            alg: Algorithm::EdDSA,
            access_ttl: Duration::from_secs(600),
            jwks_max_age: Duration::from_secs(300),
            audience: None,
            signing_key_file: None,
            rotation_interval: Duration::from_secs(90 * DAY),
            leeway: Duration::from_secs(30),
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

impl TokenConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("tokens.alg", "The signature algorithm of keys that are made here.", &mut self.alg);
        visitor.number("tokens.access_ttl", 1..=DAY, "The life of an access token, in seconds.", &mut self.access_ttl);
        visitor.number(
            "tokens.jwks_max_age",
            0..=DAY,
            "Seconds that verifiers may cache the JWKS; a new key waits as long before it signs.",
            &mut self.jwks_max_age,
        );
        visitor.setting(
            "tokens.audience",
            "The `aud` of access tokens; the issuer where it is not set.",
            &mut self.audience,
        );
        visitor.setting(
            "tokens.signing_key_file",
            "The first signing key of a fresh store: PEM, or raw bytes for HS256.",
            &mut self.signing_key_file,
        );
        visitor.number(
            "tokens.rotation_interval",
            0..=3650 * DAY,
            "Seconds that a signing key made here signs before the next one does; 0 for as long as nobody asks.",
            &mut self.rotation_interval,
        );
        visitor.number(
            "tokens.leeway",
            0..=60,
            "Seconds that `iat` and `nbf` may be ahead of the clock.",
            &mut self.leeway,
        );
        visitor.number(
            "tokens.cache_bytes",
            1024 * 1024..=1 << 40,
            "About how many bytes the verified tokens at hand may take.",
            &mut self.cache_bytes,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if !Algorithm::SIGNING.contains(&self.alg) {
            problems.report("tokens.alg", Problem::Expected(<Algorithm as Setting>::EXPECTED));
        }
        // Or keys would be made faster than they end.
        let shortest = self.access_ttl + self.jwks_max_age;
        if !self.rotation_interval.is_zero() && self.rotation_interval < shortest {
            let why = "must be 0, or at least tokens.access_ttl and tokens.jwks_max_age together";
            problems.report("tokens.rotation_interval", Problem::Refused(why));
        }
    }
}
