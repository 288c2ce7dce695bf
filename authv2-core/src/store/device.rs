//! What is asked of a database about browsers known again.

use async_trait::async_trait;

use super::{DeviceRecord, StoreError};
use crate::{
    audit::Act,
    id::{DeviceId, UserId},
};

/// Browsers that users sign in with. They become known with the opening of a session.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// The devices of a user, the last used first.
    async fn devices_of(&self, user: UserId) -> Result<Vec<DeviceRecord>, StoreError>;

    /// Whether a device is one that `user` is known on.
    async fn is_device_of(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError>;

    /// Forgets a device of `user` and ends the live sessions that were opened on it. `false` if it has no such device.
    async fn forget_device(&self, user: UserId, device: DeviceId, act: Act) -> Result<bool, StoreError>;
}
