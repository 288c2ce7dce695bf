//! The tokens in the links of mails: derived, so that the outbox holds none, and stored as a hash.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::secret::{Secret, token_from};

/// What the tokens of links begin with.
const PREFIX: &str = "avm_";

/// What a link is good for. A token of one purpose is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Shows that the e-mail is read by whom the account belongs to.
    VerifyEmail,
    /// Sets another password.
    ResetPassword,
    /// Signs in.
    SignIn,
}

impl Purpose {
    /// As it is stored, and as links name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::SignIn => "sign_in",
        }
    }
}

/// Makes the tokens of links. Whoever has the key and a database can make those of all mails that wait in it.
pub(crate) struct LinkKey(hmac::Key);

impl LinkKey {
    pub(crate) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }

    /// The token of the mail with this salt: the same whenever the mail is prepared, on whatever node.
    pub(crate) fn token(&self, salt: &[u8], purpose: Purpose) -> Secret {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_str().as_bytes());
        context.update(&[0]);
        context.update(salt);
        let mut bytes = Zeroizing::new([0; 32]);
        for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        token_from(PREFIX, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_depend_on_key_salt_and_purpose_and_on_nothing_else() {
        let key = |byte| LinkKey::new(&Zeroizing::new([byte; 32]));
        let token = key(1).token(&[2; 32], Purpose::SignIn);
        assert_eq!(token.expose().len(), "avm_".len() + 43);
        assert_eq!(key(1).token(&[2; 32], Purpose::SignIn).expose(), token.expose());
        for other in [
            key(2).token(&[2; 32], Purpose::SignIn),
            key(1).token(&[3; 32], Purpose::SignIn),
            key(1).token(&[2; 32], Purpose::ResetPassword),
        ] {
            assert_ne!(other.expose(), token.expose());
        }
    }
}
