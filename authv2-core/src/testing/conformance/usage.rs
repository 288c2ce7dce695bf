//! Statistics of decisions: added up, never for what has gone, and denials recorded beside them.

use super::{
    Case,
    act::{act, at, everywhere},
    room,
    tenant::{Founded, written},
    world::{World, at_once},
};
use crate::{
    audit::Outcome,
    id::{MemberId, OrgId, UserId},
    store::{DecisionCount, IdleMember, MemberUse, Usage},
};

pub(super) const CASES: &[Case] = room!["usage":
    adds_up_what_was_counted_and_when,
    adds_up_what_many_nodes_counted_at_once,
    tells_who_has_used_no_right_lately,
    lets_no_late_word_make_a_member_idle,
    leaves_out_what_has_gone,
    records_denials_with_the_counts,
];

pub(super) fn counted(organization: OrgId, day: i64, permission: &str, outcome: &str, count: i64) -> DecisionCount {
    let (role, granted) = if outcome == "allowed" { ("clerk", permission) } else { ("", "") };
    let [permission, role, granted, outcome] = [permission, role, granted, outcome].map(str::to_owned);
    DecisionCount { organization, day, permission, role, granted, outcome, count }
}

pub(super) fn used(organization: OrgId, member: impl Into<MemberId>, second: u64) -> MemberUse {
    MemberUse { organization, member: member.into(), used_at: at(second) }
}

async fn add(world: &World, decisions: Vec<DecisionCount>, members: Vec<MemberUse>) {
    world.store().add_usage(Usage { decisions, members }, vec![]).await.unwrap();
}

async fn adds_up_what_was_counted_and_when(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let revision = acme.now().await;
    add(&world, vec![], vec![]).await;
    for (day, count) in [(10, 3), (11, 4), (10, 1), (12, 100)] {
        let decisions = vec![
            counted(acme.id, day, "orders:read", "allowed", count),
            counted(other.id, day, "orders:read", "allowed", 1_000),
            counted(acme.id, day, "orders:read", "denied", 1),
        ];
        add(&world, decisions, vec![]).await;
    }
    add(&world, vec![counted(acme.id, 11, "invoices:pay", "step_up", i64::MAX / 2)], vec![]).await;
    let since = [(i64::MIN, 10, 108, 4), (10, 10, 108, 4), (11, 11, 104, 2), (12, 12, 100, 1)];
    for (day, first, allowed, denied) in since {
        let mut expected = vec![
            counted(acme.id, first, "orders:read", "denied", denied),
            counted(acme.id, first, "orders:read", "allowed", allowed),
        ];
        if day <= 11 {
            expected.insert(0, counted(acme.id, 11, "invoices:pay", "step_up", i64::MAX / 2));
        }
        assert_eq!(world.store().decision_counts(acme.id, day).await.unwrap(), expected, "since {day}");
    }
    assert_eq!(world.store().decision_counts(acme.id, 13).await.unwrap(), []);
    assert_eq!(world.store().decision_counts(OrgId::new(), 0).await.unwrap(), []);
    assert_eq!(acme.now().await, revision, "statistics change no decision");
}

async fn adds_up_what_many_nodes_counted_at_once(world: World) {
    let mut organizations = Vec::new();
    for slug in ["acme", "other", "third"] {
        organizations.push(world.found(slug).await);
    }
    let permissions: Vec<String> = (0..10).map(|index| format!("orders:verb-{index}")).collect();
    at_once(16, |index| {
        let (organizations, permissions) = (organizations.clone(), permissions.clone());
        async move {
            let mut usage = Usage::default();
            for organization in &organizations {
                let count = |permission: &String| counted(organization.id, 1, permission, "allowed", 1);
                usage.decisions.extend(permissions.iter().map(count));
                usage.members.push(used(organization.id, organization.owner, u64::try_from(index).unwrap()));
            }
            // Every node has its own order.
            usage.decisions.rotate_left(index);
            usage.members.rotate_left(index % 3);
            organizations[0].world.store().add_usage(usage, vec![]).await.unwrap();
        }
    })
    .await;
    for organization in organizations {
        let counts = world.store().decision_counts(organization.id, 0).await.unwrap();
        assert_eq!(counts.iter().map(|count| count.count).collect::<Vec<_>>(), [16; 10]);
        assert_eq!(idle(&organization, 100, 10).await, [(organization.owner.into(), Some(15))]);
    }
}

/// The idle members, and at which second each was last seen.
async fn idle(organization: &Founded, before: u64, limit: u32) -> Vec<(MemberId, Option<u64>)> {
    let found = organization.world.store().idle_members(organization.id, at(before), limit).await.unwrap();
    let second = |moment| (0..1_000).find(|second| at(*second) == moment).unwrap();
    found.into_iter().map(|IdleMember { member, used_at }| (member, used_at.map(second))).collect()
}

async fn tells_who_has_used_no_right_lately(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let mut members = Vec::new();
    for name in ["never", "long-ago", "lately", "at-the-moment", "without-role"] {
        let roles = if name == "without-role" { vec![] } else { vec![everywhere(acme.member_role)] };
        members.push(MemberId::from(acme.member_called(name, roles).await));
    }
    let [never, long_ago, lately, at_the_moment, without_role] = members[..] else { panic!("five members") };
    // All joined at second 1, the owner at 0.
    let robot = acme.account("robot", acme.member_role).await;
    other.join(acme.owner, vec![everywhere(other.member_role)]).await;
    let uses = vec![
        used(acme.id, long_ago, 50),
        used(acme.id, lately, 150),
        used(acme.id, at_the_moment, 100),
        used(acme.id, without_role, 2),
        used(acme.id, robot, 60),
        used(other.id, acme.owner, 500),
    ];
    add(&world, vec![], uses).await;
    let owner = MemberId::from(acme.owner);
    let all = [(owner, None), (never, None), (long_ago, Some(50)), (robot, Some(60))];
    assert_eq!(idle(&acme, 100, 10).await, all);
    assert_eq!(idle(&acme, 100, 3).await, all[..3]);
    assert_eq!(idle(&acme, 0, 10).await, [(owner, None)], "who joined later is not idle yet");
    assert_eq!(idle(&acme, 101, 10).await.last(), Some(&(at_the_moment, Some(100))));
}

async fn lets_no_late_word_make_a_member_idle(world: World) {
    let acme = world.found("acme").await;
    for second in [50, 80, 20, 79] {
        add(&world, vec![], vec![used(acme.id, acme.owner, second)]).await;
    }
    let twice = vec![used(acme.id, acme.owner, 90), used(acme.id, acme.owner, 85)];
    add(&world, vec![], twice).await;
    assert_eq!(idle(&acme, 100, 10).await, [(acme.owner.into(), Some(90))]);
}

async fn leaves_out_what_has_gone(world: World) {
    let (acme, gone) = (world.found("acme").await, world.found("gone").await);
    let left = acme.member_called("ada", vec![]).await;
    let at_now = acme.now().await;
    written(world.store().remove_member(at_now, left.into(), act("member.removed", at(2))).await.unwrap());
    let delete = act("organization.deleted", at(2));
    written(world.store().delete_organization(gone.now().await, delete).await.unwrap());
    let mut decisions = Vec::new();
    for organization in [gone.id, acme.id, OrgId::new()] {
        decisions.push(counted(organization, 1, "orders:read", "allowed", 1));
    }
    let stranger = world.user("bob").await.id;
    let members = vec![
        used(acme.id, left, 5),
        used(gone.id, gone.owner, 5),
        used(acme.id, stranger, 5),
        used(acme.id, UserId::new(), 5),
        used(acme.id, acme.owner, 5),
    ];
    let before = acme.members(crate::store::MemberKind::User).await;
    add(&world, decisions, members).await;
    let kept = world.store().decision_counts(acme.id, 0).await.unwrap();
    assert_eq!(kept, [counted(acme.id, 1, "orders:read", "allowed", 1)]);
    assert_eq!(world.store().decision_counts(gone.id, 0).await.unwrap(), []);
    assert_eq!(acme.members(crate::store::MemberKind::User).await, before);
    assert_eq!(idle(&acme, 10, 10).await, [(acme.owner.into(), Some(5))]);
}

async fn records_denials_with_the_counts(world: World) {
    let acme = world.found("acme").await;
    let denials: Vec<_> = (0..3)
        .map(|second| {
            let denied = act("permission.denied", at(second)).within(acme.id).on("orders:read");
            denied.ended(Outcome::Denied, "no grant")
        })
        .collect();
    let decisions = vec![counted(acme.id, 1, "orders:read", "denied", 3)];
    world.news();
    let usage = Usage { decisions, members: vec![] };
    world.store().add_usage(usage, denials.clone()).await.unwrap();
    world.store().add_usage(Usage::default(), vec![act("permission.denied", at(4))]).await.unwrap();
    assert_eq!(world.news(), []);
    for denial in denials {
        world.expect_entry(&denial, "denied").await;
        let entry = world.entries(&denial).await.remove(0);
        assert_eq!((entry.organization, entry.target.as_deref()), (Some(acme.id), Some("orders:read")));
    }
}
