//! The decision: a look-up, and an evaluation only where conditions have a say.

use super::{Atom, Class, GrantId, Held, Rights, Snapshot, grants::Entry, hierarchy, reach::Verdict};
use crate::{
    clock::Timestamp,
    id::StoreId,
    mfa::SECOND_FACTOR,
    permission::{
        condition::{Held as Holds, Place, Scene},
        definition::StepUp,
        explain::Outcome,
        question::{Decision, Question, SessionFacts, Subject},
    },
};

/// A decision with what statistics need to know of it.
///
/// `by` is the grant that decided where a condition had a say. Everywhere else naming it would cost more than the
/// decision: [`Snapshot::attribute`] tells it afterwards, from the rights, the atom and the store, at leisure. Both
/// are `None` where nothing speaks of the permission, or nothing that does holds. `atom` is `None` where the question
/// was not this organization's at all: its store is another's.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    pub(crate) atom: Option<Atom>,
    pub(crate) by: Option<GrantId>,
}

/// A question that depends on conditions, with all that they may look at.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) subject: &'a Subject<'a>,
    pub(super) now: Timestamp,
}

impl Snapshot {
    /// Decides. A deny that holds, or whose condition cannot be evaluated, beats whatever allows; what nothing allows
    /// is denied, and so is everything at a store that is not this organization's, or by rights of another snapshot.
    #[must_use]
    #[inline]
    pub fn decide(&self, rights: &Rights, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Decision {
        match self.look_up(rights, question) {
            Some((_, _, Verdict::Allowed)) => Decision::Allowed,
            None | Some((_, _, Verdict::Denied)) => Decision::Denied,
            Some((held, atom, Verdict::Depends)) => self.evaluate(held, atom, Case { question, subject, now }).decision,
        }
    }

    /// As [`Snapshot::decide`], for whoever counts decisions.
    #[inline]
    pub(crate) fn judge(
        &self,
        rights: &Rights,
        question: &Question<'_>,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Judged {
        match self.look_up(rights, question) {
            None => Judged { decision: Decision::Denied, atom: None, by: None },
            Some((_, atom, Verdict::Allowed)) => Judged { decision: Decision::Allowed, atom: Some(atom), by: None },
            Some((_, atom, Verdict::Denied)) => Judged { decision: Decision::Denied, atom: Some(atom), by: None },
            Some((held, atom, Verdict::Depends)) => self.evaluate(held, atom, Case { question, subject, now }),
        }
    }

    /// What the table says; nothing where the question is not this organization's, or the rights are not this
    /// snapshot's.
    #[inline]
    pub(super) fn look_up<'r>(&self, rights: &'r Rights, question: &Question<'_>) -> Option<(&'r Held, Atom, Verdict)> {
        let held = self.held(rights, question.store)?;
        let atom = self.atoms.find(question.permission);
        Some((held, atom, self.reach.verdict(held, atom)))
    }

    /// The grant under no condition that settles an atom for these rights: one that denies, else one that allows.
    /// Among several it is the one of the narrowest pattern, then of the first role by name.
    pub(crate) fn attribute(&self, rights: &Rights, atom: Atom, store: Option<StoreId>) -> Option<GrantId> {
        let held = self.held(rights, store)?;
        self.unconditional(&self.hierarchy.ancestors(held), atom)
    }

    pub(super) fn unconditional(&self, ancestors: &[u32], atom: Atom) -> Option<GrantId> {
        [Class::Deny, Class::Allow]
            .into_iter()
            .find_map(|class| self.matching(ancestors, atom, class).next())
            .map(|e| e.id)
    }

    #[cold]
    fn evaluate(&self, held: &Held, atom: Atom, case: Case<'_>) -> Judged {
        let (decision, by) = self.try_conditions(held, atom, case, &mut |_, _| ());
        Judged { decision, atom: Some(atom), by }
    }

    /// Decides what depends on conditions, and tells each one tried and how it went. No deny without condition matches.
    pub(super) fn try_conditions(
        &self,
        held: &Held,
        atom: Atom,
        case: Case<'_>,
        tried: &mut dyn FnMut(GrantId, Outcome),
    ) -> (Decision, Option<GrantId>) {
        let ancestors = self.hierarchy.ancestors(held);
        let roles = self.names(held);
        let place = Place {
            organization: self.model.organization,
            store: case.question.store,
            roles: &roles,
            time_zone: &self.time_zone,
            now: case.now,
            resource_type: self.model.resource_types.get(case.question.permission.resource()),
        };
        let scene = Scene::new(case.question, case.subject, &place);
        let holds = |entry: &Entry| match self.grants.condition(entry) {
            None => Holds::Yes,
            Some(Ok(condition)) => condition.holds(&scene),
            Some(Err(why)) => Holds::Failed(why.clone()),
        };
        for deny in self.matching(&ancestors, atom, Class::DenyIf) {
            let outcome = holds(deny);
            let denies = outcome != Holds::No;
            tried(deny.id, Outcome::from(outcome));
            if denies {
                return (Decision::Denied, Some(deny.id));
            }
        }
        if self.reach.allows(held, atom) {
            return (Decision::Allowed, None);
        }
        let mut step_up = None;
        for allow in self.matching(&ancestors, atom, Class::AllowIf) {
            let outcome = holds(allow);
            if outcome != Holds::Yes {
                tried(allow.id, Outcome::from(outcome));
                continue;
            }
            let wanted = self.grant(allow.id).and_then(|(_, grant)| grant.step_up.as_ref());
            match wanted.filter(|wanted| !is_met(wanted, case.subject.session.as_ref(), case.now)) {
                None => {
                    tried(allow.id, Outcome::Held);
                    return (Decision::Allowed, Some(allow.id));
                }
                Some(wanted) => {
                    tried(allow.id, Outcome::StepUp(wanted.clone()));
                    step_up.get_or_insert((wanted, allow.id));
                }
            }
        }
        match step_up {
            Some((wanted, by)) => (Decision::StepUp(wanted.clone()), Some(by)),
            None => (Decision::Denied, None),
        }
    }

    /// The grants of a class that speak of an atom and belong to one of these roles, narrowest pattern first.
    pub(super) fn matching<'a>(
        &'a self,
        roles: &'a [u32],
        atom: Atom,
        class: Class,
    ) -> impl Iterator<Item = &'a Entry> {
        self.atoms
            .chain(atom)
            .flat_map(move |atom| self.grants.of(atom, class))
            .filter(|entry| hierarchy::contains(roles, entry.id.role))
    }
}

impl From<Holds> for Outcome {
    fn from(holds: Holds) -> Self {
        match holds {
            Holds::Yes => Self::Held,
            Holds::No => Self::DidNotHold,
            Holds::Failed(why) => Self::Failed(why),
        }
    }
}

/// Whether a sign-in is as fresh and strong as wanted. Without a session nothing is known of it.
fn is_met(wanted: &StepUp, session: Option<&SessionFacts<'_>>, now: Timestamp) -> bool {
    let Some(session) = session else { return false };
    let is_fresh = |age| now.since(session.auth_time).as_micros() <= u128::from(age) * 1_000_000;
    wanted.max_age.is_none_or(is_fresh) && wanted.acr.as_deref().is_none_or(|acr| is_at_least(session.acr, acr))
}

/// Classes that are known to be stronger than others (NIST SP 800-63), weakest first; any other one is only itself.
const LEVELS: [&str; 3] = ["aal1", "aal2", "aal3"];

/// A decision for somebody of whom the organization wants a second factor: it waits for one, unless it is a no anyway.
/// Who asks without a session of its own is asked for none.
pub(crate) fn with_second_factor(decision: Decision, session: Option<&SessionFacts<'_>>) -> Decision {
    if session.is_none_or(|session| is_at_least(session.acr, SECOND_FACTOR)) {
        return decision;
    }
    match decision {
        Decision::Denied => Decision::Denied,
        Decision::Allowed => Decision::StepUp(StepUp { max_age: None, acr: Some(SECOND_FACTOR.to_owned()) }),
        Decision::StepUp(StepUp { max_age, acr }) => {
            let acr = acr.filter(|acr| is_at_least(acr, SECOND_FACTOR)).unwrap_or_else(|| SECOND_FACTOR.to_owned());
            Decision::StepUp(StepUp { max_age, acr: Some(acr) })
        }
    }
}

/// Whether a class is that which is wanted, or a higher level. An empty one is met by nobody.
pub(crate) fn is_at_least(acr: &str, wanted: &str) -> bool {
    let level = |name| LEVELS.iter().position(|level| *level == name);
    (!wanted.is_empty() && acr == wanted)
        || matches!((level(acr), level(wanted)), (Some(has), Some(wants)) if has >= wants)
}
