//! Accounts: made, shown, changed, left; and signing in and out.

use reqwest::Method;
use serde_json::json;

use super::fixture::{
    ADA, Browser, PASSWORD, Store, Tokens, WRONG, assert_invalid, assert_problem, get, is_live, login, members,
    on_each_store, post, quick, refresh, register, send, set_cookie, sign_in, sign_up, start,
};

on_each_store!(
    registers_signs_in_and_shows_who_one_is,
    the_known_email_is_taken_however_it_is_spelt,
    logout_ends_the_session_and_nothing_else,
    logout_all_counts_what_it_ends,
);

/// An instant in RFC 3339, in UTC.
fn assert_instant(text: &str) {
    assert!(text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T', "{text}");
}

async fn registers_signs_in_and_shows_who_one_is(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let body = json!({"email": "Ada@Example.org", "password": PASSWORD, "display_name": "Ada L."});
    let registered = post(api, "/auth/register", "", body).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert_eq!(members(&registered.json), ["user"], "registering signs nobody in");
    assert!(!registered.headers.contains_key("set-cookie"));
    let user = &registered.json["user"];
    assert_eq!(
        members(user),
        [
            "created_at",
            "display_name",
            "email",
            "email_verified",
            "id",
            "last_login_at",
            "metadata",
            "mfa_enabled",
            "status",
            "updated_at",
        ]
    );
    assert_eq!(user["display_name"], "Ada L.");
    assert_eq!((&user["status"], &user["email_verified"]), (&json!("active"), &json!(false)));
    assert_eq!((&user["metadata"], &user["mfa_enabled"]), (&json!({}), &json!(false)));
    assert!(user["last_login_at"].is_null());
    let id = uuid::Uuid::parse_str(registered.string("/user/id")).unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_instant(registered.string("/user/created_at"));

    let signed_in = login(api, ADA, PASSWORD).await;
    let tokens = Tokens::of(&signed_in);
    assert_eq!(
        members(&signed_in.json),
        ["access_token", "expires_in", "refresh_expires_in", "refresh_token", "session", "token_type", "user"]
    );
    assert!(!signed_in.headers.contains_key("set-cookie"));
    assert_eq!(signed_in.string("/token_type"), "Bearer");
    assert_eq!(signed_in.json["expires_in"], 600);
    assert!(signed_in.json["refresh_expires_in"].as_u64().unwrap() > 600);
    assert!(tokens.refresh.starts_with("avr_"));
    assert_eq!(signed_in.string("/user/id"), registered.string("/user/id"));
    assert_instant(signed_in.string("/user/last_login_at"));

    let me = get(api, "/auth/me", &tokens.access).await;
    assert_eq!(me.status, 200, "{}", me.text);
    assert_eq!(members(&me.json), ["auth", "permissions", "roles", "session", "user"]);
    assert_eq!(me.json["user"], signed_in.json["user"]);
    assert_eq!(me.string("/session/id"), tokens.session);
    assert_eq!((&me.json["roles"], &me.json["permissions"]), (&json!([]), &json!([])));
    assert_eq!(members(&me.json["auth"]), ["acr", "amr", "auth_time", "method"]);
    assert_eq!(me.json["auth"]["amr"], json!(["pwd"]));
    assert_instant(me.string("/auth/auth_time"));
}

async fn the_known_email_is_taken_however_it_is_spelt(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    for email in [ADA, "ADA@example.ORG", "aDa@eXample.org"] {
        let again = post(api, "/auth/register", "", json!({"email": email, "password": "quite another one"})).await;
        assert_problem(&again, 409, "email_taken");
    }
    assert_problem(&login(api, ADA, "quite another one").await, 401, "invalid_credentials");
    sign_in(api, ADA).await;
}

#[tokio::test]
async fn parallel_registrations_of_one_email_make_one_account() {
    let deployment = start(quick()).await;
    let tries = (0..12).map(|_| deployment.api.register(ADA, PASSWORD));
    let answers = futures_util::future::join_all(tries).await;
    let mut statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.split_first(), Some((&201, [409; 11].as_slice())));
}

#[tokio::test]
async fn an_unknown_email_and_a_wrong_password_get_the_same_answer() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let mut bodies = Vec::new();
    for (email, password) in [(ADA, WRONG), ("nobody@example.org", PASSWORD), ("no e-mail at all", PASSWORD), (ADA, "")]
    {
        let mut answer = login(api, email, password).await;
        assert_problem(&answer, 401, "invalid_credentials");
        answer.json["request_id"] = json!("");
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        bodies.push((answer.json, names));
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn refuses_fields_that_are_missing_or_of_the_wrong_form() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let register = |body| post(api, "/auth/register", "", body);
    assert_invalid(&register(json!({"email": ADA})).await, "password", "required");
    assert_invalid(&register(json!({"password": PASSWORD})).await, "email", "required");
    assert_invalid(&register(json!({"email": "ada", "password": PASSWORD})).await, "email", "invalid_email");
    let name = json!({"email": ADA, "password": PASSWORD, "display_name": 7});
    assert_invalid(&register(name).await, "display_name", "invalid_type");
    let both = register(json!({"email": "ada", "password": "short", "x": 1})).await;
    assert_problem(&both, 422, "validation_failed");
    let pigeon = json!({"email": ADA, "password": PASSWORD, "transport": "pigeon"});
    assert_invalid(&post(api, "/auth/login", "", pigeon).await, "transport", "invalid_choice");
}

#[tokio::test]
async fn an_organization_that_one_is_no_member_of_is_no_place_to_sign_in_to() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let body = json!({"email": ADA, "password": PASSWORD, "organization": "acme"});
    assert_problem(&post(&deployment.api, "/auth/login", "", body).await, 403, "not_a_member");
    let wrong = json!({"email": ADA, "password": WRONG, "organization": "acme"});
    assert_problem(&post(&deployment.api, "/auth/login", "", wrong).await, 401, "invalid_credentials");
}

#[tokio::test]
async fn the_display_name_is_set_kept_and_removed() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let patch =
        |body| async move { api.call(Method::PATCH, "/auth/me", &sign_in(api, ADA).await.access, Some(&body)).await };
    for (body, name) in [
        (json!({"display_name": "Ada"}), json!("Ada")),
        (json!({}), json!("Ada")),
        (json!({"display_name": "Ada \u{1f9ee} Lovelace"}), json!("Ada \u{1f9ee} Lovelace")),
        (json!({"display_name": null}), json!(null)),
        (json!({}), json!(null)),
    ] {
        let answer = patch(body.clone()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(members(&answer.json), ["user"]);
        assert_eq!(answer.json["user"]["display_name"], name, "after {body}");
        let me = get(api, "/auth/me", &tokens.access).await;
        assert_eq!(me.json["user"]["display_name"], name, "after {body}");
    }
    let null = json!({"email": "bob@example.org", "password": PASSWORD, "display_name": null});
    let registered = post(api, "/auth/register", "", null).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert!(registered.json["user"]["display_name"].is_null());
    for field in ["email", "status", "metadata", "email_verified", "id"] {
        let answer = patch(json!({field: "x"})).await.unwrap();
        assert_invalid(&answer, field, "unknown_field");
    }
}

#[tokio::test]
async fn the_display_name_is_measured_in_code_points() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let named = |count| json!({"display_name": "\u{1f9ee}".repeat(count)});
    let most = api.call(Method::PATCH, "/auth/me", &tokens.access, Some(&named(200))).await.unwrap();
    assert_eq!(most.status, 200, "{}", most.text);
    let over = api.call(Method::PATCH, "/auth/me", &tokens.access, Some(&named(201))).await.unwrap();
    assert_invalid(&over, "display_name", "too_long");
    let empty = api.call(Method::PATCH, "/auth/me", &tokens.access, Some(&json!({"display_name": " "}))).await.unwrap();
    assert_invalid(&empty, "display_name", "too_short");
}

async fn logout_ends_the_session_and_nothing_else(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (left, kept) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    let answer = post(api, "/auth/logout", &left.access, json!({})).await;
    assert_eq!((answer.status, &*answer.text), (204, ""));
    assert!(!is_live(api, &left.access).await);
    assert_problem(&get(api, "/private", &left.access).await, 401, "invalid_token");
    assert_problem(&refresh(api, &left.refresh).await, 401, "invalid_refresh_token");
    assert!(is_live(api, &kept.access).await);
    assert_problem(&post(api, "/auth/logout", &left.access, json!({})).await, 401, "invalid_token");
}

#[tokio::test]
async fn logout_needs_no_body_and_no_content_type() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let answer = deployment.api.call(Method::POST, "/auth/logout", &tokens.access, None).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert!(!is_live(&deployment.api, &tokens.access).await);
}

#[tokio::test]
async fn a_refresh_token_signs_out_with_an_expired_access_token_or_none() {
    let deployment = start(quick().with("AUTHV2_TOKENS__ACCESS_TTL", "2")).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (first, second, witness) = (sign_in(api, ADA).await, sign_in(api, ADA).await, sign_in(api, ADA).await);
    let answer = post(api, "/auth/logout", "", json!({"refresh_token": first.refresh})).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_problem(&refresh(api, &first.refresh).await, 401, "invalid_refresh_token");

    tokio::time::sleep(std::time::Duration::from_millis(2050)).await;
    assert_problem(&post(api, "/auth/logout", &second.access, json!({})).await, 401, "invalid_token");
    let answer = post(api, "/auth/logout", &second.access, json!({"refresh_token": second.refresh})).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_problem(&refresh(api, &second.refresh).await, 401, "invalid_refresh_token");
    assert_eq!(refresh(api, &witness.refresh).await.status, 200);
    for nonsense in ["", "avr_", "avr_nonsense", &witness.access] {
        let answer = post(api, "/auth/logout", "", json!({"refresh_token": nonsense})).await;
        assert_problem(&answer, 401, "invalid_refresh_token");
    }
    assert_problem(&post(api, "/auth/logout", "", json!({})).await, 401, "unauthenticated");
}

#[tokio::test]
async fn logout_by_cookie_takes_the_cookies_away() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let answer = send(browser.page_request(Method::POST, "/auth/logout")).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    for name in ["authv2", "authv2_csrf"] {
        let (value, attributes) = set_cookie(&answer, name).unwrap();
        assert_eq!(value, "");
        assert!(attributes.contains(&"Max-Age=0".to_owned()) && attributes.contains(&"Path=/".to_owned()));
    }
    assert_problem(&browser.get("/private").await, 401, "unauthenticated");
}

async fn logout_all_counts_what_it_ends(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let other = sign_up(api, "bob@example.org").await;
    let sessions = [sign_in(api, ADA).await, sign_in(api, ADA).await, sign_in(api, ADA).await];
    let current = &sessions[1];
    let answer = post(api, "/auth/logout-all", &current.access, json!({"except_current": true})).await;
    assert_eq!((answer.status, &answer.json), (200, &json!({"revoked": 2})));
    assert!(is_live(api, &current.access).await);
    assert!(!is_live(api, &sessions[0].access).await && !is_live(api, &sessions[2].access).await);
    assert_problem(&refresh(api, &sessions[0].refresh).await, 401, "invalid_refresh_token");

    let another = sign_in(api, ADA).await;
    let answer = deployment.api.call(Method::POST, "/auth/logout-all", &current.access, None).await.unwrap();
    assert_eq!((answer.status, &answer.json), (200, &json!({"revoked": 2})));
    assert!(!is_live(api, &current.access).await && !is_live(api, &another.access).await);
    assert!(is_live(api, &other.access).await, "somebody else was signed out");
}
