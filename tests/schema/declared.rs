//! From YAML to tables: what only a whole project has, declared checks among it.

use std::collections::BTreeMap;

use basewright::project::{Project, Sources, load};
use basewright::schema::{Plan, apply, desired, plan};
use tokio_postgres::Client;

use super::{column, run, steps, violates};
use crate::support::database;

fn read(yaml: &str) -> Project {
    let files = BTreeMap::from([("basewright.yaml".to_owned(), yaml.to_owned())]);
    load(&Sources(files)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

async fn reach(client: &mut Client, yaml: &str) -> Plan {
    let project = read(yaml);
    let wanted = desired(&project.collections, &project.checks);
    let first = plan(client, &wanted).await.unwrap();
    apply(client, &first).await.unwrap_or_else(|e| panic!("{e}\n{}", first.render()));
    let left = plan(client, &wanted).await.unwrap();
    assert!(left.is_empty(), "{}", left.render());
    first
}

const POSTS: &str = r#"
collections:
  people:
    fields:
      id:   { type: uuid, references: auth.users, on_delete: cascade }
      name: { type: text, required: true, unique: true, min: 3, max: 20, match: '^[a-z0-9_]+$' }
  posts:
    fields:
      title:  { type: text, required: true, max: 200 }
      body:   text
      status: { type: enum, values: [draft, review, published], default: draft }
      author: { type: relation, to: people, required: true, default: auth.id, on_delete: cascade }
      tags:   { type: 'text[]', default: [] }
      from:   date
      until:  date
      price:  { type: decimal, min: 0, max: 99.5 }
    unique:  [[author, title]]
    indexes: [[status, -created_at], { fields: [tags], using: gin }]
    checks:
      - "status != 'published' || body != null"
      - "from == null || until == null || from <= until"
      - "title.matches('^[A-Z]') && tags.size() < 3 && !('bad' in tags)"
"#;

#[tokio::test]
async fn declared_checks_hold_for_everybody_who_writes() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, POSTS).await;
    run(
        &client,
        "insert into auth.users (id) values ('00000000-0000-0000-0000-000000000001'); \
         insert into people (id, name) values ('00000000-0000-0000-0000-000000000001', 'ada')",
    )
    .await;
    let insert = |columns: &str, values: &str| {
        format!(
            "insert into posts (author, {columns}) values ('00000000-0000-0000-0000-000000000001', {values})"
        )
    };
    for (columns, values) in [
        ("title", "'Good'"),
        ("title, status, body", "'Out', 'published', 'text'"),
        ("title, \"from\"", "'Open', '2020-01-01'"),
        ("title, \"from\", until, price", "'Both', '2020-01-01', '2020-01-01', 99.5"),
    ] {
        run(&client, &insert(columns, values)).await;
    }
    for (columns, values, constraint) in [
        ("title, status", "'Out2', 'published'", "posts_check_1"),
        // Unknown is not true.
        ("title, status", "'Out3', null", "posts_check_1"),
        ("title, \"from\", until", "'Turned', '2020-01-02', '2020-01-01'", "posts_check_2"),
        ("title", "'bad'", "posts_check_3"),
        ("title, tags", "'Many', '{a,b,c}'", "posts_check_3"),
        ("title, tags", "'Bad', '{bad}'", "posts_check_3"),
        ("title, price", "'Dear', 99.51", "posts_price_max_check"),
        ("title", "'Good'", "posts_author_title_key"),
    ] {
        assert_eq!(violates(&client, &insert(columns, values)).await, constraint, "{values}");
    }
    assert_eq!(
        violates(&client, "insert into people (id, name) select id, 'Ada' from auth.users").await,
        "people_name_match_check"
    );
    run(&client, "delete from auth.users").await;
    assert_eq!(column(&client, "select count(*) from posts").await, ["0"]);
}

#[tokio::test]
async fn a_check_that_leaves_the_middle_renames_those_after_it() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, POSTS).await;
    let without = POSTS.replace("      - \"from == null || until == null || from <= until\"\n", "");
    assert_ne!(without, POSTS);
    let plan = reach(&mut client, &without).await;
    assert_eq!(
        steps(&plan),
        ["posts: drop check posts_check_2", "posts: rename constraint posts_check_3 -> posts_check_2"]
    );
    let plan = reach(&mut client, POSTS).await;
    assert_eq!(
        steps(&plan),
        ["posts: rename constraint posts_check_2 -> posts_check_3", "posts: add check posts_check_2"]
    );
}

#[tokio::test]
async fn the_runtime_role_writes_into_the_tables_that_were_made() {
    let database = database().await;
    reach(&mut database.connect_owner().await, POSTS).await;
    let client = database.connect().await;
    run(
        &client,
        "insert into auth.users (id) values ('00000000-0000-0000-0000-000000000001'); \
         insert into people (id, name) values ('00000000-0000-0000-0000-000000000001', 'ada'); \
         insert into posts (title, author) select 'Good', id from people; \
         update posts set title = 'Better'",
    )
    .await;
    assert_eq!(column(&client, "select title from posts").await, ["Better"]);
}

#[tokio::test]
async fn introspection_and_difference_of_twenty_tables_are_quick() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let mut yaml = String::from("collections:\n");
    for at in 0..10 {
        yaml.push_str(
            &POSTS
                .replacen("collections:\n", "", 1)
                .replace("people", &format!("people{at}"))
                .replace("  posts:", &format!("  posts{at}:")),
        );
    }
    let project = read(&yaml);
    reach(&mut client, &yaml).await;
    let wanted = desired(&project.collections, &project.checks);
    let mut best = std::time::Duration::MAX;
    for _ in 0..20 {
        let start = std::time::Instant::now();
        assert!(plan(&mut client, &wanted).await.unwrap().is_empty());
        best = best.min(start.elapsed());
    }
    println!("{} tables: {best:?}", wanted.tables.len());
    assert!(best < std::time::Duration::from_millis(200), "{best:?}");
}
