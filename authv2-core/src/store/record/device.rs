//! Browsers that users sign in with, known again by a signed cookie.

use crate::{
    clock::Timestamp,
    id::{DeviceId, UserId},
    mail::NewMail,
};

/// A browser as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeviceRecord {
    /// Its id.
    #[sqlx(rename = "device_id")]
    pub id: DeviceId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its `User-Agent` said it is.
    pub name: String,
    /// Where the user last signed in on it.
    pub ip: Option<String>,
    /// When it became known.
    pub created_at: Timestamp,
    /// When the user last signed in on it.
    pub last_login_at: Timestamp,
}

/// The browser that a session is opened in: it is known from then on.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// The device that its cookie names, whose signature was good.
    pub presented: Option<DeviceId>,
    /// The id that it gets, unless it is that one and still known.
    pub id: DeviceId,
    /// What its `User-Agent` says it is.
    pub name: String,
    /// Tells the user of it, unless it is known.
    pub notice: Option<NewMail>,
}
