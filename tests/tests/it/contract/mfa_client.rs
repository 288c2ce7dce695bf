//! A user's authenticator, which makes its codes by an independent library, and the calls that second factors take.

use std::time::{SystemTime, UNIX_EPOCH};

use authv2_tests::client::{Answer, Api};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use super::fixture::{PASSWORD, Tokens, assert_problem, login, members, post, register, send, sign_in};

const PERIOD: u64 = 30;

/// An authenticator, and the recovery codes on a sheet of paper.
pub(crate) struct Authenticator {
    totp: Totp,
    /// The step of the last code that was typed.
    used: u64,
    pub(crate) recovery_codes: Vec<String>,
}

fn present() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / PERIOD
}

impl Authenticator {
    pub(crate) fn of(secret: &str) -> Self {
        let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
        Self { totp, used: 0, recovery_codes: Vec::new() }
    }

    /// Takes the secret that a user is enrolled with, and confirms it.
    pub(crate) async fn enrol(api: &Api, access: &str) -> Self {
        let enrolled = post(api, "/auth/mfa/totp", access, json!({"password": PASSWORD})).await;
        assert_eq!(enrolled.status, 201, "{}", enrolled.text);
        let mut authenticator = Self::of(enrolled.string("/secret"));
        let confirmed = post(api, "/auth/mfa/totp/confirm", access, json!({"code": authenticator.next_code()})).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text);
        authenticator.recovery_codes = recovery_codes(&confirmed);
        authenticator
    }

    /// A code that was not typed yet: of this step, or else of the next. There are two of them at any time.
    pub(crate) fn next_code(&mut self) -> String {
        let step = present().max(self.used + 1);
        assert!(step <= present() + 1, "this test needs too many codes at once");
        self.used = step;
        self.code_at(step)
    }

    /// The code of so many steps ahead of now.
    pub(crate) fn code_in(&self, steps: i64) -> String {
        self.code_at(present().checked_add_signed(steps).unwrap())
    }

    fn code_at(&self, step: u64) -> String {
        self.totp.generate(step * PERIOD).to_string()
    }

    /// Six digits that are no code of a few hours around.
    pub(crate) fn wrong_code(&self) -> String {
        let near: Vec<String> = (-500..500).map(|steps| self.code_in(steps)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
    }

    pub(crate) fn recovery_code(&mut self) -> String {
        self.recovery_codes.pop().expect("a recovery code")
    }
}

/// The ten codes that an answer shows.
pub(crate) fn recovery_codes(answer: &Answer) -> Vec<String> {
    assert_eq!(members(&answer.json), ["recovery_codes"]);
    let codes = answer.json["recovery_codes"].as_array().unwrap();
    let codes: Vec<String> = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    codes
}

/// Makes an account with a second factor; its tokens are of before.
pub(crate) async fn sign_up_with_mfa(api: &Api, email: &str) -> (Authenticator, Tokens) {
    register(api, email).await;
    let tokens = sign_in(api, email).await;
    (Authenticator::enrol(api, &tokens.access).await, tokens)
}

/// The `mfa_token` of a sign-in that waits for its second factor.
pub(crate) fn mfa_token(answer: &Answer) -> String {
    assert_problem(answer, 403, "mfa_required");
    answer.string("/mfa_token").to_owned()
}

/// Begins a sign-in with the usual password.
pub(crate) async fn begin(api: &Api, email: &str) -> String {
    mfa_token(&login(api, email, PASSWORD).await)
}

pub(crate) async fn verify(api: &Api, mfa_token: &str, code: &str) -> Answer {
    post(api, "/auth/mfa/verify", "", json!({"mfa_token": mfa_token, "code": code})).await
}

pub(crate) async fn verify_recovery(api: &Api, mfa_token: &str, code: &str) -> Answer {
    post(api, "/auth/mfa/verify", "", json!({"mfa_token": mfa_token, "recovery_code": code})).await
}

pub(crate) async fn step_up(api: &Api, access: &str, body: Value) -> Answer {
    post(api, "/auth/mfa/step-up", access, body).await
}

/// Signs in with both factors.
pub(crate) async fn sign_in_with_code(api: &Api, email: &str, code: &str) -> Tokens {
    let token = begin(api, email).await;
    Tokens::of(&verify(api, &token, code).await)
}

/// `DELETE` with a body.
pub(crate) async fn delete(api: &Api, path: &str, access: &str, body: Value) -> Answer {
    let request: RequestBuilder = api.request(Method::DELETE, path).bearer_auth(access).json(&body);
    send(request).await
}
