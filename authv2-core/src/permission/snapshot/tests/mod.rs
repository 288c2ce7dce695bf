//! Decisions against what their rules say, against a naive oracle, and against casbin.

mod behaviour;
mod casbin;
mod differential;
mod oracle;
mod second_factor;

use crate::{
    id::{OrgId, RoleId},
    permission::{Grant, Model, Role},
};

/// A stream of numbers (SplitMix64) that is the same on every machine.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn role(name: &str, inherits: &[&str], grants: Vec<Grant>) -> Role {
    Role {
        id: RoleId::new(),
        name: name.to_owned(),
        description: None,
        inherits: inherits.iter().map(ToString::to_string).collect(),
        grants,
        builtin: false,
        revision: 1,
    }
}

fn model(roles: Vec<Role>) -> Model {
    Model::new(OrgId::new(), 1, "Europe/Berlin").with_roles(roles).unwrap()
}
