//! The shared pool, against a real database.

use std::time::{Duration, Instant};

use basewright::db::{Lanes, LanesOptions, Pool, Session, Target};
use basewright::model::Kind;
use basewright::sql::Sql;

use crate::support::server::eventually;
use crate::support::{Database, database};

fn sql(text: &'static str) -> Sql {
    let mut sql = Sql::new();
    sql.raw(text);
    sql
}

async fn with_table() -> Database {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner
        .batch_execute("create table public.t (a int primary key deferrable initially deferred)")
        .await
        .unwrap();
    database
}

async fn count(pool: &Pool) -> i64 {
    pool.read(&sql("select count(*) from public.t")).await.unwrap()[0].integer(0).unwrap()
}

fn insert(a: i32) -> Sql {
    let mut sql = Sql::new();
    sql.raw("insert into public.t values (").bind(Kind::BIGINT, Some(a.to_string())).raw(") returning a");
    sql
}

#[tokio::test]
async fn a_request_that_finds_no_free_connection_is_told_so_in_time() {
    let database = database().await;
    let pool = Pool::with_wait(&database.target(), 1, Duration::from_millis(100)).unwrap();
    let held = pool.begin().await.unwrap();
    let started = Instant::now();
    let error = pool.read(&sql("select 1")).await.unwrap_err().into_error();
    assert_eq!((error.code.as_str(), error.code.status()), ("PGRST003", 504));
    assert!(started.elapsed() < Duration::from_secs(2));
    held.rollback().await.unwrap();
    pool.read(&sql("select 1")).await.unwrap();
}

#[tokio::test]
async fn statements_of_a_transaction_are_all_done_or_none() {
    let database = with_table().await;
    let pool = Pool::open(&database.target(), 2).unwrap();
    let answers = pool.transact(&[insert(1), sql("select a from public.t"), insert(2)]).await.unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[1][0].integer(0), Some(1), "a later statement sees an earlier one");
    assert_eq!(answers[2][0].integer(0), Some(2));

    let e = pool.transact(&[insert(3), sql("select 1/0"), insert(4)]).await.unwrap_err();
    assert_eq!(e.sqlstate(), Some("22012"), "the first error, not what follows from it");
    assert_eq!(count(&pool).await, 2);

    // The constraint is deferred: only the commit finds it.
    let e = pool.transact(&[insert(1)]).await.unwrap_err();
    assert_eq!((e.sqlstate(), e.constraint()), (Some("23505"), Some("t_pkey")));
    assert_eq!(count(&pool).await, 2);
    // Of this database: other tests share the cluster.
    let open =
        "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in%'";
    let row = &pool.read(&sql(open)).await.unwrap()[0];
    assert_eq!(row.integer(0), Some(0), "no transaction is left open");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_undone_and_its_connection_not_used_again() {
    let database = with_table().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    let tx = pool.begin().await.unwrap();
    tx.query(&insert(1)).await.unwrap();
    drop(tx);
    assert_eq!(count(&pool).await, 0);
    let tx = pool.begin().await.unwrap();
    tx.query(&insert(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&pool).await, 1);
    let tx = pool.begin().await.unwrap();
    tx.query(&insert(2)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&pool).await, 1);
}

#[tokio::test]
async fn a_commit_after_a_failed_statement_does_not_pass_for_one() {
    let database = with_table().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    let tx = pool.begin().await.unwrap();
    tx.query(&insert(1)).await.unwrap();
    tx.query(&sql("select 1/0")).await.unwrap_err();
    tx.commit().await.unwrap_err();
    assert_eq!(count(&pool).await, 0);
}

#[tokio::test]
async fn ddl_of_the_owner_runs_in_a_transaction() {
    let database = database().await;
    let target = Target::parse(&database.urls.migrate, &Session::migrating()).unwrap();
    let pool = Pool::open(&target, 1).unwrap();
    let tx = pool.begin().await.unwrap();
    let mut create = Sql::ddl();
    create.raw("create table public.made (a text default ").bind_text("it's").raw(")");
    tx.query(&create).await.unwrap();
    tx.batch("insert into public.made default values; insert into public.made default values").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(pool.read(&sql("select a from public.made")).await.unwrap()[1].text(0), Some("it's"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let target = Target::parse("postgresql:///x?user=x&host=/nonexistent", &Session::default()).unwrap();
    let pool = Pool::open(&target, 1).unwrap();
    let error = pool.read(&sql("select 1")).await.unwrap_err().into_error();
    assert_eq!((error.code.as_str(), error.retry_after), ("PGRST001", Some(1)));
}

#[tokio::test]
async fn a_closed_pool_refuses() {
    let database = database().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    pool.read(&sql("select 1")).await.unwrap();
    pool.close();
    assert!(pool.read(&sql("select 1")).await.unwrap_err().is_unavailable());
}

/// How many statements the one connection of a pool keeps prepared.
async fn prepared(pool: &Pool) -> i64 {
    pool.read(&sql("select count(*) from pg_prepared_statements")).await.unwrap()[0].integer(0).unwrap()
}

#[tokio::test]
async fn a_statement_that_is_kept_prepared_is_prepared_once_and_again_when_its_table_has_changed() {
    let database = with_table().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    pool.query(&insert(1)).await.unwrap();
    assert_eq!(prepared(&pool).await, 0, "other statements are not kept");
    for _ in 0..3 {
        let rows = pool.read_again(&sql("select * from public.t")).await.unwrap();
        assert_eq!((rows.len(), rows[0].len()), (1, 1));
    }
    assert_eq!(prepared(&pool).await, 1);
    database
        .connect_owner()
        .await
        .batch_execute("alter table public.t add column b int default 7")
        .await
        .unwrap();
    let rows = pool.read_again(&sql("select * from public.t")).await.unwrap();
    assert_eq!(rows[0].integer(1), Some(7));
    let e = pool.read_again(&sql("select 1/0")).await.unwrap_err();
    assert_eq!(e.sqlstate(), Some("22012"), "an error of the statement itself is told");
}

#[tokio::test]
async fn a_connection_keeps_no_more_than_a_bounded_number_of_statements_prepared() {
    let database = database().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    for count in 1..300 {
        let mut sql = Sql::new();
        sql.raw("select 1");
        for _ in 0..count {
            sql.raw(" + 1");
        }
        assert_eq!(pool.read_again(&sql).await.unwrap()[0].integer(0), Some(count + 1));
    }
    assert!((1..=129).contains(&prepared(&pool).await));
}

#[tokio::test]
async fn a_new_limit_of_statements_holds_for_the_sessions_that_are_open() {
    let database = database().await;
    let target = database.target();
    let (pool, lanes) = (Pool::open(&target, 2).unwrap(), Lanes::open(&target, LanesOptions::default()));
    let limit = sql("select current_setting('statement_timeout')");
    let pooled = async || pool.read(&limit).await.unwrap()[0].text(0).unwrap().to_owned();
    let lane = async || lanes.read(&limit).await.unwrap()[0].text(0).unwrap().to_owned();
    assert_eq!((pooled().await, lane().await), ("8s".to_owned(), "8s".to_owned()));
    // One that is in use keeps the limit that it began with, and leaves when it comes back.
    let held = pool.begin().await.unwrap();
    target.limit_statements(Duration::from_millis(250));
    assert_eq!(pooled().await, "250ms");
    assert_eq!(held.query(&limit).await.unwrap()[0].text(0), Some("8s"));
    held.commit().await.unwrap();
    assert_eq!(pool.begin().await.unwrap().query(&limit).await.unwrap()[0].text(0), Some("250ms"));
    eventually("the lanes follow", Duration::from_secs(10), || async {
        let both = [lane().await, lane().await];
        both.iter().all(|limit| limit == "250ms").then_some(())
    })
    .await;
    assert_eq!(pool.read(&sql("select pg_sleep(30)")).await.unwrap_err().sqlstate(), Some("57014"));
}
