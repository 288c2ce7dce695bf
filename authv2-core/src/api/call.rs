//! One call of the API: what a handler is given, and what it answers.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{Body, fields::Fields, json, routes::Parameters};
use crate::{
    AuthenticationService,
    audit::Origin,
    authentication::{REVISION, Standing},
    error::{Code, Error, Result},
    principal::Principal,
};

/// A call that was routed, authenticated where its route asks for it, and whose body was read.
pub(super) struct Call<'a> {
    pub(super) auth: &'a AuthenticationService,
    pub(super) origin: Origin,
    pub(super) head: &'a http::request::Parts,
    pub(super) parameters: Parameters<'a>,
    pub(super) principal: Option<Principal>,
    pub(super) body: Bytes,
}

/// What answers a call.
pub(super) type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Reply>>;

impl Call<'_> {
    /// The caller. Routes that ask for one never get here without.
    pub(super) fn principal(&self) -> Result<&Principal> {
        self.principal.as_ref().ok_or_else(|| Error::new(Code::Unauthenticated, "sign in first"))
    }

    /// The caller in the organization that the path names.
    pub(super) async fn standing(&self) -> Result<Standing> {
        let organization = self.parameters.get("org").unwrap_or_default();
        self.auth.standing(self.principal()?, organization).await
    }

    /// The fields of the body.
    pub(super) fn fields(&self) -> Result<Fields> {
        Fields::parse(&self.body, false)
    }

    /// The fields of the body, none if it is empty.
    pub(super) fn optional_fields(&self) -> Result<Fields> {
        Fields::parse(&self.body, true)
    }
}

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Reply(Response<Body>);

impl Reply {
    /// No body.
    pub(super) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// A JSON body.
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Self> {
        let mut response = Response::new(Body::from(json(value)?));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(Self(response))
    }

    /// A body of another media type, made while it is sent.
    pub(super) fn stream(media_type: &'static str, body: Body) -> Self {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self(response)
    }

    /// A body of another form.
    pub(super) fn text(status: StatusCode, form: &'static str, text: String) -> Self {
        let mut response = Response::new(Body::from(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
        Self(response)
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// A refusal that needs more header fields.
    pub(super) fn problem(response: Response<Bytes>) -> Self {
        Self(response.map(Body::from))
    }

    /// Adds a header field, beside others of its name.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().append(name, value);
        self
    }

    /// Adds the consistency token of what was written.
    pub(super) fn with_revision(self, token: &str) -> Self {
        match HeaderValue::from_str(token) {
            Ok(value) => self.with(HeaderName::from_static(REVISION), value),
            Err(_) => self,
        }
    }

    /// Adds cookies.
    pub(super) fn with_cookies(self, cookies: impl IntoIterator<Item = Option<HeaderValue>>) -> Self {
        cookies.into_iter().flatten().fold(self, |reply, cookie| reply.with(header::SET_COOKIE, cookie))
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.0
    }
}
