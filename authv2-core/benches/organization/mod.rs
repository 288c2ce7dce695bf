//! An organization of any size, for the benchmarks: roles in chains of five, ten grants a role, three roles a member.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each benchmark uses its part, and may stop where it cannot go on"
)]

use authv2_core::{
    id::{OrgId, RoleId},
    permission::{Effect, Grant, Model, Role},
    store::Assignment,
};

pub(crate) const CHAIN: usize = 5;
pub(crate) const GRANTS: usize = 10;
const ACTIONS: usize = 20;

/// What a role of this number grants: ten permissions that no other role grants, the last one of every fifth role a
/// deny.
pub(crate) fn grants(role: usize) -> impl Iterator<Item = (String, Effect)> {
    (0..GRANTS).map(move |index| {
        let number = role * GRANTS + index;
        let effect = if role.is_multiple_of(CHAIN) && index == GRANTS - 1 { Effect::Deny } else { Effect::Allow };
        (format!("resource{}:action{}", number / ACTIONS, number % ACTIONS), effect)
    })
}

/// The role that a role inherits from.
pub(crate) fn parent(role: usize) -> Option<usize> {
    (!role.is_multiple_of(CHAIN)).then(|| role - 1)
}

pub(crate) fn role_name(role: usize) -> String {
    format!("role{role}")
}

/// The three roles of a member.
pub(crate) fn held(member: usize, roles: usize) -> [usize; 3] {
    let spread = |salt: usize| (member + salt).wrapping_mul(0x9E37_79B9).rotate_right(7) % roles;
    [spread(0), spread(1_000_003), spread(2_000_003)]
}

/// A permission that the member's first role grants itself.
pub(crate) fn allowed(member: usize, roles: usize) -> String {
    grants(held(member, roles)[0]).next().unwrap().0
}

/// A permission that no role of the member reaches, though the organization knows it.
pub(crate) fn denied(member: usize, roles: usize) -> String {
    let chains = held(member, roles).map(|role| role / CHAIN);
    let other = (0..roles).rev().find(|role| !chains.contains(&(role / CHAIN))).unwrap();
    grants(other).next().unwrap().0
}

pub(crate) fn model(roles: usize) -> Model {
    let role = |number: usize| Role {
        id: RoleId::new(),
        name: role_name(number),
        description: None,
        inherits: parent(number).map(role_name).into_iter().collect(),
        grants: grants(number)
            .map(|(pattern, effect)| Grant { permission: pattern.parse().unwrap(), effect, when: None, step_up: None })
            .collect(),
        builtin: false,
        revision: 1,
    };
    Model::new(OrgId::new(), 1, "UTC").with_roles((0..roles).map(role).collect()).unwrap()
}

pub(crate) fn assignments(model: &Model, member: usize) -> Vec<Assignment> {
    let roles = model.roles();
    held(member, roles.len()).iter().map(|role| Assignment { role: roles[*role].id, store: None }).collect()
}
