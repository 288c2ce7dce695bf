//! Access tokens revoked one by one, and by generations: on this node at once, on others soon, after a restart still.

use std::time::Duration;

use authv2_core::{
    AuthenticationService, Code, Config, ErrorKind,
    audit::{Actor, Origin},
    authentication::{Credentials, Login},
    clock::Timestamp,
    id::{OrgId, SessionId, TokenId, UserId},
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use authv2_tests::postgres::Postgres;
use sqlx::{Connection as _, Executor as _, PgConnection};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

fn config(url: &str) -> Config {
    let mut config = Config::development();
    config.store.url = Secret::from(url);
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    config
}

async fn node(config: Config) -> AuthenticationService {
    AuthenticationService::builder(config).build().await.unwrap()
}

struct Signed {
    user: UserId,
    session: SessionId,
    access: String,
    token: TokenId,
    expires_at: Timestamp,
}

async fn register(auth: &AuthenticationService) {
    let password = Secret::from(PASSWORD);
    let account = NewAccount { email: EMAIL, password: &password, display_name: None };
    auth.register(account, &Origin::default()).await.unwrap();
}

async fn sign_in(auth: &AuthenticationService, organization: Option<&str>) -> Signed {
    let login = Login {
        email: EMAIL.into(),
        password: PASSWORD.into(),
        organization: organization.map(str::to_owned),
        store: None,
        transport: Transport::Bearer,
        proof: None,
    };
    let signed_in = auth.login(login, &Origin::default()).await.unwrap();
    let Credentials::Tokens { access_token, .. } = signed_in.credentials else { panic!("no token") };
    let access = access_token.expose().clone();
    let claims = auth.jwt().verify(&access, auth.now()).unwrap();
    let token: TokenId = claims.jti.parse().expect("what is minted is named by an id");
    assert_eq!(token.as_uuid().get_version_num(), 7);
    assert_eq!(claims.token_id(), token);
    Signed { user: signed_in.user.id, session: signed_in.session.id, access, token, expires_at: claims.exp }
}

async fn is_live(auth: &AuthenticationService, access: &str) -> bool {
    verdict(auth, access).await.expect("no outage")
}

/// Whether a token is good; none while nobody can say.
async fn verdict(auth: &AuthenticationService, access: &str) -> Option<bool> {
    let request = http::Request::builder().header("authorization", format!("Bearer {access}")).body(()).unwrap();
    match auth.authenticate(&request).await {
        Ok(principal) => Some(principal.is_some()),
        Err(error) if error.kind() == ErrorKind::Unavailable => None,
        Err(error) => {
            assert_eq!(error.code(), Code::InvalidToken, "{error:?}");
            Some(false)
        }
    }
}

async fn revoke(auth: &AuthenticationService, signed: &Signed) -> bool {
    auth.revoke_token(signed.token, signed.expires_at, Actor::User(signed.user), &Origin::default()).await.unwrap()
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(40), "it has not come to hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_its_session_goes_on() {
    let auth = node(config("sqlite::memory:")).await;
    register(&auth).await;
    let (gone, kept) = (sign_in(&auth, None).await, sign_in(&auth, None).await);
    assert!(is_live(&auth, &gone.access).await && is_live(&auth, &kept.access).await);
    assert!(revoke(&auth, &gone).await);
    assert!(!is_live(&auth, &gone.access).await, "at once");
    assert!(!revoke(&auth, &gone).await, "once");
    assert!(is_live(&auth, &kept.access).await);
    let sessions = auth.sessions().list(gone.user, gone.session).await.unwrap();
    assert!(sessions.iter().any(|session| session.id == gone.session), "its refresh token is still good");
}

#[tokio::test]
async fn a_restart_revives_no_revoked_token() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/authv2.db", directory.path().display());
    let auth = node(config(&url)).await;
    register(&auth).await;
    let (gone, kept) = (sign_in(&auth, None).await, sign_in(&auth, None).await);
    assert!(revoke(&auth, &gone).await);
    auth.shut_down().await;
    drop(auth);
    let auth = node(config(&url)).await;
    assert!(!is_live(&auth, &gone.access).await);
    assert!(is_live(&auth, &kept.access).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_refuses_a_revoked_token_within_the_feeds_bound() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let (one, two) = (node(config(database.url())).await, node(config(database.url())).await);
    register(&one).await;
    for (here, there) in [(&one, &two), (&two, &one)] {
        let signed = sign_in(here, None).await;
        assert!(is_live(there, &signed.access).await);
        assert!(revoke(here, &signed).await);
        assert!(!is_live(here, &signed.access).await);
        eventually(async || !is_live(there, &signed.access).await).await;
    }
}

/// Behind the feed's back: only who asks the store knows.
async fn revoke_untold(connection: &mut PgConnection, signed: &Signed) {
    sqlx::query("INSERT INTO revoked_tokens (token_id, expires_at) VALUES ($1, $2)")
        .bind(signed.token.as_uuid())
        .bind(signed.expires_at.as_micros())
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_missed_is_read_anew() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let auth = node(config(database.url())).await;
    register(&auth).await;
    let signed = sign_in(&auth, None).await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    revoke_untold(&mut connection, &signed).await;
    assert!(is_live(&auth, &signed.access).await, "what follows would prove nothing");
    connection.execute("INSERT INTO changes (at, kind) VALUES (1, 'of_a_newer_build')").await.unwrap();
    eventually(async || !is_live(&auth, &signed.access).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_feed_is_stale_the_store_is_asked_and_an_outage_is_no_denial() {
    let test = "while_the_feed_is_stale_the_store_is_asked_and_an_outage_is_no_denial";
    let Some(server) = Postgres::start_own_or_skip(test).unwrap() else { return };
    let database = server.fresh_database().await.unwrap();
    let mut config = config(database.url());
    config.changes.max_staleness = Duration::from_secs(2);
    config.store.acquire_timeout = Duration::from_secs(1);
    let auth = node(config).await;
    register(&auth).await;
    let (gone, kept) = (sign_in(&auth, None).await, sign_in(&auth, None).await);
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    revoke_untold(&mut connection, &gone).await;
    // Nobody can read the changes from here on; everything else can be read.
    connection.execute("ALTER TABLE changes RENAME TO hidden").await.unwrap();
    // Its failures open the breaker once in a while, and then nobody can say.
    eventually(async || verdict(&auth, &gone.access).await == Some(false)).await;
    eventually(async || verdict(&auth, &kept.access).await == Some(true)).await;
    drop((connection, database, server));
    let request = http::Request::builder().header("authorization", format!("Bearer {}", kept.access)).body(()).unwrap();
    let error = auth.authenticate(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn ending_all_sessions_of_a_user_refuses_their_access_tokens() {
    let auth = node(config("sqlite::memory:")).await;
    register(&auth).await;
    let (first, kept) = (sign_in(&auth, None).await, sign_in(&auth, None).await);
    assert!(is_live(&auth, &first.access).await && is_live(&auth, &kept.access).await);
    assert_eq!(auth.sessions().revoke_all(first.user, Some(kept.session), &Origin::default()).await.unwrap(), 1);
    assert!(!is_live(&auth, &first.access).await);
    assert!(is_live(&auth, &kept.access).await);
}

async fn found(auth: &AuthenticationService, signed: &Signed, slug: &str) -> OrgId {
    let request = http::Request::builder()
        .method("POST")
        .uri("/auth/orgs")
        .header("authorization", format!("Bearer {}", signed.access))
        .header("content-type", "application/json")
        .body(format!(r#"{{"slug":"{slug}","name":"{slug}"}}"#))
        .unwrap();
    let response = authv2_core::api::Api::new(auth.clone()).call(request).await;
    assert_eq!(response.status(), 201);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    answer["organization"]["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn ending_the_sessions_in_an_organization_refuses_their_access_tokens() {
    let auth = node(config("sqlite::memory:")).await;
    register(&auth).await;
    let outside = sign_in(&auth, None).await;
    let acme = found(&auth, &outside, "acme").await;
    let inside = sign_in(&auth, Some("acme")).await;
    assert!(is_live(&auth, &inside.access).await);
    assert!(auth.sessions().revoke_organization(acme, Actor::System, &Origin::default()).await.unwrap());
    assert!(!is_live(&auth, &inside.access).await);
    assert!(is_live(&auth, &outside.access).await);
    let later = sign_in(&auth, Some("acme")).await;
    assert!(is_live(&auth, &later.access).await, "later ones are not touched");
}

#[tokio::test]
async fn ending_every_session_refuses_every_access_token() {
    let auth = node(config("sqlite::memory:")).await;
    register(&auth).await;
    let before = sign_in(&auth, None).await;
    assert!(is_live(&auth, &before.access).await);
    auth.sessions().revoke_everything(Actor::System, &Origin::default()).await.unwrap();
    assert!(!is_live(&auth, &before.access).await);
    let after = sign_in(&auth, None).await;
    assert!(is_live(&auth, &after.access).await, "later ones are not touched");
}
