//! The conformance shim's protocol: which command was asked for, and one answer a line. It decides nothing itself.

mod decisions;
mod limits;
mod passwords;
mod tokens;

use std::io::{self, BufRead, Write};

use authv2_core::{jwt::TrustError, user::password::hasher::HashError};
use serde_json::{Value, json};

/// The shim cannot start, or lost its input or output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// The command line names no command, or one that is not known.
    #[error("usage: shim jws-verify | jwt-verify --trust FILE | password-verify | authz-eval | gcra")]
    Usage,
    /// The default parameters make no hasher: a defect.
    #[error("passwords cannot be verified: {0}")]
    Hasher(#[from] HashError),
    /// The trust file, or a stream, cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The trust file is not what the shim's description says.
    #[error("the trust file is malformed: {0}")]
    TrustFile(#[from] serde_json::Error),
    /// The keys in the trust file cannot be trusted.
    #[error("the trust file's keys are not usable: {0}")]
    Trust(#[from] TrustError),
}

/// What to do with each line.
#[derive(Debug)]
pub enum Command {
    /// Verify signatures.
    JwsVerify,
    /// Verify tokens against a trust file.
    JwtVerify(tokens::Trust),
    /// Verify passwords against stored hashes.
    PasswordVerify(passwords::Verifier),
    /// Decide permissions.
    AuthzEval,
    /// Decide on requests against a rate limit.
    Gcra,
}

/// A line that the command cannot read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl From<&str> for Unreadable {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl Command {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// [`ShimError`] if it names no command, or its trust file cannot be used.
    pub fn parse(arguments: &[String]) -> Result<Self, ShimError> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["jws-verify"] => Ok(Self::JwsVerify),
            ["jwt-verify", "--trust", file] => Ok(Self::JwtVerify(tokens::Trust::read(&std::fs::read(file)?)?)),
            ["password-verify"] => Ok(Self::PasswordVerify(passwords::Verifier::new()?)),
            ["authz-eval"] => Ok(Self::AuthzEval),
            ["gcra"] => Ok(Self::Gcra),
            _ => Err(ShimError::Usage),
        }
    }

    fn answer(&mut self, line: &Value) -> Result<Value, Unreadable> {
        match self {
            Self::JwsVerify => tokens::verify_jws_line(line),
            Self::JwtVerify(trust) => trust.verify_line(line),
            Self::PasswordVerify(verifier) => verifier.verify_line(line),
            Self::AuthzEval => decisions::decide_line(line),
            Self::Gcra => limits::limit_line(line),
        }
    }
}

/// Answers each line of `input` with one of `output`, in order, written out at once; unreadable ones with an `error`.
///
/// # Errors
/// Only if a stream breaks.
pub fn answer_lines(command: &mut Command, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let answer = answer_line(command, &line);
        writeln!(output, "{answer}")?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}

fn answer_line(command: &mut Command, line: &[u8]) -> Value {
    let line: Value = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(_) => return json!({"id": null, "error": "not a line of JSON"}),
    };
    let id = line.get("id").cloned().unwrap_or(Value::Null);
    let mut answer = command.answer(&line).unwrap_or_else(|error| json!({"error": error.to_string()}));
    if let Some(members) = answer.as_object_mut() {
        members.insert("id".to_owned(), id);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_every_line_in_order_and_echoes_the_id_of_any_type() {
        let input = b"{\"id\":1,\"jwks\":{\"keys\":[]},\"jws\":\"a.b\"}\nnot json\n\xff\n\n[]\n{\"id\":[\"x\"]}\n\
            {\"id\":{\"a\":null},\"jwks\":{},\"jws\":{\"payload\":\"\"}}";
        let mut output = Vec::new();
        answer_lines(&mut Command::JwsVerify, input.as_slice(), &mut output).unwrap();
        let answers: Vec<Value> =
            String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers[0], json!({"id": 1, "valid": false, "reason": "not_compact"}));
        for answer in &answers[1..5] {
            assert_eq!(answer["id"], Value::Null);
            assert!(answer["error"].is_string());
        }
        assert_eq!(answers[5]["id"], json!(["x"]));
        assert!(answers[5]["error"].is_string());
        assert_eq!(answers[6]["id"], json!({"a": null}));
        assert_eq!(answers[6]["valid"], false);
        assert_eq!(answers.len(), 7);
    }

    #[test]
    fn refuses_unknown_commands() {
        for arguments in [
            &[][..],
            &["jws"],
            &["jwt-verify"],
            &["jws-verify", "x"],
            &["password-verify", "x"],
            &["authz-eval", "x"],
            &["gcra", "x"],
        ] {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            assert!(matches!(Command::parse(&arguments), Err(ShimError::Usage)), "{arguments:?}");
        }
    }
}
