//! Conditions: what they see of the caller, the resource and the circumstances, and what nobody can make them see.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    fixture::{Deployment, Store},
    tenancy::{Organization, Person, allow_when, deploy, held},
};

/// An organization with a member whose one right is under the condition at hand.
struct Scene {
    acme: Organization,
    bob: Person,
    _deployment: Deployment,
}

impl Scene {
    async fn new() -> Self {
        let deployment = deploy(Store::Sqlite).await;
        let acme = Organization::found(&deployment.api, "acme", "ada").await;
        acme.role("clerk", json!([])).await;
        let bob = acme.member("bob", json!([held("clerk")])).await;
        Self { acme, bob, _deployment: deployment }
    }

    /// Whether the condition holds in these circumstances.
    async fn holds(&self, condition: &str, resource: Value, context: Value) -> bool {
        self.acme.role("clerk", json!([allow_when("orders:refund", condition)])).await;
        self.asked(resource, context).await
    }

    async fn asked(&self, resource: Value, context: Value) -> bool {
        self.bob.passes(json!({"permission": "orders:refund", "resource": resource, "context": context})).await
    }
}

#[tokio::test]
async fn see_the_resource_and_the_context_that_the_caller_sends() {
    let scene = Scene::new().await;
    let both = "resource.amount <= 500 && context.channel == \"web\"";
    let web = json!({"channel": "web"});
    for (resource, context, holds) in [
        (json!({"amount": 500}), web.clone(), true),
        (json!({"amount": 501}), web.clone(), false),
        (json!({"amount": 500}), json!({"channel": "shop"}), false),
        // What is missing, or of another type, grants nothing.
        (json!({"amount": 500}), json!({}), false),
        (json!({}), web.clone(), false),
        (json!({"amount": null}), web.clone(), false),
        (json!({"amount": "500"}), web.clone(), false),
        (json!({"amount": [500]}), web.clone(), false),
        (json!({"amount": 500.5}), web.clone(), false),
    ] {
        assert_eq!(scene.holds(both, resource.clone(), context.clone()).await, holds, "{resource} {context}");
    }
    assert!(!scene.bob.may("orders:refund").await, "neither resource nor context sent");
    for (condition, resource) in [
        ("resource.id == \"7\" && resource.type == \"parcel\"", json!({"id": "7", "type": "parcel"})),
        ("resource.tags.contains(\"vip\")", json!({"tags": ["new", "vip"]})),
        ("resource.customer.address.city == \"K\u{f6}ln\"", json!({"customer": {"address": {"city": "K\u{f6}ln"}}})),
        ("resource has amount && !(resource has colour)", json!({"amount": 1})),
        ("resource.name like \"a*z\"", json!({"name": "a to z"})),
        ("resource.open || resource.nonsense > 3", json!({"open": true})),
        ("resource.amount == -9223372036854775808", json!({"amount": i64::MIN})),
        ("if resource.open then true else false", json!({"open": true})),
    ] {
        assert!(scene.holds(condition, resource.clone(), json!({})).await, "{condition} with {resource}");
        assert!(!scene.asked(json!({}), json!({})).await, "{condition} without anything");
    }
}

/// Cedar's own escapes in JSON are nothing but data: nobody makes an entity or an address out of them.
#[tokio::test]
async fn see_plain_values_and_no_escapes() {
    let scene = Scene::new().await;
    let id = scene.bob.id.clone();
    let entity = json!({"__entity": {"type": "User", "id": id}});
    for owner in [&entity, &json!({"type": "User", "id": id}), &json!(id)] {
        assert!(!scene.holds("resource.owner == principal", json!({"owner": owner}), json!({})).await, "{owner}");
        assert!(!scene.holds("principal == resource.owner", json!({"owner": owner}), json!({})).await, "{owner}");
    }
    let same = format!("resource.owner[\"__entity\"][\"id\"] == \"{id}\"");
    assert!(scene.holds(&same, json!({"owner": entity}), json!({})).await);
    assert!(scene.holds("context.owner has \"__entity\"", json!({}), json!({"owner": entity})).await);
    let address = json!({"from": {"__extn": {"fn": "ip", "arg": "127.0.0.1"}}});
    assert!(!scene.holds("resource.from.isLoopback()", address.clone(), json!({})).await);
    assert!(scene.holds("resource.from[\"__extn\"][\"fn\"] == \"ip\"", address, json!({})).await);
    let whole = json!({"__entity": {"type": "User", "id": id}, "amount": 1});
    assert!(scene.holds("resource has \"__entity\" && resource.amount == 1", whole, json!({})).await);
    let text = json!({"amount": "1) || (true"});
    assert!(!scene.holds("resource.amount == 1", text, json!({})).await);
}

#[tokio::test]
async fn see_numbers_as_cedar_can_hold_them() {
    let scene = Scene::new().await;
    let cheap = "resource.price.lessThan(decimal(\"20.0\"))";
    for (price, holds) in [(json!(12.5), true), (json!(20.25), false), (json!(19.9999), true), (json!(-0.5), true)] {
        assert_eq!(scene.holds(cheap, json!({"price": price}), json!({})).await, holds, "{price}");
    }
    for price in [json!(12.34567), json!(9_223_372_036_854_775_808_u64), json!(1e300), json!(null)] {
        assert!(!scene.holds("resource has price", json!({"price": price}), json!({})).await, "{price} is absent");
    }
    assert!(scene.holds("resource.price == 12", json!({"price": 12}), json!({})).await);
}

#[tokio::test]
async fn see_who_asks_and_how_it_signed_in() {
    let scene = Scene::new().await;
    for condition in [
        &*format!("principal.id == \"{}\"", scene.bob.id),
        "principal.email == \"bob@example.org\"",
        "principal.roles.contains(\"clerk\") && !principal.roles.contains(\"owner\")",
        "principal.amr.contains(\"pwd\") && !principal.amr.contains(\"otp\")",
        "principal.acr == \"aal1\"",
        "principal.auth_age >= 0 && principal.auth_age < 300",
        "principal.session_age >= 0 && principal.session_age < 300",
        "principal.risk == \"low\"",
        "principal.ip.isLoopback() && principal.ip.isIpv4()",
        "principal has method",
        "action.name == \"refund\"",
    ] {
        assert!(scene.holds(condition, json!({}), json!({})).await, "{condition}");
    }
    let method = scene.bob.get("/auth/me").await.string("/auth/method").to_owned();
    assert!(scene.holds(&format!("principal.method == \"{method}\""), json!({}), json!({})).await, "{method}");
    for condition in ["principal.password == \"x\"", "principal.nonsense", "action.name == \"read\"", "false"] {
        assert!(!scene.holds(condition, json!({}), json!({})).await, "{condition}");
    }
    // No word of the caller's about itself counts.
    let claimed = json!({"principal": {"risk": "none"}, "risk": "none", "roles": ["owner"]});
    for condition in ["principal.risk == \"none\"", "principal.roles.contains(\"owner\")"] {
        assert!(!scene.holds(condition, claimed.clone(), claimed.clone()).await, "{condition}");
    }
}

/// The hour now in the zone that is so many hours from UTC.
fn hour(offset: i64) -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(seconds / 3600).unwrap() + offset).rem_euclid(24)
}

#[tokio::test]
async fn see_the_time_where_the_organization_is() {
    let scene = Scene::new().await;
    // Zones without summer time, a day and an hour apart.
    for (zone, offset) in [("Pacific/Kiritimati", 14), ("Pacific/Pago_Pago", -11), ("Etc/UTC", 0)] {
        let moved = scene.acme.owner.patch(&scene.acme.path(""), json!({"time_zone": zone})).await;
        assert_eq!(moved.status, 200, "{}", moved.text);
        // A full hour may strike between the two calls: then the next attempt is far from it.
        let mut held = false;
        for _ in 0..2 {
            held |= scene.holds(&format!("context.now.hour == {}", hour(offset)), json!({}), json!({})).await;
        }
        assert!(held, "{zone}");
    }
    for condition in ["context.now.minute >= 0 && context.now.minute < 60", "context.now has weekday"] {
        assert!(scene.holds(condition, json!({}), json!({})).await, "{condition}");
    }
    // The server's clock, not the caller's.
    let sent = json!({"now": {"hour": 99, "minute": 99, "weekday": 99}});
    assert!(!scene.holds("context.now.hour == 99", json!({}), sent.clone()).await);
    assert!(scene.holds("context.now.hour < 24", json!({}), sent).await);
}

#[tokio::test]
async fn any_of_several_conditional_grants_will_do() {
    let scene = Scene::new().await;
    let grants = json!([
        allow_when("orders:refund", "resource.amount <= 10"),
        allow_when("orders:*", "resource.nonsense == 1"),
        allow_when("*", "context.channel == \"web\""),
    ]);
    scene.acme.role("clerk", grants).await;
    for (amount, channel, allowed) in [(5, "shop", true), (50, "web", true), (50, "shop", false), (5, "web", true)] {
        assert_eq!(scene.asked(json!({"amount": amount}), json!({"channel": channel})).await, allowed);
    }
}
