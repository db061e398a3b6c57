//! [`Principal`]: who is asking, as one value.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Kind;

/// The role that everybody has.
pub const ANON: &str = "anon";
/// The role of whoever presents a valid token of a person.
pub const AUTHENTICATED: &str = "authenticated";
/// The secret key's role: may do everything.
pub const SERVICE_ROLE: &str = "service_role";

/// Who is asking. Made by the credential extractor, by `policy test`, or by a job; never by a request's body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    /// `anon`, `authenticated` or `service_role`.
    pub role: String,
    /// The roles granted directly, `role` first. Inherited roles are the policies' business.
    pub roles: Vec<String>,
    pub id: Option<Uuid>,
    pub email: Option<String>,
    pub is_anonymous: bool,
    /// Authentication assurance level: `aal1` or `aal2`.
    pub aal: Option<String>,
    /// The verified token's claims, for `auth.claims.NAME`.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl Principal {
    /// Whoever comes without a token: the publishable key or nothing at all.
    pub fn anonymous() -> Principal {
        Principal {
            role: ANON.to_owned(),
            roles: vec![ANON.to_owned()],
            id: None,
            email: None,
            is_anonymous: false,
            aal: None,
            claims: serde_json::Map::new(),
        }
    }

    /// The secret key.
    pub fn service() -> Principal {
        Principal {
            role: SERVICE_ROLE.to_owned(),
            roles: vec![SERVICE_ROLE.to_owned()],
            ..Principal::anonymous()
        }
    }

    /// A signed-in person with further roles.
    pub fn user(id: Uuid, roles: &[&str]) -> Principal {
        let mut all = vec![AUTHENTICATED.to_owned()];
        all.extend(roles.iter().filter(|role| **role != AUTHENTICATED).map(|role| (*role).to_owned()));
        Principal { role: AUTHENTICATED.to_owned(), roles: all, id: Some(id), ..Principal::anonymous() }
    }

    /// With what a token says of the person besides id and roles.
    pub fn with_claims(self, claims: serde_json::Map<String, serde_json::Value>) -> Principal {
        let text = |name: &str| claims.get(name).and_then(|claim| claim.as_str()).map(str::to_owned);
        Principal {
            email: text("email").filter(|email| !email.is_empty()),
            is_anonymous: claims.get("is_anonymous").and_then(|claim| claim.as_bool()).unwrap_or(false),
            aal: text("aal"),
            claims,
            ..self
        }
    }

    /// Nobody is signed in: a refusal then asks for a token (401) instead of denying (403).
    pub fn is_anon(&self) -> bool {
        self.role == ANON
    }

    /// Neither a user nor the secret key: what he asks for is counted by where he comes from.
    pub fn is_nobody(&self) -> bool {
        self.id.is_none() && !self.is_service()
    }

    pub fn is_service(&self) -> bool {
        self.role == SERVICE_ROLE
    }
}

/// What `auth.…` names in a condition, a default or a `set`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    Id,
    Role,
    Roles,
    Email,
    IsAnonymous,
    Aal,
    /// `auth.claims.a.b`: the path inside the claims. A claim of another kind than its place asks for is null.
    Claim(Vec<String>),
}

/// As a project writes it: `auth.id`.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Id => f.write_str("auth.id"),
            Attribute::Role => f.write_str("auth.role"),
            Attribute::Roles => f.write_str("auth.roles"),
            Attribute::Email => f.write_str("auth.email"),
            Attribute::IsAnonymous => f.write_str("auth.is_anonymous"),
            Attribute::Aal => f.write_str("auth.aal"),
            Attribute::Claim(path) => write!(f, "auth.claims.{}", path.join(".")),
        }
    }
}

impl Attribute {
    /// The attribute's kind; a claim has the kind that its place asks for.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Attribute::Id => Some(Kind::UUID),
            Attribute::Role | Attribute::Email | Attribute::Aal => Some(Kind::TEXT),
            Attribute::Roles => Some(Kind::many(super::Scalar::Text)),
            Attribute::IsAnonymous => Some(Kind::BOOLEAN),
            Attribute::Claim(_) => None,
        }
    }
}
