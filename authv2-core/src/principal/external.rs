//! Somebody whom an issuer elsewhere vouches for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::clock::Timestamp;

/// What an issuer elsewhere says of a caller, in a token of its own that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// Issuer and subject with a `|` between: no user of this deployment and no caller of another issuer has the same
    /// name, since issuers are set without `|`.
    pub(crate) id: String,
    /// The issuer (`iss`).
    pub issuer: String,
    /// Its name for the caller (`sub`).
    pub subject: String,
    /// The caller's e-mail, if it tells and says that it was verified.
    pub email: Option<String>,
    /// The client that the token was issued to, if it tells.
    pub client_id: Option<String>,
    /// What the token was issued for, separated by spaces, if it tells. It bounds nothing by itself.
    pub scope: Option<String>,
    /// The authentication methods, separated by spaces; empty if it does not tell.
    pub amr: String,
    /// The authentication context class; empty if it does not tell.
    pub acr: String,
    /// When the caller proved who it is; the earliest moment there is, if it does not tell.
    pub auth_time: Timestamp,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// The thumbprint of the key that the token is bound to: no bearer's.
    pub(crate) key_thumbprint: Option<Vec<u8>>,
}

impl ExternalIdentity {
    /// What it takes of the memory beside its own place.
    pub(crate) fn bytes(&self) -> usize {
        let Self { id, issuer, subject, email, client_id, scope, amr, acr, .. } = self;
        let optional = [email, client_id, scope].map(|text| text.as_ref().map_or(0, String::capacity));
        let texts = [id, issuer, subject, amr, acr].map(String::capacity);
        size_of::<Self>() + optional.iter().chain(&texts).sum::<usize>()
    }
}

/// Whether what vouches for somebody still does. Clones tell of the same.
#[derive(Debug, Clone)]
pub(crate) struct Trust(Arc<AtomicBool>);

impl Trust {
    #[cfg(feature = "issuers")]
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    #[cfg(feature = "issuers")]
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Release);
    }

    pub(crate) fn holds(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
