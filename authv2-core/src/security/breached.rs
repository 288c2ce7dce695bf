//! Passwords known from breaches: whether one is among them.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use aws_lc_rs::digest;

/// Nobody knows whether a password was breached.
#[derive(Debug, thiserror::Error)]
#[error("breached passwords cannot be looked up: {0}")]
pub struct LookupError(#[source] io::Error);

impl LookupError {
    /// For whoever looks elsewhere.
    #[must_use]
    pub fn new(source: io::Error) -> Self {
        Self(source)
    }
}

/// Knows breached passwords. Asked after a right password only, so that nobody can try a list out with it.
#[async_trait]
pub trait BreachedPasswords: Send + Sync + fmt::Debug {
    /// Whether a password with this SHA-1 is among them. The hash of a password is as secret as the password: it belongs
    /// in no log, and to no service elsewhere but by a part of it (k-anonymity).
    ///
    /// # Errors
    /// [`LookupError`]: the sign-in goes on, and nothing is said of the password.
    async fn contains(&self, sha1: &[u8; 20]) -> Result<bool, LookupError>;
}

/// The SHA-1 of a password, as lists of breached ones have it.
pub(crate) fn sha1_of(password: &str) -> [u8; 20] {
    let mut hash = [0; 20];
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

/// A local file of SHA-1 hashes in hexadecimal digits, one a line, ordered, each perhaps with `:` and a count behind it:
/// what Have I Been Pwned offers for download. It is searched where it lies, in some forty short reads.
#[derive(Debug, Clone)]
pub struct BreachedFile(PathBuf);

/// The digits of a hash.
const DIGITS: usize = 40;
/// The longest line that is understood.
const LINE_MAX: usize = 64;

impl BreachedFile {
    /// The file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or its first line is no hash.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut file = File::open(&path)?;
        match line_at(&mut file, 0)? {
            Some((_, hash)) if hash.iter().all(u8::is_ascii_hexdigit) => Ok(Self(path)),
            _ => Err(not_a_list()),
        }
    }
}

#[async_trait]
impl BreachedPasswords for BreachedFile {
    async fn contains(&self, sha1: &[u8; 20]) -> Result<bool, LookupError> {
        let (path, sha1) = (self.0.clone(), *sha1);
        let searched = tokio::task::spawn_blocking(move || search(&path, &sha1)).await;
        searched.unwrap_or_else(|_| Err(io::Error::other("the search was given up"))).map_err(LookupError)
    }
}

fn search(path: &Path, sha1: &[u8; 20]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut wanted = [0; DIGITS];
    for (digit, place) in wanted.iter_mut().enumerate() {
        let byte = sha1.get(digit / 2).copied().unwrap_or_default();
        let nibble = if digit % 2 == 0 { byte >> 4 } else { byte & 15 };
        *place = char::from_digit(nibble.into(), 16).map_or(b'0', |c| c.to_ascii_uppercase() as u8);
    }
    // The first line that begins at `low` or later is not before the wanted one; the one that begins at `high` or later
    // is not before it, or there is none.
    let (mut low, mut high) = (0, file.metadata()?.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match line_at(&mut file, middle)? {
            Some((start, hash)) if start < high => match hash.cmp(&wanted) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => low = start + DIGITS as u64,
                std::cmp::Ordering::Greater => high = middle,
            },
            _ => high = middle,
        }
    }
    Ok(false)
}

/// The first line that begins at `offset` or later: where, and its hash in upper case.
fn line_at(file: &mut File, offset: u64) -> io::Result<Option<(u64, [u8; DIGITS])>> {
    // A line begins at the offset if the one before it ends there.
    let from = offset.saturating_sub(1);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::with_capacity(2 * LINE_MAX);
    file.take(2 * LINE_MAX as u64).read_to_end(&mut bytes)?;
    let skipped = if offset == 0 {
        0
    } else {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None => return Ok(None),
        }
    };
    // Empty lines at the end are the end.
    let Some(rest) = bytes.get(skipped..).filter(|rest| !rest.trim_ascii().is_empty()) else { return Ok(None) };
    let mut hash = [0; DIGITS];
    let digits = rest.get(..DIGITS).ok_or_else(not_a_list)?;
    if !matches!(rest.get(DIGITS), None | Some(b':' | b'\n' | b'\r')) {
        return Err(not_a_list());
    }
    for (to, from) in hash.iter_mut().zip(digits) {
        *to = from.to_ascii_uppercase();
    }
    Ok(Some((from + skipped as u64, hash)))
}

fn not_a_list() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it holds no SHA-1 hashes, one a line")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    struct Written(PathBuf);

    impl Drop for Written {
        fn drop(&mut self) {
            // What stays in the temporary directory harms nobody.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn hex(hash: &[u8; 20]) -> String {
        hash.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02X}").unwrap();
            text
        })
    }

    fn written(content: &str) -> Written {
        let path = std::env::temp_dir().join(format!("authv2-breached-{}", uuid::Uuid::now_v7()));
        std::fs::write(&path, content).unwrap();
        Written(path)
    }

    #[tokio::test]
    async fn finds_what_is_in_the_file_and_nothing_else() {
        for end in ["\n", "\r\n", ":1\n", ":12345678\r\n"] {
            let mut hashes: Vec<_> = (0..200).map(|n| hex(&sha1_of(&format!("password{n}")))).collect();
            hashes.sort();
            let file = written(&hashes.iter().map(|hash| format!("{hash}{end}")).collect::<String>());
            let list = BreachedFile::open(&file.0).unwrap();
            for n in 0..400 {
                let found = list.contains(&sha1_of(&format!("password{n}"))).await.unwrap();
                assert_eq!(found, n < 200, "{n} {end:?}");
            }
        }
    }

    #[test]
    fn knows_a_hash_that_everybody_can_look_up() {
        assert_eq!(hex(&sha1_of("password")), "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
    }

    #[test]
    fn refuses_a_file_of_something_else() {
        for content in ["", "hello\n", "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8AA\n"] {
            let file = written(content);
            assert!(BreachedFile::open(&file.0).is_err(), "{content:?}");
        }
        assert!(BreachedFile::open("/nowhere/at/all").is_err());
    }
}
