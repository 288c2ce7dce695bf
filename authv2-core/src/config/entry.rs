//! Settings that are tables in a list: each entry is walked over like the settings themselves.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::{
    Problem,
    problem::Problems,
    reader::printable,
    schema,
    setting::{Given, Setting},
    visitor::{Declared, Visitor, out_of_range},
};

/// A table in a list of settings.
pub(super) trait Entry: Default {
    /// What an entry is told to be where it is something else.
    const SHAPE: &'static str;

    /// Shows every setting of the entry to `visitor`.
    fn walk(&mut self, visitor: &mut impl Visitor);
}

impl<T: Entry> Setting for T {
    const EXPECTED: &'static str = T::SHAPE;

    fn read(given: &Given) -> Result<Self, Problem> {
        let Given::Typed(toml::Value::Table(table)) = given else { return Err(Problem::Expected(T::SHAPE)) };
        let mut reader = EntryReader { table: table.clone(), problems: Problems::default() };
        let mut entry = T::default();
        entry.walk(&mut reader);
        for name in reader.table.keys() {
            reader.problems.report(printable(name), Problem::Unknown);
        }
        reader.problems.into_inside().map_or(Ok(entry), Err)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        schema::object_of(|visitor| T::default().walk(visitor))
    }

    fn as_default(&self) -> Option<Json> {
        None
    }
}

/// Fills an entry from its table. Without `Debug`: it may hold secrets.
struct EntryReader {
    table: toml::Table,
    problems: Problems,
}

impl Visitor for EntryReader {
    fn visit<T: Setting>(&mut self, declared: Declared, value: &mut T) {
        let Some(given) = self.table.remove(declared.name) else { return };
        match (T::read(&Given::Typed(given)), declared.limits) {
            (Ok(read), _) => *value = read,
            (Err(Problem::Expected(_)), Some(limits)) => {
                self.problems.report(declared.name, out_of_range::<T>(&limits));
            }
            (Err(problem), _) => self.problems.report(declared.name, problem),
        }
    }
}

/// A table whose names the user chooses.
impl<T: Setting> Setting for BTreeMap<String, T> {
    const EXPECTED: &'static str = "a table";

    fn read(given: &Given) -> Result<Self, Problem> {
        let Given::Typed(toml::Value::Table(table)) = given else { return Err(Problem::Expected("a table")) };
        let (mut values, mut problems) = (Self::new(), Problems::default());
        for (name, value) in table {
            match T::read(&Given::Typed(value.clone())) {
                Ok(value) => drop(values.insert(name.clone(), value)),
                Err(problem) => problems.report(printable(name), problem),
            }
        }
        problems.into_inside().map_or(Ok(values), Err)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let values = T::schema(generator);
        json_schema!({"type": "object", "additionalProperties": values})
    }

    fn as_default(&self) -> Option<Json> {
        None
    }
}
