//! What multiplies is bounded: no one request makes the server or its Postgres hold more than an answer may be.

use serde_json::json;

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server};

const PROJECT: &str = "
collections:
  people:
    fields:
      name: { type: text, required: true }
  notes:
    fields:
      person: { type: relation, to: people, required: true }
      text:   { type: text, required: true }
policies:
  people: { read: [{ role: anon }] }
  notes:  { read: [{ role: anon }] }
";

#[tokio::test]
async fn records_that_multiply_are_refused_and_a_page_of_the_same_shape_is_answered() {
    let folder = Folder::with(&[("project.yaml", PROJECT)]);
    let database = database().await;
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let owner = database.connect_owner().await;
    owner
        .batch_execute(
            "insert into people (id, name) values ('00000000-0000-0000-0000-000000000001', 'ada');
             insert into notes (person, text) select '00000000-0000-0000-0000-000000000001', repeat('x', 200) || i
             from generate_series(1, 1000) i",
        )
        .await
        .unwrap();
    let anyone = Caller::anonymous(&server);
    let deep = "select=notes(*,person(*,notes(*,person(*,notes(*)))))";
    let refused = anyone.get(&format!("people?{deep}")).await;
    assert_eq!(refused.refused(400), "answer_too_large");
    let page = "select=name,notes(text,person(name,notes(text)))&notes.limit=2&notes.person.notes.limit=1";
    let answer = anyone.get(&format!("people?{page}")).await;
    let people = answer.is(200);
    assert_eq!(people[0]["notes"].as_array().map(Vec::len), Some(2));
    assert_eq!(people[0]["notes"][0]["person"]["notes"].as_array().map(Vec::len), Some(1));

    let many: Vec<String> = (0..60).map(|at| format!("n{at}:notes(text)")).collect();
    anyone.get(&format!("people?select={}", many.join(","))).await.refused(400);
    let names = vec!["name"; 1_001].join(",");
    anyone.get(&format!("people?select={names}")).await.refused(400);
    assert_eq!(anyone.get("people?select=name").await.body, json!([{ "name": "ada" }]));
}

#[tokio::test]
async fn what_is_short_to_ask_and_long_to_write_out_is_refused_before_it_is_written() {
    let folder = Folder::with(&[("project.yaml", PROJECT)]);
    let database = database().await;
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let anyone = Caller::anonymous(&server);
    let times = |text: &str, count: usize| text.repeat(count);
    // Every member that a spread hoists has the embed's filter, every test of an embed too, and every order by it.
    let terms = format!("or=(text.eq.a{})", times(",text.eq.a", 400));
    let names = format!("or=(name.eq.a{})", times(",name.eq.a", 400));
    for query in [
        format!("notes?select={}*", times("*,", 7_000)),
        format!("people?select=...notes(text{})&notes.{terms}", times(",text", 400)),
        format!("people?select=notes()&notes.{terms}{}", times("&notes=not.is.null", 90)),
        format!("notes?select=person()&person.{names}&order=text{}", times(",person(name)", 400)),
    ] {
        assert_eq!(anyone.get(&query).await.refused(400), "PGRST100", "{query:.80}");
    }
    for query in [
        format!("people?select=...notes(text{})&notes.text=eq.a", times(",text", 400)),
        format!("people?select=...notes(text)&notes.{terms}"),
        format!("notes?select=person(name)&person.{names}&order=person(name)"),
    ] {
        assert_eq!(anyone.get(&query).await.is(200), json!([]), "{query:.80}");
    }
}
