//! Tables from projects and from projects that change, against a real Postgres.

mod build;
mod create;
mod declared;
mod drift;
mod renames;
mod rules;
mod search;
mod walk;

use basewright::model::Collections;
use basewright::schema::{Database, Failure, Plan, apply, desired, introspect, plan};
use tokio_postgres::Client;

/// What a project of these collections, without declared checks, wants.
fn wanted(collections: &Collections) -> Database {
    desired(collections, &std::collections::HashMap::new())
}

async fn planned(client: &mut Client, collections: &Collections) -> Plan {
    plan(client, &wanted(collections)).await.unwrap()
}

/// Brings a database to a project, and holds that nothing is left to be done then.
async fn reach(client: &mut Client, collections: &Collections) -> Plan {
    let plan = planned(client, collections).await;
    apply(client, &plan).await.unwrap_or_else(|e| panic!("{e}\n{}", plan.render()));
    assert_settled(client, collections).await;
    plan
}

async fn assert_settled(client: &mut Client, collections: &Collections) {
    let left = planned(client, collections).await;
    assert!(left.is_empty(), "still to be done:\n{}", left.render());
}

/// Applies a plan that must fail.
async fn refused(client: &mut Client, plan: &Plan) -> Failure {
    let before = introspect(client).await.unwrap();
    let failure = apply(client, plan).await.expect_err(&plan.render());
    assert_eq!(introspect(client).await.unwrap(), before, "a plan that failed left something behind");
    failure
}

/// The first column of every row as text, in the statement's order; `null` for null.
async fn column(client: &Client, sql: &str) -> Vec<String> {
    client
        .simple_query(sql)
        .await
        .unwrap()
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
            _ => None,
        })
        .collect()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// Runs what a constraint must refuse; returns the constraint's name.
async fn violates(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let said = error.as_db_error().unwrap();
    assert!(said.code().code().starts_with("23"), "{sql}: {said:?}");
    said.constraint().or(said.column()).unwrap().to_owned()
}

/// The plan's steps, one line each, without what only the rendering adds.
fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

fn destructive(plan: &Plan) -> Vec<String> {
    plan.destructive().map(ToString::to_string).collect()
}
