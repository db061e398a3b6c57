//! What can be asked of objects, over HTTP, and how the answers read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::oracle::{Told, Who};
use crate::support::caller::Caller;
use crate::support::server::Server;

/// A client of a server, as anybody.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    keys: [String; 2],
    tokens: Vec<(Who, String)>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) told: Result<Told, String>,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    async fn of(response: Response, genuine: bool) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let told = match (status, said["code"].as_str()) {
            (200..=299, _) => Ok(Told::Done),
            (_, Some("NoSuchBucket")) => Ok(Told::NoSuchBucket),
            (_, Some("NoSuchKey")) => Ok(Told::NoSuchKey),
            (_, Some("AccessDenied")) => Ok(Told::AccessDenied),
            (_, Some("KeyAlreadyExists")) => Ok(Told::KeyAlreadyExists),
            _ => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
        };
        // The status is in the body, and on the wire only where the protocol is not the reference's own.
        let wanted = match &told {
            Ok(Told::Done) | Err(_) => None,
            Ok(Told::NoSuchBucket | Told::NoSuchKey) => Some("404"),
            Ok(Told::AccessDenied) => Some("403"),
            Ok(Told::KeyAlreadyExists) => Some("409"),
        };
        let sound = wanted.is_none_or(|wanted| {
            said["statusCode"] == wanted && status == if genuine { wanted.parse().unwrap() } else { 400 }
        });
        let told = if sound { told } else { Err(format!("{status} {}", String::from_utf8_lossy(&body))) };
        Answer { told, status, body, headers }
    }
}

impl Client {
    pub(super) fn of(server: &Server) -> Client {
        let token = |who: Who, roles: &[&str]| {
            let caller = Caller::user_with_id(server, who.id().unwrap(), roles);
            (who, caller.token().unwrap().to_owned())
        };
        Client {
            http: reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap(),
            url: format!("{}/storage/v1", server.url),
            keys: [server.keys.publishable().to_owned(), server.keys.secret().to_owned()],
            tokens: vec![token(Who::Ada, &[]), token(Who::Bob, &[]), token(Who::Eve, &["editor"])],
        }
    }

    fn request(&self, who: Option<Who>, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let Some(who) = who else { return request };
        let request = request.header("apikey", &self.keys[usize::from(who == Who::Secret)]);
        match self.tokens.iter().find(|(known, _)| *known == who) {
            Some((_, token)) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap(), false).await
    }

    /// Reads; `None` is nobody at all.
    pub(super) async fn get(&self, who: Option<Who>, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(who, Method::GET, path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request).await
    }

    pub(super) async fn head(&self, who: Option<Who>, path: &str) -> u16 {
        self.request(who, Method::HEAD, path).send().await.unwrap().status().as_u16()
    }

    pub(super) async fn ask(
        &self,
        who: Option<Who>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = self.request(who, method, path);
        self.send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Stores content.
    pub(super) async fn store(
        &self,
        who: Option<Who>,
        (method, upserts): (Method, bool),
        path: &str,
        mime: &str,
        content: Vec<u8>,
    ) -> Answer {
        let request = self.request(who, method, path).header("x-upsert", upserts.to_string());
        self.send(request.header("content-type", mime).body(content)).await
    }

    /// Lets whoever will have the token store something.
    pub(super) async fn grant(&self, who: Who, path: &str, upserts: bool) -> Answer {
        self.send(self.request(Some(who), Method::POST, path).header("x-upsert", upserts.to_string())).await
    }

    /// Begins an upload in pieces.
    pub(super) async fn begin(
        &self,
        who: Who,
        upserts: bool,
        (bucket, name): (&str, &str),
        mime: &str,
        length: usize,
    ) -> Answer {
        let word = |key: &str, value: &str| format!("{key} {}", STANDARD.encode(value));
        let told =
            [word("bucketName", bucket), word("objectName", name), word("contentType", mime)].join(",");
        let request = self.request(Some(who), Method::POST, "/upload/resumable");
        let request = request.header("upload-length", length).header("upload-metadata", told);
        let request = request.header("x-upsert", upserts.to_string());
        Answer::of(request.header("tus-resumable", "1.0.0").send().await.unwrap(), true).await
    }

    /// Goes on with one: what to do, at which offset, with which content.
    pub(super) async fn go_on(
        &self,
        who: Who,
        method: Method,
        at: &str,
        offset: usize,
        content: &[u8],
    ) -> Answer {
        // As the client that was told the address: it names this server.
        let path = at.split_once("/storage/v1").unwrap().1;
        let request = self.request(Some(who), method.clone(), path).header("tus-resumable", "1.0.0");
        let request = match method {
            Method::PATCH => request
                .header("upload-offset", offset)
                .header("content-type", "application/offset+octet-stream")
                .body(content.to_vec()),
            _ => request,
        };
        Answer::of(request.send().await.unwrap(), true).await
    }
}

/// What moves and copies are asked with.
pub(super) fn from_to(bucket: &str, key: &str, to_bucket: &str, to: &str) -> Value {
    json!({ "bucketId": bucket, "sourceKey": key, "destinationBucket": to_bucket, "destinationKey": to })
}
