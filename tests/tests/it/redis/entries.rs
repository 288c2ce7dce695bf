//! What comes back from Redis, and what is believed of it.

use std::time::Duration;

use authv2_core::{
    master_key::MasterKey,
    store::{
        Redacted,
        shared::{BURIED_FOR, MAX_AGE, Shared, SharedCache},
    },
};
use authv2_tests::redis::Redis;

use super::{EMAIL, at, connect, fresh, member, name, now, session, somebody, works};

#[tokio::test(flavor = "multi_thread")]
async fn gives_back_what_was_put_but_for_the_password_hash() {
    let test = "gives_back_what_was_put_but_for_the_password_hash";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    gives_back_what_was_put(&redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_unchanged_on_valkey() {
    let Some(valkey) = Redis::start_valkey_or_skip("works_unchanged_on_valkey").unwrap() else { return };
    gives_back_what_was_put(&valkey).await;
}

async fn gives_back_what_was_put(redis: &Redis) {
    let cache = connect(&at(redis.url())).await;
    let other_node = connect(&at(redis.url())).await;
    for key in [fresh(), fresh()] {
        assert_eq!(cache.session(key, now()).await, None);
        let entry = session(3, now());
        cache.put_session(key, &entry, now()).await;
        let (record, user) = other_node.session(key, now()).await.unwrap().value;
        let (put_record, mut put_user) = entry.value;
        assert!(put_user.password_hash.take().is_some_and(|Redacted(hash)| hash.starts_with("$argon2")));
        assert_eq!((record, user), (put_record, put_user));
        cache.bury_session(key, now()).await;
        assert_eq!(other_node.session(key, now()).await, None);
    }
    let (organization, somebody) = somebody();
    let entry = member(5, now());
    cache.put_member(organization, somebody, &entry, now()).await;
    assert_eq!(other_node.member(organization, somebody, now()).await, Some(entry));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_redis_learns_nothing_and_an_entry_is_small() {
    let test = "whoever_reads_redis_learns_nothing_and_an_entry_is_small";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let key = fresh();
    cache.put_session(key, &session(1, now()), now()).await;
    let raw = redis.cli(&["GET", &name(key)]).unwrap();
    for word in [EMAIL, "Ada", "192.0.2.1", "Mozilla", "argon2", "4711"] {
        assert!(!raw.contains(word), "{word}");
    }
    let (organization, somebody) = somebody();
    cache.put_member(organization, somebody, &member(1, now()), now()).await;
    let member = format!("authv2:member:{{{organization}:{somebody}}}");
    for (name, most) in [(name(key), 800), (member, 400)] {
        let bytes: u32 = redis.cli(&["MEMORY", "USAGE", &name]).unwrap().parse().unwrap();
        assert!(bytes <= most, "{name}: {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_changed_or_made_by_others_is_a_miss() {
    let test = "what_was_moved_changed_or_made_by_others_is_a_miss";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let (key, other) = (fresh(), fresh());
    let put = async || cache.put_session(key, &session(1, now()), now()).await;
    put().await;
    assert!(cache.session(key, now()).await.is_some());

    let strange = SharedCache::connect(&at(redis.url()), &MasterKey::from_bytes(&[8; 32])).await.unwrap();
    assert_eq!(strange.session(key, now()).await, None, "of another deployment");

    redis.cli(&["COPY", &name(key), &name(other)]).unwrap();
    assert_eq!(cache.session(other, now()).await, None, "moved to another session");

    let length: usize = redis.cli(&["STRLEN", &name(key)]).unwrap().parse().unwrap();
    for offset in [0, 1, 8, 9, 16, 17, 28, 29, length / 2, length - 1] {
        redis.cli(&["DEL", &name(key)]).unwrap();
        put().await;
        redis.cli(&["EVAL", FLIP, "1", &name(key), &offset.to_string()]).unwrap();
        assert_eq!(cache.session(key, now()).await, None, "byte {offset} changed");
    }
    for garbage in ["", "x", "{\"session\":\"admin\"}"] {
        redis.cli(&["SET", &name(key), garbage]).unwrap();
        assert_eq!(cache.session(key, now()).await, None, "{garbage}");
    }
    redis.cli(&["DEL", &name(key)]).unwrap();
    redis.cli(&["HSET", &name(key), "field", "value"]).unwrap();
    assert_eq!(cache.session(key, now()).await, None, "no text at all");
    assert!(works(&cache).await, "none of it opens the breaker");
}

/// Changes the lowest bit of the byte at ARGV 1.
const FLIP: &str = "local byte = redis.call('GETRANGE', KEYS[1], ARGV[1], ARGV[1]):byte() \
                    return redis.call('SETRANGE', KEYS[1], ARGV[1], string.char(bit.bxor(byte, 1)))";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_overwrites_a_tombstone() {
    let Some(redis) = Redis::start_own_or_skip("nothing_overwrites_a_tombstone").unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let key = fresh();
    cache.put_session(key, &session(1, now()), now()).await;
    cache.bury_session(key, now()).await;
    cache.put_session(key, &session(i64::MAX, now()), now()).await;
    assert_eq!(cache.session(key, now()).await, None);
    let left: u128 = redis.cli(&["PTTL", &name(key)]).unwrap().parse().unwrap();
    assert!(left > (BURIED_FOR - MAX_AGE).as_millis() && left <= BURIED_FOR.as_millis(), "{left} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_entry_stays_whichever_comes_last() {
    let test = "the_newer_entry_stays_whichever_comes_last";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let (key, late, early) = (fresh(), now(), now() - Duration::from_secs(2));
    // By version first, then by the time of reading.
    for (version, read_at, stays) in [(2, early, 2), (1, late, 2), (2, late, 2), (3, early, 3), (2, late, 3)] {
        cache.put_session(key, &session(version, read_at), now()).await;
        let Shared { value: (_, user), .. } = cache.session(key, now()).await.unwrap();
        assert_eq!(user.version, stays);
    }
    let (organization, somebody) = somebody();
    let revision = async || cache.member(organization, somebody, now()).await.map(|entry| entry.value.revision);
    let put = async |revision| cache.put_member(organization, somebody, &member(revision, now()), now()).await;
    put(4).await;
    cache.forget_member(organization, somebody, 4).await;
    assert_eq!(revision().await, Some(4), "read at the revision of the change: it knows it");
    cache.forget_member(organization, somebody, 5).await;
    assert_eq!(revision().await, None);
    put(4).await;
    assert_eq!(revision().await, None, "older than the mark");
    put(5).await;
    assert_eq!(revision().await, Some(5));
    cache.forget_member(organization, somebody, 5).await;
    assert_eq!(revision().await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_ends_a_minute_after_its_read() {
    let Some(redis) = Redis::start_own_or_skip("an_entry_ends_a_minute_after_its_read").unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let (key, second) = (fresh(), Duration::from_secs(1));
    let left = |key| -> i64 { redis.cli(&["PTTL", &name(key)]).unwrap().parse().unwrap() };
    cache.put_session(key, &session(1, now() - MAX_AGE + 10 * second), now()).await;
    assert!((1..=10_000).contains(&left(key)), "{} ms", left(key));
    assert!(cache.session(key, now()).await.is_some());
    assert_eq!(cache.session(key, now() + 11 * second).await, None, "whatever Redis keeps");
    assert_eq!(cache.session(key, now() - MAX_AGE).await, None, "from the future");
    for read_at in [now() - MAX_AGE, now() + 10 * second] {
        let key = fresh();
        cache.put_session(key, &session(1, read_at), now()).await;
        assert_eq!(left(key), -2, "it is not even written");
    }
}
