//! Whose address counts: the peer's, unless it is a trusted proxy that says otherwise.

use authv2_tests::client::Api;
use reqwest::Method;
use serde_json::json;

use super::fixture::{ADA, PASSWORD, quick, register, send, start};

/// The address that a sign-in with these headers is remembered under.
async fn address(api: &Api, headers: &[(&str, &str)]) -> String {
    let request = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.string("/session/ip").to_owned()
}

#[tokio::test]
async fn nobody_is_believed_by_default() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip"] {
        assert_eq!(address(&deployment.api, &[(header, "198.51.100.7")]).await, "127.0.0.1", "{header}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_back_to_the_first_stranger() {
    let deployment = start(quick().with("AUTHV2_PROXY__TRUSTED", "127.0.0.1,10.0.0.0/8")).await;
    register(&deployment.api, ADA).await;
    let name = "x-forwarded-for";
    for (lines, wanted) in [
        (&["198.51.100.7"][..], "198.51.100.7"),
        // What stands left of the first stranger was written by it.
        (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (&["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (&["198.51.100.7,10.1.2.3 , 10.3.2.1"], "198.51.100.7"),
        // Several lines are one list.
        (&["203.0.113.9", "198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (&["198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        // What does not parse stops the walk at the last trusted hop.
        (&["198.51.100.7, unknown, 10.1.2.3"], "10.1.2.3"),
        (&["198.51.100.7, unknown"], "127.0.0.1"),
        (&["10.1.2.3"], "10.1.2.3"),
        (&[], "127.0.0.1"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]:443"], "2001:db8::7"),
        (&["::ffff:198.51.100.7"], "198.51.100.7"),
        (&["198.51.100.7:5555"], "198.51.100.7"),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        assert_eq!(address(&deployment.api, &headers).await, wanted, "{lines:?}");
    }
    assert_eq!(address(&deployment.api, &[("x-real-ip", "198.51.100.7")]).await, "127.0.0.1");
}

#[tokio::test]
async fn another_peer_is_not_the_trusted_proxy() {
    let deployment = start(quick().with("AUTHV2_PROXY__TRUSTED", "127.0.9.9")).await;
    register(&deployment.api, ADA).await;
    assert_eq!(address(&deployment.api, &[("x-forwarded-for", "198.51.100.7")]).await, "127.0.0.1");
    let proxied = deployment.from(9, 9);
    assert_eq!(address(&proxied, &[("x-forwarded-for", "198.51.100.7")]).await, "198.51.100.7");
}

#[tokio::test]
async fn the_header_can_be_another_one() {
    let settings = quick().with("AUTHV2_PROXY__TRUSTED", "127.0.0.1").with("AUTHV2_PROXY__HEADER", "X-Real-Ip");
    let deployment = start(settings).await;
    register(&deployment.api, ADA).await;
    assert_eq!(address(&deployment.api, &[("x-real-ip", "198.51.100.7")]).await, "198.51.100.7");
    assert_eq!(address(&deployment.api, &[("x-forwarded-for", "198.51.100.7")]).await, "127.0.0.1");
}
