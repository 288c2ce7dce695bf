//! The services, stores and HTTP contract of authv2, independent of any web framework.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod audit;
pub mod changes;
pub mod clock;
pub mod error;
pub mod id;
pub mod secret;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Code, Error, ErrorKind, Result};
