//! authv2 for every stack that speaks `tower` and the `http` crate: hyper, axum, tonic.
//!
//! - [`AuthLayer`] finds out who calls and leaves it in the request's extensions as a [`Caller`].
//! - [`RequireLayer`] lets through only who meets its requirement. It stands inside an [`AuthLayer`].
//! - [`RateLimitLayer`] lets through only so many requests, by caller, organization, network or all together.
//! - [`ApiService`] serves the HTTP contract itself.
//!
//! They hold no policy: each parses, asks `authv2-core`, and renders its answer.
//!
//! # What can go wrong
//! - A [`RequireLayer`] without an [`AuthLayer`] around it answers 500 to everything and says so in the log: it never
//!   lets anybody through.
//! - Behind a proxy the client's address is the proxy's until `proxy.trusted` names it.
//! - [`AuthLayer`] checks what browsers attach by themselves: a cookie with an unsafe method needs its CSRF token.
//!   Do not put it around [`ApiService`], whose calls authenticate themselves, sign-in among them.

mod api;
mod auth;
mod caller;
mod limit;
mod peer;
mod require;

pub use self::{
    api::ApiService,
    auth::{Auth, AuthFuture, AuthLayer, is_preflight},
    caller::{Caller, Refused},
    limit::{RateLimit, RateLimitFuture, RateLimitLayer},
    peer::PeerSource,
    require::{Require, RequireFuture, RequireLayer},
};
