//! The floor test: a module imports from the floors under it and never from those above.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// From the roof down. Modules of one floor may import from each other.
const FLOORS: [&[&str]; 18] = [
    &["main"],
    &["cli"],
    &["http"],
    &["app"],
    &["records", "auth", "objects"],
    &["realtime"],
    &["read"],
    &["schema"],
    &["db"],
    &["project"],
    &["query"],
    &["catalog"],
    &["policy"],
    &["condition"],
    &["sql"],
    &["error"],
    &["model"],
    &["lib"],
];

/// A crate that belongs to some floors, and the modules that may name it.
const HOMES: [(&str, &[&str]); 8] = [
    ("actix_web", &["http"]),
    ("actix_cors", &["http"]),
    ("tokio_postgres", &["db", "schema"]),
    ("deadpool_postgres", &["db"]),
    ("serde_saphyr", &["project"]),
    ("casbin", &["policy"]),
    ("jsonschema", &["catalog", "project"]),
    ("jsonwebtoken", &["auth"]),
];

/// Below these floors there is no I/O, no async and no clock.
const PURE: [&str; 9] =
    ["project", "query", "catalog", "policy", "condition", "sql", "error", "model", "lib"];
const IMPURE: [&str; 7] =
    ["std::fs", "TcpStream", "std::process", "tokio::", "SystemTime::now", "Instant::now", "async fn"];

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Lines that are code of the product: no comments, and nothing after the unit tests begin.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

fn module_of(root: &Path, file: &str) -> String {
    let relative = Path::new(file).strip_prefix(root).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn product_sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .filter(|(file, _)| !file.ends_with("tests.rs"))
        .map(|(file, text)| (module_of(&root, &file), file, text))
        .collect()
}

#[test]
fn imports_only_go_down() {
    let rank: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(rank, floor)| floor.iter().map(move |module| (*module, rank)))
        .collect();
    let mut upward = Vec::new();
    for (module, file, text) in product_sources() {
        let own = rank.get(module.as_str()).unwrap_or_else(|| panic!("{module} stands on no floor: {file}"));
        if module == "main" || module == "lib" {
            continue;
        }
        for (line, content) in code(&text) {
            for (at, _) in content.match_indices("crate::") {
                let target: String =
                    content[at + 7..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if rank.get(target.as_str()).is_some_and(|other| other < own) {
                    upward.push(format!("{file}:{line}: {module} imports {target}, which stands above it"));
                }
            }
        }
    }
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
}

#[test]
fn each_library_is_known_on_its_own_floor_only() {
    let mut strays = Vec::new();
    for (module, file, text) in product_sources() {
        for (line, content) in code(&text) {
            for (library, homes) in HOMES {
                if content.contains(&format!("{library}::")) && !homes.contains(&module.as_str()) {
                    strays.push(format!("{file}:{line}: {module} knows {library}"));
                }
            }
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn the_pure_floors_have_no_io_no_async_and_no_clock() {
    let mut strays = Vec::new();
    for (module, file, text) in
        product_sources().iter().filter(|(module, _, _)| PURE.contains(&module.as_str()))
    {
        for (line, content) in code(text) {
            if let Some(what) = IMPURE.iter().find(|what| content.contains(**what)) {
                strays.push(format!("{file}:{line}: {module} uses {what}"));
            }
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}
