//! Roles: written, inherited, shown, removed; declared resource types; and what a change would do.

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, members, on_each_store},
    tenancy::{
        Organization, Person, allow, allow_when, assert_not_found, assert_refuses, deny, deploy, held, held_at, sorted,
    },
};

on_each_store!(
    writes_shows_and_removes_a_role,
    two_changes_at_once_make_no_cycle,
    a_role_in_use_stays,
    resource_types_are_declared_and_conditions_are_held_to_them,
);

async fn writes_shows_and_removes_a_role(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let path = acme.path("/roles/order-clerk_2");
    assert_not_found(&acme.owner.get(&path).await);
    let grants = json!([
        allow("orders:read"),
        deny("orders:void"),
        allow_when("orders:refund", "resource.amount <= 500 && context.channel == \"web\""),
        {"permission": "stock:*", "effect": "allow", "step_up": {"max_age": 600, "acr": "aal2"}},
        {"permission": "stock:count", "effect": "allow", "step_up": {"max_age": 600}},
    ]);
    let body = json!({"description": "Takes orders \u{1f9fe}", "inherits": ["member"], "grants": grants});
    let made = acme.owner.put(&path, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(members(&made.json), ["role"]);
    let role = &made.json["role"];
    assert_eq!(members(role), ["builtin", "description", "grants", "inherits", "name", "revision"]);
    assert_eq!((&role["name"], &role["builtin"]), (&json!("order-clerk_2"), &json!(false)));
    for name in ["description", "inherits", "grants"] {
        assert_eq!(role[name], body[name]);
    }
    assert_eq!(acme.owner.get(&path).await.json, made.json);

    let again = acme.owner.put(&path, json!({"inherits": [], "grants": []})).await;
    assert_eq!((again.status, &again.json["role"]["grants"]), (200, &json!([])), "{}", again.text);
    assert_eq!(again.json["role"]["inherits"], json!([]));
    assert!(again.json["role"]["description"].is_null());
    assert!(again.json["role"]["revision"].as_i64().unwrap() > role["revision"].as_i64().unwrap());
    let listed = acme.owner.get(&acme.path("/roles")).await;
    assert_eq!((listed.status, members(&listed.json)), (200, vec!["roles"]));
    assert!(listed.json["roles"].as_array().unwrap().contains(&again.json["role"]), "{}", listed.text);

    let removed = acme.owner.delete(&path).await;
    assert_eq!((removed.status, &*removed.text), (204, ""));
    for answer in [acme.owner.get(&path).await, acme.owner.delete(&path).await] {
        assert_not_found(&answer);
    }
    assert_eq!(acme.owner.put(&path, body).await.status, 201, "made anew");
}

#[tokio::test]
async fn the_builtin_roles_are_there_and_stay_as_they_are() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let listed = acme.owner.get(&acme.path("/roles")).await;
    let roles = listed.json["roles"].as_array().unwrap();
    let mut names: Vec<&str> = roles.iter().map(|role| role["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["admin", "member", "owner"]);
    let admin = ["members:*", "roles:*", "stores:*", "api_keys:*", "audit:read", "organization:update"];
    for (name, patterns) in [("owner", &["*"][..]), ("admin", &admin), ("member", &[])] {
        let path = acme.path(&format!("/roles/{name}"));
        let role = acme.owner.get(&path).await.json["role"].clone();
        assert_eq!((&role["builtin"], &role["inherits"]), (&json!(true), &json!([])));
        let wanted: Vec<Value> = patterns.iter().map(|pattern| allow(pattern)).collect();
        assert_eq!(sorted(&role["grants"]), sorted(&json!(wanted)), "{name}");
        let written = acme.owner.put(&path, json!({"inherits": [], "grants": []})).await;
        assert_problem(&written, 409, "role_is_builtin");
        assert_problem(&acme.owner.delete(&path).await, 409, "role_is_builtin");
        assert_eq!(acme.owner.get(&path).await.json["role"], role);
    }
}

#[tokio::test]
async fn refuses_a_role_that_says_nonsense() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let put = |body: Value| acme.owner.put("/auth/orgs/acme/roles/new", body);
    let grant = |grant: Value| json!({"inherits": [], "grants": [allow("orders:read"), grant]});
    for permission in [
        "",
        "orders",
        "orders:",
        ":read",
        "*:read",
        "Orders:read",
        "orders:Read",
        "orders:read:all",
        "orders:re*",
        "**",
        "orders: read",
        "9orders:read",
        "orders.all:read",
    ] {
        let answer = put(grant(allow(permission))).await;
        assert_eq!(answer.status, 422, "{permission:?}: {}", answer.text);
        assert_refuses(&answer, "grants[1].permission");
    }
    let read = |more: Value| {
        let mut grant = allow("orders:read");
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        grant
    };
    for (body, field, code) in [
        (json!({"inherits": ["nonsense"], "grants": []}), "inherits[0]", "unknown_role"),
        (json!({"inherits": ["member", "nonsense"], "grants": []}), "inherits[1]", "unknown_role"),
        (json!({"inherits": [7], "grants": []}), "inherits[0]", "invalid_type"),
        (json!({"grants": []}), "inherits", "required"),
        (json!({"inherits": []}), "grants", "required"),
        (json!({"inherits": [], "grants": [], "builtin": true}), "builtin", "unknown_field"),
        (grant(read(json!({"effect": "maybe"}))), "grants[1].effect", "invalid_choice"),
        (grant(json!({"permission": "orders:read"})), "grants[1].effect", "required"),
        (grant(json!({"effect": "allow"})), "grants[1].permission", "required"),
        (grant(read(json!({"until": "friday"}))), "grants[1].until", "unknown_field"),
        (grant(read(json!({"when": 7}))), "grants[1].when", "invalid_type"),
        (grant(read(json!({"step_up": {"max_age": 7, "age": 7}}))), "grants[1].step_up.age", "unknown_field"),
        (grant(json!("orders:read")), "grants[1]", "invalid_type"),
    ] {
        let answer = put(body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        assert_invalid(&answer, field, code);
    }
    for max_age in [json!(-1), json!("600"), json!(1.5)] {
        assert_refuses(
            &put(grant(read(json!({"step_up": {"max_age": max_age, "acr": "aal2"}})))).await,
            "grants[1].step_up.max_age",
        );
    }
    for name in ["Clerk", "9clerk", "a.b", &"a".repeat(64)] {
        let answer = acme.owner.put(&acme.path(&format!("/roles/{name}")), json!({"inherits": [], "grants": []})).await;
        assert_problem(&answer, 422, "validation_failed");
    }
    assert_eq!(acme.owner.get(&acme.path("/roles")).await.json["roles"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_condition_is_one_expression_and_its_mistakes_are_placed() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let put = |when: &str| {
        let body = json!({"inherits": [], "grants": [allow_when("orders:read", when)]});
        async { acme.owner.put("/auth/orgs/acme/roles/new", body).await }
    };
    for when in [
        "",
        "   ",
        "resource.amount <=",
        "resource.amount <= 5 5",
        "(true",
        "true)",
        "\"open",
        "resource.",
        "a b",
        // Nothing gets out of the expression.
        "true) || (true",
        "true }; permit(principal, action, resource) when { true",
        "true; true",
        "true } when { true",
        "permit(principal, action, resource);",
        "?principal == ?resource",
        "nobody.knows == 1",
        "unknown(\"x\") == 1",
    ] {
        let answer = put(when).await;
        assert_eq!(answer.status, 422, "{when:?}: {}", answer.text);
        assert_invalid(&answer, "grants[0].when", "invalid_condition");
        let message = answer.string("/errors/0/message");
        assert!(message.contains("line ") && message.contains("column "), "{when:?}: {message}");
    }
    let placed = put("true &&\n  resource.amount <= <= 5").await;
    assert!(placed.string("/errors/0/message").contains("line 2"), "{}", placed.text);
    assert_eq!(put(&"true && ".repeat(20_000)).await.status, 413, "over the limit of a body");
    let long = format!("{}true", "true && ".repeat(6_000));
    assert_invalid(&put(&long).await, "grants[0].when", "invalid_condition");
    for bomb in [format!("{}true{}", "(".repeat(900), ")".repeat(900)), format!("{}true", "!".repeat(1_800))] {
        assert!([201, 200, 422].contains(&put(&bomb).await.status));
    }
    assert_eq!(acme.owner.get("/auth/me").await.status, 200, "the server has survived it");
}

#[tokio::test]
async fn no_role_inherits_from_itself() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let inheriting = |parents: &[&str]| json!({"inherits": parents, "grants": []});
    for (name, parents) in [("a", &[][..]), ("b", &["a"]), ("c", &["b", "member"]), ("d", &["a", "c"])] {
        acme.role_with(name, inheriting(parents)).await;
    }
    for (name, parents) in [("a", &["a"][..]), ("a", &["b"]), ("a", &["c"]), ("a", &["d"]), ("b", &["member", "d"])] {
        let answer = acme.owner.put(&acme.path(&format!("/roles/{name}")), inheriting(parents)).await;
        assert_problem(&answer, 409, "role_cycle");
    }
    assert_eq!(acme.owner.get(&acme.path("/roles/a")).await.json["role"]["inherits"], json!([]));
    // A diamond is none.
    acme.role_with("e", inheriting(&["b", "c", "d"])).await;
}

/// Each change is fine by itself; together they make a cycle.
async fn two_changes_at_once_make_no_cycle(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    for round in 0..6 {
        let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
        for name in &names {
            acme.role(name, json!([])).await;
        }
        let put = |child: usize, parent: usize| {
            let path = acme.path(&format!("/roles/{}", names[child]));
            let body = json!({"inherits": [names[parent]], "grants": []});
            let owner = &acme.owner;
            async move { owner.put(&path, body).await }
        };
        let answers = match round % 2 {
            0 => <[_; 2]>::from(join(put(0, 1), put(1, 0)).await).to_vec(),
            _ => join_all([put(0, 1), put(1, 2), put(2, 0)]).await,
        };
        let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((done.len(), refused.len()), (answers.len() - 1, 1), "{answers:?}");
        assert_problem(refused[0], 409, "role_cycle");
    }
}

async fn a_role_in_use_stays(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let path = acme.path("/roles/clerk");
    let bob = acme.member("bob", json!([held("clerk")])).await;
    assert_problem(&acme.owner.delete(&path).await, 409, "role_in_use");
    acme.set_roles(&bob, json!([held_at("clerk", &north)])).await;
    assert_problem(&acme.owner.delete(&path).await, 409, "role_in_use");
    acme.set_roles(&bob, json!([])).await;
    acme.role_with("heir", json!({"inherits": ["clerk"], "grants": []})).await;
    assert_problem(&acme.owner.delete(&path).await, 409, "role_in_use");
    acme.role("heir", json!([])).await;
    assert_eq!(acme.owner.delete(&path).await.status, 204);

    // Whoever comes first: a role that has gone is assigned to nobody.
    for round in 0..4 {
        acme.role("brief", json!([allow("orders:read")])).await;
        let path = acme.path("/roles/brief");
        let (removed, assigned) =
            join(acme.owner.delete(&path), acme.assign(&acme.owner, &bob, json!([held("brief")]))).await;
        match (removed.status, assigned.status) {
            (204, 422) => assert_eq!(acme.roles_of(&bob).await, Some(vec![])),
            (409, 200) => acme.set_roles(&bob, json!([])).await,
            _ => panic!("round {round}: {} {}", removed.text, assigned.text),
        }
    }
}

#[tokio::test]
async fn each_call_on_roles_needs_its_permission() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("subject", json!([])).await;
    let empty = json!({"inherits": [], "grants": []});
    let types = json!({"attributes": {"amount": "long"}});
    let none = json!(null);
    let cases: [(Method, &str, &Value, &[&str], u16); 9] = [
        (Method::GET, "/roles", &none, &["roles:read"], 200),
        (Method::GET, "/roles/subject", &none, &["roles:read"], 200),
        (Method::PUT, "/roles/new", &empty, &["roles:create"], 201),
        (Method::PUT, "/roles/subject", &empty, &["roles:update"], 200),
        (Method::POST, "/roles/subject/impact", &empty, &["roles:read", "members:read"], 200),
        (Method::PUT, "/resource-types/orders", &types, &["roles:update"], 201),
        (Method::GET, "/resource-types/orders", &none, &["roles:read"], 200),
        (Method::GET, "/resource-types", &none, &["roles:read"], 200),
        (Method::DELETE, "/roles/subject", &none, &["roles:delete"], 204),
    ];
    let all = ["roles:read", "roles:create", "roles:update", "roles:delete", "members:read", "stores:*"];
    let (insider, stranger) =
        (acme.member("bob", json!([held("member")])).await, Person::new(&deployment.api, "eve").await);
    for (method, rest, body, needed, status) in cases {
        let body = Some(body).filter(|body| !body.is_null());
        let path = acme.path(rest);
        for lacking in needed {
            let others: Vec<Value> = all.iter().filter(|other| *other != lacking).map(|other| allow(other)).collect();
            acme.role("probe", json!(others)).await;
            acme.set_roles(&insider, json!([held("probe")])).await;
            let refused = insider.call(method.clone(), &path, body).await;
            assert_problem(&refused, 403, "permission_denied");
        }
        assert_not_found(&stranger.call(method.clone(), &path, body).await);
        let own: Vec<Value> = needed.iter().map(|permission| allow(permission)).collect();
        acme.role("probe", json!(own)).await;
        let done = insider.call(method.clone(), &path, body).await;
        assert_eq!(done.status, status, "{method} {rest}: {}", done.text);
    }
}

async fn resource_types_are_declared_and_conditions_are_held_to_them(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let path = acme.path("/resource-types/orders");
    assert_not_found(&acme.owner.get(&path).await);
    let attributes = json!({
        "amount": "long", "channel": "string", "paid": "boolean", "from": "ip", "tags": "string_set",
    });
    let declared = acme.owner.put(&path, json!({"attributes": {"amount": "long"}})).await;
    assert_eq!((declared.status, members(&declared.json)), (201, vec!["resource_type"]), "{}", declared.text);
    let again = acme.owner.put(&path, json!({"attributes": attributes})).await;
    assert_eq!((again.status, &again.json["resource_type"]["attributes"]), (200, &attributes), "{}", again.text);
    let shown = acme.owner.get(&path).await;
    assert_eq!((shown.status, &shown.json), (200, &again.json));
    let listed = acme.owner.get(&acme.path("/resource-types")).await;
    assert_eq!(listed.json, json!({"resource_types": [again.json["resource_type"]]}));

    for (body, field) in [
        (json!({"attributes": {"amount": "number"}}), "attributes.amount"),
        (json!({"attributes": {"amount": 7}}), "attributes.amount"),
        (json!({"attributes": []}), "attributes"),
        (json!({}), "attributes"),
    ] {
        assert_refuses(&acme.owner.put(&path, body).await, field);
    }
    let more = json!({"attributes": {}, "open": true});
    assert_invalid(&acme.owner.put(&path, more).await, "open", "unknown_field");

    let put = |permission: &str, when: &str| {
        let body = json!({"inherits": [], "grants": [allow_when(permission, when)]});
        async { acme.owner.put("/auth/orgs/acme/roles/new", body).await }
    };
    for when in [
        "resource.amount <= 500 && context.channel == \"web\"",
        "resource.paid && resource.channel == \"web\"",
        "resource.tags.contains(\"vip\")",
        "resource.from.isLoopback()",
        "resource.id == \"7\"",
        "principal.roles.contains(\"clerk\") && context.anything.goes == 7",
    ] {
        let answer = put("orders:refund", when).await;
        assert!([200, 201].contains(&answer.status), "{when}: {}", answer.text);
    }
    for when in [
        "resource.amount == \"500\"",
        "resource.amount like \"5*\"",
        "resource.channel > 5",
        "!resource.channel",
        "resource.tags < 3",
        "context.channel == \"web\" && resource.colour == \"red\"",
    ] {
        let answer = put("orders:refund", when).await;
        assert_eq!(answer.status, 422, "{when}: {}", answer.text);
        assert_invalid(&answer, "grants[0].when", "invalid_condition");
        let message = answer.string("/errors/0/message");
        assert!(message.contains("line 1") && message.contains("column "), "{when}: {message}");
        // What nobody declared is nobody's mistake.
        let other = put("stock:count", when).await;
        assert!([200, 201].contains(&other.status), "{when}: {}", other.text);
    }
}

#[tokio::test]
async fn tells_whom_a_change_would_give_and_take_what() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read"), allow("orders:void")])).await;
    acme.role_with("chief", json!({"inherits": ["clerk"], "grants": [allow("orders:refund")]})).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let cyd = acme.member("cyd", json!([held_at("clerk", &north)])).await;
    let dan = acme.member("dan", json!([held("chief")])).await;
    acme.member("eve", json!([held("member")])).await;
    let path = acme.path("/roles/clerk/impact");
    let before = acme.owner.get(&acme.path("/roles")).await.json;

    let body = json!({"inherits": [], "grants": [allow("orders:read"), allow("orders:refund")]});
    let answer = acme.owner.post(&path, body).await;
    assert_eq!((answer.status, members(&answer.json)), (200, vec!["gains", "losses"]), "{}", answer.text);
    let change = |person: &Person, permission: &str| json!({"user_id": person.id, "permissions": [permission]});
    let at_north = |permission: &str| json!({"user_id": cyd.id, "store": north, "permissions": [permission]});
    // Dan could refund before; ada, the owner, could do all.
    let gains = json!([change(&bob, "orders:refund"), at_north("orders:refund")]);
    let losses = json!([change(&bob, "orders:void"), at_north("orders:void"), change(&dan, "orders:void")]);
    assert_eq!(sorted(&answer.json["gains"]), sorted(&gains));
    assert_eq!(sorted(&answer.json["losses"]), sorted(&losses));

    let same = json!({"inherits": [], "grants": [allow("orders:void"), allow("orders:read")]});
    let nothing = json!({"gains": [], "losses": []});
    assert_eq!(acme.owner.post(&path, same).await.json, nothing);
    let new = json!({"inherits": [], "grants": [allow("*")]});
    assert_eq!(acme.owner.post(&acme.path("/roles/nobodys/impact"), new).await.json, nothing);
    let denying = json!({"inherits": ["chief"], "grants": []});
    assert_problem(&acme.owner.post(&path, denying).await, 409, "role_cycle");
    let broken = json!({"inherits": [], "grants": [allow_when("orders:read", "((")]});
    assert_invalid(&acme.owner.post(&path, broken).await, "grants[0].when", "invalid_condition");
    assert_eq!(acme.owner.get(&acme.path("/roles")).await.json, before, "nothing was saved");
}
