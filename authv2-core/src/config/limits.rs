//! Settings of rate limits.

use super::visitor::Visitor;

/// How often callers may ask, and how that is counted. What is not limited here can be by route or by key.
#[derive(Debug, Clone)]
pub struct LimitConfig {
    /// Requests a minute to the HTTP API from one network, whoever makes them; 0 by default, which is no limit. A network
    /// is an IPv4 address or an IPv6 /64; the /56 around it may make four times as many, the /48 sixteen times.
    pub network_per_minute: u32,
    /// Authenticated requests a minute of one user; 0 by default, which is no limit.
    pub user_per_minute: u32,
    /// Authenticated requests a minute of everybody in one organization; 0 by default, which is no limit.
    pub organization_per_minute: u32,
    /// Requests a minute with one API key that has no limit of its own; 0 by default, which is no limit.
    pub key_per_minute: u32,
    /// How many percent of each limit a node grants by itself while Redis does not answer; 25 by default. There is a limit
    /// at all times: with more nodes than this leaves room for, all of them together grant more than the limit then.
    pub local_share: u32,
    /// Whether nodes draw several requests at once from Redis for keys that are used often; `false` by default. It saves
    /// a round trip for most requests, lets through at most what the rate gives in half a second beyond the limit, and may
    /// let through a little less.
    pub leases: bool,
    /// About how many bytes the counts on this node may take, 32 to 64 each; 64 MiB by default. Beyond it newcomers get
    /// less than their burst: never anybody more.
    pub memory_bytes: usize,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            network_per_minute: 0,
            user_per_minute: 0,
            organization_per_minute: 0,
            key_per_minute: 0,
            local_share: 25,
            leases: false,
            memory_bytes: 64 * 1024 * 1024,
        }
    }
}

impl LimitConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        const MOST: u64 = 1_000_000_000;
        visitor.number(
            "limits.network_per_minute",
            0..=MOST,
            "Requests a minute to the HTTP API from one network; 0 for no limit.",
            &mut self.network_per_minute,
        );
        visitor.number(
            "limits.user_per_minute",
            0..=MOST,
            "Authenticated requests a minute of one user; 0 for no limit.",
            &mut self.user_per_minute,
        );
        visitor.number(
            "limits.organization_per_minute",
            0..=MOST,
            "Authenticated requests a minute in one organization; 0 for no limit.",
            &mut self.organization_per_minute,
        );
        visitor.number(
            "limits.key_per_minute",
            0..=MOST,
            "Requests a minute with one API key that has no limit of its own; 0 for no limit.",
            &mut self.key_per_minute,
        );
        visitor.number(
            "limits.local_share",
            1..=100,
            "Percent of each limit that a node grants by itself while Redis does not answer.",
            &mut self.local_share,
        );
        visitor.setting(
            "limits.leases",
            "Whether nodes draw several requests at once from Redis for keys that are used often.",
            &mut self.leases,
        );
        visitor.number(
            "limits.memory_bytes",
            1024 * 1024..=1 << 40,
            "About how many bytes the counts on a node may take.",
            &mut self.memory_bytes,
        );
    }
}
