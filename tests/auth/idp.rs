//! A provider that says what a test wants it to say, true or not.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Seconds since the epoch.
pub fn now() -> i64 {
    basewright::app::now()
}

/// A key pair (ES256).
#[derive(Clone)]
pub struct Key {
    pub id: String,
    private: Vec<u8>,
    pub jwk: Value,
}

impl Key {
    pub fn new(id: &str) -> Key {
        let document = EcdsaKeyPair::generate_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let half = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": half(&point[..32]), "y": half(&point[32..]),
        });
        Key { id: id.to_owned(), private: document.as_ref().to_vec(), jwk }
    }

    /// A token of this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" }), claims)
    }

    /// With this header, whatever it says.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let key = EncodingKey::from_ec_der(&self.private);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    /// Signed with what everybody can read of this key, as if it were a secret.
    pub fn sign_with_public_half(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "HS256", "kid": self.id }), claims);
        let key = EncodingKey::from_secret(self.jwk.to_string().as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }
}

/// Header and claims of a token, without a signature.
pub fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// What it answers at a path, instead of what it should.
#[derive(Clone)]
pub enum Reply {
    Json(Value),
    /// Status, further header lines, body.
    Raw(u16, String, String),
    /// Nothing, and the line stays open.
    Silence,
}

#[derive(Default)]
struct Inner {
    keys: Vec<Key>,
    /// What is said of whoever signs in next, over what is true.
    account: Value,
    /// The ID token as it is, instead of one that is made.
    id_token: Option<String>,
    replies: HashMap<String, Reply>,
    asked: HashMap<String, usize>,
}

/// The provider. Its authorization codes are `NONCE.CHALLENGE`, so that it need not remember any.
#[derive(Clone)]
pub struct Idp {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Idp {
    pub async fn start() -> Idp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Inner { keys: vec![Key::new("one")], account: json!({}), ..Inner::default() };
        let idp = Idp { url, inner: Arc::new(Mutex::new(inner)) };
        let served = idp.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let idp = served.clone();
                tokio::spawn(async move { idp.serve(stream).await });
            }
        });
        idp
    }

    pub fn key(&self) -> Key {
        self.inner.lock().keys.last().unwrap().clone()
    }

    /// The keys that it publishes from now on; the last one signs.
    pub fn set_keys(&self, keys: Vec<Key>) {
        self.inner.lock().keys = keys;
    }

    /// What it says of whoever signs in next.
    pub fn set_account(&self, account: Value) {
        self.inner.lock().account = account;
    }

    pub fn set_id_token(&self, token: Option<String>) {
        self.inner.lock().id_token = token;
    }

    /// What it answers at a path.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.inner.lock().replies.insert(path.to_owned(), reply);
    }

    /// It is honest again.
    pub fn mend(&self) {
        let mut inner = self.inner.lock();
        inner.replies.clear();
        inner.id_token = None;
        inner.account = json!({});
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.inner.lock().asked.get(path).copied().unwrap_or_default()
    }

    /// True claims about somebody, with these changes; null takes one away.
    pub fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({
            "iss": self.url, "aud": "app", "sub": "ada", "iat": now(), "exp": now() + 300,
            "email": "ada@example.test", "email_verified": true, "name": "Ada",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some((path, body)) = read(&mut stream).await else { return };
        let reply = {
            let mut inner = self.inner.lock();
            *inner.asked.entry(path.clone()).or_default() += 1;
            inner.replies.get(&path).cloned()
        };
        let reply = reply.unwrap_or_else(|| self.answer(&path, &body));
        let (status, headers, body) = match reply {
            Reply::Json(value) => (200, "content-type: application/json\r\n".to_owned(), value.to_string()),
            Reply::Raw(status, headers, body) => (status, headers, body),
            Reply::Silence => return std::future::pending().await,
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
    }

    fn answer(&self, path: &str, body: &str) -> Reply {
        let url = &self.url;
        match path {
            "/.well-known/openid-configuration" => Reply::Json(json!({
                "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                "userinfo_endpoint": format!("{url}/userinfo"), "jwks_uri": format!("{url}/jwks"),
            })),
            "/jwks" => {
                let keys: Vec<Value> = self.inner.lock().keys.iter().map(|key| key.jwk.clone()).collect();
                Reply::Json(json!({ "keys": keys }))
            }
            "/token" | "/login/oauth/access_token" => self.token(body),
            _ => Reply::Raw(404, String::new(), String::new()),
        }
    }

    fn token(&self, body: &str) -> Reply {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let code = form.get("code").map(String::as_str).unwrap_or_default();
        let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
        let made = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let Some((nonce, _)) = code.split_once('.').filter(|(_, challenge)| *challenge == made) else {
            let refused = json!({ "error": "invalid_grant" }).to_string();
            return Reply::Raw(400, "content-type: application/json\r\n".to_owned(), refused);
        };
        let inner = self.inner.lock();
        let mut changes = json!({ "nonce": nonce });
        for (name, value) in inner.account.as_object().unwrap() {
            changes[name] = value.clone();
        }
        let key = inner.keys.last().unwrap().clone();
        let given = inner.id_token.clone();
        drop(inner);
        let id_token = given.unwrap_or_else(|| key.sign(&self.claims(&changes)));
        Reply::Json(json!({
            "access_token": "their access token", "refresh_token": "their refresh token", "token_type": "Bearer",
            "expires_in": 300, "id_token": id_token,
        }))
    }
}

/// Path and body of a request.
async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let first = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let target = first.split(' ').nth(1)?;
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    Some((path.to_owned(), body))
}
