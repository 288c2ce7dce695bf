//! The services, stores and HTTP contract of authv2, independent of any web framework.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod api;
pub mod api_key;
pub mod audit;
pub mod authentication;
pub mod calendar;
pub mod changes;
pub mod client;
pub mod clock;
pub mod config;
pub mod error;
pub mod id;
#[cfg(feature = "issuers")]
pub mod issuer;
pub mod jwt;
pub mod limit;
pub mod mail;
pub mod master_key;
pub mod metering;
pub mod mfa;
pub mod organization;
pub mod permission;
pub mod principal;
pub mod secret;
pub mod security;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod tenant;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod user;

pub use authentication::AuthenticationService;
pub use config::Config;
pub use error::{Code, Error, ErrorKind, Result};
pub use principal::Principal;
