//! `authz-eval`: the core's decisions, line by line.

use std::collections::{BTreeMap, BTreeSet};

use authv2_core::{
    clock::SystemClock,
    id::{OrgId, RoleId, StoreId},
    permission::{
        Condition, Decision, Explanation, Model, Permission, Question, Role, RoleDefinition, Snapshot, Subject,
        builtin_roles,
    },
    store::Assignment,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Unreadable;

/// A line: an organization, and a question about one of its members.
#[derive(Deserialize)]
struct Line {
    roles: Vec<RoleDefinition>,
    #[serde(default)]
    stores: Vec<String>,
    members: Vec<Member>,
    request: Request,
}

/// One role that a user holds; a user who holds several is there as often.
#[derive(Deserialize)]
struct Member {
    user: String,
    role: String,
    store: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    user: String,
    permission: String,
    store: Option<String>,
    resource: Option<Map<String, Value>>,
    context: Option<Map<String, Value>>,
}

/// Answers one line. Who is no member may nothing, and so may everybody at a store that is not there; a line that
/// contradicts itself is unreadable.
pub(super) fn decide_line(line: &Value) -> Result<Value, Unreadable> {
    let line: Line = Line::deserialize(line).map_err(|error| Unreadable(error.to_string()))?;
    let permission: Permission = line.request.permission.parse().map_err(unreadable)?;
    let stores: BTreeMap<&str, StoreId> = line.stores.iter().map(|slug| (slug.as_str(), StoreId::new())).collect();
    let snapshot = Snapshot::compile(model(line.roles, &stores)?);

    let (mut assignments, mut users) = (Vec::new(), BTreeSet::new());
    for member in &line.members {
        let Some(role) = snapshot.model().role(&member.role) else {
            return Err(Unreadable(format!("there is no role `{}`", member.role)));
        };
        let store = match &member.store {
            None => None,
            Some(slug) => match stores.get(slug.as_str()) {
                None => return Err(Unreadable(format!("there is no store `{slug}`"))),
                found => found.copied(),
            },
        };
        users.insert(member.user.as_str());
        if member.user == line.request.user {
            assignments.push(Assignment { role: role.id, store });
        }
    }

    let request = &line.request;
    let refused = |reason: &str| Ok(json!({"allowed": false, "reason": reason}));
    if !users.contains(request.user.as_str()) {
        return refused("no such member");
    }
    let store = match &request.store {
        None => None,
        Some(slug) => match stores.get(slug.as_str()) {
            None => return refused("no such store"),
            found => found.copied(),
        },
    };
    let question = Question {
        store,
        resource: request.resource.as_ref(),
        context: request.context.as_ref(),
        ..Question::new(&permission)
    };
    let subject = Subject { id: &request.user, ..Subject::default() };
    let explanation = snapshot.explain(&snapshot.rights(&assignments), &question, &subject, SystemClock::wall());
    Ok(json!({"allowed": explanation.decision.is_allowed(), "reason": reason(&explanation)}))
}

/// The line's roles beside the built-in ones, which a line may define otherwise.
fn model(definitions: Vec<RoleDefinition>, stores: &BTreeMap<&str, StoreId>) -> Result<Model, Unreadable> {
    let mut roles: Vec<Role> = Vec::new();
    for definition in definitions {
        for text in definition.grants.iter().filter_map(|grant| grant.when.as_deref()) {
            Condition::parse(text).map_err(unreadable)?;
        }
        roles.push(Role {
            id: RoleId::new(),
            name: definition.name,
            description: definition.description,
            inherits: definition.inherits,
            grants: definition.grants,
            builtin: false,
            revision: 1,
        });
    }
    for builtin in builtin_roles() {
        if !roles.iter().any(|role| role.name == builtin.name) {
            roles.push(builtin);
        }
    }
    let mut model = Model::new(OrgId::new(), 1, "UTC").with_roles(roles).map_err(unreadable)?;
    model.stores = stores.iter().map(|(slug, id)| (*id, (*slug).to_owned())).collect();
    Ok(model)
}

fn reason(explanation: &Explanation) -> String {
    let Some(reason) = &explanation.reason else { return "no grant".to_owned() };
    let grant = format!("{}/{}", reason.role, reason.grant);
    match explanation.decision {
        Decision::StepUp(_) => format!("{grant} wants another sign-in"),
        Decision::Allowed | Decision::Denied => grant,
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn unreadable(error: impl ToString) -> Unreadable {
    Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Value) -> Value {
        json!({
            "id": 1,
            "stores": ["north", "south"],
            "roles": [
                {"name": "clerk", "inherits": ["reader"], "grants": [
                    {"permission": "orders:refund", "effect": "allow", "when": "resource.amount <= 500"}
                ]},
                {"name": "reader", "grants": [
                    {"permission": "orders:*", "effect": "allow"}, {"permission": "orders:delete", "effect": "deny"}
                ]},
                {"name": "cashier", "grants": [{"permission": "till:open", "effect": "allow", "step_up": {"max_age": 60}}]}
            ],
            "members": [
                {"user": "ada", "role": "reader"},
                {"user": "bob", "role": "cashier", "store": "north"},
                {"user": "eve", "role": "owner"}
            ],
            "request": request
        })
    }

    fn ask(request: &Value) -> Value {
        decide_line(&line(request)).unwrap()
    }

    fn verdict(allowed: bool, reason: &str) -> Value {
        json!({"allowed": allowed, "reason": reason})
    }

    #[test]
    fn decides_and_says_by_what_grant() {
        let read = json!({"user": "ada", "permission": "orders:read"});
        assert_eq!(ask(&read), verdict(true, "reader/orders:*"));
        assert_eq!(ask(&json!({"user": "ada", "permission": "orders:delete"})), verdict(false, "reader/orders:delete"));
        assert_eq!(ask(&json!({"user": "ada", "permission": "till:open"})), verdict(false, "no grant"));
        assert_eq!(ask(&json!({"user": "nobody", "permission": "orders:read"})), verdict(false, "no such member"));
        assert_eq!(ask(&json!({"user": "eve", "permission": "any:thing"})), verdict(true, "owner/*"));
    }

    #[test]
    fn a_role_at_a_store_counts_at_that_store() {
        let ask = |store: Value| ask(&json!({"user": "bob", "permission": "till:open", "store": store}));
        assert_eq!(ask(json!("north")), verdict(false, "cashier/till:open wants another sign-in"));
        assert_eq!(ask(json!("south")), verdict(false, "no grant"));
        assert_eq!(ask(Value::Null), verdict(false, "no grant"));
        assert_eq!(ask(json!("west")), verdict(false, "no such store"));
    }

    #[test]
    fn a_line_that_contradicts_itself_is_unreadable() {
        let good = line(&json!({"user": "ada", "permission": "orders:read"}));
        let with = |place: &str, value: Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            bad
        };
        for bad in [
            with("/roles/0/inherits", json!(["clerk"])),
            with("/roles/0/inherits", json!(["nobody"])),
            with("/roles/0/grants/0/permission", json!("orders")),
            with("/roles/1/name", json!("clerk")),
            with("/roles/0/grants/0/when", json!("resource.")),
            with("/members/0/role", json!("nobody")),
            with("/members/1/store", json!("west")),
            with("/request/permission", json!("orders:*")),
            with("/request", json!({})),
        ] {
            assert!(decide_line(&bad).is_err(), "{bad}");
        }
    }
}
