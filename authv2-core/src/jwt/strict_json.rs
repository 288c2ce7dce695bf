//! JSON as tokens must have it: every object's member names unique, at every depth.
//!
//! A parser that takes the last of two equal names and one that takes the first see two different tokens behind one
//! signature (RFC 8725 section 2.6). Depth is bounded by serde_json's own limit of 128.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::TokenRefusal;

/// Where a visitor leaves the reason that serde's own errors cannot carry.
#[derive(Default)]
pub(super) struct Finding(Cell<Option<TokenRefusal>>);

impl Finding {
    /// Notes `refusal` and gives the error that stops the parser.
    pub(super) fn note<E: serde::de::Error>(&self, refusal: TokenRefusal) -> E {
        self.0.set(Some(refusal));
        E::custom(refusal)
    }

    /// What was noted; else `syntax` for broken JSON, `shape` for JSON of another shape.
    pub(super) fn refusal(&self, error: &serde_json::Error, syntax: TokenRefusal, shape: TokenRefusal) -> TokenRefusal {
        self.0.get().unwrap_or(if error.is_data() { shape } else { syntax })
    }
}

/// A member name: borrowed from the input where it has no escapes, and unescaped where it has, so that two spellings
/// of one name are the same name.
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The names an object has shown so far.
#[derive(Default)]
pub(super) struct Names<'de>(HashSet<Cow<'de, str>>);

impl<'de> Names<'de> {
    /// Adds a name; an error noted as `refusal` if it was there.
    pub(super) fn add<E: serde::de::Error>(
        &mut self,
        name: Name<'de>,
        finding: &Finding,
        refusal: TokenRefusal,
    ) -> Result<(), E> {
        if self.0.insert(name.0) { Ok(()) } else { Err(finding.note(refusal)) }
    }

    /// Whether the name is among them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Reads a value nobody asked for, only to see that no object in it has a name twice.
#[derive(Clone, Copy)]
pub(super) struct Ignored<'a> {
    pub(super) finding: &'a Finding,
    pub(super) duplicate: TokenRefusal,
}

impl<'de> DeserializeSeed<'de> for Ignored<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ignored<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if number.is_finite() { Ok(()) } else { Err(E::custom("a number out of range")) }
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            names.add::<A::Error>(name, self.finding, self.duplicate)?;
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// Reads a member into its place; an error noted as `duplicate` if the place is taken.
pub(super) fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    members: &mut A,
    finding: &Finding,
    duplicate: TokenRefusal,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(finding.note(duplicate));
    }
    *place = Some(members.next_value()?);
    Ok(())
}

/// Requires JSON, and that no object in it has a name twice; `syntax` where it is none, `duplicate` where one has.
pub(super) fn check(json: &[u8], syntax: TokenRefusal, duplicate: TokenRefusal) -> Result<(), TokenRefusal> {
    let finding = Finding::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Ignored { finding: &finding, duplicate }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| finding.refusal(&error, syntax, syntax))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<(), TokenRefusal> {
        check(json.as_bytes(), TokenRefusal::BadPayload, TokenRefusal::DuplicateClaim)
    }

    #[test]
    fn takes_ordinary_json() {
        assert_eq!(read(r#"{"a":[1,-2,0.5,true,null,"x",{"a":1}],"b":{"a":2}}"#), Ok(()));
    }

    #[test]
    fn refuses_a_name_twice_at_any_depth_and_in_any_spelling() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":{"c":1,"c":2}}]}"#, r#"{"iss":1,"\u0069ss":2}"#] {
            assert_eq!(read(json), Err(TokenRefusal::DuplicateClaim), "{json}");
        }
    }

    #[test]
    fn refuses_hostile_depth_without_overflowing_the_stack() {
        assert_eq!(read(&"[".repeat(100_000)), Err(TokenRefusal::BadPayload));
        assert_eq!(read(&format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500))), Err(TokenRefusal::BadPayload));
    }
}
