//! Providers as they are: one from npm, and GitHub's own way.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use serde_json::{Value, json};
use url::Url;

use super::idp::{Idp, Reply};
use super::site::{Site, text};
use super::world::{CHALLENGE, Landed, UNLIMITED, VERIFIER};
use crate::clients::libraries;

/// Where the providers believe the server to be.
const PUBLIC: &str = "http://server.test";

/// The provider of npm, which goes with its value.
struct Node {
    child: Child,
    issuer: String,
    /// Held open: it may say more.
    _said: BufReader<ChildStdout>,
}

impl Node {
    fn start() -> Node {
        let mut child = Command::new("node")
            .arg("idp.mjs")
            .current_dir(libraries())
            .env("BW_CALLBACK", format!("{PUBLIC}/auth/v1/callback"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Node { child, issuer: text(&told, "issuer").to_owned(), _said: said }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cookie, and below which path it is shown.
struct Cookie {
    name: String,
    path: String,
    value: String,
}

/// What a browser does: follows, and keeps cookies, until it is at the app.
async fn browse(site: &Site, start: &str) -> Landed {
    let mut at = Url::parse(start).unwrap();
    let mut jar: Vec<Cookie> = Vec::new();
    for _ in 0..20 {
        let here: Url = at.as_str().replace(PUBLIC, &site.server.url).parse().unwrap();
        let shown: Vec<String> = jar
            .iter()
            .filter(|cookie| here.path().starts_with(&cookie.path))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, shown.join("; ").parse().unwrap());
        let response = site.client.get(here).headers(headers).send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
            jar.retain(|known| known.name != name || known.path != path);
            if !value.is_empty() {
                jar.push(Cookie { name: name.to_owned(), path: path.to_owned(), value: value.to_owned() });
            }
        }
        let Some(location) = response.headers().get("location") else {
            panic!("{at} leads nowhere: {}", response.text().await.unwrap());
        };
        at = at.join(location.to_str().unwrap()).unwrap();
        if at.host_str() == Some("localhost") && at.port() == Some(3000) {
            return Landed::at(at.as_str());
        }
    }
    panic!("it leads round and round");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_lets_users_in_with_and_without_a_secret() {
    let node = tokio::task::block_in_place(Node::start);
    let settings = format!(
        "auth:\n  {UNLIMITED}\n  oauth:\n    public: {{ issuer: '{0}', client_id: app }}\n    \
         confidential: {{ issuer: '{0}', client_id: confidential app, client_secret: env(TEST_SECRET) }}\n",
        node.issuer
    );
    let env = [("TEST_SECRET", "not so secret: 100% a+b"), ("BASEWRIGHT_PUBLIC_URL", PUBLIC)];
    let site = Site::start_with(&settings, &[], &env).await;
    for (provider, who, email) in [
        ("public", "ada", "ada@example.test"),
        ("confidential", "ada", "ada@example.test"),
        ("public", "bob", ""),
    ] {
        let start = format!("{PUBLIC}/auth/v1/authorize?provider={provider}&login_hint={who}");
        let landed = browse(&site, &start).await;
        let user = site.get("/auth/v1/user", Some(landed.token())).await.is(200);
        assert_eq!(user["email"], email, "{provider} {who}");
        assert!(!landed.fragment["provider_token"].is_empty());
        let landed = browse(&site, &format!("{start}&code_challenge={CHALLENGE}")).await;
        let body = json!({ "auth_code": landed.query["code"], "code_verifier": VERIFIER });
        let session = site.post("/auth/v1/token?grant_type=pkce", None, body).await.is(200);
        assert_eq!(session["user"]["id"], user["id"]);
    }
    // Ada is one user, known by two providers.
    let row = site.sql().await;
    let row =
        row.query_one("select count(distinct user_id), count(*) from auth.identities", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_asked_who_it_is() {
    let hub = Idp::start().await;
    let settings = format!(
        "auth:\n  {UNLIMITED}\n  oauth: {{ github: {{ client_id: app, client_secret: env(TEST_SECRET), scopes: ['read:org'] }} }}\n"
    );
    let env = [("TEST_SECRET", "secret"), ("BASEWRIGHT_GITHUB_URL", hub.url.as_str())];
    let site = Site::start_with(&settings, &[], &env).await;
    let account = |id: u64, login: &str| json!({ "id": id, "login": login, "name": "Ada", "avatar_url": "https://a.test/7" });
    let address =
        |email: &str, verified: bool| json!({ "email": email, "primary": true, "verified": verified });
    let sign_in = async |account: Value, emails: Value| {
        hub.reply("/api/v3/user", Reply::Json(account));
        hub.reply("/api/v3/user/emails", Reply::Json(emails));
        let there =
            site.client.get(site.server.at("/auth/v1/authorize?provider=github")).send().await.unwrap();
        let there = Url::parse(there.headers()["location"].to_str().unwrap()).unwrap();
        let told: std::collections::HashMap<String, String> = there.query_pairs().into_owned().collect();
        assert_eq!((there.path(), told["scope"].as_str()), ("/login/oauth/authorize", "user:email read:org"));
        let code = format!("{}.{}", told["nonce"], told["code_challenge"]);
        let back = site.server.at("/auth/v1/callback");
        let back = Url::parse_with_params(&back, [("state", &told["state"]), ("code", &code)]).unwrap();
        let response = site.client.get(back).send().await.unwrap();
        Landed::at(response.headers()["location"].to_str().unwrap())
    };
    let landed = sign_in(account(7, "ada"), json!([address("ada@example.test", true)])).await;
    let ada = site.get("/auth/v1/user", Some(landed.token())).await.is(200);
    assert_eq!(ada["email"], "ada@example.test");
    assert_eq!(ada["user_metadata"]["user_name"], "ada");
    assert_eq!(ada["user_metadata"]["avatar_url"], "https://a.test/7");
    assert_eq!(landed.fragment["provider_token"], "their access token");
    // The number is who he is, not the name; an address that is not verified says nothing.
    let renamed = sign_in(account(7, "lovelace"), json!([])).await;
    assert_eq!(site.get("/auth/v1/user", Some(renamed.token())).await.is(200)["id"], ada["id"]);
    let other = sign_in(account(8, "ada"), json!([address("ada@example.test", false)])).await;
    let other = site.get("/auth/v1/user", Some(other.token())).await.is(200);
    assert_ne!(other["id"], ada["id"]);
    assert_eq!(other["email"], "");
    hub.reply("/api/v3/user/emails", Reply::Raw(403, String::new(), String::new()));
    let failing = sign_in(json!({ "message": "Bad credentials" }), json!([])).await;
    assert_eq!(failing.refused(), "unexpected_failure");
    // It speaks no OpenID Connect.
    let body = json!({ "provider": "github", "id_token": "x" });
    let answer = site.post("/auth/v1/token?grant_type=id_token", None, body).await;
    assert_eq!(answer.refused(400), "oauth_provider_not_supported");
}
