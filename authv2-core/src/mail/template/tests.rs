use super::*;

/// A directory of templates, gone when it is dropped.
struct Own(PathBuf);

impl Own {
    fn with(files: &[(&str, &str)]) -> Self {
        let own = Self(std::env::temp_dir().join(format!("authv2-templates-{}", crate::id::MailId::new())));
        fs::create_dir(&own.0).unwrap();
        for (name, content) in files {
            let path = own.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        own
    }

    fn load(&self) -> Result<Templates, TemplateError> {
        Templates::load(Some(&self.0), "en")
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        Self::with(files).load().unwrap_err().to_string()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn facts(facts: &[(&'static str, &str)]) -> Details {
    facts.iter().map(|(name, fact)| (Cow::Borrowed(*name), (*fact).to_owned())).collect()
}

fn language_of(templates: &Templates, wanted: Option<&str>) -> String {
    templates.render(Kind::PasswordChanged, wanted, &Details::new()).unwrap().language
}

#[test]
fn writes_every_kind_in_every_language_that_comes_with_the_crate() {
    let templates = Templates::load(None, "en").unwrap();
    for language in ["en", "de"] {
        for kind in Kind::ALL {
            let facts = facts(&[("case", "confirm"), ("link", "https://a.example/#x=y"), ("service", "a.example")]);
            let text = templates.render(kind, Some(language), &facts).unwrap();
            assert_eq!(text.language, language);
            assert!(!text.subject.is_empty() && text.text.contains("a.example"), "{text:?}");
            assert!(text.html.contains(&format!("<html lang=\"{language}\">")), "{text:?}");
            assert!(!text.text.contains("{{") && !text.text.contains("{%"), "{text:?}");
        }
    }
    let of = |kind| templates.render(kind, None, &facts(&[("link", "https://a.example/#x=y")])).unwrap();
    for kind in [Kind::VerifyEmail, Kind::ResetPassword, Kind::SignInLink] {
        assert!(of(kind).text.lines().any(|line| line == "https://a.example/#x=y"), "alone on its line: {kind:?}");
        assert!(of(kind).html.contains("<a href=\"https:&#x2f;&#x2f;a.example&#x2f;#x=y\">"), "{}", of(kind).html);
    }
}

#[test]
fn takes_the_nearest_language_there_is() {
    let templates = Templates::load(None, "en").unwrap();
    for (wanted, language) in
        [(Some("de"), "de"), (Some("de-ch"), "de"), (Some("fr"), "en"), (Some("../de"), "en"), (None, "en")]
    {
        assert_eq!(language_of(&templates, wanted), language, "{wanted:?}");
    }
    let german = Templates::load(None, "de-at").unwrap();
    assert_eq!((language_of(&german, Some("fr")), language_of(&german, Some("en"))), ("de".into(), "en".into()));
}

#[test]
fn leaves_out_what_is_not_known() {
    let templates = Templates::load(None, "en").unwrap();
    let without = templates.render(Kind::PasswordChanged, None, &facts(&[("at", "now")])).unwrap();
    assert!(without.text.contains("Time: now") && !without.text.contains("Address"), "{}", without.text);
    let with = templates.render(Kind::PasswordChanged, None, &facts(&[("at", "now"), ("ip", "192.0.2.1")])).unwrap();
    assert!(with.text.contains("Time: now\nAddress: 192.0.2.1\n\nIf this"), "{}", with.text);
}

#[test]
fn facts_are_data_in_html_and_in_the_subject() {
    let own = Own::with(&[("en/password_changed.subject", "Changed on {{ device }}")]);
    let templates = own.load().unwrap();
    let hostile = "<img src=x onerror=alert(1)>\" '\r\nBcc: eve@example.org\u{85}\u{b}{{ link }}";
    let text = templates.render(Kind::PasswordChanged, None, &facts(&[("device", hostile), ("at", "&")])).unwrap();
    assert!(!text.html.contains("<img") && text.html.contains("&lt;img"), "{}", text.html);
    assert!(!text.subject.contains(char::is_control), "{:?}", text.subject);
    assert!(text.subject.starts_with("Changed on <img") && text.subject.ends_with("{{ link }}"), "{:?}", text.subject);
    assert!(text.text.contains("Time: &\n"), "text is not escaped: {}", text.text);
}

#[test]
fn an_applications_own_files_take_the_place_of_single_parts() {
    let own = Own::with(&[
        ("en/reset_password.subject", "Ours\n"),
        ("en/verify_email.html", "{% include 'en/_head.html' %}<b>{{ email }}</b>"),
        ("en/_head.html", "<i>{{ service }}</i>"),
        ("letter.html", "<main>{% for paragraph in paragraphs %}[{{ paragraph }}]{% endfor %}</main>"),
        ("fr/sign_in_link.subject", "Connexion"),
        ("fr/sign_in_link.txt", "Voici :\r\n\r\n{{ link }}"),
        (".gitignore", ""),
    ]);
    let templates = own.load().unwrap();
    let facts = facts(&[("service", "a & b"), ("email", "<a@b.org>"), ("link", "L")]);
    let reset = templates.render(Kind::ResetPassword, None, &facts).unwrap();
    assert_eq!(reset.subject, "Ours");
    assert!(reset.text.starts_with("Somebody asked") && reset.html.starts_with("<main>[Somebody"), "{reset:?}");
    let verify = templates.render(Kind::VerifyEmail, None, &facts).unwrap();
    assert_eq!(verify.html, "<i>a &amp; b</i><b>&lt;a@b.org&gt;</b>");
    let link = templates.render(Kind::SignInLink, Some("fr-ca"), &facts).unwrap();
    assert_eq!((link.language.as_str(), link.text.as_str()), ("fr", "Voici :\n\nL"));
    assert_eq!(link.html, "<main>[Voici :][L]</main>");
    let other = templates.render(Kind::VerifyEmail, Some("fr"), &facts).unwrap();
    assert_eq!(other.language, "en", "a mail is in one language");
}

#[test]
fn what_would_break_later_stops_the_start() {
    for (files, told) in [
        (&[("en/reset_pasword.txt", "x")][..], "en/reset_pasword.txt: no mail is called so"),
        (&[("en/reset_password.text", "x")], "en/reset_password.text: no mail is called so"),
        (&[("readme.md", "x")], "readme.md: no mail is called so"),
        (&[("fr/reset_password.txt", "x")], "fr/reset_password.subject: is missing"),
        (&[("fr/reset_password.html", "x")], "fr/reset_password.subject: is missing"),
        (&[("en/reset_password.txt", "{{ link")], "en/reset_password.txt: "),
        (&[("en/reset_password.txt", "{{ lnik }}")], "en/reset_password.txt: "),
        (&[("en/registration.txt", "{% if case == 'known' %}{{ lnik }}{% endif %}")], "en/registration.txt: "),
        (&[("letter.html", "{% include 'nowhere' %}")], "letter.html: "),
    ] {
        let refusal = Own::refusal(files);
        assert!(refusal.starts_with(told), "{told} is not in {refusal}");
    }
    assert!(Templates::load(Some(Path::new("/nowhere/at/all")), "en").is_err());
}
