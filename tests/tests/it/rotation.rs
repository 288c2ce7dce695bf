//! Signing keys that rotate by schedule on two nodes while tokens are made and used, and nodes die.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use authv2_tests::{
    client::Api,
    postgres::Postgres,
    server::{Server, Settings},
};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};
use serde_json::Value;

use crate::contract::{
    fixture::{get, login, quick, register},
    signing_keys::kid,
};

const LIFE: Duration = Duration::from_secs(3);
/// How long before its end a token is not looked at anymore: the request takes its time.
const CLOSE: Duration = Duration::from_millis(700);
const EMAIL: &str = "ada@example.org";

fn settings(url: &str) -> Settings {
    quick()
        .store(url)
        .with("AUTHV2_TOKENS__ACCESS_TTL", LIFE.as_secs().to_string())
        .with("AUTHV2_TOKENS__JWKS_MAX_AGE", "1")
        .with("AUTHV2_TOKENS__ROTATION_INTERVAL", "4")
        .with("AUTHV2_CHANGES__MAX_STALENESS", "2")
        .with("AUTHV2_SESSION__MAX_PER_USER", "10000")
        .with("AUTHV2_ISSUER", "http://rotation.test")
}

/// A verifier elsewhere, which trusts its copy of the keys for as long as it was told.
#[derive(Default)]
struct Outside(Option<(JwkSet, Instant)>);

impl Outside {
    async fn verify(&mut self, api: &Api, token: &str) {
        if self.0.as_ref().is_none_or(|(_, until)| Instant::now() >= *until) {
            let asked = Instant::now();
            let jwks = get(api, "/.well-known/jwks.json", "").await;
            let max_age = jwks.header("cache-control").rsplit('=').next().unwrap().parse().unwrap();
            let keys = serde_json::from_str(&jwks.text).unwrap();
            self.0 = Some((keys, asked + Duration::from_secs(max_age)));
        }
        let (keys, _) = self.0.as_ref().unwrap();
        let key = keys.find(&kid(token)).unwrap_or_else(|| panic!("no key {} in {keys:?}", kid(token)));
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["http://rotation.test"]);
        decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
    }
}

/// Makes tokens and uses every live one on every node, for some time; the keys that signed.
async fn traffic(nodes: &[&Api], outside: &mut Outside, time: Duration) -> BTreeSet<String> {
    let (begun, mut kids) = (Instant::now(), BTreeSet::new());
    let mut tokens: HashMap<String, Instant> = HashMap::new();
    while begun.elapsed() < time {
        for api in nodes {
            let asked = Instant::now();
            let answer = login(api, EMAIL, crate::contract::fixture::PASSWORD).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.json["expires_in"], LIFE.as_secs());
            let token = answer.string("/access_token").to_owned();
            kids.insert(kid(&token));
            // At once, by whoever does not know more than its copy tells.
            outside.verify(api, &token).await;
            tokens.insert(token, asked + LIFE - CLOSE);
        }
        tokens.retain(|_, until| Instant::now() < *until);
        let uses = nodes.iter().flat_map(|api| tokens.iter().map(move |(token, until)| (api, token, *until)));
        join_all(uses.map(|(api, token, until)| async move {
            let answer = get(api, "/private", token).await;
            let is_refused = answer.status != 200 && Instant::now() < until + CLOSE / 2;
            assert!(!is_refused, "a live token of {} is refused: {}", kid(token), answer.text);
        }))
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kids
}

fn api(server: &Server) -> Api {
    Api::new(server.url()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_notices_that_keys_rotate_and_that_the_nodes_that_rotate_them_die() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let mut servers = [settings(database.url()).start().unwrap(), settings(database.url()).start().unwrap()];
    let mut outside = Outside::default();
    register(&api(&servers[0]), EMAIL).await;
    let (one, two) = (api(&servers[0]), api(&servers[1]));
    let mut kids = traffic(&[&one, &two], &mut outside, Duration::from_secs(10)).await;
    assert!(kids.len() >= 2, "{kids:?}");
    // Whichever of them looks after the keys: each is killed once, and the other goes on alone.
    for (killed, survivor) in [(0, 1), (1, 0)] {
        servers[killed].kill_9().unwrap();
        let alone = api(&servers[survivor]);
        kids.extend(traffic(&[&alone], &mut outside, Duration::from_secs(6)).await);
        servers[killed].restart().unwrap();
    }
    let before = kids.len();
    let (one, two) = (api(&servers[0]), api(&servers[1]));
    // A lease that a dead node held is over by then.
    let begun = Instant::now();
    while kids.len() <= before {
        assert!(begun.elapsed() < Duration::from_secs(40), "nobody rotates anymore");
        kids.extend(traffic(&[&one, &two], &mut outside, Duration::from_secs(2)).await);
    }
}
