//! The page to try it in a browser.

use authv2_core::secret::random_token;
use axum::response::{Html, IntoResponse, Response};
use http::{StatusCode, header};

/// The one script, in three parts: the calls, what is shown, what happens.
const SCRIPT: &str =
    concat!(include_str!("page/calls.js"), include_str!("page/views.js"), include_str!("page/flows.js"));

/// The page. Its one script carries a nonce, and nothing else may run. It shows an inbox where one is served.
pub(crate) async fn show(has_inbox: bool) -> Response {
    let Ok(nonce) = random_token("") else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let nonce = nonce.expose();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    let has_inbox = if has_inbox { "true" } else { "false" };
    let page = include_str!("page.html").replace("{inbox}", has_inbox).replace("{script}", SCRIPT);
    (headers, Html(page.replace("{nonce}", nonce))).into_response()
}
