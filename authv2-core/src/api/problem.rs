//! Errors as `application/problem+json` (RFC 9457), with the header fields that go with them.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use serde::Serialize;

use crate::{
    authentication::{DPOP_NONCE, RequestId},
    error::{Challenge, Code, Error, FieldError, RatePolicy, Scheme},
    jwt::{Algorithm, proof_algorithms},
    limit::Verdict,
};

/// The media type of a problem.
pub const FORM: &str = "application/problem+json";

/// What a refused request is answered with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI for the kind of problem.
    pub r#type: String,
    /// A summary, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// About this occurrence.
    pub detail: String,
    /// The stable code: what a client switches on.
    pub code: String,
    /// The request's id.
    pub request_id: String,
    /// For `validation_failed`: each field that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// For `mfa_required`: what to send the second factor with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_token: Option<String>,
    /// For `mfa_required`: with what one may go on, `totp` and as long as there are any `recovery_code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
}

/// The response to a request that failed with `error`: body, challenge, waits.
#[must_use]
pub fn respond(error: &Error, id: &RequestId) -> Response<Bytes> {
    let code = error.code();
    let problem = Problem {
        r#type: format!("urn:authv2:problem:{}", code.as_str()),
        title: code.title().to_owned(),
        status: code.status().as_u16(),
        detail: error.detail().to_owned(),
        code: code.as_str().to_owned(),
        request_id: id.as_str().to_owned(),
        errors: error.fields().to_vec(),
        mfa_token: error.mfa().map(|mfa| mfa.token.expose().clone()),
        methods: error.mfa().map(|mfa| mfa.methods.iter().map(|method| (*method).to_owned()).collect()),
    };
    // Strings and numbers always serialise.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(crate::authentication::REQUEST_ID, id);
    }
    if let Some(challenge) = error.challenge() {
        insert(headers, header::WWW_AUTHENTICATE, &www_authenticate(challenge, error.scheme()));
        if error.scheme() == Scheme::DpopInstead
            && let Ok(dpop) = HeaderValue::from_str(&scheme(Scheme::Dpop))
        {
            headers.append(header::WWW_AUTHENTICATE, dpop);
        }
        if let Challenge::UseDpopNonce { nonce } = challenge {
            insert(headers, HeaderName::from_static(DPOP_NONCE), nonce);
        }
    }
    write_wait(headers, error);
    response
}

/// When to come back, and the limit that was run into.
pub(super) fn write_wait(headers: &mut HeaderMap, error: &Error) {
    let Some(wait) = error.retry_after() else { return };
    insert(headers, header::RETRY_AFTER, &seconds_up(wait).to_string());
    if let Some(policy) = error.policy() {
        limit_fields(headers, policy, 0, wait);
    }
}

/// The response to a request that an application or its framework refuses by itself, in the contract's form.
#[must_use]
pub fn refuse(code: Code, detail: &'static str, id: &RequestId) -> Response<Bytes> {
    respond(&Error::new(code, detail), id)
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Tells in a response how much of a limit is left, beside other limits that it tells of: the fields `RateLimit` and
/// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). For adapters, where somebody else made the response.
pub fn tell_limit<B>(response: &mut Response<B>, verdict: &Verdict) {
    let (policy, rate) = (verdict.policy, verdict.policy.rate());
    let policy = RatePolicy { name: policy.name(), quota: u64::from(rate.requests()), window: rate.per() };
    limit_fields(response.headers_mut(), policy, verdict.remaining, verdict.reset_after);
}

fn limit_fields(headers: &mut HeaderMap, policy: RatePolicy, remaining: u32, reset: Duration) {
    // A structured field's string may hold more, and nobody's names need it.
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = policy.name.chars().map(|c| if is_plain(&c) { c } else { '_' }).collect();
    let (quota, window) = (policy.quota, seconds_up(policy.window));
    for (field, value) in [
        (POLICY, format!("\"{name}\";q={quota};w={window}")),
        (RATE_LIMIT, format!("\"{name}\";r={remaining};t={}", seconds_up(reset))),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(field, value);
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up: a client that waits that long has waited long enough.
pub(super) fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// RFC 6750 section 3, RFC 9449 section 7.1 and RFC 9470 section 3.
pub(super) fn www_authenticate(challenge: &Challenge, scheme: Scheme) -> String {
    let mut text = self::scheme(scheme);
    let error = match challenge {
        Challenge::Bare => return text,
        Challenge::InvalidToken => "invalid_token",
        Challenge::InvalidRequest => "invalid_request",
        Challenge::InsufficientAuthentication { .. } => "insufficient_user_authentication",
        Challenge::InsufficientScope { .. } => "insufficient_scope",
        Challenge::InvalidDpopProof => "invalid_dpop_proof",
        Challenge::UseDpopNonce { .. } => "use_dpop_nonce",
    };
    // Writing to a `String` cannot fail.
    let _ = write!(text, ", error=\"{error}\"");
    if let Challenge::InsufficientScope { scope } = challenge {
        let _ = write!(text, ", scope=\"{scope}\"");
    }
    if let Challenge::InsufficientAuthentication { max_age, acr_values } = challenge {
        if let Some(acr_values) = acr_values {
            let _ = write!(text, ", acr_values=\"{acr_values}\"");
        }
        if let Some(max_age) = max_age {
            let _ = write!(text, ", max_age=\"{max_age}\"");
        }
    }
    text
}

/// The scheme with what is always said of it.
fn scheme(scheme: Scheme) -> String {
    match scheme {
        Scheme::Bearer | Scheme::DpopInstead => "Bearer realm=\"authv2\"".to_owned(),
        Scheme::Dpop => {
            let algorithms: Vec<&str> = proof_algorithms().map(Algorithm::as_str).collect();
            format!("DPoP realm=\"authv2\", algs=\"{}\"", algorithms.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Policy, Rate};

    fn response(error: &Error) -> Response<Bytes> {
        respond(error, &RequestId::of(&HeaderMap::new()))
    }

    #[test]
    fn a_missing_credential_is_challenged_without_an_error_and_a_bad_one_with_it() {
        let challenge = |code| {
            let response = response(&Error::new(code, "x"));
            response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned()
        };
        assert_eq!(challenge(Code::Unauthenticated), "Bearer realm=\"authv2\"");
        assert_eq!(challenge(Code::InvalidToken), "Bearer realm=\"authv2\", error=\"invalid_token\"");
        assert_eq!(challenge(Code::AmbiguousCredentials), "Bearer realm=\"authv2\", error=\"invalid_request\"");
    }

    #[test]
    fn a_challenge_names_the_scheme_that_is_wanted() {
        const DPOP: &str =
            "DPoP realm=\"authv2\", algs=\"EdDSA ES256 ES384 ES512 RS256 RS384 RS512 PS256 PS384 PS512\"";
        let challenges = |error: Error| {
            let headers = response(&error).headers().clone();
            let lines = headers.get_all(header::WWW_AUTHENTICATE).iter().map(|line| line.to_str().unwrap().to_owned());
            (lines.collect::<Vec<_>>(), headers.get("dpop-nonce").cloned())
        };
        let token = |scheme| Error::new(Code::InvalidToken, "x").with_scheme(scheme);
        let bearer = "Bearer realm=\"authv2\", error=\"invalid_token\"";
        assert_eq!(challenges(token(Scheme::Dpop)).0, [format!("{DPOP}, error=\"invalid_token\"")]);
        assert_eq!(challenges(token(Scheme::DpopInstead)).0, [bearer, DPOP]);
        let (lines, nonce) = challenges(Error::new(Code::InvalidDpopProof, "x"));
        assert_eq!((lines, nonce), (vec![format!("{DPOP}, error=\"invalid_dpop_proof\"")], None));
        let (lines, nonce) = challenges(Error::use_dpop_nonce("n".to_owned()));
        assert_eq!(lines, [format!("{DPOP}, error=\"use_dpop_nonce\"")]);
        assert_eq!(nonce.unwrap(), "n");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_with_its_policy() {
        let policy = RatePolicy { name: "sign-in", quota: 10, window: Duration::from_secs(900) };
        let error =
            Error::new(Code::TooManyAttempts, "x").with_retry_after(Duration::from_millis(59_001)).with_policy(policy);
        let response = response(&error);
        assert_eq!(response.headers()[header::RETRY_AFTER], "60");
        assert_eq!(response.headers()["ratelimit"], "\"sign-in\";r=0;t=60");
        assert_eq!(response.headers()["ratelimit-policy"], "\"sign-in\";q=10;w=900");
    }

    #[test]
    fn tells_of_each_limit_what_is_left() {
        let rate = Rate::new(600, Duration::from_secs(60), Some(50)).unwrap();
        let verdict = |name| Verdict {
            allowed: true,
            policy: Policy::new(name, rate),
            remaining: 49,
            reset_after: Duration::from_millis(100),
            retry_after: None,
        };
        let mut response = Response::new(());
        tell_limit(&mut response, &verdict("key"));
        tell_limit(&mut response, &verdict("a \"b\""));
        let lines =
            |name| response.headers().get_all(name).iter().map(|line| line.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(lines("ratelimit-policy"), ["\"key\";q=600;w=60", "\"a__b_\";q=600;w=60"]);
        assert_eq!(lines("ratelimit"), ["\"key\";r=49;t=1", "\"a__b_\";r=49;t=1"]);
    }
}
