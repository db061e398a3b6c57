//! Tokens of other issuers, on every door.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::idp::{Idp, Key, Reply, message, now};
use super::site::{Site, text};
use super::world::{UNLIMITED, World};
use crate::support::socket::Socket;

const PROJECT: &str = "  issuers:
    theirs: { issuer: 'IDP', audience: api, roles_claim: realm.roles, roles: [editor] }
channels:
  'user:{user}':
    read: [{ role: authenticated, when: user == auth.id }]
  editors:
    read: [{ role: editor }]
";
const FILES: &[(&str, &str)] = &[
    (
        "collections/things.yaml",
        "collections:\n  things:\n    fields:\n      title: text\n      owner: uuid\n      email: text\n      realm: text\n",
    ),
    (
        "policies/things.yaml",
        "policies:\n  things:\n    read: [{ role: authenticated, when: owner == auth.id }]\n    create: [{ role: authenticated, fields: [title, realm], set: { owner: auth.id, email: auth.email } }]\n",
    ),
];

async fn world() -> World {
    World::start_with(PROJECT, FILES, &[]).await
}

/// A token of the other issuer for this server.
fn token(idp: &Idp, changes: &Value) -> String {
    let mut all = json!({ "aud": "api" });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    idp.key().sign(&idp.claims(&all))
}

/// What REST, sign-in and a channel say to a token.
async fn doors(site: &Site, token: &str) -> (u16, u16, bool) {
    let rest = site.get("/rest/v1/things", Some(token)).await.status;
    let auth = site.get("/auth/v1/user", Some(token)).await.status;
    let mut socket = Socket::open(&site.server).await;
    let joined = socket.try_join("realtime:anything", json!({}), Some(token)).await;
    (rest, auth, joined.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_another_issuer_vouches_for_is_himself_at_every_door() {
    let world = world().await;
    let (site, idp) = (&world.site, &world.idp);
    let ada = token(idp, &json!({}));
    let create = async |token: &str| {
        let body = json!({ "title": "mine" });
        site.send(Method::POST, "/rest/v1/things", Some(token), Some(body)).await.is(201)
    };
    create(&ada).await;
    let rows = site.get("/rest/v1/things", Some(&ada)).await.is(200);
    let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, idp.url.as_bytes());
    let id = Uuid::new_v5(&space, b"ada").to_string();
    assert_eq!(
        (rows[0]["owner"].as_str(), rows[0]["email"].as_str()),
        (Some(id.as_str()), Some("ada@example.test"))
    );
    // Another of them sees nothing of it, and has no address without the issuer's word.
    let bob = token(idp, &json!({ "sub": "bob", "email_verified": false }));
    assert_eq!(site.get("/rest/v1/things", Some(&bob)).await.is(200), json!([]));
    create(&bob).await;
    assert_eq!(site.get("/rest/v1/things", Some(&bob)).await.is(200)[0]["email"], Value::Null);
    // Here he is nobody's user, not even one whose id he claims.
    let user = site.user("ada@example.test", "correct horse battery").await;
    assert_eq!(site.get("/auth/v1/user", Some(&ada)).await.refused(403), "bad_jwt");
    let claimed = token(
        idp,
        &json!({ "sub": user, "session_id": user, "role": "service_role", "bw_op": true, "roles": ["editor"] }),
    );
    assert_eq!(site.get("/auth/v1/user", Some(&claimed)).await.refused(403), "bad_jwt");
    assert_eq!(site.get("/rest/v1/notes", Some(&claimed)).await.is(200), json!([]));
    assert_eq!(site.get("/auth/v1/admin/users", Some(&claimed)).await.refused(403), "not_admin");
    // Channels of his own, and those of a role that the project lets the issuer give.
    let (own, alien) = (format!("realtime:user:{id}"), format!("realtime:user:{user}"));
    let editor = token(idp, &json!({ "sub": "ed", "realm": { "roles": ["admin", "editor"] } }));
    let outsider = token(idp, &json!({ "realm": { "roles": ["admin", "service_role"] } }));
    let private = json!({ "private": true });
    let mut socket = Socket::open(&site.server).await;
    socket.join(&own, private.clone(), Some(&ada)).await;
    socket.join("realtime:editors", private.clone(), Some(&editor)).await;
    for (topic, token) in [(alien.as_str(), &ada), ("realtime:editors", &outsider), (own.as_str(), &bob)] {
        let mut other = Socket::open(&site.server).await;
        assert!(other.try_join(topic, private.clone(), Some(token)).await.is_err(), "{topic}");
    }
    // Another token on a channel that is joined: of a stranger to it, and he is out.
    let channel = Socket::open(&site.server).await.join(&own, private.clone(), Some(&ada)).await;
    let again = token(idp, &json!({ "jti": "another" }));
    socket.push(Some(&channel.join_ref), &own, "access_token", json!({ "access_token": again })).await;
    socket.push(Some(&channel.join_ref), &own, "access_token", json!({ "access_token": bob })).await;
    let ended = socket
        .wait(std::time::Duration::from_secs(20), |message| {
            message.topic == own && message.event == "phx_close"
        })
        .await;
    assert!(ended.is_ok(), "{ended:?}");
    // All of it has cost one look at the issuer's keys.
    assert_eq!(idp.asked("/jwks"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_judged_by_its_own_issuer_and_by_all_of_its_claims() {
    let world = world().await;
    let (site, idp) = (&world.site, &world.idp);
    assert_eq!(doors(site, &token(idp, &json!({}))).await, (200, 403, true));
    let key = idp.key();
    let claims = idp.claims(&json!({ "aud": "api" }));
    let ours = format!("{}/auth/v1", site.server.url);
    let mut refused = vec![
        ("unsigned", format!("{}.", message(&json!({ "alg": "none" }), &claims))),
        ("public key as secret", key.sign_with_public_half(&claims)),
        ("a stranger's key", Key::new("one").sign(&claims)),
        ("an unknown key", Key::new("unknown").sign(&claims)),
        ("its own key", {
            let stranger = Key::new("one");
            stranger.sign_with(&json!({ "alg": "ES256", "kid": "one", "jwk": stranger.jwk }), &claims)
        }),
        ("too long", token(idp, &json!({ "more": "a".repeat(9_000) }))),
    ];
    for (name, changes) in [
        ("another audience", json!({ "aud": "app" })),
        ("no audience", json!({ "aud": null })),
        ("expired", json!({ "exp": now() - 60 })),
        ("expiry as text", json!({ "exp": (now() + 60).to_string() })),
        ("no expiry", json!({ "exp": null })),
        ("too early", json!({ "nbf": now() + 3_600 })),
        ("nobody", json!({ "sub": null })),
        ("nearly the issuer", json!({ "iss": format!("{}/", idp.url) })),
        ("another issuer", json!({ "iss": "https://evil.test" })),
        (
            "ours, by their key",
            json!({ "iss": ours, "sub": Uuid::nil().to_string(), "role": "authenticated" }),
        ),
        (
            "ours of old, by their key",
            json!({ "iss": "basewright", "role": "service_role", "sub": null, "jti": "x" }),
        ),
        ("no issuer", json!({ "iss": null })),
    ] {
        refused.push((name, token(idp, &changes)));
    }
    // Our key cannot speak for them.
    let own = site.server.keys.active();
    let forged = basewright::auth::token::mint(own, claims.as_object().unwrap()).unwrap();
    refused.push(("theirs, by our key", forged));
    for (name, token) in &refused {
        assert_eq!(doors(site, token).await, (401, 403, false), "{name}");
    }
    // Nor is one an API key.
    let key = token(idp, &json!({}));
    assert_eq!(site.send_as(&key, Method::GET, "/rest/v1/things", None, None).await.status, 401);
    // The one who was refused for an unknown key has made us look once.
    assert_eq!(idp.asked("/jwks"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_issuer_is_silent_only_its_own_tokens_wait() {
    let world = world().await;
    let (site, idp) = (&world.site, &world.idp);
    idp.reply("/.well-known/openid-configuration", Reply::Raw(503, String::new(), String::new()));
    let user = "ada@example.test";
    site.user(user, "correct horse battery").await;
    let session = site.sign_in(user, "correct horse battery").await;
    let theirs = token(idp, &json!({}));
    let answers = join_all((0..50).map(|_| site.get("/rest/v1/things", Some(&theirs)))).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert_eq!(idp.asked("/.well-known/openid-configuration"), 1);
    assert_eq!(doors(site, text(&session, "access_token")).await, (200, 200, true));
    idp.mend();
    let back =
        crate::support::server::eventually("it is back", std::time::Duration::from_secs(30), || async {
            (site.get("/rest/v1/things", Some(&theirs)).await.status == 200).then_some(())
        });
    back.await;
    assert_eq!(idp.asked("/.well-known/openid-configuration"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_projects_word_no_other_issuer_counts() {
    let idp = Idp::start().await;
    let site = Site::start(&format!("auth: {{ {UNLIMITED} }}\n")).await;
    let theirs = token(&idp, &json!({}));
    assert_eq!(site.get("/rest/v1/notes", Some(&theirs)).await.status, 401);
    assert_eq!(idp.asked("/.well-known/openid-configuration"), 0);
}
