//! How settings name a claim of a token, and what it must be.

use serde_json::{Map, Value};

use super::{
    Problem,
    setting::{Given, Setting},
};

/// Where a claim stands in a token: the names of the members on the way to it.
///
/// Written as text, dots lead into objects (`realm_access.roles`), and a name with `://` in it is one name; written as
/// a list, each entry is one name, whatever it contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The path that a text names.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let names: Vec<&str> = if text.contains("://") { vec![text] } else { text.split('.').collect() };
        Self(names.into_iter().map(str::to_owned).collect())
    }

    /// The claim, if the token has it.
    #[must_use]
    pub fn find<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// Its only name, where it stands at the top.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.0.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }
}

/// What a claim must be, beyond being there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequiredClaim {
    /// Anything.
    Present,
    /// One of these texts, or a list that has one of them. `scope` and `scp` may also be lists in one text, separated
    /// by spaces.
    OneOf(Vec<String>),
}

impl Setting for ClaimPath {
    const EXPECTED: &'static str = "the name of a claim, with dots into objects, or a list of names";

    fn read(given: &Given) -> Result<Self, Problem> {
        let path = match given {
            Given::Typed(toml::Value::Array(_)) => Self(Vec::read(given)?),
            _ => Self::new(given.text(Self::EXPECTED)?),
        };
        let is_path = !path.0.is_empty() && path.0.iter().all(|name| !name.is_empty());
        if is_path { Ok(path) } else { Err(Problem::Expected(Self::EXPECTED)) }
    }

    fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "array"], "items": {"type": "string"}, "minLength": 1, "minItems": 1})
    }

    fn as_default(&self) -> Option<Value> {
        Some(self.0.join(".").into())
    }
}

impl Setting for RequiredClaim {
    const EXPECTED: &'static str = "a text, a list of texts, or `true` for any value";

    fn read(given: &Given) -> Result<Self, Problem> {
        match given {
            Given::Typed(toml::Value::Boolean(true)) => Ok(Self::Present),
            Given::Typed(toml::Value::Array(values)) if !values.is_empty() => Vec::read(given).map(Self::OneOf),
            Given::Typed(toml::Value::String(text)) if !text.is_empty() => Ok(Self::OneOf(vec![text.clone()])),
            _ => Err(Problem::Expected(Self::EXPECTED)),
        }
    }

    fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"const": true}]})
    }

    fn as_default(&self) -> Option<Value> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_lead_into_objects_and_urls_are_one_name() {
        let claims = json!({
            "realm_access": {"roles": ["a"]},
            "https://shop.example/roles": ["b"],
            "cognito:groups": ["c"],
            "resource_access": {"my.client": {"roles": ["d"]}},
        });
        let claims = claims.as_object().unwrap();
        let list = ClaimPath(["resource_access", "my.client", "roles"].map(str::to_owned).to_vec());
        for (path, wanted) in [
            (ClaimPath::new("realm_access.roles"), Some(json!(["a"]))),
            (ClaimPath::new("https://shop.example/roles"), Some(json!(["b"]))),
            (ClaimPath::new("cognito:groups"), Some(json!(["c"]))),
            (list, Some(json!(["d"]))),
            (ClaimPath::new("realm_access.roles.a"), None),
            (ClaimPath::new("roles"), None),
        ] {
            assert_eq!(path.find(claims), wanted.as_ref(), "{path:?}");
        }
    }
}
