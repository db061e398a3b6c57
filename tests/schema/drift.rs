//! Databases that others have had their hands in.

use basewright::model::{IndexMethod, Value};
use basewright::schema::Failure;

use super::build::{CollectionBuilder, collection, field, project};
use super::{assert_settled, column, destructive, planned, reach, refused, run, steps};
use crate::support::database;

fn posts() -> CollectionBuilder {
    collection("posts")
        .field(field("title", "text").size(1, 9).default(Value::text("x")))
        .unique(&["title"])
        .index(&["-title"], IndexMethod::Btree)
}

#[tokio::test]
async fn tables_of_others_are_never_touched_and_their_names_are_refused() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    run(
        &client,
        "create table public.theirs (id int); create view public.seen as select 1 as one; \
         comment on table public.theirs is 'basewright made this? no';
         insert into public.theirs values (1)",
    )
    .await;
    reach(&mut client, &project([posts()])).await;
    assert_eq!(column(&client, "select id from public.theirs").await, ["1"]);
    for taken in ["theirs", "seen"] {
        run(&client, "comment on table public.theirs is 'not yours'").await;
        let plan = planned(&mut client, &project([posts(), collection(taken)])).await;
        let Failure::Refused(refusals) = refused(&mut client, &plan).await else { panic!() };
        assert_eq!(refusals[0].subject, taken);
        // A rename onto it is no way in either.
        let plan = planned(&mut client, &project([collection(taken).from("posts")])).await;
        assert_eq!(plan.refusals[0].subject, taken);
    }
}

#[tokio::test]
async fn what_was_altered_by_hand_is_found_and_made_again() {
    for (hand, expected) in [
        ("alter table posts alter title set default 'y'", vec!["posts.title: set default 'x'::text"]),
        ("alter table posts alter title drop default", vec!["posts.title: set default 'x'::text"]),
        ("alter table posts alter title set not null", vec!["posts.title: is no longer required"]),
        (
            "alter table posts drop constraint posts_title_max_check, \
             add constraint posts_title_max_check check (char_length(title) <= 90)",
            vec!["posts: drop check posts_title_max_check", "posts: add check posts_title_max_check"],
        ),
        (
            "alter table posts drop constraint posts_title_max_check, \
             add constraint posts_title_max_check check (char_length(title) <= 9) not valid",
            vec!["posts: drop constraint posts_title_max_check", "posts: add check posts_title_max_check"],
        ),
        (
            "alter table posts drop constraint posts_title_min_check",
            vec!["posts: add check posts_title_min_check"],
        ),
        (
            "alter table posts drop constraint posts_title_key",
            vec!["posts: add unique constraint posts_title_key"],
        ),
        ("alter table posts drop constraint posts_pkey", vec!["posts: add primary key posts_pkey"]),
        (
            "alter table posts drop constraint posts_title_key, \
             add constraint posts_title_key unique (title) deferrable",
            vec!["posts: drop constraint posts_title_key", "posts: add unique constraint posts_title_key"],
        ),
        (
            "drop index posts_title_idx; create index posts_title_idx on posts (title) where title > 'a'",
            vec!["posts: drop index posts_title_idx", "posts: create index posts_title_idx"],
        ),
        ("drop index posts_title_idx", vec!["posts: create index posts_title_idx"]),
        (
            "alter table posts disable trigger basewright_touch",
            vec![
                "posts: drop the trigger that keeps updated_at",
                "posts: add the trigger that keeps updated_at",
            ],
        ),
        ("drop trigger basewright_touch on posts", vec!["posts: add the trigger that keeps updated_at"]),
        ("alter table posts replica identity default", vec!["posts: set replica identity full"]),
        ("alter publication basewright drop table posts", vec!["publication: add public.posts"]),
        (
            "alter publication basewright set table auth.users, auth.user_roles, auth.sessions, auth.revoked_keys, storage.objects, posts where (title = 'a')",
            vec!["publication: remove public.posts", "publication: add public.posts"],
        ),
        ("alter publication basewright drop table auth.users", vec!["publication: add auth.users"]),
        (
            "alter publication basewright add table basewright.migrations",
            vec!["publication: remove basewright.migrations"],
        ),
        ("drop publication basewright", vec!["publication: create, with 6 tables"]),
        (
            "alter table posts drop column title",
            vec![
                "posts.title: add column, text",
                "posts: add unique constraint posts_title_key",
                "posts: add check posts_title_min_check",
                "posts: add check posts_title_max_check",
                "posts: create index posts_title_idx",
            ],
        ),
        // The mark's notes are lost: what they told of is made again.
        (
            "comment on table posts is 'basewright'",
            vec![
                "posts: drop check posts_title_max_check",
                "posts: drop check posts_title_min_check",
                "posts.id: set default basewright.uuid_v7()",
                "posts.title: set default 'x'::text",
                "posts.created_at: set default now()",
                "posts.updated_at: set default now()",
                "posts: add check posts_title_min_check",
                "posts: add check posts_title_max_check",
            ],
        ),
    ] {
        let database = database().await;
        let mut client = database.connect_owner().await;
        let project = project([posts()]);
        reach(&mut client, &project).await;
        run(&client, hand).await;
        let plan = reach(&mut client, &project).await;
        assert_eq!(steps(&plan), expected, "{hand}");
        assert_eq!(destructive(&plan), Vec::<String>::new(), "{hand}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_again_without_loss_is_refused_or_named() {
    for (hand, refused_of, destroyed) in [
        ("alter table posts alter title type varchar(20)", vec!["posts.title"], vec![]),
        ("alter table posts alter title type text collate \"C\"", vec!["posts.title"], vec![]),
        ("alter table posts drop constraint posts_pkey, add primary key (title)", vec!["posts"], vec![]),
        ("drop publication basewright", vec![], vec![]),
        (
            "alter table posts add extra int; insert into posts (extra) values (1)",
            vec![],
            vec!["posts.extra: drop column (1 non-null value)"],
        ),
    ] {
        let database = database().await;
        let mut client = database.connect_owner().await;
        let project = project([posts()]);
        reach(&mut client, &project).await;
        run(&client, hand).await;
        let plan = planned(&mut client, &project).await;
        assert!(!plan.is_empty(), "{hand}");
        let subjects: Vec<&str> = plan.refusals.iter().map(|refusal| refusal.subject.as_str()).collect();
        assert_eq!(subjects, refused_of, "{hand}");
        assert_eq!(destructive(&plan), destroyed, "{hand}");
    }
}

#[tokio::test]
async fn indexes_constraints_and_triggers_that_others_put_on_our_tables_stay() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let project = project([posts()]);
    reach(&mut client, &project).await;
    run(
        &client,
        "create index for_a_report on posts (created_at); \
         alter table posts add constraint their_own check (title <> 'forbidden'); \
         create trigger their_own before insert on posts for each row \
         execute function basewright.touch_updated_at()",
    )
    .await;
    assert_settled(&mut client, &project).await;
}

#[tokio::test]
async fn a_table_dumped_and_restored_is_known_again() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let project = project([posts()]);
    reach(&mut client, &project).await;
    // What a dump carries of it: its shape and its comment, on another oid.
    run(
        &client,
        "create table public.copy (like public.posts including all); \
         alter table public.copy replica identity full; \
         do $$ begin execute format('comment on table public.copy is %L', obj_description('public.posts'::regclass)); end $$; \
         drop table public.posts; \
         alter table public.copy rename to posts; \
         alter index public.copy_pkey rename to posts_pkey; \
         alter index public.copy_title_key rename to posts_title_key; \
         alter index public.copy_title_idx rename to posts_title_idx; \
         create trigger basewright_touch before update on public.posts for each row \
         execute function basewright.touch_updated_at(); \
         alter publication basewright add table public.posts",
    )
    .await;
    assert_settled(&mut client, &project).await;
}
