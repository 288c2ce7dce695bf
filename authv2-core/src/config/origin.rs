//! Web origins (RFC 6454), in the one spelling in which they can be compared.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use schemars::json_schema;

use super::setting::textual;

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an origin")]
pub struct InvalidOrigin;

/// A web origin (RFC 6454 section 6.2): scheme, host and port, normalised so that equal origins are equal text. The
/// scheme and host are in lower case, international names in their ASCII form, the scheme's default port left out.
///
/// `*` reads as the wildcard, which lets every site act with a visitor's cookie; the production profile refuses it.
/// `null` is refused: sandboxed pages of anybody send it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers write it in the `Origin` header, or `*`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this stands for every origin.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0 == "*"
    }

    /// Whether pages of this origin travel in the clear, so that anybody on the way can speak for it.
    #[must_use]
    pub fn is_cleartext(&self) -> bool {
        self.0.starts_with("http:") || self.0.starts_with("ws:")
    }

    /// The origin of a URL.
    ///
    /// # Errors
    /// [`InvalidOrigin`] when the URL has no scheme or host, or carries a user name.
    pub fn of_url(url: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidOrigin)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Self::of_parts(scheme, authority)
    }

    fn of_parts(scheme: &str, authority: &str) -> Result<Self, InvalidOrigin> {
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !is_scheme {
            return Err(InvalidOrigin);
        }
        let (host, port) = split_port(authority)?;
        let host = normal_host(host)?;
        let default = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        Ok(Self(match port.filter(|port| Some(*port) != default) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidOrigin> {
    // The colons inside the brackets of an IPv6 address separate no port.
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority.get(after_brackets..).and_then(|rest| rest.find(':')) else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at_checked(after_brackets + colon).ok_or(InvalidOrigin)?;
    let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit())).ok_or(InvalidOrigin)?;
    Ok((host, Some(digits.parse().map_err(|_| InvalidOrigin)?)))
}

fn normal_host(host: &str) -> Result<String, InvalidOrigin> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']').and_then(|a| a.parse().ok()).ok_or(InvalidOrigin)?;
        return Ok(format!("[{address}]"));
    }
    let host = idna::domain_to_ascii(host).map_err(|_| InvalidOrigin)?;
    // Underscores are no host names by RFC 1123, but container networks use them.
    let is_host = host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if is_host { Ok(host) } else { Err(InvalidOrigin) }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads an origin or `*`. A path, even a bare `/`, is refused: origins have none.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        Self::of_parts(scheme, authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.0)
    }
}

textual!(
    Origin,
    "an origin, as in `https://app.example.com`, without a path",
    |text| text.parse().ok(),
    |_| json_schema!({"type": "string", "examples": ["https://app.example.com"]}),
    Self::to_string
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_what_browsers_compare() {
        for (text, normal) in [
            ("HTTPS://App.Example.COM", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("https://app.example.com:80", "https://app.example.com:80"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://my_app:3000", "http://my_app:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), normal);
        }
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for text in [
            "",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?x",
            "https://example.com#x",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:+80",
            "https://example.com:99999",
            "https://*.example.com",
            "https://exa mple.com",
            "https://[::1",
            "1https://example.com",
            "**",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }

    #[test]
    fn takes_the_origin_of_a_url() {
        assert_eq!(Origin::of_url("https://id.example.com:443/tenant?x").unwrap().as_str(), "https://id.example.com");
        assert_eq!(Origin::of_url("https://user:word@id.example.com"), Err(InvalidOrigin));
    }
}
