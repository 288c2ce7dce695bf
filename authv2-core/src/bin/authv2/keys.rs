//! `authv2 keys`: the signing keys, beside the nodes that run.

use std::path::PathBuf;

use authv2_core::{
    Config,
    jwt::{Algorithm, UnknownAlgorithm},
};
use clap::Subcommand;

use crate::{failure::Failure, store};

/// What is to be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Lists them: name, algorithm, state, and the moments they were made, sign from and verify until.
    List,
    /// Adds a key, which is published and does not sign until a rotation takes it.
    Create {
        /// Its algorithm; `tokens.alg` by default.
        #[arg(long, value_name = "ALG", value_parser = algorithm)]
        alg: Option<Algorithm>,
        /// A file with the private key to bring along: PEM, or for HS256 the bytes of the secret.
        #[arg(long, value_name = "FILE", conflicts_with = "jwk")]
        pem: Option<PathBuf>,
        /// A file with the private key to bring along, as a JWK.
        #[arg(long, value_name = "FILE")]
        jwk: Option<PathBuf>,
    },
    /// Has another key sign: the oldest pending one, or one that is made now.
    Rotate {
        /// It signs at once. Verifiers elsewhere that hold the keys of before refuse its tokens until they read again.
        #[arg(long)]
        activate_now: bool,
        /// How long the key before verifies after that, in seconds; never shorter than its tokens live, unless the new
        /// one is to sign at once.
        #[arg(long, value_name = "SECONDS")]
        overlap: Option<u64>,
    },
    /// Refuses a key and all its tokens at once, everywhere, for ever. If it signs, another one does from now on.
    Revoke {
        /// Its name.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

fn algorithm(name: &str) -> Result<Algorithm, UnknownAlgorithm> {
    name.parse().ok().filter(|algorithm| Algorithm::SIGNING.contains(algorithm)).ok_or(UnknownAlgorithm)
}

/// Does it; the keys that it is about, a line each. Nodes that run are told as they tell each other.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn keys(config: &Config, asked: Keys) -> Result<Vec<String>, Failure> {
    use std::sync::Arc;

    use authv2_core::{
        authentication::{StartError, key_ring},
        clock::{Clock as _, SystemClock},
        store::{ChangeStore as _, Upkeep as _},
    };

    let store = store::open(config).await?;
    store.check_schema().await.map_err(StartError::from)?;
    let clock = SystemClock::new();
    clock.follow(store.now().await?);
    let ring = key_ring(config, Arc::new(store.clone()), Arc::new(clock)).await?;
    let done = change(config, &ring, asked).await;
    // They find it by looking, too, a little later.
    let _ = store.announce().await;
    store.close().await;
    Ok(done?.iter().map(line).collect())
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
async fn change(
    config: &Config,
    ring: &authv2_core::jwt::KeyRing,
    asked: Keys,
) -> Result<Vec<authv2_core::jwt::KeyStatus>, Failure> {
    use std::time::Duration;

    use authv2_core::{
        audit::{Actor, Origin},
        jwt::{Rotation, SigningKey},
    };

    let (actor, origin) = (Actor::System, Origin::default());
    let unusable = |error: &dyn std::error::Error| Failure::KeyFile(error.to_string());
    let read = |file: PathBuf| std::fs::read(file).map(zeroize::Zeroizing::new).map_err(|error| unusable(&error));
    let key = match asked {
        Keys::List => return Ok(ring.keys().await?),
        Keys::Create { alg, pem, jwk } => {
            let alg = alg.unwrap_or(config.tokens.alg);
            let brought = match (pem, jwk) {
                (Some(file), _) => Some(SigningKey::from_file(alg, &read(file)?)),
                (None, Some(file)) => Some(SigningKey::from_private_jwk(alg, &read(file)?)),
                (None, None) => None,
            };
            match brought.transpose().map_err(|error| unusable(&error))? {
                Some(key) => ring.import(&key, actor, &origin).await?,
                None => ring.create(alg, actor, &origin).await?,
            }
        }
        Keys::Rotate { activate_now, overlap } => {
            let asked = Rotation { overlap: overlap.map(Duration::from_secs), activate_now };
            ring.rotate(asked, actor, &origin).await?
        }
        Keys::Revoke { kid } => ring.revoke(&kid, actor, &origin).await?,
    };
    Ok(vec![key])
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn line(key: &authv2_core::jwt::KeyStatus) -> String {
    let end = key.retires_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    format!("{} {} {} {} {} {end}", key.kid, key.alg, key.state.as_str(), key.created_at, key.activates_at)
}

/// Says that there are no keys in this build.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
#[allow(clippy::unused_async, reason = "the same signature as in builds with a store")]
pub(crate) async fn keys(_: &Config, _: Keys) -> Result<Vec<String>, Failure> {
    Err(store::missing())
}
