//! The table of all calls, and finding one in it.

use http::{HeaderValue, Method};

use super::{
    accounts, analytics, api_keys, authzen,
    body::Takes,
    call::{Call, Handler, Reply},
    decisions, devices, health, introspection, key_usage, members, metadata, mfa, mfa_policy, oauth, organizations,
    recovery, resource_types, roles, security, security_stream, service_accounts, sessions, signing_keys,
};
use crate::error::Result;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// Anybody, but no page of another site.
    SameSite,
    /// Whoever presents a good credential.
    SignedIn,
    /// Likewise, also by a session that may do nothing until its user has proved again who it is, but end.
    Ending,
    /// Likewise, to prove that.
    Proving,
}

/// One call of the contract.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) body: Takes,
    pub(super) handler: Handler,
}

macro_rules! route {
    ($method:ident $path:literal, $access:ident, $body:ident, $room:ident::$handler:ident) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            body: Takes::$body,
            handler: |call: Call<'_>| -> futures_util::future::BoxFuture<'_, Result<Reply>> {
                Box::pin($room::$handler(call))
            },
        }
    };
}

fn table() -> Vec<Route> {
    vec![
        route!(POST "/auth/register", SameSite, Json, accounts::register),
        route!(POST "/auth/login", SameSite, Json, accounts::login),
        route!(POST "/auth/refresh", Public, OptionalJson, accounts::refresh),
        route!(POST "/auth/logout", Public, OptionalJson, accounts::logout),
        route!(POST "/auth/logout-all", Ending, OptionalJson, accounts::logout_all),
        route!(GET "/auth/me", SignedIn, Nothing, accounts::me),
        route!(PATCH "/auth/me", SignedIn, Json, accounts::update_me),
        route!(DELETE "/auth/me", SignedIn, Json, accounts::delete_me),
        route!(POST "/auth/me/delete", SignedIn, Json, accounts::post_delete_me),
        route!(POST "/auth/password/change", SignedIn, Json, accounts::change_password),
        route!(POST "/auth/mfa/totp", SignedIn, Json, mfa::enrol),
        route!(DELETE "/auth/mfa/totp", SignedIn, Json, mfa::remove),
        route!(POST "/auth/mfa/totp/delete", SignedIn, Json, mfa::post_remove),
        route!(POST "/auth/mfa/totp/confirm", SignedIn, Json, mfa::confirm),
        route!(POST "/auth/mfa/recovery-codes", SignedIn, Json, mfa::replace_recovery_codes),
        route!(POST "/auth/mfa/verify", SameSite, Json, mfa::verify),
        route!(POST "/auth/mfa/step-up", Proving, Json, mfa::step_up),
        route!(POST "/auth/password/forgot", SameSite, Json, recovery::forgot),
        route!(POST "/auth/password/reset", SameSite, Json, recovery::reset),
        route!(POST "/auth/email/verify", SameSite, Json, recovery::verify),
        route!(POST "/auth/email/verification", SignedIn, OptionalJson, recovery::request_verification),
        route!(POST "/auth/login/link", SameSite, Json, recovery::request_link),
        route!(POST "/auth/login/link/redeem", SameSite, Json, recovery::redeem_link),
        route!(GET "/auth/sessions", SignedIn, Nothing, sessions::list),
        route!(POST "/auth/session/switch", SignedIn, Json, sessions::switch),
        route!(DELETE "/auth/sessions/{id}", Ending, Nothing, sessions::revoke),
        route!(GET "/auth/devices", SignedIn, Nothing, devices::list),
        route!(DELETE "/auth/devices/{id}", SignedIn, Nothing, devices::forget),
        route!(POST "/auth/orgs", SignedIn, Json, organizations::found),
        route!(GET "/auth/orgs", SignedIn, Nothing, organizations::list),
        route!(GET "/auth/orgs/{org}", SignedIn, Nothing, organizations::read),
        route!(PATCH "/auth/orgs/{org}", SignedIn, Json, organizations::update),
        route!(DELETE "/auth/orgs/{org}", SignedIn, Nothing, organizations::delete),
        route!(GET "/auth/orgs/{org}/mfa-policy", SignedIn, Nothing, mfa_policy::read),
        route!(PUT "/auth/orgs/{org}/mfa-policy", SignedIn, Json, mfa_policy::put),
        route!(POST "/auth/orgs/{org}/stores", SignedIn, Json, organizations::open_store),
        route!(GET "/auth/orgs/{org}/stores", SignedIn, Nothing, organizations::list_stores),
        route!(POST "/auth/orgs/{org}/members", SignedIn, Json, members::add),
        route!(GET "/auth/orgs/{org}/members", SignedIn, Nothing, members::list),
        route!(PUT "/auth/orgs/{org}/members/{user_id}/roles", SignedIn, Json, members::assign),
        route!(DELETE "/auth/orgs/{org}/members/{user_id}", SignedIn, Nothing, members::remove),
        route!(POST "/auth/orgs/{org}/service-accounts", SignedIn, Json, service_accounts::create),
        route!(GET "/auth/orgs/{org}/service-accounts", SignedIn, Nothing, service_accounts::list),
        route!(PUT "/auth/orgs/{org}/service-accounts/{id}/roles", SignedIn, Json, service_accounts::assign),
        route!(DELETE "/auth/orgs/{org}/service-accounts/{id}", SignedIn, Nothing, service_accounts::delete),
        route!(GET "/auth/orgs/{org}/api-keys/{id}/usage", SignedIn, Nothing, key_usage::read),
        route!(POST "/auth/orgs/{org}/api-keys", SignedIn, Json, api_keys::mint),
        route!(GET "/auth/orgs/{org}/api-keys", SignedIn, Nothing, api_keys::list),
        route!(GET "/auth/orgs/{org}/api-keys/{id}", SignedIn, Nothing, api_keys::read),
        route!(POST "/auth/orgs/{org}/api-keys/{id}/rotate", SignedIn, OptionalJson, api_keys::rotate),
        route!(DELETE "/auth/orgs/{org}/api-keys/{id}", SignedIn, Nothing, api_keys::delete),
        route!(PUT "/auth/orgs/{org}/roles/{name}", SignedIn, Json, roles::put),
        route!(GET "/auth/orgs/{org}/roles", SignedIn, Nothing, roles::list),
        route!(GET "/auth/orgs/{org}/roles/{name}", SignedIn, Nothing, roles::read),
        route!(DELETE "/auth/orgs/{org}/roles/{name}", SignedIn, Nothing, roles::delete),
        route!(POST "/auth/orgs/{org}/roles/{name}/impact", SignedIn, Json, roles::impact),
        route!(PUT "/auth/orgs/{org}/resource-types/{type}", SignedIn, Json, resource_types::put),
        route!(GET "/auth/orgs/{org}/resource-types", SignedIn, Nothing, resource_types::list),
        route!(GET "/auth/orgs/{org}/resource-types/{type}", SignedIn, Nothing, resource_types::read),
        route!(POST "/auth/permissions/check", SignedIn, Json, decisions::check),
        route!(POST "/auth/permissions/check-many", SignedIn, Json, decisions::check_many),
        route!(GET "/auth/analytics/permissions", SignedIn, Nothing, analytics::permissions),
        route!(GET "/auth/analytics/sessions", SignedIn, Nothing, analytics::sessions),
        route!(POST "/auth/oauth/token", Public, Form, oauth::token),
        route!(POST "/auth/oauth/revoke", Public, Form, oauth::revoke),
        route!(POST "/auth/oauth/introspect", Public, Form, introspection::introspect),
        route!(GET "/auth/admin/signing-keys", SignedIn, Nothing, signing_keys::list),
        route!(POST "/auth/admin/signing-keys", SignedIn, Json, signing_keys::create),
        route!(POST "/auth/admin/signing-keys/rotate", SignedIn, OptionalJson, signing_keys::rotate),
        route!(POST "/auth/admin/signing-keys/{kid}/revoke", SignedIn, OptionalJson, signing_keys::revoke),
        route!(GET "/auth/security/events", SignedIn, Nothing, security::list),
        route!(GET "/auth/security/events/stream", SignedIn, Nothing, security_stream::open),
        route!(GET "/.well-known/jwks.json", Public, Nothing, metadata::jwks),
        route!(GET "/.well-known/oauth-authorization-server", Public, Nothing, metadata::authorization_server),
        route!(POST "/access/v1/evaluation", SignedIn, StandardJson, authzen::evaluate),
        route!(POST "/access/v1/evaluations", SignedIn, StandardJson, authzen::evaluate_many),
        route!(POST "/access/v1/search/subject", SignedIn, StandardJson, authzen::search_subject),
        route!(POST "/access/v1/search/resource", SignedIn, StandardJson, authzen::search_resource),
        route!(POST "/access/v1/search/action", SignedIn, StandardJson, authzen::search_action),
        route!(GET "/.well-known/authzen-configuration", Public, Nothing, authzen::configuration),
        route!(GET "/openapi.json", Public, Nothing, metadata::openapi),
        route!(GET "/health/live", Public, Nothing, health::live),
        route!(GET "/health/ready", Public, Nothing, health::ready),
    ]
}

/// The table, ready for lookups.
pub(super) struct Routes {
    router: matchit::Router<Vec<Route>>,
    paths: Vec<&'static str>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// The parameters of a path.
pub(super) type Parameters<'a> = matchit::Params<'a, 'a>;

/// A path that exists.
pub(super) struct Found<'a> {
    /// Its pattern: a label that cannot be invented by callers.
    pub(super) pattern: &'static str,
    pub(super) parameters: Parameters<'a>,
    /// The route for the method, or the methods there are.
    pub(super) route: std::result::Result<&'a Route, Methods>,
}

/// The methods that a path has.
pub(super) struct Methods(Vec<Method>);

impl Methods {
    /// As the value of `Allow`.
    pub(super) fn header(&self) -> HeaderValue {
        let names: Vec<&str> = self.0.iter().map(Method::as_str).collect();
        // Method names are tokens, which may stand in a header.
        HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Routes {
    pub(super) fn new() -> Self {
        let mut by_path: Vec<(&'static str, Vec<Route>)> = Vec::new();
        for route in table() {
            match by_path.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, routes)) => routes.push(route),
                None => by_path.push((route.path, vec![route])),
            }
        }
        let mut router = matchit::Router::new();
        let mut paths = Vec::new();
        for (path, routes) in by_path {
            // The table is ours; a test shows that none of its patterns is refused.
            if router.insert(path, routes).is_ok() {
                paths.push(path);
            }
        }
        Self { router, paths }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.paths.iter().copied()
    }

    /// Finds what stands at `path`. `HEAD` is answered as `GET`.
    pub(super) fn find<'a>(&'a self, method: &Method, path: &'a str) -> Option<Found<'a>> {
        let matched = self.router.at(path).ok()?;
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let routes = matched.value;
        let route = routes.iter().find(|route| route.method == *wanted).ok_or_else(|| {
            let mut methods: Vec<Method> = routes.iter().map(|route| route.method.clone()).collect();
            if methods.contains(&Method::GET) {
                methods.push(Method::HEAD);
            }
            methods.push(Method::OPTIONS);
            Methods(methods)
        });
        let pattern = routes.first()?.path;
        Some(Found { pattern, parameters: matched.params, route })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_found_and_described() {
        let routes = Routes::new();
        let document = serde_json::to_value(super::super::openapi::document()).unwrap();
        let mut described = 0;
        for row in table() {
            assert!(routes.find(&row.method, row.path).unwrap().route.is_ok(), "{} {}", row.method, row.path);
            let method = row.method.as_str().to_ascii_lowercase();
            assert!(document["paths"][row.path][&method].is_object(), "{method} {} is not in OpenAPI", row.path);
            for (status, response) in document["paths"][row.path][&method]["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{method} {}: {status} is not described", row.path);
            }
            described += 1;
        }
        let operations: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(operations, described, "OpenAPI describes what is not there");
    }

    #[test]
    fn a_path_with_other_methods_tells_them() {
        let routes = Routes::new();
        let Err(allowed) = routes.find(&Method::PUT, "/auth/me").unwrap().route else { panic!("PUT /auth/me exists") };
        assert_eq!(allowed.header(), "GET, PATCH, DELETE, HEAD, OPTIONS");
    }
}
