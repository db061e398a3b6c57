//! What the project format has and this version has not: **the one table** of it.
//!
//! A documented key that is passed over in silence would be a promise not kept, so it is an error of
//! its own. A feature that is built takes its row out.

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    Collection,
    Field,
    Index,
    Search,
    Role,
    Action,
    Rule,
    Bucket,
    Channel,
    ChannelRule,
    Realtime,
    Limits,
    Auth,
    AuthPassword,
    AuthSignUp,
    AuthEmail,
    AuthSessions,
    AuthMfa,
    AuthRates,
    AuthProvider,
    AuthIssuer,
    Mail,
    Tests,
    Case,
}

impl Place {
    /// How a message names an unknown key of the place.
    pub(super) fn word(self) -> &'static str {
        match self {
            Place::Top => "section",
            Place::Collection => "key of a collection",
            Place::Field => "key of a field",
            Place::Index => "key of an index",
            Place::Search => "key of `search`",
            Place::Role => "key of a role",
            Place::Action => "action",
            Place::Rule => "key of a rule",
            Place::Bucket => "key of a bucket",
            Place::Channel => "key of a channel",
            Place::ChannelRule => "key of a channel's rule",
            Place::Realtime => "key of `realtime`",
            Place::Limits => "limit",
            Place::Auth => "key of `auth`",
            Place::AuthPassword => "key of `password`",
            Place::AuthSignUp => "key of `signup`",
            Place::AuthEmail => "key of `email`",
            Place::AuthSessions => "key of `sessions`",
            Place::AuthMfa => "key of `mfa`",
            Place::AuthRates => "key of `rate_limits`",
            Place::AuthProvider => "key of a provider",
            Place::AuthIssuer => "key of an issuer",
            Place::Mail => "key of `mail`",
            Place::Tests => "key of `tests`",
            Place::Case => "key of a case",
        }
    }
}

const LATER: &[(Place, &[&str])] = &[
    (Place::Top, &["function", "functions", "webhooks"]),
    (Place::Collection, &["adopt", "function", "functions", "view"]),
    (Place::Field, &["accept", "bucket", "max_size"]),
];

/// The key is documented for the place and not built.
pub(super) fn is_later(place: Place, key: &str) -> bool {
    LATER.iter().any(|(at, keys)| *at == place && keys.contains(&key))
}

/// The keys that are documented for the place and not built.
pub(super) fn keys(place: Place) -> impl Iterator<Item = &'static str> {
    LATER.iter().filter(move |(at, _)| *at == place).flat_map(|(_, keys)| keys.iter().copied())
}

/// A documented kind that is not built: `file`, `vector(3)`, and arrays of them.
pub(super) fn is_later_kind(word: &str) -> bool {
    let element = word.strip_suffix("[]").unwrap_or(word);
    element == "file" || element == "vector" || (element.starts_with("vector(") && element.ends_with(')'))
}
