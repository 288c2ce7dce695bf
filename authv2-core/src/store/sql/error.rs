//! From the driver's error to the store's.

use crate::store::{StoreError, error::Cause};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Database(database)
                if matches!(
                    database.kind(),
                    ErrorKind::UniqueViolation
                        | ErrorKind::ForeignKeyViolation
                        | ErrorKind::NotNullViolation
                        | ErrorKind::CheckViolation
                ) =>
            {
                Self::Conflict(Cause::new(error))
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. } => Self::Corrupt(Cause::new(error)),
            sqlx::Error::Database(database) if database.code().is_some_and(|code| gave_way(&code)) => {
                Self::Unavailable(Cause::new(error).passing())
            }
            _ => Self::Unavailable(Cause::new(error)),
        }
    }
}

/// Whether PostgreSQL gave up one transaction for the sake of others: class 40 (a deadlock, a conflict between
/// transactions), and a lock that was not had in time.
fn gave_way(code: &str) -> bool {
    code.starts_with("40") && code.len() == 5 || code == "55P03"
}

/// The database did not answer within the store's patience.
pub(super) fn too_slow() -> StoreError {
    StoreError::unavailable("the database did not answer in time")
}

/// Whether the connection broke before the statement can have had an effect worth worrying about: a read may be sent
/// again on another one.
pub(super) fn connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // PostgreSQL class 57P: the server is shutting down and ended the connection.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}
