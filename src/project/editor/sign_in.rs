//! `auth` and `mail` for editors.

use serde_json::{Value as Json, json};

use super::{described, nullable, object, reference, required};
use crate::project::later::Place;
use crate::project::providers::{ISSUER_KEYS, PROVIDER_KEYS, TAKEN};
use crate::project::sign_in::{Form, MAIL_KEYS, SETTINGS, keys};

/// What stands behind a key of `auth` or `mail`.
pub(super) fn value(place: Place, key: &str) -> Option<Json> {
    const VARIABLE: &str = r"^\s*env\(\s*[A-Za-z_][A-Za-z0-9_]*\s*\)\s*$";
    let words = |description: &str| {
        let word = json!({ "type": "string", "pattern": r"^\S+$" });
        json!({ "type": "array", "items": word, "description": description })
    };
    let text = |description: &str| json!({ "type": "string", "minLength": 1, "description": description });
    if let Some(known) = SETTINGS.iter().find(|known| known.place == place && known.key == key) {
        let schema = match known.form {
            Form::Flag(_) => json!({ "type": "boolean" }),
            Form::Number(least, most, _) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Form::Span(..) => json!({ "type": "string", "pattern": "^[0-9]+(s|m|h|d)$" }),
            Form::Rate(_) => json!({
                "anyOf": [
                    { "type": "string", "pattern": "^[1-9][0-9]* */ *[1-9][0-9]*(s|m|h|d)$" },
                    { "enum": [false, "off"] },
                ],
            }),
            Form::Label(_) => json!({ "type": "string", "pattern": "^[^:]+$", "maxLength": 60 }),
        };
        return Some(described(schema, known.says));
    }
    Some(match (place, key) {
        (Place::Auth, "site_url") => text(
            "The app's own address: where links lead that name no other. Unless said, this server where the project has pages (`public/`), else http://localhost:3000.",
        ),
        (Place::Auth, "redirect_urls") => words(
            "Further addresses that links may lead to. `*` in the last parts of the path stands for what is in a part, `**` for several.",
        ),
        (Place::Auth, "password") => section(Place::AuthPassword, "What a password has to be."),
        (Place::Auth, "signup") => section(Place::AuthSignUp, "Who may sign up, and how."),
        (Place::Auth, "email") => section(Place::AuthEmail, "Sign-in by address: mailed links and codes."),
        (Place::Auth, "sessions") => section(Place::AuthSessions, "How long somebody stays signed in."),
        (Place::Auth, "mfa") => section(Place::AuthMfa, "Second factors."),
        (Place::Auth, "rate_limits") => {
            section(Place::AuthRates, "So many in so long, as in `10/1m`; `false` is no limit.")
        }
        (Place::Auth, "oauth") => {
            let provider = |keys: &[&str]| required(object(Place::AuthProvider, &PROVIDER_KEYS), keys);
            json!({
                "type": ["object", "null"],
                "propertyNames": { "allOf": [reference("name"), { "not": { "enum": TAKEN } }] },
                "properties": { "github": provider(&["client_id", "client_secret"]) },
                "additionalProperties": provider(&["client_id", "issuer"]),
                "description": "Providers that sign users in: `github`, or any by its issuer (OpenID Connect).",
            })
        }
        (Place::Auth, "issuers") => json!({
            "type": ["object", "null"],
            "propertyNames": reference("name"),
            "additionalProperties": required(object(Place::AuthIssuer, &ISSUER_KEYS), &["audience", "issuer"]),
            "description": "Others whose tokens are accepted as they are.",
        }),
        (Place::AuthProvider | Place::AuthIssuer, "issuer") => json!({
            "type": "string",
            "pattern": "^https?://",
            "description": "Its address, as it stands in the `iss` of its tokens.",
        }),
        (Place::AuthProvider, "client_id") => {
            text("What the provider calls this project; `env(NAME)` or as it is.")
        }
        (Place::AuthProvider, "client_secret") => json!({
            "type": "string",
            "pattern": VARIABLE,
            "description": "`env(NAME)`: the variable that holds the secret.",
        }),
        (Place::AuthProvider, "scopes") => words("What is asked for besides the usual."),
        (Place::AuthProvider, "audiences") => {
            words("Further audiences of ID tokens that an app brings itself: its native clients.")
        }
        (Place::AuthIssuer, "audience") => text("The `aud` that stands for this server."),
        (Place::AuthIssuer, "roles_claim") => text("The claim that names roles."),
        (Place::AuthIssuer, "roles") => {
            described(reference("names"), "The project's roles that its tokens may name.")
        }
        (Place::Mail, "smtp") => json!({
            "type": "string",
            "pattern": VARIABLE,
            "description": "`env(NAME)`: the variable that holds `smtp://user:password@host:587` or `smtps://…`.",
        }),
        (Place::Mail, "from") => text("The sender, as in `Acme <hello@acme.test>`."),
        _ => return None,
    })
}

/// A section of settings.
pub(super) fn section(place: Place, description: &str) -> Json {
    let mut section = object(place, &keys(place));
    nullable(&mut section);
    described(section, description)
}

/// `mail`.
pub(super) fn mail() -> Json {
    let mut mail = object(Place::Mail, &MAIL_KEYS);
    nullable(&mut mail);
    described(mail, "How mails are sent. `dev` keeps them for a look unless there is `smtp`.")
}
