//! Reads settings from a TOML table and environment variables, and knows which of them nobody asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use super::{
    Problem,
    problem::Problems,
    setting::{Given, Setting},
    visitor::{Declared, Visitor, out_of_range},
};

/// What every variable starts with.
const PREFIX: &str = "AUTHV2_";
/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "AUTHV2_CONFIG";
/// Variables that belong to tests, not to the service.
const TEST_PREFIX: &str = "AUTHV2_TEST_";
/// What Kubernetes sets in every pod for a Service called `authv2`. None of them could be a setting's: no setting's name
/// starts so.
const SERVICE_LINKS: [&str; 3] = ["AUTHV2_PORT", "AUTHV2_SERVICE_HOST", "AUTHV2_SERVICE_PORT"];
/// What it sets for each port of that Service.
const SERVICE_LINK_PREFIXES: [&str; 2] = ["AUTHV2_PORT_", "AUTHV2_SERVICE_PORT_"];

/// A variable that names a setting. Without `Debug`: the value may be a secret.
struct Variable {
    name: String,
    value: OsString,
}

/// Fills settings from a file and the environment. Without `Debug`: both hold secrets.
pub(super) struct Reader {
    file: toml::Table,
    variables: BTreeMap<String, Variable>,
    sections: BTreeSet<&'static str>,
    problems: Problems,
    /// The file could be read, if there is one: judging the settings as a whole makes sense.
    pub(super) is_whole: bool,
}

impl Reader {
    /// Opens the sources. What is wrong with them is reported with the rest.
    pub(super) fn open<K, V>(file: Option<&Path>, env: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut problems = Problems::default();
        let (file, is_whole) = match file.map(|path| (path, table(path))) {
            None => (toml::Table::new(), true),
            Some((_, Ok(table))) => (table, true),
            Some((path, Err(problem))) => {
                problems.report(printable(&path.display().to_string()), problem);
                (toml::Table::new(), false)
            }
        };
        let mut variables = BTreeMap::new();
        for (name, value) in env {
            let name = name.into().to_string_lossy().into_owned();
            let Some(setting) = setting_of(&name) else { continue };
            if variables.insert(setting.clone(), Variable { name, value: value.into() }).is_some() {
                problems.report(printable(&setting), Problem::SetTwice);
            }
        }
        Self { file, variables, sections: BTreeSet::new(), problems, is_whole }
    }

    /// Everything that was wrong, settings that nobody knows included.
    pub(super) fn finish(mut self) -> Problems {
        leftovers(&self.file, "", &self.sections, &mut self.problems);
        for (setting, variable) in self.variables {
            let variable = printable(&variable.name);
            self.problems.report(printable(&setting), Problem::UnknownVariable { variable });
        }
        self.problems
    }

    /// Takes the value of a setting out of both sources; the environment wins.
    fn take(&mut self, name: &str) -> Option<Result<Given, Problem>> {
        let in_file = take_from(&mut self.file, name);
        match self.variables.remove(name) {
            Some(variable) => Some(variable.value.into_string().map(Given::Text).map_err(|_| Problem::NotUtf8)),
            None => in_file.map(|value| Ok(Given::Typed(value))),
        }
    }
}

impl Visitor for Reader {
    fn visit<T: Setting>(&mut self, declared: Declared, value: &mut T) {
        self.sections.extend(declared.name.match_indices('.').filter_map(|(dot, _)| declared.name.get(..dot)));
        let Some(given) = self.take(declared.name) else { return };
        match (given.and_then(|given| T::read(&given)), declared.limits) {
            (Ok(read), _) => *value = read,
            (Err(Problem::Expected(_)), Some(limits)) => {
                self.problems.report(declared.name, out_of_range::<T>(&limits));
            }
            (Err(problem), _) => self.problems.report(declared.name, problem),
        }
    }

    fn report(&mut self, setting: &'static str, problem: Problem) {
        if !self.problems.concern(setting) {
            self.problems.report(setting, problem);
        }
    }
}

/// The setting that a variable names, if it is one of ours.
fn setting_of(variable: &str) -> Option<String> {
    if variable == FILE_VARIABLE || variable.starts_with(TEST_PREFIX) || is_service_link(variable) {
        return None;
    }
    Some(variable.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", "."))
}

fn is_service_link(variable: &str) -> bool {
    SERVICE_LINKS.contains(&variable) || SERVICE_LINK_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

fn table(path: &Path) -> Result<toml::Table, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| Problem::Unreadable(error.kind()))?;
    text.parse().map_err(|error: toml::de::Error| {
        let end = error.span().map_or(0, |span| span.start);
        let line = text.get(..end).map_or(1, |before| before.matches('\n').count() + 1);
        // Not the error's own `Display`: that quotes the line, which may hold a secret.
        Problem::Syntax { line, message: printable(error.message()) }
    })
}

fn take_from(table: &mut toml::Table, name: &str) -> Option<toml::Value> {
    match name.split_once('.') {
        Some((section, rest)) => take_from(table.get_mut(section)?.as_table_mut()?, rest),
        None => table.remove(name),
    }
}

/// Reports what the walk left in the file.
fn leftovers(table: &toml::Table, within: &str, sections: &BTreeSet<&'static str>, problems: &mut Problems) {
    for (key, value) in table {
        let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        match value.as_table() {
            Some(inner) if sections.contains(name.as_str()) || !inner.is_empty() => {
                leftovers(inner, &name, sections, problems);
            }
            None if sections.contains(name.as_str()) => {
                problems.report(name, Problem::Expected("a table of settings"));
            }
            _ => problems.report(printable(&name), Problem::Unknown),
        }
    }
}

/// Text from outside, such that it stays on its line.
pub(super) fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}
