//! `basewright user`: users, their roles and bans, at the database.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::policy::session;
use super::settings::Whereabouts;
use super::tables::block_on;
use super::{Failure, Place, project, settings};
use crate::app::now;
use crate::auth::admin::{Ban, Kept};
use crate::auth::desk::{Desk, Visit, Visitor};
use crate::auth::keys::{Algorithm, Keyring};
use crate::auth::password::Hashing;
use crate::auth::refresh::random;
use crate::auth::rights::Granting;
use crate::auth::user::User;
use crate::db::{DataLock, Embedded, Pool, Target, Urls};
use crate::error::{Code, Error};
use crate::project::Project;
use crate::realtime::feed::Feed;

/// Make, find, change and delete users
///
/// Works at the project's database (DATABASE_URL, else the private Postgres of the data folder, beside a running `dev`
/// too) by what the server itself does, and says so in the audit log as `operator`. A user is named by his address or
/// his id. Running servers know of a change within a second.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright user add my-app ada@example.com --role editor     prints a password, once
  pass show ada | basewright user add my-app ada@example.com --password-stdin
  basewright user list my-app --filter example.com
  basewright user show my-app ada@example.com --json
  basewright user role add my-app ada@example.com editor
  basewright user ban my-app ada@example.com --for 24h
  basewright user unban my-app ada@example.com
  basewright user delete my-app ada@example.com --soft")]
pub(super) struct Users {
    #[command(subcommand)]
    act: Act,
}

/// Where the project is.
#[derive(Args, Clone, Debug)]
struct At {
    /// The project's folder
    project: PathBuf,
    /// Where keys and the private Postgres are kept [default: PROJECT/.basewright]
    #[arg(long, env = "BASEWRIGHT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Act {
    /// Make a user whose address counts as proven
    ///
    /// The password is read from stdin, or made up and printed once: it is kept nowhere.
    #[command(after_help = "Examples:
  basewright user add my-app ada@example.com
  basewright user add my-app ada@example.com --role editor --role author
  basewright user add my-app guest@example.com --no-password   signs in by mailed links alone")]
    Add {
        #[command(flatten)]
        at: At,
        /// The user's address
        email: String,
        /// A role of the project; may be said several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Read the password from stdin, up to the end of the first line
        #[arg(long, conflicts_with = "no_password")]
        password_stdin: bool,
        /// Give no password
        #[arg(long)]
        no_password: bool,
        /// Print the user as JSON
        #[arg(long)]
        json: bool,
    },
    /// List users, the newest first
    List {
        #[command(flatten)]
        at: At,
        /// A part of the address, or an id
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// Which page of a hundred
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        page: u32,
        /// A JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show a user
    Show {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Grant a role of the project, or take it away
    #[command(subcommand)]
    Role(Role),
    /// Keep a user out, and end his sessions
    Ban {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
        /// For how long: 24h, 1h30m [default: for good]
        #[arg(long = "for", value_name = "TIME", default_value = "876600h", hide_default_value = true, value_parser = ban)]
        time: String,
    },
    /// Let a banned user in again
    Unban {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
    },
    /// Delete a user, and end his sessions
    Delete {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
        /// Keep an empty row for the records that refer to the user
        #[arg(long)]
        soft: bool,
    },
}

#[derive(Subcommand)]
enum Role {
    /// Grant a role
    Add {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
        role: String,
    },
    /// Take a role away
    Remove {
        #[command(flatten)]
        at: At,
        /// An address or an id
        user: String,
        role: String,
    },
}

impl Act {
    fn at(&self) -> &At {
        match self {
            Act::Add { at, .. }
            | Act::List { at, .. }
            | Act::Show { at, .. }
            | Act::Role(Role::Add { at, .. } | Role::Remove { at, .. })
            | Act::Ban { at, .. }
            | Act::Unban { at, .. }
            | Act::Delete { at, .. } => at,
        }
    }
}

/// Users of a page.
const PER_PAGE: u32 = 100;
/// What no password is longer than, with its line end.
const MAX_LINE: u64 = 1_026;

fn ban(text: &str) -> Result<String, String> {
    match Ban::parse(text) {
        Some(Ban::For(_)) => Ok(text.to_owned()),
        Some(Ban::None) | None => Err(format!("`{text}` is no time: write 24h, 1h30m or 90s")),
    }
}

/// Does what is asked.
///
/// # Errors
/// The project is at fault, its database cannot be asked, or it refuses.
pub(super) fn run(command: Users) -> Result<(), Failure> {
    let At { project: folder, data } = command.act.at().clone();
    let project = project::load(&folder)?;
    // Before anything is started for it.
    let password = match &command.act {
        Act::Add { password_stdin: true, .. } => Some(typed()?),
        _ => None,
    };
    let act = command.act;
    if let Some(urls) = Urls::from_env() {
        return block_on(perform(act, password, &project, &urls));
    }
    let data = Place { project: folder, data }.data();
    private(&data, |urls| block_on(perform(act, password, &project, urls)))
}

/// With the private Postgres of a data folder, which runs already or runs meanwhile.
pub(super) fn private(data: &Path, work: impl FnOnce(&Urls) -> Result<(), Failure>) -> Result<(), Failure> {
    if !data.join("lock").is_file() {
        let text = format!("there is no database under {}: `basewright dev` makes one", data.display());
        return Err(Failure::fault(text));
    }
    match DataLock::acquire(data) {
        Err(_) => work(&Embedded::urls_beside(data).map_err(Failure::fault)?),
        Ok(lock) => {
            drop(lock);
            let cluster = Embedded::start(data, None).map_err(Failure::fault)?;
            let outcome = work(&cluster.urls());
            cluster.stop();
            outcome
        }
    }
}

/// A password on stdin.
fn typed() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(MAX_LINE).read_to_string(&mut text).map_err(Failure::fault)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Failure::fault("stdin holds no password"));
    }
    Ok(password.to_owned())
}

/// What somebody at a keyboard is told.
pub(super) fn told(error: Error) -> Failure {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    match (&error.code, cause) {
        (Code::Unavailable | Code::Internal | Code::PoolTimeout | Code::Sqlstate(_), Some(cause)) => {
            Failure::fault(format!("the database cannot be used: {cause}"))
        }
        _ => Failure::fault(error.message),
    }
}

async fn perform(act: Act, password: Option<String>, project: &Project, urls: &Urls) -> Result<(), Failure> {
    let target = Target::parse(&urls.runtime, &session(project)).map_err(Failure::fault)?;
    let pool = Pool::open(&target, 2).map_err(Failure::fault)?;
    let hashing = Hashing::start(1).map_err(Failure::fault)?;
    // Nothing here is signed or sealed: the installation's keys are not needed, and not made if there are none.
    let keys = Keyring::generate(Algorithm::EdDsa, now()).map_err(Failure::fault)?;
    let desk = Desk::new(pool, Feed::new(), Arc::new(ArcSwap::from_pointee(keys)), None, hashing);
    // Nobody is mailed, and no provider is asked: what the project names by variables is not needed.
    let looked_up = settings::look_up(project, true, |_| None)?;
    let place = Whereabouts { public_url: "http://localhost", serves_pages: false };
    desk.settle(settings::of(project, looked_up, place, true));
    let visit = desk.visit(Visitor::operator(), now()).map_err(told)?;
    act_on(&visit, act, password).await
}

async fn act_on(visit: &Visit<'_>, act: Act, password: Option<String>) -> Result<(), Failure> {
    match act {
        Act::Add { email, roles, no_password, json, .. } => {
            add(visit, email, &roles, (password, no_password), json).await
        }
        Act::List { filter, page, json, .. } => {
            let found = visit.users(page, PER_PAGE, filter.as_deref()).await.map_err(told)?;
            for user in &found.users {
                println!("{}", if json { shape(user).to_string() } else { line(user) });
            }
            let shown = i64::from(page) * i64::from(PER_PAGE);
            if found.total > shown {
                eprintln!("{} users in all: --page {} shows more", found.total, page + 1);
            }
            Ok(())
        }
        Act::Show { user, json, .. } => {
            let user = visit.user_called(&user).await.map_err(told)?;
            if json {
                println!("{}", shape(&user));
            } else {
                show(visit, &user).await?;
            }
            Ok(())
        }
        Act::Role(Role::Add { user, role, .. }) => {
            let user = visit.user_called(&user).await.map_err(told)?;
            let roles = visit.grant_roles(user.id, Granting::Also(&role)).await.map_err(told)?;
            println!("{}  {}", user.id, roles.join(" "));
            Ok(())
        }
        Act::Role(Role::Remove { user, role, .. }) => {
            let user = visit.user_called(&user).await.map_err(told)?;
            if !user.roles.contains(&role) {
                return Err(Failure::fault(format!("the user has no role `{role}`")));
            }
            let roles = visit.grant_roles(user.id, Granting::Without(&role)).await.map_err(told)?;
            println!("{}  {}", user.id, roles.join(" "));
            Ok(())
        }
        Act::Ban { user, time, .. } => banned(visit, &user, time).await,
        Act::Unban { user, .. } => banned(visit, &user, "none".to_owned()).await,
        Act::Delete { user, soft, .. } => {
            let user = visit.user_called(&user).await.map_err(told)?;
            visit.delete_user(user.id, soft).await.map_err(told)?;
            eprintln!("deleted {}: a running server knows within a second", user.id);
            Ok(())
        }
    }
}

async fn add(
    visit: &Visit<'_>,
    email: String,
    roles: &[String],
    (typed, none): (Option<String>, bool),
    json: bool,
) -> Result<(), Failure> {
    for role in roles {
        if !visit.settings().roles.contains(role) {
            return Err(Failure::fault(format!("the project has no role `{role}` that can be granted")));
        }
    }
    let made_up = match (&typed, none) {
        (None, false) => Some(URL_SAFE_NO_PAD.encode(random::<18>().map_err(Failure::fault)?)),
        _ => None,
    };
    let kept = Kept {
        email: Some(email),
        email_confirm: Some(true),
        password: typed.or_else(|| made_up.clone()),
        ..Kept::default()
    };
    let mut user = visit.make_user(kept).await.map_err(told)?;
    if !roles.is_empty() {
        user.roles = visit.grant_roles(user.id, Granting::Exactly(roles)).await.map_err(told)?;
    }
    if json {
        let mut shape = shape(&user);
        if let (Some(password), Value::Object(members)) = (made_up, &mut shape) {
            members.insert("password".to_owned(), password.into());
        }
        println!("{shape}");
        return Ok(());
    }
    println!("{}", line(&user));
    if let Some(password) = made_up {
        println!("password  {password}");
        eprintln!("the password is shown this once and kept nowhere");
    }
    Ok(())
}

async fn banned(visit: &Visit<'_>, user: &str, time: String) -> Result<(), Failure> {
    let user = visit.user_called(user).await.map_err(told)?;
    let kept = Kept { ban_duration: Some(time), ..Kept::default() };
    let user = visit.change_user(user.id, kept).await.map_err(told)?;
    println!("{}", line(&user));
    Ok(())
}

/// A user in one line.
fn line(user: &User) -> String {
    let mut line = format!("{}  {}", user.id, user.email.as_deref().unwrap_or("-"));
    for role in &user.roles {
        line.push_str("  ");
        line.push_str(role);
    }
    let marks = [
        (user.is_banned, "banned"),
        (user.is_anonymous, "anonymous"),
        (user.email.is_some() && !user.is_confirmed(), "unconfirmed"),
    ];
    for (_, mark) in marks.iter().filter(|(holds, _)| *holds) {
        line.push_str(&format!("  ({mark})"));
    }
    line
}

/// A user in full.
async fn show(visit: &Visit<'_>, user: &User) -> Result<(), Failure> {
    let sessions = visit.sessions(user.id).await.map_err(told)?;
    let none = || "-".to_owned();
    let identities: Vec<&str> = user.identities.iter().map(|identity| identity.provider.as_str()).collect();
    for (name, value) in [
        ("id", user.id.to_string()),
        ("email", user.email.clone().unwrap_or_else(none)),
        ("confirmed", user.email_confirmed_at.clone().unwrap_or_else(none)),
        ("roles", if user.roles.is_empty() { none() } else { user.roles.join(" ") }),
        ("banned until", user.banned_until.clone().filter(|_| user.is_banned).unwrap_or_else(none)),
        ("identities", if identities.is_empty() { none() } else { identities.join(" ") }),
        ("password", if user.has_password { "yes" } else { "no" }.to_owned()),
        ("factors", user.factors.iter().filter(|factor| factor.is_verified()).count().to_string()),
        ("sessions", sessions.len().to_string()),
        ("last sign-in", user.last_sign_in_at.clone().unwrap_or_else(none)),
        ("created", user.created_at.clone()),
        ("app metadata", Value::Object(user.app_metadata.clone()).to_string()),
        ("user metadata", Value::Object(user.user_metadata.clone()).to_string()),
    ] {
        println!("{name:<13}  {}", plain(&value));
    }
    Ok(())
}

/// Without what a terminal would take for orders.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A user for scripts.
fn shape(user: &User) -> Value {
    json!({
        "id": user.id, "email": user.email, "email_confirmed_at": user.email_confirmed_at, "roles": user.roles,
        "is_banned": user.is_banned, "banned_until": user.banned_until, "is_anonymous": user.is_anonymous,
        "has_password": user.has_password, "app_metadata": user.app_metadata(), "user_metadata": user.user_metadata,
        "last_sign_in_at": user.last_sign_in_at, "created_at": user.created_at,
    })
}
