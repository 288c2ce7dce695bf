//! `authv2 sessions`: ending sessions beside the nodes that run.

use authv2_core::{
    Config,
    id::{InvalidId, UserId},
};
use clap::Args;

use crate::{failure::Failure, store};

/// Whose sessions end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// Those of the user with this id.
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: Option<UserId>,
    /// Those that are in the organization with this slug or id.
    #[arg(long, value_name = "SLUG")]
    organization: Option<String>,
    /// All of the deployment.
    #[arg(long)]
    all: bool,
}

fn user_id(text: &str) -> Result<UserId, InvalidId> {
    text.parse()
}

/// Ends them; one line that says so. Nodes that run are told as they tell each other.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn revoke(config: &Config, whose: Whose) -> Result<Vec<String>, Failure> {
    use authv2_core::{
        authentication::StartError,
        store::{ChangeStore as _, Upkeep as _},
    };

    let store = store::open(config).await?;
    store.check_schema().await.map_err(StartError::from)?;
    let done = end(&store, whose).await;
    // They find it by looking, too, a little later.
    let _ = store.announce().await;
    store.close().await;
    Ok(vec![done?])
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
async fn end(store: &authv2_core::store::sql::SqlStore, whose: Whose) -> Result<String, Failure> {
    use authv2_core::{
        audit::{Act, Actor, Origin},
        store::{
            GenerationStore as _, OrganizationName, OrganizationStore as _, SessionStore as _, Upkeep as _,
            UserStore as _,
        },
    };

    let now = store.now().await?;
    let act = |action| Act::new(action, Actor::System, now, &Origin::default());
    if whose.all {
        store.revoke_generation(None, act("session.revoked_everything")).await?;
        return Ok("ended every session of the deployment".to_owned());
    }
    if let Some(user) = whose.user {
        if store.user(user).await?.is_none() {
            return Err(Failure::NotFound("there is no user with this id"));
        }
        let ended = store.revoke_sessions(user, None, act("session.revoked_all").on(user)).await?;
        return Ok(format!("ended {ended} sessions of the user {user}"));
    }
    let name = whose.organization.unwrap_or_default();
    let missing = Failure::NotFound("there is no such organization");
    let Some(parsed) = OrganizationName::parse(&name) else { return Err(missing) };
    let Some(organization) = store.organization(&parsed).await?.map(|found| found.id) else { return Err(missing) };
    let told = act("session.revoked_organization").within(organization).on(organization);
    match store.revoke_generation(Some(organization), told).await? {
        Some(_) => Ok(format!("ended every session in the organization {name}")),
        None => Err(missing),
    }
}

/// Says that there are no sessions in this build.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
#[allow(clippy::unused_async, reason = "the same signature as in builds with a store")]
pub(crate) async fn revoke(_: &Config, _: Whose) -> Result<Vec<String>, Failure> {
    Err(store::missing())
}
