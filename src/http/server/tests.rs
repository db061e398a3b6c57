use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use actix_web::dev::ServerHandle;
use actix_web::{HttpRequest, HttpResponse};

use super::*;
use crate::auth::keys::{Algorithm, Keyring};
use crate::db::{Lanes, LanesOptions, Pool, Session, Target};
use crate::http::body;
use crate::http::peer::Proxies;
use crate::http::principal::Caller;
use crate::http::reply::Failure;

/// Largest body that the test routes read.
const BODY: usize = 64 << 10;

/// A server with routes that misbehave, and no database behind it.
struct Running {
    address: SocketAddr,
    app: Arc<App>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(origins: &str) -> Running {
        let ring = Keyring::generate(Algorithm::Hs256, crate::app::now()).unwrap();
        let origins = Origins::parse(origins).unwrap();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                // A port on which nobody listens: whoever needs the database gets 503.
                let url = "postgresql://nobody@127.0.0.1:1/nothing?sslmode=disable";
                let target = Target::parse(url, &Session::default()).unwrap();
                let folder = std::env::temp_dir().join(format!("basewright-routes-{}", std::process::id()));
                let blobs =
                    crate::objects::blobs::Blobs::connect(&crate::objects::blobs::Place::Folder(folder))
                        .unwrap();
                let app = Arc::new(App::new(
                    ring,
                    None,
                    Pool::open(&target, 1).unwrap(),
                    Pool::open(&target, 1).unwrap(),
                    crate::auth::password::Hashing::start(1).unwrap(),
                    crate::objects::Store { blobs, traffic: Default::default(), place: "nowhere".into() },
                    crate::objects::turn::Turns::new(Pool::open(&target, 1).unwrap()),
                ));
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let options = Options {
                    origins,
                    keyless: false,
                    proxies: Proxies::default(),
                    public: PathBuf::from("nowhere"),
                    workers: 1,
                };
                let worker = move || Worker::new(Lanes::open(&target, LanesOptions::default()));
                let (server, address) =
                    serve_routes(listener, Arc::clone(&app), options, worker, misbehave).unwrap();
                tell.send((address, app, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, app, handle) = told.recv().unwrap();
        Running { address, app, handle, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
        stream
    }

    /// Sends the bytes and reads the answer until the server closes.
    fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        Answer::read(&mut stream)
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = futures_util::FutureExt::now_or_never(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A reset after the answer is the server's way of closing on a client that still sends.
        let mut piece = [0; 4096];
        while let Ok(n) = stream.read(&mut piece) {
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(&piece[..n]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer { head: head.to_owned(), body: body.to_owned() }
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn misbehave(cfg: &mut web::ServiceConfig) {
    async fn panic() -> HttpResponse {
        panic!("on purpose")
    }
    async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Failure> {
        let body = body::read(&request, payload, BODY).await?;
        Ok(HttpResponse::Ok().body(body.len().to_string()))
    }
    async fn guarded(
        caller: Caller,
        request: HttpRequest,
        payload: web::Payload,
    ) -> Result<HttpResponse, Failure> {
        body::read(&request, payload, BODY).await?;
        Ok(HttpResponse::Ok().body(caller.role.clone()))
    }
    cfg.service(super::super::routes::reading("/panic", panic))
        .service(super::super::routes::reading("/fine", || async { "fine" }))
        .route("/echo", web::post().to(echo))
        .route("/guarded", web::post().to(guarded));
    routes::configure(cfg);
}

#[test]
fn a_panic_costs_one_request_and_is_counted() {
    let server = Running::start("*");
    for n in 1..=3 {
        let answer = server.get("/panic", "Origin: https://page.example\r\n");
        assert_eq!((answer.status(), answer.code().as_str()), (500, "internal"), "{}", answer.head);
        // Even this answer can be read by a page and found in the log.
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(answer.body.contains(&id) && !answer.body.contains("on purpose"));
        assert_eq!(server.get("/fine", "").body, "fine");
        assert_eq!(server.app.count_panic(), 2 * n);
    }
}

#[test]
fn what_is_larger_than_its_limit_is_refused_by_name() {
    let server = Running::start("*");
    assert_eq!(server.get(&format!("/fine?{}", "a".repeat(16_000)), "").status(), 200);
    let answer = server.get(&format!("/fine?{}", "a".repeat(17_000)), "");
    assert_eq!((answer.status(), answer.code().as_str()), (414, "uri_too_long"));

    let headers = |count: usize, size: usize| -> String {
        (0..count).map(|n| format!("x-{n}: {}\r\n", "a".repeat(size))).collect()
    };
    assert_eq!(server.get("/fine", &headers(30, 1_000)).status(), 200);
    let answer = server.get("/fine", &headers(40, 1_000));
    assert_eq!((answer.status(), answer.code().as_str()), (431, "headers_too_large"));
    assert_eq!(server.get("/fine", &headers(150, 1)).status(), 431);
    assert_eq!(server.get("/fine", &headers(90, 5_000)).status(), 431);

    let post = |length: &str, body: &[u8]| {
        let mut request =
            format!("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n").into_bytes();
        request.extend_from_slice(body);
        server.ask(&request)
    };
    assert_eq!(post(&format!("Content-Length: {BODY}\r\n"), &vec![b'a'; BODY]).body, BODY.to_string());
    // Announced: refused before a byte of it is sent.
    let answer = post(&format!("Content-Length: {}\r\n", BODY + 1), b"");
    assert_eq!((answer.status(), answer.code().as_str()), (413, "payload_too_large"));
    // Not announced: refused once it is over.
    let mut chunked = format!("{:x}\r\n", BODY + 1).into_bytes();
    chunked.extend(vec![b'a'; BODY + 1]);
    chunked.extend(b"\r\n0\r\n\r\n");
    assert_eq!(post("Transfer-Encoding: chunked\r\n", &chunked).status(), 413);
    let answer = post("Content-Length: 3\r\nContent-Encoding: gzip\r\n", b"abc");
    assert_eq!((answer.status(), answer.code().as_str()), (415, "PGRST107"));
}

#[test]
fn who_is_refused_is_refused_before_the_body_comes() {
    let server = Running::start("*");
    let started = Instant::now();
    let answer =
        server.ask(b"POST /guarded HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status(), answer.code().as_str()), (401, "PGRST302"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(started.elapsed() < Duration::from_secs(9), "it waited for the body");
}

#[test]
fn slow_clients_are_cut_off_and_others_do_not_notice() {
    let server = Running::start("*");
    // A head that never ends.
    let mut head = server.connect();
    head.write_all(b"GET /fine HTTP/1.1\r\nHost: x\r\n").unwrap();
    // A body that drips slower than 1 KiB/s.
    let mut drip = server.connect();
    drip.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n").unwrap();
    let started = Instant::now();
    let body = std::thread::spawn(move || {
        let mut writer = drip.try_clone().unwrap();
        let dripping = std::thread::spawn(move || {
            // Ends when the server has closed.
            while started.elapsed() < Duration::from_secs(20) && writer.write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
        let answer = Answer::read(&mut drip);
        let took = started.elapsed();
        let _ = drip.shutdown(Shutdown::Both);
        dripping.join().unwrap();
        (answer, took)
    });
    let answer = Answer::read(&mut head);
    let took = started.elapsed();
    assert!(answer.status() == 408, "{}", answer.head);
    assert!(took < Duration::from_secs(8), "a slow head was kept for {took:?}");
    let quick = Instant::now();
    assert_eq!(server.get("/fine", "").body, "fine");
    assert!(quick.elapsed() < Duration::from_secs(2));
    let (answer, took) = body.join().unwrap();
    assert_eq!((answer.status(), answer.code().as_str()), (408, "request_timeout"), "{}", answer.head);
    assert!(
        took >= Duration::from_secs(9) && took < Duration::from_secs(16),
        "a slow body was kept for {took:?}"
    );
}

#[test]
fn a_stopping_server_finishes_what_it_began_and_says_goodbye() {
    let server = Running::start("*");
    let mut slow = server.connect();
    slow.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab").unwrap();
    // The request is under way once a later one on another connection is answered by the only worker.
    assert_eq!(server.get("/fine", "").status(), 200);
    server.app.drain();
    let answer = server.get("/health/ready", "");
    assert_eq!(answer.status(), 503, "a balancer must go elsewhere");
    let mut stopping = Box::pin(server.handle.stop(true));
    // The order is sent at the first poll.
    let _ = futures_util::FutureExt::now_or_never(&mut stopping);
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(server.address).is_ok() {
        assert!(Instant::now() < deadline, "it still accepts connections");
        std::thread::yield_now();
    }
    slow.write_all(b"cd").unwrap();
    let answer = Answer::read(&mut slow);
    assert_eq!((answer.status(), answer.body.as_str()), (200, "4"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn pages_of_listed_origins_alone_may_read_answers() {
    let server = Running::start("https://a.example");
    let preflight = |origin: &str| {
        let request = format!(
            "OPTIONS /rest/v1/anything HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: apikey\r\n\r\n"
        );
        server.ask(request.as_bytes())
    };
    let answer = preflight("https://a.example");
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(answer.header("access-control-allow-credentials").is_none());
    let answer = preflight("https://b.example");
    assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (204, None));
    assert_eq!(answer.header("vary"), Some("Origin"));
    for path in ["/fine", "/nothing", "/panic"] {
        let answer = server.get(path, "Origin: https://a.example\r\n");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"), "{path}");
        let answer = server.get(path, "Origin: null\r\n");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn an_unknown_path_and_an_unknown_method_are_told_apart() {
    let server = Running::start("*");
    for (request, status, code) in [
        ("GET /nothing", 404, "PGRST125"),
        ("GET /", 404, "PGRST125"),
        ("POST /health/live", 405, "PGRST117"),
        ("DELETE /health/ready", 405, "PGRST117"),
        ("TRACE /fine", 405, "PGRST117"),
        ("PURGE /nothing", 405, "PGRST117"),
        ("GET /..%2f..%2fetc/passwd", 404, "PGRST125"),
        ("GET /%ff%00", 404, "PGRST125"),
    ] {
        let answer =
            server.ask(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{request}");
        assert!(
            answer.header("x-request-id").is_some() && answer.header("proxy-status").is_some(),
            "{request}"
        );
    }
    assert!(server.ask(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body.is_empty());
}

#[test]
fn a_head_that_two_parsers_could_read_differently_is_refused() {
    let server = Running::start("*");
    let smuggled = "GET /fine HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        " Folded: x\r\n",
        "Bad\0Name: x\r\n",
        "Host: y\r\n",
    ] {
        let request = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{smuggled}");
        let answer = server.ask(request.as_bytes());
        assert!((400..500).contains(&answer.status()), "{head:?}: {}", answer.head);
        assert!(!answer.body.contains("fine"), "{head:?} let a second request through");
    }
    assert_eq!(server.get("/fine", "").body, "fine");
}
