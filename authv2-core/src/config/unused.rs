//! Settings of the contract whose features are not part of this version: read for their form, then set aside.

use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    Problem,
    setting::{Given, Setting, choice, textual},
    visitor::Visitor,
};

/// Walks over them, and notes in `unused` which are set.
pub(super) fn walk(unused: &mut Vec<&'static str>, visitor: &mut impl Visitor) {
    let mut noted = Noted { unused, visitor };
    noted.setting::<LoginUrl>("forward.login_url", "Where gateways send visitors. Without effect in this version.");
    noted.setting::<Vec<Rule>>("forward.rules", "What gateways require by path. Without effect in this version.");
    noted.setting::<Unmatched>("forward.unmatched", "What they require elsewhere. Without effect in this version.");
}

struct Noted<'a, V> {
    unused: &'a mut Vec<&'static str>,
    visitor: &'a mut V,
}

impl<V: Visitor> Noted<'_, V> {
    fn setting<T: Setting>(&mut self, name: &'static str, meaning: &'static str) {
        let mut value: Option<T> = None;
        self.visitor.setting(name, meaning, &mut value);
        if value.is_some() && !self.unused.contains(&name) {
            self.unused.push(name);
        }
    }
}

/// A page of the site or anywhere. Judged, not kept.
struct LoginUrl;

textual!(
    LoginUrl,
    "an http or https URL, or a path",
    |text| ["https://", "http://", "/"].iter().any(|start| text.starts_with(start)).then_some(Self),
    String::json_schema,
    |_| String::new()
);

/// A rule of the gateway: a table, whose content the feature will judge.
struct Rule;

impl Setting for Rule {
    const EXPECTED: &'static str = "a table";

    fn read(given: &Given) -> Result<Self, Problem> {
        match given {
            Given::Typed(toml::Value::Table(_)) => Ok(Self),
            _ => Err(Problem::Expected(Self::EXPECTED)),
        }
    }

    fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": "object"})
    }

    fn as_default(&self) -> Option<serde_json::Value> {
        None
    }
}

/// What the gateway asks for where no rule matches.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unmatched {
    /// Any credential.
    Authenticated,
    /// Nothing passes.
    Deny,
}

choice!(Unmatched, "one of `authenticated`, `deny`");
