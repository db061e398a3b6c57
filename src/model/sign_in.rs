//! [`SignIn`] and [`MailSettings`]: what a project says of signing in (`auth:`, `mail:`), with the defaults that are safe.
//!
//! What is secret is named, not held: [`Setting::Env`] is looked up when a server starts.

use std::collections::BTreeMap;
use std::time::Duration;

/// A text of the project, or the name of the environment variable that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Written in the project; never a secret.
    Text(String),
    /// `env(NAME)`.
    Env(String),
}

/// `auth:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The app's own address, if the project says it.
    pub site_url: Option<String>,
    /// Further addresses that links may lead to; `*` stands for a part of a path, `**` for several.
    pub redirect_urls: Vec<String>,
    /// Characters that a password has at least.
    pub password_min_length: usize,
    pub signup: SignUp,
    /// Sign-in by mailed links and codes, and by password.
    pub email: EmailSignIn,
    pub sessions: Sessions,
    pub mfa: Mfa,
    /// Whether signed-in users may link and unlink identities themselves.
    pub manual_linking: bool,
    /// Providers by name: `github` is known, any other has an issuer.
    pub oauth: BTreeMap<String, Provider>,
    /// Others whose tokens are accepted as they are, by a name for people.
    pub issuers: BTreeMap<String, Issuer>,
    pub rate_limits: RateLimits,
}

/// `auth.signup:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignUp {
    pub enabled: bool,
    /// Whether an address must be proven before it counts.
    pub confirm_email: bool,
    /// Whether somebody may sign in as nobody in particular.
    pub anonymous: bool,
}

/// `auth.email:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSignIn {
    pub enabled: bool,
    /// Digits of a mailed code.
    pub code_length: u32,
    /// How long a mailed link or code is good.
    pub expiry: Duration,
    /// How long an invitation is good.
    pub invite_expiry: Duration,
    /// Whether both addresses have to confirm a change of address.
    pub confirm_both: bool,
    /// Whether a password changes only with a code mailed just now, in sessions older than a day.
    pub reauthenticate: bool,
}

/// `auth.sessions:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// How long an access token lives.
    pub access_token: Duration,
    /// How long after its use a refresh token may be shown again.
    pub reuse_interval: Duration,
    /// A session that is not refreshed for so long ends.
    pub inactivity: Duration,
    /// A session ends after so long.
    pub time_box: Duration,
    /// Whether a new session ends the user's others.
    pub single: bool,
}

/// `auth.mfa:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mfa {
    pub totp: bool,
    /// Factors that a user may have.
    pub max_factors: usize,
    /// What an authenticator shows beside the user's address.
    pub issuer: Option<String>,
}

/// `auth.oauth.NAME:`: a provider that signs users in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Found by discovery (OpenID Connect). None only for a preset.
    pub issuer: Option<String>,
    pub client_id: Setting,
    pub client_secret: Option<Setting>,
    /// What is asked for besides the provider's usual.
    pub scopes: Vec<String>,
    /// Further audiences of ID tokens that an app brings itself (`grant_type=id_token`): its native clients.
    pub audiences: Vec<String>,
}

/// `auth.issuers.NAME:`: somebody else's tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The `iss` of its tokens; its keys are found by discovery.
    pub issuer: String,
    /// The `aud` that stands for this server.
    pub audience: String,
    /// The claim that names roles, if they count for anything here.
    pub roles_claim: Option<String>,
    /// The project's roles that its tokens may name.
    pub roles: Vec<String>,
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    pub const fn new(count: u32, per: Duration) -> Rate {
        Rate { count, per }
    }
}

/// `auth.rate_limits:`. `None` is no limit, which has to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Attempts to sign in: of an address of the network, and of an account.
    pub sign_in: Option<Rate>,
    pub sign_up: Option<Rate>,
    pub anonymous: Option<Rate>,
    /// Mails that an address of the network may cause.
    pub mail: Option<Rate>,
    /// Mails to one address.
    pub mail_to: Option<Rate>,
    /// Codes and links that are shown, second factors too.
    pub verify: Option<Rate>,
    pub refresh: Option<Rate>,
    /// Requests for records, by whoever shows no token of a user and no secret key: of an address of the network.
    pub rest_anonymous: Option<Rate>,
}

/// `mail:`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MailSettings {
    /// `smtp://user:password@host:587`, `smtps://…`. None: `dev` keeps mails for a look at them, `serve` sends none.
    pub smtp: Option<Setting>,
    /// `Acme <hello@acme.test>`.
    pub from: Option<String>,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for SignIn {
    fn default() -> SignIn {
        SignIn {
            site_url: None,
            redirect_urls: Vec::new(),
            password_min_length: 10,
            signup: SignUp { enabled: true, confirm_email: true, anonymous: false },
            email: EmailSignIn {
                enabled: true,
                code_length: 6,
                expiry: 15 * MINUTE,
                invite_expiry: DAY,
                confirm_both: true,
                reauthenticate: false,
            },
            sessions: Sessions {
                access_token: 15 * MINUTE,
                reuse_interval: Duration::from_secs(10),
                inactivity: 30 * DAY,
                time_box: 90 * DAY,
                single: false,
            },
            mfa: Mfa { totp: true, max_factors: 10, issuer: None },
            manual_linking: false,
            oauth: BTreeMap::new(),
            issuers: BTreeMap::new(),
            rate_limits: RateLimits {
                sign_in: Some(Rate::new(10, MINUTE)),
                sign_up: Some(Rate::new(30, HOUR)),
                anonymous: Some(Rate::new(30, HOUR)),
                mail: Some(Rate::new(30, HOUR)),
                mail_to: Some(Rate::new(1, MINUTE)),
                verify: Some(Rate::new(30, 5 * MINUTE)),
                refresh: Some(Rate::new(150, 5 * MINUTE)),
                rest_anonymous: Some(Rate::new(300, Duration::from_secs(10))),
            },
        }
    }
}
