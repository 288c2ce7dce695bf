//! Who is counted.

use std::{hash::Hasher, net::IpAddr};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;

use super::Policy;
use crate::{
    client::Network,
    id::{KeyId, OrgId},
    store::shared::LimitName,
};

/// Who is counted: each has a count of its own for each policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// An API key.
    ApiKey(OrgId, KeyId),
    /// Everybody in an organization.
    Organization(OrgId),
    /// A caller, by [`Principal::id`](crate::Principal::id).
    Caller(&'a str),
    /// An IPv4 address, or an IPv6 network of any length.
    Network(IpNet),
    /// All together.
    Everybody,
    /// Whatever an application tells apart.
    Other(&'a str),
}

impl Subject<'static> {
    /// The networks that an address is counted in, and how many times a limit the whole of each may have: an IPv4
    /// address; an IPv6 /64, with four times as much for the /56 around it and sixteen times for the /48, among which one
    /// customer can change at will.
    pub fn networks(ip: IpAddr) -> impl Iterator<Item = (Self, u32)> {
        let network = Network::of(ip);
        let wider = network.wider().map(Into::into).zip([4, 16]);
        std::iter::once((IpNet::from(network), 1)).chain(wider).map(|(network, times)| (Self::Network(network), times))
    }
}

impl Subject<'_> {
    /// Which kind of subject it is, as hashes have it.
    #[inline]
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::ApiKey(..) => 0,
            Self::Organization(_) => 1,
            Self::Caller(_) => 2,
            Self::Network(IpNet::V4(_)) => 3,
            Self::Network(IpNet::V6(_)) => 4,
            Self::Everybody => 5,
            Self::Other(_) => 6,
        }
    }

    /// What tells it from others of its kind.
    #[inline]
    pub(super) fn write<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::ApiKey(organization, key) => {
                hasher.write(organization.as_uuid().as_bytes());
                hasher.write(key.as_uuid().as_bytes());
            }
            Self::Organization(organization) => hasher.write(organization.as_uuid().as_bytes()),
            Self::Caller(text) | Self::Other(text) => {
                hasher.write(text.as_bytes());
            }
            Self::Network(IpNet::V4(network)) => {
                hasher.write(&network.addr().octets());
                hasher.write_u8(network.prefix_len());
            }
            Self::Network(IpNet::V6(network)) => {
                hasher.write(&network.addr().octets());
                hasher.write_u8(network.prefix_len());
            }
            Self::Everybody => {}
        }
    }

    /// What it is called in Redis: by a keyed hash, so that Redis learns no address. Who belongs to one organization
    /// meets in one slot.
    pub(super) fn shared_name(&self, policy: &Policy, names: &hmac::Key) -> LimitName {
        let (kind, value) = match self {
            Self::ApiKey(_, key) => ("key", key.to_string()),
            Self::Organization(organization) => ("organization", organization.to_string()),
            Self::Caller(id) => ("caller", (*id).to_owned()),
            Self::Network(network) => ("network", network.to_string()),
            Self::Everybody => ("everybody", String::new()),
            Self::Other(other) => ("other", (*other).to_owned()),
        };
        let Policy { name, rate, is_built_in } = policy;
        let ((requests, per, burst), name) = (rate.figures(), name.replace('\0', ""));
        // Only the last can hold a zero byte.
        let whole = format!("{name}\0{is_built_in} {requests}/{per}/{burst}\0{kind}\0{value}");
        let digest = hmac::sign(names, whole.as_bytes());
        let key = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default());
        let tag = match self {
            Self::ApiKey(organization, _) | Self::Organization(organization) => organization.to_string(),
            _ => key.clone(),
        };
        LimitName { tag, key }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::limit::Rate;

    #[test]
    fn an_organizations_limits_meet_in_one_slot_and_nobody_shares_a_name() {
        let names = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let (organization, key) = (OrgId::new(), KeyId::new());
        let rate = |requests, burst| Rate::new(requests, Duration::from_secs(60), Some(burst)).unwrap();
        let by = |subject: Subject<'_>, policy: Policy| subject.shared_name(&policy, &names);
        let name = |subject: Subject<'_>, policy| by(subject, Policy::new(policy, rate(5, 5)));
        let of_key = name(Subject::ApiKey(organization, key), "p");
        assert_eq!(of_key.tag, name(Subject::Organization(organization), "p").tag);
        let id = key.to_string();
        let others = [
            name(Subject::ApiKey(organization, key), "q"),
            name(Subject::Caller(&id), "p"),
            name(Subject::Other(&id), "p"),
            name(Subject::Network("192.0.2.1/32".parse().unwrap()), "p"),
            name(Subject::Everybody, "p"),
            by(Subject::ApiKey(organization, key), Policy::new("p", rate(6, 5))),
            by(Subject::ApiKey(organization, key), Policy::new("p", rate(5, 6))),
            by(Subject::ApiKey(organization, key), Policy::built_in("p", rate(5, 5))),
        ];
        let all: HashSet<_> = others.iter().chain([&of_key]).map(|name| &name.key).collect();
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|key| key.len() == 22));
    }

    #[test]
    fn an_address_counts_in_each_network_around_it() {
        let networks = |ip: &str| {
            let networks = Subject::networks(ip.parse().unwrap());
            networks.map(|(network, times)| format!("{network:?} {times}")).collect::<Vec<_>>()
        };
        assert_eq!(networks("::ffff:192.0.2.7"), ["Network(192.0.2.7/32) 1"]);
        assert_eq!(
            networks("2001:db8:1:2ff::9"),
            ["Network(2001:db8:1:2ff::/64) 1", "Network(2001:db8:1:200::/56) 4", "Network(2001:db8:1::/48) 16"]
        );
    }
}
