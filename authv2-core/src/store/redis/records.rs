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
