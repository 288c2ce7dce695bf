//! Deciding on roles before they are written, and on what was written after the database was set back.

use super::world::{World, decide, role};
use crate::{
    changes::Change,
    clock::Clock as _,
    permission::{Access, Decision, ModelError, Permission, Question, RoleDefinition, Subject},
};

fn definition(name: &str, grants: &[&str], inherits: &[&str]) -> RoleDefinition {
    RoleDefinition {
        name: name.to_owned(),
        description: None,
        inherits: inherits.iter().map(|name| (*name).to_owned()).collect(),
        grants: role(name, grants).grants,
    }
}

fn then(access: &Access, proposed: &[RoleDefinition], world: &World) -> (Decision, Option<String>) {
    let permission: Permission = "orders:refund".parse().unwrap();
    let what_if = access.what_if(proposed).unwrap();
    let explained = what_if.explain(&Question::new(&permission), &Subject::default(), world.clock.now());
    (explained.decision, explained.reason.map(|reason| reason.role))
}

#[tokio::test]
async fn proposed_roles_are_decided_on_and_not_written() {
    let world = World::new().await;
    let clerk = role("clerk", &["orders:read"]);
    world.put_role(&clerk).await;
    let member = world.join("member", &[&clerk]).await;
    let access = world.access(member).await.unwrap();
    let more = definition("clerk", &["orders:*"], &[]);
    let base = definition("base", &["!orders:refund"], &[]);
    assert_eq!(then(&access, &[more], &world), (Decision::Allowed, Some("clerk".to_owned())));
    let under = definition("clerk", &["orders:*"], &["base"]);
    assert_eq!(then(&access, &[base, under], &world), (Decision::Denied, Some("base".to_owned())));
    assert_eq!(then(&access, &[], &world), (Decision::Denied, None));
    assert!(!decide(&access, "orders:refund", world.clock.now()).is_allowed(), "nothing was written");
    let unknown = access.what_if(&[definition("clerk", &[], &["nobody"])]).unwrap_err();
    assert_eq!(unknown, ModelError::UnknownParent { index: 0, name: "nobody".to_owned() });
}

#[tokio::test]
async fn a_change_of_ones_own_counts_whatever_revision_it_has() {
    let world = World::new().await;
    let clerk = role("clerk", &["orders:read"]);
    let written = world.put_role(&clerk).await;
    let member = world.join("member", &[&clerk]).await;
    assert!(world.may(member, "orders:read").await);
    world.probe.take();
    // After a restore the database counts from an earlier revision again.
    world.feed.publish(&[Change::OrganizationChanged { organization: world.organization, revision: written - 1 }]);
    assert!(world.may(member, "orders:read").await);
    assert_eq!(world.probe.take().get("role_book"), Some(&1), "the roles are read anew");
}
