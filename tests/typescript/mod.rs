//! `basewright types`: its output for the project of the client's tests is a file that the client's tests are typed by, and
//! that the server is held to here. Generator, server and client can only change together.

mod declared;
mod served;

use std::fs;

use basewright::query::typescript;

use crate::support::server::{Folder, basewright};
use crate::support::{generated, repository};
use declared::Schema;

const PROJECT: &str = "sdk-ts/test/project";

/// What the command prints, asked from the top of the repository.
fn types(args: &[&str]) -> String {
    let output = basewright().current_dir(repository()).arg("types").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_generated_types_of_the_clients_tests_are_those_of_their_project() {
    generated("sdk-ts/test/schema.ts", &types(&[PROJECT]));
    generated("sdk-ts/test/schema.member.ts", &types(&[PROJECT, "--role", "member"]));
}

#[test]
fn the_generated_codes_of_the_client_are_those_of_the_server() {
    generated("sdk-ts/src/codes.ts", &typescript::codes());
}

#[test]
fn the_project_of_the_clients_tests_has_a_field_of_every_kind_alone_and_in_lists() {
    let schema = Schema::read(&types(&[PROJECT]));
    let kinds: Vec<&str> =
        schema.collections["samples"].row.iter().map(|field| field.says.as_str()).collect();
    for scalar in basewright::model::Scalar::all() {
        for kind in [scalar.yaml().to_owned(), format!("{}[]", scalar.yaml())] {
            assert!(kinds.iter().any(|says| says.split(',').next() == Some(&kind)), "{kind}: {kinds:?}");
        }
    }
}

/// The files of the client by their names.
fn client() -> Vec<(String, String)> {
    let files = fs::read_dir(repository().join("sdk-ts/src")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Codes that the client's own files give to errors.
fn given_by_the_client() -> Vec<String> {
    let mut found = Vec::new();
    for (_, text) in client() {
        for rest in text.split("new BasewrightError(").skip(1) {
            let code = rest.trim_start().strip_prefix('\'').and_then(|rest| rest.split_once('\''));
            found.extend(code.map(|(code, _)| code.to_owned()));
        }
    }
    found
}

#[test]
fn every_code_that_the_client_gives_is_one_of_its_type() {
    let codes = typescript::codes();
    let given = given_by_the_client();
    assert!(given.len() >= 4, "{given:?}");
    // And none is there that it never gives: each stands in a file of its own.
    for (code, _) in typescript::CLIENT_CODES {
        let stands =
            client().iter().any(|(name, text)| name != "codes.ts" && text.contains(&format!("'{code}'")));
        assert!(stands, "{code} is given by no file of the client");
    }
    for code in given {
        let known = codes.contains(&format!("  | '{code}'\n"));
        assert!(known, "`{code}` is none of CLIENT_CODES in src/query/typescript/codes.rs");
    }
}

/// The texts that stand between quotes in a folder of the source.
fn quoted_in(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(path).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap().to_owned();
            let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
            let quoted = code
                .flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
            found.extend(quoted);
        }
    }
    found
}

#[test]
fn every_word_by_which_a_channel_refuses_is_a_code_of_the_client() {
    let texts = [quoted_in("src/http/realtime"), quoted_in("src/realtime")].concat();
    let is_word =
        |text: &str| text.starts_with(char::is_uppercase) && text.bytes().all(|b| b.is_ascii_alphabetic());
    let before_a_colon = texts.iter().filter_map(|text| text.split_once(": ")).map(|(word, _)| word);
    let of_tokens = texts.iter().map(String::as_str).filter(|text| text.to_lowercase().contains("jwt"));
    let words: Vec<&str> = before_a_colon.chain(of_tokens).filter(|word| is_word(word)).collect();
    assert!(words.len() >= 12, "{words:?}");
    let codes = typescript::codes();
    for word in words {
        assert!(codes.contains(&format!("  | '{word}'\n")), "{word}");
    }
}

/// The SQLSTATEs that the source of the server gives to errors.
#[test]
fn every_state_that_the_server_gives_by_itself_is_a_code_of_the_client() {
    fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("Code::Sqlstate(").skip(1) {
                let state = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
                found.extend(state.map(|(state, _)| state.to_owned()));
            }
        }
    }
    let (codes, mut states) = (typescript::codes(), Vec::new());
    walk(&repository().join("src"), &mut states);
    assert!(states.len() >= 8, "{states:?}");
    // And those for which an answer of the server has words of its own.
    for file in ["src/db/fault.rs", "src/records/fault.rs"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        for arm in text.lines().filter(|line| line.contains("Error::with(code, ") || line.contains("\" => ("))
        {
            let quoted = arm.split("=>").next().unwrap_or_default().split('"').skip(1).step_by(2);
            states.extend(quoted.filter(|state| state.len() == 5).map(str::to_owned));
        }
    }
    for state in states {
        assert!(codes.contains(&format!("  | '{state}'\n")), "{state}");
    }
}

#[test]
fn a_file_of_types_is_written_only_if_it_differs() {
    let folder = Folder::new();
    let file = folder.join("schema.ts");
    let run = |args: &[&str]| {
        let mut command = basewright();
        command.current_dir(repository()).arg("types").args(args).arg("--output").arg(&file);
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&[PROJECT]).0, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with(&format!("// Made by `basewright types {PROJECT} --output {}`", file.display()))
    );
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let modified = || fs::metadata(&file).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(past).unwrap();
    assert_eq!(run(&[PROJECT]).0, Some(0));
    assert_eq!(modified(), past, "nothing differs");
    assert_eq!(run(&[PROJECT, "--role", "anon"]).0, Some(0));
    assert_ne!(modified(), past);
    // What is there stays where the project is at fault.
    let kept = fs::read_to_string(&file).unwrap();
    let (code, said) = run(&[PROJECT, "--role", "membre"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no role `membre`; did you mean `member`?"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    let broken = Folder::with(&[("a.yaml", "collections: { a: { fields: { f: txet } } }\n")]);
    assert_eq!(run(&[broken.0.to_str().unwrap()]).0, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
}

#[test]
fn the_built_in_roles_are_roles_of_every_project() {
    let whole = types(&[PROJECT]).replace(&format!("types {PROJECT}`"), "");
    let secret = types(&[PROJECT, "--role", "service_role"]);
    let secret = secret.replace(&format!("types {PROJECT} --role service_role`"), "");
    assert_eq!(whole, secret);
    let anon = Schema::read(&types(&[PROJECT, "--role", "anon"]));
    assert!(!anon.collections.contains_key("passports") && anon.collections["posts"].new.is_none());
    // An editor is a member, and signed in.
    let editor = Schema::read(&types(&[PROJECT, "--role", "editor"]));
    assert!(editor.collections["posts"].row.iter().any(|field| field.name == "notes"));
    assert!(editor.collections["posts"].new.is_some());
}
