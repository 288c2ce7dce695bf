//! Second factors, as pure functions: time-based codes, recovery codes, what methods amount to, who needs a second factor.

mod policy;
mod qr;
mod recovery;
mod totp;

pub use self::policy::{MfaPolicy, SECOND_FACTOR};
pub(crate) use self::{
    qr::svg,
    recovery::{RecoveryCode, RecoveryKey},
    totp::TotpSecret,
};

/// Authentication methods (RFC 8176) as the store keeps them, separated by spaces: `before` with `new` ones, each once.
#[must_use]
pub fn united(before: &str, new: &[&str]) -> String {
    let mut methods: Vec<&str> = before.split(' ').filter(|method| !method.is_empty()).collect();
    for method in new {
        if !methods.contains(method) {
            methods.push(method);
        }
    }
    methods.join(" ")
}

/// The authentication context class that methods amount to: the assurance levels of NIST SP 800-63B. Two factors make
/// `aal2`.
#[must_use]
pub fn assurance<M: AsRef<str>>(amr: &[M]) -> &'static str {
    if amr.iter().any(|method| method.as_ref() == "mfa") { SECOND_FACTOR } else { "aal1" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_united_each_once_in_the_order_they_came() {
        assert_eq!(united("pwd", &["otp", "mfa"]), "pwd otp mfa");
        assert_eq!(united("email otp mfa", &["pwd", "otp", "mfa"]), "email otp mfa pwd");
        assert_eq!(united("", &["pwd"]), "pwd");
    }

    #[test]
    fn two_factors_make_the_second_level() {
        assert_eq!((assurance(&["pwd"]), assurance(&["email", "otp", "mfa"])), ("aal1", "aal2"));
    }
}
