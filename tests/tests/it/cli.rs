//! The command `authv2`, beside a running server and alone: what it prints, what it leaves alone.

use std::{
    env,
    ffi::OsStr,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    str::FromStr as _,
};

use authv2_core::{
    changes::Feed,
    store::{Upkeep as _, UserStore as _, sql::SqlOptions, sql::SqlStore},
};
use sqlx::{Connection as _, Executor as _};

use crate::contract::fixture::eventually;
use authv2_tests::{
    binary,
    client::Api,
    postgres::Postgres,
    server::{Server, Settings},
};

const PASSWORD: &str = "violet teapot on fire";

/// A place to run the command in, with the settings it is to see and none of the surroundings'.
#[derive(Debug)]
struct Shell<'a> {
    directory: &'a Path,
    environment: Vec<(&'a str, String)>,
}

impl<'a> Shell<'a> {
    fn development(directory: &'a Path) -> Self {
        Self { directory, environment: vec![("AUTHV2_PROFILE", "development".to_owned())] }
    }

    fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, input: &str) -> Ran {
        let mut command = Command::new(binary::find("authv2").unwrap());
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHV2_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(arguments)
            .current_dir(self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended before this.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Whether the account of this e-mail administers the deployment; `None` where there is no such account.
async fn is_admin(url: &str, email: &str) -> Option<bool> {
    let store = SqlStore::open(&SqlOptions::new(url), Feed::new()).await.unwrap();
    let user = store.user_by_email(email).await.unwrap();
    store.close().await;
    user.map(|user| user.platform_admin)
}

#[test]
fn migrates_up_and_back_and_says_what_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let shell = Shell::development(directory.path());
    let up = shell.run(["migrate"], "");
    assert_eq!(
        (up.code, up.out.as_str()),
        (Some(0), "applied 1\napplied 2\napplied 3\napplied 4\napplied 5\napplied 6\napplied 7\n"),
        "{up:?}"
    );
    assert!(shell.run(["migrate"], "").out.starts_with("nothing to apply"));
    let unknown = shell.run(["migrate", "--to", "4711"], "");
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(1), "there is no schema version 4711\n"));
    assert_eq!(
        shell.run(["migrate", "--to", "0"], "").out,
        "reverted 7\nreverted 6\nreverted 5\nreverted 4\nreverted 3\nreverted 2\nreverted 1\n"
    );
    assert!(shell.run(["migrate", "--to", "0"], "").out.starts_with("nothing to revert"));
}

#[tokio::test]
async fn makes_administrators_beside_a_running_server_and_promotes_nobody() {
    let server = Server::start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let shell = Shell::development(server.directory());
    let file = server.directory().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();

    let first = shell.run(["admin", "create", "--email", "root@example.org"], PASSWORD);
    assert_eq!(first.code, Some(0), "{first:?}");
    let file = file.to_str().unwrap();
    let second = shell.run(["admin", "create", "--email", "second@example.org", "--password-file", file], "");
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(api.register("user@example.org", PASSWORD).await.unwrap().status, 201);
    let taken = shell.run(["admin", "create", "--email", "USER@example.org"], "another password entirely");
    assert_eq!((taken.code, taken.out.as_str()), (Some(1), ""), "{taken:?}");

    let url = format!("sqlite://{}/authv2.db", server.directory().display());
    assert_eq!(is_admin(&url, "root@example.org").await, Some(true));
    assert_eq!(is_admin(&url, "second@example.org").await, Some(true));
    assert_eq!(is_admin(&url, "user@example.org").await, Some(false));
    for email in ["root@example.org", "second@example.org", "user@example.org"] {
        assert_eq!(api.login(email, PASSWORD).await.unwrap().status, 200, "{email}");
    }
}

#[test]
fn refuses_a_weak_password_by_field_and_a_store_without_schema() {
    let directory = tempfile::tempdir().unwrap();
    let shell = Shell::development(directory.path());
    let behind = shell.run(["admin", "create", "--email", "root@example.org"], PASSWORD);
    assert_eq!(behind.code, Some(1));
    assert!(behind.err.contains("run `authv2 migrate`"), "{behind:?}");
    shell.run(["migrate"], "");
    let weak = shell.run(["admin", "create", "--email", "root@example.org"], "password1");
    assert_eq!(weak.code, Some(1));
    assert!(weak.err.starts_with("password: "), "{weak:?}");
    assert!(!weak.err.contains("password1"), "{weak:?}");
}

#[test]
fn checks_the_settings_by_name_and_never_prints_their_values() {
    let directory = tempfile::tempdir().unwrap();
    let production = Shell { directory: directory.path(), environment: Vec::new() };
    let found = production.run(["config", "check"], "");
    assert_eq!(found.code, Some(1));
    let names: Vec<&str> = found.out.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["issuer", "master_key"]);

    let wrong = Shell::development(directory.path())
        .with("AUTHV2_MASTER_KEY", "hunter2hunter2")
        .with("AUTHV2_SESSION__MAXIMUM", "3");
    let found = wrong.run(["config", "check"], "");
    assert_eq!(found.code, Some(1));
    assert_eq!(found.out.lines().count(), 2, "{found:?}");
    assert!(found.out.contains("session.maximum: "), "{found:?}");
    assert!(!found.out.contains("hunter2"), "{found:?}");

    std::fs::write(directory.path().join("authv2.toml"), "profile = \"development\"\n").unwrap();
    let good = production.run(["config", "check"], "");
    assert_eq!((good.code, good.out.as_str()), (Some(0), "ok\n"), "{good:?}");
}

#[test]
fn prints_the_schema_of_the_settings_file() {
    let directory = tempfile::tempdir().unwrap();
    let ran = Shell::development(directory.path()).run(["config", "schema"], "");
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(schema["properties"]["session"]["properties"]["max_per_user"]["default"], 10);
}

/// The deployment that the guide to operations describes: the owner migrates, the service may only read and write.
#[tokio::test]
async fn a_role_that_owns_nothing_serves_what_the_owner_has_migrated() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let owner = Shell::development(directory.path()).with("AUTHV2_STORE__URL", database.url());
    let up = owner.run(["migrate"], "");
    assert_eq!(up.out, "applied 1\napplied 2\napplied 3\napplied 4\napplied 5\napplied 6\napplied 7\n", "{up:?}");
    let role = sqlx::postgres::PgConnectOptions::from_str(database.runtime_url()).unwrap();
    let revoke = format!("REVOKE UPDATE, DELETE ON audit, schema_migrations FROM {}", role.get_username());
    let mut connection = sqlx::PgConnection::connect(database.url()).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(revoke)).await.unwrap();

    let server = Settings::new().store(database.runtime_url()).with("AUTHV2_STORE__MIGRATE", "false").start().unwrap();
    let api = Api::new(server.url()).unwrap();
    assert_eq!(api.register("ada@example.org", PASSWORD).await.unwrap().status, 201);
    assert_eq!(api.login("ada@example.org", PASSWORD).await.unwrap().status, 200);
    let service = Shell::development(directory.path()).with("AUTHV2_STORE__URL", database.runtime_url());
    let made = service.run(["admin", "create", "--email", "root@example.org"], PASSWORD);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(service.run(["migrate", "--to", "0"], "").code, Some(1), "it must not be able to drop anything");
}

/// Whether an access token is taken.
async fn is_live(api: &Api, token: &str) -> bool {
    api.get("/auth/me", token).await.unwrap().status == 200
}

/// Waits until the server has heard of what another process did.
async fn ended(api: &Api, access: &str) {
    eventually(async || !is_live(api, access).await).await;
}

#[tokio::test]
async fn ends_sessions_beside_a_running_server_and_none_that_comes_later() {
    let server = Server::start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let shell = Shell::development(server.directory());
    let sign_in = async |email: &str, organization: Option<&str>| {
        let body = serde_json::json!({"email": email, "password": PASSWORD, "organization": organization});
        let answer = api.post("/auth/login", "", &body).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        (answer.string("/user/id").to_owned(), answer.string("/access_token").to_owned())
    };
    for email in ["ada@example.org", "bob@example.org"] {
        assert_eq!(api.register(email, PASSWORD).await.unwrap().status, 201);
    }
    let (ada, first) = sign_in("ada@example.org", None).await;
    let organization = serde_json::json!({"slug": "acme", "name": "Acme"});
    assert_eq!(api.post("/auth/orgs", &first, &organization).await.unwrap().status, 201);
    let (_, inside) = sign_in("ada@example.org", Some("acme")).await;
    let (_, bob) = sign_in("bob@example.org", None).await;

    let ran = shell.run(["sessions", "revoke", "--organization", "acme"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "ended every session in the organization acme\n"), "{ran:?}");
    ended(&api, &inside).await;
    assert!(is_live(&api, &first).await && is_live(&api, &bob).await);
    let (_, inside) = sign_in("ada@example.org", Some("acme")).await;
    assert!(is_live(&api, &inside).await);

    let ran = shell.run(["sessions", "revoke", "--user", &ada], "");
    assert_eq!((ran.code, ran.out), (Some(0), format!("ended 2 sessions of the user {ada}\n")));
    ended(&api, &first).await;
    ended(&api, &inside).await;
    assert!(is_live(&api, &bob).await);

    let ran = shell.run(["sessions", "revoke", "--all"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "ended every session of the deployment\n"), "{ran:?}");
    ended(&api, &bob).await;
    let (_, again) = sign_in("bob@example.org", None).await;
    assert!(is_live(&api, &again).await);

    for missing in [["--organization", "nowhere"], ["--user", "0198c0de-0000-7000-8000-000000000000"]] {
        let ran = shell.run(["sessions", "revoke", missing[0], missing[1]], "");
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.starts_with("there is no "), "{ran:?}");
    }
    for refused in [&["sessions", "revoke"][..], &["sessions", "revoke", "--all", "--organization", "acme"]] {
        assert_eq!(shell.run(refused, "").code, Some(2), "{refused:?}");
    }
    assert!(is_live(&api, &again).await);
}

/// The lines that `keys list` prints, each in its words.
fn keys(shell: &Shell<'_>) -> Vec<Vec<String>> {
    let listed = shell.run(["keys", "list"], "");
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.out.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn rotates_and_revokes_signing_keys_beside_a_running_server() {
    let server = Settings::new()
        .with("AUTHV2_TOKENS__JWKS_MAX_AGE", "1")
        // Who looks whether another key signs signs in, and must not put its other sessions out.
        .with("AUTHV2_SESSION__MAX_PER_USER", "10000")
        .start()
        .unwrap();
    let api = Api::new(server.url()).unwrap();
    let shell = Shell::development(server.directory()).with("AUTHV2_TOKENS__JWKS_MAX_AGE", "1");
    assert_eq!(api.register("ada@example.org", PASSWORD).await.unwrap().status, 201);
    let token = async || {
        let answer = api.login("ada@example.org", PASSWORD).await.unwrap();
        answer.string("/access_token").to_owned()
    };
    let old = token().await;
    let first = crate::contract::signing_keys::kid(&old);
    let listed = keys(&shell);
    assert_eq!((listed.len(), &listed[0][0], &*listed[0][1], &*listed[0][2]), (1, &first, "EdDSA", "active"));
    assert_eq!((listed[0].len(), &*listed[0][5]), (6, "-"));

    let file = server.directory().join("secret");
    std::fs::write(&file, [7; 32]).unwrap();
    let file = file.to_str().unwrap();
    let brought = shell.run(["keys", "create", "--alg", "HS256", "--pem", file], "");
    assert_eq!(brought.code, Some(0), "{brought:?}");
    assert!(brought.out.contains(" HS256 pending "), "{brought:?}");
    let known = shell.run(["keys", "create", "--alg", "HS256", "--pem", file], "");
    assert_eq!((known.code, known.out.as_str()), (Some(1), ""), "{known:?}");
    assert!(known.err.contains("already"), "{known:?}");
    for refused in [&["--alg", "none"][..], &["--alg", "ES512"], &["--pem", file, "--jwk", file]] {
        assert_eq!(shell.run([&["keys", "create"][..], refused].concat(), "").code, Some(2), "{refused:?}");
    }
    for unreadable in [["--pem", "/nowhere"], ["--jwk", file], ["--pem", file]] {
        let ran = shell.run([&["keys", "create"][..], &unreadable].concat(), "");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.starts_with("the key cannot be read: "), "{ran:?}");
    }

    let rotated = shell.run(["keys", "rotate", "--activate-now"], "");
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let second = rotated.out.split(' ').next().unwrap().to_owned();
    assert!(brought.out.starts_with(&second), "the pending one is taken: {rotated:?}");
    eventually(async || crate::contract::signing_keys::kid(&token().await) == second).await;
    assert!(is_live(&api, &old).await);

    let revoked = shell.run(["keys", "revoke", &first], "");
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    ended(&api, &old).await;
    assert_eq!(keys(&shell).iter().map(|key| &*key[2]).collect::<Vec<_>>(), ["retired", "active"]);
    let again = shell.run(["keys", "rotate", "--overlap", "10"], "");
    assert!(again.out.contains(" EdDSA pending "), "{again:?}");
    let missing = shell.run(["keys", "revoke", "nobody"], "");
    assert_eq!((missing.code, missing.err.as_str()), (Some(1), "there is no such signing key\n"));
}
