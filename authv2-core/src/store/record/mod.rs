//! The records that cross the store boundary.

mod api_key;
mod deployment;
mod device;
mod mail;
mod member;
mod metering;
mod mfa;
mod organization;
mod proof;
mod role;
mod security;
mod session;
mod throttle;
mod usage;
mod user;

pub use self::{
    api_key::*, deployment::*, device::*, mail::*, member::*, metering::*, mfa::*, organization::*, proof::*, role::*,
    security::*, session::*, throttle::*, usage::*, user::*,
};

/// Gives an enum its one spelling in the database.
macro_rules! stored_as_text {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// As it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = StoreError;

            fn try_from(text: String) -> Result<Self, StoreError> {
                match text.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(StoreError::corrupt(concat!("unknown ", stringify!($name)))),
                }
            }
        }
    };
}

use stored_as_text;
