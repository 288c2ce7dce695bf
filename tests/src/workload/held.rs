//! The sessions that the clients hold, live and dead.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use reqwest::RequestBuilder;

use crate::{client::Answer, fuzz::Nonsense};

/// A session that was acknowledged.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) user: String,
    pub(super) session: String,
    credential: Credential,
    /// All of the family that were given out, the newest last; empty for a cookie. Held while one is presented.
    pub(super) tokens: tokio::sync::Mutex<Vec<String>>,
    is_dead: AtomicBool,
}

#[derive(Debug)]
enum Credential {
    Bearer(String),
    Cookie { session: String, csrf: String },
}

impl Held {
    /// What a sign-in gave.
    pub(super) fn of(user: &str, answer: &Answer) -> Self {
        let refresh = answer.string("/refresh_token");
        let credential = if refresh.is_empty() {
            Credential::Cookie { session: cookie(answer, "authv2"), csrf: cookie(answer, "authv2_csrf") }
        } else {
            Credential::Bearer(answer.string("/access_token").to_owned())
        };
        let tokens = if refresh.is_empty() { Vec::new() } else { vec![refresh.to_owned()] };
        Self {
            user: user.to_owned(),
            session: answer.string("/session/id").to_owned(),
            credential,
            tokens: tokio::sync::Mutex::new(tokens),
            is_dead: AtomicBool::new(false),
        }
    }

    /// Puts the credential on a request.
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credential {
            Credential::Bearer(token) => request.bearer_auth(token),
            Credential::Cookie { session, csrf } => {
                request.header("cookie", format!("authv2={session}; authv2_csrf={csrf}")).header("x-csrf-token", csrf)
            }
        }
    }

    /// Somebody has begun to end it.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    fn is_live(&self) -> bool {
        !self.is_dead.load(Ordering::Relaxed)
    }
}

/// All sessions that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Vec<Arc<Held>>>);

impl Book {
    pub(super) fn add(&self, held: Held) {
        self.lock().push(Arc::new(held));
    }

    pub(super) fn all(&self) -> Vec<Arc<Held>> {
        self.lock().clone()
    }

    /// One that nobody has begun to end.
    pub(super) fn live(&self, random: &mut Nonsense) -> Option<Arc<Held>> {
        pick(&self.lock().iter().filter(|held| held.is_live()).collect::<Vec<_>>(), random)
    }

    /// One of the last that somebody ended.
    pub(super) fn dead(&self, random: &mut Nonsense) -> Option<Arc<Held>> {
        pick(&self.lock().iter().rev().filter(|held| !held.is_live()).take(30).collect::<Vec<_>>(), random)
    }

    /// Another one of the same user that nobody has begun to end.
    pub(super) fn sibling(&self, of: &Held, random: &mut Nonsense) -> Option<Arc<Held>> {
        let is_sibling = |held: &&Arc<Held>| held.is_live() && held.user == of.user && held.session != of.session;
        pick(&self.lock().iter().filter(is_sibling).collect::<Vec<_>>(), random)
    }

    /// Somebody has begun to end all of a user, save one perhaps.
    pub(super) fn all_die(&self, user: &str, except: Option<&str>) {
        for held in self.lock().iter().filter(|held| held.user == user && Some(held.session.as_str()) != except) {
            held.die();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick(among: &[&Arc<Held>], random: &mut Nonsense) -> Option<Arc<Held>> {
    among.get(random.below(among.len())).map(|held| Arc::clone(held))
}

/// The value of a cookie that an answer sets; empty where it sets none.
fn cookie(answer: &Answer, name: &str) -> String {
    let lines = answer.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}
