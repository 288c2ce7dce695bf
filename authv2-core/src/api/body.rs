//! Bodies: reading a request's within its limits, and a response's, which is bytes or a stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, stream::BoxStream};
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::BODY_MAX;
use crate::error::{Code, Error, Result};

/// The body of a response: bytes, or a stream where the whole is never in memory at once.
pub struct Body(Inner);

enum Inner {
    Bytes(Bytes),
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body that is made while it is sent.
    #[must_use]
    pub fn stream(chunks: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(chunks)))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // Bodies carry tokens.
            Inner::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.get_mut().0 {
            Inner::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(chunks) => chunks.as_mut().poll_next(cx).map(|next| next.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Bytes(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

/// How much of a body that is too large is read before its connection is given up.
const READ_MAX: usize = 1024 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a route takes as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// None; whatever is sent is left unread.
    Nothing,
    /// JSON.
    Json,
    /// JSON of a standard that answers anything else with 400.
    StandardJson,
    /// JSON, or no body at all.
    OptionalJson,
    /// A form, as OAuth has them.
    Form,
}

impl Takes {
    fn media_type(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Nothing | Self::Json | Self::StandardJson | Self::OptionalJson => "application/json",
        }
    }
}

/// Reads a body within [`BODY_MAX`]. Empty where there is none.
///
/// # Errors
/// [`Code::BodyTooLarge`], [`Code::UnsupportedMediaType`], or [`Code::MalformedRequest`] if it breaks off.
pub(super) async fn read<B>(takes: Takes, headers: &HeaderMap, body: B) -> Result<Bytes>
where
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send,
{
    if takes == Takes::Nothing {
        return Ok(Bytes::new());
    }
    let is_right = is_of_type(headers, takes.media_type());
    let read = timeout(PATIENCE, collect(body, is_right)).await;
    let (kept, seen) = read.unwrap_or_else(|_| Err(Error::new(Code::MalformedRequest, "the body came too slowly")))?;
    if seen > BODY_MAX {
        return Err(Error::new(Code::BodyTooLarge, format!("send at most {BODY_MAX} bytes")));
    }
    // An empty body may come in chunks, so that only its end tells that it is none.
    let is_left_out = takes == Takes::OptionalJson && seen == 0;
    if !(is_right || is_left_out) {
        let code = match takes {
            Takes::StandardJson => Code::MalformedRequest,
            Takes::Nothing | Takes::Json | Takes::OptionalJson | Takes::Form => Code::UnsupportedMediaType,
        };
        return Err(Error::new(code, format!("send `Content-Type: {}`", takes.media_type())));
    }
    Ok(kept)
}

/// The body as far as it is of use, and how long it was as far as that was looked at.
async fn collect<B>(body: B, of_use: bool) -> Result<(Bytes, usize)>
where
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send,
{
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    let mut body = std::pin::pin!(body);
    // A connection that is closed on unread data may lose our answer on its way: somewhat too large a body is read to
    // its end, and forgotten.
    while seen <= READ_MAX
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Error::new(Code::MalformedRequest, "the body broke off"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        let length = data.remaining();
        seen = seen.saturating_add(length);
        if seen <= BODY_MAX && of_use {
            kept.extend_from_slice(&data.copy_to_bytes(length));
        }
    }
    Ok((kept.freeze(), seen))
}

/// Whether a body is of this media type, whatever its parameters say short of another charset than UTF-8. One that is
/// declared twice is of none.
fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|own| own.eq_ignore_ascii_case(media_type))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type))])
    }

    #[test]
    fn knows_a_body_by_its_content_type() {
        let (json, form) = (Takes::Json.media_type(), Takes::Form.media_type());
        for yes in ["application/json", "Application/JSON; charset=UTF-8", "application/json; charset=\"utf-8\""] {
            assert!(is_of_type(&headers(yes), json) && !is_of_type(&headers(yes), form), "{yes}");
        }
        for no in ["text/json", "application/jsonx", "application/json; charset=latin1", ""] {
            assert!(!is_of_type(&headers(no), json), "{no}");
        }
        assert!(is_of_type(&headers("application/x-www-form-urlencoded;charset=UTF-8"), form));
        assert!(!is_of_type(&headers("application/x-www-form-urlencoded; charset=utf-16"), form));
        let mut twice = headers("application/json");
        twice.append(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        assert!(!is_of_type(&twice, json));
    }

    #[tokio::test]
    async fn a_stream_over_the_limit_is_refused_though_it_did_not_announce_it() {
        let chunk = Bytes::from(vec![b' '; BODY_MAX / 2 + 1]);
        let body = Body::stream(stream::iter([Ok(chunk.clone()), Ok(chunk)]));
        let refused = read(Takes::Json, &headers("application/json"), body).await.unwrap_err();
        assert_eq!(refused.code(), Code::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_stream_arrives_whole() {
        let body = Body::stream(stream::iter(["a", "b"].map(|chunk| Ok(Bytes::from(chunk)))));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    }
}
