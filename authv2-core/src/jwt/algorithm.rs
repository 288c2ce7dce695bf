//! The JOSE signature algorithms spoken here.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name given is not that of a signature algorithm spoken here; `none` never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a supported signature algorithm")]
pub struct UnknownAlgorithm;

macro_rules! algorithms {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A signature algorithm of RFC 7518 section 3.1 or RFC 8037. It belongs to a key, never to a token
        /// (RFC 8725 section 3.1). There is no `none`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Algorithm {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The JOSE name, as in `alg`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        impl FromStr for Algorithm {
            type Err = UnknownAlgorithm;

            /// Reads the exact JOSE name: names are case-sensitive (RFC 7515 section 4.1.1).
            fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
                match name { $($text => Ok(Self::$name),)+ _ => Err(UnknownAlgorithm) }
            }
        }
    };
}

algorithms! {
    /// Ed25519: the default, fast on both sides and free of parameters to get wrong.
    EdDSA = "EdDSA",
    /// ECDSA on P-256 with SHA-256.
    ES256 = "ES256",
    /// ECDSA on P-384 with SHA-384.
    ES384 = "ES384",
    /// ECDSA on P-521 with SHA-512.
    ES512 = "ES512",
    /// RSASSA-PKCS1-v1_5 with SHA-256: for verifiers that know nothing newer.
    RS256 = "RS256",
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384 = "RS384",
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512 = "RS512",
    /// RSASSA-PSS with SHA-256.
    PS256 = "PS256",
    /// RSASSA-PSS with SHA-384.
    PS384 = "PS384",
    /// RSASSA-PSS with SHA-512.
    PS512 = "PS512",
    /// HMAC with SHA-256: whoever can verify can also sign, so only where nobody else verifies.
    HS256 = "HS256",
    /// HMAC with SHA-384.
    HS384 = "HS384",
    /// HMAC with SHA-512.
    HS512 = "HS512",
}

impl Algorithm {
    /// Those that keys of a deployment sign with. The others are only verified, where an issuer elsewhere uses them.
    pub const SIGNING: &[Self] = &[Self::EdDSA, Self::ES256, Self::ES384, Self::RS256, Self::PS256, Self::HS256];

    /// Whether one secret both signs and verifies. Such keys are never published.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_none_is_not_one() {
        for alg in Algorithm::ALL {
            assert_eq!(alg.as_str().parse(), Ok(*alg));
            assert_eq!(serde_json::to_string(alg).unwrap(), format!("\"{alg}\""));
        }
        for name in ["none", "None", "NONE", "", "hs256", "ES256K", "EdDSA "] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
