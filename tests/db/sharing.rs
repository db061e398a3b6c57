//! Requests of one shape that share a statement, against a real database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use basewright::db::{DbError, Lanes, LanesOptions, Row, Turn};
use basewright::model::{Kind, Scalar};
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
    let shared = || {
        let mut sql = Sql::shared();
        sql.raw("select b.n, r.* from ").each_request().raw(" cross join lateral (");
        quotient(&mut sql, id, "'together'");
        sql.raw(") as r");
        sql
    };
    ask(lanes, alone, shared).await
}

/// Runs a read, together with others of its shape if there are some.
async fn ask(lanes: &Lanes, alone: Sql, shared: impl FnOnce() -> Sql) -> Result<Vec<Row>, DbError> {
    let alone = Arc::new(alone);
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
    // Of two that want one key, whichever comes first has it.
    let one_of_two = [[None, None, taken, None, taken, None], [None, taken, taken, None, None, None]];
    assert!(one_of_two.contains(&states.as_slice().try_into().unwrap()), "{states:?}");
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

#[tokio::test]
async fn a_large_record_leaves_by_itself_and_the_small_ones_together() {
    let (database, lanes) = stage().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("create table public.large (id bigint primary key, v text)").await.unwrap();
    let put = async |id: i64| {
        let text = "\"".repeat(if id % 4 == 0 { 20_000 } else { 20 });
        let mut shared = Sql::shared();
        shared.raw("with b as materialized (select b.* from ").each_request();
        shared.raw("), w as (insert into public.large(id, v) select ");
        shared.bind(Kind::BIGINT, Some(id.to_string())).raw(", ").bind_text(text.clone());
        shared.raw(" from b returning id) select b.n, w.id from b join w on w.id = b.p1");
        match lanes.write_together(shared).await {
            Turn::Answered(answer) => (true, answer.map(drop)),
            Turn::Alone(_lead) => {
                let mut sql = Sql::new();
                sql.raw("insert into public.large values (").bind(Kind::BIGINT, Some(id.to_string()));
                sql.raw(", ").bind_text(text).raw(")");
                (false, lanes.write(&sql).await.map(drop))
            }
        }
    };
    let answers = join_all((1..=100).map(put)).await;
    assert!(answers.iter().all(|(_, outcome)| outcome.is_ok()));
    let together = |large| {
        let these = answers.iter().zip(1_i64..).filter(move |(_, id)| (id % 4 == 0) == large);
        these.filter(|((together, _), _)| *together).count()
    };
    assert_eq!((together(true), together(false)), (0, 74), "of the small ones the first is alone");
    let count = owner.query_one("select count(*) from public.large", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 100);
}

#[tokio::test]
async fn an_operand_that_is_none_of_its_kind_fails_for_itself_and_ends_no_sharing() {
    let (_database, lanes) = stage().await;
    let look = async |id: String| {
        let mut alone = Sql::new();
        alone.raw("select t.id, 'alone' from public.t where t.id = ").bind(Kind::BIGINT, Some(id.clone()));
        let shared = || {
            let mut sql = Sql::shared();
            sql.raw("select b.n, r.* from ").each_request();
            sql.raw(" cross join lateral (select t.id, 'together' from public.t where t.id = ");
            sql.bind(Kind::BIGINT, Some(id.clone())).raw(") as r");
            sql
        };
        ask(&lanes, alone, shared).await
    };
    for _ in 0..3 {
        let bad = ["nonsense", "99999999999999999999", "", "1\0", "{1,2}"];
        let ids = (1..=40).map(|id| bad.get(id % 8).map_or(id.to_string(), |bad| (*bad).to_owned()));
        let mut together = 0;
        for (answer, id) in join_all(ids.clone().map(look)).await.into_iter().zip(ids) {
            match answer {
                Ok(rows) => {
                    assert_eq!(rows[0].integer(0).unwrap().to_string(), id);
                    together += usize::from(rows[0].text(1) == Some("together"));
                }
                Err(error) => assert!(error.sqlstate().unwrap().starts_with("22"), "{id:?}: {error}"),
            }
        }
        assert_eq!(together, 14, "all that are numbers but the first");
    }
}

#[tokio::test]
async fn one_text_with_values_of_other_types_is_another_shape() {
    let (_database, lanes) = stage().await;
    let echo = async |kind: Kind, value: &str| {
        let value = Some(value.to_owned());
        let mut alone = Sql::new();
        alone.raw("select ").bind(kind, value.clone()).raw(" as v");
        let shared = || {
            let mut sql = Sql::shared();
            sql.raw("select b.n, r.*, true from ").each_request().raw(" cross join lateral (select ");
            sql.bind(kind, value).raw(" as v) as r");
            sql
        };
        ask(&lanes, alone, shared).await.unwrap()
    };
    for _ in 0..2 {
        for (kind, oid) in [(Kind::BIGINT, 20), (Kind::TEXT, 25), (Kind::one(Scalar::Json), 3802)] {
            let answers = join_all((1..=30).map(|_| echo(kind, "7"))).await;
            assert!(answers.iter().all(|rows| rows.len() == 1 && rows[0].oid(0) == oid));
            assert_eq!(answers.iter().filter(|rows| rows[0].len() == 2).count(), 29);
        }
    }
}

#[tokio::test]
async fn tables_that_change_under_shared_statements_cost_no_request_and_write_nothing_twice() {
    let (database, lanes) = stage().await;
    let owner = database.connect_owner().await;
    // No key: what is written twice would stand there twice.
    owner.batch_execute("alter table public.t drop constraint t_pkey").await.unwrap();
    let mut next = 1000;
    for kind in ["int", "bigint", "int", "text"] {
        let writes = next..next + 60;
        next = writes.end;
        let (reads, written) = futures_util::future::join(
            join_all((1..=60).map(|id| read(&lanes, id))),
            join_all(writes.clone().map(|id| write(&lanes, id, Some(1)))),
        )
        .await;
        assert!(reads.iter().all(|rows| rows.as_ref().unwrap().len() == 1));
        let shared = |rows: &Result<Vec<Row>, DbError>| rows.as_ref().unwrap()[0].text(1) == Some("together");
        assert!(reads.iter().filter(|rows| shared(rows)).count() > 50);
        assert!(written.iter().all(|(_, outcome)| outcome.is_ok()));
        assert!(written.iter().filter(|(together, _)| *together).count() > 50);
        let change = match kind {
            "int" => "alter table public.t alter column v type numeric, alter column id type int",
            "bigint" => "alter table public.t alter column v type int, alter column id type bigint",
            _ => "alter table public.t add column w text default 'w', alter column v type bigint",
        };
        owner.batch_execute(change).await.unwrap();
    }
    let found = owner
        .query_one("select count(*), count(distinct id) from public.t where id >= 1000", &[])
        .await
        .unwrap();
    assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1)), (240, 240));
}

#[tokio::test]
async fn writers_that_go_away_leave_nothing_undone_for_the_others_and_nothing_twice() {
    let (database, lanes) = stage().await;
    let owner = database.connect_owner().await;
    owner.batch_execute("alter table public.t drop constraint t_pkey").await.unwrap();
    let mut told = Vec::new();
    for round in 0..30_i64 {
        let mut all: Vec<_> = (0..40)
            .map(|at| (1000 + 100 * round + at, Box::pin(write(&lanes, 1000 + 100 * round + at, Some(1)))))
            .collect();
        for (_, one) in &mut all {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(one.as_mut().poll(context)));
            assert!(polled.await.is_pending());
        }
        // Some go before anything was answered, some while the shared statement is under way.
        let mut kept = Vec::new();
        for (at, one) in (0..).zip(all) {
            match (at + round) % 3 {
                0 => drop(one),
                _ => kept.push(one),
            }
        }
        let (_, first) = kept.remove(0);
        first.await.1.unwrap();
        tokio::task::yield_now().await;
        kept.truncate(20);
        for (id, one) in kept {
            one.await.1.unwrap();
            told.push(id);
        }
    }
    let rows =
        owner.query("select id, count(*) from public.t where id >= 1000 group by id", &[]).await.unwrap();
    let found: std::collections::HashMap<i64, i64> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(found.values().all(|count| *count == 1));
    assert!(told.iter().all(|id| found.contains_key(id)));
}

#[tokio::test]
async fn many_who_come_and_go_over_locks_and_refusals_all_get_an_answer_of_their_own() {
    let (database, lanes) = stage().await;
    let owner = database.connect_owner().await;
    let (held, admin) = (database.connect_owner().await, database.connect_admin().await);
    let (mut next, mut missing) = (1000, 0);
    for round in 0..4_i64 {
        // One id of each round is taken by somebody who has not decided yet, one is taken for good.
        held.batch_execute(&format!("begin; insert into public.t values ({}, 0)", next + 30)).await.unwrap();
        let ids: Vec<i64> =
            (next..next + 400).map(|id| if id % 100 == 77 && round > 1 { 7 } else { id }).collect();
        next += 400;
        let writing = tokio::spawn({
            let (lanes, ids) = (Arc::clone(&lanes), ids.clone());
            async move { join_all(ids.iter().map(|id| write(&lanes, *id, Some(1)))).await }
        });
        let waits = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into public.t%'";
        let deadline = Instant::now() + Duration::from_secs(10);
        while admin.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "nobody waits");
            tokio::task::yield_now().await;
        }
        held.batch_execute(if round % 2 == 0 { "rollback" } else { "commit" }).await.unwrap();
        let deadline = Duration::from_secs(20);
        let answers = tokio::time::timeout(deadline, writing).await.unwrap().unwrap();
        for ((_, outcome), id) in answers.iter().zip(&ids) {
            let taken = *id == 7 || (round % 2 == 1 && *id == next - 400 + 30);
            let state = outcome.as_ref().err().and_then(DbError::sqlstate);
            missing += i64::from(state.is_some());
            // The one that waits may have had enough of it.
            let had_enough = *id == next - 400 + 30 && state == Some("55P03");
            assert!(had_enough || state == taken.then_some("23505"), "{id}: {state:?}");
        }
    }
    let count = owner.query_one("select count(*) from public.t where id >= 1000", &[]).await.unwrap();
    // What the one who had not decided wrote himself stands there in every second round.
    assert_eq!(count.get::<_, i64>(0), 1600 - missing + 2);
}
