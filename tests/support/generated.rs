//! Files of the repository that the program generates.

use std::fs;
use std::path::Path;

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file holds what is generated. `BASEWRIGHT_UPDATE=1 cargo test generated` makes it so.
#[track_caller]
pub fn generated(path: &str, text: &str) {
    let file = repository().join(path);
    let there = fs::read_to_string(&file).unwrap_or_default();
    if there == text {
        return;
    }
    if std::env::var("BASEWRIGHT_UPDATE").is_ok_and(|update| update == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(&file, text).unwrap();
    }
    let differs = |(there, here): &(&str, &str)| there != here;
    let line = there.lines().zip(text.lines()).position(|lines| differs(&lines));
    let line = line.unwrap_or(there.lines().count().min(text.lines().count()));
    panic!(
        "{path} is not what is generated, from line {} on: {:?} stands for {:?}.\n\
         `BASEWRIGHT_UPDATE=1 cargo test generated` writes it anew",
        line + 1,
        there.lines().nth(line),
        text.lines().nth(line),
    );
}
