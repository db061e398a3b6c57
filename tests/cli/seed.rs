//! `seed.sql`: the rows that a new database begins with.

use crate::support::database;
use crate::support::server::{Folder, NOTES, Start};

fn start<'a>(
    command: &'a str,
    folder: &'a Folder,
    data: &'a std::path::Path,
    urls: &'a basewright::db::Urls,
) -> Start<'a> {
    Start { command, project: &folder.0, data, database: Some(urls), args: &[], env: &[] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_gets_its_rows_once() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    folder.write(
        "seed.sql",
        "create function pg_temp.twice(a text) returns text language sql as $$ select a || a; $$;\n\
         insert into notes (title) select pg_temp.twice('a' || n) from generate_series(1, 3) n;\n\
         select count(*) from notes;\n\
         insert into auth.users (email) values ('ada@example.test');",
    );
    let data = folder.join("data");
    let owner = database.connect_owner().await;
    let titles = async || -> String {
        owner.query_one("select string_agg(title, ',' order by title) from notes", &[]).await.unwrap().get(0)
    };
    let server = start("dev", &folder, &data, &database.urls).run();
    assert!(server.log().contains("the new tables got the rows of seed.sql"), "{}", server.log());
    assert_eq!(titles().await, "a1a1,a2a2,a3a3");
    drop(server);
    // Never again: neither at the next start nor with the next table.
    folder.write("collections/more.yaml", "collections:\n  more:\n    fields:\n      title: text\n");
    let server = start("dev", &folder, &data, &database.urls).run();
    assert!(server.log().contains("more"), "{}", server.log());
    assert!(!server.log().contains("seed.sql"), "{}", server.log());
    assert_eq!(titles().await, "a1a1,a2a2,a3a3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_the_rows_is_shown_with_its_line_and_leaves_nothing() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let owner = database.connect_owner().await;
    for (sql, expected) in [
        // A fault of the text: Postgres says where.
        (
            "insert into notes (title) values ('a');\n\ninsert into notes\n  (titel) values ('b');",
            "seed.sql:4: column \"titel\" ",
        ),
        ("insert into notes (title) values ('é');\nselekt 1;", "seed.sql:2: syntax error"),
        // A fault of the rows: the statement is told by counting.
        (
            "-- one; two\ninsert into notes (title) values ('a;b');\n/* ; */ do $$ begin perform 1; end $$;\n\ninsert into notes (title)\nvalues (null);",
            "seed.sql:5: null value in column \"title\"",
        ),
        ("insert into absent values (1)", "seed.sql:1: relation \"absent\" does not exist"),
    ] {
        folder.write("seed.sql", sql);
        let log = start("dev", &folder, &data, &database.urls).try_run().err().expect(sql);
        assert!(log.contains(expected), "{sql}\n{log}");
        let there: bool =
            owner.query_one("select to_regclass('public.notes') is not null", &[]).await.unwrap().get(0);
        assert!(!there, "{sql}: the table stayed");
    }
    // With the fault gone the same database starts.
    folder.write("seed.sql", "insert into notes (title) values ('a')");
    start("dev", &folder, &data, &database.urls).run();
    let count: i64 = owner.query_one("select count(*) from notes", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_end_the_transaction_are_refused() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    folder.write(
        "seed.sql",
        "insert into notes (title) values ('a'); commit; insert into notes (title) values ('b');",
    );
    let log =
        start("dev", &folder, &folder.join("data"), &database.urls).try_run().err().expect("it started");
    assert!(log.contains("seed.sql: it ends the transaction that it runs in"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_never_runs_it() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    folder.write("seed.sql", "insert into notes (title) values ('a')");
    let data = folder.join("data");
    let migrating = Start { args: &["--migrate"], ..start("serve", &folder, &data, &database.urls) };
    let server = migrating.run();
    assert!(!server.log().contains("seed.sql"), "{}", server.log());
    let owner = database.connect_owner().await;
    let count: i64 = owner.query_one("select count(*) from notes", &[]).await.unwrap().get(0);
    assert_eq!(count, 0);
}
