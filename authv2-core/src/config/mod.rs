//! Settings, typed and judged as a whole before anything starts: defaults, then `authv2.toml`, then the environment.
//!
//! A variable is `AUTHV2_` and the setting's name in upper case, with `__` for the dot: `session.max_per_user` is
//! `AUTHV2_SESSION__MAX_PER_USER`. Every problem is reported at once, names that are no setting among them, because a
//! misspelt security setting would otherwise be off in silence. Durations are whole seconds, or milliseconds where the
//! name ends in `_ms`.
//!
//! ```
//! use authv2_core::config::Config;
//!
//! let config = Config::load(Config::development(), None, [("AUTHV2_SESSION__MAX_PER_USER", "3")])?;
//! assert_eq!(config.session.max_per_user, 3);
//!
//! let errors = Config::load(config, None, [("AUTHV2_SESSION__MAX", "3"), ("AUTHV2_TOKENS__LEEWAY", "1h")]).unwrap_err();
//! assert_eq!(errors.problems().len(), 2);
//! # Ok::<(), authv2_core::config::ConfigErrors>(())
//! ```

mod changes;
mod claim;
mod cookies;
mod dpop;
mod entry;
mod identity;
mod issuers;
mod limits;
mod mail;
mod mfa;
mod origin;
mod password;
mod permissions;
mod problem;
mod proxy;
mod reader;
mod redis;
mod registration;
mod schema;
mod security;
mod session;
mod setting;
mod store;
mod throttle;
mod tokens;
mod unused;
mod usage;
mod visitor;

// The default store is SQLite: without it no configuration of these tests would do.
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    changes::ChangeConfig,
    claim::{ClaimPath, RequiredClaim},
    cookies::CookieConfig,
    dpop::{DpopConfig, Nonces},
    identity::BootstrapAdmin,
    issuers::{IssuerConfig, NO_TYPE},
    limits::LimitConfig,
    mail::{MailConfig, SmtpConfig, SmtpTls},
    mfa::MfaConfig,
    origin::{InvalidOrigin, Origin},
    password::PasswordConfig,
    permissions::PermissionConfig,
    problem::{ConfigErrors, ConfigProblem, Problem},
    proxy::ProxyConfig,
    redis::{RedisConfig, RedisMode},
    registration::RegistrationConfig,
    schema::schema,
    security::{Reaction, SecurityConfig},
    session::{OnChange, SessionConfig},
    store::StoreConfig,
    throttle::ThrottleConfig,
    tokens::TokenConfig,
    usage::UsageConfig,
};
use self::{
    problem::Problems,
    reader::{FILE_VARIABLE, Reader},
    setting::choice,
    visitor::{LimitCheck, Visitor},
};
use crate::secret::Secret;

/// A day, in seconds.
const DAY: u64 = 86_400;

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = "authv2.toml";

/// How strictly the settings are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// For one's own machine: plain http, an in-memory store and cheap hashes are allowed.
    Development,
    /// For real users: whatever would expose them stops the start.
    Production,
}

choice!(Profile, "one of `development`, `production`");

/// Everything that can be set. [`Config::default`] is the production profile, [`Config::development`] the insecure
/// one.
///
/// A configuration that was built or changed in code is judged by [`Config::validate`].
#[derive(Debug, Clone)]
pub struct Config {
    /// How strictly the settings are judged; setting it changes no other setting.
    pub profile: Profile,
    /// The address to listen on; `127.0.0.1:8080` by default. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The `iss` of tokens and the base of metadata (RFC 8414 section 2): an https or http URL without query,
    /// fragment or trailing slash. Production needs one, with https.
    pub issuer: Option<String>,
    /// The origins whose pages may send cookies along and open sockets; see [`Config::listening_on`] for the default.
    pub allowed_origins: Vec<Origin>,
    /// The key that encrypts signing keys at rest: base64 or base64url of 32 bytes. Whoever has it and the database
    /// can sign as this issuer. [`MasterKey::from_base64`](crate::master_key::MasterKey::from_base64) reads it.
    pub master_key: Option<Secret>,
    /// A file that holds the master key instead.
    pub master_key_file: Option<PathBuf>,
    /// The platform administrator that is made at start if there is none. An existing account is never promoted.
    pub bootstrap_admin: Option<BootstrapAdmin>,
    /// The database.
    pub store: StoreConfig,
    /// The Redis that nodes share.
    pub redis: RedisConfig,
    /// Access tokens and signing keys.
    pub tokens: TokenConfig,
    /// Proofs of possession, for tokens that are bound to a key.
    pub dpop: DpopConfig,
    /// Sessions and refresh tokens.
    pub session: SessionConfig,
    /// Password hashing and strength.
    pub password: PasswordConfig,
    /// Limits on failed sign-ins.
    pub throttle: ThrottleConfig,
    /// Rate limits.
    pub limits: LimitConfig,
    /// The security monitor.
    pub security: SecurityConfig,
    /// Who may make an account.
    pub registration: RegistrationConfig,
    /// Mails.
    pub mail: MailConfig,
    /// Second factors.
    pub mfa: MfaConfig,
    /// Following what other nodes change.
    pub changes: ChangeConfig,
    /// Decisions: what is kept at hand and counted.
    pub permissions: PermissionConfig,
    /// What is kept of the use of API keys.
    pub usage: UsageConfig,
    /// The session cookie.
    pub cookies: CookieConfig,
    /// The proxies in front.
    pub proxy: ProxyConfig,
    /// The issuers elsewhere whose access tokens are taken; none by default.
    pub issuers: Vec<IssuerConfig>,
    /// Names of settings that are set but have no effect in this version; a caller warns of each.
    pub unused: Vec<&'static str>,
}

impl Default for Config {
    /// The production profile. It does not pass [`Config::validate`] as it is: an issuer and a master key are missing,
    /// and nobody can guess them.
    fn default() -> Self {
        Self {
            profile: Profile::Production,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            issuer: None,
            allowed_origins: Vec::new(),
            master_key: None,
            master_key_file: None,
            bootstrap_admin: None,
            store: StoreConfig::default(),
            redis: RedisConfig::default(),
            tokens: TokenConfig::default(),
            dpop: DpopConfig::default(),
            session: SessionConfig::default(),
            password: PasswordConfig::default(),
            throttle: ThrottleConfig::default(),
            limits: LimitConfig::default(),
            security: SecurityConfig::default(),
            registration: RegistrationConfig::default(),
            mail: MailConfig::default(),
            mfa: MfaConfig::default(),
            changes: ChangeConfig::default(),
            permissions: PermissionConfig::default(),
            usage: UsageConfig::default(),
            cookies: CookieConfig::default(),
            proxy: ProxyConfig::default(),
            issuers: Vec::new(),
            unused: Vec::new(),
        }
    }
}

impl Config {
    /// The only insecure configuration, for one's own machine: the development profile, and cookies that travel over
    /// plain http.
    #[must_use]
    pub fn development() -> Self {
        Self { profile: Profile::Development, cookies: CookieConfig { insecure: true }, ..Self::default() }
    }

    /// `base` with the settings of `file` and, stronger, those of `env`, judged as a whole.
    ///
    /// `env` holds variables by name; those that do not start with `AUTHV2_` are none of ours, `AUTHV2_CONFIG`,
    /// `AUTHV2_TEST_…` and what Kubernetes sets for a Service called `authv2` are left alone.
    ///
    /// # Errors
    /// Every problem at once: unknown names, values of the wrong form, what [`Config::validate`] finds, and a file
    /// that cannot be read or is not TOML.
    pub fn load<K, V>(
        base: Self,
        file: Option<&Path>,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigErrors>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut config = base;
        let mut reader = Reader::open(file, env);
        config.walk(&mut reader);
        let is_whole = reader.is_whole;
        let mut problems = reader.finish();
        if is_whole && let Err(found) = config.validate() {
            problems.add_unless_concerned(found);
        }
        problems.into_result().map(|()| config)
    }

    /// [`Config::load`] from this process's environment and the file that `AUTHV2_CONFIG` names, or else
    /// `authv2.toml` in the working directory if there is one.
    ///
    /// # Errors
    /// As [`Config::load`]; a file that `AUTHV2_CONFIG` names must exist.
    pub fn from_env_and_file(base: Self) -> Result<Self, ConfigErrors> {
        let named = std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
        // `symlink_metadata` and not `exists`: a file that is there but unreadable must stop the start.
        let file = named.or_else(|| Path::new(DEFAULT_FILE).symlink_metadata().is_ok().then(|| DEFAULT_FILE.into()));
        Self::load(base, file.as_deref(), std::env::vars_os())
    }

    /// Judges the settings as a whole, as [`Config::load`] does.
    ///
    /// # Errors
    /// Every problem at once, in the order of the settings' groups.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut limits = LimitCheck::default();
        self.clone().walk(&mut limits);
        let mut problems = Problems::default();
        self.check_identity(&mut problems);
        self.store.check(self.profile, &mut problems);
        self.redis.check(&mut problems);
        self.dpop.check(&mut problems);
        self.tokens.check(&mut problems);
        self.session.check(&mut problems);
        self.password.check(self.profile, &mut problems);
        self.throttle.check(&mut problems);
        self.security.check(self.profile, &mut problems);
        self.mail.check(self.profile, &mut problems);
        self.mfa.check(&mut problems);
        self.usage.check(&mut problems);
        self.cookies.check(self.profile, &mut problems);
        self.proxy.check(self.profile, &mut problems);
        issuers::check(&self.issuers, self.issuer.as_deref(), self.profile, &mut problems);
        limits.and(problems)
    }

    /// Takes the address that was bound as `listen`, and fills `allowed_origins`, where the user set none: with the issuer's origin and the
    /// listening origin, which for a loopback or unspecified address is `localhost`, `127.0.0.1` and `[::1]`.
    ///
    /// In production only the issuer's is filled in: the listening origin is plain http there, behind a proxy that
    /// ends TLS, and would be refused if somebody had set it.
    pub fn listening_on(&mut self, address: SocketAddr) {
        self.listen = address;
        if !self.allowed_origins.is_empty() {
            return;
        }
        let issuer = self.issuer.as_deref().and_then(|issuer| Origin::of_url(issuer).ok());
        let listening = match self.profile {
            Profile::Production => Vec::new(),
            Profile::Development => listening_origins(address),
        };
        for origin in issuer.into_iter().chain(listening) {
            if !self.allowed_origins.contains(&origin) {
                self.allowed_origins.push(origin);
            }
        }
    }

    /// Shows every setting to `visitor`.
    fn walk(&mut self, visitor: &mut impl Visitor) {
        self.walk_identity(visitor);
        self.store.walk(visitor);
        self.redis.walk(visitor);
        self.tokens.walk(visitor);
        self.dpop.walk(visitor);
        self.session.walk(visitor);
        self.password.walk(visitor);
        self.throttle.walk(visitor);
        self.limits.walk(visitor);
        self.security.walk(visitor);
        self.registration.walk(visitor);
        self.mail.walk(visitor);
        self.mfa.walk(visitor);
        self.changes.walk(visitor);
        self.permissions.walk(visitor);
        self.usage.walk(visitor);
        self.cookies.walk(visitor);
        self.proxy.walk(visitor);
        visitor.setting("issuers", "The issuers elsewhere whose access tokens are taken.", &mut self.issuers);
        unused::walk(&mut self.unused, visitor);
    }
}

fn listening_origins(address: SocketAddr) -> Vec<Origin> {
    let (ip, port) = (address.ip(), address.port());
    let is_local = ip.is_loopback() || ip.is_unspecified();
    let hosts = if is_local {
        vec![format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
    } else {
        vec![address.to_string()]
    };
    // A link-local address with its zone is no origin: browsers cannot write one either.
    hosts.into_iter().filter_map(|host| format!("http://{host}").parse().ok()).collect()
}
