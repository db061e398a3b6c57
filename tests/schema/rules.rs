//! What each change of a project does to tables that hold records.

use basewright::model::{Collections, DefaultValue, IndexMethod, OnDelete, Value};
use basewright::schema::{Failure, apply};
use tokio_postgres::Client;

use super::build::{CollectionBuilder, collection, field, project};
use super::{assert_settled, column, destructive, planned, reach, refused, run, steps, violates};
use crate::support::{Database, database};

/// `posts` with a title and three records: a, b and null.
fn posts() -> CollectionBuilder {
    collection("posts").field(field("title", "text"))
}

async fn with_posts(first: CollectionBuilder) -> (Database, Client) {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &project([first])).await;
    run(&client, "insert into public.posts (title) values ('a'), ('b'), (null)").await;
    (database, client)
}

async fn titles(client: &Client) -> Vec<String> {
    column(client, "select title from public.posts order by title").await
}

async fn assert_safe(client: &mut Client, to: &Collections, expected: &[&str]) {
    let plan = reach(client, to).await;
    assert_eq!(steps(&plan), expected);
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert_eq!(titles(client).await, ["a", "b", "null"]);
}

#[tokio::test]
async fn a_nullable_column_and_one_with_a_default_are_added() {
    let (_database, mut client) = with_posts(posts()).await;
    let to = project([posts()
        .field(field("body", "text"))
        .field(field("stars", "integer").required().default(Value::Integer(3)))
        .field(field("token", "uuid").required().default_to(DefaultValue::UuidV7))]);
    assert_safe(
        &mut client,
        &to,
        &[
            "posts.body: add column, text",
            "posts.stars: add column, integer",
            "posts.token: add column, uuid",
        ],
    )
    .await;
    assert_eq!(column(&client, "select distinct stars from public.posts").await, ["3"]);
    assert_eq!(column(&client, "select count(distinct token) from public.posts").await, ["3"]);
}

#[tokio::test]
async fn a_required_column_without_a_default_needs_an_empty_table() {
    let (_database, mut client) = with_posts(posts()).await;
    let to = project([posts().field(field("stars", "integer").required())]);
    let plan = planned(&mut client, &to).await;
    let Failure::Refused(refusals) = refused(&mut client, &plan).await else { panic!() };
    assert_eq!(
        refusals[0].to_string(),
        "posts.stars is required and has no default, but the table holds 3 records: give the field a default, \
         or add it without `required` first"
    );
    run(&client, "delete from public.posts").await;
    let plan = reach(&mut client, &to).await;
    assert_eq!(steps(&plan), ["posts.stars: add column, integer"]);
}

#[tokio::test]
async fn constraints_and_indexes_come_and_go() {
    let (_database, mut client) = with_posts(posts()).await;
    let to = project([collection("posts")
        .field(field("title", "text").size(1, 9).pattern("^[a-z]"))
        .unique(&["title"])
        .index(&["-title"], IndexMethod::Btree)]);
    assert_safe(
        &mut client,
        &to,
        &[
            "posts: add unique constraint posts_title_key",
            "posts: add check posts_title_min_check",
            "posts: add check posts_title_max_check",
            "posts: add check posts_title_match_check",
            "posts: create index posts_title_idx",
        ],
    )
    .await;
    assert_safe(
        &mut client,
        &project([posts()]),
        &[
            "posts: drop unique constraint posts_title_key",
            "posts: drop check posts_title_match_check",
            "posts: drop check posts_title_max_check",
            "posts: drop check posts_title_min_check",
            "posts: drop index posts_title_idx",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_constraint_that_records_do_not_meet_fails_by_name_and_applies_nothing() {
    let (_database, mut client) = with_posts(posts()).await;
    run(&client, "insert into public.posts (title) values ('b')").await;
    let to = project([posts().field(field("body", "text")).unique(&["title"])]);
    let plan = planned(&mut client, &to).await;
    match refused(&mut client, &plan).await {
        Failure::Step { step, constraint, message, .. } => {
            assert_eq!(step, "posts: add unique constraint posts_title_key");
            assert_eq!(constraint.as_deref(), Some("posts_title_key"));
            assert!(message.contains("Key (title)=(b) is duplicated"), "{message}");
        }
        other => panic!("{other}"),
    }
    let to = project([collection("posts").field(field("title", "text").size(2, 9))]);
    let plan = planned(&mut client, &to).await;
    match refused(&mut client, &plan).await {
        Failure::Step { constraint, .. } => assert_eq!(constraint.as_deref(), Some("posts_title_min_check")),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn enum_values_are_added_and_only_those_that_nothing_uses_are_removed() {
    let (_database, mut client) =
        with_posts(collection("posts").field(field("title", "text").values(&["a", "b"]))).await;
    let wide = project([collection("posts").field(field("title", "text").values(&["a", "b", "c"]))]);
    assert_safe(
        &mut client,
        &wide,
        &["posts: drop check posts_title_values_check", "posts: add check posts_title_values_check"],
    )
    .await;
    let narrow = project([collection("posts").field(field("title", "text").values(&["a"]))]);
    let plan = planned(&mut client, &narrow).await;
    match refused(&mut client, &plan).await {
        Failure::Step { constraint, .. } => {
            assert_eq!(constraint.as_deref(), Some("posts_title_values_check"))
        }
        other => panic!("{other}"),
    }
    run(&client, "delete from public.posts where title = 'b'").await;
    reach(&mut client, &narrow).await;
    assert_eq!(titles(&client).await, ["a", "null"]);
}

#[tokio::test]
async fn defaults_are_set_changed_and_dropped() {
    let (_database, mut client) = with_posts(posts()).await;
    for default in ["x", "y"] {
        let to = project([collection("posts").field(field("title", "text").default(Value::text(default)))]);
        let expected = format!("posts.title: set default '{default}'::text");
        assert_safe(&mut client, &to, &[&expected]).await;
    }
    run(&client, "insert into public.posts default values").await;
    assert_eq!(titles(&client).await, ["a", "b", "y", "null"]);
    run(&client, "delete from public.posts where title = 'y'").await;
    assert_safe(&mut client, &project([posts()]), &["posts.title: drop default"]).await;
}

#[tokio::test]
async fn required_is_set_only_where_every_record_has_a_value_and_is_lifted_at_will() {
    let (_database, mut client) = with_posts(posts()).await;
    let required = project([collection("posts").field(field("title", "text").required())]);
    let plan = planned(&mut client, &required).await;
    let Failure::Refused(refusals) = refused(&mut client, &plan).await else { panic!() };
    assert_eq!(
        refusals[0].to_string(),
        "posts.title becomes required, but 1 record has no value: give every record one first"
    );
    run(&client, "update public.posts set title = 'c' where title is null").await;
    let plan = reach(&mut client, &required).await;
    assert_eq!(steps(&plan), ["posts.title: becomes required"]);
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert_eq!(violates(&client, "insert into public.posts default values").await, "title");
    let plan = reach(&mut client, &project([posts()])).await;
    assert_eq!(steps(&plan), ["posts.title: is no longer required"]);
    assert_eq!(titles(&client).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_dropped_column_says_how_many_values_go_and_an_empty_one_just_goes() {
    let (_database, mut client) =
        with_posts(posts().field(field("body", "text")).unique(&["title", "body"])).await;
    let plan = planned(&mut client, &project([collection("posts").field(field("body", "text"))])).await;
    assert_eq!(
        plan.render(),
        "- posts        drop unique constraint posts_title_body_key  safe\n\
         - posts.title  drop column (2 non-null values)              DESTRUCTIVE\n"
    );
    // The safe part leaves the constraint too: without the drop nobody asked for its end.
    let safe = plan.clone().safe_only();
    assert_eq!(steps(&safe), Vec::<String>::new());
    assert_eq!(destructive(&safe), ["posts.title: drop column (2 non-null values)"]);
    apply(&mut client, &safe).await.unwrap();
    assert_eq!(titles(&client).await, ["a", "b", "null"]);
    assert_safe(
        &mut client,
        &project([posts()]),
        &[
            "posts: drop unique constraint posts_title_body_key",
            "posts.body: drop column (0 non-null values)",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_removed_collection_is_dropped_only_by_name() {
    let (_database, mut client) = with_posts(posts()).await;
    let two = project([
        posts().relation(field("first", "uuid"), "comments", OnDelete::SetNull),
        collection("comments").relation(field("post", "uuid"), "posts", OnDelete::Cascade),
    ]);
    assert_eq!(reach(&mut client, &two).await.destructive().count(), 0);
    let none = project([]);
    let plan = planned(&mut client, &none).await;
    assert_eq!(
        destructive(&plan),
        ["comments: drop collection (0 records)", "posts: drop collection (3 records)"]
    );
    let safe = plan.clone().safe_only();
    assert_eq!(steps(&safe), Vec::<String>::new());
    apply(&mut client, &safe).await.unwrap();
    assert_settled(&mut client, &two).await;
    // In one go, although the two refer to each other.
    apply(&mut client, &plan).await.unwrap();
    assert_settled(&mut client, &none).await;
    assert_eq!(column(&client, "select to_regclass('public.posts') is null").await, ["t"]);
}

#[tokio::test]
async fn a_count_that_grew_from_nothing_since_the_plan_stops_it() {
    let (_database, mut client) = with_posts(posts().field(field("body", "text"))).await;
    let plan = planned(&mut client, &project([posts()])).await;
    assert_eq!(destructive(&plan), Vec::<String>::new());
    run(&client, "update public.posts set body = 'precious' where title = 'a'").await;
    assert!(matches!(refused(&mut client, &plan).await, Failure::Moved));
}

#[tokio::test]
async fn a_plan_for_a_database_that_has_moved_is_not_applied() {
    let (_database, mut client) = with_posts(posts()).await;
    let to = project([posts().field(field("body", "text"))]);
    let plan = planned(&mut client, &to).await;
    apply(&mut client, &plan).await.unwrap();
    assert!(matches!(refused(&mut client, &plan).await, Failure::Moved));
}

#[tokio::test]
async fn types_widen_with_their_values_defaults_checks_and_foreign_keys() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let of = |kind: &str, key: &str| {
        let (min, max) = (Value::Integer(0), Value::Integer(1_000));
        project([
            collection("topics").field(field("number", key).required()).key(&["number"]),
            collection("posts")
                .field(field("stars", kind).between(min, max).default(Value::Integer(7)))
                .relation(field("topic", key), "topics", OnDelete::Restrict)
                .unique(&["stars"]),
        ])
    };
    reach(&mut client, &of("integer", "integer")).await;
    run(&client, "insert into topics values (5); insert into posts (topic) values (5)").await;
    let plan = reach(&mut client, &of("bigint", "bigint")).await;
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert_eq!(column(&client, "select stars || '/' || topic from public.posts").await, ["7/5"]);
    let types = "select string_agg(distinct atttypid::regtype::text, ',') from pg_attribute \
        where attname in ('stars', 'topic', 'number') and attrelid in ('posts'::regclass, 'topics'::regclass)";
    assert_eq!(column(&client, types).await, ["bigint"]);
    assert_eq!(violates(&client, "insert into posts (stars) values (-1)").await, "posts_stars_min_check");
    assert_eq!(violates(&client, "insert into posts (stars, topic) values (1, 6)").await, "posts_topic_fkey");
}

#[tokio::test]
async fn every_conversion_keeps_or_names_what_it_does() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let of = |kind: &str| project([collection("posts").field(field("value", kind))]);
    for (from, to, value, expected) in [
        ("integer", "decimal", "5", Some("5")),
        ("integer", "float", "5", Some("5")),
        ("date", "timestamp", "2020-02-02", Some("2020-02-02 00:00:00+00")),
        (
            "uuid",
            "text",
            "00000000-0000-0000-0000-000000000007",
            Some("00000000-0000-0000-0000-000000000007"),
        ),
        ("text", "text[]", "a,b", Some("{\"a,b\"}")),
        ("integer", "bigint[]", "5", Some("{5}")),
        ("integer[]", "text[]", "{5,NULL}", Some("{5,NULL}")),
        ("integer", "json", "5", Some("5")),
        ("boolean", "json", "t", Some("true")),
        ("text", "integer", "5", None),
        ("text", "json", "{\"a\": 1}", None),
        ("decimal", "integer", "5.5", None),
        ("timestamp", "date", "2020-02-02 12:00:00+00", None),
        ("bigint", "float", "5", None),
    ] {
        reach(&mut client, &of(from)).await;
        run(&client, &format!("insert into public.posts (value) values ('{value}'), (null)")).await;
        let plan = planned(&mut client, &of(to)).await;
        let named = vec![format!("posts.value: change type {from} -> {to}")];
        assert_eq!(steps(&plan), named);
        match expected {
            Some(expected) => {
                assert_eq!(destructive(&plan), Vec::<String>::new());
                reach(&mut client, &of(to)).await;
                run(&client, "set timezone to 'UTC'").await;
                let values = column(&client, "select value::text from posts order by value is null").await;
                assert_eq!(values, [expected, "null"]);
            }
            None => {
                assert_eq!(destructive(&plan), named);
                assert_eq!(steps(&plan.safe_only()), Vec::<String>::new());
                reach(&mut client, &of(to)).await;
            }
        }
        run(&client, "delete from public.posts").await;
        let none = planned(&mut client, &project([])).await;
        apply(&mut client, &none).await.unwrap();
    }
    for (from, to) in [("uuid", "integer"), ("text[]", "text"), ("json", "text[]"), ("boolean", "date")] {
        reach(&mut client, &of(from)).await;
        let plan = planned(&mut client, &of(to)).await;
        let Failure::Refused(refusals) = refused(&mut client, &plan).await else { panic!() };
        assert!(refusals[0].sentence.contains("there is no way"), "{}", refusals[0]);
        let none = planned(&mut client, &project([])).await;
        apply(&mut client, &none).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_withheld_with_a_narrowing_type_waits_with_it() {
    let (_database, mut client) = with_posts(posts()).await;
    run(&client, "update public.posts set title = '7'").await;
    let to = project([collection("posts")
        .field(
            field("title", "integer")
                .default(Value::Integer(1))
                .between(Value::Integer(0), Value::Integer(9)),
        )
        .field(field("body", "text"))]);
    let safe = planned(&mut client, &to).await.safe_only();
    assert_eq!(steps(&safe), ["posts.body: add column, text"]);
    apply(&mut client, &safe).await.unwrap();
    let left = planned(&mut client, &to).await;
    assert_eq!(destructive(&left), ["posts.title: change type text -> integer"]);
    assert_eq!(left.steps.len(), 4);
    apply(&mut client, &left).await.unwrap();
    assert_settled(&mut client, &to).await;
    assert_eq!(column(&client, "select distinct title from public.posts").await, ["7"]);
}

#[tokio::test]
async fn a_changed_primary_key_is_refused() {
    let (_database, mut client) = with_posts(posts()).await;
    let to = project([collection("posts").field(field("title", "text").required()).key(&["title"])]);
    let plan = planned(&mut client, &to).await;
    let Failure::Refused(refusals) = refused(&mut client, &plan).await else { panic!() };
    assert!(
        refusals[0].to_string().starts_with("posts cannot change its primary key from (id) to (title)"),
        "{}",
        refusals[0]
    );
}

#[tokio::test]
async fn foreign_keys_change_their_target_and_what_deleting_does() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let of = |to: &str, on_delete| {
        project([
            collection("people"),
            collection("robots"),
            posts().relation(field("author", "uuid"), to, on_delete),
        ])
    };
    reach(&mut client, &of("people", OnDelete::Restrict)).await;
    run(&client, "insert into people default values; insert into posts (author) select id from people").await;
    let plan = reach(&mut client, &of("people", OnDelete::Cascade)).await;
    assert_eq!(
        steps(&plan),
        ["posts: drop foreign key posts_author_fkey", "posts: add foreign key posts_author_fkey"]
    );
    let elsewhere = planned(&mut client, &of("robots", OnDelete::Cascade)).await;
    match refused(&mut client, &elsewhere).await {
        Failure::Step { constraint, .. } => assert_eq!(constraint.as_deref(), Some("posts_author_fkey")),
        other => panic!("{other}"),
    }
    run(&client, "delete from people").await;
    assert_eq!(column(&client, "select count(*) from posts").await, ["0"]);
    reach(&mut client, &of("robots", OnDelete::SetNull)).await;
}

#[tokio::test]
async fn timestamps_are_turned_on_and_off() {
    let (_database, mut client) = with_posts(posts().without_timestamps()).await;
    let on = reach(&mut client, &project([posts()])).await;
    assert_eq!(
        steps(&on),
        [
            "posts.created_at: add column, timestamp",
            "posts.updated_at: add column, timestamp",
            "posts: add the trigger that keeps updated_at"
        ]
    );
    let off = planned(&mut client, &project([posts().without_timestamps()])).await;
    assert_eq!(
        destructive(&off),
        [
            "posts.created_at: drop column (3 non-null values)",
            "posts.updated_at: drop column (3 non-null values)"
        ]
    );
    apply(&mut client, &off).await.unwrap();
    run(&client, "update public.posts set title = 'z' where title = 'a'").await;
}

#[tokio::test]
async fn the_order_of_fields_is_no_difference() {
    let (_database, mut client) = with_posts(posts().field(field("body", "text"))).await;
    let turned = project([collection("posts").field(field("body", "text")).field(field("title", "text"))]);
    assert_settled(&mut client, &turned).await;
}
