use super::*;
use crate::project::faults_tests::sources;
use crate::project::load;

fn words<'a>() -> Words<'a> {
    Words {
        app: "Acme & Sons",
        site_url: "https://app.acme.test",
        to: "ada@acme.test",
        link: Some("https://api.acme.test/auth/v1/verify?token=a&type=b"),
        code: Some("123456"),
        new_email: None,
        valid: Some("15 minutes"),
    }
}

fn letters(files: &[(&str, &str)]) -> Letters {
    let mut all = vec![("a.yaml", "roles:\n")];
    all.extend_from_slice(files);
    load(&sources(&all)).unwrap_or_else(|faults| panic!("{}", crate::project::render(&faults))).letters
}

#[test]
fn every_letter_says_what_it_is_about_in_all_its_forms() {
    let letters = letters(&[]);
    let mut subjects = BTreeSet::new();
    for occasion in Occasion::ALL {
        let letter = letters.render(occasion, &words()).unwrap();
        assert!(letter.subject.len() > 10 && !letter.subject.contains('\n'), "{letter:?}");
        assert!(letter.text.starts_with(&format!("{}\n\n", letter.subject)), "{}", letter.text);
        assert!(
            letter.text.contains("\nhttps://api.acme.test/auth/v1/verify?token=a&type=b\n"),
            "{}",
            letter.text
        );
        assert!(letter.text.contains(" 123456\n") && letter.text.contains("15 minutes"), "{}", letter.text);
        assert!(letter.text.ends_with("\n-- \nAcme & Sons\nhttps://app.acme.test\n"), "{}", letter.text);
        assert!(!letter.text.contains("\n\n\n") && !letter.text.contains(['{', '}']), "{}", letter.text);
        let href =
            "href=\"https:&#x2f;&#x2f;api.acme.test&#x2f;auth&#x2f;v1&#x2f;verify?token=a&amp;type=b\"";
        assert_eq!(letter.html.matches(href).count(), 2, "{}", letter.html);
        assert!(letter.html.contains(">123456</p>") && letter.html.contains("Acme &amp; Sons"));
        assert!(!letter.html.contains("Acme & Sons") && !letter.html.contains("{%"));
        for remote in ["src=", "url(", "<link", "<script", "@import"] {
            assert!(!letter.html.contains(remote), "{remote}");
        }
        assert!(subjects.insert(letter.subject));
    }
}

#[test]
fn what_a_letter_is_not_about_is_not_spoken_of() {
    let letters = letters(&[]);
    let bare = Words { link: None, code: None, valid: None, ..words() };
    let letter = letters.render(Occasion::PasswordChanged, &bare).unwrap();
    for absent in ["code", "Good for", "button", "none", "undefined"] {
        assert!(!letter.text.contains(absent) && !letter.html.contains(absent), "{absent}\n{}", letter.text);
    }
}

#[test]
fn nothing_that_a_letter_quotes_becomes_markup_or_a_header() {
    let letters =
        letters(&[("mail/confirm.subject.txt", "Hello\r\nBcc: all@acme.test\n{{ new_email }}\u{0}\n")]);
    let hostile = Words { new_email: Some("<script>alert(1)</script>"), ..words() };
    let letter = letters.render(Occasion::ChangeFrom, &hostile).unwrap();
    assert!(letter.html.contains("&lt;script&gt;") && !letter.html.contains("<script>"));
    assert!(letter.text.contains("<script>"));
    let letter = letters.render(Occasion::Confirm, &hostile).unwrap();
    assert_eq!(letter.subject, "Hello Bcc: all@acme.test <script>alert(1)</script>");
}

#[test]
fn a_project_overrides_what_it_likes() {
    let letters = letters(&[
        ("mail/confirm.txt", "Welcome to {{ app }}: {{ code }}\n"),
        ("mail/layout.html", "<p class=acme>{% block lead %}{% endblock %}</p>"),
        ("mail/recover.html", "{% extends layout %}{% block lead %}Own {{ code }}{% endblock %}"),
    ]);
    let confirm = letters.render(Occasion::Confirm, &words()).unwrap();
    assert_eq!(confirm.text, "Welcome to Acme & Sons: 123456\n");
    assert_eq!(confirm.subject, "Confirm your address");
    assert!(confirm.html.starts_with("<p class=acme>Somebody, probably you, signed up at Acme &amp; Sons"));
    let recover = letters.render(Occasion::Recover, &words()).unwrap();
    assert_eq!(recover.html, "<p class=acme>Own 123456</p>");
    assert!(recover.text.contains("asked to set a new password"));
}

#[test]
fn a_template_that_fails_on_what_it_is_given_is_replaced_by_ours() {
    let letters =
        letters(&[("mail/confirm.txt", "{% if new_email %}{{ code }}{% else %}{{ code|round }}{% endif %}")]);
    let letter = letters.render(Occasion::Confirm, &words()).unwrap();
    assert!(letter.text.starts_with("Confirm your address\n"), "{}", letter.text);
}

#[test]
fn a_fault_of_a_template_is_told_at_its_place() {
    for (file, text, expected) in [
        (
            "mail/confrim.txt",
            "x\n",
            "mail/confrim.txt:1:1 unknown letter `confrim` [did you mean `confirm`?]",
        ),
        (
            "mail/confirm.txt",
            "Hi,\nyour cod is {{ cod }}\n",
            "mail/confirm.txt:2:16 unknown variable `cod` [did you mean `code`?]",
        ),
        (
            "mail/confirm.html",
            "{% if false %}\n  {% if secret %}a{% endif %}\n{% endif %}",
            "mail/confirm.html:2:9 unknown variable `secret`",
        ),
        ("mail/confirm.html", "<p>\n{{ code", "mail/confirm.html:2:"),
        ("mail/invite.subject.txt", "a {% if code %}", "mail/invite.subject.txt:1:"),
        ("mail/layout.html", "{{ code|shout }}", "mail/layout.html:1:"),
        ("mail/recover.txt", "{{ code.inner.most }}", "mail/recover.txt:1:8 the template cannot be filled"),
        ("mail/recover.txt", "{% extends 'nothing' %}", "mail/recover.txt:1:"),
    ] {
        let faults = load(&sources(&[("a.yaml", "roles:\n"), (file, text)])).unwrap_err();
        let told: Vec<String> = faults
            .iter()
            .map(|fault| {
                let hint = fault.hint.as_ref().map(|hint| format!(" [{hint}]")).unwrap_or_default();
                format!("{}:{}:{} {}{hint}", fault.file, fault.line, fault.column, fault.message)
            })
            .collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with(expected), "{told:#?}");
    }
}
