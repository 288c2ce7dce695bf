//! Where Redis is and how it is entered, judged before anything connects.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

use crate::config::{RedisConfig, RedisMode};

/// What is wrong with an address: the setting, and what it should be. Never a value that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) setting: &'static str,
    pub(crate) reason: &'static str,
}

/// The servers and the way in.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(super) servers: Servers,
    pub(super) is_tls: bool,
}

/// Which servers there are.
#[derive(Debug, Clone)]
pub(super) enum Servers {
    /// One.
    Single(ConnectionInfo),
    /// The one that Sentinels call the master of that name.
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, way_in: RedisConnectionInfo },
    /// Those that the nodes of a Cluster tell of.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// The address that the settings give; nothing if they give none.
    pub(crate) fn of(config: &RedisConfig) -> Result<Option<Self>, Fault> {
        let Some(url) = &config.url else { return Ok(None) };
        let nodes = parse(url.expose()).map_err(|reason| Fault { setting: "redis.url", reason })?;
        let way_in = way_in(config, &nodes)?;
        let is_tls = nodes.iter().all(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
        let servers = servers(config, nodes, way_in)?;
        Ok(Some(Self { servers, is_tls }))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    /// Whether passwords and wake-ups cross a network in the clear.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        let nodes = match &self.servers {
            Servers::Single(node) => std::slice::from_ref(node),
            Servers::Sentinel { sentinels: nodes, .. } | Servers::Cluster(nodes) => nodes,
        };
        !self.is_tls && !nodes.iter().all(|node| is_loopback(node.addr()))
    }
}

const FORM: &str = "expected `redis://HOST:PORT` or `rediss://HOST:PORT`, further nodes after commas";

/// The nodes of a URL: `redis://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]…[/DATABASE]`; each may repeat the scheme.
fn parse(url: &str) -> Result<Vec<ConnectionInfo>, &'static str> {
    let scheme = ["redis://", "rediss://"].into_iter().find(|scheme| url.starts_with(scheme)).ok_or(FORM)?;
    // `?` and `#` would choose the protocol and switch off the verification of certificates.
    if url.contains(['?', '#']) {
        return Err("has no options: write `?` and `#` of a password as %3F and %23");
    }
    url.split(',')
        .map(|node| {
            let rest = node.strip_prefix(scheme).unwrap_or(node);
            if rest.contains("://") {
                return Err("mixes redis:// and rediss://");
            }
            let node = format!("{scheme}{rest}").into_connection_info().map_err(|_| FORM)?;
            match node.addr() {
                ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { insecure: false, .. } => Ok(node),
                _ => Err(FORM),
            }
        })
        .collect()
}

/// The user, password and database for all nodes: what settings name goes before what the URL says.
fn way_in(config: &RedisConfig, nodes: &[ConnectionInfo]) -> Result<RedisConnectionInfo, Fault> {
    let of_url = nodes.iter().map(ConnectionInfo::redis_settings).find(|settings| settings.password().is_some());
    let username = config.username.as_deref().or(of_url.and_then(RedisConnectionInfo::username));
    let password = config.password.as_ref().map(|password| password.expose().as_str());
    let password = password.or(of_url.and_then(RedisConnectionInfo::password));
    if username.is_some() && password.is_none() {
        return Err(Fault { setting: "redis.password", reason: "must be set: redis.username is, and needs it" });
    }
    let database = nodes.iter().map(|node| node.redis_settings().db()).find(|database| *database != 0).unwrap_or(0);
    if database != 0 && config.mode == RedisMode::Cluster {
        return Err(Fault { setting: "redis.url", reason: "names a database, and a Cluster has only one" });
    }
    Ok(entering(username, password).set_db(database))
}

fn servers(config: &RedisConfig, nodes: Vec<ConnectionInfo>, way_in: RedisConnectionInfo) -> Result<Servers, Fault> {
    if config.mode != RedisMode::Sentinel && config.sentinel_master.is_some() {
        return Err(Fault { setting: "redis.sentinel_master", reason: "needs redis.mode = \"sentinel\"" });
    }
    let entered_by = |way_in: &RedisConnectionInfo, nodes: Vec<ConnectionInfo>| -> Vec<_> {
        nodes.into_iter().map(|node| node.set_redis_settings(way_in.clone())).collect()
    };
    match config.mode {
        RedisMode::Single => match <[_; 1]>::try_from(nodes) {
            Ok([node]) => Ok(Servers::Single(node.set_redis_settings(way_in))),
            Err(_) => {
                Err(Fault { setting: "redis.mode", reason: "redis.url names several nodes: `sentinel` or `cluster`" })
            }
        },
        RedisMode::Cluster => Ok(Servers::Cluster(entered_by(&way_in, nodes))),
        RedisMode::Sentinel => {
            let master = config.sentinel_master.clone();
            let reason = "must be set: redis.mode is \"sentinel\", which finds the server by this name";
            let master = master.ok_or(Fault { setting: "redis.sentinel_master", reason })?;
            let password = config.sentinel_password.as_ref().map(|password| password.expose().as_str());
            let to_sentinels = entering(config.sentinel_username.as_deref(), password);
            Ok(Servers::Sentinel { sentinels: entered_by(&to_sentinels, nodes), master, way_in })
        }
    }
}

fn entering(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    // Naming the library takes a permission that old servers cannot even grant.
    let mut way_in = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        way_in = way_in.set_username(username);
    }
    if let Some(password) = password {
        way_in = way_in.set_password(password);
    }
    way_in
}

fn is_loopback(address: &ConnectionAddr) -> bool {
    let (ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) = address else { return true };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, mode: RedisMode) -> RedisConfig {
        RedisConfig { url: Some(url.into()), mode, ..RedisConfig::default() }
    }

    fn fault(config: &RedisConfig) -> &'static str {
        Address::of(config).unwrap_err().setting
    }

    #[test]
    fn reads_nodes_with_one_way_in_for_all() {
        let nodes = "redis://user:p%2Cw@a:1,redis://b:2,c";
        let Servers::Cluster(nodes) = Address::of(&config(nodes, RedisMode::Cluster)).unwrap().unwrap().servers else {
            panic!("a Cluster");
        };
        let hosts: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!(hosts, ["a:1", "b:2", "c:6379"]);
        for node in &nodes {
            let way_in = node.redis_settings();
            assert_eq!((way_in.username(), way_in.password()), (Some("user"), Some("p,w")));
        }
    }

    #[test]
    fn settings_go_before_the_url() {
        let config = RedisConfig {
            username: Some("other".into()),
            password: Some("secret".into()),
            ..config("redis://user:word@a/3", RedisMode::Single)
        };
        let Servers::Single(node) = Address::of(&config).unwrap().unwrap().servers else { panic!("one server") };
        let way_in = node.redis_settings();
        assert_eq!((way_in.username(), way_in.password(), way_in.db()), (Some("other"), Some("secret"), 3));
    }

    #[test]
    fn sentinels_get_their_own_credentials() {
        let config = RedisConfig {
            sentinel_master: Some("main".into()),
            sentinel_password: Some("watch".into()),
            ..config("redis://user:word@a:26379,b:26379", RedisMode::Sentinel)
        };
        let Servers::Sentinel { sentinels, master, way_in } = Address::of(&config).unwrap().unwrap().servers else {
            panic!("Sentinels");
        };
        assert_eq!((master.as_str(), way_in.username(), way_in.password()), ("main", Some("user"), Some("word")));
        for sentinel in sentinels {
            let to_it = sentinel.redis_settings();
            assert_eq!((to_it.username(), to_it.password()), (None, Some("watch")));
        }
    }

    #[test]
    fn names_the_setting_that_is_wrong() {
        let single = |url| config(url, RedisMode::Single);
        for url in [
            "",
            "localhost",
            "http://a",
            "redis://",
            "redis://a:port",
            "rediss://a/#insecure",
            "redis://a/?protocol=resp3",
        ] {
            assert_eq!(fault(&single(url)), "redis.url", "{url}");
        }
        assert_eq!(fault(&single("redis://a,rediss://b")), "redis.url");
        assert_eq!(fault(&single("redis://a,b")), "redis.mode");
        assert_eq!(fault(&config("redis://a,b/1", RedisMode::Cluster)), "redis.url");
        assert_eq!(fault(&config("redis://a,b", RedisMode::Sentinel)), "redis.sentinel_master");
        let misplaced = RedisConfig { sentinel_master: Some("main".into()), ..single("redis://a") };
        assert_eq!(fault(&misplaced), "redis.sentinel_master");
        assert_eq!(fault(&RedisConfig { username: Some("user".into()), ..single("redis://a") }), "redis.password");
    }

    #[test]
    fn knows_what_crosses_a_network_in_the_clear() {
        for (url, is_in_the_clear) in [
            ("redis://localhost", false),
            ("redis://127.0.0.1", false),
            ("redis://[::1]:7000", false),
            ("rediss://redis.internal", false),
            ("redis://redis.internal", true),
            ("redis://10.0.0.1", true),
        ] {
            let address = Address::of(&config(url, RedisMode::Single)).unwrap().unwrap();
            assert_eq!(address.is_in_the_clear(), is_in_the_clear, "{url}");
        }
    }
}
