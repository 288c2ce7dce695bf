//! An issuer elsewhere, as an HTTP server of documents: it rotates, stalls, lies and dies as it is told.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use crate::{error::HarnessError, port};

/// What stands at one path.
#[derive(Debug, Clone)]
pub struct Document {
    /// The status code.
    pub status: u16,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Document {
    /// JSON that may be cached for so many seconds, with an `ETag` of its own.
    #[must_use]
    pub fn json(body: &Value, max_age: u64) -> Self {
        let body = body.to_string();
        let sum = body.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("cache-control".to_owned(), format!("public, max-age={max_age}")),
            ("etag".to_owned(), format!("\"{sum:x}\"")),
        ];
        Self { status: 200, headers, body }
    }

    /// Anything else.
    #[must_use]
    pub fn other(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body: body.into() }
    }

    fn etag(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == "etag").map(|(_, value)| value.as_str())
    }
}

/// How often it was asked for something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// In all.
    pub times: usize,
    /// Of these, how often it could say that nothing had changed.
    pub unchanged: usize,
}

#[derive(Debug, Default)]
struct State {
    documents: HashMap<String, Document>,
    asked: HashMap<String, Asked>,
    /// It takes requests and does not answer them.
    is_stalled: bool,
    /// How long it thinks about each answer.
    delay: Duration,
}

/// A running issuer, gone when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: Option<JoinHandle<()>>,
}

impl Issuer {
    /// An issuer on a port of its own that publishes nothing yet.
    ///
    /// # Errors
    /// The system's.
    pub async fn start() -> Result<Self, HarnessError> {
        let failed = || HarnessError::io("starting an issuer");
        // A port that no outgoing connection gets: while it is dead nobody may be connected to itself.
        let port = port::free().map_err(failed())?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed())?;
        let state = Arc::<Mutex<State>>::default();
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&state))));
        Ok(Self { port, state, serving })
    }

    /// Where it is, with a path.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Puts a document at a path.
    pub fn publish(&self, path: &str, document: Document) {
        lock(&self.state).documents.insert(path.to_owned(), document);
    }

    /// Publishes metadata of the issuer at `path`, as OpenID Connect has them, and its keys at `/keys`.
    pub fn publish_keys(&self, path: &str, keys: &[Value], max_age: u64) {
        let metadata =
            json!({"issuer": self.at(path), "jwks_uri": self.at("/keys"), "response_types_supported": ["code"]});
        let place = format!("{}/.well-known/openid-configuration", path.trim_end_matches('/'));
        self.publish(&place, Document::json(&metadata, max_age));
        self.publish("/keys", Document::json(&json!({"keys": keys}), max_age));
    }

    /// How often it was asked for what stands at a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> Asked {
        lock(&self.state).asked.get(path).copied().unwrap_or_default()
    }

    /// Stops or begins to answer.
    pub fn stall(&self, is_stalled: bool) {
        lock(&self.state).is_stalled = is_stalled;
    }

    /// Thinks this long about each answer.
    pub fn delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Ends: connections are refused.
    pub async fn die(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ended = serving.await;
        }
    }

    /// Comes back at the same place.
    ///
    /// # Errors
    /// The system's.
    pub async fn revive(&mut self) -> Result<(), HarnessError> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await;
        let listener = listener.map_err(HarnessError::io("starting an issuer again"))?;
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
        Ok(())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        // A client that goes away in the middle is none of the issuer's concern.
        tokio::spawn(async move { answer(stream, &state).await.unwrap_or_default() });
    }
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let condition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("if-none-match").then(|| value.trim().to_owned())
    });
    let (answer, delay) = reply(state, &path, condition.as_deref());
    sleep(delay).await;
    while lock(state).is_stalled {
        sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn reply(state: &Mutex<State>, path: &str, condition: Option<&str>) -> (String, Duration) {
    let mut state = lock(state);
    let document = state.documents.get(path).cloned().unwrap_or_else(|| Document::other(404, &[], "nothing is here"));
    let is_unchanged = condition.is_some() && condition == document.etag();
    let asked = state.asked.entry(path.to_owned()).or_default();
    asked.times += 1;
    asked.unchanged += usize::from(is_unchanged);
    let fields: String = document.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer = if is_unchanged {
        format!("HTTP/1.1 304 x\r\n{fields}\r\n")
    } else {
        let length = document.body.len();
        format!("HTTP/1.1 {} x\r\n{fields}content-length: {length}\r\n\r\n{}", document.status, document.body)
    };
    (answer, state.delay)
}
