//! The templates that come with the crate.

mod de;
mod en;

use super::Kind;

/// The subject and the text of a kind of mail.
type Letters = fn(Kind) -> (&'static str, &'static str);

/// The languages there are.
pub(super) const LANGUAGES: [(&str, Letters); 2] = [("en", en::letter), ("de", de::letter)];

/// What the HTML of a mail looks like that is made from its text.
pub(super) const LETTER: &str = r##"<!doctype html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ subject }}</title>
</head>
<body style="margin: 0; padding: 24px; background: #f4f4f5; color: #18181b; font: 16px/1.5 sans-serif">
<div style="max-width: 560px; margin: 0 auto; padding: 24px; background: #ffffff; border-radius: 8px">
{%- for paragraph in paragraphs %}
{%- if link and paragraph == link %}
<p style="overflow-wrap: anywhere"><a href="{{ link }}">{{ link }}</a></p>
{%- else %}
<p style="white-space: pre-line">{{ paragraph }}</p>
{%- endif %}
{%- endfor %}
</div>
</body>
</html>
"##;
