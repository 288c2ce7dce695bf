//! Names: permissions, the patterns that grants use, slugs and role names.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: a letter and 62 more.
const NAME_MAX: usize = 63;

/// The text is not a name: a lower-case letter, then at most 62 of `a-z0-9_-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not a slug or a role's name.
    #[error("must be a lower-case letter, then at most 62 of a-z, 0-9, _ and -")]
    Name,
    /// Not a permission.
    #[error("must be `resource:action`, both lower-case letters, digits, _ and -, beginning with a letter")]
    Permission,
    /// Not a permission nor a pattern of them.
    #[error("must be `resource:action`, `resource:*` or `*`")]
    Pattern,
}

/// Whether `text` is a name: a slug, a role's name, one half of a permission.
#[must_use]
pub const fn is_name(text: &str) -> bool {
    is_name_bytes(text.as_bytes())
}

const fn is_name_bytes(bytes: &[u8]) -> bool {
    let Some((first, mut rest)) = bytes.split_first() else { return false };
    if bytes.len() > NAME_MAX || !first.is_ascii_lowercase() {
        return false;
    }
    while let Some((byte, others)) = rest.split_first() {
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')) {
            return false;
        }
        rest = others;
    }
    true
}

/// A permission: `resource:action`. Made at compile time by [`permission!`](crate::permission!), or parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission(Cow<'static, str>);

impl Permission {
    /// A permission known at compile time. Use [`permission!`](crate::permission!), which makes the compiler check it.
    ///
    /// # Panics
    /// When it is not `resource:action`: in a constant, where it does not compile.
    #[must_use]
    #[track_caller]
    #[allow(clippy::panic, reason = "a wrong literal must not compile")]
    pub const fn literal(text: &'static str) -> Self {
        assert!(is_permission(text), "a permission is `resource:action`, lower case");
        Self(Cow::Borrowed(text))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.0.split_once(':').map_or("", |(resource, _)| resource)
    }

    /// The part after the colon.
    #[must_use]
    pub fn action(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, action)| action)
    }
}

const fn is_permission(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (head, tail) = bytes.split_at(at);
        if let Some((b':', action)) = tail.split_first() {
            return is_name_bytes(head) && is_name_bytes(action);
        }
        at += 1;
    }
    false
}

impl FromStr for Permission {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_permission(text) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(InvalidName::Permission) }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permission({})", self.0)
    }
}

/// Makes a [`Permission`](crate::permission::Permission) that the compiler has checked:
///
/// ```
/// use authv2_core::permission;
///
/// let read = permission!("orders:read");
/// assert_eq!((read.resource(), read.action()), ("orders", "read"));
/// ```
///
/// ```compile_fail
/// authv2_core::permission!("Orders.read");
/// ```
///
/// With a name it declares a type that stands for the permission, where one is wanted (an extractor):
///
/// ```
/// use authv2_core::permission::NamedPermission;
///
/// authv2_core::permission!(pub ReadOrders = "orders:read");
/// assert_eq!(ReadOrders::PERMISSION.as_str(), "orders:read");
/// ```
#[macro_export]
macro_rules! permission {
    ($text:literal) => {
        const { $crate::permission::Permission::literal($text) }
    };
    ($(#[$meta:meta])* $visibility:vis $name:ident = $text:literal) => {
        $(#[$meta])*
        #[doc = concat!("The permission `", $text, "`.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility struct $name;

        impl $crate::permission::NamedPermission for $name {
            const PERMISSION: $crate::permission::Permission = $crate::permission::Permission::literal($text);
        }
    };
}

/// A type that stands for a permission: declared by [`permission!`](crate::permission!).
pub trait NamedPermission {
    /// The permission.
    const PERMISSION: Permission;
}

/// What a grant speaks of: one permission, all of a resource, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Pattern {
    /// `*`.
    All,
    /// `resource:*`.
    Resource(String),
    /// `resource:action`.
    One(Permission),
}

impl Pattern {
    /// Whether `permission` is among what it speaks of.
    #[must_use]
    pub fn matches(&self, permission: &Permission) -> bool {
        match self {
            Self::All => true,
            Self::Resource(resource) => permission.resource() == resource,
            Self::One(one) => one == permission,
        }
    }
}

impl Pattern {
    /// What both speak of.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::All, narrower) | (narrower, Self::All) => Some(narrower.clone()),
            (Self::Resource(resource), Self::One(one)) | (Self::One(one), Self::Resource(resource)) => {
                (one.resource() == resource).then(|| Self::One(one.clone()))
            }
            (one, other) => (one == other).then(|| one.clone()),
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "*" {
            return Ok(Self::All);
        }
        match text.strip_suffix(":*") {
            Some(resource) if is_name(resource) => Ok(Self::Resource(resource.to_owned())),
            Some(_) => Err(InvalidName::Pattern),
            None => text.parse().map(Self::One).map_err(|_| InvalidName::Pattern),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Resource(resource) => write!(f, "{resource}:*"),
            Self::One(permission) => permission.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_short() {
        let longest = format!("a{}", "0".repeat(62));
        for name in ["a", "orders", "order-lines_2", &longest] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "1a", "-a", "a b", "é", "a:b", &format!("{longest}0")] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_permission_has_two_names() {
        for text in ["", ":", "a", "a:", ":a", "a:b:c", "a:*", "*", "a::b", "A:b", "a:B"] {
            assert_eq!(text.parse::<Permission>(), Err(InvalidName::Permission), "{text}");
        }
        assert_eq!("orders:read".parse::<Permission>().unwrap(), crate::permission!("orders:read"));
    }

    #[test]
    fn patterns_match_what_they_say() {
        let read = crate::permission!("orders:read");
        for (pattern, matches) in
            [("*", true), ("orders:*", true), ("orders:read", true), ("order:*", false), ("orders:refund", false)]
        {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&read), matches, "{pattern}");
            assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
        }
        for text in ["", "*:*", "*:read", "orders:", "orders:**", "orders", ":*"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
