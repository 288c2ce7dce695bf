//! The cookies of browser sessions, as header values.

use std::{fmt::Write as _, time::Duration};

use http::HeaderValue;

use super::{csrf, devices::DEVICE_LIFE};
use crate::secret::Secret;

/// How this deployment writes its cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieStyle {
    /// `Secure`, and bound to the host by the `__Host-` prefix (RFC 6265bis section 4.1.3.2).
    Secure,
    /// Sent over plain http too: for one's own machine.
    Insecure,
}

impl CookieStyle {
    /// The name of the session cookie.
    pub(crate) const fn session_name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-authv2",
            Self::Insecure => "authv2",
        }
    }

    /// The name of the cookie that makes a browser known again.
    pub(crate) const fn device_name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-authv2_device",
            Self::Insecure => "authv2_device",
        }
    }

    /// The cookies of a session: its secret, which no script can read, and the token that a page sends back.
    pub(crate) fn set(self, secret: &Secret, csrf_token: &Secret, life: Duration) -> [Option<HeaderValue>; 2] {
        [
            self.cookie(self.session_name(), secret.expose(), life, true),
            self.cookie(csrf::COOKIE, csrf_token.expose(), life, false),
        ]
    }

    /// The cookies that make a browser forget both.
    pub(crate) fn clear(self) -> [Option<HeaderValue>; 2] {
        [
            self.cookie(self.session_name(), "", Duration::ZERO, true),
            self.cookie(csrf::COOKIE, "", Duration::ZERO, false),
        ]
    }

    /// The cookie that makes a browser known again, for as long as browsers keep any (RFC 6265bis section 5.6.2).
    pub(crate) fn remember(self, device: &Secret) -> Option<HeaderValue> {
        self.cookie(self.device_name(), device.expose(), DEVICE_LIFE, true)
    }

    /// The cookie that makes a browser forget that.
    pub(crate) fn forget(self) -> Option<HeaderValue> {
        self.cookie(self.device_name(), "", Duration::ZERO, true)
    }

    /// `None` only for a value that cannot stand in a header, which none of ours is.
    fn cookie(self, name: &str, value: &str, life: Duration, http_only: bool) -> Option<HeaderValue> {
        let mut text = format!("{name}={value}; Path=/; SameSite=Lax");
        // Writing to a `String` cannot fail.
        let _ = write!(text, "; Max-Age={}", life.as_secs());
        if self == Self::Secure {
            text.push_str("; Secure");
        }
        if http_only {
            text.push_str("; HttpOnly");
        }
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_cookie_is_out_of_reach_for_scripts_and_other_hosts() {
        let [session, csrf] = CookieStyle::Secure
            .set(&Secret::from("s"), &Secret::from("c"), Duration::from_secs(60))
            .map(Option::unwrap);
        assert_eq!(session, "__Host-authv2=s; Path=/; SameSite=Lax; Max-Age=60; Secure; HttpOnly");
        assert_eq!(csrf, "authv2_csrf=c; Path=/; SameSite=Lax; Max-Age=60; Secure");
    }

    #[test]
    fn the_device_cookie_is_kept_for_400_days_out_of_reach_for_scripts_and_other_hosts() {
        let set = CookieStyle::Secure.remember(&Secret::from("d")).unwrap();
        let attributes = "Path=/; SameSite=Lax; Max-Age=34560000; Secure; HttpOnly";
        assert_eq!(set, format!("__Host-authv2_device=d; {attributes}"));
    }
}
