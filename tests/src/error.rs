//! What can go wrong before a test has begun.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

/// The harness could not set up what a test needs: a fault of the machine or of the server under test, told in full.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// A program that the harness runs is not installed.
    #[error("{program} was not found: install {package}, or set {variable}")]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// The Debian package that brings it.
        package: &'static str,
        /// The environment variable that says where it is, or that replaces it.
        variable: &'static str,
    },
    /// A program was found and could not be run, or a file could not be written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program ended although it should have gone on, or reported a failure.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which program.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// A program did not get ready in time.
    #[error("{program} was not ready after {after:?}: {output}")]
    Late {
        /// Which program.
        program: String,
        /// How long the harness waited.
        after: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// The database refused a statement of the harness.
    #[error("the test database refused a statement")]
    Sql(#[from] sqlx::Error),
    /// A request to the browser's driver, or to the server under test, did not come through.
    #[error("an HTTP request of the harness failed")]
    Http(#[from] reqwest::Error),
    /// The browser refused a command.
    #[error("the browser refused {command}: {message}")]
    Browser {
        /// Which WebDriver command.
        command: String,
        /// What the driver said.
        message: String,
    },
    /// A setting of the harness could not be read.
    #[error("{variable} is not usable: {why}")]
    Setting {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The binary under test is neither there nor could it be built.
    #[error("no quickstart binary at {}", .0.display())]
    NoBinary(PathBuf),
}

impl HarnessError {
    /// Gives an I/O error the attempt that it ended.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Says that a test did not run, for want of a program.
///
/// Past the capture of `eprintln!`, which would swallow it: a test that did not run is no quiet success.
pub fn tell_skipped(test: &str, missing: &HarnessError) {
    let _told = writeln!(io::stderr(), "SKIPPED {test}: {missing}");
}

/// The last `limit` characters of what a program printed: enough to see why it failed, not a page of it.
pub(crate) fn tail(text: &str, limit: usize) -> String {
    let skipped = text.chars().count().saturating_sub(limit);
    text.chars().skip(skipped).collect::<String>().trim().to_owned()
}
