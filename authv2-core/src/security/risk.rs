//! How risky a sign-in looks.

use crate::store::Risk;

/// What is unusual about a sign-in whose password was right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "signs are independent of each other")]
pub(crate) struct Signs {
    /// The user has not signed in from this network lately.
    pub(crate) new_network: bool,
    /// The user has not signed in on this device lately.
    pub(crate) new_device: bool,
    /// Nobody has signed in to the account for long.
    pub(crate) dormant: bool,
    /// The account, or the deployment, is being attacked, and this comes from a network that the user is not known at.
    pub(crate) under_attack: bool,
    /// The password is known from a breach: whoever read that can do the same.
    pub(crate) breached: bool,
    /// A sign whose reaction is to have the user prove again who it is.
    pub(crate) is_held: bool,
}

impl Signs {
    /// The names of those there are, separated by spaces: as a sign-in that waits for its second factor keeps them.
    pub(crate) fn names(self) -> String {
        let Self { new_network, new_device, dormant, under_attack, breached, is_held } = self;
        let named = [
            (new_network, "new_network"),
            (new_device, "new_device"),
            (dormant, "dormant"),
            (under_attack, "under_attack"),
            (breached, "breached"),
            (is_held, "is_held"),
        ];
        named.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect::<Vec<_>>().join(" ")
    }

    /// The signs of these names.
    pub(crate) fn named(names: &str) -> Self {
        let is_there = |sign: &str| names.split(' ').any(|name| name == sign);
        Self {
            new_network: is_there("new_network"),
            new_device: is_there("new_device"),
            dormant: is_there("dormant"),
            under_attack: is_there("under_attack"),
            breached: is_there("breached"),
            is_held: is_there("is_held"),
        }
    }
}

/// One sign alone happens every day. Two together look like somebody else, three even more so.
pub(crate) fn risk(signs: Signs) -> Risk {
    let Signs { new_network, new_device, dormant, under_attack, breached, is_held } = signs;
    let unusual = [new_network, new_device, dormant, under_attack].into_iter().filter(|sign| *sign).count();
    match unusual {
        _ if is_held => Risk::High,
        3.. => Risk::High,
        2 if !breached => Risk::Medium,
        1.. if breached => Risk::High,
        0 if breached => Risk::Medium,
        _ => Risk::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_as_they_were_named() {
        let some = Signs { new_network: true, breached: true, ..Signs::default() };
        assert_eq!(some.names(), "new_network breached");
        let all = Signs { new_device: true, dormant: true, under_attack: true, is_held: true, ..some };
        for signs in [Signs::default(), some, all] {
            assert_eq!(Signs::named(&signs.names()), signs);
        }
    }

    #[test]
    fn signs_add_up() {
        let none = Signs::default();
        let moved = Signs { new_network: true, ..none };
        let elsewhere = Signs { new_device: true, ..moved };
        for (signs, expected) in [
            (none, Risk::Low),
            (moved, Risk::Low),
            (elsewhere, Risk::Medium),
            (Signs { under_attack: true, ..moved }, Risk::Medium),
            (Signs { dormant: true, ..elsewhere }, Risk::High),
            (Signs { breached: true, ..none }, Risk::Medium),
            (Signs { breached: true, ..moved }, Risk::High),
            (Signs { breached: true, ..elsewhere }, Risk::High),
            (Signs { is_held: true, ..none }, Risk::High),
        ] {
            assert_eq!(risk(signs), expected, "{signs:?}");
        }
    }
}
