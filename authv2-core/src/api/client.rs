//! How OAuth clients say who they are (RFC 6749 section 2.3): by HTTP Basic or in the form, once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

use super::{call::Call, form::Form, query::decode};
use crate::{
    authentication::{FIRST_PARTY_CLIENT, invalid_client},
    error::{Code, Error, Result},
    principal::Principal,
    secret::Secret,
};

/// What a client presents.
#[derive(Debug)]
pub(super) enum Client {
    /// The public client, which has a name and no secret, or leaves its name out.
    Public,
    /// A client with its secret.
    Confidential { id: String, secret: Secret },
}

impl Client {
    /// Reads what a request presents.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] for two ways at once; [`Code::InvalidClient`] for a name that is none, a way that is not
    /// known, or credentials that cannot be read.
    pub(super) fn read(headers: &HeaderMap, form: &Form<'_>) -> Result<Self> {
        let (id, secret) = (form.optional("client_id")?, form.optional("client_secret")?);
        if form.optional("client_assertion")?.is_some() {
            return Err(invalid_client());
        }
        match (basic(headers)?, id, secret) {
            (Some(_), _, Some(_)) => Err(Error::new(Code::MalformedRequest, "authenticate in one way, once")),
            (Some(Self::Confidential { id: of_basic, .. }), Some(id), None) if of_basic != id => {
                Err(Error::new(Code::MalformedRequest, "`client_id` names another client than the credentials"))
            }
            (Some(client), ..) => Ok(client),
            (None, Some(id), Some(secret)) => {
                Ok(Self::Confidential { id: id.to_owned(), secret: Secret::from(secret) })
            }
            (None, None | Some(FIRST_PARTY_CLIENT), None) => Ok(Self::Public),
            (None, ..) => Err(invalid_client()),
        }
    }

    /// Goes on only for the public client.
    ///
    /// # Errors
    /// [`Code::InvalidClient`].
    pub(super) fn require_public(&self) -> Result<()> {
        if matches!(self, Self::Public) { Ok(()) } else { Err(invalid_client()) }
    }

    /// The client, if it authenticates: none for the public one.
    ///
    /// # Errors
    /// [`Code::InvalidClient`], or what keeps its key from being used now.
    pub(super) async fn authenticate(&self, call: &Call<'_>) -> Result<Option<Principal>> {
        match self {
            Self::Public => Ok(None),
            Self::Confidential { id, secret } => call.auth.client(id, secret, &call.origin).await.map(Some),
        }
    }
}

/// Whether an `Authorization` header is of the scheme `Basic`.
pub(super) fn is_basic(value: &[u8]) -> bool {
    value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

/// The client of `Authorization: Basic`: both parts are encoded as in forms.
fn basic(headers: &HeaderMap) -> Result<Option<Client>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
    let (Some(value), another) = (values.next(), values.next()) else { return Ok(None) };
    if !is_basic(value) && another.is_none_or(|another| !is_basic(another)) {
        return Ok(None);
    }
    if another.is_some() {
        return Err(Error::new(Code::MalformedRequest, "authenticate in one way, once"));
    }
    let read = || {
        let bytes = STANDARD.decode(value.get(6..)?.trim_ascii()).ok()?;
        let text = zeroize::Zeroizing::new(String::from_utf8(bytes).ok()?);
        let (id, secret) = text.split_once(':')?;
        Some(Client::Confidential { id: decode(id)?.into_owned(), secret: Secret::new(decode(secret)?.into_owned()) })
    };
    read().map(Some).ok_or_else(invalid_client)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(authorization: &[&str], form: &str) -> Result<String> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Client::read(&headers, &Form::read(form.as_bytes()).unwrap()).map(|client| match client {
            Client::Public => "public".to_owned(),
            Client::Confidential { id, secret } => format!("{id} {}", secret.expose()),
        })
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn reads_a_client_by_either_way() {
        for (authorization, form, client) in [
            (None, "", "public"),
            (None, "client_id=authv2", "public"),
            (None, "client_id=k&client_secret=s", "k s"),
            (Some(basic("k:s")), "", "k s"),
            (Some(basic("k:s").replace("Basic", "bAsIc")), "client_id=k", "k s"),
            (Some(basic("k:avk%5flive:1+2")), "", "k avk_live:1 2"),
            (Some("Bearer x".to_owned()), "", "public"),
        ] {
            let authorization: Vec<&str> = authorization.iter().map(String::as_str).collect();
            assert_eq!(read(&authorization, form).unwrap(), client, "{authorization:?} {form}");
        }
    }

    #[test]
    fn refuses_two_ways_and_what_cannot_be_read() {
        let good = basic("k:s");
        for (authorization, form, code) in [
            (vec![good.as_str()], "client_secret=s", Code::MalformedRequest),
            (vec![&good], "client_id=k&client_secret=s", Code::MalformedRequest),
            (vec![&good], "client_id=other", Code::MalformedRequest),
            (vec![&good, &good], "", Code::MalformedRequest),
            (vec!["Bearer x", &good], "", Code::MalformedRequest),
            (vec![], "client_id=a&client_id=b", Code::MalformedRequest),
            (vec!["Basic ???"], "", Code::InvalidClient),
            (vec![&basic("no colon")], "", Code::InvalidClient),
            (vec![&basic("k:%zz")], "", Code::InvalidClient),
            (vec![], "client_id=other", Code::InvalidClient),
            (vec![], "client_secret=s", Code::InvalidClient),
            (vec![], "client_id=k&client_assertion=x", Code::InvalidClient),
        ] {
            assert_eq!(read(&authorization, form).unwrap_err().code(), code, "{authorization:?} {form}");
        }
    }
}
