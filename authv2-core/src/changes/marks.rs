//! Whether something changed since it was read, without anybody keeping a list of what was read.
//!
//! Subjects share marks: a change of one makes what was read of the few others with its mark look changed too, and be
//! read again.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::Change;
use crate::id::{KeyId, MemberId, OrgId, SessionId, TokenId, UserId};

/// How many marks there are: 128 KiB in all, which a processor keeps close.
const MARKS: u16 = 16 * 1024;

/// The place where the last change of a subject is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u16);

/// How many changes were heard of when a reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since(u64);

#[derive(Debug)]
pub(super) struct Marks {
    /// How many changes were heard of.
    count: AtomicU64,
    /// The last change at each mark.
    last: Box<[AtomicU64]>,
    /// The last change that concerned everything.
    everything: AtomicU64,
}

impl Mark {
    pub(crate) fn of_session(id: SessionId) -> Self {
        Self::of(id.as_uuid())
    }

    pub(crate) fn of_user(id: UserId) -> Self {
        Self::of(id.as_uuid())
    }

    pub(crate) fn of_token(id: TokenId) -> Self {
        Self::of(id.as_uuid())
    }

    pub(crate) fn of_key(id: KeyId) -> Self {
        Self::of(id.as_uuid())
    }

    /// Of an organization, its roles, and the sessions in it.
    pub(crate) fn of_organization(id: OrgId) -> Self {
        Self::of(id.as_uuid())
    }

    /// Of a member, in whatever organization; the same as the user's that it is.
    pub(crate) fn of_member(id: MemberId) -> Self {
        Self::of(id.as_uuid())
    }

    /// Of the signing keys: no id has it, so that nothing else makes every token look changed.
    pub(crate) const KEYS: Self = Self(MARKS);

    /// The last bits of a UUIDv7 are random.
    fn of(id: Uuid) -> Self {
        let [.., high, low] = id.into_bytes();
        Self(u16::from_be_bytes([high, low]) % MARKS)
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            last: (0..=MARKS).map(|_| AtomicU64::new(0)).collect(),
            everything: AtomicU64::new(0),
        }
    }

    /// Marks a change, once every listener has applied it: what is read after this is read from memory that knows it.
    pub(super) fn note(&self, change: &Change) {
        let number = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        let mark = |mark: Mark| {
            if let Some(last) = self.last.get(mark.index()) {
                last.fetch_max(number, Ordering::AcqRel);
            }
        };
        match *change {
            Change::SessionRevoked { session, .. } | Change::SessionChanged { session, .. } => {
                mark(Mark::of_session(session));
            }
            Change::SessionsRevoked { organization: Some(organization), .. }
            | Change::OrganizationChanged { organization, .. } => mark(Mark::of_organization(organization)),
            Change::UserChanged { user } => mark(Mark::of_user(user)),
            Change::MemberChanged { member, .. } => mark(Mark::of_member(member)),
            Change::TokenRevoked { token, .. } => mark(Mark::of_token(token)),
            Change::ApiKeyChanged { key, .. } => mark(Mark::of_key(key)),
            Change::SigningKeysChanged => mark(Mark::KEYS),
            Change::SessionsRevoked { organization: None, .. } | Change::Everything => {
                self.everything.fetch_max(number, Ordering::AcqRel);
            }
        }
    }

    pub(super) fn now(&self) -> Since {
        Since(self.count.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn unchanged(&self, marks: &[Mark], since: Since) -> bool {
        let before = |last: &AtomicU64| last.load(Ordering::Acquire) <= since.0;
        before(&self.everything) && marks.iter().all(|mark| self.last.get(mark.index()).is_some_and(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(session: SessionId) -> Change {
        Change::SessionRevoked { session, user: UserId::new() }
    }

    #[test]
    fn what_changed_after_a_reading_began_is_seen_and_nothing_else() {
        let marks = Marks::new();
        let [ours, other] = [0x10, 0x11].map(|byte| SessionId::from(Uuid::from_bytes([byte; 16])));
        marks.note(&session(ours));
        let since = marks.now();
        let is_unchanged = || marks.unchanged(&[Mark::of_session(ours), Mark::KEYS], since);
        assert!(is_unchanged(), "it changed before");
        marks.note(&session(other));
        assert!(is_unchanged(), "something else changed");
        marks.note(&session(ours));
        assert!(!is_unchanged());
        assert!(marks.unchanged(&[Mark::of_session(ours)], marks.now()));
    }

    #[test]
    fn each_kind_of_change_marks_what_it_concerns() {
        let id = |byte| Uuid::from_bytes([byte; 16]);
        let (organization, member) = (OrgId::from(id(0x21)), MemberId::from(UserId::from(id(0x22))));
        for (change, mark) in [
            (Change::UserChanged { user: UserId::from(id(0x20)) }, Mark::of_user(UserId::from(id(0x20)))),
            (Change::OrganizationChanged { organization, revision: 1 }, Mark::of_organization(organization)),
            (Change::MemberChanged { organization, member, revision: 1 }, Mark::of_member(member)),
            (
                Change::SessionsRevoked { organization: Some(organization), generation: 1 },
                Mark::of_organization(organization),
            ),
            (Change::SessionsRevoked { organization: None, generation: 1 }, Mark::of_organization(organization)),
            (
                Change::ApiKeyChanged { organization, key: KeyId::from(id(0x23)), revision: 1 },
                Mark::of_key(KeyId::from(id(0x23))),
            ),
            (Change::SigningKeysChanged, Mark::KEYS),
            (Change::Everything, Mark::of_member(member)),
        ] {
            let marks = Marks::new();
            let since = marks.now();
            marks.note(&change);
            assert!(!marks.unchanged(&[mark], since), "{change:?}");
        }
    }
}
