//! The user service: accounts and their passwords.

use std::{borrow::Cow, sync::Arc, time::Instant};

use super::{
    email::{Email, InvalidEmail},
    password::{
        Password,
        policy::{PasswordPolicy, PasswordProblem},
        pool::{HashPool, PoolError},
    },
};
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    clock::Clock,
    error::{Error, FieldError},
    id::{SessionId, UserId},
    mail::NewMail,
    secret::SecretHash,
    store::{
        AtRevision, BucketRule, Created, NewUser, ProfileChange, Redacted, SharedStore, StoreError, Updated,
        UserRecord, UserStatus,
    },
    telemetry,
};

/// The longest display name, in code points.
const DISPLAY_NAME_MAX: usize = 200;

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount<'a> {
    /// The e-mail as typed.
    pub email: &'a str,
    /// The password as typed.
    pub password: &'a crate::secret::Secret,
    /// What to call the user.
    pub display_name: Option<&'a str>,
}

/// An account whose fields are all acceptable.
struct Judged {
    email: Email,
    display_name: Option<String>,
    password: Password,
}

/// What became of a registration. Finding the e-mail taken never signs anybody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The account was made.
    New(UserRecord),
    /// Another account has the e-mail.
    EmailTaken,
    /// A platform administrator exists already (only where one is founded).
    AlreadyFounded,
}

/// What checking a password found.
#[derive(Debug, Clone)]
pub enum PasswordCheck {
    /// It is the user's; with the same password hashed anew where the parameters have changed since.
    Right {
        /// The new hash, if one is due.
        rehashed: Option<Redacted>,
    },
    /// It is not, or there is no such user, or it has no password. The time taken does not tell which.
    Wrong,
}

/// Why the user service could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// Fields that are not acceptable.
    #[error("some fields are not acceptable")]
    Invalid(Vec<FieldError>),
    /// The hash pool is full or failed.
    #[error(transparent)]
    Hashing(#[from] PoolError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Invalid(fields) => Self::invalid(fields),
            UserError::Hashing(PoolError::Full { retry_after }) => {
                Self::unavailable(PoolError::Full { retry_after }).with_retry_after(retry_after)
            }
            UserError::Hashing(PoolError::Closed) => Self::unavailable(PoolError::Closed),
            UserError::Hashing(error) => Self::internal(error),
            UserError::Store(error) => error.into(),
        }
    }
}

/// Accounts and their passwords. Knows nothing of sessions.
#[derive(Debug, Clone)]
pub struct UserService {
    store: SharedStore,
    hashing: HashPool,
    policy: Arc<PasswordPolicy>,
    clock: Arc<dyn Clock>,
}

impl UserService {
    pub(crate) fn new(store: SharedStore, hashing: HashPool, policy: PasswordPolicy, clock: Arc<dyn Clock>) -> Self {
        Self { store, hashing, policy: Arc::new(policy), clock }
    }

    /// Makes an account.
    ///
    /// The password is hashed before the e-mail is looked up, so that a taken one does not answer faster. Finding it
    /// taken counts on `count_if_taken`.
    ///
    /// # Errors
    /// [`UserError::Invalid`] names every field that is not acceptable; otherwise the hash pool's or the store's.
    pub async fn register(
        &self,
        new: NewAccount<'_>,
        count_if_taken: Vec<BucketRule>,
        mail: Option<NewMail>,
        origin: &Origin,
    ) -> Result<Registered, UserError> {
        let user = NewUser { count_if_taken, ..self.prepare(&new).await? };
        let act = Act::new("user.registered", Actor::Anonymous, self.clock.now(), origin).on(user.id).telling(mail);
        Ok(registered(self.store.create_user(user, act).await?))
    }

    /// Whether an account could be made so, as far as its fields go.
    ///
    /// # Errors
    /// [`UserError::Invalid`].
    pub fn check(&self, new: &NewAccount<'_>) -> Result<(), UserError> {
        self.judge(new).map(drop)
    }

    /// Makes an account, or not, without telling which: the mail does, to whoever reads it. The work is the same, down to
    /// one password hash.
    ///
    /// Where somebody registers an e-mail that nobody has verified once more and with another password, the account loses
    /// the one it has: it may be that of whoever came first to take over what the owner of the mailbox would use. An
    /// account that was signed in to, or that an operator made, keeps it.
    ///
    /// Without a mail the work is done and nothing changes: nobody would hear of it.
    ///
    /// # Errors
    /// As [`UserService::register`].
    pub async fn register_unseen(
        &self,
        new: NewAccount<'_>,
        mail: Option<NewMail>,
        origin: &Origin,
    ) -> Result<(), UserError> {
        let Judged { email, display_name, password } = self.judge(&new)?;
        let act = || Act::new("user.registered", Actor::Anonymous, self.clock.now(), origin).telling(mail.clone());
        let untold = || act().ended(Outcome::Denied, "too_many_mails");
        let taken = |user: UserId| match &mail {
            Some(_) => act().on(user).ended(Outcome::Failure, "email_taken"),
            None => untold().on(user),
        };
        loop {
            let Some(user) = self.store.user_by_email(email.key()).await? else {
                let hash = self.measured(self.hashing.hash(password.clone())).await?;
                if mail.is_none() {
                    return Ok(self.store.count_failure(Vec::new(), untold()).await?);
                }
                let user = NewUser::of(&email, display_name.clone(), hash);
                let act = act().on(user.id);
                match self.store.create_user(user, act).await? {
                    Created::New(_) => return Ok(()),
                    // Somebody else did at the same moment: it is judged as a known one.
                    Created::EmailTaken | Created::AlreadyFounded => continue,
                }
            };
            let checked = self.check_password(Some(&user), new.password.expose()).await?;
            let is_contested = user.is_unclaimed() && mail.is_some();
            match (checked, user.password_hash) {
                (PasswordCheck::Wrong, Some(current)) if is_contested => {
                    self.store.void_password(user.id, current.0, taken(user.id)).await?;
                }
                _ => self.store.count_failure(Vec::new(), taken(user.id)).await?,
            }
            return Ok(());
        }
    }

    /// Makes the first platform administrator, unless there is one. Never promotes an existing account.
    ///
    /// # Errors
    /// As [`UserService::register`].
    pub async fn found_admin(&self, new: NewAccount<'_>) -> Result<Registered, UserError> {
        // Seen early, a password that is not used is neither judged nor hashed.
        if self.store.has_admin().await? {
            return Ok(Registered::AlreadyFounded);
        }
        let user = self.prepare(&new).await?;
        let act = Act::new("user.admin_founded", Actor::System, self.clock.now(), &Origin::default()).on(user.id);
        Ok(registered(self.store.found_admin(user, act).await?))
    }

    /// Makes a platform administrator, whether or not there is one. Never promotes an existing account.
    ///
    /// For operators: nothing asks who calls. Whoever can reach this can administer the deployment.
    ///
    /// # Errors
    /// As [`UserService::register`].
    pub async fn create_admin(&self, new: NewAccount<'_>) -> Result<Registered, UserError> {
        let user = NewUser { platform_admin: true, ..self.prepare(&new).await? };
        let act = Act::new("user.admin_created", Actor::System, self.clock.now(), &Origin::default()).on(user.id);
        Ok(registered(self.store.create_user(user, act).await?))
    }

    async fn prepare(&self, new: &NewAccount<'_>) -> Result<NewUser, UserError> {
        let Judged { email, display_name, password } = self.judge(new)?;
        let hash = self.measured(self.hashing.hash(password)).await?;
        Ok(NewUser::of(&email, display_name, hash))
    }

    fn judge(&self, new: &NewAccount<'_>) -> Result<Judged, UserError> {
        let mut problems = Vec::new();
        let email = Email::parse(new.email).map_err(|problem| problems.push(email_problem(&problem))).ok();
        let display_name = new.display_name.map(|name| self::display_name(name, &mut problems));
        let context: Vec<&str> = email.iter().map(Email::as_str).chain(new.display_name).collect();
        let password = self.accept(new.password.expose(), &context, "password", &mut problems);
        let (Some(email), Some(password)) = (email, password) else { return Err(UserError::Invalid(problems)) };
        if !problems.is_empty() {
            return Err(UserError::Invalid(problems));
        }
        Ok(Judged { email, display_name, password })
    }

    /// Whether `password` is the user's. Takes the same time for a user that does not exist.
    ///
    /// # Errors
    /// The hash pool's.
    pub async fn check_password(&self, user: Option<&UserRecord>, password: &str) -> Result<PasswordCheck, UserError> {
        let stored = user.and_then(|user| user.password_hash.clone());
        let typed = Password::for_verification(password);
        let (Some(stored), Some(typed)) = (stored, typed.clone()) else {
            // A password that is too long is nobody's; something of a normal length takes its time instead.
            self.measured(self.hashing.verify_dummy(typed.unwrap_or_else(Password::stand_in))).await?;
            return Ok(PasswordCheck::Wrong);
        };
        let found = self.measured(self.hashing.verify(stored, typed.clone())).await?;
        if !found.matches {
            return Ok(PasswordCheck::Wrong);
        }
        let rehashed = if found.needs_rehash { Some(self.measured(self.hashing.hash(typed)).await?) } else { None };
        Ok(PasswordCheck::Right { rehashed })
    }

    /// Replaces the password of a user whose present one was just checked, and ends all its sessions but `keep`.
    ///
    /// # Errors
    /// [`UserError::Invalid`] on `new_password`; otherwise the hash pool's or the store's.
    pub async fn change_password(
        &self,
        user: &UserRecord,
        new: &str,
        keep: Option<SessionId>,
        mail: Option<NewMail>,
        origin: &Origin,
    ) -> Result<Updated<()>, UserError> {
        let mut problems = Vec::new();
        let context: Vec<&str> = [user.email.as_str()].into_iter().chain(user.display_name.as_deref()).collect();
        let Some(new) = self.accept(new, &context, "new_password", &mut problems) else {
            return Err(UserError::Invalid(problems));
        };
        let hash = self.measured(self.hashing.hash(new)).await?;
        let act = Act::new("user.password_changed", Actor::User(user.id), self.clock.now(), origin).on(user.id);
        let act = act.telling(mail);
        let current = user.password_hash.clone().map(|hash| hash.0);
        Ok(self.store.change_password(user.id, current, hash.0, keep, act).await?)
    }

    /// Sets another password by the token of a link, whose user is known, and ends all its sessions. The password is
    /// judged first: one that is not acceptable uses nothing up. None if the token has been used meanwhile, or has ended.
    ///
    /// # Errors
    /// As [`UserService::change_password`].
    pub async fn reset_password(
        &self,
        user: &UserRecord,
        token: SecretHash,
        new: &str,
        mail: Option<NewMail>,
        origin: &Origin,
    ) -> Result<Option<UserRecord>, UserError> {
        let mut problems = Vec::new();
        let context: Vec<&str> = [user.email.as_str()].into_iter().chain(user.display_name.as_deref()).collect();
        let Some(new) = self.accept(new, &context, "new_password", &mut problems) else {
            return Err(UserError::Invalid(problems));
        };
        let hash = self.measured(self.hashing.hash(new)).await?;
        let act = Act::new("user.password_reset", Actor::User(user.id), self.clock.now(), origin).telling(mail);
        Ok(self.store.reset_password(token, hash.0, act).await?)
    }

    /// Changes what a user says of itself; `Some(None)` removes the display name.
    ///
    /// # Errors
    /// [`UserError::Invalid`] on `display_name`; otherwise the store's.
    pub async fn update_profile(
        &self,
        user: UserId,
        display_name: Option<Option<&str>>,
        expected: Option<i64>,
        origin: &Origin,
    ) -> Result<Updated<UserRecord>, UserError> {
        let mut problems = Vec::new();
        let display_name = display_name.map(|name| name.map(|name| self::display_name(name, &mut problems)));
        if !problems.is_empty() {
            return Err(UserError::Invalid(problems));
        }
        let act = Act::new("user.updated", Actor::User(user), self.clock.now(), origin).on(user);
        Ok(self.store.update_profile(user, ProfileChange { display_name }, expected, act).await?)
    }

    /// Lets a user sign in, or stops it: anything but `Active` ends all its sessions.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_status(
        &self,
        user: UserId,
        status: UserStatus,
        expected: Option<i64>,
        actor: Actor,
        origin: &Origin,
    ) -> Result<Updated<UserRecord>, UserError> {
        let action = match status {
            UserStatus::Active => "user.enabled",
            UserStatus::Disabled => "user.disabled",
            UserStatus::Locked => "user.locked",
        };
        let act = Act::new(action, actor, self.clock.now(), origin).on(user);
        Ok(self.store.set_status(user, status, expected, act).await?)
    }

    /// Removes a user and everything of it for good. `memberships` are the organizations it belongs to, as they were
    /// when it was found that each can do without it.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(
        &self,
        user: UserId,
        memberships: Vec<AtRevision>,
        mail: Option<NewMail>,
        actor: Actor,
        origin: &Origin,
    ) -> Result<Updated<()>, UserError> {
        let act = Act::new("user.deleted", actor, self.clock.now(), origin).on(user).telling(mail);
        Ok(self.store.delete_user(user, memberships, act).await?)
    }

    /// How many password hashes wait or are under way.
    #[must_use]
    pub fn hash_pool_depth(&self) -> usize {
        self.hashing.depth()
    }

    /// Waits for the pool and tells how long that took, and how many others wait.
    async fn measured<T>(&self, work: impl Future<Output = Result<T, PoolError>>) -> Result<T, PoolError> {
        let begin = Instant::now();
        let done = work.await;
        metrics::histogram!(telemetry::HASH_SECONDS).record(begin.elapsed().as_secs_f64());
        metrics::gauge!(telemetry::HASH_POOL_DEPTH).set(u32::try_from(self.hashing.depth()).unwrap_or(u32::MAX));
        done
    }

    fn accept(
        &self,
        password: &str,
        context: &[&str],
        field: &'static str,
        problems: &mut Vec<FieldError>,
    ) -> Option<Password> {
        self.policy
            .check(password, context)
            .map_err(|found| problems.extend(found.iter().map(|problem| password_problem(field, problem))))
            .ok()
    }
}

impl NewUser {
    fn of(email: &Email, display_name: Option<String>, hash: Redacted) -> Self {
        Self {
            id: UserId::new(),
            email: email.as_str().to_owned(),
            email_key: email.key().to_owned(),
            display_name,
            password_hash: Some(hash),
            platform_admin: false,
            count_if_taken: Vec::new(),
        }
    }
}

fn registered(created: Created) -> Registered {
    match created {
        Created::New(user) => Registered::New(user),
        Created::EmailTaken => Registered::EmailTaken,
        Created::AlreadyFounded => Registered::AlreadyFounded,
    }
}

fn email_problem(problem: &InvalidEmail) -> FieldError {
    FieldError::new("email", "invalid_email", problem.to_string())
}

fn password_problem(field: &'static str, problem: &PasswordProblem) -> FieldError {
    FieldError::new(field, problem.code(), problem.to_string())
}

/// A display name as it will be stored; what is wrong with it goes to `problems`.
fn display_name(name: &str, problems: &mut Vec<FieldError>) -> String {
    let name = name.trim();
    let problem: Option<(&'static str, Cow<'static, str>)> = if name.is_empty() {
        Some(("too_short", "must not be empty".into()))
    } else if name.chars().count() > DISPLAY_NAME_MAX {
        Some(("too_long", format!("must be at most {DISPLAY_NAME_MAX} characters long").into()))
    } else if name.chars().any(char::is_control) {
        Some(("invalid_character", "must not contain control characters".into()))
    } else {
        None
    };
    if let Some((code, message)) = problem {
        problems.push(FieldError::new("display_name", code, message));
    }
    name.to_owned()
}
