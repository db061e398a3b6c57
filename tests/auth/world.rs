//! A site with a provider beside it, and browsers that go between them.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::idp::Idp;
use super::site::Site;
use crate::support::caller::Answer;

/// What an app keeps (RFC 7636, appendix B), and what it shows of it.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Where browsers end.
pub const APP: &str = "http://localhost:3000/";
/// Limits are tested elsewhere.
pub const UNLIMITED: &str = "rate_limits: { sign_in: false, sign_up: false, anonymous: false, mail: false, mail_to: false, verify: false, refresh: false }";

pub struct World {
    pub site: Site,
    pub idp: Idp,
}

/// A sign-in that has begun: what the provider was told.
pub struct Begun {
    pub at: Url,
    pub told: HashMap<String, String>,
}

impl Begun {
    pub fn state(&self) -> &str {
        &self.told["state"]
    }

    /// The code that the provider hands out.
    pub fn code(&self) -> String {
        format!("{}.{}", self.told["nonce"], self.told["code_challenge"])
    }
}

/// Where a browser was sent.
#[derive(Debug)]
pub struct Landed {
    pub to: String,
    pub query: HashMap<String, String>,
    pub fragment: HashMap<String, String>,
}

impl Landed {
    pub fn at(location: &str) -> Landed {
        let mut url = Url::parse(location).unwrap();
        let query = url.query_pairs().into_owned().collect();
        let fragment = url.fragment().unwrap_or_default().to_owned();
        let fragment = url::form_urlencoded::parse(fragment.as_bytes()).into_owned().collect();
        url.set_query(None);
        url.set_fragment(None);
        Landed { to: url.into(), query, fragment }
    }

    /// The access token, if it came to a session.
    #[track_caller]
    pub fn token(&self) -> &str {
        self.fragment.get("access_token").unwrap_or_else(|| panic!("no session: {self:?}"))
    }

    /// The code to be exchanged for a session.
    #[track_caller]
    pub fn code(&self) -> &str {
        self.query.get("code").unwrap_or_else(|| panic!("no code: {self:?}"))
    }

    /// The code of a refusal, which has to be said in both places.
    #[track_caller]
    pub fn refused(&self) -> &str {
        let code = self.query.get("error_code").unwrap_or_else(|| panic!("not refused: {self:?}"));
        assert_eq!(Some(code), self.fragment.get("error_code"));
        for name in ["error", "error_description"] {
            assert_eq!(self.query[name], self.fragment[name]);
        }
        assert!(!self.fragment.contains_key("access_token") && !self.query.contains_key("code"));
        code
    }
}

impl World {
    /// With a provider `acme`, and this added to `auth:`.
    pub async fn start(more: &str) -> World {
        World::start_with(more, &[], &[]).await
    }

    /// And with these files, and these variables.
    pub async fn start_with(more: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> World {
        let idp = Idp::start().await;
        let settings = format!(
            "auth:\n  {UNLIMITED}\n  oauth: {{ acme: {{ issuer: '{}', client_id: app, audiences: [native] }} }}\n{}",
            idp.url,
            more.replace("IDP", &idp.url)
        );
        World { site: Site::start_with(&settings, files, env).await, idp }
    }

    /// A browser without anything of ours goes to an address of the site.
    pub async fn browse(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let url = Url::parse_with_params(&self.site.server.at(path), query).unwrap();
        let request = self.site.client.get(url).header("x-supabase-api-version", "2024-01-01");
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    /// Goes to a provider.
    pub async fn begin(&self, query: &[(&str, &str)]) -> Begun {
        let mut all = vec![("provider", "acme")];
        all.extend_from_slice(query);
        let answer = self.browse("/auth/v1/authorize", &all).await;
        assert_eq!(answer.status, 302, "{}", answer.body);
        begun(answer.header("location"))
    }

    /// Goes to a provider, to link an identity.
    pub async fn begin_link(&self, token: &str) -> Begun {
        let path = "/auth/v1/user/identities/authorize?provider=acme&skip_http_redirect=true";
        let path = format!("{path}&code_challenge={CHALLENGE}&code_challenge_method=s256");
        let body = self.site.get(&path, Some(token)).await.is(200);
        begun(body["url"].as_str().unwrap())
    }

    /// Comes back.
    pub async fn back(&self, query: &[(&str, &str)]) -> Landed {
        let answer = self.browse("/auth/v1/callback", query).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(
            (answer.header("cache-control"), answer.header("referrer-policy")),
            ("no-store", "no-referrer")
        );
        Landed::at(answer.header("location"))
    }

    /// Comes back with the code that the provider hands out.
    pub async fn finish(&self, begun: &Begun) -> Landed {
        self.back(&[("state", begun.state()), ("code", &begun.code())]).await
    }

    /// There and back, in the implicit flow, as whoever the provider says.
    pub async fn sign_in(&self, account: Value) -> Landed {
        self.idp.set_account(account);
        self.finish(&self.begin(&[]).await).await
    }

    /// The user of a token.
    pub async fn user(&self, token: &str) -> Value {
        self.site.get("/auth/v1/user", Some(token)).await.is(200)
    }

    /// Comes back with what the provider says, to be linked to the user of a token.
    pub async fn link(&self, token: &str, account: Value) -> Landed {
        self.idp.set_account(account);
        self.finish(&self.begin_link(token).await).await
    }

    /// Links what the provider says to the user of a token: the session that it comes to.
    pub async fn linked(&self, token: &str, account: Value) -> Value {
        let landed = self.link(token, account).await;
        self.exchange(landed.code(), VERIFIER).await.is(200)
    }

    pub async fn exchange(&self, code: &str, verifier: &str) -> Answer {
        let body = json!({ "auth_code": code, "code_verifier": verifier });
        self.site.post("/auth/v1/token?grant_type=pkce", None, body).await
    }

    pub async fn unlink(&self, token: &str, identity: &str) -> Answer {
        self.site
            .send(Method::DELETE, &format!("/auth/v1/user/identities/{identity}"), Some(token), None)
            .await
    }

    pub async fn run(&self, sql: &str) {
        self.site.sql().await.batch_execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.site.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn begun(location: &str) -> Begun {
    let at = Url::parse(location).unwrap();
    let told = at.query_pairs().into_owned().collect();
    Begun { at, told }
}
