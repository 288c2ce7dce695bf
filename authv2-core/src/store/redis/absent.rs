//! Stands in for Redis where it was not compiled in: there is never one.

use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId, SessionId},
    store::{AccessRecord, SessionRecord, UserRecord, breaker::BreakerHealth, shared::Shared},
};

/// Nobody can make one.
#[derive(Debug)]
pub(crate) enum Redis {}

impl Redis {
    pub(crate) async fn session(&self, _: SessionId, _: Timestamp) -> Option<Shared<(SessionRecord, UserRecord)>> {
        match *self {}
    }

    pub(crate) async fn put_session(&self, _: SessionId, _: &Shared<(SessionRecord, UserRecord)>, _: Timestamp) {
        match *self {}
    }

    pub(crate) async fn bury_session(&self, _: SessionId, _: Timestamp) {
        match *self {}
    }

    pub(crate) async fn member(&self, _: OrgId, _: MemberId, _: Timestamp) -> Option<Shared<AccessRecord>> {
        match *self {}
    }

    pub(crate) async fn put_member(&self, _: OrgId, _: MemberId, _: &Shared<AccessRecord>, _: Timestamp) {
        match *self {}
    }

    pub(crate) async fn forget_member(&self, _: OrgId, _: MemberId, _: i64) {
        match *self {}
    }

    pub(crate) async fn wake_others(&self) -> bool {
        match *self {}
    }

    pub(crate) fn on_wake(&self, _: impl Fn() + Send + Sync + 'static) {
        match *self {}
    }

    pub(crate) fn health(&self) -> BreakerHealth {
        match *self {}
    }

    pub(crate) async fn ping(&self) -> bool {
        match *self {}
    }
}
