//! Mails through an SMTP server that misbehaves: requests go on, every mail arrives once it behaves, none twice.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use authv2_tests::{
    client::Api,
    nodes::{Nodes, Plan},
    server::{Server, Settings},
    smtp::{Letter, Manner, Smtp},
};
use futures_util::future::join_all;
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

fn settings(smtp: &Smtp) -> Settings {
    let quick = [("AUTHV2_PASSWORD__MEMORY_KIB", "8"), ("AUTHV2_PASSWORD__ITERATIONS", "1")];
    quick.into_iter().fold(Settings::new().smtp(smtp), |settings, (name, value)| settings.with(name, value))
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}@example.org")).collect()
}

/// Registers each address; none of it waits for a mail server.
async fn register(api: &Api, addresses: &[String]) {
    for address in addresses {
        let begun = Instant::now();
        assert_eq!(api.register(address, PASSWORD).await.unwrap().status, 201);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// How many mails wait in the outbox of a server on SQLite.
async fn waiting(server: &Server) -> i64 {
    let url = format!("sqlite://{}?mode=ro", server.directory().join("authv2.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM mails").fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

/// Waits until nothing waits any more.
async fn settled(server: &Server) {
    let begun = Instant::now();
    while waiting(server).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "mails wait still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each address was written to exactly once, each time with another id.
fn assert_each_once(letters: &[Letter], addresses: &[String]) {
    let mut to: Vec<_> = letters.iter().map(|letter| letter.to.as_str()).collect();
    to.sort_unstable();
    let mut expected: Vec<_> = addresses.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(to, expected);
    let ids: HashSet<_> = letters.iter().map(|letter| letter.header("message-id")).collect();
    assert_eq!(ids.len(), letters.len());
}

#[tokio::test]
async fn a_message_is_well_formed_and_its_link_works() {
    let smtp = Smtp::start().unwrap();
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    register(&api, &["Zoë@bücher.example".to_owned()]).await;
    let letters = smtp.wait_for(1).await.unwrap();
    let letter = &letters[0];
    assert_eq!((letter.from.as_str(), letter.to.as_str()), ("accounts@service.test", "Zoë@xn--bcher-kva.example"));
    assert_eq!(letter.header("from"), "Accounts <accounts@service.test>");
    assert_eq!(letter.header("subject"), "Confirm your e-mail address");
    assert_eq!(letter.header("auto-submitted"), "auto-generated");
    assert!(letter.header("message-id").ends_with("@service.test>"), "{}", letter.data);
    assert!(letter.header("content-type").starts_with("multipart/alternative"), "{}", letter.data);
    let text = letter.text();
    assert!(text.contains("Content-Type: text/plain") && text.contains("Content-Type: text/html"), "{text}");
    let verified = api.post("/auth/email/verify", "", &json!({"token": letter.token()})).await.unwrap();
    assert_eq!(verified.status, 204, "{}", verified.text);
}

#[tokio::test]
async fn a_server_that_is_down_delays_mails_and_nothing_else() {
    let smtp = Smtp::start_down().unwrap();
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let addresses = addresses(20);
    register(&api, &addresses).await;
    assert_eq!(waiting(&server).await, 20);
    smtp.up().unwrap();
    let letters = smtp.wait_for(20).await.unwrap();
    settled(&server).await;
    assert_each_once(&letters, &addresses);
    assert_each_once(&smtp.letters(), &addresses);
    // Down once more, between two mails over a connection that is kept.
    smtp.down();
    let more = vec!["late@example.org".to_owned()];
    register(&api, &more).await;
    smtp.up().unwrap();
    smtp.wait_for(21).await.unwrap();
    settled(&server).await;
    assert_each_once(&smtp.letters()[20..], &more);
}

#[tokio::test]
async fn a_server_that_refuses_for_now_is_asked_again_at_intervals() {
    let smtp = Smtp::start().unwrap();
    smtp.set(Manner::Later);
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let addresses = addresses(10);
    register(&api, &addresses).await;
    let (begun, before) = (Instant::now(), smtp.tried());
    while begun.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Those that were under way when the first was refused, then one after a second, two, four.
    assert!((1..=before + 8).contains(&smtp.tried()), "{} tries in {:?}", smtp.tried(), begun.elapsed());
    smtp.set(Manner::Take);
    smtp.wait_for(10).await.unwrap();
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses);
    let log = server.stderr();
    assert!(log.contains("a mail waits") && !log.contains("@example.org"), "an address is told: {log}");
}

#[tokio::test]
async fn a_reader_that_is_refused_for_now_holds_up_nobody() {
    let smtp = Smtp::start().unwrap();
    smtp.set(Manner::LaterFor("user0@example.org".to_owned()));
    let server = settings(&smtp).start().unwrap();
    let addresses = addresses(20);
    register(&Api::new(server.url()).unwrap(), &addresses).await;
    smtp.wait_for(19).await.unwrap();
    assert_eq!(waiting(&server).await.min(1), 1, "the one that is refused waits");
    smtp.set(Manner::Take);
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses);
    assert!(!server.stderr().contains("user0@"), "an address is told");
}

#[tokio::test]
async fn a_server_that_relays_for_nobody_loses_no_mail() {
    let smtp = Smtp::start().unwrap();
    smtp.set(Manner::Denied);
    let server = settings(&smtp).start().unwrap();
    let addresses = addresses(3);
    register(&Api::new(server.url()).unwrap(), &addresses).await;
    let begun = Instant::now();
    while smtp.tried() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is tried");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    smtp.set(Manner::Take);
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses);
}

#[tokio::test]
async fn a_reader_that_is_refused_for_good_holds_up_nobody() {
    let smtp = Smtp::start().unwrap();
    smtp.set(Manner::Refuse("user0@example.org".to_owned()));
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let addresses = addresses(5);
    register(&api, &addresses).await;
    smtp.wait_for(4).await.unwrap();
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses[1..]);
    assert_eq!(smtp.tried(), 5, "the refused one is not tried again");
    let log = server.stderr();
    assert!(log.contains("a mail was refused") && !log.contains("user0@"), "an address is told: {log}");
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_message_loses_none() {
    let smtp = Smtp::start().unwrap();
    smtp.set(Manner::HangUp);
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let addresses = addresses(6);
    register(&api, &addresses).await;
    let begun = Instant::now();
    while smtp.tried() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing is tried");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    smtp.set(Manner::Take);
    smtp.wait_for(6).await.unwrap();
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses);
}

#[tokio::test]
async fn a_slow_server_gets_no_mail_twice() {
    let smtp = Smtp::start().unwrap();
    // Longer than a mail is held without being renewed.
    smtp.set(Manner::Slow(Duration::from_secs(33)));
    let server = settings(&smtp).start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let addresses = addresses(2);
    register(&api, &addresses).await;
    smtp.wait_for(2).await.unwrap();
    settled(&server).await;
    assert_each_once(&smtp.letters(), &addresses);
    assert_eq!(smtp.tried(), 2);
}

#[tokio::test]
async fn what_was_asked_for_before_a_crash_is_sent_after_it() {
    let smtp = Smtp::start_down().unwrap();
    let mut server = settings(&smtp).start().unwrap();
    let addresses = addresses(4);
    register(&Api::new(server.url()).unwrap(), &addresses).await;
    let asked = Api::new(server.url()).unwrap();
    let forgot = json!({"email": "user0@example.org"});
    assert_eq!(asked.post("/auth/password/forgot", "", &forgot).await.unwrap().status, 202);
    server.kill_9().unwrap();
    smtp.up().unwrap();
    server.restart().unwrap();
    // What a node that died had in hand is taken by another once the hold has run out.
    smtp.wait_for(5).await.unwrap();
    settled(&server).await;
    let letters = smtp.letters();
    let (resets, rest): (Vec<_>, Vec<_>) =
        letters.into_iter().partition(|letter| letter.text().contains("#reset_password="));
    assert_each_once(&rest, &addresses);
    let reset = json!({"token": resets[0].token(), "new_password": "another horse battery"});
    let done = Api::new(server.url()).unwrap().post("/auth/password/reset", "", &reset).await.unwrap();
    assert_eq!(done.status, 204, "{}", done.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_send_each_mail_once_and_take_each_link_once() {
    let smtp = Smtp::start().unwrap();
    let mut plan = Plan::three();
    plan.settings = plan.settings.smtp(&smtp);
    let Some(nodes) = Nodes::start_or_skip("three nodes that send mails", &plan).await.unwrap() else { return };
    let apis = nodes.apis().unwrap();
    let addresses = addresses(30);
    let registered = join_all(addresses.iter().enumerate().map(|(number, address)| {
        let api = &apis[number % apis.len()];
        async move { api.register(address, PASSWORD).await.unwrap().status }
    }));
    assert!(registered.await.iter().all(|status| *status == 201));
    smtp.wait_for(30).await.unwrap();
    let ada = &addresses[0];
    for (path, redeem, done) in
        [("/auth/login/link", "/auth/login/link/redeem", 200), ("/auth/password/forgot", "/auth/password/reset", 204)]
    {
        let before = smtp.letters().len();
        assert_eq!(apis[0].post(path, "", &json!({"email": ada})).await.unwrap().status, 202);
        let token = smtp.wait_for(before + 1).await.unwrap()[before].token();
        let body = match done {
            204 => json!({"token": token, "new_password": "another horse battery"}),
            _ => json!({"token": token}),
        };
        let answers = join_all((0..9).map(|try_| apis[try_ % apis.len()].post(redeem, "", &body))).await;
        let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == done).count(), 1, "{redeem}: {statuses:?}");
        assert!(statuses.iter().all(|status| [done, 401].contains(status)), "{redeem}: {statuses:?}");
    }
    let verifications: Vec<_> =
        smtp.letters().into_iter().filter(|letter| letter.header("subject").starts_with("Confirm")).collect();
    assert_each_once(&verifications, &addresses);
}
