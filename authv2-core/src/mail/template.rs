//! Templates: what a mail of a kind looks like, by language, and which of the application's own take whose place.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::{Details, Kind, builtin};

/// What every template can say; a fact that a mail does not have is empty. `case` says what a mail of registration is
/// about: `confirm`, `set_password` or `known`.
const FACTS: [&str; 8] = ["service", "email", "name", "case", "link", "at", "ip", "device"];
/// What the HTML is made from where the application has none for a kind.
const LETTER: &str = "letter.html";
/// The cases of a mail of registration.
const CASES: [&str; 3] = ["confirm", "set_password", "known"];

/// A template cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The directory or a file in it cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in the directory is no template of any mail, so that it would be missed in silence.
    #[error("{0}: no mail is called so")]
    Unknown(String),
    /// A language has a subject of its own and no text, or the other way around.
    #[error("{0}: is missing")]
    Missing(String),
    /// A template is wrong, or says what no mail has.
    #[error("{name}: {source}")]
    Wrong {
        /// Which.
        name: String,
        /// Why.
        source: minijinja::Error,
    },
}

/// What a mail says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) language: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// The templates of all mails.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    /// The languages in which there is a subject and a text, by kind.
    languages: BTreeMap<&'static str, BTreeSet<String>>,
    fallback: String,
}

impl Templates {
    /// The templates that come with the crate, and in their place those of `directory`. Each is tried once.
    pub(crate) fn load(directory: Option<&Path>, fallback: &str) -> Result<Self, TemplateError> {
        let mut sources = BTreeMap::new();
        sources.insert(LETTER.to_owned(), builtin::LETTER.to_owned());
        for (language, letter) in builtin::LANGUAGES {
            for kind in Kind::ALL {
                let (subject, text) = letter(kind);
                sources.insert(name(language, kind, "subject"), subject.to_owned());
                sources.insert(name(language, kind, "txt"), text.to_owned());
            }
        }
        if let Some(directory) = directory {
            read_own(directory, &mut sources)?;
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            if Path::new(name).extension().is_some_and(|extension| extension == "html") {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        let mut languages: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        for path in sources.keys() {
            let Some((language, kind, _)) = named(path) else { continue };
            languages.entry(kind.as_str()).or_default().insert(language.to_owned());
        }
        for (kind, language) in languages.iter().flat_map(|(kind, tags)| tags.iter().map(move |tag| (kind, tag))) {
            for part in ["subject", "txt"] {
                let path = format!("{language}/{kind}.{part}");
                if !sources.contains_key(&path) {
                    return Err(TemplateError::Missing(path));
                }
            }
        }
        for (name, source) in sources {
            environment
                .add_template_owned(name.clone(), source)
                .map_err(|source| TemplateError::Wrong { name, source })?;
        }
        let templates = Self { environment, languages, fallback: fallback.to_owned() };
        templates.try_out()?;
        Ok(templates)
    }

    /// Renders everything once, so that a template that is wrong stops the start and not a mail.
    fn try_out(&self) -> Result<(), TemplateError> {
        for kind in Kind::ALL {
            for language in self.languages.get(kind.as_str()).into_iter().flatten() {
                for case in CASES {
                    let sample = FACTS.map(|fact| (Cow::Borrowed(fact), format!("<{fact}>")));
                    let mut facts = Details::from(sample);
                    facts.insert(Cow::Borrowed("case"), case.to_owned());
                    self.render(kind, Some(language), &facts)?;
                    self.render(kind, Some(language), &Details::from([(Cow::Borrowed("case"), case.to_owned())]))?;
                }
            }
        }
        Ok(())
    }

    /// A mail of a kind in the language wanted, or in the nearest that there is: the same without its region, that of
    /// the settings, English. It is written in one language from its subject to its end.
    pub(crate) fn render(&self, kind: Kind, wanted: Option<&str>, facts: &Details) -> Result<Text, TemplateError> {
        let language = self.language(kind, wanted);
        let mut known: BTreeMap<&str, Value> = FACTS.iter().map(|fact| (*fact, Value::from(""))).collect();
        known.extend(facts.iter().map(|(name, fact)| (name.as_ref(), Value::from(fact.as_str()))));
        known.insert("language", Value::from(language));
        // A subject is one line, whatever its facts are: what follows a line break would be a header of its own.
        let subject = self.rendered(&name(language, kind, "subject"), &known)?;
        let subject = subject.split(char::is_control).map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned();
        known.insert("subject", Value::from(subject.as_str()));
        let text = self.rendered(&name(language, kind, "txt"), &known)?.trim().replace("\r\n", "\n");
        let own = name(language, kind, "html");
        let html = if self.environment.get_template(&own).is_ok() {
            self.rendered(&own, &known)?
        } else {
            let paragraphs: Vec<&str> = text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).collect();
            known.insert("paragraphs", paragraphs.into_iter().map(Value::from).collect());
            self.rendered(LETTER, &known)?
        };
        Ok(Text { language: language.to_owned(), subject, text, html })
    }

    fn rendered(&self, name: &str, facts: &BTreeMap<&str, Value>) -> Result<String, TemplateError> {
        let facts = Value::from_pairs(facts.iter().map(|(name, fact)| (*name, fact.clone())));
        let rendered = self.environment.get_template(name).and_then(|found| found.render(facts));
        rendered.map_err(|source| TemplateError::Wrong { name: name.to_owned(), source })
    }

    fn language<'a>(&'a self, kind: Kind, wanted: Option<&str>) -> &'a str {
        let there = self.languages.get(kind.as_str());
        let base = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
        let candidates = [wanted.map(str::to_owned), wanted.map(base), Some(self.fallback.clone())];
        let fallback_base = base(&self.fallback);
        candidates
            .into_iter()
            .flatten()
            .chain([fallback_base])
            .find_map(|tag| there?.get(&tag).map(String::as_str))
            .unwrap_or("en")
    }
}

fn name(language: &str, kind: Kind, part: &str) -> String {
    format!("{language}/{}.{part}", kind.as_str())
}

/// The language, the kind and the part that a template is for.
fn named(path: &str) -> Option<(&str, Kind, &str)> {
    let (language, file) = path.split_once('/')?;
    let (kind, part) = file.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    ["subject", "txt", "html"].contains(&part).then_some((language, kind, part))
}

/// Reads `letter.html` and `<language>/<kind>.<part>`; what begins with `_` is there to be included.
fn read_own(directory: &Path, sources: &mut BTreeMap<String, String>) -> Result<(), TemplateError> {
    for (path, name) in entries(directory)? {
        if !path.is_dir() {
            own(&path, name, sources)?;
            continue;
        }
        for (path, file) in entries(&path)? {
            own(&path, format!("{name}/{file}"), sources)?;
        }
    }
    Ok(())
}

fn own(path: &Path, name: String, sources: &mut BTreeMap<String, String>) -> Result<(), TemplateError> {
    let is_included = name.rsplit('/').next().is_some_and(|file| file.starts_with('_'));
    if !is_included && name != LETTER && named(&name).is_none() {
        return Err(TemplateError::Unknown(name));
    }
    let unreadable = |source| TemplateError::Unreadable { path: path.to_owned(), source };
    sources.insert(name, fs::read_to_string(path).map_err(unreadable)?);
    Ok(())
}

/// What is in a directory and not hidden, by name.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, TemplateError> {
    let unreadable = |source| TemplateError::Unreadable { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((entry.path(), name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
