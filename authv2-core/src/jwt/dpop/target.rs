//! Whether a proof's `htu` leads to the request it came with, compared in normal form (RFC 9449 section 4.3, RFC 3986
//! section 6.2).

use crate::config::Origin;

/// Where clients reach this service: an origin, and the path before ours where a proxy takes one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    origin: Origin,
    prefix: String,
}

impl Base {
    /// The base that a URL names, an issuer's; none if it is no URL of a host.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let origin = Origin::of_url(url).ok()?;
        Some(Self { origin, prefix: path_of(url)?.trim_end_matches('/').to_owned() })
    }
}

impl From<Origin> for Base {
    fn from(origin: Origin) -> Self {
        Self { origin, prefix: String::new() }
    }
}

/// Whether `htu` is the address of `path` here. Its query and fragment do not count. A base with a prefix stands for
/// both, since what arrives here may have it still or no longer.
pub(super) fn leads_to(htu: &str, path: &str, bases: &[Base]) -> bool {
    let (Ok(origin), Some(theirs)) = (Origin::of_url(htu), path_of(htu)) else { return false };
    let theirs = normal_path(theirs);
    bases.iter().filter(|base| base.origin == origin).any(|base| {
        theirs == normal_path(path)
            || (!base.prefix.is_empty() && theirs == normal_path(&format!("{}{path}", base.prefix)))
    })
}

/// The path of a URL, without query and fragment.
fn path_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    Some(rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default())
}

/// One spelling for all equivalent ones: escapes in upper case and none of characters that need none, no dot segments,
/// and `/` for nothing (RFC 3986 sections 6.2.2 and 6.2.3). What is no escape stays as it is.
fn normal_path(path: &str) -> String {
    without_dot_segments(&normal_escapes(path))
}

fn normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        match after.split_at_checked(2).and_then(|(digits, after)| Some((byte_of(digits)?, after))) {
            Some((byte, after)) => {
                match char::from(byte) {
                    plain @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~') => normal.push(plain),
                    _ => normal.push_str(&format!("%{byte:02X}")),
                }
                rest = after;
            }
            None => {
                normal.push('%');
                rest = after;
            }
        }
    }
    normal.push_str(rest);
    normal
}

fn byte_of(digits: &str) -> Option<u8> {
    // `from_str_radix` would take a sign.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn without_dot_segments(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Vec<Base> {
        vec![
            Base::of_url("https://id.example.com/tenant").unwrap(),
            Base::of_url("http://127.0.0.1:8080").unwrap(),
            "https://api.example.com".parse::<Origin>().unwrap().into(),
        ]
    }

    #[test]
    fn every_spelling_of_the_address_leads_there() {
        for htu in [
            "https://id.example.com/auth/me",
            "https://id.example.com/tenant/auth/me",
            "HTTPS://ID.Example.COM:443/auth/me",
            "https://id.example.com/auth/me?a=b#c",
            "https://id.example.com/%61uth/me",
            "https://id.example.com/auth/./x/../me",
            "http://127.0.0.1:8080/auth/me",
            "https://api.example.com/auth/me",
        ] {
            assert!(leads_to(htu, "/auth/me", &bases()), "{htu}");
        }
        assert!(leads_to("https://api.example.com", "/", &bases()));
        assert!(leads_to("https://api.example.com?x", "/", &bases()));
        assert!(leads_to("https://api.example.com/a%2fb%c3%A9", "/a%2Fb%C3%a9", &bases()));
        assert!(leads_to("https://api.example.com/a%zz%", "/a%zz%", &bases()));
    }

    #[test]
    fn another_address_does_not() {
        for htu in [
            "https://id.example.com/auth/me/",
            "https://id.example.com/AUTH/me",
            "https://id.example.com//auth/me",
            "https://id.example.com/auth%2Fme",
            "https://id.example.com/other/auth/me",
            "http://id.example.com/auth/me",
            "https://id.example.com:8443/auth/me",
            "https://user@id.example.com/auth/me",
            "https://id.example.com.evil.example/auth/me",
            "https://evil.example/auth/me",
            "http://127.0.0.1/auth/me",
            "https://api.example.com/tenant/auth/me",
            "//id.example.com/auth/me",
            "/auth/me",
            "id.example.com/auth/me",
            "",
        ] {
            assert!(!leads_to(htu, "/auth/me", &bases()), "{htu}");
        }
        assert!(!leads_to("https://id.example.com/auth/me", "/auth/me", &[]));
    }

    #[test]
    fn paths_have_one_normal_form() {
        for (path, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/../../a", "/a"),
            ("/%7euser/%2e%2e/x", "/x"),
            ("/%2f%3a", "/%2F%3A"),
            ("/%", "/%"),
            ("/%+1", "/%+1"),
            ("/%4", "/%4"),
            ("/é%c3%a9", "/é%C3%A9"),
        ] {
            assert_eq!(normal_path(path), normal, "{path}");
        }
    }
}
