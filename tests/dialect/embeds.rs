//! Embedding: targets, hints, joins, spreads, and the parameters that reach into embeds.

use reqwest::Method;
use serde_json::json;

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_hints_name_a_relationship() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let (ada, bob) = (json!({ "name": "Ada" }), json!({ "name": "Bob" }));
    let parts = json!([{ "id": 1 }, { "id": 2 }]);
    for (says, select, rows) in [
        ("a target is a related table's name", "id,parts(id)", json!([{ "id": 1, "parts": parts }])),
        (
            "a target is a foreign key's constraint",
            "things_maker_fkey(name)",
            json!([{ "things_maker_fkey": ada }]),
        ),
        ("a target is a foreign key's column, and then to-one", "maker(name)", json!([{ "maker": ada }])),
        (
            "a hint is the foreign key's constraint",
            "makers!things_keeper_fkey(name)",
            json!([{ "makers": bob }]),
        ),
        ("a hint is the foreign key's column", "makers!maker(name)", json!([{ "makers": ada }])),
        ("a hint is the junction table", "tags!thing_tags(word)", json!([{ "tags": [{ "word": "small" }] }])),
        ("an alias names the embed", "by:maker(name)", json!([{ "by": ada }])),
        (
            "the same target stands twice under aliases",
            "a:maker(name),b:keeper(name)",
            json!([{ "a": ada, "b": bob }]),
        ),
        ("hint, then join", "makers!maker!inner(name)", json!([{ "makers": ada }])),
        ("join, then hint", "makers!inner!maker(name)", json!([{ "makers": ada }])),
        ("!left is the default said aloud", "makers!maker!left(name)", json!([{ "makers": ada }])),
        (
            "embeds nest",
            "parts(id,thing(maker(name)))&parts.limit=1",
            json!([{ "parts": [{ "id": 1, "thing": { "maker": ada } }] }]),
        ),
        (
            "a many-to-many embed goes through its junction",
            "tags(word)",
            json!([{ "tags": [{ "word": "small" }] }]),
        ),
        ("* may stand in an embed", "tags(id,word)", json!([{ "tags": [{ "id": 1, "word": "small" }] }])),
        ("white space in an embed is nothing", "maker( name )", json!([{ "maker": ada }])),
        (
            "casts and paths stand in embeds",
            "parts(n:amount::text)&parts.id=eq.1",
            json!([{ "parts": [{ "n": "6" }] }]),
        ),
    ] {
        facts.reads(says, &format!("things?id=eq.1&select={select}"), rows).await;
    }
    facts
        .reads(
            "a hint is the referenced column",
            "makers?id=eq.2&select=things!keeper(id)",
            json!([{ "things": [{ "id": 1 }] }]),
        )
        .await;
    facts
        .reads(
            "to-one is null where there is none",
            "things?id=eq.4&select=maker(name)",
            json!([{ "maker": null }]),
        )
        .await;
    facts
        .reads(
            "to-many is [] where there is none",
            "things?id=eq.4&select=parts(id)",
            json!([{ "parts": [] }]),
        )
        .await;
    facts
        .reads(
            "a foreign key that is unique is one-to-one from its other end",
            "staff?select=id,badges(code)&order=id&id=lt.3",
            json!([{ "id": 1, "badges": { "code": "b1" } }, { "id": 2, "badges": null }]),
        )
        .await;
    facts
        .reads(
            "a table that refers to itself means its children by its name",
            "staff?id=eq.1&select=staff(name)",
            json!([{ "staff": [{ "name": "Mid" }] }]),
        )
        .await;
    facts
        .reads(
            "and its parent by the column",
            "staff?id=eq.2&select=boss(name)",
            json!([{ "boss": { "name": "Top" } }]),
        )
        .await;
    facts
        .reads(
            "and its parent by the column as a hint",
            "staff?id=eq.2&select=staff!boss(name)",
            json!([{ "staff": { "name": "Top" } }]),
        )
        .await;
    facts
        .fact(
            "no relationship is PGRST200 (400), and details say what was searched",
            Ask::get("things?select=dots(id)"),
            json!({
                "status": 400,
                "code": "PGRST200",
                "message": "Could not find a relationship between 'things' and 'dots' in the schema cache",
                "details": "Searched for a foreign key relationship between 'things' and 'dots' in the schema 'public', but no matches were found.",
                "hint": null,
            }),
        )
        .await;
    facts
        .refuses("a hint that fits nothing is PGRST200", "things?select=makers!dots(id)", 400, "PGRST200")
        .await;
    facts
        .refuses(
            "a table that does not exist is no relationship",
            "things?select=unicorns(id)",
            400,
            "PGRST200",
        )
        .await;
    facts
        .refuses("a table of no rule is no relationship", "things?select=secrets(id)", 400, "PGRST200")
        .await;
    facts
        .fact(
            "several relationships are PGRST201 (300), with their list and the spellings that tell them apart",
            Ask::get("things?select=makers(name)"),
            json!({
                "status": 300,
                "code": "PGRST201",
                "message": "Could not embed because more than one relationship was found for 'things' and 'makers'",
                "details": [
                    {
                        "cardinality": "many-to-one",
                        "embedding": "things with makers",
                        "relationship": "things_maker_fkey using things(maker) and makers(id)",
                    },
                    {
                        "cardinality": "many-to-one",
                        "embedding": "things with makers",
                        "relationship": "things_keeper_fkey using things(keeper) and makers(id)",
                    },
                ],
                "hint": "Try changing 'makers' to one of the following: 'makers!things_maker_fkey', 'makers!things_keeper_fkey'. Find the desired relationship in the 'details' key.",
            }),
        )
        .await;
    facts
        .refuses(
            "the same target twice needs an alias: 42712 (400)",
            "things?select=parts(id),parts(word)",
            400,
            "42712",
        )
        .await;
    facts
        .refuses("an embed in an unknown column is 42703", "things?select=parts(nothing)", 400, "42703")
        .await;
    let views = "create view public.seen as select * from public.makers;
        create function public.first_part(public.things) returns setof public.parts rows 1 language sql stable
            as 'select * from public.parts where thing = $1.id limit 1';";
    stage.database.connect_owner().await.batch_execute(views).await.unwrap();
    for (says, path, status, code) in [
        (
            "a table between two others is a junction only by its key: PGRST200",
            "makers?select=makers(id)",
            400,
            "PGRST200",
        ),
        ("a view is no resource: PGRST205 (404)", "seen", 404, "PGRST205"),
        ("a view inherits no keys: PGRST200", "things?select=seen(id)", 400, "PGRST200"),
        ("a computed relationship is none: PGRST200", "things?select=first_part(id)", 400, "PGRST200"),
    ] {
        facts.refuses(says, path, status, code).await;
    }
    facts.refuses("two joins are PGRST100", "things?select=makers!inner!left(id)", 400, "PGRST100").await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_reach_into_embeds_and_embeds_filter_their_parents() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, query, rows) in [
        (
            "without !inner a filter on the embed filters the embedded rows alone",
            "select=id,parts(id)&parts.word=eq.eye&id=lt.3&order=id",
            json!([{ "id": 1, "parts": [{ "id": 2 }] }, { "id": 2, "parts": [] }]),
        ),
        (
            "!inner drops parents without a match",
            "select=id,parts!inner(id)&order=id",
            json!([
                { "id": 1, "parts": [{ "id": 1 }, { "id": 2 }] }, { "id": 2, "parts": [{ "id": 3 }] },
            ]),
        ),
        (
            "with !inner a filter on the embed filters the parents",
            "select=id,parts!inner(id)&parts.word=eq.eye",
            json!([{ "id": 1, "parts": [{ "id": 2 }] }]),
        ),
        (
            "an empty embed joins without a member",
            "select=id,parts!inner()&parts.word=eq.eye",
            json!([{ "id": 1 }]),
        ),
        (
            "rel=is.null is an anti-join",
            "select=id,parts()&parts=is.null&order=id",
            json!([{ "id": 3 }, { "id": 4 }]),
        ),
        (
            "rel=not.is.null is a semi-join",
            "select=id,parts()&parts=not.is.null&order=id",
            json!([{ "id": 1 }, { "id": 2 }]),
        ),
        (
            "an anti-join stands in logic",
            "select=id,parts()&or=(parts.is.null,id.eq.1)&order=id",
            json!([{ "id": 1 }, { "id": 3 }, { "id": 4 }]),
        ),
        (
            "a negated semi-join stands in logic",
            "select=id,parts()&or=(parts.not.is.null,id.eq.4)&order=id",
            json!([{ "id": 1 }, { "id": 2 }, { "id": 4 }]),
        ),
        (
            "rel.col=op.value filters an embed",
            "select=parts(id)&id=eq.1&parts.amount=gt.2",
            json!([{ "parts": [{ "id": 1 }] }]),
        ),
        (
            "rel.order orders an embed",
            "select=parts(id)&id=eq.1&parts.order=id.desc",
            json!([{ "parts": [{ "id": 2 }, { "id": 1 }] }]),
        ),
        (
            "rel.limit bounds an embed",
            "select=parts(id)&id=eq.1&parts.order=id&parts.limit=1",
            json!([{ "parts": [{ "id": 1 }] }]),
        ),
        (
            "rel.offset skips in an embed",
            "select=parts(id)&id=eq.1&parts.order=id&parts.offset=1",
            json!([{ "parts": [{ "id": 2 }] }]),
        ),
        (
            "rel.or=(…) reaches an embed",
            "select=parts(id)&id=eq.1&parts.or=(word.eq.eye,amount.eq.99)",
            json!([{ "parts": [{ "id": 2 }] }]),
        ),
        (
            "rel.and=(…) reaches an embed",
            "select=parts(id)&id=eq.1&parts.and=(word.eq.leg,amount.eq.6)",
            json!([{ "parts": [{ "id": 1 }] }]),
        ),
        (
            "rel.not.or=(…) reaches an embed",
            "select=parts(id)&id=eq.1&parts.not.or=(word.eq.eye,amount.eq.99)",
            json!([{ "parts": [{ "id": 1 }] }]),
        ),
        (
            "rel.not.and=(…) reaches an embed",
            "select=parts(id)&id=eq.1&parts.not.and=(word.eq.leg,amount.eq.6)",
            json!([{ "parts": [{ "id": 2 }] }]),
        ),
        (
            "rel.sub.order reaches an embed's embed",
            "select=maker(things!maker(id))&id=eq.1&maker.things.order=id.desc",
            json!([{ "maker": { "things": [{ "id": 2 }, { "id": 1 }] } }]),
        ),
        (
            "rel.sub.col=op.value filters an embed's embed",
            "select=maker(things!maker(id))&id=eq.1&maker.things.size=eq.20",
            json!([{ "maker": { "things": [{ "id": 2 }] } }]),
        ),
        (
            "a path goes by the alias",
            "select=p:parts(id)&id=eq.1&p.word=eq.eye",
            json!([{ "p": [{ "id": 2 }] }]),
        ),
        (
            "a path goes by the target's name too",
            "select=p:parts(id)&id=eq.1&parts.word=eq.eye",
            json!([{ "p": [{ "id": 2 }] }]),
        ),
        (
            "order=rel(col) orders by a to-one relation",
            "select=id&select=id,maker()&order=maker(name).desc.nullslast,id",
            json!([{ "id": 3 }, { "id": 1 }, { "id": 2 }, { "id": 4 }]),
        ),
        (
            "order=rel(col).nullsfirst",
            "select=id,maker()&order=maker(name).nullsfirst,id&limit=1",
            json!([{ "id": 4 }]),
        ),
    ] {
        let query = query.strip_prefix("select=id&").unwrap_or(query);
        facts.reads(says, &format!("things?{query}"), rows).await;
    }
    facts
        .refuses(
            "any other operator on an embed is PGRST120 (400)",
            "things?select=parts()&parts=eq.1",
            400,
            "PGRST120",
        )
        .await;
    facts
        .fact(
            "a path that is not in select is PGRST108 (400)",
            Ask::get("things?select=id&parts.word=eq.eye"),
            json!({
                "status": 400,
                "code": "PGRST108",
                "message": "'parts' is not an embedded resource in this request",
                "hint": "Verify that 'parts' is included in the 'select' query parameter.",
            }),
        )
        .await;
    facts
        .refuses(
            "an order of what is not in select is PGRST108",
            "things?select=id&parts.order=id",
            400,
            "PGRST108",
        )
        .await;
    facts
        .refuses(
            "order=rel(col) of what is not in select is PGRST108",
            "things?order=maker(name)",
            400,
            "PGRST108",
        )
        .await;
    facts
        .refuses(
            "order=rel(col) of a to-many relation is PGRST118 (400)",
            "things?select=parts()&order=parts(id)",
            400,
            "PGRST118",
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn spreads_hoist_members_and_writes_embed() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    for (says, query, rows) in [
        (
            "a to-one spread hoists its members",
            "select=id,...maker(by:name,town)&id=eq.1",
            json!([{ "id": 1, "by": "Ada", "town": "Ayr" }]),
        ),
        (
            "a to-one spread of nothing is null",
            "select=id,...maker(by:name)&id=eq.4",
            json!([{ "id": 4, "by": null }]),
        ),
        (
            "a to-many spread hoists each member as an array",
            "select=id,...parts(word,amount)&id=eq.1&parts.order=id",
            json!([{ "id": 1, "word": ["leg", "eye"], "amount": [6, 2] }]),
        ),
        (
            "the arrays of a spread share the embed's order",
            "select=...parts(word,amount)&id=eq.1&parts.order=amount",
            json!([{ "word": ["eye", "leg"], "amount": [2, 6] }]),
        ),
        (
            "a many-to-many spread hoists arrays",
            "select=...tags(word)&id=eq.2&tags.order=id",
            json!([{ "word": ["small", "loud"] }]),
        ),
        ("a to-many spread of nothing is []", "select=...parts(word)&id=eq.4", json!([{ "word": [] }])),
        (
            "a spread of a spread",
            "select=...maker(...things!keeper(kept:id))&id=eq.2",
            json!([{ "kept": [2] }]),
        ),
        ("a spread takes a hint", "select=...makers!keeper(name)&id=eq.1", json!([{ "name": "Bob" }])),
    ] {
        facts.reads(says, &format!("things?{query}"), rows).await;
    }
    facts
        .refuses(
            "an aggregate in a to-many spread is PGRST127 (400)",
            "things?select=...parts(count)",
            400,
            "PGRST127",
        )
        .await;
    let represented =
        |method: Method, path: &str| Ask::new(method, path).by(&stage.user).prefer("return=representation");
    facts
        .fact(
            "the representation of a POST embeds",
            represented(Method::POST, "stocks?select=id,maker(name)")
                .json(json!({ "id": 1, "code": "a", "maker": 1 })),
            json!({ "status": 201, "body": [{ "id": 1, "maker": { "name": "Ada" } }] }),
        )
        .await;
    facts
        .fact(
            "the representation of a PATCH embeds what was written",
            represented(Method::PATCH, "stocks?id=eq.1&select=id,...maker(by:name)")
                .json(json!({ "maker": 2 })),
            json!({ "status": 200, "body": [{ "id": 1, "by": "Bob" }] }),
        )
        .await;
    facts
        .fact(
            "the representation of a PUT embeds",
            represented(Method::PUT, "stocks?id=eq.1&select=maker(name)")
                .json(json!({ "id": 1, "code": "a", "maker": 3 })),
            json!({ "status": 200, "body": [{ "maker": { "name": "Cyd" } }] }),
        )
        .await;
    facts
        .fact(
            "the representation of a DELETE embeds",
            represented(Method::DELETE, "stocks?id=eq.1&select=id,maker(name)"),
            json!({ "status": 200, "body": [{ "id": 1, "maker": { "name": "Cyd" } }] }),
        )
        .await;
    facts.end();
}
