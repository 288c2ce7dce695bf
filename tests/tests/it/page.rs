//! The quickstart's page: what can be said about it without a browser.

use authv2_tests::{client::Api, server::Server};

const PAGE: &str = concat!(
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/page.html")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/page/calls.js")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/page/views.js")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/page/flows.js")),
);

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split_once(end)).map(|(inside, _)| inside).collect()
}

#[test]
fn loads_nothing_from_elsewhere() {
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!PAGE.contains(outside), "the page contains {outside}");
    }
}

#[test]
fn keeps_tokens_out_of_storage_and_markup_out_of_answers() {
    for danger in
        ["localStorage", "sessionStorage", "document.cookie", "indexedDB", "innerHTML", "insertAdjacentHTML", "eval("]
    {
        assert!(!PAGE.contains(danger), "the page uses {danger}");
    }
}

#[test]
fn needs_no_unsafe_inline() {
    for tag in ["<script", "<style"] {
        for attributes in between(PAGE, tag, ">") {
            assert_eq!(attributes.trim(), "nonce=\"{nonce}\"", "{tag}");
        }
    }
    assert!(!PAGE.contains(" style=\""));
    assert!(!PAGE.contains(" onclick=\""));
}

#[test]
fn names_only_elements_that_are_there() {
    let ids = between(PAGE, " id=\"", "\"");
    let named = ["element(\"", "onSubmit(\"", "onClick(\"", " for=\"", "aria-labelledby=\"", "aria-describedby=\""];
    for id in named.iter().flat_map(|start| between(PAGE, start, "\"")) {
        assert!(ids.contains(&id), "nothing has the id {id}");
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id is used twice");
}

#[test]
fn labels_every_field() {
    let labelled = between(PAGE, "<label for=\"", "\"");
    for field in between(PAGE, "<input ", ">") {
        let id = between(field, "id=\"", "\"")[0];
        assert!(labelled.contains(&id) || field.contains("aria-label=\""), "{id} has no label");
    }
}

#[tokio::test]
async fn is_served_under_a_policy_with_a_nonce_of_its_own() {
    let server = Server::start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let answer = api.get("/", "").await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/html"));
        let policy = answer.header("content-security-policy");
        let nonce = between(policy, "'nonce-", "'").first().copied().unwrap_or_default().to_owned();
        assert!(nonce.len() >= 16, "{policy}");
        assert!(!policy.contains("unsafe-inline"), "{policy}");
        assert!(answer.text.contains(&format!("<script nonce=\"{nonce}\">")));
        for place in ["{nonce}", "{script}", "{inbox}"] {
            assert!(!answer.text.contains(place), "{place}");
        }
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
}
