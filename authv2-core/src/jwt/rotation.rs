//! The life of signing keys, as pure functions of their records, the time and the settings.
//!
//! What a key may do follows from its record and the time alone, so that a rotation takes effect on every node at the
//! same moment without anybody having to act then:
//! 1. A pending key is published and verifies; it signs nothing. It may be chosen to sign once no verifier can hold a
//!    JWK Set without it anymore.
//! 2. An active key signs from `activates_at` on; of several the one activated last. The one before it goes on signing
//!    until that moment.
//! 3. A key verifies until `retires_at`, which is later than the last of its tokens expires. Then it is refused, and is
//!    not published.
//! 4. A revoked key is refused at once.
//!
//! Each key carries what has been promised with it: how long its tokens may live, and how long a JWK Set that it is in
//! may be kept. Nodes keep to it, so that settings may change at any time and differ between nodes.

use std::time::Duration;

use super::Algorithm;
use crate::{
    clock::Timestamp,
    store::{KeyState, SigningKeyRecord},
};

/// How far the clocks of two nodes may be apart, and the time together that a change takes to be committed. What takes
/// longer puts its moments later afterwards ([`later`]).
pub(super) const SKEW: Duration = Duration::from_secs(1);
/// What keeps two moments apart.
const INSTANT: Duration = Duration::from_micros(1);
/// How long after its end a key's private half is kept: nobody's clock says anymore that it verifies.
const RETIRE_MARGIN: Duration = Duration::from_secs(60);
/// How long a retired key stays in the list, and its tokens are refused by its name.
const KEEP_RETIRED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The settings that the moments of a key's life follow from.
#[derive(Debug, Clone, Copy)]
pub struct KeyPolicy {
    /// The algorithm of keys that are made here.
    pub alg: Algorithm,
    /// The life of access tokens.
    pub token_life: Duration,
    /// How long verifiers may keep a JWK Set.
    pub jwks_max_age: Duration,
    /// How long a key made here signs before the next one does; zero for as long as nobody asks.
    pub rotation_interval: Duration,
    /// How long a node may go without hearing of a change: the longest that any node of the deployment is set to.
    pub staleness: Duration,
}

/// A rotation as asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// How long the key before verifies after the new one signs. By default as long as its tokens may live; a shorter
    /// overlap refuses live tokens.
    pub overlap: Option<Duration>,
    /// Whether the new key signs at once. Verifiers elsewhere that hold a JWK Set without it refuse its tokens until
    /// they read again; the nodes of this deployment never do.
    pub activate_now: bool,
}

/// Who has another key sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// Somebody, who takes whatever key is pending.
    Operator,
    /// The clock. It leaves alone what somebody brought along or holds elsewhere: that is there for its own purpose.
    Schedule,
}

/// What is to be done to the keys when its moment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another key is to sign.
    Rotate,
    /// The private half of this key is to be wiped.
    Retire(String),
    /// This key is to be forgotten.
    Purge(String),
}

/// Keys that are otherwise from now on, and the one that all is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) put: Vec<SigningKeyRecord>,
    pub(super) key: SigningKeyRecord,
}

/// Whether tokens of a key are good at `now`, as far as the key goes.
pub(super) fn verifies(key: &SigningKeyRecord, now: Timestamp) -> bool {
    key.state != KeyState::Retired && key.retires_at.is_none_or(|at| now < at)
}

/// The key that signs at `now`.
pub(super) fn signing<'a>(
    keys: impl Iterator<Item = &'a SigningKeyRecord> + Clone,
    now: Timestamp,
) -> Option<&'a SigningKeyRecord> {
    let active = keys.filter(|key| key.state == KeyState::Active && verifies(key, now));
    let begun = active.clone().filter(|key| key.activates_at <= now).max_by_key(|key| key.activates_at);
    // After a revocation there may be none but one that begins, by this node's slower clock, in a moment.
    begun.or_else(|| active.min_by_key(|key| key.activates_at))
}

/// Where a key stands at `now`, which its stored state tells only together with the times.
pub(super) fn state(key: &SigningKeyRecord, keys: &[SigningKeyRecord], now: Timestamp) -> KeyState {
    match key.state {
        _ if !verifies(key, now) => KeyState::Retired,
        KeyState::Active if signing(keys.iter(), now).is_some_and(|signing| signing.kid == key.kid) => KeyState::Active,
        KeyState::Active if key.activates_at > now => KeyState::Pending,
        KeyState::Active => KeyState::Retiring,
        stored @ (KeyState::Pending | KeyState::Retiring | KeyState::Retired) => stored,
    }
}

/// How long ago a node may have read the keys that it gives out to be kept for `max_age`.
pub(crate) fn jwks_lag(max_age: Duration, staleness: Duration) -> Duration {
    max_age.min(staleness + SKEW).saturating_sub(SKEW)
}

/// How old, beyond its `max-age`, the JWK Set of a verifier may be: a node that has not heard of a new key yet may have
/// given it out, or one whose clock is behind.
fn jwks_slack(max_age: Duration, staleness: Duration) -> Duration {
    max_age.min(staleness + SKEW)
}

/// A new key among `keys`: published from `now` on. The very first one signs at once, since nobody holds a JWK Set
/// without it.
pub(super) fn publish(
    key: SigningKeyRecord,
    keys: &[SigningKeyRecord],
    now: Timestamp,
    policy: &KeyPolicy,
) -> SigningKeyRecord {
    let is_first = keys.is_empty();
    SigningKeyRecord {
        state: if is_first { KeyState::Active } else { KeyState::Pending },
        created_at: now,
        activates_at: if is_first { now } else { known_everywhere(keys, now, policy) },
        retires_at: None,
        token_life: seconds(policy.token_life),
        jwks_max_age: seconds(policy.jwks_max_age),
        ..key
    }
}

/// Whether a rotation would need a key that is not there yet.
pub(super) fn needs_new(keys: &[SigningKeyRecord], now: Timestamp, asker: Asker) -> bool {
    scheduled(keys, now).is_none() && oldest_pending(keys, now, asker).is_none()
}

/// Whether the revocation of `key` would.
pub(super) fn needs_new_without(keys: &[SigningKeyRecord], key: &SigningKeyRecord, now: Timestamp) -> bool {
    signs(key, keys, now) && replacement(keys, key, now).is_none()
}

/// Has another key sign: the one that is scheduled already, or the oldest pending one, or `new`. Asked for twice it is
/// one rotation, of which the second asking may change the terms.
pub(super) fn rotate(
    keys: &[SigningKeyRecord],
    new: Option<SigningKeyRecord>,
    now: Timestamp,
    policy: &KeyPolicy,
    asked: Rotation,
    asker: Asker,
) -> Option<Changed> {
    let current = signing(keys.iter(), now);
    let under_way = scheduled(keys, now);
    let chosen = under_way.or_else(|| oldest_pending(keys, now, asker)).cloned();
    let chosen = chosen.or_else(|| new.map(|key| publish(key, keys, now, policy)))?;
    if under_way.is_some() && asked == Rotation::default() && current.is_some() {
        return Some(Changed { put: Vec::new(), key: chosen });
    }
    let at_once = asked.activate_now || current.is_none();
    let activates_at = if at_once { now } else { chosen.activates_at.max(now) };
    // After the one before, whatever this node's clock says.
    let activates_at = current.map_or(activates_at, |key| activates_at.max(key.activates_at + INSTANT));
    let successor = SigningKeyRecord { state: KeyState::Active, activates_at, ..chosen };
    let mut put = vec![successor.clone()];
    if let Some(current) = current {
        // Whoever has yet to hear of this signs with it a little longer.
        let unheard = (policy.staleness + SKEW).saturating_sub(activates_at.since(now));
        let overlap = asked.overlap.unwrap_or_else(|| of_seconds(current.token_life) + unheard);
        put.push(SigningKeyRecord { retires_at: Some(activates_at + overlap), ..current.clone() });
        put.extend(superseded(keys, &[&successor.kid, &current.kid], now, policy));
    }
    Some(Changed { put, key: successor })
}

/// Refuses a key from `now` on. If it signs, another one does at once: the one that was to follow, or a pending one,
/// first of all one that is held here and that verifiers know, or `new`. `None` if there is no such key.
pub(super) fn revoke(
    keys: &[SigningKeyRecord],
    kid: &str,
    new: Option<SigningKeyRecord>,
    now: Timestamp,
    policy: &KeyPolicy,
) -> Option<Changed> {
    let key = keys.iter().find(|key| key.kid == kid)?;
    if key.revoked_at.is_some() {
        return Some(Changed { put: Vec::new(), key: key.clone() });
    }
    let revoked = SigningKeyRecord {
        state: KeyState::Retired,
        retires_at: Some(key.retires_at.map_or(now, |at| at.min(now))),
        revoked_at: Some(now),
        sealed: Vec::new(),
        ..key.clone()
    };
    let others: Vec<SigningKeyRecord> = keys.iter().filter(|other| other.kid != kid).cloned().collect();
    let mut put = vec![revoked.clone()];
    if signs(key, keys, now) {
        let chosen = replacement(keys, key, now).cloned();
        let chosen = chosen.or_else(|| new.map(|key| publish(key, keys, now, policy)))?;
        let successor = SigningKeyRecord { state: KeyState::Active, activates_at: now, retires_at: None, ..chosen };
        put.extend(superseded(&others, &[&successor.kid], now, policy));
        put.push(successor);
    } else if let Some(current) = signing(others.iter(), now)
        && current.retires_at.is_some()
        && scheduled(&others, now).is_none()
    {
        // It was to make room, and now nobody follows.
        put.push(SigningKeyRecord { retires_at: None, ..current.clone() });
    }
    Some(Changed { put, key: revoked })
}

/// The keys with every moment put later that was still to come at `judged`: what was judged then is committed only
/// `now`.
pub(super) fn later(keys: &[SigningKeyRecord], judged: Timestamp, now: Timestamp) -> Vec<SigningKeyRecord> {
    let by = now.since(judged);
    let put_later = |key: &SigningKeyRecord| SigningKeyRecord {
        activates_at: if key.activates_at > judged { key.activates_at + by } else { key.activates_at },
        // What has ended meanwhile stays so.
        retires_at: key.retires_at.map(|at| if at > now { at + by } else { at }),
        ..key.clone()
    };
    let alive = keys.iter().filter(|key| verifies(key, now));
    alive.map(|key| (key, put_later(key))).filter(|(key, put)| *key != put).map(|(_, put)| put).collect()
}

/// The keys that promise less than this node's settings, with what they are to promise: before it mints a token or
/// gives out a JWK Set that lasts as long. A key that is about to be replaced keeps the life of its tokens.
pub(super) fn promises(keys: &[SigningKeyRecord], now: Timestamp, policy: &KeyPolicy) -> Vec<SigningKeyRecord> {
    let raised = |key: &SigningKeyRecord| {
        let stays = key.retires_at.is_none() && key.state != KeyState::Retiring;
        let token_life = if stays { key.token_life.max(seconds(policy.token_life)) } else { key.token_life };
        let jwks_max_age = key.jwks_max_age.max(seconds(policy.jwks_max_age));
        SigningKeyRecord { token_life, jwks_max_age, ..key.clone() }
    };
    let verifying = keys.iter().filter(|key| verifies(key, now));
    verifying.map(|key| (key, raised(key))).filter(|(key, raised)| *key != raised).map(|(_, raised)| raised).collect()
}

/// The earliest thing to do, and when.
pub(super) fn next_step(keys: &[SigningKeyRecord], now: Timestamp, policy: &KeyPolicy) -> Option<(Timestamp, Step)> {
    let signing = signing(keys.iter(), now);
    if signing.is_none() && !keys.is_empty() {
        return Some((now, Step::Rotate));
    }
    let ends = keys.iter().filter_map(|key| match key.state {
        // By its record alone it is known again when its signer comes back.
        KeyState::Retired if key.reference.is_some() => None,
        KeyState::Retired => Some((key.retires_at? + KEEP_RETIRED, Step::Purge(key.kid.clone()))),
        _ => Some((key.retires_at? + RETIRE_MARGIN, Step::Retire(key.kid.clone()))),
    });
    let rotation = signing.and_then(|signing| Some((next_rotation(signing, keys, now, policy)?, Step::Rotate)));
    ends.chain(rotation).min_by_key(|(at, _)| *at)
}

/// When the next rotation by schedule begins: early enough for verifiers to learn of the next key. Keys that were
/// brought along or are held elsewhere are replaced only by whoever brought them.
fn next_rotation(
    signing: &SigningKeyRecord,
    keys: &[SigningKeyRecord],
    now: Timestamp,
    policy: &KeyPolicy,
) -> Option<Timestamp> {
    if policy.rotation_interval.is_zero() || !is_ours(signing) || scheduled(keys, now).is_some() {
        return None;
    }
    let ahead = known_everywhere(keys, now, policy).since(now);
    Some(signing.activates_at + policy.rotation_interval - ahead)
}

/// The key after its end: without its private half, unless that is all by which it would be known again.
pub(super) fn retired(key: &SigningKeyRecord) -> SigningKeyRecord {
    let sealed = if key.fingerprint.is_some() { Vec::new() } else { key.sealed.clone() };
    SigningKeyRecord { state: KeyState::Retired, sealed, ..key.clone() }
}

/// The moment from which every verifier knows a key that is published at `now`: each JWK Set given out before has gone.
fn known_everywhere(keys: &[SigningKeyRecord], now: Timestamp, policy: &KeyPolicy) -> Timestamp {
    // Sets with a key in them were given out for as long as it verified.
    let kept = |key: &SigningKeyRecord| key.retires_at.map_or(now, |at| at.min(now)) + of_seconds(key.jwks_max_age);
    let gone = keys.iter().map(kept).fold(now + policy.jwks_max_age, Timestamp::max);
    gone + jwks_slack(gone.since(now), policy.staleness)
}

/// The key that is chosen to sign next.
fn scheduled(keys: &[SigningKeyRecord], now: Timestamp) -> Option<&SigningKeyRecord> {
    let signing = signing(keys.iter(), now);
    let follows = |key: &&SigningKeyRecord| {
        let chosen = key.state == KeyState::Active && verifies(key, now) && key.activates_at > now;
        chosen && signing.is_none_or(|signing| signing.kid != key.kid)
    };
    keys.iter().filter(follows).min_by_key(|key| key.activates_at)
}

fn pending(keys: &[SigningKeyRecord], now: Timestamp) -> impl Iterator<Item = &SigningKeyRecord> {
    keys.iter().filter(move |key| key.state == KeyState::Pending && verifies(key, now))
}

fn oldest_pending(keys: &[SigningKeyRecord], now: Timestamp, asker: Asker) -> Option<&SigningKeyRecord> {
    let eligible = |key: &&SigningKeyRecord| asker == Asker::Operator || is_ours(key);
    pending(keys, now).filter(eligible).min_by_key(|key| key.created_at)
}

/// The key that signs from the moment that `revoked`, which does, is refused: the one that was to follow, or the pending
/// one that verifiers have known the longest. One that is held elsewhere only replaces such a one, since nobody knows
/// whether every node has its signer.
fn replacement<'a>(
    keys: &'a [SigningKeyRecord],
    revoked: &SigningKeyRecord,
    now: Timestamp,
) -> Option<&'a SigningKeyRecord> {
    let is_elsewhere = |key: &SigningKeyRecord| key.reference.is_some();
    let spare = pending(keys, now).filter(|key| !is_elsewhere(key) || is_elsewhere(revoked));
    scheduled(keys, now).or_else(|| spare.min_by_key(|key| (is_elsewhere(key), key.activates_at)))
}

fn signs(key: &SigningKeyRecord, keys: &[SigningKeyRecord], now: Timestamp) -> bool {
    signing(keys.iter(), now).is_some_and(|signing| signing.kid == key.kid)
}

/// Whether it was made here, and is replaced by schedule.
fn is_ours(key: &SigningKeyRecord) -> bool {
    !key.imported && key.reference.is_none()
}

/// Those that signed before, so that none of them ever signs again, nor verifies for ever.
fn superseded<'a>(
    keys: &'a [SigningKeyRecord],
    but: &'a [&'a str],
    now: Timestamp,
    policy: &KeyPolicy,
) -> impl Iterator<Item = SigningKeyRecord> + use<'a> {
    let staleness = policy.staleness;
    let stands = move |key: &&SigningKeyRecord| {
        key.state == KeyState::Active && key.activates_at <= now && !but.contains(&key.kid.as_str())
    };
    let ended = move |key: &SigningKeyRecord| {
        let last = now + of_seconds(key.token_life) + staleness + SKEW;
        SigningKeyRecord { state: KeyState::Retiring, retires_at: key.retires_at.or(Some(last)), ..key.clone() }
    };
    keys.iter().filter(stands).map(ended)
}

pub(super) fn seconds(duration: Duration) -> i64 {
    // Up, so that no promise is smaller than the setting.
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

pub(super) fn of_seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
