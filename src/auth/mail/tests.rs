use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Instant;

use lettre::transport::smtp::client::{Tls, TlsParameters};

use super::*;
use crate::model::sign_in::{MailSettings, SignIn};
use crate::project::{Sources, load};

fn settings(relay: Option<Relay>, is_dev: bool) -> Settings {
    Settings {
        project: SignIn::default(),
        site_url: "http://localhost:3000".to_owned(),
        mail: MailSettings { smtp: None, from: Some("Acme <hello@acme.test>".to_owned()) },
        letters: load(&Sources::default()).unwrap().letters,
        relay,
        public_url: "http://localhost:8000".to_owned(),
        roles: Vec::new(),
        secrets: std::collections::HashMap::new(),
        is_dev,
        private_hosts: Vec::new(),
        github_url: String::new(),
    }
}

fn letter() -> Letter {
    Letter {
        occasion: Occasion::Recover,
        to: "ada@acme.test".to_owned(),
        link: Some("http://localhost:8000/auth/v1/verify?token=secret".to_owned()),
        code: Some("123456".to_owned()),
        new_email: None,
    }
}

/// A server that knows nothing of TLS: what each connection said to it, once it is over.
fn plain_server() -> (u16, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 plain\r\n").unwrap();
            let mut said = Vec::new();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                said.push(line);
                if stream.write_all(b"250 plain\r\n").is_err() {
                    break;
                }
            }
            if tell.send(said).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_does_not_encrypt_where_it_has_to() {
    let (port, told) = plain_server();
    let mut relay = Relay::parse(&format!("smtp://ada:hunter22@127.0.0.1:{port}"), "a@acme.test").unwrap();
    relay.tls = Tls::Required(TlsParameters::new("mail.acme.test".to_owned()).unwrap());
    let settings = Arc::new(settings(Some(relay), false));
    let mailer = Mailer::default();
    mailer.settle(&settings);
    mailer.send(&settings, letter()).unwrap();
    let begun = Instant::now();
    mailer.close(Duration::from_secs(30)).await;
    // It is given up at once: no later attempt would end better.
    assert!(begun.elapsed() < Duration::from_secs(25));
    let said = told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(said.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("EHLO")), "{said:?}");
}

#[test]
fn without_a_server_production_refuses_and_dev_keeps_the_last_letters() {
    let mailer = Mailer::default();
    let production = Arc::new(settings(None, false));
    mailer.settle(&production);
    for refused in [mailer.ready(&production), mailer.send(&production, letter())] {
        assert_eq!(refused.unwrap_err().code, AuthCode::MailUnavailable.into());
    }
    let dev = Arc::new(settings(None, true));
    mailer.settle(&dev);
    mailer.ready(&dev).unwrap();
    for number in 0..205 {
        mailer.send(&dev, Letter { to: format!("u{number}@acme.test"), ..letter() }).unwrap();
    }
    let kept = mailer.caught().letters(None);
    assert_eq!((kept.len(), kept[0].id, kept[199].id), (200, 205, 6));
    assert_eq!(kept[0].from, "Acme <hello@acme.test>");
    assert_eq!(mailer.caught().letters(Some("U204@Acme.test ")).len(), 1);
    assert!(mailer.caught().letters(Some("u0@acme.test")).is_empty());
    assert_eq!(mailer.caught().letter(205).unwrap().to, "u204@acme.test");
    mailer.caught().clear();
    assert!(mailer.caught().letters(None).is_empty());
}

#[test]
fn what_is_no_address_gets_no_letter() {
    let mailer = Mailer::default();
    let dev = Arc::new(settings(None, true));
    for to in ["ada", "ada@acme.test\r\nBcc: all@acme.test", "ada@acme.test, bob@acme.test", ""] {
        let refused = mailer.send(&dev, Letter { to: to.to_owned(), ..letter() }).unwrap_err();
        assert_eq!(refused.code, AuthCode::EmailAddressInvalid.into(), "{to:?}");
    }
}

#[test]
fn a_letter_says_how_long_it_is_good_and_who_writes() {
    let mut settings = settings(None, true);
    for (expiry, expected) in [(900, "15 minutes"), (3_600, "1 hour"), (90, "90 seconds"), (86_400, "1 day")]
    {
        settings.project.email.expiry = Duration::from_secs(expiry);
        let written = letter().write(&settings).unwrap();
        assert!(written.text.contains(&format!("Good for {expected}.")), "{}", written.text);
        assert!(written.text.contains("your account at Acme."));
    }
    settings.mail.from = None;
    settings.site_url = "https://app.acme.test/welcome".to_owned();
    assert!(letter().write(&settings).unwrap().text.contains("your account at app.acme.test."));
}

#[tokio::test]
async fn so_many_letters_wait_and_no_more_and_what_is_lost_at_the_end_does_not_hold_it_up() {
    // Connections are taken by the system and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let settings = Arc::new(settings(Some(Relay::parse(&url, "a@acme.test").unwrap()), true));
    let mailer = Mailer::default();
    mailer.settle(&settings);
    for _ in 0..1_000 {
        mailer.ready(&settings).unwrap();
        mailer.send(&settings, letter()).unwrap();
    }
    for refused in [mailer.ready(&settings), mailer.send(&settings, letter())] {
        assert_eq!(refused.unwrap_err().code, AuthCode::MailUnavailable.into());
    }
    // The same server named again is no other one: what waits still counts.
    mailer.settle(&settings);
    assert!(mailer.ready(&settings).is_err());
    let begun = Instant::now();
    mailer.close(Duration::from_millis(10)).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    // Whoever named a server does not find the letters somewhere else.
    assert!(mailer.caught().letters(None).is_empty());
}
