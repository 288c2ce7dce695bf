//! Tests of the whole room: defaults and sources here, refusals and the settings one by one below.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod every_setting;
mod refusals;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde_json::Value as Json;

use super::*;
use crate::jwt::Algorithm;
use crate::store::{OverLimit, Pooler};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A file that goes when the test ends.
struct File(PathBuf);

impl File {
    fn with(content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("authv2-config-{}.toml", uuid::Uuid::now_v7()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file left behind in the temporary directory harms nobody.
        let _ = fs::remove_file(&self.0);
    }
}

fn from_env(base: Config, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(base, None, env.iter().copied())
}

fn from_file(content: &str) -> Result<Config, ConfigErrors> {
    Config::load(Config::development(), Some(&File::with(content).0), NOTHING)
}

const NOTHING: [(&str, &str); 0] = [];

fn production() -> Config {
    Config { issuer: Some("https://id.example.com".into()), master_key: Some(KEY.into()), ..Config::default() }
}

fn lines(result: Result<Config, ConfigErrors>) -> Vec<String> {
    result.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// Every setting of the schema by its dotted name.
fn settings() -> BTreeMap<String, Json> {
    fn collect(schema: &Json, within: &str, into: &mut BTreeMap<String, Json>) {
        for (name, property) in schema["properties"].as_object().unwrap() {
            let name = format!("{within}{name}");
            match property.get("properties") {
                Some(_) => collect(property, &format!("{name}."), into),
                None => drop(into.insert(name, property.clone())),
            }
        }
    }
    let mut settings = BTreeMap::new();
    collect(&schema(), "", &mut settings);
    settings
}

fn variable_of(setting: &str) -> String {
    format!("AUTHV2_{}", setting.replace('.', "__").to_ascii_uppercase())
}

#[test]
fn defaults_are_as_documented() {
    let config = Config::default();
    assert_eq!(config.profile, Profile::Production);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.issuer.is_none() && config.allowed_origins.is_empty() && config.unused.is_empty());
    assert!(config.master_key.is_none() && config.master_key_file.is_none() && config.bootstrap_admin.is_none());

    let StoreConfig { url, migrate_url, direct_url, pooler, migrate, max_connections, acquire_timeout, write_queue } =
        config.store;
    assert_eq!(url.expose(), "sqlite://authv2.db");
    assert!(migrate_url.is_none() && direct_url.is_none() && migrate);
    assert_eq!(pooler, Pooler::None);
    assert_eq!((max_connections, acquire_timeout, write_queue), (16, Duration::from_secs(5), 1024));

    let TokenConfig {
        alg,
        access_ttl,
        jwks_max_age,
        audience,
        signing_key_file,
        rotation_interval,
        leeway,
        cache_bytes: _,
    } = config.tokens;
    assert_eq!((alg, access_ttl, jwks_max_age), (Algorithm::EdDSA, Duration::from_secs(600), Duration::from_secs(300)));
    assert_eq!((audience, signing_key_file, leeway), (None, None, Duration::from_secs(30)));
    assert_eq!(rotation_interval, Duration::from_secs(90 * DAY));

    let DpopConfig { required, proof_max_age, nonce, origins } = config.dpop;
    assert_eq!((required, proof_max_age, nonce, origins), (false, Duration::from_secs(60), Nonces::Off, Vec::new()));

    let SessionConfig {
        max_per_user,
        over_limit,
        idle_ttl,
        absolute_ttl,
        refresh_grace,
        cache_bytes,
        on_network_change,
        on_device_change,
    } = config.session;
    assert_eq!((on_network_change, on_device_change), (OnChange::Notify, OnChange::Notify));
    assert_eq!((max_per_user, over_limit, refresh_grace), (10, OverLimit::EvictOldest, Duration::from_secs(10)));
    assert_eq!((idle_ttl, absolute_ttl), (Duration::from_secs(14 * DAY), Duration::from_secs(30 * DAY)));
    assert_eq!(cache_bytes, 64 * 1024 * 1024);
    assert_eq!(config.changes.max_staleness, Duration::from_secs(5));

    let PasswordConfig { memory_kib, iterations, parallelism, pepper, threads, queue, context_words, min_strength } =
        config.password;
    assert_eq!((memory_kib, iterations, parallelism, queue), (19_456, 2, 1, 128));
    assert!(pepper.is_none() && threads.is_none() && context_words.is_empty() && min_strength.is_none());

    let ThrottleConfig { pair_limit, account_limit, network_limit, window, known_network_ttl } = config.throttle;
    assert_eq!((pair_limit, account_limit, network_limit), (10, 50, 100));
    assert_eq!((window, known_network_ttl), (Duration::from_secs(900), Duration::from_secs(30 * DAY)));

    assert!(config.registration.open && !config.registration.require_verified_email && !config.cookies.insecure);
    assert!(config.proxy.trusted.is_empty());
    assert_eq!(config.proxy.header, "x-forwarded-for");

    let MailConfig { sink, from, link, language, templates, smtp } = config.mail;
    assert!(sink.is_none() && from.is_none() && templates.is_none());
    assert_eq!((link.as_str(), language.as_str()), ("{issuer}/#{purpose}={token}", "en"));
    let SmtpConfig { host, port, tls, username, password } = smtp;
    assert!(host.is_none() && port.is_none() && username.is_none() && password.is_none());
    assert_eq!(tls, SmtpTls::Starttls);
}

#[test]
fn development_is_usable_as_it_is_and_insecure_only_in_cookies() {
    let config = Config::development();
    assert_eq!(config.profile, Profile::Development);
    assert!(config.cookies.insecure);
    assert!(config.validate().is_ok());
}

#[test]
fn production_asks_for_what_nobody_can_guess() {
    let problems = lines(from_env(Config::default(), &[]));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("issuer: must be set"), "{problems:?}");
    assert!(problems[1].starts_with("master_key: must be set"), "{problems:?}");
    assert!(production().validate().is_ok());
}

#[test]
fn the_environment_beats_the_file_which_beats_the_base() {
    let file = File::with("listen = '127.0.0.1:1'\n[session]\nmax_per_user = 2\nrefresh_grace = 3\n");
    let mut base = Config::development();
    base.session.max_per_user = 1;
    base.tokens.audience = Some("base".into());
    let config = Config::load(base, Some(&file.0), [("AUTHV2_SESSION__MAX_PER_USER", "3")]).unwrap();
    assert_eq!((config.session.max_per_user, config.session.refresh_grace), (3, Duration::from_secs(3)));
    assert_eq!((config.listen.port(), config.tokens.audience.as_deref()), (1, Some("base")));
}

#[test]
fn leaves_variables_of_tests_and_others_alone() {
    let env = [("AUTHV2_TEST_POSTGRES", "x"), ("AUTHV2_CONFIG", "x"), ("AUTHV2X", "x"), ("HOME", "x")];
    assert!(from_env(Config::development(), &env).is_ok());
}

#[test]
fn leaves_the_links_of_a_kubernetes_service_alone() {
    let env = [
        ("AUTHV2_PORT", "tcp://10.0.0.1:80"),
        ("AUTHV2_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("AUTHV2_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("AUTHV2_SERVICE_HOST", "10.0.0.1"),
        ("AUTHV2_SERVICE_PORT", "80"),
        ("AUTHV2_SERVICE_PORT_HTTP", "80"),
    ];
    assert!(from_env(Config::development(), &env).is_ok());
    for name in ["AUTHV2_PORTS", "AUTHV2_SERVICE", "AUTHV2_SERVICE_HOST_NAME"] {
        assert!(from_env(Config::development(), &[(name, "x")]).is_err(), "{name}");
    }
}

#[test]
fn refuses_one_setting_in_two_spellings() {
    let env = [("AUTHV2_ISSUER", "http://a"), ("AUTHV2_Issuer", "http://b")];
    assert_eq!(lines(from_env(Config::development(), &env)), ["issuer: set by more than one environment variable"]);
}

#[cfg(unix)]
#[test]
fn refuses_a_value_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let env = [(OsString::from("AUTHV2_ISSUER"), OsString::from_vec(vec![0xff]))];
    let errors = Config::load(Config::development(), None, env).unwrap_err();
    assert_eq!(errors.to_string(), "issuer: not valid UTF-8");
}

#[test]
fn a_name_from_outside_stays_on_its_line() {
    assert_eq!(lines(from_file("\"a\\nissuer: fine\" = 1")), ["a\\nissuer: fine: unknown setting"]);
    assert_eq!(lines(from_file("session = 3")), ["session: expected a table of settings"]);
    assert_eq!(lines(from_file("[session]\nx.y = 1")), ["session.x.y: unknown setting"]);
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let missing = Config::load(Config::default(), Some(Path::new("/nonexistent/authv2.toml")), NOTHING);
    assert_eq!(lines(missing), ["/nonexistent/authv2.toml: cannot be read: entity not found"]);
    let problems = lines(from_file("profile = 'development'\nmaster_key = hunter2-hunter2\n"));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains(": line 2: "), "{problems:?}");
}

#[test]
fn never_prints_a_secret() {
    const WORD: &str = "hunter2";
    let secrets = [
        "master_key",
        "bootstrap_admin.password",
        "store.url",
        "store.migrate_url",
        "store.direct_url",
        "redis.url",
        "redis.password",
        "redis.sentinel_password",
        "password.pepper",
        "security.webhook_url",
        "security.webhook_secret",
        "mail.smtp.password",
    ];
    let secret = || Some(WORD.into());
    let redis =
        RedisConfig { url: secret(), password: secret(), sentinel_password: secret(), ..RedisConfig::default() };
    let good = Config {
        master_key: Some(WORD.into()),
        bootstrap_admin: Some(BootstrapAdmin { email: "root@example.com".into(), password: WORD.into() }),
        store: StoreConfig { url: WORD.into(), migrate_url: Some(WORD.into()), ..StoreConfig::default() },
        redis,
        security: SecurityConfig { webhook_url: secret(), webhook_secret: secret(), ..SecurityConfig::default() },
        password: PasswordConfig { pepper: Some(WORD.into()), ..PasswordConfig::default() },
        mail: MailConfig {
            smtp: SmtpConfig { password: secret(), ..MailConfig::default().smtp },
            ..Default::default()
        },
        ..Config::default()
    };
    let errors = good.validate().unwrap_err();
    assert!(!format!("{good:?} {errors} {errors:?}").contains(WORD));
    for (name, property) in settings() {
        // No message quotes any setting's value, be it a secret or not.
        for content in [
            format!("{name} = '{WORD}'"),
            format!("{name} = ['{WORD}']"),
            format!("{name} = {{ x = '{WORD}' }}"),
            format!("{name} = {WORD}"),
            format!("{name} = '{WORD}"),
            format!("{name} = '1'\n{name} = '{WORD}'"),
        ] {
            if let Err(errors) = from_file(&content) {
                assert!(!format!("{errors} {errors:?}").contains(WORD), "{content}: {errors}");
            }
        }
        let marked = property.get("format").is_some_and(|format| format == "password");
        assert_eq!(marked, secrets.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn fills_the_origins_of_the_listening_address() {
    let origins = |mut config: Config, address: &str| {
        config.listening_on(address.parse().unwrap());
        config.allowed_origins.iter().map(Origin::to_string).collect::<Vec<_>>()
    };
    let local = ["http://localhost:9", "http://127.0.0.1:9", "http://[::1]:9"];
    assert_eq!(origins(Config::development(), "127.0.0.1:9"), local);
    assert_eq!(origins(Config::development(), "0.0.0.0:9"), local);
    assert_eq!(origins(Config::development(), "[::]:9"), local);
    assert_eq!(origins(Config::development(), "192.0.2.1:80"), ["http://192.0.2.1"]);

    let issuer = Config { issuer: Some("http://localhost:9".into()), ..Config::development() };
    assert_eq!(origins(issuer, "127.0.0.1:9"), local);
    let set = Config { allowed_origins: vec!["https://a.example".parse().unwrap()], ..Config::development() };
    assert_eq!(origins(set, "127.0.0.1:9"), ["https://a.example"]);
}

#[test]
fn production_trusts_no_http_origin_by_default() {
    let mut config = production();
    config.listening_on("127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.allowed_origins.iter().map(Origin::as_str).collect::<Vec<_>>(), ["https://id.example.com"]);
    assert!(config.validate().is_ok());
}

#[test]
fn a_bare_port_listens_on_loopback_only() {
    let config = from_env(Config::development(), &[("AUTHV2_LISTEN", ":0")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:0");
}

#[test]
fn takes_a_master_key_in_either_alphabet() {
    for text in ["+/////////////////////////////////////////8=", "-_________________________________________8"] {
        let config = Config { master_key: Some(text.into()), ..Config::development() };
        assert!(config.validate().is_ok(), "{text}");
    }
}
