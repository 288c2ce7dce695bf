//! Token introspection (RFC 7662): what a token of this deployment stands for at present, told to an API key that may ask.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{AuthenticationService, FIRST_PARTY_CLIENT, TokenType};
use crate::{
    error::{Code, Error, Result},
    jwt::AccessClaims,
    principal::Principal,
    session::REFRESH_PREFIX,
    tenant::Tenant,
};

/// What a token stands for (RFC 7662 section 2.2). A token that is not good, or not the caller's to see, is `active: false`
/// and nothing else.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Introspection {
    active: bool,
    #[serde(flatten)]
    #[schema(inline)]
    of: Option<ActiveToken>,
}

/// What is said of a good token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActiveToken {
    /// `Bearer`, or `DPoP` for one that is bound to a key.
    token_type: &'static str,
    /// The session and the rights of its user are asked for at each use: `sub`, `org` and so on are the token's.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    claims: AccessClaims,
}

impl Introspection {
    const INACTIVE: Self = Self { active: false, of: None };
}

impl AuthenticationService {
    /// What `token` stands for, as far as `caller` may know: an API key with `tokens:introspect`, of tokens in its own
    /// organization, or in its store where it is bound to one.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] or [`Code::InsufficientScope`] for whoever may not ask; or an outage, which says nothing
    /// about the token.
    pub(crate) async fn introspect(&self, caller: &Principal, token: &str) -> Result<Introspection> {
        if caller.api_key().is_none() {
            return Err(Error::new(Code::PermissionDenied, "this is for API keys"));
        }
        caller.check(crate::permission!("tokens:introspect")).require()?;
        if token.starts_with(REFRESH_PREFIX) {
            return Ok(Introspection::INACTIVE);
        }
        #[cfg(feature = "issuers")]
        if self.issuers().of(token).is_some() {
            return Ok(Introspection::INACTIVE);
        }
        let Ok((claims, _)) = self.verify(token).await? else { return Ok(Introspection::INACTIVE) };
        let known = match self.known(token).await {
            Ok(known) => known,
            Err(error) if error.code() == Code::InvalidToken => return Ok(Introspection::INACTIVE),
            Err(error) => return Err(error),
        };
        let of = known.membership.as_ref().map(|membership| membership.tenant);
        if !may_see(caller.tenant(), of) {
            return Ok(Introspection::INACTIVE);
        }
        let token_type = if claims.cnf.is_some() { TokenType::Dpop } else { TokenType::Bearer };
        Ok(Introspection { active: true, of: Some(ActiveToken { token_type: token_type.as_str(), claims }) })
    }

    /// The same as a signed JWT for `caller` (RFC 9701); none where tokens are signed with a secret, which nobody else can
    /// verify.
    ///
    /// # Errors
    /// An outage of whoever holds the signing key.
    pub(crate) async fn sign_introspection(
        &self,
        caller: &Principal,
        introspection: &Introspection,
    ) -> Result<Option<String>> {
        self.current_keys().await?;
        let now = self.now();
        let audience =
            caller.api_key().map_or_else(|| FIRST_PARTY_CLIENT.to_owned(), |key| key.record().id.to_string());
        let claims = json!({
            "iss": self.issuer(),
            "aud": audience,
            "iat": now.as_seconds(),
            "token_introspection": introspection,
        });
        Ok(self.0.jwt.sign_statement(INTROSPECTION_TYPE, &claims, now).await?)
    }
}

/// The `typ` of a signed answer (RFC 9701 section 5); its media type is `application/` and this.
pub(crate) const INTROSPECTION_TYPE: &str = "token-introspection+jwt";

fn may_see(caller: Option<Tenant>, token: Option<Tenant>) -> bool {
    caller.zip(token).is_some_and(|(caller, token)| {
        caller.organization == token.organization && (caller.store.is_none() || caller.store == token.store)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OrgId, StoreId};

    #[test]
    fn a_key_sees_tokens_of_its_organization_and_of_its_store_where_it_is_bound_to_one() {
        let (acme, other, vienna, graz) = (OrgId::new(), OrgId::new(), StoreId::new(), StoreId::new());
        let tenant = |organization, store| Some(Tenant { organization, store });
        for (caller, token, is_seen) in [
            (tenant(acme, None), tenant(acme, None), true),
            (tenant(acme, None), tenant(acme, Some(vienna)), true),
            (tenant(acme, None), tenant(other, None), false),
            (tenant(acme, None), None, false),
            (None, None, false),
            (tenant(acme, Some(vienna)), tenant(acme, Some(vienna)), true),
            (tenant(acme, Some(vienna)), tenant(acme, Some(graz)), false),
            (tenant(acme, Some(vienna)), tenant(acme, None), false),
        ] {
            assert_eq!(may_see(caller, token), is_seen, "{caller:?} {token:?}");
        }
    }

    #[test]
    fn an_inactive_token_is_nothing_but_inactive() {
        assert_eq!(serde_json::to_string(&Introspection::INACTIVE).unwrap(), r#"{"active":false}"#);
    }
}
