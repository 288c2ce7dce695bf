//! Judging what a token of an issuer says: a pure function of the settings, the token and the time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    config::{IssuerConfig, NO_TYPE, RequiredClaim},
    jwt::{Confirmation, NumericDate, OpenedToken, TokenRefusal},
    principal::ExternalIdentity,
};

/// The longest subject taken, in bytes. OpenID Connect Core section 2 allows 255 characters of ASCII.
const SUBJECT_MAX: usize = 255;

/// Whom an issuer vouches for, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Vouched {
    /// Who it is.
    pub identity: ExternalIdentity,
    /// The organization that it acts in, as the settings write it: an id or a slug.
    pub organization: String,
    /// Its roles there, by our names, sorted, each once. They need not exist.
    pub roles: Vec<String>,
    /// From when on the token is refused, or what is known of it here is too old.
    pub expires_at: Timestamp,
    /// The key that its holder must prove to have. A token with one must not be accepted as a bearer token.
    pub confirmation: Option<Confirmation>,
}

/// The rules for the tokens of one issuer.
#[derive(Debug)]
pub(super) struct Judge {
    config: IssuerConfig,
    types: Vec<Option<String>>,
}

impl Judge {
    pub(super) fn new(config: &IssuerConfig) -> Self {
        let types = config.typ.iter().map(|typ| (typ != NO_TYPE).then(|| typ.clone())).collect();
        Self { config: config.clone(), types }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// The types of its access tokens, `None` for none.
    pub(super) fn types(&self) -> &[Option<String>] {
        &self.types
    }

    /// Judges a token that a key of the issuer signed.
    ///
    /// # Errors
    /// The first rule that failed.
    pub(super) fn judge(&self, token: &OpenedToken, now: Timestamp) -> Result<Vouched, TokenRefusal> {
        let claims = &token.claims;
        if text(claims, "iss") != Some(self.issuer()) {
            return Err(TokenRefusal::WrongIssuer);
        }
        if !is_access_token(token) {
            return Err(TokenRefusal::NotAnAccessToken);
        }
        self.check_audience(claims)?;
        let (issued_at, expires_at) = self.check_time(claims, now)?;
        self.check_required(claims)?;
        let organization = self.organization(claims).ok_or(TokenRefusal::ForeignOrganization)?;
        let confirmation = match claims.get("cnf") {
            None => None,
            Some(cnf) => Some(Confirmation::deserialize(cnf).map_err(|_| TokenRefusal::MalformedClaim)?),
        };
        let key_thumbprint = confirmation.as_ref().map(thumbprint).transpose()?;
        Ok(Vouched {
            identity: ExternalIdentity { key_thumbprint, ..self.identity(claims, issued_at)? },
            organization: organization.to_owned(),
            roles: self.roles(claims),
            expires_at,
            confirmation,
        })
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenRefusal> {
        let claim = self.config.audience_claim.find(claims).ok_or(TokenRefusal::MissingClaim)?;
        let is_for_us = texts(claim).any(|audience| self.config.audiences.iter().any(|own| own == audience));
        if is_for_us { Ok(()) } else { Err(TokenRefusal::WrongAudience) }
    }

    /// When it was issued, and when it is refused.
    fn check_time(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(Timestamp, Timestamp), TokenRefusal> {
        let date = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(date) => NumericDate::deserialize(date).map(Some).map_err(|_| TokenRefusal::MalformedClaim),
        };
        let leeway = self.config.leeway;
        let expires_at = date("exp")?.ok_or(TokenRefusal::MissingClaim)?.0 + leeway;
        let issued_at = date("iat")?.ok_or(TokenRefusal::MissingClaim)?.0;
        if now >= expires_at {
            return Err(TokenRefusal::Expired);
        }
        if date("nbf")?.is_some_and(|nbf| nbf.0 > now + leeway) {
            return Err(TokenRefusal::NotYetValid);
        }
        if issued_at > now + leeway {
            return Err(TokenRefusal::IssuedInFuture);
        }
        Ok((issued_at, expires_at))
    }

    fn check_required(&self, claims: &Map<String, Value>) -> Result<(), TokenRefusal> {
        for (name, required) in &self.config.required_claims {
            let claim = claims.get(name).filter(|claim| !claim.is_null()).ok_or(TokenRefusal::MissingClaim)?;
            let RequiredClaim::OneOf(wanted) = required else { continue };
            let is_wanted = |said: &str| wanted.iter().any(|wanted| wanted == said);
            let is_list = matches!(name.as_str(), "scope" | "scp");
            if !texts(claim).any(|said| is_wanted(said) || is_list && said.split(' ').any(is_wanted)) {
                return Err(TokenRefusal::UnwantedClaim);
            }
        }
        Ok(())
    }

    /// The organization that the token names, if the issuer speaks for it; of several names none counts.
    fn organization(&self, claims: &Map<String, Value>) -> Option<&str> {
        let ours = &self.config.organizations;
        let Some(path) = &self.config.organization_claim else { return ours.first().map(String::as_str) };
        let named = match path.find(claims)? {
            Value::String(name) => name.as_str(),
            Value::Array(names) => match names.as_slice() {
                [name] => name.as_str()?,
                _ => return None,
            },
            // Keycloak writes an object whose members are called like the organizations.
            Value::Object(names) if names.len() == 1 => names.keys().next()?,
            _ => return None,
        };
        let map = &self.config.organization_map;
        let named = if map.is_empty() { named } else { map.get(named)? };
        ours.iter().find(|own| *own == named).map(String::as_str)
    }

    fn roles(&self, claims: &Map<String, Value>) -> Vec<String> {
        let claim = self.config.roles_claim.as_ref().and_then(|path| path.find(claims));
        let theirs = claim.into_iter().flat_map(texts).flat_map(|said| {
            // A name of theirs may contain spaces, where the table has it so.
            let whole = self.config.role_map.contains_key(said);
            let words = (!whole).then(|| said.split(' ')).into_iter().flatten();
            whole.then_some(said).into_iter().chain(words)
        });
        let mut roles: Vec<String> = theirs.filter_map(|role| self.config.role_map.get(role)).cloned().collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    fn identity(&self, claims: &Map<String, Value>, issued_at: Timestamp) -> Result<ExternalIdentity, TokenRefusal> {
        let subject = text(claims, "sub").ok_or(TokenRefusal::MissingClaim)?;
        if subject.is_empty() {
            return Err(TokenRefusal::EmptyClaim);
        }
        if subject.len() > SUBJECT_MAX || subject.chars().any(char::is_control) {
            return Err(TokenRefusal::MalformedClaim);
        }
        let owned = |name| text(claims, name).map(str::to_owned);
        let auth_time = claims.get("auth_time").and_then(|date| NumericDate::deserialize(date).ok());
        let amr: Vec<&str> = claims.get("amr").into_iter().flat_map(texts).collect();
        Ok(ExternalIdentity {
            id: format!("{}|{subject}", self.issuer()),
            issuer: self.issuer().to_owned(),
            subject: subject.to_owned(),
            // Whoever may write any address into its profile there must not pass for that person here.
            email: owned("email").filter(|_| is_true(claims.get("email_verified"))),
            client_id: ["client_id", "azp", "appid", "cid"].into_iter().find_map(owned),
            scope: owned("scope").or_else(|| owned("scp")),
            amr: amr.join(" "),
            acr: owned("acr").unwrap_or_default(),
            auth_time: auth_time.map_or(Timestamp::from_micros(0), |date| date.0),
            issued_at,
            key_thumbprint: None,
        })
    }
}

/// Whether a token is known to be an access token: by its type (RFC 9068), or by a claim that ID tokens do not have.
/// What only other tokens have outweighs either.
fn is_access_token(token: &OpenedToken) -> bool {
    let claims = &token.claims;
    let has = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
    let said = |name: &str, wanted: &[&str]| {
        text(claims, name).is_some_and(|said| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(said)))
    };
    // Cognito says what a token is used for, Keycloak of what type it is.
    let is_other_use = claims.contains_key("token_use") && !said("token_use", &["access"]);
    let is_other_type = said("typ", &["ID", "Refresh", "Offline", "Logout", "logout+jwt"]);
    // Of ID tokens (OpenID Connect Core sections 3.1.3.6 and 3.3.2.11) and of security events (RFC 8417).
    if is_other_use || is_other_type || has(&["at_hash", "c_hash", "s_hash", "events"]) {
        return false;
    }
    let is_said =
        token.is_typed_as_access_token() || said("token_use", &["access"]) || said("typ", &["Bearer", "DPoP"]);
    // Older versions of Keycloak write the nonce of the sign-in into access tokens too.
    is_said
        || !has(&["nonce"]) && has(&["scope", "scp", "client_id", "cid", "permissions", "gty", "azpacr", "appidacr"])
}

/// The SHA-256 thumbprint that names a key (RFC 9449 section 6.1).
fn thumbprint(confirmation: &Confirmation) -> Result<Vec<u8>, TokenRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(&confirmation.jkt).ok().filter(|bytes| bytes.len() == 32);
    bytes.ok_or(TokenRefusal::MalformedClaim)
}

fn text<'v>(claims: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    claims.get(name)?.as_str()
}

/// A text, or those of a list.
fn texts(claim: &Value) -> impl Iterator<Item = &str> {
    let (one, several) = match claim {
        Value::String(text) => (Some(text.as_str()), None),
        Value::Array(values) => (None, Some(values)),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

/// Some issuers write booleans as text.
fn is_true(claim: Option<&Value>) -> bool {
    claim.is_some_and(|claim| claim == &Value::Bool(true) || claim.as_str() == Some("true"))
}
