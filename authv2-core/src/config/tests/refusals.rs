//! What stops the start, and what it says.

use super::*;
use crate::user::password::hasher::{Argon2Params, PasswordHasher};

#[test]
fn lists_every_problem_in_one_go() {
    let file =
        File::with("liste = 1\n[session]\nmax_per_user = 0\nidle_ttl = 'long'\n[tokens]\nleeway = 61\n[nosuch]\n");
    let env = [
        ("AUTHV2_SESION__IDLE_TTL", "1"),
        ("AUTHV2_STORE__URL", "mysql://localhost"),
        ("AUTHV2_PROXY__TRUSTED", "10.0.0.0/8,10.0.0.0/33,proxy"),
        ("AUTHV2_COOKIES__INSECURE", "yes"),
        ("PATH", "/bin"),
    ];
    let problems = lines(Config::load(Config::default(), Some(&file.0), env));
    let expected = [
        "session.idle_ttl: must be a whole number of seconds from 1 to 34560000",
        "cookies.insecure: expected `true` or `false`",
        "proxy.trusted: expected an address or a network in CIDR notation at entries 2, 3",
        "liste: unknown setting",
        "nosuch: unknown setting",
        "sesion.idle_ttl: unknown setting, in the environment variable AUTHV2_SESION__IDLE_TTL",
        "tokens.leeway: must be a whole number of seconds from 0 to 60",
        "session.max_per_user: must be a whole number from 1 to 10000",
        "issuer: must be set: the production profile needs the https URL of this service",
        "master_key: must be set: the production profile needs it, or an existing master_key_file",
        "store.url: expected a URL that starts with `sqlite:` or `postgres:`",
    ];
    for line in expected {
        assert!(problems.iter().any(|problem| problem == line), "{line} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn names_what_is_wrong_with_each_setting() {
    for (setting, value, message) in [
        ("profile", "staging", "expected one of"),
        ("listen", "localhost", "expected an address and port"),
        ("issuer", "id.example.com", "expected an https or http URL"),
        ("issuer", "https://id.example.com/", "trailing slash"),
        ("issuer", "https://id.example.com?x=1", "query"),
        ("issuer", "https://id.example.com#x", "fragment"),
        ("issuer", "ftp://id.example.com", "https"),
        ("issuer", "", "is empty"),
        ("allowed_origins", "https://a.example,https://b.example/", "at entry 2"),
        ("allowed_origins", "[1", "expected a list"),
        ("master_key", "AAEC", "exactly 32 bytes"),
        ("master_key", "not base64 at all!", "exactly 32 bytes"),
        ("store.migrate", "maybe", "expected `true` or `false`"),
        ("store.max_connections", "0", "from 1 to 10000"),
        ("store.acquire_timeout", "5s", "of seconds from 1 to 20"),
        ("store.write_queue", "-1", "from 1 to"),
        ("store.pooler", "session", "expected one of"),
        ("store.migrate_url", "file.db", "starts with `sqlite:`"),
        ("tokens.alg", "none", "expected one of"),
        ("tokens.alg", "eddsa", "expected one of"),
        ("tokens.access_ttl", "0", "from 1 to 86400"),
        ("tokens.access_ttl", "86401", "from 1 to 86400"),
        ("tokens.jwks_max_age", "86401", "from 0 to 86400"),
        ("tokens.leeway", "61", "from 0 to 60"),
        ("tokens.rotation_interval", "899", "must be 0, or at least"),
        ("tokens.alg", "ES512", "expected one of `EdDSA`, `ES256`"),
        ("session.max_per_user", "0", "from 1 to"),
        ("session.max_per_user", "99999999999999999999", "from 1 to"),
        ("session.over_limit", "evict", "expected one of"),
        ("session.idle_ttl", "2592001", "session.absolute_ttl"),
        ("session.refresh_grace", "61", "from 0 to 60"),
        ("password.memory_kib", "7", "from 8 to"),
        ("password.memory_kib", "1048577", "from 8 to 1048576"),
        ("password.iterations", "0", "from 1 to"),
        ("password.parallelism", "0", "from 1 to"),
        ("password.iterations", "216", "at most 4194304 KiB"),
        ("password.pepper", "", "is empty"),
        ("password.pepper", "15 bytes, short", "at least 16 bytes"),
        ("password.threads", "0", "from 1 to"),
        ("password.queue", "0", "from 1 to"),
        ("password.context_words", "a,,b", "at entry 2"),
        ("password.min_strength", "5", "from 0 to 4"),
        ("throttle.pair_limit", "0", "from 1 to"),
        ("throttle.account_limit", "9", "throttle.pair_limit"),
        ("usage.keep_days", "86400", "usage.keep_hours"),
        ("throttle.network_limit", "9", "throttle.pair_limit"),
        ("throttle.window", "0", "from 1 to"),
        ("throttle.known_network_ttl", "x", "of seconds"),
        ("registration.open", "", "`true` or `false`"),
        ("mail.from", "Ada", "an e-mail address"),
        ("mail.link", "https://a.example/verify", "`{token}`"),
        ("mail.link", "/#{token}", "a URL"),
        ("mail.language", "DE", "in lower case"),
        ("mail.smtp.port", "65536", "from 1 to 65535"),
        ("mail.smtp.tls", "ssl", "expected one of"),
        ("proxy.header", "x forwarded", "the name of a header"),
        ("redis.url", "localhost", if cfg!(feature = "redis") { "redis://" } else { "`redis`" }),
        ("redis.mode", "ring", "expected one of"),
        ("redis.key_prefix", "a{b}", "1 to 64 letters"),
        ("redis.key_prefix", "a*", "1 to 64 letters"),
        ("redis.timeout_ms", "0", "from 1 to 10000"),
        ("redis.timeout_ms", "10001", "from 1 to 10000"),
        ("forward.login_url", "login", "or a path"),
        ("forward.rules", "[1]", "expected a table at entry 1"),
        ("forward.unmatched", "allow", "expected one of"),
    ] {
        let problems = lines(from_env(Config::development(), &[(&variable_of(setting), value)]));
        assert_eq!(problems.len(), 1, "{setting}: {problems:?}");
        assert!(problems[0].starts_with(&format!("{setting}: ")), "{problems:?}");
        assert!(problems[0].contains(message), "{message} is not in {problems:?}");
    }
}

#[test]
fn lanes_need_their_memory() {
    let env = [("AUTHV2_PASSWORD__MEMORY_KIB", "8"), ("AUTHV2_PASSWORD__PARALLELISM", "2")];
    assert_eq!(
        lines(from_env(Config::development(), &env)),
        ["password.memory_kib: must be at least 8 KiB for each lane"]
    );
}

#[test]
fn a_hash_takes_as_much_work_as_the_hasher_does_and_no_more() {
    for (memory, iterations) in [("1048576", "4"), ("4194", "1000")] {
        let env = [("AUTHV2_PASSWORD__MEMORY_KIB", memory), ("AUTHV2_PASSWORD__ITERATIONS", iterations)];
        let config = from_env(Config::development(), &env).unwrap();
        let Config { password: PasswordConfig { memory_kib, iterations, parallelism, .. }, .. } = config;
        assert!(PasswordHasher::new(Argon2Params { memory_kib, iterations, parallelism }).is_ok());
    }
    for env in [
        [("AUTHV2_PASSWORD__MEMORY_KIB", "1048576"), ("AUTHV2_PASSWORD__ITERATIONS", "5")],
        [("AUTHV2_PASSWORD__MEMORY_KIB", "4195"), ("AUTHV2_PASSWORD__ITERATIONS", "1000")],
    ] {
        let problems = lines(from_env(Config::development(), &env));
        assert_eq!(problems, ["password.iterations: times password.memory_kib must be at most 4194304 KiB (4 GiB)"]);
    }
}

#[test]
fn the_first_administrator_needs_both_halves() {
    let half = lines(from_env(Config::development(), &[("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.com")]));
    assert!(half[0].starts_with("bootstrap_admin.password: must be set"), "{half:?}");
    let half = lines(from_env(Config::development(), &[("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", "correct horse")]));
    assert!(half[0].starts_with("bootstrap_admin.email: must be set"), "{half:?}");
    let env = [("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root"), ("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", "short")];
    let both = lines(from_env(Config::development(), &env));
    let expected =
        ["bootstrap_admin.email: expected an e-mail address", "bootstrap_admin.password: expected 8 to 256 characters"];
    assert_eq!(both, expected);
}

#[test]
fn production_refuses_what_would_expose_users() {
    for (setting, value, message) in [
        ("cookies.insecure", "true", "in the clear"),
        ("issuer", "http://id.example.com", "https issuer"),
        ("allowed_origins", "*", "every site"),
        ("allowed_origins", "https://a.example,http://a.example", "an http origin"),
        ("password.memory_kib", "19455", "OWASP"),
        ("password.iterations", "1", "OWASP"),
        ("proxy.trusted", "10.0.0.0/8,0.0.0.0/0", "any address"),
        ("proxy.trusted", "::/0", "any address"),
        ("mail.sink", "mails", "nobody gets mail"),
        ("mail.link", "http://a.example/#{token}", "on the way"),
        ("mail.smtp.tls", "danger_plain", "the network"),
    ] {
        let env = [(variable_of(setting), value)];
        let problems = lines(Config::load(production(), None, env.clone()));
        assert_eq!(problems.len(), 1, "{problems:?}");
        let blamed = if setting == "password.iterations" { "password.memory_kib" } else { setting };
        assert!(problems[0].starts_with(&format!("{blamed}: refused in the production profile")), "{problems:?}");
        assert!(problems[0].contains(message), "{problems:?}");

        let development = Config { profile: Profile::Development, ..production() };
        assert!(Config::load(development, None, env).is_ok(), "{setting}");
    }
}

#[test]
fn production_refuses_a_store_that_forgets() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory", "sqlite://"] {
        let problems = lines(from_env(production(), &[("AUTHV2_STORE__URL", url)]));
        assert!(problems[0].starts_with("store.url: refused in the production profile"), "{url}: {problems:?}");
        assert!(from_env(Config::development(), &[("AUTHV2_STORE__URL", url)]).is_ok(), "{url}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn refuses_to_migrate_through_a_pooler() {
    let pooled = [("AUTHV2_STORE__URL", "postgres://pooler/db"), ("AUTHV2_STORE__POOLER", "transaction")];
    let problems = lines(from_env(Config::development(), &pooled));
    assert!(problems.len() == 1 && problems[0].starts_with("store.pooler: migrations go around it"), "{problems:?}");
    for way_out in [("AUTHV2_STORE__MIGRATE_URL", "postgres://server/db"), ("AUTHV2_STORE__MIGRATE", "false")] {
        assert!(from_env(Config::development(), &[pooled[0], pooled[1], way_out]).is_ok(), "{way_out:?}");
    }
}

#[test]
fn production_accepts_the_equivalents_of_owasps_minimum() {
    for (memory, iterations) in [("47104", "1"), ("19456", "2"), ("12288", "3"), ("9216", "4"), ("7168", "5")] {
        let env = [("AUTHV2_PASSWORD__MEMORY_KIB", memory), ("AUTHV2_PASSWORD__ITERATIONS", iterations)];
        assert!(from_env(production(), &env).is_ok(), "{memory} {iterations}");
    }
    let env = [("AUTHV2_PASSWORD__MEMORY_KIB", "7167"), ("AUTHV2_PASSWORD__ITERATIONS", "100")];
    assert!(from_env(production(), &env).is_err());
}

#[test]
fn production_takes_a_key_file_only_if_it_exists() {
    let file = File::with("key");
    let with = |path: PathBuf| Config { master_key: None, master_key_file: Some(path), ..production() };
    assert!(with(file.0.clone()).validate().is_ok());
    let errors = with("/nonexistent/key".into()).validate().unwrap_err();
    assert_eq!(errors.problems()[0].setting(), "master_key_file");
}

#[test]
fn the_profile_only_turns_on_checks() {
    let problems = lines(from_env(Config::development(), &[("AUTHV2_PROFILE", "production")]));
    let blamed: Vec<_> = problems.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(blamed, ["issuer", "master_key", "cookies.insecure"]);
}

#[test]
fn names_the_feature_that_strength_needs() {
    let result = from_env(Config::development(), &[("AUTHV2_PASSWORD__MIN_STRENGTH", "3")]);
    if cfg!(feature = "zxcvbn") {
        assert_eq!(result.unwrap().password.min_strength, Some(3));
    } else {
        let line = "password.min_strength: needs the crate feature `zxcvbn`, which is not compiled in";
        assert_eq!(lines(result), [line]);
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_redis_must_be_one_that_can_be_entered() {
    for (settings, message) in [
        ("url = 'redis://a,b'", "redis.mode: redis.url names several nodes"),
        ("url = 'redis://a'\nmode = 'sentinel'", "redis.sentinel_master: must be set"),
        ("url = 'redis://a'\nsentinel_master = 'main'", "redis.sentinel_master: needs redis.mode"),
        ("url = 'redis://a'\nusername = 'node'", "redis.password: must be set"),
        ("url = 'redis://a'\nca_file = 'ca.pem'", "redis.ca_file: redis.url asks for no TLS"),
        ("url = 'redis://a/1'\nmode = 'cluster'", "redis.url: names a database"),
    ] {
        let problems = lines(from_file(&format!("profile = 'development'\n[redis]\n{settings}")));
        assert_eq!(problems.len(), 1, "{settings}: {problems:?}");
        assert!(problems[0].starts_with(message), "{problems:?}");
    }
}

#[test]
fn mails_go_to_one_place_and_travel_under_tls() {
    let host = ("AUTHV2_MAIL__SMTP__HOST", "mail.example.org");
    let from = ("AUTHV2_MAIL__FROM", "ada@example.org");
    let problems_of = |env: &[(&str, &str)]| lines(from_env(Config::development(), env));
    for (env, problem) in [
        (&[host][..], "mail.from: must be set"),
        (&[host, from, ("AUTHV2_MAIL__SINK", "mails")], "mail.sink: mail.smtp.host is set as well"),
        (&[host, from, ("AUTHV2_MAIL__SMTP__TLS", "none")], "mail.smtp.tls: mails to another machine"),
        (&[("AUTHV2_MAIL__SMTP__USERNAME", "mailer")], "mail.smtp.password: must be set"),
        (&[("AUTHV2_MAIL__SMTP__PASSWORD", "let me out")], "mail.smtp.username: must be set"),
    ] {
        let problems: Vec<_> =
            problems_of(env).into_iter().filter(|problem| !problem.contains("feature `smtp`")).collect();
        assert!(problems.len() == 1 && problems[0].starts_with(problem), "{problem} is not all of {problems:?}");
    }
    let unsent: &[&str] = if cfg!(feature = "smtp") {
        &[]
    } else {
        &["mail.smtp.host: needs the crate feature `smtp`, which is not compiled in"]
    };
    for (host, tls) in [
        ("mail.example.org", "starttls"),
        ("mail.example.org", "danger_plain"),
        ("localhost", "none"),
        ("127.0.0.1", "none"),
        ("::1", "none"),
    ] {
        let env = [("AUTHV2_MAIL__SMTP__HOST", host), from, ("AUTHV2_MAIL__SMTP__TLS", tls)];
        let problems = from_env(Config::development(), &env).map_or_else(|error| lines(Err(error)), |_| Vec::new());
        assert_eq!(problems, unsent, "{host} {tls}");
    }
}
