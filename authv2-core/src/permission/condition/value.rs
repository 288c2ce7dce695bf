//! Plain values, and what becomes of JSON.
//!
//! Values are made one by one: Cedar's own reading of JSON would let a caller's `__entity` and `__extn` mean something.

use std::{net::IpAddr, sync::LazyLock};

use cedar_policy_core::{
    ast::{Name, Value},
    extensions::Extensions,
};
use serde_json::{Map, Number};

use super::scene::DEPTH_MAX;

/// The digits up to which a decimal number survives being read as a double.
const EXACT_DIGITS: usize = 15;

/// The longest text that a condition looks at, in bytes; a longer one is absent.
const TEXT_MAX: usize = 4096;

static DECIMAL: LazyLock<Option<Name>> = LazyLock::new(|| Name::parse_unqualified_name("decimal").ok());
static IP: LazyLock<Option<Name>> = LazyLock::new(|| Name::parse_unqualified_name("ip").ok());

/// The value of a piece of JSON, if Cedar has one for it.
pub(super) fn of_json(json: &serde_json::Value) -> Option<Value> {
    of_json_within(json, DEPTH_MAX)
}

fn of_json_within(json: &serde_json::Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    match json {
        serde_json::Value::Null => None,
        serde_json::Value::Bool(is) => Some((*is).into()),
        serde_json::Value::Number(number) => of_number(number),
        serde_json::Value::String(text) => (text.len() <= TEXT_MAX).then(|| text.as_str().into()),
        serde_json::Value::Array(elements) => {
            Some(Value::set(elements.iter().filter_map(|element| of_json_within(element, depth)), None))
        }
        serde_json::Value::Object(fields) => Some(of_fields(fields, depth)),
    }
}

fn of_fields(fields: &Map<String, serde_json::Value>, depth: usize) -> Value {
    let fields = fields.iter().filter_map(|(name, json)| Some((name.as_str(), of_json_within(json, depth)?)));
    Value::record(fields, None)
}

fn of_number(number: &Number) -> Option<Value> {
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    let text = number.as_f64().filter(|double| double.is_finite())?.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if fraction.len() > 4 || digits > EXACT_DIGITS {
        return None;
    }
    extension(DECIMAL.as_ref()?, &format!("{whole}.{fraction}"))
}

/// An address or a range of them, if the text is one.
pub(super) fn ip(text: &str) -> Option<Value> {
    extension(IP.as_ref()?, text)
}

/// A client's address: IPv4 also where it came mapped into IPv6.
pub(super) fn address(ip_address: IpAddr) -> Option<Value> {
    ip(&ip_address.to_canonical().to_string())
}

fn extension(function: &Name, text: &str) -> Option<Value> {
    let value = Extensions::all_available().func(function).ok()?.call(&[text.into()]).ok()?;
    Value::try_from(value).ok()
}
