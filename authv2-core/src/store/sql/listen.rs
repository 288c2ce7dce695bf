//! Words of other nodes through PostgreSQL: LISTEN on a connection of its own, around any pooler.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use sqlx::{Executor as _, postgres::PgListener};
use tokio::time::timeout;

use super::error;
use crate::store::{Announcements, StoreError, StoreUrl};

/// After this long without a word the connection is asked whether it still lives: a dead peer says nothing either.
const SILENCE: Duration = Duration::from_secs(10);

/// Listens until the connection fails. The first word comes at once: something may have happened before.
pub(super) async fn announcements(url: &StoreUrl, patience: Duration) -> Result<Announcements, StoreError> {
    let connect = async {
        let mut listener = PgListener::connect(url.expose()).await?;
        // Whoever asked connects again, after a pause.
        listener.eager_reconnect(false);
        listener.listen("authv2_changes").await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let listener = timeout(patience, connect).await.map_err(|_| error::too_slow())??;
    let words = stream::unfold(listener, move |mut listener| async move {
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => return Some(((), listener)),
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) => {
                    if !timeout(patience, listener.execute("SELECT 1")).await.is_ok_and(|answer| answer.is_ok()) {
                        return None;
                    }
                }
            }
        }
    });
    Ok(stream::iter([()]).chain(words).boxed())
}
