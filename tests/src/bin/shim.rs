//! The conformance shim: outside test vectors reach the library through it. JSON Lines in, one line out for each.
//!
//! ```text
//! cargo run -q -p authv2-tests --bin shim -- jws-verify < vectors.jsonl
//! cargo run -q -p authv2-tests --bin shim -- jwt-verify --trust trust.json < tokens.jsonl
//! cargo run -q -p authv2-tests --bin shim -- password-verify < hashes.jsonl
//! cargo run -q -p authv2-tests --bin shim -- authz-eval < decisions.jsonl
//! ```

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use authv2_tests::shim;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = shim::Command::parse(&arguments)
        .and_then(|mut command| Ok(shim::answer_lines(&mut command, io::stdin().lock(), io::stdout().lock())?));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "shim: {error}");
            ExitCode::from(2)
        }
    }
}
