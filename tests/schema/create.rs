//! Tables made from nothing.

use basewright::model::{
    Attribute, Collections, Decimal, DefaultValue, IndexMethod, Interval, Kind, OnDelete, Scalar, Value,
};

use super::build::{collection, field, project};
use super::{assert_settled, column, planned, reach, run, violates};
use crate::support::database;

/// Every kind, alone and as an array, and every option at least once.
fn rich() -> Collections {
    let mut kinds = collection("kinds");
    for scalar in Scalar::all() {
        for kind in [Kind::one(scalar), Kind::many(scalar)] {
            let text = format!("f_{}{}", scalar.yaml(), if kind.array { "_many" } else { "" });
            kinds = kinds.field(field(&text, &kind.to_string()));
        }
    }
    let json = serde_json::json!({"a": ["it's", null, 1.5, "\\"]});
    let moment = Value::Interval(Interval { months: 14, days: -3, microseconds: 1_000_001 });
    let network = Value::Inet("2001:db8::1".parse().unwrap(), 64);
    let defaults = collection("defaults")
        .field(field("text", "text").default(Value::text("it's \\ \"odd\"")).size(1, 20))
        .field(field("empty", "text").default(Value::text("")))
        .field(field("nothing", "text").default(Value::Null))
        .field(field("integer", "integer").default(Value::Integer(-5)))
        .field(field("bigint", "bigint").default(Value::Integer(i64::MIN)))
        .field(field("float", "float").default(Value::Float(-0.1)))
        .field(field("nan", "float").default(Value::Float(f64::NAN)))
        .field(field("decimal", "decimal").default(Value::Decimal(Decimal::Finite("1.50".parse().unwrap()))))
        .field(field("boolean", "boolean").default(Value::Boolean(false)))
        .field(field("uuid", "uuid").default(Value::Uuid(uuid::Uuid::from_u128(7))))
        .field(field("timestamp", "timestamp").default(Value::Timestamp(-1)))
        .field(field("ever", "timestamp").default(Value::Timestamp(i64::MAX)))
        .field(field("date", "date").default(Value::Date(-800_000)))
        .field(field("time", "time").default(Value::Time(86_400_000_000)))
        .field(field("interval", "interval").default(moment))
        .field(field("json", "json").default(Value::Json(json)))
        .field(field("bytes", "bytes").default(Value::Bytes(vec![0, 255])).size(0, 9))
        .field(field("inet", "inet").default(network))
        .field(field("none", "text[]").default(Value::Array(vec![])))
        .field(field("some", "text[]").default(Value::Array(vec![Value::text("a,\"b\\"), Value::Null])))
        .field(field("numbers", "integer[]").default(Value::Array(vec![Value::Integer(-1)])).size(0, 3))
        .field(field("seen", "timestamp").default_to(DefaultValue::Now))
        .field(field("caller", "uuid").default_to(DefaultValue::Attribute(Attribute::Id)))
        .without_timestamps();
    let long = "l".repeat(63);
    project([
        kinds,
        defaults,
        collection("profiles").relation(field("user", "uuid").required(), "auth.users", OnDelete::Cascade),
        collection("posts")
            .field(field("title", "text").required().size(2, 5))
            .field(field("slug", "text").pattern("^[a-z]+$"))
            .field(field("status", "text").values(&["draft", "it's"]).default(Value::text("draft")))
            .field(field("moods", "text[]").values(&["calm", "glad"]))
            .field(field("stars", "integer").between(Value::Integer(-1), Value::Integer(5)))
            .field(field("price", "decimal").between(
                Value::Decimal(Decimal::Finite("0.5".parse().unwrap())),
                Value::Decimal(Decimal::Finite("9.5".parse().unwrap())),
            ))
            .field(field("day", "date").between(Value::Date(0), Value::Date(i32::MAX)))
            .field(field("tags", "text[]").size(1, 2))
            .field(field("meta", "json"))
            .relation(field("author", "uuid").required(), "profiles", OnDelete::Restrict)
            .relation(field("parent", "uuid"), "posts", OnDelete::SetNull)
            .unique(&["slug"])
            .unique(&["author", "slug"])
            .index(&["stars", "-slug"], IndexMethod::Btree)
            .index(&["tags"], IndexMethod::Gin)
            .index(&["meta"], IndexMethod::Gin),
        collection("likes")
            .relation(field("post", "uuid").required(), "posts", OnDelete::Cascade)
            .relation(field("profile", "uuid").required(), "profiles", OnDelete::Cascade)
            .key(&["post", "profile"]),
        collection(&long)
            .field(field(&"f".repeat(63), "text").required().size(1, 2).pattern("a").values(&["a", "aa"]))
            .field(field("select", "text").default(Value::text("x")))
            .relation(field("order", "uuid"), &long, OnDelete::Cascade)
            .unique(&["select"])
            .index(&["-select"], IndexMethod::Btree),
        collection("table").field(field("user", "text")).without_timestamps(),
    ])
}

#[tokio::test]
async fn a_rich_project_is_made_and_a_second_look_finds_nothing_to_do() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let project = rich();
    let plan = reach(&mut client, &project).await;
    assert_eq!(plan.destructive().count(), 0);
    // Another session with other settings prints expressions otherwise; the comparison does not depend on it.
    run(
        &client,
        "set search_path to basewright, public; set timezone to 'Asia/Tokyo'; set intervalstyle to 'iso_8601'; \
         set datestyle to 'German'; set quote_all_identifiers to on; set bytea_output to 'escape'",
    )
    .await;
    assert_settled(&mut client, &project).await;
}

#[tokio::test]
async fn every_default_reads_back_as_the_value_it_was_written_from() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &rich()).await;
    run(&client, "insert into public.defaults default values; set intervalstyle to 'postgres'").await;
    let fields = [
        ("text", "it's \\ \"odd\""),
        ("empty", ""),
        ("nothing", "null"),
        ("integer", "-5"),
        ("bigint", "-9223372036854775808"),
        ("float", "-0.1"),
        ("nan", "NaN"),
        ("decimal", "1.50"),
        ("boolean", "false"),
        ("uuid", "00000000-0000-0000-0000-000000000007"),
        ("timestamp at time zone 'UTC'", "1999-12-31 23:59:59.999999"),
        ("ever", "infinity"),
        ("time", "24:00:00"),
        ("interval", "1 year 2 mons -3 days +00:00:01.000001"),
        ("json", r#"{"a": ["it's", null, 1.5, "\\"]}"#),
        ("bytes", "\\x00ff"),
        ("inet", "2001:db8::1/64"),
        ("none", "{}"),
        ("some", r#"{"a,\"b\\",NULL}"#),
        ("numbers", "{-1}"),
        ("caller", "null"),
    ];
    for (field, expected) in fields {
        let quoted = match field.split_once(' ') {
            Some((name, rest)) => format!("\"{name}\" {rest}"),
            None => format!("\"{field}\""),
        };
        let value = column(&client, &format!("select ({quoted})::text from public.defaults")).await;
        assert_eq!(value, [expected], "{field}");
    }
    assert_eq!(column(&client, "select date - date '2000-01-01' from public.defaults").await, ["-800000"]);
    assert_eq!(
        column(&client, "select seen = now() or seen > now() - interval '1 min' from defaults").await,
        ["t"]
    );
    assert_eq!(column(&client, "select substr(id::text, 15, 1) from public.defaults").await, ["7"]);
}

#[tokio::test]
async fn nobody_bypasses_what_fields_declare() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &rich()).await;
    run(
        &client,
        "insert into auth.users (id) values ('00000000-0000-0000-0000-000000000001');
         insert into public.profiles (id, \"user\") values ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001')",
    )
    .await;
    let post = |column: &str, value: &str| {
        format!(
            "insert into public.posts (author, title{}) values ('00000000-0000-0000-0000-00000000000a', 'good'{})",
            if column.is_empty() { String::new() } else { format!(", {column}") },
            if column.is_empty() { String::new() } else { format!(", {value}") },
        )
    };
    for (column, value) in [
        ("", ""),
        ("slug", "'abc'"),
        ("slug", "null"),
        ("status", "'it''s'"),
        ("moods", "'{calm,glad,NULL}'"),
        ("moods", "'{}'"),
        ("stars", "-1"),
        ("price", "9.5"),
        ("day", "'infinity'"),
        ("tags", "'{a,b}'"),
    ] {
        run(&client, &post(column, value)).await;
    }
    for (column, value, constraint) in [
        ("slug", "'ABC'", "posts_slug_match_check"),
        ("slug", "'abc'", "posts_slug_key"),
        ("status", "'other'", "posts_status_values_check"),
        ("moods", "'{calm,other}'", "posts_moods_values_check"),
        ("stars", "-2", "posts_stars_min_check"),
        ("stars", "6", "posts_stars_max_check"),
        ("price", "'NaN'", "posts_price_max_check"),
        ("price", "0.4999", "posts_price_min_check"),
        ("day", "'1999-12-31'", "posts_day_min_check"),
        ("tags", "'{}'", "posts_tags_min_check"),
        ("tags", "'{a,b,c}'", "posts_tags_max_check"),
        ("parent", "gen_random_uuid()", "posts_parent_fkey"),
    ] {
        assert_eq!(violates(&client, &post(column, value)).await, constraint, "{column} = {value}");
    }
    let titled = |title: &str| {
        format!(
            "insert into public.posts (author, title) values ('00000000-0000-0000-0000-00000000000a', {title})"
        )
    };
    run(&client, &titled("'äöüäö'")).await;
    assert_eq!(violates(&client, &titled("'a'")).await, "posts_title_min_check");
    assert_eq!(violates(&client, &titled("'abcdef'")).await, "posts_title_max_check");
    assert_eq!(violates(&client, &titled("null")).await, "title");
    assert_eq!(violates(&client, "delete from public.profiles").await, "posts_author_fkey");
}

#[tokio::test]
async fn tables_carry_the_trigger_the_whole_old_row_and_the_publication() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    reach(&mut client, &rich()).await;
    run(
        &client,
        "insert into public.kinds (f_text, updated_at) values ('a', '2001-01-01');
         update public.kinds set f_text = 'b', updated_at = '2001-01-01'",
    )
    .await;
    assert_eq!(column(&client, "select updated_at > '2002-01-01' from public.kinds").await, ["t"]);
    let unpublished = "select relname from pg_class c where relkind = 'r' \
        and (relnamespace = 'public'::regnamespace or oid in ('auth.users'::regclass, 'auth.user_roles'::regclass, 'auth.sessions'::regclass, 'auth.revoked_keys'::regclass, 'storage.objects'::regclass)) \
        and (relreplident <> 'f' or not exists (select from pg_publication_tables p \
        where pubname = 'basewright' and p.tablename = c.relname))";
    assert_eq!(column(&client, unpublished).await, Vec::<String>::new());
    assert_eq!(column(&client, "select count(*) from pg_publication_tables").await, ["12"]);
}

#[tokio::test]
async fn a_plan_from_nothing_shows_each_collection_in_a_line() {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let project = project([
        collection("posts").field(field("title", "text")),
        collection("comments").relation(field("post", "uuid"), "posts", OnDelete::Cascade),
    ]);
    let plan = planned(&mut client, &project).await;
    assert_eq!(
        plan.render(),
        "+ comments     new collection with 4 fields        safe\n\
         + posts        new collection with 4 fields        safe\n\
         + comments     add foreign key comments_post_fkey  safe\n\
         + publication  create, with 7 tables               safe\n"
    );
}
