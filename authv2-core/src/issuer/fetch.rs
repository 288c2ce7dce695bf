//! One request: bounded in time and size, over TLS, following nothing.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{IssuerProblem, Location};

/// The largest answer read. The keys of large issuers take some 20 KiB.
const BODY_MAX: usize = 256 * 1024;
/// The most bytes of a response's head.
const HEAD_MAX: usize = 16 * 1024;

/// An answer could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it does not answer in time")]
    TimedOut,
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    #[error("the connection failed: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it answers with the status {0}")]
    Status(u16),
    #[error("it sends elsewhere, which is not followed")]
    Redirected,
    #[error("its answer is too large")]
    TooLarge,
    #[error("its answer broke off")]
    BrokeOff,
}

impl FetchError {
    /// A name for metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) | Self::Broken(_) | Self::BrokeOff => "unreachable",
            Self::Status(_) => "status",
            Self::Redirected => "redirected",
            Self::TooLarge => "too_large",
        }
    }
}

/// By what an answer is known again (RFC 9110 section 8.8).
#[derive(Debug, Clone, Default)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let field = |name| headers.get(name).cloned();
        Self { etag: field(header::ETAG), last_modified: field(header::LAST_MODIFIED) }
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Answer {
    New {
        headers: HeaderMap,
        body: Bytes,
    },
    /// The same as last time.
    Unchanged {
        headers: HeaderMap,
    },
}

/// Asks one issuer, or tells one webhook.
pub(crate) struct Fetcher {
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl Fetcher {
    /// Trusts the certificates of `ca_file` or else the system's. Where plain http on loopback is allowed a system
    /// without any will do.
    pub(crate) fn new(ca_file: Option<&Path>, timeout: Duration, allows_loopback: bool) -> Result<Self, IssuerProblem> {
        let roots = match ca_file {
            Some(file) => roots_of_file(file).map_err(IssuerProblem::CaFile)?,
            None => system_roots(),
        };
        if roots.is_empty() {
            return if allows_loopback { Ok(Self { tls: None, timeout }) } else { Err(IssuerProblem::NoRoots) };
        }
        // The provider is named: a build may have several, and then there is no default.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), timeout })
    }

    /// The document at a place, if it is another one than that with these validators.
    pub(super) async fn fetch(&self, from: &Location, known: Option<&Validators>) -> Result<Answer, FetchError> {
        let asked = self.ask(from, conditional(from, known), read);
        timeout(self.timeout, asked).await.map_err(|_| FetchError::TimedOut)?
    }

    /// Posts a document; the status of the answer, whose body is left unread.
    pub(crate) async fn post(&self, to: &Location, headers: HeaderMap, body: Bytes) -> Result<StatusCode, FetchError> {
        let length = body.len();
        let mut request = request(to, Full::new(body));
        *request.method_mut() = Method::POST;
        request.headers_mut().extend(headers);
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let asked = self.ask(to, request, async |response: Response<Incoming>| Ok(response.status()));
        timeout(self.timeout, asked).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn ask<B, T>(
        &self,
        place: &Location,
        request: Request<B>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, FetchError>,
    ) -> Result<T, FetchError>
    where
        B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
    {
        let stream = self.connect(place).await.map_err(FetchError::Unreachable)?;
        if !place.is_tls() {
            return exchange(stream, request, read).await;
        }
        let no_tls = || io::Error::other("there is no certificate to trust");
        let name = ServerName::try_from(place.host().to_owned())
            .map_err(|_| FetchError::Unreachable(io::Error::other("no name that a certificate could have")))?;
        let tls = self.tls.as_ref().ok_or_else(|| FetchError::Unreachable(no_tls()))?;
        let stream = tls.connect(name, stream).await.map_err(FetchError::Unreachable)?;
        exchange(stream, request, read).await
    }

    /// Connects to the first address that answers; none of several may use up the time of all.
    async fn connect(&self, to: &Location) -> io::Result<TcpStream> {
        let addresses: Vec<_> = tokio::net::lookup_host((to.host(), to.port())).await?.collect();
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }
}

async fn exchange<S, B, T>(
    stream: S,
    request: Request<B>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, FetchError>,
) -> Result<T, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    let mut protocol = http1::Builder::new();
    protocol.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = protocol.handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        read(response).await
    };
    // The connection is driven for as long as the answer is awaited, and dropped with it.
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // However it ended: the answer may have come before, and else says itself that it did not.
        _ = &mut connection => answer.await,
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, FetchError> {
    let (head, body) = response.into_parts();
    match head.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(Answer::Unchanged { headers: head.headers }),
        status if status.is_redirection() => return Err(FetchError::Redirected),
        status => return Err(FetchError::Status(status.as_u16())),
    }
    let body = Limited::new(body, BODY_MAX)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { FetchError::TooLarge } else { FetchError::BrokeOff })?;
    Ok(Answer::New { headers: head.headers, body: body.to_bytes() })
}

fn request<B>(from: &Location, body: B) -> Request<B> {
    let mut request = Request::new(body);
    if let Ok(uri) = from.path_and_query().parse() {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    if let Ok(host) = from.authority().parse() {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("authv2/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

fn conditional(from: &Location, known: Option<&Validators>) -> Request<Empty<Bytes>> {
    let mut request = request(from, Empty::new());
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
    if let Some(Validators { etag, last_modified }) = known {
        let conditions = [(header::IF_NONE_MATCH, etag), (header::IF_MODIFIED_SINCE, last_modified)];
        for (name, value) in conditions.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))) {
            headers.insert(name, value);
        }
    }
    request
}

/// The certificates that the system trusts; those that cannot be read are left out.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Every certificate of the file, or none.
fn roots_of_file(file: &Path) -> io::Result<RootCertStore> {
    let no_certificate = || io::Error::new(io::ErrorKind::InvalidData, "it holds no PEM certificate");
    let pem = fs::read(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|_| no_certificate())?).map_err(|_| no_certificate())?;
    }
    if roots.is_empty() { Err(no_certificate()) } else { Ok(roots) }
}
