//! `authv2 migrate`: the schema, up to this build's version or back to an earlier one.

use authv2_core::Config;

use crate::{failure::Failure, store};

/// Migrates; a line for each step, or one that says that there was none to take.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn migrate(config: &Config, to: Option<i64>) -> Result<Vec<String>, Failure> {
    use authv2_core::{
        authentication::StartError,
        store::{Upkeep as _, sql::SCHEMA_VERSION},
    };

    let store = store::open(config).await?;
    let (done, steps) = match to {
        None | Some(SCHEMA_VERSION) => ("applied", store.migrate().await),
        Some(version) => ("reverted", store.revert_to(version).await),
    };
    store.close().await;
    let steps = steps.map_err(StartError::from)?;
    if steps.is_empty() {
        return Ok(vec![match to {
            None | Some(SCHEMA_VERSION) => format!("nothing to apply: the schema is at version {SCHEMA_VERSION}"),
            Some(version) => format!("nothing to revert: the schema is not beyond version {version}"),
        }]);
    }
    Ok(steps.into_iter().map(|version| format!("{done} {version}")).collect())
}

/// Says that there is nothing to migrate in this build.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
#[allow(clippy::unused_async, reason = "the same signature as in builds with a store")]
pub(crate) async fn migrate(_: &Config, _: Option<i64>) -> Result<Vec<String>, Failure> {
    Err(store::missing())
}
