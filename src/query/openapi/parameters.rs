//! The parameters of the dialect: those of every collection, and a filter for each field.

use serde_json::{Map, Value as Json, json};

use crate::catalog::Limits;
use crate::model::{Field, Kind, Language, Scalar, Search};

/// A parameter of the document's components.
pub(super) fn reference(key: &str) -> Json {
    json!({ "$ref": format!("#/components/parameters/{key}") })
}

/// Names of collections and fields hold no dot, so no two filters share a key.
pub(super) fn filter_key(collection: &str, field: &Field) -> String {
    format!("filter.{collection}.{}", field.name)
}

/// The filter on a field. Regular expressions are for whoever signed in.
pub(super) fn filter(collection: &str, field: &Field, signed_in: bool) -> (String, Json) {
    const FULL_TEXT: &str = "fts plfts phfts wfts";
    let mut operators = vec!["eq neq gt gte lt lte is isdistinct"];
    let many = match field.kind {
        Kind { array: true, .. } => {
            operators.push("cs cd ov");
            ""
        }
        Kind { scalar, .. } => {
            operators.push("in");
            match scalar {
                Scalar::Json => operators.extend(["cs cd", FULL_TEXT]),
                Scalar::Text if signed_in => operators.extend(["like ilike match imatch", FULL_TEXT]),
                Scalar::Text => operators.extend(["like ilike", FULL_TEXT]),
                _ => {}
            }
            " `eq(any).{a,b}` compares with several values, and so does `(all)`."
        }
    };
    let example = match (&field.values, field.kind) {
        (Some(values), Kind { array: false, .. }) => {
            format!("eq.{}", values.first().map(String::as_str).unwrap_or_default())
        }
        _ => "is.null".to_owned(),
    };
    let operators = operators.join(" ");
    let parameter = json!({
        "name": field.name.as_str(),
        "in": "query",
        "description": format!(
            "An operator, a dot and a value; `not.` before it negates.{many} Operators: {operators}."
        ),
        "schema": { "type": "string" },
        "example": example,
    });
    (filter_key(collection, field), parameter)
}

/// The filter on the full-text column over some fields.
pub(super) fn search(collection: &str, language: Language, fields: &[&str]) -> (String, Json) {
    let parameter = json!({
        "name": Search::NAME,
        "in": "query",
        "description": format!(
            "Words to be found in {} ({}): an operator, a dot and a query; `not.` before it negates. \
             Operators: fts plfts phfts wfts, as in `wfts(english).…` for another language.",
            fields.join(", "),
            language.as_str(),
        ),
        "schema": { "type": "string" },
        "example": "wfts.\"some words\" or others -none",
    });
    (format!("filter.{collection}.{}", Search::NAME), parameter)
}

/// What every collection takes.
pub(super) fn common(limits: &Limits) -> Map<String, Json> {
    let text = |name: &str, description: String| json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } });
    let mut parameters = Map::new();
    let mut add = |key: &str, parameter: Json| {
        parameters.insert(key.to_owned(), parameter);
    };
    let select = format!(
        "Which members the records of the answer have, separated by commas: fields, `alias:field`, \
         `field->json->>path`, `field::cast`, and related records as `relation(members)`, at most {} levels deep. \
         Without it, all fields.",
        limits.embed_depth
    );
    add("select", text("select", select));
    let order = "Fields to sort by, separated by commas, each with `.asc` or `.desc` and `.nullsfirst` or \
                 `.nullslast`. `relation.order` sorts embedded records.";
    add("order", text("order", order.to_owned()));
    let columns = "Which members of the body count, separated by commas; without it, all.";
    add("columns", text("columns", columns.to_owned()));
    let conflict = "The fields by which a record counts as there already; without it, the key.";
    add("on_conflict", text("on_conflict", conflict.to_owned()));
    for (name, hold) in [
        ("and", "all must hold"),
        ("or", "one must hold"),
        ("not.and", "one must fail"),
        ("not.or", "all must fail"),
    ] {
        let description = format!(
            "A list of conditions in parentheses of which {hold}, as in `(a.eq.1,or(b.gt.2,c.is.null))`. \
             A request has at most {} terms.",
            limits.filter_terms
        );
        add(name, text(name, description));
    }
    let embedded = json!({
        "name": "embedded",
        "in": "query",
        "description": "What embedded records are filtered, sorted and bounded by, each under its own name: \
                        `relation.field`, `relation.and`, `relation.or`, `relation.order`, `relation.limit`, \
                        `relation.offset`, deeper ones as `relation.relation.field`. An alias takes the \
                        relation's place.",
        "style": "form",
        "explode": true,
        "schema": {
            "type": "object",
            "propertyNames": { "pattern": "[.]" },
            "additionalProperties": { "type": "string" },
        },
    });
    add("embedded", embedded);
    let number = |name: &str, description: String| {
        let schema = json!({ "type": "integer", "minimum": 0 });
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    };
    let limit = format!("How many records the answer has at most; never more than {}.", limits.rows);
    add("limit", number("limit", limit));
    add("offset", number("offset", "How many records to pass over.".to_owned()));
    let range = json!({
        "name": "Range",
        "in": "header",
        "description": "The first and the last record of the page, counted from 0.",
        "schema": { "type": "string", "pattern": "^[0-9]+-[0-9]*$" },
        "example": "0-19",
    });
    add("range", range);
    add(
        "prefer.read",
        prefer(
            &["count=exact", "count=planned", "count=estimated", "handling=strict", "handling=lenient"],
            false,
        ),
    );
    let change =
        ["return=minimal", "return=representation", "count=exact", "handling=strict", "handling=lenient"];
    add("prefer.change", prefer(&change, true));
    let put =
        ["return=minimal", "return=representation", "missing=default", "handling=strict", "handling=lenient"];
    add("prefer.put", prefer(&put, false));
    parameters
}

/// What may be preferred when records are made: representations and keys are for who may read, and records
/// that are there already are changed for who may change them.
pub(super) fn prefer_create(reads: bool, merges: bool) -> Json {
    let mut words = vec!["return=minimal"];
    if reads {
        words.extend(["return=headers-only", "return=representation"]);
    }
    words.extend(["count=exact", "missing=default", "missing=null", "resolution=ignore-duplicates"]);
    if merges {
        words.push("resolution=merge-duplicates");
    }
    words.extend(["handling=strict", "handling=lenient"]);
    prefer(&words, false)
}

fn prefer(words: &[&str], max_affected: bool) -> Json {
    let word = json!({ "type": "string", "enum": words });
    let items = match max_affected {
        // Counts only under strict handling, as the dialect has it.
        true => json!({ "anyOf": [word, { "type": "string", "pattern": "^max-affected=[0-9]+$" }] }),
        false => word,
    };
    json!({
        "name": "Prefer",
        "in": "header",
        "description": "How to answer: separated by commas.",
        "style": "simple",
        "explode": false,
        "schema": { "type": "array", "items": items },
    })
}
