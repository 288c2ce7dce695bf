//! What is counted, and that it reaches the store.

use std::time::Duration;

use super::world::{World, role};
use crate::{
    clock::{Clock as _, Timestamp},
    config::PermissionConfig,
    permission::Decision,
};

const DAY: i64 = 1_700_000_000 / 86_400;

async fn rows(world: &World) -> Vec<(String, String, String, String, i64)> {
    let counts = world.store.decision_counts(world.organization, DAY).await.unwrap();
    counts.into_iter().map(|row| (row.permission, row.role, row.granted, row.outcome, row.count)).collect()
}

fn row(
    permission: &str,
    role: &str,
    granted: &str,
    outcome: &str,
    count: i64,
) -> (String, String, String, String, i64) {
    (permission.to_owned(), role.to_owned(), granted.to_owned(), outcome.to_owned(), count)
}

async fn clerk() -> (World, crate::id::MemberId) {
    let world = World::new().await;
    let base = role("base", &["orders:read"]);
    world.put_role(&base).await;
    let mut clerk = role("clerk", &["invoices:*", "!invoices:void", "?refunds:make"]);
    clerk.inherits = vec!["base".to_owned()];
    world.put_role(&clerk).await;
    let member = world.join("member", &[&clerk]).await;
    (world, member)
}

#[tokio::test]
async fn decisions_are_counted_by_permission_role_grant_and_outcome() {
    let (world, member) = clerk().await;
    for (permission, times) in
        [("orders:read", 3), ("invoices:pay", 2), ("invoices:void", 2), ("other:thing", 1), ("refunds:make", 4)]
    {
        for _ in 0..times {
            world.decide(member, permission).await;
        }
    }
    assert!(matches!(world.decide(member, "refunds:make").await, Decision::StepUp(_)));
    world.node.write_behind().await.unwrap();
    let expected = [
        row("*", "", "", "denied", 1),
        row("invoices:*", "clerk", "invoices:*", "allowed", 2),
        row("invoices:void", "clerk", "invoices:void", "denied", 2),
        row("orders:read", "base", "orders:read", "allowed", 3),
        row("refunds:make", "clerk", "refunds:make", "step_up", 5),
    ];
    assert_eq!(rows(&world).await, expected);
    world.decide(member, "orders:read").await;
    world.node.write_behind().await.unwrap();
    assert_eq!(rows(&world).await[3], row("orders:read", "base", "orders:read", "allowed", 4));
}

#[tokio::test]
async fn counts_that_cannot_be_written_are_kept() {
    let (world, member) = clerk().await;
    world.probe.refuse("add_usage");
    for _ in 0..3 {
        world.decide(member, "orders:read").await;
        world.decide(member, "other:thing").await;
        world.node.write_behind().await.unwrap_err();
    }
    world.probe.refuse(None);
    world.node.write_behind().await.unwrap();
    assert_eq!(
        rows(&world).await,
        [row("*", "", "", "denied", 3), row("orders:read", "base", "orders:read", "allowed", 3)]
    );
    // A write that failed may have been committed after all: a sampled denial is not written twice.
    let denials = world.store.recent_audit(100).await.unwrap();
    assert_eq!(denials.iter().filter(|entry| entry.action == "permission.denied").count(), 0);
}

#[tokio::test]
async fn the_first_denials_of_each_minute_are_audited() {
    let config = PermissionConfig { audit_denials_per_minute: 2, ..PermissionConfig::default() };
    let world = World::with(config).await;
    let member = world.join("member", &[]).await;
    for _ in 0..2 {
        for _ in 0..5 {
            world.decide(member, "orders:read").await;
        }
        world.clock.advance(Duration::from_secs(60));
    }
    world.node.write_behind().await.unwrap();
    let audit = world.store.recent_audit(100).await.unwrap();
    let denials: Vec<_> = audit.iter().filter(|entry| entry.action == "permission.denied").collect();
    assert_eq!(denials.len(), 4);
    assert_eq!(denials[0].target.as_deref(), Some("orders:read"));
    assert_eq!(denials[0].outcome, "denied");
    assert_eq!(denials[0].reason.as_deref(), Some("no grant allows it"));
    assert_eq!(rows(&world).await, [row("*", "", "", "denied", 10)], "all of them are counted");
}

#[tokio::test]
async fn the_last_use_of_rights_is_noted_by_member() {
    let (world, member) = clerk().await;
    let start = world.clock.now();
    world.clock.advance(Duration::from_secs(3600));
    world.decide(member, "orders:read").await;
    world.decide(world.owner, "orders:read").await;
    world.node.write_behind().await.unwrap();
    world.clock.advance(Duration::from_secs(3600));
    world.decide(member, "orders:read").await;
    world.decide(world.owner, "refunds:make").await;
    world.node.write_behind().await.unwrap();
    let idle = world.store.idle_members(world.organization, world.clock.now() + Duration::from_secs(1), 10).await;
    let used: Vec<Timestamp> = idle.unwrap().into_iter().filter_map(|idle| idle.used_at).collect();
    assert_eq!(used, [start + Duration::from_secs(7200); 2]);
}

#[tokio::test]
async fn nothing_is_asked_of_the_store_where_nothing_happened() {
    let world = World::new().await;
    world.probe.take();
    world.node.write_behind().await.unwrap();
    assert!(world.probe.take().is_empty());
}
