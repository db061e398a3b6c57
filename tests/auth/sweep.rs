//! What time has ended is cleared away.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use basewright::auth::desk::Desk;
use basewright::auth::password::Hashing;
use basewright::auth::settings::Settings;
use basewright::db::Pool;
use basewright::project::{Sources, load};
use basewright::realtime::feed::Feed;

use super::site::{PROJECT, Site, text};
use crate::support::server::eventually;

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";

/// A desk of another server of the same database.
fn desk(site: &Site) -> Desk {
    let pool = Pool::open(&site.database.target(), 2).unwrap();
    let keys = Arc::new(ArcSwap::from_pointee(site.server.keys.clone()));
    let desk = Desk::new(pool, Feed::new(), keys, None, Hashing::start(1).unwrap());
    let project = load(&Sources([("basewright.yaml".to_owned(), PROJECT.to_owned())].into())).unwrap();
    desk.settle(Settings {
        project: project.sign_in,
        site_url: "http://localhost".to_owned(),
        mail: project.mail,
        letters: project.letters,
        relay: None,
        private_hosts: Vec::new(),
        github_url: String::new(),
        public_url: "http://localhost".to_owned(),
        roles: Vec::new(),
        secrets: Default::default(),
        is_dev: true,
    });
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_and_what_is_not_stays() {
    let site = Site::start("auth: { rate_limits: { sign_in: false } }\n").await;
    site.user(ADA, PASSWORD).await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned());
    }
    let client = site.sql().await;
    let sessions: Vec<String> = client
        .query("select id::text from auth.sessions order by created_at, id", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let script = format!(
        "insert into auth.one_time_tokens (purpose, address, token_hash, code_hash, expires_at)
         select 'signup', 'a' || n || '@example.test', sha256(n::text::bytea), sha256('x'), now() + n * interval '2 h'
         from generate_series(-1500, 3) n;
         insert into auth.flows (state_hash, redirect_to, expires_at)
         select sha256(n::text::bytea), 'http://localhost', now() + n * interval '2 h' from generate_series(-2, 2) n;
         insert into auth.factors (user_id, friendly_name, status, secret, created_at)
         select id, name, status, '\\x00', now() - age from auth.users,
         (values ('old', 'unverified', interval '25 h'), ('new', 'unverified', '23 h'), ('kept', 'verified', '99 d')) f (name, status, age);
         insert into auth.challenges (factor_id, expires_at)
         select id, now() - age from auth.factors, (values (interval '2 h'), (interval '-5 min')) c (age) where friendly_name = 'kept';
         update auth.sessions set created_at = now() - interval '91 d' where id = '{0}';
         update auth.sessions set created_at = now() - interval '31 d' where id in ('{1}', '{2}');
         update auth.refresh_tokens set refreshed_at = now() - interval '31 d' where session_id = '{1}';",
        sessions[0], sessions[1], sessions[2]
    );
    client.batch_execute(&script).await.unwrap();
    // Rows that are over, rows that are not: what the sweep of the server itself may have had a share in.
    let left = "select (select count(*) from auth.one_time_tokens where expires_at < now() - interval '1 h') \
        + (select count(*) from auth.flows where expires_at < now() - interval '1 h') \
        + (select count(*) from auth.challenges where expires_at < now() - interval '1 h') \
        + (select count(*) from auth.factors where friendly_name = 'old') \
        + (select count(*) from auth.sessions where created_at < now() - interval '90 d')";
    let desk = desk(&site);
    eventually("everything over to be gone", Duration::from_secs(20), || async {
        desk.sweep().await.unwrap();
        (client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    let kept = client
        .query_one(
            "select (select count(*) from auth.one_time_tokens), (select count(*) from auth.flows), \
             (select count(*) from auth.challenges), (select count(*) from auth.factors)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!([0, 1, 2, 3].map(|at| kept.get::<_, i64>(at)), [4, 3, 1, 2]);
    let rows = client.query("select id::text from auth.sessions order by created_at, id", &[]).await.unwrap();
    let living: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(living, [sessions[2].clone(), sessions[3].clone()]);
    let sql = "select count(*) from auth.audit_log where event = 'signed_out' and details = '{\"reason\": \"expired\"}'";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
    // The server has heard of the two, and its users are out.
    eventually("two of four tokens to be refused", Duration::from_secs(20), || async {
        let mut refused = 0;
        for token in &tokens {
            refused += u32::from(site.get("/rest/v1/notes", Some(token)).await.status == 401);
        }
        (refused == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_do_not_sweep_at_once() {
    let site = Site::start("").await;
    let mut client = site.sql().await;
    client
        .batch_execute(
            "insert into auth.flows (state_hash, redirect_to, expires_at) \
             select sha256(n::text::bytea), 'http://localhost', now() - interval '2 h' from generate_series(1, 9) n",
        )
        .await
        .unwrap();
    let desk = desk(&site);
    let other = client.transaction().await.unwrap();
    other
        .execute("select pg_advisory_xact_lock(hashtextextended('basewright.sweep', 0))", &[])
        .await
        .unwrap();
    let left: i64 = other.query_one("select count(*) from auth.flows", &[]).await.unwrap().get(0);
    assert_eq!(desk.sweep().await.unwrap().flows, 0);
    let after: i64 = other.query_one("select count(*) from auth.flows", &[]).await.unwrap().get(0);
    assert_eq!(after, left);
    other.commit().await.unwrap();
    eventually("the flows to be gone", Duration::from_secs(20), || async {
        desk.sweep().await.unwrap();
        (client.query_one("select count(*) from auth.flows", &[]).await.unwrap().get::<_, i64>(0) == 0)
            .then_some(())
    })
    .await;
}
