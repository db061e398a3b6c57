//! What a project wants of a database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::database::{
    Column, ColumnType, Constraint, ConstraintRule, Database, Definition, Publication, Table, TableIndex,
    TableIndexRule, TouchTrigger,
};
use super::mark::Mark;
use crate::condition::{Binding, Condition, Pattern, Row};
use crate::model::{
    Bound, Collection, CollectionId, Collections, DefaultValue, Field, FieldId, Index, IndexColumn,
    IndexMethod, Kind, Name, Principal, Relation, RelationTarget, Scalar, Search,
};
use crate::sql::Sql;

/// System tables that the feed carries too: the server's caches follow those of sign-in, and objects are records.
const FOLLOWED: [(&str, &str); 5] = [
    ("auth", "users"),
    ("auth", "user_roles"),
    ("auth", "sessions"),
    ("auth", "revoked_keys"),
    ("storage", "objects"),
];

/// The tables of a project's collections. `checks` holds the typed checks of each, in declared order.
///
/// The publication holds every collection, those with `realtime: false` too: a condition of another collection
/// may reach them, and `realtime: false` only forbids subscribing.
pub fn desired(collections: &Collections, checks: &HashMap<CollectionId, Vec<Condition>>) -> Database {
    let tables: BTreeMap<Name, Table> = collections
        .iter()
        .map(|(id, collection)| {
            let checks = checks.get(&id).map_or(&[][..], Vec::as_slice);
            (collection.name.clone(), Shape { collections, collection }.table(checks))
        })
        .collect();
    let mut members: BTreeMap<(Name, Name), bool> =
        tables.keys().map(|name| ((public(), name.clone()), true)).collect();
    members.extend(
        FOLLOWED.iter().map(|(schema, table)| ((Name::joined(&[schema]), Name::joined(&[table])), true)),
    );
    Database {
        tables,
        foreign: BTreeSet::new(),
        publication: Some(Publication { all_tables: false, members }),
    }
}

/// The name of the generated full-text column.
pub(super) fn search_column() -> Name {
    Name::joined(&[Search::NAME])
}

/// The schema of every collection.
pub(super) fn public() -> Name {
    Name::joined(&["public"])
}

struct Shape<'a> {
    collections: &'a Collections,
    collection: &'a Collection,
}

impl Shape<'_> {
    fn table(&self, checks: &[Condition]) -> Table {
        let collection = self.collection;
        Table {
            name: collection.name.clone(),
            renamed_from: collection.renamed_from.clone(),
            columns: collection.field_ids().map(|id| self.column(id)).collect(),
            search: collection.search.as_ref().map(|search| self.search(search)),
            constraints: self.constraints(checks),
            indexes: self.indexes(),
            touch: if collection.timestamps { TouchTrigger::Present } else { TouchTrigger::Absent },
            full_identity: true,
            mark: Mark::default(),
        }
    }

    fn column(&self, id: FieldId) -> Column {
        let field = self.collection.field(id);
        Column {
            name: field.name.clone(),
            column_type: ColumnType::Kind(field.kind),
            not_null: field.required || self.collection.primary_key.contains(&id),
            default: field.default.as_ref().and_then(|default| default_sql(field.kind, default)),
            renamed_from: field.renamed_from.clone(),
        }
    }

    fn names(&self, fields: &[FieldId]) -> Vec<Name> {
        fields.iter().map(|id| self.collection.field(*id).name.clone()).collect()
    }

    fn constraints(&self, checks: &[Condition]) -> Vec<Constraint> {
        let collection = self.collection;
        let table = collection.name.as_str();
        let mut constraints = vec![Constraint {
            name: Name::joined(&[table, "pkey"]),
            columns: self.names(&collection.primary_key),
            rule: ConstraintRule::PrimaryKey(self.names(&collection.primary_key)),
        }];
        for fields in &collection.unique {
            let columns = self.names(fields);
            let parts: Vec<&str> =
                std::iter::once(table).chain(columns.iter().map(Name::as_str)).chain(["key"]).collect();
            constraints.push(Constraint {
                name: Name::joined(&parts),
                columns: columns.clone(),
                rule: ConstraintRule::Unique(columns),
            });
        }
        for field in &collection.fields {
            constraints.extend(self.field_checks(field));
            constraints.extend(field.relation.as_ref().map(|relation| self.foreign_key(field, relation)));
        }
        for (check, condition) in collection.checks.iter().zip(checks) {
            let mut sql = Sql::ddl();
            sql.raw("(");
            // A check speaks of the record alone: no caller, no captures.
            condition.to_sql(
                &mut sql,
                &Binding {
                    collections: self.collections,
                    row: Row::Bare,
                    old: None,
                    principal: &Principal::anonymous(),
                    captures: &[],
                },
            );
            sql.raw(") is true");
            constraints.push(Constraint {
                name: check.name.clone(),
                columns: Vec::new(),
                rule: ConstraintRule::Check(Definition::Wanted(sql)),
            });
        }
        constraints
    }

    fn foreign_key(&self, field: &Field, relation: &Relation) -> Constraint {
        let (schema, table, target) = match relation.target {
            RelationTarget::Users => {
                (Name::joined(&["auth"]), Name::joined(&["users"]), vec![Name::joined(&["id"])])
            }
            RelationTarget::Collection(id) => {
                let target = self.collections.get(id);
                let key = target.primary_key.iter().map(|id| target.field(*id).name.clone()).collect();
                (public(), target.name.clone(), key)
            }
        };
        let columns = vec![field.name.clone()];
        Constraint {
            name: relation.constraint.clone(),
            columns: columns.clone(),
            rule: ConstraintRule::ForeignKey {
                columns,
                schema,
                table,
                target,
                on_delete: relation.on_delete,
            },
        }
    }

    fn indexes(&self) -> Vec<TableIndex> {
        let columns = |index: &Index| {
            let name = |column: &IndexColumn| self.collection.field(column.field).name.clone();
            index.columns.iter().map(|column| (name(column), column.descending)).collect()
        };
        self.collection
            .indexes
            .iter()
            .map(|index| TableIndex {
                name: index.name.clone(),
                rule: TableIndexRule::Plain { columns: columns(index), method: index.method },
            })
            .chain(self.collection.search.iter().map(|search| TableIndex {
                name: search.index.clone(),
                rule: TableIndexRule::Plain {
                    columns: vec![(search_column(), false)],
                    method: IndexMethod::Gin,
                },
            }))
            .collect()
    }

    /// The words of some fields. Every function in it must be immutable, which `array_to_string` and `to_jsonb` are
    /// not: a list becomes an object of its elements, of which `to_tsvector` takes the values.
    fn search(&self, search: &Search) -> Definition {
        let mut sql = Sql::ddl();
        for (at, id) in search.fields.iter().enumerate() {
            let field = self.collection.field(*id);
            sql.raw(if at > 0 { " || coalesce(to_tsvector(" } else { "coalesce(to_tsvector(" });
            sql.language(search.language).raw(", ");
            if field.kind.array {
                sql.raw("jsonb_object(array_remove(").name(&field.name);
                sql.raw(", null), array_remove(").name(&field.name).raw(", null))");
            } else {
                // The kind is said, so that a field that changes it changes the definition: the column stands in its way.
                sql.name(&field.name).raw("::").raw(field.kind.sql());
            }
            sql.raw("), '')");
        }
        Definition::Wanted(sql)
    }

    /// `min max match values` of one field. Null passes them all, as in SQL: `required` is another word.
    fn field_checks(&self, field: &Field) -> Vec<Constraint> {
        let mut checks = Vec::new();
        let mut add = |suffix: &str, sql: Sql| {
            checks.push(Constraint {
                name: Name::joined(&[self.collection.name.as_str(), field.name.as_str(), suffix, "check"]),
                columns: vec![field.name.clone()],
                rule: ConstraintRule::Check(Definition::Wanted(sql)),
            });
        };
        if let Some(bound) = &field.min {
            add("min", bound_sql(field, " >= ", bound));
        }
        if let Some(bound) = &field.max {
            add("max", bound_sql(field, " <= ", bound));
        }
        if let Some(pattern) = &field.pattern {
            let mut sql = Sql::ddl();
            match Pattern::parse(pattern) {
                Ok(pattern) => pattern.to_sql(&mut sql, |sql| {
                    sql.name(&field.name);
                }),
                // No project has such a pattern; a table that takes everything would be the worse answer.
                Err(_) => {
                    sql.raw("false");
                }
            }
            add("match", sql);
        }
        if let Some(values) = &field.values {
            let mut sql = Sql::ddl();
            if field.kind.array {
                // Elements that are null pass, as a null field does.
                sql.raw("array_remove(").name(&field.name).raw(", null) <@ ");
            } else {
                sql.name(&field.name).raw(" = any (");
            }
            sql.raw("array[");
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    sql.raw(", ");
                }
                sql.bind_text(value.clone());
            }
            sql.raw(if field.kind.array { "]::text[]" } else { "]::text[])" });
            add("values", sql);
        }
        checks
    }
}

fn bound_sql(field: &Field, comparison: &'static str, bound: &Bound) -> Sql {
    let mut sql = Sql::ddl();
    match bound {
        Bound::Size(size) => {
            let measure = match field.kind {
                Kind { array: true, .. } => "cardinality(",
                Kind { scalar: Scalar::Bytes, array: false } => "octet_length(",
                Kind { .. } => "char_length(",
            };
            sql.raw(measure).name(&field.name).raw(")").raw(comparison);
            sql.number(i64::try_from(*size).unwrap_or(i64::MAX));
        }
        Bound::Value(value) => {
            sql.name(&field.name).raw(comparison).bind(field.kind, value.to_text());
        }
    }
    sql
}

/// A default as part of the table. What names the caller is bound by the statement that inserts.
fn default_sql(kind: Kind, default: &DefaultValue) -> Option<Definition> {
    let mut sql = Sql::ddl();
    match default {
        DefaultValue::Attribute(_) => return None,
        // No default and a default of null are one and the same.
        DefaultValue::Literal(value) => sql.bind(kind, Some(value.to_text()?)),
        DefaultValue::Now => sql.raw("now()"),
        DefaultValue::UuidV7 => sql.raw("basewright.uuid_v7()"),
    };
    Some(Definition::Wanted(sql))
}
