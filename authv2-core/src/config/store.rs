//! Settings of the database.

use std::time::Duration;

use super::{Problem, Profile, problem::Problems, setting::choice, visitor::Visitor};
use crate::{secret::Secret, store::Pooler};

choice!(Pooler, "one of `none`, `transaction`");

/// Where users, sessions and everything else that must survive lives.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The database: `sqlite://FILE`, `sqlite::memory:` or `postgres://…`; by default `sqlite://authv2.db`. A secret,
    /// because it may hold a password. On PostgreSQL its role should own nothing, so that an injection cannot either.
    pub url: Secret,
    /// The URL under which migrations run, where that needs another role or must go around a connection pooler.
    pub migrate_url: Option<Secret>,
    /// The URL under which a node hears of other nodes' changes (LISTEN), with the serving role, where `url` goes through
    /// a connection pooler; also for migrations where `migrate_url` is not set. Without it, behind a pooler, changes of
    /// other nodes are found by looking ten times a second.
    pub direct_url: Option<Secret>,
    /// What PostgreSQL is reached through at `url`; nothing by default. Without it, a pooler in transaction mode is
    /// refused at start.
    pub pooler: Pooler,
    /// Whether migrations run at start; by default they do. Without it a stale schema stops the start.
    pub migrate: bool,
    /// The most connections of the pool; 16 by default.
    pub max_connections: u32,
    /// How long a request waits for a connection, and for an answer, before it is refused as unavailable; 5 s by
    /// default. PostgreSQL itself gives up locks after as long, statements after twice and idle transactions after four
    /// times.
    pub acquire_timeout: Duration,
    /// How many writes wait for SQLite's one writer before further ones are shed; 1024 by default.
    pub write_queue: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: Secret::from("sqlite://authv2.db"),
            migrate_url: None,
            direct_url: None,
            pooler: Pooler::None,
            migrate: true,
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            write_queue: 1024,
        }
    }
}

/// The databases that a URL can name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgres,
}

impl StoreConfig {
    /// What the SQL store needs of it.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[must_use]
    pub fn sql_options(&self) -> crate::store::sql::SqlOptions {
        crate::store::sql::SqlOptions {
            url: self.url.clone(),
            migrate_url: self.migrate_url.clone(),
            direct_url: self.direct_url.clone(),
            pooler: self.pooler,
            max_connections: self.max_connections,
            acquire_timeout: self.acquire_timeout,
            write_queue: self.write_queue,
        }
    }

    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("store.url", "The database: sqlite://FILE, sqlite::memory: or postgres://…", &mut self.url);
        visitor.setting(
            "store.migrate_url",
            "The URL under which migrations run, with the owner's role and around any pooler.",
            &mut self.migrate_url,
        );
        visitor.setting(
            "store.direct_url",
            "The URL around any pooler, with the serving role, for hearing of other nodes' changes.",
            &mut self.direct_url,
        );
        visitor.setting("store.pooler", "What PostgreSQL is reached through at store.url.", &mut self.pooler);
        visitor.setting("store.migrate", "Run migrations at start.", &mut self.migrate);
        visitor.number("store.max_connections", 1..=10_000, "Connections of the pool.", &mut self.max_connections);
        visitor.number(
            "store.acquire_timeout",
            1..=20,
            "Seconds that a request waits for a connection, and for an answer.",
            &mut self.acquire_timeout,
        );
        visitor.number(
            "store.write_queue",
            1..=1_000_000,
            "Writes that wait for SQLite's one writer before further ones are shed.",
            &mut self.write_queue,
        );
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        let database = check_url("store.url", self.url.expose(), problems);
        for (setting, url) in [("store.migrate_url", &self.migrate_url), ("store.direct_url", &self.direct_url)] {
            let Some(url) = url else { continue };
            let other = check_url(setting, url.expose(), problems);
            if database.is_some() && other.is_some() && database != other {
                problems.report(setting, Problem::Refused("names another kind of database than store.url"));
            }
        }
        if self.pooler == Pooler::Transaction
            && database == Some(Database::Postgres)
            && self.migrate
            && self.migrate_url.is_none()
            && self.direct_url.is_none()
        {
            problems.report(
                "store.pooler",
                Problem::Refused(
                    "migrations go around it: set store.migrate_url or store.direct_url, or store.migrate = false",
                ),
            );
        }
        if profile == Profile::Production
            && database == Some(Database::Sqlite)
            && crate::store::is_in_memory(self.url.expose())
        {
            problems.report(
                "store.url",
                Problem::RefusedInProduction("an in-memory store forgets every user and every revocation at exit"),
            );
        }
    }
}

/// The kind of database that `url` names, if nothing is wrong with it.
fn check_url(setting: &'static str, url: &str, problems: &mut Problems) -> Option<Database> {
    let (database, compiled, feature) = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => (Database::Sqlite, cfg!(feature = "sqlite"), "sqlite"),
        Some("postgres" | "postgresql") => (Database::Postgres, cfg!(feature = "postgres"), "postgres"),
        _ => {
            problems.report(setting, Problem::Expected("a URL that starts with `sqlite:` or `postgres:`"));
            return None;
        }
    };
    if !compiled {
        problems.report(setting, Problem::NeedsFeature(feature));
        return None;
    }
    if !is_well_formed(database, url) {
        problems.report(setting, Problem::Expected("a database URL that the driver understands"));
        return None;
    }
    Some(database)
}

/// Asks the driver itself, which opens nothing for that.
#[cfg_attr(not(all(feature = "sqlite", feature = "postgres")), allow(unused_variables, reason = "a driver is absent"))]
fn is_well_formed(database: Database, url: &str) -> bool {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite => url.parse::<sqlx::sqlite::SqliteConnectOptions>().is_ok(),
        #[cfg(feature = "postgres")]
        Database::Postgres => url.parse::<sqlx::postgres::PgConnectOptions>().is_ok(),
        #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_feature_that_a_url_needs() {
        for (url, feature, compiled) in [
            ("sqlite://x.db", "sqlite", cfg!(feature = "sqlite")),
            ("postgres://localhost/x", "postgres", cfg!(feature = "postgres")),
            ("postgresql://localhost/x", "postgres", cfg!(feature = "postgres")),
        ] {
            let mut problems = Problems::default();
            StoreConfig { url: url.into(), ..StoreConfig::default() }.check(Profile::Development, &mut problems);
            match problems.into_result() {
                Ok(()) => assert!(compiled, "{url}"),
                Err(errors) => {
                    assert!(!compiled, "{errors}");
                    let line = format!("store.url: needs the crate feature `{feature}`, which is not compiled in");
                    assert_eq!(errors.to_string(), line);
                }
            }
        }
    }
}
