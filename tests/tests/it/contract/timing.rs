//! How long a refusal takes tells nobody whether an account exists.

use std::time::{Duration, Instant};

use authv2_tests::{fuzz::Nonsense, server::Settings};

use super::fixture::{ADA, WRONG, login, register, start};

const ROUNDS: usize = 60;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn an_unknown_email_takes_as_long_as_a_wrong_password() {
    // The hash costs what it costs in production; the throttle must not interfere.
    let unlimited = ["PAIR", "ACCOUNT", "NETWORK"];
    let settings = unlimited
        .iter()
        .fold(Settings::new(), |settings, limit| settings.with(&format!("AUTHV2_THROTTLE__{limit}_LIMIT"), "1000000"));
    let deployment = start(settings).await;
    register(&deployment.api, ADA).await;
    let mut order = Nonsense::from_environment();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    // Interleaved, in an order that no rhythm of the machine follows.
    for round in 0..ROUNDS {
        let mut pair = [ADA.to_owned(), format!("nobody{round}@example.org")];
        if order.below(2) == 0 {
            pair.reverse();
        }
        for email in pair {
            let begin = Instant::now();
            assert_eq!(login(&deployment.api, &email, WRONG).await.status, 401);
            let times = if email == ADA { &mut known } else { &mut unknown };
            times.push(begin.elapsed());
        }
    }
    let (known, unknown) = (median(known).as_secs_f64(), median(unknown).as_secs_f64());
    assert!((0.75..=1.25).contains(&(unknown / known)), "unknown {unknown} s, known {known} s, seed {}", order.seed());
}
