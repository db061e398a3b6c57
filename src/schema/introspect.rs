//! What a database has, read from the catalogues in one statement.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::Error as _;
use tokio_postgres::{GenericClient, IsolationLevel};

use super::apply::Failure;
use super::database::{
    Column, ColumnType, Constraint, ConstraintRule, Database, Definition, Publication, Table, TableIndex,
    TableIndexRule, TouchTrigger,
};
use super::mark::Mark;
use crate::model::{IndexMethod, Kind, Name, OnDelete};

/// How Postgres prints an expression depends on these; fingerprints are taken under them.
pub(super) const PRINTING: &str = "set local search_path to pg_catalog; set local timezone to 'UTC'; \
    set local datestyle to 'ISO, MDY'; set local intervalstyle to 'postgres'; \
    set local extra_float_digits to 1; set local bytea_output to 'hex'; \
    set local quote_all_identifiers to off";

/// Reads the tables of a project, and the names in schema `public` that others hold.
///
/// # Errors
/// [`Failure::Database`] if Postgres cannot be asked.
pub async fn introspect(client: &mut tokio_postgres::Client) -> Result<Database, Failure> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    transaction.batch_execute(PRINTING).await?;
    let (database, _) = read(&transaction).await?;
    transaction.rollback().await?;
    Ok(database)
}

/// Makes sure that the connection's role has the rights of whoever owns the project's tables. What others have in
/// schema `public` is their own business.
///
/// # Errors
/// [`Failure::Foreign`] names the first table that belongs to somebody else.
pub async fn require_ownership(client: &impl GenericClient) -> Result<(), Failure> {
    let foreign = client
        .query_opt(
            "select format('public.%I', c.relname), pg_get_userbyid(c.relowner)::text, current_user::text \
             from pg_class c \
             join pg_description d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0 \
             where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' \
               and (d.description = 'basewright' or d.description like 'basewright {%') \
               and not pg_has_role(c.relowner, 'usage') \
             order by c.relname limit 1",
            &[],
        )
        .await?;
    match foreign {
        None => Ok(()),
        Some(row) => {
            Err(Failure::Foreign { table: row.try_get(0)?, owner: row.try_get(1)?, role: row.try_get(2)? })
        }
    }
}

/// Reads inside a transaction that has set [`PRINTING`]. Returns the server's major release too.
pub(super) async fn read(client: &impl GenericClient) -> Result<(Database, u32), Failure> {
    let row = client.query_one(include_str!("introspect.sql"), &[]).await?;
    let text: &str = row.try_get(0)?;
    let found: Found = serde_json::from_str(text).map_err(Failure::Catalogue)?;
    let postgres = found.postgres;
    let database = found.into_database().map_err(|fault| {
        Failure::Catalogue(serde_json::Error::custom(format!("an identifier that cannot be one: {fault}")))
    })?;
    Ok((database, postgres))
}

#[derive(Deserialize)]
struct Found {
    postgres: u32,
    foreign: Vec<String>,
    tables: Vec<FoundTable>,
    publication: Option<FoundPublication>,
}

#[derive(Deserialize)]
struct FoundTable {
    name: String,
    mark: String,
    full_identity: bool,
    columns: Vec<FoundColumn>,
    constraints: Vec<FoundConstraint>,
    indexes: Vec<FoundIndex>,
    touch: Option<bool>,
}

#[derive(Deserialize)]
struct FoundColumn {
    name: String,
    #[serde(rename = "type")]
    printed: String,
    oid: u32,
    plain: bool,
    not_null: bool,
    search: Option<bool>,
    default: Option<String>,
}

#[derive(Deserialize)]
struct FoundConstraint {
    name: String,
    #[serde(rename = "type")]
    letter: String,
    plain: bool,
    columns: Option<Vec<String>>,
    schema: Option<String>,
    table: Option<String>,
    target: Option<Vec<String>>,
    on_delete: String,
    printed: Option<String>,
}

#[derive(Deserialize)]
struct FoundIndex {
    name: String,
    method: String,
    plain: bool,
    columns: Vec<String>,
    descending: Vec<bool>,
}

#[derive(Deserialize)]
struct FoundPublication {
    all_tables: bool,
    members: Vec<FoundMember>,
}

#[derive(Deserialize)]
struct FoundMember {
    schema: String,
    table: String,
    whole: bool,
}

type Named<T> = Result<T, crate::model::NameFault>;

fn names(texts: &[String]) -> Named<Vec<Name>> {
    texts.iter().map(|text| Name::new(text)).collect()
}

impl Found {
    fn into_database(self) -> Named<Database> {
        let postgres = self.postgres;
        let mut foreign = self.foreign.iter().map(|text| Name::new(text)).collect::<Named<BTreeSet<_>>>()?;
        let mut tables = BTreeMap::new();
        for table in self.tables {
            let name = Name::new(&table.name)?;
            match Mark::read(&table.mark) {
                Some(mark) => {
                    let table = table.into_table(name.clone(), mark, postgres)?;
                    tables.insert(name, table);
                }
                // The statement asks for marks only; both read them the same way.
                None => {
                    foreign.insert(name);
                }
            }
        }
        let publication = match self.publication {
            None => None,
            Some(found) => Some(Publication {
                all_tables: found.all_tables,
                members: found
                    .members
                    .iter()
                    .map(|one| Ok(((Name::new(&one.schema)?, Name::new(&one.table)?), one.whole)))
                    .collect::<Named<_>>()?,
            }),
        };
        Ok(Database { tables, foreign, publication })
    }
}

impl FoundTable {
    fn into_table(self, name: Name, mark: Mark, postgres: u32) -> Named<Table> {
        let (search, columns): (Vec<FoundColumn>, Vec<FoundColumn>) =
            self.columns.into_iter().partition(|column| column.search.is_some());
        let search = search.into_iter().next().map(|column| {
            let printed = column.default.unwrap_or_default();
            let note = mark.search.as_ref().filter(|_| column.search == Some(true));
            Definition::Found { written: mark.written(note, &printed, postgres), printed }
        });
        let columns = columns
            .into_iter()
            .map(|column| {
                let default = column.default.map(|printed| Definition::Found {
                    written: mark.written(mark.defaults.get(&column.name), &printed, postgres),
                    printed,
                });
                Ok(Column {
                    name: Name::new(&column.name)?,
                    column_type: match Kind::from_oid(column.oid).filter(|_| column.plain) {
                        Some(kind) => ColumnType::Kind(kind),
                        None => ColumnType::Other(column.printed),
                    },
                    not_null: column.not_null,
                    default,
                    renamed_from: None,
                })
            })
            .collect::<Named<_>>()?;
        let constraints = self
            .constraints
            .into_iter()
            .map(|constraint| constraint.into_constraint(&mark, postgres))
            .collect::<Named<_>>()?;
        let indexes = self.indexes.iter().map(FoundIndex::to_index).collect::<Named<_>>()?;
        Ok(Table {
            name,
            renamed_from: None,
            columns,
            search,
            constraints,
            indexes,
            touch: match self.touch {
                None => TouchTrigger::Absent,
                Some(true) => TouchTrigger::Present,
                Some(false) => TouchTrigger::Altered,
            },
            full_identity: self.full_identity,
            mark,
        })
    }
}

impl FoundConstraint {
    fn into_constraint(self, mark: &Mark, postgres: u32) -> Named<Constraint> {
        let columns = names(self.columns.as_deref().unwrap_or_default())?;
        let printed = self.printed.unwrap_or_default();
        let on_delete = match self.on_delete.as_str() {
            "r" => Some(OnDelete::Restrict),
            "c" => Some(OnDelete::Cascade),
            "n" => Some(OnDelete::SetNull),
            _ => None,
        };
        let rule = match (self.letter.as_str(), self.plain, on_delete, self.schema, self.table) {
            ("p", true, ..) => ConstraintRule::PrimaryKey(columns.clone()),
            ("u", true, ..) => ConstraintRule::Unique(columns.clone()),
            ("f", true, Some(on_delete), Some(schema), Some(table)) => ConstraintRule::ForeignKey {
                columns: columns.clone(),
                schema: Name::new(&schema)?,
                table: Name::new(&table)?,
                target: names(self.target.as_deref().unwrap_or_default())?,
                on_delete,
            },
            ("c", true, ..) => ConstraintRule::Check(Definition::Found {
                written: mark.written(mark.checks.get(&self.name), &printed, postgres),
                printed,
            }),
            _ => ConstraintRule::Other(printed),
        };
        Ok(Constraint { name: Name::new(&self.name)?, columns, rule })
    }
}

impl FoundIndex {
    fn to_index(&self) -> Named<TableIndex> {
        let method = match self.method.as_str() {
            "btree" => Some(IndexMethod::Btree),
            "gin" => Some(IndexMethod::Gin),
            _ => None,
        };
        let rule = match method {
            Some(method) if self.plain && self.columns.len() == self.descending.len() => {
                let columns = names(&self.columns)?;
                TableIndexRule::Plain {
                    columns: columns.into_iter().zip(self.descending.iter().copied()).collect(),
                    method,
                }
            }
            _ => TableIndexRule::Other,
        };
        Ok(TableIndex { name: Name::new(&self.name)?, rule })
    }
}
