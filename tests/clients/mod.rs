//! The client libraries as npm has them, unmodified, against the real server.

mod storage;
mod tus;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::database;
use crate::support::server::{Folder, Server, Start, basewright, eventually};

const ADA: &str = "00000000-0000-4000-8000-000000000ada";
const BOB: &str = "00000000-0000-4000-8000-000000000b0b";

/// Where the libraries are installed.
///
/// # Panics
/// If they are not, with what to do about it.
pub fn libraries() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let installed = home.join("node_modules/@supabase/supabase-js/package.json").is_file();
    assert!(
        installed && node.is_ok_and(|status| status.success()),
        "the published clients or node are missing: run `bash tests/setup.sh`"
    );
    home
}

/// What node's test runner counted: the number behind `# word ` in its output.
fn counted(output: &str, word: &str) -> u64 {
    let prefix = format!("# {word} ");
    let number = output.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("node counted no `{word}`:\n{output}"))
}

/// A token of the server's own command line.
fn token(project: &Path, data: &Path, sub: &str, roles: &[&str]) -> String {
    let mut command = basewright();
    command.arg("token").arg(project).arg("--data").arg(data).args(["--sub", sub]);
    for role in roles {
        command.args(["--roles", role]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_clients_get_what_they_ask_for() {
    let home = libraries();
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (home.join("project"), folder.join("data"));
    let server = Server::dev(&project, &data, &database.urls);
    let token = |sub: &str, roles: &[&str]| token(&project, &data, sub, roles);
    let output = Command::new("node")
        // One after the other: they write to the same collections.
        .args(["--test", "--test-concurrency=1", "--test-reporter=tap"])
        .args(["dialect.test.mjs", "postgrest.test.mjs"])
        .current_dir(&home)
        .env("BW_URL", &server.url)
        .env("BW_PUBLISHABLE", server.keys.publishable())
        .env("BW_SECRET", server.keys.secret())
        .env("BW_ADA", ADA)
        .env("BW_BOB", BOB)
        .env("BW_TOKEN_ADA", token(ADA, &[]))
        .env("BW_TOKEN_BOB", token(BOB, &[]))
        .env("BW_TOKEN_EDITOR", token(BOB, &["editor"]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{problems}\n{}", server.log());
    let (tests, passed) = (counted(&said, "tests"), counted(&said, "pass"));
    let calls = counted(&said, "calls:") + counted(&said, "dialect calls:");
    assert_eq!(tests, passed, "{said}");
    assert!(tests >= 124 && calls >= 255, "some of the tests did not run: {tests} tests, {calls} calls");
    println!("PASS clients {passed} of {tests} tests, {calls} calls of the unmodified clients");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_clients_listen_and_are_back_after_a_restart() {
    let home = libraries();
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (home.join("realtime"), folder.join("data"));
    let mut server = Server::dev(&project, &data, &database.urls);
    // Where the server is, and the wish for another one: the tests write it, and it goes when it is fulfilled.
    let (address, restart) = (folder.join("address"), folder.join("restart"));
    std::fs::write(&address, &server.url).unwrap();
    let token = |sub: &str, roles: &[&str]| token(&project, &data, sub, roles);
    let mut child = Command::new("node")
        // Older ones have their WebSocket behind a flag; newer ones take the flag and have it anyway.
        .args(["--experimental-websocket", "--test", "--test-reporter=tap", "realtime.test.mjs"])
        .current_dir(&home)
        .env("BW_ADDRESS", &address)
        .env("BW_RESTART", &restart)
        .env("BW_PUBLISHABLE", server.keys.publishable())
        .env("BW_SECRET", server.keys.secret())
        .env("BW_TOKEN_ADA", token(ADA, &[]))
        .env("BW_TOKEN_BOB", token(BOB, &[]))
        .env("BW_TOKEN_EDITOR", token(BOB, &["editor"]))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.join("said")).unwrap())
        .stderr(std::fs::File::create(folder.join("problems")).unwrap())
        .spawn()
        .unwrap();
    let mut restarts = 0;
    let status = eventually("node is done", Duration::from_secs(240), || {
        let ended = child.try_wait().unwrap();
        if ended.is_none() && restart.exists() {
            // The old one first: there is one stream of a name.
            server.signal(Signal::TERM);
            server.ended(Duration::from_secs(30));
            server = Server::dev(&project, &data, &database.urls);
            std::fs::write(&address, &server.url).unwrap();
            std::fs::remove_file(&restart).unwrap();
            restarts += 1;
        }
        std::future::ready(ended)
    })
    .await;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let said = read("said");
    assert!(status.success(), "{said}\n{}\n{}", read("problems"), server.log());
    let (tests, passed, subscriptions) =
        (counted(&said, "tests"), counted(&said, "pass"), counted(&said, "subscriptions:"));
    assert_eq!(tests, passed, "{said}");
    assert!(tests >= 28 && subscriptions >= 41 && restarts == 2, "some of the tests did not run:\n{said}");
    println!("PASS listening {passed} of {tests} tests, {subscriptions} subscriptions, {restarts} restarts");
}

/// A program of node that tests talk to. It ends with the value.
pub struct Services {
    _child: Child,
    /// What it said in its first line.
    pub said: serde_json::Value,
}

impl Services {
    /// Starts a script of this folder and waits for its first line, which is JSON.
    pub fn start(script: &str, env: &[(&str, &str)]) -> Services {
        let mut command = Command::new("node");
        command.arg(script).current_dir(libraries()).envs(env.iter().copied());
        // It ends when nobody is left at the other end of its input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{script} did not start: {line}"));
        Services { _child: child, said }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_signs_in_in_every_way_it_knows() {
    let home = libraries();
    let services = Services::start("services.mjs", &[]);
    let mails = format!("http://127.0.0.1:{}", services.said["http"]);
    let smtp = format!("smtp://127.0.0.1:{}", services.said["smtp"]);
    // Mails and the provider know the server by a name, which is there before its port is.
    let public = "http://server.test";
    let provider = Services::start("idp.mjs", &[("BW_CALLBACK", &format!("{public}/auth/v1/callback"))]);
    let issuer = provider.said["issuer"].as_str().unwrap();
    let database = database().await;
    let folder = Folder::new();
    let data = folder.join("data");
    let project = std::fs::read_to_string(home.join("auth/basewright.yaml")).unwrap();
    folder.write("project/basewright.yaml", &project.replace("https://issuer.example", issuer));
    let project = folder.join("project");
    let env = [("TEST_SMTP_URL", smtp.as_str()), ("BASEWRIGHT_PUBLIC_URL", public)];
    let start = Start {
        command: "dev",
        project: &project,
        data: &data,
        database: Some(&database.urls),
        args: &[],
        env: &env,
    };
    let server = tokio::task::block_in_place(|| start.run());
    let output = Command::new("node")
        .args(["--experimental-websocket", "--test", "--test-reporter=tap", "auth.test.mjs"])
        .current_dir(&home)
        .env("BW_URL", &server.url)
        .env("BW_PUBLISHABLE", server.keys.publishable())
        .env("BW_SECRET", server.keys.secret())
        .env("BW_MAILS", &mails)
        .env("BW_PUBLIC", public)
        .env("BW_ISSUER", issuer)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{problems}\n{}", server.log());
    let (tests, passed) = (counted(&said, "tests"), counted(&said, "pass"));
    let calls = counted(&said, "auth calls:");
    assert_eq!(tests, passed, "{said}");
    assert!(tests >= 20 && calls >= 130, "some of the tests did not run: {tests} tests, {calls} calls");
    println!("PASS sign-in {passed} of {tests} tests, {calls} calls of the unmodified client");
}
