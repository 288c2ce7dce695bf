//! Reading AuthZEN requests.

use serde_json::json;

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "callers write the body in place")]
fn request(body: Value) -> Request {
    Request::parse(&Bytes::from(body.to_string())).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T>) -> String {
    let error = read.unwrap_err();
    assert_eq!(error.code(), Code::MalformedRequest);
    error.detail().to_owned()
}

fn whole() -> Value {
    json!({
        "subject": {"type": "user", "id": "ann", "properties": {"grade": 3}},
        "action": {"name": "approve", "properties": {"quick": true}},
        "resource": {"type": "invoice", "id": "17", "properties": {"total": 90}},
        "context": {"channel": "web"},
    })
}

#[test]
fn reads_a_question_and_ignores_what_it_does_not_know() {
    let mut body = whole();
    body["later"] = json!({"version": 2});
    body["subject"]["alias"] = json!("a");
    let question = request(body).question(Sought::Nothing).unwrap();
    assert_eq!((question.subject.kind.as_str(), question.subject.id.as_str()), ("user", "ann"));
    assert_eq!((question.resource.kind.as_str(), question.resource.id.as_str()), ("invoice", "17"));
    assert_eq!(question.action.name, "approve");
    assert_eq!(Value::Object(question.subject.properties), json!({"grade": 3}));
    assert_eq!(Value::Object(question.action.properties), json!({"quick": true}));
    assert_eq!(Value::Object(question.resource.properties), json!({"total": 90}));
    assert_eq!(Value::Object(question.context), json!({"channel": "web"}));
}

#[test]
fn refuses_a_question_with_something_missing_or_of_the_wrong_type() {
    for (pointer, value, detail) in [
        ("/subject", json!(null), "subject: is missing"),
        ("/subject", json!("ann"), "subject: must be an object"),
        ("/subject/type", json!(null), "subject.type: is missing"),
        ("/subject/id", json!(7), "subject.id: must be a string"),
        ("/action/name", json!(123), "action.name: must be a string"),
        ("/action", json!({}), "action.name: is missing"),
        ("/resource/id", json!(null), "resource.id: is missing"),
        ("/resource/properties", json!([]), "resource.properties: must be an object"),
        ("/context", json!("web"), "context: must be an object"),
    ] {
        let mut body = whole();
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(refused(request(body).question(Sought::Nothing)), detail);
    }
}

#[test]
fn refuses_a_body_that_is_no_object() {
    for body in ["", "{\"subject\":", "[]", "null", "\"x\""] {
        refused(Request::parse(&Bytes::from(body)));
    }
}

#[test]
fn what_is_sought_need_not_be_named() {
    let mut body = whole();
    body["subject"] = json!({"type": "user"});
    assert_eq!(request(body.clone()).question(Sought::Subject).unwrap().subject.id, "");
    refused(request(body.clone()).question(Sought::Resource));
    body["subject"] = json!({"type": "user", "id": "ann"});
    body.as_object_mut().unwrap().remove("action");
    assert_eq!(request(body.clone()).question(Sought::Action).unwrap().action.name, "");
    refused(request(body).question(Sought::Subject));
}

#[test]
fn evaluations_take_what_they_lack_from_the_top() {
    let mut body = whole();
    body["evaluations"] = json!([
        {},
        {"resource": {"type": "invoice", "id": "18"}, "context": {"source": "night"}},
        {"subject": {"type": "user"}},
        7,
    ]);
    let request = request(body);
    let batch = request.batch().unwrap();
    let [first, second, third, fourth] = <[_; 4]>::try_from(batch.collect::<Vec<_>>()).unwrap();
    assert_eq!(first.unwrap().resource.id, "17");
    let second = second.unwrap();
    assert_eq!((second.resource.id.as_str(), second.resource.properties.len()), ("18", 0));
    assert_eq!(Value::Object(second.context), json!({"source": "night"}));
    assert_eq!(refused(third), "subject.id: is missing");
    refused(fourth);
}

#[test]
fn no_evaluations_are_a_single_one() {
    for none in [json!(null), json!([])] {
        let mut body = whole();
        body["evaluations"] = none;
        assert!(request(body).batch().unwrap().len() == 0);
    }
    assert!(request(whole()).batch().unwrap().len() == 0);
    refused(request(json!({"evaluations": {}})).batch().map(|_| ()));
}

#[test]
fn knows_the_three_semantics() {
    let semantic = |name: Value| request(json!({"options": {"evaluations_semantic": name}})).semantic();
    let ends = |name: &str| {
        let semantic = semantic(json!(name)).unwrap();
        (semantic.ends_with(true), semantic.ends_with(false))
    };
    assert_eq!(ends("execute_all"), (false, false));
    assert_eq!(ends("deny_on_first_deny"), (false, true));
    assert_eq!(ends("permit_on_first_permit"), (true, false));
    assert_eq!(request(json!({})).semantic().unwrap(), Semantic::ExecuteAll);
    assert_eq!(request(json!({"options": {"other": 1}})).semantic().unwrap(), Semantic::ExecuteAll);
    refused(semantic(json!("first_come")));
    refused(semantic(json!(1)));
}

#[test]
fn pages_are_bounded() {
    let page = |page: Value| request(json!({"page": page})).page();
    assert_eq!(request(json!({})).page().unwrap().limit, 100);
    assert_eq!(page(json!({"limit": 7})).unwrap().limit, 7);
    assert_eq!(page(json!({"limit": u64::MAX})).unwrap().limit, 1000);
    assert_eq!(page(json!({"token": "t"})).unwrap().token.as_deref(), Some("t"));
    assert_eq!(page(json!({"token": ""})).unwrap().token, None);
    for wrong in [json!({"limit": 0}), json!({"limit": -1}), json!({"limit": "7"}), json!({"token": 7}), json!([])] {
        refused(page(wrong));
    }
}
