//! The declared full-text column: what it finds, that it is no field, and that it tells of nothing that its caller
//! may not know.

use std::collections::BTreeMap;

use basewright::catalog::Catalog;
use basewright::model::Principal;
use basewright::project::{Sources, load};
use basewright::query::parse::{Bounds, parameters, read};
use basewright::query::plan::{Context, ReadPlan};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &str = "
roles:
  editor: { inherits: [authenticated] }
collections:
  posts:
    fields:
      id: integer
      title: { type: text, required: true }
      body: text
      kind: { type: enum, values: [essay, report] }
      tags: 'text[]'
      meta: json
      rank: integer
    search: { fields: [title, body, kind, tags, meta], language: english }
  comments:
    fields:
      id: integer
      post: { type: relation, to: posts, on_delete: cascade }
      text: text
      draft: { type: boolean, default: false }
    search: { fields: [text] }
  diaries:
    fields:
      id: integer
      owner: uuid
      title: { type: text, required: true }
      note: text
    search: { fields: [title, note], language: english }
  letters:
    fields:
      id: integer
      diary: { type: relation, to: diaries }
      text: text
    search: { fields: [text], language: english }
  plain:
    fields: { id: integer, title: text }
policies:
  posts:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
    update: [{ role: authenticated }]
    delete: [{ role: authenticated }]
  comments:
    read: [{ role: anon, when: draft != true }, { role: editor }]
  diaries:
    read:
      - { role: anon, fields: [id, title] }
      - { role: authenticated, when: owner == auth.id }
      - { role: editor, fields: [id, title, note] }
    update: [{ role: authenticated, fields: [title, note] }]
  letters:
    read: [{ role: authenticated, when: diary.owner == auth.id }]
  plain:
    read: [{ role: anon }]
";

struct Site {
    anonymous: Caller,
    user: Caller,
    other: Caller,
    editor: Caller,
    secret: Caller,
    _server: Server,
    database: Database,
    _folder: Folder,
}

impl Site {
    async fn open() -> Site {
        let folder = Folder::with(&[("all.yaml", PROJECT)]);
        let database = database().await;
        // A plan that knows the values has read a query before it starts; one that does not, reads it on the way.
        let generic = "do $$ begin execute format('alter database %I set plan_cache_mode = force_generic_plan', current_database()); end $$";
        database.connect_admin().await.batch_execute(generic).await.unwrap();
        let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
        Site {
            anonymous: Caller::anonymous(&server),
            user: Caller::user(&server, &[]),
            other: Caller::user(&server, &[]),
            editor: Caller::user(&server, &["editor"]),
            secret: Caller::secret(&server),
            _server: server,
            database,
            _folder: folder,
        }
    }

    /// With posts and comments.
    async fn with_posts() -> Site {
        let site = Site::open().await;
        let posts = json!([
            { "id": 1, "title": "The running cats", "body": "A fat one sat", "kind": "essay", "tags": ["Boats", null, "rivers"], "meta": { "place": "Lisbon", "n": [1, "harbour"] } },
            { "id": 2, "title": "A dog", "body": "It runs after a cat, fat as it is", "kind": "report", "tags": [], "meta": null },
            { "id": 3, "title": "Nothing of note", "body": null, "kind": null, "tags": null, "meta": {} },
        ]);
        site.secret.post("posts", "", posts).await.is(201);
        let comments = json!([
            { "id": 1, "post": 1, "text": "fat chance", "draft": false },
            { "id": 2, "post": 1, "text": "Well said", "draft": false },
            { "id": 3, "post": 2, "text": "a fat draft", "draft": true },
        ]);
        site.secret.post("comments", "", comments).await.is(201);
        site
    }

    /// With a diary of each user, and one of nobody's.
    async fn with_diaries() -> Site {
        let site = Site::open().await;
        let diaries = json!([
            { "id": 1, "owner": site.user.id, "title": "Sunny day", "note": "needle in hay" },
            { "id": 2, "owner": site.other.id, "title": "Sunny night", "note": "needle in wool" },
            { "id": 3, "owner": null, "title": "Rain", "note": null },
        ]);
        site.secret.post("diaries", "", diaries).await.is(201);
        let letters = json!([{ "id": 1, "diary": 1, "text": "dear all" }, { "id": 2, "diary": 2, "text": "dear none" }]);
        site.secret.post("letters", "", letters).await.is(201);
        site
    }
}

/// Everything in an answer but the request's own number.
fn said(mut answer: Answer) -> (u16, String) {
    if let Some(error) = answer.body.as_object_mut() {
        error.remove("request_id");
    }
    (answer.status, answer.body.to_string())
}

fn ids(body: &Value) -> Vec<i64> {
    let mut ids: Vec<i64> = body.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn words_of_every_declared_field_are_found_in_the_declared_language() {
    let site = Site::with_posts().await;
    for (filter, found) in [
        ("search=fts.cat", &[1, 2][..]),
        ("search=fts.running%26!dog", &[1]),
        ("search=fts(english).cats%7Crivers", &[1, 2]),
        ("search=plfts.the fat dogs", &[2]),
        ("search=phfts.fat one", &[1]),
        ("search=wfts.\"fat one\" or report", &[1, 2]),
        ("search=wfts.-cat", &[3]),
        ("search=not.wfts.cat", &[3]),
        ("search=fts.boat", &[1]),
        ("search=fts.harbor%7Charbour", &[1]),
        ("search=fts.place", &[]),
        ("search=fts.essay", &[1]),
        // Another configuration reads the query alone: its words are no stems.
        ("search=fts(simple).running", &[]),
        ("search=fts(simple).cat", &[1, 2]),
        ("search=fts.the", &[]),
        ("search=wfts.", &[]),
        ("or=(search.fts.dog,search.fts.boat)", &[1, 2]),
        ("or=(search.wfts.dog,id.eq.3)", &[2, 3]),
        ("and=(search.fts.cat,search.not.fts.dog)", &[1]),
        ("not.and=(search.plfts.cat,body.plfts.sat)", &[2, 3]),
        ("search=fts.cat&search=fts.dog", &[2]),
        ("search=fts.cat&id=gt.1", &[2]),
        ("select=id,comments!inner(id)&comments.search=wfts.fat", &[1]),
        ("select=id,x:comments!inner(id)&x.or=(search.wfts.fat,search.fts.said)", &[1]),
        ("select=id,comments(id)&comments.search=fts.fat&comments=not.is.null", &[1]),
    ] {
        let answer = site.anonymous.get(&format!("posts?{filter}")).await;
        assert_eq!(ids(&answer.is(200)), found, "{filter}");
    }
    let body =
        site.anonymous.get("posts?select=id,comments(id)&comments.search=fts.fat&order=id").await.is(200);
    assert_eq!(
        body,
        json!([
            { "id": 1, "comments": [{ "id": 1 }] },
            { "id": 2, "comments": [] },
            { "id": 3, "comments": [] }
        ])
    );
    let counted = site.anonymous.get("posts?select=id,comments(count)&comments.search=fts.fat&id=eq.1").await;
    assert_eq!(counted.is(200), json!([{ "id": 1, "comments": [{ "count": 1 }] }]));
}

#[tokio::test]
async fn a_write_finds_its_records_by_the_search_and_keeps_it_up_to_date() {
    let site = Site::with_posts().await;
    let user = &site.user;
    let changed =
        user.patch("posts?search=fts.cat", "return=representation", json!({ "body": "a whale" })).await;
    assert_eq!(ids(&changed.is(200)), [1, 2]);
    assert_eq!(ids(&user.get("posts?search=fts.whale").await.is(200)), [1, 2]);
    assert_eq!(ids(&user.get("posts?search=fts.cat").await.is(200)), [1]);
    let gone = user.delete("posts?search=plfts.whales dog", "return=representation").await;
    assert_eq!(ids(&gone.is(200)), [2]);
    let made =
        json!({ "id": 9, "title": "walrus", "tags": ["x\" y", "{}", "", "x\" y"], "meta": "a text alone" });
    user.post("posts", "return=representation", made.clone()).await.is(201);
    assert_eq!(ids(&user.get("posts?search=fts.text%26walrus").await.is(200)), [9]);
    let again = json!([{ "id": 9, "title": "seal", "tags": ["x"] }]);
    user.post("posts", "resolution=merge-duplicates", again).await.is(200);
    assert_eq!(ids(&user.get("posts?search=fts.seal").await.is(200)), [9]);
    assert!(ids(&user.get("posts?search=fts.walrus").await.is(200)).is_empty());
}

#[tokio::test]
async fn the_search_is_no_field() {
    let site = Site::with_posts().await;
    let row = &site.anonymous.get("posts?id=eq.1").await.is(200)[0];
    assert!(row.get("search").is_none() && row.get("title").is_some(), "{row}");
    let made = json!({ "id": 8, "title": "x" });
    let row = &site.user.post("posts", "return=representation", made).await.is(201)[0];
    assert!(row.get("search").is_none() && row.get("title").is_some(), "{row}");
    for query in [
        "select=search",
        "select=id,search",
        "select=x:search",
        "select=search::text",
        "select=search->a",
        "order=search",
        "select=*,search",
    ] {
        let answers = [
            site.secret.get(&format!("posts?{query}")).await,
            site.secret.get(&format!("plain?{query}")).await,
        ];
        let [(status, text), other] = answers.map(said);
        assert!(text.contains("42703"), "{query}: {text}");
        assert_eq!((status, text.replace("posts", "plain")), other, "{query}");
    }
    for (path, body) in [
        ("posts", json!({ "id": 5, "title": "x", "search": "x" })),
        ("posts?columns=id,title,search", json!({ "id": 5, "title": "x" })),
    ] {
        assert_eq!(site.secret.post(path, "", body).await.refused(400), "PGRST204", "{path}");
    }
    assert_eq!(
        site.secret.patch("posts?id=eq.1", "", json!({ "search": "x" })).await.refused(400),
        "PGRST204"
    );
    let openapi = site.secret.get("").await.is(200);
    let record = openapi["components"]["schemas"]["posts"].to_string();
    assert!(record.contains("\"title\"") && !record.contains("search"), "{record}");
    // Its filter is described to those who may use it.
    let described = async |caller: &Caller| {
        let openapi = caller.get("").await.is(200);
        let get = openapi["paths"]["/diaries"]["get"]["parameters"].to_string();
        (get.contains("filter.diaries.search"), openapi.to_string().contains("filter.diaries.search"))
    };
    assert_eq!(described(&site.user).await, (true, true));
    assert_eq!(described(&site.anonymous).await, (false, false));
}

#[tokio::test]
async fn only_full_text_queries_can_be_asked_of_it() {
    let site = Site::with_posts().await;
    for operator in [
        "eq.cat",
        "neq.x",
        "gt.x",
        "lte.x",
        "like.*cat*",
        "ilike.x",
        "match.x",
        "imatch.x",
        "in.(a,b)",
        "is.null",
        "is.not_null",
        "is.true",
        "isdistinct.x",
        "cs.{a}",
        "cd.{a}",
        "ov.{a}",
        "sl.(1,2)",
        "adj.(1,2)",
        "eq(any).{a,b}",
        "like(all).{a}",
        "not.eq.x",
        "not.is.null",
    ] {
        for path in
            ["posts?search=X", "posts?or=(search.X,id.eq.1)", "posts?select=*,comments(*)&comments.search=X"]
        {
            let answer = site.secret.get(&path.replace('X', operator)).await;
            let body = answer.is(404);
            assert_eq!(body["code"], "42883", "{path} {operator}");
            assert_eq!(body["hint"], "`search` takes the operators fts, plfts, phfts and wfts");
        }
    }
    assert_eq!(site.secret.get("posts?search->>a=fts.x").await.refused(404), "42883");
    // As for a field of another kind.
    assert_eq!(site.secret.get("posts?rank=fts.x").await.refused(404), "42883");
    // Without a declaration there is nothing of the name.
    assert_eq!(site.secret.get("plain?search=fts.x").await.refused(400), "42703");
}

#[tokio::test]
async fn a_search_over_a_hidden_field_answers_as_one_that_does_not_exist() {
    let site = Site::with_diaries().await;
    let mut compared = 0;
    for template in [
        "diaries?F=fts.needle",
        "diaries?F=fts.(",
        "diaries?F=fts(nope).x",
        "diaries?F=fts(12).x",
        "diaries?F=not.wfts.needle",
        "diaries?F=eq.x",
        "diaries?F=is.null",
        "diaries?F->a=fts.x",
        "diaries?or=(F.fts.needle,id.eq.1)",
        "diaries?not.and=(F.plfts.sunny,id.eq.1)",
        "diaries?select=F",
        "diaries?order=F",
        "diaries?select=id&F=phfts.sunny day&limit=0",
    ] {
        let hidden = site.anonymous.get(&template.replace('F', "search")).await;
        let absent = site.anonymous.get(&template.replace('F', "searcx")).await;
        let ((status, hidden), absent) = (said(hidden), said(absent));
        assert_eq!((status, &hidden), (absent.0, &absent.1.replace("searcx", "search")), "{template}");
        assert_eq!(status, 400, "{template}: {hidden}");
        compared += 1;
    }
    assert_eq!(compared, 13);
    // It is there for those who know every field of it.
    assert_eq!(ids(&site.editor.get("diaries?search=fts.needle").await.is(200)), [1, 2]);
}

#[tokio::test]
async fn a_row_that_masks_one_of_its_fields_has_no_search() {
    let site = Site::with_diaries().await;
    // The title of every diary is there to be read, and still the search would tell of the note beside it.
    for (filter, found) in [
        ("search=fts.needle", &[1][..]),
        ("search=fts.sunny", &[1]),
        ("search=fts.wool", &[]),
        ("search=not.fts.hay", &[]),
        ("search=not.fts.wool", &[1]),
        ("search=wfts.-wool", &[1]),
        ("search=fts.!wool", &[1]),
        ("or=(search.fts.wool,id.eq.3)", &[3]),
        ("or=(search.not.fts.wool,id.eq.3)", &[1, 3]),
        ("not.or=(search.fts.wool,search.fts.wool)", &[1]),
        ("not.and=(search.fts.needle,search.fts.needle)", &[]),
        ("not.and=(search.not.fts.needle,search.not.fts.needle)", &[1]),
        ("not.and=(search.fts.needle,id.eq.77)", &[1, 2, 3]),
        ("title=plfts.sunny", &[1, 2]),
    ] {
        let answer = site.user.get(&format!("diaries?select=id&{filter}")).await;
        assert_eq!(ids(&answer.is(200)), found, "{filter}");
        let head = format!("diaries?select=id&{filter}");
        let counted = site.user.send(reqwest::Method::HEAD, &head, &[("prefer", "count=exact")], None).await;
        let total = counted.header("content-range").rsplit('/').next().unwrap().to_owned();
        assert_eq!(total, found.len().to_string(), "{filter}");
    }
    // A write meets the rows that a read meets.
    let patch = |filter: &str| format!("diaries?search={filter}&select=id");
    let write = json!({ "title": "Changed" });
    let answer = site.user.patch(&patch("fts.wool"), "return=representation", write.clone()).await;
    assert_eq!(answer.is(200), json!([]));
    let answer = site.user.patch(&patch("fts.needle"), "return=representation", write).await;
    assert_eq!(ids(&answer.is(200)), [1]);
    // Through a relation, and behind a condition that looks at other records.
    let embedded = "letters?select=id,diaries!inner(id)&diaries.search=fts.";
    assert_eq!(ids(&site.user.get(&format!("{embedded}needle")).await.is(200)), [1]);
    assert_eq!(ids(&site.user.get("letters?search=fts.dear").await.is(200)), [1]);
    assert_eq!(ids(&site.user.get("letters?search=not.fts.none").await.is(200)), [1]);
    assert_eq!(ids(&site.other.get("letters?search=fts.dear").await.is(200)), [2]);
}

#[tokio::test]
async fn what_is_hidden_changes_no_answer() {
    let site = Site::with_diaries().await;
    let mut paths = Vec::new();
    for word in [
        "needle",
        "wool",
        "silk",
        "sunny",
        "night",
        "rain",
        "dear",
        "none",
        "!wool",
        "wool%26sunny",
        "wo:*",
        "(",
    ] {
        for test in ["fts.W", "not.fts.W", "wfts.W", "wfts.-W", "plfts.W", "not.phfts.W", "fts(simple).W"] {
            let test = test.replace('W', word);
            for path in [
                "diaries?search=T",
                "diaries?search=T&id=eq.2",
                "diaries?search=T&order=title.desc&limit=1",
                "diaries?select=id&or=(search.T,id.eq.3)",
                "diaries?not.and=(search.T,id.lt.3)",
                "diaries?select=id,letters(id)&letters.search=T",
                "letters?search=T",
                "letters?select=id,diaries(id)&diaries.search=T",
                "letters?select=id,diaries!inner(id)&diaries.search=T",
                "letters?select=id,diaries()&diaries.search=T&diaries=is.null",
            ] {
                paths.push(path.replace('T', &test));
            }
        }
    }
    let answers = async || {
        let mut answers = Vec::new();
        for caller in [&site.user, &site.anonymous] {
            for path in &paths {
                let counted =
                    caller.send(reqwest::Method::GET, path, &[("prefer", "count=exact")], None).await;
                answers.push((counted.header("content-range").to_owned(), said(counted)));
            }
        }
        answers
    };
    let before = answers().await;
    let found = before.iter().filter(|(_, (status, body))| *status < 300 && body != "[]").count();
    assert!(found > 100, "{found} of {}", before.len());
    let owner = site.database.connect_owner().await;
    owner
        .batch_execute(
            "update diaries set note = 'silk' where id = 2; update diaries set note = 'wool' where id = 3;
             update letters set text = 'silk and wool, none' where id = 2",
        )
        .await
        .unwrap();
    let after = answers().await;
    for (at, (one, other)) in before.iter().zip(&after).enumerate() {
        assert_eq!(one, other, "{}", paths[at % paths.len()]);
    }
}

/// The same for a record that is hidden, for one that is not there, and where there is none at all.
#[tokio::test]
async fn a_text_that_is_no_query_is_refused_whatever_the_rows_are() {
    let site = Site::with_diaries().await;
    let draft = json!([{ "id": 1, "text": "a", "draft": true }]);
    site.secret.post("comments", "", draft).await.is(201);
    let refused = async |path: &str| said(site.user.get(path).await);
    for query in ["fts.a b", "fts.(", "fts.a <2 b", "fts(english).a%26", "fts.!"] {
        let mut answers = Vec::new();
        for path in [
            "letters?id=eq.1&search=Q",
            "letters?id=eq.2&search=Q",
            "letters?id=eq.7&search=Q",
            "letters?or=(id.eq.2,search.Q)",
            "letters?or=(id.eq.7,search.Q)",
            "letters?diary=eq.2&or=(id.eq.1,search.not.Q)",
            "diaries?id=eq.2&search=Q",
            "diaries?id=eq.7&search=Q",
            "comments?id=eq.1&search=Q",
            "comments?id=eq.7&search=Q",
            "posts?search=Q",
        ] {
            answers.push(refused(&path.replace('Q', query)).await);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{query}: {answers:#?}");
        assert_eq!(answers[0].0, 400, "{query}: {}", answers[0].1);
        // In an embed it is read for whoever is there to have one, seen by the caller.
        let inner =
            |id: u8| format!("letters?select=id,diaries!inner(id)&diaries.search={query}&diary=eq.{id}");
        assert_eq!(refused(&inner(2)).await, refused(&inner(7)).await, "{query}");
    }
    for query in
        ["fts.a%00b", "wfts.%00", "fts(english%00).a", "fts(nope).a", "fts(12345).a", "fts(0).a", "fts().a"]
    {
        let answer = site.user.get(&format!("letters?search={query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    }
    let deep = format!("{}a{}", "(".repeat(3000), ")".repeat(3000));
    let long = "a".repeat(5000);
    let many = vec!["!a"; 1500].join("%26");
    for (query, status) in [
        (format!("fts.{deep}"), 200),
        (format!("fts.{long}"), 200),
        (format!("wfts.{long}"), 200),
        (format!("fts.{many}"), 200),
    ] {
        let answer = site.user.get(&format!("letters?search={query}")).await;
        assert_eq!(answer.status, status, "{}: {}", &query[..20], answer.body);
    }
}

fn catalog() -> Catalog {
    let sources = Sources(BTreeMap::from([("all.yaml".to_owned(), PROJECT.to_owned())]));
    load(&sources).unwrap().catalog(1).unwrap()
}

/// How Postgres would answer a read, its values known or not.
async fn explained(
    client: &Client,
    catalog: &Catalog,
    principal: &Principal,
    path: &str,
    mode: &str,
) -> String {
    let (collection, query) = path.split_once('?').unwrap();
    let bounds = Bounds { embed_depth: 5, filter_terms: 50, in_values: 50 };
    let node = read(&parameters(query).unwrap(), &bounds).unwrap();
    let context = Context { catalog, principal };
    let sql = ReadPlan::new(context, collection, &node).unwrap().statement(context).sql;
    let types: Vec<String> = sql.params().iter().map(|param| param.oid.to_string()).collect();
    let values: Vec<String> = sql
        .params()
        .iter()
        .map(|param| {
            param.value.as_ref().map_or("null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
        })
        .collect();
    let named = client
        .query_one(
            "select coalesce(string_agg(format_type(oid::oid, -1), ', ' order by place), '') \
             from unnest($1::text[]) with ordinality as t(oid, place)",
            &[&types],
        )
        .await
        .unwrap();
    let (open, close) = if types.is_empty() { ("", "") } else { ("(", ")") };
    let setup = format!(
        "deallocate all; set plan_cache_mode = {mode}; prepare asked {open}{}{close} as {}",
        named.get::<_, String>(0),
        sql.text()
    );
    client.batch_execute(&setup).await.unwrap();
    let rows = client
        .simple_query(&format!("explain execute asked {open}{}{close}", values.join(", ")))
        .await
        .unwrap();
    rows.iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(format!("{}\n", row.get(0).unwrap())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_index_serves_the_search_wherever_the_record_alone_decides_who_sees_it() {
    let site = Site::open().await;
    let client = site.database.connect_owner().await;
    client
        .batch_execute(
            "insert into posts (id, title, body) select n, 'word' || n, repeat('lorem ', 99) from generate_series(1, 20000) n;
             insert into comments (id, text) select n, 'word' || n || repeat(' lorem', 99) from generate_series(1, 20000) n;
             insert into diaries (id, title, owner) select n, 'word' || n || repeat(' lorem', 99), basewright.uuid_v7() from generate_series(1, 20000) n;
             analyze posts, comments, diaries",
        )
        .await
        .unwrap();
    let catalog = catalog();
    let anonymous = Principal::anonymous();
    for (path, index) in [
        ("posts?search=fts.word77", "posts_search_idx"),
        ("posts?search=wfts(english).word77&select=id,title", "posts_search_idx"),
        ("posts?search=fts.word77&rank=is.null&order=title", "posts_search_idx"),
        ("posts?or=(search.fts.word77,search.plfts.word78)", "posts_search_idx"),
        // Only comments that are no drafts: a condition on the record.
        ("comments?search=phfts.word77", "comments_search_idx"),
    ] {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = explained(&client, &catalog, &anonymous, path, mode).await;
            assert!(plan.contains(&format!("Bitmap Index Scan on {index}")), "{path} {mode}\n{plan}");
            // What is no query is found out before the first row.
            assert_eq!(plan.contains("One-Time Filter"), mode == "force_generic_plan", "{path}\n{plan}");
        }
    }
    // The secret key sees all, and its search is served as well.
    let plan = explained(&client, &catalog, &Principal::service(), "diaries?search=fts.word77", "auto").await;
    assert!(plan.contains("Bitmap Index Scan on diaries_search_idx"), "{plan}");
}
