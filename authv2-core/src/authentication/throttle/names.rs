//! The names of counters: keyed hashes, so that the table tells no e-mail and no address.

use aws_lc_rs::hmac;

use crate::{
    client::Network,
    id::DeviceId,
    mail::Kind,
    store::{Bucket, SignInFacts},
};

/// The names of all counters that a sign-in may touch.
pub(super) struct Names {
    /// The account with the network, and with the wider networks around it.
    pub(super) pairs: Vec<Bucket>,
    /// The network and the wider ones around it.
    pub(super) networks: Vec<Bucket>,
    pub(super) account: Bucket,
    pub(super) known_pair: Bucket,
    /// Codes and passwords asked again: elsewhere, and on the device that the cookie names.
    pub(super) reasked: Vec<Bucket>,
    /// The account on that device.
    pub(super) device: Option<Bucket>,
    pub(super) pace_each: Bucket,
    pub(super) pace_all: Bucket,
    pub(super) all: Vec<Bucket>,
}

impl Names {
    pub(super) fn new(key: &hmac::Key, email_key: &str, network: Option<Network>, presented: Option<DeviceId>) -> Self {
        let widths = widths(network);
        let nearest = widths.first().map(String::as_str).unwrap_or_default();
        let mut names = Self {
            pairs: widths.iter().map(|network| name(key, "pair", &[email_key, network])).collect(),
            networks: widths.iter().map(|network| name(key, "network", &[network])).collect(),
            account: name(key, "account", &[email_key]),
            known_pair: name(key, "known", &[email_key, nearest]),
            reasked: std::iter::once(None)
                .chain(presented.map(Some))
                .map(|device| reasked(key, email_key, device))
                .collect(),
            device: presented.map(|device| name(key, "device", &[email_key, &device.to_string()])),
            pace_each: name(key, "pace", &[email_key, nearest]),
            pace_all: name(key, "pace", &[email_key]),
            all: Vec::new(),
        };
        names.all = [names.account, names.known_pair, names.pace_each, names.pace_all].into();
        names.all.extend(names.pairs.iter().chain(&names.networks).chain(&names.reasked).chain(&names.device));
        names
    }

    /// What a completed sign-in clears: the account's own counters, as far as there are any. A network's stay. On a device that the user is known on it clears what failed there: what
    /// strangers have tried elsewhere goes on counting against them.
    pub(super) fn cleared(&self, facts: &SignInFacts) -> Vec<Bucket> {
        let exists = |name: &Bucket| facts.attempts.iter().any(|stored| stored.bucket == *name);
        match facts.known_device {
            Some(_) => self.device.into_iter().chain(self.reasked.get(1).copied()).filter(exists).collect(),
            None => self.all.iter().copied().filter(|name| !self.networks.contains(name)).filter(exists).collect(),
        }
    }
}

/// The counter of codes and of passwords asked again, on a device that the user is known on or elsewhere.
pub(super) fn reasked(key: &hmac::Key, email_key: &str, known_device: Option<DeviceId>) -> Bucket {
    match known_device {
        Some(device) => name(key, "reasked", &[email_key, &device.to_string()]),
        None => name(key, "reasked", &[email_key]),
    }
}

/// The counters of mails asked for from a network, and from the wider ones around it.
/// Those that registrations send by themselves count apart: an office that registers may still ask.
pub(super) fn mail_networks(key: &hmac::Key, kind: Kind, network: Option<Network>) -> Vec<Bucket> {
    let name_of = if kind == Kind::VerifyEmail { "verifications from" } else { "mails from" };
    widths(network).iter().map(|network| name(key, name_of, &[network])).collect()
}

/// The network and the wider ones around it, as text; one empty text where it is not known.
fn widths(network: Option<Network>) -> Vec<String> {
    match network {
        Some(network) => std::iter::once(network).chain(network.wider()).map(|network| network.to_string()).collect(),
        None => vec![String::new()],
    }
}

/// The name of a counter of one kind.
pub(super) fn name(key: &hmac::Key, kind: &str, parts: &[&str]) -> Bucket {
    let mut context = hmac::Context::with_key(key);
    for part in std::iter::once(&kind).chain(parts) {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut name = Bucket::default();
    for (to, from) in name.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    name
}
