//! The signing keys of a deployment: made, brought along, rotated, revoked, and looked after.
//!
//! Every change is judged on the keys as they were read, and written only if they still are so: whoever dies between
//! two steps leaves whole keys behind, and two who do the same thing at once do it once.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Algorithm, KeyError, KeyPolicy, KeyRingError, Rotation, Signer, SigningKey,
    record::{fingerprint, refer_to_key, seal_key, unseal},
    rotation::{self, Asker, Changed, Step},
};
use crate::{
    audit::{Act, Actor, Origin},
    clock::{Clock, Timestamp},
    error::{Code, Error},
    master_key::MasterKey,
    store::{KeyChange, KeyState, KeysChanged, SharedStore, SigningKeyRecord, StoreError},
};

/// How often a change is judged anew because the keys changed meanwhile.
const TRIES: u32 = 10;

/// A signing key as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyStatus {
    /// Its name, in every token that it signs.
    pub kid: String,
    /// The JOSE algorithm, which belongs to the key.
    pub alg: String,
    /// Where it stands now.
    pub state: KeyState,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it signs from; while it is pending, the earliest moment without `activate_now`.
    #[schema(value_type = String, format = DateTime)]
    pub activates_at: Timestamp,
    /// When it stops verifying, as soon as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retires_at: Option<Timestamp>,
}

/// The signing keys were not changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeyChangeError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key cannot be made, read or sealed.
    #[error(transparent)]
    Key(#[from] KeyRingError),
    /// There is no such key.
    #[error("there is no such signing key")]
    Unknown,
    /// The key brought along is there already.
    #[error("this is the key {kid} already")]
    Known {
        /// Its name.
        kid: String,
    },
    /// The key brought along was revoked once: its material is never taken again.
    #[error("this key was revoked: its material is never accepted again")]
    Refused,
}

impl From<KeyError> for KeyChangeError {
    fn from(error: KeyError) -> Self {
        Self::Key(error.into())
    }
}

impl From<KeyChangeError> for Error {
    fn from(error: KeyChangeError) -> Self {
        match error {
            KeyChangeError::Store(error) => error.into(),
            KeyChangeError::Unknown => Self::new(Code::NotFound, "there is no such signing key"),
            KeyChangeError::Key(_) | KeyChangeError::Known { .. } | KeyChangeError::Refused => Self::internal(error),
        }
    }
}

/// The signing keys in the store, and the rules by which they change.
#[derive(Debug, Clone)]
pub struct KeyRing {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    master: Arc<MasterKey>,
    policy: KeyPolicy,
}

impl KeyRing {
    /// The keys in `store`, sealed under `master`.
    #[must_use]
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>, master: Arc<MasterKey>, policy: KeyPolicy) -> Self {
        Self { store, clock, master, policy }
    }

    /// All keys, oldest first; retired ones for thirty days.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys(&self) -> Result<Vec<KeyStatus>, StoreError> {
        let (keys, now) = (self.store.signing_keys().await?, self.clock.now());
        Ok(keys.iter().map(|key| status(key, &keys, now)).collect())
    }

    /// Makes a key, which is pending until a rotation takes it.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn create(
        &self,
        algorithm: Algorithm,
        actor: Actor,
        origin: &Origin,
    ) -> Result<KeyStatus, KeyChangeError> {
        let made = self.generate(algorithm).await?;
        self.publish(made, actor, origin).await
    }

    /// Takes a key that was brought along; it is pending until a rotation takes it, and replaced by no schedule.
    ///
    /// # Errors
    /// [`KeyChangeError::Known`], [`KeyChangeError::Refused`], or an outage.
    pub async fn import(&self, key: &SigningKey, actor: Actor, origin: &Origin) -> Result<KeyStatus, KeyChangeError> {
        let sealed = seal_key(key, KeyState::Pending, self.clock.now(), &self.master)?;
        self.publish(SigningKeyRecord { imported: true, ..sealed }, actor, origin).await
    }

    /// Has another key sign, as soon as every verifier can know it: the oldest pending one, or else one that is made
    /// now. The key that signs by then verifies on until the last of its tokens has expired. While a rotation is under
    /// way, this is that rotation.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn rotate(&self, asked: Rotation, actor: Actor, origin: &Origin) -> Result<KeyStatus, KeyChangeError> {
        self.rotate_for(Asker::Operator, asked, actor, origin).await
    }

    async fn rotate_for(
        &self,
        asker: Asker,
        asked: Rotation,
        actor: Actor,
        origin: &Origin,
    ) -> Result<KeyStatus, KeyChangeError> {
        let mut new = None;
        for _ in 0..TRIES {
            let seen = self.store.signing_keys().await?;
            if rotation::needs_new(&seen, self.clock.now(), asker) && new.is_none() {
                new = Some(self.generate(self.policy.alg).await?);
            }
            let now = self.clock.now();
            let changed = rotation::rotate(&seen, new.clone(), now, &self.policy, asked, asker);
            let Some(Changed { put, key }) = changed else { continue };
            let act = Act::new("signing_key.rotated", actor, now, origin).on(&key.kid);
            if let Some(keys) = self.write(seen, put, Vec::new(), act).await? {
                return Ok(status(&key, &keys, now));
            }
        }
        Err(busy().into())
    }

    /// Refuses a key at once, everywhere, and its material for ever. If it signed, another one does from now on.
    ///
    /// # Errors
    /// [`KeyChangeError::Unknown`], or an outage.
    pub async fn revoke(&self, kid: &str, actor: Actor, origin: &Origin) -> Result<KeyStatus, KeyChangeError> {
        let mut new = None;
        for _ in 0..TRIES {
            let seen = self.store.signing_keys().await?;
            let key = seen.iter().find(|key| key.kid == kid).ok_or(KeyChangeError::Unknown)?;
            if rotation::needs_new_without(&seen, key, self.clock.now()) && new.is_none() {
                new = Some(self.generate(self.policy.alg).await?);
            }
            let now = self.clock.now();
            let refuse = self.fingerprint(key)?;
            let Some(Changed { put, key }) = rotation::revoke(&seen, kid, new.clone(), now, &self.policy) else {
                continue;
            };
            let act = Act::new("signing_key.revoked", actor, now, origin).on(kid);
            if let Some(keys) = self.write(seen, put, refuse.into_iter().collect(), act).await? {
                return Ok(status(&key, &keys, now));
            }
        }
        Err(busy().into())
    }

    /// The keys; where there are none yet, `first` makes the one that signs from the start.
    ///
    /// # Errors
    /// [`KeyChangeError::Refused`] for a key that was revoked once, what `first` fails with, or an outage.
    pub(crate) async fn found<E: From<KeyChangeError>>(
        &self,
        first: impl FnOnce() -> Result<SigningKey, E>,
        imported: bool,
    ) -> Result<(), E> {
        let seen = self.store.signing_keys().await.map_err(KeyChangeError::from)?;
        if !seen.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let key = seal_key(&first()?, KeyState::Active, now, &self.master).map_err(KeyChangeError::from)?;
        let key = rotation::publish(SigningKeyRecord { imported, ..key }, &seen, now, &self.policy);
        let act = Act::new("signing_key.created", Actor::System, now, &Origin::default()).on(&key.kid);
        // Another node may have founded them meanwhile: that is as good.
        self.write(seen, vec![key], Vec::new(), act).await?;
        Ok(())
    }

    /// Publishes the public half of a key that is held elsewhere, unless it is there already: pending, or signing at
    /// once where there is no key yet.
    ///
    /// # Errors
    /// [`KeyChangeError::Refused`] for a key that was revoked once, or an outage.
    pub(crate) async fn refer(&self, signer: &dyn Signer) -> Result<(), KeyChangeError> {
        let (reference, algorithm, public) = (signer.reference(), signer.algorithm(), signer.public_key());
        let key = refer_to_key(reference, algorithm, &public, self.clock.now(), &self.master)?;
        match self.publish(key, Actor::System, &Origin::default()).await {
            Ok(_) | Err(KeyChangeError::Known { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Promises with every key what this node's settings ask for: longer tokens, or a JWK Set that is kept longer.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn promise(&self) -> Result<(), KeyChangeError> {
        for _ in 0..TRIES {
            let (seen, now) = (self.store.signing_keys().await?, self.clock.now());
            let put = rotation::promises(&seen, now, &self.policy);
            let act = Act::new("signing_key.extended", Actor::System, now, &Origin::default());
            if self.write(seen, put, Vec::new(), act).await?.is_some() {
                return Ok(());
            }
        }
        Err(busy().into())
    }

    /// The earliest thing to do for the keys, and when.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn next_step(&self) -> Result<Option<(Timestamp, Step)>, StoreError> {
        let (keys, now) = (self.store.signing_keys().await?, self.clock.now());
        Ok(rotation::next_step(&keys, now, &self.policy))
    }

    /// Does what is to be done by now, one thing after the other.
    ///
    /// # Errors
    /// [`KeyChangeError`]; what was done until then is done.
    pub(crate) async fn take_steps(&self) -> Result<(), KeyChangeError> {
        let origin = Origin::default();
        loop {
            let (seen, now) = (self.store.signing_keys().await?, self.clock.now());
            let due = rotation::next_step(&seen, now, &self.policy).filter(|(at, _)| *at <= now);
            let Some((_, step)) = due else { return Ok(()) };
            let act = |action, kid: &str| Act::new(action, Actor::System, now, &origin).on(kid);
            match step {
                Step::Rotate => {
                    let asked = Rotation::default();
                    let key = self.rotate_for(Asker::Schedule, asked, Actor::System, &origin).await?;
                    tracing::info!(kid = key.kid, activates_at = %key.activates_at, "another signing key is to follow");
                }
                Step::Retire(kid) => {
                    let put = seen.iter().filter(|key| key.kid == kid).map(rotation::retired).collect();
                    let act = act("signing_key.retired", &kid);
                    self.write(seen, put, Vec::new(), act).await?;
                }
                Step::Purge(kid) => {
                    let change = KeyChange { seen, remove: vec![kid.clone()], ..KeyChange::default() };
                    self.store.change_signing_keys(change, act("signing_key.purged", &kid)).await?;
                }
            }
        }
    }

    async fn publish(&self, key: SigningKeyRecord, actor: Actor, origin: &Origin) -> Result<KeyStatus, KeyChangeError> {
        for _ in 0..TRIES {
            let (seen, now) = (self.store.signing_keys().await?, self.clock.now());
            for known in &seen {
                if self.fingerprint(known)? == key.fingerprint {
                    let kid = known.kid.clone();
                    return Err(if known.revoked_at.is_some() {
                        KeyChangeError::Refused
                    } else {
                        KeyChangeError::Known { kid }
                    });
                }
            }
            let key = rotation::publish(key.clone(), &seen, now, &self.policy);
            let act = Act::new("signing_key.created", actor, now, origin).on(&key.kid);
            if let Some(keys) = self.write(seen, vec![key.clone()], Vec::new(), act).await? {
                return Ok(status(&key, &keys, now));
            }
        }
        Err(busy().into())
    }

    /// Writes the keys of `put` if all still are as they were seen; all keys from then on. `None` if they are not.
    async fn write(
        &self,
        seen: Vec<SigningKeyRecord>,
        put: Vec<SigningKeyRecord>,
        refuse: Vec<Vec<u8>>,
        act: Act,
    ) -> Result<Option<Vec<SigningKeyRecord>>, KeyChangeError> {
        if put.is_empty() {
            return Ok(Some(seen));
        }
        let judged = act.at;
        let change = KeyChange { seen, put, refuse, remove: Vec::new() };
        match self.store.change_signing_keys(change, act).await? {
            KeysChanged::Done(keys) => Ok(Some(self.put_later(keys, judged).await?)),
            KeysChanged::Stale => Ok(None),
            KeysChanged::RefusedMaterial => Err(KeyChangeError::Refused),
        }
    }

    /// Puts the moments later of a change that was judged too long before it was committed.
    async fn put_later(
        &self,
        mut keys: Vec<SigningKeyRecord>,
        mut judged: Timestamp,
    ) -> Result<Vec<SigningKeyRecord>, KeyChangeError> {
        for _ in 0..TRIES {
            let now = self.clock.now();
            let put = rotation::later(&keys, judged, now);
            if now.since(judged) <= rotation::SKEW || put.is_empty() {
                return Ok(keys);
            }
            let act = Act::new("signing_key.extended", Actor::System, now, &Origin::default());
            let change = KeyChange { seen: keys, put, ..KeyChange::default() };
            match self.store.change_signing_keys(change, act).await? {
                KeysChanged::Done(changed) => (keys, judged) = (changed, now),
                KeysChanged::Stale | KeysChanged::RefusedMaterial => keys = self.store.signing_keys().await?,
            }
        }
        Err(busy().into())
    }

    /// What a stored key is known by; of an older one it is found out. None where nothing of it is left.
    fn fingerprint(&self, key: &SigningKeyRecord) -> Result<Option<Vec<u8>>, KeyRingError> {
        match &key.fingerprint {
            Some(known) => Ok(Some(known.clone())),
            None if key.sealed.is_empty() => Ok(None),
            None => fingerprint(&unseal(key, &self.master)?, &self.master).map(Some),
        }
    }

    /// A fresh key. An RSA one takes a noticeable part of a second, so that it is not made on the executor.
    async fn generate(&self, algorithm: Algorithm) -> Result<SigningKeyRecord, KeyChangeError> {
        let (master, now) = (Arc::clone(&self.master), self.clock.now());
        let made = tokio::task::spawn_blocking(move || {
            let key = SigningKey::generate(algorithm)?;
            seal_key(&key, KeyState::Pending, now, &master)
        });
        Ok(made.await.map_err(|_| KeyError::Failed)??)
    }
}

fn status(key: &SigningKeyRecord, keys: &[SigningKeyRecord], now: Timestamp) -> KeyStatus {
    // As it is stored: its moments may have been put later.
    let key = keys.iter().find(|stored| stored.kid == key.kid).unwrap_or(key);
    KeyStatus {
        kid: key.kid.clone(),
        alg: key.alg.clone(),
        state: rotation::state(key, keys, now),
        created_at: key.created_at,
        activates_at: key.activates_at,
        retires_at: key.retires_at,
    }
}

fn busy() -> StoreError {
    StoreError::unavailable("others change the signing keys all the time")
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests;
