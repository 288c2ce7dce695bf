//! actix
