//! Ordering, windows, ranges and what `Content-Range` says of them.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Ask, Stage};

fn ids(ids: impl IntoIterator<Item = i64>) -> Value {
    ids.into_iter().map(|id| json!({ "id": id })).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_ordered_as_asked_and_by_postgres_rules() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, order, order_ids) in [
        ("the default is ascending, nulls last", "order=size", [1, 2, 3, 4]),
        ("asc is the default said aloud", "order=size.asc", [1, 2, 3, 4]),
        ("desc has nulls first", "order=size.desc", [4, 3, 2, 1]),
        ("nullsfirst", "order=size.nullsfirst", [4, 1, 2, 3]),
        ("desc.nullslast", "order=size.desc.nullslast", [3, 2, 1, 4]),
        ("asc.nullsfirst", "order=size.asc.nullsfirst", [4, 1, 2, 3]),
        ("several columns order one after the other", "order=open.desc.nullslast,id.desc", [4, 1, 2, 3]),
        ("a JSON path orders as text", "order=data->>k.asc.nullsfirst,id.desc", [4, 3, 2, 1]),
        ("a column of order may be quoted", "order=\"size\".desc", [4, 3, 2, 1]),
        ("without order there is none but the table's own", "", [1, 2, 3, 4]),
    ] {
        facts.reads(says, &format!("things?select=id&{order}"), ids(order_ids)).await;
    }
    facts.refuses("order by an unknown column is 42703 (400)", "things?order=nothing", 400, "42703").await;
    facts.refuses("another direction is PGRST100 (400)", "things?order=size.up", 400, "PGRST100").await;
    facts
        .refuses(
            "nulls before the direction is PGRST100",
            "things?order=size.nullslast.desc",
            400,
            "PGRST100",
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_offsets_and_ranges_intersect() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let page = |first: i64, last: i64| json!({ "status": 200, "body": ids(first..=last), "content-range": format!("{}-{}/*", first - 1, last - 1) });
    for (says, window, expected) in [
        ("limit bounds a page", "limit=2", page(1, 2)),
        ("offset skips", "offset=2&limit=2", page(3, 4)),
        ("offset alone goes on to the row limit", "offset=7", page(8, 10)),
        ("the project's row limit caps a page silently", "", page(1, 6)),
        ("a higher limit than the project's is capped silently", "limit=9", page(1, 6)),
        (
            "limit=0 is an empty array",
            "limit=0",
            json!({ "status": 200, "body": [], "content-range": "*/*" }),
        ),
        ("an empty page is */*", "offset=50", json!({ "status": 200, "body": [], "content-range": "*/*" })),
        ("the last limit of several counts", "limit=1&limit=2", page(1, 2)),
    ] {
        facts.fact(says, Ask::get(format!("dots?order=id&{window}")), expected).await;
    }
    for (says, range, window, expected) in [
        ("Range: a-b is rows a to b", "2-3", "", page(3, 4)),
        ("Range: a- is from row a on", "8-", "", page(9, 10)),
        ("Range and limit intersect", "2-5", "limit=4", page(3, 4)),
        ("Range and offset intersect", "2-5", "offset=4", page(5, 6)),
        ("Range lies inside of limit and offset", "3-4", "offset=1&limit=8", page(4, 5)),
        ("limit=0 stays empty under a Range", "2-3", "limit=0", json!({ "status": 200, "body": [] })),
        ("a Range beyond the row limit is capped", "0-99", "", page(1, 6)),
        ("a Range in bytes asks nothing of rows", "bytes=0-1", "", page(1, 6)),
        ("what is no Range asks nothing of rows", "first-last", "", page(1, 6)),
    ] {
        let ask = Ask::get(format!("dots?order=id&{window}")).header("range", range);
        facts.fact(says, ask, expected).await;
    }
    let ask = Ask::get("dots?order=id").header("range-unit", "parsecs").header("range", "0-1");
    facts.fact("the Range-Unit is ignored", ask, page(1, 2)).await;
    let ask = Ask::head("dots?order=id").header("range", "0-1");
    facts.fact("Range counts for GET alone", ask, json!({ "content-range": "0-5/*" })).await;
    for (says, ask, details) in [
        (
            "a negative limit is PGRST103 (416)",
            Ask::get("dots?limit=-1"),
            "Limit should be greater than or equal to zero.",
        ),
        (
            "a negative offset is PGRST103 (416)",
            Ask::get("dots?offset=-1"),
            "Offset should be greater than or equal to zero.",
        ),
        (
            "a Range that ends before it begins is PGRST103 (416)",
            Ask::get("dots").header("range", "5-3"),
            "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
        ),
        (
            "a Range and an offset without a row in common are PGRST103 (416)",
            Ask::get("dots?offset=5").header("range", "0-1"),
            "The Range header and the limit and offset have no row in common.",
        ),
    ] {
        let expected = json!({ "status": 416, "code": "PGRST103", "details": details });
        facts.fact(says, ask, expected).await;
    }
    facts.refuses("a limit that is no number is PGRST100 (400)", "dots?limit=ten", 400, "PGRST100").await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_says_whether_the_page_is_all() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for count in ["exact", "planned", "estimated"] {
        for (says, window, status, range) in [
            ("a page that is less than a known total is 206", "limit=2", 206, "0-1/10"),
            ("a page capped by the row limit is 206", "", 206, "0-5/10"),
            ("a page that covers the total is 200", "id=lt.4", 200, "0-2/3"),
            ("nothing found of nothing is 200", "id=gt.50", 200, "*/0"),
            ("the end itself is an empty page of 206", "offset=10", 206, "*/10"),
            ("limit=0 of some is an empty page of 206", "limit=0", 206, "*/10"),
            ("an offset beyond the total is PGRST103 (416)", "offset=11", 416, "*/10"),
        ] {
            if count != "exact" {
                // The planner knows these figures of a table that was analysed; of a filter it makes them up.
                if window.contains("id=") {
                    continue;
                }
                stage.database.connect_owner().await.batch_execute("analyze dots").await.unwrap();
            }
            let says = format!("{says}, by count={count}");
            let ask = Ask::get(format!("dots?order=id&{window}")).prefer(if count == "exact" {
                "count=exact"
            } else if count == "planned" {
                "count=planned"
            } else {
                "count=estimated"
            });
            facts.fact(&says, ask, json!({ "status": status, "content-range": range })).await;
        }
    }
    facts
        .fact(
            "what is said of an offset beyond the total",
            Ask::get("dots?offset=11").prefer("count=exact"),
            json!({
                "code": "PGRST103",
                "message": "Requested range not satisfiable",
                "details": "An offset of 11 was requested, but there are only 10 rows.",
            }),
        )
        .await;
    facts
        .fact(
            "without a count an offset beyond the total is an empty 200",
            Ask::get("dots?offset=11"),
            json!({ "status": 200, "body": [], "content-range": "*/*" }),
        )
        .await;
    facts
        .fact(
            "HEAD answers the headers of the page and no body",
            Ask::head("dots?limit=2").prefer("count=exact"),
            json!({ "status": 206, "content-range": "0-1/10", "body": null, "content-type": "application/json; charset=utf-8" }),
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_know_no_window() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let stocks: Vec<Value> = (1..=9).map(|id| json!({ "id": id, "code": format!("c{id}") })).collect();
    let post = |path: &str| Ask::new(Method::POST, path).by(&stage.user);
    facts
        .fact(
            "POST answers */* without a count",
            post("stocks").json(json!({ "id": 100, "code": "x" })),
            json!({ "status": 201, "content-range": "*/*" }),
        )
        .await;
    let ask = post("stocks?limit=1&select=id&order=id").prefer("return=representation,count=exact");
    let expected = json!({ "status": 201, "content-range": "*/9", "body": ids(1..=9) });
    facts
        .fact(
            "POST answers */n with a count, and no row limit or limit bounds it",
            ask.json(json!(stocks)),
            expected,
        )
        .await;
    let patch = |path: &str| Ask::new(Method::PATCH, path).by(&stage.user).json(json!({ "amount": 1 }));
    facts
        .fact(
            "PATCH answers 0-(n-1)/n with a count, and ignores limit and offset",
            patch("stocks?id=lt.10&limit=1&offset=3").prefer("count=exact"),
            json!({ "status": 204, "content-range": "0-8/9" }),
        )
        .await;
    facts
        .fact(
            "PATCH answers 0-(n-1)/* without a count",
            patch("stocks?id=lt.4"),
            json!({ "status": 204, "content-range": "0-2/*" }),
        )
        .await;
    facts
        .fact(
            "PATCH of nothing answers */*",
            patch("stocks?id=eq.77"),
            json!({ "status": 204, "content-range": "*/*" }),
        )
        .await;
    let delete = |path: &str| Ask::new(Method::DELETE, path).by(&stage.user);
    facts
        .fact(
            "DELETE answers */n with a count, and ignores limit",
            delete("stocks?id=lt.6&limit=1").prefer("count=exact"),
            json!({ "status": 204, "content-range": "*/5" }),
        )
        .await;
    facts
        .fact(
            "DELETE answers */* without a count",
            delete("stocks?id=eq.6"),
            json!({ "status": 204, "content-range": "*/*" }),
        )
        .await;
    facts
        .fact(
            "a Range header is nothing to a mutation",
            delete("stocks?id=in.(7,8)").header("range", "0-0").prefer("count=exact"),
            json!({ "status": 204, "content-range": "*/2" }),
        )
        .await;
    facts.end();
}
