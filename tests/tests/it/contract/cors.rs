//! CORS: pages of the allowed origins may call and read, others may not.

use authv2_tests::client::Answer;
use reqwest::Method;

use super::fixture::{ADA, Deployment, quick, send, sign_up, start};

const ELSEWHERE: [&str; 5] =
    ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "http://evil.example:8080"];

async fn preflight(deployment: &Deployment, path: &str, origin: &str, method: &str) -> Answer {
    let request = deployment.api.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", method);
    // Credentials never come with a preflight; a bad one must not stop it all the same.
    send(request.header("access-control-request-headers", "authorization,x-csrf-token").bearer_auth("nonsense")).await
}

/// The listening origin under each name of this machine.
fn own_origins(deployment: &Deployment) -> Vec<String> {
    let (_, port) = deployment.server.url().rsplit_once(':').unwrap();
    ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("http://{host}:{port}")).to_vec()
}

fn lists(answer: &Answer, header: &str) -> Vec<String> {
    answer.header(header).split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_preflight_from_an_allowed_origin_passes_the_auth_layer() {
    let deployment = start(quick()).await;
    for origin in own_origins(&deployment) {
        for (path, method) in [("/private", "GET"), ("/auth/me", "DELETE"), ("/auth/login", "POST"), ("/hello", "GET")]
        {
            let answer = preflight(&deployment, path, &origin, method).await;
            assert!(matches!(answer.status, 200 | 204), "{path}: {}", answer.status);
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), "true", "{path}");
            assert!(lists(&answer, "access-control-allow-methods").contains(&method.to_ascii_lowercase()), "{path}");
            let headers = lists(&answer, "access-control-allow-headers");
            for wanted in
                ["authorization", "content-type", "x-csrf-token", "x-api-key", "x-authv2-organization", "dpop"]
            {
                assert!(headers.iter().any(|header| header == wanted), "{wanted} is not in {headers:?}");
            }
            assert!(lists(&answer, "vary").contains(&"origin".to_owned()), "{:?}", answer.headers);
        }
    }
}

#[tokio::test]
async fn a_preflight_from_elsewhere_is_granted_nothing() {
    let deployment = start(quick()).await;
    for origin in ELSEWHERE {
        let answer = preflight(&deployment, "/auth/me", origin, "GET").await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn an_allowed_page_may_read_the_answer_and_our_headers() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let origin = deployment.server.url();
    for (path, token) in [("/private", &*tokens.access), ("/auth/me", &*tokens.access), ("/auth/me", "nonsense")] {
        let request = deployment.api.request(Method::GET, path).bearer_auth(token).header("origin", origin);
        let answer = send(request).await;
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
        let exposed = lists(&answer, "access-control-expose-headers");
        for wanted in [
            "x-request-id",
            "www-authenticate",
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "x-authv2-revision",
            "dpop-nonce",
        ] {
            assert!(exposed.iter().any(|header| header == wanted), "{wanted} is not in {exposed:?}");
        }
    }
}

#[tokio::test]
async fn a_foreign_page_may_read_nothing() {
    let deployment = start(quick()).await;
    for origin in ELSEWHERE {
        let answer = send(deployment.api.request(Method::GET, "/hello").header("origin", origin)).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test]
async fn answers_differ_by_origin_for_caches_too() {
    let deployment = start(quick()).await;
    for path in ["/hello", "/auth/me", "/.well-known/jwks.json", "/"] {
        let answer = send(deployment.api.request(Method::GET, path)).await;
        let vary: Vec<_> = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect();
        assert!(vary.join(",").to_ascii_lowercase().contains("origin"), "{path}: {vary:?}");
    }
}

#[tokio::test]
async fn the_allowed_origins_can_be_set() {
    let deployment =
        start(quick().with("AUTHV2_ALLOWED_ORIGINS", "https://app.example,https://admin.example:8443")).await;
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://admin.example:8443", true),
        ("https://admin.example", false),
        ("http://app.example", false),
        ("https://app.example.evil.example", false),
        ("https://xapp.example", false),
    ] {
        let answer = preflight(&deployment, "/auth/login", origin, "POST").await;
        assert_eq!(answer.header("access-control-allow-origin") == origin, allowed, "{origin}");
    }
}
