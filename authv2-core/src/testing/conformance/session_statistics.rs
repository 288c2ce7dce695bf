//! Statistics of sessions, against a naive count of the sessions themselves.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Case,
    act::{DAY, HOUR, Random, act, at, new_session, of_nothing},
    room,
    world::{SignedIn, World, at_once},
};
use crate::{
    clock::Timestamp,
    id::OrgId,
    store::{DeviceKind, PurgeBefore, SessionPeak, SessionRecord, Touch},
};

pub(super) const CASES: &[Case] = room!["session_statistics":
    counts_what_a_naive_count_finds,
    tells_the_median_of_what_ended,
    a_minute_is_sampled_by_one,
    tells_the_peaks_of_spans,
    forgets_samples_of_long_ago,
];

const DEVICES: [DeviceKind; 3] = [DeviceKind::Desktop, DeviceKind::Mobile, DeviceKind::Other];

/// Sessions of every kind and fate, opened over two days; as they are stored.
async fn many(world: &World) -> (Vec<SessionRecord>, [OrgId; 2]) {
    let organizations = [world.found("acme").await.id, world.found("other").await.id];
    let mut random = Random::seeded(4);
    let mut opened: Vec<SignedIn> = Vec::new();
    for index in 0..60 {
        let user = world.user(&format!("user {index}")).await.id;
        let mut new = new_session(user, at(random.below(2 * DAY)));
        new.record.device = DEVICES[random.index(DEVICES.len())];
        new.record.organization = organizations.get(random.index(3)).copied();
        let life = Duration::from_secs(random.below(DAY) + 60);
        if random.below(3) == 0 {
            new.record.expires_at = new.record.created_at + life;
        }
        new.record.idle_expires_at = new.record.created_at + Duration::from_secs(random.below(DAY) + 60);
        let session = world.open(new).await;
        let used = session.record.created_at + Duration::from_secs(random.below(50));
        let touch = Touch { session: session.id, seen_at: used, idle_expires_at: None };
        world.store().touch_sessions(vec![touch]).await.unwrap();
        if random.below(4) == 0 {
            let ended = act("session.revoked", session.record.created_at + Duration::from_secs(random.below(60)));
            assert!(world.store().revoke_session(user, session.id, ended).await.unwrap());
        }
        opened.push(session);
    }
    // The last ones come after a generation has ended in one of the organizations.
    let told = act("session.revoked_organization", at(DAY));
    world.store().revoke_generation(Some(organizations[0]), told).await.unwrap();
    let mut stored = Vec::new();
    for session in opened {
        stored.push(world.session(session.id).await);
    }
    (stored, organizations)
}

async fn counts_what_a_naive_count_finds(world: World) {
    let (sessions, organizations) = many(&world).await;
    for now in [at(HOUR), at(DAY), at(DAY + HOUR), at(2 * DAY), at(9 * DAY)] {
        let mut expected = BTreeMap::<(DeviceKind, Option<OrgId>), i64>::new();
        for session in sessions.iter().filter(|session| session.is_live(now)) {
            *expected.entry((session.device, session.organization)).or_default() += 1;
        }
        let live = world.store().live_sessions(now).await.unwrap();
        let found: BTreeMap<_, _> = live.iter().map(|row| ((row.device, row.organization), row.count)).collect();
        assert_eq!(found.len(), live.len(), "each once");
        assert_eq!(found, expected);
        assert!(found.keys().all(|(_, organization)| *organization != Some(organizations[0])));
    }
}

/// When a session ended by itself, if it did by then, and for how long it was used.
fn ended(session: &SessionRecord, floor_raised: Timestamp) -> Option<(Timestamp, Duration)> {
    match session.revoked_at {
        Some(at) if at == floor_raised => None,
        Some(at) => Some((at, at.since(session.created_at))),
        None => Some((session.ends_at(), session.last_seen_at.since(session.created_at))),
    }
}

async fn tells_the_median_of_what_ended(world: World) {
    let (sessions, _) = many(&world).await;
    for (since, until) in [(0, HOUR), (0, DAY), (DAY, 2 * DAY), (HOUR, 4 * DAY), (30 * DAY, 31 * DAY)] {
        let mut durations: Vec<Duration> = sessions
            .iter()
            .filter_map(|session| ended(session, at(DAY)))
            .filter(|(end, _)| (at(since)..=at(until)).contains(end))
            .map(|(_, duration)| duration)
            .collect();
        durations.sort_unstable();
        let expected = durations.get(durations.len().saturating_sub(1) / 2).copied();
        assert_eq!(world.store().median_session(at(since), at(until)).await.unwrap(), expected, "{since} {until}");
    }
}

async fn a_minute_is_sampled_by_one(world: World) {
    let store = world.store();
    assert_eq!(store.last_session_sample().await.unwrap(), None);
    let claimed = at_once(16, |_| {
        let world = world.clone();
        async move { world.store().claim_session_sample(7).await.unwrap() }
    })
    .await;
    assert_eq!(claimed.into_iter().filter(|claimed| *claimed).count(), 1);
    // Whoever claimed it may die: the next minute is another's.
    assert_eq!(store.last_session_sample().await.unwrap(), None);
    assert_eq!(store.session_peaks(0, 60).await.unwrap(), []);
    assert!(store.claim_session_sample(8).await.unwrap());
    store.note_session_sample(8, 5).await.unwrap();
    assert_eq!(store.last_session_sample().await.unwrap(), Some(5));
    assert!(!store.claim_session_sample(8).await.unwrap());
    assert_eq!(store.last_session_sample().await.unwrap(), Some(5));
}

async fn sample(world: &World, minute: i64, active: i64) {
    assert!(world.store().claim_session_sample(minute).await.unwrap());
    world.store().note_session_sample(minute, active).await.unwrap();
}

async fn tells_the_peaks_of_spans(world: World) {
    for (minute, active) in [(1439, 9), (1440, 3), (1441, 7), (1500, 4), (2880, 2), (2881, 0)] {
        sample(&world, minute, active).await;
    }
    let peaks = |since, width| {
        let world = world.clone();
        async move { world.store().session_peaks(since, width).await.unwrap() }
    };
    let peak = |start, active| SessionPeak { start, active };
    assert_eq!(peaks(1440, 60).await, [peak(1440, 7), peak(1500, 4), peak(2880, 2)]);
    assert_eq!(peaks(0, 1440).await, [peak(0, 9), peak(1440, 7), peak(2880, 2)]);
    assert_eq!(peaks(1500, 1440).await, [peak(1440, 4), peak(2880, 2)]);
    assert_eq!(peaks(9999, 60).await, []);
}

async fn forgets_samples_of_long_ago(world: World) {
    for minute in [10, 20, 30] {
        sample(&world, minute, minute).await;
    }
    let moment = |minute: i64| Timestamp::from_seconds(minute * 60);
    let before = PurgeBefore { samples: moment(20), ..of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    let left = world.store().session_peaks(0, 1).await.unwrap();
    assert_eq!(left.iter().map(|peak| peak.start).collect::<Vec<_>>(), [20, 30]);
}
