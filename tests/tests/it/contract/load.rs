//! More than the machine can do: the surplus is refused at once, and nobody is held to blame for it.

use futures_util::future::join_all;

use super::fixture::{ADA, PASSWORD, WRONG, assert_problem, get, login, register, start};
use authv2_tests::server::Settings;

#[tokio::test]
async fn a_full_hash_queue_is_a_503_that_counts_as_no_failure() {
    let small = Settings::new().with("AUTHV2_PASSWORD__THREADS", "1").with("AUTHV2_PASSWORD__QUEUE", "2");
    let deployment = start(small.with("AUTHV2_SESSION__MAX_PER_USER", "100")).await;
    register(&deployment.api, ADA).await;
    for password in [PASSWORD, WRONG] {
        // Below the throttle's limit, so that nobody queues there instead.
        let answers = join_all((0..9).map(|_| login(&deployment.api, ADA, password))).await;
        let (shed, judged): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 503);
        assert!(!shed.is_empty() && !judged.is_empty(), "{} shed, {} judged", shed.len(), judged.len());
        for answer in shed {
            assert_problem(answer, 503, "unavailable");
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
    // What hashes nothing is not held up, and the right password still passes.
    assert_eq!(get(&deployment.api, "/hello", "").await.status, 200);
    assert_eq!(login(&deployment.api, ADA, PASSWORD).await.status, 200);
}
