//! What a deployment is founded on, found or made at start: master key, issuer, signing keys, administrator.
//!
//! Several nodes may start at once on one empty store: whatever is made here is made once, and all of them use it.

use std::{io, net::Ipv4Addr, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::StartError;
use crate::{
    config::Config,
    jwt::{KeyChangeError, KeyPolicy, KeyRing, KeyRingError, Signer, SigningKey},
    master_key::MasterKey,
    secret::Secret,
    store::{SharedStore, SigningKeyRecord},
    user::{NewAccount, Registered, UserService},
};

/// The master key: configured, or from its file, or (in development alone) made once and kept in the store.
pub(super) async fn master_key(config: &Config, store: &SharedStore) -> Result<MasterKey, StartError> {
    let text = match (&config.master_key, &config.master_key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => from_file(path).map_err(StartError::MasterKeyFile)?,
        (None, None) => {
            tracing::warn!("no master key is set: one is kept in the store, beside the secrets it protects");
            let made = MasterKey::random_base64()?;
            Secret::new(store.keep_value("development_master_key", made.expose().clone()).await?)
        }
    };
    let key = MasterKey::from_base64(&text)?;
    // A wrong key must be noticed now, not when the first signature or refresh fails.
    let mark = URL_SAFE_NO_PAD.encode(key.derive("mark of this key").as_slice());
    if store.keep_value("master_key_mark", mark.clone()).await? != mark {
        return Err(StartError::ForeignMasterKey);
    }
    Ok(key)
}

/// Reads the key, or makes the file: only its owner may read it. The production profile has refused a missing one.
fn from_file(path: &Path) -> io::Result<Secret> {
    match std::fs::read_to_string(path).map(zeroize::Zeroizing::new) {
        Ok(text) => return Ok(Secret::from(text.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Written under another name first: nobody ever sees half a key, and of two processes that make one, one wins.
    let made = MasterKey::random_base64().map_err(io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    write_private(Path::new(&draft), made.expose())?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "made a master key: keep a copy of this file");
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => from_file(path),
        Err(error) => Err(error),
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;

    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The issuer: configured, or (in development alone) where this deployment listened first, so that its tokens outlive
/// a restart on another port and all its nodes agree.
pub(super) async fn issuer(config: &Config, store: &SharedStore) -> Result<String, StartError> {
    match &config.issuer {
        Some(issuer) => Ok(issuer.clone()),
        None => {
            let mut address = config.listen;
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            Ok(store.keep_value("issuer", format!("http://{address}")).await?)
        }
    }
}

/// The signing keys. On a fresh store the first one is made, brought along in its file, or the one of a signer.
pub(super) async fn signing_keys(
    config: &Config,
    store: &SharedStore,
    ring: &KeyRing,
    signers: &[Arc<dyn Signer>],
) -> Result<Vec<SigningKeyRecord>, StartError> {
    for signer in signers {
        match ring.refer(&**signer).await {
            // The others go on: a restart must not be an outage.
            Err(KeyChangeError::Refused) => {
                tracing::error!(reference = signer.reference(), "this key was revoked and is never used again");
            }
            done => done?,
        }
    }
    let first = || match &config.tokens.signing_key_file {
        Some(path) => {
            let contents = zeroize::Zeroizing::new(std::fs::read(path).map_err(StartError::SigningKeyFile)?);
            SigningKey::from_file(config.tokens.alg, &contents).map_err(StartError::UnusableSigningKey)
        }
        None => Ok(SigningKey::generate(config.tokens.alg).map_err(KeyRingError::from)?),
    };
    ring.found(first, config.tokens.signing_key_file.is_some()).await?;
    ring.promise().await?;
    let keys = store.signing_keys().await?;
    let alg = config.tokens.alg.as_str();
    if !keys.iter().any(|key| key.alg == alg) {
        tracing::warn!(alg, "tokens.alg: this store has signing keys of other algorithms, which go on signing");
    }
    Ok(keys)
}

/// The rules by which signing keys change, as configured.
pub(super) fn key_policy(config: &Config) -> KeyPolicy {
    KeyPolicy {
        alg: config.tokens.alg,
        token_life: config.tokens.access_ttl,
        jwks_max_age: config.tokens.jwks_max_age,
        rotation_interval: config.tokens.rotation_interval,
        staleness: config.changes.max_staleness,
    }
}

/// The first platform administrator, where one is configured. An existing account is never promoted.
pub(super) async fn admin(config: &Config, users: &UserService) -> Result<(), StartError> {
    let Some(admin) = &config.bootstrap_admin else { return Ok(()) };
    let account = NewAccount { email: &admin.email, password: &admin.password, display_name: None };
    match users.found_admin(account).await.map_err(StartError::Admin)? {
        Registered::New(user) => tracing::info!(user_id = %user.id, "made the first platform administrator"),
        Registered::AlreadyFounded => {}
        Registered::EmailTaken => {
            tracing::warn!("bootstrap_admin: an ordinary account has this e-mail; no administrator was made");
        }
    }
    Ok(())
}
