//! What a credential may do at most, whatever its holder may.

use super::name::{Pattern, Permission};
use crate::audit::Actor;

/// A bound on somebody's rights: permissions and patterns of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Who acts within it.
    pub(crate) actor: Actor,
    patterns: Vec<Pattern>,
}

impl Scope {
    pub(crate) fn new(actor: Actor, patterns: Vec<Pattern>) -> Self {
        Self { actor, patterns }
    }

    /// The part of it that `patterns` speak of as well.
    pub(crate) fn narrowed_to(&self, patterns: &[Pattern]) -> Self {
        let both = |own: &Pattern| patterns.iter().filter_map(|other| own.common(other)).collect::<Vec<_>>();
        Self { actor: self.actor, patterns: self.patterns.iter().flat_map(both).collect() }
    }

    /// What it speaks of.
    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether a permission is within it.
    pub(crate) fn covers(&self, permission: &Permission) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission;

    #[test]
    fn a_narrowed_scope_is_the_part_that_both_speak_of() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Pattern>>();
        let scope = Scope::new(Actor::System, patterns(&["orders:*", "stock:read"]));
        assert!(scope.covers(&permission!("orders:refund")) && !scope.covers(&permission!("stock:write")));
        let narrowed = scope.narrowed_to(&patterns(&["orders:read", "users:read"]));
        assert!(narrowed.covers(&permission!("orders:read")));
        for outside in [permission!("orders:refund"), permission!("stock:read"), permission!("users:read")] {
            assert!(!narrowed.covers(&outside), "{outside}");
        }
        for (by, left) in [
            (&["*"][..], &["orders:*", "stock:read"][..]),
            (&["orders:*", "stock:*"], &["orders:*", "stock:read"]),
            (&["stock:write", "users:*"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(scope.narrowed_to(&patterns(by)).patterns(), patterns(left), "{by:?}");
        }
    }
}
