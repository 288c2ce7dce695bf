//! The changes table: what the verbs did, in order, for the nodes that were not there.

use super::{
    Case,
    act::{act, at, hash_of, new_user, of_nothing, rotation},
    room,
    signing_keys::{found_keys, new_key},
    world::{World, done, revoked},
};
use crate::{
    changes::Change,
    id::{SessionId, UserId},
    store::{Followed, NewSession, OverLimit, Position, PurgeBefore, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["changes":
    holds_what_the_verbs_published_in_order,
    holds_nothing_for_verbs_that_changed_nothing,
    is_read_in_portions_from_a_position,
    is_followed_from_where_one_begins,
    tells_what_was_trimmed_away,
    remembers_what_happened_lately,
];

async fn holds_what_the_verbs_published_in_order(world: World) {
    let store = world.store();
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    world.news();
    let (first, second) = (world.sign_in(ada, at(1)).await, world.sign_in(ada, at(2)).await);
    assert!(store.revoke_session(ada, first.id, act("session.revoked", at(3))).await.unwrap());
    let third =
        NewSession { max_per_user: 1, over_limit: OverLimit::EvictOldest, ..super::act::new_session(ada, at(4)) };
    let third = world.open(third).await;
    let (current, new) = (Some(hash_of("ada").0), hash_of("new").0);
    done(store.change_password(ada, current, new, Some(third.id), act("user.password", at(5))).await.unwrap());
    assert_eq!(store.revoke_sessions(ada, None, act("session.revoked_all", at(6))).await.unwrap(), 1);
    let his = world.sign_in(bob, at(7)).await;
    for second in [8, 30] {
        store.rotate_refresh(rotation(his.refresh), act("session.refreshed", at(second))).await.unwrap();
    }
    done(store.set_status(bob, UserStatus::Disabled, None, act("user.disabled", at(31))).await.unwrap());
    found_keys(store, new_key("kid"), act("signing_key.created", at(32))).await;
    assert_eq!(store.delete_user(ada, Vec::new(), act("user.deleted", at(33))).await.unwrap(), Updated::Done(()));

    let expected = [
        (at(3), revoked(first.id, ada)),
        (at(4), revoked(second.id, ada)),
        (at(5), Change::UserChanged { user: ada }),
        (at(6), revoked(third.id, ada)),
        (at(30), revoked(his.id, bob)),
        (at(31), Change::UserChanged { user: bob }),
        (at(32), Change::SigningKeysChanged),
        (at(33), Change::UserChanged { user: ada }),
    ];
    let rows = world.change_rows().await;
    assert_eq!(rows.iter().map(|row| (row.at, row.change)).collect::<Vec<_>>(), expected);
    assert!(rows.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{rows:?}");
    assert_eq!(world.news(), expected.map(|(_, change)| change), "the table and the feed tell the same in one order");
}

async fn holds_nothing_for_verbs_that_changed_nothing(world: World) {
    let store = world.store();
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    let before = world.change_rows().await;
    let nobody = UserId::new();
    store.create_user(new_user("ada"), act("a", at(2))).await.unwrap();
    let disabled = UserStatus::Disabled;
    store.set_status(user.id, disabled, Some(user.version + 7), act("a", at(2))).await.unwrap();
    store.set_status(nobody, disabled, None, act("a", at(2))).await.unwrap();
    let (wrong, new) = (Some(hash_of("wrong").0), hash_of("new").0);
    store.change_password(user.id, wrong, new, None, act("a", at(2))).await.unwrap();
    store.delete_user(nobody, Vec::new(), act("a", at(2))).await.unwrap();
    store.revoke_session(nobody, session.id, act("a", at(2))).await.unwrap();
    store.revoke_session(user.id, SessionId::new(), act("a", at(2))).await.unwrap();
    store.revoke_sessions(user.id, Some(session.id), act("a", at(2))).await.unwrap();
    store.open_session(super::act::new_session(nobody, at(2)), act("a", at(2))).await.unwrap();
    assert_eq!(world.change_rows().await, before);
}

async fn is_read_in_portions_from_a_position(world: World) {
    let user = world.user("ada").await.id;
    let mut sessions = Vec::new();
    for second in 0..7 {
        let session = world.sign_in(user, at(second)).await.id;
        assert!(world.store().revoke_session(user, session, act("session.revoked", at(second))).await.unwrap());
        sessions.push(revoked(session, user));
    }
    let rows = world.change_rows().await;
    assert_eq!(rows.iter().map(|row| row.change).collect::<Vec<_>>(), sessions);
    let (mut position, mut read) = (rows[0].seq, vec![rows[0].clone()]);
    loop {
        let portion = world.store().changes_after(position, 4).await.unwrap();
        assert!(portion.len() <= 4);
        let Some(last) = portion.last() else { break };
        position = last.seq;
        read.extend(portion);
    }
    assert_eq!(read, rows);
    assert_eq!(world.store().changes_after(i64::MAX, 4).await.unwrap(), []);
}

/// What is new since `position`, which moves on.
async fn news(world: &World, position: &mut Position) -> Vec<Change> {
    match world.store().follow(Some(position)).await.unwrap() {
        Followed::Changes { changes, position: next } => {
            *position = next;
            changes.into_iter().map(|record| record.change).collect()
        }
        Followed::Lost { .. } => panic!("nothing was lost"),
    }
}

async fn here(world: &World) -> Position {
    match world.store().follow(None).await.unwrap() {
        Followed::Changes { changes, position } if changes.is_empty() => position,
        other => panic!("a beginning knows nothing: {other:?}"),
    }
}

async fn is_followed_from_where_one_begins(world: World) {
    let user = world.user("ada").await.id;
    let (before, after, last) =
        (world.sign_in(user, at(0)).await.id, world.sign_in(user, at(1)).await.id, world.sign_in(user, at(2)).await.id);
    assert!(world.store().revoke_session(user, before, act("session.revoked", at(3))).await.unwrap());
    let mut position = here(&world).await;
    assert_eq!(news(&world, &mut position).await, []);
    for session in [after, last] {
        assert!(world.store().revoke_session(user, session, act("session.revoked", at(4))).await.unwrap());
    }
    assert_eq!(news(&world, &mut position).await, [revoked(after, user), revoked(last, user)]);
    assert_eq!(news(&world, &mut position).await, [], "each once");
}

async fn tells_what_was_trimmed_away(world: World) {
    let user = world.user("ada").await.id;
    let sessions = [world.sign_in(user, at(0)).await.id, world.sign_in(user, at(1)).await.id];
    let old = here(&world).await;
    assert!(world.store().revoke_session(user, sessions[0], act("session.revoked", at(2))).await.unwrap());
    let before = PurgeBefore { changes: at(3), ..of_nothing() };
    while world.store().purge(before).await.unwrap() > 0 {}
    world.makes_table_incomparable();
    let Followed::Lost { position } = world.store().follow(Some(&old)).await.unwrap() else {
        panic!("what was removed is missing")
    };
    assert!(world.store().revoke_session(user, sessions[1], act("session.revoked", at(4))).await.unwrap());
    match world.store().follow(Some(&position)).await.unwrap() {
        Followed::Changes { changes, .. } => {
            assert_eq!(changes.iter().map(|record| record.change).collect::<Vec<_>>(), [revoked(sessions[1], user)]);
        }
        // Where an older transaction is still under way in the same server, it is not known to have had no part in it.
        Followed::Lost { .. } => {}
    }
}

async fn remembers_what_happened_lately(world: World) {
    let user = world.user("ada").await.id;
    let sessions = [world.sign_in(user, at(0)).await.id, world.sign_in(user, at(1)).await.id];
    for (session, second) in sessions.into_iter().zip([10, 20]) {
        assert!(world.store().revoke_session(user, session, act("session.revoked", at(second))).await.unwrap());
    }
    let recent = world.store().recent_changes(at(15)).await.unwrap().unwrap();
    assert!(recent.contains(&revoked(sessions[1], user)) && !recent.contains(&revoked(sessions[0], user)));
}
