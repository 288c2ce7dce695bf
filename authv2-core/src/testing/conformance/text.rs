//! Hostile text comes back as it went in, wherever it is stored.

use super::{
    Case,
    act::{act, at, new_session, new_user},
    room,
    world::{World, added, done},
};
use crate::{
    audit::Outcome,
    store::{ProfileChange, Redacted, SignInQuery, SigningKeyRecord},
};

pub(super) const CASES: &[Case] = room!["text":
    keeps_hostile_text_as_it_is,
    finds_nothing_by_a_fragment_of_sql,
];

fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " leading and trailing ",
        "O'Brien \"the\" `quoted` \\ backslash",
        "'; DROP TABLE users; --",
        "' OR '1'='1",
        "$1 ? :name @name {}",
        "%_\\%",
        "line\nbreak\r\n\ttab \u{1} \u{7f}",
        "👩\u{200d}💻 ß İ ﬁ e\u{301} \u{202e}gnol\u{202c} \u{feff}",
        "{\"a\": null}",
        "1e999",
    ]
    .map(str::to_owned)
    .into();
    texts.push("long é".repeat(10_000 / 6));
    texts.push("x".repeat(10_000));
    texts
}

async fn keeps_hostile_text_as_it_is(world: World) {
    for (index, text) in hostile().into_iter().enumerate() {
        let mut new = new_user(&index.to_string());
        (new.email, new.email_key) = (text.clone(), format!("{text}{index}"));
        (new.display_name, new.password_hash) = (Some(text.clone()), Some(Redacted(text.clone())));
        let mut told = act("user.registered", at(0)).on(&text).ended(Outcome::Success, text.clone());
        told.origin.request_id = Some(format!("{text}{index}"));
        let user = added(world.store().create_user(new.clone(), told.clone()).await.unwrap());
        assert_eq!((&user.email, &user.display_name), (&text, &Some(text.clone())));
        assert!(user.password_hash == new.password_hash, "{text:?}");
        assert_eq!(world.store().user_by_email(&new.email_key).await.unwrap().as_ref(), Some(&user));
        let entry = world.entries(&told).await.remove(0);
        assert_eq!((entry.target.as_deref(), entry.reason.as_deref()), (Some(&*text), Some(&*text)));

        let mut session = new_session(user.id, at(1));
        (session.record.ip, session.record.user_agent) = (Some(text.clone()), Some(text.clone()));
        (session.record.amr, session.record.acr) = (text.clone(), text.clone());
        (session.network, session.verified_hash) = (Some(text.clone()), Some(Redacted(text.clone())));
        let opened = world.open(session.clone()).await;
        assert_eq!(world.session(opened.id).await, session.record);
        let (email_key, network) = (new.email_key, Some(text.clone()));
        let query = SignInQuery { email_key, network, known_since: at(0), buckets: Vec::new() };
        let facts = world.store().sign_in_facts(query).await.unwrap();
        assert!(facts.known_network, "{text:?}");

        let renamed = ProfileChange { display_name: Some(Some(format!("{text}!"))) };
        let renamed = world.store().update_profile(user.id, renamed, None, act("user.updated", at(2))).await.unwrap();
        assert_eq!(done(renamed).display_name, Some(format!("{text}!")));
        let changed = act("user.password_changed", at(3));
        done(world.store().change_password(user.id, Some(text.clone()), text.clone(), None, changed).await.unwrap());
        let name = String::leak(format!("{text}{index}"));
        assert_eq!(world.store().keep_value(name, text.clone()).await.unwrap(), text);
    }
    let kid = hostile().concat();
    let key = SigningKeyRecord { alg: kid.clone(), ..super::deployment::new_key(&kid) };
    let keys = world.store().found_signing_keys(key.clone(), act("signing_key.created", at(0))).await.unwrap();
    assert_eq!(keys, [key]);
}

async fn finds_nothing_by_a_fragment_of_sql(world: World) {
    world.user("ada").await;
    for text in hostile() {
        assert_eq!(world.store().user_by_email(&text).await.unwrap(), None, "{text:?}");
        let query = SignInQuery { email_key: text.clone(), network: Some(text), known_since: at(0), buckets: vec![] };
        let facts = world.store().sign_in_facts(query).await.unwrap();
        assert_eq!((facts.user, facts.known_network, facts.attempts), (None, false, vec![]));
    }
}
