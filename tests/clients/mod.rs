//! The client libraries as npm has them, unmodified, against the real server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::database;
use crate::support::server::{Folder, Server, basewright};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_published_clients_get_what_they_ask_for() {
    let home = libraries();
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (home.join("project"), folder.join("data"));
    let server = Server::dev(&project, &data, &database.urls);
    let token = |sub: &str, roles: &[&str]| {
        let mut command = basewright();
        command.arg("token").arg(&project).arg("--data").arg(&data).args(["--sub", sub]);
        for role in roles {
            command.args(["--roles", role]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
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
