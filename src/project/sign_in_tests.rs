//! What an admin may write of signing in, and what he is told of what he may not.

use std::time::Duration;

use super::faults_tests::{sources, told};
use super::*;
use crate::model::sign_in::{Rate, Setting};

fn loaded(text: &str) -> Project {
    match load(&sources(&[("a.yaml", text)])) {
        Ok(project) => project,
        Err(faults) => panic!("{}", render(&faults)),
    }
}

#[test]
fn nothing_said_is_what_is_safe() {
    let project = loaded("auth:\nmail:\n");
    assert_eq!(project.sign_in, SignIn::default());
    assert_eq!(project.mail, MailSettings::default());
}

#[test]
fn what_is_said_of_signing_in_comes_through() {
    let text = "
roles: { editor: }
auth:
  site_url: https://app.acme.test
  redirect_urls: ['http://localhost:5173/**', 'com.acme.app://welcome']
  manual_linking: true
  password: { min_length: 12 }
  signup: { enabled: false, confirm_email: false, anonymous: true }
  email: { enabled: false, code_length: 8, expiry: 10m, invite_expiry: 7d, confirm_both: false, reauthenticate: true }
  sessions: { access_token: 1h, reuse_interval: 0s, inactivity: 90m, time_box: 365d, single: true }
  mfa: { totp: false, max_factors: 3, issuer: Acme Inc. }
  oauth:
    github: { client_id: env(GITHUB_ID), client_secret: env( GITHUB_SECRET ), scopes: [gist] }
    acme: { issuer: 'https://id.acme.test/realm', client_id: web, audiences: [ios, android] }
  issuers:
    partner: { issuer: 'https://id.partner.test/', audience: acme, roles_claim: groups, roles: [editor] }
  rate_limits: { sign_in: 5/30s, sign_up: 'off', anonymous: false, verify: 9/1d }
mail: { smtp: env(SMTP_URL), from: 'Acme <hello@acme.test>' }
";
    let project = loaded(text);
    let auth = project.sign_in;
    assert_eq!(auth.site_url.as_deref(), Some("https://app.acme.test"));
    assert_eq!(auth.redirect_urls, ["http://localhost:5173/**", "com.acme.app://welcome"]);
    assert!(auth.manual_linking && auth.signup.anonymous && auth.sessions.single);
    assert!(!auth.signup.enabled && !auth.signup.confirm_email && !auth.mfa.totp);
    assert!(!auth.email.enabled && !auth.email.confirm_both && auth.email.reauthenticate);
    assert_eq!((auth.password_min_length, auth.email.code_length, auth.mfa.max_factors), (12, 8, 3));
    assert_eq!(auth.mfa.issuer.as_deref(), Some("Acme Inc."));
    let spans = [
        auth.email.expiry,
        auth.email.invite_expiry,
        auth.sessions.access_token,
        auth.sessions.reuse_interval,
        auth.sessions.inactivity,
        auth.sessions.time_box,
    ];
    assert_eq!(spans.map(|span| span.as_secs()), [600, 604_800, 3_600, 0, 5_400, 31_536_000]);
    let github = &auth.oauth["github"];
    assert_eq!(github.client_id, Setting::Env("GITHUB_ID".to_owned()));
    assert_eq!(github.client_secret, Some(Setting::Env("GITHUB_SECRET".to_owned())));
    assert_eq!((github.issuer.as_deref(), &github.scopes), (None, &vec!["gist".to_owned()]));
    let acme = &auth.oauth["acme"];
    assert_eq!(acme.issuer.as_deref(), Some("https://id.acme.test/realm"));
    assert_eq!((&acme.client_id, &acme.client_secret), (&Setting::Text("web".to_owned()), &None));
    assert_eq!(acme.audiences, ["ios", "android"]);
    let partner = &auth.issuers["partner"];
    assert_eq!((partner.issuer.as_str(), partner.audience.as_str()), ("https://id.partner.test/", "acme"));
    assert_eq!(
        (partner.roles_claim.as_deref(), &partner.roles),
        (Some("groups"), &vec!["editor".to_owned()])
    );
    let rates = auth.rate_limits;
    assert_eq!(rates.sign_in, Some(Rate::new(5, Duration::from_secs(30))));
    assert_eq!((rates.sign_up, rates.anonymous), (None, None));
    assert_eq!(rates.verify, Some(Rate::new(9, Duration::from_secs(86_400))));
    assert_eq!(rates.mail, SignIn::default().rate_limits.mail);
    assert_eq!(project.mail.smtp, Some(Setting::Env("SMTP_URL".to_owned())));
    assert_eq!(project.mail.from.as_deref(), Some("Acme <hello@acme.test>"));
}

#[test]
fn settings_may_stand_in_several_files_but_each_in_one() {
    let one = ("a.yaml", "auth: { signup: { anonymous: true } }\n");
    let project = load(&sources(&[one, ("b.yaml", "auth: { sessions: { single: true } }\n")])).unwrap();
    assert!(project.sign_in.signup.anonymous && project.sign_in.sessions.single);
    let faults = load(&sources(&[one, ("b.yaml", "auth: { signup: { enabled: false } }\n")])).unwrap_err();
    assert_eq!(faults[0].message, "`signup` is defined twice; the other definition is at a.yaml:1:9");
}

#[test]
fn a_word_that_is_not_known_is_told_at_its_place() {
    told("auth: { sesions: {} }\n", &["1:9 unknown key of `auth` `sesions` [did you mean `sessions`?]"]);
    told(
        "auth: { sessions: { acces_token: 1m } }\n",
        &["1:21 unknown key of `sessions` `acces_token` [did you mean `access_token`?]"],
    );
    told(
        "auth: { rate_limits: { signin: 1/1m } }\n",
        &["1:24 unknown key of `rate_limits` `signin` [did you mean `sign_in`?]"],
    );
    told("mail: { smpt: env(A) }\n", &["1:9 unknown key of `mail` `smpt` [did you mean `smtp`?]"]);
    told(
        "auth: { oauth: { github: { client_id: a, client_secret: env(B), scope: [c] } } }\n",
        &["1:65 unknown key of a provider `scope` [did you mean `scopes`?]"],
    );
}

#[test]
fn a_value_outside_its_ends_is_told_with_them() {
    told("auth: { password: { min_length: 5 } }\n", &["1:33 `min_length` is a whole number from 6 to 128"]);
    told("auth: { email: { code_length: 12 } }\n", &["1:31 `code_length` is a whole number from 6 to 10"]);
    told(
        "auth: { sessions: { access_token: 2h } }\n",
        &["1:35 `access_token` is a duration from 1s to 1h, as in `15m`"],
    );
    for wrong in ["6m", "10", "ten", "-1s", "1ms", "99999999999999999999d", "1 h"] {
        told(
            &format!("auth: {{ sessions: {{ reuse_interval: {wrong} }} }}\n"),
            &["1:37 `reuse_interval` is a duration from 0s to 5m"],
        );
    }
    for wrong in ["10", "0/1m", "10/0s", "10/2d", "10/1", "true", "x/1m", "10/1m/1h"] {
        told(
            &format!("auth: {{ rate_limits: {{ mail: {wrong} }} }}\n"),
            &["1:30 `mail` is so many in so long, as in `10/1m`, or `false` for no limit"],
        );
    }
    told(
        "auth: { rate_limits: { mail: off } }\n",
        &["1:30 `off` is read as a boolean by some YAML tools and as text by others"],
    );
    told("auth: { mfa: { issuer: 'a:b' } }\n", &["1:24 `issuer` is a name of up to 60 characters"]);
    told("auth: { manual_linking: 1 }\n", &["1:25 `manual_linking` is `true` or `false`, not a number"]);
}

#[test]
fn a_secret_is_named_and_never_shown() {
    let text = "auth: { oauth: { github: { client_id: a, client_secret: hunter22, bad: 1 } } }\nmail: { smtp: 'smtp://u:hunter22@h', from: a@b.test }\n";
    told(
        text,
        &[
            "1:57 `client_secret` is a secret, and secrets do not stand in a project's files [write `env(GITHUB_SECRET)`",
            "1:67 unknown key of a provider `bad`",
            "2:15 `smtp` is a secret, and secrets do not stand in a project's files [write `env(SMTP_URL)`",
        ],
    );
    let shown = render(&load(&sources(&[("a.yaml", text)])).unwrap_err());
    assert!(!shown.contains("hunter22"), "{shown}");
    assert!(shown.contains("client_secret: ********, bad: 1"), "{shown}");
    told("mail: { smtp: env(2X), from: a@b.test }\n", &["1:15 `smtp` names no variable [`env(NAME)`"]);
    told("mail: { smtp: env(X, from: a@b.test }\n", &["1:15 `smtp` names no variable"]);
}

#[test]
fn a_provider_has_what_it_needs() {
    let provider = |name: &str, keys: &str| format!("auth: {{ oauth: {{ {name}: {{ {keys} }} }} }}\n");
    told(
        &provider("githb", "client_id: a, client_secret: env(A)"),
        &["1:18 the provider `githb` needs an `issuer` [did you mean `github`?]"],
    );
    told(
        &provider("google", "client_id: a, client_secret: env(A)"),
        &["1:18 the provider `google` needs an `issuer` [`issuer: https://accounts.google.com`]"],
    );
    told(
        &provider("acme", ""),
        &["1:18 the provider `acme` needs an `issuer`", "1:18 the provider `acme` needs a `client_id`"],
    );
    told(
        &provider("github", "client_id: a"),
        &["1:18 the provider `github` needs a `client_secret` [`client_secret: env(GITHUB_SECRET)`"],
    );
    told(&provider("email", "client_id: a"), &["1:18 `email` cannot be a provider"]);
    told(&provider("Acme", "client_id: a"), &["1:18 `Acme` is no name"]);
    for wrong in [
        "http://id.acme.test",
        "ldap://id.acme.test",
        "https://u:p@id.acme.test",
        "https://id.acme.test?a",
        "https://id.acme.test/#a",
        "id.acme.test",
    ] {
        told(
            &provider("acme", &format!("client_id: a, issuer: '{wrong}'")),
            &["1:48 `issuer` is the address of a provider"],
        );
    }
    for right in
        ["http://localhost:9000", "http://127.0.0.1:9/x", "http://[::1]:9", "https://id.acme.test/a/"]
    {
        let project = loaded(&provider("acme", &format!("client_id: a, issuer: '{right}'")));
        assert_eq!(project.sign_in.oauth["acme"].issuer.as_deref(), Some(right));
    }
}

#[test]
fn somebody_elses_tokens_name_roles_that_there_are() {
    let issuer = |rest: &str| {
        format!(
            "roles: {{ editor: }}\nauth: {{ issuers: {{ x: {{ issuer: 'https://x.test', audience: a{rest} }} }} }}\n"
        )
    };
    told(
        &issuer(", roles_claim: g, roles: [editr]"),
        &["2:88 unknown role `editr` [did you mean `editor`?]"],
    );
    told(
        &issuer(", roles_claim: g, roles: [service_role]"),
        &["2:88 `service_role` is the secret key's and cannot be granted"],
    );
    told(&issuer(", roles_claim: g, roles: [authenticated]"), &["2:88 `authenticated` is whoever is there"]);
    told(&issuer(", roles_claim: g, roles: [editor, editor]"), &["2:96 `editor` stands twice"]);
    told(&issuer(", roles: [editor]"), &["2:64 `roles` without `roles_claim`"]);
    told(&issuer(", roles_claim: g"), &["2:64 `roles_claim` without `roles`"]);
    told("auth: { issuers: { x: { audience: a } } }\n", &["1:20 `x` needs an `issuer`"]);
    told(
        "auth: { issuers: { x: { issuer: 'https://x.test', audience: a }, y: { issuer: 'https://x.test', audience: b } } }\n",
        &["1:66 `x` is the same issuer already"],
    );
}

#[test]
fn a_link_leads_only_where_it_is_plain() {
    told(
        "auth: { redirect_urls: ['https://*.acme.test/', 'javascript:alert(1)', 'https://acme.test/**'] }\n",
        &[
            "1:25 links cannot lead there: `*` stands in the path only",
            "1:49 links cannot lead there: `javascript:` is no place for a session",
        ],
    );
    told("auth: { site_url: 'https://acme.test/*' }\n", &["1:19 `site_url` is the app's address"]);
    told("auth: { site_url: acme.test }\n", &["1:19 `site_url` is the app's address: it has no scheme"]);
}

#[test]
fn a_sender_is_an_address() {
    for wrong in ["Acme", "Acme <hello>", "\"a@b.test\\r\\nBcc: c@d.test\"", "'a@b.test, c@d.test'"] {
        told(&format!("mail: {{ from: {wrong} }}\n"), &["1:15 `from` is an address"]);
    }
    told("mail: { smtp: env(A) }\n", &["1:9 `smtp` without `from`: mails need a sender"]);
}
