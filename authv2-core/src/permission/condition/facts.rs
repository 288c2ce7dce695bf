//! The four records that a condition sees: what the server knows first, then what the caller sends.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy_core::ast::{Context, Value, Var};
use jiff::Timestamp;
use serde_json::Map;

use super::{Scene, value};
use crate::{permission::role::AttributeType, store::Risk};

/// What the server alone says of a principal: a name of these is never taken from the caller, known or not.
const PRINCIPAL: [&str; 12] =
    ["id", "email", "roles", "organization", "store", "method", "amr", "acr", "auth_age", "session_age", "risk", "ip"];

/// Which attributes of one of the records a condition mentions: only these are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    #[default]
    Nothing,
    These(Vec<String>),
    Everything,
}

impl Wanted {
    pub(super) fn add(&mut self, name: &str) {
        match self {
            Self::Nothing => *self = Self::These(vec![name.to_owned()]),
            Self::These(names) if !names.iter().any(|there| there == name) => names.push(name.to_owned()),
            Self::These(_) | Self::Everything => {}
        }
    }
}

/// What a condition mentions of each record.
#[derive(Debug, Clone, Default)]
pub(super) struct Mentions {
    principal: Wanted,
    action: Wanted,
    resource: Wanted,
    context: Wanted,
}

impl Mentions {
    pub(super) fn of(&mut self, record: Var) -> &mut Wanted {
        match record {
            Var::Principal => &mut self.principal,
            Var::Action => &mut self.action,
            Var::Resource => &mut self.resource,
            Var::Context => &mut self.context,
        }
    }
}

type Json = Map<String, serde_json::Value>;

/// The records by name, each with the attributes that are wanted and known.
pub(super) fn records(scene: &Scene<'_>, mentions: &Mentions) -> Context {
    let mut records = BTreeMap::new();
    let mut add = |record: Var, value: Option<Value>| {
        records.extend(value.map(|value| (name_of(record).into(), value)));
    };
    let sent = (scene.subject.properties, &PRINCIPAL[..]);
    add(Var::Principal, record(&mentions.principal, sent, |name| principal(scene, name)));
    add(Var::Action, record(&mentions.action, (scene.question.action, &["name"]), |name| action(scene, name)));
    add(Var::Resource, record(&mentions.resource, (scene.question.resource, &["type"]), |name| resource(scene, name)));
    add(Var::Context, record(&mentions.context, (scene.question.context, &["now"]), |name| context(scene, name)));
    Context::Value(Arc::new(records))
}

/// The name of a record in a condition.
pub(super) fn name_of(record: Var) -> &'static str {
    match record {
        Var::Principal => "principal",
        Var::Action => "action",
        Var::Resource => "resource",
        Var::Context => "context",
    }
}

fn record(
    wanted: &Wanted,
    (sent, ours): (Option<&Json>, &[&str]),
    attribute: impl Fn(&str) -> Option<Value>,
) -> Option<Value> {
    let known = |name| Some((name, attribute(name)?));
    match wanted {
        Wanted::Nothing => None,
        Wanted::These(names) => Some(Value::record(names.iter().map(String::as_str).filter_map(known), None)),
        Wanted::Everything => {
            let sent = sent.into_iter().flat_map(Map::keys).map(String::as_str);
            Some(Value::record(sent.chain(ours.iter().copied()).filter_map(known), None))
        }
    }
}

fn sent(fields: Option<&Json>, name: &str) -> Option<Value> {
    value::of_json(fields?.get(name)?)
}

fn principal(scene: &Scene<'_>, name: &str) -> Option<Value> {
    let (subject, place) = (&scene.subject, &scene.place);
    let session = subject.session.as_ref();
    let age = |since| i64::try_from(place.now.since(since).as_secs()).ok().map(Value::from);
    match name {
        "id" => Some(subject.id.into()),
        "email" => subject.email.map(Value::from),
        "roles" => Some(texts(place.roles.iter().copied())),
        "organization" => Some(place.organization.to_string().into()),
        "store" => Some(place.store?.to_string().into()),
        "method" => subject.method.map(Value::from),
        "amr" => Some(texts(session?.amr.split_ascii_whitespace())),
        "acr" => Some(session?.acr.into()),
        "auth_age" => age(session?.auth_time),
        "session_age" => age(session?.opened_at),
        "risk" => Some(risk(session?.risk).into()),
        "ip" => value::address(subject.ip?),
        _ => sent(subject.properties, name),
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    Value::set(texts.map(Value::from), None)
}

fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    }
}

fn action(scene: &Scene<'_>, name: &str) -> Option<Value> {
    match name {
        "name" => Some(scene.question.permission.action().into()),
        _ => sent(scene.question.action, name),
    }
}

fn resource(scene: &Scene<'_>, name: &str) -> Option<Value> {
    let declared = scene.place.resource_type.and_then(|declared| declared.attributes.get(name));
    let json = scene.question.resource.and_then(|fields| fields.get(name));
    let found = match (json, declared) {
        // What is no address stays the text that it is: a declaration makes nothing disappear.
        (Some(serde_json::Value::String(text)), Some(AttributeType::Ip)) => {
            value::ip(text).or_else(|| value::of_json(&serde_json::Value::String(text.clone())))
        }
        (Some(json), _) => value::of_json(json),
        (None, _) => None,
    };
    found.or_else(|| (name == "type").then(|| scene.question.permission.resource().into()))
}

fn context(scene: &Scene<'_>, name: &str) -> Option<Value> {
    match name {
        "now" => now(scene),
        _ => sent(scene.question.context, name),
    }
}

fn now(scene: &Scene<'_>) -> Option<Value> {
    let moment = Timestamp::from_microsecond(scene.place.now.as_micros()).ok()?;
    let here = scene.place.time_zone.to_datetime(moment);
    let fields = [
        ("hour", i64::from(here.hour())),
        ("minute", i64::from(here.minute())),
        ("weekday", i64::from(here.weekday().to_monday_one_offset())),
    ];
    Some(Value::record(fields, None))
}
