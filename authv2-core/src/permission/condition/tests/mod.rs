//! Conditions, tried.

mod declared;
mod evaluation;
mod hostile;
mod text;
mod values;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{Condition, Held, Place, Scene};
use crate::{
    clock::Timestamp,
    id::OrgId,
    permission::{
        name::Permission,
        question::{Question, SessionFacts, Subject},
        role::{AttributeType, ResourceType},
    },
    store::Risk,
};

/// What is asked, by whom and where, in a form that tests write easily.
#[derive(Clone)]
struct World {
    permission: Permission,
    resource: Value,
    action: Value,
    context: Value,
    properties: Value,
    email: Option<&'static str>,
    signed_in: bool,
    declared: Option<ResourceType>,
    store: Option<crate::id::StoreId>,
    roles: Vec<&'static str>,
    time_zone: TimeZone,
    organization: OrgId,
}

/// A Wednesday, 23:30:00 UTC.
const NOW: Timestamp = Timestamp::from_seconds(1_785_972_600);

impl World {
    fn new() -> Self {
        Self {
            permission: Permission::literal("orders:refund"),
            resource: json!({}),
            action: json!({}),
            context: json!({}),
            properties: json!({}),
            email: Some("ann@example.com"),
            signed_in: true,
            declared: None,
            store: None,
            roles: vec!["clerk", "auditor"],
            time_zone: TimeZone::UTC,
            organization: OrgId::new(),
        }
    }

    fn with_resource(resource: Value) -> Self {
        Self { resource, ..Self::new() }
    }

    fn ask(&self, condition: &Condition) -> Held {
        let subject = Subject {
            id: "u-1",
            email: self.email,
            properties: fields(&self.properties),
            method: self.signed_in.then_some("bearer"),
            session: self.signed_in.then_some(SessionFacts {
                amr: "pwd otp",
                acr: "aal2",
                auth_time: Timestamp::from_seconds(NOW.as_seconds() - 60),
                opened_at: Timestamp::from_seconds(NOW.as_seconds() - 3600),
                risk: Risk::Medium,
            }),
            ip: self.signed_in.then(|| "::ffff:10.1.2.3".parse().unwrap()),
        };
        let question = Question {
            permission: &self.permission,
            store: self.store,
            resource: fields(&self.resource),
            action: fields(&self.action),
            context: fields(&self.context),
        };
        let place = Place {
            organization: self.organization,
            store: self.store,
            roles: &self.roles,
            time_zone: &self.time_zone,
            now: NOW,
            resource_type: self.declared.as_ref(),
        };
        condition.holds(&Scene::new(&question, &subject, &place))
    }

    #[track_caller]
    fn holds(&self, text: &str) -> Held {
        self.ask(&Condition::parse(text).unwrap())
    }

    #[track_caller]
    fn is_true(&self, text: &str) {
        assert_eq!(self.holds(text), Held::Yes, "{text}");
    }

    #[track_caller]
    fn is_false(&self, text: &str) {
        assert_eq!(self.holds(text), Held::No, "{text}");
    }

    #[track_caller]
    fn fails(&self, text: &str) -> String {
        match self.holds(text) {
            Held::Failed(reason) => reason,
            held => panic!("{text}: {held:?}"),
        }
    }
}

fn fields(json: &Value) -> Option<&Map<String, Value>> {
    json.as_object()
}

fn resource_type(attributes: &[(&str, AttributeType)]) -> ResourceType {
    ResourceType { attributes: attributes.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect() }
}
