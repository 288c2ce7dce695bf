//! The names of everything this crate measures and traces, in one place.
//!
//! Metrics go through the `metrics` facade, spans through `tracing`; what becomes of them is the application's
//! choice. Labels come from closed sets only: no id, no e-mail, no token ever becomes one.

use metrics::{Key, Label, Level, Metadata};

/// Requests to the HTTP contract, by `route` (its pattern), `method` and `status`.
pub const HTTP_REQUESTS: &str = "authv2_http_requests_total";
/// Seconds from request head to response head, by `route`.
pub const HTTP_SECONDS: &str = "authv2_http_request_duration_seconds";
/// Requests that went through `authenticate`, by `outcome`.
pub const AUTHENTICATIONS: &str = "authv2_authentications_total";
/// Access tokens refused, by `reason`.
pub const TOKEN_REFUSALS: &str = "authv2_token_refusals_total";
/// API keys refused, by `reason`.
pub const KEY_REFUSALS: &str = "authv2_api_key_refusals_total";
/// Proofs of possession (DPoP) refused, by `reason`.
pub const PROOF_REFUSALS: &str = "authv2_proof_refusals_total";
/// Sign-ins, by `outcome`.
pub const LOGINS: &str = "authv2_logins_total";
/// Uses of refresh tokens, by `outcome`.
pub const REFRESHES: &str = "authv2_refreshes_total";
/// Mails, by `outcome`: `sent`, `deferred` (to be tried again), `refused` (for good), `expired`, `superseded` (by a newer
/// one, or a change of the account), `nobody` (has the e-mail that it is for), `pointless` (what it asks for is done).
pub const MAILS: &str = "authv2_mails_total";
/// Passwords that wait to be hashed.
pub const HASH_POOL_DEPTH: &str = "authv2_password_hash_pool_depth";
/// Seconds a password verification or hash took, waiting included.
pub const HASH_SECONDS: &str = "authv2_password_hash_duration_seconds";
/// Decisions on permissions, by `outcome`: `allowed`, `denied`, `step_up`; `unknown` are those too many at once to be
/// told apart. Brought up to date every few seconds.
pub const DECISIONS: &str = "authv2_decisions_total";
/// Look-ups of organizations' compiled roles in memory, by `outcome`: `hit`, `miss`. Brought up to date every few
/// seconds.
pub const ORGANIZATION_LOOKUPS: &str = "authv2_organization_cache_lookups_total";
/// Look-ups of members' rights in memory, by `outcome`: `hit`, `miss`. Brought up to date every few seconds.
pub const MEMBER_LOOKUPS: &str = "authv2_member_cache_lookups_total";
/// Live sessions of the deployment, the same on every node: counted once a minute, by one of them.
pub const SESSIONS_ACTIVE: &str = "authv2_sessions_active";

/// Look-ups of sessions in memory that found none, by `outcome`: `miss`. Brought up to date every few seconds.
pub const SESSION_LOOKUPS: &str = "authv2_session_cache_lookups_total";
/// Seconds since the last successful reading of the table of changes was begun: how old what is in memory may be.
pub const CHANGES_LAG: &str = "authv2_changes_lag_seconds";
/// Seconds from a change to its application on this node, where it was read from the table.
pub const REVOCATION_LAG: &str = "authv2_revocation_lag_seconds";

/// Notes how long something took under a name of this room.
pub(crate) fn observe(name: &'static str, took: std::time::Duration) {
    metrics::histogram!(name).record(took);
}
/// Questions to the shared cache, by `operation` and `outcome`: `hit`, `miss`, `unreadable` (not sealed by this
/// deployment for that name), `stored`, `outdated` (something newer is there), `refused` (by the open breaker),
/// `failed`.
pub const SHARED_CACHE_REQUESTS: &str = "authv2_shared_cache_requests_total";
/// Requests that a rate limit refused, by `policy` (its name in the program).
pub const RATE_LIMITED: &str = "authv2_rate_limited_total";
/// Rate limits that were decided on while Redis did not answer, by `outcome`: `local_share`, `refused`.
pub const LIMIT_OUTAGES: &str = "authv2_limit_outages_total";
/// Keys of rate limits whose state Redis has lost, as far as this node knew of it.
pub const LIMIT_STATE_LOSSES: &str = "authv2_limit_state_losses_total";
/// Attempts to fetch the keys of an issuer elsewhere, by `issuer` (its name in the settings) and `outcome`: `fetched`,
/// `unchanged`, `unusable`, `status`, `redirected`, `too_large`, `timed_out`, `unreachable`, `not_asked` (by the open
/// breaker).
pub const ISSUER_FETCHES: &str = "authv2_issuer_key_fetches_total";
/// Seconds since an issuer elsewhere last said which its keys are, by `issuer`. Brought up to date by each attempt.
pub const ISSUER_KEYS_AGE: &str = "authv2_issuer_keys_age_seconds";
/// Tokens of issuers elsewhere that were refused, by `issuer` and `reason`.
pub const ISSUER_REFUSALS: &str = "authv2_issuer_token_refusals_total";

/// Security events, by `kind` and `severity`.
pub const SECURITY_EVENTS: &str = "authv2_security_events_total";
/// Security events that were not written or not delivered, by `from`: `store`, `sink`.
pub const SECURITY_EVENTS_DROPPED: &str = "authv2_security_events_dropped_total";
/// Sign-ins of strangers that were told to come back because the deployment is under attack, before their password was
/// looked at, by `outcome`: `refused`.
pub const STRANGERS_SLOWED: &str = "authv2_sign_ins_slowed_total";
/// Whether the deployment counts as attacked by sign-ins, as this node sees it: 0 or 1.
pub const SIGN_IN_PRESSURE: &str = "authv2_sign_in_pressure";

/// Counts one security event.
pub(crate) fn count_security_event(kind: &'static str, severity: &'static str) {
    metrics::counter!(SECURITY_EVENTS, "kind" => kind, "severity" => severity).increment(1);
}

/// Exports whether an attack on sign-ins is on.
pub(crate) fn sign_in_pressure(is_on: bool) {
    metrics::gauge!(SIGN_IN_PRESSURE).set(if is_on { 1.0 } else { 0.0 });
}

/// Counts one authentication that succeeded. Each request passes here: what names the count is made beforehand.
#[inline]
pub(crate) fn count_accepted() {
    static LABELS: [Label; 1] = [Label::from_static_parts("outcome", "accepted")];
    static KEY: Key = Key::from_static_parts(AUTHENTICATIONS, &LABELS);
    static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(&KEY, &METADATA)).increment(1);
}

/// Counts one event under a name of this room.
pub(crate) fn count(name: &'static str, label: &'static str, value: &'static str) {
    metrics::counter!(name, label => value).increment(1);
}

/// Adds to a count under a name of this room.
pub(crate) fn add(name: &'static str, label: &'static str, value: &'static str, number: u64) {
    if number > 0 {
        metrics::counter!(name, label => value).increment(number);
    }
}

/// Exports how many sessions are live.
pub(crate) fn sessions_active(count: i64) {
    metrics::gauge!(SESSIONS_ACTIVE).set(u32::try_from(count).map_or(f64::from(u32::MAX), f64::from));
}

/// Counts one question to the shared cache.
#[cfg(feature = "redis")]
pub(crate) fn count_shared(operation: &'static str, outcome: &'static str) {
    metrics::counter!(SHARED_CACHE_REQUESTS, "operation" => operation, "outcome" => outcome).increment(1);
}

/// Counts one attempt to fetch an issuer's keys.
#[cfg(feature = "issuers")]
pub(crate) fn count_issuer_fetch(issuer: &std::sync::Arc<str>, outcome: &'static str) {
    metrics::counter!(ISSUER_FETCHES, "issuer" => std::sync::Arc::clone(issuer), "outcome" => outcome).increment(1);
}

/// Counts one refused token of an issuer.
#[cfg(feature = "issuers")]
pub(crate) fn count_issuer_refusal(issuer: &std::sync::Arc<str>, reason: &'static str) {
    metrics::counter!(ISSUER_REFUSALS, "issuer" => std::sync::Arc::clone(issuer), "reason" => reason).increment(1);
}

/// Exports how old an issuer's keys are.
#[cfg(feature = "issuers")]
pub(crate) fn issuer_keys_age(issuer: &std::sync::Arc<str>, age: std::time::Duration) {
    metrics::gauge!(ISSUER_KEYS_AGE, "issuer" => std::sync::Arc::clone(issuer)).set(age.as_secs_f64());
}
