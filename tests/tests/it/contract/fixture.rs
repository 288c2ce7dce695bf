//! What the contract's tests share: a running deployment, a signed-in user, and the form of every refusal.

use std::net::Ipv4Addr;

use authv2_tests::{
    client::{Answer, Api},
    postgres::{Database, Postgres},
    server::{Server, Settings},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const WRONG: &str = "incorrect horse battery";
pub(crate) const ADA: &str = "ada@example.org";

/// A server on a database of its own, and a client of it.
pub(crate) struct Deployment {
    // Ended before its database is dropped.
    pub(crate) server: Server,
    pub(crate) api: Api,
    _database: Option<Database>,
}

/// Settings under which a password costs little: how it is hashed is not what these tests are about.
pub(crate) fn quick() -> Settings {
    Settings::new().with("AUTHV2_PASSWORD__MEMORY_KIB", "8").with("AUTHV2_PASSWORD__ITERATIONS", "1")
}

/// On which database a behaviour is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub(crate) async fn deploy(self, settings: Settings) -> Deployment {
        let (settings, database) = match self {
            Self::Sqlite => (settings, None),
            Self::Postgres => {
                let database = Postgres::shared().fresh_database().await.unwrap();
                (settings.store(database.url()), Some(database))
            }
        };
        Deployment::start(settings, database)
    }

    /// The same with SQLite in memory, and with PostgreSQL as the role that production wants: row-level security binds
    /// it, so that what works here works under it.
    pub(crate) async fn deploy_confined(self, settings: Settings) -> Deployment {
        match self {
            Self::Sqlite => Deployment::start(settings.store("sqlite::memory:"), None),
            Self::Postgres => {
                let database = Postgres::shared().fresh_database().await.unwrap();
                let settings = settings.store(database.runtime_url()).with("AUTHV2_STORE__MIGRATE_URL", database.url());
                Deployment::start(settings, Some(database))
            }
        }
    }
}

/// Waits until another node has heard of a change: far longer than it should take.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed().as_secs() < 5, "it has not come to hold");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A deployment on SQLite.
pub(crate) async fn start(settings: Settings) -> Deployment {
    Store::Sqlite.deploy(settings).await
}

impl Deployment {
    fn start(settings: Settings, database: Option<Database>) -> Self {
        let server = settings.start().unwrap();
        let api = Api::new(server.url()).unwrap();
        Self { server, api, _database: database }
    }

    /// A client that calls from 127.0.`third`.`fourth`: a network of its own.
    pub(crate) fn from(&self, third: u8, fourth: u8) -> Api {
        Api::from_address(self.server.url(), Ipv4Addr::new(127, 0, third, fourth)).unwrap()
    }
}

/// Makes of each behaviour two tests, one for each database.
macro_rules! on_each_store {
    ($($behaviour:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(crate::contract::fixture::Store::Sqlite).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(crate::contract::fixture::Store::Postgres).await;
            })+
        }
    };
}
pub(crate) use on_each_store;

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.unwrap()).await.unwrap()
}

pub(crate) async fn get(api: &Api, path: &str, token: &str) -> Answer {
    api.get(path, token).await.unwrap()
}

pub(crate) async fn post(api: &Api, path: &str, token: &str, body: Value) -> Answer {
    api.post(path, token, &body).await.unwrap()
}

pub(crate) async fn call(api: &Api, method: Method, path: &str, token: &str) -> Answer {
    api.call(method, path, token, None).await.unwrap()
}

pub(crate) async fn login(api: &Api, email: &str, password: &str) -> Answer {
    api.login(email, password).await.unwrap()
}

pub(crate) async fn refresh(api: &Api, token: &str) -> Answer {
    api.refresh(token).await.unwrap()
}

pub(crate) async fn register(api: &Api, email: &str) -> Answer {
    let answer = api.register(email, PASSWORD).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer
}

/// What a bearer client holds.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) session: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let string = |pointer| {
            let text = answer.string(pointer);
            assert!(!text.is_empty(), "no {pointer} in {}", answer.text);
            text.to_owned()
        };
        Self { access: string("/access_token"), refresh: string("/refresh_token"), session: string("/session/id") }
    }
}

/// Signs in with the usual password.
pub(crate) async fn sign_in(api: &Api, email: &str) -> Tokens {
    Tokens::of(&login(api, email, PASSWORD).await)
}

/// Makes an account and signs in to it.
pub(crate) async fn sign_up(api: &Api, email: &str) -> Tokens {
    register(api, email).await;
    sign_in(api, email).await
}

/// Whether an access token is taken.
pub(crate) async fn is_live(api: &Api, access: &str) -> bool {
    let answer = get(api, "/auth/me", access).await;
    if answer.status != 200 {
        assert_problem(&answer, 401, "invalid_token");
    }
    answer.status == 200
}

/// The form of every refusal (RFC 9457 and the contract's conventions).
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json["status"], status);
    assert!(!answer.string("/request_id").is_empty(), "{}", answer.text);
    assert_eq!(answer.string("/request_id"), answer.header("x-request-id"));
    for member in ["/type", "/title", "/detail"] {
        assert!(!answer.string(member).is_empty(), "no {member} in {}", answer.text);
    }
    let challenge = answer.header("www-authenticate");
    let challenges = status == 401 || ["ambiguous_credentials", "insufficient_scope"].contains(&code);
    assert_eq!(!challenge.is_empty(), challenges, "{status} {challenge:?}");
    let names_a_scheme = ["Bearer ", "DPoP "].iter().any(|scheme| challenge.starts_with(scheme));
    assert!(challenge.is_empty() || names_a_scheme, "{challenge}");
    assert_eq!(answer.json.get("errors").is_some(), code == "validation_failed", "{}", answer.text);
}

/// A validation problem with exactly this one refused field.
pub(crate) fn assert_invalid(answer: &Answer, field: &str, code: &str) {
    assert_problem(answer, 422, "validation_failed");
    assert_eq!(answer.string("/errors/0/field"), field, "{}", answer.text);
    assert_eq!(answer.field_codes().collect::<Vec<_>>(), [code], "{}", answer.text);
    assert!(!answer.string("/errors/0/message").is_empty(), "{}", answer.text);
}

/// The names of a JSON object's members, sorted.
pub(crate) fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A browser with one server's two cookies.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) api: Api,
    pub(crate) session: String,
    pub(crate) csrf: String,
}

impl Browser {
    pub(crate) async fn sign_in(api: &Api, email: &str) -> (Self, Answer) {
        let body = json!({"email": email, "password": PASSWORD, "transport": "cookie"});
        let answer = post(api, "/auth/login", "", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let value = |name| set_cookie(&answer, name).expect("a cookie").0;
        (Self { api: api.clone(), session: value("authv2"), csrf: value("authv2_csrf") }, answer)
    }

    /// A request with the cookies alone.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = format!("authv2={}; authv2_csrf={}", self.session, self.csrf);
        self.api.request(method, path).header("cookie", cookies)
    }

    /// A request as our own page makes it: with the token in the header too.
    pub(crate) fn page_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("x-csrf-token", &self.csrf)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }
}

/// A cookie that an answer sets: its value and its attributes, sorted.
pub(crate) fn set_cookie(answer: &Answer, name: &str) -> Option<(String, Vec<String>)> {
    answer.headers.get_all("set-cookie").iter().find_map(|line| {
        let line = line.to_str().ok()?;
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (own, value) = pair.split_once('=')?;
        let mut attributes: Vec<String> = attributes.split(';').map(|text| text.trim().to_owned()).collect();
        attributes.sort_unstable();
        (own == name).then(|| (value.to_owned(), attributes))
    })
}
