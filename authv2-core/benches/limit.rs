//! Rate limits: ours beside governor's, turn and turn about; then Redis with our script beside the bare script, where
//! `AUTHV2_TEST_REDIS_URL` names one.
//!
//! Machines are noisy, so that only the ratios within one run count, and of each the least time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark may stop where it cannot go on"
)]

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use authv2_core::{
    clock::SystemClock,
    config::LimitConfig,
    limit::{Limiter, Policy, Rate, Subject, Take},
    master_key::MasterKey,
    store::shared::SharedCache,
};
use governor::{Quota, RateLimiter};

/// Requests in one turn.
const TURN: usize = 20_000;
const TURNS: usize = 60;

fn main() {
    for keys in [1, 100_000, 1_000_000] {
        in_memory(keys);
    }
    #[cfg(feature = "redis")]
    redis::measure();
}

fn limiter(bytes: usize) -> Limiter {
    let config = LimitConfig { memory_bytes: bytes, ..LimitConfig::default() };
    let key = MasterKey::from_bytes(&[7; 32]).derive("limit names");
    Limiter::new(&config, SharedCache::none(), Arc::new(SystemClock::new()), &key)
}

/// A rate that refuses nobody here, and forgets nobody.
fn policy() -> Policy {
    Policy::new("bench", Rate::new(1_000_000, Duration::from_secs(3_600), None).unwrap())
}

fn in_memory(keys: usize) {
    let names: Vec<String> = (0..keys).map(|key| format!("customer-{key:012}")).collect();
    let numbers: Vec<u64> = (0..keys as u64).map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    // All over the memory.
    let order: Vec<usize> = (0..TURN * TURNS).map(|turn| turn.wrapping_mul(7_919_993) % keys).collect();
    let policy = policy();
    let quota = Quota::per_hour(NonZeroU32::new(1_000_000).unwrap());
    let (by_name, by_number) = (RateLimiter::dashmap(quota), RateLimiter::dashmap(quota));
    let ours = limiter(1 << 30);
    let take = |subject| ours.take_at_hand(&[Take::one(policy, subject)]).unwrap().allowed;
    for key in 0..keys {
        assert!(take(Subject::Other(&names[key])));
        assert!(by_name.check_key(&names[key]).is_ok() && by_number.check_key(&numbers[key]).is_ok());
    }
    let mut least = [Duration::MAX; 3];
    for turn in order.chunks(TURN) {
        let times = [
            time(turn, |key| take(Subject::Other(&names[key]))),
            time(turn, |key| by_name.check_key(&names[key]).is_ok()),
            time(turn, |key| by_number.check_key(&numbers[key]).is_ok()),
        ];
        least = [0, 1, 2].map(|which| least[which].min(times[which]));
    }
    let nanos = least.map(|least| least.as_secs_f64() * 1e9 / TURN as f64);
    println!(
        "{keys} keys: ours, string {:.0} ns; governor, string {:.0} ns; governor, u64 {:.0} ns; {:.2} of governor's string",
        nanos[0],
        nanos[1],
        nanos[2],
        nanos[0] / nanos[1]
    );
}

fn time(turn: &[usize], mut take: impl FnMut(usize) -> bool) -> Duration {
    let begun = Instant::now();
    for key in turn {
        black_box(take(black_box(*key)));
    }
    begun.elapsed()
}

#[cfg(feature = "redis")]
mod redis {
    use authv2_core::{config::RedisConfig, limit::Outage};
    use redis::{AsyncConnectionConfig, Client, cmd};

    use super::{
        Arc, Duration, Instant, LimitConfig, Limiter, MasterKey, SharedCache, Subject, SystemClock, Take, policy,
    };

    const REQUESTS: usize = 500;
    const ROUNDS: usize = 20;

    /// The least that a script of this kind does.
    const BARE: &str = "
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
        local at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[1])
        if at > now + tonumber(ARGV[2]) then return {0, now, at} end
        redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1)
        return {1, now, at}";

    pub(super) fn measure() {
        let Ok(url) = std::env::var("AUTHV2_TEST_REDIS_URL") else {
            println!("Redis: not measured, AUTHV2_TEST_REDIS_URL names none");
            return;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(&url));
    }

    async fn compare(url: &str) {
        let master = MasterKey::from_bytes(&[7; 32]);
        let config = RedisConfig { url: Some(url.into()), ..RedisConfig::default() };
        let at = async |leases| {
            let cache = SharedCache::connect(&config, &master).await.unwrap();
            while !cache.ping().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let limits = LimitConfig { leases, ..LimitConfig::default() };
            Limiter::new(&limits, cache, Arc::new(SystemClock::new()), &master.derive("limit names"))
        };
        let (ours, leasing) = (at(false).await, at(true).await);
        let client = Client::open(url).unwrap();
        let mut bare =
            client.get_multiplexed_async_connection_with_config(&AsyncConnectionConfig::new()).await.unwrap();
        let script: String = cmd("SCRIPT").arg("LOAD").arg(BARE).query_async(&mut bare).await.unwrap();
        let policy = policy();
        let mut least = [Duration::MAX; 3];
        for _ in 0..ROUNDS {
            for (which, limiter) in [(0, &ours), (1, &leasing)] {
                let begun = Instant::now();
                for _ in 0..REQUESTS {
                    let take = [Take::one(policy, Subject::Other(["exact", "leased"][which]))];
                    assert!(limiter.take(&take, Outage::Refuse).await.unwrap().allowed);
                }
                least[which] = least[which].min(begun.elapsed());
            }
            let begun = Instant::now();
            for _ in 0..REQUESTS {
                let mut call = cmd("EVALSHA");
                call.arg(&script).arg(1).arg("bench:bare").arg(3_600).arg(3_600_000_000_u64);
                let _: (i64, i64, i64) = call.query_async(&mut bare).await.unwrap();
            }
            least[2] = least[2].min(begun.elapsed());
        }
        let micros = least.map(|least| least.as_secs_f64() * 1e6 / REQUESTS as f64);
        println!(
            "Redis: ours {:.1} us; bare script {:.1} us; {:.2} of it; with leases {:.2} us",
            micros[0],
            micros[2],
            micros[0] / micros[2],
            micros[1]
        );
    }
}
