//! What others have stored is served so that no browser runs it as ours.

use reqwest::Method;

use super::site::{PNG, Reply, Site};

const SCRIPT: &[u8] = b"<script>document.title='run'</script>";
const SVG: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"document.title='run'\"/>";
const XHTML: &[u8] =
    b"<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\"><script>1</script></html>";
const STYLED: &[u8] = b"<?xml version=\"1.0\"?><?xml-stylesheet type=\"text/xsl\" href=\"#\"?><a/>";
const POLYGLOT: &[u8] = b"GIF89a/*<script>document.title='run'</script>*/=1;";
const PDF: &[u8] = b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj";

/// Declared type (empty for none) and content. None of it may be shown in place.
const FILES: [(&str, &[u8]); 46] = [
    ("text/html", SCRIPT),
    ("text/html;charset=utf-8", SCRIPT),
    ("text/html; charset=UTF-7", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"),
    ("TEXT/HTML", SCRIPT),
    ("Text/Html ; charset=utf-8", SCRIPT),
    ("text/html,image/png", SCRIPT),
    ("image/png,text/html", SCRIPT),
    ("image/png;text/html", SCRIPT),
    ("image/png", SCRIPT),
    ("image/jpeg", SCRIPT),
    ("image/gif", SVG),
    ("video/mp4", SCRIPT),
    ("audio/mpeg", SCRIPT),
    ("text/html\t", SCRIPT),
    ("text/htm", SCRIPT),
    ("text/x-html", SCRIPT),
    ("application/xhtml+xml", XHTML),
    ("application/xhtml+xml; charset=utf-8", XHTML),
    ("application/vnd.wap.xhtml+xml", XHTML),
    ("image/svg+xml", SVG),
    ("image/svg+xml;charset=utf-8", SVG),
    ("IMAGE/SVG+XML", SVG),
    ("image/svg", SVG),
    ("image/svg-xml", SVG),
    ("text/xml", STYLED),
    ("application/xml", STYLED),
    ("application/rss+xml", STYLED),
    ("application/atom+xml", STYLED),
    ("application/mathml+xml", STYLED),
    ("application/xslt+xml", STYLED),
    ("text/xsl", STYLED),
    ("application/javascript", b"document.title='run'"),
    ("text/javascript; charset=utf-8", b"document.title='run'"),
    ("application/ecmascript", b"document.title='run'"),
    ("text/css", b"body{background:url(//evil.example)}"),
    ("multipart/x-mixed-replace; boundary=x", b"--x\r\nContent-Type: text/html\r\n\r\n<script>1</script>"),
    ("multipart/related; boundary=x", b"--x\r\nContent-Type: text/html\r\n\r\n<script>1</script>"),
    ("message/rfc822", b"Content-Type: text/html\r\n\r\n<script>1</script>"),
    ("application/x-shockwave-flash", b"CWS\x0a"),
    ("application/pdf", PDF),
    ("application/octet-stream", SCRIPT),
    ("", SCRIPT),
    ("", SVG),
    ("", XHTML),
    ("", PDF),
    ("text/plain", SCRIPT),
];

/// What may be shown in place, since it is what it says.
const PICTURES: [(&str, &[u8]); 5] = [
    ("image/png", PNG),
    ("IMAGE/PNG; a=b", PNG),
    ("", PNG),
    ("image/gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
    // Whatever else it would be under another name: under this one no browser looks for that.
    ("image/gif", POLYGLOT),
];

/// Types under which a browser runs or renders something.
fn is_live(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let essence = kind.split([';', ',']).next().unwrap().trim();
    ["text/html", "text/xml", "application/xml", "text/xsl", "text/css"].contains(&essence)
        || ["multipart/", "message/"].iter().any(|family| essence.starts_with(family))
        || essence.ends_with("+xml")
        || essence.contains("script")
}

/// What every answer with content says, whatever it is.
#[track_caller]
fn is_inert(reply: &Reply) {
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(
        reply.header("content-security-policy"),
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    );
    assert_eq!(reply.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(reply.header("x-robots-tag"), "none");
    assert!(!is_live(reply.header("content-type")), "{}", reply.header("content-type"));
    let carries = matches!(reply.status, 200 | 206);
    assert_eq!(reply.headers.get_all("content-type").iter().count(), usize::from(carries));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_stored_runs_in_a_browser() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let doors = ["/object/public/", "/object/", "/object/authenticated/"];
    for (inline, at, (kind, content)) in FILES
        .iter()
        .enumerate()
        .map(|(at, file)| (false, at, file))
        .chain(PICTURES.iter().enumerate().map(|(at, file)| (true, at, file)))
    {
        let headers = [("content-type", *kind)];
        let headers = if kind.is_empty() { &[][..] } else { &headers[..] };
        let path = format!("posters/{inline}/{at}.html");
        ada.send(Method::POST, &format!("/object/{path}"), headers, *content).await.ok();
        for door in doors {
            for (name, value) in [
                ("accept", "text/html"),
                ("range", "bytes=0-3"),
                ("if-none-match", "*"),
                ("if-match", "\"x\""),
            ] {
                let reply = ada.get_with(&format!("{door}{path}"), &[(name, value)]).await;
                is_inert(&reply);
                let shown = reply.header("content-disposition");
                match (reply.status, inline) {
                    (200 | 206, false) => assert_eq!(shown, "attachment", "{kind}"),
                    (200 | 206, true) => assert_eq!(shown, "", "{kind}"),
                    (304 | 412, _) => assert!(reply.bytes.is_empty()),
                    (status, _) => panic!("{status} for {kind} {name}"),
                }
            }
            let head = ada.head(&format!("{door}{path}")).await;
            is_inert(&head);
            assert_eq!(head.header("content-disposition").is_empty(), inline, "{kind}");
        }
        let saved = ada.get(&format!("/object/public/{path}?download=a.html")).await;
        is_inert(&saved);
        assert!(saved.header("content-disposition").starts_with("attachment; filename=\"a.html\""));
        // In a form the type is said by the part.
        let told = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let part = ("; name=\"\"; filename=\"a.html\"", told.as_str(), *content);
        let stored = ada.form(Method::POST, &format!("{path}.formed"), &[part]).await;
        // A part whose type is none is no part.
        if stored.status != 200 {
            assert!(kind.contains([',', ';', '\t']), "{kind}");
            assert_eq!(stored.refused(), "InvalidRequest", "{kind}");
            continue;
        }
        stored.ok();
        let formed = ada.get(&format!("/object/public/{path}.formed")).await;
        is_inert(&formed);
        assert_eq!(formed.header("content-disposition").is_empty(), inline, "{kind}");
    }
}
