//! Each setting is read, is in the schema and is documented.

use super::*;
use crate::jwt::Algorithm;

/// A good value for every setting, as the environment and the file write it.
const GOOD: [(&str, &str, &str); 106] = [
    ("profile", "development", "'development'"),
    ("listen", "[::1]:0", "'[::1]:0'"),
    ("issuer", "https://id.example.com/t", "'https://id.example.com/t'"),
    ("allowed_origins", "https://A.example, http://b:3000", "['https://a.example', 'http://b:3000']"),
    ("master_key", KEY, "'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'"),
    ("master_key_file", "key", "'key'"),
    ("bootstrap_admin.email", "root@example.com", "'root@example.com'"),
    ("bootstrap_admin.password", "correct horse", "'correct horse'"),
    ("store.url", "sqlite::memory:", "'sqlite::memory:'"),
    ("store.migrate_url", "sqlite://x.db", "'sqlite://x.db'"),
    ("store.direct_url", "sqlite://x.db", "'sqlite://x.db'"),
    ("store.pooler", "transaction", "'transaction'"),
    ("store.migrate", "false", "false"),
    ("store.max_connections", "4", "4"),
    ("store.acquire_timeout", "2", "2"),
    ("store.write_queue", "8", "8"),
    ("redis.mode", "sentinel", "'sentinel'"),
    ("redis.sentinel_master", "main", "'main'"),
    ("redis.username", "node", "'node'"),
    ("redis.password", "let me in", "'let me in'"),
    ("redis.sentinel_username", "watcher", "'watcher'"),
    ("redis.sentinel_password", "me too", "'me too'"),
    ("redis.key_prefix", "id:", "'id:'"),
    ("redis.timeout_ms", "50", "50"),
    ("redis.ca_file", "ca.pem", "'ca.pem'"),
    ("tokens.alg", "ES256", "'ES256'"),
    ("tokens.access_ttl", "60", "60"),
    ("tokens.jwks_max_age", "0", "0"),
    ("tokens.audience", "api", "'api'"),
    ("tokens.signing_key_file", "k.pem", "'k.pem'"),
    ("tokens.rotation_interval", "60", "60"),
    ("tokens.leeway", "60", "60"),
    ("tokens.cache_bytes", "1048576", "1048576"),
    ("dpop.required", "true", "true"),
    ("dpop.proof_max_age", "30", "30"),
    ("dpop.nonce", "required", "'required'"),
    ("dpop.origins", "https://api.example", "['https://api.example']"),
    ("session.max_per_user", "1", "1"),
    ("session.over_limit", "reject", "'reject'"),
    ("session.idle_ttl", "60", "60"),
    ("session.absolute_ttl", "60", "60"),
    ("session.refresh_grace", "0", "0"),
    ("session.cache_bytes", "1048576", "1048576"),
    ("session.on_network_change", "step_up", "'step_up'"),
    ("session.on_device_change", "revoke", "'revoke'"),
    ("password.memory_kib", "64", "64"),
    ("password.iterations", "1", "1"),
    ("password.parallelism", "2", "2"),
    ("password.pepper", "salt, pepper and mace", "'salt, pepper and mace'"),
    ("password.threads", "2", "2"),
    ("password.queue", "7", "7"),
    ("password.context_words", "authv2,acme", "['authv2', 'acme']"),
    ("throttle.pair_limit", "5", "5"),
    ("throttle.account_limit", "6", "6"),
    ("throttle.network_limit", "7", "7"),
    ("throttle.window", "60", "60"),
    ("throttle.known_network_ttl", "0", "0"),
    ("limits.network_per_minute", "600", "600"),
    ("limits.user_per_minute", "500", "500"),
    ("limits.organization_per_minute", "400", "400"),
    ("limits.key_per_minute", "300", "300"),
    ("limits.local_share", "50", "50"),
    ("limits.leases", "true", "true"),
    ("limits.memory_bytes", "1048576", "1048576"),
    ("registration.open", "false", "false"),
    ("registration.require_verified_email", "true", "true"),
    ("mail.sink", "mails", "'mails'"),
    ("mail.from", "Ada <ada@example.org>", "'Ada <ada@example.org>'"),
    ("mail.link", "https://a.example/{purpose}?token={token}", "'https://a.example/{purpose}?token={token}'"),
    ("mail.language", "de-ch", "'de-ch'"),
    ("mail.templates", "templates", "'templates'"),
    ("mail.smtp.port", "2525", "2525"),
    ("mail.smtp.tls", "danger_plain", "'danger_plain'"),
    ("mail.smtp.username", "mailer", "'mailer'"),
    ("mail.smtp.password", "let me out", "'let me out'"),
    ("mfa.issuer", "Acme", "'Acme'"),
    ("changes.max_staleness", "3", "3"),
    ("permissions.cache_bytes", "1048576", "1048576"),
    ("permissions.audit_denials_per_minute", "0", "0"),
    ("permissions.stale_after_days", "30", "30"),
    ("security.window", "60", "60"),
    ("security.stuffing_accounts", "50", "50"),
    ("security.network_accounts", "6", "6"),
    ("security.spraying_accounts", "7", "7"),
    ("security.pressure", "90", "90"),
    ("security.stranger_wait", "3", "3"),
    ("security.block_for", "30", "30"),
    ("security.probing_denials", "0", "0"),
    ("security.dormant_after", "86400", "86400"),
    ("security.keep_events", "86400", "86400"),
    ("security.breached_passwords_file", "breached.txt", "'breached.txt'"),
    ("security.webhook_secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'"),
    ("security.webhook_severity", "high", "'high'"),
    ("security.on_credential_stuffing", "notify", "'notify'"),
    ("security.on_password_spraying", "notify", "'notify'"),
    ("security.on_brute_force", "block", "'block'"),
    ("security.on_refresh_token_reused", "revoke", "'revoke'"),
    ("security.on_new_device", "step_up", "'step_up'"),
    ("security.on_new_network", "step_up", "'step_up'"),
    ("security.on_dormant_account_used", "step_up", "'step_up'"),
    ("security.on_permission_probing", "revoke", "'revoke'"),
    ("usage.keep_hours", "86400", "86400"),
    ("usage.keep_days", "172800", "172800"),
    ("cookies.insecure", "true", "true"),
    ("proxy.trusted", "10.0.0.0/8, ::1", "['10.0.0.0/8', '::1/128']"),
    ("proxy.header", "X-Real-Ip", "'x-real-ip'"),
];

/// Good values of the settings without effect.
const UNUSED: [(&str, &str, &str); 3] = [
    ("forward.login_url", "/login", "'/login'"),
    ("forward.rules", r#"[{"path": "/*", "permission": "a:b"}]"#, "[{ path = '/*', permission = 'a:b' }]"),
    ("forward.unmatched", "deny", "'deny'"),
];

fn check_good(config: &Config) {
    assert_eq!(config.profile, Profile::Development);
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert_eq!(config.issuer.as_deref(), Some("https://id.example.com/t"));
    let origins: Vec<_> = config.allowed_origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://a.example", "http://b:3000"]);
    assert_eq!(config.master_key.as_ref().unwrap().expose().trim_end_matches('='), KEY.trim_end_matches('='));
    assert_eq!(config.master_key_file, Some("key".into()));
    let admin = config.bootstrap_admin.as_ref().unwrap();
    assert_eq!((admin.email.as_str(), admin.password.expose().as_str()), ("root@example.com", "correct horse"));
    assert_eq!(config.store.url.expose(), "sqlite::memory:");
    assert_eq!(config.store.migrate_url.as_ref().unwrap().expose(), "sqlite://x.db");
    assert_eq!(config.store.direct_url.as_ref().unwrap().expose(), "sqlite://x.db");
    assert_eq!(config.store.pooler, Pooler::Transaction);
    assert!(!config.store.migrate);
    assert_eq!((config.store.max_connections, config.store.write_queue), (4, 8));
    assert_eq!(config.store.acquire_timeout, Duration::from_secs(2));
    let redis = &config.redis;
    assert_eq!((redis.mode, redis.sentinel_master.as_deref()), (RedisMode::Sentinel, Some("main")));
    assert_eq!((redis.username.as_deref(), redis.sentinel_username.as_deref()), (Some("node"), Some("watcher")));
    assert_eq!(redis.password.as_ref().unwrap().expose(), "let me in");
    assert_eq!(redis.sentinel_password.as_ref().unwrap().expose(), "me too");
    assert_eq!((redis.key_prefix.as_str(), redis.timeout), ("id:", Duration::from_millis(50)));
    assert_eq!(redis.ca_file, Some("ca.pem".into()));
    assert_eq!(config.tokens.alg, Algorithm::ES256);
    assert_eq!(config.tokens.access_ttl, Duration::from_secs(60));
    assert_eq!(config.tokens.jwks_max_age, Duration::ZERO);
    assert_eq!(config.tokens.audience.as_deref(), Some("api"));
    assert_eq!(config.tokens.signing_key_file, Some("k.pem".into()));
    assert_eq!(config.tokens.rotation_interval, Duration::from_secs(60));
    assert_eq!((config.tokens.leeway, config.tokens.cache_bytes), (Duration::from_secs(60), 1024 * 1024));
    let dpop = &config.dpop;
    assert_eq!((dpop.required, dpop.proof_max_age, dpop.nonce), (true, Duration::from_secs(30), Nonces::Required));
    assert_eq!(dpop.origins.iter().map(Origin::as_str).collect::<Vec<_>>(), ["https://api.example"]);
    assert_eq!((config.session.max_per_user, config.session.over_limit), (1, OverLimit::Reject));
    assert_eq!(
        (config.session.idle_ttl, config.session.absolute_ttl),
        (Duration::from_secs(60), Duration::from_secs(60))
    );
    assert_eq!(config.session.refresh_grace, Duration::ZERO);
    assert_eq!((config.session.cache_bytes, config.changes.max_staleness), (1024 * 1024, Duration::from_secs(3)));
    assert_eq!(
        (config.session.on_network_change, config.session.on_device_change),
        (OnChange::StepUp, OnChange::Revoke)
    );
    let password = &config.password;
    assert_eq!((password.memory_kib, password.iterations, password.parallelism), (64, 1, 2));
    assert_eq!(password.pepper.as_ref().unwrap().expose(), "salt, pepper and mace");
    assert_eq!((password.threads, password.queue), (Some(2), 7));
    assert_eq!(password.context_words, ["authv2", "acme"]);
    let throttle = &config.throttle;
    assert_eq!((throttle.pair_limit, throttle.account_limit, throttle.network_limit), (5, 6, 7));
    assert_eq!((throttle.window, throttle.known_network_ttl), (Duration::from_secs(60), Duration::ZERO));
    let limits = &config.limits;
    assert_eq!((limits.network_per_minute, limits.user_per_minute), (600, 500));
    assert_eq!((limits.organization_per_minute, limits.key_per_minute), (400, 300));
    assert_eq!((limits.local_share, limits.leases, limits.memory_bytes), (50, true, 1024 * 1024));
    assert!(!config.registration.open && config.registration.require_verified_email);
    check_good_mail(&config.mail);
    check_good_security(&config.security);
    let permissions = &config.permissions;
    assert_eq!((permissions.cache_bytes, permissions.stale_after_days), (1024 * 1024, 30));
    assert_eq!(permissions.audit_denials_per_minute, 0);
    assert_eq!((config.usage.keep_hours.as_secs(), config.usage.keep_days.as_secs()), (86_400, 172_800));
    assert!(config.cookies.insecure);
    let trusted: Vec<_> = config.proxy.trusted.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.proxy.header, "x-real-ip");
    assert_eq!(config.unused, UNUSED.map(|(name, ..)| name));
}

fn check_good_mail(mail: &MailConfig) {
    assert_eq!((&mail.sink, &mail.templates), (&Some("mails".into()), &Some("templates".into())));
    assert_eq!(mail.from.as_deref(), Some("Ada <ada@example.org>"));
    assert_eq!((mail.link.as_str(), mail.language.as_str()), ("https://a.example/{purpose}?token={token}", "de-ch"));
    assert_eq!((mail.smtp.port, mail.smtp.tls, &mail.smtp.host), (Some(2525), SmtpTls::DangerPlain, &None));
    assert_eq!(mail.smtp.username.as_deref(), Some("mailer"));
    assert_eq!(mail.smtp.password.as_ref().unwrap().expose(), "let me out");
}

fn check_good_security(security: &SecurityConfig) {
    let thresholds = (security.stuffing_accounts, security.network_accounts, security.spraying_accounts);
    assert_eq!((thresholds, security.probing_denials), ((50, 6, 7), 0));
    let durations = [security.window, security.pressure, security.stranger_wait, security.block_for];
    assert_eq!(durations.map(|duration| duration.as_secs()), [60, 90, 3, 30]);
    assert_eq!((security.dormant_after.as_secs(), security.keep_events.as_secs()), (DAY, DAY));
    assert_eq!(security.breached_passwords_file, Some("breached.txt".into()));
    assert!(security.webhook_secret.as_ref().unwrap().expose().starts_with("whsec_Mf"));
    assert_eq!(security.webhook_severity, crate::store::Severity::High);
    use Reaction::{Block, Notify, Revoke, StepUp};
    let of_sign_ins = [security.on_credential_stuffing, security.on_password_spraying, security.on_brute_force];
    assert_eq!(of_sign_ins, [Notify, Notify, Block]);
    let of_places = [security.on_new_device, security.on_new_network, security.on_dormant_account_used];
    assert_eq!(of_places, [StepUp; 3]);
    assert_eq!([security.on_refresh_token_reused, security.on_permission_probing], [Revoke; 2]);
}

#[cfg(feature = "issuers")]
#[test]
fn a_webhook_is_https_and_has_a_key() {
    let url = ("AUTHV2_SECURITY__WEBHOOK_URL", "https://siem.example/hook");
    let secret = ("AUTHV2_SECURITY__WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert!(from_env(production(), &[url, secret]).is_ok());
    let plain = ("AUTHV2_SECURITY__WEBHOOK_URL", "http://127.0.0.1:1/");
    assert!(from_env(Config::development(), &[plain, secret]).is_ok());
    for (env, setting) in [
        (&[url][..], "security.webhook_secret: "),
        (&[plain, secret], "security.webhook_url: "),
        (&[url, ("AUTHV2_SECURITY__WEBHOOK_SECRET", "short")], "security.webhook_secret: "),
    ] {
        let problems = lines(from_env(production(), env));
        assert!(problems.len() == 1 && problems[0].starts_with(setting), "{problems:?}");
    }
}

#[test]
fn a_reaction_must_fit() {
    let problems = lines(from_env(Config::development(), &[("AUTHV2_SECURITY__ON_NEW_DEVICE", "block")]));
    assert_eq!(problems, ["security.on_new_device: this reaction does not fit"]);
}

#[test]
fn reads_every_setting_from_the_environment() {
    let env = GOOD.iter().chain(&UNUSED).map(|(name, value, _)| (variable_of(name), *value));
    check_good(&Config::load(Config::default(), None, env).unwrap());
}

#[test]
fn reads_every_setting_from_the_file() {
    let lines: Vec<_> = GOOD.iter().chain(&UNUSED).map(|(name, _, value)| format!("{name} = {value}")).collect();
    let file = File::with(&lines.join("\n"));
    check_good(&Config::load(Config::default(), Some(&file.0), NOTHING).unwrap());
}

#[cfg(feature = "redis")]
#[test]
fn reads_the_redis_from_either() {
    let mut env = GOOD.map(|(name, value, _)| (variable_of(name), value)).to_vec();
    env.push((variable_of("redis.url"), "rediss://a:1,b:2"));
    let config = Config::load(Config::default(), None, env).unwrap();
    assert_eq!(config.redis.url.unwrap().expose(), "rediss://a:1,b:2");
    let config = from_file("profile = 'development'\nredis.url = 'redis://:word@localhost'").unwrap();
    assert_eq!(config.redis.url.unwrap().expose(), "redis://:word@localhost");
}

#[cfg(not(feature = "redis"))]
#[test]
fn says_that_redis_is_not_compiled_in() {
    let problems = lines(from_env(Config::development(), &[("AUTHV2_REDIS__URL", "redis://localhost")]));
    assert_eq!(problems, ["redis.url: needs the crate feature `redis`, which is not compiled in"]);
}

#[test]
fn schema_and_reader_know_the_same_settings() {
    let mut known: Vec<_> = GOOD.iter().chain(&UNUSED).map(|(name, ..)| *name).collect();
    known.extend(["password.min_strength", "redis.url", "security.webhook_url", "mail.smtp.host", "issuers"]);
    known.sort_unstable();
    let settings = settings();
    assert_eq!(settings.keys().collect::<Vec<_>>(), known);
    for (name, property) in &settings {
        // A datetime is no setting's form: a name that the reader knows is complained of by form, not as unknown.
        let problems = lines(from_file(&format!("{name} = 1979-05-27")));
        assert!(problems.iter().any(|line| line.starts_with(&format!("{name}: "))), "{name}: {problems:?}");
        assert!(!problems.iter().any(|line| line.contains("unknown")), "{name}: {problems:?}");
        assert!(property.get("description").is_some(), "{name}");
    }
}

#[test]
fn schema_says_limits_defaults_and_refuses_unknown_names() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let session = &schema["properties"]["session"];
    assert_eq!(session["additionalProperties"], false);
    let max_per_user = &session["properties"]["max_per_user"];
    assert_eq!((&max_per_user["minimum"], &max_per_user["default"]), (&1.into(), &10.into()));
    assert_eq!(session["properties"]["over_limit"]["default"], "evict_oldest");
    assert_eq!(schema["properties"]["master_key"]["writeOnly"], true);
    assert!(!schema.to_string().contains("$ref"));
}

#[test]
fn documentation_has_every_setting_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(path).unwrap();
    for (name, property) in settings() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let default = match property.get("default") {
            None => "–".to_owned(),
            Some(Json::String(text)) => format!("`{text}`"),
            Some(Json::Array(values)) if values.is_empty() => "–".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let row = row.unwrap_or_else(|| panic!("{name} is not documented"));
        assert!(row.starts_with(&format!("| `{name}` | {default} |")), "{name}: {default} expected in {row}");
    }
}
