//! What is read of issuers, and what is refused.

use super::*;
use crate::config::{Config, ConfigErrors};

const GOOD: &str = r#"{"issuer":"https://idp.example/realms/shop","audiences":["api"],"organizations":["acme"]}"#;

fn read(json: &str) -> Result<Config, ConfigErrors> {
    Config::load(Config::development(), None, [("AUTHV2_ISSUERS", json)])
}

/// The issuer above with these members.
fn with(members: &str) -> String {
    format!("[{},{members}}}]", GOOD.trim_end_matches('}'))
}

fn problems(json: &str) -> Vec<String> {
    read(json).map_or_else(|errors| errors.to_string().lines().map(str::to_owned).collect(), |_| Vec::new())
}

#[test]
fn reads_every_setting_of_an_issuer() {
    let config = read(&with(
        r#""name":"shop","organization_claim":"org","organization_map":{"x":"acme"},"audience_claim":"client_id",
        "algorithms":["RS256"],"typ":["JWT","absent"],"required_claims":{"token_use":"access","azp":true,"v":["1","2"]},
        "roles_claim":"realm_access.roles","role_map":{"clerk":"seller"},"discovery":"https://idp.example/d?x=1",
        "ca_file":"ca.pem","leeway":1,"refresh_min":2,"refresh_max":3,"stale_if_error":0,"unknown_key_interval":4,
        "timeout":6"#,
    ));
    let issuer = config.unwrap().issuers.remove(0);
    assert_eq!((issuer.label(), issuer.issuer.as_str()), ("shop", "https://idp.example/realms/shop"));
    assert_eq!(issuer.audience_claim, ClaimPath::new("client_id"));
    assert_eq!((issuer.algorithms, issuer.typ), (vec![Algorithm::RS256], vec!["JWT".to_owned(), NO_TYPE.to_owned()]));
    assert_eq!(issuer.required_claims["azp"], RequiredClaim::Present);
    assert_eq!(issuer.required_claims["token_use"], RequiredClaim::OneOf(vec!["access".to_owned()]));
    assert_eq!(issuer.roles_claim, Some(ClaimPath::new("realm_access.roles")));
    assert_eq!((&*issuer.role_map["clerk"], &*issuer.organization_map["x"]), ("seller", "acme"));
    assert_eq!((issuer.ca_file, issuer.discovery.unwrap().len()), (Some("ca.pem".into()), 25));
    let seconds = [issuer.leeway, issuer.refresh_min, issuer.refresh_max, issuer.stale_if_error].map(|d| d.as_secs());
    assert_eq!(seconds, [1, 2, 3, 0]);
    assert_eq!([issuer.unknown_key_interval, issuer.timeout].map(|d| d.as_secs()), [4, 6]);
}

#[test]
fn defaults_are_the_strict_ones() {
    let issuer = read(&format!("[{GOOD}]")).unwrap().issuers.remove(0);
    assert_eq!((issuer.label(), issuer.typ.clone()), ("idp.example", vec!["at+jwt".to_owned()]));
    assert_eq!(issuer.audience_claim, ClaimPath::new("aud"));
    assert!(issuer.algorithms.iter().all(|algorithm| !algorithm.is_symmetric()));
    assert!(issuer.role_map.is_empty() && issuer.organization_claim.is_none());
}

#[test]
fn says_what_is_wrong_with_each_setting_of_each_issuer() {
    for (members, problem) in [
        (r#""audience":["api"]"#, "issuers.1.audience: unknown setting"),
        (r#""leeway":61"#, "issuers.1.leeway: must be a whole number of seconds from 0 to 60"),
        (r#""timeout":"x""#, "issuers.1.timeout: must be a whole number of seconds from 1 to 30"),
        (
            r#""algorithms":["HS256"]"#,
            "issuers.1.algorithms: a shared secret proves nothing: whoever verifies by it can sign",
        ),
        (r#""algorithms":[]"#, "issuers.1.algorithms: must be set: without any, no token passes"),
        (r#""typ":[]"#, "issuers.1.typ: must be set: write `absent` for tokens without one"),
        (r#""refresh_max":5"#, "issuers.1.refresh_min: must not be over refresh_max"),
        (
            r#""required_claims":{"a":false}"#,
            "issuers.1.required_claims.a: expected a text, a list of texts, or `true` for any value",
        ),
        (r#""roles_claim":"roles""#, "issuers.1.role_map: roles_claim and role_map need each other"),
        (r#""role_map":{"a":"b"}"#, "issuers.1.role_map: roles_claim and role_map need each other"),
        (r#""roles_claim":"r","role_map":{"a":"B!"}"#, "issuers.1.role_map: expected names of roles as values"),
        (
            r#""organization_claim":"o","organization_map":{"a":"other"}"#,
            "issuers.1.organization_map: names one that is not among organizations",
        ),
        (r#""organization_map":{"a":"acme"}"#, "issuers.1.organization_map: has no effect without organization_claim"),
        (r#""discovery":"https://a/d","jwks_uri":"https://a/j""#, "issuers.1.discovery: has no effect beside jwks_uri"),
        (r#""name":"""#, "issuers.1.name: is empty; leave it out instead"),
        (r#""name":"a b""#, "issuers.1.name: expected 1 to 64 letters, digits, `.`, `:`, `-` or `_`"),
    ] {
        assert_eq!(problems(&with(members)), [problem]);
    }
    let url = "expected an https URL without user name and fragment, or in development http on loopback";
    for jwks_uri in
        ["http://a.example/j", "ftp://a/j", "https://u:p@a/j", "https://a/j#x", "file:///j", "https://", "/j"]
    {
        let line = format!("issuers.1.jwks_uri: {url}");
        assert_eq!(problems(&with(&format!(r#""jwks_uri":"{jwks_uri}""#))), [line], "{jwks_uri}");
    }
    assert_eq!(problems("[{}]").len(), 3);
    assert_eq!(problems(&format!("[{GOOD},{GOOD}]")), ["issuers.2.issuer: another entry has it too"]);
    assert_eq!(
        problems(r#"["x"]"#),
        ["issuers: expected a table with `issuer`, `audiences`, `organizations` at entry 1"]
    );
}

#[test]
fn several_organizations_need_a_claim_that_tells_them_apart() {
    let both = GOOD.replace(r#"["acme"]"#, r#"["acme","beta"]"#);
    let missing = ["issuers.1.organization_claim: must be set: needed to tell several organizations apart"];
    assert_eq!(problems(&format!("[{both}]")), missing);
    assert!(problems(&format!("[{}]", both.replace("}", r#","organization_claim":"org"}"#))).is_empty());
}

#[test]
fn plain_http_is_for_loopback_in_development_alone() {
    let json = |host: &str| format!("[{}]", GOOD.replace("https://idp.example", &format!("http://{host}")));
    for (host, is_good) in [("127.0.0.1:9", true), ("localhost", true), ("[::1]:9", true), ("idp.example", false)] {
        assert_eq!(problems(&json(host)).is_empty(), is_good, "{host}");
    }
    let issuers = read(&json("localhost")).unwrap().issuers;
    let production = Config { issuers, ..Config::default() };
    assert!(production.validate().unwrap_err().to_string().contains("issuers.1.issuer: expected an https URL"));
}

#[test]
fn this_deployment_is_no_issuer_elsewhere() {
    let own = "https://idp.example/realms/shop";
    let config = Config { issuer: Some(own.to_owned()), ..read(&format!("[{GOOD}]")).unwrap() };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "issuers.1.issuer: this deployment's own tokens are verified otherwise"
    );
}

#[test]
fn documentation_has_every_setting_of_an_issuer() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let schema = crate::config::schema();
    let properties = schema["properties"]["issuers"]["items"]["properties"].as_object().unwrap();
    assert_eq!(properties.len(), 21);
    for name in properties.keys() {
        assert!(page.lines().any(|line| line.starts_with(&format!("| `issuers.{name}` |"))), "{name}");
    }
}
