//! Accounts: who exists, and how they prove who they are.

pub mod email;
pub mod password;
