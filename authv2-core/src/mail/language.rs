//! The language that a client likes best.

/// The tag of the greatest weight in `Accept-Language` (RFC 9110 section 12.5.4), the first of them where several have
/// it. None where every language is as good, or the header cannot be read.
pub(crate) fn preferred_language<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut best: Option<(&str, u16)> = None;
    for range in values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|value| value.split(',')) {
        let (tag, weight) = match range.split_once(';') {
            Some((tag, parameter)) => (tag.trim(), weight(parameter.trim())),
            None => (range.trim(), Some(1000)),
        };
        let Some(weight) = weight.filter(|weight| *weight > 0) else { continue };
        if is_tag(tag) && best.is_none_or(|(_, most)| weight > most) {
            best = Some((tag, weight));
        }
    }
    best.map(|(tag, _)| tag.to_ascii_lowercase())
}

/// A weight in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, rest) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{rest:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Letters and digits in parts of one to eight, the first of letters alone (RFC 5646 section 2.1).
fn is_tag(tag: &str) -> bool {
    tag.len() <= 35
        && tag
            .split('-')
            .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        && tag.split('-').next().is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_greatest_weight_and_of_those_the_first() {
        for (header, tag) in [
            ("de", Some("de")),
            ("de-CH, en;q=0.8", Some("de-ch")),
            ("en;q=0.8, fr ; q=0.9, de;q=0.9", Some("fr")),
            ("*", None),
            ("*, da;q=0.1", Some("da")),
            ("de;q=0", None),
            ("de;q=2, fr;q=0.1234, it;q=1.1, es;level=1", None),
            ("../../etc, 12, a-123456789", None),
            ("", None),
        ] {
            assert_eq!(preferred_language([header.as_bytes()].into_iter()).as_deref(), tag, "{header}");
        }
    }
}
