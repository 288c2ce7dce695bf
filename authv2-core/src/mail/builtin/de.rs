//! The mails in German.

use crate::mail::Kind;

/// Where and when something happened.
macro_rules! happened {
    () => {
        "Zeit: {{ at }}
{%- if ip %}
Adresse: {{ ip }}
{%- endif %}
{%- if device %}
Gerät: {{ device }}
{%- endif %}"
    };
}

/// What to do if it was somebody else.
macro_rules! not_you {
    () => {
        "\n\nFalls Sie das nicht waren, setzen Sie sofort Ihr Passwort zurück und sehen Sie Ihre Sitzungen durch."
    };
}

pub(super) fn letter(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Registration => (
            "{% if case == 'known' %}Registrierung mit Ihrer E-Mail-Adresse{% else %}Schließen Sie Ihre Registrierung ab{% endif %}",
            "{%- if case == 'known' -%}
Jemand wollte bei {{ service }} mit dieser E-Mail-Adresse ein Konto anlegen. Sie haben dort schon eines: Melden Sie sich an, oder fordern Sie ein neues Passwort an, falls Sie Ihres vergessen haben.

Falls Sie das nicht waren, müssen Sie nichts tun. Niemand hat erfahren, dass Sie ein Konto haben.
{%- elif case == 'set_password' -%}
Jemand hat bei {{ service }} mit dieser E-Mail-Adresse ein Konto angelegt, mehr als einmal und mit verschiedenen Passwörtern. Falls Sie das waren, wählen Sie innerhalb einer Stunde mit diesem Link ein Passwort:

{{ link }}

Falls nicht, müssen Sie nichts tun.
{%- else -%}
Jemand hat bei {{ service }} mit dieser E-Mail-Adresse ein Konto angelegt. Falls Sie das waren, folgen Sie innerhalb eines Tages diesem Link:

{{ link }}

Falls nicht, müssen Sie nichts tun. Folgen Sie dem Link nicht: Das Passwort des Kontos ist nicht Ihres.
{%- endif %}",
        ),
        Kind::VerifyEmail => (
            "Bestätigen Sie Ihre E-Mail-Adresse",
            "Bitte bestätigen Sie, dass diese E-Mail-Adresse zu Ihrem Konto bei {{ service }} gehört. Der Link gilt einen Tag:

{{ link }}

Falls Sie dort kein Konto haben, folgen Sie ihm nicht: Jemand anders hat Ihre Adresse verwendet.",
        ),
        Kind::ResetPassword => (
            "Setzen Sie ein neues Passwort",
            "Jemand hat ein neues Passwort für Ihr Konto bei {{ service }} angefordert. Falls Sie das waren, wählen Sie innerhalb einer Stunde mit diesem Link eines. Alle Ihre Sitzungen enden damit.

{{ link }}

Falls nicht, müssen Sie nichts tun: Ihr Passwort bleibt, wie es ist.",
        ),
        Kind::SignInLink => (
            "Ihr Link zur Anmeldung",
            "Mit diesem Link melden Sie sich bei {{ service }} an. Er gilt einmal, zehn Minuten lang. Geben Sie ihn nie weiter.

{{ link }}

Falls Sie ihn nicht angefordert haben, müssen Sie nichts tun.",
        ),
        Kind::PasswordChanged => (
            "Ihr Passwort wurde geändert",
            concat!("Das Passwort Ihres Kontos bei {{ service }} wurde geändert.\n\n", happened!(), not_you!()),
        ),
        Kind::MfaEnabled => (
            "Ein zweiter Faktor wurde eingerichtet",
            concat!(
                "Die Anmeldung an Ihrem Konto bei {{ service }} verlangt jetzt einen zweiten Faktor.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::MfaDisabled => (
            "Ihr zweiter Faktor wurde entfernt",
            concat!(
                "Die Anmeldung an Ihrem Konto bei {{ service }} verlangt keinen zweiten Faktor mehr.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::RecoveryCodesReplaced => (
            "Sie haben neue Wiederherstellungscodes",
            concat!(
                "Für Ihr Konto bei {{ service }} wurden neue Wiederherstellungscodes erstellt. Die alten gelten nicht mehr.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::RecoveryCodeUsed => (
            "Ein Wiederherstellungscode wurde verwendet",
            concat!(
                "Einer der Wiederherstellungscodes Ihres Kontos bei {{ service }} wurde verwendet.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::NewDevice => (
            "Anmeldung mit einem neuen Gerät",
            concat!(
                "Jemand hat sich an Ihrem Konto bei {{ service }} mit einem Browser angemeldet, der bisher nicht bekannt war.\n\n",
                happened!(),
                not_you!()
            ),
        ),
        Kind::AccountDeleted => (
            "Ihr Konto wurde gelöscht",
            concat!(
                "Ihr Konto bei {{ service }} wurde gelöscht, mit allem, was dazu gehörte.\n\n",
                happened!(),
                "\n\nFalls Sie das nicht waren, wenden Sie sich an den Betreiber."
            ),
        ),
    }
}
