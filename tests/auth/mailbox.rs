//! The mailbox of `dev`.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::site::{Site, text};

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";
const PASSWORD: &str = "correct horse battery";

async fn site() -> Site {
    let site = Site::start("auth: { rate_limits: { mail_to: false } }\n").await;
    site.user(ADA, PASSWORD).await;
    site.user(BOB, PASSWORD).await;
    site
}

async fn ask(site: &Site, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = site.client.request(method, site.server.at(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn list(site: &Site, to: &str) -> Vec<Value> {
    let answer = ask(site, Method::GET, &format!("/_/mail.json?to={to}"), &[]).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_have_been_sent_is_found_there_newest_first() {
    let site = site().await;
    let url = &site.server.url;
    assert!(
        site.server.banner.iter().any(|line| *line == format!("mail         {url}/_/mail")),
        "{:?}",
        site.server.banner
    );
    assert!(list(&site, "").await.is_empty());
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    site.post("/auth/v1/otp", None, json!({ "email": BOB })).await.is(200);
    site.post("/auth/v1/otp", None, json!({ "email": ADA })).await.is(200);
    // There at once: nobody has to wait for it.
    let all: Vec<Value> = ask(&site, Method::GET, "/_/mail.json", &[]).await.json().await.unwrap();
    let order: Vec<_> = all.iter().map(|letter| (text(letter, "to"), text(letter, "occasion"))).collect();
    assert_eq!(order, [(ADA, "magic_link"), (BOB, "magic_link"), (ADA, "recover")]);
    let to_ada = list(&site, "ADA@example.test").await;
    assert_eq!(to_ada.len(), 2);
    let letter = &to_ada[1];
    let mut members: Vec<_> = letter.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected = ["code", "from", "html", "id", "link", "occasion", "sent_at", "subject", "text", "to"];
    assert_eq!(members, expected);
    assert!(text(letter, "text").contains(text(letter, "link")));
    assert!(text(letter, "html").contains(text(letter, "code")));
    let body = json!({ "type": "recovery", "email": ADA, "token": text(letter, "code") });
    let session = site.post("/auth/v1/verify", None, body).await.is(200);
    assert_eq!(session["user"]["email"], ADA);
    assert_eq!(ask(&site, Method::DELETE, "/_/mail", &[]).await.status().as_u16(), 204);
    assert!(list(&site, ADA).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_letters_and_runs_nothing_of_them() {
    let site = Site::start_with(
        "auth: { rate_limits: { mail_to: false } }\n",
        &[(
            "mail/recover.html",
            "<!doctype html><html><head></head><body><script>alert(1)</script><a href=\"{{ link }}\">go</a></body></html>",
        ), ("mail/recover.subject.txt", "<b>Hello</b> {{ to }}\n")],
        &[],
    )
    .await;
    site.user(ADA, PASSWORD).await;
    let page = ask(&site, Method::GET, "/_/mail", &[]).await.text().await.unwrap();
    assert!(page.contains("No letter yet."), "{page}");
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    let letter = list(&site, ADA).await.remove(0);
    let answer = ask(&site, Method::GET, "/_/mail?letter=1", &[]).await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    let page = answer.text().await.unwrap();
    assert!(
        page.contains("&lt;b&gt;Hello&lt;&#x2f;b&gt; ada@example.test") && !page.contains("<b>"),
        "{page}"
    );
    assert!(page.contains(&format!("<code class=\"code\">{}</code>", text(&letter, "code"))), "{page}");
    assert!(!page.contains("<script") && !page.contains(" style="), "{page}");
    assert!(page.contains("<iframe src=\"/_/mail/1.html\"") && page.contains("sandbox="), "{page}");
    let answer = ask(&site, Method::GET, "/_/mail/1.html", &[]).await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("sandbox ") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("allow-scripts") && !policy.contains("allow-same-origin"), "{policy}");
    assert!(answer.text().await.unwrap().contains("<head><base target=\"_blank\">"));
    let style = ask(&site, Method::GET, "/_/mail.css", &[]).await;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    for absent in ["/_/mail/2.html", "/_/mail/x.html", "/_/mail/1", "/_/mail/"] {
        assert_eq!(ask(&site, Method::GET, absent, &[]).await.status().as_u16(), 404, "{absent}");
    }
    let cleared = ask(&site, Method::POST, "/_/mail/clear", &[]).await;
    assert_eq!(
        (cleared.status().as_u16(), &cleared.headers()["location"]),
        (303, &"/_/mail".parse().unwrap())
    );
    assert!(list(&site, ADA).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_machine_looks_into_the_mailbox() {
    let site = site().await;
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    let port = site.server.url.rsplit(':').next().unwrap();
    let local = format!("localhost:{port}");
    let paths = [
        (Method::GET, "/_/mail"),
        (Method::GET, "/_/mail.json"),
        (Method::GET, "/_/mail/1.html"),
        (Method::GET, "/_/mail.css"),
        (Method::POST, "/_/mail/clear"),
        (Method::DELETE, "/_/mail"),
    ];
    for (method, path) in &paths {
        for headers in [
            // A name of somebody else's that leads here.
            ("host", "evil.test"),
            ("host", "localhost.evil.test"),
            // A page of somebody else's that asks.
            ("origin", "https://evil.test"),
            ("origin", "null"),
            // A proxy on this machine, asked by anybody.
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
        ] {
            let answer = ask(&site, method.clone(), path, &[headers]).await;
            assert_eq!(answer.status().as_u16(), 404, "{method} {path} {headers:?}");
            assert!(!answer.text().await.unwrap().contains(ADA));
        }
    }
    for headers in [("host", local.as_str()), ("origin", "http://localhost:5173")] {
        let answer = ask(&site, Method::GET, "/_/mail.json", &[headers]).await;
        let letters: Vec<Value> = answer.json().await.unwrap();
        assert_eq!(letters.len(), 1, "{headers:?}");
    }
    assert_eq!(ask(&site, Method::PUT, "/_/mail", &[]).await.status().as_u16(), 405);
}
