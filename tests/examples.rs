//! The pages of the examples: every command in a console block is run, and answers what stands under it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::clients::libraries;
use crate::support::database;
use crate::support::server::{Folder, Server, Start, basewright};

/// What the pages assume that the server's address is.
const ADDRESS: &str = "http://127.0.0.1:8000";

/// A command of a page and what the page says that it answers.
#[derive(Debug)]
struct Shown {
    line: usize,
    command: String,
    answer: String,
}

/// The commands of a page's console blocks, in order.
fn shown(page: &str) -> Vec<Shown> {
    let (mut found, mut inside) = (Vec::<Shown>::new(), false);
    for (at, text) in page.lines().enumerate() {
        if let Some(fence) = text.strip_prefix("```") {
            inside = fence == "console";
        } else if inside {
            match (text.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => {
                    found.push(Shown { line: at + 1, command: command.to_owned(), answer: String::new() });
                }
                (None, Some(last)) => {
                    last.answer.push_str(text);
                    last.answer.push('\n');
                }
                (None, None) => panic!("line {}: an answer without a command", at + 1),
            }
        }
    }
    found
}

/// Spaces and line ends are for reading, and `…` stands for anything.
fn fits(answer: &str, shown: &str) -> bool {
    let tight = |text: &str| text.split_whitespace().collect::<String>();
    let (answer, shown) = (tight(answer), tight(shown));
    let mut parts = shown.split('…');
    let Some(mut rest) = answer.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    false
}

#[test]
fn an_answer_fits_what_is_shown_up_to_spaces_and_ellipses() {
    assert!(fits("[{\"a\":1}]\n", "[ {\"a\": 1} ]"));
    assert!(fits("{\"id\":\"xyz\",\"b\":2}", "{\"id\": \"…\", \"b\": 2}"));
    assert!(fits("a 1 b 2 c", "a … b … c"));
    assert!(fits("a", "…"));
    assert!(!fits("[{\"a\":2}]", "[{\"a\": 1}]"));
    assert!(!fits("a1", "a"));
    assert!(!fits("a1", "a…2"));
    assert!(!fits("ab", "a…c…b"));
}

/// A copy of an example with what it needs beside it, as somebody who cloned the repository has it.
struct Checkout {
    folder: Folder,
    server: Server,
}

impl Checkout {
    fn start(example: &str, urls: &basewright::db::Urls) -> Checkout {
        let folder = Folder::new();
        let project = folder.join(example);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(example), &project);
        let data = project.join(".basewright");
        let start = Start {
            command: "dev",
            project: &project,
            data: &data,
            database: Some(urls),
            args: &[],
            env: &[],
        };
        Checkout { server: start.run(), folder }
    }

    /// Runs the commands in one shell. What each one answered comes back in their order.
    fn run(&self, commands: &[String]) -> Vec<String> {
        const END: &str = "\u{1e}";
        let mut script = String::from("exec 2>&1\n");
        for command in commands {
            script.push_str(&command.replace(ADDRESS, &self.server.url));
            script.push_str(&format!("\nprintf '{END}'\n"));
        }
        let program = PathBuf::from(env!("CARGO_BIN_EXE_basewright"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        for (name, _) in basewright().get_envs().filter(|(_, value)| value.is_none()) {
            shell.env_remove(name);
        }
        let output = shell
            .args(["-c", &script])
            .current_dir(&self.folder.0)
            .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<String> = said.split(END).map(str::to_owned).collect();
        assert_eq!(answers.len(), commands.len() + 1, "the shell stopped early:\n{said}");
        answers
    }
}

/// Copies what git would, near enough: no data folder and no installed libraries.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == ".basewright" || name == "node_modules" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(&name));
        } else {
            fs::copy(entry.path(), to.join(&name)).unwrap();
        }
    }
}

/// The repository, as the tests were built from it.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the commands of a page and compares what they answer with what the page says. Returns how many there were.
fn compare(page: &str, shown: &[Shown], checkout: &Checkout) -> usize {
    let commands: Vec<String> = shown
        .iter()
        .map(|one| match one.command.as_str() {
            // What it installs was installed, in the same version, by the set-up of the tests.
            install if install.starts_with("npm install ") => "true".to_owned(),
            command => command.to_owned(),
        })
        .collect();
    let answers = checkout.run(&commands);
    for (shown, answer) in shown.iter().zip(&answers) {
        assert!(
            fits(answer, &shown.answer),
            "{page}:{}: $ {}\nanswers\n{answer}\nand the page says\n{}",
            shown.line,
            shown.command,
            shown.answer
        );
    }
    shown.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_on_the_blogs_page_answers_what_the_page_says() {
    let libraries = libraries();
    let page = fs::read_to_string(repository().join("examples/blog/README.md")).unwrap();
    let mut shown = shown(&page);
    let database = database().await;
    let checkout = Checkout::start("examples/blog", &database.urls);
    announced(&shown.remove(0), "cargo run -- dev examples/blog", &checkout);
    let project = checkout.folder.join("examples/blog");
    symlink(libraries.join("node_modules"), project.join("node_modules")).unwrap();
    let version = |manifest: &Path| -> serde_json::Value {
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        manifest["dependencies"]["@supabase/supabase-js"].clone()
    };
    assert_eq!(version(&project.join("package.json")), version(&libraries.join("package.json")));
    let compared = compare("examples/blog/README.md", &shown, &checkout);
    assert!(compared >= 25, "some commands were not found: {compared}");
    println!("PASS examples {compared} commands of the blog's page");
}

/// What a page starts in another terminal is started here; what it says then is compared all the same.
fn announced(first: &Shown, command: &str, checkout: &Checkout) {
    assert_eq!(first.command, command);
    let banner = format!("{}\nready {}", checkout.server.banner.join("\n"), checkout.server.url);
    assert!(fits(&banner.replace(&checkout.server.url, ADDRESS), &first.answer), "{banner}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_on_the_chats_page_answers_what_the_page_says() {
    let page = fs::read_to_string(repository().join("examples/chat/README.md")).unwrap();
    let mut shown = shown(&page);
    let database = database().await;
    let checkout = Checkout::start("examples/chat", &database.urls);
    announced(&shown.remove(0), "cargo run -- dev examples/chat", &checkout);
    let compared = compare("examples/chat/README.md", &shown, &checkout);
    assert!(compared >= 12, "some commands were not found: {compared}");
    println!("PASS examples {compared} commands of the chat's page");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_requests_shows_some_that_work() {
    let page = fs::read_to_string(repository().join("docs/rest.md")).unwrap();
    let database = database().await;
    let checkout = Checkout::start("examples/blog", &database.urls);
    let compared = compare("docs/rest.md", &shown(&page), &checkout);
    assert_eq!(compared, 7);
}

#[test]
fn the_pages_about_projects_show_some_that_hold_their_own_tests() {
    for (page, cases) in [("README.md", 4), ("docs/policies.md", 3)] {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        let project = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let folder = Folder::with(&[("basewright.yaml", project)]);
        let output = basewright().args(["policy", "test", "--memory-only"]).arg(&folder.0).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{page}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains(&format!("{cases} cases passed")), "{page}: {said}");
    }
}

#[test]
fn the_page_about_configuration_names_every_command_and_every_variable() {
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let help = |words: &[&str]| {
        let output = basewright().args(words).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&[]);
    let commands = overview.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    for line in commands.lines().filter(|line| !line.trim().is_empty()) {
        let command = line.split_whitespace().next().unwrap();
        assert!(command == "help" || page.contains(&format!("`basewright {command} ")), "{command}");
    }
    for command in ["dev", "serve"] {
        let help = help(&[command]);
        let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split('=').next());
        let named: Vec<&str> = named.collect();
        assert!(named.len() >= 8, "{help}");
        for variable in named {
            assert!(page.contains(&format!("`{variable}`")), "{variable} of {command}");
        }
    }
}
