//! authv2 for axum: the HTTP contract as a router, and extractors for who calls.
//!
//! ```no_run
//! use authv2_axum::{CurrentUser, auth_layer, router};
//! use authv2_core::{AuthenticationService, Config};
//! use axum::{Router, routing::get};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let auth = AuthenticationService::builder(Config::development()).build().await?;
//! let app = Router::new()
//!     .route("/private", get(|CurrentUser(user): CurrentUser| async move { user.email }))
//!     .layer(auth_layer(&auth))
//!     .merge(router(&auth));
//! let listener = tokio::net::TcpListener::bind(auth.config().listen).await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What can go wrong
//! - Serve with `into_make_service_with_connect_info`: without the peer's address, limits by network cannot tell
//!   clients apart.
//! - An extractor outside of any [`auth_layer`] answers 500 and says so in the log: it never guesses.
//! - Merge [`router`] after `.layer(auth_layer(..))`, not before: its calls authenticate themselves.

mod extract;
mod router;

pub use authv2_tower::{ApiService, AuthLayer, Caller, RateLimitLayer, RequireLayer};

pub use self::{
    extract::{CurrentSession, CurrentUser, Principal, Rejection, Require},
    router::{api_service, auth_layer, method_not_allowed, router},
};

/// The programs in the README and the guides, compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../../docs/adapters.md")]
    struct Adapters;
    #[doc = include_str!("../../docs/concepts.md")]
    struct Concepts;
    #[doc = include_str!("../../docs/permissions.md")]
    struct Permissions;
    #[doc = include_str!("../../docs/operations.md")]
    struct Operations;
    #[doc = include_str!("../../docs/limits.md")]
    struct Limits;
}
