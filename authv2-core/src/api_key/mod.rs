//! API keys: what programs authenticate with.

mod format;
mod live;
mod model;

pub(crate) use self::format::{PREFIX, claimed_id, is_environment, write};
pub use self::{
    format::ParsedKey,
    live::LiveKey,
    model::{ApiKey, Quota, RateLimit},
};
