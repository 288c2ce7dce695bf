//! Where and on what a session was opened, and whether a request comes from there.
//!
//! Networks are compared by the IPv4 /24 and the IPv6 /48, which a household or an office keeps; devices by system,
//! browser and kind, so that a new version is no new device. What is not known, differs from nothing.

use std::{hash::BuildHasher as _, net::IpAddr, sync::LazyLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::device::Device;
use crate::store::{ContextChange, SessionRecord};

/// How much of a `User-Agent` is kept and compared, in bytes.
const USER_AGENT_MAX: usize = 512;

/// A network and a device, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    network: Option<IpNet>,
    device: Option<Device>,
}

impl Context {
    /// What an address and a `User-Agent` tell.
    #[must_use]
    pub fn of(ip: Option<IpAddr>, user_agent: Option<&str>) -> Self {
        Self { network: ip.and_then(network_of), device: user_agent.and_then(device_of) }
    }

    /// What a session was opened in. Kept beside it, it spares later requests reading it anew.
    #[must_use]
    pub fn of_session(session: &SessionRecord) -> Self {
        let ip = session.ip.as_deref().and_then(|ip| ip.parse().ok());
        Self::of(ip, session.user_agent.as_deref())
    }

    /// How `now` differs from this, the context that a session was opened in.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Option<ContextChange> {
        let change =
            ContextChange { network: differ(self.network, now.network), device: differ(self.device, now.device) };
        (change.network || change.device).then_some(change)
    }

    /// How a request differs from this, the context that a session was opened in with `opened_with`. Its `User-Agent` is
    /// looked into only where there is a device to compare it with, and it is not the very text that the session was opened
    /// with. One that is no text says nothing.
    #[inline]
    pub(super) fn changed_by(
        &self,
        opened_with: Option<Agent>,
        ip: Option<IpAddr>,
        user_agent: Option<&[u8]>,
    ) -> Option<ContextChange> {
        let is_to_be_read = |agent: &&[u8]| {
            self.device.is_some() && (agent.len() > USER_AGENT_MAX || opened_with != Some(Agent::of(agent)))
        };
        match (ip, user_agent.filter(is_to_be_read)) {
            (None, None) => None,
            (ip, agent) => self.read(opened_with, ip, agent),
        }
    }

    fn read(&self, opened_with: Option<Agent>, ip: Option<IpAddr>, user_agent: Option<&[u8]>) -> Option<ContextChange> {
        let agent = user_agent.and_then(|agent| std::str::from_utf8(agent).ok()).map(beginning);
        let agent = agent.filter(|agent| opened_with != Some(Agent::of(agent.as_bytes())));
        self.changed(&Self::of(ip, agent))
    }
}

/// A `User-Agent` as sessions keep it, by a hash: it spares reading the text for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agent(u64);

impl Agent {
    #[inline]
    pub(super) fn of(user_agent: &[u8]) -> Self {
        static HASHES: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
        Self(HASHES.hash_one(user_agent))
    }
}

/// The first part of a `User-Agent`, without what a database refuses: as sessions keep it.
pub(super) fn kept_user_agent(user_agent: &str) -> String {
    beginning(user_agent).chars().filter(|c| !c.is_control()).collect()
}

fn beginning(user_agent: &str) -> &str {
    user_agent.get(..user_agent.floor_char_boundary(USER_AGENT_MAX)).unwrap_or_default()
}

pub(crate) fn network_of(ip: IpAddr) -> Option<IpNet> {
    let network: IpNet = match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Net::new(ip, 24).ok()?.into(),
        IpAddr::V6(ip) => Ipv6Net::new(ip, 48).ok()?.into(),
    };
    Some(network.trunc())
}

fn device_of(user_agent: &str) -> Option<Device> {
    (!user_agent.is_empty()).then(|| Device::of(user_agent))
}

fn differ<T: PartialEq>(opened: Option<T>, now: Option<T>) -> bool {
    matches!((opened, now), (Some(opened), Some(now)) if opened != now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        id::{SessionId, UserId},
        store::{DeviceKind, Risk, Transport},
    };

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const NEWER_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
    const FIREFOX_ON_WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const CHROME: &str =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";

    fn context(ip: &str, user_agent: &str) -> Context {
        Context::of(ip.parse().ok(), Some(user_agent))
    }

    fn change(network: bool, device: bool) -> Option<ContextChange> {
        (network || device).then_some(ContextChange { network, device })
    }

    fn session(ip: &str, user_agent: String) -> SessionRecord {
        let at = Timestamp::from_seconds(0);
        SessionRecord {
            id: SessionId::new(),
            user_id: UserId::new(),
            transport: Transport::Bearer,
            cookie_hash: None,
            created_at: at,
            auth_time: at,
            last_seen_at: at,
            expires_at: at,
            idle_expires_at: at,
            ip: Some(ip.to_owned()),
            user_agent: Some(user_agent),
            amr: "pwd".to_owned(),
            acr: "aal1".to_owned(),
            organization: None,
            store: None,
            risk: Risk::Low,
            revoked_at: None,
            generation: 0,
            device: DeviceKind::Other,
            network_changed: false,
            device_changed: false,
            key_thumbprint: None,
        }
    }

    #[test]
    fn another_network_is_another_24_or_48() {
        for (opened, now, changed) in [
            ("192.0.2.7", "192.0.2.250", false),
            ("192.0.2.7", "::ffff:192.0.2.9", false),
            ("192.0.2.7", "192.0.3.7", true),
            ("2001:db8:1::1", "2001:db8:1:ffff::2", false),
            ("2001:db8:1::1", "2001:db8:2::1", true),
            ("192.0.2.7", "2001:db8::1", true),
        ] {
            let found = context(opened, FIREFOX).changed(&context(now, FIREFOX));
            assert_eq!(found, change(changed, false), "{opened} {now}");
        }
    }

    #[test]
    fn another_device_is_another_system_browser_or_kind_and_no_other_version() {
        for (agent, changed) in
            [(NEWER_FIREFOX, false), (FIREFOX_ON_WINDOWS, true), (CHROME, true), (PHONE, true), ("curl/8.5.0", true)]
        {
            let found = context("192.0.2.7", FIREFOX).changed(&context("192.0.2.7", agent));
            assert_eq!(found, change(false, changed), "{agent}");
        }
        let both = context("192.0.2.7", FIREFOX).changed(&context("198.51.100.7", PHONE));
        assert_eq!(both, change(true, true));
    }

    #[test]
    fn what_is_not_known_differs_from_nothing() {
        let known = context("192.0.2.7", FIREFOX);
        for unknown in [Context::of(None, None), Context::of(None, Some(""))] {
            assert_eq!(known.changed(&unknown), None);
            assert_eq!(unknown.changed(&known), None);
        }
        assert_eq!(known.changed(&Context::of("198.51.100.7".parse().ok(), None)), change(true, false));
    }

    #[test]
    fn a_request_with_the_very_same_text_has_the_same_device() {
        let long = format!("{FIREFOX}{}", "é".repeat(400));
        for agent in [FIREFOX, &long] {
            let session = session("192.0.2.7", kept_user_agent(agent));
            let opened = Context::of_session(&session);
            let opened_with = session.user_agent.as_deref().map(|agent| Agent::of(agent.as_bytes()));
            let changed = |ip: Option<&str>, agent: Option<&[u8]>| {
                opened.changed_by(opened_with, ip.and_then(|ip| ip.parse().ok()), agent)
            };
            assert_eq!(changed(Some("192.0.2.8"), Some(agent.as_bytes())), None);
            assert_eq!(changed(None, Some(NEWER_FIREFOX.as_bytes())), None);
            assert_eq!(changed(None, Some(b"\xff no text")), None);
            assert_eq!(changed(None, Some(PHONE.as_bytes())), change(false, true));
            assert_eq!(changed(Some("192.0.3.8"), None), change(true, false));
        }
    }

    #[test]
    fn keeps_a_bounded_part_of_a_user_agent_that_a_database_takes() {
        assert_eq!(kept_user_agent("a\0b\nc"), "abc");
        let kept = kept_user_agent(&"é".repeat(1000));
        assert_eq!(kept.len(), USER_AGENT_MAX);
    }
}
