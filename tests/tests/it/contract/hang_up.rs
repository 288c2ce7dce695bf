//! Clients that hang up: what they asked for is done as a whole or not at all, and the server is fine.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::fixture::{
    ADA, Deployment, PASSWORD, Store, Tokens, assert_problem, get, is_live, login, on_each_store, quick, refresh,
    register, sign_in,
};

on_each_store!(an_abandoned_registration_is_whole_or_absent, an_abandoned_refresh_forks_nothing);

fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Sends the first part of a request, waits a moment, and hangs up: in order, or as a crashed client would.
async fn abandon(deployment: &Deployment, request: &str, sent: usize, wait: Duration, crash: bool) {
    let mut stream = TcpStream::connect(deployment.server.url().trim_start_matches("http://")).await.unwrap();
    stream.write_all(&request.as_bytes()[..sent]).await.unwrap();
    tokio::time::sleep(wait).await;
    if crash {
        stream.set_zero_linger().unwrap();
    } else {
        // The server may have hung up first.
        let _closed = stream.shutdown().await;
    }
}

/// Where a request is cut off, and after what wait: in the head, in the body, before the answer, and in it.
fn cuts(request: &str) -> Vec<(usize, Duration)> {
    let (all, body) = (request.len(), request.find("\r\n\r\n").unwrap() + 4);
    let mut cuts =
        vec![1, body / 2, body - 1, body, body + 5, all - 1].into_iter().map(|cut| (cut, 2)).collect::<Vec<_>>();
    cuts.extend([0, 1, 2, 4, 8, 20].map(|wait| (all, wait)));
    cuts.into_iter().map(|(cut, wait)| (cut, Duration::from_millis(wait))).collect()
}

async fn assert_fine(deployment: &mut Deployment) {
    assert!(deployment.server.is_running().unwrap());
    assert_eq!(get(&deployment.api, "/health/ready", "").await.status, 200);
    assert!(!deployment.server.stderr().contains("panicked"), "{}", deployment.server.stderr());
}

async fn an_abandoned_registration_is_whole_or_absent(store: Store) {
    // The hash costs enough for a client to hang up while it is made.
    let mut deployment = store.deploy(quick().with("AUTHV2_PASSWORD__MEMORY_KIB", "4096")).await;
    for crash in [false, true] {
        let form = request("/auth/register", &json!({"email": "number00@example.org", "password": PASSWORD}));
        for (number, (sent, wait)) in cuts(&form).into_iter().enumerate() {
            let email = format!("number{number:02}@example{}.org", u8::from(crash));
            let body = json!({"email": email, "password": PASSWORD});
            let request = request("/auth/register", &body);
            let sent = if sent == form.len() { request.len() } else { sent };
            abandon(&deployment, &request, sent, wait, crash).await;
            let first = deployment.api.register(&email, PASSWORD).await.unwrap();
            if sent < request.len() {
                assert_eq!(first.status, 201, "half a request made an account: {}", first.text);
            } else if first.status != 201 {
                assert_problem(&first, 409, "email_taken");
            }
            let tokens = sign_in(&deployment.api, &email).await;
            let me = get(&deployment.api, "/auth/me", &tokens.access).await;
            assert_eq!(me.string("/user/email"), email, "{}", me.text);
        }
    }
    assert_fine(&mut deployment).await;
}

async fn an_abandoned_refresh_forks_nothing(store: Store) {
    let mut deployment = store.deploy(quick().with("AUTHV2_SESSION__MAX_PER_USER", "100")).await;
    register(&deployment.api, ADA).await;
    for crash in [false, true] {
        let form = request("/auth/refresh", &json!({"refresh_token": format!("avr_{}", "x".repeat(43))}));
        for (sent, wait) in cuts(&form) {
            let held = Tokens::of(&login(&deployment.api, ADA, PASSWORD).await);
            let request = request("/auth/refresh", &json!({"refresh_token": held.refresh}));
            assert_eq!(request.len(), form.len());
            abandon(&deployment, &request, sent, wait, crash).await;
            // The answer was lost: the client asks again, gets the one successor, and goes on.
            let next = Tokens::of(&refresh(&deployment.api, &held.refresh).await);
            let again = Tokens::of(&refresh(&deployment.api, &held.refresh).await);
            assert_eq!(next.refresh, again.refresh);
            assert_eq!(next.session, held.session);
            let after = Tokens::of(&refresh(&deployment.api, &next.refresh).await);
            assert!(is_live(&deployment.api, &after.access).await);
        }
    }
    assert_fine(&mut deployment).await;
}

#[tokio::test]
async fn many_that_hang_up_at_once_leave_room_for_the_next() {
    let mut deployment = super::fixture::start(quick()).await;
    register(&deployment.api, ADA).await;
    let request = request("/auth/login", &json!({"email": ADA, "password": PASSWORD}));
    let waits = (0..100).map(|number| (number % 7 == 0, Duration::from_micros(number * 50)));
    let all = waits.map(|(crash, wait)| abandon(&deployment, &request, request.len(), wait, crash));
    futures_util::future::join_all(all).await;
    sign_in(&deployment.api, ADA).await;
    assert_fine(&mut deployment).await;
}
