//! Sessions: what a sign-in opens, and what ends it.

pub mod device;
