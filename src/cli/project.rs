//! The project's folder: reading its files, and noticing that they changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Failure;
use crate::catalog::Catalog;
use crate::http::pages::RESERVED;
use crate::project::{self, Project, Sources};
use crate::schema::Seed;

/// A larger file is no project's file.
const MAX_BYTES: u64 = 4 << 20;
/// How deep folders with JSON Schemas may lie.
const MAX_DEPTH: usize = 4;
/// Its pages: served, and no part of what is declared.
const PUBLIC: &str = "public";

/// Reads and loads a project.
///
/// # Errors
/// All faults of the project, ready to be printed; or the file that cannot be read.
pub(super) fn load(folder: &Path) -> Result<Project, Failure> {
    let sources = read(folder)?;
    if let Some(taken) = taken(folder) {
        return Err(taken);
    }
    project::load(&sources).map_err(|faults| Failure::Fault(project::render(&faults)))
}

/// The folder whose files are served at `/`.
pub(super) fn public(folder: &Path) -> PathBuf {
    folder.join(PUBLIC)
}

/// Every file or folder of the project's pages that nobody would ever get, since its path is the server's own.
fn taken(folder: &Path) -> Option<Failure> {
    let public = public(folder);
    let taken: Vec<String> = RESERVED
        .iter()
        .filter(|path| fs::symlink_metadata(public.join(path)).is_ok())
        .map(|path| {
            format!("{PUBLIC}/{path}: the path /{path} is the server's own, and this is never served: give it another name")
        })
        .collect();
    (!taken.is_empty()).then(|| Failure::Fault(taken.join("\n")))
}

/// Logs what a project allows that may not be meant. `catalog` is made of it.
pub(super) fn advise(project: &Project, catalog: &Catalog) {
    for advice in project.advice(catalog) {
        let place = format!("{}:{}:{}", advice.file, advice.line, advice.column);
        tracing::warn!(place, "{}", advice.message.trim_start_matches("warning: "));
    }
}

/// Reads the project's files.
pub(super) fn read(folder: &Path) -> Result<Sources, Failure> {
    let mut sources = BTreeMap::new();
    for (name, path) in files(folder)? {
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Failure::fault(format!("{name}: the file is not UTF-8")),
            _ => Failure::fault(format!("{name}: {error}")),
        })?;
        sources.insert(name, text);
    }
    if !sources.keys().any(|name| name.ends_with(".yaml") || name.ends_with(".yml")) {
        return Err(Failure::fault(format!(
            "{} holds no project: no .yaml file at its top, under collections/ or under policies/",
            folder.display()
        )));
    }
    Ok(Sources(sources))
}

/// The file whose SQL fills a new database.
pub(super) const SEED: &str = "seed.sql";

/// The project's first rows, if it has some.
pub(super) fn seed(folder: &Path) -> Result<Option<Seed>, Failure> {
    match fs::read_to_string(folder.join(SEED)) {
        Ok(sql) => Ok(Some(Seed { name: SEED.to_owned(), sql })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::fault(format!("{SEED}: the file is not UTF-8")))
        }
        Err(error) => Err(Failure::fault(format!("{SEED}: {error}"))),
    }
}

/// By what a changed project is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(String, Option<SystemTime>, u64)>);

/// The project's files as they stand, without reading them.
pub(super) fn stamp(folder: &Path) -> Result<Stamp, Failure> {
    let stamps = files(folder)?.into_iter().map(|(name, path)| match fs::metadata(&path) {
        Ok(metadata) => (name, metadata.modified().ok(), metadata.len()),
        Err(_) => (name, None, 0),
    });
    Ok(Stamp(stamps.collect()))
}

/// The project's files, by name relative to its folder: YAML at the top and in the two folders for it,
/// templates of mails in the folder for them, JSON anywhere that is not hidden.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    walk(folder, "", 0, &mut found).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::fault(format!("there is no folder {}", folder.display())),
        io::ErrorKind::NotADirectory => Failure::fault(format!("{} is no folder", folder.display())),
        _ => Failure::fault(format!("{}: {error}", folder.display())),
    })?;
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Hidden: the data folder, an editor's drafts, a version control's store.
        if name.starts_with('.') || name == "node_modules" || name == "target" {
            continue;
        }
        let (path, relative) = (entry.path(), format!("{prefix}{name}"));
        // A file that vanished since the listing was a draft.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            // A data folder that was put into the project is none of it, nor are the pages.
            if relative == PUBLIC || path.join("keys.json").is_file() {
                continue;
            }
            // Links to folders can lead in circles.
            if depth < MAX_DEPTH && !entry.file_type()?.is_symlink() {
                walk(&path, &format!("{relative}/"), depth + 1, found)?;
            }
            continue;
        }
        let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
        let wanted = match extension {
            Some("yaml" | "yml") => matches!(prefix, "" | "collections/" | "policies/"),
            Some("html" | "txt") => prefix == "mail/",
            Some("json") => metadata.len() <= MAX_BYTES,
            Some(_) | None => false,
        };
        if wanted && metadata.len() > MAX_BYTES {
            return Err(io::Error::other(format!("{relative} is larger than {MAX_BYTES} bytes")));
        }
        if wanted {
            found.insert(relative, path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Folder {
            let path = std::env::temp_dir().join(format!("basewright-project-{}", uuid::Uuid::new_v4()));
            for (name, text) in files {
                let file = path.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_the_projects_own_files_are_read() {
        let folder = Folder::with(&[
            ("basewright.yaml", "a"),
            ("collections/posts.yaml", "b"),
            ("policies/posts.yml", "c"),
            ("schemas/meta.json", "{}"),
            ("mail/confirm.html", "d"),
            ("mail/readme.md", "not ours"),
            ("notes/a.txt", "not ours"),
            ("seed/data.yaml", "not ours"),
            (".basewright/keys.json", "secret"),
            (".git/config.yaml", "x"),
            ("node_modules/a/package.json", "{}"),
            ("README.md", "x"),
            ("public/index.html", "a page"),
            ("public/data.json", "not ours"),
            ("public/collections/posts.yaml", "not ours"),
        ]);
        let sources = read(&folder.0).unwrap();
        let names: Vec<_> = sources.0.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "basewright.yaml",
                "collections/posts.yaml",
                "mail/confirm.html",
                "policies/posts.yml",
                "schemas/meta.json"
            ]
        );
    }

    #[test]
    fn a_change_shows_in_the_stamp() {
        let folder = Folder::with(&[("basewright.yaml", "a")]);
        let before = stamp(&folder.0).unwrap();
        assert_eq!(before, stamp(&folder.0).unwrap());
        fs::write(folder.0.join("basewright.yaml"), "ab").unwrap();
        let after = stamp(&folder.0).unwrap();
        assert_ne!(before, after);
        fs::remove_file(folder.0.join("basewright.yaml")).unwrap();
        assert_ne!(after, stamp(&folder.0).unwrap());
    }

    #[test]
    fn a_folder_without_a_project_is_named() {
        let folder = Folder::with(&[("a.json", "{}")]);
        let Err(Failure::Fault(text)) = read(&folder.0) else { panic!("no fault") };
        assert!(text.contains("holds no project"), "{text}");
        let Err(Failure::Fault(text)) = read(&folder.0.join("absent")) else { panic!("no fault") };
        assert!(text.contains("there is no folder"), "{text}");
    }
}
