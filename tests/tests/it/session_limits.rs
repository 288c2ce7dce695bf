//! Limits of sessions over several nodes: three stores on one database, and sign-ins through all of them at once.

use authv2_core::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::Timestamp,
    id::{SessionId, UserId},
    secret::SecretHash,
    store::{
        DeviceKind, GenerationStore as _, NewSession, NewUser, Opened, OverLimit, Risk, SessionRecord,
        SessionStore as _, Spends, Transport, UserStore as _,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::postgres::Postgres;
use futures_util::future::join_all;

const LIMIT: u32 = 5;
const SIGN_INS: usize = 30;

fn act(action: &'static str) -> Act {
    Act::new(action, Actor::System, now(), &Origin::default())
}

/// One moment for everything: no clock helps to tell sessions apart.
fn now() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000)
}

fn new_session(user: UserId, over_limit: OverLimit) -> NewSession {
    let id = SessionId::new();
    let end = Timestamp::from_seconds(1_700_086_400);
    let record = SessionRecord {
        id,
        user_id: user,
        transport: Transport::Bearer,
        cookie_hash: None,
        created_at: now(),
        auth_time: now(),
        last_seen_at: now(),
        expires_at: end,
        idle_expires_at: end,
        ip: None,
        user_agent: None,
        amr: "pwd".to_owned(),
        acr: "aal1".to_owned(),
        organization: None,
        store: None,
        risk: Risk::Low,
        revoked_at: None,
        generation: 0,
        device: DeviceKind::Other,
        network_changed: false,
        device_changed: false,
        key_thumbprint: None,
    };
    NewSession {
        record,
        refresh: Some(SecretHash::of(id.to_string().as_bytes())),
        max_per_user: LIMIT,
        over_limit,
        network: None,
        device: None,
        browser: None,
        is_held: false,
        verified_hash: None,
        rehashed: None,
        clear: Vec::new(),
        proof: None,
        spends: Spends::default(),
    }
}

async fn user(store: &SqlStore, name: &str) -> UserId {
    let id = UserId::new();
    let new = NewUser {
        id,
        email: name.to_owned(),
        email_key: name.to_owned(),
        display_name: None,
        password_hash: None,
        platform_admin: false,
        count_if_taken: Vec::new(),
    };
    store.create_user(new, act("user.created")).await.unwrap();
    id
}

/// Signs in through all nodes at once; how many were let in.
async fn storm(nodes: &[SqlStore], user: UserId, over_limit: OverLimit) -> usize {
    let sign_ins = (0..SIGN_INS).map(|index| {
        let node = nodes[index % nodes.len()].clone();
        tokio::spawn(async move { node.open_session(new_session(user, over_limit), act("session.login")).await })
    });
    let answers = join_all(sign_ins).await;
    answers.into_iter().filter(|answer| matches!(answer.as_ref().unwrap(), Ok(Opened::New(_)))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hold_over_three_nodes_and_from_generation_to_generation() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let options = SqlOptions {
            migrate_url: Some(database.url().to_owned().into()),
            acquire_timeout: std::time::Duration::from_secs(60),
            ..SqlOptions::new(database.runtime_url().to_owned())
        };
        let node = SqlStore::open(&options, Feed::new()).await.unwrap();
        node.migrate().await.unwrap();
        nodes.push(node);
    }
    let (evicts, rejects) = (user(&nodes[0], "ada@example.test").await, user(&nodes[0], "bob@example.test").await);
    for round in 0..3 {
        let limit = usize::try_from(LIMIT).unwrap();
        assert_eq!(storm(&nodes, evicts, OverLimit::EvictOldest).await, SIGN_INS, "round {round}");
        assert_eq!(storm(&nodes, rejects, OverLimit::Reject).await, limit, "round {round}");
        assert_eq!(storm(&nodes, rejects, OverLimit::Reject).await, 0, "round {round}");
        for node in &nodes {
            for user in [evicts, rejects] {
                assert_eq!(node.sessions_of(user, now()).await.unwrap().len(), limit, "round {round}");
            }
        }
        let ended = nodes[round % 3].revoke_generation(None, act("session.revoked_everything")).await.unwrap();
        assert_eq!(ended, Some(i64::try_from(round).unwrap() + 1));
        for node in &nodes {
            assert_eq!(node.sessions_of(rejects, now()).await.unwrap(), [], "the dead take no place");
        }
    }
}
