//! Users as whoever holds the secret key keeps them.

use reqwest::Method;
use serde_json::{Value, json};

use super::signup::OFTEN;
use super::site::{Site, text};
use crate::support::caller::Answer;

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";
const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

async fn make(site: &Site, body: Value) -> Answer {
    site.admin(Method::POST, "/auth/v1/admin/users", Some(body)).await
}

async fn put(site: &Site, id: &str, body: Value) -> Answer {
    site.admin(Method::PUT, &format!("/auth/v1/admin/users/{id}"), Some(body)).await
}

async fn sign_in(site: &Site, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    site.post("/auth/v1/token?grant_type=password", None, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_secret_key_keeps_users() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
    let one = format!("/auth/v1/admin/users/{id}");
    for (method, path) in [
        (Method::GET, "/auth/v1/admin/users".to_owned()),
        (Method::POST, "/auth/v1/admin/users".to_owned()),
        (Method::GET, one.clone()),
        (Method::PUT, one.clone()),
        (Method::DELETE, one.clone()),
        (Method::POST, format!("{one}/logout")),
        (Method::GET, format!("{one}/roles")),
        (Method::PUT, format!("{one}/roles")),
        (Method::POST, format!("{one}/roles")),
        (Method::DELETE, format!("{one}/roles/editor")),
        (Method::GET, format!("{one}/sessions")),
        (Method::DELETE, format!("{one}/sessions/{id}")),
        (Method::POST, "/auth/v1/invite".to_owned()),
        (Method::POST, "/auth/v1/admin/generate_link".to_owned()),
    ] {
        for token in [None, Some(token.as_str())] {
            let body =
                Some(json!({ "email": BOB, "type": "magiclink", "role": "editor", "roles": ["editor"] }));
            let answer = site.send(method.clone(), &path, token, body).await;
            assert_eq!(answer.refused(403), "not_admin", "{method} {path}");
        }
    }
    site.get("/auth/v1/user", Some(&token)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_as_the_operator_says() {
    let site = Site::start(OFTEN).await;
    let id = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let body = json!({
        "id": id, "email": "Ada@Example.test", "password": PASSWORD, "email_confirm": true, "role": "authenticated",
        "user_metadata": { "name": "Ada" }, "app_metadata": { "plan": "pro", "provider": "x", "providers": ["x"] },
    });
    let user = make(&site, body).await.is(200);
    assert_eq!((text(&user, "id"), text(&user, "email")), (id, ADA));
    assert_eq!(user["user_metadata"], json!({ "name": "Ada" }));
    assert_eq!(user["app_metadata"], json!({ "plan": "pro", "provider": "email", "providers": ["email"] }));
    assert_eq!(user["identities"].as_array().unwrap().len(), 1);
    sign_in(&site, ADA, PASSWORD).await.is(200);
    // Without the operator's word the address is not proven.
    let waiting = make(&site, json!({ "email": BOB, "password": PASSWORD })).await.is(200);
    assert_eq!(sign_in(&site, BOB, PASSWORD).await.refused(400), "email_not_confirmed");
    put(&site, text(&waiting, "id"), json!({ "email_confirm": true })).await.is(200);
    sign_in(&site, BOB, PASSWORD).await.is(200);
    // A hash that an import brings along: bcrypt of `secret password`, made elsewhere.
    let hash = bcrypt::hash("secret password", 4).unwrap();
    let body = json!({ "email": "eve@example.test", "email_confirm": true, "password_hash": hash });
    make(&site, body).await.is(200);
    sign_in(&site, "eve@example.test", "secret password").await.is(200);
    for (body, status, code) in [
        (json!({ "email": ADA }), 422, "email_exists"),
        (json!({ "email": "x@example.test", "id": id }), 422, "user_already_exists"),
        (json!({ "email": "x@example.test", "id": "x" }), 400, "validation_failed"),
        (json!({ "email": "no address" }), 400, "email_address_invalid"),
        (json!({}), 400, "validation_failed"),
        (json!({ "phone": "+15550100" }), 400, "phone_provider_disabled"),
        (json!({ "email": "x@example.test", "password": "short" }), 422, "weak_password"),
        (json!({ "email": "x@example.test", "password_hash": "$1$x" }), 400, "validation_failed"),
        (
            json!({ "email": "x@example.test", "password": PASSWORD, "password_hash": hash }),
            400,
            "validation_failed",
        ),
        (json!({ "email": "x@example.test", "role": "service_role" }), 400, "validation_failed"),
        (json!({ "email": "x@example.test", "ban_duration": "24d" }), 400, "validation_failed"),
        (json!({ "email": "x@example.test", "app_metadata": [] }), 400, "validation_failed"),
    ] {
        assert_eq!(make(&site, body.clone()).await.refused(status), code, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_takes_is_gone_with_the_answer() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let path = format!("/auth/v1/admin/users/{id}");
    for (body, status, code) in [
        (json!({ "password": OTHER }), 403, "session_not_found"),
        (json!({ "email": "ada@new.example.test" }), 403, "session_not_found"),
        (json!({ "email": ADA, "password": PASSWORD }), 403, "session_not_found"),
        (json!({ "ban_duration": "24h" }), 403, "user_banned"),
    ] {
        let user = site.admin(Method::GET, &path, None).await.is(200);
        let password = if user["email"] == ADA && body.get("password") == Some(&json!(OTHER)) {
            PASSWORD
        } else {
            OTHER
        };
        let password = if body.get("ban_duration").is_some() { PASSWORD } else { password };
        let session = sign_in(&site, text(&user, "email"), password).await.is(200);
        let token = text(&session, "access_token");
        site.get("/rest/v1/notes", Some(token)).await.is(200);
        put(&site, &id, body.clone()).await.is(200);
        assert_eq!(site.get("/rest/v1/notes", Some(token)).await.status, 401, "{body}");
        assert_eq!(site.get("/auth/v1/user", Some(token)).await.refused(status), code, "{body}");
    }
    assert_eq!(sign_in(&site, ADA, PASSWORD).await.refused(403), "user_banned");
    let user = put(&site, &id, json!({ "ban_duration": "none" })).await.is(200);
    assert!(user.get("banned_until").is_none());
    let session = sign_in(&site, ADA, PASSWORD).await.is(200);
    // What takes nothing leaves the session.
    let body = json!({ "user_metadata": { "a": 1 }, "app_metadata": { "b": 2 }, "email": ADA });
    let user = put(&site, &id, body).await.is(200);
    assert_eq!((&user["user_metadata"]["a"], &user["app_metadata"]["b"]), (&json!(1), &json!(2)));
    site.get("/auth/v1/user", Some(text(&session, "access_token"))).await.is(200);
    site.admin(Method::POST, &format!("{path}/logout"), None).await.is(204);
    let gone = site.get("/auth/v1/user", Some(text(&session, "access_token"))).await;
    assert_eq!(gone.refused(403), "session_not_found");
    site.user(BOB, PASSWORD).await;
    assert_eq!(put(&site, &id, json!({ "email": BOB })).await.refused(422), "email_exists");
    let nobody = "00000000-0000-4000-8000-000000000001";
    assert_eq!(put(&site, nobody, json!({})).await.refused(404), "user_not_found");
    assert_eq!(put(&site, "x", json!({})).await.refused(400), "validation_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_leaves_a_row_at_most_and_nothing_that_says_who_he_was() {
    let site = Site::start(OFTEN).await;
    let (ada, bob) = (site.user(ADA, PASSWORD).await, site.user(BOB, PASSWORD).await);
    for (id, email, soft) in [(&ada, ADA, true), (&bob, BOB, false)] {
        let session = sign_in(&site, email, PASSWORD).await.is(200);
        let token = text(&session, "access_token");
        site.get("/rest/v1/notes", Some(token)).await.is(200);
        let path = format!("/auth/v1/admin/users/{id}");
        let body = json!({ "should_soft_delete": soft });
        assert_eq!(site.admin(Method::DELETE, &path, Some(body)).await.is(200), json!({}));
        assert_eq!(site.get("/rest/v1/notes", Some(token)).await.status, 401);
        assert_eq!(site.get("/auth/v1/user", Some(token)).await.refused(403), "user_not_found");
        assert_eq!(site.admin(Method::GET, &path, None).await.refused(404), "user_not_found");
        assert_eq!(site.admin(Method::DELETE, &path, None).await.refused(404), "user_not_found");
        assert_eq!(sign_in(&site, email, PASSWORD).await.refused(400), "invalid_credentials");
    }
    let sql = site.sql().await;
    let rows = sql.query("select id::text, row_to_json(u)::text from auth.users u", &[]).await.unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].0 == ada && !rows[0].1.contains(ADA), "{rows:?}");
    let left = "select (select count(*) from auth.passwords) + (select count(*) from auth.identities) + (select count(*) from auth.sessions)";
    assert_eq!(sql.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    // The address is free again.
    site.user(ADA, PASSWORD).await;
    // A record that must not be left without its user keeps him.
    let eve = site.user("eve@example.test", PASSWORD).await;
    sql.batch_execute(&format!(
        "create table kept (owner uuid references auth.users (id) on delete restrict); insert into kept values ('{eve}')"
    ))
    .await
    .unwrap();
    let path = format!("/auth/v1/admin/users/{eve}");
    assert_eq!(site.admin(Method::DELETE, &path, None).await.refused(409), "conflict");
    sign_in(&site, "eve@example.test", PASSWORD).await.is(200);
    site.admin(Method::DELETE, &path, Some(json!({ "should_soft_delete": true }))).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_by_page_and_found_by_a_part_of_the_address() {
    let site = Site::start(OFTEN).await;
    for at in 0..5 {
        make(&site, json!({ "email": format!("user{at}@example.test") })).await.is(200);
    }
    let odd = make(&site, json!({ "email": "a_%b@other.test" })).await.is(200);
    let list =
        async |query: &str| site.admin(Method::GET, &format!("/auth/v1/admin/users{query}"), None).await;
    let first = list("?page=1&per_page=2").await;
    assert_eq!(first.header("x-total-count"), "6");
    let link = first.header("link").to_owned();
    assert_eq!(
        link,
        "</auth/v1/admin/users?page=2&per_page=2>; rel=\"next\", </auth/v1/admin/users?page=3&per_page=2>; rel=\"last\""
    );
    let body = first.is(200);
    assert_eq!((&body["aud"], &body["users"][0]["id"]), (&json!("authenticated"), &odd["id"]));
    let last = list("?page=3&per_page=2").await;
    assert!(!last.header("link").contains("next"));
    assert_eq!(last.is(200)["users"][1]["email"], "user0@example.test");
    let emails = async |query: &str| -> Vec<String> {
        let body = list(query).await.is(200);
        body["users"].as_array().unwrap().iter().map(|user| text(user, "email").to_owned()).collect()
    };
    assert_eq!(emails("?filter=USER3").await, ["user3@example.test"]);
    assert_eq!(emails("?filter=_%25").await, ["a_%b@other.test"], "no pattern, but a part");
    assert_eq!(emails(&format!("?filter={}", text(&odd, "id"))).await, ["a_%b@other.test"]);
    assert_eq!(emails("?page=&per_page=").await.len(), 6);
    assert_eq!(emails("?page=9").await.len(), 0);
    for bad in ["?page=0", "?page=x", "?per_page=-1"] {
        assert_eq!(list(bad).await.refused(400), "validation_failed", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_at_once_and_is_gone_at_once() {
    let site = Site::start(OFTEN).await;
    let (ada, bob) = (site.user(ADA, PASSWORD).await, site.user(BOB, PASSWORD).await);
    let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
    let insert = format!("insert into notes (title, owner) values ('his', '{bob}')");
    site.sql().await.batch_execute(&insert).await.unwrap();
    let path = format!("/auth/v1/admin/users/{ada}/roles");
    let seen = async || site.get("/rest/v1/notes", Some(&token)).await.is(200).as_array().unwrap().len();
    let set = async |method: Method, body: Value| site.admin(method, &path, Some(body)).await;
    for _ in 0..3 {
        assert_eq!(seen().await, 0);
        let granted = set(Method::POST, json!({ "role": "editor" })).await.is(200);
        assert_eq!(granted, json!({ "roles": ["editor"] }));
        assert_eq!(seen().await, 1);
        let gone = site.admin(Method::DELETE, &format!("{path}/editor"), None).await;
        assert_eq!(gone.is(200), json!({ "roles": [] }));
    }
    set(Method::PUT, json!({ "roles": ["editor", "editor"] })).await.is(200);
    assert_eq!(site.admin(Method::GET, &path, None).await.is(200), json!({ "roles": ["editor"] }));
    assert_eq!(seen().await, 1);
    for role in ["service_role", "nonsense", "Editor", "", "anon"] {
        assert_eq!(
            set(Method::POST, json!({ "role": role })).await.refused(400),
            "validation_failed",
            "{role}"
        );
        let body = json!({ "roles": [role] });
        assert_eq!(set(Method::PUT, body).await.refused(400), "validation_failed", "{role}");
    }
    assert_eq!(seen().await, 1, "a refused change changes nothing");
    set(Method::PUT, json!({ "roles": [] })).await.is(200);
    assert_eq!(seen().await, 0);
    let events = "select event, actor_role, details ->> 'role' from auth.audit_log where subject = $1::text::uuid and event like 'role_%' order by id desc limit 2";
    let rows = site.sql().await.query(events, &[&ada]).await.unwrap();
    let rows: Vec<(String, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let line = |event: &str| (event.to_owned(), "service_role".to_owned(), "editor".to_owned());
    assert_eq!(rows, [line("role_revoked"), line("role_granted")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_seen_and_ended_one_by_one() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let (one, other) = (site.sign_in(ADA, PASSWORD).await, site.sign_in(ADA, PASSWORD).await);
    let path = format!("/auth/v1/admin/users/{id}/sessions");
    let seen = site.admin(Method::GET, &path, None).await.is(200);
    let seen = seen["sessions"].as_array().unwrap();
    assert_eq!(seen.len(), 2);
    let newest = text(&seen[0], "id");
    site.admin(Method::DELETE, &format!("{path}/{newest}"), None).await.is(204);
    site.get("/auth/v1/user", Some(text(&one, "access_token"))).await.is(200);
    let gone = site.get("/auth/v1/user", Some(text(&other, "access_token"))).await;
    assert_eq!(gone.refused(403), "session_not_found");
    let again = site.admin(Method::DELETE, &format!("{path}/{newest}"), None).await;
    assert_eq!(again.refused(404), "session_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_the_operators_word_and_nobody_elses() {
    let site = Site::start(OFTEN).await;
    // A stranger was faster with the address.
    let planted = json!({ "email": ADA, "password": "a strangers password", "data": { "name": "Mallory" } });
    site.post("/auth/v1/signup", None, planted).await.is(200);
    let by_stranger = site.link(ADA, "signup").await;
    let invite = async |body: Value| site.admin(Method::POST, "/auth/v1/invite", Some(body)).await;
    let user = invite(json!({ "email": ADA, "data": { "team": "a" } })).await.is(200);
    assert!(user["invited_at"].is_string());
    let show = async |kind: &str, token: &str| {
        site.post("/auth/v1/verify", None, json!({ "type": kind, "token_hash": token })).await
    };
    assert_eq!(show("signup", &by_stranger).await.refused(403), "otp_expired");
    invite(json!({ "email": ADA })).await.is(200);
    let link = site.link(ADA, "invite").await;
    let session = show("invite", &link).await.is(200);
    assert_eq!(session["user"]["user_metadata"], json!({ "team": "a" }));
    assert_eq!(invite(json!({ "email": ADA })).await.refused(422), "email_exists");
    assert_eq!(invite(json!({ "email": "no address" })).await.refused(400), "email_address_invalid");
    assert_eq!(invite(json!({})).await.refused(400), "email_address_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_for_every_purpose() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let make = async |body: Value| site.admin(Method::POST, "/auth/v1/admin/generate_link", Some(body)).await;
    let show = async |kind: &str, made: &Value| {
        let body = json!({ "type": kind, "token_hash": made["hashed_token"] });
        site.post("/auth/v1/verify", None, body).await
    };
    let signup =
        make(json!({ "type": "signup", "email": BOB, "password": OTHER, "data": { "a": 1 } })).await.is(200);
    assert_eq!(signup["verification_type"], "signup");
    let session = show("signup", &signup).await.is(200);
    assert_eq!(session["user"]["user_metadata"], json!({ "a": 1 }));
    sign_in(&site, BOB, OTHER).await.is(200);
    let invited = make(json!({ "type": "invite", "email": "eve@example.test" })).await.is(200);
    show("invite", &invited).await.is(200);
    let unknown = make(json!({ "type": "magiclink", "email": "new@example.test" })).await.is(200);
    assert_eq!(unknown["verification_type"], "signup");
    show("email", &unknown).await.is(200);
    // Each half of a change of address.
    let wish = |kind: &str| json!({ "type": kind, "email": ADA, "new_email": "ada@new.example.test" });
    let current = make(wish("email_change_current")).await.is(200);
    let new = make(wish("email_change_new")).await.is(200);
    assert_eq!(show("email_change", &current).await.is(200)["code"], "200");
    assert_eq!(show("email_change", &new).await.is(200)["user"]["email"], "ada@new.example.test");
    // Where it leads is the project's to allow.
    for (wished, expected) in [
        ("http://localhost:3000/in", "http://localhost:3000/in"),
        ("https://evil.test/", "http://localhost:3000"),
    ] {
        let body = json!({ "type": "magiclink", "email": BOB, "redirect_to": wished });
        assert_eq!(make(body).await.is(200)["redirect_to"], expected);
    }
    for (body, status, code) in [
        (json!({ "type": "recovery", "email": "nobody@example.test" }), 404, "user_not_found"),
        (json!({ "type": "signup", "email": BOB, "password": OTHER }), 422, "email_exists"),
        (json!({ "type": "signup", "email": "x@example.test" }), 400, "validation_failed"),
        (json!({ "type": "invite", "email": BOB }), 422, "email_exists"),
        (json!({ "type": "email_change_new", "email": BOB }), 400, "validation_failed"),
        (
            json!({ "type": "email_change_new", "email": BOB, "new_email": "eve@example.test" }),
            422,
            "email_exists",
        ),
        (json!({ "type": "reauthentication", "email": BOB }), 400, "validation_failed"),
        (json!({ "type": "sideways", "email": BOB }), 400, "validation_failed"),
        (json!({ "type": "magiclink" }), 400, "email_address_invalid"),
    ] {
        assert_eq!(make(body.clone()).await.refused(status), code, "{body}");
    }
}
