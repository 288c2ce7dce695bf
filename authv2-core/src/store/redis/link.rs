//! The one connection that everybody uses, made again when it is lost: by one attempt at a time, in the background.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::Shared};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::connect::{Connection, Connector};

/// How long one attempt may take, with all the servers that have to be asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a Cluster's connection may try to mend itself: it knows more than one node.
const MENDING: Duration = Duration::from_secs(2);

/// Keeps a connection.
pub(super) struct Link {
    connector: Arc<Connector>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    attempt: Option<Attempt>,
    /// Connections made so far.
    made: u64,
    /// Whether it is known from the log that there is none.
    is_told: bool,
}

/// A connection, and which it is.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) connection: Connection,
    since: Instant,
}

/// Ends with the connection, or with an error that says that there is none.
type Attempt = Shared<oneshot::Receiver<Open>>;

impl Link {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, state: Arc::default() }
    }

    /// Starts to connect, if nobody has yet.
    pub(super) fn begin(&self) {
        let _waited_for_by_whoever_asks = self.attempt(&mut lock(&self.state));
    }

    /// The connection, once there is one; nothing if it could not be made.
    pub(super) async fn open(&self) -> Option<Open> {
        let attempt = {
            let mut state = lock(&self.state);
            if let Some(open) = &state.open {
                return Some(open.clone());
            }
            self.attempt(&mut state)
        };
        attempt.await.ok()
    }

    /// Gives up the connection of that number, since it failed.
    pub(super) fn replace(&self, number: u64) {
        let mut state = lock(&self.state);
        let Some(open) = state.open.as_ref().filter(|open| open.number == number) else { return };
        if open.connection.is_cluster() {
            // One node that is down is no reason to leave the others.
            if open.since.elapsed() >= MENDING {
                let _in_the_background = self.attempt(&mut state);
            }
        } else {
            state.open = None;
        }
    }

    fn attempt(&self, state: &mut State) -> Attempt {
        if let Some(attempt) = state.attempt.as_ref().filter(|attempt| attempt.peek().is_none()) {
            return attempt.clone();
        }
        let (made, attempt) = oneshot::channel();
        let attempt = attempt.shared();
        state.attempt = Some(attempt.clone());
        let (connector, state) = (self.connector.clone(), self.state.clone());
        tokio::spawn(async move {
            let connected = timeout(PATIENCE, connector.connect()).await;
            let mut state = lock(&state);
            state.attempt = None;
            match connected {
                Ok(Ok(connection)) => {
                    let open = state.keep(connection);
                    // Whoever asked may have stopped waiting.
                    let _told = made.send(open);
                }
                Ok(Err(error)) => state.tell(&error),
                Err(elapsed) => state.tell(&elapsed),
            }
        });
        attempt
    }
}

impl State {
    fn keep(&mut self, connection: Connection) -> Open {
        if std::mem::take(&mut self.is_told) {
            tracing::info!("connected to Redis again");
        }
        self.made += 1;
        let open = Open { number: self.made, connection, since: Instant::now() };
        self.open = Some(open.clone());
        open
    }

    /// Once an outage, not once an attempt.
    fn tell(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(%error, "cannot connect to Redis; going on without the shared cache");
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
