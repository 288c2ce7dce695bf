//! PyJWT and the npm package `jose`: what `./test` installs for them lies beside what it builds.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use authv2_core::jwt::Algorithm;
use serde_json::{Value, json};

use super::{ALGORITHMS, Deployment, ISSUER};

/// Where `./test` installs the peers.
const PEERS: &str = "AUTHV2_TEST_PEERS";
/// Makes a missing one a failure.
const REQUIRE_PEERS: &str = "AUTHV2_TEST_REQUIRE_PEERS";

/// A peer that answers a line for each line.
struct Peer {
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (ask, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, ask, answers }
    }

    fn ask(&mut self, line: &Value) -> Value {
        let ask = self.ask.as_mut().unwrap();
        writeln!(ask, "{line}").unwrap();
        ask.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?} to {line}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is its end.
        self.ask.take();
        let _ = self.process.wait();
    }
}

/// What belongs to the peers: installed things, and the scripts.
fn places() -> (PathBuf, PathBuf) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("interop");
    (env::var_os(PEERS).map_or(target, PathBuf::from), scripts)
}

fn python(test: &str) -> Option<Peer> {
    let (installed, scripts) = places();
    let python = installed.join("python/bin/python");
    if !python.exists() {
        skip(test, "PyJWT", &installed);
        return None;
    }
    Some(Peer::start(Command::new(python).arg(scripts.join("peer.py"))))
}

fn node(test: &str) -> Option<Peer> {
    let (installed, scripts) = places();
    let modules = installed.join("node");
    if !modules.join("node_modules/jose").exists() {
        skip(test, "jose", &installed);
        return None;
    }
    Some(Peer::start(Command::new("node").arg(scripts.join("peer.mjs")).arg(modules)))
}

fn skip(test: &str, what: &str, place: &Path) {
    let place = place.display();
    assert!(env::var_os(REQUIRE_PEERS).is_none(), "{what} is not in {place}: run ./test, which installs it");
    eprintln!("SKIPPED {test}: {what} is not in {place}: run ./test, which installs it");
}

pub(super) fn pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    // Base64 is ASCII.
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn base64url(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The published keys; for a secret, which never is, what only those who share it have.
fn jwks(ours: &Deployment) -> Value {
    if ours.algorithm.is_symmetric() {
        let secret = base64url(&ours.private_der());
        return json!({"keys": [{"kty": "oct", "alg": ours.algorithm, "kid": ours.kid, "use": "sig", "k": secret}]});
    }
    serde_json::to_value(ours.service.jwks(ours.now)).unwrap()
}

fn private(ours: &Deployment) -> String {
    let der = ours.private_der();
    if ours.algorithm.is_symmetric() { base64url(&der) } else { pem(&der) }
}

/// Both directions, and that the peer would refuse what it should: else its yes would prove nothing.
fn agrees(peer: &mut Peer, algorithm: Algorithm) {
    let ours = Deployment::new(algorithm);
    let claims = ours.claims();
    let token = ours.mint(&claims);
    let claims = serde_json::to_value(claims).unwrap();
    let question = |token: &str, audience: &str| json!({"verify": token, "jwks": jwks(&ours), "alg": algorithm, "iss": ISSUER, "aud": audience});
    let minted = peer.ask(&question(&token, ISSUER));
    for name in ["iss", "aud", "sub", "exp", "iat", "client_id", "amr", "auth_time"] {
        assert_eq!(minted["claims"][name], claims[name], "{algorithm}: {minted}");
    }
    let (input, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{input}.{first}{}", &signature[1..]);
    for refused in [question(&forged, ISSUER), question(&token, "https://api.example")] {
        let answer = peer.ask(&refused);
        assert!(answer["refused"].is_string(), "{algorithm}: {answer}");
    }

    let signed = peer.ask(&json!({"sign": claims, "header": ours.header(), "alg": algorithm, "key": private(&ours)}));
    let theirs = signed["token"].as_str().unwrap_or_else(|| panic!("{algorithm}: {signed}"));
    ours.takes(theirs, &claims);
}

#[test]
fn pyjwt_and_we_verify_each_others_tokens() {
    let Some(mut peer) = python("pyjwt_and_we_verify_each_others_tokens") else { return };
    ALGORITHMS.into_iter().for_each(|algorithm| agrees(&mut peer, algorithm));
}

#[test]
fn the_npm_package_jose_and_we_verify_each_others_tokens() {
    let Some(mut peer) = node("the_npm_package_jose_and_we_verify_each_others_tokens") else { return };
    ALGORITHMS.into_iter().for_each(|algorithm| agrees(&mut peer, algorithm));
}
