//! What can be wrong with a setting, and the list of everything that is.

use std::{fmt, io};

/// What is wrong with one setting.
///
/// No variant carries a value that was set, so that no secret reaches a log through a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file holds a name that is no setting.
    #[error("unknown setting")]
    Unknown,
    /// The environment holds a name that is no setting.
    #[error("unknown setting, in the environment variable {variable}")]
    UnknownVariable {
        /// The variable's name.
        variable: String,
    },
    /// Two variables that differ in case only name the same setting.
    #[error("set by more than one environment variable")]
    SetTwice,
    /// The variable's value is not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// The value is the empty text, which is more often a slip than a wish.
    #[error("is empty; leave it out instead")]
    Empty,
    /// The value has another type or form.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Some entries of a list have another form.
    #[error("expected {expected} at {}", Positions(positions))]
    ExpectedEntries {
        /// What each entry must be.
        expected: &'static str,
        /// The places of the offending entries, counted from 1.
        positions: Vec<usize>,
    },
    /// The number is outside its limits, or no whole number.
    #[error("must be a whole number{unit} from {min} to {max}")]
    OutOfRange {
        /// The unit, as in " of seconds"; empty for plain counts.
        unit: &'static str,
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// The setting is needed and nobody set it.
    #[error("must be set: {0}")]
    Missing(&'static str),
    /// The value contradicts another setting, or what this version can do.
    #[error("{0}")]
    Refused(&'static str),
    /// The value is too weak for the production profile.
    #[error("refused in the production profile: {0}")]
    RefusedInProduction(&'static str),
    /// The value needs a part of the crate that was not compiled in.
    #[error("needs the crate feature `{0}`, which is not compiled in")]
    NeedsFeature(&'static str),
    /// Settings inside it have problems of their own, by the way to them.
    #[error("{}", ConfigErrors(inner.clone()))]
    Inside {
        /// What is wrong, by the setting's name inside this one.
        inner: Vec<ConfigProblem>,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// The file is not TOML.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the parser says, which names syntax, never values.
        message: String,
    },
}

/// Writes the places of list entries.
struct Positions<'a>(&'a [usize]);

impl fmt::Display for Positions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "entry" } else { "entries" })?;
        for (index, position) in self.0.iter().enumerate() {
            write!(f, "{} {position}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// One setting that stops the start, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigProblem {
    setting: String,
    problem: Problem,
}

impl ConfigProblem {
    pub(super) fn new(setting: impl Into<String>, problem: Problem) -> Self {
        Self { setting: setting.into(), problem }
    }

    /// The setting's dotted name (`session.max_per_user`), or the path of the file if that is what is wrong.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// Everything that is wrong with a configuration; `Display` writes one line a problem, and never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigProblem>);

impl ConfigErrors {
    /// The problems, in the order of the settings; at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems until all settings were looked at.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn report(&mut self, setting: impl Into<String>, problem: Problem) {
        let setting = setting.into();
        match problem {
            Problem::Inside { inner } => {
                for ConfigProblem { setting: name, problem } in inner {
                    self.report(format!("{setting}.{name}"), problem);
                }
            }
            problem => self.0.push(ConfigProblem::new(setting, problem)),
        }
    }

    /// What was found, as the problem of the one setting that all of it is inside of.
    pub(super) fn into_inside(self) -> Option<Problem> {
        (!self.0.is_empty()).then_some(Problem::Inside { inner: self.0 })
    }

    pub(super) fn concern(&self, setting: &str) -> bool {
        self.0.iter().any(|known| known.setting == setting)
    }

    /// Adds what `others` found about settings that have no problem yet: a value that could not be read leaves its
    /// default behind, and complaints about that default would mislead.
    pub(super) fn add_unless_concerned(&mut self, others: ConfigErrors) {
        let (known, new) = (&self.0, others.0.into_iter());
        let new: Vec<_> = new.filter(|other| !known.iter().any(|known| known.setting == other.setting)).collect();
        self.0.extend(new);
    }

    pub(super) fn into_result(self) -> Result<(), ConfigErrors> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigErrors(self.0)) }
    }
}
