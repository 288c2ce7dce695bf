//! The records that are cached, in their compact form.

use super::codec::Wire;
use crate::store::{AccessRecord, Assignment, DeviceKind, Risk, SessionRecord, Transport, UserRecord, UserStatus};

/// Lists the fields in their order, each once; one that is missing does not compile. Those after `without` are not
/// written, and come back as the value given.
macro_rules! record {
    ($name:ident { $($field:ident),+ $(,)? } $(without { $($left_out:ident: $value:expr),+ })?) => {
        impl Wire for $name {
            fn write(&self, to: &mut Vec<u8>) {
                let Self { $($field,)+ $($($left_out: _,)+)? } = self;
                $($field.write(to);)+
            }

            fn read(from: &mut &[u8]) -> Option<Self> {
                $(let $field = Wire::read(from)?;)+
                Some(Self { $($field,)+ $($($left_out: $value,)+)? })
            }
        }
    };
}

macro_rules! texts {
    ($($name:ty)+) => {$(
        impl Wire for $name {
            fn write(&self, to: &mut Vec<u8>) {
                self.as_str().to_owned().write(to);
            }

            fn read(from: &mut &[u8]) -> Option<Self> {
                Self::try_from(String::read(from)?).ok()
            }
        }
    )+};
}

texts! { Transport Risk UserStatus DeviceKind }

record!(SessionRecord {
    id,
    user_id,
    transport,
    cookie_hash,
    created_at,
    auth_time,
    last_seen_at,
    expires_at,
    idle_expires_at,
    ip,
    user_agent,
    amr,
    acr,
    organization,
    store,
    risk,
    revoked_at,
    generation,
    device,
    network_changed,
    device_changed,
    key_thumbprint,
});

// A password hash is of use to nobody who validates a session, and of much use to a thief.
record!(UserRecord {
    id,
    external_id,
    email,
    email_verified,
    display_name,
    status,
    platform_admin,
    mfa_enabled,
    metadata,
    version,
    created_at,
    updated_at,
    last_login_at,
} without { password_hash: None });

record!(Assignment { role, store });
record!(AccessRecord { revision, roles });

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::Timestamp,
        id::{OrgId, SessionId, StoreId, UserId},
        secret::SecretHash,
        store::{
            Redacted,
            redis::codec::{read_all, write_all},
        },
    };

    fn session() -> SessionRecord {
        let at = Timestamp::from_seconds;
        SessionRecord {
            id: SessionId::from(Uuid::from_u128(1)),
            user_id: UserId::from(Uuid::from_u128(2)),
            transport: Transport::Bearer,
            cookie_hash: Some(vec![8; 32]),
            created_at: at(3),
            auth_time: at(4),
            last_seen_at: at(5),
            expires_at: at(6),
            idle_expires_at: at(7),
            ip: Some("192.0.2.8".into()),
            user_agent: None,
            amr: "pwd".into(),
            acr: "urn:example:9".into(),
            organization: Some(OrgId::from(Uuid::from_u128(10))),
            store: Some(StoreId::from(Uuid::from_u128(11))),
            risk: Risk::Medium,
            revoked_at: None,
            generation: 16,
            device: DeviceKind::Mobile,
            network_changed: true,
            device_changed: false,
            key_thumbprint: Some(vec![17; 32]),
        }
    }

    fn user() -> UserRecord {
        let at = Timestamp::from_seconds;
        UserRecord {
            id: UserId::from(Uuid::from_u128(2)),
            external_id: None,
            email: "ada@example.org".into(),
            email_verified: true,
            display_name: Some("Ada".into()),
            status: UserStatus::Active,
            password_hash: Some(Redacted("$argon2id$".into())),
            platform_admin: false,
            mfa_enabled: true,
            metadata: "{}".into(),
            version: 12,
            created_at: at(13),
            updated_at: at(14),
            last_login_at: Some(at(15)),
        }
    }

    #[test]
    fn a_session_and_its_user_come_back_without_the_password_hash() {
        let bytes = write_all(&(session(), user()));
        assert!(!bytes.windows(7).any(|window| window == b"$argon2"));
        let expected = UserRecord { password_hash: None, ..user() };
        assert_eq!(read_all::<(SessionRecord, UserRecord)>(&bytes), Some((session(), expected)));
    }

    /// Where this fails, what is written has changed: raise the format in `entry`, then change the value here.
    #[test]
    fn what_is_written_is_of_the_present_format() {
        let bytes = write_all(&(session(), user()));
        let hash = SecretHash::of(&bytes);
        assert_eq!(crate::store::redis::seal::base64(hash.as_bytes()), "HXdSgxtCUPSmF6-0nSm6FZEDgarX-HBXhhjFZAkUhWw");
    }
}
