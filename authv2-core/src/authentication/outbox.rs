//! Sending what waits in the outbox: on every node, each mail by one of them, again until it is taken or too old.
//!
//! A mail is taken for a while and kept for as long as it is being sent; a node that dies loses it by the clock. After a
//! failure one mail at a time is tried, at growing intervals, so that a server that is down is not besieged.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{Inner, mail::Mails};
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    clock::Timestamp,
    id::ClaimId,
    mail::{Kind, Mail, MailError, Purpose},
    secret::{Secret, SecretHash, random_bytes},
    store::{MailClaim, NewLink, StoreError, UserRecord, UserStatus, WaitingMail},
    telemetry,
};

/// How many mails a node sends at a time.
const AT_ONCE: usize = 4;
/// How often a node looks for mails that others wrote, or that are due again. Its own wake it.
const LOOK: Duration = Duration::from_secs(1);
/// For how long a mail is taken, and how often that is renewed.
const HOLD: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// The pause after a failure doubles up to this: before any mail is tried, and before the same one is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the service waits for what is being sent: what it does not wait for is sent twice.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is tried to note that a mail went, while the store does not answer.
const NOTE_AGAIN: Duration = Duration::from_millis(500);

/// The worker of a node: to be stopped with it.
pub(super) struct Worker {
    stop: watch::Sender<bool>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self { stop: watch::channel(false).0, task: std::sync::Mutex::default() }
    }

    /// Takes no more mails, and waits for those that are being sent.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return };
        let whole = task.abort_handle();
        if timeout(ENDING, task).await.is_err() {
            // Nothing is sent, and the store is not asked, once the service has ended.
            whole.abort();
            tracing::warn!("mails were being sent when the service ended: they may be sent again");
        }
    }
}

/// Begins to send, where mails are sent at all.
pub(super) fn start(inner: &Arc<Inner>) {
    let Some(mails) = &inner.mails else { return };
    let task = tokio::spawn(work(Arc::downgrade(inner), mails.worker.stop.subscribe()));
    *mails.worker.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
}

async fn work(service: Weak<Inner>, mut stop: watch::Receiver<bool>) {
    let mut sending: JoinSet<Ending> = JoinSet::new();
    let mut pace = Pace::default();
    let Some(feed) = service.upgrade().map(|inner| inner.feed.clone()) else { return };
    loop {
        tokio::select! {
            Some(ended) = sending.join_next() => pace.note(ended.unwrap_or(Ending::Failed)),
            () = pace.pause(feed.mail_posted()), if sending.len() < pace.most() => {}
            _ = stop.changed() => {
                while sending.join_next().await.is_some() {}
                return;
            }
        }
        let room = pace.most().saturating_sub(sending.len());
        if room == 0 || pace.is_paused() {
            continue;
        }
        let Some(inner) = service.upgrade() else { return };
        let (id, now) = (ClaimId::new(), inner.clock.now());
        let until = now + HOLD;
        let claim = MailClaim { id, now, until };
        match inner.store.claim_mails(claim, u32::try_from(room).unwrap_or(1)).await {
            Ok(claimed) => {
                pace.looked(claimed.len() >= room);
                for waiting in claimed {
                    let inner = Arc::clone(&inner);
                    sending.spawn(async move { deliver(&inner, (id, until), &waiting).await });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the mails that wait could not be read");
                pace.looked(false);
            }
        }
    }
}

/// How the sending of a mail ended, as far as the others are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Whoever takes mails takes them.
    Taken,
    /// It does not for now.
    Failed,
    /// Nothing was learned of it.
    Unknown,
}

/// How many mails are tried at a time, and when.
#[derive(Debug)]
struct Pace {
    failures: u32,
    /// Nothing is looked for before this, whoever wakes the worker.
    not_before: Instant,
    /// There may be more than were taken the last time.
    is_more: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { failures: 0, not_before: Instant::now(), is_more: true }
    }
}

impl Pace {
    /// Waits until it is time to look: at once after a wake-up, where nothing has failed.
    async fn pause(&self, woken: impl Future<Output = ()>) {
        let wait = self.not_before.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        } else if !self.is_more {
            let _ = timeout(LOOK, woken).await;
        }
    }

    /// How many mails are sent at a time.
    fn most(&self) -> usize {
        if self.failures == 0 { AT_ONCE } else { 1 }
    }

    fn is_paused(&self) -> bool {
        Instant::now() < self.not_before
    }

    fn looked(&mut self, is_more: bool) {
        self.is_more = is_more;
    }

    fn note(&mut self, ending: Ending) {
        match ending {
            Ending::Taken => self.failures = 0,
            // Those that were under way with the first that failed say the same.
            Ending::Failed if self.is_paused() => {}
            Ending::Failed => {
                self.not_before = Instant::now() + pause_after(self.failures);
                self.failures = self.failures.saturating_add(1);
            }
            Ending::Unknown => {}
        }
        self.is_more = true;
    }
}

/// The pause after so many failures before: doubling, and up to half as long again, so that nodes do not come together.
fn pause_after(failures: u32) -> Duration {
    let pause = Duration::from_secs(1).saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let [chance] = random_bytes::<1>().unwrap_or_default();
    pause + pause / 2 * u32::from(chance) / u32::from(u8::MAX)
}

/// Sends a mail that was taken, and notes what became of it.
async fn deliver(inner: &Inner, (claim, until): (ClaimId, Timestamp), waiting: &WaitingMail) -> Ending {
    let Some(mails) = &inner.mails else { return Ending::Unknown };
    let held = Held { inner, claim, until, waiting };
    match held.prepared(mails).await {
        Ok(Prepared::Send(mail)) => held.send(mails, &mail).await,
        Ok(Prepared::Drop(outcome)) => {
            held.ended(outcome, None).await;
            Ending::Unknown
        }
        Err(error) => {
            tracing::warn!(%error, mail = %waiting.id, "a mail could not be prepared");
            held.put_off().await;
            Ending::Unknown
        }
    }
}

/// What is to be done with a mail.
enum Prepared {
    Send(Box<Mail>),
    /// It says nothing to anybody any more; why, for the count.
    Drop(&'static str),
}

/// What a mail says, given who reads it.
struct Says {
    kind: Kind,
    case: &'static str,
    purpose: Option<Purpose>,
}

/// A mail in this node's hand.
struct Held<'a> {
    inner: &'a Inner,
    claim: ClaimId,
    /// Until when it is, unless that is renewed.
    until: Timestamp,
    waiting: &'a WaitingMail,
}

impl Held<'_> {
    async fn prepared(&self, mails: &Mails) -> Result<Prepared, StoreError> {
        let WaitingMail { id, expires_at, .. } = *self.waiting;
        if self.inner.clock.now() >= expires_at {
            tracing::warn!(mail = %id, kind = self.waiting.kind, "a mail is too old to be sent");
            return Ok(Prepared::Drop("expired"));
        }
        // Of a version that knows more kinds than this one: it is left to a node that does.
        let kind = Kind::from_stored(&self.waiting.kind).ok_or_else(|| StoreError::corrupt("a mail of no kind"))?;
        let Some((user, to)) = self.reader().await? else { return Ok(Prepared::Drop("nobody")) };
        let must_verify = self.inner.config.registration.require_verified_email;
        let Some(says) = says(kind, user.as_ref(), must_verify) else { return Ok(Prepared::Drop("pointless")) };
        if says.purpose.is_some_and(|purpose| self.inner.clock.now() >= self.waiting.created_at + life(purpose)) {
            tracing::warn!(mail = %id, kind = self.waiting.kind, "a mail is too old for its link");
            return Ok(Prepared::Drop("expired"));
        }
        let token = match (says.purpose, &user) {
            (Some(purpose), Some(user)) => match self.ready(mails, purpose, user).await? {
                Some(token) => Some((purpose, token)),
                None => return Ok(Prepared::Drop("superseded")),
            },
            _ => None,
        };
        self.write(mails, says.kind, (user.as_ref(), to), (says.case, token)).map(|mail| Prepared::Send(Box::new(mail)))
    }

    /// Who reads it, as far as it is a user, and at which address. None if there is nobody.
    async fn reader(&self) -> Result<Option<(Option<UserRecord>, String)>, StoreError> {
        let WaitingMail { recipient, user_id, address, .. } = self.waiting;
        let user = match (recipient.as_str(), user_id, address) {
            ("address", _, Some(address)) => return Ok(Some((None, address.clone()))),
            ("user", Some(user), _) => self.inner.store.user(*user).await?,
            ("owner", _, Some(key)) => self.inner.store.user_by_email(key).await?,
            _ => return Err(StoreError::corrupt("a mail to nobody")),
        };
        Ok(user.map(|user| {
            let to = user.email.clone();
            (Some(user), to)
        }))
    }

    /// The token of its link, live from now on. None if a newer one is, or the account has changed since.
    async fn ready(&self, mails: &Mails, purpose: Purpose, user: &UserRecord) -> Result<Option<Secret>, StoreError> {
        let token = mails.key.token(&self.waiting.salt, purpose);
        let link = NewLink {
            mail: self.waiting.id,
            claim: self.claim,
            user: user.id,
            purpose,
            hash: SecretHash::of(token.expose().as_bytes()),
            created_at: self.waiting.created_at,
            expires_at: self.waiting.created_at + life(purpose),
        };
        Ok(self.inner.store.ready_link(link).await?.then_some(token))
    }

    fn write(
        &self,
        mails: &Mails,
        kind: Kind,
        (user, to): (Option<&UserRecord>, String),
        (case, token): (&'static str, Option<(Purpose, Secret)>),
    ) -> Result<Mail, StoreError> {
        let unreadable = |_| StoreError::corrupt("the details of a mail");
        let mut facts: crate::mail::Details = serde_json::from_str(&self.waiting.details).map_err(unreadable)?;
        let mut add = |name: &'static str, fact: String| drop(facts.insert(name.into(), fact));
        let issuer = &self.inner.issuer;
        add("service", issuer.split_once("://").map_or(issuer.as_str(), |(_, service)| service).to_owned());
        add("email", to.clone());
        add("case", case.to_owned());
        // Whoever registers an address that is somebody else's chooses a name too, and would speak through it.
        if let Some(name) = user.filter(|user| user.email_verified).and_then(|user| user.display_name.clone()) {
            add("name", name);
        }
        if let Some((purpose, token)) = &token {
            let link = self.inner.config.mail.link.replace("{issuer}", issuer);
            add("link", link.replace("{purpose}", purpose.as_str()).replace("{token}", token.expose()));
        }
        let text = mails.templates.render(kind, self.waiting.language.as_deref(), &facts).map_err(|error| {
            tracing::error!(%error, "a template of mails");
            StoreError::corrupt("a template of mails")
        })?;
        let token = token.map(|(_, token)| token);
        let (language, subject, text, html) = (text.language, text.subject, text.text, text.html);
        Ok(Mail { id: self.waiting.id, kind, to, language, subject, text, html, token })
    }

    async fn send(&self, mails: &Mails, mail: &Mail) -> Ending {
        if !self.is_in_hand().await {
            return Ending::Unknown;
        }
        let sending = mails.mailer.send(mail);
        tokio::pin!(sending);
        let sent = loop {
            match timeout(RENEW, &mut sending).await {
                Ok(sent) => break sent,
                Err(_) => self.hold().await,
            }
        };
        match sent {
            Ok(()) => {
                self.ended("sent", None).await;
                Ending::Taken
            }
            Err(error @ MailError::Permanent(_)) => {
                tracing::warn!(mail = %mail.id, kind = mail.kind.as_str(), error = %Chain(&error), "a mail was refused");
                let act = Act::new("mail.refused", Actor::System, self.inner.clock.now(), &Origin::default());
                self.ended("refused", Some(act.on(mail.id).ended(Outcome::Failure, mail.kind.as_str()))).await;
                Ending::Taken
            }
            Err(error @ MailError::Deferred(_)) => {
                tracing::warn!(mail = %mail.id, kind = mail.kind.as_str(), error = %Chain(&error), "a reader's mail waits");
                telemetry::count(telemetry::MAILS, "outcome", "deferred");
                self.put_off().await;
                Ending::Unknown
            }
            Err(error @ MailError::Temporary(_)) => {
                tracing::warn!(mail = %mail.id, kind = mail.kind.as_str(), error = %Chain(&error), "a mail waits");
                telemetry::count(telemetry::MAILS, "outcome", "deferred");
                self.put_off().await;
                Ending::Failed
            }
        }
    }

    /// Whether it is this node's for long enough to begin sending it: this node may have stood still since it took it.
    async fn is_in_hand(&self) -> bool {
        let now = self.inner.clock.now();
        if now + RENEW < self.until {
            return true;
        }
        match self.inner.store.keep_mail(self.waiting.id, self.claim, now + HOLD).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, mail = %self.waiting.id, "a mail is left to whoever takes it next");
                false
            }
        }
    }

    async fn hold(&self) {
        let until = self.inner.clock.now() + HOLD;
        match self.inner.store.keep_mail(self.waiting.id, self.claim, until).await {
            Ok(true) => {}
            // It goes on: what is being said to the server cannot be taken back.
            Ok(false) => tracing::warn!(mail = %self.waiting.id, "a mail was taken by another node while it was sent"),
            Err(error) => {
                tracing::warn!(%error, mail = %self.waiting.id, "a mail is sent, and may be taken by another");
            }
        }
    }

    /// Removes it, however long the store takes: what went must not go again.
    async fn ended(&self, outcome: &'static str, act: Option<Act>) {
        telemetry::count(telemetry::MAILS, "outcome", outcome);
        while let Err(error) = self.inner.store.remove_mail(self.waiting.id, self.claim, act.clone()).await {
            tracing::warn!(%error, mail = %self.waiting.id, outcome, "what became of a mail is not noted yet");
            sleep(NOTE_AGAIN).await;
        }
    }

    async fn put_off(&self) {
        let failures = u32::try_from(self.waiting.attempts.saturating_sub(1)).unwrap_or_default();
        let due_at: Timestamp = self.inner.clock.now() + pause_after(failures);
        if let Err(error) = self.inner.store.put_mail_off(self.waiting.id, self.claim, due_at).await {
            tracing::warn!(%error, mail = %self.waiting.id, "a mail stays taken until that runs out");
        }
    }
}

/// What a mail of this kind says to this reader. None if that has no point any more.
fn says(kind: Kind, user: Option<&UserRecord>, must_verify: bool) -> Option<Says> {
    let Some(user) = user else { return Some(Says { kind, case: "", purpose: None }) };
    let is_active = user.status == UserStatus::Active;
    // Where nobody signs in before the e-mail is verified, nobody does so by a link: whoever registered the address would
    // share the account with its owner, who is asked first.
    let kind = if kind == Kind::SignInLink && must_verify && user.is_unclaimed() { Kind::Registration } else { kind };
    let (case, purpose) = match kind {
        Kind::Registration if !user.is_unclaimed() => ("known", None),
        Kind::Registration if user.password_hash.is_none() => ("set_password", Some(Purpose::ResetPassword)),
        Kind::Registration => ("confirm", Some(Purpose::VerifyEmail)),
        Kind::VerifyEmail if user.email_verified => return None,
        Kind::VerifyEmail => ("", Some(Purpose::VerifyEmail)),
        Kind::ResetPassword => ("", Some(Purpose::ResetPassword)),
        Kind::SignInLink => ("", Some(Purpose::SignIn)),
        _ => ("", None),
    };
    (is_active || purpose.is_none()).then_some(Says { kind, case, purpose })
}

/// How long a link lives, from when it was asked for.
fn life(purpose: Purpose) -> Duration {
    match purpose {
        Purpose::VerifyEmail => Kind::VerifyEmail,
        Purpose::ResetPassword => Kind::ResetPassword,
        Purpose::SignIn => Kind::SignInLink,
    }
    .life()
}

/// An error with all that it came from.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
