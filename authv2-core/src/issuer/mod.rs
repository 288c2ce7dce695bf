//! Access tokens of issuers elsewhere: Keycloak, Auth0, Entra, Cognito, any OpenID Connect or RFC 9068 issuer.
//!
//! # Rules
//! 1. An issuer is trusted for what its settings say: its audiences, algorithms, types of token, organizations. Its
//!    keys verify no other issuer's tokens.
//! 2. Its keys are fetched ahead of their end, by one task, whatever the requests: those wait only while there are no
//!    keys, or once in a while for a key that is not known. Nobody can make this node ask the issuer more often.
//! 3. Keys that cannot be fetched anew go on verifying for a bounded time. Without any, its tokens can be neither
//!    accepted nor refused: that is an outage.
//! 4. An ID token is no access token. What may be one is refused.
//! 5. A caller is (`iss`, `sub`) and nobody of this deployment. Its roles are ours, by a table in the settings.
//!
//! # What it does not do
//! Tokens are not looked up at their issuer: one that was revoked there is good here until it expires.

mod fetch;
mod freshness;
mod judge;
mod keys;
mod location;
mod metadata;
mod source;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use self::{
    judge::Judge,
    keys::{Keys, Newer, Usable},
};
use tokio::time::Instant;

pub(crate) use self::fetch::Fetcher;
pub use self::{
    judge::Vouched,
    keys::{IssuerHealth, KeyState},
    location::{InvalidLocation, Location},
};
use crate::{
    clock::Timestamp,
    config::{IssuerConfig, Profile},
    jwt::{TokenRefusal, claimed_issuer, open_token},
    principal::Trust,
};

/// How often a token is tried: with the keys at hand, with those that somebody was fetching already, and with those
/// fetched for it.
const ROUNDS: usize = 3;

/// An issuer could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("issuers: {issuer}: {problem}")]
pub struct IssuerError {
    /// What health and metrics would call it.
    pub issuer: String,
    /// What is wrong with it.
    #[source]
    pub problem: IssuerProblem,
}

/// What is wrong with an issuer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerProblem {
    /// A URL of it is none that may be asked.
    #[error("a URL cannot be used: {0}")]
    Location(#[from] InvalidLocation),
    /// The file with the certificates to trust cannot be used.
    #[error("ca_file: {0}")]
    CaFile(#[source] std::io::Error),
    /// It is this deployment itself, whose tokens are verified otherwise.
    #[error("it is this deployment itself")]
    Own,
    /// There is no certificate to trust.
    #[error("the system has no root certificates")]
    NoRoots,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The issuer's keys cannot be had: its tokens can be neither accepted nor refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the keys of the issuer {name} cannot be had")]
pub struct NoKeys {
    name: Arc<str>,
}

/// The issuers whose tokens are taken here. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<[Issuer]>);

/// One of them.
pub struct Issuer {
    name: Arc<str>,
    judge: Judge,
    keys: Arc<Keys>,
}

impl Issuers {
    /// Begins to follow the keys of these issuers, for as long as the last clone lives. They need not be in reach.
    ///
    /// Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn start(issuers: &[IssuerConfig], profile: Profile) -> Result<Self, IssuerError> {
        let allows_loopback = profile == Profile::Development;
        let issuers = issuers.iter().map(|config| {
            let name: Arc<str> = config.label().into();
            let source = source::Source::new(config, allows_loopback)
                .map_err(|problem| IssuerError { issuer: config.label().to_owned(), problem })?;
            let keys = Keys::follow(Arc::clone(&name), source, config);
            Ok(Issuer { name, judge: Judge::new(config), keys })
        });
        issuers.collect::<Result<Vec<_>, _>>().map(|issuers| Self(issuers.into()))
    }

    /// The issuer that a token says it is from, which is yet to be seen.
    #[must_use]
    pub fn of(&self, token: &str) -> Option<&Issuer> {
        if self.0.is_empty() {
            return None;
        }
        let claimed = claimed_issuer(token)?;
        self.0.iter().find(|issuer| issuer.judge.issuer() == claimed)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }
}

impl Issuer {
    /// What health and metrics call it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is known of its keys.
    #[must_use]
    pub fn health(&self) -> IssuerHealth {
        self.keys.health()
    }

    /// Judges a token of this issuer: whom it vouches for, or why it is refused.
    ///
    /// # Errors
    /// [`NoKeys`], an outage.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Result<Vouched, TokenRefusal>, NoKeys> {
        Ok(self.verify_while_trusted(token, now).await?.map(|(vouched, _)| vouched))
    }

    /// [`verify`](Self::verify), for one who keeps the verdict: it holds until it expires, which may be earlier than
    /// the token does, and for as long as the trust.
    pub(crate) async fn verify_while_trusted(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<(Vouched, Trust), TokenRefusal>, NoKeys> {
        let no_keys = || NoKeys { name: Arc::clone(&self.name) };
        for _ in 0..ROUNDS {
            let seen = self.keys.seen();
            let Some(Usable { keys, until, trust }) = self.keys.usable() else {
                if self.keys.await_any(seen).await { continue } else { return Err(no_keys()) }
            };
            match open_token(token, &keys, self.judge.types()) {
                Ok(opened) => {
                    let usable = now + until.saturating_duration_since(Instant::now());
                    let bounded = |vouched: Vouched| Vouched { expires_at: vouched.expires_at.min(usable), ..vouched };
                    return Ok(self.judge.judge(&opened, now).map(|vouched| (bounded(vouched), trust)));
                }
                Err(TokenRefusal::UnknownKeyId) => match self.keys.await_newer(seen).await {
                    Newer::Maybe => {}
                    Newer::No => return Ok(Err(TokenRefusal::UnknownKeyId)),
                    Newer::NobodyKnows => return Err(no_keys()),
                },
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        // Newer keys came each time: whether the next ones would do is not known.
        Err(no_keys())
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.judge.issuer()).finish_non_exhaustive()
    }
}
