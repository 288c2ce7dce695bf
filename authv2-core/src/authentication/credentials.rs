//! What a request presents: read from its head once, for every adapter, and judged for form only.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::{AuthenticationService, TokenType, csrf};
use crate::{
    api_key::{PREFIX, ParsedKey},
    audit::Origin,
    client::client_ip,
    config::Origin as WebOrigin,
    error::{Code, Error, Result},
    id::RequestUuid,
    mail::preferred_language,
    secret::Secret,
    store::Proof,
};

/// The header that carries an API key.
pub(super) const API_KEY: &str = "x-api-key";
/// What the client says it is.
pub(super) const USER_AGENT: &str = "user-agent";
/// The languages that the client likes.
const ACCEPT_LANGUAGE: &str = "accept-language";
/// The header that names the request.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// The header in which a cookie client says which tenant it believes to be in.
pub(super) const BELIEVED_ORGANIZATION: &str = "x-authv2-organization";

/// The header in which a request sends back the revision that a write answered with.
pub(crate) const REVISION: &str = "x-authv2-revision";

/// The head of a request, whatever framework it came through.
pub trait RequestHead {
    /// The method, as on the wire.
    fn method(&self) -> &str;

    /// The path of its target, as on the wire and without a query; `/` for an empty one.
    fn path(&self) -> &str;

    /// The values of a header (its name in lower case), in order.
    fn header_values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]>;

    /// All header lines, where their names are known in lower case: those of one name in order. Going through them once
    /// costs less than asking for each name. None by default, and then each name is asked for.
    fn header_lines(&self) -> Option<impl Iterator<Item = (&str, &[u8])>> {
        None::<std::iter::Empty<_>>
    }

    /// The address of the connection's other end, where the server knows it.
    fn peer(&self) -> Option<IpAddr>;
}

/// The address of the connection's other end, as a request extension: adapters put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The id of a request, as a request extension: whoever sees the request first puts it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's id if it is 1 to 128 of `A-Za-z0-9._-`, else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).map(header::HeaderValue::as_bytes).and_then(request_id);
        Self(given.unwrap_or_else(|| RequestUuid::new().to_string()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn request_id(value: &[u8]) -> Option<String> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=128).contains(&value.len()) && value.iter().all(allowed);
    fits.then(|| String::from_utf8_lossy(value).into_owned())
}

/// The values of a header. The names that every request is asked for are at hand: looking them up reads no text.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    static KEY: HeaderName = HeaderName::from_static(API_KEY);
    static SENT_REVISION: HeaderName = HeaderName::from_static(REVISION);
    static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let values = match name {
        "authorization" => headers.get_all(header::AUTHORIZATION),
        "cookie" => headers.get_all(header::COOKIE),
        USER_AGENT => headers.get_all(header::USER_AGENT),
        API_KEY => headers.get_all(&KEY),
        REVISION => headers.get_all(&SENT_REVISION),
        "x-forwarded-for" => headers.get_all(&FORWARDED_FOR),
        name => headers.get_all(name),
    };
    values.iter().map(header::HeaderValue::as_bytes)
}

#[inline]
fn lines(headers: &HeaderMap) -> Option<impl Iterator<Item = (&str, &[u8])>> {
    Some(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

impl RequestHead for http::request::Parts {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn header_values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        values(&self.headers, name)
    }

    fn header_lines(&self) -> Option<impl Iterator<Item = (&str, &[u8])>> {
        lines(&self.headers)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.extensions.get::<Peer>().map(|peer| peer.0.ip())
    }
}

impl<B> RequestHead for http::Request<B> {
    fn method(&self) -> &str {
        self.method().as_str()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn header_values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        values(self.headers(), name)
    }

    fn header_lines(&self) -> Option<impl Iterator<Item = (&str, &[u8])>> {
        lines(self.headers())
    }

    fn peer(&self) -> Option<IpAddr> {
        self.extensions().get::<Peer>().map(|peer| peer.0.ip())
    }
}

/// What a request presents.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) credential: Credential,
    /// The consistency token: what is decided must be at least as new as it says.
    pub(super) revision: Option<Vec<u8>>,
    /// Where it comes from.
    pub(super) origin: Origin,
}

/// The one credential that a request presents.
#[derive(Debug)]
pub(super) enum Credential {
    /// None.
    Missing,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: DPoP`, with the proof that came with it, which is good for this request and not yet used up.
    Dpop { token: Secret, proof: Proof },
    /// An API key, in a header of its own or as a bearer token.
    ApiKey(ParsedKey),
    /// An explicit credential of a form that this deployment does not take.
    Unacceptable,
    /// The session cookie, with what a forged request could not have sent.
    Cookie { secret: Secret, checks: CookieChecks },
}

/// What must hold for a request by cookie, besides the cookie.
#[derive(Debug)]
pub(super) struct CookieChecks {
    /// For an unsafe method: the token sent in the header, if it equals the one in the cookie.
    pub(super) csrf: Option<Option<Secret>>,
    /// The organization that the page believes to be in.
    pub(super) believed_organization: Option<String>,
}

impl AuthenticationService {
    /// Where a request came from, as sessions and audit entries remember it.
    pub fn origin<R: RequestHead + ?Sized>(&self, head: &R) -> Origin {
        let agent: Option<&[u8]> = head.header_values(USER_AGENT).next();
        Origin {
            ip: self.client_ip(head),
            user_agent: agent.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            request_id: head.header_values(REQUEST_ID).next().and_then(request_id),
            language: preferred_language(head.header_values(ACCEPT_LANGUAGE)),
            device: None,
        }
    }

    /// The same, with the device that the browser shows to be: for calls that somebody signs in with, or proves again who
    /// it is.
    pub(crate) fn origin_on_device<R: RequestHead + ?Sized>(&self, head: &R) -> Origin {
        let device = cookie(head, self.0.cookies.device_name()).and_then(|value| self.0.devices.read(value));
        Origin { device, ..self.origin(head) }
    }

    pub(super) fn client_ip<R: RequestHead + ?Sized>(&self, head: &R) -> Option<IpAddr> {
        let proxy = &self.0.config.proxy;
        let peer = head.peer()?;
        if proxy.trusted.is_empty() {
            // Nobody is believed: there is nothing to read.
            return Some(peer.to_canonical());
        }
        client_ip(Some(peer), head.header_values(proxy.header.as_str()), &proxy.trusted)
    }

    /// Reads what a request presents.
    ///
    /// # Errors
    /// [`Code::AmbiguousCredentials`] for two explicit ones, [`Code::CsrfFailed`] for a cookie with a foreign origin,
    /// [`Code::InvalidDpopProof`] or [`Code::UseDpopNonce`] for a token with a proof that is no good.
    pub(super) fn presented<R: RequestHead + ?Sized>(&self, head: &R) -> Result<Presented> {
        let revision: Option<&[u8]> = head.header_values(REVISION).next();
        Ok(Presented {
            credential: self.credential(head)?,
            revision: revision.map(<[u8]>::to_vec),
            origin: self.origin(head),
        })
    }

    fn credential<R: RequestHead + ?Sized>(&self, head: &R) -> Result<Credential> {
        let mut authorizations = head.header_values("authorization");
        let mut keys = head.header_values(API_KEY);
        let explicit = (authorizations.next(), authorizations.next(), keys.next(), keys.next());
        match explicit {
            (None, _, None, _) => self.cookie_credential(head),
            (Some(authorization), None, None, _) => match token(authorization) {
                Some((TokenType::Bearer, token)) if token.starts_with(PREFIX) => Ok(by_key(token.as_bytes())),
                Some((TokenType::Bearer, token)) => Ok(Credential::Bearer(Secret::from(token))),
                Some((TokenType::Dpop, token)) => {
                    let proof = self.proof_with(head, token)?;
                    Ok(Credential::Dpop { token: Secret::from(token), proof })
                }
                None => Ok(Credential::Unacceptable),
            },
            (None, _, Some(key), None) => Ok(by_key(key)),
            _ => Err(Error::new(Code::AmbiguousCredentials, "send one credential, once")),
        }
    }

    fn cookie_credential<R: RequestHead + ?Sized>(&self, head: &R) -> Result<Credential> {
        let name = self.0.cookies.session_name();
        let Some(secret) = cookie(head, name).map(Secret::from) else { return Ok(Credential::Missing) };
        let csrf = is_unsafe(head.method()).then(|| {
            let sent: Option<&[u8]> = head.header_values(csrf::HEADER).next();
            let sent = sent.and_then(|value| std::str::from_utf8(value).ok()).map(Secret::from);
            sent.filter(|sent| cookie(head, csrf::COOKIE).is_some_and(|cookie| cookie == sent.expose()))
        });
        if csrf.is_some() || opens_a_channel(head) {
            self.refuse_foreign_origin(head)?;
        }
        let believed: Option<&[u8]> = head.header_values(BELIEVED_ORGANIZATION).next();
        let believed_organization =
            believed.filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(Credential::Cookie { secret, checks: CookieChecks { csrf, believed_organization } })
    }

    /// Refuses a request that another site's page made: a foreign `Origin`, or without one a cross-site
    /// `Sec-Fetch-Site`. Requests that no browser made carry neither.
    ///
    /// # Errors
    /// [`Code::CsrfFailed`].
    pub(crate) fn refuse_foreign_origin<R: RequestHead + ?Sized>(&self, head: &R) -> Result<()> {
        let mut origins = head.header_values("origin");
        let ours = match (origins.next(), origins.next()) {
            (None, _) => head.header_values("sec-fetch-site").all(|site| site != b"cross-site"),
            (Some(origin), None) => self.allows_origin(origin),
            _ => false,
        };
        if ours { Ok(()) } else { Err(Error::new(Code::CsrfFailed, "the request came from a page of another origin")) }
    }

    /// Whether pages of this origin may use the API.
    #[must_use]
    pub fn allows_origin(&self, origin: &[u8]) -> bool {
        let origin = std::str::from_utf8(origin).ok().and_then(|origin| origin.parse::<WebOrigin>().ok());
        let allowed = &self.0.config.allowed_origins;
        origin.is_some_and(|origin| {
            !origin.is_wildcard() && allowed.iter().any(|allowed| allowed.is_wildcard() || *allowed == origin)
        })
    }
}

/// Whether a method may change something (RFC 9110 section 9.2.1).
pub(super) fn is_unsafe(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Whether it asks for a WebSocket or an event stream: what a page of another site could read, were it let in.
fn opens_a_channel<R: RequestHead + ?Sized>(head: &R) -> bool {
    head.header_values("upgrade").any(|value| says(value, b"websocket"))
        || head.header_values("accept").any(accepts_events)
}

pub(super) fn accepts_events(accept: &[u8]) -> bool {
    says(accept, b"text/event-stream")
}

fn says(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// The token of an `Authorization` header, and the scheme that it came under.
fn token(value: &[u8]) -> Option<(TokenType, &str)> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let kind =
        [TokenType::Bearer, TokenType::Dpop].into_iter().find(|kind| scheme.eq_ignore_ascii_case(kind.as_str()))?;
    (!token.is_empty() && !token.contains([' ', ','])).then_some((kind, token))
}

/// What presents itself as an API key.
fn by_key(text: &[u8]) -> Credential {
    key_in(text).map_or(Credential::Unacceptable, Credential::ApiKey)
}

fn key_in(text: &[u8]) -> Option<ParsedKey> {
    ParsedKey::parse(std::str::from_utf8(text).ok()?)
}

/// The value of a cookie. The first one counts: it is the one set with the longest path.
pub(super) fn cookie<'a, R: RequestHead + ?Sized>(head: &'a R, name: &str) -> Option<&'a str> {
    head.header_values("cookie").find_map(|line| cookie_in(line, name))
}

/// The same, in one line.
pub(super) fn cookie_in<'a>(line: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(line).ok()?.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn takes_a_callers_request_id_only_if_it_is_harmless() {
        let id = |value: &'static str| {
            let request = Request::builder().header(REQUEST_ID, value).body(()).unwrap();
            RequestId::of(request.headers()).as_str().to_owned()
        };
        assert_eq!(id("abc-1.2_3"), "abc-1.2_3");
        assert_ne!(id("a b"), "a b");
        assert_ne!(id(""), "");
    }

    #[test]
    fn reads_a_token_of_either_scheme_and_refuses_everything_else() {
        assert!(matches!(token(b"bEaReR abc"), Some((TokenType::Bearer, "abc"))));
        assert!(matches!(token(b"dpop  abc "), Some((TokenType::Dpop, "abc"))));
        for wrong in
            [&b"Bearer"[..], b"Bearer ", b"Basic abc", b"Bearer a b", b"Bearer a,b", b"DPoP ", b"DPoPabc", b"\xff"]
        {
            assert!(token(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn finds_a_cookie_among_others() {
        let request = Request::builder().header("cookie", "a=1; authv2=x=y ; b=2").body(()).unwrap();
        assert_eq!(cookie(&request, "authv2"), Some("x=y"));
        assert!(cookie(&request, "auth").is_none());
    }
}
