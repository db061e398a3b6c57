//! What requests answer.

use serde_json::{Value as Json, json};

use super::schema;

/// One row instead of an array of them.
const OBJECT: &str = "application/vnd.pgrst.object+json";
/// Both without the members that are null.
const ARRAY_STRIPPED: &str = "application/vnd.pgrst.array+json;nulls=stripped";
const OBJECT_STRIPPED: &str = "application/vnd.pgrst.object+json;nulls=stripped";

fn reference(key: &str) -> Json {
    json!({ "$ref": format!("#/components/responses/{key}") })
}

/// Responses that operations share.
pub(super) fn common() -> Json {
    json!({
        "Error": {
            "description": "The request did not do what it asked.",
            "headers": {
                "Proxy-Status": { "$ref": "#/components/headers/Proxy-Status" },
                "Retry-After": { "$ref": "#/components/headers/Retry-After" },
                "WWW-Authenticate": { "$ref": "#/components/headers/WWW-Authenticate" },
            },
            "content": { "application/json": { "schema": schema::reference("Error") } },
        },
    })
}

/// Headers that responses share.
pub(super) fn headers() -> Json {
    json!({
        "Content-Range": {
            "description": "The place of the first and last record, and how many there are if that was asked.",
            "schema": { "type": "string", "pattern": r"^(\*|[0-9]+-[0-9]+)/(\*|[0-9]+)$" },
        },
        "Preference-Applied": {
            "description": "Those of the preferences that were met.",
            "schema": { "type": "string" },
        },
        "Proxy-Status": {
            "description": "The error's code, for proxies (RFC 9209).",
            "schema": { "type": "string" },
        },
        "Retry-After": {
            "description": "Seconds after which trying again makes sense, where it does.",
            "schema": { "type": "integer" },
        },
        "WWW-Authenticate": {
            "description": "With 401: what is wrong with the token.",
            "schema": { "type": "string" },
        },
        "Content-Location": {
            "description": "The path and the parameters in one order, whatever the order that they were sent in.",
            "schema": { "type": "string" },
        },
        "Location": {
            "description": "The path and the filter that name the new record.",
            "schema": { "type": "string" },
        },
    })
}

/// A response with these of the shared headers.
fn response(description: &str, headers: &[&str], content: Option<Json>) -> Json {
    let headers: serde_json::Map<String, Json> = headers
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect();
    let mut response = json!({ "description": description, "headers": headers });
    if let Some(content) = content {
        response["content"] = content;
    }
    response
}

const PAGED: [&str; 2] = ["Content-Range", "Preference-Applied"];
const READ: [&str; 3] = ["Content-Range", "Preference-Applied", "Content-Location"];

/// Records in each media type that they are answered in.
fn records(collection: &str) -> Json {
    let record = schema::reference(collection);
    let stripped = schema::reference(&schema::stripped_key(collection));
    let rows = |record: &Json| json!({ "schema": { "type": "array", "items": record } });
    let table = json!({ "type": "string", "description": "A line for each record, after one of names." });
    json!({
        "application/json": rows(&record),
        ARRAY_STRIPPED: rows(&stripped),
        OBJECT: { "schema": record },
        OBJECT_STRIPPED: { "schema": stripped },
        "text/csv": { "schema": table },
    })
}

pub(super) fn rows(collection: &str) -> Json {
    json!({
        "200": response("The records.", &READ, Some(records(collection))),
        "206": response("A part of the records.", &READ, Some(records(collection))),
        "default": reference("Error"),
    })
}

pub(super) fn head() -> Json {
    let (all, part) = ("What reading would answer: all.", "What reading would answer: a part.");
    json!({
        "200": response(all, &READ, None),
        "206": response(part, &READ, None),
        "default": { "description": "The request did not do what it asked." },
    })
}

/// `collection` if the caller may read what he made.
pub(super) fn created(collection: Option<&str>, merges: bool) -> Json {
    let mut headers = PAGED.to_vec();
    if collection.is_some() {
        headers.push("Location");
    }
    let mut responses = json!({
        "201": response("The records were made.", &headers, collection.map(records)),
        "default": reference("Error"),
    });
    if merges {
        let all_there = "The records were there already and were changed.";
        responses["200"] = response(all_there, &PAGED, collection.map(records));
    }
    responses
}

pub(super) fn changed(collection: &str) -> Json {
    json!({
        "200": response("The records, if a representation was preferred.", &PAGED, Some(records(collection))),
        "204": response("Done.", &PAGED, None),
        "default": reference("Error"),
    })
}

pub(super) fn put(collection: &str) -> Json {
    let applied = ["Preference-Applied"];
    json!({
        "200": response("What stood there was changed.", &applied, Some(records(collection))),
        "201": response("The record was made.", &applied, Some(records(collection))),
        "204": response("What stood there was changed.", &applied, None),
        "default": reference("Error"),
    })
}

/// This document itself.
pub(super) fn root() -> Json {
    let document = json!({ "schema": { "type": "object" } });
    let content = json!({ "application/openapi+json": document, "application/json": document });
    json!({
        "operationId": "describe",
        "summary": "This document",
        "responses": { "200": response("What the caller may do.", &[], Some(content)), "default": reference("Error") },
    })
}
