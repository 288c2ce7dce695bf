//! No request waits longer for its answer than `store.acquire_timeout`.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use super::AuthenticationService;
use crate::{
    error::{Error, Result},
    store::StoreError,
};

impl AuthenticationService {
    /// `work`, or an outage where it takes longer than a request may wait, of which `spent` is over already. What it
    /// has begun to write is written all the same.
    pub(crate) async fn in_time<T>(&self, spent: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        // What needs no waiting needs no timer either.
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(done) = first {
            return done;
        }
        let left = self.0.config.store.acquire_timeout.saturating_sub(spent);
        tokio::time::timeout(left, work)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(StoreError::unavailable("there was no answer in time"))))
    }
}
