//! What crosses crates: the services that the tests need, the server under test, a browser to click through it, and the
//! conformance shim.
//!
//! Every part starts what it needs on a free loopback port, in a directory of its own, and leaves nothing behind:
//! not when a test fails, not when the test process is killed (see [`watchdog`]).

pub mod binary;
pub mod browser;
pub mod client;
pub mod error;
pub mod fuzz;
pub mod history;
pub mod issuer;
pub mod mail;
pub mod nodes;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod proxy;
pub mod redis;
mod secrecy;
pub mod server;
pub mod shim;
pub mod smtp;
pub mod watchdog;
pub mod workload;

pub use error::HarnessError;
