//! An issuer's keys as they are found: by its metadata or where the settings say.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::header;
use tokio::time::Instant;

use super::{
    IssuerProblem, Location,
    fetch::{Answer, FetchError, Fetcher, Validators},
    freshness::lifetime,
    metadata::{Unusable, keys, keys_location},
};
use crate::{
    config::IssuerConfig,
    jwt::{Algorithm, TrustedKeys},
};

/// How long the place of the keys is remembered.
const PLACE_LIFE: Duration = Duration::from_secs(3600);

/// The keys could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{at}: {unusable}")]
    Unusable { at: &'static str, unusable: Unusable },
}

impl SourceError {
    /// A name for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.outcome(),
            Self::Unusable { .. } => "unusable",
        }
    }
}

/// Keys, and how long they are good.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) keys: Arc<TrustedKeys>,
    pub(super) lifetime: Duration,
    pub(super) is_new: bool,
}

/// Fetches an issuer's keys, one time after the other.
pub(super) struct Source {
    fetcher: Fetcher,
    issuer: String,
    allows_loopback: bool,
    algorithms: Vec<Algorithm>,
    lifetimes: (Duration, Duration),
    /// Where its metadata may be; none where the settings say where the keys are.
    metadata: Vec<Location>,
    place: Option<Place>,
    last: Option<Last>,
}

/// Where the keys are, and from when on the metadata are asked whether they still are; none where the settings say it.
struct Place {
    keys: Location,
    until: Option<Instant>,
}

/// The keys found last: to be asked about under a condition, and known again where the issuer heeds none.
struct Last {
    at: Location,
    validators: Validators,
    body: Bytes,
    lifetime: Duration,
    keys: Arc<TrustedKeys>,
}

impl Source {
    pub(super) fn new(config: &IssuerConfig, allows_loopback: bool) -> Result<Self, IssuerProblem> {
        let parse = |url: &String| Location::parse(url, allows_loopback);
        let place = config.jwks_uri.as_ref().map(parse).transpose()?.map(|keys| Place { keys, until: None });
        let metadata = match &config.discovery {
            Some(url) => vec![parse(url)?],
            None => Location::well_known(&config.issuer, allows_loopback),
        };
        Ok(Self {
            fetcher: Fetcher::new(config.ca_file.as_deref(), config.timeout, allows_loopback)?,
            issuer: config.issuer.clone(),
            allows_loopback,
            algorithms: config.algorithms.clone(),
            lifetimes: (config.refresh_min, config.refresh_max),
            metadata,
            place,
            last: None,
        })
    }

    /// The keys as the issuer publishes them now.
    pub(super) async fn fetch(&mut self) -> Result<Found, SourceError> {
        let place = self.place().await?;
        let found = self.fetch_from(&place).await;
        if found.is_err()
            && let Some(Place { until: Some(until), .. }) = &mut self.place
        {
            // They may have moved: the metadata are asked the next time.
            *until = Instant::now();
        }
        found
    }

    async fn fetch_from(&mut self, place: &Location) -> Result<Found, SourceError> {
        // What was found elsewhere says nothing of what is here.
        let last = self.last.as_mut().filter(|last| last.at == *place);
        let answer = self.fetcher.fetch(place, last.as_ref().map(|last| &last.validators)).await?;
        let lifetime = |headers| lifetime(headers, self.lifetimes.0, self.lifetimes.1);
        match (answer, last) {
            (Answer::Unchanged { headers }, Some(last)) => {
                // RFC 9111 section 3.2: what it does not say anew is as before.
                if headers.contains_key(header::CACHE_CONTROL) {
                    last.lifetime = lifetime(&headers);
                }
                Ok(last.found())
            }
            // Nothing was asked under a condition.
            (Answer::Unchanged { .. }, None) => Err(FetchError::Status(304).into()),
            (Answer::New { headers, body }, Some(last)) if last.body == body => {
                (last.validators, last.lifetime) = (Validators::of(&headers), lifetime(&headers));
                Ok(last.found())
            }
            (Answer::New { headers, body }, _) => {
                let keys = keys(&body, &self.algorithms)
                    .map_err(|unusable| SourceError::Unusable { at: "its keys", unusable })?;
                let (validators, lifetime) = (Validators::of(&headers), lifetime(&headers));
                let last = Last { at: place.clone(), validators, body, lifetime, keys: Arc::new(keys) };
                let found = Found { is_new: true, ..last.found() };
                self.last = Some(last);
                Ok(found)
            }
        }
    }

    /// Where the keys are: as the metadata say, or while those cannot be had as they said before.
    async fn place(&mut self) -> Result<Location, SourceError> {
        if let Some(place) = &self.place
            && place.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(place.keys.clone());
        }
        match (self.ask_for_place().await, &self.place) {
            (Ok(keys), _) => {
                self.place = Some(Place { keys: keys.clone(), until: Some(Instant::now() + PLACE_LIFE) });
                Ok(keys)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(issuer = self.issuer, %error, "the metadata cannot be had: keys are sought where they were");
                Ok(known.keys.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn ask_for_place(&self) -> Result<Location, SourceError> {
        let mut failure = FetchError::Status(404);
        for location in &self.metadata {
            match self.fetcher.fetch(location, None).await {
                Ok(Answer::New { body, .. }) => {
                    return keys_location(&body, &self.issuer, self.allows_loopback)
                        .map_err(|unusable| SourceError::Unusable { at: "its metadata", unusable });
                }
                Ok(Answer::Unchanged { .. }) => failure = FetchError::Status(304),
                // It publishes them at the other place, then.
                Err(error @ (FetchError::Status(_) | FetchError::Redirected)) => failure = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure.into())
    }
}

impl Last {
    fn found(&self) -> Found {
        Found { keys: Arc::clone(&self.keys), lifetime: self.lifetime, is_new: false }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A set of one key of this name.
    fn set(kid: &str) -> String {
        let key = r#""kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
        format!(r#"{{"keys":[{{"kid":"{kid}",{key}}}]}}"#)
    }

    /// Keys from a server that gives these answers, one after the other: status line and fields, and the body.
    async fn source(answers: Vec<(&'static str, String)>) -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
                }
                let length = body.len();
                let answer = format!("HTTP/1.1 {head}content-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let config = IssuerConfig { jwks_uri: Some(format!("{issuer}/keys")), issuer, ..IssuerConfig::default() };
        Source::new(&config, true).unwrap()
    }

    #[tokio::test]
    async fn keys_that_are_said_again_stay_the_same() {
        let say = "200 x\r\ncache-control: max-age=700\r\n";
        let mut source = source(vec![
            (say, set("a")),
            (say, set("a")),
            ("500 x\r\n", String::new()),
            (say, set("a")),
            ("304 x\r\n", String::new()),
            (say, set("b")),
        ])
        .await;
        let first = source.fetch().await.unwrap();
        assert!(first.is_new);
        for said in ["again", "not", "once more", "as before"] {
            let found = source.fetch().await;
            let Ok(found) = found else {
                assert_eq!(said, "not");
                continue;
            };
            assert!(Arc::ptr_eq(&first.keys, &found.keys) && !found.is_new, "{said}");
            assert_eq!(found.lifetime, Duration::from_secs(700), "{said}");
        }
        let others = source.fetch().await.unwrap();
        assert!(others.is_new && !Arc::ptr_eq(&first.keys, &others.keys));
    }
}
