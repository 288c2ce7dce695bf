//! Security events, and what is remembered of devices and of the networks of keys.

use std::time::Duration;

use serde_json::json;

use super::{
    Case,
    act::{DAY, act, at, email_of, new_session, of_nothing},
    room,
    world::{World, at_once},
};
use crate::{
    changes::Change,
    clock::Timestamp,
    id::{EventId, KeyId, OrgId, SessionId, UserId},
    store::{EventKind, EventQuery, KeyNetwork, PurgeBefore, Risk, SecurityEvent, Severity, SignInQuery, StoredEvent},
};

pub(super) const CASES: &[Case] = room!["security":
    gives_an_event_back_as_it_was_told,
    writes_an_event_once,
    lists_events_newest_first_by_kind_severity_and_time,
    reads_events_on_from_a_number,
    forgets_events_of_long_ago,
    knows_on_what_a_user_signed_in_lately,
    finds_a_network_of_a_key_new_once,
    a_key_that_is_not_there_has_no_networks,
    raises_the_risk_of_a_live_session_once,
];

fn event(kind: EventKind, severity: Severity, at: Timestamp) -> SecurityEvent {
    SecurityEvent {
        id: EventId::new(),
        at,
        kind,
        severity,
        user_id: None,
        organization: None,
        ip: None,
        detail: serde_json::Map::new(),
    }
}

async fn add(world: &World, events: &[SecurityEvent]) {
    world.store().add_security_events(events.to_vec()).await.unwrap();
}

async fn list(world: &World, query: EventQuery) -> Vec<StoredEvent> {
    let query = EventQuery { limit: query.limit.max(1), ..query };
    world.store().security_events(query).await.unwrap()
}

fn ids(found: &[StoredEvent]) -> Vec<EventId> {
    found.iter().map(|stored| stored.event.id).collect()
}

async fn gives_an_event_back_as_it_was_told(world: World) {
    let told = SecurityEvent {
        user_id: Some(UserId::new()),
        organization: Some(OrgId::new()),
        ip: Some("2001:db8::7".parse().unwrap()),
        detail: serde_json::from_value(json!({"accounts": 7, "scope": "network", "deep": [{"é": null}]})).unwrap(),
        ..event(EventKind::CredentialStuffing, Severity::Critical, at(5))
    };
    let bare = event(EventKind::EventsDropped, Severity::Info, at(6));
    add(&world, &[told.clone(), bare.clone()]).await;
    let found = list(&world, EventQuery { limit: 10, ..EventQuery::default() }).await;
    assert_eq!(found.into_iter().map(|stored| stored.event).collect::<Vec<_>>(), [bare, told]);
}

async fn writes_an_event_once(world: World) {
    let told = event(EventKind::NewDevice, Severity::Low, at(1));
    let other = event(EventKind::NewDevice, Severity::Low, at(2));
    add(&world, std::slice::from_ref(&told)).await;
    let both = [told.clone(), other.clone()];
    at_once(8, |_| {
        let (store, both) = (world.store().clone(), both.to_vec());
        async move { store.add_security_events(both).await.unwrap() }
    })
    .await;
    add(&world, &[]).await;
    assert_eq!(ids(&list(&world, EventQuery { limit: 10, ..EventQuery::default() }).await), [other.id, told.id]);
}

async fn lists_events_newest_first_by_kind_severity_and_time(world: World) {
    let mut told = Vec::new();
    for (second, kind, severity) in [
        (10, EventKind::BruteForce, Severity::High),
        (20, EventKind::NewDevice, Severity::Low),
        (20, EventKind::BruteForce, Severity::Medium),
        (30, EventKind::NewDevice, Severity::Low),
    ] {
        told.push(event(kind, severity, at(second)));
    }
    add(&world, &told).await;
    let id = |index: usize| told[index].id;
    let all = EventQuery { limit: 10, ..EventQuery::default() };
    assert_eq!(ids(&list(&world, all.clone()).await), [id(3), id(2), id(1), id(0)]);
    let of_kind = EventQuery { kind: Some(EventKind::BruteForce), ..all.clone() };
    assert_eq!(ids(&list(&world, of_kind).await), [id(2), id(0)]);
    let severe = EventQuery { severity: Some(Severity::Low), ..all.clone() };
    assert_eq!(ids(&list(&world, severe).await), [id(3), id(1)]);
    let between = EventQuery { from: Some(at(20)), to: Some(at(30)), ..all.clone() };
    assert_eq!(ids(&list(&world, between).await), [id(2), id(1)]);

    // Page by page.
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = list(&world, EventQuery { before, limit: 1, ..EventQuery::default() }).await;
        let Some(last) = page.last() else { break };
        before = Some((last.event.at, last.seq));
        seen.extend(ids(&page));
    }
    assert_eq!(seen, [id(3), id(2), id(1), id(0)]);
}

async fn reads_events_on_from_a_number(world: World) {
    assert_eq!(world.store().last_security_event().await.unwrap(), 0);
    let told: Vec<_> = (0..5).map(|n| event(EventKind::NewNetwork, Severity::Info, at(10 - n))).collect();
    for event in &told {
        add(&world, std::slice::from_ref(event)).await;
    }
    // In the order in which they were written, whatever their time.
    let all = world.store().security_events_after(0, 10).await.unwrap();
    assert_eq!(ids(&all), told.iter().map(|event| event.id).collect::<Vec<_>>());
    let second = world.store().security_event_number(told[1].id).await.unwrap().unwrap();
    assert_eq!(second, all[1].seq);
    let rest = world.store().security_events_after(second, 2).await.unwrap();
    assert_eq!(ids(&rest), [told[2].id, told[3].id]);
    assert_eq!(world.store().last_security_event().await.unwrap(), all[4].seq);
    assert_eq!(world.store().security_event_number(EventId::new()).await.unwrap(), None);
}

async fn forgets_events_of_long_ago(world: World) {
    let (old, young) =
        (event(EventKind::NewDevice, Severity::Low, at(0)), event(EventKind::NewDevice, Severity::Low, at(DAY)));
    add(&world, &[old, young.clone()]).await;
    let before = PurgeBefore { events: at(DAY), ..of_nothing() };
    while world.store().purge(before).await.unwrap() > 0 {}
    assert_eq!(ids(&list(&world, EventQuery { limit: 10, ..EventQuery::default() }).await), [young.id]);
}

async fn is_new(world: &World, device: Option<&str>, since: Timestamp) -> bool {
    let query = SignInQuery {
        email_key: email_of("ada"),
        network: None,
        device: device.map(str::to_owned),
        presented: None,
        known_since: since,
        buckets: Vec::new(),
    };
    world.store().sign_in_facts(query).await.unwrap().new_device
}

async fn knows_on_what_a_user_signed_in_lately(world: World) {
    let user = world.user("ada").await.id;
    assert!(!is_new(&world, Some("Linux/Firefox/desktop"), at(0)).await, "where none is known, none is news");
    let mut session = new_session(user, at(100));
    session.device = Some("Linux/Firefox/desktop".to_owned());
    world.open(session).await;
    assert!(!is_new(&world, Some("Linux/Firefox/desktop"), at(0)).await);
    assert!(!is_new(&world, None, at(0)).await);
    assert!(is_new(&world, Some("iOS/Safari/mobile"), at(0)).await);
    assert!(is_new(&world, Some("Linux/Firefox/desktop"), at(100)).await, "that was too long ago");
    let mut held = new_session(user, at(200));
    (held.device, held.is_held) = (Some("iOS/Safari/mobile".to_owned()), true);
    world.open(held).await;
    assert!(is_new(&world, Some("iOS/Safari/mobile"), at(0)).await, "a sign-in that is held makes nothing known");
    let before = PurgeBefore { networks: at(DAY), ..of_nothing() };
    while world.store().purge(before).await.unwrap() > 0 {}
    assert!(!is_new(&world, Some("iOS/Safari/mobile"), at(0)).await);
}

async fn finds_a_network_of_a_key_new_once(world: World) {
    let acme = world.found("acme").await;
    let id = acme.key(super::api_key::new_key(acme.id, acme.owner, 1)).await.id;
    let note = |network: &'static str, second| {
        let store = world.store().clone();
        async move { store.note_key_network(id, network.to_owned(), at(second)).await.unwrap() }
    };
    assert_eq!(note("192.0.2.0/24", 1).await, KeyNetwork::First);
    assert_eq!(note("192.0.2.0/24", 2).await, KeyNetwork::Known);
    let found = at_once(8, |_| note("198.51.100.0/24", 3)).await;
    assert_eq!(found.iter().filter(|found| **found == KeyNetwork::New).count(), 1, "{found:?}");
    assert_eq!(note("198.51.100.0/24", 4).await, KeyNetwork::Known);
    let before = PurgeBefore { networks: at(3), ..of_nothing() };
    while world.store().purge(before).await.unwrap() > 0 {}
    assert_eq!(note("192.0.2.0/24", 5).await, KeyNetwork::New);
}

async fn a_key_that_is_not_there_has_no_networks(world: World) {
    for network in ["192.0.2.0/24", "198.51.100.0/24"] {
        let noted = world.store().note_key_network(KeyId::new(), network.to_owned(), at(1)).await.unwrap();
        assert_eq!(noted, KeyNetwork::Known);
    }
}

async fn raises_the_risk_of_a_live_session_once(world: World) {
    let user = world.user("ada").await.id;
    let (session, ended) = (world.sign_in(user, at(0)).await.id, world.sign_in(user, at(0)).await.id);
    assert!(world.store().revoke_session(user, ended, act("session.revoked", at(1))).await.unwrap());
    world.news();
    let raised = act("session.risk_raised", at(2));
    assert!(world.store().raise_risk(user, session, raised.clone()).await.unwrap());
    assert_eq!(world.news(), [Change::SessionChanged { session, user }]);
    assert_eq!(world.session(session).await.risk, Risk::High);
    world.expect_entry(&raised, "success").await;
    for (user, session) in [(user, session), (user, ended), (UserId::new(), session), (user, SessionId::new())] {
        let again = act("session.risk_raised", at(2) + Duration::from_secs(1));
        assert!(!world.store().raise_risk(user, session, again.clone()).await.unwrap());
        world.expect_no_success(&again).await;
    }
    assert_eq!(world.news(), []);
}
