//! Where keys are kept: a file that only its owner can read, or the environment.
//!
//! A file that others can read is refused, not repaired: whoever could read it may have done so already.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::keys::{Algorithm, KeyFault, Keyring};

/// The file's name in the data folder.
pub const FILE: &str = "keys.json";
/// Names a file of keys, or holds the keys themselves as JSON.
pub const KEYS_VARIABLE: &str = "BASEWRIGHT_KEYS";
/// One shared secret from which all keys follow.
pub const SECRET_VARIABLE: &str = "BASEWRIGHT_SECRET";

/// Why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} has mode {mode:o}, so others can read the keys in it: they must count as known. Move it away for new \
         keys, or, if nobody else uses this machine, `chmod 600` it"
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("{path} belongs to user {owner}, not to the user of this process")]
    Owner { path: PathBuf, owner: u32 },
    #[error("{from}: {fault}")]
    Keys { from: String, fault: KeyFault },
    #[error("BASEWRIGHT_KEYS and BASEWRIGHT_SECRET are both set: set one")]
    Both,
}

/// Where a keyring came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file was there.
    File(PathBuf),
    /// The file was made just now: its keys have not been shown yet.
    Minted(PathBuf),
    /// Given through the environment; this process cannot change them.
    Environment,
}

impl Origin {
    /// The file, if there is one to watch or to change.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Origin::File(path) | Origin::Minted(path) => Some(path),
            Origin::Environment => None,
        }
    }
}

/// The keys of an installation: from the environment if it names any, else from the data folder, where
/// they are made if there are none. `variable` reads the environment.
pub fn obtain(
    data: &Path,
    variable: impl Fn(&str) -> Option<String>,
    now: i64,
) -> Result<(Keyring, Origin), KeyFileFault> {
    match (variable(KEYS_VARIABLE), variable(SECRET_VARIABLE)) {
        (Some(_), Some(_)) => Err(KeyFileFault::Both),
        (None, Some(secret)) => {
            let ring = Keyring::from_secret(&secret)
                .map_err(|fault| KeyFileFault::Keys { from: SECRET_VARIABLE.to_owned(), fault })?;
            Ok((ring, Origin::Environment))
        }
        (Some(keys), None) if keys.trim_start().starts_with('{') => {
            let ring = Keyring::from_json(&keys, now)
                .map_err(|fault| KeyFileFault::Keys { from: KEYS_VARIABLE.to_owned(), fault })?;
            Ok((ring, Origin::Environment))
        }
        (Some(path), None) => {
            let path = PathBuf::from(path);
            Ok((read(&path, now)?, Origin::File(path)))
        }
        (None, None) => obtain_from_folder(data, now),
    }
}

fn obtain_from_folder(data: &Path, now: i64) -> Result<(Keyring, Origin), KeyFileFault> {
    let path = data.join(FILE);
    match read(&path, now) {
        Ok(ring) => Ok((ring, Origin::File(path))),
        Err(KeyFileFault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let at = |path: &Path| {
                let path = path.to_owned();
                move |source| KeyFileFault::Io { path, source }
            };
            fs::create_dir_all(data).map_err(at(data))?;
            let ring = Keyring::generate(Algorithm::Es256, now)
                .map_err(|fault| KeyFileFault::Keys { from: path.display().to_string(), fault })?;
            let draft = write_draft(&path, &ring)?;
            // A link fails where a file stands, a rename replaces it: two first starts at once must agree.
            let linked = fs::hard_link(&draft, &path);
            fs::remove_file(&draft).map_err(at(&draft))?;
            match linked {
                Ok(()) => {
                    sync_folder(data)?;
                    Ok((ring, Origin::Minted(path)))
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok((read(&path, now)?, Origin::File(path)))
                }
                Err(error) => Err(at(&path)(error)),
            }
        }
        Err(fault) => Err(fault),
    }
}

/// Reads a file of keys that only its owner can read.
pub fn read(path: &Path, now: i64) -> Result<Keyring, KeyFileFault> {
    let at = |source| KeyFileFault::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(at)?;
    // The open file is asked, not the path: nobody can swap it in between.
    let metadata = file.metadata().map_err(at)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyFileFault::Open { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me && me != 0 {
        return Err(KeyFileFault::Owner { path: path.to_owned(), owner: metadata.uid() });
    }
    let text = io::read_to_string(file).map_err(at)?;
    Keyring::from_json(&text, now)
        .map_err(|fault| KeyFileFault::Keys { from: path.display().to_string(), fault })
}

/// Changes the keys in a file: reads, lets `change` work, writes the whole anew and has it put in force. One at a time,
/// so that the last to be written is the last to be in force; a reader sees the old or the new file, never a part.
pub fn change<T>(
    path: &Path,
    now: i64,
    change: impl FnOnce(&mut Keyring) -> Result<T, KeyFault>,
    put: impl FnOnce(&Keyring),
) -> Result<(Keyring, T), KeyFileFault> {
    let at = |source| KeyFileFault::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let _lock = lock(folder, FlockOperation::LockExclusive)?;
    let mut ring = read(path, now)?;
    let outcome =
        change(&mut ring).map_err(|fault| KeyFileFault::Keys { from: path.display().to_string(), fault })?;
    let draft = write_draft(path, &ring)?;
    fs::rename(&draft, path).map_err(at)?;
    sync_folder(folder)?;
    put(&ring);
    Ok((ring, outcome))
}

/// Has the keys in a file put in force, as they are until that is done.
pub fn take_over(path: &Path, now: i64, put: impl FnOnce(Keyring)) -> Result<(), KeyFileFault> {
    let _lock = lock(path.parent().unwrap_or(Path::new(".")), FlockOperation::LockShared)?;
    put(read(path, now)?);
    Ok(())
}

/// Keeps others from changing the keys in a folder, until it is dropped.
fn lock(folder: &Path, operation: FlockOperation) -> Result<File, KeyFileFault> {
    let at = |source| KeyFileFault::Io { path: folder.to_owned(), source };
    let file = File::open(folder).map_err(at)?;
    rustix::fs::flock(&file, operation).map_err(|errno| at(io::Error::from(errno)))?;
    Ok(file)
}

/// Writes the keys beside their place, on disk before it returns.
fn write_draft(path: &Path, ring: &Keyring) -> Result<PathBuf, KeyFileFault> {
    let draft = path.with_extension(format!("{}.draft", uuid::Uuid::new_v4()));
    let at = |source| KeyFileFault::Io { path: draft.clone(), source };
    let text =
        ring.to_json().map_err(|fault| KeyFileFault::Keys { from: path.display().to_string(), fault })?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(at)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(at)?;
    file.sync_all().map_err(at)?;
    Ok(draft)
}

fn sync_folder(folder: &Path) -> Result<(), KeyFileFault> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| KeyFileFault::Io { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: i64 = 1_800_000_000;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("basewright-keys-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_first_start_makes_a_file_for_its_owner_alone_and_the_second_reads_it() {
        let folder = Folder::new();
        let (first, origin) = obtain(&folder.0, none, NOW).unwrap();
        let path = folder.0.join(FILE);
        assert_eq!(origin, Origin::Minted(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let (second, origin) = obtain(&folder.0, none, NOW).unwrap();
        assert_eq!(origin, Origin::File(path));
        assert_eq!(first.secret(), second.secret());
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn many_first_starts_at_once_agree_on_one_keyring() {
        let folder = Folder::new();
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| obtain(&folder.0, none, NOW).unwrap().0.secret().to_owned()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = Folder::new();
        obtain(&folder.0, none, NOW).unwrap();
        let path = folder.0.join(FILE);
        for mode in [0o640, 0o604, 0o660, 0o601, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path, NOW), Err(KeyFileFault::Open { .. })), "{mode:o}");
        }
    }

    #[test]
    fn the_environment_goes_before_the_folder() {
        let folder = Folder::new();
        let with = |pairs: &[(&str, &str)]| {
            let map: HashMap<String, String> =
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            obtain(&folder.0, |name| map.get(name).cloned(), NOW)
        };
        let secret = "an entirely private text of 40 letters!!";
        let (ring, origin) = with(&[(SECRET_VARIABLE, secret)]).unwrap();
        assert_eq!(origin, Origin::Environment);
        let json = ring.to_json().unwrap();
        assert_eq!(with(&[(KEYS_VARIABLE, &json)]).unwrap().0.secret(), ring.secret());
        let elsewhere = folder.0.join("elsewhere.json");
        fs::write(&elsewhere, &json).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        let (again, origin) = with(&[(KEYS_VARIABLE, elsewhere.to_str().unwrap())]).unwrap();
        assert_eq!((again.secret(), origin), (ring.secret(), Origin::File(elsewhere)));
        assert!(matches!(
            with(&[(KEYS_VARIABLE, &json), (SECRET_VARIABLE, secret)]),
            Err(KeyFileFault::Both)
        ));
        assert!(with(&[(SECRET_VARIABLE, "short")]).is_err());
        assert!(!folder.0.join(FILE).exists(), "nothing is minted beside given keys");
    }

    #[test]
    fn changes_by_many_lose_none_and_the_last_is_in_force() {
        let folder = Folder::new();
        obtain(&folder.0, none, NOW).unwrap();
        let path = folder.0.join(FILE);
        let in_force = std::sync::Mutex::new(None);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (path, in_force) = (&path, &in_force);
                let put = move |ring: Keyring| *in_force.lock().unwrap() = Some(ring);
                let revoke = move |ring: &mut Keyring| Ok(ring.revoke(&format!("jti-{n}")));
                scope.spawn(move || change(path, NOW, revoke, |ring| put(ring.clone())).unwrap());
                scope.spawn(move || take_over(path, NOW, put).unwrap());
            }
        });
        assert_eq!(read(&path, NOW).unwrap().revoked().len(), 8);
        assert_eq!(in_force.into_inner().unwrap().unwrap().revoked().len(), 8);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}
