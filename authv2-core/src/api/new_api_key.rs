//! Reading what an API key is to be.

use std::{net::IpAddr, time::Duration};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::{
    api_key::is_environment,
    authentication::NewKey,
    id::MemberId,
    permission::{InvalidName, Pattern},
    store::{KeyQuota, KeyRateLimit, QuotaPeriod},
};

const SCOPES_MAX: usize = 100;
const NETWORKS_MAX: usize = 100;
/// Of the metadata as JSON, in bytes.
const METADATA_MAX: usize = 4096;
const ENVIRONMENT: &str = "live";

/// In seconds.
const DAY: u64 = 24 * 3600;
const LIFE_MAX: u64 = 3650 * DAY;

/// Requests, of a rate and of a quota.
const RATE_MAX: u64 = 1_000_000;
const QUOTA_MAX: u64 = 1_000_000_000_000;

/// The key that a body describes.
pub(super) fn read(fields: &mut Fields) -> NewKey {
    NewKey {
        name: fields.string("name"),
        scopes: scopes(fields),
        expires_in: fields.optional_integer("expires_in", 1..=LIFE_MAX).map(Duration::from_secs),
        store: fields.optional_string("store"),
        rate_limit: fields.optional_object("rate_limit", rate_limit).flatten(),
        quota: fields.optional_object("quota", quota).flatten(),
        environment: environment(fields),
        allowed_ips: allowed_ips(fields),
        metadata: metadata(fields),
        service_account: fields.optional_parsed::<MemberId>("service_account", "invalid_id"),
    }
}

/// Each once. None at all would be a key that opens nothing.
fn scopes(fields: &mut Fields) -> Vec<Pattern> {
    let given = fields.has("scopes");
    let problems = fields.problems();
    let texts = fields.strings("scopes", SCOPES_MAX);
    if given && texts.is_empty() && fields.problems() == problems {
        fields.refuse("scopes", "too_few", "must have at least one item");
    }
    let mut scopes = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match text.parse::<Pattern>() {
            Ok(scope) if scopes.contains(&scope) => {}
            Ok(scope) => scopes.push(scope),
            Err(_) => {
                fields.refuse(&format!("scopes[{place}]"), "invalid_permission", InvalidName::Pattern.to_string());
            }
        }
    }
    scopes
}

fn rate_limit(fields: &mut Fields) -> Option<KeyRateLimit> {
    let requests = required(fields, "requests", RATE_MAX);
    let per_seconds = required(fields, "per_seconds", DAY);
    let burst = fields.optional_integer("burst", 1..=RATE_MAX);
    let number = |number: u64| u32::try_from(number).ok();
    let burst = burst.and_then(number);
    Some(KeyRateLimit { requests: number(requests?)?, per: Duration::from_secs(per_seconds?), burst })
}

fn quota(fields: &mut Fields) -> Option<KeyQuota> {
    let requests = required(fields, "requests", QUOTA_MAX);
    let period = fields.choice("per", &[("day", QuotaPeriod::Day), ("month", QuotaPeriod::Month)]);
    Some(KeyQuota { requests: requests?, period: period? })
}

/// A whole number from one, which must be there.
fn required(fields: &mut Fields, name: &'static str, most: u64) -> Option<u64> {
    if !fields.has(name) {
        fields.refuse(name, "required", "is required");
    }
    fields.optional_integer(name, 1..=most)
}

fn environment(fields: &mut Fields) -> String {
    let name = fields.optional_string("environment").unwrap_or_else(|| ENVIRONMENT.to_owned());
    if !is_environment(&name) {
        fields.refuse("environment", "invalid_environment", "must be 1 to 16 lower-case letters");
    }
    name
}

fn allowed_ips(fields: &mut Fields) -> Vec<IpNet> {
    let given = fields.has("allowed_ips");
    let problems = fields.problems();
    let texts = fields.optional_strings("allowed_ips", NETWORKS_MAX).unwrap_or_default();
    if given && texts.is_empty() && fields.problems() == problems {
        // An empty list of what is allowed would allow nothing, or everything: neither is meant.
        fields.refuse("allowed_ips", "too_few", "must have at least one item");
    }
    let mut networks = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match network(text) {
            Some(network) if networks.contains(&network) => {}
            Some(network) => networks.push(network),
            None => {
                let message = "must be a network like `192.0.2.0/24` or `2001:db8::/32`, or an address";
                fields.refuse(&format!("allowed_ips[{place}]"), "invalid_network", message);
            }
        }
    }
    networks
}

/// A network or a single address, an IPv4 one in its own form: that is how addresses of requests are compared.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match network {
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => Ipv4Net::new(four, six.prefix_len() - 96).ok().map(IpNet::V4),
            None => Some(network),
        },
        _ => Some(network),
    }
}

fn metadata(fields: &mut Fields) -> Map<String, Value> {
    let metadata = fields.optional_data("metadata").unwrap_or_default();
    let bytes = serde_json::to_string(&metadata).map_or(usize::MAX, |text| text.len());
    if bytes > METADATA_MAX {
        fields.refuse("metadata", "too_long", format!("must have at most {METADATA_MAX} bytes"));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn read_body(body: &Value) -> Result<NewKey, Vec<(String, &'static str)>> {
        let mut fields = Fields::parse(&Bytes::from(body.to_string()), false).unwrap();
        let wanted = read(&mut fields);
        let finished = fields.finish();
        finished
            .map(|()| wanted)
            .map_err(|refused| refused.fields().iter().map(|problem| (problem.field.clone(), problem.code)).collect())
    }

    #[allow(clippy::needless_pass_by_value, reason = "read as the bodies that they are")]
    fn key(more: Value) -> Value {
        let mut body = json!({"name": "nightly", "scopes": ["orders:read"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    #[test]
    fn a_key_needs_a_name_and_a_scope_and_nothing_else() {
        let wanted = read_body(&key(json!({}))).unwrap();
        assert_eq!((wanted.environment.as_str(), wanted.expires_in, wanted.service_account), ("live", None, None));
        assert!(wanted.allowed_ips.is_empty() && wanted.metadata.is_empty());
        let twice = read_body(&key(json!({"scopes": ["*", "orders:*", "*"]}))).unwrap();
        assert_eq!(twice.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*", "orders:*"]);
    }

    #[test]
    fn every_field_that_is_refused_is_named() {
        let of_each = |count: usize| vec!["orders:read"; count];
        for (body, field, code) in [
            (json!({"name": "x"}), "scopes", "required"),
            (json!({"scopes": ["*"]}), "name", "required"),
            (key(json!({"scopes": []})), "scopes", "too_few"),
            (key(json!({"scopes": of_each(101)})), "scopes", "too_many"),
            (key(json!({"scopes": ["*", "Orders:read"]})), "scopes[1]", "invalid_permission"),
            (key(json!({"scopes": [1]})), "scopes[0]", "invalid_type"),
            (key(json!({"expires_in": 0})), "expires_in", "out_of_range"),
            (key(json!({"expires_in": 315_360_001})), "expires_in", "out_of_range"),
            (key(json!({"environment": ""})), "environment", "invalid_environment"),
            (key(json!({"environment": "Live"})), "environment", "invalid_environment"),
            (key(json!({"environment": "sandboxsandboxess"})), "environment", "invalid_environment"),
            (key(json!({"allowed_ips": []})), "allowed_ips", "too_few"),
            (key(json!({"allowed_ips": ["10.0.0.0/8", "10.0.0.0/33"]})), "allowed_ips[1]", "invalid_network"),
            (key(json!({"allowed_ips": ["localhost"]})), "allowed_ips[0]", "invalid_network"),
            (key(json!({"metadata": {"a": "x".repeat(4096)}})), "metadata", "too_long"),
            (key(json!({"metadata": []})), "metadata", "invalid_type"),
            (key(json!({"service_account": "robot"})), "service_account", "invalid_id"),
            (key(json!({"rate_limit": {"requests": 5}})), "rate_limit.per_seconds", "required"),
            (key(json!({"rate_limit": {"requests": 0, "per_seconds": 1}})), "rate_limit.requests", "out_of_range"),
            (
                key(json!({"rate_limit": {"requests": 1, "per_seconds": 1, "burst": 0}})),
                "rate_limit.burst",
                "out_of_range",
            ),
            (key(json!({"quota": {"requests": 1, "per": "year"}})), "quota.per", "invalid_choice"),
            (key(json!({"quota": {"per": "day"}})), "quota.requests", "required"),
            (key(json!({"owner": "ada"})), "owner", "unknown_field"),
        ] {
            assert_eq!(read_body(&body).unwrap_err(), [(field.to_owned(), code)], "{body}");
        }
    }

    #[test]
    fn networks_are_kept_in_the_one_form_that_addresses_are_compared_in() {
        let body = key(json!({"allowed_ips": [
            "10.1.2.3/8", "192.0.2.7", "::ffff:198.51.100.0/120", "2001:db8::1/32", "::1", "::/0", "10.0.0.0/8",
        ]}));
        let networks: Vec<String> = read_body(&body).unwrap().allowed_ips.iter().map(ToString::to_string).collect();
        let expected = ["10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32", "::1/128", "::/0"];
        assert_eq!(networks, expected);
    }
}
