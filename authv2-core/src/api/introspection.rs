//! Token introspection (RFC 7662), signed where the caller wants that (RFC 9701).
//!
//! It looks at no cookie: the caller is an API key, which authenticates as everywhere or as an OAuth client.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    client::{Client, is_basic},
    form::Form,
    oauth::OAuthError,
};
use crate::{
    authentication::{INTROSPECTION_TYPE, Introspection, invalid_client},
    error::Result,
    metering::RouteClass,
    principal::Principal,
};

/// `POST /auth/oauth/introspect`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read parameter by parameter")]
pub(super) struct IntrospectionRequest {
    /// The token.
    token: String,
    /// Not needed to tell them apart, and not looked at.
    token_type_hint: Option<String>,
    /// The id of the API key, where the caller authenticates as a client in the form.
    client_id: Option<String>,
    /// The whole API key.
    client_secret: Option<String>,
}

/// Introspection (RFC 7662)
///
/// What an access token of this deployment stands for at present. For API keys with `tokens:introspect`, by `Bearer`,
/// `X-Api-Key`, or as a client by Basic or in the form. Tokens of other organizations, refresh tokens and all that is not
/// good is `{"active": false}`. With `Accept: application/token-introspection+jwt` the answer is signed (RFC 9701).
#[utoipa::path(post, path = "/auth/oauth/introspect", tag = "oauth",
    request_body(content = IntrospectionRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "What the token stands for", body = Introspection),
    (status = 400, description = "`invalid_request`", body = OAuthError),
    (status = 401, description = "`invalid_client`, `invalid_token`", body = OAuthError),
    (status = 403, description = "`access_denied`, `insufficient_scope`", body = OAuthError),
))]
pub(super) async fn introspect(call: Call<'_>) -> Result<Reply> {
    let form = Form::read(&call.body)?;
    let caller = caller(&call, &form).await?;
    let answer = answer(&call, &form, &caller).await;
    call.auth.served_client(&caller, RouteClass::new("/auth/oauth/introspect"), &answer);
    answer
}

async fn answer(call: &Call<'_>, form: &Form<'_>, caller: &Principal) -> Result<Reply> {
    let token = form.required("token")?;
    form.optional("token_type_hint")?;
    let found = call.auth.introspect(caller, token).await?;
    if !wants_signature(&call.head.headers) {
        return Reply::json(StatusCode::OK, &found);
    }
    match call.auth.sign_introspection(caller, &found).await? {
        Some(signed) => Ok(Reply::text(StatusCode::OK, "application/token-introspection+jwt", signed)),
        None => Reply::json(StatusCode::OK, &found),
    }
}

async fn caller(call: &Call<'_>, form: &Form<'_>) -> Result<Principal> {
    let headers = &call.head.headers;
    let of_a_client = headers.get_all(header::AUTHORIZATION).iter().any(|value| is_basic(value.as_bytes()));
    let is_explicit = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key");
    if is_explicit && (!of_a_client || headers.contains_key("x-api-key")) {
        // An explicit credential: no cookie is looked at beside it.
        return call.auth.authenticate(call.head).await?.ok_or_else(invalid_client);
    }
    Client::read(headers, form)?.authenticate(call).await?.ok_or_else(invalid_client)
}

/// Whether the signed form is among those accepted.
fn wants_signature(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    ranges.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_ours = parts.next().and_then(|range| range.split_once('/')).is_some_and(|(kind, name)| {
            kind.eq_ignore_ascii_case("application") && name.eq_ignore_ascii_case(INTROSPECTION_TYPE)
        });
        let refused = |part: &str| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.parse() == Ok(0.0_f32))
        };
        is_ours && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_only_for_those_who_ask_for_it() {
        for (accept, is_wanted) in [
            ("application/token-introspection+jwt", true),
            ("application/json, Application/Token-Introspection+JWT;q=0.5", true),
            ("application/token-introspection+jwt;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_signature(&headers), is_wanted, "{accept}");
        }
        assert!(!wants_signature(&HeaderMap::new()));
    }
}
