//! API keys as OAuth clients (RFC 6749 section 4.4): what they authenticate with, and the tokens that are issued for them.

use std::{sync::Arc, time::Duration};

use super::{AuthenticationService, authenticate::invalid_token};
use crate::{
    api_key::{LiveKey, ParsedKey},
    audit::{Actor, Origin},
    changes::Since,
    clock::Timestamp,
    error::{Code, Error, Result},
    id::{KeyId, TokenId},
    jwt::{AccessClaims, Audience, MintError},
    metering::{Outcome, RouteClass},
    permission::Pattern,
    principal::{Known, Membership, Method, Principal},
    secret::Secret,
    telemetry,
};

/// A token that was issued for a client.
#[derive(Debug)]
pub(crate) struct ClientToken {
    pub(crate) access_token: Secret,
    pub(crate) expires_in: Duration,
    pub(crate) scope: String,
}

impl AuthenticationService {
    /// The client that authenticates with the id of an API key and the whole of the key. It counts as a use of the key,
    /// against its limits and its quota.
    ///
    /// # Errors
    /// [`Code::InvalidClient`] for everything that does not open a key which may be used from there; the refusals of its
    /// limits and its quota; or an outage.
    pub(crate) async fn client(&self, id: &str, secret: &Secret, origin: &Origin) -> Result<Principal> {
        let parsed = ParsedKey::parse(secret.expose()).filter(|key| id.parse() == Ok(key.id));
        let key = parsed.ok_or_else(invalid_client)?;
        let mut principal = self.by_key(&key, origin).await.map_err(|error| match error.code() {
            Code::InvalidToken | Code::PermissionDenied => invalid_client(),
            _ => error,
        })?;
        self.admit(&mut principal).await?;
        self.draw_quota(&principal).await?;
        Ok(principal)
    }

    /// Issues a token for a client: good for what its key may do, and of that for `scope` alone where it names one.
    ///
    /// # Errors
    /// [`Code::InvalidScope`] for what goes beyond the key's scopes, or an outage.
    pub(crate) async fn client_token(&self, client: &Principal, scope: Option<&str>) -> Result<ClientToken> {
        let Some(key) = client.api_key() else { return Err(invalid_client()) };
        let scope = match scope {
            Some(scope) => narrowed(key, scope)?.to_owned(),
            None => key.record().scopes.join(" "),
        };
        // A key that was replaced must not go on signing here: it does not verify for ever.
        self.current_keys().await?;
        let (access_token, expires_in) = match self.sign_for_client(key, &scope).await {
            // The key was replaced by one that promises less, after the life of the token was chosen.
            Err(MintError::TooLong) => self.sign_for_client(key, &scope).await?,
            other => other?,
        };
        Ok(ClientToken { access_token, expires_in, scope })
    }

    async fn sign_for_client(&self, key: &LiveKey, scope: &str) -> Result<(Secret, Duration), MintError> {
        let (now, record) = (self.now(), key.record());
        let longest = self.0.config.tokens.access_ttl.min(self.0.jwt.token_life(now));
        let expires_in = record.expires_at.map_or(longest, |end| longest.min(end.since(now)));
        let client = record.id.to_string();
        let claims = AccessClaims {
            iss: self.0.issuer.clone(),
            aud: Audience::one(self.0.audience.clone()),
            sub: client.clone(),
            exp: now + expires_in,
            iat: now,
            jti: TokenId::new().to_string(),
            client_id: client,
            sid: None,
            org: Some(record.organization),
            store: record.store,
            amr: Vec::new(),
            acr: None,
            auth_time: None,
            scope: Some(scope.to_owned()),
            cnf: None,
        };
        Ok((Secret::new(self.0.jwt.mint(&claims, now).await?), expires_in))
    }

    /// What is to be known of the bearer of a client's own token: what its key may do at present, within the token's
    /// scope.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] where its key is not good any longer, or the token is none of a key's; or an outage.
    pub(super) async fn find_out_client(
        &self,
        claims: &AccessClaims,
        (until, since): (Timestamp, Since),
    ) -> Result<Known> {
        let refused = || {
            telemetry::count(telemetry::TOKEN_REFUSALS, "reason", "no_client");
            invalid_token()
        };
        let key: KeyId = claims.client_id.parse().map_err(|_| refused())?;
        // A token that has no scope, or is bound to a proof, was not issued for a key.
        let scope = claims.scope.as_deref().and_then(patterns).ok_or_else(refused)?;
        if claims.sub != claims.client_id || claims.cnf.is_some() {
            return Err(refused());
        }
        let (key, Membership { tenant, access }) = self.live_key(key).await?;
        if claims.org != Some(tenant.organization) || claims.store != tenant.store {
            return Err(refused());
        }
        let access = access.within(Arc::new(key.scope().narrowed_to(&scope)));
        let until = key.record().expires_at.map_or(until, |end| until.min(end));
        let credential = (Method::Bearer, Some(claims.token_id()));
        Ok(Known::of_key(key, Membership { tenant, access }, Arc::clone(&self.0.clock), credential, (until, since)))
    }

    /// Revokes a client's own token, alone, for that client. What is no good token revokes nothing.
    ///
    /// # Errors
    /// [`Code::InvalidClient`] for another client's; or an outage: the token may go on.
    pub(crate) async fn revoke_for_client(
        &self,
        client: Option<&Principal>,
        claims: &AccessClaims,
        origin: &Origin,
    ) -> Result<()> {
        let key = client
            .and_then(Principal::api_key)
            .map(|key| key.record().id)
            .filter(|key| claims.client_id.parse() == Ok(*key));
        let Some(key) = key else {
            return Err(Error::new(Code::InvalidClient, "a client's own token is revoked by that client alone"));
        };
        self.revoke_token(claims.token_id(), claims.exp, Actor::ApiKey(key), origin).await?;
        Ok(())
    }

    /// Counts what a client was answered where no adapter does.
    pub(crate) fn served_client<T>(&self, client: &Principal, class: RouteClass, answer: &Result<T>) {
        let outcome = match answer {
            Err(error) if error.code().status().is_client_error() => Outcome::Denied,
            _ => Outcome::Allowed,
        };
        self.count_use(client, class, outcome);
    }
}

/// The scope that was asked for, if the key's scopes cover all of it.
fn narrowed<'a>(key: &LiveKey, scope: &'a str) -> Result<&'a str> {
    let beyond =
        || Error::new(Code::InvalidScope, "the scope must be permissions, or patterns of them, of the key's own");
    let own = key.record().scopes.iter().filter_map(|scope| scope.parse::<Pattern>().ok()).collect::<Vec<_>>();
    let wanted = patterns(scope).ok_or_else(beyond)?;
    let is_within = wanted.iter().all(|wanted| own.iter().any(|own| own.covers(wanted)));
    if is_within { Ok(scope) } else { Err(beyond()) }
}

/// The patterns of a scope (RFC 6749 section 3.3); none if one of them is none, or there is none.
fn patterns(scope: &str) -> Option<Vec<Pattern>> {
    scope.split(' ').map(|pattern| pattern.parse().ok()).collect()
}

pub(crate) fn invalid_client() -> Error {
    Error::new(Code::InvalidClient, "the client is not known, or its credentials are not good")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_patterns_with_a_space_between() {
        assert_eq!(patterns("orders:read stock:*").unwrap().len(), 2);
        for scope in ["", " ", "orders:read ", "orders:read  stock:read", "orders", "openid profile"] {
            assert!(patterns(scope).is_none(), "{scope:?}");
        }
    }
}
