//! Browsers that users are known on: their cookies, and the list of one's own.
//!
//! The cookie names a device and who signed in on it last, under a MAC (OWASP's device cookies). It opens nothing: a
//! sign-in that comes with it is counted apart from everybody else's.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, DeviceClaim, Origin},
    clock::Timestamp,
    error::{Code, Error, Result},
    id::{DeviceId, UserId},
    principal::Principal,
    secret::Secret,
    store::DeviceRecord,
};

/// How long a browser is known without a sign-in; as long as browsers keep a cookie.
pub(super) const DEVICE_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// The length of an id in a cookie, in bytes.
const ID: usize = 16;

/// A browser that a user is known on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KnownDevice {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: DeviceId,
    /// What it says it is: browser and system.
    #[schema(example = "Firefox on Linux")]
    pub name: String,
    /// Where the user last signed in on it.
    pub ip: Option<String>,
    /// When it became known.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user last signed in on it.
    #[schema(value_type = String, format = DateTime)]
    pub last_login_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// Makes and reads the cookies of one deployment.
pub(super) struct DeviceCookies(hmac::Key);

impl DeviceCookies {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }

    /// The cookie of a device.
    pub(super) fn cookie(&self, claim: DeviceClaim) -> Secret {
        let mut value = [claim.device.as_uuid().into_bytes(), claim.user.as_uuid().into_bytes()].concat();
        let tag = hmac::sign(&self.0, &value);
        value.extend_from_slice(tag.as_ref());
        Secret::new(URL_SAFE_NO_PAD.encode(value))
    }

    /// What a cookie says, if this deployment said so.
    pub(super) fn read(&self, value: &str) -> Option<DeviceClaim> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (ids, tag) = bytes.split_at_checked(2 * ID)?;
        hmac::verify(&self.0, ids, tag).ok()?;
        let (device, user) = ids.split_at_checked(ID)?;
        let (device, user) = (Uuid::from_slice(device).ok()?, Uuid::from_slice(user).ok()?);
        Some(DeviceClaim { device: device.into(), user: user.into() })
    }
}

impl AuthenticationService {
    /// The browsers that the caller is known on, the last used first.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] without a session, or an outage.
    pub async fn devices(&self, principal: &Principal, origin: &Origin) -> Result<Vec<KnownDevice>> {
        let user = principal.signed_in()?.user().id;
        let current = origin.device.and_then(|claim| claim.of(user));
        let known = |record: DeviceRecord| {
            let DeviceRecord { id, name, ip, created_at, last_login_at, .. } = record;
            KnownDevice { id, name, ip, created_at, last_login_at, current: current == Some(id) }
        };
        Ok(self.0.store.devices_of(user).await?.into_iter().map(known).collect())
    }

    /// Forgets a browser that the caller is known on, and ends its live sessions that were opened there: its cookie is
    /// worth nothing from then on.
    ///
    /// # Errors
    /// [`Code::NotFound`] for one that is not the caller's, [`Code::PermissionDenied`] without a session, or an outage.
    pub async fn forget_device(&self, principal: &Principal, device: DeviceId, origin: &Origin) -> Result<()> {
        let user = principal.signed_in()?.user().id;
        let act = Act::new("device.forgotten", Actor::User(user), self.now(), origin).on(device);
        if self.0.store.forget_device(user, device, act).await? { Ok(()) } else { Err(no_device()) }
    }

    /// The device that a call of `user` comes from, if it is known on it.
    ///
    /// # Errors
    /// An outage.
    pub(super) async fn known_device(&self, user: UserId, origin: &Origin) -> Result<Option<DeviceId>> {
        match origin.device.and_then(|claim| claim.of(user)) {
            Some(device) if self.0.store.is_device_of(user, device).await? => Ok(Some(device)),
            _ => Ok(None),
        }
    }
}

/// What is not one's own is not there.
pub(crate) fn no_device() -> Error {
    Error::new(Code::NotFound, "there is no such device")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(key: u8) -> DeviceCookies {
        DeviceCookies::new(&Zeroizing::new([key; 32]))
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let claim = DeviceClaim { device: DeviceId::new(), user: UserId::new() };
        let cookie = cookies(7).cookie(claim);
        assert_eq!(cookies(7).read(cookie.expose()), Some(claim));
        assert_eq!(claim.of(claim.user), Some(claim.device));
        assert_eq!(claim.of(UserId::new()), None, "another user is not known on it");
    }

    #[test]
    fn takes_no_cookie_that_was_changed_or_made_elsewhere() {
        let claim = DeviceClaim { device: DeviceId::new(), user: UserId::new() };
        let cookie = cookies(7).cookie(claim);
        assert_eq!(cookies(8).read(cookie.expose()), None);
        let bytes = URL_SAFE_NO_PAD.decode(cookie.expose()).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(cookies(7).read(&URL_SAFE_NO_PAD.encode(changed)), None, "byte {place}");
        }
        for length in 0..bytes.len() {
            assert_eq!(cookies(7).read(&URL_SAFE_NO_PAD.encode(&bytes[..length])), None, "{length} bytes");
        }
        assert_eq!(cookies(7).read("no cookie"), None);
    }
}
