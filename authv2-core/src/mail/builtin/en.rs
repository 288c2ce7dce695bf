//! The mails in English.

use crate::mail::Kind;

/// Where and when something happened.
macro_rules! happened {
    () => {
        "Time: {{ at }}
{%- if ip %}
Address: {{ ip }}
{%- endif %}
{%- if device %}
Device: {{ device }}
{%- endif %}"
    };
}

/// What to do if it was somebody else.
macro_rules! not_you {
    () => {
        "\n\nIf this was not you, reset your password at once and look through your sessions."
    };
}

pub(super) fn letter(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Registration => (
            "{% if case == 'known' %}Your e-mail address was used to register{% else %}Finish your registration{% endif %}",
            "{%- if case == 'known' -%}
Somebody tried to register an account at {{ service }} with this e-mail address. You have one already: sign in, or ask for another password if you have forgotten yours.

If it was not you, there is nothing to do. Nobody was told that you have an account.
{%- elif case == 'set_password' -%}
Somebody registered an account at {{ service }} with this e-mail address, more than once and with different passwords. If it was you, choose a password with this link, within the hour:

{{ link }}

If it was not you, there is nothing to do.
{%- else -%}
Somebody registered an account at {{ service }} with this e-mail address. If it was you, follow this link within a day:

{{ link }}

If it was not you, there is nothing to do. Do not follow the link: the password of the account is not yours.
{%- endif %}",
        ),
        Kind::VerifyEmail => (
            "Confirm your e-mail address",
            "Please confirm that this e-mail address belongs to your account at {{ service }}. The link works for a day:

{{ link }}

If you have no account there, do not follow it: somebody else has used your address.",
        ),
        Kind::ResetPassword => (
            "Set another password",
            "Somebody asked for another password for your account at {{ service }}. If it was you, choose one with this link, within the hour. It ends all your sessions.

{{ link }}

If it was not you, there is nothing to do: your password stays as it is.",
        ),
        Kind::SignInLink => (
            "Your link to sign in",
            "With this link you sign in at {{ service }}. It works once, for ten minutes. Never pass it on.

{{ link }}

If you did not ask for it, there is nothing to do.",
        ),
        Kind::PasswordChanged => (
            "Your password was changed",
            concat!("The password of your account at {{ service }} was changed.\n\n", happened!(), not_you!()),
        ),
        Kind::MfaEnabled => (
            "A second factor was added",
            concat!(
                "Signing in to your account at {{ service }} now takes a second factor.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::MfaDisabled => (
            "Your second factor was removed",
            concat!(
                "Signing in to your account at {{ service }} takes no second factor any more.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::RecoveryCodesReplaced => (
            "You have new recovery codes",
            concat!(
                "New recovery codes were made for your account at {{ service }}. The old ones are worth nothing now.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::RecoveryCodeUsed => (
            "A recovery code was used",
            concat!("One of the recovery codes of your account at {{ service }} was used.\n\n", happened!(), not_you!()),
        ),
        Kind::NewDevice => (
            "A new device signed in",
            concat!(
                "Somebody signed in to your account at {{ service }} with a browser that it has not seen before.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::AccountDeleted => (
            "Your account was removed",
            concat!(
                "Your account at {{ service }} was removed, with everything in it.\n\n",
                happened!(),
                "\n\nIf this was not you, write to whoever runs the service."
            ),
        ),
    }
}
