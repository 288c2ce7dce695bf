//! Whom mails are from.

use crate::user::email::Email;

/// Whom mails are from: an address, and the name that is shown with it.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The name; none to show the address alone.
    pub name: Option<String>,
    /// The address.
    pub address: Email,
}

impl Sender {
    /// Reads `address`, or `Name <address>`. None if it is neither, or could break out of a header.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.chars().any(char::is_control) {
            return None;
        }
        let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.split_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"')).filter(|name| !name.is_empty()), address),
            None => (None, text.trim()),
        };
        let address = Email::parse(address).ok()?;
        Some(Self { name: name.map(str::to_owned), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_with_or_without_a_name() {
        let read = |text| Sender::parse(text).map(|sender| (sender.name, sender.address.as_str().to_owned()));
        let named = Some((Some("Ada & Co.".to_owned()), "ada@example.org".to_owned()));
        assert_eq!(read("Ada & Co. <ada@example.org>"), named);
        assert_eq!(read("\"Ada & Co.\" <ada@example.org>"), named);
        assert_eq!(read(" ada@example.org "), Some((None, "ada@example.org".to_owned())));
        assert_eq!(read("<ada@example.org>"), Some((None, "ada@example.org".to_owned())));
        for refused in ["", "Ada", "Ada <ada>", "Ada\r\nBcc: <ada@example.org>", "<a@b.org> <c@d.org>"] {
            assert_eq!(read(refused), None, "{refused:?}");
        }
    }
}
