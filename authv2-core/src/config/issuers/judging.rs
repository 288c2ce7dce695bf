//! Whether issuers can be trusted as they are set.

use std::collections::HashSet;

use super::IssuerConfig;
use crate::{
    config::{Problem, Profile, entry::Entry as _, problem::Problems, visitor::LimitCheck},
    id::OrgId,
    issuer::Location,
    permission::is_name,
};

const URL: &str = "an https URL without user name and fragment, or in development http on loopback";

/// Judges every issuer. `own` is the issuer of this deployment.
pub(in crate::config) fn check(issuers: &[IssuerConfig], own: Option<&str>, profile: Profile, problems: &mut Problems) {
    let (mut seen, mut labels) = (HashSet::new(), HashSet::new());
    for (index, issuer) in issuers.iter().enumerate() {
        let mut inside = issuer.check(profile);
        if own == Some(issuer.issuer.as_str()) {
            inside.report("issuer", Problem::Refused("this deployment's own tokens are verified otherwise"));
        }
        if !seen.insert(issuer.issuer.as_str()) {
            inside.report("issuer", Problem::Refused("another entry has it too"));
        } else if !labels.insert(issuer.label()) {
            inside.report("name", Problem::Refused("another issuer is called so: give each a name"));
        }
        if let Some(problem) = inside.into_inside() {
            problems.report(format!("issuers.{}", index + 1), problem);
        }
    }
}

impl IssuerConfig {
    fn check(&self, profile: Profile) -> Problems {
        let mut limits = LimitCheck::default();
        self.clone().walk(&mut limits);
        let mut problems = limits.0;
        self.check_places(profile, &mut problems);
        self.check_tokens(&mut problems);
        self.check_organizations(&mut problems);
        self.check_roles(&mut problems);
        if self.refresh_min > self.refresh_max {
            problems.report("refresh_min", Problem::Refused("must not be over refresh_max"));
        }
        problems
    }

    fn check_places(&self, profile: Profile, problems: &mut Problems) {
        let allows_loopback = profile == Profile::Development;
        let is_url = |url: &String| Location::parse(url, allows_loopback).is_ok();
        if self.issuer.is_empty() {
            problems.report("issuer", Problem::Missing("whose tokens are to be taken"));
        } else if !is_url(&self.issuer) || self.issuer.contains(['?', '|']) {
            problems.report("issuer", Problem::Expected(URL));
        }
        for (name, url) in [("discovery", &self.discovery), ("jwks_uri", &self.jwks_uri)] {
            if url.as_ref().is_some_and(|url| !is_url(url)) {
                problems.report(name, Problem::Expected(URL));
            }
        }
        if self.discovery.is_some() && self.jwks_uri.is_some() {
            problems.report("discovery", Problem::Refused("has no effect beside jwks_uri"));
        }
        let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if self.name.as_ref().is_some_and(|name| !(1..=64).contains(&name.len()) || !name.chars().all(is_label)) {
            problems.report("name", Problem::Expected("1 to 64 letters, digits, `.`, `:`, `-` or `_`"));
        }
    }

    fn check_tokens(&self, problems: &mut Problems) {
        if self.audiences.is_empty() {
            problems.report("audiences", Problem::Missing("tokens for others must not be taken"));
        }
        if self.algorithms.is_empty() {
            problems.report("algorithms", Problem::Missing("without any, no token passes"));
        } else if self.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            let reason = "a shared secret proves nothing: whoever verifies by it can sign";
            problems.report("algorithms", Problem::Refused(reason));
        }
        if self.typ.is_empty() {
            problems.report("typ", Problem::Missing("write `absent` for tokens without one"));
        }
    }

    fn check_organizations(&self, problems: &mut Problems) {
        let is_one = |name: &str| is_name(name) || name.parse::<OrgId>().is_ok();
        if self.organizations.is_empty() {
            problems.report("organizations", Problem::Missing("it speaks for none otherwise"));
        } else if !self.organizations.iter().all(|name| is_one(name)) {
            problems.report("organizations", Problem::Expected("ids or slugs of organizations"));
        } else if self.organization_claim.is_none() && self.organizations.len() > 1 {
            let reason = "needed to tell several organizations apart";
            problems.report("organization_claim", Problem::Missing(reason));
        }
        if self.organization_map.values().any(|ours| !self.organizations.contains(ours)) {
            problems.report("organization_map", Problem::Refused("names one that is not among organizations"));
        } else if !self.organization_map.is_empty() && self.organization_claim.is_none() {
            problems.report("organization_map", Problem::Refused("has no effect without organization_claim"));
        }
    }

    fn check_roles(&self, problems: &mut Problems) {
        if self.roles_claim.is_some() == self.role_map.is_empty() {
            problems.report("role_map", Problem::Refused("roles_claim and role_map need each other"));
        } else if !self.role_map.values().all(|role| is_name(role)) {
            problems.report("role_map", Problem::Expected("names of roles as values"));
        }
    }
}
