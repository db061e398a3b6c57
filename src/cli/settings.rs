//! What a project says of signing in, with the variables that it names looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Failure;
use crate::auth::provider::github;
use crate::auth::settings::Settings;
use crate::auth::token::{ISSUER_PATH, is_grantable};
use crate::model::{ANON, AUTHENTICATED};
use crate::project::Project;

/// Where users find the server: what the operator says, or else where it listens.
pub(super) fn public_url(said: Option<&str>, address: SocketAddr) -> String {
    match said {
        Some(said) => said.trim_end_matches('/').to_owned(),
        None => {
            let host =
                if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
            format!("http://{}", SocketAddr::new(host, address.port()))
        }
    }
}

/// The `iss` of access tokens.
pub(super) fn issuer(public_url: &str) -> String {
    format!("{public_url}{ISSUER_PATH}")
}

/// The settings of a project.
pub(super) fn of(project: &Project, public_url: &str, is_dev: bool) -> Result<Settings, Failure> {
    let roles = project
        .roles
        .iter()
        .map(|role| role.name.as_str())
        .filter(|role| is_grantable(role) && ![ANON, AUTHENTICATED].contains(role));
    Ok(Settings {
        project: project.sign_in.clone(),
        mail: project.mail.clone(),
        public_url: public_url.to_owned(),
        roles: roles.map(str::to_owned).collect(),
        secrets: HashMap::new(),
        is_dev,
        private_hosts: private_hosts(),
        github_url: github_url(),
    })
}

/// Hosts that sign-in may ask though they are not on the public network (BASEWRIGHT_ALLOW_PRIVATE_HOSTS, between commas).
fn private_hosts() -> Vec<String> {
    let said = std::env::var("BASEWRIGHT_ALLOW_PRIVATE_HOSTS").unwrap_or_default();
    said.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// The GitHub that signs users in: an installation of one's own (BASEWRIGHT_GITHUB_URL), or the one everybody knows.
fn github_url() -> String {
    let said = std::env::var("BASEWRIGHT_GITHUB_URL").ok().filter(|said| !said.is_empty());
    said.map_or_else(|| github::PUBLIC.to_owned(), |said| said.trim_end_matches('/').to_owned())
}
