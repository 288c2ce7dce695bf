//! Sessions that are used from elsewhere than they were opened: marked, held, or ended, as the settings have it.

use authv2_core::{
    changes::Feed,
    store::{
        AuditRecord, Upkeep as _,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::client::{Answer, Api};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::fixture::{
    ADA, Browser, Deployment, PASSWORD, Store, Tokens, assert_problem, get, on_each_store, post, quick, refresh,
    register, send, start,
};

on_each_store!(
    a_change_makes_a_session_look_riskier,
    a_held_session_does_nothing_but_end,
    a_session_ends_where_the_settings_say_so,
);

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const NEWER_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";

/// Signs in on the desktop.
async fn sign_in(api: &Api) -> Tokens {
    let body = json!({"email": ADA, "password": PASSWORD});
    Tokens::of(&send(api.request(Method::POST, "/auth/login").header("user-agent", FIREFOX).json(&body)).await)
}

/// A call with an access token from a device; from none if it is empty.
async fn call(api: &Api, method: Method, path: &str, token: &str, device: &str) -> Answer {
    let request = api.request(method, path).bearer_auth(token);
    send(if device.is_empty() { request } else { request.header("user-agent", device) }).await
}

async fn me(api: &Api, token: &str, device: &str) -> Answer {
    call(api, Method::GET, "/auth/me", token, device).await
}

/// The risk that a good call tells of.
async fn risk(api: &Api, token: &str, device: &str) -> String {
    let answer = me(api, token, device).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.string("/session/risk").to_owned()
}

async fn a_change_makes_a_session_look_riskier(store: Store) {
    let deployment = store.deploy(quick()).await;
    let (api, near, away) = (&deployment.api, deployment.from(0, 77), deployment.from(9, 1));
    register(api, ADA).await;
    let tokens = sign_in(api).await;
    let other = sign_in(api).await;
    for device in [FIREFOX, NEWER_FIREFOX, ""] {
        assert_eq!(risk(api, &tokens.access, device).await, "low", "{device:?}");
        assert_eq!(risk(&near, &tokens.access, device).await, "low", "{device:?}");
    }
    assert_eq!(risk(api, &tokens.access, PHONE).await, "medium");
    assert_eq!(risk(api, &tokens.access, FIREFOX).await, "medium", "what was raised stays so");
    assert_eq!(risk(&away, &tokens.access, "").await, "high");
    assert_eq!(risk(api, &tokens.access, FIREFOX).await, "high");
    assert_eq!(risk(&away, &other.access, FIREFOX).await, "medium", "of the other session, the network alone changed");
    // Refreshing is a use as well.
    let third = sign_in(api).await;
    let next = Tokens::of(&refresh(&away, &third.refresh).await);
    assert_eq!(risk(api, &next.access, FIREFOX).await, "medium");
}

async fn a_held_session_does_nothing_but_end(store: Store) {
    let settings = quick().with("AUTHV2_SESSION__ON_DEVICE_CHANGE", "step_up");
    let deployment = store.deploy(settings).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    register(api, ADA).await;
    let held = [sign_in(api).await, sign_in(api).await, sign_in(api).await];
    for tokens in &held {
        assert_eq!(risk(&away, &tokens.access, FIREFOX).await, "medium", "a network is only noted");
        let refused = me(api, &tokens.access, PHONE).await;
        assert_problem(&refused, 401, "step_up_required");
        assert!(refused.header("www-authenticate").contains("error=\"insufficient_user_authentication\""));
        for path in ["/auth/me", "/auth/sessions", "/private"] {
            let refused = call(api, Method::GET, path, &tokens.access, FIREFOX).await;
            assert_problem(&refused, 401, "step_up_required");
        }
    }
    // The refresh token is not lost for it.
    let next = Tokens::of(&refresh(api, &held[0].refresh).await);
    assert_problem(&me(api, &next.access, FIREFOX).await, 401, "step_up_required");

    assert_eq!(call(api, Method::POST, "/auth/logout", &next.access, PHONE).await.status, 204);
    assert_problem(&me(api, &next.access, FIREFOX).await, 401, "invalid_token");
    let own = format!("/auth/sessions/{}", held[1].session);
    assert_eq!(call(api, Method::DELETE, &own, &held[1].access, PHONE).await.status, 204);
    assert_problem(&me(api, &held[1].access, FIREFOX).await, 401, "invalid_token");
    let fresh = sign_in(api).await;
    assert_eq!(call(api, Method::POST, "/auth/logout-all", &held[2].access, PHONE).await.json, json!({"revoked": 2}));
    assert_problem(&me(api, &fresh.access, FIREFOX).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_held_sign_in_that_moves_is_not_released_by_its_password() {
    let settings =
        quick().with("AUTHV2_SECURITY__ON_NEW_NETWORK", "step_up").with("AUTHV2_SESSION__ON_NETWORK_CHANGE", "step_up");
    let deployment = start(settings).await;
    let (api, away, further) = (&deployment.api, deployment.from(9, 1), deployment.from(10, 1));
    register(api, ADA).await;
    sign_in(api).await;
    let held = sign_in(&away).await;
    let step_up =
        async |api: &Api, token: &str| post(api, "/auth/mfa/step-up", token, json!({"password": PASSWORD})).await;
    for place in [&away, &further, &away] {
        // On another device too, of which by the settings nothing but a note would come.
        for device in [FIREFOX, PHONE] {
            assert_problem(&me(place, &held.access, device).await, 401, "step_up_required");
            assert_problem(&step_up(place, &held.access).await, 401, "step_up_required");
        }
    }
    let verify = deployment.server.wait_for_mail(ADA, "verify_email").await.unwrap().token;
    assert_eq!(post(api, "/auth/email/verify", "", json!({"token": verify})).await.status, 204);
    // A link does let the owner in, from there too.
    assert_eq!(post(&away, "/auth/login/link", "", json!({"email": ADA})).await.status, 202);
    let mail = deployment.server.wait_for_mail(ADA, "sign_in_link").await.unwrap();
    let redeemed = post(&away, "/auth/login/link/redeem", "", json!({"token": mail.token})).await;
    let opened = Tokens::of(&redeemed);
    assert_eq!(get(&away, "/auth/me", &opened.access).await.status, 200);
    // Whereas a session that was good and moves has its owner's password.
    let good = sign_in(api).await;
    assert_problem(&get(&further, "/auth/me", &good.access).await, 401, "step_up_required");
    let released = step_up(&further, &good.access).await;
    assert_eq!(released.status, 200, "{}", released.text);
    assert_eq!(get(&further, "/auth/me", released.string("/access_token")).await.status, 200);
}

async fn a_session_ends_where_the_settings_say_so(store: Store) {
    let settings =
        quick().with("AUTHV2_SESSION__ON_NETWORK_CHANGE", "revoke").with("AUTHV2_SESSION__ON_DEVICE_CHANGE", "ignore");
    let deployment = store.deploy(settings).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    register(api, ADA).await;
    let tokens = sign_in(api).await;
    assert_eq!(risk(api, &tokens.access, PHONE).await, "low", "devices are ignored");
    assert_problem(&me(&away, &tokens.access, FIREFOX).await, 401, "invalid_token");
    assert_problem(&me(api, &tokens.access, FIREFOX).await, 401, "invalid_token");
    assert_problem(&refresh(api, &tokens.refresh).await, 401, "invalid_refresh_token");
    let tokens = sign_in(api).await;
    assert_problem(&refresh(&away, &tokens.refresh).await, 401, "invalid_refresh_token");
    assert_problem(&me(api, &tokens.access, FIREFOX).await, 401, "invalid_token");

    let (browser, _) = Browser::sign_in(api, ADA).await;
    let elsewhere = Browser { api: away.clone(), ..browser.clone() };
    assert_problem(&elsewhere.get("/auth/me").await, 401, "unauthenticated");
    assert_problem(&browser.get("/auth/me").await, 401, "unauthenticated");
}

/// The entries of changed contexts.
async fn entries(deployment: &Deployment) -> Vec<AuditRecord> {
    let url = format!("sqlite://{}/authv2.db", deployment.server.directory().display());
    let store = SqlStore::open(&SqlOptions::new(url.as_str()), Feed::new()).await.unwrap();
    let mut entries = store.recent_audit(1_000).await.unwrap();
    store.close().await;
    entries.retain(|entry| entry.action == "session.context_changed");
    entries
}

#[tokio::test]
async fn many_first_requests_are_noted_once() {
    let deployment = start(quick()).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    register(api, ADA).await;
    let tokens = sign_in(api).await;
    join_all((0..8).map(|_| risk(api, &tokens.access, PHONE))).await;
    let noted = entries(&deployment).await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!((noted[0].outcome.as_str(), noted[0].reason.as_deref()), ("success", Some("device")));
    assert_eq!(noted[0].target.as_deref(), Some(&*tokens.session));
    join_all((0..8).map(|_| risk(&away, &tokens.access, PHONE))).await;
    let noted = entries(&deployment).await;
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert_eq!((noted[0].reason.as_deref(), noted[0].ip.as_deref()), (Some("network"), Some("127.0.9.1")));
}
