//! A worker's pipelined connections, against a real database.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use basewright::db::{DbError, Lanes, LanesOptions, Row};
use basewright::model::{Kind, Name, Scalar};
use basewright::sql::Sql;
use futures_util::future::join_all;

use crate::support::{Database, database};

fn lanes(database: &Database) -> Lanes {
    Lanes::open(&database.target(), LanesOptions::default())
}

fn one_lane(database: &Database, statements: usize) -> Lanes {
    let one = NonZeroUsize::MIN;
    let statements = NonZeroUsize::new(statements).unwrap();
    Lanes::open(
        &database.target(),
        LanesOptions { reads: one, writes: one, statements, ..LanesOptions::default() },
    )
}

fn sql(text: &'static str) -> Sql {
    let mut sql = Sql::new();
    sql.raw(text);
    sql
}

/// Tries until it succeeds, for at most ten seconds.
async fn until<T, F: Future<Output = Result<T, DbError>>>(mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(e) => assert!(Instant::now() < deadline, "{e}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_hundred_requests_at_once_each_get_their_own_answer() {
    let database = database().await;
    database
        .connect_owner()
        .await
        .batch_execute("create table public.t (id bigint primary key, v text)")
        .await
        .unwrap();
    let lanes = lanes(&database);
    let answers = join_all((0..200_i64).map(|i| {
        let lanes = &lanes;
        async move {
            let mut sql = Sql::new();
            match i % 4 {
                0 => {
                    sql.raw("select ").bind(Kind::BIGINT, Some(i.to_string()));
                    lanes.read(&sql).await
                }
                1 => {
                    // Some are slower than those behind them.
                    sql.raw("select ").bind(Kind::BIGINT, Some(i.to_string())).raw(", pg_sleep(0.002)");
                    lanes.read(&sql).await
                }
                2 => {
                    sql.raw("insert into public.t values (").bind(Kind::BIGINT, Some(i.to_string()));
                    sql.raw(", ").bind_text(format!("v{i}")).raw(") returning id");
                    lanes.write(&sql).await
                }
                // An error in the pipeline is one request's own.
                _ => {
                    sql.raw("select ").bind(Kind::BIGINT, Some(i.to_string())).raw(" / 0");
                    lanes.read(&sql).await
                }
            }
        }
    }))
    .await;
    for (i, answer) in (0_i64..).zip(answers) {
        if i % 4 == 3 {
            assert_eq!(answer.unwrap_err().sqlstate(), Some("22012"));
        } else {
            let rows = answer.unwrap();
            assert_eq!((rows.len(), rows[0].integer(0)), (1, Some(i)));
        }
    }
}

/// What Postgres makes of a value sent as text, in its own words; and what binary bytes came back.
async fn echo(lanes: &Lanes, kind: Kind, value: Option<&str>) -> (Option<String>, Option<usize>) {
    let mut sql = Sql::new();
    let owned = value.map(str::to_owned);
    sql.raw("select (").bind(kind, owned.clone()).raw(")::text, ").bind(kind, owned);
    let rows = lanes.read(&sql).await.unwrap_or_else(|e| panic!("{kind} {value:?}: {e}"));
    assert_eq!(rows[0].oid(1), kind.oid(), "{kind}");
    (rows[0].text(0).map(str::to_owned), rows[0].raw(1).map(<[u8]>::len))
}

#[tokio::test]
async fn values_of_every_kind_travel_as_text_and_come_back_in_binary() {
    let database = database().await;
    let lanes = lanes(&database);
    let cases: [(Scalar, &str, &str, usize); 14] = [
        (Scalar::Text, "it's \"ü\" \\ 𝄞", "it's \"ü\" \\ 𝄞", 16),
        (Scalar::Integer, "-7", "-7", 4),
        (Scalar::Bigint, "9223372036854775807", "9223372036854775807", 8),
        (Scalar::Float, "1e-7", "1e-07", 8),
        (Scalar::Decimal, "12345678901234567890.10", "12345678901234567890.10", 20),
        (Scalar::Boolean, "t", "true", 1),
        (Scalar::Uuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 16),
        (Scalar::Timestamp, "2024-02-29T12:00:00.5+02:00", "2024-02-29 10:00:00.5+00", 8),
        (Scalar::Date, "2024-02-29", "2024-02-29", 4),
        (Scalar::Time, "24:00:00", "24:00:00", 8),
        (Scalar::Interval, "1 mon 2 days 03:00:00", "1 mon 2 days 03:00:00", 16),
        (Scalar::Json, "{\"a\": [1, null]}", "{\"a\": [1, null]}", 17),
        (Scalar::Bytes, "\\x00ff", "\\x00ff", 2),
        (Scalar::Inet, "10.0.0.0/8", "10.0.0.0/8", 8),
    ];
    for (scalar, given, shown, bytes) in cases {
        let kind = Kind::one(scalar);
        assert_eq!(echo(&lanes, kind, Some(given)).await, (Some(shown.to_owned()), Some(bytes)), "{kind}");
        assert_eq!(echo(&lanes, kind, None).await, (None, None), "{kind}");
        let many = Kind::many(scalar);
        assert_eq!(echo(&lanes, many, None).await, (None, None), "{many}");
        assert_eq!(echo(&lanes, many, Some("{}")).await.0.as_deref(), Some("{}"), "{many}");
        let element = given.replace('\\', "\\\\").replace('"', "\\\"");
        let (shown, _) = echo(&lanes, many, Some(&format!("{{NULL,\"{element}\"}}"))).await;
        assert!(shown.unwrap().starts_with("{NULL,"), "{many}");
    }
}

#[tokio::test]
async fn malformed_values_are_errors_of_postgres_not_of_the_driver() {
    let database = database().await;
    let lanes = lanes(&database);
    for (kind, value, state) in [
        (Kind::BIGINT, "seven", "22P02"),
        (Kind::UUID, "", "22P02"),
        (Kind::TEXT, "a\0b", "22021"),
        (Kind::TIMESTAMP, "2024-13-01", "22008"),
        (Kind::many(Scalar::Integer), "{1", "22P02"),
    ] {
        let mut sql = Sql::new();
        sql.raw("select ").bind(kind, Some(value.to_owned()));
        let e = lanes.read(&sql).await.unwrap_err();
        assert_eq!(e.sqlstate(), Some(state), "{kind} {value:?}");
    }
    let rows = lanes.read(&sql("select 1")).await.unwrap();
    assert_eq!(rows[0].integer(0), Some(1), "the lane still works");
}

#[tokio::test]
async fn sessions_begin_with_our_settings() {
    let database = database().await;
    let admin = database.connect_admin().await;
    // What the database says must not win.
    admin
        .batch_execute(&format!(
            "alter database {} set timezone = 'Asia/Tokyo'; alter database {0} set datestyle = 'German'",
            database.name
        ))
        .await
        .unwrap();
    let lanes = lanes(&database);
    let mut text = Sql::new();
    text.raw("select ");
    for (at, setting) in [
        "timezone",
        "datestyle",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "jit",
    ]
    .into_iter()
    .enumerate()
    {
        if at > 0 {
            text.raw(", ");
        }
        text.raw("current_setting(").bind_text(setting).raw(")");
    }
    for rows in [lanes.read(&text).await.unwrap(), lanes.write(&text).await.unwrap()] {
        let got: Vec<&str> = (0..rows[0].len()).filter_map(|at| rows[0].text(at)).collect();
        assert_eq!(got, ["UTC", "ISO, MDY", "8s", "250ms", "10s", "off"]);
    }
}

#[tokio::test]
async fn a_lane_whose_connection_was_ended_connects_again() {
    let database = database().await;
    let lanes = one_lane(&database, 10);
    let pid = |rows: Vec<Row>| rows[0].integer(0).unwrap();
    let before = pid(lanes.read(&sql("select pg_backend_pid()")).await.unwrap());
    let admin = database.connect_admin().await;
    admin.execute("select pg_terminate_backend($1)", &[&i32::try_from(before).unwrap()]).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        match lanes.read(&sql("select pg_backend_pid()")).await {
            Ok(rows) => break pid(rows),
            Err(e) => {
                assert!(e.is_unavailable() && !e.outcome_unknown, "{e}");
                assert_eq!(e.into_error().code.status(), 503);
            }
        }
        assert!(Instant::now() < deadline, "no new connection");
        tokio::task::yield_now().await;
    };
    assert_ne!(after, before);
}

#[tokio::test]
async fn a_write_that_loses_its_connection_says_that_its_outcome_is_unknown_and_is_not_sent_again() {
    let database = database().await;
    database.connect_owner().await.batch_execute("create table public.t (id int)").await.unwrap();
    let lanes = one_lane(&database, 10);
    let pid = lanes.write(&sql("select pg_backend_pid()")).await.unwrap()[0].integer(0).unwrap();
    let admin = database.connect_admin().await;
    let slow = sql("insert into public.t select 1 from pg_sleep(30)");
    let write = lanes.write(&slow);
    let cut = async {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let sent = admin
                .query_one(
                    "select count(*) from pg_stat_activity where pid = $1 and state = 'active' and query ~ 'insert'",
                    &[&i32::try_from(pid).unwrap()],
                )
                .await
                .unwrap();
            if sent.get::<_, i64>(0) == 1 {
                break;
            }
            assert!(Instant::now() < deadline, "the statement never arrived");
        }
        admin.execute("select pg_terminate_backend($1)", &[&i32::try_from(pid).unwrap()]).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(write, cut);
    let e = outcome.unwrap_err();
    assert!(e.outcome_unknown && e.is_unavailable(), "{e}");
    let one = sql("select 1");
    until(|| lanes.write(&one)).await;
    let rows = lanes.read(&sql("select count(*) from public.t")).await.unwrap();
    assert_eq!(rows[0].integer(0), Some(0), "it was sent again");
}

#[tokio::test]
async fn requests_fail_fast_while_there_is_no_server() {
    let database = database().await;
    let url = "postgresql:///x?user=x&host=/nonexistent";
    let target = basewright::db::Target::parse(url, &basewright::db::Session::default()).unwrap();
    let lanes = Lanes::open(&target, LanesOptions::default());
    let started = Instant::now();
    for _ in 0..20 {
        assert!(lanes.read(&sql("select 1")).await.unwrap_err().is_unavailable());
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(database);
}

#[tokio::test]
async fn a_changed_table_does_not_break_statements_prepared_before() {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("create table public.t (a int); insert into public.t values (1)").await.unwrap();
    let lanes = one_lane(&database, 10);
    let all = sql("select * from public.t");
    let update = sql("update public.t set a = a + 1 returning *");
    assert_eq!(lanes.read(&all).await.unwrap()[0].len(), 1);
    assert_eq!(lanes.write(&update).await.unwrap()[0].integer(0), Some(2));
    owner.batch_execute("alter table public.t add column b text default 'x'").await.unwrap();
    let answers = join_all((0..20).map(|_| lanes.read(&all))).await;
    for answer in answers {
        assert_eq!(answer.unwrap()[0].text(1), Some("x"));
    }
    let rows = lanes.write(&update).await.unwrap();
    assert_eq!((rows[0].integer(0), rows[0].text(1)), (Some(3), Some("x")), "once, not twice");
}

#[tokio::test]
async fn a_statement_that_the_server_forgot_is_prepared_again() {
    let database = database().await;
    let lanes = one_lane(&database, 10);
    let one = sql("select 1");
    lanes.read(&one).await.unwrap();
    lanes.read(&sql("deallocate all")).await.unwrap();
    assert_eq!(lanes.read(&one).await.unwrap()[0].integer(0), Some(1));
}

#[tokio::test]
async fn prepared_statements_stay_within_their_bound() {
    let database = database().await;
    let lanes = one_lane(&database, 5);
    for width in 1..=40 {
        let mut sql = Sql::new();
        sql.raw("select ");
        for at in 0..width {
            sql.raw(if at == 0 { "1 as " } else { ", 1 as " });
            sql.name(&Name::new(&format!("c{at}")).unwrap());
        }
        assert_eq!(lanes.read(&sql).await.unwrap()[0].len(), width);
    }
    let count = sql("select count(*) from pg_prepared_statements");
    let kept = lanes.read(&count).await.unwrap()[0].integer(0).unwrap();
    assert!((1..=6).contains(&kept), "{kept} statements are kept");
}

#[tokio::test]
async fn one_shape_is_prepared_once_however_many_ask_at_the_same_time() {
    let database = database().await;
    let lanes = one_lane(&database, 50);
    lanes.read(&sql("select 0")).await.unwrap();
    let answers = join_all((0..50).map(|i| {
        let lanes = &lanes;
        async move {
            let mut sql = Sql::new();
            sql.raw("select 'once' || ").bind_text(i.to_string());
            lanes.read(&sql).await
        }
    }))
    .await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    let mut count = Sql::new();
    count.raw("select count(*) from pg_prepared_statements where statement like '%once%' and statement not like '%count%'");
    assert_eq!(lanes.read(&count).await.unwrap()[0].integer(0), Some(1));
}

#[tokio::test]
async fn a_shape_whose_preparation_failed_is_tried_again() {
    let database = database().await;
    let lanes = one_lane(&database, 10);
    let text = sql("select count(*) from public.later");
    let e = lanes.read(&text).await.unwrap_err();
    assert_eq!(e.sqlstate(), Some("42P01"));
    database.connect_owner().await.batch_execute("create table public.later ()").await.unwrap();
    assert_eq!(lanes.read(&text).await.unwrap()[0].integer(0), Some(0));
}

#[tokio::test]
async fn a_write_that_waits_for_a_lock_does_not_hold_up_reads() {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("create table public.t (a int); insert into public.t values (1)").await.unwrap();
    owner.batch_execute("begin; update public.t set a = 2").await.unwrap();
    let lanes = one_lane(&database, 10);
    let update = sql("update public.t set a = 3");
    let mut write = std::pin::pin!(lanes.write(&update));
    let read = sql("select a from public.t");
    for _ in 0..50 {
        tokio::select! {
            biased;
            done = &mut write => panic!("the write did not wait: {done:?}"),
            rows = lanes.read(&read) => assert_eq!(rows.unwrap()[0].integer(0), Some(1)),
        }
    }
    owner.batch_execute("commit").await.unwrap();
    write.await.unwrap();
    assert_eq!(lanes.read(&read).await.unwrap()[0].integer(0), Some(3));
}

#[tokio::test]
async fn closed_lanes_answer_what_is_under_way_and_leave_no_connection() {
    let database = database().await;
    let lanes = lanes(&database);
    let text = sql("select 7 from pg_sleep(0.2)");
    let answer = {
        let pending = lanes.read(&text);
        pending.await
    };
    assert_eq!(answer.unwrap()[0].integer(0), Some(7));
    drop(lanes);
    let admin = database.connect_admin().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let row = admin
            .query_one(
                "select count(*) from pg_stat_activity where datname = $1 and application_name = 'basewright'",
                &[&database.name],
            )
            .await
            .unwrap();
        if row.get::<_, i64>(0) == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "connections are left");
        tokio::task::yield_now().await;
    }
}

/// What was committed is before the position that came behind it.
#[tokio::test]
async fn the_position_behind_a_write_is_past_its_commit() {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("create table public.t (id bigint primary key)").await.unwrap();
    let lanes = one_lane(&database, 16);
    let pool = basewright::db::Pool::open(&database.target(), 2).unwrap();
    let here = || async {
        let row = owner.query_one("select (pg_current_wal_insert_lsn() - '0/0')::bigint", &[]).await.unwrap();
        u64::try_from(row.get::<_, i64>(0)).unwrap()
    };
    let insert = |id: i64| {
        let mut sql = Sql::new();
        sql.raw("insert into public.t values (")
            .bind(Kind::BIGINT, Some(id.to_string()))
            .raw(") returning id");
        sql
    };
    // Twenty at once on one connection: each is asked for behind its own write.
    let before = here().await;
    let written = join_all((0..20).map(|id| {
        let (lanes, sql) = (&lanes, insert(id));
        async move { lanes.write_positioned(&sql).await.unwrap() }
    }))
    .await;
    let mut positions: Vec<u64> = written.iter().map(|(_, position)| position.unwrap()).collect();
    assert!(written.iter().enumerate().all(|(id, (rows, _))| rows[0].integer(0) == Some(id as i64)));
    assert!(positions.is_sorted() && positions[0] > before);
    positions.dedup();
    assert_eq!(positions.len(), 20, "each commit moved it");
    let (rows, position) = pool.query_positioned(&insert(50)).await.unwrap();
    assert_eq!(rows[0].integer(0), Some(50));
    assert!(position.unwrap() > positions[19] && position.unwrap() <= here().await);
    // A refusal is the write's, and what is asked behind it does not hide it.
    let refused = lanes.write_positioned(&insert(0)).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some("23505"));
    assert_eq!(pool.query_positioned(&insert(0)).await.unwrap_err().sqlstate(), Some("23505"));
    // The tables changed under what is prepared: it is written once, and has a position after that.
    owner.batch_execute("alter table public.t alter id type numeric using id").await.unwrap();
    let (rows, position) = lanes.write_positioned(&insert(60)).await.unwrap();
    assert_eq!(rows.len(), 1);
    let count = owner.query_one("select count(*) from public.t where id = 60", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);
    assert!(position.unwrap() <= here().await);
}
