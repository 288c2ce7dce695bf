//! Where a page of a list ended, and how long pages are.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::{FieldError, Result},
};

/// How many rows a page has at most, and unless asked otherwise.
pub(super) const PAGE_MAX: u32 = 200;
pub(super) const PAGE_DEFAULT: u32 = 50;

/// When the last row of a page was made, and its id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor(pub(super) Timestamp, pub(super) Uuid);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.0.as_micros().to_be_bytes().to_vec();
        bytes.extend(self.1.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl std::str::FromStr for Cursor {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let refused = || FieldError::new("cursor", "invalid_cursor", "is not acceptable");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (micros, id) = bytes.split_first_chunk::<8>().ok_or_else(refused)?;
        let id = Uuid::from_slice(id).map_err(|_| refused())?;
        Ok(Self(Timestamp::from_micros(i64::from_be_bytes(*micros)), id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor(Timestamp::from_micros(1_760_000_000_000_001), Uuid::now_v7());
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        for bad in ["", "x", "!", &text[1..], &format!("{text}AAAA"), &format!("{text}=")] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
