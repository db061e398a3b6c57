//! What Postgres refuses a write for → the caller's fields.
//!
//! That a key is taken or a reference leads nowhere can be learned from a 409, and nothing else: no value and
//! no name of a field that the caller does not know.

use crate::catalog::Catalog;
use crate::db::DbError;
use crate::error::{Code, Error, FieldFault};
use crate::model::{Collection, CollectionId, FieldId, FieldSet, RelationTarget};
use crate::query::plan::{Context, WritePlan};

pub(super) fn of_write(context: Context<'_>, plan: &WritePlan, error: DbError) -> Error {
    let permit = plan.permit();
    let Some(report) = error.report().cloned() else { return error.into_error() };
    let collection = context.catalog.collection(permit.collection());
    let known = context.catalog.policies.known_fields(
        context.principal,
        permit.collection(),
        collection.all_fields(),
    );
    let fields = report.constraint.as_deref().map(|name| constrained(collection, name)).unwrap_or_default();
    let visible = |field: &FieldId| known.contains(*field) || permit.covers(*field);
    let named = !fields.is_empty() && fields.iter().all(visible);
    let constraint =
        report.constraint.as_deref().filter(|_| named).map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let table = &collection.name;
    let (code, message, fault) = match report.sqlstate.as_str() {
        // What our own function raises inside the statement.
        "42501" => return Error::with(context.denial(), report.message.clone()).source(error),
        "BW116" => return too_many(plan, &report.message),
        "23505" => (
            "unique",
            format!("duplicate key value violates unique constraint{constraint}"),
            "is taken already",
        ),
        "23503" if refers_here(context.catalog, permit.collection(), report.constraint.as_deref()) => (
            "reference",
            format!(
                "update or delete on table \"{table}\" violates a foreign key: other records refer to it"
            ),
            "is referred to by other records",
        ),
        "23503" => (
            "reference",
            format!("insert or update on table \"{table}\" violates foreign key constraint{constraint}"),
            "refers to a record that does not exist",
        ),
        "23502" => {
            let field = report
                .column
                .as_deref()
                .and_then(|name| collection.field_id(name))
                .filter(|field| visible(field));
            let column = field
                .map(|field| format!(" in column \"{}\"", collection.field(field).name))
                .unwrap_or_default();
            let mut refused = Error::with(
                Code::Sqlstate(report.sqlstate.clone()),
                format!("null value{column} of relation \"{table}\" violates not-null constraint"),
            );
            refused.fields = field
                .map(|field| of_field(collection, field, "required", "must not be null"))
                .into_iter()
                .collect();
            return refused.source(error);
        }
        "23514" => (
            check_code(report.constraint.as_deref()),
            format!("new row for relation \"{table}\" violates check constraint{constraint}"),
            "is outside of what this collection allows",
        ),
        _ => return error.into_error(),
    };
    let mut refused = Error::with(Code::Sqlstate(report.sqlstate.clone()), message);
    if named {
        refused.fields = fields.iter().map(|field| of_field(collection, *field, code, fault)).collect();
    }
    refused.source(error)
}

/// More rows were met than the request allows. `said` begins with their number.
fn too_many(plan: &WritePlan, said: &str) -> Error {
    let count = said.split_once(' ').map_or(said, |(count, _)| count);
    if plan.answer().singular && count != "1" {
        return Error::new(Code::NotSingular).details(format!("The result contains {count} rows"));
    }
    Error::new(Code::MaxAffected).details(format!("The query affects {count} rows"))
}

fn of_field(collection: &Collection, field: FieldId, code: &str, message: &str) -> FieldFault {
    FieldFault {
        pointer: format!("/{}", collection.field(field).name),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// `posts_title_max_check` is about a bound of a field; what stands before `_check` says which.
fn check_code(constraint: Option<&str>) -> &'static str {
    let kind = constraint.and_then(|name| name.strip_suffix("_check"));
    ["min", "max", "match", "values"]
        .into_iter()
        .find(|code| kind.is_some_and(|kind| kind.ends_with(&format!("_{code}"))))
        .unwrap_or("check")
}

/// The fields that a constraint of this collection speaks of; none if it is not known.
fn constrained(collection: &Collection, name: &str) -> Vec<FieldId> {
    let joined = |fields: &[FieldId], suffix: &str| {
        let mut parts = vec![collection.name.as_str()];
        parts.extend(fields.iter().map(|field| collection.field(*field).name.as_str()));
        parts.push(suffix);
        crate::model::Name::joined(&parts) == *name
    };
    if crate::model::Name::joined(&[collection.name.as_str(), "pkey"]) == *name {
        return collection.primary_key.clone();
    }
    if let Some(key) = collection.unique.iter().find(|key| joined(key, "key")) {
        return key.clone();
    }
    for field in collection.field_ids() {
        let declared = collection.field(field);
        let relation = declared.relation.as_ref().is_some_and(|relation| relation.constraint == *name);
        let bound =
            ["min", "max", "match", "values"].iter().any(|code| joined(&[field], &format!("{code}_check")));
        if relation || bound {
            return vec![field];
        }
    }
    // A declared check may speak of several fields, hidden ones among them: it is never named to whom some are hidden.
    match collection.checks.iter().any(|check| check.name == *name) {
        true => collection.all_fields().iter().collect(),
        false => FieldSet::EMPTY.iter().collect(),
    }
}

/// The constraint is another collection's foreign key to this one.
fn refers_here(catalog: &Catalog, id: CollectionId, constraint: Option<&str>) -> bool {
    let Some(name) = constraint else { return false };
    catalog.collections.iter().any(|(other, collection)| {
        collection.fields.iter().filter_map(|field| field.relation.as_ref()).any(|relation| {
            relation.constraint == *name && relation.target == RelationTarget::Collection(id) && other != id
        })
    })
}
