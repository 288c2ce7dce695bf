//! Settings of the security monitor: what counts as an attack, and what is done about it.

use std::{path::PathBuf, time::Duration};

use super::{DAY, Problem, Profile, problem::Problems, setting::choice, visitor::Visitor};
use crate::{secret::Secret, store::Severity};

choice!(Reaction, "one of `notify`, `step_up`, `revoke`, `block`");
choice!(Severity, "one of `info`, `low`, `medium`, `high`, `critical`");

/// What is done about what the monitor notices, besides telling of it. Not every reaction fits everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// Nothing more.
    Notify,
    /// The risk of the session becomes high, and sessions of high risk do nothing but end until their user has proved
    /// again who it is.
    StepUp,
    /// The user's sessions end.
    Revoke,
    /// Strangers are slowed, or those of a network wait, before any password of theirs is looked at.
    Block,
}

/// When failed sign-ins are an attack, what is done about it, and who is told.
#[derive(Debug, Clone)]
pub struct SecurityConfig {
    /// The window in which accounts and denials are counted; 5 minutes by default.
    pub window: Duration,
    /// Sign-ins to so many accounts, from several networks that these are not known at, must fail in a window on one node
    /// for an attack, and far more of them than succeed; 100 by default.
    pub stuffing_accounts: u32,
    /// Likewise from one network; 20 by default.
    pub network_accounts: u32,
    /// One password must be tried on so many accounts in a window to be sprayed; 10 by default.
    pub spraying_accounts: u32,
    /// How long strangers are slowed after the last sign of an attack; 10 minutes by default.
    pub pressure: Duration,
    /// After how long a stranger's first attempt may come back while an attack is on; 10 s by default.
    pub stranger_wait: Duration,
    /// How long a network waits that tries many passwords on one account, where it is to; 15 minutes by default.
    pub block_for: Duration,
    /// How many denials of one member in a window are probing; 100 by default, 0 for never.
    pub probing_denials: u32,
    /// After how long without a sign-in an account is dormant; 90 days by default.
    pub dormant_after: Duration,
    /// A file of the SHA-1 of breached passwords, ordered, as Have I Been Pwned has it. None by default.
    pub breached_passwords_file: Option<PathBuf>,
    /// How long events are kept; 90 days by default.
    pub keep_events: Duration,
    /// Where events are sent, signed: an https URL. Plain http on loopback in development. None by default.
    pub webhook_url: Option<Secret>,
    /// The key that they are signed with: `whsec_` and base64, or any text of at least 24 bytes.
    pub webhook_secret: Option<Secret>,
    /// The least severity that is sent; `Low` by default.
    pub webhook_severity: Severity,
    /// What is done while the deployment is under attack: `Block` (strangers are slowed) by default.
    pub on_credential_stuffing: Reaction,
    /// What is done while one password is tried on many accounts: likewise.
    pub on_password_spraying: Reaction,
    /// What is done about a network that tries many passwords on one account: `Notify` by default, since it is throttled
    /// anyhow. `Block` makes it wait for all accounts.
    pub on_brute_force: Reaction,
    /// What is done about a refresh token that comes back, besides ending its session: `Notify` by default, `Revoke` ends
    /// all sessions of the user.
    pub on_refresh_token_reused: Reaction,
    /// What is done about a sign-in on a device not seen lately: `Notify` by default.
    pub on_new_device: Reaction,
    /// What is done about a sign-in from a network not seen lately: `Notify` by default.
    pub on_new_network: Reaction,
    /// What is done about a sign-in to a dormant account: `Notify` by default.
    pub on_dormant_account_used: Reaction,
    /// What is done about a user who is denied one thing after the other: `Notify` by default.
    pub on_permission_probing: Reaction,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            stuffing_accounts: 100,
            network_accounts: 20,
            spraying_accounts: 10,
            pressure: Duration::from_secs(600),
            stranger_wait: Duration::from_secs(10),
            block_for: Duration::from_secs(900),
            probing_denials: 100,
            dormant_after: Duration::from_secs(90 * DAY),
            breached_passwords_file: None,
            keep_events: Duration::from_secs(90 * DAY),
            webhook_url: None,
            webhook_secret: None,
            webhook_severity: Severity::Low,
            on_credential_stuffing: Reaction::Block,
            on_password_spraying: Reaction::Block,
            on_brute_force: Reaction::Notify,
            on_refresh_token_reused: Reaction::Notify,
            on_new_device: Reaction::Notify,
            on_new_network: Reaction::Notify,
            on_dormant_account_used: Reaction::Notify,
            on_permission_probing: Reaction::Notify,
        }
    }
}

/// The least length of a key for HMAC-SHA256 by the standard of webhooks, in bytes.
const WEBHOOK_SECRET_MIN: usize = 24;

impl SecurityConfig {
    /// Whether sessions of high risk do nothing but end.
    pub(crate) fn holds_high_risk(&self) -> bool {
        self.reactions().iter().any(|(_, reaction, _)| *reaction == Reaction::StepUp)
    }

    /// Each reaction, and which there may be.
    fn reactions(&self) -> [(&'static str, Reaction, &'static [Reaction]); 8] {
        use Reaction::{Block, Notify, Revoke, StepUp};
        [
            ("security.on_credential_stuffing", self.on_credential_stuffing, &[Notify, Block]),
            ("security.on_password_spraying", self.on_password_spraying, &[Notify, Block]),
            ("security.on_brute_force", self.on_brute_force, &[Notify, Block]),
            ("security.on_refresh_token_reused", self.on_refresh_token_reused, &[Notify, Revoke]),
            ("security.on_new_device", self.on_new_device, &[Notify, StepUp]),
            ("security.on_new_network", self.on_new_network, &[Notify, StepUp]),
            ("security.on_dormant_account_used", self.on_dormant_account_used, &[Notify, StepUp]),
            ("security.on_permission_probing", self.on_permission_probing, &[Notify, StepUp, Revoke]),
        ]
    }

    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        self.walk_thresholds(visitor);
        self.walk_telling(visitor);
        for (name, meaning, reaction) in [
            (
                "security.on_credential_stuffing",
                "What is done while the deployment is under attack.",
                &mut self.on_credential_stuffing,
            ),
            (
                "security.on_password_spraying",
                "What is done while one password is tried on many accounts.",
                &mut self.on_password_spraying,
            ),
            ("security.on_brute_force", "What is done about many passwords on one account.", &mut self.on_brute_force),
            (
                "security.on_refresh_token_reused",
                "What is done about a refresh token that comes back.",
                &mut self.on_refresh_token_reused,
            ),
            (
                "security.on_new_device",
                "What is done about a sign-in on a device not seen lately.",
                &mut self.on_new_device,
            ),
            (
                "security.on_new_network",
                "What is done about a sign-in from a network not seen lately.",
                &mut self.on_new_network,
            ),
            (
                "security.on_dormant_account_used",
                "What is done about a sign-in to a dormant account.",
                &mut self.on_dormant_account_used,
            ),
            (
                "security.on_permission_probing",
                "What is done about a burst of denials.",
                &mut self.on_permission_probing,
            ),
        ] {
            visitor.setting(name, meaning, reaction);
        }
    }

    fn walk_thresholds(&mut self, visitor: &mut impl Visitor) {
        visitor.number("security.window", 60..=3600, "The window of the counts, in seconds.", &mut self.window);
        visitor.number(
            "security.stuffing_accounts",
            10..=100_000,
            "Accounts that fail in a window for an attack.",
            &mut self.stuffing_accounts,
        );
        visitor.number(
            "security.network_accounts",
            5..=1_000,
            "Accounts that fail in a window from one network for an attack.",
            &mut self.network_accounts,
        );
        visitor.number(
            "security.spraying_accounts",
            3..=1_000,
            "Accounts that one password fails on in a window for spraying.",
            &mut self.spraying_accounts,
        );
        visitor.number(
            "security.pressure",
            60..=DAY,
            "Seconds that strangers are slowed after the last sign of an attack.",
            &mut self.pressure,
        );
        visitor.number(
            "security.stranger_wait",
            1..=300,
            "Seconds after which a stranger may come back during an attack.",
            &mut self.stranger_wait,
        );
        visitor.number(
            "security.block_for",
            1..=DAY,
            "Seconds that a network waits that is blocked.",
            &mut self.block_for,
        );
        visitor.number(
            "security.probing_denials",
            0..=100_000,
            "Denials of one member in a window that are probing; 0 for never.",
            &mut self.probing_denials,
        );
        visitor.number(
            "security.dormant_after",
            DAY..=3650 * DAY,
            "Seconds without a sign-in after which an account is dormant.",
            &mut self.dormant_after,
        );
    }

    fn walk_telling(&mut self, visitor: &mut impl Visitor) {
        visitor.setting(
            "security.breached_passwords_file",
            "A file of the SHA-1 of breached passwords.",
            &mut self.breached_passwords_file,
        );
        visitor.number(
            "security.keep_events",
            DAY..=3650 * DAY,
            "Seconds that events are kept.",
            &mut self.keep_events,
        );
        visitor.setting("security.webhook_url", "Where events are sent, signed.", &mut self.webhook_url);
        visitor.setting("security.webhook_secret", "The key that they are signed with.", &mut self.webhook_secret);
        visitor.setting("security.webhook_severity", "The least severity that is sent.", &mut self.webhook_severity);
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        for (setting, reaction, fitting) in self.reactions() {
            if !fitting.contains(&reaction) {
                problems.report(setting, Problem::Refused("this reaction does not fit"));
            }
        }
        self.check_webhook(profile, problems);
    }

    fn check_webhook(&self, profile: Profile, problems: &mut Problems) {
        let Some(url) = &self.webhook_url else { return };
        #[cfg(feature = "issuers")]
        if crate::issuer::Location::parse(url.expose(), profile == Profile::Development).is_err() {
            problems.report(
                "security.webhook_url",
                Problem::Refused("must be an https URL without user name and fragment"),
            );
        }
        #[cfg(not(feature = "issuers"))]
        {
            let _ = (url, profile);
            problems.report("security.webhook_url", Problem::NeedsFeature("issuers"));
        }
        let is_long = |secret: &Secret| {
            // What stands behind the prefix is base64, of so many bytes.
            let text = secret.expose();
            let encoded = text.strip_prefix("whsec_").map(|encoded| encoded.trim_end_matches('=').len() * 3 / 4);
            encoded.unwrap_or(text.len()) >= WEBHOOK_SECRET_MIN
        };
        if !self.webhook_secret.as_ref().is_some_and(is_long) {
            problems.report(
                "security.webhook_secret",
                Problem::Refused("must be there with security.webhook_url, and have at least 24 bytes"),
            );
        }
    }
}
