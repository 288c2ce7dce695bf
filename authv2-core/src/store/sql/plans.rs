//! How SQLite would run the statements of tenants: through an index, never through the whole table.

use super::{
    SqlOptions, SqlStore, api_key, challenge, device, key_usage, link, mail, member, mfa, organization, quota, role,
    security, session, session_statistics, spend, usage,
};
use crate::changes::Feed;

/// What a statement makes itself, and then reads from end to end; and the table that has one row.
const SHORT: [&str; 6] = ["counted", "listed", "heirs", "holding", "ended", "session_generation"];

/// The steps of a plan that read a whole table, or a whole index.
async fn scans(store: &SqlStore, sql: &str) -> sqlx::Result<Vec<String>> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&store.writer).await?;
    let of_a_table = |step: &String| {
        let mut words = step.split_whitespace();
        words.next() == Some("SCAN") && words.next().is_some_and(|name| !SHORT.contains(&name))
    };
    Ok(plan.into_iter().map(|(.., step)| step).filter(of_a_table).collect())
}

#[tokio::test]
async fn reads_no_table_of_all_tenants_from_end_to_end() {
    let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(
        scans(&store, "SELECT * FROM members").await.unwrap(),
        ["SCAN members"],
        "a scan is seen where there is one"
    );
    let rooms = [
        organization::STATEMENTS,
        member::STATEMENTS,
        role::STATEMENTS,
        api_key::STATEMENTS,
        usage::STATEMENTS,
        quota::STATEMENTS,
        key_usage::STATEMENTS,
        security::STATEMENTS,
        mail::STATEMENTS,
        link::STATEMENTS,
        session::STATEMENTS,
        device::STATEMENTS,
        mfa::STATEMENTS,
        challenge::STATEMENTS,
        session_statistics::STATEMENTS,
        spend::STATEMENTS,
    ];
    for sql in rooms.into_iter().flatten() {
        assert_eq!(scans(&store, sql).await.unwrap(), Vec::<String>::new(), "{sql}");
    }
}
