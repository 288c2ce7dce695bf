//! One breaker for a server; for a Cluster one for each part of its slots, so that a shard that is frozen does not make
//! every third caller wait for it.

use super::script::Key;
use crate::store::breaker::{Breaker, BreakerHealth, Circuit, Pass, Refused, Rules};

/// The slots of a Cluster.
const SLOTS: u16 = 16_384;
/// Into how many parts they are divided. Shards own long runs of slots, so that nearly every part is of one shard.
const PARTS: u16 = 32;

/// The breakers before the servers.
pub(super) struct Breakers {
    /// For questions that concern no key, and for all where there is one server.
    first: Breaker,
    /// By parts of the slots; empty where there is one server.
    parts: Vec<Breaker>,
}

impl Breakers {
    pub(super) fn new(is_cluster: bool) -> Self {
        let parts = if is_cluster { PARTS } else { 0 };
        let rules = Rules::default();
        Self { first: Breaker::new(rules), parts: (0..parts).map(|_| Breaker::new(rules)).collect() }
    }

    /// Asks to go through to the server that has `key`, or any.
    pub(super) fn admit(&self, key: Option<&Key>) -> Result<Pass<'_>, Refused> {
        let part = key.filter(|_| !self.parts.is_empty()).and_then(|key| self.parts.get(part(key)));
        part.unwrap_or(&self.first).admit()
    }

    /// The worst circuit, and the last success of any.
    pub(super) fn health(&self) -> BreakerHealth {
        let mut whole = self.first.health();
        for health in self.parts.iter().map(Breaker::health) {
            whole.circuit = worse(whole.circuit, health.circuit);
            whole.last_success = [whole.last_success, health.last_success].into_iter().flatten().min();
        }
        whole
    }
}

fn worse(one: Circuit, other: Circuit) -> Circuit {
    match (one, other) {
        (Circuit::Open, _) | (_, Circuit::Open) => Circuit::Open,
        (Circuit::HalfOpen, _) | (_, Circuit::HalfOpen) => Circuit::HalfOpen,
        (Circuit::Closed, Circuit::Closed) => Circuit::Closed,
    }
}

fn part(key: &Key) -> usize {
    usize::from(crc16(key.tag().as_bytes()) % SLOTS / (SLOTS / PARTS))
}

/// CRC-16/XMODEM, by which a Cluster finds the slot of a hash tag.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_cluster_specification_does() {
        // The check value of Appendix A of the Redis Cluster specification.
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_frozen_shard_refuses_its_own_keys_only() {
        let breakers = Breakers::new(true);
        let keys: Vec<_> = (0..64).map(|number| Key::new("x", "session", &number)).collect();
        let frozen = keys.first().unwrap();
        for _ in 0..Rules::default().failures {
            breakers.admit(Some(frozen)).unwrap().failed();
        }
        assert!(breakers.admit(Some(frozen)).is_err());
        assert_eq!(breakers.health().circuit, Circuit::Open);
        let passing = keys.iter().filter(|key| breakers.admit(Some(key)).is_ok()).count();
        assert!(passing > keys.len() / 2, "{passing} of {}", keys.len());
        assert!(breakers.admit(None).is_ok());
    }

    #[tokio::test]
    async fn a_single_server_has_one_breaker() {
        let breakers = Breakers::new(false);
        for _ in 0..Rules::default().failures {
            breakers.admit(Some(&Key::new("x", "session", &1))).unwrap().failed();
        }
        assert!(breakers.admit(Some(&Key::new("x", "session", &2))).is_err());
        assert!(breakers.admit(None).is_err());
    }
}
