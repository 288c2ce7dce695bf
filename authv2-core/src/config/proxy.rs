//! Settings of the proxies in front.

use http::HeaderName;
use ipnet::IpNet;

use super::{Problem, Profile, problem::Problems, visitor::Visitor};

/// Whose word on the client's address counts.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// The networks of the proxies in front; none by default. Whoever is in one of them can claim any address, and so
    /// escape throttling and the address lists of keys: never list networks that clients are in. Production refuses
    /// `0.0.0.0/0` and `::/0`.
    pub trusted: Vec<IpNet>,
    /// The header in which they name the client; `x-forwarded-for` by default. Its right-most untrusted entry counts.
    pub header: HeaderName,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { trusted: Vec::new(), header: HeaderName::from_static("x-forwarded-for") }
    }
}

impl ProxyConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("proxy.trusted", "Networks of the proxies in front.", &mut self.trusted);
        visitor.setting("proxy.header", "The header in which they name the client.", &mut self.header);
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        if profile == Profile::Production && self.trusted.iter().any(|network| network.prefix_len() == 0) {
            problems.report(
                "proxy.trusted",
                Problem::RefusedInProduction("a network of all addresses lets every client claim any address"),
            );
        }
    }
}
