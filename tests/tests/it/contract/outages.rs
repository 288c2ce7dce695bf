//! What still works while the database or Redis does not answer, and what says so: the rows of "When something is down"
//! in the guide to operations.

use std::time::{Duration, Instant};

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
    redis::Redis,
    server::Server,
};
use reqwest::Method;
use serde_json::json;

use super::fixture::{
    ADA, PASSWORD, Tokens, assert_problem, call, eventually, get, login, post, quick, refresh, sign_in, sign_up,
};

/// What the servers here are told to wait for an answer, and how old memory may be.
const PATIENCE: Duration = Duration::from_secs(1);
const STALENESS: Duration = Duration::from_secs(6);
/// What a busy machine may add to any of it.
const SLACK: Duration = Duration::from_secs(2);

struct World {
    postgres: Postgres,
    redis: Redis,
    _server: Server,
    api: Api,
    /// Used on this node, and in an organization.
    warm: Tokens,
    /// Never used yet.
    cold: Tokens,
}

impl World {
    async fn start(test: &str) -> Option<Self> {
        let postgres = Postgres::start_own_or_skip(test).unwrap()?;
        let redis = Redis::start_own_or_skip(test).unwrap()?;
        let database = postgres.fresh_database().await.unwrap();
        let server = quick()
            .store(database.url())
            .with("AUTHV2_REDIS__URL", redis.url())
            .with("AUTHV2_STORE__ACQUIRE_TIMEOUT", PATIENCE.as_secs().to_string())
            .with("AUTHV2_CHANGES__MAX_STALENESS", STALENESS.as_secs().to_string())
            .start()
            .unwrap();
        // Dropping it would want an answer of a frozen server.
        std::mem::forget(database);
        let api = Api::new(server.url()).unwrap();
        let first = sign_up(&api, ADA).await;
        let founded = post(&api, "/auth/orgs", &first.access, json!({"slug": "acme", "name": "Acme"})).await;
        assert_eq!(founded.status, 201, "{}", founded.text);
        let body = json!({"email": ADA, "password": PASSWORD, "organization": "acme"});
        let warm = Tokens::of(&post(&api, "/auth/login", "", body).await);
        let cold = sign_in(&api, ADA).await;
        let world = Self { postgres, redis, _server: server, api, warm, cold };
        assert_eq!(world.decide().await.status, 200);
        assert_eq!(get(&world.api, "/private", &world.warm.access).await.status, 200);
        Some(world)
    }

    async fn decide(&self) -> Answer {
        post(&self.api, "/auth/permissions/check", &self.warm.access, json!({"permission": "orders:read"})).await
    }

    async fn health(&self, component: &str) -> (u16, String, String) {
        let answer = get(&self.api, "/health/ready", "").await;
        let field = |name: &str| answer.string(&format!("/components/{component}/{name}")).to_owned();
        (answer.status, field("status"), field("circuit"))
    }

    /// Every request that must ask the store, with how long each was waited for.
    async fn that_ask_the_store(&self) -> Vec<(&'static str, Answer, Duration)> {
        let mut answers = Vec::new();
        let new = json!({"email": "new@example.org", "password": PASSWORD});
        macro_rules! ask {
            ($name:literal, $answer:expr) => {
                let begun = Instant::now();
                let answer = $answer.await;
                answers.push(($name, answer, begun.elapsed()));
            };
        }
        ask!("a session not seen", get(&self.api, "/private", &self.cold.access));
        ask!("signing in", login(&self.api, ADA, PASSWORD));
        ask!("refreshing", refresh(&self.api, &self.cold.refresh));
        ask!("registering", post(&self.api, "/auth/register", "", new));
        ask!("signing out", post(&self.api, "/auth/logout", &self.cold.access, json!({})));
        ask!("listing sessions", get(&self.api, "/auth/sessions", &self.warm.access));
        ask!("founding", post(&self.api, "/auth/orgs", &self.warm.access, json!({"slug": "b", "name": "B"})));
        answers
    }

    async fn serves_without_the_store(&self) {
        for path in ["/hello", "/.well-known/jwks.json", "/openapi.json", "/health/live"] {
            assert_eq!(get(&self.api, path, "").await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn while_the_database_does_not_answer() {
    let Some(mut world) = World::start("while_the_database_does_not_answer").await else { return };
    let frozen = Instant::now();
    world.postgres.freeze().unwrap();
    // From memory: what this node has seen, as long as it may trust that.
    let (session, decision) = (get(&world.api, "/private", &world.warm.access).await, world.decide().await);
    // The last reading was begun up to a second and a quarter before that.
    if frozen.elapsed() < STALENESS - Duration::from_secs(2) {
        assert_eq!((session.status, decision.status), (200, 200), "{} {}", session.text, decision.text);
    }
    for (name, answer, took) in world.that_ask_the_store().await {
        assert_problem(&answer, 503, "unavailable");
        assert!(!answer.header("retry-after").is_empty(), "{name}");
        assert!(took < PATIENCE + SLACK, "{name}: {took:?}");
    }
    world.serves_without_the_store().await;
    eventually(async || world.health("store").await == (503, "down".into(), "open".into())).await;
    // Nobody waits for a time-out now, but the one who tries.
    let begun = Instant::now();
    for _ in 0..50 {
        assert_problem(&login(&world.api, ADA, PASSWORD).await, 503, "unavailable");
    }
    assert!(begun.elapsed() < PATIENCE * 4 + SLACK, "{:?}", begun.elapsed());
    // What others may have changed is not known any longer: nobody is let in on what is at hand, nor refused for it.
    tokio::time::sleep((STALENESS + Duration::from_millis(100)).saturating_sub(frozen.elapsed())).await;
    for answer in [get(&world.api, "/private", &world.warm.access).await, world.decide().await] {
        assert_problem(&answer, 503, "unavailable");
    }
    assert_eq!(world.health("revocation_feed").await.1, "down");

    world.postgres.thaw().unwrap();
    eventually(async || get(&world.api, "/private", &world.warm.access).await.status == 200).await;
    eventually(async || get(&world.api, "/private", &world.cold.access).await.status == 200).await;
    eventually(async || world.health("store").await == (200, "ok".into(), "closed".into())).await;
    assert_eq!(refresh(&world.api, &world.warm.refresh).await.status, 200, "nobody was signed out");
    sign_in(&world.api, ADA).await;
}

#[tokio::test]
async fn while_redis_does_not_answer() {
    let Some(mut world) = World::start("while_redis_does_not_answer").await else { return };
    assert_eq!(world.health("cache").await, (200, "ok".into(), "closed".into()));
    world.redis.freeze().unwrap();
    assert_eq!(get(&world.api, "/private", &world.warm.access).await.status, 200);
    assert_eq!(world.decide().await.status, 200);
    for (name, answer, took) in world.that_ask_the_store().await {
        assert!([200, 201, 204].contains(&answer.status), "{name}: {}", answer.text);
        assert!(took < PATIENCE + SLACK, "{name}: {took:?}");
    }
    world.serves_without_the_store().await;
    // Each look at a session that this node has not seen would ask Redis, until the breaker opens.
    eventually(async || {
        let tokens = sign_in(&world.api, ADA).await;
        assert_eq!(get(&world.api, "/private", &tokens.access).await.status, 200);
        world.health("cache").await == (200, "degraded".into(), "open".into())
    })
    .await;
    let ended =
        call(&world.api, Method::DELETE, &format!("/auth/sessions/{}", world.warm.session), &world.warm.access).await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    assert_problem(&get(&world.api, "/private", &world.warm.access).await, 401, "invalid_token");
    world.redis.thaw().unwrap();
    eventually(async || world.health("cache").await == (200, "ok".into(), "closed".into())).await;
}
