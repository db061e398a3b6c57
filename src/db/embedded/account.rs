//! Whom the private Postgres runs as, and which folders that account can reach.
//!
//! Postgres refuses to run as root, and needs an account with an entry among the users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use crate::db::SetupError;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account that this process runs as. One without an entry among the users has a number for a name.
pub(super) fn own() -> Account {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let known = passwd().into_iter().find(|account| account.uid == uid);
    let name = known.map(|account| account.name).or_else(asked_name).unwrap_or_else(|| uid.to_string());
    Account { name, uid, gid }
}

/// The account for Postgres. When we are root: the owner of the cluster that is there, else `postgres`,
/// else `nobody`. Otherwise ourselves.
pub(super) fn for_postgres(cluster: &Path) -> Result<Account, SetupError> {
    let own = own();
    if own.uid != 0 {
        return Ok(own);
    }
    let accounts = passwd();
    let owner = fs::symlink_metadata(cluster).ok().map(|at| at.uid());
    let by_owner = accounts.iter().find(|account| account.uid != 0 && Some(account.uid) == owner);
    let by_name = |name: &str| accounts.iter().find(|account| account.name == name && account.uid != 0);
    by_owner.or_else(|| by_name("postgres")).or_else(|| by_name("nobody")).cloned().ok_or_else(|| {
        SetupError::new(
            "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`: \
             create one (`useradd --system postgres`), run as another user, or set DATABASE_URL",
        )
    })
}

fn passwd() -> Vec<Account> {
    fs::read_to_string("/etc/passwd").map(|text| parse_passwd(&text)).unwrap_or_default()
}

fn parse_passwd(text: &str) -> Vec<Account> {
    let account = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = parts.nth(1)?.parse().ok()?;
        let gid = parts.next()?.parse().ok()?;
        Some(Account { name, uid, gid })
    };
    text.lines().filter_map(account).collect()
}

/// The name as the system's own tool knows it: users of a directory service stand in no file.
fn asked_name() -> Option<String> {
    let asked = Command::new("id").arg("-un").output().ok()?;
    let name = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (asked.status.success() && !name.is_empty()).then_some(name)
}

/// Whether the account can pass through every folder above `path`. Folders that do not exist yet are ours to make.
pub(super) fn can_reach(account: &Account, path: &Path) -> bool {
    account.uid == 0
        || path.ancestors().skip(1).filter_map(|parent| fs::metadata(parent).ok()).all(|parent| {
            let mode = parent.permissions().mode();
            (parent.uid() == account.uid && mode & 0o100 != 0)
                || (parent.gid() == account.gid && mode & 0o010 != 0)
                || mode & 0o001 != 0
        })
}

/// Gives a folder and all in it to the account. Links are given, not followed.
pub(super) fn give(account: &Account, path: &Path) -> std::io::Result<()> {
    let at = fs::symlink_metadata(path)?;
    if at.uid() != account.uid || at.gid() != account.gid {
        lchown(path, Some(account.uid), Some(account.gid))?;
    }
    if at.is_dir() {
        for entry in fs::read_dir(path)? {
            give(account, &entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_broken_lines_skipped() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\n:x:1:1\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\nx:y:z:1:\n";
        let names: Vec<_> =
            parse_passwd(text).into_iter().map(|account| (account.name, account.uid, account.gid)).collect();
        assert_eq!(names, [("root".to_owned(), 0, 0), ("postgres".to_owned(), 101, 104)]);
    }

    #[test]
    fn a_folder_under_a_private_home_cannot_be_reached_by_another_account() {
        let home = std::env::temp_dir().join(format!("basewright-account-{}", std::process::id()));
        fs::create_dir_all(home.join("inside")).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let other = Account { name: "other".into(), uid: 54_321, gid: 54_321 };
        let reached_private = can_reach(&other, &home.join("inside/cluster"));
        fs::set_permissions(&home, fs::Permissions::from_mode(0o711)).unwrap();
        let reached_open = can_reach(&other, &home.join("inside/cluster"));
        fs::remove_dir_all(&home).unwrap();
        assert!(!reached_private);
        assert!(reached_open);
    }
}
