//! An issuer's keys as they are found: by its metadata or where the settings say.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    IssuerError, Location,
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
    /// The keys found last, to be asked about under a condition.
    last: Option<(Validators, Arc<TrustedKeys>)>,
}

/// Where the keys are, and until when that is believed.
struct Place {
    keys: Location,
    until: Option<Instant>,
}

impl Source {
    pub(super) fn new(config: &IssuerConfig, allows_loopback: bool) -> Result<Self, IssuerError> {
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
        let found = self.fetch_from_place().await;
        if found.is_err() && self.place.as_ref().is_some_and(|place| place.until.is_some()) {
            // They may have moved: the metadata are asked the next time.
            self.place = None;
        }
        found
    }

    async fn fetch_from_place(&mut self) -> Result<Found, SourceError> {
        let place = self.place().await?;
        let validators = self.last.as_ref().map(|(validators, _)| validators);
        let answer = self.fetcher.fetch(&place, validators).await?;
        let lifetime = |headers| lifetime(headers, self.lifetimes.0, self.lifetimes.1);
        match (answer, &self.last) {
            (Answer::Unchanged { headers }, Some((_, keys))) => {
                Ok(Found { keys: Arc::clone(keys), lifetime: lifetime(&headers), is_new: false })
            }
            // Nothing was asked under a condition.
            (Answer::Unchanged { .. }, None) => Err(FetchError::Status(304).into()),
            (Answer::New { headers, body }, _) => {
                let keys = keys(&body, &self.algorithms)
                    .map_err(|unusable| SourceError::Unusable { at: "its keys", unusable })?;
                let keys = Arc::new(keys);
                let found = Found { keys: Arc::clone(&keys), lifetime: lifetime(&headers), is_new: true };
                self.last = Some((Validators::of(&headers), keys));
                Ok(found)
            }
        }
    }

    async fn place(&mut self) -> Result<Location, SourceError> {
        if let Some(place) = &self.place
            && place.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(place.keys.clone());
        }
        let mut failure = None;
        for location in &self.metadata {
            match self.fetcher.fetch(location, None).await {
                Ok(Answer::New { body, .. }) => {
                    let keys = keys_location(&body, &self.issuer, self.allows_loopback)
                        .map_err(|unusable| SourceError::Unusable { at: "its metadata", unusable })?;
                    if self.place.as_ref().is_none_or(|known| known.keys != keys) {
                        // What was found elsewhere says nothing of what is here.
                        self.last = None;
                    }
                    self.place = Some(Place { keys: keys.clone(), until: Some(Instant::now() + PLACE_LIFE) });
                    return Ok(keys);
                }
                Ok(Answer::Unchanged { .. }) => failure = Some(FetchError::Status(304)),
                // It publishes them at the other place, then.
                Err(error @ FetchError::Status(_)) => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure.unwrap_or(FetchError::Status(404)).into())
    }
}
