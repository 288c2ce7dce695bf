//! The mails of the sink, as an inbox on the page: whoever sees it can take any account over, so it is served in
//! development, on this machine and to this machine alone.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use authv2_core::config::{Config, Profile};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

/// So many mails are shown.
const SHOWN: usize = 50;

/// The directory that mails are written into.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(PathBuf);

impl Inbox {
    /// The inbox, where it may be shown.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let is_private = config.profile == Profile::Development && config.listen.ip().is_loopback();
        config.mail.sink.clone().filter(|_| is_private).map(Self)
    }

    /// The latest mails, newest first.
    pub(crate) async fn show(self, headers: HeaderMap) -> Response {
        // A page elsewhere can have its own name lead here (DNS rebinding): then the request says that name.
        // What comes through a proxy on this machine may come from anywhere.
        let is_passed_on = ["forwarded", "x-forwarded-for", "via"].iter().any(|name| headers.contains_key(*name));
        if is_passed_on || !headers.get(header::HOST).is_some_and(|host| is_this_machine(host.as_bytes())) {
            return StatusCode::FORBIDDEN.into_response();
        }
        match tokio::task::spawn_blocking(move || latest(&self.0)).await {
            Ok(Ok(mails)) => ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "mails": mails }))).into_response(),
            Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

fn is_this_machine(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn latest(directory: &Path) -> io::Result<Vec<Value>> {
    let mut paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    // Names sort by time.
    paths.sort_unstable();
    // One that cannot be read does not hide the others.
    let read = |path: &PathBuf| {
        let mail: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        Some(json!({ "to": mail.get("to"), "subject": mail.get("subject"), "text": mail.get("text") }))
    };
    Ok(paths.iter().rev().take(SHOWN).filter_map(read).collect())
}
