//! Follows the channel on which nodes wake each other, through every disconnect.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use redis::{ErrorKind, RedisError, RedisResult, Value, aio::PubSub};
use tokio::time::{sleep, timeout};

use super::connect::Connector;
use crate::store::breaker::jittered;

/// How long a subscription may take to be made, and a probe to be answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may be silent before the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Calls `wake` for each message, and once after each connection: what was sent meanwhile is lost.
pub(super) async fn follow(connector: Arc<Connector>, channel: String, wake: impl Fn()) {
    let mut pause = PAUSE;
    loop {
        match within(connector.subscribe(&channel)).await {
            Ok(subscription) => {
                pause = PAUSE;
                wake();
                let error = listen(subscription, &wake).await;
                tracing::debug!(%error, "lost the subscription to Redis");
            }
            Err(error) => tracing::debug!(%error, "could not subscribe to Redis"),
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Until the connection fails, and why it did.
async fn listen(subscription: PubSub, wake: &impl Fn()) -> RedisError {
    let (mut asking, mut messages) = subscription.split();
    loop {
        match timeout(SILENCE, messages.next()).await {
            Ok(Some(_)) => wake(),
            Ok(None) => return (ErrorKind::Io, "the server closed the connection").into(),
            // A connection that was cut without a word looks like a quiet one.
            Err(_) => {
                if let Err(error) = within(asking.ping::<Value>()).await {
                    return error;
                }
            }
        }
    }
}

async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err((ErrorKind::Io, "the server did not answer in time").into()))
}
