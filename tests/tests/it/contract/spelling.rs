//! Which spellings are one e-mail or one password, and which are not; and how long either may be.

use authv2_tests::client::{Answer, Api};
use serde_json::json;

use super::fixture::{
    PASSWORD, Store, assert_invalid, assert_problem, login, on_each_store, post, quick, register, start,
};

on_each_store!(spellings_of_one_email_are_one_account);

async fn register_as(api: &Api, email: &str, password: &str) -> Answer {
    post(api, "/auth/register", "", json!({"email": email, "password": password})).await
}

async fn spellings_of_one_email_are_one_account(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    for spellings in [
        // NFC, in either part and in any case.
        ["ren\u{e9}@example.org", "rene\u{301}@example.org", "REN\u{c9}@EXAMPLE.ORG"],
        // IDNA: the same domain in U-labels, A-labels, and capitals.
        ["ada@b\u{fc}cher.example", "ada@xn--bcher-kva.example", "Ada@BU\u{308}CHER.example"],
    ] {
        let first = register(api, spellings[0]).await;
        for other in spellings {
            assert_problem(&register_as(api, other, "quite another one").await, 409, "email_taken");
            let answer = login(api, other, PASSWORD).await;
            assert_eq!(answer.status, 200, "{other}: {}", answer.text);
            assert_eq!(answer.json["user"]["id"], first.json["user"]["id"], "{other}");
            assert_eq!(answer.string("/user/email"), spellings[0], "{other}");
        }
    }
}

#[tokio::test]
async fn emails_that_only_look_alike_are_different_people() {
    let deployment = start(quick()).await;
    for email in [
        "adalove@example.org",
        "ada.love@example.org",
        "ada.love+shop@example.org",
        "adalove@example.com",
        "adalove@sub.example.org",
        // Compatibility variants and look-alikes: NFC is not NFKC, and Cyrillic is not Latin.
        "\u{ff41}dalove@example.org",
        "\u{430}dalove@example.org",
        "stra\u{df}e@example.org",
        "strasse@example.org",
    ] {
        register(&deployment.api, email).await;
    }
}

#[tokio::test]
async fn refuses_what_is_no_email() {
    let deployment = start(quick()).await;
    let long = format!("{}@example.org", "a".repeat(65));
    let longest = format!("ada@{}.org", ["b".repeat(60).as_str(); 5].join("."));
    for email in [
        "",
        "ada",
        "@example.org",
        "ada@",
        "a da@example.org",
        "ada@example..org",
        "ada@-example.org",
        ".ada@example.org",
        "ada@[192.0.2.1]",
        "\"ada\"@example.org",
        "ada@example.org\r\nBcc: x@example.org",
        "ada\u{200b}@example.org",
        &long,
        &longest,
    ] {
        assert_invalid(&register_as(&deployment.api, email, PASSWORD).await, "email", "invalid_email");
    }
    register(&deployment.api, &format!("{}@example.org", "a".repeat(64))).await;
}

#[tokio::test]
async fn passwords_are_compared_in_nfc_and_no_further() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    // Composed, decomposed; Hangul too.
    for (number, (set, typed)) in [
        ("caf\u{e9} con leche", "cafe\u{301} con leche"),
        ("\u{1112}\u{1161}\u{11ab} river bank", "\u{d55c} river bank"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{number}@example.org");
        assert_eq!(register_as(api, &email, set).await.status, 201);
        assert_eq!(login(api, &email, set).await.status, 200);
        assert_eq!(login(api, &email, typed).await.status, 200, "{typed}");
    }
    let set = "the o\u{fb03}ce is  Open ";
    assert_eq!(register_as(api, "exact@example.org", set).await.status, 201);
    for typed in
        ["the office is  Open ", "the o\u{fb03}ce is  Open", "the o\u{fb03}ce is Open ", "the o\u{fb03}ce is  open "]
    {
        assert_problem(&login(api, "exact@example.org", typed).await, 401, "invalid_credentials");
    }
    assert_eq!(login(api, "exact@example.org", set).await.status, 200);
}

/// Ideographs in no order that a guesser would try.
fn ideographs(count: u32) -> String {
    (0..count).map(|n| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap()).collect()
}

#[tokio::test]
async fn passwords_are_measured_in_code_points_and_never_cut() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    for (password, code) in [(ideographs(7), "too_short"), (ideographs(257), "too_long"), (String::new(), "too_short")]
    {
        let answer = register_as(api, "no@example.org", &password).await;
        assert_problem(&answer, 422, "validation_failed");
        assert!(answer.field_codes().any(|found| found == code), "{}", answer.text);
    }
    // Seven letters, two code points each, until they are composed.
    let composed = "e\u{301}a\u{300}o\u{308}u\u{302}n\u{303}i\u{308}c\u{327}";
    assert!(register_as(api, "no@example.org", composed).await.field_codes().any(|code| code == "too_short"));

    assert_eq!(register_as(api, "least@example.org", &ideographs(8)).await.status, 201);
    assert_eq!(login(api, "least@example.org", &ideographs(8)).await.status, 200);
    let longest = ideographs(256);
    assert_eq!(register_as(api, "most@example.org", &longest).await.status, 201);
    assert_eq!(login(api, "most@example.org", &longest).await.status, 200);
    for near in [ideographs(255), ideographs(257), format!("{}x", ideographs(255))] {
        assert_problem(&login(api, "most@example.org", &near).await, 401, "invalid_credentials");
    }
}

#[tokio::test]
async fn refuses_passwords_that_are_guessed_first() {
    let deployment = start(quick()).await;
    for (password, code) in [
        ("password123", "too_common"),
        ("aaaaaaaaaaaa", "too_weak"),
        ("grace.hopper1", "contains_context"),
        ("with\u{7}a bell in it", "invalid_character"),
    ] {
        let answer = register_as(&deployment.api, "grace.hopper@example.org", password).await;
        assert_problem(&answer, 422, "validation_failed");
        assert!(answer.field_codes().any(|found| found == code), "{password}: {}", answer.text);
        assert!(!answer.text.contains(password), "{}", answer.text);
    }
}
