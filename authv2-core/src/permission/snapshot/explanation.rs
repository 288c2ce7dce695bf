//! The explanation: a decision made once more, with its reasons written down.

use super::{Class, GrantId, Held, Rights, Snapshot, decision::Case, reach::Verdict};
use crate::{
    clock::Timestamp,
    permission::{
        definition::Effect,
        explain::{Explanation, Needed, Reason, Trial},
        question::{Decision, Question, Subject},
        snapshot::Atom,
    },
};

/// How many ways to a yes an explanation names.
const NEEDED_MAX: usize = 8;

/// How many conditions are told that were tried.
const TRIED_MAX: usize = 32;

impl Snapshot {
    /// Decides as [`Snapshot::decide`] does, and says why. Who may see it sees the organization's roles and conditions.
    #[must_use]
    pub fn explain(
        &self,
        rights: &Rights,
        question: &Question<'_>,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Explanation {
        self.explain_judged(rights, question, subject, now).0
    }

    /// As [`Snapshot::explain`], with the atom and the grant for whoever counts decisions.
    pub(crate) fn explain_judged(
        &self,
        rights: &Rights,
        question: &Question<'_>,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> (Explanation, Option<Atom>, Option<GrantId>) {
        let Some((held, atom, verdict)) = self.look_up(rights, question) else {
            let nothing =
                Explanation { decision: Decision::Denied, reason: None, tried: Vec::new(), needed: Vec::new() };
            return (nothing, None, None);
        };
        let mut tried = Vec::new();
        let (decision, by) = match verdict {
            Verdict::Allowed => (Decision::Allowed, None),
            Verdict::Denied => (Decision::Denied, None),
            Verdict::Depends => {
                self.try_conditions(held, atom, Case { question, subject, now }, &mut |grant, outcome| {
                    if tried.len() < TRIED_MAX {
                        tried.extend(self.reason(held, grant).map(|grant| Trial { grant, outcome }));
                    }
                })
            }
        };
        let by = by.or_else(|| self.unconditional(&self.hierarchy.ancestors(held), atom));
        let reason = by.and_then(|by| self.reason(held, by));
        let is_open = !decision.is_allowed() && reason.as_ref().is_none_or(|reason| reason.effect == Effect::Allow);
        let needed = if is_open { self.needed(atom) } else { Vec::new() };
        (Explanation { decision, reason, tried, needed }, Some(atom), by)
    }

    fn reason(&self, held: &Held, id: GrantId) -> Option<Reason> {
        let (role, grant) = self.grant(id)?;
        let path = self.hierarchy.path(held, id.role).into_iter();
        Some(Reason {
            effect: grant.effect,
            role: role.to_owned(),
            via: path.filter_map(|role| self.role(role)).map(|role| role.name.clone()).collect(),
            grant: grant.permission.clone(),
            condition: grant.when.clone(),
        })
    }

    /// The first few grants by role that allow an atom, and whose role does not deny it itself.
    fn needed(&self, atom: Atom) -> Vec<Needed> {
        let allows = |wider, class| {
            self.grants.of(wider, class).iter().map(|entry| entry.id).filter(|id| !self.reach.denies(id.role, atom))
        };
        let mut found: Vec<GrantId> = Vec::new();
        for wider in self.atoms.chain(atom) {
            found.extend(allows(wider, Class::Allow).take(NEEDED_MAX));
            found.extend(allows(wider, Class::AllowIf).take(NEEDED_MAX));
        }
        found.sort_unstable();
        found.truncate(NEEDED_MAX);
        let grants = found.into_iter().filter_map(|id| self.grant(id));
        grants
            .map(|(role, grant)| Needed {
                role: role.to_owned(),
                grant: grant.permission.clone(),
                condition: grant.when.clone(),
                step_up: grant.step_up.clone(),
            })
            .collect()
    }
}
