//! Why a command did not do what it was asked, and how it is told on standard error.

use std::{error::Error as _, io};

use authv2_core::{
    authentication::StartError,
    config::{ConfigErrors, Problem},
    jwt::KeyChangeError,
    store::StoreError,
    user::UserError,
};

/// A command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// `config check` found something: its report, not a failure to report.
    #[error(transparent)]
    Checked(ConfigErrors),
    /// The settings are not acceptable.
    #[error(transparent)]
    Settings(ConfigErrors),
    /// The store cannot be opened, or its schema is not one for this build.
    #[error(transparent)]
    Open(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account cannot be made.
    #[error(transparent)]
    User(#[from] UserError),
    /// Another account has the e-mail.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error("an account has this e-mail already; it was left as it is")]
    EmailTaken,
    /// What was named is not there.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error("{0}")]
    NotFound(&'static str),
    /// The signing keys were not changed.
    #[error(transparent)]
    Keys(#[from] KeyChangeError),
    /// The key cannot be read.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error("the key cannot be read: {0}")]
    KeyFile(String),
    /// The password cannot be read.
    #[error("the password cannot be read")]
    Password(#[source] io::Error),
    /// There is no runtime to work in.
    #[error("the runtime did not start")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// Writes it to standard error, with what is behind it.
    pub(crate) fn tell(&self) {
        match self {
            Self::User(UserError::Invalid(fields)) => {
                for field in fields {
                    eprintln!("{}: {}", field.field, field.message);
                }
            }
            Self::Settings(problems) => {
                eprintln!("{problems}");
                if problems.problems().iter().any(|found| is_about_production(found.problem())) {
                    eprintln!("(judged for production; set AUTHV2_PROFILE=development on your own machine)");
                }
            }
            other => eprintln!("{}", other.with_causes()),
        }
    }

    /// The message and those behind it, as far as they add something.
    fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        text
    }
}

fn is_about_production(problem: &Problem) -> bool {
    matches!(problem, Problem::Missing(_) | Problem::RefusedInProduction(_))
}
