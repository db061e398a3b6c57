//! `basewright token`: a token that the operator vouches for.

use std::time::Duration;

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::{Failure, Place, keys};
use crate::app::now;
use crate::auth::token;
use crate::model::{ANON, AUTHENTICATED};

/// The longest life of a token.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Print a token that stands for a user, for scripts and first steps
///
/// The token carries its roles itself and needs no user in the database. It lives until it expires, is
/// revoked (`basewright keys … revoke`) or its signing key is dropped.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright token examples/blog --sub 0190d1a5-0000-7000-8000-000000000001
  basewright token examples/blog --sub \"$(uuidgen)\" --roles editor --ttl 15m")]
pub(super) struct Token {
    #[command(flatten)]
    place: Place,
    /// The user's id (auth.id), a uuid
    #[arg(long, value_name = "UUID")]
    sub: Uuid,
    /// What the token is
    #[arg(long, value_enum, default_value_t = Role::Authenticated)]
    role: Role,
    /// Further roles of the project, between commas
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<String>,
    /// How long it lives: 90s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "TIME")]
    ttl: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Authenticated,
    Anon,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::Authenticated => AUTHENTICATED,
            Role::Anon => ANON,
        }
    }
}

pub(super) fn run(command: Token) -> Result<(), Failure> {
    // The project knows its roles: a misspelled one would be a token that silently may nothing.
    let project = super::project::load(&command.place.project)?;
    for role in &command.roles {
        if !token::is_grantable(role) || !project.roles.iter().any(|known| known.name == role.as_str()) {
            let nearest = project
                .roles
                .iter()
                .filter(|known| token::is_grantable(known.name.as_str()))
                .map(|known| (strsim::jaro_winkler(known.name.as_str(), role), known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(similarity, _)| *similarity > 0.8);
            let hint =
                nearest.map(|(_, known)| format!("; did you mean `{}`?", known.name)).unwrap_or_default();
            return Err(Failure::fault(format!(
                "the project has no role `{role}` that can be granted{hint}"
            )));
        }
    }
    let (ring, _) = keys::obtain(&command.place)?;
    let issued = now();
    let lives = i64::try_from(command.ttl.as_secs()).map_err(Failure::usage)?;
    let token = token::mint_operator(
        ring.active(),
        command.sub,
        command.role.as_str(),
        &command.roles,
        issued,
        issued.saturating_add(lives),
    )
    .map_err(Failure::fault)?;
    println!("{token}");
    Ok(())
}

/// How long a token lives.
fn duration(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time.is_zero() || time > MAX_TTL {
        return Err("a token lives between a second and 366 days".to_owned());
    }
    Ok(time)
}

/// `90s`, `15m`, `1h`, `7d`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time: write a number and s, m, h or d, like 15m");
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("366d"), Ok(MAX_TTL));
        for bad in ["", "h", "1", "1w", "-1h", "0s", "367d", "1.5h", "99999999999999999999d", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
