//! The form of an entry in Redis: a header that scripts can read, then what is sealed.
//!
//! The header is the same in every version of this software, so that nodes of two versions agree on what is newer; the
//! first byte tells the form of what follows, so that they never misread each other.

use crate::clock::Timestamp;

/// The form of the values written here. To be raised with every change to what `records` writes.
const FORMAT: u8 = 2;
/// In place of a form: it was revoked.
const TOMBSTONE: u8 = b'T';
/// In place of a form: only what is at least as new as this may be written.
const MARK: u8 = b'M';

pub(super) const HEADER_BYTES: usize = 17;

/// Writes an entry (ARGV 1) unless a tombstone is there or one at least as new by version and time (ARGV 2 and 3);
/// ARGV 4 is its life in milliseconds. Answers 1 if it wrote.
///
/// Numbers are doubles in Lua: exact up to 2^53, which microseconds reach in the year 2255.
pub(super) const PUT: &str = r"
local there = redis.call('GETRANGE', KEYS[1], 0, 16)
if #there == 17 then
    local kind, version, at = struct.unpack('>Bi8i8', there)
    local mine, mine_at = tonumber(ARGV[2]), tonumber(ARGV[3])
    if kind == 84 or version > mine or (version == mine and at >= mine_at) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return 1
";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sealed value.
    Value,
    /// A value in a form of another version of this software.
    Foreign,
    /// It was revoked; nothing overwrites it.
    Tombstone,
    /// What was there is too old; nothing older overwrites it.
    Mark,
}

/// The beginning of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) version: i64,
    /// When the read from SQL that it comes from began.
    pub(super) read_at: Timestamp,
}

/// An entry as found.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) header: Header,
    /// What is sealed; empty for tombstones and marks.
    pub(super) payload: &'a [u8],
}

impl Header {
    /// The header as bytes: they are authenticated with the payload, so that nobody makes an entry newer than it is.
    pub(super) fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (kind, rest) = bytes.split_at_mut(1);
        let (version, read_at) = rest.split_at_mut(8);
        kind.copy_from_slice(&[match self.kind {
            Kind::Value | Kind::Foreign => FORMAT,
            Kind::Tombstone => TOMBSTONE,
            Kind::Mark => MARK,
        }]);
        version.copy_from_slice(&self.version.to_be_bytes());
        read_at.copy_from_slice(&self.read_at.as_micros().to_be_bytes());
        bytes
    }

    /// The whole entry.
    pub(super) fn with(&self, payload: &[u8]) -> Vec<u8> {
        [self.bytes().as_slice(), payload].concat()
    }
}

impl<'a> Entry<'a> {
    /// Nothing if it is too short to be an entry.
    pub(super) fn split(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (read_at, payload) = rest.split_first_chunk::<8>()?;
        let kind = match kind {
            FORMAT => Kind::Value,
            TOMBSTONE => Kind::Tombstone,
            MARK => Kind::Mark,
            _ => Kind::Foreign,
        };
        let read_at = Timestamp::from_micros(i64::from_be_bytes(*read_at));
        Some(Self { header: Header { kind, version: i64::from_be_bytes(*version), read_at }, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for kind in [Kind::Value, Kind::Tombstone, Kind::Mark] {
            let header = Header { kind, version: -7, read_at: Timestamp::from_micros(1_700_000_000_000_001) };
            let bytes = header.with(b"sealed");
            let entry = Entry::split(&bytes).unwrap();
            assert_eq!((entry.header, entry.payload), (header, b"sealed".as_slice()));
        }
    }

    #[test]
    fn a_form_of_another_version_is_foreign_and_a_fragment_is_nothing() {
        let mut bytes = Header { kind: Kind::Value, version: 1, read_at: Timestamp::from_micros(2) }.with(b"");
        bytes[0] = FORMAT + 1;
        assert_eq!(Entry::split(&bytes).unwrap().header.kind, Kind::Foreign);
        assert!(Entry::split(&bytes[..HEADER_BYTES - 1]).is_none());
    }
}
