//! API keys: what programs authenticate with.

mod format;
mod live;

pub(crate) use self::format::PREFIX;
pub use self::{format::ParsedKey, live::LiveKey};
