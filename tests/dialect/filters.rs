//! Horizontal filters: `column=[not.]operator[(modifier)].value`, logic and JSON paths.

use serde_json::json;

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_means_what_the_dialect_says() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, filter, ids) in [
        ("eq is =", "size=eq.20", &[2][..]),
        ("neq is <>, and null is neither", "size=neq.20", &[1, 3]),
        ("gt is >", "size=gt.20", &[3]),
        ("gte is >=", "size=gte.20", &[2, 3]),
        ("lt is <", "size=lt.20", &[1]),
        ("lte is <=", "size=lte.20", &[1, 2]),
        ("like is LIKE", "name=like.b%25", &[2]),
        ("a star in like also means %", "name=like.*e*", &[2]),
        ("like looks at the case", "name=like.d*", &[]),
        ("ilike is ILIKE", "name=ilike.d*", &[4]),
        ("in finds whatever stands in the list", "id=in.(1,3,9)", &[1, 3]),
        ("double quotes in a list protect commas and parentheses", "name=in.(ant,\"cow, (big)\")", &[1, 3]),
        ("a backslash in quotes escapes", r#"name=in.("Dog \"x\"")"#, &[4]),
        ("the empty list matches nothing", "id=in.()", &[]),
        ("not.in leaves the list out", "id=not.in.(1,3)", &[2, 4]),
        ("is.null", "size=is.null", &[4]),
        ("is.not_null", "size=is.not_null", &[1, 2, 3]),
        ("is.true", "open=is.true", &[1, 4]),
        ("is.false", "open=is.false", &[2]),
        ("is.unknown", "open=is.unknown", &[3]),
        ("is takes NULL in any case", "size=is.NULL", &[4]),
        ("is takes True in any case", "open=is.True", &[1, 4]),
        ("is takes Not_Null in any case", "size=is.Not_Null", &[1, 2, 3]),
        ("isdistinct is IS DISTINCT FROM, and null is distinct", "size=isdistinct.20", &[1, 3, 4]),
        ("cs is @> of arrays", "labels=cs.{b}", &[1, 2]),
        ("cs is @> of JSON", "data=cs.{\"k\":1}", &[1]),
        ("cd is <@ of arrays", "labels=cd.{a,b,x}", &[1, 3]),
        ("cd is <@ of JSON", "data=cd.[10,20,30]", &[3]),
        ("ov is && of arrays", "labels=ov.{c,x}", &[2]),
        ("fts is @@ to_tsquery", "note=fts.cat%26rat", &[2]),
        ("plfts is @@ plainto_tsquery", "note=plfts.cat rat", &[2]),
        ("phfts is @@ phraseto_tsquery", "note=phfts.fat cat", &[1]),
        ("wfts is @@ websearch_to_tsquery", "note=wfts.rat -cat", &[4]),
        ("a full-text operator takes a configuration", "note=fts(english).sitting", &[]),
        ("the configuration makes the words of the field too", "note=fts(simple).cats", &[2]),
        ("plfts takes a configuration", "note=plfts(english).rats", &[2, 4]),
        ("not. negates any operator", "size=not.eq.20", &[1, 3]),
        ("not. negates is", "size=not.is.null", &[1, 2, 3]),
        ("eq(any) holds for one of an array literal", "size=eq(any).{10,30}", &[1, 3]),
        ("eq(all)", "size=eq(all).{10,10}", &[1]),
        ("gt(all)", "size=gt(all).{10,20}", &[3]),
        ("gte(any)", "size=gte(any).{20,30}", &[2, 3]),
        ("lt(any)", "size=lt(any).{20,30}", &[1, 2]),
        ("lte(all)", "size=lte(all).{10,20}", &[1]),
        ("plfts looks into JSON", "data=plfts(simple).z", &[1]),
        ("repeated parameters of one name AND, with not", "size=not.eq.10&size=not.eq.20", &[3]),
        ("columns and on_conflict are no filters", "id=eq.1&columns=size&on_conflict=size", &[1]),
        ("gt(any)", "size=gt(any).{10,20}", &[2, 3]),
        ("gte(all)", "size=gte(all).{10,20}", &[2, 3]),
        ("lt(all)", "size=lt(all).{30,20}", &[1]),
        ("lte(any)", "size=lte(any).{10,20}", &[1, 2]),
        ("like(any), in which a star means % too", "name=like(any).{a*,*e}", &[1, 2]),
        ("like(all)", "name=like(all).{*e*,b*}", &[2]),
        ("ilike(any)", "name=ilike(any).{A*,D*}", &[1, 4]),
        ("ilike(all)", "name=ilike(all).{A*,*T}", &[1]),
        (
            "a quoted element of an array literal keeps its comma",
            "name=eq(any).{ant,\"cow, (big)\"}",
            &[1, 3],
        ),
        ("the same column repeated is AND", "size=gt.10&size=lt.30", &[2]),
        ("a quoted column name is a name", "\"size\"=eq.20", &[2]),
        ("a value of a parameter needs no quotes", "name=eq.cow, (big)", &[3]),
        ("a value of a parameter keeps its quotes", "name=eq.Dog \"x\"", &[4]),
        ("a value may hold dots", "name=neq.a.b.c", &[1, 2, 3, 4]),
        ("values are cast by the column: a number", "size=eq.020", &[2]),
        ("values are cast by the column: a boolean", "open=eq.t", &[1, 4]),
        ("values are cast by the column: a time", "at=eq.2024-03-12T04:04:05%2B01:00", &[1]),
        ("values are cast by the column: an array", "labels=eq.{a,b}", &[1]),
    ] {
        facts.finds(says, filter, ids).await;
    }
    for (says, filter, ids) in [
        ("match is ~", "name=match.^[ab]", json!([{ "id": 1 }, { "id": 2 }])),
        ("imatch is ~*", "name=imatch.^D", json!([{ "id": 4 }])),
        ("match(any)", "name=match(any).{^a,^b}", json!([{ "id": 1 }, { "id": 2 }])),
        ("match(all)", "name=match(all).{^a,t$}", json!([{ "id": 1 }])),
        ("imatch(any)", "name=imatch(any).{^A,^D}", json!([{ "id": 1 }, { "id": 4 }])),
        ("imatch(all)", "name=imatch(all).{^D,X}", json!([{ "id": 4 }])),
    ] {
        let ask = Ask::get(format!("things?select=id&order=id&{filter}")).by(&stage.user);
        facts.fact(says, ask, json!({ "status": 200, "body": ids })).await;
    }
    facts.refuses("match is for signed-in callers", "things?name=match.a", 401, "42501").await;
    for operator in ["sl", "sr", "nxl", "nxr", "adj"] {
        let says = format!("{operator} is for ranges, of which no kind exists: 42883 (404)");
        facts.refuses(&says, &format!("things?size={operator}.[1,2)"), 404, "42883").await;
    }
    for (says, path, status, code) in [
        ("a value that is none of the column's type is 22P02 (400)", "things?size=eq.abc", 400, "22P02"),
        ("one such value in a list is 22P02 (400)", "things?size=in.(1,abc)", 400, "22P02"),
        ("a malformed array is 22P02 (400)", "things?labels=cs.a", 400, "22P02"),
        (
            "a text search configuration that does not exist is 42704 (400)",
            "things?note=fts(klingon).a",
            400,
            "42704",
        ),
        ("a malformed tsquery is 42601 (400)", "things?note=fts.a b", 400, "42601"),
        ("an unknown column is 42703 (400)", "things?nothing=eq.1", 400, "42703"),
        ("a column with spaces, dashes and capitals is a column", "things?A b-c=eq.1", 400, "42703"),
        ("a quoted column may hold any reserved character", "things?\"a.b,c:d(e)\"=eq.1", 400, "42703"),
        ("an operator that the column's type has not is 42883 (404)", "things?size=like.1*", 404, "42883"),
        ("neq has no (any)", "things?size=neq(any).{1}", 400, "PGRST100"),
        ("is has no (any)", "things?size=is(any).{null}", 400, "PGRST100"),
        ("in has no (all)", "things?size=in(all).(1)", 400, "PGRST100"),
        ("cs has no (any)", "things?labels=cs(any).{a}", 400, "PGRST100"),
        ("is takes no other word", "things?size=is.five", 400, "PGRST100"),
        ("is.true of what is no boolean is 42804 (400)", "things?size=is.true", 400, "42804"),
        ("a value without an operator is PGRST100 (400)", "things?size=5", 400, "PGRST100"),
        ("an operator without a dot is PGRST100 (400)", "things?size=eq", 400, "PGRST100"),
        ("a list that is not closed is PGRST100 (400)", "things?id=in.(1,2", 400, "PGRST100"),
        ("(any) takes an array literal alone", "things?size=eq(any).10", 400, "PGRST100"),
    ] {
        facts.refuses(says, path, status, code).await;
    }
    facts
        .fact(
            "an unknown operator is PGRST100 (400) with the parser's text in details",
            Ask::get("things?size=equals.5"),
            json!({
                "status": 400,
                "code": "PGRST100",
                "message": "\"failed to parse filter (equals.5)\" (line 1, column 1)",
                "details": "unexpected \"e\" expecting \"not\" or operator (eq, gt, ...)",
                "hint": null,
            }),
        )
        .await;
    facts
        .fact(
            "Postgres' own text tells what is wrong with a value",
            Ask::get("things?size=eq.abc"),
            json!({ "message": "invalid input syntax for type integer: \"abc\"", "details": null, "hint": null }),
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn logic_nests_negates_and_protects_its_values() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, filter, ids) in [
        ("or=(…)", "or=(size.eq.10,size.eq.30)", &[1, 3][..]),
        ("and=(…)", "and=(size.gte.10,size.lte.20)", &[1, 2]),
        ("not.or=(…)", "not.or=(size.eq.10,size.eq.30)", &[2]),
        ("not.and=(…)", "not.and=(size.gte.10,size.lte.20)", &[3]),
        ("lists nest", "or=(id.eq.4,and(size.gt.10,not.open.is.null))", &[2, 4]),
        ("lists in lists are negated", "or=(id.eq.4,not.and(size.gt.10,open.is.null))", &[1, 2, 4]),
        ("a leaf is negated before its column", "or=(not.size.eq.10,id.eq.1)", &[1, 2, 3]),
        ("a leaf is negated before its operator", "or=(size.not.eq.10,id.eq.4)", &[2, 3, 4]),
        ("a leaf negated twice is itself", "or=(not.size.not.eq.10)", &[1]),
        ("one leaf makes a list", "or=(size.eq.10)", &[1]),
        (
            "white space between the parts is nothing",
            "or=( size.eq.10 , and( size.eq.20 , open.is.false ) )",
            &[1, 2],
        ),
        ("quotes protect a comma and parentheses of a value", "or=(name.eq.\"cow, (big)\",id.eq.1)", &[1, 3]),
        ("quotes protect escaped quotes of a value", r#"or=(name.eq."Dog \"x\"",id.eq.1)"#, &[1, 4]),
        ("in stands in logic", "or=(id.in.(1,2),name.in.(\"cow, (big)\"))", &[1, 2, 3]),
        ("the empty list stands in logic", "or=(id.in.(),id.eq.1)", &[1]),
        ("an array literal stands in logic with its commas", "or=(labels.cs.{a,b},id.eq.4)", &[1, 4]),
        ("an array literal keeps its quoted elements", "or=(labels.ov.{\"x,y)\",c},id.eq.4)", &[2, 4]),
        (
            "a JSON object stands in logic with its commas",
            "or=(data.cs.{\"k\":1,\"list\":[1,2]},id.eq.4)",
            &[1, 4],
        ),
        ("a modifier stands in logic", "or=(size.eq(any).{10,20},id.eq.4)", &[1, 2, 4]),
        ("a full-text operator stands in logic", "or=(note.fts(english).sit,id.eq.4)", &[4]),
        ("isdistinct stands in logic", "or=(size.isdistinct.20)", &[1, 3, 4]),
        ("is stands in logic, in any case", "or=(size.is.Null,open.is.FALSE)", &[2, 4]),
        ("a JSON path stands in logic", "or=(data->k.eq.1,data->>k.eq.nothing)", &[1]),
        ("a quoted name stands in logic", "or=(\"size\".eq.10,id.eq.2)", &[1, 2]),
        ("and and or stand beside each other", "or=(id.eq.1,id.eq.2)&and=(size.gt.10,size.lt.30)", &[2]),
        (
            "logic and a negated filter stand beside each other",
            "or=(labels.cs.{a},id.eq.4)&labels=not.is.null",
            &[1],
        ),
        ("repeated or parameters AND together", "or=(id.eq.1,id.eq.2)&or=(id.eq.2,id.eq.3)", &[2]),
        ("or and a plain filter AND together", "or=(id.eq.1,id.eq.2)&size=gt.10", &[2]),
    ] {
        facts.finds(says, filter, ids).await;
    }
    for (says, filter) in [
        ("a list without parentheses is PGRST100 (400)", "or=size.eq.1,id.eq.2"),
        ("a list that is not closed is refused", "or=(size.eq.1"),
        ("an empty list of conditions is refused", "or=()"),
        ("a comma too many is refused", "or=(size.eq.1,)"),
        ("a leaf without an operator is refused", "or=(size,id.eq.1)"),
        ("an unknown operator in logic is refused", "or=(size.equals.1)"),
        ("text behind the list is refused", "or=(size.eq.1)x"),
    ] {
        facts.refuses(says, &format!("things?{filter}"), 400, "PGRST100").await;
    }
    facts
        .refuses(
            "a range literal stands in logic with its comma, for 42883",
            "things?or=(size.sl.[1,2),id.eq.1)",
            404,
            "42883",
        )
        .await;
    facts
        .refuses("a range literal with parentheses, too", "things?or=(size.adj.(1,2],id.eq.1)", 404, "42883")
        .await;
    facts.refuses("an unknown column in logic is 42703", "things?or=(nothing.eq.1)", 400, "42703").await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn json_paths_lead_into_json_and_arrays() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, filter, ids) in [
        ("->> compares text", "data->>k=eq.1", &[1, 2][..]),
        ("-> compares jsonb, in which a number is a number", "data->k=eq.1", &[1]),
        ("-> compares jsonb, in which a text has its quotes", "data->k=eq.\"1\"", &[2]),
        ("-> orders jsonb", "data->list->0=gte.1", &[1]),
        ("an index leads into a list", "data->list->>1=eq.2", &[1]),
        ("a negative index counts from the end", "data->list->>-1=eq.3", &[1]),
        ("a list may be the document itself", "data->>0=eq.10", &[3]),
        ("a key may hold spaces", "data->deep->>x y=eq.z", &[1]),
        ("a key may be quoted", "data->deep->>\"x y\"=eq.z", &[1]),
        ("a path is null where it leads nowhere", "data->k=is.null", &[3, 4]),
        ("a path takes like, for it is text", "data->deep->>x y=like.*z*", &[1]),
        ("a path takes in", "data->>k=in.(1,2)", &[1, 2]),
        ("a path into an array takes the array as JSON", "labels->>0=eq.a", &[1]),
        ("a negative index of an array counts from the end", "labels->>-1=eq.c", &[2]),
        ("-> into an array compares jsonb", "labels->0=eq.\"b\"", &[2]),
    ] {
        facts.finds(says, filter, ids).await;
    }
    for (says, select, row) in [
        ("a path is named by its last key", "data->deep->>x y", json!({ "x y": "z" })),
        ("a path that ends in an index is named by the key before", "data->list->0", json!({ "list": 1 })),
        ("a path of indexes alone is named by the column", "labels->1", json!({ "labels": "b" })),
        ("an alias names a path", "first:data->list->>0", json!({ "first": "1" })),
        ("-> answers JSON", "data->list", json!({ "list": [1, 2, 3] })),
        ("->> answers text", "data->>list", json!({ "list": "[1, 2, 3]" })),
        ("a path that leads nowhere is null", "data->no->>where", json!({ "where": null })),
        ("a path is cast", "n:data->>k::integer", json!({ "n": 1 })),
    ] {
        facts.reads(says, &format!("things?id=eq.1&select={select}"), json!([row])).await;
    }
    facts
        .reads(
            "a path orders",
            "things?select=id&data=not.is.null&order=data->>k.desc.nullslast,id.desc",
            json!([{ "id": 2 }, { "id": 1 }, { "id": 3 }]),
        )
        .await;
    facts.refuses("nothing follows ->>", "things?data->>k->x=eq.1", 400, "PGRST100").await;
    facts.refuses("-> with what is no JSON is 22P02", "things?data->k=eq.x", 400, "22P02").await;
    facts.refuses("a path into a plain column is 42883 (404)", "things?size->k=eq.1", 404, "42883").await;
    facts.end();
}
