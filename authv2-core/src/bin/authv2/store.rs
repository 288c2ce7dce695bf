//! The store of the deployment, opened as the server opens it.

use authv2_core::authentication::StartError;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use authv2_core::{Config, store::sql::SqlStore};

use crate::failure::Failure;

/// Opens the store that the settings name; its schema is left as it is.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn open(config: &Config) -> Result<SqlStore, Failure> {
    let opened = SqlStore::open(&config.store.sql_options(), authv2_core::changes::Feed::new()).await;
    Ok(opened.map_err(StartError::from)?)
}

/// What a command answers in a build that has no store.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
pub(crate) fn missing() -> Failure {
    StartError::NoStore.into()
}
