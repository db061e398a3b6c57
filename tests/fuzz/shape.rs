//! Where the text of a statement may come from: our own sources, the names of the catalog, and the names that the
//! request gives to members of its answer. Nothing else, and so no value of a request.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use basewright::catalog::Catalog;
use basewright::query::request::{Item, Node};

/// What every statement may say.
pub struct Vocabulary {
    words: HashSet<String>,
    names: HashSet<String>,
}

impl Vocabulary {
    pub fn of(catalog: &Catalog) -> Vocabulary {
        let mut words = HashSet::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for module in ["query", "condition", "model", "sql.rs", "sql"] {
            collect(&source.join(module), &mut words);
        }
        let mut names = HashSet::new();
        for (_, collection) in catalog.collections.iter() {
            names.insert(collection.name.to_string());
            names.extend(collection.search.iter().map(|_| "search".to_owned()));
            names.extend(collection.fields.iter().map(|field| field.name.to_string()));
        }
        Vocabulary { words, names }
    }

    /// The first piece of a statement's text that comes from nowhere it may come from.
    pub fn foreign(&self, text: &str, node: &Node) -> Option<String> {
        let mut members = HashSet::new();
        name_members(node, &mut members);
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if letter == '"' {
                let Some((name, behind)) = identifier(rest) else { return Some(rest.to_owned()) };
                // `?inserted`, `?when_1`, `?12`: columns of ours, which no field can be called.
                let private = name.strip_prefix('?').is_some_and(|name| {
                    name.chars().all(|letter| letter.is_ascii_digit())
                        || self.words.contains(
                            name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '_'),
                        )
                });
                if !private && !self.names.contains(&name) && !members.contains(name.as_str()) {
                    return Some(format!("\"{name}\""));
                }
                rest = behind;
            } else if is_word(letter) {
                let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                let word = &rest[..end];
                // `t12`, `p3`, `$3` and the numbers that we work out are the only ones with digits in them.
                let number = word
                    .strip_prefix(['t', 'p'])
                    .unwrap_or(word)
                    .chars()
                    .all(|letter| letter.is_ascii_digit());
                if !(self.words.contains(word) || number && word.len() <= 6) {
                    return Some(word.to_owned());
                }
                rest = &rest[end..];
            } else if letter.is_ascii() && !letter.is_ascii_control() || letter == '\n' {
                rest = &rest[1..];
            } else {
                return Some(letter.to_string());
            }
        }
        None
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The words of our own sources, their tests left out.
fn collect(path: &Path, words: &mut HashSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), words);
        }
    } else if !path.ends_with("tests.rs") {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        words
            .extend(code.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).map(str::to_owned));
    }
}

/// The quoted identifier at the start of a text, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = &text[1..];
    loop {
        let (part, behind) = rest.split_once('"')?;
        name += part;
        match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return Some((name, behind)),
        }
    }
}

/// What a request calls the members of its answer, at every level.
fn name_members<'n>(node: &'n Node, members: &mut HashSet<&'n str>) {
    for item in &node.select {
        match item {
            Item::All | Item::Aggregate { .. } => {}
            Item::Field { path, alias, .. } => {
                members.insert(alias.as_deref().unwrap_or_else(|| path.output_name()));
            }
            Item::Embed(embed) => {
                members.insert(embed.key());
                name_members(&embed.node, members);
            }
        }
    }
}
