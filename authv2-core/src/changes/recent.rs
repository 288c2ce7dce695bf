//! The revocation set: what changed lately. An entry of the shared cache that speaks of such a thing may be older than
//! its change, and is not taken.

use std::{
    collections::{HashMap, VecDeque},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use super::Change;
use crate::id::{MemberId, OrgId, SessionId, UserId};

/// How long a change is remembered: the longest life of a shared entry, and the six times `store.acquire_timeout` (20 s at
/// most) by which a commit may come later than its act.
pub(super) const REMEMBERED: Duration = Duration::from_secs(180);

/// How many changes are remembered one by one; with more, nothing is taken from the shared cache for a while.
const MOST: usize = 200_000;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Session(SessionId),
    User(UserId),
    Member(OrgId, MemberId),
}

#[derive(Debug, Default)]
pub(super) struct Recent(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Until when.
    subjects: HashMap<Subject, Instant>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, Subject)>,
    /// Until when nothing at all is taken from the shared cache.
    everything: Option<Instant>,
}

impl Recent {
    pub(super) fn note(&self, change: &Change, now: Instant) {
        let subject = match *change {
            Change::SessionRevoked { session, .. } | Change::SessionChanged { session, .. } => {
                Subject::Session(session)
            }
            Change::UserChanged { user } => Subject::User(user),
            Change::MemberChanged { organization, member, .. } => Subject::Member(organization, member),
            // What these concern is not shared, or is known by its generation.
            Change::SigningKeysChanged
            | Change::TokenRevoked { .. }
            | Change::ApiKeyChanged { .. }
            | Change::OrganizationChanged { .. }
            | Change::SessionsRevoked { .. } => return,
            Change::Everything => {
                self.0.write().unwrap_or_else(PoisonError::into_inner).everything = Some(now + REMEMBERED);
                return;
            }
        };
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, old)) = kept.order.front().copied()
            && until <= now
        {
            kept.order.pop_front();
            if kept.subjects.get(&old) == Some(&until) {
                kept.subjects.remove(&old);
            }
        }
        if kept.order.len() >= MOST {
            *kept = Kept { everything: Some(now + REMEMBERED), ..Kept::default() };
        }
        kept.subjects.insert(subject, now + REMEMBERED);
        kept.order.push_back((now + REMEMBERED, subject));
    }

    pub(super) fn holds(&self, subject: Subject, now: Instant) -> bool {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.everything.is_some_and(|until| now < until)
            || kept.subjects.get(&subject).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_a_while_from_the_last_change_on() {
        let recent = Recent::default();
        let (user, start) = (UserId::new(), Instant::now());
        let (change, subject) = (Change::UserChanged { user }, Subject::User(user));
        assert!(!recent.holds(subject, start));
        recent.note(&change, start);
        recent.note(&change, start + REMEMBERED / 2);
        assert!(recent.holds(subject, start + REMEMBERED));
        assert!(!recent.holds(Subject::User(UserId::new()), start));
        assert!(!recent.holds(subject, start + REMEMBERED * 2));
        recent.note(&Change::UserChanged { user: UserId::new() }, start + REMEMBERED * 2);
        assert_eq!(recent.0.read().unwrap().subjects.len(), 1, "what is past takes no memory");
        assert_eq!(recent.0.read().unwrap().order.len(), 1);
    }

    #[test]
    fn takes_nothing_where_anything_may_have_changed() {
        let recent = Recent::default();
        recent.note(&Change::Everything, Instant::now());
        assert!(recent.holds(Subject::Session(SessionId::new()), Instant::now()));
    }
}
