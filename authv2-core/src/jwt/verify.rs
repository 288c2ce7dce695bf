//! Judging tokens: pure functions of the token, the keys, the rules and the time (RFC 7519, RFC 8725, RFC 9068).

use std::{fmt, time::Duration};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{
    AccessClaims, Audience, Confirmation, NumericDate, TokenRefusal, VerifyingKey,
    jws::{CompactJws, names_type},
    keyset::KeySet,
    strict_json::{Finding, Ignored, Name, Names, once},
    trusted::TrustedKeys,
};
use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId},
};

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// How far `iat` and `nbf` may lie ahead of this node's clock. `exp` has no leeway.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// What a token must say to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    /// `iss` must be exactly this.
    pub issuer: String,
    /// `aud` must contain one of these; with none, no token passes.
    pub audiences: Vec<String>,
    /// `typ` must name this media type; `None` takes any, which invites confusion between kinds of tokens.
    pub typ: Option<String>,
    /// Claims that must be there beyond `iss`, `aud` and `exp`, and not be empty where they are strings.
    pub required: Vec<String>,
    /// How far `iat` and `nbf` may lie in the future.
    pub leeway: Duration,
}

impl ClaimRules {
    /// The rules for our own access tokens (RFC 9068 section 4).
    #[must_use]
    pub fn access_token(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            typ: Some(ACCESS_TOKEN_TYPE.to_owned()),
            required: ["sub", "iat", "jti", "client_id"].map(str::to_owned).to_vec(),
            leeway: CLOCK_LEEWAY,
        }
    }
}

/// Judges a JWS by its signature alone and gives its payload.
///
/// # Errors
/// [`TokenRefusal`], the first rule that failed.
pub fn verify_jws(token: &str, keys: &TrustedKeys) -> Result<Vec<u8>, TokenRefusal> {
    let jws = CompactJws::split(token)?;
    let header = jws.read_header()?;
    let signature = jws.signature()?;
    keys.verify(&header, jws.signing_input.as_bytes(), &signature)?;
    jws.payload()
}

/// Judges a JWT of an issuer we trust: its signature, then its claims. Private claims are not interpreted.
///
/// # Errors
/// [`TokenRefusal`], the first rule that failed.
pub fn verify_jwt(token: &str, keys: &TrustedKeys, rules: &ClaimRules, now: Timestamp) -> Result<(), TokenRefusal> {
    let jws = CompactJws::split(token)?;
    let header = jws.read_header()?;
    check_type(header.typ.as_deref(), header.cty.as_deref(), rules)?;
    let signature = jws.signature()?;
    keys.verify(&header, jws.signing_input.as_bytes(), &signature)?;
    let payload = jws.payload()?;
    Claims::read(&payload, false)?.check(rules, now)
}

/// Judges an access token of ours. Nothing in it is looked at before its signature is known to be good, save the
/// header that names the key.
///
/// # Errors
/// [`TokenRefusal`], the first rule that failed; [`TokenRefusal::UnknownKeyId`] may mean that the keys are out of date.
pub fn verify_access_token(
    token: &str,
    keys: &KeySet,
    rules: &ClaimRules,
    now: Timestamp,
) -> Result<AccessClaims, TokenRefusal> {
    let jws = CompactJws::split(token)?;
    let key = key_of(&jws, keys, rules, now)?;
    if !key.verifies(jws.signing_input.as_bytes(), &jws.signature()?) {
        return Err(TokenRefusal::BadSignature);
    }
    let payload = jws.payload()?;
    let claims = Claims::read(&payload, true)?;
    claims.check(rules, now)?;
    claims.into_access()
}

fn key_of<'k>(
    jws: &CompactJws<'_>,
    keys: &'k KeySet,
    rules: &ClaimRules,
    now: Timestamp,
) -> Result<&'k VerifyingKey, TokenRefusal> {
    // Tokens minted here begin with one of a few headers, known to the byte: those need no decoding.
    if let Some(key) = keys.by_encoded_header(jws.header, now)
        && rules.typ.as_deref() == Some(ACCESS_TOKEN_TYPE)
    {
        return Ok(key);
    }
    let header = jws.read_header()?;
    check_type(header.typ.as_deref(), header.cty.as_deref(), rules)?;
    let kid = header.kid.ok_or(TokenRefusal::MissingKeyId)?;
    let key = keys.verifying(&kid, now)?;
    if key.algorithm() == header.algorithm { Ok(key) } else { Err(TokenRefusal::AlgorithmMismatch) }
}

/// The claims of another issuer's token: the registered ones of the right form, no name twice at any depth.
pub(super) fn read_strictly(payload: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, TokenRefusal> {
    Claims::read(payload, false)?;
    serde_json::from_slice(payload).map_err(|_| TokenRefusal::BadPayload)
}

fn check_type(typ: Option<&str>, cty: Option<&str>, rules: &ClaimRules) -> Result<(), TokenRefusal> {
    if cty.is_some_and(|cty| names_type(cty, "jwt")) {
        return Err(TokenRefusal::NestedToken);
    }
    match &rules.typ {
        Some(wanted) if !typ.is_some_and(|typ| names_type(typ, bare(wanted))) => Err(TokenRefusal::WrongType),
        _ => Ok(()),
    }
}

/// The rule may be written with the prefix as well.
pub(super) fn bare(wanted: &str) -> &str {
    wanted.strip_prefix("application/").unwrap_or(wanted)
}

/// The claims as they came: read once, each of the right type and there at most once, but not judged.
#[derive(Default)]
struct Claims<'de> {
    iss: Option<String>,
    aud: Option<Audience>,
    sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: Option<String>,
    client_id: Option<String>,
    sid: Option<SessionId>,
    org: Option<OrgId>,
    store: Option<StoreId>,
    amr: Option<Vec<String>>,
    acr: Option<String>,
    auth_time: Option<NumericDate>,
    scope: Option<String>,
    cnf: Option<Confirmation>,
    others: Names<'de>,
}

impl<'de> Claims<'de> {
    /// Parses the payload. With `ours`, private claims are read into their types; else they are only checked for
    /// duplicate names, since an issuer is free to give those names another meaning.
    fn read(json: &'de [u8], ours: bool) -> Result<Self, TokenRefusal> {
        let finding = Finding::default();
        // One pass over text known to be UTF-8 lets member names be borrowed.
        let text = std::str::from_utf8(json).map_err(|_| TokenRefusal::BadPayload)?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err(TokenRefusal::BadPayload);
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer
            .deserialize_map(ClaimsVisitor { finding: &finding, ours })
            .and_then(|claims| deserializer.end().map(|()| claims))
            .map_err(|error| finding.refusal(&error, TokenRefusal::BadPayload, TokenRefusal::MalformedClaim))
    }

    fn check(&self, rules: &ClaimRules, now: Timestamp) -> Result<(), TokenRefusal> {
        for name in &rules.required {
            self.require(name)?;
        }
        match &self.iss {
            None => return Err(TokenRefusal::MissingClaim),
            Some(iss) if *iss != rules.issuer => return Err(TokenRefusal::WrongIssuer),
            Some(_) => {}
        }
        let aud = self.aud.as_ref().ok_or(TokenRefusal::MissingClaim)?;
        if !rules.audiences.iter().any(|own| aud.contains(own)) {
            return Err(TokenRefusal::WrongAudience);
        }
        // RFC 7519 section 4.1.4: refused on the moment of `exp`, not only after it.
        if now >= self.exp.ok_or(TokenRefusal::MissingClaim)?.0 {
            return Err(TokenRefusal::Expired);
        }
        let horizon = now + rules.leeway;
        if self.nbf.is_some_and(|nbf| nbf.0 > horizon) {
            return Err(TokenRefusal::NotYetValid);
        }
        if self.iat.is_some_and(|iat| iat.0 > horizon) {
            return Err(TokenRefusal::IssuedInFuture);
        }
        Ok(())
    }

    fn require(&self, name: &str) -> Result<(), TokenRefusal> {
        let text = |claim: &Option<String>| match claim {
            None => Err(TokenRefusal::MissingClaim),
            Some(text) if text.is_empty() => Err(TokenRefusal::EmptyClaim),
            Some(_) => Ok(()),
        };
        let present = match name {
            "iss" => return text(&self.iss),
            "sub" => return text(&self.sub),
            "jti" => return text(&self.jti),
            "client_id" => return text(&self.client_id),
            "acr" if self.acr.is_some() => return text(&self.acr),
            "scope" if self.scope.is_some() => return text(&self.scope),
            "aud" => self.aud.is_some(),
            "exp" => self.exp.is_some(),
            "nbf" => self.nbf.is_some(),
            "iat" => self.iat.is_some(),
            "sid" if self.sid.is_some() => true,
            "org" if self.org.is_some() => true,
            "store" if self.store.is_some() => true,
            "amr" if self.amr.is_some() => true,
            "auth_time" if self.auth_time.is_some() => true,
            "cnf" if self.cnf.is_some() => true,
            other => self.others.has(other),
        };
        if present { Ok(()) } else { Err(TokenRefusal::MissingClaim) }
    }

    fn into_access(self) -> Result<AccessClaims, TokenRefusal> {
        let missing = TokenRefusal::MissingClaim;
        let claims = AccessClaims {
            iss: self.iss.ok_or(missing)?,
            aud: self.aud.ok_or(missing)?,
            sub: self.sub.ok_or(missing)?,
            exp: self.exp.ok_or(missing)?.0,
            iat: self.iat.ok_or(missing)?.0,
            jti: self.jti.ok_or(missing)?,
            client_id: self.client_id.ok_or(missing)?,
            sid: self.sid,
            org: self.org,
            store: self.store,
            amr: self.amr.unwrap_or_default(),
            acr: self.acr,
            auth_time: self.auth_time.map(|at| at.0),
            scope: self.scope,
            cnf: self.cnf,
        };
        if claims.sid.is_none() && claims.sub != claims.client_id {
            return Err(TokenRefusal::NoSession);
        }
        Ok(claims)
    }
}

struct ClaimsVisitor<'a> {
    finding: &'a Finding,
    ours: bool,
}

impl ClaimsVisitor<'_> {
    fn read<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
        &self,
        place: &mut Option<T>,
        members: &mut A,
    ) -> Result<(), A::Error> {
        once(place, members, self.finding, TokenRefusal::DuplicateClaim)
    }
}

impl<'de> Visitor<'de> for ClaimsVisitor<'_> {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims<'de>, A::Error> {
        let mut claims = Claims::default();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            match (&*name.0, self.ours) {
                ("iss", _) => self.read(&mut claims.iss, &mut members)?,
                ("aud", _) => self.read(&mut claims.aud, &mut members)?,
                ("sub", _) => self.read(&mut claims.sub, &mut members)?,
                ("exp", _) => self.read(&mut claims.exp, &mut members)?,
                ("nbf", _) => self.read(&mut claims.nbf, &mut members)?,
                ("iat", _) => self.read(&mut claims.iat, &mut members)?,
                ("jti", _) => self.read(&mut claims.jti, &mut members)?,
                ("client_id", _) => self.read(&mut claims.client_id, &mut members)?,
                ("sid", true) => self.read(&mut claims.sid, &mut members)?,
                ("org", true) => self.read(&mut claims.org, &mut members)?,
                ("store", true) => self.read(&mut claims.store, &mut members)?,
                ("amr", true) => self.read(&mut claims.amr, &mut members)?,
                ("acr", true) => self.read(&mut claims.acr, &mut members)?,
                ("auth_time", true) => self.read(&mut claims.auth_time, &mut members)?,
                ("scope", true) => self.read(&mut claims.scope, &mut members)?,
                ("cnf", true) => self.read(&mut claims.cnf, &mut members)?,
                _ => {
                    let duplicate = TokenRefusal::DuplicateClaim;
                    claims.others.add::<A::Error>(name, self.finding, duplicate)?;
                    members.next_value_seed(Ignored { finding: self.finding, duplicate })?;
                }
            }
        }
        Ok(claims)
    }
}
