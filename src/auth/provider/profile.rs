//! [`Profile`]: what a provider says of somebody.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::claims::{ClaimFault, subject};
use crate::auth::email;

/// What a provider says of somebody. Nothing in it comes from the app or the user's browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// By what the provider recognises him, for good.
    pub subject: String,
    /// An address, if it is one.
    pub email: Option<String>,
    /// Whether the provider vouches for the address.
    pub is_verified: bool,
    /// The rest, for the app.
    pub data: Map<String, Value>,
}

/// The claims that are kept (OpenID Connect Core 5.1).
const KEPT: [&str; 17] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "user_name",
    "profile",
    "picture",
    "avatar_url",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
    "hd",
];
/// Characters of a claim that is kept.
const MAX_CHARACTERS: usize = 1_024;

impl Profile {
    /// What verified claims say.
    ///
    /// # Errors
    /// Claims about nobody.
    pub fn of(claims: &Map<String, Value>) -> Result<Profile, ClaimFault> {
        let email = claims.get("email").and_then(Value::as_str).and_then(email::normal);
        // Some write the word.
        let says_so = matches!(claims.get("email_verified"), Some(Value::Bool(true)))
            || claims.get("email_verified").and_then(Value::as_str) == Some("true");
        let is_verified = email.is_some() && says_so;
        let subject = subject(claims)?.to_owned();
        let mut data = Map::new();
        for name in KEPT {
            if let Some(value) = claims.get(name).filter(|value| is_short(value)) {
                data.insert(name.to_owned(), value.clone());
            }
        }
        for (kept, also) in [("name", "full_name"), ("picture", "avatar_url")] {
            if let (Some(value), false) = (data.get(kept).cloned(), data.contains_key(also)) {
                data.insert(also.to_owned(), value);
            }
        }
        if let Some(issuer) = claims.get("iss").filter(|value| is_short(value)) {
            data.insert("iss".to_owned(), issuer.clone());
        }
        data.insert("sub".to_owned(), subject.as_str().into());
        data.insert("provider_id".to_owned(), subject.as_str().into());
        if let Some(email) = &email {
            data.insert("email".to_owned(), email.as_str().into());
        }
        data.insert("email_verified".to_owned(), is_verified.into());
        data.insert("phone_verified".to_owned(), false.into());
        Ok(Profile { subject, email, is_verified, data })
    }

    /// The address, if the provider vouches for it.
    pub fn proven(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.is_verified)
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().count() <= MAX_CHARACTERS && !text.contains('\0'),
        Value::Bool(_) | Value::Number(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_counts_only_where_the_provider_vouches_for_it() {
        for (claims, expected) in [
            (json!({ "email": "Ada@Example.test", "email_verified": true }), Some("ada@example.test")),
            (json!({ "email": "ada@example.test", "email_verified": "true" }), Some("ada@example.test")),
            (json!({ "email": "ada@example.test", "email_verified": false }), None),
            (json!({ "email": "ada@example.test", "email_verified": "false" }), None),
            (json!({ "email": "ada@example.test", "email_verified": 1 }), None),
            (json!({ "email": "ada@example.test", "email_verified": [true] }), None),
            (json!({ "email": "ada@example.test" }), None),
            (json!({ "email": ["ada@example.test"], "email_verified": true }), None),
            (json!({ "email": "ada@example.test, bob@example.test", "email_verified": true }), None),
            (json!({ "email": "àda@example.test", "email_verified": true }), None),
            (json!({ "email_verified": true }), None),
        ] {
            let mut claims = claims.as_object().unwrap().clone();
            claims.insert("sub".to_owned(), "7".into());
            let profile = Profile::of(&claims).unwrap();
            assert_eq!(profile.proven(), expected, "{claims:?}");
            assert_eq!(profile.data["email_verified"], expected.is_some());
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_servers_own_words_are_the_servers() {
        let claims = json!({
            "sub": "7", "name": "Ada", "picture": "https://p.test/a", "phone_verified": true, "provider_id": "8",
            "role": "service_role", "nickname": "a".repeat(2_000), "locale": { "a": 1 }, "profile": "a\0b",
        });
        let profile = Profile::of(claims.as_object().unwrap()).unwrap();
        let expected = json!({
            "sub": "7", "provider_id": "7", "name": "Ada", "full_name": "Ada", "picture": "https://p.test/a",
            "avatar_url": "https://p.test/a", "email_verified": false, "phone_verified": false,
        });
        assert_eq!(Value::Object(profile.data), expected);
        assert!(Profile::of(&Map::new()).is_err());
    }
}
