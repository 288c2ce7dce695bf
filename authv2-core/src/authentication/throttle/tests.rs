//! Codes and mails, counted in a real store while time passes as it is told to.

use std::{net::IpAddr, sync::Arc};

use super::*;
use crate::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    store::sql::{SqlOptions, SqlStore},
};

const ADA: &str = "ada@example.org";
const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

struct World {
    throttle: Throttle,
    store: SharedStore,
}

impl World {
    async fn new() -> Self {
        let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), Feed::new()).await.unwrap();
        store.migrate().await.unwrap();
        let config = ThrottleConfig { network_limit: 15, ..ThrottleConfig::default() };
        Self { throttle: Throttle::new(&Zeroizing::new([7; 32]), config), store: Arc::new(store) }
    }

    async fn count(&self, rules: Vec<BucketRule>, second: i64) {
        let act = Act::new("session.login_failed", Actor::Anonymous, at(second), &Origin::default());
        self.store.count_failure(rules, act).await.unwrap();
    }

    /// Tries a wrong code: counted, or for how long it is refused.
    async fn guess(&self, second: i64) -> Result<(), u64> {
        match self.throttle.admit_reasked(&self.store, ADA, None, || at(second)).await {
            Ok(attempt) => {
                self.count(attempt.on_failure, second).await;
                Ok(())
            }
            Err(error) => Err(wait_of(&error)),
        }
    }

    /// Asks for a mail: whether it goes out, or for how long the network is refused.
    async fn ask(&self, email: &str, host: u8, second: i64) -> Result<bool, u64> {
        let network = Some(Network::of(IpAddr::from([192, 0, 2, host])));
        match self.throttle.admit_mail(&self.store, (Kind::ResetPassword, email), None, network, || at(second)).await {
            Ok(Asking { goes_out, count, _slot }) => {
                self.count(count, second).await;
                Ok(goes_out)
            }
            Err(error) => Err(wait_of(&error)),
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn wait_of(error: &Error) -> u64 {
    assert_eq!(error.code(), Code::TooManyAttempts);
    error.retry_after().unwrap().as_secs()
}

#[tokio::test]
async fn waits_after_ten_wrong_codes_and_twice_as_long_after_each_more_up_to_a_day() {
    let world = World::new().await;
    for second in 0..10 {
        assert_eq!(world.guess(second).await, Ok(()));
    }
    let (mut now, mut waits) = (9, Vec::new());
    for _ in 0..13 {
        let wait = world.guess(now).await.unwrap_err();
        waits.push(wait);
        now += i64::try_from(wait).unwrap();
        assert_eq!(world.guess(now - 1).await, Err(1));
        assert_eq!(world.guess(now).await, Ok(()), "one more once the wait is over");
    }
    let doubled: Vec<u64> = (0..13).map(|step| (60_u64 << step).min(86_400)).collect();
    assert_eq!(waits, doubled);
}

#[tokio::test]
async fn allows_fifty_codes_in_thirty_days() {
    // The figure of docs/security.md: whoever tries at every moment at which it may.
    let world = World::new().await;
    let (mut now, mut guesses) = (0, 0);
    while now < 30 * DAY {
        match world.guess(now).await {
            Ok(()) => guesses += 1,
            Err(wait) => now += i64::try_from(wait).unwrap(),
        }
    }
    assert!((45..=50).contains(&guesses), "{guesses}");
}

#[tokio::test]
async fn forgets_no_wrong_code_with_the_window_of_sign_ins() {
    let world = World::new().await;
    for hour in 0..10 {
        assert_eq!(world.guess(hour * 60 * MINUTE).await, Ok(()));
    }
    assert_eq!(world.guess(9 * 60 * MINUTE).await, Err(60));
}

#[tokio::test]
async fn a_completed_sign_in_clears_what_failed_for_the_account_and_not_for_the_network() {
    let world = World::new().await;
    let network = Some(Network::of(IpAddr::from([192, 0, 2, 1])));
    let place = Place { network, device: None, presented: None };
    for second in 0..10 {
        world.guess(second).await.unwrap();
    }
    let (_, attempt) = world.throttle.admit(&world.store, ADA, place.clone(), || at(10)).await.unwrap();
    world.count(attempt.on_failure, 10).await;
    let (_, clear) = world.throttle.facts(&world.store, ADA, place, at(11)).await.unwrap();
    let mut counts: Vec<i64> =
        world.store.attempts(&clear).await.unwrap().iter().map(|counter| counter.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 10], "the pair, the account, and the codes");
    let blocked = world.throttle.blocking(network, Duration::from_secs(60)).bucket;
    assert!(!clear.contains(&blocked), "what a network has done to others stays");
}

#[tokio::test]
async fn codes_on_a_known_device_count_there_alone() {
    let world = World::new().await;
    let device = DeviceId::new();
    for second in 0..10 {
        world.guess(second).await.unwrap();
    }
    world.guess(10).await.unwrap_err();
    let admitted = world.throttle.admit_reasked(&world.store, ADA, Some(device), || at(10)).await;
    assert!(admitted.is_ok());
    let other = world.throttle.admit_reasked(&world.store, "bob@example.org", None, || at(10)).await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn sends_an_address_ten_mails_and_the_eleventh_a_quarter_of_an_hour_later() {
    let world = World::new().await;
    for host in 0..10 {
        assert_eq!(world.ask(ADA, host, 0).await, Ok(true));
    }
    // Asking on neither sends any, nor puts off when the next one goes.
    for host in 10..20 {
        assert_eq!(world.ask(ADA, host, 14 * MINUTE).await, Ok(false));
    }
    assert_eq!(world.ask("bob@example.org", 0, 1).await, Ok(true), "others get theirs");
    assert_eq!(world.ask(ADA, 20, 15 * MINUTE).await, Ok(true));
}

#[tokio::test]
async fn refuses_a_network_that_asks_for_many_mails_whoever_has_the_addresses() {
    let world = World::new().await;
    for number in 0..15 {
        assert_eq!(world.ask(&format!("{number}@example.org"), 1, 0).await, Ok(true));
    }
    assert_eq!(world.ask(ADA, 1, 0).await, Err(60));
    assert_eq!(world.ask(ADA, 2, 0).await, Ok(true), "another network");
}

#[tokio::test]
async fn parallel_askings_send_no_more_mails() {
    let world = World::new().await;
    let asked = futures_util::future::join_all((0..30).map(|host| world.ask(ADA, host, 0))).await;
    assert_eq!(asked.iter().filter(|asked| **asked == Ok(true)).count(), 10);
    assert!(asked.iter().all(Result::is_ok));
}
