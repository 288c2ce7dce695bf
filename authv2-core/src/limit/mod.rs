//! Rate limits: one [decision](Rate::decide), kept in this process or in Redis for all nodes.
//!
//! [`Limiter::take`] asks whether a request may pass. It is the service's own for API keys and for the API's defaults,
//! and an application's for whatever it wants to limit: see
//! [`RequestLimit`](crate::authentication::RequestLimit) for routes.
//!
//! Without Redis each node counts for itself. With one the nodes count together, exactly, by the server's clock. While it
//! does not answer, each node grants the configured share by itself: there is a limit at all times. What that means in
//! numbers is in the guide, `docs/limits.md`.

mod fingerprint;
mod gcra;
#[cfg(feature = "redis")]
mod hot;
mod local;
mod subject;

use std::{
    fmt,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_lc_rs::hmac;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use self::{
    fingerprint::KeyHash,
    local::{Local, Request},
};
pub use self::{
    gcra::{Decision, InvalidRate, Rate, Span, Tat},
    subject::Subject,
};
use crate::{
    clock::{Clock, Timestamp},
    config::LimitConfig,
    error::{Code, Error, RatePolicy, Result},
    store::shared::{LimitName, SharedCache},
    telemetry,
};

/// A limit and its name, which responses show in `RateLimit` and `RateLimit-Policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    name: &'static str,
    rate: Rate,
    /// It is the service's own, which counts for itself.
    is_built_in: bool,
}

impl Policy {
    /// The policy of that name: two policies of one name and rate count as one. Characters of the name that are no letter,
    /// digit, `-` or `_` are shown as `_`.
    #[must_use]
    pub const fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, is_built_in: false }
    }

    /// One of the service's own, which shares no count with an application's of that name.
    pub(crate) const fn built_in(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, is_built_in: true }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its rate.
    #[must_use]
    pub const fn rate(&self) -> &Rate {
        &self.rate
    }

    pub(crate) fn with_rate(self, rate: Rate) -> Self {
        Self { rate, ..self }
    }
}

/// One limit that a request runs against.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    /// By what rate.
    pub policy: Policy,
    /// Who is counted.
    pub subject: Subject<'a>,
    /// What it costs; 0 to look only.
    pub cost: u32,
}

impl<'a> Take<'a> {
    /// One request.
    #[must_use]
    pub const fn one(policy: Policy, subject: Subject<'a>) -> Self {
        Self { policy, subject, cost: 1 }
    }
}

/// The limits that have counted a request already, so that none does it twice.
#[derive(Debug, Clone, Default)]
pub struct Counted(Vec<KeyHash>);

/// What becomes of a request. Of several limits it tells of the one that refuses for longest, or of the one that is
/// nearest to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may pass.
    pub allowed: bool,
    /// The limit.
    pub policy: Policy,
    /// How many more may pass at once.
    pub remaining: u32,
    /// How long until the whole burst is there again.
    pub reset_after: Duration,
    /// For a request that may not pass: how long until it may; none for one that never may.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    fn of(policy: Policy, decision: &Decision) -> Self {
        let Decision { allowed, remaining, reset_after, retry_after, tat: _ } = *decision;
        Self { allowed, policy, remaining, reset_after, retry_after }
    }

    /// The one to tell of.
    fn tighter(self, other: Self) -> Self {
        // A wait that has no end is the longest.
        let wait = |verdict: &Self| verdict.retry_after.unwrap_or(Duration::MAX);
        let is_other = match (self.allowed, other.allowed) {
            (true, true) => other.remaining < self.remaining,
            (false, false) => wait(&other) > wait(&self),
            (own, _) => own,
        };
        if is_other { other } else { self }
    }

    /// Goes on if it may pass.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the time to wait.
    pub fn require(&self) -> Result<()> {
        if self.allowed { Ok(()) } else { Err(self.refusal(Code::RateLimited)) }
    }

    /// The refusal that says this.
    pub(crate) fn refusal(&self, code: Code) -> Error {
        let rate = self.policy.rate;
        let policy = RatePolicy { name: self.policy.name, quota: u64::from(rate.requests()), window: rate.per() };
        let wait = self.retry_after.unwrap_or_else(|| rate.per());
        Error::new(code, "try again later: see the header `Retry-After`").with_policy(policy).with_retry_after(wait)
    }
}

/// What happens while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Outage {
    /// Each node grants `limits.local_share` percent of the rate by itself.
    #[default]
    LocalShare,
    /// Requests are refused with 503: for what must not happen once too often.
    Refuse,
}

/// Decides on requests. A cheap clone.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    shared: SharedCache,
    local: Local,
    #[cfg(feature = "redis")]
    hot: hot::Hot,
    names: hmac::Key,
    local_share: u32,
}

/// A decision under way, or made already where what it takes is at hand. It holds nothing of the request.
#[must_use = "nothing is decided before this was awaited"]
pub struct Taking(State);

enum State {
    Done(Option<Result<Verdict>>),
    UnderWay(BoxFuture<'static, Result<Verdict>>),
}

impl Future for Taking {
    type Output = Result<Verdict>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // A future must not be polled after it was ready.
            State::Done(verdict) => verdict.take().map_or(Poll::Pending, Poll::Ready),
            State::UnderWay(future) => future.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Taking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").finish_non_exhaustive()
    }
}

/// So many limits at once take no allocation: a request's own limit and its organization's, or an address's networks.
const AT_ONCE: usize = 4;

/// The limits that a request runs against.
pub(crate) type Takes<'a> = SmallVec<[Take<'a>; AT_ONCE]>;

/// A limit that a request runs against, by what it is known as in Redis too.
#[derive(Debug, Clone)]
struct Asked {
    policy: Policy,
    cost: u32,
    key: KeyHash,
    /// For Redis alone.
    name: LimitName,
}

impl Limiter {
    /// A limiter whose nodes count together where `shared` leads to a Redis. `key` names the keys there, and must be the
    /// same for all nodes.
    #[must_use]
    pub fn new(config: &LimitConfig, shared: SharedCache, clock: Arc<dyn Clock>, key: &Zeroizing<[u8; 32]>) -> Self {
        // With a Redis, half of it is for what is known of the keys there.
        let bytes = if shared.is_there() { config.memory_bytes / 2 } else { config.memory_bytes };
        Self(Arc::new(Inner {
            clock,
            shared,
            local: Local::new(bytes),
            #[cfg(feature = "redis")]
            hot: hot::Hot::new(config),
            names: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()),
            local_share: config.local_share,
        }))
    }

    /// Takes from all of these limits, or from none; no answer where that takes asking Redis. Without limits everything
    /// passes; a limit that is named twice for one subject counts once, at its first cost.
    #[must_use]
    pub fn take_at_hand(&self, takes: &[Take<'_>]) -> Option<Verdict> {
        self.take_at_hand_at(takes, self.0.clock.now())
    }

    /// [`take_at_hand`](Self::take_at_hand), for one who has asked what time it is already.
    #[inline]
    pub(crate) fn take_at_hand_at(&self, takes: &[Take<'_>], now: Timestamp) -> Option<Verdict> {
        let inner = &*self.0;
        #[cfg(feature = "redis")]
        if inner.shared.is_there() {
            return inner.take_at_hand(takes, now);
        }
        Some(told(match takes {
            [take] => Some(inner.take_one(take, now)),
            takes => inner.take_several(distinct(takes).map(|take| (&take.policy, inner.hash(take), take.cost)), now),
        }))
    }

    /// Takes from all of these limits, or from none; from one that is named twice for one subject once, at its first cost.
    ///
    /// # Errors
    /// [`Code::Unavailable`] while Redis does not answer, where [`Outage::Refuse`] is declared. That the limit is used
    /// up is no error: the verdict says it.
    pub fn take(&self, takes: &[Take<'_>], outage: Outage) -> Taking {
        if let Some(verdict) = self.take_at_hand(takes) {
            return Taking(State::Done(Some(Ok(verdict))));
        }
        let mut asked: Vec<Asked> = distinct(takes)
            .map(|take| Asked {
                policy: take.policy,
                cost: take.cost,
                key: self.0.hash(take),
                name: self.0.shared_name(take),
            })
            .collect();
        // In one order on all nodes, so that no two refund each other for ever.
        asked.sort_by(|one, other| one.name.cmp(&other.name));
        let inner = Arc::clone(&self.0);
        Taking(State::UnderWay(Box::pin(async move { inner.take_together(&asked, outage).await })))
    }

    /// Drops what has counted the request already, and keeps in mind what is left.
    pub(crate) fn leave_out(&self, takes: &mut Takes<'_>, counted: &mut Counted) {
        takes.retain(|take| {
            let key = self.0.hash(take);
            let is_new = !counted.0.contains(&key);
            if is_new {
                counted.0.push(key);
            }
            is_new
        });
    }

    /// Gives back the memory of keys that are idle.
    pub(crate) fn sweep(&self) {
        let now = self.0.clock.now();
        self.0.local.sweep(now);
        #[cfg(feature = "redis")]
        self.0.hot.sweep(now);
    }
}

impl Inner {
    #[inline]
    fn hash(&self, take: &Take<'_>) -> KeyHash {
        self.local.hash(&Named(take))
    }

    fn shared_name(&self, take: &Take<'_>) -> LimitName {
        take.subject.shared_name(&take.policy, &self.names)
    }

    /// By what this node has counted by itself.
    #[cfg(feature = "redis")]
    fn take_here<'a>(&self, takes: impl Iterator<Item = (&'a Policy, KeyHash, u32)>) -> Verdict {
        told(self.take_several(takes, self.clock.now()))
    }

    #[inline]
    fn take_one(&self, take: &Take<'_>, now: Timestamp) -> Verdict {
        let Take { policy, cost, .. } = take;
        Verdict::of(*policy, &self.local.take(Request { key: self.hash(take), rate: &policy.rate, cost: *cost }, now))
    }

    fn take_several<'a>(
        &self,
        takes: impl Iterator<Item = (&'a Policy, KeyHash, u32)>,
        now: Timestamp,
    ) -> Option<Verdict> {
        let takes: SmallVec<[(&Policy, KeyHash, u32); AT_ONCE]> = takes.collect();
        let requests = takes.iter().map(|(policy, key, cost)| Request { key: *key, rate: &policy.rate, cost: *cost });
        let (mut policies, mut tightest) = (takes.iter(), None);
        self.local.take_all(requests, now, |decision| {
            if let Some((policy, ..)) = policies.next() {
                tightest = tighter(tightest, Verdict::of(**policy, &decision));
            }
        });
        tightest
    }

    #[cfg(not(feature = "redis"))]
    async fn take_together(&self, asked: &[Asked], _: Outage) -> Result<Verdict> {
        let takes = asked.iter().map(|asked| (&asked.policy, asked.key, asked.cost));
        Ok(told(self.take_several(takes, self.clock.now())))
    }
}

/// What tells one count from another.
struct Named<'t, 'a>(&'t Take<'a>);

impl Hash for Named<'_, '_> {
    /// Whole words where that can be: they are hashed fastest. The lengths and the kind say where each part ends.
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Take { policy: Policy { name, rate, is_built_in }, subject, cost: _ } = self.0;
        let (requests, per, burst) = rate.figures();
        hasher.write_u64(u64::from(requests) << 32 | u64::from(burst));
        hasher.write_u64(per);
        hasher.write_u64((name.len() as u64) << 16 | u64::from(subject.kind()) << 8 | u64::from(*is_built_in));
        subject.write(hasher);
        hasher.write(name.as_bytes());
    }
}

/// Without what is named again.
fn distinct<'t, 'a>(takes: &'t [Take<'a>]) -> impl Iterator<Item = &'t Take<'a>> + Clone {
    let is_first = move |place: usize, take: &Take<'_>| {
        !takes.iter().take(place).any(|earlier| earlier.policy == take.policy && earlier.subject == take.subject)
    };
    takes.iter().enumerate().filter(move |(place, take)| is_first(*place, take)).map(|(_, take)| take)
}

/// The verdict of all limits together.
fn told(tightest: Option<Verdict>) -> Verdict {
    let verdict = tightest.unwrap_or(Verdict {
        allowed: true,
        policy: Policy::new("unlimited", Rate::UNLIMITED),
        remaining: u32::MAX,
        reset_after: Duration::ZERO,
        retry_after: None,
    });
    if !verdict.allowed {
        telemetry::count(telemetry::RATE_LIMITED, "policy", verdict.policy.name);
    }
    verdict
}

fn tighter(tightest: Option<Verdict>, next: Verdict) -> Option<Verdict> {
    Some(tightest.map_or(next, |tightest| tightest.tighter(next)))
}
