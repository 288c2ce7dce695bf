//! From the request that noticed something to whoever is told: a queue, so that nobody waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{SecurityEvent, SecurityEventSink};
use crate::{
    clock::Clock,
    id::EventId,
    store::{EventKind, Severity, SharedStore},
    telemetry,
};

/// How many events wait to be written, and for each sink to be delivered.
const QUEUE: usize = 1024;
/// How many are written at a time.
const BATCH: usize = 100;
/// The pauses between tries to write, at first and at most, and how many tries there are: about a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const TRIES: u32 = 12;
/// How long a sink may take for an event.
const SINK_PATIENCE: Duration = Duration::from_secs(120);
/// How long the last events may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The way of events out of this node. Never waits, never fails: what finds no room is counted.
#[derive(Debug)]
pub(crate) struct Delivery {
    queue: mpsc::Sender<Job>,
    sinks: Sinks,
    dropped: Arc<AtomicU64>,
    written: watch::Receiver<()>,
}

enum Job {
    Event(Box<SecurityEvent>),
    Flush(oneshot::Sender<()>),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Event(_) => "Event",
            Self::Flush(_) => "Flush",
        })
    }
}

impl Delivery {
    /// Writes to `store` and delivers to `sinks`, until this is dropped.
    pub(crate) fn start(store: SharedStore, clock: Arc<dyn Clock>, sinks: Vec<Arc<dyn SecurityEventSink>>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (tell, written) = watch::channel(());
        let dropped = Arc::new(AtomicU64::new(0));
        let sinks = Sinks(sinks.into_iter().map(|sink| (Arc::clone(&sink), start_sink(sink))).collect());
        let writer = Writer { store, clock, sinks: sinks.clone(), dropped: Arc::clone(&dropped), written: tell };
        tokio::spawn(writer.run(jobs));
        Self { queue, sinks, dropped, written }
    }

    /// Tells of an event.
    pub(crate) fn tell(&self, event: SecurityEvent) {
        let (kind, severity) = (event.kind.as_str(), event.severity.as_str());
        telemetry::count_security_event(kind, severity);
        if event.severity >= Severity::High {
            tracing::warn!(event.id = %event.id, kind, severity, "security event");
        } else {
            tracing::info!(event.id = %event.id, kind, severity, "security event");
        }
        // Sinks learn of it while the store is away, too.
        self.sinks.tell(&event);
        if self.queue.try_send(Job::Event(Box::new(event))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            telemetry::count(telemetry::SECURITY_EVENTS_DROPPED, "from", "store");
        }
    }

    /// Is told whenever events of this node have been written.
    pub(crate) fn written(&self) -> watch::Receiver<()> {
        self.written.clone()
    }

    /// Waits a moment for what was told of before this to be written.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let flushing = async {
            if self.queue.send(Job::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        if timeout(LAST_WORDS, flushing).await.is_err() {
            tracing::warn!("the last security events were not written");
        }
    }
}

struct Writer {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    sinks: Sinks,
    dropped: Arc<AtomicU64>,
    written: watch::Sender<()>,
}

impl Writer {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut batch, BATCH).await > 0 {
            let (mut events, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
            for job in batch.drain(..) {
                match job {
                    Job::Event(event) => events.push(*event),
                    Job::Flush(done) => waiting.push(done),
                }
            }
            if let Some(missing) = self.missing() {
                self.sinks.tell(&missing);
                events.push(missing);
            }
            self.write(events).await;
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// That events are missing is an event.
    fn missing(&self) -> Option<SecurityEvent> {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        (dropped > 0).then(|| SecurityEvent {
            id: EventId::new(),
            at: self.clock.now(),
            kind: EventKind::EventsDropped,
            severity: Severity::Medium,
            user_id: None,
            organization: None,
            ip: None,
            detail: Map::from_iter([("events".to_owned(), json!(dropped))]),
        })
    }

    async fn write(&self, events: Vec<SecurityEvent>) {
        if events.is_empty() {
            return;
        }
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            match self.store.add_security_events(events.clone()).await {
                Ok(()) => {
                    self.written.send_replace(());
                    return;
                }
                Err(error) => tracing::warn!(%error, "security events will be written again"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let lost = u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.dropped.fetch_add(lost, Ordering::Relaxed);
        telemetry::add(telemetry::SECURITY_EVENTS_DROPPED, "from", "store", lost);
    }
}

/// The sinks, each with its queue.
#[derive(Debug, Clone)]
struct Sinks(Arc<[Sink]>);

/// A sink, and its queue.
type Sink = (Arc<dyn SecurityEventSink>, mpsc::Sender<SecurityEvent>);

impl Sinks {
    /// Puts an event into the queues of those that want it: what they do not want takes no room.
    fn tell(&self, event: &SecurityEvent) {
        for (sink, queue) in &*self.0 {
            if sink.wants(event) && queue.try_send(event.clone()).is_err() {
                telemetry::count(telemetry::SECURITY_EVENTS_DROPPED, "from", "sink");
            }
        }
    }
}

/// A sink on a queue and a task of its own: a slow one delays no other.
fn start_sink(sink: Arc<dyn SecurityEventSink>) -> mpsc::Sender<SecurityEvent> {
    let (queue, mut events) = mpsc::channel::<SecurityEvent>(QUEUE);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let failure = match timeout(SINK_PATIENCE, sink.deliver(&event)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it took too long".to_owned(),
            };
            telemetry::count(telemetry::SECURITY_EVENTS_DROPPED, "from", "sink");
            tracing::warn!(event.id = %event.id, failure, "a security event was not delivered");
        }
    });
    queue
}
