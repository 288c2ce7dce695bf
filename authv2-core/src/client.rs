//! Who is at the other end of the connection: the client's address behind trusted proxies, and its network.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv6Net};

/// The client's address: the peer's, unless the peer is a trusted proxy.
///
/// `header_values` are all lines of the forwarding header (`X-Forwarded-For`) in the order in which they came; joined, they
/// list the hops from the client to us. The walk goes from the right over trusted hops, and the first untrusted one is the
/// client. What stands left of it was written by the client and is never read. An element that does not parse stops the
/// walk at the last trusted hop; so does the end of the list. Elements may carry a port or brackets.
///
/// `trusted` must hold nothing but proxies that append to the header: whoever else is in it can choose its own address, and with it
/// evade limits and allow-lists. Empty trusts nobody. IPv4-mapped IPv6 addresses count as the IPv4 address they hold.
///
/// `None` if the transport knows no peer (a Unix socket, a test): then no header is believed either.
pub fn client_ip<'a>(
    peer: Option<IpAddr>,
    header_values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut hop = peer?.to_canonical();
    if !is_trusted(hop) {
        return Some(hop);
    }
    for element in header_values.rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        match hop_address(element) {
            Some(ip) if is_trusted(ip) => hop = ip,
            Some(ip) => return Some(ip),
            None => break,
        }
    }
    Some(hop)
}

/// Reads one element: an address, bare or in brackets, perhaps with a port.
fn hop_address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element.trim_ascii()).ok()?;
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?),
            None => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(ip.to_canonical())
}

/// A subscriber's network: an IPv4 address, or the IPv6 /64 that one line is given (RFC 6177).
///
/// Limits count by network, since one IPv6 subscriber has 2⁶⁴ addresses or more to hide among.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The network of `ip`; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip @ IpAddr::V4(_) => Self(ip.into()),
            IpAddr::V6(ip) => Self::v6(ip, 64),
        }
    }

    /// The /56 and the /48 around an IPv6 network, which providers give to one customer as well; none for IPv4.
    pub fn wider(self) -> impl Iterator<Item = Self> {
        let around = match self.0 {
            IpNet::V6(net) => [56, 48].map(|length| Some(Self::v6(net.addr(), length))),
            IpNet::V4(_) => [None, None],
        };
        around.into_iter().flatten()
    }

    fn v6(ip: Ipv6Addr, length: u8) -> Self {
        // A length of at most 128 always makes a network, so the whole address is never what remains.
        Self(Ipv6Net::new(ip, length).unwrap_or_else(|_| ip.into()).trunc().into())
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        network.0
    }
}

/// CIDR text, such as `192.0.2.7/32` or `2001:db8::/64`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_ip(Some(ip(peer)), lines.iter().map(|line| line.as_bytes()), &trusted).unwrap().to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_claims() {
        assert_eq!(client("203.0.113.9", &["1.2.3.4"], &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["1.2.3.4"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn takes_the_right_most_untrusted_element_over_all_lines() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 203.0.113.9"], &trusted), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "203.0.113.9", "10.0.0.2 ,10.0.0.3"], &trusted), "203.0.113.9");
    }

    #[test]
    fn stops_at_the_last_trusted_hop_when_an_element_does_not_parse() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], &trusted), "10.0.0.2");
        for junk in
            ["", "unknown", "_hidden", "203.0.113.9, ", "203.0.113", "1.2.3.4:99999", "[1.2.3.4]", "[::1", "::1]"]
        {
            assert_eq!(client("10.0.0.1", &[junk], &trusted), "10.0.0.1", "{junk}");
        }
        assert_eq!(client("10.0.0.1", &[], &trusted), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3,10.0.0.2"], &trusted), "10.0.0.3");
    }

    #[test]
    fn reads_ports_brackets_and_mapped_addresses() {
        let trusted = ["10.0.0.0/8", "::1/128"];
        for (element, expected) in [
            ("1.2.3.4:555", "1.2.3.4"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
            ("\t1.2.3.4 ", "1.2.3.4"),
        ] {
            assert_eq!(client("::ffff:10.0.0.1", &[element], &trusted), expected, "{element}");
        }
        assert_eq!(client("10.0.0.1", &["1.2.3.4, ::ffff:10.0.0.9, [::1]:443"], &trusted), "1.2.3.4");
    }

    #[test]
    fn believes_nothing_without_a_peer() {
        let trusted = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        assert_eq!(client_ip(None, [b"1.2.3.4".as_slice()].into_iter(), &trusted), None);
    }

    #[test]
    fn networks_are_an_address_or_a_64_and_widen_to_56_and_48() {
        assert_eq!(Network::of(ip("192.0.2.7")).to_string(), "192.0.2.7/32");
        assert_eq!(Network::of(ip("::ffff:192.0.2.7")), Network::of(ip("192.0.2.7")));
        assert_eq!(Network::of(ip("192.0.2.7")).wider().count(), 0);
        let network = Network::of(ip("2001:db8:1:2ff:3:4:5:6"));
        assert_eq!(network.to_string(), "2001:db8:1:2ff::/64");
        let wider: Vec<_> = network.wider().map(|net| net.to_string()).collect();
        assert_eq!(wider, ["2001:db8:1:200::/56", "2001:db8:1::/48"]);
    }

    /// Writes the whole path down, furthest hop first, and looks for the client from the near end.
    fn model(peer: IpAddr, lines: &[String], trusted: &[IpNet]) -> IpAddr {
        let joined = lines.join(",");
        let mut path: Vec<Option<IpAddr>> = if lines.is_empty() {
            Vec::new()
        } else {
            joined.split(',').map(|element| element.trim().parse().ok()).collect()
        };
        path.push(Some(peer));
        let mut client = peer;
        while let Some(Some(hop)) = path.pop() {
            client = hop;
            if !trusted.iter().any(|net| net.contains(&hop)) {
                break;
            }
        }
        client
    }

    proptest! {
        #[test]
        fn agrees_with_the_written_out_path(
            peer in 0_u8..4,
            lines in proptest::collection::vec("(10\\.0\\.0\\.[0-3]|junk| ?2001:db8::[0-3])?(,( ?10\\.0\\.0\\.[0-3]|x|2001:db8::[0-3])){0,4}", 0..4),
            trusted in proptest::sample::subsequence(vec!["10.0.0.0/31", "10.0.0.2/32", "2001:db8::/127"], 0..=3),
        ) {
            let peer = ip(&format!("10.0.0.{peer}"));
            let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
            let found = client_ip(Some(peer), lines.iter().map(String::as_bytes), &trusted);
            prop_assert_eq!(found, Some(model(peer, &lines, &trusted)));
        }

        #[test]
        fn any_bytes_give_an_address_and_never_a_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            prop_assert!(client_ip(Some(ip("10.0.0.1")), [line.as_slice()].into_iter(), &trusted).is_some());
        }

        #[test]
        fn a_network_holds_its_address_and_lies_in_the_wider_ones(bits in any::<u128>()) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits | 1 << 127));
            let network = Network::of(address);
            for wider in network.wider() {
                prop_assert!(IpNet::from(wider).contains(&IpNet::from(network)));
                prop_assert!(IpNet::from(wider).contains(&address));
            }
            prop_assert_eq!(Network::of(IpNet::from(network).addr()), network);
        }
    }
}
