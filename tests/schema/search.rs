//! The generated full-text column: made with its table, made again when what it reads changes, and never in the
//! way of what its fields become.

use basewright::model::{Collections, IndexMethod, Language, Value};
use basewright::schema::apply;
use tokio_postgres::Client;

use super::build::{CollectionBuilder, collection, field, project};
use super::{assert_settled, column, destructive, planned, reach, run, steps};
use crate::support::database;

fn posts() -> CollectionBuilder {
    collection("posts")
        .field(field("title", "text"))
        .field(field("body", "text"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"))
}

fn searched() -> CollectionBuilder {
    posts().search(&["title", "body"], "english")
}

/// The records that have a word, by their titles.
async fn found(client: &Client, word: &str) -> Vec<String> {
    let sql =
        format!("select title from public.posts where search @@ to_tsquery('english', '{word}') order by 1");
    column(client, &sql).await
}

/// Takes a database from one project to another, with a record in between.
async fn assert_steps(from: CollectionBuilder, to: &Collections, expected: &[&str]) {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &project([from])).await;
    run(&client, "insert into public.posts (title) values ('running')").await;
    let plan = reach(&mut client, to).await;
    assert_eq!(steps(&plan), expected);
    assert_eq!(destructive(&plan), Vec::<String>::new(), "{expected:?}");
}

const ADDED: [&str; 2] = ["posts.search: add generated column", "posts: create index posts_search_idx"];
const ANEW: [&str; 3] = ["posts.search: drop generated column", ADDED[0], ADDED[1]];

#[tokio::test]
async fn a_search_is_made_with_its_table_or_beside_the_records_that_are_there() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let all = posts().search(&["title", "body", "tags", "meta"], "english");
    reach(&mut client, &project([all.clone()])).await;
    run(
        &client,
        "insert into public.posts (title, body, tags, meta) values \
         ('a', 'running', array['Boats', null, 'Boats'], '{\"k\": [\"harbours\", 1]}'), ('b', null, '{}', '1'), (null, null, null, null)",
    )
    .await;
    for (word, titles) in
        [("run", &["a"][..]), ("boat", &["a"]), ("harbour", &["a"]), ("b", &["b"]), ("k", &[])]
    {
        assert_eq!(found(&client, word).await, titles, "{word}");
    }
    let indexes = "select indexdef from pg_indexes where indexname = 'posts_search_idx'";
    let [index] = &column(&client, indexes).await[..] else { panic!() };
    assert!(index.ends_with("ON public.posts USING gin (search)"), "{index}");
    let stored =
        "select attgenerated from pg_attribute where attrelid = 'posts'::regclass and attname = 'search'";
    assert_eq!(column(&client, stored).await, ["s"]);

    assert_steps(posts(), &project([searched()]), &ADDED).await;
    let gone = &["posts.search: drop generated column"];
    assert_steps(searched(), &project([posts()]), gone).await;
}

#[tokio::test]
async fn another_language_other_fields_or_fields_that_change_make_the_search_again() {
    assert_steps(searched(), &project([searched()]), &[]).await;
    assert_steps(searched(), &project([posts().search(&["title", "body"], "simple")]), &ANEW).await;
    assert_steps(searched(), &project([posts().search(&["title"], "english")]), &ANEW).await;
    assert_steps(searched(), &project([posts().search(&["body", "title", "tags"], "english")]), &ANEW).await;
    // A field that it does not read changes without it.
    let more = searched().field(field("rank", "integer"));
    assert_steps(searched(), &project([more]), &["posts.rank: add column, integer"]).await;

    let renamed = collection("posts")
        .field(field("headline", "text").from("title"))
        .field(field("body", "text"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"));
    let steps = [ANEW[0], "posts.headline: rename column title -> headline", ANEW[1], ANEW[2]];
    let to = renamed.clone().search(&["headline", "body"], "english");
    assert_steps(searched(), &project([to]), &steps).await;

    let removed = collection("posts")
        .field(field("title", "text"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"))
        .search(&["title"], "english");
    let steps = [ANEW[0], "posts.body: drop column (0 non-null values)", ANEW[1], ANEW[2]];
    assert_steps(searched(), &project([removed]), &steps).await;

    let listed = collection("posts")
        .field(field("title", "text"))
        .field(field("body", "text[]"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"))
        .search(&["title", "body"], "english");
    let steps = [ANEW[0], "posts.body: change type text -> text[]", ANEW[1], ANEW[2]];
    assert_steps(searched(), &project([listed]), &steps).await;

    let moved = collection("articles")
        .from("posts")
        .field(field("title", "text"))
        .field(field("body", "text"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"))
        .search(&["title", "body"], "english");
    let steps = [
        "articles: rename collection posts -> articles",
        "articles: rename constraint posts_pkey -> articles_pkey",
        "articles: rename index posts_search_idx -> articles_search_idx",
    ];
    assert_steps(searched(), &project([moved]), &steps).await;
}

#[tokio::test]
async fn a_field_of_the_name_and_a_search_take_each_others_place() {
    // The field keeps its values under another name.
    let field_first = posts().field(field("search", "text[]")).index(&["search"], IndexMethod::Gin);
    let kept = searched().field(field("words", "text[]").from("search"));
    let steps = [
        "posts.words: rename column search -> words",
        "posts: drop index posts_search_idx",
        ADDED[0],
        ADDED[1],
    ];
    assert_steps(field_first.clone(), &project([kept]), &steps).await;
    // It goes, and nothing is in it.
    let steps = ["posts.search: drop column (0 non-null values)", ADDED[0], ADDED[1]];
    assert_steps(field_first, &project([searched()]), &steps).await;
    // And back: a field takes the name, by a rename or anew.
    let back = posts().field(field("search", "text")).index(&["search"], IndexMethod::Btree);
    let steps = [ANEW[0], "posts.search: add column, text", ADDED[1]];
    assert_steps(searched(), &project([back]), &steps).await;
    let renamed = collection("posts")
        .field(field("title", "text"))
        .field(field("search", "text").from("body"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"));
    let steps = [ANEW[0], "posts.search: rename column body -> search"];
    assert_steps(searched(), &project([renamed]), &steps).await;
}

#[tokio::test]
async fn what_would_lose_values_holds_back_the_search_that_needs_it() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &project([posts().field(field("search", "text[]"))])).await;
    run(&client, "insert into public.posts (search) values ('{a}')").await;
    let to = project([searched().field(field("rank", "integer"))]);
    let plan = planned(&mut client, &to).await.safe_only();
    assert_eq!(steps(&plan), ["posts.rank: add column, integer"]);
    assert_eq!(destructive(&plan), ["posts.search: drop column (1 non-null value)"]);
    apply(&mut client, &plan).await.unwrap();
    assert_eq!(column(&client, "select search::text from public.posts").await, ["{a}"]);
    run(&client, "update public.posts set search = null").await;
    reach(&mut client, &to).await;

    // The type of a field that the search reads: both wait.
    let json = collection("posts")
        .field(field("title", "text"))
        .field(field("body", "json"))
        .field(field("tags", "text[]"))
        .field(field("meta", "json"))
        .field(field("rank", "integer"))
        .search(&["title", "body"], "english");
    run(&client, "update public.posts set body = '1'").await;
    let plan = planned(&mut client, &project([json.clone()])).await.safe_only();
    assert_eq!(steps(&plan), Vec::<String>::new());
    apply(&mut client, &plan).await.unwrap();
    assert_eq!(found(&client, "1").await, ["null"]);
    // Nothing was noted of what was not done.
    let left = planned(&mut client, &project([json])).await;
    assert_eq!(left.steps.len(), 4, "{}", left.render());
    assert_settled(&mut client, &to).await;
}

#[tokio::test]
async fn a_search_that_was_altered_by_hand_is_made_again() {
    let by_hand = "add search tsvector generated always as (to_tsvector('english'::regconfig, coalesce(title, ''))) stored";
    for (hand, expected) in [
        ("alter table posts drop search".to_owned(), &ADDED[..]),
        ("drop index posts_search_idx".to_owned(), &ADDED[1..]),
        (
            "drop index posts_search_idx; create index posts_search_idx on posts using gist (search)"
                .to_owned(),
            &["posts: drop index posts_search_idx", ADDED[1]],
        ),
        (format!("alter table posts drop search, {by_hand}"), &ANEW),
        ("alter table posts alter search set not null".to_owned(), &ANEW),
        (
            "alter table posts drop search, add search text".to_owned(),
            &["posts.search: drop column (0 non-null values)", ADDED[0], ADDED[1]],
        ),
    ] {
        let database = database().await;
        let mut client = database.connect_owner().await;
        let project = project([searched()]);
        reach(&mut client, &project).await;
        run(&client, &hand).await;
        let plan = reach(&mut client, &project).await;
        assert_eq!(steps(&plan), expected, "{hand}");
        assert_eq!(destructive(&plan), Vec::<String>::new(), "{hand}");
    }
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &project([searched()])).await;
    run(&client, "comment on table posts is 'basewright'").await;
    let plan = planned(&mut client, &project([searched()])).await;
    assert!(ANEW.iter().all(|step| steps(&plan).contains(&(*step).to_owned())), "{}", plan.render());
    reach(&mut client, &project([searched()])).await;
}

#[tokio::test]
async fn every_language_is_one_of_this_postgres() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let known =
        column(&client, "select cfgname from pg_ts_config where cfgnamespace = 'pg_catalog'::regnamespace")
            .await;
    for language in Language::ALL {
        assert!(known.contains(&language.as_str().to_owned()), "{}", language.as_str());
    }
    // None of 15 is missing.
    if column(&client, "show server_version_num").await[0].starts_with("15") {
        assert_eq!(known.len(), Language::ALL.len());
    }
    let turkish = collection("posts").field(field("title", "text").default(Value::text("x")));
    reach(&mut client, &project([turkish.search(&["title"], "turkish")])).await;
}
