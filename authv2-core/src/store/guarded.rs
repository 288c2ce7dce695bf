//! A store behind a circuit breaker: while the database does not answer, callers learn that at once.

use super::{
    Interceptor, StoreError,
    breaker::{Breaker, BreakerHealth, Rules},
};

/// The breaker in front of a database, as an [`Interceptor`].
///
/// What it refuses is [`StoreError::Unavailable`]: never an absence, and never a denial.
#[derive(Debug)]
pub struct Guard(Breaker);

impl Guard {
    /// A closed breaker.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Breaker::new(rules))
    }

    /// What it knows of the database.
    #[must_use]
    pub fn health(&self) -> BreakerHealth {
        self.0.health()
    }
}

impl Interceptor for Guard {
    async fn around<T: Send>(
        &self,
        _: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let pass =
            self.0.admit().map_err(|_| StoreError::unavailable("the database failed repeatedly a moment ago"))?;
        let answer = call.await;
        match &answer {
            Err(error) if error.is_outage() => pass.failed(),
            _ => pass.succeeded(),
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, time::Duration};

    use super::*;
    use crate::store::breaker::Circuit;

    #[tokio::test(start_paused = true)]
    async fn refuses_as_an_outage_and_lets_one_try_again() {
        let guard = Guard::new(Rules::default());
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
        let guard = Guard::new(Rules { failures: 1, ..Rules::default() });
        for error in [StoreError::corrupt("the test says so"), StoreError::shed("the test says so")] {
            assert!(guard.around("verb", ready(Err::<u8, _>(error))).await.is_err());
            assert_eq!(guard.health().circuit, Circuit::Closed);
        }
    }
}
