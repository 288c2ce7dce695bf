//! Browsers that one is known on: their cookie, what it is worth, the list, and forgetting.

use authv2_tests::client::{Answer, Api};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{
    ADA, Deployment, PASSWORD, Store, WRONG, assert_problem, get, is_live, members, on_each_store, post, quick,
    register, send, set_cookie, sign_in, sign_up, start,
};
use super::mfa_client::{Authenticator, mfa_token, verify};

on_each_store!(
    a_browser_is_known_from_its_first_sign_in_on,
    a_forgotten_device_is_known_no_more_and_its_sessions_end,
    nobodys_attack_locks_out_a_known_device,
    a_known_device_has_a_limit_of_its_own,
    a_new_password_keeps_the_present_device_alone,
);

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const BOB: &str = "bob@example.org";

/// Signs in by cookie, with a device cookie unless it is empty.
async fn login_on(api: &Api, email: &str, password: &str, device: &str) -> Answer {
    let body = json!({"email": email, "password": password, "transport": "cookie"});
    let request = api.request(Method::POST, "/auth/login").header("user-agent", FIREFOX).json(&body);
    send(if device.is_empty() { request } else { request.header("cookie", format!("authv2_device={device}")) }).await
}

/// A browser after a sign-in.
struct Visitor {
    api: Api,
    session: String,
    csrf: String,
    device: String,
}

impl Visitor {
    async fn sign_in(api: &Api, email: &str, device: &str) -> Self {
        Self::of(api, &login_on(api, email, PASSWORD, device).await)
    }

    fn of(api: &Api, answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let value = |name| set_cookie(answer, name).unwrap_or_else(|| panic!("no {name}")).0;
        let (session, csrf, device) = (value("authv2"), value("authv2_csrf"), value("authv2_device"));
        Self { api: api.clone(), session, csrf, device }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let cookies = format!("authv2={}; authv2_csrf={}; authv2_device={}", self.session, self.csrf, self.device);
        let request = self.api.request(method, path).header("cookie", cookies).header("user-agent", FIREFOX);
        let request = request.header("x-csrf-token", &self.csrf);
        send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    async fn devices(&self) -> Vec<Value> {
        let answer = self.call(Method::GET, "/auth/devices", None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(members(&answer.json), ["devices"]);
        answer.json["devices"].as_array().unwrap().clone()
    }

    async fn forget(&self, device: &Value) -> Answer {
        self.call(Method::DELETE, &format!("/auth/devices/{}", device["id"].as_str().unwrap()), None).await
    }

    async fn is_signed_in(&self) -> bool {
        self.call(Method::GET, "/private", None).await.status == 200
    }
}

async fn a_browser_is_known_from_its_first_sign_in_on(store: Store) {
    let deployment = store.deploy_confined(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let first = login_on(api, ADA, PASSWORD, "").await;
    let (_, attributes) = set_cookie(&first, "authv2_device").unwrap();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=Lax"]);
    let first = Visitor::of(api, &first);
    let known = first.devices().await;
    assert_eq!(known.len(), 1);
    assert_eq!(members(&known[0]), ["created_at", "current", "id", "ip", "last_login_at", "name"]);
    assert_eq!((&known[0]["name"], &known[0]["ip"]), (&json!("Firefox on Linux"), &json!("127.0.0.1")));
    assert_eq!((&known[0]["current"], &known[0]["created_at"]), (&json!(true), &known[0]["last_login_at"]));

    // The same browser again is the same device; another one, or the same without its cookie, is not.
    let again = Visitor::sign_in(api, ADA, &first.device).await;
    let known_again = again.devices().await;
    assert_eq!((known_again.len(), &known_again[0]["id"]), (1, &known[0]["id"]));
    assert_ne!(known_again[0]["last_login_at"], known[0]["last_login_at"]);
    let other = Visitor::sign_in(api, ADA, "").await;
    assert_ne!(other.device, first.device);
    let both = other.devices().await;
    assert_eq!((both.len(), &both[0]["current"], &both[1]["current"]), (2, &json!(true), &json!(false)));
    assert_eq!(first.devices().await[1]["current"], true);

    // Who holds tokens gets no cookie, and sees the list all the same.
    let answer = post(api, "/auth/login", "", json!({"email": ADA, "password": PASSWORD})).await;
    assert!(answer.headers.get("set-cookie").is_none());
    let tokens = sign_in(api, ADA).await;
    let listed = get(api, "/auth/devices", &tokens.access).await;
    let current = |device: &Value| device["current"] == true;
    assert_eq!(listed.json["devices"].as_array().unwrap().len(), 2);
    assert!(!listed.json["devices"].as_array().unwrap().iter().any(current));
    assert_problem(&get(api, "/auth/devices", "").await, 401, "unauthenticated");
}

#[tokio::test]
async fn the_cookie_is_secure_and_bound_to_the_host() {
    let deployment = start(quick().with("AUTHV2_COOKIES__INSECURE", "false")).await;
    register(&deployment.api, ADA).await;
    let answer = login_on(&deployment.api, ADA, PASSWORD, "").await;
    let (_, attributes) = set_cookie(&answer, "__Host-authv2_device").unwrap();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=Lax", "Secure"]);
}

#[tokio::test]
async fn on_a_shared_browser_the_last_one_who_signed_in_is_known() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    register(api, BOB).await;
    let ada = Visitor::sign_in(api, ADA, "").await;
    let bob = Visitor::sign_in(api, BOB, &ada.device).await;
    assert_ne!(bob.device, ada.device);
    let known = bob.devices().await;
    assert_eq!((known.len(), &known[0]["current"]), (1, &json!(true)));
    assert_ne!(known[0]["id"], ada.devices().await[0]["id"]);
}

async fn a_forgotten_device_is_known_no_more_and_its_sessions_end(store: Store) {
    let deployment = store.deploy_confined(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    register(api, BOB).await;
    let lost = Visitor::sign_in(api, ADA, "").await;
    let lost_too = Visitor::sign_in(api, ADA, &lost.device).await;
    let (kept, tokens) = (Visitor::sign_in(api, ADA, "").await, sign_in(api, ADA).await);
    let bob = Visitor::sign_in(api, BOB, "").await;
    let device = &lost.devices().await.into_iter().find(|device| device["current"] == true).unwrap();

    // It is nobody else's to forget.
    assert_problem(&bob.forget(device).await, 404, "not_found");
    for id in ["x", "0198c0de-0000-7000-8000-000000000000"] {
        assert_problem(&kept.forget(&json!({"id": id})).await, 404, "not_found");
    }
    let path = format!("/auth/devices/{}", device["id"].as_str().unwrap());
    let without_token = api.request(Method::DELETE, &path).header("cookie", format!("authv2={}", kept.session));
    assert_problem(&send(without_token).await, 403, "csrf_failed");
    assert!(lost.is_signed_in().await && lost_too.is_signed_in().await);

    let forgotten = kept.forget(device).await;
    assert_eq!((forgotten.status, forgotten.headers.get("set-cookie")), (204, None));
    assert!(!lost.is_signed_in().await && !lost_too.is_signed_in().await);
    assert!(kept.is_signed_in().await && bob.is_signed_in().await && is_live(api, &tokens.access).await);
    assert_eq!(kept.devices().await.len(), 1);
    assert_problem(&kept.forget(device).await, 404, "not_found");

    // Its cookie is worth nothing: the browser becomes known anew.
    let back = Visitor::sign_in(api, ADA, &lost.device).await;
    assert_ne!(back.device, lost.device);
    assert_eq!(back.devices().await.len(), 2);

    let own = back.devices().await.into_iter().find(|device| device["current"] == true).unwrap();
    let forgotten = back.forget(&own).await;
    assert_eq!(forgotten.status, 204);
    let (value, attributes) = set_cookie(&forgotten, "authv2_device").unwrap();
    assert!(value.is_empty() && attributes.contains(&"Max-Age=0".to_owned()));
    assert!(!back.is_signed_in().await);
}

/// Fails to sign in from many networks until strangers have to wait for a minute.
async fn attack(deployment: &Deployment, email: &str) {
    for network in 1..=5 {
        let api = deployment.from(50, network);
        for _ in 0..10 {
            assert_eq!(login_on(&api, email, WRONG, "").await.status, 401);
        }
    }
    // At once: the minute begins with the first of them.
    let strangers: Vec<Api> = (1..=20).map(|network| deployment.from(51, network)).collect();
    for refused in join_all(strangers.iter().map(|api| login_on(api, email, WRONG, ""))).await {
        assert_eq!(refused.status, 401, "{}", refused.text);
    }
}

async fn nobodys_attack_locks_out_a_known_device(store: Store) {
    let deployment = store.deploy(quick()).await;
    let home = deployment.from(60, 1);
    register(&home, ADA).await;
    register(&home, BOB).await;
    let (ada, bob) = (Visitor::sign_in(&home, ADA, "").await, Visitor::sign_in(&home, BOB, "").await);
    attack(&deployment, ADA).await;
    // On the road, in a network that the owner never used: strangers wait, whatever they know.
    let road = deployment.from(61, 1);
    assert_problem(&login_on(&road, ADA, PASSWORD, "").await, 429, "too_many_attempts");
    assert_problem(&login_on(&road, ADA, PASSWORD, "no cookie").await, 429, "too_many_attempts");
    assert_problem(&login_on(&road, ADA, PASSWORD, &bob.device).await, 429, "too_many_attempts");
    assert_eq!(login_on(&road, ADA, PASSWORD, &ada.device).await.status, 200);
    // That was no amnesty for strangers.
    assert_problem(&login_on(&deployment.from(61, 2), ADA, PASSWORD, "").await, 429, "too_many_attempts");
}

async fn a_known_device_has_a_limit_of_its_own(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let known = Visitor::sign_in(api, ADA, "").await;
    // A stolen device cookie opens nothing, from however many networks it is tried.
    for network in 1..=10 {
        let answer = login_on(&deployment.from(70, network), ADA, WRONG, &known.device).await;
        assert_problem(&answer, 401, "invalid_credentials");
    }
    for password in [WRONG, PASSWORD] {
        let answer = login_on(&deployment.from(71, 1), ADA, password, &known.device).await;
        assert_problem(&answer, 429, "too_many_attempts");
    }
    // Whoever does not show it is judged as ever.
    assert_eq!(login_on(&deployment.from(71, 1), ADA, PASSWORD, "").await.status, 200);
    assert_eq!(login_on(api, ADA, PASSWORD, "").await.status, 200);
}

#[tokio::test]
async fn a_password_asked_again_on_a_known_device_counts_there_alone() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let stolen = sign_up(api, ADA).await;
    let known = Visitor::sign_in(api, ADA, "").await;
    let change = |password: &str| json!({"current_password": password, "new_password": PASSWORD});
    for _ in 0..10 {
        let answer = post(api, "/auth/password/change", &stolen.access, change(WRONG)).await;
        assert_problem(&answer, 403, "wrong_password");
    }
    let answer = post(api, "/auth/password/change", &stolen.access, change(PASSWORD)).await;
    assert_problem(&answer, 429, "too_many_attempts");
    for _ in 0..10 {
        let answer = known.call(Method::POST, "/auth/password/change", Some(change(WRONG))).await;
        assert_problem(&answer, 403, "wrong_password");
    }
    let answer = known.call(Method::POST, "/auth/password/change", Some(change(PASSWORD))).await;
    assert_problem(&answer, 429, "too_many_attempts");
    // A sign-in on the device clears what failed there, and nothing else.
    let again = Visitor::sign_in(api, ADA, &known.device).await;
    let answer = post(api, "/auth/password/change", &stolen.access, change(PASSWORD)).await;
    assert_problem(&answer, 429, "too_many_attempts");
    let answer = again.call(Method::POST, "/auth/password/change", Some(change(PASSWORD))).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

#[tokio::test]
async fn a_new_browser_is_told_of_by_mail_and_a_known_one_is_not() {
    let deployment = start(quick()).await;
    let (api, server) = (&deployment.api, &deployment.server);
    register(api, ADA).await;
    let first = Visitor::sign_in(api, ADA, "").await;
    let known = Visitor::sign_in(api, ADA, &first.device).await;
    let road = deployment.from(9, 1);
    Visitor::sign_in(&road, ADA, "").await;
    let mail = server.wait_for_mail(ADA, "new_device").await.unwrap();
    for fact in ["127.0.9.1", "Firefox"] {
        assert!(mail.text.contains(fact), "{fact} in {}", mail.text);
    }
    assert_eq!(mail.token, "");
    // Of four sign-ins one was on a browser that was neither the first nor a known one.
    Visitor::sign_in(api, ADA, &known.device).await;
    Visitor::sign_in(&road, ADA, "").await;
    let mails = server.wait_for_mails(ADA, "new_device", 2).await.unwrap();
    assert_eq!(mails.len(), 2);
}

#[tokio::test]
async fn a_reset_password_forgets_every_device() {
    let deployment = start(quick()).await;
    let (api, server) = (&deployment.api, &deployment.server);
    register(api, ADA).await;
    let known = Visitor::sign_in(api, ADA, "").await;
    assert_eq!(post(api, "/auth/password/forgot", "", json!({"email": ADA})).await.status, 202);
    let mail = server.wait_for_mail(ADA, "reset_password").await.unwrap();
    let body = json!({"token": mail.token, "new_password": PASSWORD});
    assert_eq!(post(api, "/auth/password/reset", "", body).await.status, 204);
    let again = Visitor::sign_in(api, ADA, &known.device).await;
    assert_ne!(again.device, known.device);
    assert_eq!(again.devices().await.len(), 1);
}

#[tokio::test]
async fn a_sign_in_with_a_second_factor_or_by_a_link_makes_a_browser_known_too() {
    let deployment = start(quick()).await;
    let (api, server) = (&deployment.api, &deployment.server);
    register(api, ADA).await;
    let token = deployment.server.wait_for_mail(ADA, "verify_email").await.unwrap().token;
    assert_eq!(post(api, "/auth/email/verify", "", json!({"token": token})).await.status, 204);
    assert_eq!(post(api, "/auth/login/link", "", json!({"email": ADA})).await.status, 202);
    let mail = server.wait_for_mail(ADA, "sign_in_link").await.unwrap();
    let body = json!({"token": mail.token, "transport": "cookie"});
    let by_link = Visitor::of(api, &post(api, "/auth/login/link/redeem", "", body).await);
    assert_eq!(by_link.devices().await.len(), 1);

    let tokens = sign_in(api, ADA).await;
    let mut authenticator = Authenticator::enrol(api, &tokens.access).await;
    // Only the completed sign-in does.
    let begun = login_on(api, ADA, PASSWORD, "").await;
    assert_eq!(set_cookie(&begun, "authv2_device"), None);
    let verified = verify(api, &mfa_token(&begun), &authenticator.next_code()).await;
    assert_eq!(Visitor::of(api, &verified).devices().await.len(), 2);
}

async fn a_new_password_keeps_the_present_device_alone(store: Store) {
    let deployment = store.deploy_confined(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (present, other) = (Visitor::sign_in(api, ADA, "").await, Visitor::sign_in(api, ADA, "").await);
    let changed = "another horse battery";
    let body = json!({"current_password": PASSWORD, "new_password": changed});
    assert_eq!(present.call(Method::POST, "/auth/password/change", Some(body)).await.status, 204);
    let known = present.devices().await;
    assert_eq!((known.len(), &known[0]["current"]), (1, &json!(true)));
    let back = login_on(api, ADA, changed, &other.device).await;
    assert_ne!(Visitor::of(api, &back).device, other.device);
    let back = login_on(api, ADA, changed, &present.device).await;
    assert_eq!(Visitor::of(api, &back).device, present.device);
}

#[tokio::test]
async fn a_sign_in_that_is_held_makes_no_browser_known() {
    let deployment = start(quick().with("AUTHV2_SECURITY__ON_NEW_NETWORK", "step_up")).await;
    register(&deployment.api, ADA).await;
    let home = Visitor::sign_in(&deployment.api, ADA, "").await;
    let held = login_on(&deployment.from(9, 1), ADA, PASSWORD, "").await;
    assert_eq!((held.status, set_cookie(&held, "authv2_device")), (200, None), "{}", held.text);
    assert_eq!(home.devices().await.len(), 1);
}
