//! Writers of one organization that meet: one of them wins, and nothing outlives what it belongs to.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use super::{
    Case,
    act::{DAY, Random, act, at, everywhere, new_member, new_organization, new_role, new_store, only_at, rotation},
    room,
    tenant::Founded,
    usage::{counted, used},
    world::{SignedIn, World, at_once},
};
use crate::{
    id::{OrgId, UserId},
    store::{
        AtRevision, Joined, Named, NewRole, Opened, OrganizationChange, OrganizationName, Revised, StoreError, Updated,
        Usage,
    },
    tenant::Tenant,
};

pub(super) const CASES: &[Case] = room!["tenancy_races":
    lets_one_of_many_writers_at_a_revision_win,
    founds_a_slug_once,
    lets_a_user_join_once,
    raises_the_revision_once_for_each_write,
    keeps_no_session_in_an_organization_that_its_user_left,
    keeps_no_membership_of_a_user_that_is_gone,
    fails_nobody_in_a_storm_of_tenants,
];

const TASKS: usize = 16;

async fn lets_one_of_many_writers_at_a_revision_win(world: World) {
    let acme = world.found("acme").await;
    let user = acme.member_called("ada", vec![]).await;
    for round in 0..6 {
        let (seen, newcomer) = (acme.now().await, world.user(&format!("new {round}")).await.id);
        let answers = at_once(TASKS, |index| {
            let acme = acme.clone();
            async move {
                let (store, told) = (acme.world.store(), act("race", at(2)));
                let roles = vec![everywhere(acme.member_role)];
                let won = match index % 4 {
                    0 => done(store.put_role(seen, new_role(&format!("role-{round}-{index}")), told.clone()).await),
                    1 => done(store.assign_roles(seen, user.into(), roles, told.clone()).await),
                    2 => done(store.add_member(seen, new_member(newcomer, roles), told.clone()).await),
                    _ => {
                        let declared = super::role::resource_type(&format!("type-{index}"), "{}");
                        done(store.put_resource_type(seen, declared, told.clone()).await)
                    }
                };
                (won, told)
            }
        })
        .await;
        let mut revisions = Vec::new();
        for (won, told) in answers {
            match won {
                Some(revision) => {
                    world.expect_entry(&told, "success").await;
                    revisions.push(revision);
                }
                None => world.expect_no_success(&told).await,
            }
        }
        assert_eq!(revisions, [acme.now().await.revision], "exactly one writer may win");
        assert!(revisions[0] > seen.revision);
    }
}

/// The new revision of a writer that won; none for one that came too late.
fn done<T>(answer: Result<Revised<T>, StoreError>) -> Option<i64> {
    match answer.unwrap() {
        Revised::Done { revision, .. } => Some(revision),
        Revised::Stale => None,
        Revised::Missing => panic!("the organization is there"),
    }
}

async fn founds_a_slug_once(world: World) {
    let mut users = Vec::new();
    for index in 0..TASKS {
        users.push(world.user(&index.to_string()).await.id);
    }
    let answers = at_once(TASKS, |index| {
        let (world, new) = (world.clone(), new_organization("acme", users[index]));
        async move { world.store().create_organization(new, act("organization.created", at(1))).await.unwrap() }
    })
    .await;
    let mut winners: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Named::New(founded) => Some(founded),
            Named::SlugTaken => None,
            Named::Missing => panic!("every owner is there"),
        })
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let found = world.store().organization(&OrganizationName::Slug("acme".to_owned())).await.unwrap();
    assert_eq!(found, winners.pop());
    let mut memberships = 0;
    for user in users {
        memberships += world.memberships(user).await.len();
    }
    assert_eq!(memberships, 1, "nobody belongs to what was not founded");
}

/// Writes again until the organization stands still for long enough.
async fn until_done<T, F>(acme: &Founded, mut write: impl FnMut(AtRevision) -> F) -> Option<T>
where
    F: Future<Output = Result<Revised<T>, StoreError>>,
{
    loop {
        match write(acme.now().await).await.unwrap() {
            Revised::Done { value, .. } => return Some(value),
            Revised::Stale => {}
            Revised::Missing => return None,
        }
    }
}

async fn lets_a_user_join_once(world: World) {
    let acme = world.found("acme").await;
    let user = world.user("ada").await.id;
    let answers = at_once(TASKS, |_| {
        let acme = acme.clone();
        async move {
            let join = |seen| acme.world.store().add_member(seen, new_member(user, vec![]), act("member.added", at(1)));
            until_done(&acme, join).await.unwrap()
        }
    })
    .await;
    let joined = answers.iter().filter(|answer| matches!(answer, Joined::New(_))).count();
    assert_eq!(joined, 1, "{answers:?}");
    assert_eq!(world.memberships(user).await.len(), 1);
}

async fn raises_the_revision_once_for_each_write(world: World) {
    let acme = world.found("acme").await;
    let before = acme.now().await.revision;
    world.news();
    at_once(TASKS, |index| {
        let acme = acme.clone();
        async move {
            let (store, told) = (acme.world.store(), act("race", at(1)));
            if index % 2 == 0 {
                let new = new_store(&format!("store-{index}"));
                assert!(matches!(store.create_store(acme.id, new, told).await.unwrap(), Named::New(_)));
            } else {
                let change = OrganizationChange { name: Some(index.to_string()), ..OrganizationChange::default() };
                assert!(store.update_organization(acme.id, change, told).await.unwrap().is_some());
            }
        }
    })
    .await;
    let told: BTreeSet<i64> = world
        .news()
        .into_iter()
        .filter_map(|change| match change {
            crate::changes::Change::OrganizationChanged { revision, .. } => Some(revision),
            _ => None,
        })
        .collect();
    let after = acme.now().await.revision;
    assert_eq!(told.len(), TASKS, "no two writes have one revision: {told:?}");
    assert!(told.first() > Some(&before) && told.last() == Some(&after));
}

async fn keeps_no_session_in_an_organization_that_its_user_left(world: World) {
    for round in 0..8 {
        let acme = world.found(&format!("acme-{round}")).await;
        let user = acme.member_called(&format!("ada {round}"), vec![]).await;
        let mut sessions = Vec::new();
        for _ in 0..TASKS {
            sessions.push(world.sign_in(user, at(1)).await.id);
        }
        let (seen, tenant) = (acme.now().await, Tenant { organization: acme.id, store: None });
        let answers = at_once(TASKS + 1, |index| {
            let (acme, session) = (acme.clone(), sessions.get(index).copied());
            async move {
                let (store, told) = (acme.world.store(), act("race", at(2)));
                match session {
                    Some(session) => store.enter(user, session, tenant, told).await.map(|_| ()),
                    None if round % 2 == 0 => store.remove_member(seen, user.into(), told).await.map(|_| ()),
                    None => store.delete_organization(seen, told).await.map(|_| ()),
                }
            }
        })
        .await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
        assert_eq!(world.memberships(user).await, [], "round {round}");
        for session in sessions {
            let session = world.session(session).await;
            assert_eq!((session.organization, session.revoked_at), (None, None), "round {round}");
        }
    }
}

async fn keeps_no_membership_of_a_user_that_is_gone(world: World) {
    for round in 0..8 {
        let mut organizations = Vec::new();
        for index in 0..4 {
            organizations.push(world.found(&format!("acme-{round}-{index}")).await);
        }
        let user = world.user(&format!("ada {round}")).await.id;
        at_once(TASKS, |index| {
            let (world, organization) = (world.clone(), organizations[index % 4].clone());
            async move {
                if index < 4 {
                    let (new, told) = (new_member(user, vec![]), act("member.added", at(1)));
                    until_done(&organization, |seen| {
                        organization.world.store().add_member(seen, new.clone(), told.clone())
                    })
                    .await;
                } else if index == 4 {
                    let found = new_organization(&format!("own-{round}"), user);
                    world.store().create_organization(found, act("organization.created", at(1))).await.unwrap();
                } else if index == 5 {
                    loop {
                        let (judged, told) = (world.memberships(user).await, act("user.deleted", at(2)));
                        match world.store().delete_user(user, judged, told).await.unwrap() {
                            Updated::Done(()) => break,
                            Updated::Stale => {}
                            Updated::Missing => panic!("nobody else removes it"),
                        }
                    }
                }
            }
        })
        .await;
        assert_eq!(world.store().user(user).await.unwrap(), None);
        for organization in organizations {
            assert_eq!(organization.member(user).await, None, "round {round}");
        }
        assert_eq!(world.memberships(user).await, [], "round {round}");
    }
}

/// What the tasks of a storm share.
#[derive(Clone)]
struct Sea {
    world: World,
    organizations: Arc<Mutex<Vec<Founded>>>,
    users: Arc<Mutex<Vec<UserId>>>,
    sessions: Arc<Mutex<Vec<SignedIn>>>,
}

fn pick<T: Clone>(random: &mut Random, of: &Mutex<Vec<T>>) -> T {
    let of = of.lock().unwrap();
    of[random.index(of.len())].clone()
}

impl Sea {
    /// Performs some verb on rows that others use at the same time. Its answer may be any but an error; only a role
    /// or a store that has just gone is an error of whoever gives it.
    async fn wave(&self, random: &mut Random, second: u64) -> Result<(), StoreError> {
        let (store, told) = (self.world.store(), act("storm.wave", at(second)));
        let (of, user) = (pick(random, &self.organizations), pick(random, &self.users));
        let session = pick(random, &self.sessions);
        let found = store.organization(&OrganizationName::Id(of.id)).await?;
        let seen = AtRevision { organization: of.id, revision: found.map_or(1, |found| found.revision) };
        let roles = vec![everywhere(of.member_role)];
        match random.below(15) {
            0 | 1 => store.add_member(seen, new_member(user, roles), told).await.map(|_| ()),
            2 => store.assign_roles(seen, user.into(), roles, told).await.map(|_| ()),
            3 => store.remove_member(seen, user.into(), told).await.map(|_| ()),
            4 | 5 => {
                let tenant = Tenant { organization: of.id, store: None };
                store.enter(session.record.user_id, session.id, tenant, told).await.map(|_| ())
            }
            6 => store.create_store(of.id, new_store(&random.below(5).to_string()), told).await.map(|_| ()),
            7 => store.update_organization(of.id, OrganizationChange::default(), told).await.map(|_| ()),
            8 => self.usage(random, second).await,
            9 => {
                let memberships = self.world.memberships(user).await;
                let gone = store.delete_user(user, memberships, told).await?;
                if gone == Updated::Done(()) {
                    let new = self.world.user(&format!("user {}", OrgId::new())).await.id;
                    self.users.lock().unwrap().push(new);
                }
                Ok(())
            }
            10 if random.below(4) == 0 => store.delete_organization(seen, told).await.map(|_| ()),
            10 | 11 => store.revoke_sessions(user, None, told).await.map(|_| ()),
            12 => store.rotate_refresh(rotation(session.refresh), told).await.map(|_| ()),
            13 if random.below(2) == 0 => store.revoke_generation(Some(of.id), told).await.map(|_| ()),
            _ => {
                let new = super::act::new_session(user, at(second));
                let (record, refresh) = (new.record.clone(), new.refresh.unwrap());
                if let Opened::New(_) = store.open_session(new, told).await? {
                    self.sessions.lock().unwrap().push(SignedIn { id: record.id, refresh, record });
                }
                Ok(())
            }
        }
    }

    async fn usage(&self, random: &mut Random, second: u64) -> Result<(), StoreError> {
        let mut usage = Usage::default();
        for _ in 0..6 {
            let (of, user) = (pick(random, &self.organizations), pick(random, &self.users));
            usage.decisions.push(counted(of.id, 1, "orders:read", "allowed", 1));
            usage.members.push(used(of.id, user, second));
            usage.members.push(used(of.id, of.owner, second));
        }
        self.world.store().add_usage(usage, vec![act("permission.denied", at(second))]).await
    }
}

async fn fails_nobody_in_a_storm_of_tenants(world: World) {
    let (mut organizations, mut users, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for slug in ["acme", "other", "third", "fourth"] {
        let organization = world.found(slug).await;
        let branch = organization.branch("vienna").await;
        let user = organization.member_called(&format!("member of {slug}"), vec![]).await;
        let heir = NewRole { inherits: vec![organization.member_role], ..new_role("heir") };
        let heir = organization.put(heir).await.id;
        let assign = act("member.roles_changed", at(1));
        let held = vec![only_at(branch, heir)];
        let seen = organization.now().await;
        world.store().assign_roles(seen, user.into(), held, assign).await.unwrap();
        users.push(user);
        sessions.push(world.sign_in(user, at(1)).await);
        organizations.push(organization);
    }
    let (organizations, users) = (Arc::new(Mutex::new(organizations)), Arc::new(Mutex::new(users)));
    let sea = Sea { world: world.clone(), organizations, users, sessions: Arc::new(Mutex::new(sessions)) };
    let answers = at_once(TASKS, |task| {
        let sea = sea.clone();
        async move {
            let mut random = Random::seeded(u64::try_from(task).unwrap());
            for second in 2..=40 {
                sea.wave(&mut random, second).await?;
            }
            Ok::<_, StoreError>(())
        }
    })
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let sessions = sea.sessions.lock().unwrap().clone();
    for session in sessions {
        let Some((session, user)) = world.store().session(session.id).await.unwrap() else { continue };
        if let Some(organization) = session.organization.filter(|_| session.is_live(at(DAY / 2))) {
            let member = world.store().member(organization, user.id.into()).await.unwrap();
            assert!(member.is_some(), "no live session in an organization that its user left");
        }
    }
}
