//! Sessions bound to a key (DPoP, RFC 9449): what the key's holder may do, and that nobody else may.

use authv2_tests::client::{Answer, Api};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    dpop_client::{Key, claims_of, dpop, new_key, now, proof, sign_in_with},
    fixture::{
        ADA, Browser, Deployment, PASSWORD, Store, Tokens, assert_problem, get, is_live, login, on_each_store, post,
        quick, refresh, register, send, sign_up, start,
    },
};

on_each_store!(
    tokens_of_a_bound_session_name_its_key,
    a_proof_is_used_once,
    a_bound_session_is_refreshed_by_its_key_alone,
);

/// `POST /auth/refresh` with a proof of `key`.
async fn refresh_with(api: &Api, key: &Key, base: &str, token: &str) -> Answer {
    let request = api.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": token}));
    send(request.header("dpop", proof(key, "POST", &format!("{base}/auth/refresh"), None))).await
}

/// `GET` of a path with a bound token and a fresh proof.
async fn call(deployment: &Deployment, key: &Key, path: &str, token: &str) -> Answer {
    send(dpop(&deployment.api, key, Method::GET, deployment.server.url(), path, token)).await
}

fn assert_challenge(answer: &Answer, error: &str) {
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert!(
        challenge.contains(&format!("error=\"{error}\"")) && challenge.contains("algs=\"EdDSA ES256"),
        "{challenge}"
    );
}

async fn tokens_of_a_bound_session_name_its_key(store: Store) {
    let deployment = store.deploy(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let signed_in = sign_in_with(api, &key, base, ADA).await;
    assert_eq!(signed_in.string("/token_type"), "DPoP", "{}", signed_in.text);
    let tokens = Tokens::of(&signed_in);
    assert_eq!(claims_of(&tokens.access)["cnf"], json!({"jkt": key.thumbprint()}));
    // The contract's own calls and the application's routes behind the layer.
    for path in ["/auth/me", "/private", "/hello"] {
        assert_eq!(call(&deployment, &key, path, &tokens.access).await.status, 200, "{path}");
    }
    let founded = dpop(api, &key, Method::POST, base, "/auth/orgs", &tokens.access);
    assert_eq!(send(founded.json(&json!({"slug": "mine", "name": "Mine"}))).await.status, 201);
    let switch = dpop(api, &key, Method::POST, base, "/auth/session/switch", &tokens.access);
    let switched = send(switch.json(&json!({"organization": "mine"}))).await;
    assert_eq!((switched.status, switched.string("/token_type")), (200, "DPoP"), "{}", switched.text);
    let renewed = refresh_with(api, &key, base, &tokens.refresh).await;
    assert_eq!((renewed.status, renewed.string("/token_type")), (200, "DPoP"), "{}", renewed.text);
    for answer in [&switched, &renewed] {
        let token = answer.string("/access_token");
        assert_eq!(claims_of(token)["cnf"], json!({"jkt": key.thumbprint()}));
        assert_eq!(call(&deployment, &key, "/auth/me", token).await.status, 200);
        assert_problem(&get(api, "/auth/me", token).await, 401, "invalid_token");
    }
    let logout = dpop(api, &key, Method::POST, base, "/auth/logout", &tokens.access);
    assert_eq!(send(logout).await.status, 204);
    let ended = call(&deployment, &key, "/auth/me", &tokens.access).await;
    assert_problem(&ended, 401, "invalid_token");
    assert_challenge(&ended, "invalid_token");
}

#[tokio::test]
async fn a_bound_token_is_worth_nothing_without_its_key() {
    let deployment = start(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    let unbound = sign_up(api, ADA).await;
    let bound = Tokens::of(&sign_in_with(api, &key, base, ADA).await);
    for path in ["/auth/me", "/private", "/hello"] {
        let by = |scheme: &str, token: &str| {
            api.request(Method::GET, path).header("authorization", format!("{scheme} {token}"))
        };
        let proven = |request: RequestBuilder, key: &Key, token: &str| {
            request.header("dpop", proof(key, "GET", &format!("{base}{path}"), Some(token)))
        };
        // As a bearer token, with a proof beside it or without: the challenge names the scheme that is wanted.
        for request in [by("Bearer", &bound.access), proven(by("Bearer", &bound.access), &key, &bound.access)] {
            let answer = send(request).await;
            assert_problem(&answer, 401, "invalid_token");
            let lines: Vec<_> =
                answer.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect();
            assert!(lines[0].starts_with("Bearer ") && lines[0].contains("error=\"invalid_token\""), "{lines:?}");
            assert!(lines[1].starts_with("DPoP ") && lines[1].contains("algs="), "{lines:?}");
        }
        let alone = send(by("DPoP", &bound.access)).await;
        assert_problem(&alone, 401, "invalid_dpop_proof");
        assert_challenge(&alone, "invalid_dpop_proof");
        // With a good proof of somebody else's key, and an unbound token with a good proof.
        let others = send(proven(by("DPoP", &bound.access), &new_key(), &bound.access)).await;
        let not_bound = send(proven(by("DPoP", &unbound.access), &key, &unbound.access)).await;
        for answer in [others, not_bound] {
            assert_problem(&answer, 401, "invalid_token");
            assert_challenge(&answer, "invalid_token");
        }
        // A bearer token that nobody bound is one still, whatever comes with it.
        assert_eq!(send(proven(by("Bearer", &unbound.access), &key, &unbound.access)).await.status, 200, "{path}");
        assert_eq!(send(proven(by("dpop", &bound.access), &key, &bound.access)).await.status, 200, "{path}");
    }
    let nobody = get(api, "/auth/me", "").await;
    assert_problem(&nobody, 401, "unauthenticated");
    assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"authv2\"");
}

#[tokio::test]
async fn a_proof_is_for_its_request_only() {
    let deployment = start(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let token = Tokens::of(&sign_in_with(api, &key, base, ADA).await).access;
    let good = key.claims("GET", &format!("{base}/private"), Some(&token));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.prove(&claims)
    };
    let request = || api.request(Method::GET, "/private?page=2").header("authorization", format!("DPoP {token}"));
    for (proof, why) in [
        (with("htm", json!("POST")), "another method"),
        (with("htu", json!(format!("{base}/hello"))), "another path"),
        (with("htu", json!("https://elsewhere.example/private")), "another origin"),
        (with("ath", json!("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")), "another token"),
        (with("ath", Value::Null), "no token"),
        (with("iat", json!(now() - 100)), "an old one"),
        (with("iat", json!(now() + 100)), "one of the future"),
        (with("jti", json!("")), "no name"),
        (good.to_string(), "no signature"),
        (key.prove_as("JWT", &good), "another type"),
        (token.clone(), "no proof at all"),
        (String::new(), "nothing"),
    ] {
        let answer = send(request().header("dpop", proof)).await;
        assert_problem(&answer, 401, "invalid_dpop_proof");
        assert_challenge(&answer, "invalid_dpop_proof");
        assert!(!answer.string("/detail").is_empty(), "{why}");
    }
    let twice = request().header("dpop", key.prove(&good)).header("dpop", with("jti", json!("another")));
    assert_problem(&send(twice).await, 401, "invalid_dpop_proof");
    // Query and fragment do not count, nor does how the address is spelt.
    let (_, port) = base.rsplit_once(':').unwrap();
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"] {
        let mut claims = good.clone();
        (claims["htu"], claims["jti"]) = (json!(format!("HTTP://{host}:{port}/%70rivate?a=b#c")), json!(host));
        assert_eq!(send(request().header("dpop", key.prove(&claims))).await.status, 200, "{host}");
    }
}

async fn a_proof_is_used_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let token = Tokens::of(&sign_in_with(api, &key, base, ADA).await).access;
    let made = proof(&key, "GET", &format!("{base}/private"), Some(&token));
    let request = || {
        let request = api.request(Method::GET, "/private").header("authorization", format!("DPoP {token}"));
        send(request.header("dpop", &made))
    };
    assert_eq!(request().await.status, 200);
    for _ in 0..2 {
        let again = request().await;
        assert_problem(&again, 401, "invalid_dpop_proof");
        assert_challenge(&again, "invalid_dpop_proof");
    }
    // A sign-in uses its proof up as well.
    let made = proof(&key, "POST", &format!("{base}/auth/login"), None);
    let sign_in = || {
        let request = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
        send(request.header("dpop", &made))
    };
    let (one, two) = tokio::join!(sign_in(), sign_in());
    let (good, bad) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(good.status, 200, "{}", good.text);
    assert_problem(&bad, 401, "invalid_dpop_proof");
}

async fn a_bound_session_is_refreshed_by_its_key_alone(store: Store) {
    let deployment = store.deploy(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let first = Tokens::of(&sign_in_with(api, &key, base, ADA).await);
    let renewed = refresh_with(api, &key, base, &first.refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    // Neither the used token, within its grace, nor the next one is good for anybody else.
    for stolen in [&*first.refresh, renewed.string("/refresh_token")] {
        let bare = refresh(api, stolen).await;
        assert_problem(&bare, 401, "invalid_dpop_proof");
        assert_challenge(&bare, "invalid_dpop_proof");
        assert_problem(&refresh_with(api, &new_key(), base, stolen).await, 401, "invalid_refresh_token");
        let for_another = api.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": stolen}));
        let for_another = for_another.header("dpop", proof(&key, "POST", &format!("{base}/auth/login"), None));
        assert_problem(&send(for_another).await, 401, "invalid_dpop_proof");
    }
    assert!(call(&deployment, &key, "/auth/me", &first.access).await.status == 200, "the session goes on");
    let again = refresh_with(api, &key, base, &first.refresh).await;
    assert_eq!(again.string("/refresh_token"), renewed.string("/refresh_token"), "{}", again.text);
    let made = proof(&key, "POST", &format!("{base}/auth/refresh"), None);
    let with_it = |token: &str| {
        let request = api.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": token}));
        send(request.header("dpop", &made))
    };
    let next = with_it(renewed.string("/refresh_token")).await;
    assert_eq!(next.status, 200, "{}", next.text);
    assert_problem(&with_it(next.string("/refresh_token")).await, 401, "invalid_dpop_proof");
    assert_eq!(refresh_with(api, &key, base, next.string("/refresh_token")).await.status, 200, "it was not used up");
    // Who holds a token of a session may end it (RFC 7009), with the key or without.
    let ended = post(api, "/auth/logout", "", json!({"refresh_token": first.refresh})).await;
    assert_eq!(ended.status, 204, "{}", ended.text);
}

#[tokio::test]
async fn the_token_endpoint_refreshes_a_bound_session_by_its_key_alone() {
    const PATH: &str = "/auth/oauth/token";
    let deployment = start(quick().with("AUTHV2_DPOP__NONCE", "required")).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let nonce = sign_in_with(api, &key, base, ADA).await.header("dpop-nonce").to_owned();
    let proof = |key: &Key, path: &str, nonce: Option<&str>| {
        let mut claims = key.claims("POST", &format!("{base}{path}"), None);
        claims["nonce"] = json!(nonce);
        key.prove(&claims)
    };
    let sign_in = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
    let signed_in = send(sign_in.header("dpop", proof(&key, "/auth/login", Some(&nonce)))).await;
    let token = Tokens::of(&signed_in).refresh;
    let request = || {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        api.request(Method::POST, PATH).header("content-type", "application/x-www-form-urlencoded").body(form)
    };
    for (request, error) in [
        (request(), "invalid_dpop_proof"),
        (request().header("dpop", proof(&key, "/auth/login", Some(&nonce))), "invalid_dpop_proof"),
        (request().header("dpop", proof(&key, PATH, None)), "use_dpop_nonce"),
        (request().header("dpop", proof(&new_key(), PATH, Some(&nonce))), "invalid_grant"),
    ] {
        let answer = send(request).await;
        assert_eq!((answer.status, answer.string("/error")), (400, error), "{}", answer.text);
        let came_with_a_proof = !answer.string("/error_description").contains("bound to a key");
        assert_eq!(!answer.header("dpop-nonce").is_empty(), came_with_a_proof, "{}", answer.text);
    }
    let renewed = send(request().header("dpop", proof(&key, PATH, Some(&nonce)))).await;
    assert_eq!((renewed.status, renewed.string("/token_type")), (200, "DPoP"), "{}", renewed.text);
    assert_eq!(claims_of(renewed.string("/access_token"))["cnf"], json!({"jkt": key.thumbprint()}));
}

#[tokio::test]
async fn a_session_is_bound_when_it_is_opened_or_never() {
    let deployment = start(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    let unbound = sign_up(api, ADA).await;
    let renewed = refresh_with(api, &key, base, &unbound.refresh).await;
    assert_eq!((renewed.status, renewed.string("/token_type")), (200, "Bearer"), "{}", renewed.text);
    assert!(claims_of(renewed.string("/access_token")).get("cnf").is_none());
    assert!(is_live(api, renewed.string("/access_token")).await);

    let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
    let cookie = api.request(Method::POST, "/auth/login").json(&body);
    let cookie = cookie.header("dpop", proof(&key, "POST", &format!("{base}/auth/login"), None));
    assert_problem(&send(cookie).await, 400, "malformed_request");
    let bad = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
    assert_problem(&send(bad.header("dpop", "nonsense")).await, 401, "invalid_dpop_proof");
    let (browser, _) = Browser::sign_in(api, ADA).await;
    let answer = send(browser.request(Method::GET, "/private").header("dpop", "nonsense")).await;
    assert_eq!(answer.status, 200, "a cookie needs no proof");
}

#[tokio::test]
async fn bound_sessions_can_be_required() {
    let deployment = start(quick().with("AUTHV2_DPOP__REQUIRED", "true")).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let refused = login(api, ADA, PASSWORD).await;
    assert_problem(&refused, 401, "invalid_dpop_proof");
    assert_challenge(&refused, "invalid_dpop_proof");
    let token = Tokens::of(&sign_in_with(api, &key, base, ADA).await).access;
    assert_eq!(call(&deployment, &key, "/private", &token).await.status, 200);
    Browser::sign_in(api, ADA).await;
}

#[tokio::test]
async fn a_nonce_is_given_out_and_asked_for_where_the_settings_say_so() {
    let deployment = start(quick().with("AUTHV2_DPOP__NONCE", "required")).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let sign_in = |nonce: Option<&str>| {
        let mut claims = key.claims("POST", &format!("{base}/auth/login"), None);
        claims["nonce"] = json!(nonce);
        let request = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
        send(request.header("dpop", key.prove(&claims)))
    };
    let mut nonce = String::new();
    for wrong in [None, Some("made-up")] {
        let asked = sign_in(wrong).await;
        assert_problem(&asked, 401, "use_dpop_nonce");
        assert_challenge(&asked, "use_dpop_nonce");
        assert_eq!(asked.headers.get_all("dpop-nonce").iter().count(), 1);
        nonce = asked.header("dpop-nonce").to_owned();
    }
    assert!(nonce.len() >= 22, "{nonce}");
    let signed_in = sign_in(Some(&nonce)).await;
    let token = Tokens::of(&signed_in).access;
    assert!(!signed_in.header("dpop-nonce").is_empty(), "the next one comes with every answer");
    for path in ["/auth/me", "/private"] {
        let call = |nonce: Option<&str>| {
            let mut claims = key.claims("GET", &format!("{base}{path}"), Some(&token));
            claims["nonce"] = json!(nonce);
            let request = api.request(Method::GET, path).header("authorization", format!("DPoP {token}"));
            send(request.header("dpop", key.prove(&claims)))
        };
        let asked = call(None).await;
        assert_problem(&asked, 401, "use_dpop_nonce");
        assert_eq!(asked.headers.get_all("dpop-nonce").iter().count(), 1, "{path}");
        let answer = call(Some(asked.header("dpop-nonce"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.header("dpop-nonce").is_empty(), "{path}");
    }
    // Who does not speak DPoP hears nothing of it.
    let bearer = login(api, ADA, PASSWORD).await;
    assert_eq!((bearer.status, bearer.header("dpop-nonce")), (200, ""));
}

#[tokio::test]
async fn addresses_are_the_issuers_the_listening_and_the_configured_ones() {
    let settings = quick()
        .with("AUTHV2_ISSUER", "https://id.example/tenant")
        .with("AUTHV2_DPOP__ORIGINS", "https://api.example,https://shop.example:8443")
        .with("AUTHV2_ALLOWED_ORIGINS", "https://page.example");
    let deployment = start(settings).await;
    let (api, key) = (&deployment.api, new_key());
    register(api, ADA).await;
    let token = Tokens::of(&sign_in_with(api, &key, "https://id.example/tenant", ADA).await).access;
    let call = |base: &str| {
        let request = api.request(Method::GET, "/private").header("authorization", format!("DPoP {token}"));
        send(request.header("dpop", proof(&key, "GET", &format!("{base}/private"), Some(&token))))
    };
    for base in ["https://id.example", "https://id.example/tenant", "https://api.example", "https://shop.example:8443"]
    {
        assert_eq!(call(base).await.status, 200, "{base}");
    }
    assert_eq!(call(deployment.server.url()).await.status, 200);
    for base in ["https://page.example", "https://id.example/other", "https://shop.example", "http://api.example"] {
        assert_problem(&call(base).await, 401, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn metadata_says_what_proofs_may_be_signed_with() {
    let deployment = start(quick()).await;
    let metadata = get(&deployment.api, "/.well-known/oauth-authorization-server", "").await;
    let algorithms = metadata.json["dpop_signing_alg_values_supported"].as_array().unwrap();
    assert!(algorithms.contains(&json!("ES256")) && algorithms.contains(&json!("EdDSA")), "{algorithms:?}");
    assert!(!algorithms.iter().any(|name| name.as_str().unwrap().starts_with("HS")), "{algorithms:?}");
    let document = get(&deployment.api, "/openapi.json", "").await.json;
    assert_eq!(document["components"]["securitySchemes"]["proof_of_possession"]["name"], "DPoP");
    assert_eq!(document["paths"]["/auth/login"]["post"]["parameters"][0]["name"], "DPoP");
}
