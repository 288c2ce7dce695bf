//! What guessing codes, and asking for mails, comes up against: across tokens, sessions, networks and nodes.

use std::net::Ipv4Addr;

use authv2_tests::{
    client::{Answer, Api},
    postgres::{Database, Postgres},
    server::{Server, Settings},
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{
    fixture::{
        ADA, PASSWORD, Tokens, WRONG, assert_problem, login, post, quick, register, send, set_cookie, sign_in, start,
    },
    mfa_client::{Authenticator, begin, mfa_token, sign_up_with_mfa, step_up, verify},
};

const BOB: &str = "bob@example.org";
const NOBODY: &str = "nobody@example.org";

/// Three servers on one database.
struct Nodes {
    // Ended before their database is dropped.
    servers: Vec<Server>,
    _database: Database,
}

impl Nodes {
    async fn start(settings: impl Fn() -> Settings) -> Self {
        let database = Postgres::shared().fresh_database().await.unwrap();
        let servers = (0..3).map(|_| settings().store(database.url()).start().unwrap()).collect();
        Self { servers, _database: database }
    }

    /// A client of one node after the other, each of a network of its own.
    fn client(&self, number: u8) -> Api {
        let server = &self.servers[usize::from(number) % self.servers.len()];
        Api::from_address(server.url(), Ipv4Addr::new(127, 0, 80, number + 1)).unwrap()
    }
}

fn assert_waits(answer: &Answer, longest: u64) {
    assert_problem(answer, 429, "too_many_attempts");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=longest).contains(&wait), "{wait}");
}

async fn change_password(api: &Api, tokens: &Tokens, current: &str) -> Answer {
    let body = json!({"current_password": current, "new_password": PASSWORD});
    post(api, "/auth/password/change", &tokens.access, body).await
}

#[tokio::test]
async fn wrong_codes_and_passwords_count_once_for_an_account_on_all_nodes() {
    let nodes = Nodes::start(quick).await;
    let (mut authenticator, tokens) = sign_up_with_mfa(&nodes.client(0), ADA).await;
    let (mut of_bob, _) = sign_up_with_mfa(&nodes.client(0), BOB).await;
    let wrong = authenticator.wrong_code();
    for number in 0..10_u8 {
        let api = nodes.client(number);
        match number % 3 {
            0 => {
                let token = begin(&api, ADA).await;
                assert_problem(&verify(&nodes.client(number + 1), &token, &wrong).await, 401, "invalid_code");
            }
            1 => assert_problem(&step_up(&api, &tokens.access, json!({"code": wrong})).await, 401, "invalid_code"),
            _ => assert_problem(&change_password(&api, &tokens, WRONG).await, 403, "wrong_password"),
        }
    }
    // Now the right ones wait as well, with a new token, wherever they come from.
    let code = authenticator.next_code();
    for number in 20..26 {
        let api = nodes.client(number);
        let token = begin(&api, ADA).await;
        assert_waits(&verify(&api, &token, &code).await, 60);
        assert_waits(&step_up(&api, &tokens.access, json!({"code": code})).await, 60);
        assert_waits(&change_password(&api, &tokens, PASSWORD).await, 60);
    }
    // Nobody else does.
    let token = begin(&nodes.client(1), BOB).await;
    assert_eq!(verify(&nodes.client(1), &token, &of_bob.next_code()).await.status, 200);
}

#[tokio::test]
async fn guesses_on_all_nodes_at_once_get_no_more_than_ten_on_each() {
    let nodes = Nodes::start(quick).await;
    let (authenticator, _) = sign_up_with_mfa(&nodes.client(0), ADA).await;
    let wrong = authenticator.wrong_code();
    let clients: Vec<Api> = (0..36).map(|number| nodes.client(number)).collect();
    let tokens = join_all(clients.iter().map(|api| begin(api, ADA))).await;
    let guesses = clients.iter().zip(&tokens).map(|(api, token)| verify(api, token, &wrong));
    let answers = join_all(guesses).await;
    let judged = answers.iter().filter(|answer| answer.code() == "invalid_code").count();
    // Each node counts what is under way on itself.
    assert!((10..=30).contains(&judged), "{judged}");
    for refused in answers.iter().filter(|answer| answer.code() != "invalid_code") {
        assert_problem(refused, 429, "too_many_attempts");
    }
    // They all count, wherever they were judged: from then on everybody waits.
    for api in &clients[..3] {
        let token = begin(api, ADA).await;
        assert_problem(&verify(api, &token, &wrong).await, 429, "too_many_attempts");
    }
}

#[tokio::test]
async fn only_a_completed_sign_in_clears_the_count_of_codes() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, tokens) = sign_up_with_mfa(api, ADA).await;
    let wrong = authenticator.wrong_code();
    let fail = async |times: usize| {
        for _ in 0..times {
            assert_problem(&step_up(api, &tokens.access, json!({"code": wrong})).await, 401, "invalid_code");
        }
    };
    fail(9).await;
    // The right password, and the right code in a session, are none.
    let token = begin(api, ADA).await;
    let right = json!({"code": authenticator.recovery_code()});
    assert_eq!(step_up(api, &tokens.access, right).await.status, 200);
    fail(1).await;
    assert_waits(&step_up(api, &tokens.access, json!({"code": wrong})).await, 60);
    assert_waits(&verify(api, &token, &authenticator.next_code()).await, 60);
    // A user without a second factor clears it by signing in.
    register(api, BOB).await;
    let bob = sign_in(api, BOB).await;
    for _ in 0..9 {
        assert_problem(&change_password(api, &bob, WRONG).await, 403, "wrong_password");
    }
    let bob = sign_in(api, BOB).await;
    for _ in 0..10 {
        assert_problem(&change_password(api, &bob, WRONG).await, 403, "wrong_password");
    }
    assert_waits(&change_password(api, &bob, PASSWORD).await, 60);
}

#[tokio::test]
async fn whoever_guesses_codes_elsewhere_does_not_keep_the_owner_from_a_known_device() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let by_cookie = async |api: &Api, device: &str| {
        let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
        let request = api.request(Method::POST, "/auth/login").header("cookie", format!("authv2_device={device}"));
        send(request.json(&body)).await
    };
    let (device, _) = set_cookie(&by_cookie(api, "").await, "authv2_device").unwrap();
    let tokens = sign_in(api, ADA).await;
    let mut authenticator = Authenticator::enrol(api, &tokens.access).await;
    let wrong = authenticator.wrong_code();
    let stranger = deployment.from(81, 1);
    let theirs = [begin(&stranger, ADA).await, begin(&stranger, ADA).await, begin(&stranger, ADA).await];
    for attempt in 0..10 {
        assert_problem(&verify(&stranger, &theirs[attempt % 2], &wrong).await, 401, "invalid_code");
    }
    let code = authenticator.next_code();
    assert_waits(&verify(&stranger, &theirs[2], &code).await, 60);
    let waiting = mfa_token(&by_cookie(api, &device).await);
    let request = api.request(Method::POST, "/auth/mfa/verify").header("cookie", format!("authv2_device={device}"));
    let completed = send(request.json(&json!({"mfa_token": waiting, "code": code}))).await;
    assert_eq!(completed.status, 200, "{}", completed.text);
    // Which was no amnesty for strangers.
    assert_waits(&verify(&stranger, &theirs[2], &authenticator.recovery_code()).await, 60);
}

async fn ask(api: &Api, path: &str, email: &str) -> Answer {
    post(api, path, "", json!({"email": email})).await
}

#[tokio::test]
async fn an_address_gets_ten_mails_whoever_asks_and_nobody_is_told() {
    let nodes = Nodes::start(quick).await;
    register(&nodes.client(0), ADA).await;
    let server = &nodes.servers[0];
    let paths = ["/auth/password/forgot", "/auth/login/link"];
    let sent = || -> usize {
        let asked_for = |kind: &str| kind == "reset_password" || kind == "sign_in_link";
        nodes.servers.iter().map(|node| node.mails_to(ADA).iter().filter(|mail| asked_for(&mail.kind)).count()).sum()
    };
    for number in 0..10_u8 {
        let path = paths[0];
        for email in [ADA, NOBODY] {
            let answer = ask(&nodes.client(number), path, email).await;
            assert_eq!((answer.status, answer.text.as_str()), (202, "{}"), "{email}");
        }
        super::fixture::eventually(async || sent() > usize::from(number)).await;
    }
    for number in 10..16 {
        for email in [ADA, NOBODY] {
            let answer = ask(&nodes.client(number), "/auth/password/forgot", email).await;
            assert_eq!((answer.status, answer.text.as_str()), (202, "{}"), "{email}");
        }
    }
    // Of each kind: nobody keeps the owner from one by asking for another.
    assert_eq!(ask(&nodes.client(16), paths[1], ADA).await.status, 202);
    super::fixture::eventually(async || sent() > 10).await;
    // Whatever was to be sent has been when a later one is.
    register(&nodes.client(0), BOB).await;
    assert_eq!(ask(&nodes.client(0), paths[0], BOB).await.status, 202);
    super::fixture::eventually(async || {
        nodes.servers.iter().any(|node| node.mails_to(BOB).iter().any(|mail| mail.kind == "reset_password"))
    })
    .await;
    assert_eq!(sent(), 11);
    assert!(server.mails_to(NOBODY).is_empty());
}

#[tokio::test]
async fn a_network_that_asks_for_many_mails_waits_whoever_has_the_addresses() {
    let nodes = Nodes::start(|| quick().with("AUTHV2_THROTTLE__NETWORK_LIMIT", "12")).await;
    register(&nodes.client(50), ADA).await;
    let on_node = |node: usize| Api::from_address(nodes.servers[node].url(), Ipv4Addr::new(127, 0, 82, 1)).unwrap();
    for number in 0..12 {
        let answer = ask(&on_node(number % 3), "/auth/password/forgot", &format!("{number}@example.org")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    for node in 0..3 {
        for (path, email) in [("/auth/password/forgot", ADA), ("/auth/login/link", NOBODY)] {
            assert_waits(&ask(&on_node(node), path, email).await, 60);
        }
    }
    assert_eq!(ask(&nodes.client(51), "/auth/password/forgot", ADA).await.status, 202);
    // It signs in as before.
    assert_eq!(login(&on_node(0), ADA, PASSWORD).await.status, 200);
}
