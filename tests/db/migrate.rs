//! The system migrations, against a real database.

use basewright::db::{Migration, SYSTEM_MIGRATIONS, Session, Target, migrate, migrate_with};

use crate::support::{admin, cluster, database};

const RUNTIME: &str = "basewright_runtime";

/// A database without any migration.
async fn empty(name: &str) -> basewright::db::Urls {
    let admin = admin().connect("postgres").await;
    admin.batch_execute(&format!("create database {name} owner basewright_migrate")).await.unwrap();
    cluster().urls_of(name)
}

async fn owner(urls: &basewright::db::Urls) -> tokio_postgres::Client {
    Target::parse(&urls.migrate, &Session::migrating()).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let database = database().await;
    let owner = database.connect_owner().await;
    assert_eq!(migrate(&owner, RUNTIME).await.unwrap().applied, Vec::<i32>::new());
    let count = owner.query_one("select count(*) from basewright.migrations", &[]).await.unwrap();
    assert_eq!(usize::try_from(count.get::<_, i64>(0)).unwrap(), SYSTEM_MIGRATIONS.len());
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_applied_is_refused() {
    let database = database().await;
    let owner = database.connect_owner().await;
    let mut files = SYSTEM_MIGRATIONS.to_vec();
    files[0] = Migration { sql: "select 1", ..files[0] };
    let refused = migrate_with(&owner, RUNTIME, &files).await.unwrap_err().to_string();
    assert!(refused.contains("0001_foundations is not the one"), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_newer_than_the_program_is_refused() {
    let database = database().await;
    let owner = database.connect_owner().await;
    let refused = migrate_with(&owner, RUNTIME, &SYSTEM_MIGRATIONS[..1]).await.unwrap_err().to_string();
    assert!(refused.contains("run a newer version"), "{refused}");
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once() {
    let urls = empty("migrate_at_once").await;
    let mut applied = Vec::new();
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let urls = urls.clone();
            tokio::spawn(async move { migrate(&owner(&urls).await, RUNTIME).await.unwrap().applied })
        })
        .collect();
    for run in runs {
        applied.extend(run.await.unwrap());
    }
    let all: Vec<i32> = SYSTEM_MIGRATIONS.iter().map(|migration| migration.number).collect();
    assert_eq!(applied, all);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind_and_is_tried_again() {
    let urls = empty("migrate_fails").await;
    let client = owner(&urls).await;
    let broken =
        [Migration { number: 1, name: "broken", sql: "create table public.left_behind (); select 1/0" }];
    let refused = migrate_with(&client, RUNTIME, &broken).await.unwrap_err().to_string();
    assert!(refused.contains("0001_broken") && refused.contains("division by zero"), "{refused}");
    let left = client.query_one("select to_regclass('public.left_behind') is null", &[]).await.unwrap();
    assert!(left.get::<_, bool>(0));
    assert_eq!(migrate(&client, RUNTIME).await.unwrap().applied.len(), SYSTEM_MIGRATIONS.len());
}

#[tokio::test]
async fn the_runtime_role_works_with_rows_and_with_nothing_else() {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("create table public.made_later (id int)").await.unwrap();
    let runtime = database.connect().await;
    for allowed in [
        "insert into public.made_later values (1)",
        "update public.made_later set id = 2",
        "select * from public.made_later",
        "delete from public.made_later",
        "select basewright.uuid_v7(), basewright.require(true), basewright.at_most(1, 1)",
        "insert into auth.users (email) values ('a@example.org')",
        "insert into auth.user_roles select id, 'editor' from auth.users",
        "insert into auth.revoked_keys (jti) values ('x')",
    ] {
        runtime.batch_execute(allowed).await.unwrap_or_else(|e| panic!("{allowed}: {e:?}"));
    }
    for refused in [
        "create table public.mine ()",
        "create schema mine",
        "drop table public.made_later",
        "truncate public.made_later",
        "alter table public.made_later add column x int",
        "insert into basewright.migrations values (9, 'x', 'x')",
        "create table auth.mine ()",
        "create function basewright.mine() returns int language sql as 'select 1'",
        "create temporary table mine ()",
        "alter role basewright_runtime superuser",
        "set role basewright_migrate",
        "copy (select 1) to program 'true'",
    ] {
        let e = runtime.batch_execute(refused).await.expect_err(refused);
        assert_eq!(e.code().map(|code| code.code()), Some("42501"), "{refused}: {e:?}");
    }
}

#[tokio::test]
async fn a_role_without_grants_reaches_none_of_our_functions_and_tables() {
    let database = database().await;
    let replication =
        Target::parse(&database.urls.replication, &Session::default()).unwrap().connect().await.unwrap();
    for refused in
        ["select basewright.uuid_v7()", "select * from auth.users", "select * from basewright.migrations"]
    {
        let e = replication.batch_execute(refused).await.expect_err(refused);
        assert_eq!(e.code().map(|code| code.code()), Some("42501"), "{refused}: {e:?}");
    }
}

#[tokio::test]
async fn identifiers_are_valid_version_7_and_sort_by_time() {
    let database = database().await;
    let client = database.connect().await;
    let rows = client
        .query(
            "select basewright.uuid_v7()::text, (extract(epoch from clock_timestamp()) * 1000)::bigint \
             from generate_series(1, 2000)",
            &[],
        )
        .await
        .unwrap();
    let mut last = 0;
    for row in rows {
        let id: uuid::Uuid = row.get::<_, String>(0).parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let millis = i64::try_from(id.as_u128() >> 80).unwrap();
        assert!((row.get::<_, i64>(1) - millis).abs() <= 1000, "{id}");
        // Sixty bits: the time with its fraction and the version between them.
        let head = id.as_u128() >> 64;
        assert!(head >= last, "{id} steps back");
        last = head;
    }
}

#[tokio::test]
async fn guards_raise_unless_the_condition_is_true_and_undo_the_statement() {
    let database = database().await;
    database.connect_owner().await.batch_execute("create table public.guarded (id int)").await.unwrap();
    let client = database.connect().await;
    for (guard, state) in [
        ("basewright.require(null)", "42501"),
        ("basewright.require(id < 3, 'no')", "42501"),
        ("basewright.at_most(2, 1)", "BW116"),
        ("basewright.at_most(null, 1)", "BW116"),
    ] {
        let sql = format!(
            "with written as (insert into public.guarded select * from generate_series(1, 3) id \
             returning id, {guard} as admitted) select 1 from written limit 0"
        );
        let e = client.batch_execute(&sql).await.expect_err(guard);
        assert_eq!(e.code().map(|code| code.code()), Some(state), "{guard}");
        let left = client.query_one("select count(*) from public.guarded", &[]).await.unwrap();
        assert_eq!(left.get::<_, i64>(0), 0, "{guard}");
    }
}

#[tokio::test]
async fn the_touch_trigger_overrides_what_a_statement_sets() {
    let database = database().await;
    let client = database.connect().await;
    client
        .batch_execute("insert into auth.users (email, updated_at) values ('a@example.org', '2001-01-01')")
        .await
        .unwrap();
    let row = client
        .query_one("update auth.users set updated_at = '2001-01-01' returning updated_at > '2020-01-01'", &[])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
}
