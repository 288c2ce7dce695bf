//! Security events: read and watched by administrators, and the reactions of the settings.

use std::time::{Duration, Instant};

use authv2_tests::{client::Api, postgres::Postgres, server::Settings};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{
    fixture::{
        ADA, Browser, PASSWORD, Store, WRONG, assert_invalid, assert_problem, eventually, get, is_live, login, members,
        on_each_store, refresh, send, sign_in, sign_up, start,
    },
    mfa_client::{sign_up_with_mfa, step_up},
    signing_keys::{administered, root},
    tenancy::{Organization, Person, allow, held},
};

on_each_store!(
    administrators_read_what_was_noticed,
    administrators_watch_as_it_is_noticed,
    a_reused_refresh_token_ends_all_sessions_where_the_settings_say_so,
    probing_is_noticed,
    a_key_that_is_used_from_elsewhere_is_noticed,
);

const EVENTS: &str = "/auth/security/events";
const STREAM: &str = "/auth/security/events/stream";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";
/// The SHA-1 of the password that everybody has here, among others.
const BREACHED: &str = "0000000000000000000000000000000000000001:7\n98DECC62ECE399A22ED30D490EF333BE7FDE7385:12\n\
    FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF:1\n";

async fn events(root: &Person, query: &str) -> Vec<Value> {
    let answer = root.get(&format!("{EVENTS}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json["events"].as_array().unwrap().clone()
}

/// The events of a kind, once there are so many.
async fn told(root: &Person, kind: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = events(root, &format!("kind={kind}")).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{kind}: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sign_in_on(api: &Api, device: &str) -> u16 {
    let body = json!({"email": ADA, "password": PASSWORD});
    send(api.request(Method::POST, "/auth/login").header("user-agent", device).json(&body)).await.status
}

async fn administrators_read_what_was_noticed(store: Store) {
    let deployment = store.deploy_confined(administered().with("AUTHV2_SESSION__REFRESH_GRACE", "0")).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    let root = root(api).await;
    let ada = sign_up(api, ADA).await;
    assert_eq!(sign_in_on(api, FIREFOX).await, 200);
    assert_eq!(sign_in_on(&away, PHONE).await, 200);
    let devices = told(&root, "new_device", 1).await;
    assert_eq!(members(&devices[0]), ["at", "detail", "id", "ip", "kind", "severity", "user_id"]);
    assert_eq!((&devices[0]["severity"], &devices[0]["ip"]), (&json!("medium"), &json!("127.0.9.1")));
    let networks = told(&root, "new_network", 1).await;
    assert_eq!(networks[0]["user_id"], devices[0]["user_id"]);

    assert_eq!(refresh(api, &ada.refresh).await.status, 200);
    assert_problem(&refresh(api, &ada.refresh).await, 401, "refresh_token_reused");
    let reused = told(&root, "refresh_token_reused", 1).await;
    assert_eq!((&reused[0]["severity"], &reused[0]["detail"]["session_id"]), (&json!("high"), &json!(ada.session)));
    assert!(is_live(api, &sign_in(api, ADA).await.access).await);

    for _ in 0..10 {
        assert_eq!(login(&deployment.from(9, 2), ADA, WRONG).await.status, 401);
    }
    let guessed = told(&root, "brute_force", 1).await;
    assert_eq!(guessed[0]["detail"], json!({"scope": "network", "failures": 10, "window_seconds": 900}));

    // Newest first, page by page, by time and by severity.
    let all = events(&root, "").await;
    let kinds: Vec<_> = all.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["brute_force", "refresh_token_reused"], "{kinds:?}");
    let first = root.get(&format!("{EVENTS}?limit=1")).await;
    assert_eq!(first.json["events"][0], all[0]);
    let second = root.get(&format!("{EVENTS}?limit=1&cursor={}", first.string("/next_cursor"))).await;
    assert_eq!(second.json["events"][0], all[1]);
    let at = |event: &Value| event["at"].as_str().unwrap().to_owned();
    assert_eq!(events(&root, &format!("from={}", at(&all[0]))).await, all[..1]);
    assert_eq!(events(&root, &format!("to={}", at(&all[0]))).await, all[1..]);
    assert!(events(&root, "severity=critical").await.is_empty());
    for (query, field, code) in [
        ("kind=nothing", "kind", "invalid_choice"),
        ("severity=worse", "severity", "invalid_choice"),
        ("from=yesterday", "from", "invalid_time"),
        ("cursor=x", "cursor", "invalid_cursor"),
        ("limit=201", "limit", "out_of_range"),
    ] {
        assert_invalid(&root.get(&format!("{EVENTS}?{query}")).await, field, code);
    }
    let nobody = Person::sign_in(api, ADA, json!({})).await;
    for path in [EVENTS, STREAM] {
        assert_problem(&nobody.get(path).await, 403, "permission_denied");
        assert_problem(&get(api, path, "").await, 401, "unauthenticated");
    }
    for event in all {
        let text = event.to_string();
        assert!(!text.contains('@') && !text.contains(PASSWORD) && !text.contains(&ada.refresh), "{text}");
    }
}

/// A stream as a browser would read it.
struct Watch {
    response: Response,
    text: String,
}

impl Watch {
    async fn open(api: &Api, token: &str, after: Option<&str>) -> Self {
        let mut request = api.request(Method::GET, STREAM).bearer_auth(token).header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut watch = Self { response, text: String::new() };
        assert!(watch.block().await.unwrap().starts_with("retry: "));
        watch
    }

    /// The next block of lines; none at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.unwrap().ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event of a kind: its id, and what it says.
    async fn event(&mut self, kind: &str) -> (String, Value) {
        loop {
            let block = self.block().await.expect("the stream has ended");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            if field("event") == Some(kind) {
                let data: Value = serde_json::from_str(field("data").unwrap()).unwrap();
                assert_eq!((&data["id"], &data["kind"]), (&json!(field("id").unwrap()), &json!(kind)));
                return (field("id").unwrap().to_owned(), data);
            }
        }
    }
}

async fn administrators_watch_as_it_is_noticed(store: Store) {
    let deployment = store.deploy_confined(administered()).await;
    let api = &deployment.api;
    let (root, other) = (root(api).await, root(api).await);
    sign_up(api, ADA).await;
    let mut watch = Watch::open(api, &root.tokens.access, None).await;
    let mut ids = Vec::new();
    for host in 1..=3 {
        assert_eq!(login(&deployment.from(9, host), ADA, PASSWORD).await.status, 200);
        let (id, data) = watch.event("new_network").await;
        assert_eq!(data["ip"], format!("127.0.9.{host}"));
        ids.push(id);
    }
    // Whoever was away is told what it missed, and nothing twice.
    let mut back = Watch::open(api, &other.tokens.access, Some(&ids[0])).await;
    assert_eq!(back.event("new_network").await.0, ids[1]);
    assert_eq!(back.event("new_network").await.0, ids[2]);
    let refused = api.request(Method::GET, STREAM).bearer_auth(&root.tokens.access).header("last-event-id", "x");
    assert_invalid(&send(refused).await, "Last-Event-ID", "invalid_id");

    // It ends with its session, and with no other.
    assert_eq!(root.post("/auth/logout", json!({})).await.status, 204);
    while watch.block().await.is_some() {}
    assert_eq!(login(&deployment.from(9, 4), ADA, PASSWORD).await.status, 200);
    assert_eq!(back.event("new_network").await.1["ip"], "127.0.9.4");
}

#[tokio::test]
async fn a_page_of_another_site_watches_nothing() {
    let deployment = start(administered()).await;
    let (browser, _) = Browser::sign_in(&deployment.api, "root@example.org").await;
    for accept in ["text/event-stream", "*/*"] {
        let foreign =
            browser.request(Method::GET, STREAM).header("accept", accept).header("origin", "https://evil.example");
        assert_problem(&send(foreign).await, 403, "csrf_failed");
    }
    let own = browser.request(Method::GET, STREAM).header("origin", deployment.server.url());
    assert_eq!(own.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_tells_what_another_node_noticed() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let node = || administered().store(database.url()).start().unwrap();
    let (one, two) = (node(), node());
    let (here, there) = (Api::new(one.url()).unwrap(), Api::new(two.url()).unwrap());
    sign_up(&here, ADA).await;
    let mut watch = Watch::open(&here, &root(&here).await.tokens.access, None).await;
    let away = Api::from_address(two.url(), [127, 0, 9, 1].into()).unwrap();
    assert_eq!(login(&away, ADA, PASSWORD).await.status, 200);
    assert_eq!(watch.event("new_network").await.1["ip"], "127.0.9.1");
    assert_eq!(told(&root(&there).await, "new_network", 1).await.len(), 1);
}

async fn a_reused_refresh_token_ends_all_sessions_where_the_settings_say_so(store: Store) {
    let settings = administered()
        .with("AUTHV2_SESSION__REFRESH_GRACE", "0")
        .with("AUTHV2_SECURITY__ON_REFRESH_TOKEN_REUSED", "revoke");
    let deployment = store.deploy_confined(settings).await;
    let api = &deployment.api;
    let (stolen, other) = (sign_up(api, ADA).await, sign_in(api, ADA).await);
    assert_eq!(refresh(api, &stolen.refresh).await.status, 200);
    assert_problem(&refresh(api, &stolen.refresh).await, 401, "refresh_token_reused");
    eventually(async || !is_live(api, &other.access).await).await;
}

#[tokio::test]
async fn a_sign_in_from_a_new_network_is_held_where_the_settings_say_so() {
    let deployment = start(administered().with("AUTHV2_SECURITY__ON_NEW_NETWORK", "step_up")).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    sign_up(api, ADA).await;
    let held = sign_in(&away, ADA).await;
    assert_problem(&get(&away, "/auth/me", &held.access).await, 401, "step_up_required");
    // The same password again proves no more.
    let again = sign_in(&away, ADA).await;
    assert_problem(&get(&away, "/auth/me", &again.access).await, 401, "step_up_required");
}

async fn probing_is_noticed(store: Store) {
    let settings = administered().with("AUTHV2_SECURITY__PROBING_DENIALS", "5");
    let deployment = store.deploy_confined(settings).await;
    let api = &deployment.api;
    let root = root(api).await;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let clerk = acme.member("clerk", json!([held("clerk")])).await.at("acme").await;
    for attempt in 0..9 {
        assert!(!clerk.may(&format!("secrets:read{attempt}")).await);
    }
    let probed = told(&root, "permission_probing", 1).await;
    assert_eq!((&probed[0]["user_id"], &probed[0]["organization"]), (&json!(clerk.id), &json!(acme.id)));
    let changed = events(&root, "kind=privilege_changed").await;
    let mine: Vec<_> = changed.iter().filter(|event| event["detail"]["member_id"] == clerk.id.as_str()).collect();
    assert_eq!(mine.len(), 1, "{changed:?}");
    assert_eq!((&mine[0]["user_id"], &mine[0]["detail"]["owner"]), (&json!(acme.owner.id), &json!(false)));
}

#[tokio::test]
async fn a_password_releases_no_session_that_is_held_for_probing() {
    let settings = administered()
        .with("AUTHV2_SECURITY__PROBING_DENIALS", "5")
        .with("AUTHV2_SECURITY__ON_PERMISSION_PROBING", "step_up");
    let deployment = start(settings).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let clerk = acme.member("clerk", json!([held("clerk")])).await.at("acme").await;
    // It was used from elsewhere before, which was noted and held nothing.
    let moved = get(&away, "/auth/me", &clerk.tokens.access).await;
    assert_eq!(moved.string("/session/risk"), "medium", "{}", moved.text);
    for attempt in 0..6 {
        clerk.post("/auth/permissions/check", json!({"permission": format!("secrets:read{attempt}")})).await;
    }
    eventually(async || clerk.get("/auth/me").await.status == 401).await;
    assert_problem(&clerk.get("/auth/me").await, 401, "step_up_required");
    let refused = clerk.post("/auth/mfa/step-up", json!({"password": PASSWORD})).await;
    assert_problem(&refused, 401, "step_up_required");
    assert_problem(&clerk.get("/auth/me").await, 401, "step_up_required");
}

#[tokio::test]
async fn guessed_codes_are_noticed() {
    let deployment = start(administered()).await;
    let api = &deployment.api;
    let root = root(api).await;
    let (authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let wrong = json!({"code": authenticator.wrong_code()});
    for _ in 0..10 {
        assert_problem(&step_up(api, &ada.access, wrong.clone()).await, 401, "invalid_code");
    }
    let guessed = told(&root, "brute_force", 1).await;
    assert_eq!((&guessed[0]["severity"], &guessed[0]["detail"]["scope"]), (&json!("high"), &json!("codes")));
    assert_eq!(guessed[0]["detail"]["failures"], 10);
    assert!(events(&root, "kind=credential_stuffing").await.is_empty());
}

#[tokio::test]
async fn a_breached_password_is_noticed_and_makes_a_session_riskier() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("breached.txt");
    std::fs::write(&list, BREACHED).unwrap();
    let settings: Settings =
        administered().with("AUTHV2_SECURITY__BREACHED_PASSWORDS_FILE", list.display().to_string());
    let deployment = start(settings).await;
    let api = &deployment.api;
    let ada = sign_up(api, ADA).await;
    assert_eq!(get(api, "/auth/me", &ada.access).await.string("/session/risk"), "medium");
    let root = root(api).await;
    // The administrator has the same one.
    let noticed = told(&root, "breached_password_used", 2).await;
    assert!(noticed.iter().all(|event| event["severity"] == "high"), "{noticed:?}");
    assert_eq!(login(api, ADA, WRONG).await.status, 401);
    assert_eq!(events(&root, "kind=breached_password_used").await.len(), 2);
}

async fn a_key_that_is_used_from_elsewhere_is_noticed(store: Store) {
    let deployment = store.deploy_confined(administered()).await;
    let api = &deployment.api;
    let root = root(api).await;
    let acme = Organization::found(api, "acme", "ada").await;
    let body = json!({"name": "export", "scopes": ["orders:read"]});
    let minted = acme.owner.post(&acme.path("/api-keys"), body).await;
    assert_eq!(minted.status, 201, "{}", minted.text);
    let secret = minted.string("/secret");
    let uses = async |api: &Api| {
        let check = api.request(Method::POST, "/auth/permissions/check").header("x-api-key", secret);
        let answer = send(check.json(&json!({"permission": "orders:read"}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    uses(api).await;
    // The first network is noted beside the request: until it is, the next one may be the first.
    let (near, away) = (deployment.from(0, 9), deployment.from(9, 1));
    let begun = Instant::now();
    while events(&root, "kind=api_key_new_network").await.is_empty() {
        uses(&near).await;
        if begun.elapsed() > Duration::from_millis(500) {
            uses(&away).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    uses(&deployment.from(9, 2)).await;
    let noticed = told(&root, "api_key_new_network", 1).await;
    assert_eq!(noticed[0]["detail"], json!({"key_id": minted.string("/api_key/id")}));
    assert_eq!((&noticed[0]["organization"], &noticed[0]["ip"]), (&json!(acme.id), &json!("127.0.9.1")));
}
