//! The last questions: every node is asked about all that was acknowledged. What the answers mean is for the checker.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use super::{Client, held::Held};
use crate::error::HarnessError;

/// How many questions are under way at a time.
const AT_ONCE: usize = 8;
/// How many used-up refresh tokens of a family are presented once more.
const USED_UP: usize = 2;

impl Client {
    /// Asks until each question is answered: recovery is automatic, so `patience` is how long a node may have none.
    pub(super) async fn audit(&self, patience: Duration) -> Result<(), HarnessError> {
        let held = self.0.book.all();
        let answered: Vec<bool> =
            stream::iter(&held).map(|held| self.ask_about(held, patience)).buffer_unordered(AT_ONCE).collect().await;
        let mut all = answered.into_iter().all(|answered| answered);
        for member in &self.0.cast.members {
            for node in 0..self.0.apis.len() {
                all &= until(patience, async || self.check(node, member).await).await;
            }
        }
        if all {
            return Ok(());
        }
        let output = "a node is still unavailable".to_owned();
        Err(HarnessError::Late { program: "recovery".to_owned(), after: patience, output })
    }

    async fn ask_about(&self, held: &Held, patience: Duration) -> bool {
        let mut all = true;
        for node in 0..self.0.apis.len() {
            all &= until(patience, async || self.use_(node, held).await).await;
        }
        self.use_up(held).await;
        all
    }

    /// Uses the newest token and its successor; then none before them may be good for anything.
    async fn use_up(&self, held: &Held) {
        let mut tokens = held.tokens.lock().await;
        let Some(newest) = tokens.last().cloned() else { return };
        let Some(second) = self.present(0, held, &newest).await else { return };
        let Some(third) = self.present(1 % self.0.apis.len(), held, &second).await else { return };
        for used_up in tokens.iter().rev().take(USED_UP) {
            self.present(2 % self.0.apis.len(), held, used_up).await;
        }
        tokens.extend([second, third]);
    }
}

/// Asks again until there is an answer; whether there was one in time.
async fn until(patience: Duration, ask: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if ask().await {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
