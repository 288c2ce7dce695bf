//! Keeps one PostgreSQL and one Redis running for a whole test run: prints their addresses as `NAME=VALUE` lines, then
//! an empty line, and ends them when its standard input closes. A server that the environment names already is printed
//! as it is, and neither started nor ended.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use authv2_tests::{HarnessError, postgres, redis};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), HarnessError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| HarnessError::Io { what, source }
    };
    let postgres = postgres::Postgres::start()?;
    let redis = redis::Redis::start()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}={}\n{}={}\n", postgres::URL_VARIABLE, postgres.admin_url(), redis::URL_VARIABLE, redis.url())
        .and_then(|()| out.flush())
        .map_err(failed("printing the addresses"))?;
    drop(out);
    io::stdin().read_to_end(&mut Vec::new()).map(drop).map_err(failed("waiting for the run to end"))
}
