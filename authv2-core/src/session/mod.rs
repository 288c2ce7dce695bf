//! Sessions: opening, using, refreshing, listing and ending them.

mod analytics;
mod cache;
pub mod context;
pub mod device;
mod live;
mod lookup;
mod model;
mod refresh;
mod service;
mod step_up;
mod touch;
mod watch;

pub use self::{
    analytics::{SessionAnalytics, Span},
    live::LiveSession,
    model::Session,
    refresh::{RefreshError, Refreshed},
    service::{OpenedSession, SessionError, SessionSecret, SessionService, SignIn},
};
pub(crate) use self::{lookup::session_of_cookie, refresh::REFRESH_PREFIX, step_up::Shown, watch::Watched};
