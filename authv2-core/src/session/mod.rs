//! Sessions: opening, using, refreshing, listing and ending them.

pub mod device;
mod model;
mod refresh;
mod service;
mod touch;

pub use self::{
    model::Session,
    refresh::{RefreshError, Refreshed},
    service::{OpenedSession, SessionError, SessionSecret, SessionService, SignIn},
};
