//! Users: registration, passwords, profile, status.

pub mod email;
mod model;
pub mod password;
mod service;

pub use self::{
    model::User,
    service::{NewAccount, PasswordCheck, Registered, UserError, UserService},
};
