//! What stands in an event.

use basewright::model::{Kind, Scalar};
use serde_json::json;
use serde_json::value::RawValue;

use super::{PLAIN, Place, all, next};
use crate::campaign::long;
use crate::encoding::edges;
use crate::support::caller::Caller;
use crate::support::server::eventually;
use crate::support::socket::{ANSWERED_WITHIN, RowEvent};

/// A member of an event's data as it stood on the wire.
fn raw(event: &RowEvent, member: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        data: std::collections::HashMap<&'a str, &'a RawValue>,
    }
    let message: Vec<&RawValue> = serde_json::from_str(&event.text).unwrap();
    let payload: Payload<'_> = serde_json::from_str(message[4].get()).unwrap();
    payload.data[member].get().to_owned()
}

/// Not the numbers that only a client with a library of its own for them can read.
fn samples(scalar: Scalar) -> Vec<String> {
    let mut all = edges(scalar);
    all.retain(|text| {
        serde_json::from_str::<f64>(text).is_ok() || text.len() < 300 && text.parse::<f64>().is_err()
    });
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_an_event_is_what_rest_prints_for_every_kind() {
    let mut yaml =
        "collections:\n  things:\n    fields:\n      id: bigint\n      round: integer\n".to_owned();
    let kinds: Vec<(String, Kind)> = Scalar::all()
        .flat_map(|scalar| [("one", Kind::one(scalar)), ("many", Kind::many(scalar))])
        .map(|(word, kind)| (format!("{word}_{}", kind.scalar.yaml()), kind))
        .collect();
    for (name, kind) in &kinds {
        yaml += &format!("      {name}: '{kind}'\n");
    }
    yaml += "policies:\n  things:\n    read: [{ role: anon }]\n";
    let place = Place::new(&[("basewright.yaml", &yaml)]).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    let (mut socket, _) = place.listen("things", &anyone).await;
    let rounds = kinds.iter().map(|(_, kind)| samples(kind.scalar).len()).max().unwrap();
    let rest = async |id: usize| {
        let path = format!("{}/rest/v1/things?id=eq.{id}", place.server().url);
        let answer = reqwest::Client::new().get(path).header("apikey", place.server().keys.publishable());
        let text = answer.send().await.unwrap().text().await.unwrap();
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap().to_owned()
    };
    let mut compared = 0;
    for id in 0..rounds {
        let mut names = "id, round".to_owned();
        let mut values = format!("{id}, 1");
        for (name, kind) in &kinds {
            let edges = samples(kind.scalar);
            let value = edges[id % edges.len()].replace('\'', "''");
            names += &format!(", {name}");
            values += &match kind.array {
                // Now and then there is none, and there is one that is null.
                true if id % 5 == 4 => ", null".to_owned(),
                true => {
                    let element = Kind::one(kind.scalar).sql().to_string();
                    format!(", array['{value}', null, '{}']::{element}[]", edges[0].replace('\'', "''"))
                }
                false => format!(", '{value}'"),
            };
        }
        admin.batch_execute(&format!("insert into things ({names}) values ({values})")).await.unwrap();
        let inserted = next(&mut socket).await;
        let before = rest(id).await;
        assert_eq!(raw(&inserted, "record"), before);
        admin.batch_execute(&format!("update things set round = 2 where id = {id}")).await.unwrap();
        let updated = next(&mut socket).await;
        assert_eq!((raw(&updated, "old_record"), raw(&updated, "record")), (before, rest(id).await));
        compared += kinds.len();
    }
    assert!(compared > 400, "{compared}");
    let sent = socket.try_join("realtime:more", json!({ "postgres_changes": [all("things")] }), None).await;
    assert!(sent.is_ok());
    admin.batch_execute("insert into things (id) values (9999)").await.unwrap();
    let event = next(&mut socket).await;
    let columns = event.data["columns"].as_array().unwrap();
    let types = |name: &str| columns.iter().find(|column| column["name"] == name).unwrap()["type"].clone();
    for (name, kind) in &kinds {
        let row = admin
            .query_one(
                "select typname::text from pg_attribute join pg_type t on t.oid = atttypid \
                 where attrelid = 'things'::regclass and attname = $1",
                &[name],
            )
            .await
            .unwrap();
        assert_eq!(types(name), row.get::<_, &str>(0), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_value_that_an_update_leaves_alone_is_in_its_event() {
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    // Stored beside the row, and so not in the WAL of an update of another column.
    admin
        .batch_execute(
            "alter table notes alter body set storage external; \
             insert into notes (id, n, body) values (1, 1, repeat('long ', 20000))",
        )
        .await
        .unwrap();
    let (mut socket, _) = place.listen("notes", &anyone).await;
    admin.batch_execute("update notes set n = 2").await.unwrap();
    let event = next(&mut socket).await;
    let body = "long ".repeat(20_000);
    assert_eq!((event.kind.as_str(), &event.record["n"]), ("UPDATE", &json!(2)));
    assert!(event.record["body"] == body.as_str() && event.old_record["body"] == body.as_str());
    admin.batch_execute("delete from notes").await.unwrap();
    assert!(next(&mut socket).await.old_record["body"] == body.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_a_long_value_holds_also_where_an_update_left_it_alone() {
    let place = Place::new(PLAIN).await;
    let admin = place.admin().await;
    admin
        .batch_execute(
            "alter table notes alter body set storage external; \
             insert into notes (id, n, body) values (1, 1, 'yes ' || repeat('long ', 20000))",
        )
        .await
        .unwrap();
    let mut socket = place.socket().await;
    let mut binding = all("notes");
    binding["filter"] = "body=like.yes*".into();
    binding["select"] = json!(["n"]);
    socket.join("realtime:x", super::aware(&[binding], ""), None).await;
    admin.batch_execute("update notes set n = 2").await.unwrap();
    let event = next(&mut socket).await;
    assert_eq!((event.kind.as_str(), event.record), ("UPDATE", json!({ "id": 1, "n": 2 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_may_change_while_changes_are_listened_to() {
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    let (mut socket, _) = place.listen("notes", &anyone).await;
    super::write(&admin, 1..3).await;
    assert_eq!(super::numbers(&mut socket, 2).await, [1, 2]);
    let (name, text) = PLAIN[0];
    let text = text.replace("      body: text\n", "      body: text\n      extra: integer\n");
    place.folder.write(name, &text);
    eventually("the new field", ANSWERED_WITHIN, || async {
        (anyone.get("notes?select=extra").await.status == 200).then_some(())
    })
    .await;
    super::write(&admin, 3..4).await;
    admin.batch_execute("insert into notes (id, n, extra) values (4, 4, 44)").await.unwrap();
    assert_eq!(next(&mut socket).await.record["n"], 3);
    assert_eq!(next(&mut socket).await.record["extra"], 44);
    // Nobody may read it any more: that is said, and nothing of it comes.
    place.folder.write(
        name,
        &text.replace("notes: { read: [{ role: anon }],", "notes: { read: [{ role: authenticated }],"),
    );
    eventually("the end of the rule", ANSWERED_WITHIN, || async {
        (anyone.get("notes").await.status != 200).then_some(())
    })
    .await;
    admin.batch_execute("insert into notes (id, n) values (5, 5)").await.unwrap();
    let told = socket
        .wait(ANSWERED_WITHIN, |message| {
            message.row().is_some()
                || message.is_system("error")
                || message.is_system("access_changed")
                || message.event == "phx_close"
        })
        .await
        .unwrap();
    assert!(told.row().is_none(), "{told:?}");
}

/// Resident memory, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_whole_and_in_order_and_costs_little_memory() {
    let rows: i64 = if long() { 200_000 } else { 30_000 };
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    let (mut socket, _) = place.listen("notes", &anyone).await;
    let before = resident(place.server().pid());
    admin
        .batch_execute(&format!(
            "insert into notes (id, n, body) select n, n, repeat('x', 400) from generate_series(1, {rows}) n"
        ))
        .await
        .unwrap();
    let (mut most, mut had) = (before, 0);
    while had < rows {
        let event = match socket.row(ANSWERED_WITHIN).await {
            Ok(event) => event,
            Err(end) => panic!("after {had} of {rows}: {end:?}\n{}", place.server().log()),
        };
        had += 1;
        assert_eq!(event.record["n"], had);
        if had % 1_000 == 0 {
            most = most.max(resident(place.server().pid()));
        }
    }
    println!("{rows} rows: from {before} to {most} MiB");
    assert!(most - before < 160, "from {before} to {most} MiB");
    super::write(&admin, 1_000_000..1_000_001).await;
    assert_eq!(super::numbers(&mut socket, 1).await, [1_000_000]);
}
