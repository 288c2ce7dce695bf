//! The query parameters of a request; those that nobody asks for are ignored.

use std::{borrow::Cow, ops::RangeInclusive, str::FromStr};

use crate::{
    clock::Timestamp,
    error::{Error, FieldError, Result},
};

/// The parameters of a query, and what is wrong with those that were asked for.
#[derive(Debug)]
pub(super) struct Query<'a> {
    text: &'a str,
    problems: Vec<FieldError>,
}

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a http::Uri) -> Self {
        Self { text: uri.query().unwrap_or_default(), problems: Vec::new() }
    }

    /// A parameter's value, if it is there. One that is there twice, or is no text, is refused.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        let pairs = self.text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(key, _)| decode(key).as_deref() == Some(name)).map(|(_, value)| value);
        let (value, another) = (values.next()?, values.next());
        if another.is_some() {
            self.refuse(name, "repeated", "must be there once");
            return None;
        }
        let value = decode(value);
        if value.is_none() {
            self.refuse(name, "invalid_character", "must be UTF-8, percent-encoded, and without NUL");
        }
        value
    }

    /// A whole number within `range`, if it is there.
    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            self.refuse(name, "out_of_range", format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A value that is read further, if it is there. One that `T` refuses is a problem called `code`.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, code: &'static str) -> Option<T> {
        let parsed = self.text(name)?.parse().ok();
        if parsed.is_none() {
            self.refuse(name, code, "is not acceptable");
        }
        parsed
    }

    /// A moment (RFC 3339), if it is there. What is none is a problem called `code`.
    pub(super) fn moment(&mut self, name: &'static str, code: &'static str) -> Option<Timestamp> {
        let moment = self.text(name)?.parse::<jiff::Timestamp>().ok();
        if moment.is_none() {
            self.refuse(name, code, "must be a moment in RFC 3339");
        }
        moment.map(|moment| Timestamp::from_micros(moment.as_microsecond()))
    }

    /// Ends the reading: everything asked for must have been acceptable.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`](crate::Code::ValidationFailed) with every problem.
    pub(super) fn finish(self) -> Result<()> {
        if self.problems.is_empty() { Ok(()) } else { Err(Error::invalid(self.problems)) }
    }

    /// Adds a problem: for what only the caller can judge.
    pub(super) fn refuse(&mut self, name: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) {
        self.problems.push(FieldError::new(name, code, message));
    }
}

/// A component of an `application/x-www-form-urlencoded` query or body; none if it is no text.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+', '\0']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> http::Uri {
        format!("/x?{query}").parse().unwrap()
    }

    #[test]
    fn reads_what_is_asked_for_and_ignores_the_rest() {
        let uri = uri("limit=7&cursor=a%2Bb+c%C3%A9&other=%ff&flag");
        let mut query = Query::of(&uri);
        assert_eq!(query.number("limit", 1..=200), Some(7));
        assert_eq!(query.text("cursor").as_deref(), Some("a+b cé"));
        assert_eq!((query.text("flag").as_deref(), query.text("none")), (Some(""), None));
        query.finish().unwrap();
        Query::of(&"/x".parse().unwrap()).finish().unwrap();
    }

    #[test]
    fn tells_every_bad_parameter_at_once() {
        let uri = uri("limit=0&cursor=%zz&a=1&a=2&n=-1&m=%00&o=x&p=%4");
        let mut query = Query::of(&uri);
        query.number("limit", 1..=200);
        for name in ["cursor", "a", "m", "p"] {
            assert_eq!(query.text(name), None);
        }
        query.number("n", 0..=9);
        assert_eq!(query.parsed::<u8>("o", "invalid_o"), None);
        let refused = query.finish().unwrap_err();
        let problems: Vec<_> = refused.fields().iter().map(|problem| (problem.field.as_str(), problem.code)).collect();
        assert_eq!(
            problems,
            [
                ("limit", "out_of_range"),
                ("cursor", "invalid_character"),
                ("a", "repeated"),
                ("m", "invalid_character"),
                ("p", "invalid_character"),
                ("n", "out_of_range"),
                ("o", "invalid_o"),
            ]
        );
    }
}
