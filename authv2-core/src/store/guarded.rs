//! A store behind a circuit breaker: while the database does not answer, callers learn that at once.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Interceptor, StoreError,
    breaker::{Breaker, BreakerHealth, Pass, Rules},
};

/// The breaker in front of a database, as an [`Interceptor`].
///
/// What it refuses is [`StoreError::Unavailable`]: never an absence, and never a denial.
#[derive(Debug)]
pub struct Guard {
    breaker: Breaker,
    /// A caller that went away after so long without an answer has learned that there is none.
    silence: Duration,
}

impl Guard {
    /// A closed breaker in front of a database that answers within `patience`, or not at all.
    #[must_use]
    pub fn new(rules: Rules, patience: Duration) -> Self {
        Self { breaker: Breaker::new(rules), silence: patience / 2 }
    }

    /// What it knows of the database.
    #[must_use]
    pub fn health(&self) -> BreakerHealth {
        self.breaker.health()
    }
}

impl Interceptor for Guard {
    async fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        // On a connection of its own, to another address perhaps: it says nothing of the others.
        if verb == "announcements" {
            return call.await;
        }
        let pass =
            self.breaker.admit().map_err(|_| StoreError::unavailable("the database failed repeatedly a moment ago"))?;
        let mut waiting = Waiting { pass: Some(pass), since: Instant::now(), silence: self.silence };
        let answer = call.await;
        match (waiting.pass.take(), &answer) {
            (Some(pass), Err(error)) if error.is_outage() => pass.failed(),
            (Some(pass), _) => pass.succeeded(),
            (None, _) => {}
        }
        answer
    }
}

/// A call under way. Its caller may give it up, with the time that its request has.
struct Waiting<'a> {
    pass: Option<Pass<'a>>,
    since: Instant,
    silence: Duration,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take()
            && self.since.elapsed() >= self.silence
        {
            pass.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::store::breaker::Circuit;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn callers_that_give_up_after_a_long_silence_have_seen_it_fail() {
        for (waited, circuit) in [(1, Circuit::Closed), (4, Circuit::Open)] {
            let guard = Guard::new(Rules { failures: 1, ..Rules::default() }, PATIENCE);
            let asked = guard.around("verb", std::future::pending::<Result<u8, _>>());
            assert!(tokio::time::timeout(Duration::from_secs(waited), asked).await.is_err());
            assert_eq!(guard.health().circuit, circuit, "{waited} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_as_an_outage_and_lets_one_try_again() {
        let guard = Guard::new(Rules::default(), PATIENCE);
        let outage = || ready(Err::<u8, _>(StoreError::unavailable("the test says so")));
        for _ in 0..Rules::default().failures {
            assert!(guard.around("verb", outage()).await.is_err());
        }
        let refused = guard.around("verb", async { panic!("it was asked") as Result<u8, _> }).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(guard.around("verb", ready(Ok(1))).await.unwrap(), 1);
        assert_eq!(guard.health().circuit, Circuit::Closed);
    }

    #[tokio::test]
    async fn what_the_database_answers_is_no_failure_of_it() {
        let guard = Guard::new(Rules { failures: 1, ..Rules::default() }, PATIENCE);
        for error in [StoreError::corrupt("the test says so"), StoreError::shed("the test says so")] {
            assert!(guard.around("verb", ready(Err::<u8, _>(error))).await.is_err());
            assert_eq!(guard.health().circuit, Circuit::Closed);
        }
    }
}
