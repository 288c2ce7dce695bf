//! Whether a request brings a credential and nothing else to be looked at: found by going through its head once.

use super::{
    RequestHead,
    credentials::{API_KEY, BELIEVED_ORGANIZATION, REVISION, USER_AGENT, accepts_events, cookie, cookie_in, is_unsafe},
};
use crate::api_key::PREFIX;

/// A credential with nothing else to be looked at: no second one, no revision asked for, no proof, nothing that a page of
/// another site could have made the browser send.
pub(super) enum Mere<'a> {
    /// What came as a bearer token and is no API key.
    Token(&'a [u8]),
    /// What may be an API key.
    Key(&'a [u8]),
    /// The session cookie, on a request that changes nothing.
    Cookie(&'a str),
}

impl<'a> Mere<'a> {
    /// With what the client says it is.
    #[inline]
    pub(super) fn of<R: RequestHead + ?Sized>(head: &'a R, cookie_name: &str) -> Option<(Self, Option<&'a [u8]>)> {
        let Looked { authorization, key, cookies, user_agent, accept, forbids_any, forbids_cookie } = Looked::at(head);
        if forbids_any {
            return None;
        }
        let mere = match (authorization, key) {
            (Some(authorization), None) => {
                let (scheme, token) = authorization.split_at_checked(BEARER.len())?;
                if !scheme.eq_ignore_ascii_case(BEARER) {
                    return None;
                }
                if token.starts_with(PREFIX.as_bytes()) { Self::Key(token) } else { Self::Token(token) }
            }
            (None, Some(key)) => Self::Key(key),
            (None, None) => {
                let cookie = match cookies {
                    Cookies::One(line) => cookie_in(line, cookie_name),
                    Cookies::Several => cookie(head, cookie_name),
                    Cookies::None => None,
                };
                let is_mere = !forbids_cookie && !is_unsafe(head.method()) && !accept.is_some_and(accepts_events);
                Self::Cookie(cookie.filter(|_| is_mere)?)
            }
            (Some(_), Some(_)) => return None,
        };
        Some((mere, user_agent))
    }
}

/// What there is in a head, found by going through it once.
#[derive(Default)]
struct Looked<'a> {
    authorization: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    cookies: Cookies<'a>,
    user_agent: Option<&'a [u8]>,
    accept: Option<&'a [u8]>,
    /// There is something that takes a closer look, whatever the credential.
    forbids_any: bool,
    /// The same for a cookie.
    forbids_cookie: bool,
}

#[derive(Default)]
enum Cookies<'a> {
    #[default]
    None,
    /// All of them in one line.
    One(&'a [u8]),
    Several,
}

impl<'a> Looked<'a> {
    /// All that is looked at.
    const NAMES: [&'static str; 8] =
        ["authorization", API_KEY, REVISION, "cookie", USER_AGENT, "accept", "upgrade", BELIEVED_ORGANIZATION];

    #[inline]
    fn at<R: RequestHead + ?Sized>(head: &'a R) -> Self {
        let mut looked = Self::default();
        match head.header_lines() {
            Some(lines) => lines.for_each(|(name, value)| looked.see(name, value)),
            None => {
                for name in Self::NAMES {
                    head.header_values(name).for_each(|value| looked.see(name, value));
                }
            }
        }
        looked
    }

    #[inline]
    fn see(&mut self, name: &str, value: &'a [u8]) {
        match name {
            "authorization" => self.forbids_any |= self.authorization.replace(value).is_some(),
            API_KEY => self.forbids_any |= self.key.replace(value).is_some(),
            REVISION => self.forbids_any = true,
            "cookie" => {
                let is_first = matches!(self.cookies, Cookies::None);
                self.cookies = if is_first { Cookies::One(value) } else { Cookies::Several };
            }
            USER_AGENT => self.user_agent = self.user_agent.or(Some(value)),
            "accept" => self.forbids_cookie |= self.accept.replace(value).is_some(),
            "upgrade" | BELIEVED_ORGANIZATION => self.forbids_cookie = true,
            _ => {}
        }
    }
}

/// The scheme of a bearer token, and what parts it from the token.
const BEARER: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::Request;

    use super::*;

    /// A head that knows its headers by name alone.
    struct ByName(Request<()>);

    impl RequestHead for ByName {
        fn method(&self) -> &str {
            self.0.method().as_str()
        }

        fn path(&self) -> &str {
            "/"
        }

        fn header_values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
            self.0.header_values(name)
        }

        fn peer(&self) -> Option<IpAddr> {
            None
        }
    }

    fn found(method: &str, headers: &[(&str, &str)]) -> Option<(String, Option<String>)> {
        let request = || {
            let builder = Request::builder().method(method);
            let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
            builder.body(()).unwrap()
        };
        let told = |(mere, agent): (Mere<'_>, Option<&[u8]>)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mere = match mere {
                Mere::Token(token) => format!("token {}", text(token)),
                Mere::Key(key) => format!("key {}", text(key)),
                Mere::Cookie(cookie) => format!("cookie {cookie}"),
            };
            (mere, agent.map(text))
        };
        let (by_line, by_name) = (request(), ByName(request()));
        let by_line = Mere::of(&by_line, "authv2").map(told);
        assert_eq!(Mere::of(&by_name, "authv2").map(told), by_line, "{headers:?}");
        by_line
    }

    #[test]
    fn finds_the_one_credential_and_what_the_client_says_it_is() {
        for (headers, expected) in [
            (&[("authorization", "bEaReR abc"), ("accept", "text/event-stream")][..], "token abc"),
            (&[("authorization", "Bearer avk_live_x"), ("x-authv2-organization", "acme")], "key avk_live_x"),
            (&[("x-api-key", "avk_live_x"), ("cookie", "authv2=x")], "key avk_live_x"),
            (&[("cookie", "a=1; authv2=x=y "), ("accept", "*/*")], "cookie x=y"),
            (&[("cookie", "a=1"), ("cookie", "authv2=x"), ("cookie", "authv2=z")], "cookie x"),
        ] {
            assert_eq!(found("GET", headers), Some((expected.to_owned(), None)));
            let with_agents = [headers, &[("user-agent", "first"), ("user-agent", "second")]].concat();
            assert_eq!(found("GET", &with_agents), Some((expected.to_owned(), Some("first".to_owned()))));
        }
    }

    #[test]
    fn whatever_takes_a_closer_look_is_left_to_it() {
        for headers in [
            &[][..],
            &[("cookie", "a=1")],
            &[("authorization", "DPoP abc")],
            &[("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
            &[("authorization", "Bearer abc"), ("x-api-key", "avk_live_x")],
            &[("x-api-key", "avk_live_x"), ("x-api-key", "avk_live_x")],
            &[("authorization", "Bearer abc"), ("x-authv2-revision", "1")],
            &[("cookie", "authv2=x"), ("x-authv2-revision", "1")],
            &[("cookie", "authv2=x"), ("x-authv2-organization", "acme")],
            &[("cookie", "authv2=x"), ("upgrade", "WebSocket")],
            &[("cookie", "authv2=x"), ("accept", "a/b, Text/Event-Stream")],
            &[("cookie", "authv2=x"), ("accept", "*/*"), ("accept", "text/event-stream")],
        ] {
            assert_eq!(found("GET", headers), None, "{headers:?}");
        }
        assert_eq!(found("POST", &[("cookie", "authv2=x")]), None, "it changes something");
        assert!(found("POST", &[("authorization", "Bearer abc")]).is_some());
    }
}
