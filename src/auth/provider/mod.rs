//! Others who say who somebody is: OpenID Connect providers, and GitHub.
//!
//! `remote` finds an issuer's endpoints and keys, `keys` verifies signatures by these, `claims` judges what was signed,
//! `profile` is what a provider says of somebody, `code` is the authorization code flow, `github` the one preset.

pub mod claims;
pub mod code;
pub mod github;
pub mod keys;
pub mod profile;
pub mod remote;

use super::outbound::OutboundFault;

/// Why a provider was of no use.
#[derive(Debug, thiserror::Error)]
pub enum ProviderFault {
    #[error(transparent)]
    Outbound(#[from] OutboundFault),
    #[error("{0} answered with status {1}")]
    Status(&'static str, u16),
    #[error("{0} answered something else: {1}")]
    Answer(&'static str, String),
    #[error("discovery names the issuer {0}")]
    Issuer(String),
    #[error("its keys are not known, and it was asked a moment ago")]
    Unreachable,
    #[error("the authorization code was refused: {0}")]
    Code(String),
    #[error("the ID token does not hold: {0}")]
    Token(#[from] claims::ClaimFault),
}
