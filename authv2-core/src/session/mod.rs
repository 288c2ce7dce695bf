//! Sessions: opening, using, refreshing, listing and ending them.

mod cache;
pub mod device;
mod live;
mod model;
mod refresh;
mod service;
mod touch;

pub use self::{
    live::LiveSession,
    model::Session,
    refresh::{RefreshError, Refreshed},
    service::{OpenedSession, SessionError, SessionSecret, SessionService, SignIn},
};
