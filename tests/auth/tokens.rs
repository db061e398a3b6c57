//! Tokens that must not pass, and those that must.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use basewright::app::now;
use basewright::auth::keyfile;
use basewright::auth::keys::{Algorithm, Keyring};
use basewright::auth::token::{self, KeyRole, mint, mint_operator};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::database;
use crate::support::server::{Folder, NOTES, Server, Start, eventually};
use crate::support::socket::{ANSWERED_WITHIN, Socket, Version};

const ID: &str = "00000000-0000-7000-8000-000000000001";

/// The session of whoever has [`ID`].
const SESSION: &str = "00000000-0000-4000-8000-000000000002";

/// A user with [`ID`], who has signed in.
async fn sign_in(owner: &tokio_postgres::Client) {
    owner
        .batch_execute(&format!(
            "insert into auth.users (id) values ('{ID}'); insert into auth.sessions (id, user_id) values ('{SESSION}', '{ID}')"
        ))
        .await
        .unwrap();
}

/// The claims of a good operator's token, with some of them changed; null takes a claim away.
fn claims(changes: Value) -> Map<String, Value> {
    let mut claims = json!({
        "iss": "basewright", "aud": "authenticated", "sub": ID, "role": "authenticated", "bw_op": true,
        "roles": [], "iat": now(), "exp": now() + 3600, "jti": Uuid::new_v4().to_string(),
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.as_object().unwrap().clone()
}

fn hs256(secret: &[u8], message: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    B64.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()))
}

/// A token of any header, signed by nobody that counts.
fn forged(header: Value, signature: impl FnOnce(&str) -> String) -> String {
    let payload = serde_json::to_vec(&claims(json!({}))).unwrap();
    let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(payload));
    let signature = signature(&message);
    format!("{message}.{signature}")
}

/// Every token that must be refused, each with what is wrong with it. `ring` has an ES256 key (active), an
/// EdDSA and an HS256 key.
fn hostile(ring: &Keyring) -> Vec<(String, String)> {
    let active = ring.active();
    let kid = active.kid();
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| all.push((what.to_owned(), token));

    // Claims, well signed.
    for (what, changes) in [
        ("expired", json!({ "exp": now() - 60 })),
        ("expired long ago", json!({ "exp": 0 })),
        ("expired before the epoch", json!({ "exp": -1 })),
        ("exp is text", json!({ "exp": "9999999999" })),
        ("exp is a list", json!({ "exp": [9_999_999_999_i64] })),
        ("exp is an object", json!({ "exp": {} })),
        ("exp is true", json!({ "exp": true })),
        ("no exp", json!({ "exp": null })),
        ("not yet valid", json!({ "nbf": now() + 3600 })),
        ("nbf is text", json!({ "nbf": "0" })),
        ("issued in the future", json!({ "iat": now() + 3600 })),
        ("iat is text", json!({ "iat": "now" })),
        ("another issuer", json!({ "iss": "somebody" })),
        ("issuer is a list", json!({ "iss": ["basewright"] })),
        ("no issuer", json!({ "iss": null })),
        ("another audience", json!({ "aud": "somebody" })),
        ("audiences of others", json!({ "aud": ["a", "b"] })),
        ("audience with a number", json!({ "aud": ["authenticated", 1] })),
        ("audience is an object", json!({ "aud": {} })),
        ("no audience", json!({ "aud": null })),
        ("sub is no uuid", json!({ "sub": "ada" })),
        ("sub is empty", json!({ "sub": "" })),
        ("sub is a number", json!({ "sub": 1 })),
        ("sub has braces", json!({ "sub": format!("{{{ID}}}") })),
        ("sub without dashes", json!({ "sub": ID.replace('-', "") })),
        ("sub is a urn", json!({ "sub": format!("urn:uuid:{ID}") })),
        ("sub is a list", json!({ "sub": [ID] })),
        ("a person as service_role", json!({ "role": "service_role" })),
        ("a person as editor", json!({ "role": "editor" })),
        ("a person as postgres", json!({ "role": "postgres" })),
        ("role in capitals", json!({ "role": "AUTHENTICATED" })),
        ("role is a list", json!({ "role": ["authenticated"] })),
        ("role is empty", json!({ "role": "" })),
        ("no role", json!({ "role": null })),
        ("roles name the secret key's", json!({ "roles": ["service_role"] })),
        ("roles are text", json!({ "roles": "editor" })),
        ("roles hold a number", json!({ "roles": [1] })),
        ("roles hold no name", json!({ "roles": ["editor; drop"] })),
        ("bw_op is text", json!({ "bw_op": "true" })),
        ("bw_op is a number", json!({ "bw_op": 1 })),
        ("an operator with a session", json!({ "session_id": ID })),
        ("an operator without an id to revoke", json!({ "jti": null })),
        ("neither operator nor session", json!({ "bw_op": null })),
        ("bw_op is false and no session", json!({ "bw_op": false })),
        ("a session that is no uuid", json!({ "bw_op": null, "session_id": "s" })),
        ("email is a number", json!({ "email": 1 })),
        ("is_anonymous is text", json!({ "is_anonymous": "false" })),
        ("a key with roles", json!({ "sub": null, "bw_op": null, "role": "anon", "aud": null })),
        (
            "a key with an audience",
            json!({ "sub": null, "bw_op": null, "roles": null, "role": "service_role" }),
        ),
        (
            "a key of another role",
            json!({ "sub": null, "bw_op": null, "roles": null, "aud": null, "role": "authenticated" }),
        ),
        (
            "a key without an id to revoke",
            json!({ "sub": null, "bw_op": null, "roles": null, "aud": null, "role": "service_role", "jti": null }),
        ),
    ] {
        add(what, mint(active, &claims(changes)).unwrap());
    }

    // Headers.
    let none = |_: &str| String::new();
    add("alg none, unsigned", forged(json!({ "alg": "none", "kid": kid }), none));
    add("alg None", forged(json!({ "alg": "None", "kid": kid }), none));
    add("alg missing", forged(json!({ "kid": kid }), none));
    add("kid missing", forged(json!({ "alg": "ES256" }), none));
    add("kid unknown", forged(json!({ "alg": "ES256", "kid": "other" }), |m| hs256(b"x", m)));
    add("kid is a path", forged(json!({ "alg": "HS256", "kid": "../../dev/null" }), |m| hs256(b"", m)));
    add("kid is SQL", forged(json!({ "alg": "HS256", "kid": "' union select 'x" }), |m| hs256(b"x", m)));
    add("kid is a number", forged(json!({ "alg": "ES256", "kid": 1 }), none));
    // The public half as a shared secret: the classical confusion.
    let jwks = ring.jwks();
    for key in jwks["keys"].as_array().unwrap() {
        let kid = &key["kid"];
        let x = B64.decode(key["x"].as_str().unwrap()).unwrap();
        let mut point = vec![4];
        point.extend(&x);
        if let Some(y) = key["y"].as_str() {
            point.extend(B64.decode(y).unwrap());
        }
        for (what, secret) in [
            ("the raw public key", x.clone()),
            ("the public point", point.clone()),
            ("the JWK", key.to_string().into_bytes()),
            (
                "the PEM",
                format!(
                    "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                    STANDARD.encode(&point)
                )
                .into_bytes(),
            ),
        ] {
            add(
                &format!("HS256 with {what} of {}", key["alg"]),
                forged(json!({ "alg": "HS256", "kid": kid }), |m| hs256(&secret, m)),
            );
        }
    }
    let shared = ring.signing().iter().find(|key| key.algorithm() == Algorithm::Hs256).unwrap();
    let good = mint(active, &claims(json!({}))).unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    for (what, alg, kid) in [
        ("an HS256 key named as ES256", "ES256", shared.kid()),
        ("an ES256 key named as HS256", "HS256", kid),
        ("an ES256 key named as EdDSA", "EdDSA", kid),
        ("an ES256 key named as RS256", "RS256", kid),
        ("an ES256 key named as ES384", "ES384", kid),
        ("an ES256 key named as es256", "es256", kid),
    ] {
        add(what, forged(json!({ "alg": alg, "kid": kid }), |_| signature.to_owned()));
    }
    for (what, member, value) in [
        ("jku", "jku", json!("http://127.0.0.1:1/keys")),
        ("jwk", "jwk", jwks["keys"][0].clone()),
        ("x5u", "x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", "x5c", json!(["MIIB"])),
        ("crit", "crit", json!(["exp"])),
        ("an unknown crit", "crit", json!(["nobody-knows"])),
        ("b64", "b64", json!(false)),
        ("zip", "zip", json!("DEF")),
        ("cty", "cty", json!("JWT")),
    ] {
        // Well signed by a key of ours: only the member is wrong.
        let header = json!({ "alg": "HS256", "kid": shared.kid(), "typ": "JWT", member: value });
        let written: Value = serde_json::from_str(&ring.to_json().unwrap()).unwrap();
        let secret =
            written["signing"].as_array().unwrap().iter().find(|key| key["kid"] == shared.kid()).unwrap();
        let secret = B64.decode(secret["private"].as_str().unwrap()).unwrap();
        add(&format!("a header with {what}"), forged(header, |m| hs256(&secret, m)));
    }
    add(
        "another type",
        forged(json!({ "alg": "ES256", "kid": kid, "typ": "at+jwt" }), |_| signature.to_owned()),
    );

    // Bytes.
    add("no signature", format!("{message}."));
    add("two parts", message.to_owned());
    add("four parts", format!("{good}.x"));
    add("five parts", format!("{header}.{payload}.{payload}.{payload}.{signature}"));
    add("another payload", {
        let payload = B64.encode(serde_json::to_vec(&claims(json!({ "roles": ["editor"] }))).unwrap());
        format!("{header}.{payload}.{signature}")
    });
    add("a zero signature", format!("{message}.{}", B64.encode([0; 64])));
    add("a short signature", format!("{message}.{}", &signature[..40]));
    add("a padded signature", format!("{message}.{signature}=="));
    add("a signature in the standard alphabet", format!("{message}.+/{}", &signature[2..]));
    add("a header that is no JSON", format!("{}.{payload}.{signature}", B64.encode("{")));
    add("a header that is a list", format!("{}.{payload}.{signature}", B64.encode("[]")));
    add("a header with alg twice", {
        let header = format!("{{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"{kid}\"}}");
        format!("{}.{payload}.{signature}", B64.encode(header))
    });
    add("dots", "..".to_owned());
    add("one dot", ".".to_owned());
    add("a word", "anon".to_owned());
    add("a very long token", format!("{header}.{}.{signature}", "a".repeat(9_000)));
    add("deep JSON", {
        let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
        format!("{header}.{}.{signature}", B64.encode(deep))
    });
    let stranger = Keyring::generate(Algorithm::Es256, now()).unwrap();
    add("another installation's secret key", stranger.secret().to_owned());
    add("another installation's token", mint(stranger.active(), &claims(json!({}))).unwrap());
    all
}

/// A keyring in which each algorithm has a key.
fn write_keys(folder: &Folder) -> Keyring {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let none = |_: &str| None;
    keyfile::obtain(&data, none, now()).unwrap();
    let path = data.join(keyfile::FILE);
    keyfile::change(
        &path,
        now(),
        |ring| {
            ring.rotate(Algorithm::Hs256, now())?;
            ring.rotate(Algorithm::EdDsa, now())?;
            ring.rotate(Algorithm::Es256, now())
        },
        |_| (),
    )
    .unwrap()
    .0
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_token_passes_any_door_and_none_costs_a_5xx() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let ring = write_keys(&folder);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let hostile = hostile(&ring);
    assert!(hostile.len() > 90, "{}", hostile.len());
    for (what, token) in &hostile {
        assert!(token::verify(token, &ring, now()).is_err(), "{what} is believed");
        for (door, request) in [
            (
                "bearer",
                client.get(server.at("/rest/v1/notes")).header("authorization", format!("Bearer {token}")),
            ),
            ("apikey", client.get(server.at("/rest/v1/notes")).header("apikey", token)),
            (
                "bearer beside a good key",
                client
                    .post(server.at("/rest/v1/notes"))
                    .header("apikey", ring.secret())
                    .header("authorization", format!("Bearer {token}"))
                    .body("{\"title\":\"x\"}"),
            ),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{what} as {door}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
            let body: Value = answer.json().await.unwrap();
            assert!(["PGRST301", "PGRST303"].contains(&body["code"].as_str().unwrap()), "{what}: {body}");
        }
        for (method, path) in [
            (reqwest::Method::GET, "/auth/v1/user"),
            (reqwest::Method::POST, "/auth/v1/logout"),
            (reqwest::Method::GET, "/auth/v1/admin/keys"),
        ] {
            let request = client.request(method, server.at(path)).header("apikey", ring.publishable());
            let answer =
                request.header("authorization", format!("Bearer {token}")).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), 403, "{what} at {path}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["error_code"], "bad_jwt", "{what} at {path}: {body}");
        }
    }
    // Sockets: in a join, and in the place of a token that was good.
    let good = mint(ring.active(), &claims(json!({}))).unwrap();
    for hostile in hostile.chunks(40) {
        let mut socket = Socket::connect(&server, ring.publishable(), Version::V2).await;
        for (at, (what, token)) in hostile.iter().enumerate() {
            let topic = format!("realtime:open-{at}");
            let refused = socket.try_join(&topic, json!({}), Some(token)).await;
            assert!(refused.is_err(), "{what} in a join");
            let channel = socket.join(&topic, json!({}), Some(&good)).await;
            socket
                .push(Some(&channel.join_ref), &topic, "access_token", json!({ "access_token": token }))
                .await;
            let left = socket
                .wait(ANSWERED_WITHIN, |message| message.topic == topic && message.event == "phx_close")
                .await;
            assert!(left.is_ok(), "{what} as a renewed token: {left:?}");
        }
    }
    // The same claims with nothing wrong pass under each key: the corpus fails for what it says.
    for key in ring.signing() {
        let token = mint(key, &claims(json!({}))).unwrap();
        let answer = client.get(server.at("/rest/v1/notes")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_headers_carry_credentials_and_each_only_once() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let (anon, secret) = (server.keys.publishable(), server.keys.secret());
    let notes = server.at("/rest/v1/notes");
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(client.get(&notes)).await, 401);
    assert_eq!(status(client.get(&notes).header("apikey", anon)).await, 200);
    assert_eq!(status(client.get(&notes).header("apikey", anon).bearer_auth(anon)).await, 200);
    assert_eq!(status(client.get(&notes).header("Authorization", format!("bearer {secret}"))).await, 200);
    // A key in the query string, a cookie or another header is no credential.
    let tokens = [("apikey", secret), ("authorization", secret), ("role", "service_role")];
    for (name, value) in tokens {
        let asked = client.get(format!("{notes}?{name}={value}"));
        assert_eq!(status(asked).await, 401, "{name} in the query string");
        assert_eq!(status(client.get(&notes).header("cookie", format!("{name}={value}"))).await, 401);
    }
    for name in ["x-role", "role", "x-user-id", "x-forwarded-user", "x-api-key"] {
        assert_eq!(status(client.get(&notes).header(name, "service_role")).await, 401, "{name}");
    }
    // What a proxy before us might read differently.
    let twice = client.get(&notes).header("apikey", anon).header("apikey", secret);
    assert_eq!(status(twice).await, 401);
    let twice = client.get(&notes).bearer_auth(anon).header("authorization", format!("Bearer {secret}"));
    assert_eq!(status(twice).await, 401);
    assert_eq!(status(client.get(&notes).header("apikey", anon).basic_auth("a", Some("b"))).await, 401);
    // An API key must be one, even where a token decides.
    let token =
        mint_operator(server.keys.active(), ID.parse().unwrap(), "authenticated", &[], now(), now() + 60);
    let token = token.unwrap();
    assert_eq!(status(client.get(&notes).header("apikey", &token).bearer_auth(&token)).await, 401);
    assert_eq!(status(client.get(&notes).header("apikey", anon).bearer_auth(&token)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_own_users_and_no_claim_makes_it_more() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let owner = database.connect_owner().await;
    sign_in(&owner).await;
    let other = "00000000-0000-7000-8000-000000000009";
    owner.batch_execute(&format!("insert into auth.users (id) values ('{other}')")).await.unwrap();
    let session = |changes: Value| {
        let mut all = claims(json!({ "bw_op": null, "roles": null, "session_id": SESSION, "aal": "aal1" }));
        for (name, value) in changes.as_object().unwrap() {
            all.insert(name.clone(), value.clone());
        }
        mint(server.keys.active(), &all).unwrap()
    };
    for (what, changes, rest, auth, word) in [
        ("its own", json!({}), 200, 200, None),
        ("of a node elsewhere", json!({ "iss": "https://b.example.test/auth/v1" }), 200, 200, None),
        ("somebody else's", json!({ "sub": other }), 401, 403, Some("session_not_found")),
        ("of nobody", json!({ "sub": Uuid::nil().to_string() }), 401, 403, Some("user_not_found")),
        (
            "that never was",
            json!({ "session_id": Uuid::nil().to_string() }),
            401,
            403,
            Some("session_not_found"),
        ),
        ("that is an operator's", json!({ "bw_op": true }), 401, 403, Some("bad_jwt")),
        ("of a role", json!({ "role": "editor" }), 401, 403, Some("bad_jwt")),
        ("of the secret key's role", json!({ "role": "service_role" }), 401, 403, Some("bad_jwt")),
        ("of a level that is a number", json!({ "aal": 2 }), 401, 403, Some("bad_jwt")),
        ("of another issuer", json!({ "iss": "https://evil.example.test" }), 401, 403, Some("bad_jwt")),
        (
            "of an issuer that only begins so",
            json!({ "iss": "https://a.example.test/auth/v1/x" }),
            401,
            403,
            Some("bad_jwt"),
        ),
    ] {
        let token = session(changes);
        let answer = client.get(server.at("/rest/v1/notes")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), rest, "{what}");
        let request = client.get(server.at("/auth/v1/user")).header("apikey", server.keys.publishable());
        let answer = request.bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), auth, "{what}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error_code"].as_str(), word, "{what}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_roles_are_the_databases_and_an_operators_are_the_tokens() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let owner = database.connect_owner().await;
    sign_in(&owner).await;
    owner.execute("insert into notes (title) values ('a')", &[]).await.unwrap();
    let active = server.keys.active();
    // A session's token that claims to be an editor.
    let session = claims(json!({ "bw_op": null, "session_id": SESSION, "roles": ["editor"] }));
    let session = mint(active, &session).unwrap();
    let update = async |token: &str| {
        let request = client.patch(server.at("/rest/v1/notes?title=eq.a")).bearer_auth(token);
        request
            .header("prefer", "return=minimal")
            .body("{\"title\":\"a\"}")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    // What was granted by somebody else counts as soon as the stream of changes tells of it: within a second.
    let becomes = async |expected: u16, what: &str| {
        let second = std::time::Duration::from_secs(1);
        eventually(what, second, || async { (update(&session).await == expected).then_some(()) }).await;
    };
    assert_eq!(update(&session).await, 403, "roles in a session's token are not believed");
    owner.execute("insert into auth.user_roles values ($1::text::uuid, 'editor')", &[&ID]).await.unwrap();
    becomes(204, "a granted role counts").await;
    owner.execute("delete from auth.user_roles", &[]).await.unwrap();
    becomes(403, "a role that was taken away is gone").await;
    owner
        .execute("insert into auth.user_roles values ($1::text::uuid, 'service_role')", &[&ID])
        .await
        .unwrap();
    assert_eq!(update(&session).await, 403, "nobody is granted the secret key's role");
    owner.execute("delete from auth.users", &[]).await.unwrap();
    becomes(401, "a deleted user stays out").await;
    let roles = ["editor".to_owned()];
    let operator =
        mint_operator(active, ID.parse().unwrap(), "authenticated", &roles, now(), now() + 60).unwrap();
    assert_eq!(update(&operator).await, 204, "an operator's token needs no user and carries its roles");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_dropped_key_are_refused_within_seconds_for_ever() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let server = Server::dev(&folder.0, &data, &database.urls);
    let client = reqwest::Client::new();
    let status = async |key: &str| {
        client.get(server.at("/rest/v1/notes")).header("apikey", key).send().await.unwrap().status().as_u16()
    };
    let within = std::time::Duration::from_secs(10);
    let old = server.keys.secret().to_owned();
    assert_eq!(status(&old).await, 200);
    // Revoked in the database, as another node would.
    let jti = token::verify(&old, &server.keys, now()).unwrap().jti.unwrap();
    let owner = database.connect_owner().await;
    owner.execute("insert into auth.revoked_keys (jti) values ($1)", &[&jti]).await.unwrap();
    eventually("the secret key is refused", within, || async { (status(&old).await == 401).then_some(()) })
        .await;
    assert_eq!(status(server.keys.publishable()).await, 200, "the other key goes on");
    // Rotated: both work; dropped: the old one dies, though it was verified a moment ago.
    let path = data.join(keyfile::FILE);
    let publishable = server.keys.publishable().to_owned();
    let (ring, ()) =
        keyfile::change(&path, now(), |ring| ring.rotate(Algorithm::EdDsa, now()), |_| ()).unwrap();
    let new = ring.publishable().to_owned();
    eventually("the new key is known", within, || async { (status(&new).await == 200).then_some(()) }).await;
    assert_eq!(status(&publishable).await, 200);
    keyfile::change(
        &path,
        now(),
        |ring| {
            ring.drop_inactive();
            Ok(())
        },
        |_| (),
    )
    .unwrap();
    eventually("the old key is dead", within, || async { (status(&publishable).await == 401).then_some(()) })
        .await;
    for _ in 0..50 {
        assert_eq!(status(&publishable).await, 401);
        assert_eq!(status(&old).await, 401);
        assert_eq!(status(&new).await, 200);
    }
    assert!(
        token::verify(&new, &ring, now())
            .is_ok_and(|verified| { matches!(verified.holder, token::Holder::Key { role: KeyRole::Anon }) })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_nothing_is_anon_only_where_the_operator_said_so() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let client = reqwest::Client::new();
    for (args, env, expected) in [
        (&[][..], &[][..], 401),
        (&["--keyless-anon"], &[], 200),
        (&[], &[("BASEWRIGHT_KEYLESS", "anon")], 200),
        (&[], &[("BASEWRIGHT_KEYLESS", "refuse")], 401),
    ] {
        for command in ["dev", "serve"] {
            let start =
                Start { command, project: &folder.0, data: &data, database: Some(&database.urls), args, env };
            let server = start.run();
            let answer = client.get(server.at("/rest/v1/notes")).send().await.unwrap();
            assert_eq!(answer.status(), expected, "{command} {args:?} {env:?}");
            // Nobody is more than anon for it, and a bad credential is no missing one.
            let write = client.post(server.at("/rest/v1/notes")).body("{\"title\":\"x\"}");
            assert_eq!(write.send().await.unwrap().status(), 401, "{command} {args:?} {env:?}");
            let bad = client.get(server.at("/rest/v1/notes")).bearer_auth("x");
            assert_eq!(bad.send().await.unwrap().status(), 401, "{command} {args:?} {env:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_roles_are_not_asked_for_again_while_the_stream_flows() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let owner = database.connect_owner().await;
    sign_in(&owner).await;
    let session = claims(json!({ "bw_op": null, "session_id": SESSION }));
    let session = mint(server.keys.active(), &session).unwrap();
    let read = async || {
        let request = client.get(server.at("/rest/v1/notes?limit=1")).bearer_auth(&session);
        request.send().await.unwrap().status().as_u16()
    };
    // Whoever would ask waits for the lock, and is refused.
    let within = std::time::Duration::from_secs(20);
    let blocked = async || {
        assert_eq!(read().await, 200);
        owner.batch_execute("begin; lock table auth.user_roles in access exclusive mode").await.unwrap();
        let status = read().await;
        owner.batch_execute("rollback").await.unwrap();
        status
    };
    eventually("the roles are remembered", within, || async { (blocked().await == 200).then_some(()) }).await;
    // After a change they are asked for once, and then remembered again.
    owner.execute("insert into auth.user_roles values ($1::text::uuid, 'editor')", &[&ID]).await.unwrap();
    let update = async || {
        let request = client.patch(server.at("/rest/v1/notes?title=eq.a")).bearer_auth(&session);
        request.body("{\"title\":\"a\"}").send().await.unwrap().status().as_u16()
    };
    let second = std::time::Duration::from_secs(1);
    eventually("the role counts", second, || async { (update().await == 204).then_some(()) }).await;
    eventually("they are remembered again", within, || async { (blocked().await == 200).then_some(()) })
        .await;
}
