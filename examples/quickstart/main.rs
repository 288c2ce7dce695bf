//! The example server of the contract, on axum: everything of authv2 behind one address, with a page to try it.
//!
//! `cargo run` starts it on SQLite in the working directory. Settings come from `authv2.toml` and the environment.

use std::{io::Write as _, net::SocketAddr, process::ExitCode, time::Duration};

use authv2_axum::{Principal, api_service, auth_layer, method_not_allowed, router};
use authv2_core::{AuthenticationService, Config, api::BODY_MAX};
use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing_subscriber::{EnvFilter, fmt};

mod cors;
mod inbox;
mod orders;
mod page;

/// How long requests may take to finish once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Standard output is for the address: whoever starts this reads it there.
    fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::from_env_and_file(Config::development())?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    config.listening_on(address);
    let auth = AuthenticationService::builder(config).build().await?;
    announce(address);
    let (asked, stopping) = tokio::sync::oneshot::channel();
    let serving = axum::serve(listener, app(&auth).into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            stopped().await;
            let _ = asked.send(());
        })
        .into_future();
    tokio::select! {
        served = serving => served?,
        // Whoever has not finished by then does not keep the process: a half-sent request would for ever.
        () = async { let _ = stopping.await; tokio::time::sleep(GRACE).await } => {}
    }
    auth.shut_down().await;
    Ok(())
}

fn app(auth: &AuthenticationService) -> Router {
    let inbox = inbox::Inbox::of(auth.config());
    let has_inbox = inbox.is_some();
    let mut routes = Router::new();
    if let Some(inbox) = inbox {
        routes = routes.route("/inbox", get(move |headers| inbox.clone().show(headers)));
    }
    let routes = routes
        .route("/", get(move || page::show(has_inbox)))
        .route("/hello", get(|| async { Json(json!({"hello": "world"})) }))
        .route("/private", get(private))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/refund", post(orders::refund))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(auth_layer(auth))
        .merge(router(auth))
        .fallback_service(api_service(auth));
    cors::around(routes, auth)
}

/// Any credential will do.
async fn private(Principal(principal): Principal) -> Json<Value> {
    Json(json!({
        "user_id": principal.id(),
        "organization": principal.tenant().map(|tenant| tenant.organization),
        "method": principal.method(),
    }))
}

/// Says where it listens. Whoever started it may have closed its standard output after the first line.
fn announce(address: SocketAddr) {
    let url = format!("http://{address}");
    let text = format!(
        r#"listening on {url}

try it in a browser at {url}/ or from a shell:

  curl -s {url}/auth/register -H 'content-type: application/json' \
    -d '{{"email": "ada@example.com", "password": "correct horse battery"}}'
  TOKEN=$(curl -s {url}/auth/login -H 'content-type: application/json' \
    -d '{{"email": "ada@example.com", "password": "correct horse battery"}}' \
    | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s {url}/private -H "authorization: Bearer $TOKEN"
  curl -s -X POST {url}/auth/logout -H "authorization: Bearer $TOKEN" -w '%{{http_code}}\n'
"#
    );
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Until somebody asks the process to end.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
