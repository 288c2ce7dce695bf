//! The OpenAPI 3.1 document, generated from the calls.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{accounts, health, metadata, sessions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "authv2",
        description = "Accounts, sessions and tokens. Errors are `application/problem+json` (RFC 9457): switch on `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        accounts::register,
        accounts::login,
        accounts::refresh,
        accounts::logout,
        accounts::logout_all,
        accounts::me,
        accounts::update_me,
        accounts::delete_me,
        accounts::post_delete_me,
        accounts::change_password,
        sessions::list,
        sessions::revoke,
        metadata::jwks,
        metadata::authorization_server,
        metadata::openapi,
        health::live,
        health::ready,
    ),
    modifiers(&Credentials),
    security(("access_token" = []), ("session_cookie" = []), ()),
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme("access_token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-authv2",
            "Unsafe methods also need the header `X-CSRF-Token`, equal to the cookie `authv2_csrf`.",
        ));
        components.add_security_scheme("session_cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// The document.
pub(super) fn document() -> openapi::OpenApi {
    Document::openapi()
}
