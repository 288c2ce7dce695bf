//! A plain client of the HTTP contract: it sends what it is told to and judges nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::secrecy;

/// Where a server tells of itself: what is secret is not in it.
const REPORTS: [&str; 5] = ["/auth/security", "/auth/audit", "/auth/analytics", "/health", "/metrics"];

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; `null` where it is none.
    pub json: Value,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_report = REPORTS.iter().any(|path| response.url().path().starts_with(path));
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        if status >= 400 || is_report {
            secrecy::expect_untold(&text);
        }
        secrecy::note_given(&headers, &json);
        Ok(Self { status, headers, text, json })
    }

    /// A header field as text; empty where it is absent or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A string of the body by JSON pointer (RFC 6901); empty where there is none.
    #[must_use]
    pub fn string(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The stable code of a problem; empty where the answer is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.string("/code")
    }

    /// The codes of a validation problem's field errors.
    pub fn field_codes(&self) -> impl Iterator<Item = &str> {
        let errors = self.json.get("errors").and_then(Value::as_array);
        errors.into_iter().flatten().filter_map(|error| error.get("code")?.as_str())
    }
}

/// Calls one server. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
}

impl Api {
    /// A client of the server at `base`, as `http://127.0.0.1:PORT`. A call that takes over 30 seconds is an error.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(base: &str) -> Result<Self, reqwest::Error> {
        Self::from_address(base, Ipv4Addr::LOCALHOST)
    }

    /// A client that calls from an address of its own, any of 127.0.0.0/8 on Linux: whom the server throttles by
    /// network, it throttles alone.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn from_address(base: &str, address: Ipv4Addr) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(IpAddr::V4(address))
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// A request that the caller finishes.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// `GET`, with an access token unless it is empty.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn get(&self, path: &str, token: &str) -> Result<Answer, reqwest::Error> {
        self.call(Method::GET, path, token, None).await
    }

    /// `POST` of JSON, with an access token unless it is empty.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        self.call(Method::POST, path, token, Some(body)).await
    }

    /// Any call.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            secrecy::note_brought(body);
            request = request.json(body);
        }
        Answer::read(request.send().await?).await
    }

    /// Registers an account.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn register(&self, email: &str, password: &str) -> Result<Answer, reqwest::Error> {
        self.post("/auth/register", "", &json!({"email": email, "password": password})).await
    }

    /// Signs in with bearer tokens.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn login(&self, email: &str, password: &str) -> Result<Answer, reqwest::Error> {
        self.post("/auth/login", "", &json!({"email": email, "password": password})).await
    }

    /// Trades a refresh token for its successor.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn refresh(&self, token: &str) -> Result<Answer, reqwest::Error> {
        self.post("/auth/refresh", "", &json!({"refresh_token": token})).await
    }
}
