//! The parameters of a form (RFC 6749 appendix B). Those that nobody asks for are ignored.

use std::borrow::Cow;

use super::query::decode;
use crate::error::{Code, Error, Result};

/// The parameters of a form, in order.
#[derive(Debug)]
pub(super) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] if any of it is not UTF-8, badly percent-encoded, or has a NUL.
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let malformed = || Error::new(Code::MalformedRequest, "the form is not UTF-8, or badly percent-encoded");
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        pairs.collect::<Option<_>>().map(Self).ok_or_else(malformed)
    }

    /// A parameter, if it is there. One without a value counts as left out (RFC 6749 section 3.2).
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] if it is there twice.
    pub(super) fn optional(&self, name: &'static str) -> Result<Option<&str>> {
        let mut values = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let (value, another) = (values.next(), values.next());
        match another {
            Some(_) => Err(Error::new(Code::MalformedRequest, format!("`{name}` must be there once"))),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] if it is left out, or there twice.
    pub(super) fn required(&self, name: &'static str) -> Result<&str> {
        self.optional(name)?.ok_or_else(|| Error::new(Code::MalformedRequest, format!("`{name}` is required")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_asked_for_and_ignores_the_rest() {
        let form = Form::read(b"grant_type=refresh%5Ftoken&x=1&x=2&na%6de=a+b%2B&empty=&flag&&").unwrap();
        assert_eq!(form.required("grant_type").unwrap(), "refresh_token");
        assert_eq!(form.optional("name").unwrap(), Some("a b+"));
        for left_out in ["empty", "flag", "none"] {
            assert_eq!(form.optional(left_out).unwrap(), None, "{left_out}");
            assert_eq!(form.required(left_out).unwrap_err().code(), Code::MalformedRequest);
        }
    }

    #[test]
    fn refuses_a_parameter_twice_in_whatever_spelling() {
        for body in ["token=a&token=b", "token=a&token=", "token=a&%74oken=a"] {
            let refusal = Form::read(body.as_bytes()).unwrap().optional("token").unwrap_err();
            assert_eq!(refusal.code(), Code::MalformedRequest, "{body}");
        }
    }

    #[test]
    fn refuses_what_is_no_text() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"a=%00", b"a=\0", b"%ff=a", b"a=%+1"] {
            assert!(Form::read(body).is_err(), "{body:?}");
        }
    }
}
