//! The claims of our access tokens (RFC 9068, RFC 7519).

use aws_lc_rs::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId, TokenId},
};

/// The last moment a NumericDate may name: the end of the year 9999. Beyond it lie mistakes and overflows.
const LAST_SECOND: i64 = 253_402_300_799;

/// A NumericDate (RFC 7519 section 2): seconds since the epoch, perhaps with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericDate(pub Timestamp);

impl NumericDate {
    fn of_seconds(seconds: i64) -> Option<Self> {
        (-LAST_SECOND..=LAST_SECOND).contains(&seconds).then(|| Self(Timestamp::from_seconds(seconds)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, the fraction is meant to go")]
    fn of_fraction(seconds: f64) -> Option<Self> {
        // An f64 holds microseconds of every year up to 2255 exactly; this is as good as the sender's own f64.
        let whole = seconds.floor();
        if !whole.is_finite() || whole.abs() > LAST_SECOND as f64 {
            return None;
        }
        let micros = ((seconds - whole) * 1e6).floor() as i64;
        Some(Self(Timestamp::from_micros(Timestamp::from_seconds(whole as i64).as_micros() + micros)))
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl serde::de::Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds since the epoch")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                i64::try_from(seconds)
                    .ok()
                    .and_then(NumericDate::of_seconds)
                    .ok_or_else(|| E::custom("a date out of range"))
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                NumericDate::of_seconds(seconds).ok_or_else(|| E::custom("a date out of range"))
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                NumericDate::of_fraction(seconds).ok_or_else(|| E::custom("a date out of range"))
            }
        }
        deserializer.deserialize_f64(Seconds)
    }
}

/// One string, or several: the two forms of `aud` (RFC 7519 section 4.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience(Vec<String>);

impl Audience {
    /// Exactly this one.
    #[must_use]
    pub fn one(audience: impl Into<String>) -> Self {
        Self(vec![audience.into()])
    }

    /// Whether `audience` is among them: compared byte by byte.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|own| own == audience)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> serde::de::Visitor<'de> for OneOrMore {
            type Value = Audience;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, audience: &str) -> Result<Audience, E> {
                Ok(Audience::one(audience))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Audience, A::Error> {
                let mut audiences = Vec::new();
                while let Some(audience) = items.next_element()? {
                    audiences.push(audience);
                }
                Ok(Audience(audiences))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// The key a token is bound to (RFC 7800). Other ways of binding than DPoP's are refused, not ignored: ignoring one
/// would turn a bound token into a bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The thumbprint of the DPoP key (RFC 9449 section 6.1).
    pub jkt: String,
}

/// The claims of an access token of ours, after all of them were checked.
///
/// Roles and permissions are not among them: those are looked up when they are needed, so that a token never carries
/// rights that were taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: Audience,
    /// Whom it speaks for: a user's id, or the client's for client credentials.
    pub sub: String,
    /// From when on it is refused. Written in whole seconds.
    #[serde(serialize_with = "whole_seconds")]
    pub exp: Timestamp,
    /// When it was issued. Written in whole seconds.
    #[serde(serialize_with = "whole_seconds")]
    pub iat: Timestamp,
    /// Its own name, unique: of ours a [`TokenId`].
    pub jti: String,
    /// The client it was issued to.
    pub client_id: String,
    /// The session it lives and dies with. Without one, the subject is the client itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// The organization it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// The store it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// How the user proved who it is (RFC 8176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The authentication context class reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// When the user last proved who it is. Written in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "whole_seconds_of_some")]
    pub auth_time: Option<Timestamp>,
    /// What bounds it beyond its subject's permissions: space-separated (RFC 9068 section 2.2.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The key its holder must prove to have. A token with one must not be accepted as a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

impl AccessClaims {
    /// What the token is revoked by. Ours are ids; one that is not, in a token that verifies all the same, is known by
    /// its hash, so that whatever verifies can be revoked.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.jti.parse().unwrap_or_else(|_| {
            let hash = digest::digest(&digest::SHA256, self.jti.as_bytes());
            let mut first = [0; 16];
            first.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
            TokenId::from(uuid::Builder::from_custom_bytes(first).into_uuid())
        })
    }
}

fn whole_seconds<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.as_seconds())
}

fn whole_seconds_of_some<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Timestamp::as_seconds).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(json: &str) -> Option<i64> {
        serde_json::from_str::<NumericDate>(json).ok().map(|date| date.0.as_micros())
    }

    #[test]
    fn dates_may_have_fractions_and_must_be_in_range() {
        assert_eq!(date("1700000000"), Some(1_700_000_000_000_000));
        assert_eq!(date("1700000000.5"), Some(1_700_000_000_500_000));
        assert_eq!(date("1.7e9"), Some(1_700_000_000_000_000));
        assert_eq!(date("-1"), Some(-1_000_000));
        for json in ["253402300800", "18446744073709551615", "1e300", "1e999", "\"1700000000\"", "null", "true", "[1]"]
        {
            assert_eq!(date(json), None, "{json}");
        }
    }

    #[test]
    fn audiences_are_one_string_or_several() {
        let audience: Audience = serde_json::from_str(r#"["a","b"]"#).unwrap();
        assert!(audience.contains("b") && !audience.contains("c"));
        assert_eq!(serde_json::to_string(&Audience::one("a")).unwrap(), "\"a\"");
        assert!(serde_json::from_str::<Audience>(r#"["a",1]"#).is_err());
        assert!(serde_json::from_str::<Audience>("null").is_err());
        assert!(!serde_json::from_str::<Audience>("[]").unwrap().contains(""));
    }
}
