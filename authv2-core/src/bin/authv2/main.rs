//! The command `authv2`: what an operator does to a deployment from a shell, beside the nodes that run.
//!
//! It takes the settings that the server takes: `authv2.toml` (or the file that `AUTHV2_CONFIG` names) and the
//! environment, judged by the production profile unless `profile` says otherwise. No secret is ever an argument, since
//! every user of the machine can read those.

mod admin;
mod failure;
mod keys;
mod migrate;
mod sessions;
mod settings;
mod store;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::failure::Failure;

/// Looks after an authv2 deployment.
///
/// Settings come from authv2.toml (or the file that AUTHV2_CONFIG names) and from AUTHV2_… variables, as the server
/// reads them. They are judged for production; AUTHV2_PROFILE=development judges them for one's own machine.
#[derive(Debug, Parser)]
#[command(name = "authv2", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the database's schema up to date, or back to an earlier version.
    Migrate {
        /// The version to arrive at. One before the present version DELETES what the later ones hold; 0 deletes all.
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
    /// Platform administrators.
    #[command(subcommand)]
    Admin(Admin),
    /// Sessions.
    #[command(subcommand)]
    Sessions(Sessions),
    /// The keys that sign access tokens.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// The settings.
    #[command(subcommand)]
    Config(Settings),
}

#[derive(Debug, Subcommand)]
enum Admin {
    /// Makes a new account that administers the whole deployment. An existing account is never promoted.
    Create {
        /// The address to sign in with.
        #[arg(long)]
        email: String,
        /// The file that holds the password. Without it, the password is the first line of standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Sessions {
    /// Ends sessions, with all their tokens, everywhere. Those opened afterwards are not touched.
    Revoke(sessions::Whose),
}

#[derive(Debug, Subcommand)]
enum Settings {
    /// Judges the settings as the server would: one line a problem and exit code 1, or `ok`.
    Check,
    /// Prints the JSON Schema of authv2.toml.
    Schema,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(lines) => print(&lines, ExitCode::SUCCESS),
        Err(Failure::Checked(problems)) => print(&[problems.to_string()], ExitCode::FAILURE),
        Err(failure) => {
            failure.tell();
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked; the lines to print.
fn run(command: Command) -> Result<Vec<String>, Failure> {
    match command {
        Command::Migrate { to } => block_on(migrate::migrate(&settings::load()?, to)),
        Command::Admin(Admin::Create { email, password_file }) => {
            let config = settings::load()?;
            let password = admin::password(password_file.as_deref())?;
            block_on(admin::create(&config, &email, &password))
        }
        Command::Sessions(Sessions::Revoke(whose)) => block_on(sessions::revoke(&settings::load()?, whose)),
        Command::Keys(asked) => block_on(keys::keys(&settings::load()?, asked)),
        Command::Config(Settings::Check) => settings::check(),
        Command::Config(Settings::Schema) => Ok(vec![settings::schema()]),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?.block_on(work)
}

/// Prints without the panic of `println!` where the reader has gone (`authv2 config schema | head`).
fn print(lines: &[String], code: ExitCode) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    if written.is_ok() { code } else { ExitCode::FAILURE }
}
