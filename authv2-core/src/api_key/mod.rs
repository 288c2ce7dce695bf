//! API keys: what programs authenticate with.

mod format;

pub use self::format::ParsedKey;
