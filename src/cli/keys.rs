//! `basewright keys`: show, revoke, rotate and forget.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Failure, Place};
use crate::app::now;
use crate::auth::keyfile::{self, Origin};
use crate::auth::keys::{Algorithm, Keyring};
use crate::auth::token;

/// Show the API keys; revoke, rotate or forget keys
///
/// Without a subcommand it prints the publishable and the secret key, and makes them first if there are none.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = false, subcommand_precedence_over_arg = true)]
#[command(after_help = "Examples:
  basewright keys examples/blog
  basewright keys examples/blog --json
  basewright keys examples/blog revoke 6f0c1d52-…   refuse one API key or operator's token
  basewright keys examples/blog rotate --alg eddsa  new keys; the old ones work until they are dropped
  basewright keys examples/blog drop 1a2b3c4d5e6f7a8b")]
pub(super) struct Keys {
    #[command(flatten)]
    place: Place,
    /// Print {"publishable":…,"secret":…} and nothing else
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Subcommand)]
enum Change {
    /// Refuse an API key or an operator's token from now on, by its id (the `jti` claim)
    Revoke { jti: String },
    /// Make a new signing key and new API keys; what the old signing key signed stays valid
    Rotate {
        /// How the new key signs
        #[arg(long, value_enum, default_value_t = Alg::Es256)]
        alg: Alg,
        /// Also forget all older signing keys: everything that they signed dies
        #[arg(long)]
        drop_old: bool,
    },
    /// Forget a signing key that is not active: everything that it signed dies
    Drop { kid: String },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Alg {
    Es256,
    Eddsa,
    Hs256,
}

impl From<Alg> for Algorithm {
    fn from(alg: Alg) -> Algorithm {
        match alg {
            Alg::Es256 => Algorithm::Es256,
            Alg::Eddsa => Algorithm::EdDsa,
            Alg::Hs256 => Algorithm::Hs256,
        }
    }
}

/// The keys of an installation and where they came from.
pub(super) fn obtain(place: &Place) -> Result<(Keyring, Origin), Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    keyfile::obtain(&place.data(), variable, now()).map_err(Failure::fault)
}

pub(super) fn run(command: Keys) -> Result<(), Failure> {
    if !command.place.project.is_dir() {
        return Err(Failure::fault(format!("there is no folder {}", command.place.project.display())));
    }
    let (ring, origin) = obtain(&command.place)?;
    match command.change {
        None => show(&ring, &origin, command.json),
        Some(Change::Revoke { jti }) => revoke(&origin, &jti),
        Some(Change::Rotate { alg, drop_old }) => {
            let (ring, ()) = change(&origin, |ring| {
                ring.rotate(alg.into(), now())?;
                if drop_old {
                    ring.drop_inactive();
                }
                Ok(())
            })?;
            show(&ring, &origin, command.json)
        }
        Some(Change::Drop { kid }) => {
            change(&origin, |ring| ring.drop_key(&kid))?;
            eprintln!("forgot {kid}: a running server knows within a second");
            Ok(())
        }
    }
}

fn show(ring: &Keyring, origin: &Origin, as_json: bool) -> Result<(), Failure> {
    if as_json {
        println!("{}", json!({ "publishable": ring.publishable(), "secret": ring.secret() }));
        return Ok(());
    }
    println!("publishable  {}", ring.publishable());
    println!("secret       {}", ring.secret());
    for (name, key) in [("publishable", ring.publishable()), ("secret", ring.secret())] {
        let jti = token::verify(key, ring, now()).ok().and_then(|verified| verified.jti);
        println!("{name} key's id: {}", jti.unwrap_or_else(|| "revoked".to_owned()));
    }
    for key in ring.signing() {
        let active = if key.kid() == ring.active().kid() { ", active" } else { "" };
        println!("signing key {} ({}{active})", key.kid(), key.algorithm().as_str());
    }
    match origin {
        Origin::File(path) | Origin::Minted(path) => println!("kept in {}", path.display()),
        Origin::Environment => println!("given by the environment"),
    }
    Ok(())
}

/// Refuses an id: in the file if the keys came from one, and in the database if one is named, so that every
/// node hears of it.
fn revoke(origin: &Origin, jti: &str) -> Result<(), Failure> {
    let urls = crate::db::Urls::from_env();
    if urls.is_none() && origin.file().is_none() {
        return Err(Failure::fault(
            "the keys come from the environment: name the database by DATABASE_URL so that all nodes hear of the revocation",
        ));
    }
    if let Some(urls) = urls {
        super::tables::block_on(super::tables::revoke(&urls, jti))?;
    }
    if origin.file().is_some() {
        change(origin, |ring| Ok(ring.revoke(jti)))?;
    }
    eprintln!("revoked {jti}: a running server knows within a second");
    Ok(())
}

fn change<T>(
    origin: &Origin,
    change: impl FnOnce(&mut Keyring) -> Result<T, crate::auth::keys::KeyFault>,
) -> Result<(Keyring, T), Failure> {
    let path: PathBuf = origin
        .file()
        .ok_or_else(|| Failure::fault("the keys come from the environment: change them there"))?
        .to_owned();
    keyfile::change(&path, now(), change, |_| ()).map_err(Failure::fault)
}
