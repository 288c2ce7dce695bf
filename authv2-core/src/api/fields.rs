//! Reading a JSON body field by field, at any depth, so that every problem with it is told at once.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error, FieldError, Result},
    secret::Secret,
};

/// How many unknown fields of one object are told by name, and how many problems in all: the answer must not outgrow
/// the request.
const UNKNOWN_TOLD: usize = 20;
const PROBLEMS_TOLD: usize = 100;

/// The members of a JSON object, taken one by one; what is left over was not asked for.
#[derive(Debug)]
pub(super) struct Fields {
    members: Map<String, Value>,
    /// Where in the body this object is: empty, or a path like `grants[2].step_up`.
    path: String,
    problems: Vec<FieldError>,
}

impl Fields {
    /// Parses a body. An empty one has no fields where `may_be_empty`.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] if it is not JSON in UTF-8, [`Code::ValidationFailed`] if it is not an object.
    pub(super) fn parse(body: &Bytes, may_be_empty: bool) -> Result<Self> {
        if body.is_empty() && may_be_empty {
            return Ok(Self::new(Map::new(), String::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::new(members, String::new())),
            Ok(_) => Err(Error::invalid(vec![FieldError::new("", "invalid_type", "must be an object")])),
            // The parser's own message could repeat a secret.
            Err(_) => Err(Error::new(Code::MalformedRequest, "the body is not valid JSON")),
        }
    }

    fn new(members: Map<String, Value>, path: String) -> Self {
        Self { members, path, problems: Vec::new() }
    }

    /// Whether a field is there and not `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
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
            value => self.text(name, value).map(Some),
        }
    }

    /// A string that must be there. Empty where it is refused: [`Fields::finish`] fails then.
    pub(super) fn string(&mut self, name: &'static str) -> String {
        self.require(name, Self::optional_string)
    }

    /// A secret that must be there.
    pub(super) fn secret(&mut self, name: &'static str) -> Secret {
        Secret::new(self.string(name))
    }

    /// A secret, if it is there.
    pub(super) fn optional_secret(&mut self, name: &'static str) -> Option<Secret> {
        self.optional_string(name).map(Secret::new)
    }

    /// A string that is read further, if it is there. One that `T` refuses is a problem called `code`.
    pub(super) fn optional_parsed<T>(&mut self, name: &'static str, code: &'static str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = self.optional_string(name)?;
        text.parse().map_err(|problem: T::Err| self.refuse(name, code, problem.to_string())).ok()
    }

    /// Such a string that must be there. `None` where it is refused: [`Fields::finish`] fails then.
    pub(super) fn parsed<T>(&mut self, name: &'static str, code: &'static str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.require(name, |fields, name| Some(fields.optional_parsed(name, code)).filter(Option::is_some))
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

    /// A whole number within `range`, if it is there.
    pub(super) fn optional_integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.members.remove(name).filter(|value| !value.is_null())?;
        let Value::Number(number) = value else {
            self.refuse(name, "invalid_type", "must be a whole number");
            return None;
        };
        let found = number.as_u64().filter(|number| range.contains(number));
        if found.is_none() {
            let (least, most) = range.into_inner();
            let whole = number.is_u64() || number.is_i64();
            let code = if whole { "out_of_range" } else { "invalid_type" };
            self.refuse(name, code, format!("must be a whole number from {least} to {most}"));
        }
        found
    }

    /// One of a few words, if it is there.
    pub(super) fn optional_choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.optional_string(name)?;
        self.chosen(name, &text, choices)
    }

    /// One of a few words, which must be there. `None` where it is refused: [`Fields::finish`] fails then.
    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.require(name, |fields, name| Some(fields.optional_choice(name, choices)).filter(Option::is_some))
    }

    /// An array of at most `most` strings, if it is there.
    pub(super) fn optional_strings(&mut self, name: &'static str, most: usize) -> Option<Vec<String>> {
        let items = self.items(name, most)?;
        let texts = items.into_iter().enumerate();
        Some(texts.filter_map(|(place, item)| self.text(&format!("{name}[{place}]"), item)).collect())
    }

    /// Such an array that must be there.
    pub(super) fn strings(&mut self, name: &'static str, most: usize) -> Vec<String> {
        self.require(name, |fields, name| fields.optional_strings(name, most))
    }

    /// An object of any members, if it is there: the caller's own data, which nothing here looks into.
    pub(super) fn optional_data(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::Object(members) => Some(members),
            _ => {
                self.refuse(name, "invalid_type", "must be an object");
                None
            }
        }
    }

    /// An object, if it is there: `read` takes its fields, and what it leaves is unknown.
    pub(super) fn optional_object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let members = self.optional_data(name)?;
        Some(self.inside(name, members, read))
    }

    /// An array of at most `most` objects, if it is there: `read` takes the fields of each.
    pub(super) fn optional_objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let items = self.items(name, most)?;
        let mut found = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let name = format!("{name}[{place}]");
            match item {
                Value::Object(members) => found.push(self.inside(&name, members, &mut read)),
                _ => self.refuse(&name, "invalid_type", "must be an object"),
            }
        }
        Some(found)
    }

    /// Such an array that must be there.
    pub(super) fn objects<T>(&mut self, name: &'static str, most: usize, read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.require(name, |fields, name| fields.optional_objects(name, most, read))
    }

    /// An object that must be there, of at most `most` members with any names, each one of a few words.
    pub(super) fn choices<T: Copy>(
        &mut self,
        name: &'static str,
        most: usize,
        choices: &[(&str, T)],
    ) -> Vec<(String, T)> {
        let members = self.require(name, Self::optional_data);
        if members.len() > most {
            self.refuse(name, "too_many", format!("must have at most {most} members"));
            return Vec::new();
        }
        let mut found = Vec::with_capacity(members.len());
        for (key, value) in members {
            let name = format!("{name}.{}", shown(&key));
            if let Some(choice) = self.text(&name, value).and_then(|word| self.chosen(&name, &word, choices)) {
                found.push((key, choice));
            }
        }
        found
    }

    /// How many problems were found so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Adds a problem with `name`, which may be a path below this object: for what only the caller can judge.
    pub(super) fn refuse(
        &mut self,
        name: &str,
        code: &'static str,
        message: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        if self.problems.len() < PROBLEMS_TOLD {
            let field = match self.path.as_str() {
                "" => name.to_owned(),
                path => format!("{path}.{name}"),
            };
            self.problems.push(FieldError::new(field, code, message));
        }
    }

    /// Ends the reading: everything must have been acceptable, and asked for.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`] with every problem.
    pub(super) fn finish(mut self) -> Result<()> {
        self.refuse_unknown();
        if self.problems.is_empty() { Ok(()) } else { Err(Error::invalid(self.problems)) }
    }

    /// Reads a field that must be there. Where it is not, or is refused, the default stands in for it.
    fn require<T: Default>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> T {
        if !self.has(name) {
            self.refuse(name, "required", "is required");
        }
        read(self, name).unwrap_or_default()
    }

    /// Reads an object below this one.
    fn inside<T>(&mut self, name: &str, members: Map<String, Value>, read: impl FnOnce(&mut Self) -> T) -> T {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let mut inner = Self::new(members, path);
        let found = read(&mut inner);
        inner.refuse_unknown();
        let room = PROBLEMS_TOLD.saturating_sub(self.problems.len());
        self.problems.extend(inner.problems.into_iter().take(room));
        found
    }

    fn refuse_unknown(&mut self) {
        let names: Vec<String> = self.members.keys().take(UNKNOWN_TOLD).map(|name| shown(name)).collect();
        for name in names {
            self.refuse(&name, "unknown_field", "is not a field of this request");
        }
    }

    fn items(&mut self, name: &'static str, most: usize) -> Option<Vec<Value>> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::Array(items) if items.len() > most => {
                self.refuse(name, "too_many", format!("must have at most {most} items"));
                None
            }
            Value::Array(items) => Some(items),
            _ => {
                self.refuse(name, "invalid_type", "must be an array");
                None
            }
        }
    }

    fn text(&mut self, name: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) if text.contains('\0') => {
                self.refuse(name, "invalid_character", "must not contain NUL");
                None
            }
            Value::String(text) => Some(text),
            _ => {
                self.refuse(name, "invalid_type", "must be a string");
                None
            }
        }
    }

    fn chosen<T: Copy>(&mut self, name: &str, word: &str, choices: &[(&str, T)]) -> Option<T> {
        let chosen = choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.refuse(name, "invalid_choice", format!("must be one of: {}", words.join(", ")));
        }
        chosen
    }
}

/// A name that the caller chose, as far as it is repeated to it.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
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

    #[test]
    fn tells_problems_at_any_depth_by_their_paths() {
        let mut fields = fields(
            r#"{"roles": [{"role": "a"}, {"role": 2, "shop": "x"}, "c"], "names": ["a", 1],
                "limit": {"requests": 0, "burst": 1.5, "more": {}}, "types": {"a": "long", "b": "float"}}"#,
        );
        let roles = fields.objects("roles", 5, |role| role.string("role"));
        let names = fields.strings("names", 5);
        let limit = fields.optional_object("limit", |limit| {
            limit.optional_integer("burst", 1..=9);
            limit.optional_integer("requests", 1..=9)
        });
        let types = fields.choices("types", 5, &[("long", 1), ("string", 2)]);
        fields.objects("grants", 5, |_| ());
        assert_eq!((roles.len(), names.len(), limit, types), (2, 1, Some(None), vec![("a".to_owned(), 1)]));
        let refused = fields.finish().unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        assert_eq!(
            problems,
            [
                ("roles[1].role", "invalid_type"),
                ("roles[1].shop", "unknown_field"),
                ("roles[2]", "invalid_type"),
                ("names[1]", "invalid_type"),
                ("limit.burst", "invalid_type"),
                ("limit.requests", "out_of_range"),
                ("limit.more", "unknown_field"),
                ("types.b", "invalid_choice"),
                ("grants", "required"),
            ]
        );
    }

    #[test]
    fn a_field_that_must_be_there_is_refused_once() {
        let mut fields = fields(r#"{"a": 1, "b": null, "c": "no", "d": "no"}"#);
        assert_eq!(fields.strings("a", 1), Vec::<String>::new());
        assert_eq!(fields.string("b"), "");
        assert_eq!(fields.parsed::<u8>("c", "invalid_number"), None);
        assert_eq!(fields.choice("d", &[("yes", ())]), None);
        assert_eq!(fields.parsed::<u8>("e", "invalid_number"), None);
        let refused = fields.finish().unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        assert_eq!(
            problems,
            [
                ("a", "invalid_type"),
                ("b", "required"),
                ("c", "invalid_number"),
                ("d", "invalid_choice"),
                ("e", "required")
            ]
        );
    }

    #[test]
    fn an_answer_does_not_outgrow_its_request() {
        let body = format!(r#"{{"roles": [{}1], "many": [1, 2, 3]}}"#, "1,".repeat(500));
        let mut fields = Fields::parse(&Bytes::from(body), false).unwrap();
        fields.objects("roles", 1000, |_| ());
        assert_eq!(fields.optional_strings("many", 2), None);
        assert_eq!(fields.finish().unwrap_err().fields().len(), PROBLEMS_TOLD);
    }
}
