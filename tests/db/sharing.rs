//! Requests of one shape that share a statement, against a real database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use basewright::db::{DbError, Lanes, LanesOptions, Row, Turn};
use basewright::model::Kind;
use basewright::sql::Sql;
use futures_util::future::join_all;

use crate::support::{Database, database};

async fn stage() -> (Database, Arc<Lanes>) {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner
        .batch_execute(
            "create table public.t (id bigint primary key, v int not null);
             insert into public.t select i, 1 from generate_series(1, 300) i",
        )
        .await
        .unwrap();
    let lanes = Lanes::open(&database.target(), LanesOptions::default());
    (database, Arc::new(lanes))
}

/// Divides by a record's value: the row is (id, how it was answered).
fn quotient(sql: &mut Sql, id: i64, how: &'static str) {
    sql.raw("select 10 / t.v + t.id, ").raw(how).raw(" from public.t where t.id = ");
    sql.bind(Kind::BIGINT, Some(id.to_string()));
}

async fn read(lanes: &Lanes, id: i64) -> Result<Vec<Row>, DbError> {
    let mut alone = Sql::new();
    quotient(&mut alone, id, "'alone'");
    let alone = Arc::new(alone);
    let shared = || {
        let mut sql = Sql::shared();
        sql.raw("select b.n, r.* from ").each_request().raw(" cross join lateral (");
        quotient(&mut sql, id, "'together'");
        sql.raw(") as r");
        sql
    };
    match lanes.read_together(&alone, shared).await {
        Turn::Answered(answer) => answer,
        Turn::Alone(_lead) => lanes.read(&alone).await,
    }
}

/// Puts a record in, together with others or alone; whether it was together.
async fn write(lanes: &Lanes, id: i64, v: Option<i64>) -> (bool, Result<(), DbError>) {
    let bind = |sql: &mut Sql| {
        sql.bind(Kind::BIGINT, Some(id.to_string())).raw(", ");
        sql.bind(Kind::BIGINT, v.map(|v| v.to_string()));
    };
    let mut shared = Sql::shared();
    shared.raw("with b as materialized (select b.* from ").each_request();
    shared.raw("), w as (insert into public.t(id, v) select ");
    bind(&mut shared);
    shared.raw(" from b returning id) select b.n, w.id from b join w on w.id = b.p1");
    match lanes.write_together(shared).await {
        Turn::Answered(answer) => (true, answer.map(|rows| assert_eq!(rows[0].integer(0), Some(id)))),
        Turn::Alone(_lead) => {
            let mut sql = Sql::new();
            sql.raw("insert into public.t values (");
            bind(&mut sql);
            sql.raw(")");
            (false, lanes.write(&sql).await.map(|_| ()))
        }
    }
}

#[tokio::test]
async fn requests_of_one_shape_that_arrive_at_once_each_get_their_own_row() {
    let (_database, lanes) = stage().await;
    read(&lanes, 1).await.unwrap();
    let answers = join_all((1..=310).map(|id| read(&lanes, id))).await;
    let mut together = 0;
    for (id, answer) in (1..=310).zip(answers) {
        let rows = answer.unwrap();
        if id > 300 {
            assert!(rows.is_empty(), "there is no such record");
            continue;
        }
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].integer(0), Some(10 + id));
        assert_eq!(rows[0].len(), 2);
        together += usize::from(rows[0].text(1) == Some("together"));
    }
    assert_eq!(together, 299, "all but the first");
}

#[tokio::test]
async fn one_request_that_fails_harms_none_that_came_with_it() {
    let (database, lanes) = stage().await;
    database.connect_owner().await.batch_execute("update public.t set v = 0 where id = 7").await.unwrap();
    let answers = join_all((1..=50).map(|id| read(&lanes, id))).await;
    for (id, answer) in (1..=50).zip(answers) {
        if id == 7 {
            assert_eq!(answer.unwrap_err().sqlstate(), Some("22012"));
        } else {
            assert_eq!(answer.unwrap()[0].integer(0), Some(10 + id));
        }
    }
    let later = join_all((8..=50).map(|id| read(&lanes, id))).await;
    assert!(later.into_iter().all(|rows| rows.unwrap()[0].text(1) == Some("alone")), "for a while");
}

#[tokio::test]
async fn records_that_are_written_together_are_written_once_and_the_bad_one_not() {
    let (database, lanes) = stage().await;
    // Ids 1 to 300 are taken.
    let answers = join_all((400..=450).map(|id| write(&lanes, id, Some(id)))).await;
    assert!(answers.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(answers.iter().filter(|(together, _)| *together).count(), 50);
    let ids = [500, 501, 7, 502, 501, 503];
    let answers = join_all(ids.map(|id| write(&lanes, id, Some(id)))).await;
    let states: Vec<Option<&str>> =
        answers.iter().map(|(_, outcome)| outcome.as_ref().err().and_then(DbError::sqlstate)).collect();
    let taken = Some("23505");
    assert_eq!(states, [None, None, taken, None, taken, None]);
    let owner = database.connect_owner().await;
    let count = owner.query_one("select count(*) from public.t where id >= 400", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 51 + 4);
}

#[tokio::test]
async fn requests_that_go_away_leave_the_others_their_answers() {
    let (_database, lanes) = stage().await;
    read(&lanes, 1).await.unwrap();
    for _ in 0..20 {
        let mut all: Vec<_> = (1..=40).map(|id| Box::pin(read(&lanes, id))).collect();
        // Every one is asked for, and every second one, the first among them, goes away.
        for one in &mut all {
            assert!(
                std::future::poll_fn(|context| std::task::Poll::Ready(one.as_mut().poll(context)))
                    .await
                    .is_pending()
            );
        }
        let kept: Vec<_> = all.into_iter().enumerate().filter(|(at, _)| at % 2 == 1).collect();
        for (at, one) in kept {
            assert_eq!(one.await.unwrap()[0].integer(0), Some(11 + at as i64));
        }
    }
}

#[tokio::test]
async fn a_shared_write_whose_connection_is_lost_is_not_tried_again() {
    let (database, lanes) = stage().await;
    let owner = database.connect_owner().await;
    write(&lanes, 1000, Some(1)).await.1.unwrap();
    // Two of the records wait for these: the first one, which leaves alone, and one of the others behind it.
    owner.batch_execute("begin; insert into public.t values (2000, 0), (2005, 0)").await.unwrap();
    let writing = tokio::spawn({
        let lanes = Arc::clone(&lanes);
        async move { join_all((2000..2010).map(|id| write(&lanes, id, Some(1)))).await }
    });
    let admin = database.connect_admin().await;
    let blocked = "with blocked as materialized (
            select pid from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into public.t%'
        )
        select pid from blocked where pg_terminate_backend(pid)";
    let mut killed = std::collections::HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    // The first statement is cut off, and then the shared one.
    while killed.len() < 2 {
        let cut = admin.query(blocked, &[]).await.unwrap();
        killed.extend(cut.iter().map(|row| row.get::<_, i32>(0)));
        assert!(Instant::now() < deadline, "{killed:?} waited");
        tokio::task::yield_now().await;
    }
    owner.batch_execute("rollback").await.unwrap();
    let answers = writing.await.unwrap();
    assert_eq!(answers.iter().filter(|(together, _)| *together).count(), 9);
    for (_, outcome) in answers {
        assert!(outcome.unwrap_err().outcome_unknown);
    }
    let count = owner.query_one("select count(*) from public.t where id >= 2000", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
}
