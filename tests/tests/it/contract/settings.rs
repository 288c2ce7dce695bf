//! Settings: what is not acceptable stops the start and is named; the first administrator.

use std::path::Path;

use authv2_tests::{
    client::Api,
    server::{Server, Settings},
};

use super::fixture::{ADA, PASSWORD, WRONG, assert_problem, login, quick, register, start};

/// What a server that does not start says.
fn refusal(settings: Settings) -> String {
    settings.start().map(|server| server.url().to_owned()).expect_err("it started").to_string()
}

/// The lines that name this setting.
fn naming<'a>(refusal: &'a str, setting: &str) -> Vec<&'a str> {
    refusal.lines().filter(|line| line.starts_with(&format!("{setting}:"))).collect()
}

#[tokio::test]
async fn each_invalid_setting_is_named_on_a_line_of_its_own() {
    let wrong = [
        ("AUTHV2_TOKENS__ACCESS_TTL", "tokens.access_ttl", "soon"),
        ("AUTHV2_TOKENS__ALG", "tokens.alg", "none"),
        ("AUTHV2_SESSION__MAX_PER_USER", "session.max_per_user", "0"),
        ("AUTHV2_SESSION__OVER_LIMIT", "session.over_limit", "ignore"),
        ("AUTHV2_ALLOWED_ORIGINS", "allowed_origins", "app.example"),
        ("AUTHV2_PROXY__TRUSTED", "proxy.trusted", "everybody"),
        ("AUTHV2_PROXY__HEADER", "proxy.header", "not a header"),
        ("AUTHV2_COOKIES__INSECURE", "cookies.insecure", "perhaps"),
        ("AUTHV2_ISSUER", "issuer", "auth.example"),
        ("AUTHV2_REGISTRATION__REQUIRE_VERIFIED_EMAIL", "registration.require_verified_email", "2"),
        ("AUTHV2_STORE__URL", "store.url", "mysql://localhost/authv2"),
        ("AUTHV2_MISSPELT__SETTING", "misspelt.setting", "1"),
    ];
    let said =
        refusal(wrong.iter().fold(Settings::new(), |settings, (variable, _, value)| settings.with(variable, *value)));
    for (_, setting, _) in wrong {
        assert_eq!(naming(&said, setting).len(), 1, "{setting} in\n{said}");
    }
    for (variable, setting, value) in wrong {
        let said = refusal(Settings::new().with(variable, value));
        assert_eq!(naming(&said, setting).len(), 1, "{setting} in\n{said}");
    }
}

#[tokio::test]
async fn secrets_are_not_repeated() {
    let said = refusal(
        Settings::new()
            .with("AUTHV2_MASTER_KEY", "not-32-bytes-but-secret")
            .with("AUTHV2_STORE__URL", "mysql://root:hunter2@localhost/authv2"),
    );
    assert!(!said.contains("secret") && !said.contains("hunter2"), "{said}");
    assert_eq!(naming(&said, "master_key").len(), 1, "{said}");
}

#[tokio::test]
async fn a_signing_key_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let refused = |algorithm: &str, path: &Path| {
        let settings = Settings::new().with("AUTHV2_TOKENS__ALG", algorithm);
        refusal(settings.with("AUTHV2_TOKENS__SIGNING_KEY_FILE", path.to_string_lossy()))
    };
    let short = file("short", b"too short");
    for said in [
        refused("EdDSA", &directory.path().join("absent")),
        refused("EdDSA", &file("text", b"no key at all")),
        refused("ES256", &file("raw", &[7; 32])),
        refused("HS256", &short),
    ] {
        assert_eq!(naming(&said, "tokens.signing_key_file").len(), 1, "{said}");
        assert!(!said.contains("no key at all") && !said.contains("too short\n"), "{said}");
    }
}

#[tokio::test]
async fn a_file_is_read_and_the_environment_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, "[tokens]\naccess_ttl = 77\n[session]\nmax_per_user = 1\n").unwrap();
    let settings = quick().with("AUTHV2_CONFIG", path.to_string_lossy()).with("AUTHV2_SESSION__MAX_PER_USER", "5");
    let deployment = start(settings).await;
    register(&deployment.api, ADA).await;
    let first = login(&deployment.api, ADA, PASSWORD).await;
    assert_eq!(first.json["expires_in"], 77);
    login(&deployment.api, ADA, PASSWORD).await;
    assert!(super::fixture::is_live(&deployment.api, first.string("/access_token")).await);
}

fn with_admin(email: &str, password: &str) -> Settings {
    quick().with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", email).with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", password)
}

/// Starts another server with these settings on the database of a first one.
fn on_the_database_of(server: &mut Server, settings: Settings) -> Server {
    server.stop().unwrap();
    let database = server.directory().join("authv2.db");
    settings.store(&format!("sqlite://{}", database.display())).start().unwrap()
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let mut deployment = start(with_admin("root@example.org", PASSWORD)).await;
    assert_eq!(login(&deployment.api, "root@example.org", PASSWORD).await.status, 200);

    // There is one: neither another password nor another address makes a second.
    let second = on_the_database_of(&mut deployment.server, with_admin("other@example.org", PASSWORD));
    let api = Api::new(second.url()).unwrap();
    assert_problem(&login(&api, "other@example.org", PASSWORD).await, 401, "invalid_credentials");
    assert_eq!(login(&api, "root@example.org", PASSWORD).await.status, 200);
    drop(second);
    let third = on_the_database_of(&mut deployment.server, with_admin("root@example.org", WRONG));
    let api = Api::new(third.url()).unwrap();
    assert_eq!(login(&api, "root@example.org", PASSWORD).await.status, 200);
    assert_problem(&login(&api, "root@example.org", WRONG).await, 401, "invalid_credentials");
}

#[tokio::test]
async fn the_administrators_setting_never_promotes_nor_takes_over_an_account() {
    let mut deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let second = on_the_database_of(&mut deployment.server, with_admin("ADA@example.org", WRONG));
    let api = Api::new(second.url()).unwrap();
    assert_problem(&login(&api, ADA, WRONG).await, 401, "invalid_credentials");
    assert_eq!(login(&api, ADA, PASSWORD).await.status, 200);
    assert!(second.stderr().contains("bootstrap_admin"), "{}", second.stderr());
    assert!(!second.stderr().to_lowercase().contains(ADA), "an e-mail is in the log");
}

#[tokio::test]
async fn an_administrator_that_cannot_be_made_stops_the_start() {
    for (email, password, setting) in [
        ("root", PASSWORD, "bootstrap_admin.email"),
        ("root@example.org", "short", "bootstrap_admin.password"),
        ("root@example.org", "password123", "bootstrap_admin.password"),
    ] {
        let said = refusal(with_admin(email, password));
        assert_eq!(naming(&said, setting).len(), 1, "{setting} in\n{said}");
        assert!(!said.contains(password), "{said}");
    }
    let half = refusal(quick().with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.org"));
    assert_eq!(naming(&half, "bootstrap_admin.password").len(), 1, "{half}");
}
