//! The service over a real store: what it asks of it, and that nothing old is ever decided on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod catch_up;
mod statistics;
mod what_if;
pub(in crate::permission) mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use self::world::{World, decide, may, role, with_grants};
use crate::{
    config::PermissionConfig,
    id::{MemberId, OrgId},
    store::StoreError,
};

#[tokio::test]
async fn asks_nothing_when_warm_and_twice_when_cold_whatever_the_roles() {
    let world = World::new().await;
    let mut roles = Vec::new();
    for index in 0..30 {
        let mut next = role(&format!("role-{index}"), &[&format!("orders:act-{index}"), "!invoices:void"]);
        next.inherits = roles.last().map(|before: &crate::permission::Role| before.name.clone()).into_iter().collect();
        world.put_role(&next).await;
        roles.push(next);
    }
    let all: Vec<_> = roles.iter().collect();
    let (one, other) = (world.join("one", &all).await, world.join("other", &all[29..]).await);
    let counts = |counts: &[(&'static str, u64)]| counts.iter().copied().collect::<BTreeMap<_, _>>();

    world.probe.take();
    assert!(world.may(one, "orders:act-0").await);
    assert_eq!(world.probe.take(), counts(&[("access", 1), ("role_book", 1)]), "cold");
    for _ in 0..1_000 {
        assert!(world.may(one, "orders:act-29").await);
        assert!(!world.may(one, "invoices:void").await);
    }
    assert_eq!(world.probe.take(), counts(&[]), "warm");
    assert!(world.may(other, "orders:act-0").await);
    assert_eq!(world.probe.take(), counts(&[("access", 1)]), "a member of an organization that is at hand");

    world.put_role(&with_grants(&roles[0], &[])).await;
    assert!(!world.may(one, "orders:act-0").await);
    assert!(!world.may(other, "orders:act-0").await);
    assert_eq!(world.probe.take(), counts(&[("role_book", 1)]), "a changed role is read, its holders are not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_is_seen_by_the_very_next_decision() {
    const WRITES: u64 = 240;
    let world = Arc::new(World::new().await);
    let editor = role("editor", &["orders:write"]);
    world.put_role(&editor).await;
    let member = world.join("member", &[&editor]).await;
    // Even after every even write: a write alternates between the role's grants and the member's roles.
    let (begun, done, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let is_over = Arc::new(is_over);
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let (world, begun, done, is_over) =
                (Arc::clone(&world), Arc::clone(&begun), Arc::clone(&done), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut judged = 0_u64;
                while !is_over.load(Ordering::SeqCst) {
                    let before = done.load(Ordering::SeqCst);
                    let allowed = world.may(member, "orders:write").await;
                    if begun.load(Ordering::SeqCst) == before {
                        assert_eq!(allowed, before % 2 == 0, "after write {before}");
                        judged += 1;
                    }
                    tokio::task::yield_now().await;
                }
                judged
            })
        })
        .collect();
    for write in 1..=WRITES {
        begun.store(write, Ordering::SeqCst);
        let grants: &[&str] = if write % 2 == 0 { &["orders:write"] } else { &[] };
        if write % 4 < 2 {
            world.assign(member, &[&editor]).await;
            world.put_role(&with_grants(&editor, grants)).await;
        } else {
            let roles: &[_] = if write % 2 == 0 { &[&editor] } else { &[] };
            world.put_role(&with_grants(&editor, &["orders:write"])).await;
            world.assign(member, roles).await;
        }
        done.store(write, Ordering::SeqCst);
        assert_eq!(world.may(member, "orders:write").await, write % 2 == 0, "right after write {write}");
    }
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "a reader never had a quiet moment");
    }
}

#[tokio::test]
async fn what_changed_while_it_was_read_is_not_kept() {
    for verb in ["role_book", "access"] {
        let world = Arc::new(World::new().await);
        let reader = role("reader", &["orders:read"]);
        world.put_role(&reader).await;
        let member = world.join("member", &[&reader]).await;
        let gate = world.probe.hold(verb);
        let slow = {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.may(member, "orders:read").await })
        };
        gate.arrived().await;
        if verb == "access" {
            world.assign(member, &[]).await;
        } else {
            world.put_role(&with_grants(&reader, &[])).await;
        }
        assert!(!world.may(member, "orders:read").await, "{verb}: asked after the change, while the reading is held");
        gate.open();
        slow.await.unwrap();
        assert!(!world.may(member, "orders:read").await, "{verb}: asked after the reading came to its end");
    }
}

#[tokio::test]
async fn roles_of_one_moment_never_meet_assignments_of_another() {
    let world = World::new().await;
    let (wide, narrow) = (role("wide", &["orders:*"]), role("narrow", &["orders:read"]));
    world.put_role(&wide).await;
    world.put_role(&narrow).await;
    let (newcomer, leaver) = (world.join("newcomer", &[]).await, world.join("leaver", &[&narrow]).await);
    let (deaf, feed) = world.deaf_node();
    assert!(may(&deaf, world.organization, leaver, "orders:read").await);

    // The deaf node has the wide role as it was. Who gets it after it was narrowed, must not get that.
    world.put_role(&with_grants(&wide, &["orders:read"])).await;
    world.assign(newcomer, &[&wide]).await;
    assert!(!may(&deaf, world.organization, newcomer, "orders:refund").await);
    assert!(may(&deaf, world.organization, newcomer, "orders:read").await);

    // It has the leaver's roles as they were. What the role gains after the leaver lost it, must not come to it, though
    // the node hears of the role alone.
    world.assign(leaver, &[]).await;
    let revision = world.put_role(&with_grants(&narrow, &["orders:*"])).await;
    feed.publish(&[crate::changes::Change::OrganizationChanged { organization: world.organization, revision }]);
    assert!(!may(&deaf, world.organization, leaver, "orders:refund").await);
}

#[tokio::test]
async fn failures_are_told_to_all_who_wait_and_forgotten() {
    let world = Arc::new(World::new().await);
    for verb in ["role_book", "access"] {
        let member = world.join(&verb.replace('_', "-"), &[]).await;
        world.put_role(&role(&format!("{verb}-role"), &[])).await;
        world.probe.take();
        world.probe.refuse(verb);
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { world.node.access(world.organization, member).await.map(|_| ()) })
            })
            .collect();
        for answer in asked {
            assert!(matches!(answer.await.unwrap(), Err(StoreError::Unavailable(_))), "an outage is not a denial");
        }
        assert_eq!(world.probe.take()[verb], 1, "all waited for the same answer");
        world.probe.refuse(None);
        assert!(world.access(member).await.is_some());
    }
}

#[tokio::test]
async fn who_does_not_belong_is_looked_for_each_time() {
    let world = World::new().await;
    let stranger = MemberId::new();
    assert!(world.access(stranger).await.is_none());
    assert!(world.node.access(OrgId::new(), world.owner).await.unwrap().is_none());
    assert!(world.node.snapshot(OrgId::new()).await.unwrap().is_none());
    world.probe.take();
    assert!(world.access(stranger).await.is_none());
    assert_eq!(world.probe.take().get("access"), Some(&1));
    let joined = world.join("joined", &[]).await;
    assert!(world.access(joined).await.is_some());
}

#[tokio::test]
async fn a_removed_organization_or_member_decides_nothing_any_more() {
    let world = World::new().await;
    let reader = role("reader", &["orders:read"]);
    world.put_role(&reader).await;
    let member = world.join("member", &[&reader]).await;
    assert!(world.may(member, "orders:read").await);
    let at = crate::store::AtRevision { organization: world.organization, revision: world.revision().await };
    world.store.remove_member(at, member, world.act("member.removed")).await.unwrap();
    assert!(world.access(member).await.is_none());
    assert!(world.may(world.owner, "orders:read").await);
    let at = crate::store::AtRevision { revision: world.revision().await, ..at };
    world.store.delete_organization(at, world.act("organization.deleted")).await.unwrap();
    assert!(world.access(world.owner).await.is_none());
}

#[tokio::test]
async fn an_idle_member_keeps_no_old_roles_in_memory() {
    let world = World::new().await;
    assert!(world.may(world.owner, "orders:read").await);
    let old = Arc::downgrade(&world.node.snapshot(world.organization).await.unwrap().unwrap());
    assert!(old.upgrade().is_some());
    world.put_role(&role("another", &[])).await;
    world.node.snapshot(world.organization).await.unwrap();
    assert!(old.upgrade().is_none());
}

#[tokio::test]
async fn keeps_an_organization_that_is_larger_than_its_share() {
    let world = World::with(PermissionConfig { cache_bytes: 1024 * 1024, ..PermissionConfig::default() }).await;
    let grants: Vec<String> = (0..400).map(|index| format!("resource-{index}:act")).collect();
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    for index in 0..20 {
        world.put_role(&role(&format!("role-{index}"), &grants)).await;
    }
    assert!(world.node.snapshot(world.organization).await.unwrap().unwrap().weight() > 256 * 1024);
    assert!(world.may(world.owner, "orders:read").await);
    world.probe.take();
    assert!(world.may(world.owner, "orders:read").await);
    assert_eq!(world.probe.take(), BTreeMap::new());
}

#[tokio::test]
async fn an_access_goes_on_as_it_was_asked_for() {
    let world = World::new().await;
    let reader = role("reader", &["orders:read"]);
    world.put_role(&reader).await;
    let member = world.join("member", &[&reader]).await;
    let before = world.access(member).await.unwrap();
    world.put_role(&with_grants(&reader, &[])).await;
    let now = crate::clock::Timestamp::from_seconds(1_700_000_000);
    assert!(decide(&before, "orders:read", now).is_allowed());
    assert!(!world.may(member, "orders:read").await);
}
