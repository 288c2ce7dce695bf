//! The HTTP contract, checked call by call against the quickstart over loopback.

mod accounts;
mod cookies;
mod cors;
mod credentials;
mod fixture;
mod hang_up;
mod load;
mod metadata;
mod nodes;
mod passwords;
mod proxy;
mod refresh;
mod requests;
mod secrecy;
mod sessions;
mod settings;
mod spelling;
mod throttling;
mod throttling_wide;
mod timing;
mod token_claims;
mod token_keys;
