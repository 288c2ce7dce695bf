//! From settings to a running service.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use super::{
    AuthenticationService, Inner, ResourceDirectory,
    admission::SetLimits,
    api_key::ApiKeys,
    at_hand::CookiesAtHand,
    background,
    cookies::CookieStyle,
    csrf::CsrfTokens,
    devices::DeviceCookies,
    dpop::Proofs,
    following::{self, Burial},
    foundation,
    keys::KeyWatch,
    mail::Mails,
    mfa::Mfa,
    monitor::Monitor,
    outbox,
    revocation::read_revoked,
    throttle::Throttle,
    tokens::Tokens,
};
use crate::{
    changes::{Feed, Follower},
    clock::{Clock, SystemClock},
    config::{Config, ConfigErrors, Profile},
    error::FieldError,
    jwt::{JwtService, KeyChangeError, KeyError, KeyRing, KeyRingError, RevokedTokens, Signer},
    limit::Limiter,
    mail::{Mailer, TemplateError},
    master_key::MasterKeyError,
    metering::Metering,
    organization::OrganizationService,
    permission::PermissionService,
    security::{BreachedFile, BreachedPasswords, SecurityEventSink},
    session::SessionService,
    store::{
        Guard, Intercepted, SharedStore, StoreError,
        breaker::Rules,
        shared::{RedisError, SharedCache},
    },
    user::{
        UserError, UserService,
        password::{
            hasher::{Argon2Params, HashError, PasswordHasher, Pepper},
            policy::PasswordPolicy,
            pool::{self, HashPool},
        },
    },
};

/// The service could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings that are not acceptable, all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The store could not be opened.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error(transparent)]
    Open(#[from] crate::store::sql::OpenError),
    /// The role that serves requests can do more than it should, and the profile is production.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error("store.url: {0}")]
    PrivilegedRole(crate::store::sql::ExcessRight),
    /// This build has no store of its own, and none was given.
    #[error("store.url: this build has no store: enable the feature `sqlite` or `postgres`, or give it one")]
    NoStore,
    /// The store failed while starting.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cache that nodes share cannot be used as it is configured.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The master key cannot be used.
    #[error("master_key: {0}")]
    MasterKey(#[from] MasterKeyError),
    /// The file with the master key cannot be read or made.
    #[error("master_key_file: {0}")]
    MasterKeyFile(#[source] std::io::Error),
    /// The master key is not the one that this store's secrets were made with.
    #[error("master_key: it is not the one that this store was set up with")]
    ForeignMasterKey,
    /// The first signing key cannot be read.
    #[error("tokens.signing_key_file: {0}")]
    SigningKeyFile(#[source] std::io::Error),
    /// The first signing key was read and is none, or is too weak.
    #[error("tokens.signing_key_file: {0}")]
    UnusableSigningKey(#[source] KeyError),
    /// The signing keys cannot be used.
    #[error("signing keys: {0}")]
    SigningKeys(#[from] KeyRingError),
    /// The signing keys cannot be founded or brought up to date.
    #[error("signing keys: {0}")]
    KeyChange(#[from] KeyChangeError),
    /// Passwords cannot be hashed as asked.
    #[error("password: {0}")]
    Hashing(#[from] HashError),
    /// The hash pool did not start.
    #[error(transparent)]
    HashPool(#[from] pool::StartError),
    /// The issuers elsewhere could not be set up.
    #[cfg(feature = "issuers")]
    #[error(transparent)]
    Issuers(#[from] crate::issuer::IssuerError),
    /// The file of breached passwords cannot be used.
    #[error("security.breached_passwords_file: {0}")]
    BreachedPasswords(#[source] std::io::Error),
    /// The webhook cannot be set up.
    #[cfg(feature = "issuers")]
    #[error("security.webhook_url: {0}")]
    Webhook(#[from] crate::security::WebhookError),
    /// The directory that mails are to be written to cannot be made.
    #[error("mail.sink: {0}")]
    MailSink(#[source] std::io::Error),
    /// Mails cannot be handed over under TLS.
    #[cfg(feature = "smtp")]
    #[error("mail.smtp.tls: TLS cannot be set up")]
    MailServer(#[source] crate::mail::MailError),
    /// A template of mails cannot be used.
    #[error("mail.templates: {0}")]
    MailTemplate(#[from] TemplateError),
    /// An address must be verified, and there is nobody to send it a mail.
    #[error("registration.require_verified_email: set `mail.smtp.host`, or `mail.sink` for development")]
    NoMailer,
    /// The first administrator could not be made.
    #[error("{}", refused_admin(.0))]
    Admin(#[source] UserError),
    /// The system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] crate::secret::NoRandomness),
}

/// One line for each setting that is not acceptable.
fn refused_admin(error: &UserError) -> String {
    match error {
        UserError::Invalid(fields) => {
            let line = |field: &FieldError| format!("bootstrap_admin.{}: {}", field.field, field.message);
            fields.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        other => format!("bootstrap_admin: {other}"),
    }
}

/// Puts a service together. Whatever is not replaced is the secure default.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    clock: Arc<dyn Clock>,
    store: Option<(SharedStore, Feed)>,
    directory: Option<Arc<dyn ResourceDirectory>>,
    signers: Vec<Arc<dyn Signer>>,
    sinks: Vec<Arc<dyn SecurityEventSink>>,
    breached: Option<Arc<dyn BreachedPasswords>>,
    mailer: Option<Arc<dyn Mailer>>,
}

impl Builder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock::new()),
            store: None,
            directory: None,
            signers: Vec::new(),
            sinks: Vec::new(),
            breached: None,
            mailer: None,
        }
    }

    /// Judges time by `clock`. Default: the system's, corrected by the database's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps everything in `store`, which publishes what it commits on `feed`. Its schema must be there already.
    /// Default: the database of `store.url`.
    #[must_use]
    pub fn store(mut self, store: SharedStore, feed: Feed) -> Self {
        self.store = Some((store, feed));
        self
    }

    /// Lists the application's resources with `directory`, for AuthZEN's resource search. Default: none, and the search
    /// finds nothing.
    #[must_use]
    pub fn resource_directory(mut self, directory: Arc<dyn ResourceDirectory>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Knows a signing key that is held elsewhere, in a KMS or an HSM; may be called for several. On a fresh store it
    /// signs from the start, else it is pending until a rotation takes it. Every node needs it while it signs. Default:
    /// none, and keys are made here and sealed under the master key.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signers.push(signer);
        self
    }

    /// Tells `sink` of security events too; may be called for several. Default: the webhook of the settings, if there is
    /// one.
    #[must_use]
    pub fn security_event_sink(mut self, sink: Arc<dyn SecurityEventSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Asks `breached` about each password that was right at a sign-in. Default: the file of the settings, if there is
    /// one.
    #[must_use]
    pub fn breached_passwords(mut self, breached: Arc<dyn BreachedPasswords>) -> Self {
        self.breached = Some(breached);
        self
    }

    /// Sends mails through `mailer`. Default: the SMTP server or the directory of the settings, if there is one; else
    /// none are sent.
    #[must_use]
    pub fn mailer(mut self, mailer: Arc<dyn Mailer>) -> Self {
        self.mailer = Some(mailer);
        self
    }

    /// Starts the service: opens the store, brings its schema up to date, reads or makes the keys, and makes the
    /// first administrator where one is configured.
    ///
    /// Must be called in a Tokio runtime that lives as long as the service.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn build(self) -> Result<AuthenticationService, StartError> {
        let Self { config, clock, store, directory, signers, sinks, breached, mailer } = self;
        config.validate()?;
        if config.profile == Profile::Development {
            tracing::warn!("the development profile is not for real users: set `profile` to `production` for those");
        }
        for setting in &config.unused {
            tracing::warn!(setting, "this setting has no effect in this version");
        }
        let (store, feed) = match store {
            Some(given) => given,
            None => open_store(&config).await?,
        };
        let guard = Arc::new(Guard::new(Rules::default(), config.store.acquire_timeout));
        let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&guard)));
        background::follow_clock(&store, &*clock).await?;
        // Before anything is read that is kept in memory.
        let follower = Follower::begin(Arc::clone(&store), feed.clone(), clock.now()).await?;
        let master = Arc::new(foundation::master_key(&config, &store).await?);
        let mails = Mails::new(&config, mailer, &master)?;
        let shared = SharedCache::connect(&config.redis, &master).await?;
        feed.listen(Arc::new(Burial { shared: shared.clone(), clock: Arc::clone(&clock) }));
        let issuer = foundation::issuer(&config, &store).await?;
        let audience = config.tokens.audience.clone().unwrap_or_else(|| issuer.clone());
        let watch = KeyWatch::new();
        feed.listen(watch.listener());
        let policy = foundation::key_policy(&config);
        let ring = KeyRing::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&master), policy);
        let keys = foundation::signing_keys(&config, &store, &ring, &signers).await?;
        let jwt = JwtService::new(issuer.as_str(), audience.as_str(), &keys, Arc::clone(&master))?
            .with_leeway(config.tokens.leeway)
            .with_signers(signers);
        let revoked = Arc::new(RevokedTokens::new());
        feed.listen(Arc::clone(&revoked) as _);
        read_revoked(&store, &revoked, clock.now()).await?;
        let users = user_service(&config, Arc::clone(&store), Arc::clone(&clock))?;
        foundation::admin(&config, &users).await?;
        let sessions = SessionService::new(
            Arc::clone(&store),
            shared.clone(),
            &feed,
            Arc::clone(&clock),
            (config.session.clone(), config.security.holds_high_risk()),
            master.derive("refresh successors"),
        );
        sessions.know_generations().await?;
        let permissions = PermissionService::new(
            Arc::clone(&store),
            shared.clone(),
            &feed,
            Arc::clone(&clock),
            config.permissions.clone(),
            &master.derive("consistency tokens"),
        );
        if config.security.probing_denials > 0 {
            permissions.watch_denials(config.security.probing_denials, config.security.window);
        }
        let breached = breached_passwords(&config, breached)?;
        #[cfg(feature = "issuers")]
        let sinks = {
            let webhook = crate::security::webhook::Webhook::of(&config.security, config.profile)?;
            sinks.into_iter().chain(webhook).collect()
        };
        let watching = (config.security.clone(), config.throttle.clone());
        let monitor = Monitor::start(watching, &store, &clock, sinks, breached)?;
        let organizations = OrganizationService::new(Arc::clone(&store), Arc::clone(&clock));
        let metering = Metering::new(Arc::clone(&store), &feed);
        let mfa = Mfa::new(&config.mfa, &issuer, &master);
        let proofs = Proofs::new(&config, &issuer, &master.derive("dpop nonces"));
        #[cfg(feature = "issuers")]
        let elsewhere = {
            if let Some(own) = config.issuers.iter().find(|elsewhere| elsewhere.issuer == issuer) {
                let problem = crate::issuer::IssuerProblem::Own;
                return Err(crate::issuer::IssuerError { issuer: own.label().to_owned(), problem }.into());
            }
            super::external::Elsewhere::new(crate::issuer::Issuers::start(&config.issuers, config.profile)?)
        };
        let limiter = Limiter::new(&config.limits, shared.clone(), Arc::clone(&clock), &master.derive("limit names"));
        let inner = Arc::new(Inner {
            issuer,
            audience,
            clock,
            store,
            guard,
            shared,
            feed,
            users,
            sessions,
            jwt,
            ring,
            organizations,
            permissions,
            metering,
            keys: watch,
            tokens: Tokens::new(config.tokens.cache_bytes),
            cookies_at_hand: CookiesAtHand::new(config.tokens.cache_bytes / 4),
            api_keys: ApiKeys::new(config.tokens.cache_bytes / 4),
            revoked,
            throttle: Throttle::new(&master.derive("throttle names"), config.throttle.clone()),
            limiter,
            set_limits: SetLimits::of(&config.limits),
            monitor,
            mails,
            csrf: CsrfTokens::new(&master.derive("csrf tokens")),
            devices: DeviceCookies::new(&master.derive("device cookies")),
            mfa,
            proofs,
            cookies: if config.cookies.insecure { CookieStyle::Insecure } else { CookieStyle::Secure },
            config,
            directory,
            #[cfg(feature = "issuers")]
            elsewhere,
        });
        background::start(&inner);
        following::start(&inner, follower);
        outbox::start(&inner);
        Ok(AuthenticationService(inner))
    }
}

/// The users alone, their passwords judged and hashed as `config` says: for tools that work beside a running service
/// on the same store. It starts nothing else and makes no keys.
///
/// # Errors
/// [`StartError::Hashing`] or [`StartError::HashPool`] if passwords cannot be hashed as asked.
pub fn user_service(config: &Config, store: SharedStore, clock: Arc<dyn Clock>) -> Result<UserService, StartError> {
    Ok(UserService::new(store, hash_pool(config)?, policy(config), clock))
}

/// The signing keys alone: for tools that work beside a running service on the same store. It makes no key.
///
/// # Errors
/// [`StartError`] if the master key cannot be used, or is not the store's.
pub async fn key_ring(config: &Config, store: SharedStore, clock: Arc<dyn Clock>) -> Result<KeyRing, StartError> {
    let master = Arc::new(foundation::master_key(config, &store).await?);
    Ok(KeyRing::new(store, clock, master, foundation::key_policy(config)))
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
async fn open_store(config: &Config) -> Result<(SharedStore, Feed), StartError> {
    let feed = Feed::with_max_staleness(config.changes.max_staleness);
    let store = crate::store::sql::SqlStore::open(&config.store.sql_options(), feed.clone()).await?;
    if config.store.migrate {
        store.migrate().await?;
    } else {
        store.check_schema().await?;
    }
    if let Some(right) = store.excess_right().await? {
        if config.profile == Profile::Production {
            return Err(StartError::PrivilegedRole(right));
        }
        tracing::warn!(%right, "store.url: production would refuse it");
    }
    Ok((Arc::new(store), feed))
}

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
async fn open_store(_: &Config) -> Result<(SharedStore, Feed), StartError> {
    Err(StartError::NoStore)
}

fn breached_passwords(
    config: &Config,
    given: Option<Arc<dyn BreachedPasswords>>,
) -> Result<Option<Arc<dyn BreachedPasswords>>, StartError> {
    match (given, &config.security.breached_passwords_file) {
        (Some(given), _) => Ok(Some(given)),
        (None, Some(path)) => Ok(Some(Arc::new(BreachedFile::open(path).map_err(StartError::BreachedPasswords)?))),
        (None, None) => Ok(None),
    }
}

fn hash_pool(config: &Config) -> Result<HashPool, StartError> {
    let password = &config.password;
    let mut hasher = PasswordHasher::new(Argon2Params {
        memory_kib: password.memory_kib,
        iterations: password.iterations,
        parallelism: password.parallelism,
    })?;
    if let Some(pepper) = &password.pepper {
        hasher = hasher.with_pepper(Pepper::new(pepper.expose().as_bytes().to_vec())?);
    }
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = password.threads.and_then(NonZeroUsize::new).unwrap_or(cores);
    Ok(HashPool::start(hasher, threads, password.queue)?)
}

fn policy(config: &Config) -> PasswordPolicy {
    let policy = PasswordPolicy::default().with_service_words(config.password.context_words.iter().cloned());
    #[cfg(feature = "zxcvbn")]
    let policy = match config.password.min_strength.and_then(|score| zxcvbn::Score::try_from(score).ok()) {
        Some(score) => policy.with_min_score(score),
        None => policy,
    };
    policy
}
