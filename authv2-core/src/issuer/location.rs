//! Where an issuer may be asked: https, or, in development, plain http on this machine.

use std::net::IpAddr;

use http::{Uri, uri::Authority};

/// The text is no URL that an issuer may be asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an https URL without user name and fragment")]
pub struct InvalidLocation;

/// A URL to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    uri: Uri,
    host: String,
    port: u16,
    is_tls: bool,
}

impl Location {
    /// Reads an https URL; with `allows_loopback` also one with http whose host is this machine, by its name
    /// `localhost` or its address.
    ///
    /// # Errors
    /// [`InvalidLocation`].
    pub fn parse(url: &str, allows_loopback: bool) -> Result<Self, InvalidLocation> {
        // `Uri` would drop a fragment in silence.
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['#', '\\', '"', '<', '>']) {
            return Err(InvalidLocation);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidLocation)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(InvalidLocation)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(InvalidLocation);
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if allows_loopback && is_loopback(&host) => false,
            _ => return Err(InvalidLocation),
        };
        let port = port(authority)?.unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host, port, is_tls, uri })
    }

    /// The two places where an issuer's metadata may be: of OpenID Connect Discovery (section 4), which adds to the
    /// issuer, and of RFC 8414 (section 3.1), which puts it between host and path.
    #[must_use]
    pub fn well_known(issuer: &str, allows_loopback: bool) -> Vec<Self> {
        let issuer = issuer.trim_end_matches('/');
        let origin_end = issuer.find("://").and_then(|at| {
            let rest = at + 3;
            issuer.get(rest..)?.find('/').map(|slash| rest + slash)
        });
        let (origin, path) = origin_end.and_then(|end| issuer.split_at_checked(end)).unwrap_or((issuer, ""));
        [
            format!("{issuer}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
        ]
        .iter()
        .filter_map(|url| Self::parse(url, allows_loopback).ok())
        .collect()
    }

    /// The host to connect to: a name or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// What stands in the request line.
    pub(super) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// What stands in the field `Host`.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or(self.host.as_str(), Authority::as_str)
    }
}

/// A port that is written must be one.
fn port(authority: &Authority) -> Result<Option<u16>, InvalidLocation> {
    let after_host = authority.as_str().get(authority.host().len()..).ok_or(InvalidLocation)?;
    match after_host.strip_prefix(':') {
        None if after_host.is_empty() => Ok(None),
        Some(port) => port.parse().map(Some).map_err(|_| InvalidLocation),
        None => Err(InvalidLocation),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_https_and_refuses_what_could_lead_elsewhere() {
        let location = Location::parse("https://idp.example:8443/realms/shop?x=1", false).unwrap();
        assert_eq!((location.host(), location.port(), location.is_tls()), ("idp.example", 8443, true));
        assert_eq!((location.path_and_query(), location.authority()), ("/realms/shop?x=1", "idp.example:8443"));
        assert_eq!(Location::parse("https://[2001:db8::1]/x", false).unwrap().host(), "2001:db8::1");
        for url in [
            "",
            "idp.example",
            "/keys",
            "http://idp.example/keys",
            "http://127.0.0.1/keys",
            "ftp://idp.example/keys",
            "file:///etc/passwd",
            "https://user:word@idp.example/keys",
            "https://user@idp.example/keys",
            "https://idp.example/keys#x",
            "https://idp.example:99999/keys",
            "https://idp.example:/keys",
            "https:///keys",
            "https://idp.example/a b",
            "https://idp.example\\@evil.example/",
        ] {
            assert_eq!(Location::parse(url, false), Err(InvalidLocation), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_where_that_is_allowed() {
        for url in ["http://localhost:1/", "http://127.0.0.1/", "http://127.9.9.9/", "http://[::1]:1/x"] {
            assert!(Location::parse(url, true).is_ok_and(|location| !location.is_tls()), "{url}");
        }
        for url in
            ["http://10.0.0.1/", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "http://0.0.0.0/"]
        {
            assert_eq!(Location::parse(url, true), Err(InvalidLocation), "{url}");
        }
    }

    #[test]
    fn metadata_are_at_two_well_known_places() {
        let places = |issuer| {
            let places = Location::well_known(issuer, false);
            places
                .iter()
                .map(|place| format!("https://{}{}", place.authority(), place.path_and_query()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            places("https://idp.example/realms/shop"),
            [
                "https://idp.example/realms/shop/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server/realms/shop",
            ]
        );
        assert_eq!(
            places("https://shop.auth0.com/"),
            [
                "https://shop.auth0.com/.well-known/openid-configuration",
                "https://shop.auth0.com/.well-known/oauth-authorization-server",
            ]
        );
    }
}
