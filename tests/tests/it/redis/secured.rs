//! The way in: an ACL user with nothing but the rights that the guide names, and TLS.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use authv2_core::{
    clock::SystemClock,
    config::{LimitConfig, RedisConfig},
    limit::{Limiter, Outage, Policy, Rate, Subject, Take},
    master_key::MasterKey,
    store::shared::{RedisError, SharedCache},
};
use authv2_tests::{port, redis::Redis};

use super::{at, begin, connect, member, now, somebody, until, works};

/// A command of the guide that gives the user its rights, word by word: there is one for each kind of set-up.
fn acl(number: usize) -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let guide = fs::read_to_string(guide).unwrap();
    let mut lines = guide.lines().filter(|line| line.starts_with("ACL SETUSER authv2 "));
    let line = lines.nth(number).unwrap().replace('…', "secret");
    line.split_whitespace().map(str::to_owned).collect()
}

/// Lets nobody in but the user of the guide.
pub(super) fn secure(redis: &Redis, lines: &[usize]) {
    for line in lines {
        let words = acl(*line);
        redis.cli(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    redis.cli(&["ACL", "SETUSER", "default", "off"]).unwrap();
}

pub(super) fn as_user(url: &str) -> RedisConfig {
    RedisConfig { username: Some("authv2".into()), password: Some("secret".into()), ..at(url) }
}

/// Everything that a node does with Redis.
pub(super) async fn does_everything(cache: &SharedCache) {
    until("a session to come back", async || works(cache).await).await;
    let (organization, somebody) = somebody();
    cache.put_member(organization, somebody, &member(1, now()), now()).await;
    assert!(cache.member(organization, somebody, now()).await.is_some());
    cache.forget_member(organization, somebody, 2).await;
    assert!(cache.member(organization, somebody, now()).await.is_none());
    let names = MasterKey::from_bytes(&[7; 32]).derive("limit names");
    let limiter = Limiter::new(&LimitConfig::default(), cache.clone(), Arc::new(SystemClock::new()), &names);
    let rate = Rate::new(5, Duration::from_secs(60), None).unwrap();
    let takes = ["a", "b"].map(|name| Take::one(Policy::new("rights", rate), Subject::Other(name)));
    assert!(limiter.take(&takes, Outage::Refuse).await.unwrap().allowed);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    cache.on_wake(move || told.send(()).unwrap_or_default());
    heard.recv().await.unwrap();
    assert!(cache.wake_others().await);
    heard.recv().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_no_more_rights_than_the_guide_gives() {
    let Some(redis) = Redis::start_own_or_skip("needs_no_more_rights_than_the_guide_gives").unwrap() else { return };
    secure(&redis, &[0]);
    let stranger = begin(&at(redis.url())).await;
    assert!(!works(&stranger).await && !stranger.ping().await);
    let wrong = RedisConfig { password: Some("guess".into()), ..as_user(redis.url()) };
    assert!(!works(&begin(&wrong).await).await);
    does_everything(&connect(&as_user(redis.url())).await).await;
    let elsewhere = RedisConfig { key_prefix: "other".to_owned(), ..as_user(redis.url()) };
    let elsewhere = connect(&elsewhere).await;
    assert!(!works(&elsewhere).await && !elsewhere.wake_others().await, "beyond its own keys and channels");
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_with_a_server_of_its_own_ca_and_no_other() {
    let test = "speaks_tls_with_a_server_of_its_own_ca_and_no_other";
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    if !certify(directory.path()) {
        eprintln!("SKIPPED {test}: install openssl");
        return;
    }
    let tls = port::free().unwrap().to_string();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let options = ["--tls-port", &tls, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let _redis = match Redis::start_with(&[&options[..], &["--tls-auth-clients", "no"]].concat()) {
        Ok(redis) => redis,
        Err(error) => {
            eprintln!("SKIPPED {test}: {error}");
            return;
        }
    };
    let url = format!("rediss://localhost:{tls}");
    let trusting = RedisConfig { ca_file: Some(ca.into()), ..at(&url) };
    does_everything(&connect(&trusting).await).await;

    let by_system = at(&url);
    let other_name = RedisConfig { url: Some(format!("rediss://127.0.0.2:{tls}").as_str().into()), ..trusting.clone() };
    let plain = at(&format!("redis://localhost:{tls}"));
    for config in [by_system, other_name, plain] {
        assert!(!works(&begin(&config).await).await, "{config:?}");
    }

    let no_ca = RedisConfig { ca_file: Some(key.into()), ..trusting };
    let refused = SharedCache::connect(&no_ca, &MasterKey::from_bytes(&[7; 32])).await;
    assert!(matches!(refused, Err(RedisError::CaFile(_))));
}

/// Makes a CA, and a certificate for `localhost` by it. False where `openssl` is not installed.
pub(crate) fn certify(directory: &Path) -> bool {
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        ran.is_ok_and(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        })
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    fs::write(directory.join("san"), "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth").unwrap();
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"))
        && openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"))
        && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile san",
        )
}
