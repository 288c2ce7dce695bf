//! How long an answer is good, by what it says itself (RFC 9111 section 5.2.2).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// How long an answer is good that does not say.
const UNSAID: Duration = Duration::from_secs(300);

/// How long an answer is good, between the least and the most.
pub(super) fn lifetime(headers: &HeaderMap, least: Duration, most: Duration) -> Duration {
    said(headers).unwrap_or(UNSAID).max(least).min(most)
}

/// What the answer says of itself; nothing in it that cannot be read counts.
fn said(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut max_age = None;
    for directive in directives {
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            // The least of several (section 4.2.1), and what is too large for a number is just large.
            let seconds = seconds.trim_matches('"');
            let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
            let read = if is_number { seconds.parse().unwrap_or(u64::MAX) } else { 0 };
            max_age = Some(max_age.map_or(read, |known: u64| known.min(read)));
        }
    }
    let age = headers.get(header::AGE).and_then(number).unwrap_or(0);
    max_age.map(|max_age| Duration::from_secs(max_age.saturating_sub(age)))
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(fields: &[(&'static str, &'static str)]) -> u64 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        lifetime(&headers, Duration::from_secs(60), Duration::from_secs(3600)).as_secs()
    }

    #[test]
    fn a_lifetime_is_what_the_issuer_says_within_bounds() {
        assert_eq!(seconds(&[]), 300);
        for (value, wanted) in [
            ("max-age=600", 600),
            ("public, MAX-AGE=600, must-revalidate", 600),
            ("max-age=1", 60),
            ("max-age=0", 60),
            ("max-age=86400", 3600),
            ("max-age=99999999999999999999999", 3600),
            ("max-age=\"600\"", 600),
            ("max-age=-5", 60),
            ("max-age=x", 60),
            ("max-age=900, max-age=600", 600),
            ("no-store", 60),
            ("no-cache, max-age=600", 60),
            ("s-maxage=7", 300),
            ("", 300),
        ] {
            assert_eq!(seconds(&[("cache-control", value)]), wanted, "{value}");
        }
        assert_eq!(seconds(&[("cache-control", "max-age=600"), ("age", "200")]), 400);
        assert_eq!(seconds(&[("cache-control", "max-age=600"), ("age", "900")]), 60);
        assert_eq!(seconds(&[("cache-control", "public"), ("cache-control", "max-age=601")]), 601);
    }
}
