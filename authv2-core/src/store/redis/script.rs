//! Scripts, and the names of the keys that they work on.

use std::{fmt, ops::Range};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, cmd};

use super::connect::Connection;

/// The name of a key: `prefix:kind:{tag}`, or `prefix:kind:{tag}:which` where several share a tag.
///
/// The braces make the tag alone decide the slot in a Cluster: names that share it can meet in one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    name: String,
    tag: Range<usize>,
}

impl Key {
    /// Neither prefix nor tag may hold a brace; settings see to the one, ids and base64 to the other.
    pub(super) fn new(prefix: &str, kind: &'static str, tag: &dyn fmt::Display) -> Self {
        let name = format!("{prefix}:{kind}:{{{tag}}}");
        let tag = prefix.len() + kind.len() + 3..name.len() - 1;
        Self { name, tag }
    }

    /// One of several that share a tag.
    pub(super) fn which(mut self, which: &str) -> Self {
        self.name.push(':');
        self.name.push_str(which);
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What decides the slot.
    pub(super) fn tag(&self) -> &str {
        self.name.get(self.tag.clone()).unwrap_or_default()
    }
}

/// A Lua script that a server runs as one step. It may ask the server's time (`TIME`): what a script wrote is
/// replicated by its effects.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    sha1: String,
}

/// One call of a script.
#[derive(Debug)]
pub(super) struct Call {
    by_hash: Cmd,
    in_full: Cmd,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        // The name that EVALSHA wants; nothing rests on its strength.
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        Self { source, sha1: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// A call on `keys`, which share a tag, with what `arguments` adds.
    pub(super) fn call(&self, keys: &[Key], arguments: impl Fn(&mut Cmd)) -> Call {
        let command = |name, script| {
            let mut command = cmd(name);
            command.arg(script).arg(keys.len());
            keys.iter().for_each(|key| {
                command.arg(key.name());
            });
            arguments(&mut command);
            command
        };
        Call { by_hash: command("EVALSHA", self.sha1.as_str()), in_full: command("EVAL", self.source) }
    }
}

impl Call {
    /// Runs the script; one that the server does not know (a new one, or after `SCRIPT FLUSH`) is sent in full.
    pub(super) async fn run<T: FromRedisValue>(&self, mut connection: Connection) -> RedisResult<T> {
        match connection.query(&self.by_hash).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.query(&self.in_full).await
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_kind_and_tag() {
        let key = Key::new("authv2", "member", &"a:b");
        assert_eq!((key.name(), key.tag()), ("authv2:member:{a:b}", "a:b"));
        let key = key.which("c");
        assert_eq!((key.name(), key.tag()), ("authv2:member:{a:b}:c", "a:b"));
    }

    #[test]
    fn names_a_script_by_its_sha1() {
        // `redis-cli script load 'return 1'`
        assert_eq!(Script::new("return 1").sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
