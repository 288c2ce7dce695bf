//! How long an answer takes tells nobody whether an account exists.
//!
//! Times of known and unknown addresses are compared by rank (Mann and Whitney): what is judged is how often an answer
//! about one takes longer than an answer about the other, which a few slow answers do not move. Were they drawn from
//! one distribution, that is a half, give or take 0.024 with the numbers taken here; a bound on it, unlike one on a
//! p-value, means the same on a quiet machine and on a loud one.

use std::time::{Duration, Instant};

use authv2_tests::{
    client::{Answer, Api},
    fuzz::Nonsense,
    server::{Server, Settings},
};
use serde_json::json;

/// So many answers about each.
const EACH: usize = 300;
/// An address is asked about that often at most: past ten mails to it the server has less to do.
const ASKED: usize = 5;
/// How far from a half the share of pairs may be in which the unknown address took longer: a difference of half a
/// standard deviation makes 0.14.
const BOUND: f64 = 0.12;
const PASSWORD: &str = "correct horse battery";

/// The share of pairs in which the one of `ys` is greater than the one of `xs`, ties counted by half.
fn superiority(xs: &[Duration], ys: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> = xs.iter().map(|x| (*x, false)).chain(ys.iter().map(|y| (*y, true))).collect();
    all.sort_unstable();
    // Of those of one length each has the mean of their ranks.
    let (mut ranks, mut begin) = (0.0, 0);
    while begin < all.len() {
        let tied = all[begin..].iter().take_while(|(time, _)| *time == all[begin].0).count();
        let rank = (2 * begin + tied + 1) as f64 / 2.0;
        let of_ys = all[begin..begin + tied].iter().filter(|(_, is_y)| *is_y).count();
        ranks += rank * of_ys as f64;
        begin += tied;
    }
    let (n, m) = (xs.len() as f64, ys.len() as f64);
    (ranks - m * (m + 1.0) / 2.0) / (n * m)
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn ranks_tell_a_shift_and_nothing_else() {
    let times = |range: std::ops::Range<u64>| range.map(Duration::from_millis).collect::<Vec<_>>();
    let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found} instead of {wanted}");
    close(superiority(&times(0..10), &times(0..10)), 0.5);
    close(superiority(&times(0..10), &times(10..20)), 1.0);
    close(superiority(&times(10..20), &times(0..10)), 0.0);
    // Counted by hand: of nine pairs five have the greater second, one is a tie.
    close(superiority(&[1, 4, 6].map(Duration::from_secs), &[2, 6, 9].map(Duration::from_secs)), 6.5 / 9.0);
    // A hundred answers that took a minute change little.
    let mut outliers = times(0..1000);
    outliers.iter_mut().step_by(10).for_each(|time| *time = Duration::from_secs(60));
    assert!((superiority(&times(0..1000), &outliers) - 0.5).abs() < 0.06);
    assert!(superiority(&times(0..1000), &times(150..1150)) - 0.5 > BOUND);
}

/// A server on which limits do not interfere, and where every password costs what it does in production.
fn server(settings: Settings) -> (Server, Api) {
    let limits = ["PAIR", "ACCOUNT", "NETWORK"];
    let settings = limits
        .iter()
        .fold(settings, |settings, limit| settings.with(&format!("AUTHV2_THROTTLE__{limit}_LIMIT"), "1000000"));
    let server = settings.start().unwrap();
    let api = Api::new(server.url()).unwrap();
    (server, api)
}

fn address(kind: &str, number: usize) -> String {
    format!("{kind}{number}@example.org")
}

/// Makes the accounts that are asked about.
async fn populate(api: &Api, status: u16) {
    for number in 0..EACH.div_ceil(ASKED) {
        let answer = api.register(&address("known", number), PASSWORD).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

/// Asks about known and unknown addresses, in an order that nothing follows.
async fn compare(flow: &str, mut ask: impl AsyncFnMut(String) -> Answer) {
    let mut order = Nonsense::from_environment();
    let mut left = [EACH; 2];
    let mut times = [Vec::with_capacity(EACH), Vec::with_capacity(EACH)];
    while left.iter().sum::<usize>() > 0 {
        let is_unknown = order.below(left[0] + left[1]) >= left[0];
        let (place, kind) = if is_unknown { (1, "unknown") } else { (0, "known") };
        left[place] -= 1;
        let email = address(kind, left[place] / ASKED);
        let begin = Instant::now();
        ask(email).await;
        times[place].push(begin.elapsed());
    }
    let [known, unknown] = &times;
    let share = superiority(known, unknown);
    println!(
        "{flow}: known {:?}, unknown {:?} (medians of {EACH}); an unknown address took longer in {:.1}% of pairs",
        median(known),
        median(unknown),
        share * 100.0
    );
    assert!((share - 0.5).abs() < BOUND, "{flow}: {share}, seed {}", order.seed());
}

#[tokio::test]
async fn asking_for_a_link_takes_as_long_for_nobody() {
    let (_server, api) = server(Settings::new());
    populate(&api, 201).await;
    for path in ["/auth/password/forgot", "/auth/login/link"] {
        compare(path, async |email| {
            let answer = api.post(path, "", &json!({"email": email})).await.unwrap();
            assert_eq!(answer.status, 202, "{}", answer.text);
            answer
        })
        .await;
    }
}

#[tokio::test]
async fn registering_takes_as_long_where_there_is_an_account() {
    let (_server, api) = server(Settings::new().with("AUTHV2_REGISTRATION__REQUIRE_VERIFIED_EMAIL", "true"));
    populate(&api, 202).await;
    let mut fresh = 0;
    compare("/auth/register", async |email| {
        // Whoever registers is known from then on.
        fresh += 1;
        let email = if email.starts_with("unknown") { address("fresh", fresh) } else { email };
        let answer = api.register(&email, "another battery horse").await.unwrap();
        assert_eq!((answer.status, answer.text.as_str()), (202, "{}"));
        answer
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_takes_as_long_for_nobody() {
    let (_server, api) = server(Settings::new());
    populate(&api, 201).await;
    compare("/auth/login", async |email| {
        let answer = api.login(&email, "incorrect horse battery").await.unwrap();
        assert_eq!(answer.code(), "invalid_credentials");
        answer
    })
    .await;
}
