//! Letters on their way to a mail server.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::site::Site;
use crate::support::database;
use crate::support::server::{Folder, Start, eventually};
use crate::support::smtp::{Received, Smtp};

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";
const SETTINGS: &str = "
auth: { site_url: 'https://app.example.test', rate_limits: { mail_to: false } }
mail: { smtp: env(TEST_SMTP), from: 'Acme & Söhne <hello@acme.test>' }
";
const SOON: Duration = Duration::from_secs(20);

async fn site(smtp: &Smtp, files: &[(&str, &str)]) -> Site {
    let site = Site::start_with(SETTINGS, files, &[("TEST_SMTP", &smtp.url)]).await;
    site.user(ADA, PASSWORD).await;
    site
}

async fn recover(site: &Site) {
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
}

/// The letters, once there are so many.
async fn letters(smtp: &Smtp, count: usize) -> Vec<Received> {
    eventually("a letter", SOON, || async { Some(smtp.letters()).filter(|all| all.len() >= count) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_arrives_as_text_and_as_a_page_and_its_link_works() {
    let smtp = Smtp::start().await;
    let site = site(&smtp, &[]).await;
    recover(&site).await;
    let letter = letters(&smtp, 1).await.remove(0);
    assert_eq!((letter.from.as_str(), letter.to.as_slice()), ("hello@acme.test", &[ADA.to_owned()][..]));
    assert_eq!(letter.header("to"), ADA);
    assert!(letter.header("from").ends_with("<hello@acme.test>"));
    assert_eq!(letter.header("subject"), "Set a new password");
    assert_eq!(letter.header("auto-submitted"), "auto-generated");
    assert!(letter.header("message-id").ends_with("@acme.test>"));
    assert!(!letter.header("date").is_empty());
    let parts = letter.parts();
    let kinds: Vec<_> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    let (text, html) = (&parts[0].1, &parts[1].1);
    assert!(text.contains("your account at Acme & Söhne."), "{text}");
    assert!(html.contains("your account at Acme &amp; Söhne."), "{html}");
    let start = format!("{}/auth/v1/verify?", site.server.url);
    let link = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{text}"));
    let code = text.lines().find_map(|line| line.strip_prefix("Or type this code: ")).unwrap();
    assert!(code.len() == 6 && html.contains(&format!(">{code}</p>")), "{text}");
    let followed = site.client.get(link).send().await.unwrap();
    assert_eq!(followed.status().as_u16(), 303);
    let to = followed.headers()["location"].to_str().unwrap();
    assert!(to.starts_with("https://app.example.test/#access_token="), "{to}");
    let log = site.server.log();
    for secret in [ADA, code, link, "verify?"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("a mail was sent"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_says_it_in_its_own_words_from_the_next_letter_on() {
    let smtp = Smtp::start().await;
    let own = [
        ("mail/recover.subject.txt", "Neues Passwort\r\nfür {{ app }}\nBcc: all@example.test\n"),
        ("mail/recover.txt", "Code: {{ code }}\n"),
    ];
    let site = site(&smtp, &own).await;
    recover(&site).await;
    let letter = letters(&smtp, 1).await.remove(0);
    // Whatever stands in a subject is one line of one header.
    assert_eq!(letter.to, [ADA]);
    assert!(letter.headers().iter().all(|(name, _)| name != "bcc"), "{:?}", letter.headers());
    let parts = letter.parts();
    assert!(parts[0].1.starts_with("Code: ") && parts[0].1.trim().len() == 12, "{parts:?}");
    assert!(parts[1].1.contains("asked to set a new password"), "{parts:?}");
    site.write("mail/recover.txt", "Andere Worte: {{ code }}\n");
    eventually("the other words", SOON, || async {
        recover(&site).await;
        smtp.letters().iter().any(|letter| letter.parts()[0].1.starts_with("Andere Worte: ")).then_some(())
    })
    .await;
    // What cannot be read leaves the last good words in force.
    site.write("mail/recover.txt", "{{ cod }}\n");
    let fault = "mail/recover.txt:1:4: unknown variable `cod`";
    eventually("the fault", SOON, || async { site.server.log().contains(fault).then_some(()) }).await;
    let before = smtp.letters().len();
    recover(&site).await;
    assert!(letters(&smtp, before + 1).await.pop().unwrap().parts()[0].1.starts_with("Andere Worte: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_no_time_for_is_tried_again_and_what_it_refuses_is_not() {
    let smtp = Smtp::start().await;
    smtp.refuse(&["451 <ada@example.test> later"]);
    let site = site(&smtp, &[]).await;
    recover(&site).await;
    letters(&smtp, 1).await;
    assert_eq!(smtp.recipients(), 2);
    smtp.refuse(&["550 <ada@example.test> never"]);
    recover(&site).await;
    eventually("the refusal", SOON, || async {
        site.server
            .log()
            .lines()
            .any(|line| line.contains("a mail was not sent") && line.contains("550"))
            .then_some(())
    })
    .await;
    recover(&site).await;
    letters(&smtp, 2).await;
    assert_eq!(smtp.recipients(), 4);
    let log = site.server.log();
    assert!(log.contains("a mail was not sent yet: trying again") && log.contains("451"), "{log}");
    assert!(!log.contains(ADA), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_when_the_server_stops() {
    let smtp = Smtp::start().await;
    // The first pause is a second, the second is four.
    smtp.refuse(&["451 later", "451 later", "451 later"]);
    let mut site = site(&smtp, &[]).await;
    recover(&site).await;
    eventually("two attempts", SOON, || async { (smtp.recipients() >= 2).then_some(()) }).await;
    smtp.refuse(&[]);
    site.server.signal(Signal::TERM);
    let status = site.server.ended(Duration::from_secs(30));
    assert!(status.success());
    // Tried once more at the end: refused for the third time, so it is told.
    assert_eq!(smtp.recipients(), 3);
    assert!(site.server.log().contains("a mail was not sent"), "{}", site.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_to_start_without_what_the_project_names() {
    let database = database().await;
    let project = format!(
        "auth: {{ oauth: {{ github: {{ client_id: env(TEST_ID), client_secret: env(TEST_SECRET) }} }} }}\n{SETTINGS}"
    )
    .replace("\nauth: { site_url: 'https://app.example.test', rate_limits: { mail_to: false } }", "");
    let folder = Folder::with(&[("basewright.yaml", project.as_str())]);
    let data = folder.join(".basewright");
    std::fs::create_dir_all(&data).unwrap();
    let start = |env: &[(&str, &str)]| {
        Start {
            command: "serve",
            project: &folder.0,
            data: &data,
            database: Some(&database.urls),
            args: &["--migrate"],
            env,
        }
        .try_run()
    };
    let Err(told) = start(&[("TEST_ID", "a")]) else { panic!("it started") };
    for sentence in [
        "`auth.oauth.github.client_secret` needs the variable TEST_SECRET, which is not set",
        "`mail.smtp` needs the variable TEST_SMTP, which is not set",
    ] {
        assert!(told.contains(sentence), "{told}");
    }
    let url = "smtp://ada:hunter22@mail.example.test/inbox";
    let Err(told) = start(&[("TEST_ID", "a"), ("TEST_SECRET", "b"), ("TEST_SMTP", url)]) else {
        panic!("it started")
    };
    assert!(told.contains("`mail.smtp`: the variable TEST_SMTP holds no address of a mail server"), "{told}");
    assert!(!told.contains("hunter22"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_without_mail_says_so_and_refuses_alike_for_everybody() {
    let database = database().await;
    let folder =
        Folder::with(&[("basewright.yaml", "collections: { notes: { fields: { title: text } } }\n")]);
    let data = folder.join(".basewright");
    std::fs::create_dir_all(&data).unwrap();
    let server = tokio::task::block_in_place(|| {
        Start {
            command: "serve",
            project: &folder.0,
            data: &data,
            database: Some(&database.urls),
            args: &["--migrate"],
            env: &[],
        }
        .run()
    });
    assert!(server.log().contains("no mail is sent: without `mail.smtp` signing up with an address"));
    let client = reqwest::Client::new();
    let key = server.keys.publishable();
    let sql = crate::support::admin().connect(&database.name).await;
    sql.execute("insert into auth.users (email, email_confirmed_at) values ($1, now())", &[&ADA])
        .await
        .unwrap();
    let mut told = Vec::new();
    for (path, email) in [
        ("otp", ADA),
        ("otp", "nobody@example.test"),
        ("recover", ADA),
        ("recover", "nobody@example.test"),
        ("signup", "new@example.test"),
    ] {
        let answer = client
            .post(server.at(&format!("/auth/v1/{path}")))
            .header("apikey", key)
            .json(&json!({ "email": email, "password": PASSWORD }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 503, "{path}");
        let mut body: serde_json::Value = answer.json().await.unwrap();
        body.as_object_mut().unwrap().remove("error_id");
        told.push(body);
    }
    assert!(told.iter().all(|body| *body == told[0]), "{told:#?}");
    assert_eq!(told[0]["msg"], "This server cannot send mail");
    let users: i64 = sql.query_one("select count(*) from auth.users", &[]).await.unwrap().get(0);
    assert_eq!(users, 1, "somebody was signed up who can never confirm");
    // The mailbox is there in `dev` only.
    for path in ["/_/mail", "/_/mail.json", "/_/mail.css", "/_/mail/1.html"] {
        assert_eq!(client.get(server.at(path)).send().await.unwrap().status().as_u16(), 404, "{path}");
    }
}
