//! How an answer is spelled (CSV, without nulls) and how many rows it says there are.

use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;

use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[
    ("basewright.yaml", "limits: { rows: 50 }\n"),
    (
        "collections/all.yaml",
        "collections:
  makers:
    fields:
      id: integer
      name: text
      site: text
  things:
    fields:
      id: integer
      name: text
      open: boolean
      size: decimal
      labels: 'text[]'
      data: json
      raw: bytes
      at: timestamp
      took: interval
      group: { type: integer, required: true, default: 0 }
      maker: { type: relation, to: makers }
  secrets:
    fields:
      id: integer
      group: { type: integer, required: true, default: 0 }
      note: text
  masked:
    fields:
      id: integer
      note: text
",
    ),
    (
        "policies/all.yaml",
        "policies:
  makers:
    read: [{ role: anon }]
  things:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
  secrets:
    read: [{ role: anon, when: group == 0 }]
  masked:
    read: [{ role: anon, fields: [id] }, { role: anon, when: id < 10 }]

",
    ),
];

struct Stage {
    server: Server,
    database: Database,
    _folder: Folder,
}

impl Stage {
    async fn new() -> Stage {
        let database = database().await;
        let folder = Folder::with(PROJECT);
        let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
        let secret = Caller::secret(&server);
        let makers = json!([{ "id": 1, "name": "Ada", "site": null }]);
        secret.post("makers", "", makers).await.is(201);
        let things = json!([
            {
                "id": 1, "name": "plain", "open": true, "size": 1.50, "labels": ["a", "b c", ""], "raw": "\\x00ff",
                "data": { "a": null, "b": [null, { "c": null }] }, "at": "2024-03-12T03:04:05.1234+00:00",
                "took": "1 day 02:00:00", "maker": 1,
            },
            {
                "id": 2, "name": "a \"b\", c\\d\ne", "open": false, "size": null, "labels": [], "raw": null,
                "data": null, "at": null, "took": null, "maker": null,
            },
            {
                "id": 3, "name": "", "open": null, "size": 0, "labels": null, "raw": "\\x", "data": "null",
                "at": "infinity", "took": "-1 mons", "maker": 1,
            },
        ]);
        secret.post("things", "", things).await.is(201);
        Stage { server, database, _folder: folder }
    }

    fn anonymous(&self) -> Caller {
        Caller::anonymous(&self.server)
    }

    async fn accepting(&self, media: &str, path: &str) -> Answer {
        self.anonymous().send(Method::GET, path, &[("accept", media)], None).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_a_line_of_names_and_postgres_own_text_of_every_row() {
    let stage = Stage::new().await;
    let fields = "id,name,open,size,labels,data,raw,at,took";
    let answer = stage.accepting("text/csv", &format!("things?select={fields}&order=id")).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(answer.header("content-range"), "0-2/*");
    let owner = stage.database.connect_owner().await;
    owner.batch_execute("set timezone = 'UTC'").await.unwrap();
    let sql = format!(
        "select string_agg(substring(t::text, 2, length(t::text) - 2), e'\\n' order by id)
         from (select {fields} from things) as t"
    );
    let rows: String = owner.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(answer.is(200), format!("{fields}\n{rows}"));

    let embedded =
        stage.accepting("text/csv", "things?select=by:id,\"a name\":name,makers(name)&id=eq.1").await;
    assert_eq!(embedded.is(200), "by,\"a name\",makers\n1,plain,\"{\"\"name\"\":\"\"Ada\"\"}\"");
    let spread = stage.accepting("text/csv", "things?select=id,...makers(maker:name)&id=lt.3&order=id").await;
    assert_eq!(spread.is(200), "id,maker\n1,Ada\n2,");
    let none = stage.accepting("text/csv", "things?select=id,name&id=eq.9").await;
    assert_eq!(none.is(200), "id,name\n");
    let user = Caller::user(&stage.server, &[]);
    let headers = [("accept", "text/csv"), ("prefer", "return=representation")];
    let made = user
        .send(Method::POST, "things?select=id,name", &headers, Some(&json!({ "id": 4, "name": "x" })))
        .await;
    assert_eq!(made.is(201), "id,name\n4,x");
    assert_eq!(stage.accepting("text/html", "things").await.refused(406), "PGRST107");
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_are_stripped_at_any_depth_where_that_is_asked() {
    let stage = Stage::new().await;
    let path = "things?select=id,name,open,size,data,makers(name,site)&order=id&id=neq.2";
    let rows = json!([
        { "id": 1, "name": "plain", "open": true, "size": 1.5, "data": { "b": [null, {}] }, "makers": { "name": "Ada" } },
        { "id": 3, "name": "", "size": 0, "data": "null", "makers": { "name": "Ada" } },
    ]);
    let array = stage.accepting("application/vnd.pgrst.array+json;nulls=stripped", path).await;
    assert_eq!(
        array.header("content-type"),
        "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8"
    );
    assert_eq!(array.is(200), rows);
    let object = "application/vnd.pgrst.object+json; nulls=stripped";
    let one = stage.accepting(object, "things?select=id,size,maker,...makers(site)&id=eq.2").await;
    assert_eq!(one.header("content-type"), "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8");
    assert_eq!(one.is(200), json!({ "id": 2 }));
    assert_eq!(stage.accepting(object, "things?select=id").await.refused(406), "PGRST116");
    assert_eq!(
        stage.accepting("application/json", "things?select=id,size&id=eq.2").await.is(200),
        json!([{ "id": 2, "size": null }])
    );
}

/// `Content-Range`'s total.
async fn total(caller: &Caller, path: &str, count: &str) -> Option<u64> {
    let answer = caller.send(Method::HEAD, path, &[("prefer", &format!("count={count}"))], None).await;
    assert!(matches!(answer.status, 200 | 206), "{path}: {}", answer.status);
    assert_eq!(answer.header("preference-applied"), format!("count={count}"));
    answer.header("content-range").rsplit_once('/').unwrap().1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_come_from_the_planner_and_tell_of_nothing_unseen() {
    let stage = Stage::new().await;
    let owner = stage.database.connect_owner().await;
    owner
        .batch_execute(
            "insert into things (id, \"group\") select n, n % 2 from generate_series(10, 209) as n;
             insert into secrets (id, \"group\", note) select n, (n % 100)::int, 'x' from generate_series(1, 20000) as n;
             insert into masked (id, note) select n, 'n' || n % 10 from generate_series(1, 120) as n;
             analyze things, secrets, masked;",
        )
        .await
        .unwrap();
    let anonymous = stage.anonymous();
    let explained = async |sql: &str| {
        let answered = owner.simple_query(&format!("explain (format json) {sql}")).await.unwrap();
        let plan = answered.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(plan.unwrap()).unwrap();
        plan[0]["Plan"]["Plan Rows"].as_u64()
    };
    // Everything is seen: the planner's own figure, which is right for the whole and made up for a filter.
    assert_eq!(total(&anonymous, "things?limit=1", "planned").await, Some(203));
    let guess = explained("select 1 from things where name like '%q%'").await;
    assert_eq!(total(&anonymous, "things?name=like.*q*", "planned").await, guess);
    let guess = explained("select 1 from things where \"group\" = 1").await;
    assert_eq!(total(&anonymous, "things?group=eq.1&limit=1", "planned").await, guess);
    // Exact up to a page of 50, beyond that no less than what was counted.
    assert_eq!(total(&anonymous, "things?id=lt.40&limit=1", "estimated").await, Some(33));
    assert_eq!(total(&anonymous, "things?limit=1", "estimated").await, Some(203));
    assert_eq!(total(&anonymous, "things?limit=1", "exact").await, Some(203));
    // One row in a hundred is seen. The planner knows of all of them, so that here it is not asked.
    for count in ["planned", "estimated", "exact"] {
        assert_eq!(total(&anonymous, "secrets?limit=1", count).await, Some(200), "{count}");
        assert_eq!(
            total(&anonymous, "secrets?note=eq.x&group=eq.1&limit=1", count).await,
            Some(0),
            "{count}"
        );
        assert_eq!(total(&anonymous, "masked?note=eq.n3&limit=1", count).await, Some(1), "{count}");
    }
    let secret = Caller::secret(&stage.server);
    assert_eq!(total(&secret, "secrets?limit=1", "planned").await, Some(20_000));
    // Hidden rows bound the count as they bound the page, and a count ends somewhere.
    owner.batch_execute("update secrets set \"group\" = 0").await.unwrap();
    assert_eq!(total(&anonymous, "secrets?limit=1", "planned").await, Some(10_000));
    assert_eq!(total(&anonymous, "secrets?limit=1&offset=15000", "estimated").await, Some(15_001));
    assert_eq!(total(&anonymous, "secrets?limit=1", "exact").await, Some(20_000));
}
