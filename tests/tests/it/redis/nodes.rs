//! Nodes that share a Redis: what one of them left there is not believed against what was heard of since.

use authv2_core::{
    AuthenticationService, Code, Config, Result,
    audit::Origin,
    authentication::{Credentials, Login},
    changes::Change,
    clock::Timestamp,
    id::SessionId,
    principal::Principal,
    secret::Secret,
    store::Transport,
    user::NewAccount,
};
use authv2_tests::{postgres::Postgres, redis::Redis};
use sqlx::{Connection as _, PgConnection};

use super::{EMAIL, now, until};

const PASSWORD: &str = "correct horse battery";

async fn node(database: &str, redis: &str) -> AuthenticationService {
    let mut config = Config::development();
    config.store.url = Secret::from(database);
    config.redis.url = Some(Secret::from(redis));
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    AuthenticationService::builder(config).build().await.unwrap()
}

async fn sign_in(auth: &AuthenticationService) -> (SessionId, String) {
    let transport = Transport::Bearer;
    let login = Login {
        email: EMAIL.into(),
        password: PASSWORD.into(),
        organization: None,
        store: None,
        transport,
        proof: None,
    };
    let signed_in = auth.login(login, &Origin::default()).await.unwrap();
    let Credentials::Tokens { access_token, .. } = signed_in.credentials else { panic!("no token") };
    (signed_in.session.id, access_token.expose().clone())
}

async fn authenticate(auth: &AuthenticationService, token: &str) -> Result<Option<Principal>> {
    let request = http::Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    auth.authenticate(&request).await
}

/// Ends a session behind the nodes' backs: no tombstone is left in Redis. With `told`, the change is in the table.
async fn end(connection: &mut PgConnection, session: SessionId, at: Timestamp, told: bool) {
    let ended = "UPDATE sessions SET revoked_at = $2 WHERE session_id = $1";
    sqlx::query(ended).bind(session.as_uuid()).bind(at.as_micros()).execute(&mut *connection).await.unwrap();
    if told {
        let change = "INSERT INTO changes (at, kind, session_id, user_id)
            SELECT $2, 'session_revoked', session_id, user_id FROM sessions WHERE session_id = $1";
        sqlx::query(change).bind(session.as_uuid()).bind(at.as_micros()).execute(connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_may_be_older_than_a_revocation_is_not_taken() {
    let test = "an_entry_that_may_be_older_than_a_revocation_is_not_taken";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let database = Postgres::shared().fresh_database().await.unwrap();
    let (one, two) = (node(database.url(), redis.url()).await, node(database.url(), redis.url()).await);
    let password = Secret::from(PASSWORD);
    let account = NewAccount { email: EMAIL, password: &password, display_name: None };
    one.register(account, &Origin::default()).await.unwrap();
    let ((untold, kept), (told, ended)) = (sign_in(&one).await, sign_in(&one).await);
    let is_shared = |session: SessionId| redis.cli(&["EXISTS", &super::name(session)]).unwrap() == "1";
    for (session, token) in [(untold, &kept), (told, &ended)] {
        assert!(authenticate(&one, token).await.unwrap().is_some());
        until("the session to be shared", async || is_shared(session)).await;
    }
    let mut connection = PgConnection::connect(database.url()).await.unwrap();

    // What nobody tells of is believed: the entry is there, and would be used.
    end(&mut connection, untold, now(), false).await;
    assert!(authenticate(&two, &kept).await.unwrap().is_some(), "it was not read from Redis");

    let mut news = two.feed().subscribe();
    end(&mut connection, told, now(), true).await;
    until(
        "the other node to hear of it",
        async || matches!(news.recv().await.unwrap(), Change::SessionRevoked { session, .. } if session == told),
    )
    .await;
    assert_eq!(authenticate(&two, &ended).await.unwrap_err().code(), Code::InvalidToken);
    // A node that starts now knows what happened before.
    let three = node(database.url(), redis.url()).await;
    assert!(is_shared(told), "the entry that must not be used is there no longer");
    assert_eq!(authenticate(&three, &ended).await.unwrap_err().code(), Code::InvalidToken);
}
