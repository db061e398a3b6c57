//! What a project says of signing in, with the variables that it names looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Failure;
use crate::auth::settings::Settings;
use crate::auth::token::{ISSUER_PATH, is_grantable};
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
    let roles = project.roles.iter().map(|role| role.name.as_str()).filter(|role| is_grantable(role));
    Ok(Settings {
        project: project.sign_in.clone(),
        mail: project.mail.clone(),
        public_url: public_url.to_owned(),
        roles: roles.map(str::to_owned).collect(),
        secrets: HashMap::new(),
        is_dev,
    })
}
