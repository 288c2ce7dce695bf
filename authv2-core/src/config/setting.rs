//! The kinds of values that settings have: how each is read from a file or a variable, and its JSON Schema.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use http::HeaderName;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::{Problem, problem::Problems};
use crate::secret::Secret;

/// A value as it was given: typed by the file, or bare text in the environment.
pub(super) enum Given {
    Text(String),
    Typed(toml::Value),
}

impl Given {
    /// The value as text that is not empty.
    pub(super) fn text(&self, expected: &'static str) -> Result<&str, Problem> {
        match self {
            Self::Text(text) | Self::Typed(toml::Value::String(text)) if text.is_empty() => Err(Problem::Empty),
            Self::Text(text) | Self::Typed(toml::Value::String(text)) => Ok(text),
            Self::Typed(_) => Err(Problem::Expected(expected)),
        }
    }

    /// The value as a count.
    fn whole_number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Typed(value) => value.as_integer().and_then(|number| number.try_into().ok()),
        }
    }

    /// The value's entries: an array of the file; in the environment a JSON array or comma-separated text.
    pub(super) fn entries(&self) -> Result<Vec<Self>, Problem> {
        const EXPECTED: Problem = Problem::Expected("a list: an array, or in the environment comma-separated");
        match self {
            Self::Typed(toml::Value::Array(values)) => Ok(values.iter().cloned().map(Self::Typed).collect()),
            Self::Typed(_) => Err(EXPECTED),
            Self::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Text(text) if text.trim_start().starts_with('[') => {
                let values: Vec<toml::Value> = serde_json::from_str(text).map_err(|_| EXPECTED)?;
                Ok(values.into_iter().map(Self::Typed).collect())
            }
            Self::Text(text) => Ok(text.split(',').map(|entry| Self::Text(entry.trim().to_owned())).collect()),
        }
    }
}

/// A kind of value that a setting can have.
pub(super) trait Setting: Sized {
    /// What a wrong value is told to be.
    const EXPECTED: &'static str;
    /// The unit of a number, as messages write it.
    const UNIT: &'static str = "";

    /// Reads a value, judging its form only.
    fn read(given: &Given) -> Result<Self, Problem>;

    /// The form of the value.
    fn schema(generator: &mut SchemaGenerator) -> Schema;

    /// The value as the schema's default. Asked of defaults only, which are public; never of a value somebody set.
    fn as_default(&self) -> Option<Json>;

    /// Whether a number is inside its limits.
    fn is_within(&self, _limits: &RangeInclusive<u64>) -> bool {
        true
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const UNIT: &'static str = T::UNIT;

    fn read(given: &Given) -> Result<Self, Problem> {
        T::read(given).map(Some)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }

    fn as_default(&self) -> Option<Json> {
        self.as_ref().and_then(T::as_default)
    }

    fn is_within(&self, limits: &RangeInclusive<u64>) -> bool {
        self.as_ref().is_none_or(|value| value.is_within(limits))
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(given: &Given) -> Result<Self, Problem> {
        let (mut values, mut positions, mut inside) = (Self::new(), Vec::new(), Problems::default());
        for (index, entry) in given.entries()?.iter().enumerate() {
            match T::read(entry) {
                Ok(value) => values.push(value),
                Err(problem @ Problem::Inside { .. }) => inside.report((index + 1).to_string(), problem),
                Err(_) => positions.push(index + 1),
            }
        }
        match inside.into_inside() {
            Some(inside) => Err(inside),
            None if positions.is_empty() => Ok(values),
            None => Err(Problem::ExpectedEntries { expected: T::EXPECTED, positions }),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({"type": "array", "items": items})
    }

    fn as_default(&self) -> Option<Json> {
        self.iter().map(T::as_default).collect::<Option<_>>().map(Json::Array)
    }
}

macro_rules! whole_numbers {
    ($($type:ty)+) => {$(
        impl Setting for $type {
            const EXPECTED: &'static str = "a whole number";

            fn read(given: &Given) -> Result<Self, Problem> {
                given.whole_number().and_then(|number| number.try_into().ok()).ok_or(Problem::Expected(Self::EXPECTED))
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                <$type>::json_schema(generator)
            }

            fn as_default(&self) -> Option<Json> {
                Some((*self).into())
            }

            fn is_within(&self, limits: &RangeInclusive<u64>) -> bool {
                u64::try_from(*self).is_ok_and(|number| limits.contains(&number))
            }
        }
    )+};
}

whole_numbers! { u8 u32 usize }

impl Setting for Duration {
    const EXPECTED: &'static str = "a whole number of seconds";
    const UNIT: &'static str = " of seconds";

    fn read(given: &Given) -> Result<Self, Problem> {
        given.whole_number().map(Self::from_secs).ok_or(Problem::Expected(Self::EXPECTED))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        u64::json_schema(generator)
    }

    fn as_default(&self) -> Option<Json> {
        Some(self.as_secs().into())
    }

    fn is_within(&self, limits: &RangeInclusive<u64>) -> bool {
        (Self::from_secs(*limits.start())..=Self::from_secs(*limits.end())).contains(self)
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(given: &Given) -> Result<Self, Problem> {
        match given {
            Given::Typed(toml::Value::Boolean(value)) => Ok(*value),
            Given::Text(text) if matches!(text.trim(), "true" | "1") => Ok(true),
            Given::Text(text) if matches!(text.trim(), "false" | "0") => Ok(false),
            _ => Err(Problem::Expected(Self::EXPECTED)),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Self::json_schema(generator)
    }

    fn as_default(&self) -> Option<Json> {
        Some((*self).into())
    }
}

impl Setting for Secret {
    const EXPECTED: &'static str = "text";

    fn read(given: &Given) -> Result<Self, Problem> {
        given.text(Self::EXPECTED).map(Self::from)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Self::json_schema(generator)
    }

    fn as_default(&self) -> Option<Json> {
        Some(self.expose().as_str().into())
    }
}

/// Declares a kind that is written as text: how it is read, its schema, and how its default is written.
macro_rules! textual {
    ($type:ty, $expected:expr, $read:expr, $schema:expr, $write:expr) => {
        impl $crate::config::setting::Setting for $type {
            const EXPECTED: &'static str = $expected;

            fn read(given: &$crate::config::setting::Given) -> Result<Self, $crate::config::Problem> {
                let read: fn(&str) -> Option<Self> = $read;
                read(given.text(Self::EXPECTED)?).ok_or($crate::config::Problem::Expected(Self::EXPECTED))
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema = $schema;
                schema(generator)
            }

            fn as_default(&self) -> Option<serde_json::Value> {
                let write: fn(&Self) -> String = $write;
                Some(write(self).into())
            }
        }
    };
}
pub(super) use textual;

/// Declares an enum that derives serde and schemars as a kind of setting.
macro_rules! choice {
    ($type:ty, $expected:expr) => {
        impl $crate::config::setting::Setting for $type {
            const EXPECTED: &'static str = $expected;

            fn read(given: &$crate::config::setting::Given) -> Result<Self, $crate::config::Problem> {
                use serde::{Deserialize, de::value};
                let text = value::StrDeserializer::<value::Error>::new(given.text(Self::EXPECTED)?);
                Self::deserialize(text).map_err(|_| $crate::config::Problem::Expected(Self::EXPECTED))
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$type as schemars::JsonSchema>::json_schema(generator)
            }

            fn as_default(&self) -> Option<serde_json::Value> {
                serde_json::to_value(self).ok()
            }
        }
    };
}
pub(super) use choice;

textual!(String, "text", |text| Some(text.to_owned()), Self::json_schema, Self::clone);
textual!(PathBuf, "a path", |text| Some(text.into()), Self::json_schema, |path| path.display().to_string());
textual!(
    HeaderName,
    "the name of a header",
    |text| text.parse().ok(),
    |_| json_schema!({"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}),
    |name| name.as_str().to_owned()
);
textual!(
    IpNet,
    "an address or a network in CIDR notation",
    // A bare address is the network of that one address.
    |text| text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into())).ok(),
    |_| json_schema!({"type": "string", "format": "cidr"}),
    Self::to_string
);
textual!(
    SocketAddr,
    "an address and port, as in `127.0.0.1:8080`",
    // A bare `:8080` means loopback: to listen to the outside is said in full.
    |text| match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port: u16| (std::net::Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    },
    |_| json_schema!({"type": "string", "format": "ip-and-port"}),
    Self::to_string
);
