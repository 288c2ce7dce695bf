//! OAuth's endpoints: refreshing at the token endpoint (RFC 6749), revocation (RFC 7009), and what RFC 8414 says of them.

use authv2_tests::client::{Answer, Api};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{
    fixture::{
        ADA, Browser, Store, Tokens, assert_problem, eventually, get, is_live, members, on_each_store, post, quick,
        refresh, send, sign_in, sign_up, start,
    },
    token_claims::forgeable,
};

on_each_store!(a_refresh_at_the_token_endpoint_is_one_use, either_token_of_a_session_ends_it);

pub(super) const TOKEN: &str = "/auth/oauth/token";
pub(super) const REVOKE: &str = "/auth/oauth/revoke";
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn form(api: &Api, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    raw(api, path, pairs.join("&"))
}

fn raw(api: &Api, path: &str, body: String) -> RequestBuilder {
    api.request(Method::POST, path).header("content-type", FORM).body(body)
}

fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

async fn exchange(api: &Api, token: &str) -> Answer {
    send(form(api, TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", token)])).await
}

async fn revoke(api: &Api, token: &str) -> Answer {
    send(form(api, REVOKE, &[("token", token)])).await
}

/// The form of every refusal here (RFC 6749 section 5.2).
pub(super) fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.string("/error")), (status, error), "{}", answer.text);
    assert_eq!(members(&answer.json), ["error", "error_description"]);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    assert!(!answer.header("x-request-id").is_empty());
    let challenge = if error == "invalid_client" { "Basic realm=\"authv2\"" } else { "" };
    assert_eq!(answer.header("www-authenticate"), challenge);
}

async fn a_refresh_at_the_token_endpoint_is_one_use(store: Store) {
    let deployment = store.deploy(quick().with("AUTHV2_SESSION__REFRESH_GRACE", "0")).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let answer = exchange(api, &tokens.refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(members(&answer.json), ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!((answer.string("/token_type"), &answer.json["expires_in"]), ("Bearer", &json!(600)));
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    assert!(is_live(api, answer.string("/access_token")).await);
    // Both ways are one chain.
    let next = refresh(api, answer.string("/refresh_token")).await;
    let last = exchange(api, next.string("/refresh_token")).await;
    assert_eq!(last.status, 200, "{}", last.text);
    assert_refused(&exchange(api, &tokens.refresh).await, 400, "invalid_grant");
    assert!(!is_live(api, last.string("/access_token")).await, "a used one that comes back ends the session");
}

#[tokio::test]
async fn the_token_endpoint_names_what_it_refuses() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let good = sign_up(api, ADA).await.refresh;
    let refresh = ("grant_type", "refresh_token");
    let token = ("refresh_token", good.as_str());
    for (parameters, status, error) in [
        (vec![], 400, "invalid_request"),
        (vec![token], 400, "invalid_request"),
        (vec![refresh], 400, "invalid_request"),
        (vec![refresh, ("refresh_token", "")], 400, "invalid_request"),
        (vec![refresh, refresh, token], 400, "invalid_request"),
        (vec![refresh, token, token], 400, "invalid_request"),
        (vec![refresh, token, ("client_id", "authv2"), ("client_id", "authv2")], 400, "invalid_request"),
        (vec![("grant_type", "")], 400, "invalid_request"),
        (vec![("grant_type", "password"), ("username", ADA)], 400, "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials")], 401, "invalid_client"),
        (vec![("grant_type", "REFRESH_TOKEN"), token], 400, "unsupported_grant_type"),
        (vec![refresh, token, ("client_id", "another")], 401, "invalid_client"),
        (vec![refresh, token, ("client_id", "authv2"), ("client_secret", "x")], 401, "invalid_client"),
        (vec![refresh, token, ("client_assertion", "x")], 401, "invalid_client"),
        (vec![refresh, token, ("scope", "orders:read")], 400, "invalid_scope"),
        (vec![refresh, ("refresh_token", "avr_none")], 400, "invalid_grant"),
        (vec![refresh, ("refresh_token", "\u{e9} \u{1f600}\"\\")], 400, "invalid_grant"),
    ] {
        let answer = send(form(api, TOKEN, &parameters)).await;
        assert_refused(&answer, status, error);
    }
    let basic = form(api, TOKEN, &[refresh, token]).basic_auth("authv2", Some("secret"));
    assert_refused(&send(basic).await, 401, "invalid_client");
    // None of them used it up, and what is left out or unknown does no harm.
    let parameters = [refresh, ("client_id", "authv2"), ("scope", ""), ("resource", "a"), ("resource", "b"), token];
    assert_eq!(send(form(api, TOKEN, &parameters)).await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_no_form_are_invalid_requests() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let good = format!("grant_type=refresh_token&refresh_token={}", sign_up(api, ADA).await.refresh);
    for path in [TOKEN, REVOKE] {
        for content_type in
            ["application/json", "text/plain", "multipart/form-data", &format!("{FORM}; charset=utf-16")]
        {
            let request = api.request(Method::POST, path).header("content-type", content_type).body(good.clone());
            assert_refused(&send(request).await, 400, "invalid_request");
        }
        assert_refused(&send(api.request(Method::POST, path)).await, 400, "invalid_request");
        for body in ["token=%zz", "token=%ff", "token=%00", "%", &format!("token={}", "a".repeat(65 * 1024))] {
            assert_refused(&send(raw(api, path, body.to_owned())).await, 400, "invalid_request");
        }
        // Parameters of the query are none (RFC 6749 section 3.2, RFC 7009 section 2.1).
        let in_query = api.request(Method::POST, &format!("{path}?{good}&token=x")).header("content-type", FORM);
        assert_refused(&send(in_query).await, 400, "invalid_request");
        let wrong_method = get(api, path, "").await;
        assert_problem(&wrong_method, 405, "method_not_allowed");
    }
    let request = api.request(Method::POST, TOKEN).header("content-type", format!("{FORM};charset=UTF-8")).body(good);
    assert_eq!(send(request).await.status, 200);
}

async fn either_token_of_a_session_ends_it(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let other = sign_up(api, ADA).await;
    let used = sign_in(api, ADA).await;
    let renewed = Tokens::of(&refresh(api, &used.refresh).await);
    for (session, presented) in [
        (sign_in(api, ADA).await, None),
        (sign_in(api, ADA).await, Some("access")),
        (renewed, Some("a used refresh token")),
    ] {
        let token = match presented {
            None => &session.refresh,
            Some("access") => &session.access,
            Some(_) => &used.refresh,
        };
        assert!(is_live(api, &session.access).await);
        // Whatever the hint says.
        let hint = ("token_type_hint", "refresh_token");
        let answer = send(form(api, REVOKE, &[("token", token), hint, ("client_id", "authv2")])).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{presented:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!is_live(api, &session.access).await, "{presented:?}");
        assert_refused(&exchange(api, &session.refresh).await, 400, "invalid_grant");
        assert_eq!(revoke(api, token).await.status, 200, "again is no error");
    }
    assert!(is_live(api, &other.access).await, "other sessions go on");
}

#[tokio::test]
async fn what_is_no_good_token_revokes_nothing_and_is_200_all_the_same() {
    let (deployment, header, claims) = forgeable().await;
    let api = &deployment.api;
    let live = super::token_claims::sign(&header, &claims);
    let mut expired = claims.clone();
    (expired["exp"], expired["iat"]) = (json!(1_700_000_000), json!(1_699_999_000));
    let mut of_another = claims.clone();
    of_another["sub"] = json!("01890000-0000-7000-8000-000000000000");
    let forged = format!("{}AAAA", live.strip_suffix(|_: char| true).unwrap());
    let unknown = format!("avr_{}", "A".repeat(43));
    let expired = super::token_claims::sign(&header, &expired);
    let of_another = super::token_claims::sign(&header, &of_another);
    for token in ["x", "a.b.c", "avr_none", &unknown, &forged, &expired, &of_another] {
        for hint in ["access_token", "refresh_token", "of a kind unknown", ""] {
            let answer = send(form(api, REVOKE, &[("token", token), ("token_type_hint", hint)])).await;
            assert_eq!(answer.status, 200, "{token}: {}", answer.text);
        }
    }
    assert!(is_live(api, &live).await);
}

#[tokio::test]
async fn revocation_names_what_it_refuses() {
    let (deployment, header, claims) = forgeable().await;
    let api = &deployment.api;
    let live = super::token_claims::sign(&header, &claims);
    let mut own = claims;
    own.as_object_mut().unwrap().remove("sid");
    own["sub"] = own["client_id"].clone();
    let own = super::token_claims::sign(&header, &own);
    let token = ("token", live.as_str());
    for (parameters, status, error) in [
        (vec![], 400, "invalid_request"),
        (vec![("token", "")], 400, "invalid_request"),
        (vec![token, token], 400, "invalid_request"),
        (vec![token, ("token_type_hint", "a"), ("token_type_hint", "a")], 400, "invalid_request"),
        (vec![token, ("client_id", "another")], 401, "invalid_client"),
        (vec![token, ("client_secret", "x")], 401, "invalid_client"),
        (vec![("token", own.as_str())], 401, "invalid_client"),
        (vec![("token", "avk_live_x")], 400, "unsupported_token_type"),
        (vec![("token", "avs_x")], 400, "unsupported_token_type"),
    ] {
        assert_refused(&send(form(api, REVOKE, &parameters)).await, status, error);
    }
    assert!(is_live(api, &live).await);
}

#[tokio::test]
async fn a_cookie_is_no_authority_at_these_endpoints() {
    let deployment = start(quick()).await;
    sign_up(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    for (path, body) in [(TOKEN, "grant_type=refresh_token"), (REVOKE, "token_type_hint=access_token")] {
        let request = browser.page_request(Method::POST, path).header("content-type", FORM).body(body);
        assert_refused(&send(request).await, 400, "invalid_request");
    }
    let kept = browser.get("/auth/me").await;
    assert_eq!(kept.status, 200, "{}", kept.text);
}

#[tokio::test]
async fn clients_find_the_endpoints_in_the_metadata() {
    let deployment = start(quick()).await;
    let metadata = get(&deployment.api, "/.well-known/oauth-authorization-server", "").await;
    let issuer = metadata.string("/issuer").to_owned();
    assert_eq!(metadata.string("/token_endpoint"), format!("{issuer}{TOKEN}"));
    assert_eq!(metadata.string("/revocation_endpoint"), format!("{issuer}{REVOKE}"));
    assert_eq!(metadata.string("/introspection_endpoint"), format!("{issuer}/auth/oauth/introspect"));
    assert_eq!(metadata.json["grant_types_supported"], json!(["refresh_token", "client_credentials"]));
    for endpoint in ["token", "revocation"] {
        let methods = json!(["none", "client_secret_basic", "client_secret_post"]);
        assert_eq!(metadata.json[format!("{endpoint}_endpoint_auth_methods_supported")], methods);
    }
    let methods = json!(["client_secret_basic", "client_secret_post", "Bearer"]);
    assert_eq!(metadata.json["introspection_endpoint_auth_methods_supported"], methods);
    assert_eq!(metadata.json["introspection_signing_alg_values_supported"], json!(["EdDSA"]));
    let document = get(&deployment.api, "/openapi.json", "").await.json;
    for path in [TOKEN, REVOKE] {
        let operation = &document["paths"][path]["post"];
        assert!(operation["requestBody"]["content"][FORM].is_object(), "{operation}");
        let refusal = &operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(refusal, "#/components/schemas/OAuthError");
    }
}

#[tokio::test]
async fn a_revocation_reaches_the_other_node() {
    let database = authv2_tests::postgres::Postgres::shared().fresh_database().await.unwrap();
    let (one, two) = (quick().store(database.url()).start().unwrap(), quick().store(database.url()).start().unwrap());
    let (one, two) =
        (Api::new(one.url()).map(|api| (api, one)).unwrap(), Api::new(two.url()).map(|api| (api, two)).unwrap());
    let tokens = sign_up(&one.0, ADA).await;
    assert!(is_live(&two.0, &tokens.access).await);
    assert_eq!(revoke(&one.0, &tokens.access).await.status, 200);
    assert!(!is_live(&one.0, &tokens.access).await);
    eventually(async || !is_live(&two.0, &tokens.access).await).await;
    assert_problem(
        &post(&two.0, "/auth/refresh", "", json!({"refresh_token": tokens.refresh})).await,
        401,
        "invalid_refresh_token",
    );
}
