//! The JSON Schema of the settings file, made from the same declarations that are read.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value as Json, json};

use super::{
    Config,
    setting::Setting,
    visitor::{Declared, Visitor},
};

/// The JSON Schema (draft 2020-12) of `authv2.toml`: every setting with its form, limits, default and meaning, nested
/// as in the file. Unknown settings are refused here as they are by [`Config::load`].
///
/// The defaults shown are those of [`Config::default`], the production profile.
#[must_use]
pub fn schema() -> Json {
    let mut schema = properties_of(|visitor| Config::default().walk(visitor));
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("authv2 settings"));
    Json::Object(schema)
}

/// The schema of a table with the settings that `walk` declares.
pub(super) fn object_of(walk: impl FnOnce(&mut SchemaVisitor)) -> Schema {
    properties_of(walk).into()
}

fn properties_of(walk: impl FnOnce(&mut SchemaVisitor)) -> Map<String, Json> {
    let mut visitor = SchemaVisitor {
        generator: SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator(),
        properties: Map::new(),
    };
    walk(&mut visitor);
    object(visitor.properties)
}

pub(super) struct SchemaVisitor {
    generator: SchemaGenerator,
    properties: Map<String, Json>,
}

impl Visitor for SchemaVisitor {
    fn visit<T: Setting>(&mut self, declared: Declared, value: &mut T) {
        let mut schema = T::schema(&mut self.generator);
        schema.insert("description".into(), declared.meaning.into());
        if let Some(default) = value.as_default() {
            schema.insert("default".into(), default);
        }
        if let Some(limits) = declared.limits {
            schema.insert("minimum".into(), (*limits.start()).into());
            schema.insert("maximum".into(), (*limits.end()).into());
        }
        insert(&mut self.properties, declared.name, schema.to_value());
    }
}

fn object(properties: Map<String, Json>) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("type".into(), "object".into());
    object.insert("properties".into(), Json::Object(properties));
    object.insert("additionalProperties".into(), false.into());
    object
}

/// Puts a setting's schema where its dotted name says.
fn insert(properties: &mut Map<String, Json>, name: &str, schema: Json) {
    let Some((section, rest)) = name.split_once('.') else {
        properties.insert(name.to_owned(), schema);
        return;
    };
    let section = properties.entry(section).or_insert_with(|| Json::Object(object(Map::new())));
    if let Some(inner) = section.get_mut("properties").and_then(Json::as_object_mut) {
        insert(inner, rest, schema);
    }
}
