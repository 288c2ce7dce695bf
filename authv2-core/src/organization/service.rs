//! The organization service: founding, changing and finding organizations and their stores.

use std::{borrow::Cow, sync::Arc};

use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::{
    audit::{Act, Actor, Origin},
    clock::Clock,
    error::{Error, FieldError},
    id::{OrgId, RoleId, StoreId, UserId},
    permission::is_name,
    store::{
        AtRevision, Named, NewOrganization, NewRole, NewStore, OrganizationChange, OrganizationName,
        OrganizationRecord, Revised, SharedStore, StoreError, StoreRecord,
    },
};

/// The longest name of anything, in code points.
const NAME_MAX: usize = 200;
/// The time zone of an organization that has not chosen one.
const DEFAULT_TIME_ZONE: &str = "UTC";

/// Why the organization service could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrganizationError {
    /// Fields that are not acceptable.
    #[error("some fields are not acceptable")]
    Invalid(Vec<FieldError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OrganizationError> for Error {
    fn from(error: OrganizationError) -> Self {
        match error {
            OrganizationError::Invalid(fields) => Self::invalid(fields),
            OrganizationError::Store(error) => error.into(),
        }
    }
}

/// Organizations and their stores. It judges what is written, not who may write it.
#[derive(Debug, Clone)]
pub struct OrganizationService {
    store: SharedStore,
    clock: Arc<dyn Clock>,
}

impl OrganizationService {
    pub(crate) fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Founds an organization with these roles; `owner` is its first member and gets `owner_role`.
    ///
    /// # Errors
    /// [`OrganizationError::Invalid`] on `slug` and `name`; otherwise the store's.
    pub async fn found(
        &self,
        slug: &str,
        name: &str,
        roles: Vec<NewRole>,
        owner: UserId,
        owner_role: RoleId,
        origin: &Origin,
    ) -> Result<Named<OrganizationRecord>, OrganizationError> {
        let mut problems = Vec::new();
        let (slug, name) = (self::slug(slug, &mut problems), named(name, &mut problems));
        accept(problems)?;
        let id = OrgId::new();
        let time_zone = DEFAULT_TIME_ZONE.to_owned();
        let new = NewOrganization { id, slug, name, time_zone, roles, owner, owner_role };
        let act = self.act("organization.created", Actor::User(owner), id, origin).on(id);
        Ok(self.store.create_organization(new, act).await?)
    }

    /// An organization by slug or id.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, name: &OrganizationName) -> Result<Option<OrganizationRecord>, OrganizationError> {
        Ok(self.store.organization(name).await?)
    }

    /// The organizations that a user belongs to, by slug.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<OrganizationRecord>, OrganizationError> {
        Ok(self.store.organizations_of(user).await?)
    }

    /// Changes an organization's name or time zone; what is `None` stays. `None` if it has gone.
    ///
    /// # Errors
    /// [`OrganizationError::Invalid`] on `name` and `time_zone`; otherwise the store's.
    pub async fn update(
        &self,
        organization: &OrganizationRecord,
        name: Option<&str>,
        time_zone: Option<&str>,
        actor: Actor,
        origin: &Origin,
    ) -> Result<Option<OrganizationRecord>, OrganizationError> {
        let mut problems = Vec::new();
        let change = OrganizationChange {
            name: name.map(|name| named(name, &mut problems)),
            time_zone: time_zone.and_then(|name| self::time_zone(name, &mut problems)),
            mfa: None,
        };
        accept(problems)?;
        if change.name.is_none() && change.time_zone.is_none() {
            return Ok(Some(organization.clone()));
        }
        let act = self.act("organization.updated", actor, organization.id, origin).on(organization.id);
        Ok(self.store.update_organization(organization.id, change, act).await?)
    }

    /// Removes an organization with everything in it, if it is still as it was read.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(
        &self,
        at: AtRevision,
        actor: Actor,
        origin: &Origin,
    ) -> Result<Revised<()>, OrganizationError> {
        let act = self.act("organization.deleted", actor, at.organization, origin).on(at.organization);
        Ok(self.store.delete_organization(at, act).await?)
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`OrganizationError::Invalid`] on `slug` and `name`; otherwise the store's.
    pub async fn open_store(
        &self,
        organization: OrgId,
        slug: &str,
        name: &str,
        actor: Actor,
        origin: &Origin,
    ) -> Result<Named<StoreRecord>, OrganizationError> {
        let mut problems = Vec::new();
        let (slug, name) = (self::slug(slug, &mut problems), named(name, &mut problems));
        accept(problems)?;
        let new = NewStore { id: StoreId::new(), slug, name };
        let act = self.act("store.created", actor, organization, origin).on(new.id);
        Ok(self.store.create_store(organization, new, act).await?)
    }

    fn act(&self, action: &'static str, actor: Actor, organization: OrgId, origin: &Origin) -> Act {
        Act::new(action, actor, self.clock.now(), origin).within(organization)
    }
}

fn accept(problems: Vec<FieldError>) -> Result<(), OrganizationError> {
    if problems.is_empty() { Ok(()) } else { Err(OrganizationError::Invalid(problems)) }
}

/// A slug as it will be stored; what is wrong with it goes to `problems`.
fn slug(text: &str, problems: &mut Vec<FieldError>) -> String {
    if !is_name(text) {
        let message = "must be a lower-case letter, then at most 62 of a-z, 0-9, _ and -";
        problems.push(FieldError::new("slug", "invalid_slug", message));
    } else if Uuid::try_parse(text).is_ok() {
        // A path names an organization by slug or id: one must never be taken for the other.
        problems.push(FieldError::new("slug", "invalid_slug", "must not look like an id"));
    }
    text.to_owned()
}

/// What people call something, as it will be stored; what is wrong with it goes to `problems`.
pub(crate) fn named(text: &str, problems: &mut Vec<FieldError>) -> String {
    let name = text.trim();
    let problem: Option<(&'static str, Cow<'static, str>)> = if name.is_empty() {
        Some(("too_short", "must not be empty".into()))
    } else if name.chars().count() > NAME_MAX {
        Some(("too_long", format!("must be at most {NAME_MAX} characters long").into()))
    } else if name.chars().any(char::is_control) {
        Some(("invalid_character", "must not contain control characters".into()))
    } else {
        None
    };
    if let Some((code, message)) = problem {
        problems.push(FieldError::new("name", code, message));
    }
    name.to_owned()
}

/// A time zone in the IANA spelling; one that nobody knows goes to `problems`.
fn time_zone(name: &str, problems: &mut Vec<FieldError>) -> Option<String> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    let known = zone.as_ref().and_then(TimeZone::iana_name).map(str::to_owned);
    if known.is_none() {
        problems.push(FieldError::new("time_zone", "unknown_time_zone", "must be an IANA name like `Europe/Berlin`"));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(check: impl FnOnce(&mut Vec<FieldError>)) -> Vec<&'static str> {
        let mut problems = Vec::new();
        check(&mut problems);
        problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_slug_is_a_name_and_no_id() {
        for good in ["acme", "a", "acme-2_x"] {
            assert!(problems(|found| drop(slug(good, found))).is_empty(), "{good}");
        }
        // The last two are what an id looks like, the one with hyphens and the one without.
        for bad in ["", "Acme", "1acme", "a b", "a.b", "abcdef01-2345-7890-abcd-ef0123456789", &"a".repeat(32)] {
            assert_eq!(problems(|found| drop(slug(bad, found))), ["invalid_slug"], "{bad}");
        }
    }

    #[test]
    fn a_name_is_trimmed_and_of_200_characters_at_most() {
        assert_eq!(named("  Åcme\u{a0}", &mut Vec::new()), "Åcme");
        assert!(problems(|found| drop(named(&"é".repeat(200), found))).is_empty());
        for (bad, code) in
            [("", "too_short"), (" \t", "too_short"), ("a\u{7}b", "invalid_character"), (&"é".repeat(201), "too_long")]
        {
            assert_eq!(problems(|found| drop(named(bad, found))), [code], "{bad:?}");
        }
    }

    #[test]
    fn a_time_zone_is_known_and_kept_in_its_own_spelling() {
        for (asked, kept) in
            [("Europe/Berlin", "Europe/Berlin"), ("america/new_york", "America/New_York"), ("utc", "UTC")]
        {
            assert_eq!(time_zone(asked, &mut Vec::new()).as_deref(), Some(kept));
        }
        for bad in ["", "Mars/Olympus", "Etc/Unknown", "+02:00", "CET-1CEST", "../etc/passwd", "Europe/Berlin "] {
            assert_eq!(problems(|found| drop(time_zone(bad, found))), ["unknown_time_zone"], "{bad:?}");
        }
    }
}
