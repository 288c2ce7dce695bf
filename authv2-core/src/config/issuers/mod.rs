//! Settings of the issuers elsewhere whose access tokens are taken.

#[cfg(feature = "issuers")]
mod judging;
#[cfg(all(test, feature = "issuers", feature = "sqlite"))]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

#[cfg(feature = "issuers")]
pub(super) use self::judging::check;
use super::{ClaimPath, DAY, RequiredClaim, entry::Entry, visitor::Visitor};
#[cfg(not(feature = "issuers"))]
use super::{Problem, Profile, problem::Problems};
use crate::jwt::Algorithm;

/// How [`IssuerConfig::typ`] writes a token without `typ`.
pub const NO_TYPE: &str = "absent";

/// An issuer elsewhere, and what its access tokens are good for. Nothing of it is trusted beyond what stands here.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Its `iss`, to the letter: an https URL; plain http on loopback in development.
    pub issuer: String,
    /// What health and metrics call it; by default its host.
    pub name: Option<String>,
    /// The organizations that it speaks for, by id or slug. A slug means whichever organization has it: where people
    /// may found and delete organizations, give ids.
    pub organizations: Vec<String>,
    /// The claim that names the organization; without one there is exactly one organization.
    pub organization_claim: Option<ClaimPath>,
    /// The organizations by that claim's value; by default the value is the id or slug itself.
    pub organization_map: BTreeMap<String, String>,
    /// Who the token must be for: at least one.
    pub audiences: Vec<String>,
    /// The claim that says for whom it is; `aud` by default. Access tokens of Amazon Cognito have `client_id` instead.
    pub audience_claim: ClaimPath,
    /// The signature algorithms taken: by default the public-key ones but RSASSA-PKCS1-v1_5 with SHA-384 and SHA-512
    /// and RSASSA-PSS with them. Shared secrets are refused.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` of its access tokens; `at+jwt` by default (RFC 9068), `absent` for none. Of any other type a token
    /// must show by a claim that it is no ID token.
    pub typ: Vec<String>,
    /// Claims that must be there, and their values.
    pub required_claims: BTreeMap<String, RequiredClaim>,
    /// The claim with the caller's roles: a list, or one text with spaces between.
    pub roles_claim: Option<ClaimPath>,
    /// Our roles by theirs. What does not stand here gives nothing.
    pub role_map: BTreeMap<String, String>,
    /// Its metadata, where they are not at one of the two well-known places.
    pub discovery: Option<String>,
    /// Its keys, without asking its metadata.
    pub jwks_uri: Option<String>,
    /// The certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How far its clock may be off, at most 60 s; 30 s by default.
    pub leeway: Duration,
    /// How long its keys are good at least, whatever it says; 60 s by default.
    pub refresh_min: Duration,
    /// How long its keys are good at most, whatever it says; an hour by default.
    pub refresh_max: Duration,
    /// How long its keys go on verifying after that while it does not answer; an hour by default. A key that it
    /// withdraws meanwhile goes on as long.
    pub stale_if_error: Duration,
    /// How often a key that is not known makes its keys be read again, at most; 10 s by default.
    pub unknown_key_interval: Duration,
    /// How long it may take to answer; 5 s by default.
    pub timeout: Duration,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        use Algorithm::{ES256, ES384, ES512, EdDSA, PS256, RS256};
        Self {
            issuer: String::new(),
            name: None,
            organizations: Vec::new(),
            organization_claim: None,
            organization_map: BTreeMap::new(),
            audiences: Vec::new(),
            audience_claim: ClaimPath::new("aud"),
            algorithms: vec![EdDSA, ES256, ES384, ES512, RS256, PS256],
            typ: vec!["at+jwt".to_owned()],
            required_claims: BTreeMap::new(),
            roles_claim: None,
            role_map: BTreeMap::new(),
            discovery: None,
            jwks_uri: None,
            ca_file: None,
            leeway: Duration::from_secs(30),
            refresh_min: Duration::from_secs(60),
            refresh_max: Duration::from_secs(3600),
            stale_if_error: Duration::from_secs(3600),
            unknown_key_interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Entry for IssuerConfig {
    const SHAPE: &'static str = "a table with `issuer`, `audiences`, `organizations`";

    fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("issuer", "Its `iss`, to the letter.", &mut self.issuer);
        visitor.setting("name", "What health and metrics call it; by default its host.", &mut self.name);
        visitor.setting("organizations", "The organizations it speaks for: ids or slugs.", &mut self.organizations);
        visitor.setting("organization_claim", "The claim that names the organization.", &mut self.organization_claim);
        visitor.setting("organization_map", "Organizations by that claim's value.", &mut self.organization_map);
        visitor.setting("audiences", "Who a token must be for.", &mut self.audiences);
        visitor.setting("audience_claim", "The claim that says for whom a token is.", &mut self.audience_claim);
        visitor.setting("algorithms", "The signature algorithms taken.", &mut self.algorithms);
        visitor.setting("typ", "The types of its access tokens; `absent` for none.", &mut self.typ);
        visitor.setting("required_claims", "Claims that must be there, and their values.", &mut self.required_claims);
        visitor.setting("roles_claim", "The claim with the caller's roles.", &mut self.roles_claim);
        visitor.setting("role_map", "Our roles by theirs.", &mut self.role_map);
        visitor.setting("discovery", "Where its metadata are.", &mut self.discovery);
        visitor.setting("jwks_uri", "Where its keys are, without asking its metadata.", &mut self.jwks_uri);
        visitor.setting("ca_file", "The CA certificates (PEM) to trust instead of the system's.", &mut self.ca_file);
        visitor.number("leeway", 0..=60, "Seconds that its clock may be off.", &mut self.leeway);
        visitor.number("refresh_min", 1..=DAY, "Seconds that its keys are good at least.", &mut self.refresh_min);
        visitor.number("refresh_max", 1..=DAY, "Seconds that its keys are good at most.", &mut self.refresh_max);
        visitor.number(
            "stale_if_error",
            0..=DAY,
            "Seconds that its keys go on verifying after that while it does not answer.",
            &mut self.stale_if_error,
        );
        visitor.number(
            "unknown_key_interval",
            1..=3600,
            "Seconds between two readings of its keys because of a key that is not known.",
            &mut self.unknown_key_interval,
        );
        visitor.number("timeout", 1..=30, "Seconds that it may take to answer.", &mut self.timeout);
    }
}

impl IssuerConfig {
    /// What health and metrics call it.
    #[must_use]
    pub fn label(&self) -> &str {
        let host = || self.issuer.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
        self.name.as_deref().unwrap_or_else(host)
    }
}

#[cfg(not(feature = "issuers"))]
pub(super) fn check(issuers: &[IssuerConfig], _: Option<&str>, _: Profile, problems: &mut Problems) {
    if !issuers.is_empty() {
        problems.report("issuers", Problem::NeedsFeature("issuers"));
    }
}
