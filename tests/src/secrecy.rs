//! Every secret that passes through the harness is remembered, and whatever a server under test leaves behind is looked
//! through for it: its log, and its database where that is a file. What looks like a secret counts as one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;

/// Under these names answers give what opens something.
const GIVEN: [&str; 8] =
    ["access_token", "refresh_token", "csrf_token", "secret", "ticket", "mfa_token", "otpauth_uri", "recovery_codes"];
/// Under these names requests bring it.
const BROUGHT: [&str; 5] = ["password", "current_password", "new_password", "client_secret", "token"];
/// What starts like this and goes on as long is one of ours: refresh tokens, cookies, API keys, links in mails.
const SHAPES: [(&str, usize); 4] = [("avr_", 43), ("avs_", 65), ("avk_", 70), ("avm_", 43)];
/// Anything shorter may stand somewhere by chance.
const SHORTEST: usize = 12;
/// So many of each kind are remembered: a load test makes more, which shape alone tells.
const MOST: usize = 2_000;

#[derive(Default)]
struct Secrets {
    given: HashSet<String>,
    brought: HashSet<String>,
}

static SECRETS: LazyLock<Mutex<Secrets>> = LazyLock::new(Mutex::default);

fn remember(of: fn(&mut Secrets) -> &mut HashSet<String>, secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = of(&mut secrets);
    if secret.len() >= SHORTEST && known.len() < MOST {
        known.insert(secret.to_owned());
    }
}

/// Remembers what an answer gives.
pub(crate) fn note_given(headers: &HeaderMap, body: &Value) {
    for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()) {
        let pair = cookie.split(';').next().unwrap_or_default();
        remember(|secrets| &mut secrets.given, pair.split_once('=').map_or("", |(_, value)| value));
    }
    texts_under(&GIVEN, body, &mut |secret| remember(|secrets| &mut secrets.given, secret));
}

/// Remembers the token of a mail's link.
pub(crate) fn note_link(token: &str) {
    remember(|secrets| &mut secrets.given, token);
}

/// Remembers what a request brings. An e-mail tried as a password is no secret.
pub(crate) fn note_brought(body: &Value) {
    texts_under(&BROUGHT, body, &mut |secret| {
        if !secret.contains('@') {
            remember(|secrets| &mut secrets.brought, secret);
        }
    });
}

fn texts_under(names: &[&str], value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if names.contains(&name.as_str()) => found(text),
                    Value::Array(texts) if names.contains(&name.as_str()) => {
                        texts.iter().filter_map(Value::as_str).for_each(&mut *found);
                    }
                    member => texts_under(names, member, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts_under(names, value, found)),
        _ => {}
    }
}

/// Makes sure that a text tells none of the secrets, as an error or an event would.
///
/// # Panics
/// When it does.
pub(crate) fn expect_untold(text: &str) {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let told = secrets.told_by(text.as_bytes(), true);
    assert!(told.is_empty(), "{told:?} is told by {text}");
}

/// What a server's directory tells of secrets: one line for each place, empty if nothing.
pub(crate) fn told_in(directory: &Path) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut told = String::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_log = Path::new(&name).extension().is_some_and(|extension| extension == "log");
        if !is_log && !name.starts_with("authv2.db") {
            continue;
        }
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        // What the quickstart greets with are examples for people to try, and tests try them too.
        for secret in secrets.told_by(&bytes, name != "stdout.log") {
            // Writing to a `String` cannot fail.
            let _ = writeln!(told, "{name} tells {secret}");
        }
        if let Some(shaped) = shaped_like_one(&String::from_utf8_lossy(&bytes)) {
            let _ = writeln!(told, "{name} tells what looks like a secret: {shaped}");
        }
    }
    told
}

impl Secrets {
    /// Those of them that stand in `bytes`, in one pass over it: by their first bytes.
    fn told_by(&self, bytes: &[u8], also_brought: bool) -> BTreeSet<&str> {
        let brought = self.brought.iter().filter(|_| also_brought);
        let mut by_beginning: HashMap<&[u8], Vec<&str>> = HashMap::new();
        for secret in self.given.iter().chain(brought) {
            by_beginning.entry(secret.as_bytes().get(..SHORTEST).unwrap_or_default()).or_default().push(secret);
        }
        let mut told = BTreeSet::new();
        for (at, beginning) in bytes.windows(SHORTEST).enumerate().filter(|_| !by_beginning.is_empty()) {
            let candidates = by_beginning.get(beginning).into_iter().flatten();
            let rest = bytes.get(at..).unwrap_or_default();
            told.extend(candidates.copied().filter(|secret| rest.starts_with(secret.as_bytes())));
        }
        told
    }
}

/// The first text that has the shape of a secret: one of ours, or a signed token (RFC 7515).
fn shaped_like_one(text: &str) -> Option<&str> {
    let run = |from: usize, also: char| {
        let rest = text.get(from..).unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == also;
        rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or_default()
    };
    let ours = SHAPES.iter().find_map(|(prefix, length)| {
        text.match_indices(prefix).map(|(at, _)| run(at, '_')).find(|found| found.len() >= prefix.len() + length)
    });
    ours.or_else(|| {
        let tokens = text.match_indices("eyJ").map(|(at, _)| run(at, '.'));
        let is_signed = |found: &&str| {
            let parts: Vec<_> = found.split('.').collect();
            matches!(parts[..], [header, claims, signature] if header.len() > 20 && claims.len() > 40 && signature.len() > 40)
        };
        tokens.into_iter().find(is_signed)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_was_given_and_what_looks_like_it() {
        let directory = tempfile::tempdir().unwrap();
        note_given(
            &HeaderMap::new(),
            &json!({"api_key": {"name": "a name that is long"}, "secret": "opens-a-door-for-me"}),
        );
        note_brought(&json!({"password": "a password of somebody"}));
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("stderr.log", "INFO a name that is long; avr_short; eyJhbGciOiJub25lIn0.eyJ9.");
        assert_eq!(told_in(directory.path()), "");
        write("stdout.log", "opens-a-door-for-me");
        write("authv2.db", "opens-a-door-for-me");
        write("other.txt", "opens-a-door-for-me");
        write("stderr.log", &format!("a password of somebody token=avr_{},", "x".repeat(43)));
        let told = told_in(directory.path());
        let mut lines: Vec<_> = told.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 4, "{told}");
        assert_eq!(lines[..2], ["authv2.db tells opens-a-door-for-me", "stderr.log tells a password of somebody"]);
        assert!(lines[2].starts_with("stderr.log tells what looks like a secret: avr_xxx"), "{told}");
        assert_eq!(lines[3], "stdout.log tells opens-a-door-for-me");
    }
}
