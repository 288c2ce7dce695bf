//! Typed identifiers: UUIDv7 values that the compiler keeps apart.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text given is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// A UUIDv7 (RFC 9562 section 5.7): ordered by creation time, so that it indexes well; it is not a secret.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes an id for something created now.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "a default id would be a surprise: each one is unique")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads the hyphenated form only, the one that the API writes.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )+};
}

ids! {
    /// A node of the deployment, from its start to its end.
    NodeId;
    /// A person or other account, global across organizations.
    UserId;
    /// An organization: the outer tenant boundary.
    OrgId;
    /// A store inside an organization: the inner tenant boundary.
    StoreId;
    /// A role of an organization.
    RoleId;
    /// A member of an organization: of a user it is the user's id, of a service account its own.
    MemberId;
    /// One signed-in session.
    SessionId;
    /// One access token: what its `jti` says.
    TokenId;
    /// One API key.
    KeyId;
    /// One mail.
    MailId;
    /// A hold on a mail, of whoever is about to send it.
    ClaimId;
    /// One browser that a user signs in with, known again by its cookie.
    DeviceId;
    /// One security event.
    EventId;
    /// One audit entry.
    AuditId;
    /// One request, where the caller did not name it.
    RequestUuid;
}

impl From<UserId> for MemberId {
    fn from(user: UserId) -> Self {
        Self(user.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let id = UserId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn refuses_other_uuid_spellings() {
        let simple = UserId::new().as_uuid().simple().to_string();
        for text in [simple.as_str(), "", "not-an-id", &format!("{{{}}}", UserId::new())] {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId), "{text}");
        }
    }
}
