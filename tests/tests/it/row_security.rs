//! The walls behind the statements: PostgreSQL's row-level security against a query without its tenant, and on both
//! databases composite keys against a row that crosses tenants.

use authv2_core::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, RoleId, StoreId, UserId},
    secret::SecretHash,
    store::{
        ApiKeyRecord, ApiKeyStore as _, Assignment, AtRevision, DecisionCount, KeyCount, KeyQuota, KeyUsageBatch,
        KeyUsageBefore, KeyUsageStore as _, MemberStore as _, NewApiKey, NewMember, NewOrganization, NewRole, NewStore,
        NewUser, OrganizationStore as _, QuotaDraw, QuotaPeriod, QuotaStore as _, ResourceTypeRecord, Revised,
        RoleStore as _, Upkeep as _, Usage, UsageStore as _, UserStore as _, Uses,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::postgres::{Database, Postgres};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};
use uuid::Uuid;

/// Every table that holds rows of tenants.
const TABLES: [&str; 13] = [
    "organizations",
    "stores",
    "members",
    "roles",
    "role_inherits",
    "role_assignments",
    "resource_types",
    "decision_counts",
    "api_keys",
    "api_key_secrets",
    "key_quotas",
    "key_usage_hours",
    "key_usage_days",
];

/// An organization with at least one row in every table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tenant {
    pub(crate) organization: OrgId,
    owner: UserId,
    role: RoleId,
    heir: RoleId,
    branch: StoreId,
    key: KeyId,
}

fn act() -> Act {
    Act::new("test.made", Actor::System, Timestamp::from_seconds(1), &Origin::default())
}

fn role(name: &str, inherits: Vec<RoleId>) -> NewRole {
    let (id, name) = (RoleId::new(), name.to_owned());
    NewRole { id, name, description: None, grants: "[]".to_owned(), inherits, builtin: false }
}

pub(crate) async fn tenant(store: &SqlStore, slug: &str) -> Tenant {
    let owner = UserId::new();
    let email = format!("{slug}@example.test");
    let user = NewUser {
        id: owner,
        email: email.clone(),
        email_key: email,
        display_name: None,
        password_hash: None,
        platform_admin: false,
        count_if_taken: vec![],
    };
    store.create_user(user, act()).await.unwrap();
    let parent = role("parent", vec![]);
    let heir = role("heir", vec![parent.id]);
    let (id, branch) = (OrgId::new(), StoreId::new());
    let made = Tenant { organization: id, owner, role: parent.id, heir: heir.id, branch, key: KeyId::new() };
    let new = NewOrganization {
        id,
        slug: slug.to_owned(),
        name: slug.to_owned(),
        time_zone: "UTC".to_owned(),
        roles: vec![parent, heir],
        owner,
        owner_role: made.role,
    };
    store.create_organization(new, act()).await.unwrap();
    let new = NewStore { id: branch, slug: "vienna".to_owned(), name: "Vienna".to_owned() };
    store.create_store(id, new, act()).await.unwrap();
    let declared = ResourceTypeRecord { name: "orders".to_owned(), attributes: "{}".to_owned() };
    let declared =
        store.put_resource_type(AtRevision { organization: id, revision: 2 }, declared, act()).await.unwrap();
    assert!(matches!(declared, Revised::Done { .. }), "{declared:?}");
    let held = Assignment { role: made.heir, store: Some(branch) };
    let account =
        NewMember { id: MemberId::from(Uuid::now_v7()), user: None, name: Some("robot".to_owned()), roles: vec![held] };
    let joined = store.add_member(AtRevision { organization: id, revision: 3 }, account, act()).await.unwrap();
    assert!(matches!(joined, Revised::Done { .. }), "{joined:?}");
    let key = ApiKeyRecord {
        id: made.key,
        organization: id,
        member: owner.into(),
        store: Some(branch),
        name: "nightly".to_owned(),
        environment: "live".to_owned(),
        scopes: vec!["*".to_owned()],
        allowed_ips: vec![],
        rate_limit: None,
        quota: None,
        metadata: serde_json::Map::new(),
        created_at: Timestamp::from_seconds(1),
        expires_at: None,
        last_used_at: None,
        last_used_ip: None,
    };
    let new = NewApiKey { key, secret: SecretHash::of(slug.as_bytes()), max_per_organization: 1 };
    let minted = store.create_api_key(AtRevision { organization: id, revision: 4 }, new, act()).await.unwrap();
    assert!(matches!(minted, Revised::Done { .. }), "{minted:?}");
    let counted = DecisionCount {
        organization: id,
        day: 1,
        permission: "orders:read".to_owned(),
        role: "heir".to_owned(),
        granted: "orders:*".to_owned(),
        outcome: "allowed".to_owned(),
        count: 1,
    };
    store.add_usage(Usage { decisions: vec![counted], members: vec![] }, vec![]).await.unwrap();
    use_key(store, &made).await;
    made
}

/// A draw of its quota, an hour and a day of uses.
async fn use_key(store: &SqlStore, of: &Tenant) {
    let (quota, now) = (KeyQuota { requests: 5, period: QuotaPeriod::Day }, Timestamp::from_seconds(1));
    let draw = QuotaDraw { organization: of.organization, key: of.key, quota, wanted: 1, now };
    assert!(store.draw_quota(draw).await.unwrap().is_some());
    for (day, before) in [(0, 1), (1, 0)] {
        let quarter = Timestamp::from_seconds(day * 86_400);
        let uses = Uses { allowed: 1, ..Uses::default() };
        let counts = vec![KeyCount { organization: of.organization, key: of.key, quarter, route: "other", uses }];
        store.add_key_usage(KeyUsageBatch { id: Uuid::now_v7(), at: now, counts }).await.unwrap();
        let before = Timestamp::from_seconds(before * 86_400);
        let before = KeyUsageBefore { hours: before, days: Timestamp::from_seconds(0), batches: quarter };
        store.tend_key_usage(None, before).await.unwrap();
    }
}

/// A PostgreSQL database with two tenants in it, written by the role that serves.
async fn two_tenants() -> (Database, Tenant, Tenant) {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let options = SqlOptions {
        migrate_url: Some(database.url().to_owned().into()),
        ..SqlOptions::new(database.runtime_url().to_owned())
    };
    let store = SqlStore::open(&options, Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.excess_right().await.unwrap(), None, "a role that is bound by nothing would show nothing");
    let tenants = (tenant(&store, "acme").await, tenant(&store, "other").await);
    store.close().await;
    (database, tenants.0, tenants.1)
}

/// Whose the rows are that a query without a tenant finds, inside a transaction with these settings.
async fn seen(connection: &mut PgConnection, settings: &[(&str, String)], table: &str) -> Vec<OrgId> {
    let mut transaction = connection.begin().await.unwrap();
    for (name, value) in settings {
        let set = sqlx::query("SELECT set_config($1, $2, TRUE)").bind(*name).bind(value);
        set.execute(&mut *transaction).await.unwrap();
    }
    let careless = AssertSqlSafe(format!("SELECT * FROM {table}"));
    let rows = sqlx::query(careless).fetch_all(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut owners: Vec<OrgId> = rows.iter().map(|row| OrgId::from(row.get::<Uuid, _>("org_id"))).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

fn organization(tenant: &Tenant) -> Vec<(&'static str, String)> {
    vec![("authv2.org", tenant.organization.to_string())]
}

#[tokio::test]
async fn a_query_without_its_tenant_sees_no_row_of_another() {
    let (database, acme, other) = two_tenants().await;
    let mut owner = PgConnection::connect(database.url()).await.unwrap();
    let mut serving = PgConnection::connect(database.runtime_url()).await.unwrap();
    let mut both = [acme.organization, other.organization];
    both.sort_unstable();
    for table in TABLES {
        assert_eq!(seen(&mut owner, &[], table).await, both, "{table}: there is something to see");
        assert_eq!(
            seen(&mut serving, &[], table).await,
            Vec::<OrgId>::new(),
            "{table}: of nobody, where nobody is named"
        );
        for of in [&acme, &other] {
            let found = seen(&mut serving, &organization(of), table).await;
            assert_eq!(found, [of.organization], "{table}");
        }
        for value in ["", &OrgId::new().to_string()] {
            let settings = [("authv2.org", value.to_owned())];
            assert_eq!(seen(&mut serving, &settings, table).await, Vec::<OrgId>::new(), "{table}: {value:?}");
        }
    }
    // The setting ends with its transaction: the next one on the connection begins with none.
    assert_eq!(seen(&mut serving, &[], "members").await, Vec::<OrgId>::new());
}

#[tokio::test]
async fn who_looks_by_user_or_by_slug_sees_the_organization_and_nothing_in_it() {
    let (database, acme, other) = two_tenants().await;
    let mut serving = PgConnection::connect(database.runtime_url()).await.unwrap();
    let by_user = [("authv2.user", acme.owner.to_string())];
    let slug: String = "acme".bytes().map(|byte| format!("{byte:02x}")).collect();
    let by_slug = [("authv2.slug", slug)];
    for table in TABLES {
        let shown = [acme.organization];
        let (user, slug): (&[OrgId], &[OrgId]) = match table {
            "organizations" => (&shown, &shown),
            "members" => (&shown, &[]),
            _ => (&[], &[]),
        };
        assert_eq!(seen(&mut serving, &by_user, table).await, user, "{table} by user");
        assert_eq!(seen(&mut serving, &by_slug, table).await, slug, "{table} by slug");
    }
    // Of the organization it sees its own membership only, and it changes nothing.
    let mut transaction = serving.begin().await.unwrap();
    let set = sqlx::query("SELECT set_config('authv2.user', $1, TRUE)").bind(acme.owner.to_string());
    set.execute(&mut *transaction).await.unwrap();
    let members: Vec<(Uuid,)> =
        sqlx::query_as("SELECT member_id FROM members").fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(members, [(acme.owner.as_uuid(),)]);
    for careless in ["UPDATE organizations SET revision = 0", "DELETE FROM organizations", "DELETE FROM members"] {
        assert_eq!(transaction.execute(careless).await.unwrap().rows_affected(), 0, "{careless}");
    }
    transaction.rollback().await.unwrap();
    assert_ne!(acme.organization, other.organization);
}

#[tokio::test]
async fn a_write_without_its_tenant_touches_no_row_of_another() {
    let (database, acme, other) = two_tenants().await;
    let mut serving = PgConnection::connect(database.runtime_url()).await.unwrap();
    let mut owner = PgConnection::connect(database.url()).await.unwrap();
    let insertions = insertions(&other);
    for insertion in &insertions {
        let mut transaction = serving.begin().await.unwrap();
        enter(&mut transaction, acme.organization).await;
        let refused = transaction.execute(AssertSqlSafe(insertion.clone())).await.unwrap_err();
        let refused = refused.into_database_error().unwrap();
        assert_eq!(refused.code().as_deref(), Some("42501"), "{insertion}: {refused}");
        transaction.rollback().await.unwrap();
        // The row itself is a good one: its own tenant may write it.
        let mut transaction = serving.begin().await.unwrap();
        enter(&mut transaction, other.organization).await;
        transaction.execute(AssertSqlSafe(insertion.clone())).await.unwrap();
        transaction.rollback().await.unwrap();
    }
    assert_eq!(insertions.len(), TABLES.len() - 1, "a row of every table but the tenants' own");
    let mut before = Vec::new();
    for table in TABLES {
        before.push(count(&mut owner, table, other.organization).await);
    }
    let mut transaction = serving.begin().await.unwrap();
    enter(&mut transaction, acme.organization).await;
    let moved = sqlx::query("UPDATE stores SET org_id = $1").bind(other.organization.as_uuid());
    assert!(moved.execute(&mut *transaction).await.is_err(), "no row is given away");
    transaction.rollback().await.unwrap();
    let mut transaction = serving.begin().await.unwrap();
    enter(&mut transaction, acme.organization).await;
    for table in TABLES {
        transaction.execute(AssertSqlSafe(format!("DELETE FROM {table}"))).await.unwrap();
    }
    transaction.commit().await.unwrap();
    for (table, before) in TABLES.into_iter().zip(before) {
        assert!(before > 0);
        assert_eq!(count(&mut owner, table, other.organization).await, before, "{table}");
    }
    assert_eq!(count(&mut owner, "organizations", acme.organization).await, 0, "its own it may delete");
}

async fn enter(connection: &mut PgConnection, organization: OrgId) {
    let set = sqlx::query("SELECT set_config('authv2.org', $1, TRUE)").bind(organization.to_string());
    set.execute(connection).await.unwrap();
}

async fn count(connection: &mut PgConnection, table: &str, organization: OrgId) -> i64 {
    let count = AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE org_id = $1"));
    sqlx::query_scalar(count).bind(organization.as_uuid()).fetch_one(connection).await.unwrap()
}

/// Good rows of a tenant, one for each table but the tenants' own.
fn insertions(of: &Tenant) -> Vec<String> {
    let (id, new) = (of.organization, Uuid::now_v7());
    let (role, heir, owner, branch, key) = (of.role, of.heir, of.owner, of.branch, of.key);
    vec![
        format!("INSERT INTO stores VALUES ('{new}', '{id}', 'graz', 'Graz', 1)"),
        format!("INSERT INTO members VALUES ('{id}', '{new}', 'service_account', NULL, 'robot', 1, NULL)"),
        format!("INSERT INTO roles VALUES ('{new}', '{id}', 'new', NULL, '[]', FALSE, 1)"),
        format!("INSERT INTO role_inherits VALUES ('{id}', '{role}', '{heir}')"),
        format!("INSERT INTO role_assignments VALUES ('{id}', '{owner}', '{role}', '{branch}')"),
        format!("INSERT INTO resource_types VALUES ('{id}', 'invoices', '{{}}')"),
        format!("INSERT INTO decision_counts VALUES ('{id}', 2, 'orders:read', '', '', 'denied', 1)"),
        format!(
            "INSERT INTO api_keys (key_id, org_id, member_id, store_id, name, environment, scopes, allowed_ips, metadata, created_at)
             VALUES ('{new}', '{id}', '{owner}', '{branch}', 'new', 'live', '[]', '[]', '{{}}', 1)"
        ),
        format!("INSERT INTO api_key_secrets VALUES ('\\x00', '{id}', '{key}', 1, NULL)"),
        format!(
            "INSERT INTO key_quotas VALUES ('{id}', '{key}', 'day', 0, 1, 1) ON CONFLICT (org_id, key_id) DO UPDATE SET drawn = 2"
        ),
        format!("INSERT INTO key_usage_hours VALUES ('{id}', '{key}', 5, 'new', 5, 1, 1, 1)"),
        format!("INSERT INTO key_usage_days VALUES ('{id}', '{key}', 5, 'new', 1, 1, 1)"),
    ]
}

const ASSIGN: &str = "INSERT INTO role_assignments VALUES ($1, $2, $3, NULL)";
const ASSIGN_AT: &str = "INSERT INTO role_assignments VALUES ($1, $2, $3, $4)";
const KEY_OF: &str = "INSERT INTO api_keys
    (org_id, member_id, store_id, key_id, name, environment, scopes, allowed_ips, metadata, created_at)
    VALUES ($1, $2, $3, $4, 'new', 'live', '[]', '[]', '{}', 1)";
const INHERIT: &str = "INSERT INTO role_inherits VALUES ($1, $2, $3)";

/// Rows of one tenant that refer to what belongs to the other. Where both are the same, good rows.
fn crossings(of: &Tenant, other: &Tenant) -> [(&'static str, &'static str, Vec<Uuid>); 8] {
    let (organization, owner) = (of.organization.as_uuid(), of.owner.as_uuid());
    let (role, heir) = (of.role.as_uuid(), of.heir.as_uuid());
    let (foreign, member, store) = (other.heir.as_uuid(), other.owner.as_uuid(), other.branch.as_uuid());
    [
        ("a role", ASSIGN, vec![organization, owner, foreign]),
        ("a store", ASSIGN_AT, vec![organization, owner, heir, store]),
        ("a member", ASSIGN, vec![organization, member, heir]),
        ("a parent", INHERIT, vec![organization, role, foreign]),
        ("an heir", INHERIT, vec![organization, other.role.as_uuid(), heir]),
        ("all but the organization", ASSIGN_AT, vec![organization, member, foreign, store]),
        ("a key's member", KEY_OF, vec![organization, member, of.branch.as_uuid(), Uuid::now_v7()]),
        ("a key's store", KEY_OF, vec![organization, owner, store, Uuid::now_v7()]),
    ]
}

/// Writes every crossing row on a connection, past all of our code.
macro_rules! expect_crossings_refused {
    ($connection:expr, $of:expr, $other:expr) => {
        for other in [$of, $other] {
            for (what, sql, ids) in crossings($of, other) {
                let mut transaction = $connection.begin().await.unwrap();
                let mut insertion = sqlx::query(sql);
                for id in ids {
                    insertion = insertion.bind(id);
                }
                let answer = insertion.execute(&mut *transaction).await;
                transaction.rollback().await.unwrap();
                if other.organization == $of.organization {
                    assert!(answer.is_ok(), "{what} of its own: {answer:?}");
                } else {
                    let error = answer.expect_err(what).into_database_error().unwrap();
                    assert_eq!(error.kind(), sqlx::error::ErrorKind::ForeignKeyViolation, "{what}: {error}");
                }
            }
        }
    };
}

#[tokio::test]
async fn the_database_itself_refuses_a_row_that_crosses_tenants() {
    let (database, acme, other) = two_tenants().await;
    let mut owner = PgConnection::connect(database.url()).await.unwrap();
    expect_crossings_refused!(owner, &acme, &other);

    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/authv2.db", directory.path().display());
    let store = SqlStore::open(&SqlOptions::new(url.as_str()), Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    let (acme, other) = (tenant(&store, "acme").await, tenant(&store, "other").await);
    store.close().await;
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    expect_crossings_refused!(connection, &acme, &other);
}

#[tokio::test]
async fn the_schema_goes_back_with_rows_in_its_tables() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/authv2.db", directory.path().display());
    for url in [database.url(), file.as_str()] {
        let store = SqlStore::open(&SqlOptions::new(url), Feed::new()).await.unwrap();
        let all = store.migrate().await.unwrap();
        let made = tenant(&store, "acme").await;
        // Down to the version without tenants: what is left is one that the older build reads.
        assert_eq!(store.revert_to(1).await.unwrap(), [7, 6, 5, 4, 3, 2]);
        assert!(store.user(made.owner).await.unwrap().is_some(), "{url}: accounts stay");
        assert_eq!(store.migrate().await.unwrap(), [2, 3, 4, 5, 6, 7]);
        assert_eq!(store.organizations_of(made.owner).await.unwrap(), []);
        tenant(&store, "other").await;
        assert_eq!(store.revert_to(0).await.unwrap().len(), all.len());
        assert_eq!(store.migrate().await.unwrap(), all);
        store.close().await;
    }
}
