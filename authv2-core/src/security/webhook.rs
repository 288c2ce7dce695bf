//! Security events as webhooks, signed by the standard of webhooks (standardwebhooks.com): HMAC-SHA256 over id, time and
//! body. What is not taken is sent again, under the same id.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;
use tokio::time::sleep;

use super::{SecurityEvent, SecurityEventSink, Severity, SinkError};
use crate::{
    clock::{SystemClock, Timestamp},
    config::{Profile, SecurityConfig},
    issuer::{Fetcher, IssuerProblem, Location},
    secret::Secret,
};

/// What a secret begins with that is written in base64.
const SECRET_PREFIX: &str = "whsec_";
/// How long the receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pauses before an event is sent again.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(40)];

/// Sends events to one place.
pub(crate) struct Webhook {
    to: Location,
    fetcher: Fetcher,
    key: hmac::Key,
    severity: Severity,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its path may be as good as a password.
        f.debug_struct("Webhook").field("host", &self.to.host()).finish_non_exhaustive()
    }
}

/// The webhook cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WebhookError(#[from] IssuerProblem);

impl Webhook {
    /// The webhook of the settings, if they have one.
    pub(crate) fn of(
        config: &SecurityConfig,
        profile: Profile,
    ) -> Result<Option<std::sync::Arc<dyn SecurityEventSink>>, WebhookError> {
        let (Some(url), Some(secret)) = (&config.webhook_url, &config.webhook_secret) else { return Ok(None) };
        let allows_loopback = profile == Profile::Development;
        let to = Location::parse(url.expose(), allows_loopback).map_err(IssuerProblem::from)?;
        let fetcher = Fetcher::new(None, PATIENCE, allows_loopback)?;
        Ok(Some(std::sync::Arc::new(Self { to, fetcher, key: key(secret), severity: config.webhook_severity })))
    }

    fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> Result<HeaderMap, SinkError> {
        let seconds = now.as_seconds().to_string();
        let mut signing = hmac::Context::with_key(&self.key);
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            signing.update(part);
        }
        let signature = format!("v1,{}", STANDARD.encode(signing.sign()));
        let fields = [("webhook-id", id), ("webhook-timestamp", &*seconds), ("webhook-signature", &*signature)];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_str(value).map_err(|error| SinkError::because("a header", error))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(headers)
    }

    async fn send(&self, id: &str, body: &Bytes) -> Result<(), SinkError> {
        // Receivers compare the time with theirs, not with the database's.
        let headers = self.headers(id, SystemClock::wall(), body)?;
        match self.fetcher.post(&self.to, headers, body.clone()).await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(_) => Err(SinkError::new("the webhook answers with another status than success")),
            Err(error) => Err(SinkError::because("the webhook does not answer", error)),
        }
    }
}

/// The key that a secret stands for.
fn key(secret: &Secret) -> hmac::Key {
    let text = secret.expose();
    let decoded =
        text.strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD_NO_PAD.decode(rest.trim_end_matches('=')).ok());
    let bytes = zeroize::Zeroizing::new(decoded.unwrap_or_else(|| text.as_bytes().to_vec()));
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

#[async_trait]
impl SecurityEventSink for Webhook {
    fn wants(&self, event: &SecurityEvent) -> bool {
        event.severity >= self.severity
    }

    async fn deliver(&self, event: &SecurityEvent) -> Result<(), SinkError> {
        if !self.wants(event) {
            return Ok(());
        }
        let id = event.id.to_string();
        let body = json!({"type": format!("security.{}", event.kind.as_str()), "timestamp": event.at, "data": event});
        let body = serde_json::to_vec(&body).map_err(|error| SinkError::because("it cannot be written", error))?;
        let body = Bytes::from(body);
        let mut pauses = PAUSES.into_iter();
        loop {
            match (self.send(&id, &body).await, pauses.next()) {
                (Ok(()), _) => return Ok(()),
                (Err(_), Some(pause)) => sleep(pause).await,
                (Err(error), None) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{id::EventId, store::EventKind};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn event(severity: Severity) -> SecurityEvent {
        SecurityEvent {
            id: EventId::new(),
            at: Timestamp::from_seconds(1_700_000_000),
            kind: EventKind::CredentialStuffing,
            severity,
            user_id: None,
            organization: None,
            ip: None,
            detail: serde_json::Map::new(),
        }
    }

    fn config(url: &str) -> SecurityConfig {
        let webhook_secret = Some(Secret::from(SECRET));
        SecurityConfig { webhook_url: Some(Secret::from(url)), webhook_secret, ..SecurityConfig::default() }
    }

    /// Answers each request with the next status; what was asked.
    async fn receiver(statuses: &'static [u16]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/secret-path", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut asked = Vec::new();
            for status in statuses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..read]);
                }
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.push(String::from_utf8(request).unwrap());
            }
            asked
        });
        (url, served)
    }

    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        length.is_some_and(|length: usize| body.len() >= length)
    }

    fn field<'a>(request: &'a str, name: &str) -> &'a str {
        request.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap()
    }

    /// The example of the standard's own reference.
    #[test]
    fn signs_as_the_standard_does() {
        let signing =
            hmac::sign(&key(&Secret::from(SECRET)), br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#);
        assert_eq!(STANDARD.encode(signing), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn sends_an_event_again_under_its_id_until_it_is_taken() {
        let (url, served) = receiver(&[500, 204]).await;
        let webhook = Webhook::of(&config(&url), Profile::Development).unwrap().unwrap();
        assert!(!format!("{webhook:?}").contains("secret-path"));
        let event = event(Severity::High);
        webhook.deliver(&event).await.unwrap();
        let asked = served.await.unwrap();
        for request in &asked {
            let body = request.split_once("\r\n\r\n").unwrap().1;
            let id = event.id.to_string();
            assert_eq!(field(request, "webhook-id"), id);
            let signed = format!("{id}.{}.{body}", field(request, "webhook-timestamp"));
            let expected = STANDARD.encode(hmac::sign(&key(&Secret::from(SECRET)), signed.as_bytes()));
            assert_eq!(field(request, "webhook-signature"), format!("v1,{expected}"));
            let told: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&told["type"], &told["data"]["id"]), (&json!("security.credential_stuffing"), &json!(id)));
        }
        assert_eq!(asked.len(), 2);
    }

    #[tokio::test]
    async fn keeps_what_matters_less_to_itself() {
        let config = config("http://127.0.0.1:9/");
        let webhook = Webhook::of(&config, Profile::Development).unwrap().unwrap();
        webhook.deliver(&event(Severity::Info)).await.unwrap();
    }
}
