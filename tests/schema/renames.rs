//! Renames: never a drop and an add, and never done twice.

use basewright::model::{IndexMethod, OnDelete, Value};
use basewright::schema::apply;

use super::build::{collection, field, project};
use super::{assert_settled, column, destructive, planned, reach, run, steps, violates};
use crate::support::database;

#[tokio::test]
async fn a_renamed_column_keeps_its_values_and_what_hangs_on_it() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(
        &mut client,
        &project([collection("posts")
            .field(field("permalink", "text").required().size(1, 9).default(Value::text("x")))
            .unique(&["permalink"])
            .index(&["-permalink"], IndexMethod::Btree)]),
    )
    .await;
    run(&client, "insert into public.posts (permalink) values ('a')").await;
    let renamed = project([collection("posts")
        .field(field("slug", "text").required().size(1, 9).default(Value::text("x")).from("permalink"))
        .unique(&["slug"])
        .index(&["-slug"], IndexMethod::Btree)]);
    let plan = reach(&mut client, &renamed).await;
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert_eq!(
        steps(&plan),
        [
            "posts.slug: rename column permalink -> slug",
            "posts: drop check posts_permalink_max_check",
            "posts: drop check posts_permalink_min_check",
            "posts: rename constraint posts_permalink_key -> posts_slug_key",
            "posts: rename index posts_permalink_idx -> posts_slug_idx",
            "posts: add check posts_slug_min_check",
            "posts: add check posts_slug_max_check",
        ]
    );
    assert_eq!(column(&client, "select slug from public.posts").await, ["a"]);
    assert_eq!(violates(&client, "insert into posts (slug) values ('a')").await, "posts_slug_key");
    assert_eq!(violates(&client, "insert into posts (slug) values ('')").await, "posts_slug_min_check");
}

#[tokio::test]
async fn a_renamed_collection_keeps_its_records_and_its_relations_follow() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(
        &mut client,
        &project([
            collection("posts")
                .field(field("title", "text").size(1, 9))
                .relation(field("parent", "uuid"), "posts", OnDelete::Cascade)
                .unique(&["title"]),
            collection("comments").relation(field("post", "uuid"), "posts", OnDelete::Cascade),
        ]),
    )
    .await;
    run(
        &client,
        "insert into posts (title) values ('a'); insert into posts (title, parent) select 'b', id from posts; \
         insert into comments (post) select id from posts",
    )
    .await;
    // The table, two of its columns and a relation to it at once.
    let renamed = project([
        collection("articles")
            .from("posts")
            .field(field("name", "text").size(1, 9).from("title"))
            .relation(field("above", "uuid").from("parent"), "articles", OnDelete::Cascade)
            .unique(&["name"]),
        collection("comments").relation(field("article", "uuid").from("post"), "articles", OnDelete::Cascade),
    ]);
    let plan = reach(&mut client, &renamed).await;
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert!(!steps(&plan).iter().any(|step| step.contains("foreign key")), "{}", plan.render());
    assert_eq!(
        column(&client, "select count(*) from articles a join comments c on c.article = a.id").await,
        ["2"]
    );
    let names = "select string_agg(conname, ' ' order by conname) from pg_constraint \
        where contype in ('p', 'u', 'f') and connamespace = 'public'::regnamespace";
    assert_eq!(
        column(&client, names).await,
        ["articles_above_fkey articles_name_key articles_pkey comments_article_fkey comments_pkey"]
    );
    // The former names are free again, and what then bears them is new.
    let again = project([
        collection("articles")
            .from("posts")
            .field(field("name", "text").size(1, 9).from("title"))
            .field(field("title", "text"))
            .relation(field("above", "uuid").from("parent"), "articles", OnDelete::Cascade)
            .unique(&["name"]),
        collection("comments").relation(field("article", "uuid").from("post"), "articles", OnDelete::Cascade),
        collection("posts"),
    ]);
    let plan = reach(&mut client, &again).await;
    assert_eq!(
        steps(&plan),
        [
            "posts: new collection with 3 fields",
            "articles.title: add column, text",
            "publication: add public.posts"
        ]
    );
    assert_eq!(column(&client, "select count(name) from articles").await, ["2"]);
}

#[tokio::test]
async fn columns_and_tables_that_swap_their_names_swap_once() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let shape = |one: &str, two: &str, a: (&str, Option<&str>), b: (&str, Option<&str>), swapped: bool| {
        let named = |(name, from): (&str, Option<&str>), size| {
            let built = field(name, "text").size(0, size);
            from.map_or(built.clone(), |from| built.clone().from(from))
        };
        let mut first = collection(one).field(named(a, 10)).field(named(b, 20)).unique(&[a.0]).unique(&[b.0]);
        let mut second = collection(two);
        if swapped {
            (first, second) = (first.from(two), second.from(one));
        }
        project([first, second])
    };
    reach(&mut client, &shape("cats", "dogs", ("a", None), ("b", None), false)).await;
    run(&client, "insert into cats (a, b) values ('a', 'b')").await;
    let swapped = shape("dogs", "cats", ("b", Some("a")), ("a", Some("b")), true);
    let plan = reach(&mut client, &swapped).await;
    assert_eq!(destructive(&plan), Vec::<String>::new());
    assert_eq!(
        column(&client, "select b || ' was a, ' || a || ' was b' from dogs").await,
        ["a was a, b was b"]
    );
    // The YAML still says it, and nothing is swapped back.
    assert_settled(&mut client, &swapped).await;
    assert_eq!(violates(&client, "insert into dogs (b) values ('12345678901')").await, "dogs_b_max_check");
    assert_eq!(violates(&client, "insert into dogs (b) values ('a')").await, "dogs_b_key");
}

#[tokio::test]
async fn a_chain_of_renames_moves_every_column_on() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(
        &mut client,
        &project([collection("posts")
            .field(field("a", "text"))
            .field(field("b", "text"))
            .field(field("c", "text"))]),
    )
    .await;
    run(&client, "insert into posts (a, b, c) values ('1', '2', '3')").await;
    let moved = project([collection("posts")
        .field(field("b", "text").from("a"))
        .field(field("c", "text").from("b"))
        .field(field("d", "text").from("c"))]);
    reach(&mut client, &moved).await;
    assert_eq!(column(&client, "select b || c || d from posts").await, ["123"]);
}

#[tokio::test]
async fn a_rename_onto_a_column_that_is_there_is_a_drop_and_named_as_one() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &project([collection("posts").field(field("a", "text")).field(field("b", "text"))]))
        .await;
    run(&client, "insert into posts (a, b) values ('1', '2')").await;
    let plan =
        planned(&mut client, &project([collection("posts").field(field("b", "text").from("a"))])).await;
    assert_eq!(destructive(&plan), ["posts.a: drop column (1 non-null value)"]);
}

#[tokio::test]
async fn what_is_measured_of_renamed_columns_is_found_under_their_former_names() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(
        &mut client,
        &project([collection("posts").field(field("a", "text")).field(field("gone", "text"))]),
    )
    .await;
    run(&client, "insert into posts (a, gone) values ('1', '2'), ('2', null)").await;
    let to =
        project([collection("articles").from("posts").field(field("b", "integer").required().from("a"))]);
    let plan = planned(&mut client, &to).await;
    assert_eq!(
        destructive(&plan),
        ["articles.gone: drop column (1 non-null value)", "articles.b: change type text -> integer"]
    );
    apply(&mut client, &plan).await.unwrap();
    assert_settled(&mut client, &to).await;
    assert_eq!(column(&client, "select sum(b) from articles").await, ["3"]);
}
