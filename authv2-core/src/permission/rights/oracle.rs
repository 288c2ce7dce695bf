//! The judgements against brute force: in every world, that is for every truth of every condition, who may do what.
#![allow(clippy::needless_pass_by_value, reason = "a test reads better with values")]

use super::*;
use crate::{
    id::{OrgId, UserId},
    permission::{ADMIN, Effect, Grant, OWNER, Permission, RoleDefinition, StepUp, builtin_roles},
};

const CONDITIONS: [&str; 2] = ["context.a", "context.b"];
const AGES: [u64; 2] = [60, 300];
const PATTERNS: [&str; 6] = ["*", "x:*", "y:*", "x:a", "x:b", "y:a"];
/// Every name above, and one that is covered by nothing but each wildcard.
const PERMISSIONS: [&str; 6] = ["x:a", "x:b", "x:other", "y:a", "y:other", "z:other"];
const NAMES: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];

/// Which conditions are true, and which sign-ins fresh enough: one bit each.
type World = u8;

/// Every grant that reaches a place, to be asked in every case.
struct Power<'m>(Vec<&'m Grant>, Option<&'m [Pattern]>);

impl<'m> Power<'m> {
    fn of(model: &'m Model, held: &[Assignment], place: Option<StoreId>) -> Self {
        let mut grants: Vec<&Grant> = Vec::new();
        let mut roles: Vec<RoleId> =
            held.iter().filter(|held| held.store.is_none() || held.store == place).map(|held| held.role).collect();
        while let Some(id) = roles.pop() {
            let Some(role) = model.role_by_id(id) else { continue };
            grants.extend(&role.grants);
            roles.extend(role.inherits.iter().map(|parent| model.role(parent).unwrap().id));
        }
        Self(grants, None)
    }

    fn of_author(model: &'m Model, author: Author<'m>, place: Option<StoreId>) -> Self {
        let acts_there = author.bound_to.is_none() || author.bound_to == place;
        let all = if acts_there { Self::of(model, author.roles, place).0 } else { Vec::new() };
        Self(all, author.scopes)
    }

    /// Straight from the contract: no deny that holds, wherever it stands, and an allow that does.
    fn may(&self, (asked, world): (&Permission, World)) -> bool {
        let holds = |grant: &Grant| {
            let when = grant.when.as_deref().is_none_or(|when| world >> place_of(&CONDITIONS, when) & 1 == 1);
            let fresh = grant.step_up.as_ref().and_then(|wish| wish.max_age);
            when && fresh.is_none_or(|age| world >> (2 + place_of(&AGES, age)) & 1 == 1)
        };
        let any = |effect| {
            let mut speaking = self.0.iter().filter(|grant| grant.effect == effect && grant.permission.matches(asked));
            speaking.any(|grant| holds(grant))
        };
        let in_scope = self.1.is_none_or(|scopes| scopes.iter().any(|scope| scope.matches(asked)));
        in_scope && any(Effect::Allow) && !any(Effect::Deny)
    }
}

fn place_of<T: PartialEq>(all: &[T], one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap()
}

/// Whether the change lets somebody do, in some place and case, what neither it nor the author could.
fn escalates<'m>(
    scene: &'m Scene,
    old: (&Model, &[Assignment]),
    new: (&Model, &[Assignment]),
    author: Author<'m>,
) -> bool {
    scene.places().any(|place| {
        let (before, after) = (Power::of(old.0, old.1, place), Power::of(new.0, new.1, place));
        let own = Power::of_author(&scene.model, author, place);
        scene.cases().any(|case| after.may(case) && !before.may(case) && !own.may(case))
    })
}

fn narrows(scene: &Scene, old: (&Model, &[Assignment]), new: (&Model, &[Assignment])) -> bool {
    scene.places().any(|place| {
        let (before, after) = (Power::of(old.0, old.1, place), Power::of(new.0, new.1, place));
        scene.cases().any(|case| before.may(case) && !after.may(case))
    })
}

fn owns(model: &Model, held: &[Assignment]) -> bool {
    fn reaches(model: &Model, role: RoleId) -> bool {
        let role = model.role_by_id(role).unwrap();
        role.name == OWNER || role.inherits.iter().any(|parent| reaches(model, model.role(parent).unwrap().id))
    }
    held.iter().any(|held| held.store.is_none() && reaches(model, held.role))
}

/// An owner who may do everything in every place and world, and keeps it whatever becomes true.
fn is_free_owner(scene: &Scene, model: &Model, holder: &Holder) -> bool {
    let mut places = scene.places().map(|place| Power::of(model, &holder.roles, place));
    holder.is_active_user && owns(model, &holder.roles) && places.all(|power| scene.cases().all(|case| power.may(case)))
}

/// A random small organization.
struct Scene {
    model: Model,
    stores: [StoreId; 3],
    conditional: bool,
    permissions: Vec<Permission>,
}

impl Scene {
    fn random(random: &mut Random, conditional: bool) -> Self {
        // Without the one that speaks of permissions that are not looked at here.
        let builtin = builtin_roles().into_iter().filter(|role| role.name != ADMIN).collect();
        let mut model = Model::new(OrgId::new(), 1, "UTC").with_roles(builtin).unwrap();
        for name in NAMES {
            model = random.edited(&model, name, conditional).unwrap_or(model);
        }
        let permissions = PERMISSIONS.iter().map(|text| text.parse().unwrap()).collect();
        Self { model, stores: std::array::from_fn(|_| StoreId::new()), conditional, permissions }
    }

    /// The organization and its stores; at the third nobody holds a role.
    fn places(&self) -> impl Iterator<Item = Option<StoreId>> {
        [None].into_iter().chain(self.stores.map(Some))
    }

    /// What can be asked, in every world.
    fn cases(&self) -> impl Iterator<Item = (&Permission, World)> {
        let worlds = if self.conditional { 0..16 } else { 0..1 };
        self.permissions.iter().flat_map(move |asked| worlds.clone().map(move |world| (asked, world)))
    }

    fn assignments(&self, random: &mut Random) -> Vec<Assignment> {
        let mut held: Vec<Assignment> = (0..random.below(4))
            .map(|_| Assignment {
                role: self.model.roles()[random.below(self.model.roles().len())].id,
                store: [None, Some(self.stores[0]), Some(self.stores[1])][random.below(3)],
            })
            .collect();
        held.sort();
        held.dedup();
        held
    }

    fn holders(&self, random: &mut Random, mut wanted: impl FnMut(&[Assignment]) -> bool) -> Vec<Holder> {
        let held: Vec<_> = (0..4).map(|_| self.assignments(random)).filter(|held| wanted(held)).collect();
        let holder =
            |roles| Holder { member: MemberId::from(UserId::new()), is_active_user: random.below(4) > 0, roles };
        held.into_iter().map(holder).collect()
    }

    fn bound(&self, random: &mut Random) -> Option<StoreId> {
        (random.below(8) == 0).then(|| self.stores[random.below(3)])
    }
}

/// The same numbers in every run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % bound
    }

    fn grant(&mut self, conditional: bool) -> Grant {
        let effect = if self.below(4) == 0 { Effect::Deny } else { Effect::Allow };
        let when = (conditional && self.below(2) == 0).then(|| CONDITIONS[self.below(2)].to_owned());
        let wishes = conditional && effect == Effect::Allow && self.below(4) == 0;
        let step_up = wishes.then(|| StepUp { max_age: Some(AGES[self.below(2)]), acr: None });
        Grant { permission: PATTERNS[self.below(PATTERNS.len())].parse().unwrap(), effect, when, step_up }
    }

    /// The scopes of a credential, where it has some.
    fn scopes(&mut self) -> Option<Vec<Pattern>> {
        let has_some = self.below(4) == 0;
        has_some.then(|| (0..self.below(4)).map(|_| PATTERNS[self.below(PATTERNS.len())].parse().unwrap()).collect())
    }

    /// The model with one role written at random, or none where it would not fit.
    fn edited(&mut self, model: &Model, name: &str, conditional: bool) -> Option<Model> {
        let inherits =
            (0..self.below(3)).map(|_| model.roles()[self.below(model.roles().len())].name.clone()).collect();
        let mut grants: Vec<Grant> = model.role(name).map(|role| role.grants.clone()).unwrap_or_default();
        if !grants.is_empty() && self.below(2) == 0 {
            grants.remove(self.below(grants.len()));
        }
        grants.extend((0..self.below(3)).map(|_| self.grant(conditional)));
        model.with_role(&RoleDefinition { name: name.to_owned(), description: None, inherits, grants }).ok()
    }
}

/// How often each outcome came: a run that shows nothing of one kind shows nothing.
#[derive(Debug, Default)]
struct Tally {
    permitted: usize,
    escalations: usize,
    not_an_owner: usize,
    last_owner: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Result<(), Refusal>) {
        *match outcome {
            Ok(()) => &mut self.permitted,
            Err(Refusal::Escalation { .. }) => &mut self.escalations,
            Err(Refusal::NotAnOwner) => &mut self.not_an_owner,
            Err(Refusal::LastOwner) => &mut self.last_owner,
            Err(Refusal::NotHeld { .. } | Refusal::BoundCaller) => panic!("that is said of keys"),
        } += 1;
    }

    fn shows_every_outcome(&self) {
        let Self { permitted, escalations, not_an_owner, last_owner } = *self;
        assert!([permitted, escalations, not_an_owner, last_owner].iter().all(|count| *count > 20), "{self:?}");
    }
}

#[test]
fn no_assignment_escapes_brute_force() {
    let (mut random, mut tally) = (Random(1), Tally::default());
    for round in 0..3_000 {
        let conditional = round % 3 > 0;
        let scene = Scene::random(&mut random, conditional);
        let model = &scene.model;
        let mut owners = scene.holders(&mut random, |held| owns(model, held));
        let (mut before, after) = (scene.assignments(&mut random), scene.assignments(&mut random));
        if round % 2 == 0
            && let Some(owner) = owners.first()
        {
            before = owner.roles.clone();
        }
        let mut member = Holder { member: MemberId::from(UserId::new()), is_active_user: true, roles: before.clone() };
        match owners.first() {
            Some(owner) if round % 2 == 0 => member = owner.clone(),
            _ if owns(model, &before) => owners.push(member.clone()),
            _ => {}
        }
        let roles = if round % 5 == 0 { before.clone() } else { scene.assignments(&mut random) };
        let scopes = random.scopes();
        let author = Author { roles: &roles, bound_to: scene.bound(&mut random), scopes: scopes.as_deref() };

        let outcome = judge_assignment(model, author, member.member, &before, &after, &owners);
        tally.count(&outcome);
        let escalates = escalates(&scene, (model, &before), (model, &after), author);
        let takes_from_owner = owns(model, &before)
            && (!owns(model, &after) || narrows(&scene, (model, &before), (model, &after)))
            && !is_owning_author(model, author);
        let changed = |holder: &Holder| Holder {
            roles: if holder.member == member.member { after.clone() } else { holder.roles.clone() },
            ..holder.clone()
        };
        let strands = owners.iter().any(|owner| is_free_owner(&scene, model, owner))
            && !owners.iter().any(|owner| is_free_owner(&scene, model, &changed(owner)));
        let context = || format!("round {round}: {author:?} {before:?} -> {after:?} in {:?}", model.roles());
        if outcome.is_ok() {
            assert!(!escalates, "an escalation: {}", context());
            assert!(!takes_from_owner, "an owner narrowed: {}", context());
            assert!(!strands || conditional, "no owner left: {}", context());
        }
        if !conditional {
            // Without conditions what is compared is what can be done, so that nothing is refused for nothing.
            match outcome {
                Ok(()) => {}
                Err(Refusal::Escalation { .. }) => assert!(escalates, "no escalation: {}", context()),
                Err(Refusal::NotAnOwner) => {
                    let made_one = !owns(model, &before) && owns(model, &after);
                    assert!(takes_from_owner || made_one, "no owner concerned: {}", context());
                }
                Err(Refusal::LastOwner) => assert!(strands, "an owner is left: {}", context()),
                Err(Refusal::NotHeld { .. } | Refusal::BoundCaller) => panic!("that is said of keys: {}", context()),
            }
        }
    }
    tally.shows_every_outcome();
}

#[test]
fn no_edit_escapes_brute_force() {
    let (mut random, mut tally) = (Random(2), Tally::default());
    for round in 0..3_000 {
        let conditional = round % 3 > 0;
        let scene = Scene::random(&mut random, conditional);
        let before = &scene.model;
        let name = NAMES[random.below(NAMES.len())];
        let Some(after) = random.edited(before, name, conditional) else { continue };
        let Some(changed) = after.role(name).map(|role| role.id) else { continue };
        let inherits = |model: &Model, role: RoleId| model.closure(role).iter().any(|role| role.id == changed);
        let holders = scene.holders(&mut random, |held| held.iter().any(|held| inherits(before, held.role)));
        let mut owners = scene.holders(&mut random, |held| owns(before, held));
        owners.retain(|owner| !owner.roles.iter().any(|held| inherits(before, held.role)));
        owners.extend(holders.iter().filter(|holder| owns(before, &holder.roles)).cloned());
        let roles = match holders.first() {
            Some(holder) if round % 5 == 0 => holder.roles.clone(),
            _ => scene.assignments(&mut random),
        };
        let scopes = random.scopes();
        let author = Author { roles: &roles, bound_to: scene.bound(&mut random), scopes: scopes.as_deref() };

        let outcome = judge_role(before, &after, name, author, &holders, &owners);
        tally.count(&outcome);
        let alone = |role: RoleId| [Assignment { role, store: None }];
        // At the organization alone: a role by itself reaches every place alike.
        let somebody = |held: &[Assignment]| escalates(&scene, (before, held), (&after, held), author);
        let escalates_somebody = holders.iter().any(|holder| somebody(&holder.roles));
        let takes_from_owner = holders.iter().any(|holder| {
            let held = holder.roles.as_slice();
            owns(before, held) && (!owns(&after, held) || narrows(&scene, (before, held), (&after, held)))
        }) && !is_owning_author(before, author);
        let everybody = || owners.iter().chain(&holders);
        let strands = owners.iter().any(|owner| is_free_owner(&scene, before, owner))
            && !everybody().any(|owner| is_free_owner(&scene, &after, owner));
        let context =
            || format!("round {round}: {author:?} {holders:?} {:?} -> {:?}", before.roles(), after.role(name));
        if outcome.is_ok() {
            assert!(!escalates_somebody, "an escalation: {}", context());
            assert!(!takes_from_owner, "an owner narrowed: {}", context());
            assert!(!strands || conditional, "no owner left: {}", context());
            let unbound = Author { bound_to: None, roles: &at_organization(author), ..author };
            for role in after.roles().iter().filter(|role| inherits(&after, role.id)) {
                let held = alone(role.id);
                let prepared = escalates(&scene, (before, &held), (&after, &held), unbound);
                assert!(!prepared, "`{}` made ready to be handed out: {}", role.name, context());
            }
        }
        if !conditional && matches!(outcome, Err(Refusal::Escalation { .. })) {
            let role = alone(changed);
            let changes =
                narrows(&scene, (&after, &role), (before, &role)) || narrows(&scene, (before, &role), (&after, &role));
            let unbound = Author { bound_to: None, roles: &at_organization(author), ..author };
            let uncovered = |model: &Model| escalates(&scene, (before, &[]), (model, &role), unbound);
            let not_whole = changes && (uncovered(before) || uncovered(&after));
            let heirs = || after.roles().iter().filter(|role| inherits(&after, role.id));
            let prepares = heirs().any(|role| {
                let held = alone(role.id);
                escalates(&scene, (before, &held), (&after, &held), unbound)
            });
            assert!(escalates_somebody || not_whole || prepares, "no escalation: {}", context());
        }
    }
    tally.shows_every_outcome();
}

#[test]
fn no_key_escapes_brute_force() {
    let (mut random, mut outcomes) = (Random(3), [0; 3]);
    for round in 0..3_000 {
        let conditional = round % 3 > 0;
        let scene = Scene::random(&mut random, conditional);
        let model = &scene.model;
        let (roles, account) = (scene.assignments(&mut random), scene.assignments(&mut random));
        let holder = if round % 2 == 0 { &roles } else { &account };
        let own_scopes = random.scopes();
        let author = Author { roles: &roles, bound_to: scene.bound(&mut random), scopes: own_scopes.as_deref() };
        let scopes: Vec<Pattern> =
            (0..=random.below(2)).map(|_| PATTERNS[random.below(PATTERNS.len())].parse().unwrap()).collect();
        let store = (random.below(3) == 0).then(|| scene.stores[random.below(3)]);
        let is_new = random.below(2) == 0;

        let key = KeyRights { scopes: &scopes, store, holder, is_own: round % 2 == 0 };
        let outcome = judge_key(model, author, key, is_new);
        let key_at = |place| Power(Power::of(model, holder, place).0, Some(&*scopes));
        let mut reached = scene.places().filter(|place| store.is_none() || *place == store);
        let escalates = reached.any(|place| {
            let (key, own) = (key_at(place), Power::of_author(model, author, place));
            scene.cases().any(|case| key.may(case) && !own.may(case))
        });
        let in_scope = |asked: &Permission| scopes.iter().any(|scope| scope.matches(asked));
        let lacks = |power: &Power<'_>| scene.cases().any(|case| in_scope(case.0) && !power.may(case));
        let (author_lacks, key_lacks) = (lacks(&Power::of_author(model, author, store)), lacks(&key_at(store)));
        let context =
            || format!("round {round}: {author:?} {scopes:?} at {store:?} of {holder:?} in {:?}", model.roles());
        match &outcome {
            Ok(()) => {
                outcomes[0] += 1;
                assert!(!escalates, "an escalation: {}", context());
                assert!(conditional || !(author_lacks || is_new && key_lacks), "nothing to hand out: {}", context());
            }
            Err(Refusal::Escalation { .. }) => {
                outcomes[1] += 1;
                assert!(conditional || escalates || author_lacks, "no escalation: {}", context());
            }
            Err(Refusal::NotHeld { .. }) => {
                outcomes[2] += 1;
                assert!(is_new && key_lacks, "it is held: {}", context());
            }
            Err(other) => panic!("{other}: {}", context()),
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "{outcomes:?}");
}

fn is_owning_author(model: &Model, author: Author<'_>) -> bool {
    let has_all = author.scopes.is_none_or(|scopes| scopes.iter().any(|scope| scope.to_string() == "*"));
    has_all && author.bound_to.is_none() && owns(model, author.roles)
}

/// What an author holds at the organization: what it may make a role of.
fn at_organization(author: Author<'_>) -> Vec<Assignment> {
    let held = author.roles.iter().filter(|held| held.store.is_none() && author.bound_to.is_none());
    held.copied().collect()
}
