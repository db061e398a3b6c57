//! The project's pages, and the client for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::server::{Folder, NOTES, Server, Start, basewright, eventually};
use crate::support::{Database, database};

const WITHIN: Duration = Duration::from_secs(30);

/// What came back to a request that was sent byte by byte as it stands: clients would mend the path.
struct Raw {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Raw {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

async fn raw(server: &Server, method: &str, path: &[u8], headers: &str) -> Raw {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let mut request =
        [method.as_bytes(), b" ", path, b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"].concat();
    request.extend_from_slice(headers.as_bytes());
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    timeout(WITHIN, stream.read_to_end(&mut answer)).await.expect("no answer in time").unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::<String, String>::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let value = match headers.remove(name) {
            Some(before) => format!("{before}, {value}"),
            None => value.to_owned(),
        };
        headers.insert(name.to_owned(), value);
    }
    Raw { status, headers, body: answer[end + 4..].to_vec() }
}

async fn get(server: &Server, path: &str) -> Raw {
    raw(server, "GET", path.as_bytes(), "").await
}

/// As a browser whose user goes to an address.
async fn navigate(server: &Server, path: &str) -> Raw {
    raw(server, "GET", path.as_bytes(), "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n").await
}

/// `dev` on a database that is there as long as its value.
async fn dev(folder: &Folder) -> (Server, Database) {
    let database = database().await;
    (Server::dev(&folder.0, &folder.join(".basewright"), &database.urls), database)
}

fn notes() -> Folder {
    Folder::with(NOTES)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_their_names_and_nothing_else_is() {
    let folder = notes();
    for (name, text) in [
        ("index.html", "<h1>Home"),
        ("app.js", "export {}"),
        ("style.css", "a{}"),
        ("about.html", "about"),
        ("both", "the file"),
        ("both.html", "not this"),
        ("docs/index.html", "docs"),
        ("docs/a b.html", "spaces"),
        ("empty/readme.txt", "x"),
        ("a:b/index.html", "no scheme"),
        ("€/index.html", "money"),
        ("grüße.html", "greetings"),
        ("100%.txt", "percent"),
        (".env", "canary-hidden"),
        (".git/config", "canary-hidden"),
        ("docs/.secret.html", "canary-hidden"),
        (".index/index.html", "canary-hidden"),
        ("docs/.well-known/index.html", "canary-hidden"),
        (".well-known/security.txt", "Contact: x"),
        ("rest/index.html", "not the server's own"),
        ("back\\slash.html", "canary-hidden"),
    ] {
        folder.write(&format!("public/{name}"), text);
    }
    folder.write("outside.html", "canary-outside");
    let public = folder.join("public");
    symlink("about.html", public.join("inside.html")).unwrap();
    symlink("../outside.html", public.join("outside.html")).unwrap();
    symlink(folder.join("outside.html"), public.join("absolute.html")).unwrap();
    symlink("..", public.join("up")).unwrap();
    symlink("circle", public.join("circle")).unwrap();
    symlink(".git/config", public.join("config")).unwrap();
    symlink(".git", public.join("git")).unwrap();
    symlink("../.env", public.join("docs/environment")).unwrap();
    symlink(".index", public.join("start")).unwrap();
    symlink("docs/.well-known", public.join("known")).unwrap();
    symlink(".well-known/security.txt", public.join("security.txt")).unwrap();
    symlink("/dev/zero", public.join("device")).unwrap();
    fs::create_dir(public.join("pipes")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(public.join("pipes/pipe")).status().unwrap().success());
    let (server, _database) = dev(&folder).await;

    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", "<h1>Home"),
        ("/?a=../../x", "text/html; charset=utf-8", "<h1>Home"),
        ("/index.html", "text/html; charset=utf-8", "<h1>Home"),
        ("/index", "text/html; charset=utf-8", "<h1>Home"),
        ("/app.js", "text/javascript; charset=utf-8", "export {}"),
        ("/style.css?v=2", "text/css; charset=utf-8", "a{}"),
        ("/about", "text/html; charset=utf-8", "about"),
        ("/about.html", "text/html; charset=utf-8", "about"),
        ("/%61bout", "text/html; charset=utf-8", "about"),
        ("/both", "application/octet-stream", "the file"),
        ("/docs/", "text/html; charset=utf-8", "docs"),
        ("/docs/a%20b", "text/html; charset=utf-8", "spaces"),
        ("/gr%C3%BC%C3%9Fe", "text/html; charset=utf-8", "greetings"),
        ("/100%25.txt", "text/plain; charset=utf-8", "percent"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", "Contact: x"),
        ("/inside", "text/html; charset=utf-8", "about"),
        ("/security.txt", "text/plain; charset=utf-8", "Contact: x"),
        ("/rest/", "text/html; charset=utf-8", "not the server's own"),
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.text(), text, "{path}");
        for (name, value) in [
            ("content-type", kind),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("x-frame-options", "SAMEORIGIN"),
            ("content-security-policy", "frame-ancestors 'self'"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
    }
    // A page's links lead where its author thinks.
    for (path, to) in [
        ("/docs", "./docs/"),
        ("/docs?a=b", "./docs/?a=b"),
        ("/%64ocs", "./%64ocs/"),
        ("/a:b", "./a:b/"),
        ("/%E2%82%AC", "./%E2%82%AC/"),
    ] {
        let answer = get(&server, path).await;
        assert_eq!((answer.status, answer.header("location")), (308, to), "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let long = "/a".repeat(300);
    let longest = format!("/{}", "a".repeat(5_000));
    let deep = format!("/{}etc/passwd", "../".repeat(20));
    let encoded = format!("/{}etc/passwd", "%2e%2e/".repeat(20));
    let slashed = format!("/{}etc%2fpasswd", "..%2f".repeat(20));
    let hostile: &[&[u8]] = &[
        b"/nothing",
        b"/empty/",
        b"/empty",
        b"/docs/nothing",
        b"/about/",
        b"/index.html/",
        b"/app.js/..",
        b"//",
        b"//index.html",
        b"/./index.html",
        b"/docs/../index.html",
        b"/docs/%2e%2e/index.html",
        b"/../outside.html",
        b"/%2e%2e/outside.html",
        b"/..%2foutside.html",
        b"/%2e%2e%2foutside.html",
        b"/..\\outside.html",
        b"/..%5coutside.html",
        b"/%252e%252e/outside.html",
        b"/%c0%ae%c0%ae/outside.html",
        b"/%e0%80%ae%e0%80%ae/outside.html",
        b"/outside",
        b"/outside.html",
        b"/absolute.html",
        b"/up/outside.html",
        b"/up/collections/notes.yaml",
        b"/config",
        b"/git/config",
        b"/docs/environment",
        b"/start",
        b"/start/",
        b"/start/index.html",
        b"/known/",
        b"/circle",
        b"/circle/a",
        b"/device",
        b"/pipes/pipe",
        b"/.env",
        b"/%2eenv",
        b"/.git/config",
        b"/.git/",
        b"/docs/.secret.html",
        b"/docs/.secret",
        b"/.well-known/../.env",
        b"/back\\slash.html",
        b"/back%5cslash.html",
        b"/index.html%00",
        b"/index.html%00.png",
        b"/%00",
        b"/index.html%0d%0aset-cookie:a=b",
        b"/index.html%20",
        b"/INDEX.HTML",
        b"/basewright.yaml",
        b"/public/index.html",
        b"/%ff%fe",
        "/gr\u{00fc}n".as_bytes(),
        b"/~root",
        b"/docs;/index.html",
        b"/docs%2findex.html",
        long.as_bytes(),
        longest.as_bytes(),
        deep.as_bytes(),
        encoded.as_bytes(),
        slashed.as_bytes(),
    ];
    for path in hostile {
        let shown = path.escape_ascii();
        for headers in ["", "accept: text/html\r\n"] {
            let answer = raw(&server, "GET", path, headers).await;
            // What is no request at all is told so before anything of ours is asked.
            assert!(matches!(answer.status, 404 | 400), "{shown}: {}", answer.status);
            assert!(!answer.text().contains("canary") && !answer.text().contains("root:"), "{shown}");
            assert!(!answer.text().contains(&*folder.0.to_string_lossy()), "{shown}: {}", answer.text());
            if answer.status == 404 {
                assert_eq!(answer.json()["code"], "PGRST125", "{shown}");
            }
        }
    }
    assert_eq!(get(&server, "/").await.status, 200);
    let log = server.log();
    assert!(!log.contains("panic") && !log.contains("failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_paths_come_first_and_a_file_in_their_place_is_a_fault() {
    let folder = notes();
    folder.write("public/200.html", "the application");
    folder.write("public/404.html", "not this");
    let (server, _database) = dev(&folder).await;
    for path in [
        "/rest/v1",
        "/rest/v1/nothing",
        "/rest/v1/a/b/c",
        "/auth/v1/nothing",
        "/storage/v1/nothing",
        "/realtime/v1/nothing",
        "/functions/v1/f",
        "/admin/v1/x",
        "/_/nothing",
        "/health/nothing",
        "/health",
        "/metrics",
        "/sdk/nothing.js",
        "/sdk/",
        "/sdk",
        "/%73dk/nothing",
        "/rest%2fv1/notes",
    ] {
        let answer = navigate(&server, path).await;
        assert!(matches!(answer.status, 400..=404), "{path}: {}", answer.status);
        assert!(answer.header("content-type").starts_with("application/json"), "{path}");
    }
    // Whoever navigates to what is no file gets the application; whoever asks for data is told the truth.
    for path in ["/", "/users/7", "/users/a%2fb", "/users//x", "/.hidden", "/rest/v2"] {
        let page = navigate(&server, path).await;
        assert_eq!((page.status, page.text().as_str()), (200, "the application"), "{path}");
        assert!(page.header("vary").to_lowercase().contains("accept"), "{path}");
        let data = raw(&server, "GET", path.as_bytes(), "accept: application/json\r\n").await;
        assert_eq!((data.status, data.json()["code"].as_str()), (404, Some("PGRST125")), "{path}");
        let any = raw(&server, "GET", path.as_bytes(), "accept: */*\r\n").await;
        assert_eq!(any.status, 404, "{path}");
        let posted =
            raw(&server, "POST", path.as_bytes(), "accept: text/html\r\ncontent-length: 0\r\n").await;
        assert_eq!(posted.status, 404, "{path}");
    }
    fs::remove_file(folder.join("public/200.html")).unwrap();
    folder.write("public/404.html", "<h1>Lost");
    let lost = navigate(&server, "/users/7").await;
    assert_eq!((lost.status, lost.text().as_str()), (404, "<h1>Lost"));
    assert_eq!(lost.header("content-type"), "text/html; charset=utf-8");
    let lost =
        raw(&server, "GET", b"/users/7", "accept: text/html\r\nif-none-match: *\r\nrange: bytes=0-1\r\n")
            .await;
    assert_eq!((lost.status, lost.text().as_str()), (404, "<h1>Lost"));
    assert_eq!(get(&server, "/users/7").await.json()["code"], "PGRST125");
    assert_eq!(navigate(&server, "/rest/v1/nothing/at/all").await.json()["code"], "PGRST125");

    for taken in ["rest/v1", "sdk", "_", "health", "metrics", "storage/v1", "functions/v1", "admin/v1"] {
        let folder = notes();
        folder.write(&format!("public/{taken}/x.html"), "never");
        let checked = basewright().arg("check").arg(&folder.0).output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{taken}");
        let told = String::from_utf8(checked.stderr).unwrap();
        assert!(
            told.starts_with(&format!("public/{taken}: the path /{taken} is the server's own")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_asked_for_as_content_is_and_changed_by_nobody() {
    let folder = notes();
    let big: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    folder.write("public/small.txt", "0123456789");
    fs::write(folder.join("public/big.bin"), &big).unwrap();
    let (server, _database) = dev(&folder).await;
    for (path, content) in [("/small.txt", &b"0123456789"[..]), ("/big.bin", &big[..])] {
        let whole = get(&server, path).await;
        assert_eq!(whole.status, 200);
        assert!(whole.body == content, "{path}");
        assert_eq!(whole.header("content-length"), content.len().to_string());
        let (tag, date) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 4, "{tag}");
        assert_eq!(get(&server, path).await.header("etag"), tag);
        let last = content.len() - 1;
        let outside = format!("bytes */{}", content.len());
        for (headers, status, body, range) in [
            (format!("if-none-match: {tag}\r\n"), 304, &b""[..], String::new()),
            (format!("if-none-match: \"x\", W/{tag}\r\n"), 304, b"", String::new()),
            ("if-none-match: \"x\"\r\n".to_owned(), 200, content, String::new()),
            (format!("if-modified-since: {date}\r\n"), 304, b"", String::new()),
            (format!("if-match: {tag}\r\n"), 200, content, String::new()),
            ("if-match: \"x\"\r\n".to_owned(), 412, b"", String::new()),
            ("range: bytes=2-4\r\n".to_owned(), 206, &content[2..5], format!("bytes 2-4/{}", content.len())),
            (
                "range: bytes=-3\r\n".to_owned(),
                206,
                &content[last - 2..],
                format!("bytes {}-{last}/{}", last - 2, last + 1),
            ),
            (
                format!("range: bytes={}-\r\n", last),
                206,
                &content[last..],
                format!("bytes {last}-{last}/{}", last + 1),
            ),
            (
                format!("range: bytes=0-1\r\nif-range: {tag}\r\n"),
                206,
                &content[..2],
                format!("bytes 0-1/{}", content.len()),
            ),
            ("range: bytes=0-1\r\nif-range: \"x\"\r\n".to_owned(), 200, content, String::new()),
            ("range: bytes=0-1,3-4\r\n".to_owned(), 200, content, String::new()),
        ] {
            let answer = raw(&server, "GET", path.as_bytes(), &headers).await;
            assert_eq!(answer.status, status, "{path} {headers}");
            assert!(answer.body == body, "{path} {headers}");
            assert_eq!(answer.header("content-range"), range, "{path} {headers}");
            assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN", "{path} {headers}");
        }
        let beyond = raw(&server, "GET", path.as_bytes(), "range: bytes=9999999-\r\n").await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, outside.as_str()));
        let head = raw(&server, "HEAD", path.as_bytes(), "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-length", "etag", "last-modified", "content-type", "cache-control"] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
        let options = raw(&server, "OPTIONS", path.as_bytes(), "").await;
        assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
        let preflight = "origin: https://a.test\r\naccess-control-request-method: GET\r\n";
        assert_eq!(raw(&server, "OPTIONS", path.as_bytes(), preflight).await.status, 204);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let refused = raw(&server, method, path.as_bytes(), "content-length: 0\r\n").await;
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
        }
    }
    assert_eq!(raw(&server, "HEAD", b"/nothing", "").await.status, 404);
    assert_eq!(raw(&server, "OPTIONS", b"/nothing", "").await.status, 404);
    // A large file that is replaced is another one, whatever its size and its time.
    let before = get(&server, "/big.bin").await;
    let time = fs::metadata(folder.join("public/big.bin")).unwrap().modified().unwrap();
    let other: Vec<u8> = big.iter().rev().copied().collect();
    fs::write(folder.join("public/new"), &other).unwrap();
    fs::File::open(folder.join("public/new")).unwrap().set_modified(time).unwrap();
    fs::rename(folder.join("public/new"), folder.join("public/big.bin")).unwrap();
    let after =
        raw(&server, "GET", b"/big.bin", &format!("if-none-match: {}\r\n", before.header("etag"))).await;
    assert_eq!(after.status, 200);
    assert!(after.body == other);
    // And so is a small one.
    let small = get(&server, "/small.txt").await;
    let time = fs::metadata(folder.join("public/small.txt")).unwrap().modified().unwrap();
    folder.write("public/small.txt", "abcdefghij");
    fs::File::options()
        .write(true)
        .open(folder.join("public/small.txt"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let after =
        raw(&server, "GET", b"/small.txt", &format!("if-none-match: {}\r\n", small.header("etag"))).await;
    assert_eq!((after.status, after.text().as_str()), (200, "abcdefghij"));
    assert_eq!(get(&server, "/small.txt").await.header("last-modified"), small.header("last-modified"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_and_go_under_a_running_server_and_are_no_part_of_the_project() {
    let folder = notes();
    let (server, _database) = dev(&folder).await;
    assert!(!server.banner.iter().any(|line| line.starts_with("page ")), "{:?}", server.banner);
    let none = navigate(&server, "/").await;
    assert_eq!((none.status, none.json()["code"].as_str()), (404, Some("PGRST125")));
    assert!(none.json()["hint"].as_str().unwrap().contains("`public`"), "{}", none.text());
    let none = get(&server, "/sdk/here.js").await;
    assert_eq!((none.status, none.json()["code"].as_str()), (404, Some("PGRST125")));
    assert!(none.json()["hint"].as_str().unwrap().contains("`public`"), "{}", none.text());
    assert!(!none.text().contains(server.keys.publishable()));

    folder.write("public/index.html", "one");
    assert_eq!(get(&server, "/").await.text(), "one");
    for text in ["two", "three", "four"] {
        folder.write("public/index.html", text);
        assert_eq!(get(&server, "/").await.text(), text);
    }
    // Neither is any of this a project, nor does it matter that it is none.
    folder.write("public/broken.yaml", "collections: [");
    folder.write("public/collections/broken.yaml", "collections: [");
    folder.write("public/data.json", "{ no JSON");
    folder.write("collections/more.yaml", "collections:\n  more:\n    fields: { a: text }\n");
    let reads = async || {
        let asked = reqwest::Client::new().get(server.at("/rest/v1/more"));
        let answer = asked.header("apikey", server.keys.secret()).send().await.unwrap();
        (answer.status() == 200).then_some(())
    };
    eventually("the next version is in force", WITHIN, reads).await;
    assert_eq!(server.log().matches("the project changed").count(), 1, "{}", server.log());
    let checked = basewright().arg("check").arg(&folder.0).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(get(&server, "/data.json").await.text(), "{ no JSON");

    // The folder itself may be a link that is turned.
    fs::rename(folder.join("public"), folder.join("site-1")).unwrap();
    assert_eq!(get(&server, "/").await.status, 404);
    symlink("site-1", folder.join("public")).unwrap();
    assert_eq!(get(&server, "/").await.text(), "four");
    fs::remove_file(folder.join("public")).unwrap();
    fs::write(folder.join("public"), "no folder").unwrap();
    for path in ["/", "/index.html", "/public", "/sdk/here.js"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
    fs::remove_file(folder.join("public")).unwrap();
    fs::create_dir(folder.join("public")).unwrap();
    assert_eq!(get(&server, "/").await.status, 404);
    assert_eq!(get(&server, "/sdk/here.js").await.status, 200);
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// The key that `here.js` tells.
async fn told(server: &Server) -> Option<String> {
    let here = get(server, "/sdk/here.js").await;
    let text = here.text();
    assert!(!text.contains("service_role") && !text.contains(server.keys.secret()), "{text}");
    if here.status != 200 {
        return None;
    }
    assert_eq!(here.header("cache-control"), "no-store");
    assert_eq!(here.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(here.header("access-control-allow-origin"), "*");
    let (_, rest) = text.split_once("export const key = ").unwrap();
    Some(serde_json::from_str(rest.trim()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_told_the_publishable_key_in_force_and_never_another() {
    let folder = notes();
    folder.write("public/index.html", "x");
    let data = folder.join(".basewright");
    let (server, _database) = dev(&folder).await;
    let page = format!("page         {}/", server.url);
    assert!(server.banner.contains(&page), "{:?}", server.banner);
    assert_eq!(told(&server).await.as_deref(), Some(server.keys.publishable()));
    let keys = |args: &[&str]| {
        let output =
            basewright().arg("keys").arg(&folder.0).arg("--data").arg(&data).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let id = |key: &str| {
        let claims = key.split('.').nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["role"], "anon");
        claims["jti"].as_str().unwrap().to_owned()
    };
    keys(&["rotate"]);
    let rotated: Value = serde_json::from_str(&keys(&["--json"])).unwrap();
    let newer = rotated["publishable"].as_str().unwrap().to_owned();
    assert_ne!(newer, server.keys.publishable());
    eventually("the new key is told", WITHIN, || async { (told(&server).await? == newer).then_some(()) })
        .await;
    keys(&["revoke", &id(&newer)]);
    eventually("a revoked key is told to nobody", WITHIN, || async {
        told(&server).await.is_none().then_some(())
    })
    .await;
    let refused = get(&server, "/sdk/here.js").await;
    assert_eq!(refused.status, 404);
    assert!(refused.json()["hint"].as_str().unwrap().contains("rotate"), "{}", refused.text());
    keys(&["rotate"]);
    let next = eventually("and then the next", WITHIN, || async { told(&server).await }).await;
    assert!(next != newer && next != server.keys.publishable());
    let read =
        reqwest::Client::new().get(server.at("/rest/v1/notes")).header("apikey", next).send().await.unwrap();
    assert_eq!(read.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_served_with_the_server_to_pages_of_every_origin() {
    let folder = notes();
    let (server, _database) = dev(&folder).await;
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk-ts/bundle");
    for (name, kind) in [("index.js", "text/javascript; charset=utf-8"), ("index.js.map", "application/json")]
    {
        let path = format!("/sdk/{name}");
        let plain = get(&server, &path).await;
        assert_eq!(plain.status, 200, "{path}");
        assert!(plain.body == fs::read(bundle.join(name)).unwrap(), "{path}");
        for (header, value) in [
            ("content-type", kind),
            ("cache-control", "no-cache"),
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
            ("vary", "accept-encoding"),
            ("content-encoding", ""),
        ] {
            assert_eq!(plain.header(header), value, "{path}: {header}");
        }
        let packed = raw(&server, "GET", path.as_bytes(), "accept-encoding: br, gzip;q=0.8\r\n").await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
        assert_eq!(packed.header("content-type"), kind);
        assert_ne!(packed.header("etag"), plain.header("etag"));
        assert!(packed.body.len() * 2 < plain.body.len() + 200, "{path}: {}", packed.body.len());
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut unpacked)
            .unwrap();
        assert!(unpacked == plain.body, "{path}");
        for (accepts, expected) in [
            ("", ""),
            ("gzip;q=0", ""),
            ("br", ""),
            ("identity", ""),
            ("gzip", "gzip"),
            ("gzip, identity;q=0", "gzip"),
            ("deflate, gzip", "gzip"),
            ("\u{7f}", ""),
        ] {
            let answer =
                raw(&server, "HEAD", path.as_bytes(), &format!("accept-encoding: {accepts}\r\n")).await;
            if answer.status != 400 {
                assert_eq!(answer.header("content-encoding"), expected, "{accepts}");
            }
        }
        for (tag, with) in [(plain.header("etag"), ""), (packed.header("etag"), "accept-encoding: gzip\r\n")]
        {
            let again =
                raw(&server, "GET", path.as_bytes(), &format!("{with}if-none-match: {tag}\r\n")).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
            assert_eq!(again.header("etag"), tag);
        }
        let posted = raw(&server, "POST", path.as_bytes(), "content-length: 0\r\n").await;
        assert_eq!(posted.status, 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_page_may_be_a_service_worker_and_no_object_is_a_script_of_a_page() {
    let folder = notes();
    folder.write("buckets.yaml", "buckets:\n  open: { public: true }\n");
    folder.write("public/sw.js", "self.x = 1");
    let (server, _database) = dev(&folder).await;
    let client = reqwest::Client::new();
    for (name, kind) in [("x.html", "text/html"), ("x.js", "text/javascript"), ("x.svg", "image/svg+xml")] {
        let put = client.post(server.at(&format!("/storage/v1/object/open/{name}")));
        let put = put
            .header("apikey", server.keys.secret())
            .header("content-type", kind)
            .body("<script>1</script>");
        assert_eq!(put.send().await.unwrap().status(), 200, "{name}");
        let path = format!("/storage/v1/object/public/open/{name}");
        let shown = get(&server, &path).await;
        assert_eq!(shown.status, 200);
        assert!(shown.header("content-security-policy").ends_with("sandbox"), "{name}");
        assert!(shown.header("content-disposition").starts_with("attachment"), "{name}");
        assert_eq!(shown.header("content-type"), "text/plain; charset=utf-8", "{name}");
        assert_eq!(shown.header("service-worker-allowed"), "");
        let spelled = path.replacen("storage", "%73torage", 1);
        for path in [path.as_str(), spelled.as_str()] {
            let refused = raw(&server, "GET", path.as_bytes(), "service-worker: script\r\n").await;
            assert!(matches!(refused.status, 400 | 403), "{path}: {}", refused.status);
            assert!(refused.json()["message"].as_str().unwrap().contains("service worker"), "{path}");
        }
    }
    for path in ["/sdk/index.js", "/sdk/here.js", "/rest/v1/notes", "/_/mail.css", "/health/live"] {
        assert_eq!(
            raw(&server, "GET", path.as_bytes(), "service-worker: script\r\n").await.status,
            403,
            "{path}"
        );
    }
    let own = raw(&server, "GET", b"/sw.js", "service-worker: script\r\n").await;
    assert_eq!((own.status, own.text().as_str()), (200, "self.x = 1"));
    assert_eq!(own.header("service-worker-allowed"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_serves_pages_out_of_a_folder_that_nobody_may_write_to() {
    let database = database().await;
    let (folder, data) = (notes(), Folder::new());
    folder.write("public/index.html", "production");
    folder.write("public/many.txt", "x");
    folder.write("limits.yaml", "auth: { rate_limits: { rest_anonymous: 5/10m } }\n");
    let allow = |mode: u32| {
        for path in ["public", "collections", "policies", ""] {
            fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    allow(0o555);
    let before = list(&folder.0);
    let data = data.join("data");
    let start = Start {
        command: "serve",
        project: &folder.0,
        data: &data,
        database: Some(&database.urls),
        // Pages are not counted where requests of nobody in particular are.
        args: &["--migrate", "--anonymous-limit", "project"],
        env: &[],
    };
    let mut server = start.run();
    assert_eq!(get(&server, "/").await.text(), "production");
    assert_eq!(told(&server).await.as_deref(), Some(server.keys.publishable()));
    let none = get(&server, "/nothing").await;
    assert_eq!(none.json()["hint"], json!(null));
    let client = reqwest::Client::new();
    let reads = async || {
        let read = client.get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
        read.send().await.unwrap().status().as_u16()
    };
    let looks = async || client.get(server.at("/many.txt")).send().await.unwrap().status().as_u16();
    for _ in 0..20 {
        assert_eq!(looks().await, 200);
    }
    assert_eq!(reads().await, 200, "pages count for nothing");
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(reads().await == 429);
    }
    assert!(refused > 0, "nobody counts");
    assert_eq!(looks().await, 200);
    let health = |args: &[&str]| basewright().arg("health").args(args).output().unwrap();
    let well = health(&[&server.url]);
    assert_eq!((well.status.code(), well.stdout.as_slice()), (Some(0), &b"ready\n"[..]));
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let by_variables =
        basewright().arg("health").env("BASEWRIGHT_PORT", &port).env("BASEWRIGHT_LISTEN", "0.0.0.0").output();
    assert_eq!(by_variables.unwrap().status.code(), Some(0));
    server.signal(Signal::TERM);
    assert!(server.ended(WITHIN).success());
    let gone = health(&[&server.url]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("does not answer"), "{gone:?}");
    assert_eq!(list(&folder.0), before);
    allow(0o755);
}

/// Everything in a folder, by its name.
fn list(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(list(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}
