//! Writes: bodies, columns, upserts, `PUT`, and what a constraint says.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Ask, Stage};

const CSV: &str = "text/csv";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_csv_or_a_form() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let post = |path: &str| Ask::new(Method::POST, path).by(&stage.user).prefer("return=representation");
    let made = |rows: Value| json!({ "status": 201, "body": rows });
    facts
        .fact(
            "a JSON object is one record",
            post("stocks?select=id").json(json!({ "id": 1, "code": "a" })),
            made(json!([{ "id": 1 }])),
        )
        .await;
    facts
        .fact(
            "a JSON array is many",
            post("stocks?select=id&order=id")
                .json(json!([{ "id": 2, "code": "b" }, { "id": 3, "code": "c" }])),
            made(json!([{ "id": 2 }, { "id": 3 }])),
        )
        .await;
    facts
        .fact(
            "a body without a Content-Type is JSON",
            post("stocks?select=id").bare(r#"{ "id": 4, "code": "d" }"#),
            made(json!([{ "id": 4 }])),
        )
        .await;
    facts
        .fact(
            "a charset beside the Content-Type is nothing",
            post("stocks?select=id").text("application/json; charset=utf-8", r#"{ "id": 5, "code": "e" }"#),
            made(json!([{ "id": 5 }])),
        )
        .await;
    facts
        .fact(
            "a CSV has a header line and a line for each record",
            post("stocks?select=id,code&order=id").text(CSV, "id,code\n10,k\n11,l\n"),
            made(json!([{ "id": 10, "code": "k" }, { "id": 11, "code": "l" }])),
        )
        .await;
    facts
        .fact(
            "an unquoted NULL in a CSV is null, a quoted one is text",
            post("stocks?select=code,amount&order=id").text(CSV, "id,code,amount\n12,\"NULL\",NULL"),
            made(json!([{ "code": "NULL", "amount": null }])),
        )
        .await;
    facts
        .fact(
            "quoted fields of a CSV hold commas, quotes and line ends, and lines may end in CRLF",
            post("stocks?select=code&order=id").text(CSV, "id,code\r\n13,\"a,\"\"b\"\"\r\nc\"\r\n"),
            made(json!([{ "code": "a,\"b\"\r\nc" }])),
        )
        .await;
    let csv = "id,code,price,open,labels,data,many\n14,n,1.50,t,\"{x,NULL,\"\"y z\"\"}\",\"{\"\"a\"\": [1]}\",\"{\"\"[1]\"\"}\"";
    let said = json!([{
        "price": 1.5, "open": true, "labels": ["x", null, "y z"], "data": { "a": [1] }, "many": [[1]],
    }]);
    facts
        .fact(
            "a field of a CSV is what its column takes it for",
            post("stocks?select=price,open,labels,data,many").text(CSV, csv),
            made(said.clone()),
        )
        .await;
    let again = Ask::get("stocks?select=id,code,price,open,labels,data,many&id=eq.14")
        .accept(CSV)
        .answer(&stage)
        .await;
    let text = again.body.as_str().unwrap_or_default().replace("14,n", "15,o");
    facts
        .fact(
            "what is answered as CSV can be sent as CSV",
            post("stocks?select=price,open,labels,data,many").text(CSV, &text),
            made(said),
        )
        .await;
    facts
        .fact(
            "a form is one record",
            post("stocks?select=id,code,amount,labels")
                .text(FORM, "id=20&code=a+b%26c&amount=7&labels=%7Bx%2Cy%7D"),
            made(json!([{ "id": 20, "code": "a b&c", "amount": 7, "labels": ["x", "y"] }])),
        )
        .await;
    let patch = |path: &str| Ask::new(Method::PATCH, path).by(&stage.user).prefer("return=representation");
    facts
        .fact(
            "PATCH takes a CSV of one record",
            patch("stocks?id=eq.20&select=amount,code").text(CSV, "amount\n8"),
            json!({ "status": 200, "body": [{ "amount": 8, "code": "a b&c" }] }),
        )
        .await;
    facts
        .fact(
            "PATCH takes a form",
            patch("stocks?id=eq.20&select=amount").text(FORM, "amount=9"),
            json!({ "status": 200, "body": [{ "amount": 9 }] }),
        )
        .await;
    facts
        .fact(
            "PATCH of a CSV of two records is PGRST102",
            patch("stocks?id=eq.20").text(CSV, "amount\n8\n9"),
            json!({ "status": 400, "code": "PGRST102" }),
        )
        .await;
    facts
        .fact(
            "PUT takes a CSV of one record",
            Ask::new(Method::PUT, "stocks?id=eq.21").by(&stage.user).text(CSV, "id,code\n21,put"),
            json!({ "status": 201 }),
        )
        .await;
    facts
        .fact(
            "an upsert takes a CSV",
            post("stocks?select=id,code&order=id")
                .prefer("resolution=merge-duplicates")
                .text(CSV, "id,code\n21,up\n22,new"),
            made(json!([{ "id": 21, "code": "up" }, { "id": 22, "code": "new" }])),
        )
        .await;
    facts
        .fact(
            "columns= picks the columns of a CSV",
            post("stocks?columns=id,code&select=id,amount").text(CSV, "id,code,amount,other\n23,w,1,2"),
            made(json!([{ "id": 23, "amount": 5 }])),
        )
        .await;
    let wrong = Ask::new(Method::POST, "stocks")
        .by(&stage.user)
        .text(CSV, "id,code,amount\n30,x,many\n31,y,1")
        .answer(&stage)
        .await;
    facts.holds(
        "a field of a CSV that its column cannot take is told with its place",
        wrong.status == 400
            && wrong.body["code"] == "validation_failed"
            && wrong.body["fields"][0]["pointer"] == "/0/amount",
        &wrong.body,
    );
    let long = format!("id,code\n32,{}", "x".repeat(21));
    let wrong = Ask::new(Method::POST, "stocks").by(&stage.user).text(CSV, &long).answer(&stage).await;
    facts.holds(
        "a CSV meets the collection's schema like JSON",
        wrong.status == 400 && wrong.body["fields"][0]["code"] == "max",
        &wrong.body,
    );
    facts
        .fact(
            "a CSV meets the rules like JSON",
            Ask::new(Method::POST, "stocks").text(CSV, "id,code\n33,x"),
            json!({ "status": 401, "code": "42501" }),
        )
        .await;
    let many: Vec<String> = (0..100_000).map(|n| format!("c{n}")).collect();
    let many_form: Vec<String> = (0..100_000).map(|n| format!("c{n}=1")).collect();
    for (says, kind, body, message) in [
        ("an empty body is PGRST102 (400)", "application/json", "", "Empty or invalid json"),
        ("what is no JSON is PGRST102", "application/json", "{", "Empty or invalid json"),
        ("a JSON text or number is PGRST102", "application/json", "1", "Empty or invalid json"),
        ("an empty CSV is PGRST102", CSV, "", "Empty or invalid CSV"),
        (
            "ragged lines of a CSV are PGRST102",
            CSV,
            "id,code\n40",
            "All lines must have same number of fields",
        ),
        (
            "a line that is too long is PGRST102",
            CSV,
            "id,code\n40,x,y",
            "All lines must have same number of fields",
        ),
        ("an open quote in a CSV is PGRST102", CSV, "id,code\n40,\"x", "Empty or invalid CSV"),
        ("a column twice in a CSV is PGRST102", CSV, "id,id\n1,2", "Empty or invalid CSV"),
        ("100000 columns of a CSV are PGRST102", CSV, &many.join(","), "A record has too many members"),
        (
            "100000 members of a form are PGRST102",
            FORM,
            &many_form.join("&"),
            "A record has too many members",
        ),
        ("a NUL in a form is PGRST102", FORM, "code=%00", "The body holds a NUL character"),
        (
            "bytes of a form that are no text are PGRST102",
            FORM,
            "code=%ff",
            "The body holds bytes that are not UTF-8",
        ),
        ("a member twice in a form is PGRST102", FORM, "id=1&id=2", "The member \"id\" stands twice"),
    ] {
        let ask = Ask::new(Method::POST, "stocks").by(&stage.user).text(kind, body);
        facts.fact(says, ask, json!({ "status": 400, "code": "PGRST102", "message": message })).await;
    }
    let nul =
        Ask::new(Method::POST, "stocks").by(&stage.user).text(CSV, "id,code\n41,a\0b").answer(&stage).await;
    facts.holds(
        "a NUL in a CSV is refused with its place",
        nul.status == 400 && nul.body["fields"][0]["pointer"] == "/0/code",
        &nul.body,
    );
    facts
        .fact(
            "a column of a CSV that is not in the table is PGRST204 (400)",
            Ask::new(Method::POST, "stocks").by(&stage.user).text(CSV, "id,code,nothing\n42,x,1"),
            json!({ "status": 400, "code": "PGRST204" }),
        )
        .await;
    facts
        .fact(
            "another Content-Type is 415",
            Ask::new(Method::POST, "stocks").by(&stage.user).text("text/yaml", "id: 1"),
            json!({ "status": 415, "code": "PGRST107", "message": "Content-Type not acceptable: text/yaml" }),
        )
        .await;
    facts.reads("nothing of what was refused was written", "stocks?id=gte.30", json!([])).await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_say_which_keys_count() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let post = |path: &str, body: Value| {
        Ask::new(Method::POST, path).by(&stage.user).prefer("return=representation").json(body)
    };
    let patch = |path: &str, body: Value| {
        Ask::new(Method::PATCH, path).by(&stage.user).prefer("return=representation").json(body)
    };
    let one = json!({ "id": 1, "code": "a", "amount": 7, "other": true });
    facts
        .fact(
            "only the keys in columns= are used, others are ignored",
            post("stocks?columns=id,code&select=id,amount", one.clone()),
            json!({ "status": 201, "body": [{ "id": 1, "amount": 5 }] }),
        )
        .await;
    let two = json!([{ "id": 2, "code": "b", "price": 1 }, { "id": 3, "code": "c" }]);
    facts
        .fact(
            "columns= takes quoted names, and objects may then differ",
            post("stocks?columns=\"id\",\"code\"&select=id&order=id", two.clone()),
            json!({ "status": 201, "body": [{ "id": 2 }, { "id": 3 }] }),
        )
        .await;
    facts
        .fact(
            "a column in columns= that is not in the table is PGRST204 (400)",
            post("stocks?columns=id,\"no such\"", one.clone()),
            json!({
                "status": 400,
                "code": "PGRST204",
                "message": "Could not find the 'no such' column of 'stocks' in the schema cache",
            }),
        )
        .await;
    facts
        .fact(
            "a key that is not in the table is PGRST204, too",
            post("stocks", one),
            json!({
                "status": 400,
                "code": "PGRST204",
                "message": "Could not find the 'other' column of 'stocks' in the schema cache",
            }),
        )
        .await;
    facts
        .fact(
            "without columns= every object must have the same keys: PGRST102 (400)",
            post("stocks", two),
            json!({ "status": 400, "code": "PGRST102", "message": "All object keys must match" }),
        )
        .await;
    facts
        .fact(
            "columns= picks the keys of a PATCH",
            patch(
                "stocks?id=eq.1&columns=amount&select=code,amount",
                json!({ "amount": 8, "code": "ignored" }),
            ),
            json!({ "status": 200, "body": [{ "code": "a", "amount": 8 }] }),
        )
        .await;
    facts
        .fact(
            "columns= that is no list of names is PGRST100",
            post("stocks?columns=id,,x", json!({})),
            json!({ "status": 400, "code": "PGRST100" }),
        )
        .await;
    facts
        .fact(
            "POST {} inserts a record of defaults",
            post("blanks?select=note,size", json!({})),
            json!({ "status": 201, "body": [{ "note": "empty", "size": null }] }),
        )
        .await;
    facts
        .fact(
            "POST [] inserts nothing, 201 and []",
            post("blanks", json!([])),
            json!({ "status": 201, "body": [] }),
        )
        .await;
    facts
        .fact(
            "POST [] without a representation is 201",
            Ask::new(Method::POST, "blanks").by(&stage.user).json(json!([])),
            json!({ "status": 201, "body": null }),
        )
        .await;
    for (says, body) in [
        ("PATCH with {} touches no rows", json!({})),
        ("PATCH with [] touches no rows", json!([])),
        ("PATCH with [{}] touches no rows", json!([{}])),
    ] {
        facts
            .fact(
                says,
                patch("stocks?id=eq.1", body),
                json!({ "status": 200, "body": [], "content-range": "*/*" }),
            )
            .await;
    }
    facts
        .fact(
            "PATCH with {} without a representation is 204",
            Ask::new(Method::PATCH, "stocks?id=eq.1").by(&stage.user).json(json!({})),
            json!({ "status": 204, "body": null }),
        )
        .await;
    facts
        .fact(
            "a representation is ordered and selected",
            patch("stocks?select=id&order=id.desc", json!({ "amount": 1 })),
            json!({ "status": 200, "body": [{ "id": 3 }, { "id": 2 }, { "id": 1 }] }),
        )
        .await;
    facts
        .fact(
            "a list of JSON takes lists as its elements, one record or many",
            post(
                "stocks?select=many&order=id",
                json!([{ "id": 50, "code": "x", "many": [[1, [2]], [], null, { "a": [] }] }, { "id": 51, "code": "y", "many": [] }]),
            ),
            json!({ "status": 201, "body": [{ "many": [[1, [2]], [], null, { "a": [] }] }, { "many": [] }] }),
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_and_puts_say_whether_something_is_new() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let merge = |path: &str, body: Value| {
        Ask::new(Method::POST, path).by(&stage.user).prefer("resolution=merge-duplicates").json(body)
    };
    let put = |path: &str, body: Value| Ask::new(Method::PUT, path).by(&stage.user).json(body);
    let one = |amount: i64| json!({ "id": 1, "code": "a", "amount": amount });
    facts
        .fact(
            "an upsert of a new record is 201",
            merge("stocks", one(1)),
            json!({ "status": 201, "body": null }),
        )
        .await;
    facts
        .fact("an upsert of none that is new is 200", merge("stocks", one(2)), json!({ "status": 200 }))
        .await;
    facts
        .fact(
            "an upsert of some that are new is 201",
            merge("stocks", json!([one(3), { "id": 2, "code": "b", "amount": 3 }])),
            json!({ "status": 201 }),
        )
        .await;
    facts
        .fact(
            "an upsert updates every column of the body",
            Ask::get("stocks?select=id,amount&order=id"),
            json!({ "body": [{ "id": 1, "amount": 3 }, { "id": 2, "amount": 3 }] }),
        )
        .await;
    facts
        .fact(
            "an upsert by a key of several columns",
            merge("marks", json!({ "who": 1, "what": "w", "stars": 1 })),
            json!({ "status": 201 }),
        )
        .await;
    facts
        .fact(
            "an upsert that meets another unique constraint is 409",
            merge("stocks", json!({ "id": 9, "code": "a" })),
            json!({ "status": 409, "code": "23505" }),
        )
        .await;
    facts
        .fact(
            "an upsert that names a record twice is 21000 (400)",
            merge("stocks", json!([one(1), one(2)])),
            json!({ "status": 400, "code": "21000" }),
        )
        .await;
    let new = json!({ "id": 5, "code": "five", "amount": 1 });
    facts
        .fact(
            "PUT of a new record is 201",
            put("stocks?id=eq.5", new.clone()),
            json!({ "status": 201, "body": null }),
        )
        .await;
    facts
        .fact(
            "PUT of a stored one is 204",
            put("stocks?id=eq.5", new.clone()),
            json!({ "status": 204, "body": null }),
        )
        .await;
    facts
        .fact(
            "PUT of a stored one with a representation is 200",
            put("stocks?id=eq.5&select=id", new.clone()).prefer("return=representation"),
            json!({ "status": 200, "body": [{ "id": 5 }] }),
        )
        .await;
    facts
        .fact(
            "PUT of a new one with a representation is 201",
            put("stocks?id=eq.6&select=id", json!({ "id": 6, "code": "six" }))
                .prefer("return=representation"),
            json!({ "status": 201, "body": [{ "id": 6 }] }),
        )
        .await;
    for (says, path) in [
        ("PUT without a filter is PGRST105 (405)", "stocks"),
        ("PUT by another column is PGRST105", "stocks?code=eq.five"),
        ("PUT by the key and another column is PGRST105", "stocks?id=eq.5&code=eq.five"),
        ("PUT by another operator is PGRST105", "stocks?id=gt.5"),
        ("PUT by a negated key is PGRST105", "stocks?id=not.eq.5"),
        ("PUT by logic is PGRST105", "stocks?or=(id.eq.5)"),
    ] {
        facts.fact(says, put(path, new.clone()), json!({ "status": 405, "code": "PGRST105" })).await;
    }
    facts
        .fact(
            "PUT by part of a key is PGRST105",
            put("marks?who=eq.1", json!({ "who": 1, "what": "w" })),
            json!({ "status": 405, "code": "PGRST105", "message": "Filters must include all and only primary key columns with 'eq' operators" }),
        )
        .await;
    facts
        .fact(
            "PUT with a limit is PGRST114 (400)",
            put("stocks?id=eq.5&limit=1", new.clone()),
            json!({ "status": 400, "code": "PGRST114", "message": "limit/offset querystring parameters are not allowed for PUT" }),
        )
        .await;
    facts
        .fact(
            "PUT with an offset is PGRST114",
            put("stocks?id=eq.5&offset=1", new),
            json!({ "status": 400, "code": "PGRST114" }),
        )
        .await;
    for (says, body) in [
        ("PUT of a body with another key is PGRST115 (400)", json!({ "id": 6, "code": "five" })),
        ("PUT of a body without the key is PGRST115", json!({ "code": "five" })),
        (
            "PUT of several records is PGRST115",
            json!([{ "id": 5, "code": "five" }, { "id": 5, "code": "five" }]),
        ),
    ] {
        let expected = json!({ "status": 400, "code": "PGRST115", "message": "Payload values do not match URL in primary key column(s)" });
        facts.fact(says, put("stocks?id=eq.5", body), expected).await;
    }
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_answer_without_values() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let post = |body: Value| Ask::new(Method::POST, "stocks").by(&stage.user).json(body);
    facts
        .fact("a first record is written", post(json!({ "id": 1, "code": "a" })), json!({ "status": 201 }))
        .await;
    facts
        .fact(
            "23505 is 409, and names the constraint but no value",
            post(json!({ "id": 2, "code": "a" })),
            json!({
                "status": 409,
                "code": "23505",
                "message": "duplicate key value violates unique constraint \"stocks_code_key\"",
                "details": null,
            }),
        )
        .await;
    facts
        .fact(
            "23503 is 409 where a reference leads nowhere",
            post(json!({ "id": 3, "code": "c", "maker": 77 })),
            json!({ "status": 409, "code": "23503" }),
        )
        .await;
    facts
        .fact(
            "a reference is made",
            post(json!({ "id": 4, "code": "d", "maker": 3 })),
            json!({ "status": 201 }),
        )
        .await;
    facts
        .fact(
            "23503 is 409 where others refer to what is deleted",
            Ask::new(Method::DELETE, "makers?id=eq.3").by(&stage.user),
            json!({ "status": 409, "code": "23503" }),
        )
        .await;
    facts
        .fact(
            "23502 is 400: a null where none may stand is told before Postgres is asked",
            post(json!({ "id": 5, "code": null })),
            json!({ "status": 400, "code": "validation_failed" }),
        )
        .await;
    facts
        .fact(
            "a missing required field is 400",
            post(json!({ "id": 5 })),
            json!({ "status": 400, "code": "validation_failed", "details": "1 field is at fault: /code is required" }),
        )
        .await;
    facts
        .fact(
            "22xxx is 400: a number out of range",
            post(json!({ "id": 3_000_000_000_i64, "code": "x" })),
            json!({ "status": 400, "code": "validation_failed" }),
        )
        .await;
    facts
        .fact(
            "23514 is 400: a check of the table, of a value that only Postgres reads",
            post(json!({ "id": 6, "code": "f", "amount": "-1" })),
            json!({ "status": 400, "code": "23514" }),
        )
        .await;
    facts
        .fact(
            "a value of a filter that is none of its type is 22P02 (400) in a write, too",
            Ask::new(Method::PATCH, "stocks?id=eq.x").by(&stage.user).json(json!({ "amount": 1 })),
            json!({ "status": 400, "code": "22P02" }),
        )
        .await;
    facts.end();
}
