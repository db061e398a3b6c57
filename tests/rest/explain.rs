//! A request explained: for the secret key alone, as whoever the request is judged as.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::database;
use crate::support::server::{Folder, Server};

const ADA: &str = "00000000-0000-4000-8000-000000000ada";
const JSON: &str = "application/vnd.pgrst.plan+json";
const ANALYZE: &str = "application/vnd.pgrst.plan+json; options=analyze";
const TEXT: &str = "application/vnd.pgrst.plan+text";

async fn accepting(caller: &Caller, method: Method, path: &str, media: &str, body: Option<&Value>) -> Answer {
    caller.send(method, path, &[("accept", media)], body).await
}

/// The elements of a request's explanation.
async fn explained(caller: &Caller, path: &str, media: &str) -> Value {
    accepting(caller, Method::GET, path, media, None).await.is(200)
}

/// What a write is explained as.
async fn write(caller: &Caller, method: Method, path: &str, media: &str, body: Value) -> Answer {
    let body = Some(&body).filter(|body| !body.is_null());
    accepting(caller, method, path, media, body).await
}

async fn blog() -> (Server, Folder, crate::support::Database) {
    let database = database().await;
    let folder = Folder::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/blog");
    let server = Server::dev(&project, &folder.join("data"), &database.urls);
    (server, folder, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_secret_key_a_plan_is_a_media_type_like_any_that_is_not_offered() {
    let (server, _folder, _database) = blog().await;
    let callers = [
        Caller::anonymous(&server),
        Caller::user(&server, &[]),
        Caller::user(&server, &["editor", "admin"]),
        // The role of the secret key, and not the key of the request.
        Caller::anonymous(&server).with_token(server.keys.secret()),
        Caller::keyless(&server).with_token(server.keys.secret()),
    ];
    let mut asked = 0;
    for caller in &callers {
        for path in ["posts", "posts?notes=is.null", "posts?select=nothing", "nothing", "comments?limit=x"] {
            for form in [
                "application/vnd.pgrst.WORD+json",
                "application/vnd.pgrst.WORD+text; for=\"application/json\"; options=analyze|verbose;",
                "application/vnd.pgrst.WORD; options=nonsense",
                "application/vnd.pgrst.WORD+json; for=\"a, application/json\"",
                "application/vnd.pgrst.WORD+json, text/csv",
            ] {
                let [plan, other] = ["plan", "plum"].map(|word| form.replace("WORD", word));
                let plan = accepting(caller, Method::GET, path, &plan, None).await;
                let other = accepting(caller, Method::GET, path, &other, None).await;
                let body = other.body.to_string().replace("vnd.pgrst.plum", "vnd.pgrst.plan");
                let strip = |text: String| {
                    let at = text.find("request_id").unwrap_or(text.len());
                    text[..at].to_owned()
                };
                assert_eq!(
                    (plan.status, strip(plan.body.to_string())),
                    (other.status, strip(body)),
                    "{path} {form}"
                );
                if !form.contains("csv") {
                    assert_eq!(plan.refused(406), "PGRST107", "{path} {form}");
                }
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 125);
    // With it, whoever the request is judged as.
    for caller in [Caller::anonymous(&server), Caller::user(&server, &[])] {
        let caller = caller.behind_secret_key(&server);
        assert!(explained(&caller, "posts", JSON).await[0]["Plan"].is_object());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_explained_by_its_plan_its_shape_its_way_and_the_rules_that_decide() {
    let (server, _folder, _database) = blog().await;
    let ada = Caller::user_with_id(&server, ADA, &[]).behind_secret_key(&server);
    let path =
        "posts?select=title,author(name),comments(body),tags(name)&title=neq.canary&order=slug&limit=3";
    let answer = accepting(&ada, Method::GET, path, JSON, None).await;
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.pgrst.plan+json; for=\"application/json\"; charset=utf-8"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let explained_read = answer.is(200);
    let [element] = &explained_read.as_array().unwrap()[..] else { panic!("{explained_read}") };
    assert!(element["Plan"]["Node Type"].is_string() && element["Plan"]["Actual Rows"].is_null());
    let ours = &element["Basewright"];
    let sql = ours["sql"].as_str().unwrap();
    assert!(sql.starts_with("select ") && sql.contains('$') && !sql.contains("canary"), "{sql}");
    assert!(ours["way"].as_str().unwrap().starts_with("pool"), "{ours}");
    assert_eq!(ours["caller"], json!({ "id": ADA, "roles": ["authenticated"] }));
    let touched: Vec<String> = ours["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rules| {
            format!("{}.{}", rules["collection"].as_str().unwrap(), rules["action"].as_str().unwrap())
        })
        .collect();
    assert_eq!(touched, ["posts.read", "profiles.read", "comments.read", "post_tags.read", "tags.read"]);
    let posts = &ours["rules"][0];
    let fields = json!([
        "id",
        "title",
        "slug",
        "body",
        "status",
        "author",
        "published_at",
        "meta",
        "created_at",
        "updated_at"
    ]);
    assert_eq!(
        posts["rules"],
        json!([
            { "rule": "posts.read[0] (anon)", "when": "live", "fields": fields },
            { "rule": "posts.read[1] (authenticated)", "when": "mine", "fields": fields },
        ])
    );
    assert_eq!(posts["hidden"], json!(["notes"]));
    assert_eq!(posts["conditions"], json!({ "live": "status == 'published'", "mine": "author == auth.id" }));
    assert_eq!(posts["others"], json!(["posts.read[2] needs role editor; the caller has authenticated"]));
    assert_eq!(ours["rules"][1]["masked"], json!({ "email": "id == auth.id" }));
    assert_eq!(ours["rules"][2]["rules"][0]["when"], "post.status == 'published' && !hidden");

    // One record by its key takes the lane, and what is run is what the caller would get.
    let own = ada.get("posts?select=id&status=eq.draft&limit=1").await.is(200);
    let path = format!("posts?id=eq.{}", own[0]["id"].as_str().unwrap());
    let of = async |caller: Caller| {
        let caller = caller.behind_secret_key(&server);
        let rows = caller.get(&path).await.is(200).as_array().unwrap().len();
        let plan = explained(&caller, &path, ANALYZE).await[0].clone();
        assert!(plan["Basewright"]["way"].as_str().unwrap().starts_with("lane"), "{plan}");
        assert!(plan["Execution Time"].is_number());
        (rows, plan["Plan"]["Actual Rows"].as_f64().unwrap())
    };
    assert_eq!(of(Caller::user_with_id(&server, ADA, &[])).await, (1, 1.0));
    assert_eq!(of(Caller::anonymous(&server)).await, (0, 0.0));

    // The secret key by itself is bound by no rule.
    let secret = Caller::secret(&server);
    let ours = explained(&secret, "posts", JSON).await[0]["Basewright"].clone();
    assert_eq!(ours["rules"][0]["unbound"], "the secret key may do everything");
    assert_eq!(ours["rules"][0]["rules"], json!([]));

    // A count is a statement of its own.
    let prefer = [("accept", JSON), ("prefer", "count=exact")];
    let counted = ada.send(Method::GET, "posts", &prefer, None).await.is(200);
    assert_eq!(counted.as_array().unwrap().len(), 2);
    assert!(counted[1]["Basewright"]["sql"].as_str().unwrap().starts_with("select count(*)"));
    assert!(counted[1]["Plan"].is_object() && counted[1]["Basewright"]["rules"].is_null());

    let head = accepting(&ada, Method::HEAD, "posts", JSON, None).await;
    assert_eq!((head.status, head.body), (200, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_text_it_is_postgres_own_plan_and_our_lines() {
    let (server, _folder, _database) = blog().await;
    let ada = Caller::user_with_id(&server, ADA, &["editor"]).behind_secret_key(&server);
    let media = "application/vnd.pgrst.plan+text; for=\"application/vnd.pgrst.object+json\"; options=analyze|buffers|settings|verbose|wal;";
    let answer = accepting(&ada, Method::GET, "posts?limit=2", media, None).await;
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.pgrst.plan+text; for=\"application/vnd.pgrst.object+json\"; options=analyze|verbose|settings|buffers|wal; charset=utf-8"
    );
    let text = answer.is(200).as_str().unwrap().to_owned();
    assert!(text.starts_with("Limit  (cost="), "{text}");
    for line in [
        "For: reads the page",
        "Way: pool, ",
        "SQL: select ",
        "Caller: roles authenticated, editor, id 00000000-0000-4000-8000-000000000ada",
        "posts.read[1] (authenticated): when mine; fields id, title, ",
        "posts.read[2] (editor): fields *",
        "posts.read: mine is author == auth.id",
    ] {
        assert!(text.lines().any(|told| told.starts_with(line)), "{line}\n{text}");
    }
    assert!(text.contains("Execution Time") && text.contains("Output:"), "{text}");
    let profiles = accepting(&ada, Method::GET, "profiles", TEXT, None).await.is(200);
    let mask = "profiles.read: email is null unless id == auth.id";
    assert!(profiles.as_str().unwrap().lines().any(|told| told == mask), "{profiles}");
    // What is not named takes its default.
    for media in [TEXT, "application/vnd.pgrst.plan", "text/html, application/vnd.pgrst.plan+text; q=0.1"] {
        let plain = accepting(&ada, Method::GET, "tags", media, None).await.is(200);
        assert!(plain.as_str().unwrap().contains("(cost="), "{media}");
    }
}

const DESK: &[(&str, &str)] = &[(
    "all.yaml",
    "collections:
  notes:
    fields:
      id: integer
      title: { type: text, required: true, max: 20 }
      owner: uuid
      parent: { type: relation, to: notes }
  docs:
    fields:
      id: integer
      title: text
      origin: { type: text, default: api }
      remark: text
policies:
  notes:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [id, title, parent], set: { owner: auth.id }, check: 'parent == null || parent.owner == auth.id' }]
    update: [{ role: authenticated, when: owner == auth.id, fields: [title] }]
    delete: [{ role: authenticated, when: owner == auth.id }]
  docs:
    read: [{ role: authenticated }]
    create:
      - { role: authenticated, fields: [id, title], set: { origin: user }, check: title != 'odd' }
      - { role: authenticated, fields: [id, title], set: { origin: odd } }
      - { role: authenticated, fields: [id, remark] }
    update: [{ role: authenticated, fields: [title] }]
",
)];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_explained_without_being_made_and_analyzed_by_being_undone() {
    let database = database().await;
    let (project, folder) = (Folder::with(DESK), Folder::new());
    let server = Server::dev(&project.0, &folder.join("data"), &database.urls);
    let (secret, user) = (Caller::secret(&server), Caller::user(&server, &[]));
    let id = user.id.clone();
    let user = user.behind_secret_key(&server);
    user.post("notes", "", json!({ "id": 1, "title": "mine" })).await.is(201);
    secret.post("notes", "", json!({ "id": 2, "title": "theirs" })).await.is(201);
    let before = secret.get("notes?order=id").await.is(200);

    // Each method, explained and run: the caller's rules judge, and nothing stays.
    for media in [JSON, ANALYZE] {
        for (method, path, body, sql) in [
            (Method::PATCH, "notes?title=like.*", json!({ "title": "new" }), "update public.\"notes\""),
            (Method::PATCH, "notes?id=eq.1", json!({ "title": "new" }), "update public.\"notes\""),
            (Method::DELETE, "notes?id=gt.0", Value::Null, "delete from public.\"notes\""),
            (
                Method::POST,
                "docs",
                json!([{ "id": 1, "title": "a" }, { "id": 2, "title": "b" }]),
                "insert into public.\"docs\"",
            ),
            (Method::POST, "docs", json!({ "id": 1, "title": "a" }), "insert into public.\"docs\""),
        ] {
            let told = write(&user, method.clone(), path, media, body).await.is(200);
            let ours = &told[0]["Basewright"];
            assert!(ours["sql"].as_str().unwrap().contains(sql), "{told}");
            assert_eq!(ours["caller"]["id"], json!(id));
            assert_eq!(told[0]["Execution Time"].is_number(), media == ANALYZE, "{method} {path}");
            assert_eq!(told.as_array().unwrap().len(), 1);
        }
        for (method, path, body) in [
            (Method::PUT, "docs?id=eq.7", json!({ "id": 7, "title": "a", "origin": "x", "remark": "y" })),
            (Method::POST, "docs", json!({ "id": 8 })),
        ] {
            write(&secret, method, path, media, body).await.is(200);
        }
        assert_eq!(secret.get("notes?order=id").await.is(200), before);
        assert_eq!(secret.get("docs").await.is(200), json!([]));
    }
    // New records that come together may share a statement.
    let new = json!({ "id": 1, "title": "a", "origin": "b" });
    let told = write(&secret, Method::POST, "docs", JSON, new).await.is(200);
    assert!(told[0]["Basewright"]["way"].as_str().unwrap().ends_with("share a statement"), "{told}");
    let ours = write(&user, Method::PATCH, "notes?id=eq.1", JSON, json!({ "title": "x" })).await.is(200);
    let ours = &ours[0]["Basewright"];
    assert_eq!(ours["way"], "lane, pipelined: one record at most, by a key or new");
    assert_eq!(
        (&ours["rules"][0]["rules"], &ours["rules"][1]["action"]),
        (
            &json!([{ "rule": "notes.update[0] (authenticated)", "when": "owner == auth.id", "fields": ["title"] }]),
            &json!("read")
        )
    );

    // A condition that looks at the written collection: three statements, judged where they run.
    let mine = json!({ "id": 3, "title": "child", "parent": 1 });
    let theirs = json!({ "id": 3, "title": "child", "parent": 2 });
    for media in [JSON, ANALYZE] {
        let told = write(&user, Method::POST, "notes", media, mine.clone()).await.is(200);
        let purposes: Vec<&str> =
            told.as_array().unwrap().iter().map(|one| one["Basewright"]["for"].as_str().unwrap()).collect();
        assert_eq!(purposes, ["writes", "judges what was written", "reads what was written"]);
        assert!(told[0]["Basewright"]["way"].as_str().unwrap().contains("transaction"));
        let judged = &told[1]["Plan"]["Plans"][0]["Actual Rows"];
        assert_eq!(judged.as_f64(), (media == ANALYZE).then_some(1.0), "{told}");
        assert_eq!(told[0]["Basewright"]["rules"][0]["rules"][0]["set"], json!({ "owner": "auth.id" }));
    }
    write(&user, Method::POST, "notes", JSON, theirs.clone()).await.is(200);
    assert_eq!(write(&user, Method::POST, "notes", ANALYZE, theirs).await.refused(403), "42501");

    // Rules that set different values are tried in turn.
    let odd = json!({ "id": 1, "title": "odd" });
    for (media, turn) in [(JSON, "1 of 2"), (ANALYZE, "2 of 2")] {
        let told = write(&user, Method::POST, "docs", media, odd.clone()).await.is(200);
        assert_eq!(told[0]["Basewright"]["turn"], turn);
        assert_eq!(told[0]["Basewright"]["rules"][0]["rules"][2]["fails"], "does not cover `title`");
    }

    // What runs is refused as the request is; what does not run is only explained.
    let taken = json!({ "id": 1, "title": "again" });
    write(&user, Method::POST, "notes", JSON, taken.clone()).await.is(200);
    assert_eq!(write(&user, Method::POST, "notes", ANALYZE, taken).await.refused(409), "23505");
    // Nothing to write is nothing to plan.
    let nothing = write(&user, Method::POST, "docs", JSON, json!([])).await.is(200);
    assert!(nothing[0]["Plan"].is_null() && nothing[0]["Basewright"]["rules"].is_array(), "{nothing}");
    let nothing = write(&user, Method::POST, "docs", TEXT, json!([])).await.is(200);
    assert!(nothing.as_str().unwrap().starts_with("Nothing would run."));
    assert_eq!(secret.get("notes?order=id").await.is(200), before);
    assert_eq!(secret.get("docs").await.is(200), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_it_runs_is_refused_in_the_same_words() {
    let (server, _folder, _database) = blog().await;
    for caller in [Caller::anonymous(&server), Caller::user(&server, &[])] {
        let caller = caller.behind_secret_key(&server);
        for (method, path, body) in [
            (Method::GET, "posts?select=notes", Value::Null),
            (Method::GET, "posts?nothing=eq.1", Value::Null),
            (Method::GET, "posts?select=nothing(*)", Value::Null),
            (Method::GET, "nothing", Value::Null),
            (Method::GET, "posts?limit=-1", Value::Null),
            (Method::GET, "posts?id=eq.x", Value::Null),
            (Method::POST, "tags", json!({ "name": "x1" })),
            (Method::POST, "posts", json!({ "title": "" })),
            (Method::POST, "posts", json!({ "notes": "x" })),
            (Method::PATCH, "posts?id=is.null", json!({ "author": ADA })),
            (Method::DELETE, "tags?id=is.null", Value::Null),
            (Method::PUT, "tags", json!({ "name": "x1" })),
        ] {
            let plain = write(&caller, method.clone(), path, "application/json", body.clone()).await;
            let told = write(&caller, method.clone(), path, JSON, body).await;
            let faults = |answer: &Answer| {
                let part = |name: &str| answer.body[name].clone();
                (answer.status, part("code"), part("message"), part("details"), part("fields"))
            };
            assert!(plain.status >= 400, "{method} {path}");
            assert_eq!(faults(&told), faults(&plain), "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_be_given_as_asked_says_what_is_wrong() {
    let (server, _folder, _database) = blog().await;
    let secret = Caller::secret(&server);
    for (parameters, told) in [
        ("; options=all", "all is no option of a plan"),
        ("; options=analyze|", ""),
        ("; options=analyze,verbose", ""),
        ("; options=\"analyze|drop table posts\"", "drop table posts is no option"),
        ("; options=analyze;analyze", ""),
        ("; options=wal", "wal of a plan needs analyze"),
        ("; options=WAL|ANALYZE", ""),
        ("; for=\"application/xml\"", "`for` names a media type that is not available: application/xml"),
        ("; for=\"application/vnd.pgrst.plan+json\"", "`for` names a media type"),
        ("; for=", "`for` names a media type"),
        ("; for=\"text/csv", "`for` names a media type"),
        ("; for=\"application/json\\", "`for` names"),
        ("; for=\"application/vnd.pgrst.array+json;nulls=stripped\"", ""),
        (";;;=;=;options", ""),
    ] {
        let media = format!("{JSON}{parameters}");
        let answer = accepting(&secret, Method::GET, "tags", &media, None).await;
        let (status, body) = (answer.status, &answer.body);
        match told {
            "" => assert_eq!(status, 200, "{media} {body}"),
            told => {
                assert_eq!((status, &body["code"]), (406, &json!("PGRST107")), "{media}");
                assert!(body["details"].as_str().unwrap().contains(told), "{media} {body}");
            }
        }
    }
    // Another media type of the list may do.
    let media = format!("{JSON};options=all, application/json");
    assert!(
        accepting(&secret, Method::GET, "tags?limit=1", &media, None).await.is(200)[0]["name"].is_string()
    );
    // The description of the root has no plan.
    assert_eq!(accepting(&secret, Method::GET, "", JSON, None).await.refused(406), "PGRST107");
}
