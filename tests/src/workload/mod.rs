//! A constant, seeded load on several nodes through HTTP: sign-ins, refreshes, uses, ends of sessions, roles given and
//! taken, checks; and the history of it all.

mod acts;
mod audit;
mod cast;
mod held;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use self::{cast::Cast, held::Book};
use crate::{
    client::{Answer, Api},
    error::HarnessError,
    fuzz::Nonsense,
    history::{Act, Disturbance, Event, Gave, History, Moment, Outcome},
};

/// How much load, and of what kind.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The same seed asks the same things; what comes of them is up to the deployment.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How often each of them asks for something, unless it still waits for an answer.
    pub every: Duration,
    /// Whether a client tries a second node where the first does not serve it.
    pub retries: bool,
}

/// A load in progress.
#[derive(Debug)]
pub struct Running {
    client: Client,
    seed: u64,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Makes users and an organization through the first node, then begins.
    ///
    /// # Errors
    /// When the deployment does not do what the load needs to begin with.
    pub async fn start(&self, apis: Vec<Api>) -> Result<Running, HarnessError> {
        let cast = Cast::introduce(&apis).await?;
        let record = Record { begin: Instant::now(), history: Mutex::default() };
        let parts = Parts { apis, retries: self.retries, record, book: Book::default(), cast };
        let client = Client(Arc::new(parts));
        let (stop, stopped) = watch::channel(false);
        let tasks = (0..self.clients).map(|number| {
            let seed = self.seed.wrapping_add(u64::try_from(number).unwrap_or(0));
            tokio::spawn(client.clone().go_on(Nonsense::seeded(seed), self.every, stopped.clone()))
        });
        Ok(Running { tasks: tasks.collect(), client, seed: self.seed, stop })
    }
}

impl Running {
    /// Does something to the deployment, and puts on record when and what; `node` where it takes one down.
    pub async fn while_doing<T>(&self, what: &str, node: Option<usize>, act: impl Future<Output = T>) -> T {
        let begun = self.client.0.record.now();
        let done = act.await;
        let ended = self.client.0.record.now();
        let disturbance = Disturbance { begun, ended, what: what.to_owned(), node };
        self.client.0.record.history().disturbances.push(disturbance);
        done
    }

    /// Waits until each node signs in again; how long that took.
    ///
    /// # Errors
    /// When one of them does not within `patience`.
    pub async fn recovery(&self, patience: Duration) -> Result<Duration, HarnessError> {
        let begin = Instant::now();
        let mut random = Nonsense::seeded(self.seed ^ 0x5EC0);
        for node in 0..self.client.0.apis.len() {
            while !self.client.sign_in(node, &mut random).await {
                if begin.elapsed() > patience {
                    let output = format!("node {node} does not sign in");
                    return Err(HarnessError::Late { program: "recovery".to_owned(), after: patience, output });
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(begin.elapsed())
    }

    /// How many requests have been made so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.client.0.record.history().events.len()
    }

    /// Stops the clients, then asks every node about everything that was acknowledged, so that the history holds the
    /// answers.
    ///
    /// # Errors
    /// When a node does not answer within `patience`.
    pub async fn finish(self, patience: Duration) -> Result<History, HarnessError> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await
                .map_err(|error| HarnessError::Failed { program: "load".to_owned(), output: error.to_string() })?;
        }
        self.client.audit(patience).await?;
        let history = self.client.0.record.history().clone();
        Ok(history)
    }
}

/// What all clients share. A cheap clone.
#[derive(Debug, Clone)]
struct Client(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    apis: Vec<Api>,
    retries: bool,
    record: Record,
    book: Book,
    cast: Cast,
}

impl Client {
    async fn go_on(self, mut random: Nonsense, every: Duration, stopped: watch::Receiver<bool>) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            ticks.tick().await;
            self.do_something(&mut random).await;
        }
    }

    /// Sends one request, and a second one to the next node if that is what clients do here; puts both on record.
    async fn ask(&self, node: usize, act: Act, request: impl Fn(&Api) -> RequestBuilder) -> Option<Answer> {
        let first = self.ask_once(node, false, &act, &request).await;
        match &first {
            Some(answer) if answer.status != 503 => first,
            _ if self.0.retries => self.ask_once((node + 1) % self.0.apis.len(), true, &act, &request).await,
            _ => first,
        }
    }

    async fn ask_once(
        &self,
        node: usize,
        is_retry: bool,
        act: &Act,
        request: &impl Fn(&Api) -> RequestBuilder,
    ) -> Option<Answer> {
        let api = self.0.apis.get(node)?;
        let begun = self.0.record.now();
        let answer = match request(api).send().await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Err(error),
        };
        let ended = self.0.record.now();
        let outcome = outcome(act, &answer);
        let event = Event { begun, ended, node, is_retry, act: act.clone(), outcome };
        self.0.record.history().events.push(event);
        answer.ok()
    }

    fn any_node(&self, random: &mut Nonsense) -> usize {
        random.below(self.0.apis.len())
    }
}

fn outcome(act: &Act, answer: &Result<Answer, reqwest::Error>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let mut told = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                told = format!("{told}: {error}");
                cause = error.source();
            }
            return Outcome::Lost(told);
        }
    };
    let gave = match act {
        _ if answer.status >= 300 => Gave::Nothing,
        Act::SignIn { .. } => Gave::Session(answer.string("/session/id").to_owned()),
        Act::Refresh { .. } => Gave::Token(answer.string("/refresh_token").to_owned()),
        Act::Check { .. } => Gave::Verdict(answer.json.get("allowed") == Some(&true.into())),
        _ => Gave::Nothing,
    };
    let has_retry_after = answer.header("retry-after").parse::<u64>().is_ok();
    Outcome::Answered { status: answer.status, code: answer.code().to_owned(), has_retry_after, gave }
}

/// The history so far.
#[derive(Debug)]
struct Record {
    begin: Instant,
    history: Mutex<History>,
}

impl Record {
    fn now(&self) -> Moment {
        self.begin.elapsed()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
