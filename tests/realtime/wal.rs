//! The transport: what is committed comes out of the slot, whole, in order and once; the slot moves when it is told to;
//! and nothing that surrounds it loses changes in silence.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use basewright::db::{Embedded, Pool, Session, Target};
use basewright::realtime::change::{Change, Row, What};
use basewright::realtime::cursor::System;
use basewright::realtime::nodes;
use basewright::realtime::publication::{Altered, Published};
use basewright::realtime::transaction::Transaction;
use basewright::realtime::wal::{self, Event, Node, Opened, Wal, WalFault, Why};
use basewright::sql::Sql;
use tokio_postgres::Client;

use crate::support::server::eventually;
use crate::support::{Database, admin, database, folder};

const WITHIN: Duration = Duration::from_secs(30);

fn node(name: &str) -> Node {
    Node::parse(name).unwrap()
}

/// A database with a published table.
async fn published() -> (Database, Client) {
    let database = database().await;
    let owner = database.connect_owner().await;
    owner.batch_execute(TABLE).await.unwrap();
    (database, owner)
}

const TABLE: &str = "create table public.t (id int primary key, name text); \
                     alter table public.t replica identity full; \
                     create publication basewright for table public.t";

async fn open(database: &Database) -> Opened {
    wal::open(&database.replication(), &node("main")).await.unwrap()
}

async fn next(wal: &mut Wal) -> Event {
    tokio::time::timeout(WITHIN, wal.next()).await.expect("an event in time").unwrap()
}

async fn transaction(wal: &mut Wal) -> Arc<Transaction> {
    loop {
        if let Event::Transaction(transaction) = next(wal).await {
            return transaction;
        }
    }
}

/// Asks until the stream has passed a place.
async fn passed(wal: &mut Wal, lsn: u64) -> Vec<Arc<Transaction>> {
    let mut transactions = Vec::new();
    let deadline = Instant::now() + WITHIN;
    loop {
        wal.ask().await.unwrap();
        match next(wal).await {
            Event::Transaction(transaction) => transactions.push(transaction),
            Event::Position(position) if position >= lsn => return transactions,
            Event::Position(_) => {}
        }
        assert!(Instant::now() < deadline, "the stream does not get there");
    }
}

fn changes(transaction: &Arc<Transaction>) -> Vec<Change> {
    transaction.changes.iter().map(Result::unwrap).collect()
}

fn row(id: i32, name: Option<&str>) -> Row {
    let id = id.to_be_bytes().to_vec().into();
    Row(Box::new([Some(id), name.map(|name| name.to_owned().into())]))
}

/// Where the WAL is, once it is written out that far.
async fn flushed(owner: &Client) -> u64 {
    // A commit with a number of its own is waited for.
    let text = "select (pg_logical_emit_message(true, 'test', '') - '0/0')::int8";
    let lsn: i64 = owner.query_one(text, &[]).await.unwrap().get(0);
    u64::try_from(lsn).unwrap()
}

/// A column of our slot, as text.
async fn slot(admin: &Client, slot: &str, column: &str) -> Option<String> {
    let text = format!("select {column}::text from pg_replication_slots where slot_name = '{slot}'");
    admin.query_opt(&text, &[]).await.unwrap().and_then(|row| row.get(0))
}

fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

#[tokio::test]
async fn transactions_come_whole_in_commit_order_with_their_rows_before_and_after() {
    let (database, owner) = published().await;
    let mut opened = open(&database).await;
    assert_eq!(opened.created, Some(Why::Missing));
    assert!(opened.system.id > 0 && opened.system.timeline > 0);
    let wal = &mut opened.wal;

    owner
        .batch_execute(
            "begin; insert into t values (1, 'a'), (2, null); update t set name = 'b' where id = 1; commit",
        )
        .await
        .unwrap();
    owner.batch_execute("delete from t where id = 2").await.unwrap();
    owner.batch_execute("truncate t").await.unwrap();

    let first = transaction(wal).await;
    let whats: Vec<What> = changes(&first).into_iter().map(|change| change.what).collect();
    let (a, b) = (row(1, Some("a")), row(1, Some("b")));
    assert_eq!(
        whats,
        [
            What::Insert { new: a.clone() },
            What::Insert { new: row(2, None) },
            What::Update { old: Some(a), new: b },
        ]
    );
    let relation = &first.changes.relations()[0];
    let names: Vec<_> = relation.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!((relation.schema.as_str(), relation.table.as_str()), ("public", "t"));
    assert_eq!(names, [("id", 23), ("name", 25)]);

    let second = transaction(wal).await;
    assert_eq!(changes(&second)[0].what, What::Delete { old: Some(row(2, None)) });
    let third = transaction(wal).await;
    assert_eq!(changes(&third)[0].what, What::Truncate);
    assert!(first.lsn < second.lsn && second.lsn < third.lsn);
    assert!(first.committed <= second.committed && second.committed <= third.committed);
    let age: f64 = owner
        .query_one(
            "select extract(epoch from now())::float8 - extract(epoch from timestamptz '2000-01-01Z')::float8 - $1",
            &[&(third.committed as f64 / 1e6)],
        )
        .await
        .unwrap()
        .get(0);
    assert!((-5.0..60.0).contains(&age), "{age}");
}

#[tokio::test]
async fn a_large_value_that_did_not_change_is_in_the_new_row() {
    let (database, owner) = published().await;
    owner.batch_execute("alter table t alter name set storage external").await.unwrap();
    let mut opened = open(&database).await;
    owner.batch_execute("insert into t values (1, repeat('x', 100000)); update t set id = 2").await.unwrap();
    let all = changes(&transaction(&mut opened.wal).await);
    let large = "x".repeat(100_000);
    let (old, new) = (row(1, Some(&large)), row(2, Some(&large)));
    assert_eq!(all[1].what, What::Update { old: Some(old), new });

    // Without full identity it is not there, and the change says so.
    owner.batch_execute("alter table t replica identity default; update t set id = 3").await.unwrap();
    let torn = &changes(&transaction(&mut opened.wal).await)[0];
    assert!(torn.is_torn(), "{torn:?}");
}

#[tokio::test]
async fn a_table_that_is_altered_on_the_way_has_rows_of_both_forms() {
    let (database, owner) = published().await;
    let mut opened = open(&database).await;
    owner
        .batch_execute(
            "begin; insert into t values (1, 'a'); alter table t add more int default 5; \
             insert into t values (2, 'b', 6); commit",
        )
        .await
        .unwrap();
    let transaction = transaction(&mut opened.wal).await;
    let widths: Vec<usize> =
        changes(&transaction).iter().map(|change| change.relation.columns.len()).collect();
    assert_eq!(widths, [2, 3]);
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again_and_what_was_does_not() {
    let (database, owner) = published().await;
    let admin = database.connect_admin().await;
    let mut opened = open(&database).await;
    let name = opened.slot.clone();
    owner.batch_execute("insert into t values (1, 'a')").await.unwrap();
    owner.batch_execute("insert into t values (2, 'b')").await.unwrap();
    let first = transaction(&mut opened.wal).await;
    let second = transaction(&mut opened.wal).await;

    // Ordinary statuses leave the slot where it is, whatever was received.
    let stood = slot(&admin, &name, "confirmed_flush_lsn").await.unwrap();
    passed(&mut opened.wal, second.lsn).await;
    assert_eq!(slot(&admin, &name, "confirmed_flush_lsn").await.unwrap(), stood);
    assert_eq!(lsn(&stood), opened.begins);

    opened.wal.confirm(first.lsn).await.unwrap();
    eventually("the slot moves", WITHIN, || async {
        (lsn(&slot(&admin, &name, "confirmed_flush_lsn").await.unwrap()) == first.lsn).then_some(())
    })
    .await;
    drop(opened);
    eventually("the walsender is gone", WITHIN, || async {
        (slot(&admin, &name, "active").await.as_deref() == Some("false")).then_some(())
    })
    .await;

    let mut again = open(&database).await;
    assert_eq!((again.created, again.begins), (None, first.lsn));
    assert!(again.head >= second.lsn);
    let repeated = transaction(&mut again.wal).await;
    assert_eq!((repeated.lsn, repeated.xid), (second.lsn, second.xid));

    // Never beyond what came, and never back.
    again.wal.confirm(u64::MAX).await.unwrap();
    again.wal.confirm(first.lsn).await.unwrap();
    owner.batch_execute("insert into t values (3, 'c')").await.unwrap();
    assert_eq!(changes(&transaction(&mut again.wal).await)[0].what, What::Insert { new: row(3, Some("c")) });
    let stands = lsn(&slot(&admin, &name, "confirmed_flush_lsn").await.unwrap());
    assert!(stands >= second.lsn && stands < u64::MAX);
}

#[tokio::test]
async fn a_barrier_and_a_question_are_answered_with_a_position_where_nothing_is_published() {
    let (database, owner) = published().await;
    owner.batch_execute("create table public.quiet (id int)").await.unwrap();
    let mut opened = open(&database).await;
    owner.batch_execute("insert into quiet select generate_series(1, 100)").await.unwrap();
    let target = flushed(&owner).await;
    let transactions = passed(&mut opened.wal, target).await;
    assert!(transactions.is_empty(), "{transactions:?}");
    // The slot follows unrelated WAL when it is told to.
    opened.wal.confirm(target).await.unwrap();
    let admin = database.connect_admin().await;
    eventually("the slot moves", WITHIN, || async {
        (lsn(&slot(&admin, &opened.slot, "confirmed_flush_lsn").await.unwrap()) == target).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_where_the_wait_for_the_next_event_is_given_up_again_and_again() {
    let (database, owner) = published().await;
    let mut opened = open(&database).await;
    let writing = tokio::spawn(async move {
        for id in 0..200 {
            let insert = format!("insert into t values ({id}, repeat('x', {}))", id * 50);
            owner.batch_execute(&insert).await.unwrap();
        }
    });
    let mut ids = Vec::new();
    let deadline = Instant::now() + WITHIN;
    while ids.len() < 200 {
        assert!(Instant::now() < deadline, "{} of 200", ids.len());
        // Polled once, and dropped.
        let event = {
            let mut waiting = pin!(opened.wal.next());
            std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await
        };
        match event {
            Poll::Ready(Ok(Event::Transaction(transaction))) => {
                let [Change { what: What::Insert { new }, .. }] = &changes(&transaction)[..] else {
                    panic!("{transaction:?}")
                };
                let id = i32::from_be_bytes(new.0[0].as_ref().unwrap()[..].try_into().unwrap());
                assert_eq!(new.0[1].as_ref().unwrap().len(), id as usize * 50);
                ids.push(id);
            }
            Poll::Ready(Ok(Event::Position(_))) => {}
            Poll::Ready(Err(e)) => panic!("{e}"),
            Poll::Pending => {
                if ids.len() % 50 == 0 {
                    opened.wal.ask().await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    writing.await.unwrap();
}

#[tokio::test]
async fn a_large_transaction_is_kept_in_a_file() {
    let (database, owner) = published().await;
    let mut opened = open(&database).await;
    owner
        .batch_execute("insert into t select n, repeat('x', 1000) from generate_series(1, 20000) n")
        .await
        .unwrap();
    let large = transaction(&mut opened.wal).await;
    assert_eq!((large.changes.len(), large.changes.bytes_in_memory()), (20_000, 0));
    assert!(large.changes.bytes_on_disk() > 20_000_000);
    let name = "x".repeat(1000);
    for (n, change) in large.changes.iter().enumerate() {
        assert_eq!(change.unwrap().what, What::Insert { new: row(n as i32 + 1, Some(&name)) });
    }
}

#[tokio::test]
async fn a_second_holder_of_a_name_is_told_who_has_it_and_another_name_is_free() {
    let (database, owner) = published().await;
    let mut opened = open(&database).await;
    let refused = wal::open(&database.replication(), &node("main")).await.unwrap_err();
    let WalFault::Held { node: name, holder } = &refused else { panic!("{refused}") };
    assert_eq!((name.as_str(), holder.application_name.as_deref()), ("main", Some("basewright-feed")));
    assert!(holder.pid.is_some() && holder.since.is_some());
    assert!(refused.to_string().contains("BASEWRIGHT_NODE"), "{refused}");

    let mut other = wal::open(&database.replication(), &node("other")).await.unwrap();
    owner.batch_execute("insert into t values (1, 'a')").await.unwrap();
    let (one, two) = (transaction(&mut opened.wal).await, transaction(&mut other.wal).await);
    assert_eq!((one.lsn, changes(&one)), (two.lsn, changes(&two)));
}

#[tokio::test]
async fn a_role_that_may_not_replicate_is_told_what_to_do() {
    let (database, _owner) = published().await;
    let refused = wal::open(&database.target(), &node("main")).await.unwrap_err();
    let WalFault::NotAllowed { role, .. } = &refused else { panic!("{refused}") };
    assert_eq!(role, "basewright_runtime");
    assert!(refused.to_string().contains("BASEWRIGHT_REPLICATION_URL"), "{refused}");
}

#[tokio::test]
async fn a_database_without_the_publication_gets_no_slot() {
    let database = database().await;
    let refused = wal::open(&database.replication(), &node("main")).await.unwrap_err();
    assert_eq!(refused, WalFault::NoPublication);
    let admin = database.connect_admin().await;
    let slots = admin
        .query_one("select count(*) from pg_replication_slots where database = $1", &[&database.name])
        .await
        .unwrap();
    assert_eq!(slots.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn wal_from_a_time_without_the_publication_is_discarded_with_its_slot() {
    let (database, owner) = published().await;
    let version = owner.query_one("select current_setting('server_version_num')::int", &[]).await.unwrap();
    if version.get::<_, i32>(0) >= 180_000 {
        return skipped(&database, &owner).await;
    }
    drop(open(&database).await);
    owner
        .batch_execute("drop publication basewright; insert into t values (1, 'a'); create publication basewright for table t")
        .await
        .unwrap();
    let opening = || async { wal::open(&database.replication(), &node("main")).await.ok() };
    let mut opened = eventually("the slot is free", WITHIN, opening).await;
    let ended = loop {
        match tokio::time::timeout(WITHIN, opened.wal.next()).await.unwrap() {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!(ended, WalFault::Unreadable);
    drop(opened);
    let discarding = || async { wal::discard(&database.replication(), &node("main")).await.ok() };
    eventually("the slot is discarded", WITHIN, discarding).await;
    let mut anew = open(&database).await;
    assert_eq!(anew.created, Some(Why::Missing));
    owner.batch_execute("insert into t values (2, 'b')").await.unwrap();
    assert_eq!(changes(&transaction(&mut anew.wal).await)[0].what, What::Insert { new: row(2, Some("b")) });
}

/// From 18 on, Postgres reads on behind the gap: what the publication's state is compared for.
async fn skipped(database: &Database, owner: &Client) {
    let mut opened = open(database).await;
    owner
        .batch_execute("drop publication basewright; insert into t values (1, 'a'); create publication basewright for table t")
        .await
        .unwrap();
    let target = flushed(owner).await;
    assert!(passed(&mut opened.wal, target).await.is_empty());
}

/// One cluster, since it takes a while: what a server's end and a slot's end do.
#[tokio::test]
async fn a_server_stops_at_once_while_it_streams_and_a_slot_that_was_cut_off_is_made_anew() {
    let data = folder("wal");
    let ours = Path::new(env!("CARGO_BIN_EXE_basewright"));
    let embedded = Embedded::start(&data, Some(ours)).unwrap();
    let session = Session::migrating();
    let urls = embedded.urls();
    let owner = Target::parse(&urls.migrate, &session).unwrap().connect().await.unwrap();
    owner.batch_execute(TABLE).await.unwrap();
    let replication = Target::parse(&urls.replication, &session).unwrap();

    // A reader that goes away, and more WAL than a slot may hold back.
    drop(wal::open(&replication, &node("main")).await.unwrap());
    let admin = Target::parse(&embedded.admin_url("basewright"), &session).unwrap().connect().await.unwrap();
    admin.batch_execute("alter system set max_slot_wal_keep_size = '1MB'").await.unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
    let lost = || async {
        admin
            .batch_execute("insert into t values (0, 'x') on conflict (id) do update set name = 'y'")
            .await
            .unwrap();
        admin.batch_execute("select pg_switch_wal()").await.unwrap();
        admin.batch_execute("checkpoint").await.unwrap();
        let row = admin.query_one("select wal_status = 'lost' from pg_replication_slots", &[]).await.unwrap();
        row.get::<_, bool>(0).then_some(())
    };
    eventually("the slot is cut off", WITHIN, lost).await;
    let mut opened = wal::open(&replication, &node("main")).await.unwrap();
    assert_eq!(opened.created, Some(Why::Invalidated));
    owner.batch_execute("insert into t values (1, 'a')").await.unwrap();
    let seen = transaction(&mut opened.wal).await;
    assert_eq!(changes(&seen)[0].what, What::Insert { new: row(1, Some("a")) });
    opened.wal.confirm(seen.lsn).await.unwrap();

    // Not everything is confirmed, and it stops all the same.
    owner.batch_execute("insert into t values (2, 'b')").await.unwrap();
    transaction(&mut opened.wal).await;
    let streaming = tokio::spawn(async move {
        loop {
            if let Err(fault) = opened.wal.next().await {
                return fault;
            }
        }
    });
    let began = Instant::now();
    tokio::task::spawn_blocking(move || embedded.stop()).await.unwrap();
    let took = began.elapsed();
    eprintln!("stopped while streaming: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let ended = tokio::time::timeout(WITHIN, streaming).await.unwrap().unwrap();
    assert!(matches!(ended, WalFault::Database(_)), "{ended}");
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn what_is_altered_in_the_publication_is_noticed_and_what_joins_it_is_not() {
    let (database, owner) = published().await;
    owner.batch_execute("create table public.u (id int)").await.unwrap();
    let pool = Pool::open(&database.target(), 1).unwrap();
    let mut before = Published::read(&pool).await.unwrap();
    let only = |table: &str| Altered::Tables(BTreeSet::from([("public".to_owned(), table.to_owned())]));
    for (change, altered) in [
        ("select 1", Altered::None),
        ("alter publication basewright add table u", Altered::None),
        ("alter publication basewright drop table t; alter publication basewright add table t", only("t")),
        ("alter publication basewright set table t where (id > 0), u", only("t")),
        ("alter publication basewright set table t, u", only("t")),
        ("alter publication basewright set table t (id), u", only("t")),
        ("alter publication basewright set table t, u", only("t")),
        ("alter table t replica identity default", only("t")),
        ("alter table t replica identity full", only("t")),
        ("drop table u", only("u")),
        ("create table u (id int)", Altered::None),
        ("alter publication basewright add table u", Altered::None),
        ("alter publication basewright set (publish = 'insert')", Altered::All),
        ("alter publication basewright set (publish = 'insert, update, delete, truncate')", Altered::All),
        ("drop publication basewright; create publication basewright for table t, u", Altered::All),
        ("drop publication basewright", Altered::All),
    ] {
        owner.batch_execute(change).await.unwrap();
        let after = Published::read(&pool).await.unwrap();
        // A node's next start compares with what it kept.
        let kept: Published = before.to_string().parse().unwrap();
        assert_eq!(after.altered_since(&kept), altered, "{change}");
        before = after;
    }
}

#[tokio::test]
async fn a_node_keeps_what_it_saw_and_the_slot_of_one_that_is_gone_is_dropped() {
    let (database, _owner) = published().await;
    let pool = Pool::open(&database.target(), 1).unwrap();
    let (main, gone) = (node("main"), node("gone"));
    assert_eq!(nodes::published(&pool, &main).await.unwrap(), None);
    let published = Published::read(&pool).await.unwrap();
    nodes::seen(&pool, &main, System::default(), &published).await.unwrap();
    nodes::alive(&pool, &main).await.unwrap();
    assert_eq!(nodes::published(&pool, &main).await.unwrap(), Some(published));

    let replication = database.replication();
    let _ours = open(&database).await;
    let other = wal::open(&replication, &gone).await.unwrap();
    let theirs = other.slot.clone();
    let admin = admin().connect(&database.name).await;
    let hour = Duration::from_secs(3600);
    let sweep = || async { nodes::sweep(&pool, &replication, &main, hour).await.unwrap() };
    let ago = "update basewright.nodes set seen_at = now() - interval '2 hours'";

    // Whoever streams keeps its slot, whatever the clock says; so do we.
    nodes::alive(&pool, &gone).await.unwrap();
    admin.batch_execute(ago).await.unwrap();
    assert_eq!(sweep().await, []);
    assert_eq!(slot(&admin, &theirs, "active").await.as_deref(), Some("true"));

    drop(other);
    eventually("the walsender is gone", WITHIN, || async {
        (slot(&admin, &theirs, "active").await.as_deref() == Some("false")).then_some(())
    })
    .await;
    // One that nobody knows is given the time that everybody has.
    admin.batch_execute("delete from basewright.nodes where name = 'gone'").await.unwrap();
    assert_eq!(sweep().await, []);
    assert!(slot(&admin, &theirs, "active").await.is_some());
    nodes::alive(&pool, &gone).await.unwrap();
    assert_eq!(sweep().await, []);
    admin.batch_execute(ago).await.unwrap();
    assert_eq!(sweep().await, [gone]);
    assert_eq!(slot(&admin, &theirs, "active").await, None);
    let known = pool.read(Sql::new().raw("select name from basewright.nodes")).await.unwrap();
    assert_eq!(known.iter().filter_map(|row| row.text(0)).collect::<Vec<_>>(), ["main"]);
}
