//! Consistency tokens.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::world::{World, may, role, with_grants};
use crate::permission::CatchUpError;

#[tokio::test]
async fn asks_nothing_where_the_node_heard_of_the_change() {
    let world = World::new().await;
    assert!(world.may(world.owner, "orders:read").await);
    let reader = role("reader", &["orders:read"]);
    let mut revisions = vec![world.put_role(&reader).await];
    world.probe.take();
    world.node.catch_up(&world.node.token(world.organization, revisions[0])).await.unwrap();
    assert_eq!(world.probe.take(), BTreeMap::new(), "the organization itself is not at hand");
    revisions.push(world.assign(world.owner, &[]).await);
    assert!(!world.may(world.owner, "orders:read").await);
    revisions.push(world.put_role(&with_grants(&reader, &[])).await);
    world.probe.take();
    for revision in revisions {
        world.node.catch_up(&world.node.token(world.organization, revision)).await.unwrap();
    }
    assert_eq!(world.probe.take(), BTreeMap::new());
}

#[tokio::test]
async fn a_node_that_is_behind_decides_on_what_the_token_names() {
    let world = World::new().await;
    let reader = role("reader", &["orders:read"]);
    world.put_role(&reader).await;
    let (one, other) = (world.join("one", &[&reader]).await, world.join("other", &[&reader]).await);
    let (deaf, _) = world.deaf_node();
    let reads = async |member| may(&deaf, world.organization, member, "orders:read").await;
    assert!(reads(one).await && reads(other).await);

    let revision = world.assign(one, &[]).await;
    assert!(reads(one).await, "it has heard of nothing");
    deaf.catch_up(&world.node.token(world.organization, revision)).await.unwrap();
    assert!(!reads(one).await);
    assert!(reads(other).await);

    let revision = world.put_role(&with_grants(&reader, &[])).await;
    assert!(reads(other).await, "it has heard of nothing");
    deaf.catch_up(&world.node.token(world.organization, revision)).await.unwrap();
    assert!(!reads(other).await);
}

#[tokio::test]
async fn waits_for_a_revision_that_is_not_there_yet_but_not_for_ever() {
    let world = World::new().await;
    let token = world.node.token(world.organization, world.revision().await + 1);
    let begin = Instant::now();
    assert!(matches!(world.node.catch_up(&token).await, Err(CatchUpError::NotYet)));
    assert!(begin.elapsed() < Duration::from_secs(3));
    let late = role("late", &[]);
    let (waited, _) = tokio::join!(world.node.catch_up(&token), world.put_role(&late));
    waited.unwrap();
}

#[tokio::test]
async fn believes_tokens_of_its_own_deployment_only() {
    let world = World::new().await;
    for token in ["", "AAAA", "not a token"] {
        assert!(matches!(world.node.catch_up(token).await, Err(CatchUpError::Invalid)), "{token}");
    }
}

#[tokio::test]
async fn an_outage_is_told_as_one() {
    let world = World::new().await;
    world.probe.refuse("organization");
    let token = world.node.token(world.organization, 1_000);
    assert!(matches!(world.node.catch_up(&token).await, Err(CatchUpError::Store(_))));
}

#[tokio::test]
async fn does_not_wait_for_an_organization_that_has_gone() {
    let world = World::new().await;
    let token = world.node.token(crate::id::OrgId::new(), 5);
    world.node.catch_up(&token).await.unwrap();
}
