//! `kill -9` in the middle of the work: what was acknowledged is there after the restart, and no token forks.

use std::{
    env,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use authv2_tests::{
    client::Api,
    fuzz::Nonsense,
    postgres::Postgres,
    server::{Server, Settings},
};
use futures_util::future::join_all;

const PASSWORD: &str = "correct horse battery";
/// Clients that register one account after the other, and clients that refresh one token after the other.
const REGISTERING: usize = 8;
const REFRESHING: usize = 8;
/// What all clients together set out to do.
const OPERATIONS: usize = 1_000;

/// Counts what the server has acknowledged.
#[derive(Debug, Clone, Default)]
struct Acknowledged(Arc<AtomicUsize>);

impl Acknowledged {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many are acknowledged, or until nothing has come for a while: the clients have ended early.
    async fn reach(&self, wanted: usize) {
        let mut last = (0, tokio::time::Instant::now());
        while self.0.load(Ordering::SeqCst) < wanted {
            let now = self.0.load(Ordering::SeqCst);
            if now != last.0 {
                last = (now, tokio::time::Instant::now());
            }
            assert!(last.1.elapsed() < Duration::from_secs(20), "stuck at {now} of {wanted} acknowledgements");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An address for each client, so that no limit by network stands between the test and the crash.
fn client(server: &Server, number: usize) -> Api {
    let number = u8::try_from(number + 1).unwrap();
    Api::from_address(server.url(), Ipv4Addr::new(127, 0, 7, number)).unwrap()
}

/// Registers until the server is gone; the addresses that it acknowledged.
async fn register_on(api: Api, round: usize, number: usize, acknowledged: Acknowledged) -> Vec<String> {
    let mut done = Vec::new();
    for turn in 0..OPERATIONS / 2 / REGISTERING {
        let email = format!("r{round}c{number}t{turn}@example.org");
        match api.register(&email, PASSWORD).await {
            Ok(answer) if answer.status == 201 => {
                acknowledged.add();
                done.push(email);
            }
            // Shed or throttled is not acknowledged; anything else is a defect.
            Ok(answer) if matches!(answer.status, 429 | 503) => {}
            Ok(answer) => panic!("registering answered {}: {}", answer.status, answer.text),
            Err(_) => break,
        }
    }
    done
}

/// Refreshes until the server is gone; the last refresh token that it gave out.
async fn refresh_on(api: Api, mut token: String, acknowledged: Acknowledged) -> String {
    for _ in 0..OPERATIONS / 2 / REFRESHING {
        match api.refresh(&token).await {
            Ok(answer) if answer.status == 200 => {
                acknowledged.add();
                answer.string("/refresh_token").clone_into(&mut token);
            }
            Ok(answer) if matches!(answer.status, 429 | 503) => {}
            Ok(answer) => panic!("refreshing answered {}: {}", answer.status, answer.text),
            Err(_) => break,
        }
    }
    token
}

/// Accounts with a session each, for the clients that refresh.
async fn sessions(server: &Server, round: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..REFRESHING {
        let api = client(server, REGISTERING + number);
        let email = format!("session{round}c{number}@example.org");
        assert_eq!(api.register(&email, PASSWORD).await.unwrap().status, 201);
        let answer = api.login(&email, PASSWORD).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        tokens.push(answer.string("/refresh_token").to_owned());
    }
    tokens
}

/// The last token that a client saw is live, or was used by the request that the crash cut off and gives its one
/// successor again.
async fn check_family(api: &Api, token: &str) {
    let first = api.refresh(token).await.unwrap();
    assert_eq!(first.status, 200, "an acknowledged refresh token is lost: {}", first.text);
    let again = api.refresh(token).await.unwrap();
    assert_eq!(again.status, 200, "{}", again.text);
    let successor = first.string("/refresh_token");
    assert_eq!(again.string("/refresh_token"), successor, "a refresh token has two successors");
    assert_eq!(api.get("/auth/me", first.string("/access_token")).await.unwrap().status, 200);

    let next = api.refresh(successor).await.unwrap();
    assert_eq!(next.status, 200, "{}", next.text);
    let forked = api.refresh(token).await.unwrap();
    assert_eq!(forked.status, 401, "a token whose successor is used was taken again: {}", forked.text);
    assert_eq!(api.refresh(next.string("/refresh_token")).await.unwrap().status, 200);
}

async fn check_accounts(server: &Server, number: usize, emails: &[String]) {
    let api = client(server, number);
    for email in emails {
        let answer = api.login(email, PASSWORD).await.unwrap();
        assert_eq!(answer.status, 200, "the acknowledged registration of {email} is lost: {}", answer.text);
    }
}

async fn crash_once(server: &mut Server, round: usize, nonsense: &mut Nonsense) {
    let tokens = sessions(server, round).await;
    let acknowledged = Acknowledged::default();
    let registering: Vec<_> = (0..REGISTERING)
        .map(|number| tokio::spawn(register_on(client(server, number), round, number, acknowledged.clone())))
        .collect();
    let refreshing: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(number, token)| {
            tokio::spawn(refresh_on(client(server, REGISTERING + number), token, acknowledged.clone()))
        })
        .collect();

    // Refreshes are far quicker than registrations, which hash: past them, only registrations would be cut off.
    acknowledged.reach(50 + nonsense.below(OPERATIONS * 2 / 5)).await;
    server.kill_9().unwrap();
    let emails: Vec<Vec<String>> = join_all(registering).await.into_iter().map(Result::unwrap).collect();
    let tokens: Vec<String> = join_all(refreshing).await.into_iter().map(Result::unwrap).collect();

    server.restart().unwrap();
    // The tokens first: the grace window of the cut-off refreshes is ten seconds long.
    let clients: Vec<Api> = (0..tokens.len()).map(|number| client(server, REGISTERING + number)).collect();
    join_all(clients.iter().zip(&tokens).map(|(api, token)| check_family(api, token))).await;
    let server = &*server;
    join_all(emails.iter().enumerate().map(|(number, emails)| check_accounts(server, number, emails))).await;
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

async fn crashes(settings: Settings) {
    let rounds = if env::var_os("AUTHV2_TEST_LONG").is_some() { 10 } else { 1 };
    let mut nonsense = Nonsense::from_environment();
    println!("seed {}", nonsense.seed());
    let mut server = settings.start().unwrap();
    for round in 0..rounds {
        crash_once(&mut server, round, &mut nonsense).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_acknowledged_on_sqlite() {
    crashes(Settings::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_acknowledged_on_postgres() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    crashes(Settings::new().store(database.url())).await;
}
