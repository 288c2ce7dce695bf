//! Reading a JSON body field by field, so that every problem with it is told at once.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error, FieldError, Result},
    secret::Secret,
};

/// How many unknown fields are told by name: the answer must not outgrow the request.
const UNKNOWN_TOLD: usize = 20;

/// The members of a JSON object, taken one by one; what is left over was not asked for.
#[derive(Debug)]
pub(super) struct Fields {
    members: Map<String, Value>,
    problems: Vec<FieldError>,
}

impl Fields {
    /// Parses a body. An empty one has no fields where `may_be_empty`.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] if it is not JSON in UTF-8, [`Code::ValidationFailed`] if it is not an object.
    pub(super) fn parse(body: &Bytes, may_be_empty: bool) -> Result<Self> {
        if body.is_empty() && may_be_empty {
            return Ok(Self { members: Map::new(), problems: Vec::new() });
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self { members, problems: Vec::new() }),
            Ok(_) => Err(Error::invalid(vec![FieldError::new("", "invalid_type", "must be an object")])),
            // The parser's own message could repeat a secret.
            Err(_) => Err(Error::new(Code::MalformedRequest, "the body is not valid JSON")),
        }
    }

    /// A string, if it is there. `null` counts as absent.
    pub(super) fn optional_string(&mut self, name: &'static str) -> Option<String> {
        self.nullable_string(name).flatten()
    }

    /// A string or `null`, if it is there.
    #[allow(clippy::option_option, reason = "absent, null and present are three different things in a PATCH")]
    pub(super) fn nullable_string(&mut self, name: &'static str) -> Option<Option<String>> {
        match self.members.remove(name)? {
            Value::Null => Some(None),
            Value::String(text) if text.contains('\0') => {
                self.refuse(name, "invalid_character", "must not contain NUL");
                None
            }
            Value::String(text) => Some(Some(text)),
            _ => {
                self.refuse(name, "invalid_type", "must be a string");
                None
            }
        }
    }

    /// A string that must be there. Empty where it is refused: [`Fields::finish`] fails then.
    pub(super) fn string(&mut self, name: &'static str) -> String {
        let problems = self.problems.len();
        let text = self.optional_string(name);
        if text.is_none() && self.problems.len() == problems {
            self.refuse(name, "required", "is required");
        }
        text.unwrap_or_default()
    }

    /// A secret that must be there.
    pub(super) fn secret(&mut self, name: &'static str) -> Secret {
        Secret::new(self.string(name))
    }

    /// A boolean, if it is there.
    pub(super) fn optional_bool(&mut self, name: &'static str) -> Option<bool> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::Bool(value) => Some(value),
            _ => {
                self.refuse(name, "invalid_type", "must be true or false");
                None
            }
        }
    }

    /// One of a few words, if it is there.
    pub(super) fn optional_choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.optional_string(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problems.push(FieldError::new(
                name,
                "invalid_choice",
                format!("must be one of: {}", words.join(", ")),
            ));
        }
        chosen
    }

    /// Ends the reading: everything must have been acceptable, and asked for.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`] with every problem.
    pub(super) fn finish(mut self) -> Result<()> {
        for name in self.members.keys().take(UNKNOWN_TOLD) {
            let shown: String = name.chars().take(64).collect();
            self.problems.push(FieldError::new(shown, "unknown_field", "is not a field of this request"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::invalid(self.problems)) }
    }

    fn refuse(&mut self, name: &'static str, code: &'static str, message: &'static str) {
        self.problems.push(FieldError::new(name, code, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &'static str) -> Fields {
        Fields::parse(&Bytes::from_static(body.as_bytes()), false).unwrap()
    }

    #[test]
    fn tells_every_problem_at_once() {
        let mut fields = fields(r#"{"email": 1, "remember": true, "transport": "pigeon", "nul": "a\u0000"}"#);
        fields.string("email");
        fields.string("password");
        fields.string("nul");
        fields.optional_choice("transport", &[("bearer", ())]);
        let refused = fields.finish().unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        assert_eq!(
            problems,
            [
                ("email", "invalid_type"),
                ("password", "required"),
                ("nul", "invalid_character"),
                ("transport", "invalid_choice"),
                ("remember", "unknown_field"),
            ]
        );
    }

    #[test]
    fn absent_null_and_present_differ() {
        assert_eq!(fields("{}").nullable_string("name"), None);
        assert_eq!(fields(r#"{"name": null}"#).nullable_string("name"), Some(None));
        assert_eq!(fields(r#"{"name": "x"}"#).nullable_string("name"), Some(Some("x".to_owned())));
    }

    #[test]
    fn what_is_not_json_is_malformed_and_what_is_no_object_is_invalid() {
        for body in ["", "{", "{\"a\":\"\u{1}\"}", "{}x"] {
            let refused = Fields::parse(&Bytes::from(body), false).unwrap_err();
            assert_eq!(refused.code(), Code::MalformedRequest, "{body}");
        }
        let refused = Fields::parse(&Bytes::from_static(b"[]"), false).unwrap_err();
        assert_eq!(refused.code(), Code::ValidationFailed);
        let refused = Fields::parse(&Bytes::from_static(b"{\"a\":\"\xff\"}"), false).unwrap_err();
        assert_eq!(refused.code(), Code::MalformedRequest);
    }
}
