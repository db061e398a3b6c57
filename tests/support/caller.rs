//! Who asks: a user with roles, nobody, or the operator, each with a connection of their own.

use basewright::app::now;
use basewright::auth::token::mint_operator;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use super::server::Server;

/// One caller of a server.
#[derive(Clone, Debug)]
pub struct Caller {
    client: reqwest::Client,
    url: String,
    key: String,
    token: Option<String>,
    /// `auth.id`.
    pub id: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null where there was no body; a string where it was no JSON.
    pub body: Value,
}

impl Answer {
    /// The body, after making sure of the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The error's code, after making sure of the status.
    #[track_caller]
    pub fn refused(self, status: u16) -> String {
        self.is(status)["code"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Caller {
    /// A signed-in user with these roles besides `authenticated`.
    pub fn user(server: &Server, roles: &[&str]) -> Caller {
        Caller::user_with_id(server, &Uuid::new_v4().to_string(), roles)
    }

    /// A signed-in user whom the records of a test know.
    pub fn user_with_id(server: &Server, id: &str, roles: &[&str]) -> Caller {
        let id: Uuid = id.parse().unwrap();
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let issued = now();
        let key = server.keys.active();
        let token = mint_operator(key, id, "authenticated", &roles, issued, issued + 7200).unwrap();
        Caller {
            token: Some(token),
            id: id.to_string(),
            ..Caller::with_key(server, server.keys.publishable())
        }
    }

    /// Nobody in particular.
    pub fn anonymous(server: &Server) -> Caller {
        Caller::with_key(server, server.keys.publishable())
    }

    /// The secret key, which may do everything.
    pub fn secret(server: &Server) -> Caller {
        Caller::with_key(server, server.keys.secret())
    }

    /// What it sends as its Bearer.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// No API key; only a token makes somebody of him.
    pub fn keyless(server: &Server) -> Caller {
        Caller::with_key(server, "")
    }

    /// The same with this token.
    pub fn with_token(self, token: &str) -> Caller {
        Caller { token: Some(token.to_owned()), ..self }
    }

    /// The same caller, whose requests are sent by whoever holds the secret key.
    pub fn behind_secret_key(self, server: &Server) -> Caller {
        let key = server.keys.secret().to_owned();
        let token = self.token.or(Some(self.key));
        Caller { key, token, ..self }
    }

    fn with_key(server: &Server, key: &str) -> Caller {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build().unwrap();
        Caller { client, url: server.url.clone(), key: key.to_owned(), token: None, id: String::new() }
    }

    /// Sends a request; the path is what follows `/rest/v1/`.
    ///
    /// # Errors
    /// The connection's, while the server is away.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path, headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        Self::answer(request).await
    }

    /// Sends a body as it is written, of whatever type the headers say.
    pub async fn send_text(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let request = self.request(method, path, headers);
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        Self::answer(request).await.unwrap()
    }

    /// Posts JSON as it is written: what a JSON value would have made of it already.
    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send_text(Method::POST, path, &headers, Some(body.to_owned())).await
    }

    fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut request = self.client.request(method, format!("{}/rest/v1/{path}", self.url));
        if !self.key.is_empty() {
            request = request.header("apikey", &self.key);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let json = headers
            .get("content-type")
            .is_none_or(|kind| kind.to_str().unwrap().split(';').next().unwrap().contains("json"));
        let body = match bytes.is_empty() {
            true => Value::Null,
            false if json => serde_json::from_slice(&bytes).unwrap(),
            false => Value::String(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        Ok(Answer { status, headers, body })
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    /// `prefer` is the header's value; empty for none.
    pub async fn post(&self, path: &str, prefer: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("prefer", prefer)], Some(&body)).await
    }

    pub async fn patch(&self, path: &str, prefer: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[("prefer", prefer)], Some(&body)).await
    }

    pub async fn delete(&self, path: &str, prefer: &str) -> Answer {
        self.send(Method::DELETE, path, &[("prefer", prefer)], None).await
    }
}
