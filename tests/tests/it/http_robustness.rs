//! Hostile and broken requests: each is answered as the contract says, none brings the server down.

use std::{env, time::Duration};

use authv2_tests::{
    client::{Answer, Api},
    fuzz::Nonsense,
    server::Server,
};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PASSWORD: &str = "correct horse battery";
const LIMIT: usize = 64 * 1024;

/// Calls that take JSON, each with a body that the contract accepts.
fn calls() -> Vec<(Method, &'static str, Value)> {
    let email = "fuzz@example.org";
    vec![
        (Method::POST, "/auth/register", json!({"email": email, "password": PASSWORD, "display_name": "F"})),
        (Method::POST, "/auth/login", json!({"email": email, "password": PASSWORD, "transport": "bearer"})),
        (Method::POST, "/auth/refresh", json!({"refresh_token": "avr_none"})),
        (Method::POST, "/auth/password/forgot", json!({"email": email})),
        (Method::POST, "/auth/password/reset", json!({"token": "none", "new_password": PASSWORD})),
        (Method::POST, "/auth/password/change", json!({"current_password": PASSWORD, "new_password": PASSWORD})),
        (Method::POST, "/auth/email/verify", json!({"token": "none"})),
        (Method::PATCH, "/auth/me", json!({"display_name": "F"})),
        (Method::POST, "/auth/orgs", json!({"slug": "fuzz", "name": "Fuzz"})),
        (Method::POST, "/auth/permissions/check", json!({"permission": "orders:read", "resource": {}, "context": {}})),
        (Method::POST, "/auth/permissions/check-many", json!({"checks": [{"permission": "orders:read"}]})),
    ]
}

async fn send(api: &Api, method: Method, path: &str, token: &str, content_type: &str, body: Vec<u8>) -> Answer {
    let mut request = api.request(method, path).header(CONTENT_TYPE, content_type).body(body);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    Answer::read(request.send().await.unwrap()).await.unwrap()
}

async fn post(api: &Api, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    send(api, Method::POST, path, "", "application/json", body.into()).await
}

/// Sends bytes that no HTTP client would, and reads what comes back within a second or two.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    let mut answer = Vec::new();
    // The server may hang up in the middle of it: that is an answer too.
    let _sent = stream.write_all(bytes).await;
    let _read = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// What every refusal looks like (RFC 9457 and the contract's conventions).
fn assert_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert!(answer.header("content-type").starts_with("application/problem+json"), "{what}: {:?}", answer.headers);
    assert_eq!(answer.json["status"], status, "{what}");
    assert!(!answer.code().is_empty() && !answer.string("/title").is_empty(), "{what}: {}", answer.text);
    assert_eq!(answer.string("/request_id"), answer.header("x-request-id"), "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
}

async fn assert_unharmed(server: &mut Server) {
    let api = Api::new(server.url()).unwrap();
    assert_eq!(api.get("/health/live", "").await.unwrap().status, 200);
    assert!(server.is_running().unwrap());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

async fn start() -> (Server, Api) {
    let server = Server::start().unwrap();
    let api = Api::new(server.url()).unwrap();
    (server, api)
}

#[tokio::test]
async fn answers_nonsense_without_a_server_error() {
    let rounds = if env::var_os("AUTHV2_TEST_LONG").is_some() { 20_000 } else { 600 };
    let (mut server, api) = start().await;
    assert_eq!(api.register("owner@example.org", PASSWORD).await.unwrap().status, 201);
    let token = api.login("owner@example.org", PASSWORD).await.unwrap().string("/access_token").to_owned();
    let mut nonsense = Nonsense::from_environment();
    let calls = calls();
    for round in 0..rounds {
        let (method, path, body) = nonsense.choose(&calls).clone();
        let bytes = match nonsense.below(4) {
            0 => nonsense.bytes(200),
            1 => nonsense.corrupt(&body.to_string()),
            2 => nonsense.json(4).to_string().into_bytes(),
            _ => nonsense.damage(&body).to_string().into_bytes(),
        };
        let token = if nonsense.below(2) == 0 { "" } else { token.as_str() };
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = send(&api, method, path, token, "application/json", bytes).await;
        let what = format!("seed {}, round {round}, {path} {shown}", nonsense.seed());
        assert!(answer.status < 500, "{what}: {} {}", answer.status, answer.text);
        if answer.status >= 400 {
            assert_problem(&answer, answer.status, &what);
        }
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_values_of_the_wrong_type() {
    let (mut server, api) = start().await;
    for wrong in [json!(1), json!(true), json!(null), json!([]), json!({}), json!(["a@example.org"])] {
        let body = json!({"email": wrong, "password": PASSWORD});
        let answer = api.post("/auth/register", "", &body).await.unwrap();
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.text);
        assert_problem(&answer, answer.status, &body.to_string());
    }
    for top in ["[]", "\"text\"", "1", "null", "true"] {
        let answer = post(&api, "/auth/register", top).await;
        assert!(matches!(answer.status, 400 | 422), "{top}: {}", answer.text);
        assert_problem(&answer, answer.status, top);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_malformed_json() {
    let (mut server, api) = start().await;
    let deep = "[".repeat(30_000);
    let nested = format!("{{\"email\":{}", "{\"a\":".repeat(10_000));
    for text in
        ["", "{", "{\"email\"", "{'email':1}", "{} {}", "{\"email\":01}", "\u{feff}{", deep.as_str(), nested.as_str()]
    {
        let answer = post(&api, "/auth/login", text).await;
        assert_problem(&answer, 400, &text.chars().take(40).collect::<String>());
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_a_body_over_64_kib() {
    let (mut server, api) = start().await;
    let sized = |size: usize| {
        let frame = json!({"email": "a@example.org", "password": ""}).to_string();
        json!({"email": "a@example.org", "password": "p".repeat(size - frame.len())}).to_string()
    };
    assert_problem(&post(&api, "/auth/login", sized(LIMIT + 1)).await, 413, "one byte too many");
    let most = post(&api, "/auth/login", sized(LIMIT)).await;
    assert!(matches!(most.status, 401 | 422), "exactly the limit: {}", most.text);

    // Without a length the limit counts as the bytes come.
    let head = "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = sized(LIMIT + 1);
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let answer = raw(&server, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_text_that_is_not_utf_8() {
    let (mut server, api) = start().await;
    for bytes in [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"abc\xe2\x82"] {
        let body = [b"{\"email\":\"a@example.org\",\"password\":\"".as_slice(), bytes, b"12345678\"}"].concat();
        assert_problem(&post(&api, "/auth/login", body).await, 400, &format!("{bytes:x?}"));
    }
    // A lone surrogate is no Unicode text, however it is spelt.
    let escaped = post(&api, "/auth/login", r#"{"email":"a@example.org","password":"\ud800 12345678"}"#).await;
    assert_problem(&escaped, 400, "a lone surrogate");
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_nul_in_text() {
    let (mut server, api) = start().await;
    for body in [
        json!({"email": "a\u{0}@example.org", "password": PASSWORD}),
        json!({"email": "a@example.org", "password": "correct\u{0} horse"}),
        json!({"email": "a@example.org", "password": PASSWORD, "display_name": "A\u{0}da"}),
    ] {
        let answer = api.post("/auth/register", "", &body).await.unwrap();
        assert_problem(&answer, 422, &body.to_string());
        assert_eq!(answer.code(), "validation_failed", "{body}");
        assert!(answer.field_codes().next().is_some(), "{}", answer.text);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_fields_that_nobody_knows() {
    let (mut server, api) = start().await;
    for (method, path, mut body) in calls().into_iter().take(3) {
        body["is_admin"] = json!(true);
        let answer = api.call(method, path, "", Some(&body)).await.unwrap();
        assert_problem(&answer, 422, path);
        assert_eq!(answer.code(), "validation_failed", "{path}");
        assert_eq!(answer.field_codes().collect::<Vec<_>>(), ["unknown_field"], "{}", answer.text);
        assert_eq!(answer.string("/errors/0/field"), "is_admin", "{}", answer.text);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_what_is_not_json() {
    let (mut server, api) = start().await;
    let body = json!({"email": "a@example.org", "password": PASSWORD}).to_string();
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "json"]
    {
        let answer = send(&api, Method::POST, "/auth/login", "", content_type, body.clone().into()).await;
        assert_problem(&answer, 415, content_type);
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer = send(&api, Method::POST, "/auth/login", "", content_type, body.clone().into()).await;
        assert_problem(&answer, 401, content_type);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn knows_its_paths_and_their_methods() {
    let (mut server, api) = start().await;
    for path in ["/nowhere", "/auth", "/auth/", "/auth/nowhere", "/auth/login/", "/auth//login", "/AUTH/LOGIN"] {
        let answer = api.get(path, "").await.unwrap();
        assert_problem(&answer, 404, path);
    }
    // Clients fold dot segments themselves, spelt out or encoded; a server that folds them meets what nobody asked for.
    for path in ["/auth/../hello", "/auth/%2e%2e/hello", "/auth/login%2f", "/auth%2flogin"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    for (method, path, allowed) in [
        (Method::GET, "/auth/login", "POST"),
        (Method::PUT, "/auth/me", "GET"),
        (Method::DELETE, "/auth/register", "POST"),
        (Method::POST, "/health/live", "GET"),
    ] {
        let answer = api.call(method.clone(), path, "", None).await.unwrap();
        assert_problem(&answer, 405, path);
        assert!(answer.header("allow").contains(allowed), "{method} {path}: {:?}", answer.headers);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn names_every_request() {
    let (mut server, api) = start().await;
    for (sent, kept) in [("abc-1.2_3", true), ("with space", false), ("a;b", false), (&*"x".repeat(129), false)] {
        let request = api.request(Method::GET, "/hello").header("x-request-id", sent);
        let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
        let named = answer.header("x-request-id");
        assert_eq!(named == sent, kept, "sent {sent}, got {named}");
        assert!(!named.is_empty());
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn refuses_two_credentials() {
    let (mut server, api) = start().await;
    let request = api.request(Method::GET, "/private").bearer_auth("one").header("x-api-key", "two");
    let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
    assert_problem(&answer, 400, "two explicit credentials");
    assert_eq!(answer.code(), "ambiguous_credentials");
    for header in ["Bearer", "Bearer ", "Bearer a b", "Basic !!!", "\u{fffd}", "DPoP x"] {
        let request = api.request(Method::GET, "/private").header("authorization", header.as_bytes());
        let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
        assert!(matches!(answer.status, 400 | 401), "{header}: {}", answer.text);
        assert_problem(&answer, answer.status, header);
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn stands_a_flood_of_headers() {
    let (mut server, _api) = start().await;
    let many: String = (0..5_000).map(|number| format!("X-Flood-{number}: {number}\r\n")).collect();
    let long = format!("X-Flood: {}\r\n", "f".repeat(1024 * 1024));
    let cookies = format!("Cookie: {}\r\n", "a=b; ".repeat(10_000));
    for headers in [many, long, cookies] {
        let request = format!("GET /private HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        let answer = raw(&server, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{}", answer.lines().next().unwrap_or_default());
    }
    assert_unharmed(&mut server).await;
}

#[tokio::test]
async fn stands_what_is_hardly_http() {
    let (mut server, _api) = start().await;
    for bytes in [
        b"\0\0\0\0\r\n\r\n".as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"email\"",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /%zz%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /private HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xff\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(&server, bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 5"), "{:?}: {answer}", String::from_utf8_lossy(bytes));
    }
    assert_unharmed(&mut server).await;
}
