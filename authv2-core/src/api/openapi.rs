//! The OpenAPI 3.1 document, generated from the calls.

use http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, Content, Ref, RefOr, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    accounts, analytics, api_keys, authzen, decisions, devices, health, introspection, key_usage, members, metadata,
    mfa, mfa_policy,
    oauth::{self, OAuthError},
    organizations,
    problem::{self, Problem},
    recovery, resource_types, roles, security, security_stream, service_accounts, sessions, signing_keys,
};

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
        mfa::enrol,
        mfa::remove,
        mfa::post_remove,
        mfa::confirm,
        mfa::replace_recovery_codes,
        mfa::verify,
        mfa::step_up,
        recovery::forgot,
        recovery::reset,
        recovery::verify,
        recovery::request_verification,
        recovery::request_link,
        recovery::redeem_link,
        sessions::list,
        sessions::revoke,
        sessions::switch,
        devices::list,
        devices::forget,
        organizations::found,
        organizations::list,
        organizations::read,
        organizations::update,
        organizations::delete,
        mfa_policy::read,
        mfa_policy::put,
        organizations::open_store,
        organizations::list_stores,
        members::add,
        members::list,
        members::assign,
        members::remove,
        service_accounts::create,
        service_accounts::list,
        service_accounts::assign,
        service_accounts::delete,
        api_keys::mint,
        api_keys::list,
        api_keys::read,
        api_keys::rotate,
        api_keys::delete,
        roles::put,
        roles::list,
        roles::read,
        roles::delete,
        roles::impact,
        resource_types::put,
        resource_types::list,
        resource_types::read,
        decisions::check,
        decisions::check_many,
        analytics::permissions,
        analytics::sessions,
        oauth::token,
        oauth::revoke,
        introspection::introspect,
        key_usage::read,
        signing_keys::list,
        signing_keys::create,
        signing_keys::rotate,
        signing_keys::revoke,
        security::list,
        security_stream::open,
        metadata::jwks,
        metadata::authorization_server,
        authzen::evaluate,
        authzen::evaluate_many,
        authzen::search_subject,
        authzen::search_resource,
        authzen::search_action,
        authzen::configuration,
        metadata::openapi,
        health::live,
        health::ready,
    ),
    components(schemas(Problem, OAuthError)),
    modifiers(&Credentials, &Responses),
    security(("access_token" = []), ("proof_of_possession" = []), ("api_key" = []), ("session_cookie" = []), ()),
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme("access_token", SecurityScheme::Http(bearer));
        let proof = ApiKey::Header(ApiKeyValue::with_description(
            "DPoP",
            "The proof (RFC 9449) of an access token of the type `DPoP`, which is sent as `Authorization: DPoP <access token>`.",
        ));
        components.add_security_scheme("proof_of_possession", SecurityScheme::ApiKey(proof));
        let key = ApiKey::Header(ApiKeyValue::with_description(
            "X-Api-Key",
            "An API key, which may be sent as `Authorization: Bearer` instead.",
        ));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(key));
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-authv2",
            "Unsafe methods also need the header `X-CSRF-Token`, equal to the cookie `authv2_csrf`.",
        ));
        components.add_security_scheme("session_cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// What holds for the responses of every call: each has a description, which OpenAPI wants, and any call may be
/// refused in the contract's form.
struct Responses;

impl Modify for Responses {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for (name, path) in &mut document.paths.paths {
            let operations = [&mut path.get, &mut path.post, &mut path.patch, &mut path.put, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                for (status, response) in responses.iter_mut() {
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        let status = StatusCode::from_bytes(status.as_bytes()).ok();
                        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("Response");
                        response.description = reason.to_owned();
                    }
                }
                responses.insert("default".to_owned(), refusal(name).into());
            }
        }
    }
}

fn refusal(path: &str) -> openapi::Response {
    let (what, form, schema) = if path.starts_with("/auth/oauth/") {
        ("Any other refusal: see `error`", "application/json", "OAuthError")
    } else {
        ("Any other refusal: see `code`", problem::FORM, "Problem")
    };
    ResponseBuilder::new().description(what).content(form, Content::new(Some(Ref::from_schema_name(schema)))).build()
}

/// The document.
pub(super) fn document() -> openapi::OpenApi {
    Document::openapi()
}
