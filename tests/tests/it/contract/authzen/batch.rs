//! Many evaluations in one call: defaults, and when it ends.

use authv2_tests::client::Answer;
use serde_json::{Value, json};

use super::{Books, action, asks, invoice, user, with};
use crate::contract::fixture::{Store, assert_problem};

async fn send(books: &Books, body: Value) -> Answer {
    books.gateway.post("/access/v1/evaluations", body).await
}

/// The decisions of a batch.
async fn decisions(books: &Books, body: Value) -> Vec<bool> {
    let answer = send(books, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let evaluations = answer.json["evaluations"].as_array().expect("evaluations");
    evaluations.iter().map(|evaluation| evaluation["decision"].as_bool().expect("a decision")).collect()
}

#[tokio::test]
async fn each_evaluation_takes_what_it_does_not_say_from_the_top() {
    let books = Books::open(Store::Sqlite).await;
    let (ann, ben) = (user(&books.ann.id), user(&books.ben.id));
    let open = || with(invoice("17"), json!({"state": "open"}));
    let closed = || with(invoice("18"), json!({"state": "closed"}));
    let by_resource = json!({"subject": ann, "action": action("approve"), "evaluations": [
        {"resource": open()}, {"resource": closed()},
    ]});
    assert_eq!(decisions(&books, by_resource).await, [true, false]);
    let by_action = json!({"subject": ben, "resource": invoice("17"), "evaluations": [
        {"action": action("read")}, {"action": action("approve")},
    ]});
    assert_eq!(decisions(&books, by_action).await, [true, false]);
    let by_subject = json!({"action": action("approve"), "resource": closed(), "evaluations": [
        {"subject": ann}, {"subject": with(ben.clone(), json!({"team": "south"}))},
    ]});
    assert_eq!(decisions(&books, by_subject).await, [false, true]);
    let without_defaults = json!({"evaluations": [
        asks(ann.clone(), action("read"), invoice("17")), asks(ben.clone(), action("approve"), invoice("17")),
    ]});
    assert_eq!(decisions(&books, without_defaults).await, [true, false]);
    // A part that is said replaces the default whole, its properties too.
    let whole = json!({"subject": ann, "action": action("approve"), "resource": closed(), "evaluations": [
        {}, {"resource": invoice("18")}, {"resource": open()}, {"subject": ben, "resource": invoice("18")},
    ]});
    assert_eq!(decisions(&books, whole).await, [false, true, true, false]);

    books.also(json!([super::allow_when("invoice:pay", "context.channel == \"desk\"")])).await;
    let context = json!({
        "subject": ann, "action": action("pay"), "resource": invoice("17"), "context": {"channel": "desk"},
        "evaluations": [{}, {"context": {"channel": "web"}}, {"context": {}}, {"resource": invoice("18")}],
    });
    assert_eq!(decisions(&books, context).await, [true, false, false, true]);
}

#[tokio::test]
async fn ends_as_its_semantic_says() {
    let books = Books::open(Store::Sqlite).await;
    let evaluations: Vec<Value> =
        ["read", "approve", "burn", "read", "void"].map(|name| json!({"action": action(name)})).to_vec();
    let body = |semantic: Option<&str>| {
        let mut body = json!({"subject": user(&books.ann.id), "resource": invoice("17"), "evaluations": evaluations});
        if let Some(semantic) = semantic {
            body["options"] = json!({"evaluations_semantic": semantic, "other": 1});
        }
        body
    };
    let all = [true, true, false, true, false];
    assert_eq!(decisions(&books, body(None)).await, all);
    assert_eq!(decisions(&books, body(Some("execute_all"))).await, all);
    assert_eq!(decisions(&books, body(Some("deny_on_first_deny"))).await, [true, true, false]);
    assert_eq!(decisions(&books, body(Some("permit_on_first_permit"))).await, [true]);
    let mut denied_first = body(Some("permit_on_first_permit"));
    denied_first["evaluations"].as_array_mut().unwrap().drain(..2);
    assert_eq!(decisions(&books, denied_first).await, [false, true]);
    let mut options = body(None);
    options["options"] = json!({});
    assert_eq!(decisions(&books, options).await, all);
    for semantic in ["", "all", "EXECUTE_ALL"] {
        assert_problem(&send(&books, body(Some(semantic))).await, 400, "malformed_request");
    }
    for options in [json!([]), json!("execute_all"), json!({"evaluations_semantic": 1})] {
        let mut body = body(None);
        body["options"] = options;
        assert_problem(&send(&books, body).await, 400, "malformed_request");
    }
}

#[tokio::test]
async fn an_evaluation_that_cannot_be_read_is_denied_and_ends_no_other() {
    let books = Books::open(Store::Sqlite).await;
    let body = |semantic: &str| {
        json!({"subject": user(&books.ann.id), "action": action("read"), "evaluations": [
            {"resource": invoice("17")}, {}, {"resource": "17"}, "invoice", {"resource": invoice("18"), "context": 1},
            {"resource": invoice("18")},
        ], "options": {"evaluations_semantic": semantic}})
    };
    let answer = send(&books, body("execute_all")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let evaluations = answer.json["evaluations"].as_array().unwrap();
    assert_eq!((evaluations.len(), &evaluations[0]), (6, &json!({"decision": true})));
    assert_eq!(evaluations[5], json!({"decision": true}));
    for evaluation in &evaluations[1..5] {
        assert_eq!(evaluation["decision"], false, "{evaluation}");
        assert_eq!(evaluation["context"]["error"]["status"], 400, "{evaluation}");
        assert!(evaluation["context"]["error"]["message"].is_string(), "{evaluation}");
    }
    assert_eq!(decisions(&books, body("deny_on_first_deny")).await, [true, false]);
}

#[tokio::test]
async fn without_evaluations_it_is_a_single_one() {
    let books = Books::open(Store::Sqlite).await;
    let single = asks(user(&books.ann.id), action("read"), invoice("17"));
    for evaluations in [None, Some(json!([])), Some(json!(null))] {
        let mut body = single.clone();
        if let Some(evaluations) = evaluations {
            body["evaluations"] = evaluations;
        }
        let answer = send(&books, body).await;
        assert_eq!((answer.status, &answer.json), (200, &json!({"decision": true})));
    }
    let mut denied = single.clone();
    denied["action"] = action("burn");
    assert_eq!(send(&books, denied).await.json, json!({"decision": false}));
    let mut incomplete = single.clone();
    incomplete.as_object_mut().unwrap().remove("resource");
    assert_problem(&send(&books, incomplete).await, 400, "malformed_request");
    for evaluations in [json!({}), json!("all"), json!(1)] {
        let mut body = single.clone();
        body["evaluations"] = evaluations;
        assert_problem(&send(&books, body).await, 400, "malformed_request");
    }
    let mut too_many = single;
    too_many["evaluations"] = json!(vec![json!({}); 1001]);
    assert_problem(&send(&books, too_many.clone()).await, 400, "malformed_request");
    too_many["evaluations"].as_array_mut().unwrap().pop();
    assert_eq!(decisions(&books, too_many).await, [true; 1000]);
}
