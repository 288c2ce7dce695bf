//! What an issuer publishes: its metadata and its keys.

use super::{InvalidLocation, Location};
use crate::jwt::{Algorithm, TrustError, TrustedKeys};

/// What an issuer published cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is not JSON of the expected form")]
    Malformed,
    #[error("the metadata are another issuer's")]
    AnotherIssuer,
    #[error("the keys are at a place that may not be asked")]
    KeysElsewhere(#[from] InvalidLocation),
    #[error("the keys cannot be trusted: {0}")]
    Keys(#[from] TrustError),
    #[error("there is no key to verify with")]
    NoKey,
}

/// Where the keys of `issuer` are, by its metadata (RFC 8414 section 2, OpenID Connect Discovery section 3), which must
/// be that very issuer's (RFC 8414 section 3.3).
pub(super) fn keys_location(body: &[u8], issuer: &str, allows_loopback: bool) -> Result<Location, Unusable> {
    /// The members that count; one of them twice is an error.
    #[derive(serde::Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let metadata: Metadata = serde_json::from_slice(body).map_err(|_| Unusable::Malformed)?;
    if metadata.issuer != issuer {
        return Err(Unusable::AnotherIssuer);
    }
    Ok(Location::parse(&metadata.jwks_uri, allows_loopback)?)
}

/// The keys of a JWK Set, for these algorithms. One without any that could verify is taken for a mistake of the issuer:
/// the keys before it go on.
pub(super) fn keys(body: &[u8], algorithms: &[Algorithm]) -> Result<TrustedKeys, Unusable> {
    let set = serde_json::from_slice(body).map_err(|_| Unusable::Malformed)?;
    let keys = TrustedKeys::from_jwks(&set, Some(algorithms))?;
    if keys.can_verify() { Ok(keys) } else { Err(Unusable::NoKey) }
}
