//! Generations of sessions in SQL: any number of them ended by one write.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    id::OrgId,
    store::{Floors, GenerationStore, StoreError},
};

/// The deployment's floor, and those of organizations, in one statement: a floor that is moved from the one to the
/// other is in one of them.
const FLOORS: &str = "SELECT NULL AS org_id, floor FROM session_generation
    UNION ALL SELECT org_id, floor FROM session_floors";

const RAISE: &str = "UPDATE session_generation SET counter = counter + 1 RETURNING counter";

const RAISE_ALL: &str = "UPDATE session_generation SET counter = counter + 1, floor = counter + 1, raised_at = $1
    RETURNING counter";

const RAISE_IN: &str = "INSERT INTO session_floors (org_id, floor, raised_at) VALUES ($1, $2, $3)
    ON CONFLICT (org_id) DO UPDATE SET floor = excluded.floor, raised_at = excluded.raised_at";

/// What lies under the deployment's floor says nothing more.
const FORGET_ALL: &str = "DELETE FROM session_floors";

#[async_trait]
impl GenerationStore for SqlStore {
    async fn session_floors(&self) -> Result<Floors, StoreError> {
        let rows: Vec<(Option<OrgId>, i64)> = read!(self, pool => sqlx::query_as(FLOORS).fetch_all(pool))?;
        let deployment = rows.iter().find(|(organization, _)| organization.is_none()).map_or(0, |(_, floor)| *floor);
        let organizations = rows.into_iter().filter_map(|(organization, floor)| Some((organization?, floor)));
        Ok(Floors::new(deployment, organizations))
    }

    async fn revoke_generation(&self, organization: Option<OrgId>, act: Act) -> Result<Option<i64>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(generation) = tx.raise_floor(organization, &act).await? else {
                    tx.abandon();
                    return Ok(None);
                };
                tx.change(Change::SessionsRevoked { organization, generation }, act.at).await?;
                tx.record(&act).await?;
                Ok(Some(generation))
            })
        })
        .await
    }
}

impl Tx {
    /// Raises a floor to a generation that no session bears. Locks the counter first, and nothing after it.
    async fn raise_floor(&mut self, organization: Option<OrgId>, act: &Act) -> Result<Option<i64>, StoreError> {
        let Some(organization) = organization else {
            let (generation,): (i64,) = within!(self, conn => sqlx::query_as(RAISE_ALL).bind(act.at).fetch_one(conn))?;
            execute!(self, sqlx::query(FORGET_ALL))?;
            return Ok(Some(generation));
        };
        let (generation,): (i64,) = within!(self, conn => sqlx::query_as(RAISE).fetch_one(conn))?;
        self.enter(Scope::Organization(organization)).await?;
        let there: Option<(OrgId,)> = within!(self, conn =>
            sqlx::query_as("SELECT org_id FROM organizations WHERE org_id = $1").bind(organization).fetch_optional(conn))?;
        if there.is_none() {
            return Ok(None);
        }
        execute!(self, sqlx::query(RAISE_IN).bind(organization).bind(generation).bind(act.at))?;
        Ok(Some(generation))
    }

    /// Keeps floors from being raised until this transaction ends. Whoever takes sessions out of an organization does
    /// so under it: a session that was ended with its organization would otherwise come back to life elsewhere.
    pub(super) async fn hold_floors(&mut self) -> Result<(), StoreError> {
        let sql = self.texts().hold_floors;
        let _: (i64,) = within!(self, conn => sqlx::query_as(sql).fetch_one(conn))?;
        Ok(())
    }
}
