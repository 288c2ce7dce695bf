//! An issuer over TLS, served by another implementation of it.

use std::{fs, path::Path, process::Command, time::Duration};

use authv2_core::{
    clock::Timestamp,
    config::{IssuerConfig, Profile},
    issuer::{IssuerError, IssuerProblem, Issuers, KeyState},
};
use authv2_tests::{port, watchdog::Guarded};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{jwks, key, until};
use crate::redis::secured::certify;

/// A file as `openssl s_server -HTTP` sends it: with its head.
fn publish(directory: &Path, path: &str, document: &Value) {
    let (file, body) = (directory.join(path), document.to_string());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n", body.len());
    fs::write(file, head + &body).unwrap();
}

#[tokio::test]
async fn an_issuers_certificate_must_be_trusted_and_be_of_its_name() {
    let test = "an_issuers_certificate_must_be_trusted_and_be_of_its_name";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    if !certify(at) {
        eprintln!("SKIPPED {test}: install openssl");
        return;
    }
    let port = port::free().unwrap();
    let issuer = format!("https://localhost:{port}");
    let named_otherwise = format!("https://127.0.0.1:{port}");
    publish(at, ".well-known/openid-configuration", &json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}));
    publish(at, "keys", &json!({"keys": jwks(&["ed-1"])}));
    let mut command = Command::new("openssl");
    let arguments = format!("s_server -quiet -accept 127.0.0.1:{port} -cert server.pem -key server.key -HTTP");
    command.args(arguments.split(' ')).current_dir(at);
    let _server = Guarded::start(&mut command, Signal::TERM, None).unwrap();

    // With the place of the keys said, nothing but TLS stands in the way.
    let start = |issuer: &str, jwks_uri: Option<String>, ca_file: Option<&str>| {
        let config = IssuerConfig {
            issuer: issuer.to_owned(),
            audiences: vec!["api".to_owned()],
            organizations: vec!["acme".to_owned()],
            ca_file: ca_file.map(|name| at.join(name)),
            jwks_uri,
            timeout: Duration::from_secs(3),
            ..IssuerConfig::default()
        };
        Issuers::start(&[config], Profile::Production)
    };
    let now = Timestamp::from_seconds(i64::try_from(super::now()).unwrap());
    let token = key("ed-1").sign(Some("at+jwt"), &super::claims(&issuer));
    let trusting = start(&issuer, None, Some("ca.pem")).unwrap();
    until("it is reached", async || matches!(trusting.of(&token).unwrap().verify(&token, now).await, Ok(Ok(_)))).await;

    let other = key("ed-1").sign(Some("at+jwt"), &super::claims(&named_otherwise));
    let keys_of = |issuer: &str| Some(format!("{issuer}/keys"));
    let by_system = start(&issuer, keys_of(&issuer), None);
    let by_address = start(&named_otherwise, keys_of(&named_otherwise), Some("ca.pem"));
    for (issuers, token) in [(by_system, &token), (by_address, &other)] {
        // A system without root certificates refuses at once.
        let Ok(issuers) = issuers else { continue };
        let issuer = issuers.of(token).unwrap();
        assert!(issuer.verify(token, now).await.is_err());
        assert_eq!(issuer.health().keys, KeyState::Missing);
    }
    for file in ["server.key", "missing.pem"] {
        let IssuerError { issuer, problem } = start(&issuer, None, Some(file)).unwrap_err();
        assert!(issuer.contains("localhost"), "{issuer}");
        assert!(matches!(problem, IssuerProblem::CaFile(_)), "{problem:?}");
    }
}
