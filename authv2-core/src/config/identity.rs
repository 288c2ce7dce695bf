//! Settings of the service itself: profile, address, issuer, origins, master key, first administrator.

use unicode_normalization::UnicodeNormalization;

use super::{Config, Origin, Problem, Profile, problem::Problems, visitor::Visitor};
use crate::{master_key::MasterKey, secret::Secret};

/// The platform administrator to make at start. Both halves must be set.
#[derive(Debug, Clone)]
pub struct BootstrapAdmin {
    /// The address to sign in with.
    pub email: String,
    /// The first password, 8 to 256 code points. It stands in a file or an environment: change it after signing in.
    pub password: Secret,
}

const ISSUER: &str = "an https or http URL without user name, query, fragment or trailing slash";

impl Config {
    pub(super) fn walk_identity(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("profile", "How strictly the settings are judged.", &mut self.profile);
        visitor.setting("listen", "The address to listen on; port 0 picks a free one.", &mut self.listen);
        visitor.setting("issuer", "The `iss` of tokens: an https URL without trailing slash.", &mut self.issuer);
        visitor.setting(
            "allowed_origins",
            "Origins whose pages may send cookies along; by default the issuer's and the listening one.",
            &mut self.allowed_origins,
        );
        visitor.setting(
            "master_key",
            "The key that encrypts signing keys at rest: base64 of 32 bytes.",
            &mut self.master_key,
        );
        visitor.setting("master_key_file", "A file that holds the master key.", &mut self.master_key_file);
        self.walk_bootstrap_admin(visitor);
    }

    fn walk_bootstrap_admin(&mut self, visitor: &mut impl Visitor) {
        let (mut email, mut password) =
            self.bootstrap_admin.take().map_or((None, None), |admin| (Some(admin.email), Some(admin.password)));
        visitor.setting("bootstrap_admin.email", "The platform administrator made at start.", &mut email);
        visitor.setting("bootstrap_admin.password", "Its first password.", &mut password);
        match (email, password) {
            (Some(email), Some(password)) => self.bootstrap_admin = Some(BootstrapAdmin { email, password }),
            (None, None) => {}
            (Some(_), None) => visitor
                .report("bootstrap_admin.password", Problem::Missing("bootstrap_admin.email is set, and needs it")),
            (None, Some(_)) => visitor
                .report("bootstrap_admin.email", Problem::Missing("bootstrap_admin.password is set, and needs it")),
        }
    }

    pub(super) fn check_identity(&self, problems: &mut Problems) {
        let is_production = self.profile == Profile::Production;
        self.check_issuer(is_production, problems);
        if is_production {
            self.check_origins(problems);
        }
        self.check_master_key(is_production, problems);
        if let Some(admin) = &self.bootstrap_admin {
            admin.check(problems);
        }
    }

    fn check_issuer(&self, is_production: bool, problems: &mut Problems) {
        match &self.issuer {
            None if is_production => {
                problems
                    .report("issuer", Problem::Missing("the production profile needs the https URL of this service"));
            }
            None => {}
            Some(issuer) if !is_issuer(issuer) => problems.report("issuer", Problem::Expected(ISSUER)),
            Some(issuer) if is_production && issuer.starts_with("http:") => {
                problems.report("issuer", Problem::RefusedInProduction("tokens need an https issuer (RFC 8414)"));
            }
            Some(_) => {}
        }
    }

    fn check_origins(&self, problems: &mut Problems) {
        if self.allowed_origins.iter().any(Origin::is_wildcard) {
            problems.report(
                "allowed_origins",
                Problem::RefusedInProduction("`*` lets every site act with a visitor's cookie"),
            );
        }
        if self.allowed_origins.iter().any(Origin::is_cleartext) {
            problems.report(
                "allowed_origins",
                Problem::RefusedInProduction("an http origin lets anybody on the way act with a visitor's cookie"),
            );
        }
    }

    fn check_master_key(&self, is_production: bool, problems: &mut Problems) {
        if let Some(key) = &self.master_key {
            if MasterKey::from_base64(key).is_err() {
                problems.report("master_key", Problem::Expected("base64 or base64url of exactly 32 bytes"));
            }
        } else if is_production {
            match &self.master_key_file {
                None => problems.report(
                    "master_key",
                    Problem::Missing("the production profile needs it, or an existing master_key_file"),
                ),
                Some(path) if !path.is_file() => problems.report(
                    "master_key_file",
                    Problem::RefusedInProduction("there is no such file, and a fresh key is not made here"),
                ),
                Some(_) => {}
            }
        }
    }
}

impl BootstrapAdmin {
    fn check(&self, problems: &mut Problems) {
        let is_address = self.email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && self.email.len() <= 254
        });
        if !is_address || self.email.contains(|c: char| c.is_whitespace() || c.is_control()) {
            problems.report("bootstrap_admin.email", Problem::Expected("an e-mail address"));
        }
        if !(8..=256).contains(&self.password.expose().nfc().count()) {
            problems.report("bootstrap_admin.password", Problem::Expected("8 to 256 characters"));
        }
    }
}

fn is_issuer(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.ends_with('/')
        && !text.contains(['?', '#', '"', '<', '>', '\\'])
        && Origin::of_url(text).is_ok()
}
