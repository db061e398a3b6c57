//! `select`: which members the rows of an answer have.

use serde_json::json;

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn select_picks_renames_and_casts() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let ada = json!({ "id": 1, "name": "Ada", "town": "Ayr" });
    let whole = stage.anyone.get("makers?id=eq.1&select=*").await.is(200);
    facts.holds("* is every column", whole[0]["id"] == 1 && whole[0].as_object().unwrap().len() == 5, &whole);
    facts.reads("a missing select is *", "makers?id=eq.1", whole.clone()).await;
    facts.reads("an empty select is *", "makers?id=eq.1&select=", whole.clone()).await;
    for (says, select, row) in [
        ("an alias renames", "who:name", json!({ "who": "Ada" })),
        ("an alias may be quoted", "\"full name\":name", json!({ "full name": "Ada" })),
        ("a column may be quoted", "\"name\"", json!({ "name": "Ada" })),
        ("white space around items is nothing", " id , name , town ", ada.clone()),
        ("a cast is CAST", "id::text", json!({ "id": "1" })),
        ("an alias and a cast", "key:id::text", json!({ "key": "1" })),
        ("* stands beside other items", "*,again:id", {
            let mut row = whole[0].clone();
            row["again"] = json!(1);
            row
        }),
    ] {
        facts.reads(says, &format!("makers?id=eq.1&select={select}"), json!([row])).await;
    }
    for (says, select, text) in [
        ("columns stand in the order asked for", "town,id,name", "town,id,name\nAyr,1,Ada"),
        ("a column asked for twice is answered twice", "id,id", "id,id\n1,1"),
        ("an alias that is a column's name makes two members of one name", "id,id:name", "id,id\n1,Ada"),
    ] {
        let ask = Ask::get(format!("makers?id=eq.1&select={select}")).accept("text/csv");
        facts.fact(says, ask, json!({ "status": 200, "body": text })).await;
    }
    for (says, select, status, code) in [
        ("a cast to a type that does not exist is 42704 (400)", "id::klingon", 400, "42704"),
        ("a cast that fails is 22P02 (400)", "name::integer", 400, "22P02"),
        ("an unknown column is 42703 (400)", "nothing", 400, "42703"),
        ("a comma too many is PGRST100 (400)", "id,,name", 400, "PGRST100"),
        ("aggregates are off: sum is PGRST123 (400)", "id.sum()", 400, "PGRST123"),
        ("aggregates are off: avg", "id.avg()", 400, "PGRST123"),
        ("aggregates are off: count of a column", "id.count()", 400, "PGRST123"),
        ("aggregates are off: max", "id.max()", 400, "PGRST123"),
        ("aggregates are off: min", "id.min()", 400, "PGRST123"),
        ("aggregates are off: count()", "count()", 400, "PGRST123"),
        ("aggregates are off with an alias and casts", "n:id::text.max()::text", 400, "PGRST123"),
        ("aggregates are off beside other columns", "town,id.sum()", 400, "PGRST123"),
        ("aggregates are off in embeds", "name,things!maker(size.sum())", 400, "PGRST123"),
        ("aggregates are off in spreads", "name,...things!maker(size.sum())", 400, "PGRST123"),
        ("a function that is no aggregate is PGRST100", "id.median()", 400, "PGRST100"),
    ] {
        facts.refuses(says, &format!("makers?select={select}"), status, code).await;
    }
    facts
        .fact(
            "that aggregates are off is said in so many words",
            Ask::get("makers?select=id.sum()"),
            json!({ "message": "Use of aggregate functions is not allowed" }),
        )
        .await;
    facts
        .reads(
            "rel(count) counts all the same",
            "things?select=id,parts(count)&order=id&id=lt.4",
            json!([
                { "id": 1, "parts": [{ "count": 2 }] },
                { "id": 2, "parts": [{ "count": 1 }] },
                { "id": 3, "parts": [{ "count": 0 }] },
            ]),
        )
        .await;
    facts
        .reads(
            "rel(count) counts what a filter of the embed leaves",
            "things?select=id,n:parts(count)&n.amount=gt.2&id=eq.1",
            json!([{ "id": 1, "n": [{ "count": 1 }] }]),
        )
        .await;
    facts.end();
}
