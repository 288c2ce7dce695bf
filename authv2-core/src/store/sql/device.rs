//! Browsers known again, in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::live,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    id::{DeviceId, SessionId, UserId},
    store::{DeviceRecord, DeviceStore, NewSession, StoreError},
};

/// How many devices a user is known on: the one that was used the longest ago gives way.
const MOST: i64 = 20;

const OF_USER: &str = "SELECT * FROM devices WHERE user_id = $1 ORDER BY last_login_at DESC, device_id DESC";

const IS_OF_USER: &str = "SELECT device_id FROM devices WHERE device_id = $1 AND user_id = $2";

const NOTE: &str = "UPDATE devices SET name = $3, ip = $4, last_login_at = $5 WHERE device_id = $1 AND user_id = $2";

const ADD: &str = "INSERT INTO devices (device_id, user_id, name, ip, created_at, last_login_at)
    VALUES ($1, $2, $3, $4, $5, $5)";

const MAKE_ROOM: &str = "DELETE FROM devices WHERE device_id IN
    (SELECT device_id FROM devices WHERE user_id = $1 ORDER BY last_login_at DESC, device_id DESC
        LIMIT 1000000 OFFSET $2)";

const FORGET: &str = "DELETE FROM devices WHERE device_id = $1 AND user_id = $2";

const END_SESSIONS: &str = concat!(
    "UPDATE sessions SET revoked_at = $3 WHERE device_id = $1 AND user_id = $2 AND ",
    live!("$3"),
    " RETURNING session_id"
);

/// All but the one that a session was opened on.
const FORGET_ALL: &str = "DELETE FROM devices WHERE user_id = $1
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE session_id = $2 AND sessions.device_id = devices.device_id)";

pub(super) const PURGE: &str = "DELETE FROM devices WHERE device_id IN
    (SELECT device_id FROM devices WHERE last_login_at < $1 LIMIT 1000)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[OF_USER, IS_OF_USER, NOTE, MAKE_ROOM, FORGET, END_SESSIONS, FORGET_ALL, PURGE];

#[async_trait]
impl DeviceStore for SqlStore {
    async fn devices_of(&self, user: UserId) -> Result<Vec<DeviceRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(OF_USER).bind(user).fetch_all(pool))
    }

    async fn is_device_of(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        let found: Option<(DeviceId,)> =
            read!(self, pool => sqlx::query_as(IS_OF_USER).bind(device).bind(user).fetch_optional(pool))?;
        Ok(found.is_some())
    }

    async fn forget_device(&self, user: UserId, device: DeviceId, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.lock_user(user).await?;
                if execute!(tx, sqlx::query(FORGET).bind(device).bind(user))? == 0 {
                    return Ok(false);
                }
                let ended: Vec<(SessionId,)> = within!(tx, conn =>
                    sqlx::query_as(END_SESSIONS).bind(device).bind(user).bind(act.at).fetch_all(conn))?;
                for (session,) in ended {
                    tx.change(Change::SessionRevoked { session, user }, act.at).await?;
                }
                tx.record(&act).await?;
                Ok(true)
            })
        })
        .await
    }
}

impl Tx {
    /// Knows the browser that a session is opened in, from now on; its id, and whether it was known before. Under an
    /// update of the user's row.
    pub(super) async fn know_device(&mut self, new: &NewSession) -> Result<Option<(DeviceId, bool)>, StoreError> {
        let Some(device) = &new.browser else { return Ok(None) };
        let (user, ip, at) = (new.record.user_id, &new.record.ip, new.record.created_at);
        if let Some(presented) = device.presented {
            let noted =
                execute!(self, sqlx::query(NOTE).bind(presented).bind(user).bind(&device.name).bind(ip).bind(at))?;
            if noted == 1 {
                return Ok(Some((presented, true)));
            }
        }
        execute!(self, sqlx::query(ADD).bind(device.id).bind(user).bind(&device.name).bind(ip).bind(at))?;
        execute!(self, sqlx::query(MAKE_ROOM).bind(user).bind(MOST))?;
        Ok(Some((device.id, false)))
    }

    /// Forgets every device of a user but the one that the session `keep` was opened on.
    pub(super) async fn forget_devices(&mut self, user: UserId, keep: Option<SessionId>) -> Result<(), StoreError> {
        execute!(self, sqlx::query(FORGET_ALL).bind(user).bind(keep)).map(|_| ())
    }
}
