//! The server as a stranger meets it: over HTTP, through a browser, and across crashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod attack;
mod browser;
mod browser_recovery;
mod chaos;
mod cli;
mod contract;
mod crash;
mod docs;
mod feed;
mod http_robustness;
mod issuers;
mod jose_interop;
mod layers;
mod limit_layer;
mod limits;
mod mail;
mod page;
mod permissions;
mod pooling;
mod redis;
mod rotation;
mod row_security;
mod session_limits;
mod signer;
mod store;
mod timing;
mod token_revocation;
mod tokens_at_hand;
mod wycheproof_jose;
