//! GitHub, which signs users in by OAuth 2 alone: who somebody is has to be asked for.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ProviderFault;
use super::code::Party;
use super::profile::Profile;
use super::remote::json as get;
use crate::auth::outbound::Outbound;

/// The provider's name in a project.
pub const NAME: &str = "github";
/// What is asked for: the user's addresses, besides what everybody may know of him.
pub const SCOPE: &str = "user:email";
/// Where it is, unless an installation of one's own is meant.
pub const PUBLIC: &str = "https://github.com";

/// Where a GitHub is asked.
pub struct GitHub {
    authorization: String,
    token: String,
    api: String,
    home: String,
}

impl GitHub {
    /// The one at an address, without a slash at the end. GitHub Enterprise Server has its API below it.
    pub fn at(home: &str) -> GitHub {
        let api = if home == PUBLIC { "https://api.github.com".to_owned() } else { format!("{home}/api/v3") };
        GitHub {
            authorization: format!("{home}/login/oauth/authorize"),
            token: format!("{home}/login/oauth/access_token"),
            api,
            home: home.to_owned(),
        }
    }

    pub fn party<'a>(
        &'a self,
        client_id: &'a str,
        client_secret: Option<&'a str>,
        redirect_uri: &'a str,
    ) -> Party<'a> {
        Party {
            client_id,
            client_secret,
            redirect_uri,
            authorization_endpoint: &self.authorization,
            token_endpoint: &self.token,
            secret_in_body: true,
        }
    }

    /// Whose access token it is.
    ///
    /// # Errors
    /// GitHub does not answer, or not as it should.
    pub async fn profile(&self, outbound: &Outbound, access_token: &str) -> Result<Profile, ProviderFault> {
        let user: Account =
            get(outbound, "the user", &format!("{}/user", self.api), Some(access_token)).await?;
        let address = format!("{}/user/emails?per_page=100", self.api);
        let emails: Vec<Address> =
            get(outbound, "the user's addresses", &address, Some(access_token)).await?;
        Ok(Profile::of(&self.claims(user, emails))?)
    }

    /// What it says, in the words of OpenID Connect. Of the addresses the primary one counts, if it is verified.
    fn claims(&self, user: Account, emails: Vec<Address>) -> Map<String, Value> {
        let primary = emails.into_iter().find(|email| email.primary);
        let said = [
            ("iss", Some(self.home.as_str().into())),
            ("sub", Some(user.id.to_string().into())),
            ("user_name", Some(user.login.as_str().into())),
            ("preferred_username", Some(user.login.as_str().into())),
            ("name", Some(user.name.unwrap_or(user.login.clone()).into())),
            ("picture", user.avatar_url.map(Value::from)),
            ("email_verified", primary.as_ref().map(|email| json!(email.verified))),
            ("email", primary.map(|email| email.email.into())),
        ];
        said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[derive(Deserialize)]
struct Account {
    /// The name can be given to somebody else; the number never is.
    id: u64,
    login: String,
    name: Option<String>,
    avatar_url: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    verified: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_verified_primary_address_counts() {
        let address = |email: &str, primary, verified| json!({ "email": email, "primary": primary, "verified": verified });
        for (emails, expected) in [
            (json!([address("a@x.test", false, true), address("b@x.test", true, true)]), Some("b@x.test")),
            (json!([address("a@x.test", false, true), address("b@x.test", true, false)]), None),
            (json!([address("a@x.test", false, true)]), None),
            (json!([]), None),
        ] {
            let user = json!({ "id": 7, "login": "ada", "email": "planted@x.test" });
            let claims = GitHub::at(PUBLIC).claims(
                serde_json::from_value(user).unwrap(),
                serde_json::from_value(emails.clone()).unwrap(),
            );
            let profile = Profile::of(&claims).unwrap();
            assert_eq!(profile.proven(), expected, "{emails}");
            assert_eq!((profile.subject.as_str(), &profile.data["user_name"]), ("7", &json!("ada")));
        }
    }

    #[test]
    fn an_installation_of_ones_own_has_its_api_below_it() {
        assert_eq!(GitHub::at(PUBLIC).api, "https://api.github.com");
        assert_eq!(GitHub::at("https://git.test").api, "https://git.test/api/v3");
    }
}
