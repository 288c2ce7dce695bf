//! The definition of a decision, written as plainly as can be: nothing is compiled, nothing is remembered, and nothing
//! is shared with what it judges.

use std::collections::BTreeSet;

/// A role. Its parents are earlier roles of the list.
#[derive(Debug, Clone)]
pub(super) struct OracleRole {
    pub(super) name: String,
    pub(super) inherits: Vec<usize>,
    pub(super) grants: Vec<OracleGrant>,
}

#[derive(Debug, Clone)]
pub(super) struct OracleGrant {
    pub(super) pattern: String,
    pub(super) deny: bool,
    pub(super) when: Option<Test>,
    pub(super) step_up: Option<Wish>,
}

/// A wish for a sign-in: its age in seconds, its class.
pub(super) type Wish = (Option<u64>, Option<&'static str>);

/// A condition: as Cedar is told it, and what it comes to; `None` where it cannot be evaluated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    pub(super) text: &'static str,
    outcome: fn(&Circumstances) -> Option<bool>,
}

/// What the conditions and wishes are about.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    pub(super) amount: Option<i64>,
    pub(super) channel: Option<&'static str>,
    /// The age of the sign-in in seconds, and its class.
    pub(super) session: Option<(u64, &'static str)>,
    /// The names of the roles assigned that reach the place.
    pub(super) roles: BTreeSet<String>,
}

pub(super) const TESTS: [Test; 8] = [
    Test { text: "true", outcome: |_| Some(true) },
    Test { text: "false", outcome: |_| Some(false) },
    Test { text: "resource.amount <= 100", outcome: |about| Some(about.amount? <= 100) },
    Test { text: "context.channel == \"web\"", outcome: |about| Some(about.channel? == "web") },
    Test {
        text: "resource.amount > 100 && context.channel == \"web\"",
        outcome: |about| if about.amount? > 100 { Some(about.channel? == "web") } else { Some(false) },
    },
    Test { text: "principal.roles.contains(\"r3\")", outcome: |about| Some(about.roles.contains("r3")) },
    Test { text: "principal.acr == \"aal2\"", outcome: |about| Some(about.session?.1 == "aal2") },
    Test { text: "resource.", outcome: |_| None },
];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// One of these sign-ins is missing.
    StepUp(Vec<Wish>),
}

/// Decides for somebody whom these roles reach at the place asked about, all ancestors among them.
pub(super) fn decide(
    roles: &[OracleRole],
    reached: &BTreeSet<usize>,
    permission: &str,
    about: &Circumstances,
) -> Verdict {
    let mut wishes = Vec::new();
    let mut is_allowed = false;
    for role in reached {
        for grant in roles[*role].grants.iter().filter(|grant| matches(&grant.pattern, permission)) {
            let holds = match grant.when {
                None => Some(true),
                Some(test) => (test.outcome)(about),
            };
            match (grant.deny, holds) {
                (true, Some(true) | None) => return Verdict::Denied,
                (false, Some(true)) => match grant.step_up {
                    Some(wish) if !is_met(wish, about) => wishes.push(wish),
                    _ => is_allowed = true,
                },
                _ => {}
            }
        }
    }
    match (is_allowed, wishes.is_empty()) {
        (true, _) => Verdict::Allowed,
        (false, false) => Verdict::StepUp(wishes),
        (false, true) => Verdict::Denied,
    }
}

/// The patterns that the roles allow, less what they deny as a whole whatever the conditions.
pub(super) fn permissions(roles: &[OracleRole], reached: &BTreeSet<usize>) -> BTreeSet<String> {
    let grants: Vec<&OracleGrant> = reached.iter().flat_map(|role| &roles[*role].grants).collect();
    let covers = |wide: &str, narrow: &str| {
        let mut split = narrow.split(':');
        wide == narrow || wide == "*" || wide == format!("{}:*", split.next().unwrap())
    };
    let allowed = grants.iter().filter(|grant| !grant.deny).filter(|grant| {
        !grants.iter().any(|deny| deny.deny && deny.when.is_none() && covers(&deny.pattern, &grant.pattern))
    });
    allowed.map(|grant| grant.pattern.clone()).collect()
}

/// How many steps it takes from one of the roles held up to a role.
pub(super) fn distance(roles: &[OracleRole], held: &BTreeSet<usize>, to: usize) -> Option<usize> {
    if held.contains(&to) {
        return Some(0);
    }
    let parents: BTreeSet<usize> = held.iter().flat_map(|role| roles[*role].inherits.iter().copied()).collect();
    if parents.is_empty() { None } else { distance(roles, &parents, to).map(|steps| steps + 1) }
}

/// The roles and all their ancestors.
pub(super) fn reached(roles: &[OracleRole], held: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut all = held.clone();
    for role in held {
        all.extend(reached(roles, &roles[*role].inherits.iter().copied().collect()));
    }
    all
}

pub(super) fn matches(pattern: &str, permission: &str) -> bool {
    let (resource, action) = permission.split_once(':').unwrap();
    pattern == "*" || pattern == format!("{resource}:*") || pattern == format!("{resource}:{action}")
}

fn is_met((max_age, acr): Wish, about: &Circumstances) -> bool {
    let Some((age, class)) = about.session else { return false };
    let is_strong = match acr {
        None => true,
        Some("aal1") => ["aal1", "aal2", "aal3"].contains(&class),
        Some("aal2") => ["aal2", "aal3"].contains(&class),
        Some(other) => other == class,
    };
    is_strong && max_age.is_none_or(|max| age <= max)
}
