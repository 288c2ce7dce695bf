//! Keys that are held elsewhere: in a KMS or an HSM, which sign and give nothing away.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{Algorithm, Jwk, VerifyingKey};
use crate::store::breaker::{Breaker, BreakerHealth, Rules};

/// How long a signature may take. Whoever waits for one is signing in.
const PATIENCE: Duration = Duration::from_secs(2);

/// A private key that is held elsewhere and signs there.
///
/// Every node that is to sign needs it. A signature that is not of the key, comes too late or not at all is an outage
/// (503) for whoever asked for a token, and never a token; verifying goes on without the signer.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// What the key is called where it is held. It is written down with the public half, so that it must stay the same.
    fn reference(&self) -> &str;

    /// The algorithm that it signs with; none that is symmetric.
    fn algorithm(&self) -> Algorithm;

    /// The public half, which every signature is checked with before it leaves.
    fn public_key(&self) -> Jwk;

    /// Signs `input`, in the form that JWS wants: for ECDSA both numbers at full length (RFC 7518 section 3.4), not
    /// DER.
    ///
    /// # Errors
    /// [`SignerError::failed`].
    async fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignerError>;
}

/// A key that is held elsewhere did not sign.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The signer said so.
    #[error("the signer failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// It has not answered within two seconds.
    #[error("the signer did not answer in time")]
    Late,
    /// It answered with something that is no signature of its key.
    #[error("the signer's answer is no signature of its key")]
    Wrong,
    /// It has failed repeatedly a moment ago and is left alone.
    #[error("the signer failed repeatedly a moment ago")]
    Paused,
    /// This node was not given the signer.
    #[error("this node was not given the signer of this key")]
    Absent,
}

impl SignerError {
    /// A failure of the signer's own.
    #[must_use]
    pub fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Arc::new(source))
    }
}

/// A signer and how it has done lately.
#[derive(Debug)]
pub(super) struct Held {
    signer: Arc<dyn Signer>,
    breaker: Breaker,
}

impl Held {
    pub(super) fn new(signer: Arc<dyn Signer>) -> Self {
        Self { signer, breaker: Breaker::new(Rules::default()) }
    }

    pub(super) fn reference(&self) -> &str {
        self.signer.reference()
    }

    pub(super) fn health(&self) -> BreakerHealth {
        self.breaker.health()
    }

    /// A signature over `input` that `key` has verified.
    pub(super) async fn sign(&self, input: &[u8], key: &VerifyingKey) -> Result<Vec<u8>, SignerError> {
        let pass = self.breaker.admit().map_err(|_| SignerError::Paused)?;
        let answered = match timeout(PATIENCE, self.signer.sign(input)).await {
            Ok(Ok(signature)) if key.verifies(input, &signature) => Ok(signature),
            Ok(Ok(_)) => {
                tracing::error!(signer = self.reference(), "it answers with signatures of another key");
                Err(SignerError::Wrong)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SignerError::Late),
        };
        match &answered {
            Ok(_) => pass.succeeded(),
            Err(_) => pass.failed(),
        }
        answered
    }
}

#[cfg(test)]
mod tests;
