//! A case asked of a database through the plans of requests, each in a savepoint that is undone.

mod subscribe;

use serde_json::{Map, Value as Json};

use super::{Outcome, Seen, equal, sent};
use crate::catalog::{Catalog, Limits};
use crate::condition::Rows;
use crate::db::{DbError, Row, Tx};
use crate::error::{Code, Error};
use crate::model::{Action, CollectionId, FieldId, Kind, Principal, Record, Scalar, Schema, Value};
use crate::project::tests::{Act, Case, Tests};
use crate::query::body::Body;
use crate::query::plan::{
    Context, DeletePlan, InsertOptions, InsertPlan, ReadPlan, UpdatePlan, WritePlan, Yields,
};
use crate::query::request::{Comparison, Filter, Item, Node, Operand, Order, Path, Test};
use crate::records;
use crate::sql::{Sql, array_literal};

/// `json`, not one of the kinds.
const JSON_OID: u32 = 114;

/// The transaction's time, in microseconds since 2000-01-01 UTC: what `now()` is in its statements.
pub(super) async fn now(tx: &Tx) -> Result<i64, DbError> {
    let mut sql = Sql::new();
    sql.raw("select (extract(epoch from now()) * 1000000)::bigint - 946684800000000");
    Ok(tx.query(&sql).await?.first().and_then(|row| row.integer(0)).unwrap_or_default())
}

/// Puts users and records there. All in one statement: references are checked at its end, so records may
/// refer to each other in a circle. Answers why they cannot stand there, if they cannot.
pub(super) async fn give(
    tx: &Tx,
    catalog: &Catalog,
    tests: &Tests,
    now: i64,
) -> Result<Option<String>, DbError> {
    let mut sql = Sql::new();
    let (users, user) = (sql.fresh(), sql.fresh());
    let ids: Vec<Json> =
        tests.given.users.iter().map(|user| serde_json::json!({ "id": user.id.to_string() })).collect();
    sql.raw("with ").alias(users).raw(" as (insert into auth.users (id) select ").alias(user);
    sql.raw(".id from json_to_recordset(");
    sql.bind_typed(JSON_OID, "json", Some(Json::Array(ids).to_string()));
    sql.raw(") as ").alias(user).raw("(id uuid))");
    let mut buckets = catalog.buckets.values().peekable();
    if buckets.peek().is_some() {
        let texts = Kind::many(Scalar::Text);
        let names = array_literal(buckets.map(|bucket| Some(bucket.id.as_str())));
        let (written, bucket) = (sql.fresh(), sql.fresh());
        sql.raw(", ").alias(written).raw(" as (insert into storage.buckets (id, declared) select ");
        sql.alias(bucket).raw(".id, true from unnest(").bind(texts, Some(names));
        sql.raw(") as ").alias(bucket).raw("(id))");
    }
    for (id, collection) in catalog.collections.with_objects() {
        let given = tests.given.records.iter().filter(|record| record.collection == id);
        let records: Vec<Json> = given
            .map(|record| {
                let record = record.record(now);
                object(catalog, id, collection.field_ids().map(|field| (field, record.get(field))))
            })
            .collect();
        if records.is_empty() {
            continue;
        }
        let (written, row) = (sql.fresh(), sql.fresh());
        sql.raw(", ").alias(written).raw(" as (insert into ").table(collection).raw(" (");
        for (at, field) in collection.fields.iter().enumerate() {
            sql.raw(if at > 0 { ", " } else { "" }).name(&field.name);
        }
        // What lies behind an object is not asked for.
        sql.raw(match collection.schema {
            Schema::Public => ") select * from json_to_recordset(",
            Schema::Storage => ", version) select *, basewright.uuid_v7() from json_to_recordset(",
        });
        sql.bind_typed(JSON_OID, "json", Some(Json::Array(records).to_string()));
        sql.raw(") as ").alias(row).raw("(");
        for (at, field) in collection.fields.iter().enumerate() {
            sql.raw(if at > 0 { ", " } else { "" }).name(&field.name).raw(" ").raw(field.kind.sql());
        }
        sql.raw("))");
    }
    sql.raw(" select 1");
    match tx.query(&sql).await {
        Ok(_) => Ok(None),
        Err(error) => match error.report() {
            Some(report) if !error.is_unavailable() => {
                let detail = report.detail.as_ref().map(|detail| format!("; {detail}")).unwrap_or_default();
                Ok(Some(format!("{}{detail}", report.message)))
            }
            Some(_) | None => Err(error),
        },
    }
}

/// Asks what a case asks, and undoes it.
pub(super) async fn ask(tx: &Tx, catalog: &Catalog, given: &Rows, case: &Case) -> Result<Outcome, DbError> {
    let principal = case.caller.principal();
    let context = Context { catalog, principal: &principal };
    tx.batch("savepoint asked").await?;
    let outcome = Asking { tx, catalog, context, given: Some(given) }.act(case).await;
    tx.batch("rollback to savepoint asked; release savepoint asked").await?;
    Ok(outcome)
}

/// What a case comes to on a database that is not ours alone: what a write leaves behind is not looked at.
pub(super) async fn decide(tx: &Tx, catalog: &Catalog, case: &Case) -> Result<Outcome, DbError> {
    let principal = case.caller.principal();
    let context = Context { catalog, principal: &principal };
    tx.batch("savepoint asked").await?;
    let outcome = Asking { tx, catalog, context, given: None }.act(case).await;
    tx.batch("rollback to savepoint asked; release savepoint asked").await?;
    Ok(outcome)
}

/// A collection's records, whatever anybody may see of them: all, or the one of a key. `None` if there are more
/// than `most`.
///
/// # Errors
/// What the database says.
pub(super) async fn records(
    tx: &Tx,
    catalog: &Catalog,
    id: CollectionId,
    key: Option<&[Value]>,
    most: usize,
) -> Result<Option<Vec<Record>>, Error> {
    let everything = Principal::service();
    let context = Context { catalog, principal: &everything };
    let asking = Asking { tx, catalog, context, given: None };
    let filter = key.map(|key| asking.key_filter(id, key)).unwrap_or_default();
    let node = Node { filter, ..Node::default() };
    let Outcome::Seen(seen) = asking.list(id, node, most).await? else { return Ok(None) };
    if seen.len() > most {
        return Ok(None);
    }
    let collection = catalog.collection(id);
    let record = |mut seen: Seen| {
        seen.sort_by_key(|(field, _)| *field);
        Record(seen.into_iter().map(|(_, value)| value).collect())
    };
    let whole = |seen: &Seen| seen.len() == collection.fields.len();
    Ok(seen.iter().all(whole).then(|| seen.into_iter().map(record).collect()))
}

struct Asking<'a> {
    tx: &'a Tx,
    catalog: &'a Catalog,
    context: Context<'a>,
    /// What stood there before; `None` where what a write leaves behind is not looked at.
    given: Option<&'a Rows>,
}

impl Asking<'_> {
    async fn act(&self, case: &Case) -> Outcome {
        let id = case.act.collection();
        let by_key = |key: &[Value]| Node { filter: self.key_filter(id, key), ..Node::default() };
        let count_only = (false, false);
        let outcome = match &case.act {
            Act::List { .. } => self.list(id, Node::default(), usize::MAX).await,
            Act::Read { key, .. } => self.list(id, by_key(key), usize::MAX).await,
            Act::Create { .. } => match self.body(id, &sent(self.catalog, case)) {
                Ok(body) => {
                    let options = InsertOptions::default();
                    let plan = self.context.permit_on(id, Action::Create).and_then(|permit| {
                        InsertPlan::under(self.context, permit, &body, &options, (None, false))
                    });
                    self.write(plan.map(WritePlan::Insert), None).await
                }
                Err(error) => Err(error),
            },
            Act::Update { key, values, .. } => match self.changed_body(id, values).await {
                Ok(body) => {
                    let options = InsertOptions::default();
                    let node = by_key(key);
                    let plan = self.context.permit_on(id, Action::Update).and_then(|permit| {
                        UpdatePlan::under(self.context, permit, &node, &body, &options, count_only)
                    });
                    self.write(plan.map(WritePlan::Update), Some(key)).await
                }
                Err(error) => Err(error),
            },
            Act::Delete { key, .. } => {
                let plan = self.context.permit_on(id, Action::Delete);
                let plan =
                    plan.and_then(|permit| DeletePlan::under(self.context, permit, &by_key(key), count_only));
                self.write(plan.map(WritePlan::Delete), Some(key)).await
            }
            Act::Subscribe { change, .. } => self.subscribe(id, change).await,
        };
        match (&case.act, outcome) {
            (Act::Read { .. }, Ok(Outcome::Seen(records))) if records.is_empty() => {
                Outcome::Refused("no such record".to_owned())
            }
            (_, Ok(outcome)) => outcome,
            (_, Err(error)) => refusal(&error),
        }
    }

    /// All the records that a read answers, page by page, until there are more than `most`.
    async fn list(&self, id: CollectionId, mut node: Node, most: usize) -> Result<Outcome, Error> {
        let collection = self.catalog.collection(id);
        let permit = self.context.permit_on(id, Action::Read)?;
        node.select = vec![Item::All];
        // Pages need an order; a key that is hidden cannot give one.
        node.order = collection
            .primary_key
            .iter()
            .filter(|field| permit.covers(**field))
            .map(|field| Order {
                relation: None,
                path: Path::field(collection.field(*field).name.as_str()),
                descending: false,
                nulls_first: None,
            })
            .collect();
        let mut seen: Vec<Seen> = Vec::new();
        loop {
            node.offset = Some(seen.len() as u64);
            let plan = ReadPlan::under(self.context, permit.clone(), &node)?;
            let rows = self.tx.query(&plan.statement(self.context).sql).await.map_err(DbError::into_error)?;
            for row in &rows {
                seen.push(decoded(self.catalog, id, &plan, row)?);
            }
            if rows.is_empty() || (rows.len() as u64) < plan.node.limit() || seen.len() > most {
                return Ok(Outcome::Seen(seen));
            }
        }
    }

    /// Runs a write; `key` is that of the record it is about, before the write.
    async fn write(&self, plan: Result<WritePlan, Error>, key: Option<&[Value]>) -> Result<Outcome, Error> {
        let plan = plan?;
        let written = records::write_within(self.tx, self.context, &plan).await?;
        if written.affected == 0 {
            return Ok(Outcome::Refused("no such record".to_owned()));
        }
        match self.given {
            Some(given) => Ok(Outcome::Done(self.changed(&plan, key, given).await?)),
            None => Ok(Outcome::Done(Seen::new())),
        }
    }

    /// The record that a write has changed or made, as it stands now; empty of a delete.
    async fn changed(&self, plan: &WritePlan, key: Option<&[Value]>, given: &Rows) -> Result<Seen, Error> {
        if matches!(plan, WritePlan::Delete(_)) {
            return Ok(Seen::new());
        }
        let id = plan.permit().collection();
        let collection = self.catalog.collection(id);
        // Everything is looked at, whatever the caller may see of it.
        let everything = Principal::service();
        let context = Context { catalog: self.catalog, principal: &everything };
        let Outcome::Seen(records) =
            (Asking { context, ..*self }).list(id, Node::default(), usize::MAX).await?
        else {
            return Ok(Seen::new());
        };
        let given = given.0.get(&id);
        let stands = |seen: &Seen| {
            given.into_iter().flatten().any(|record| {
                collection.field_ids().all(|field| {
                    seen.iter().any(|(known, value)| *known == field && equal(value, record.get(field)))
                })
            })
        };
        let has_key = |seen: &&Seen| {
            key.is_some_and(|key| {
                collection.primary_key.iter().zip(key).all(|(field, part)| {
                    seen.iter().any(|(known, value)| known == field && equal(value, part))
                })
            })
        };
        // An update may change the key, and may change nothing.
        let changed = records.iter().find(|record| !stands(record));
        Ok(changed.or_else(|| records.iter().find(has_key)).cloned().unwrap_or_default())
    }

    fn key_filter(&self, id: CollectionId, key: &[Value]) -> Vec<Filter> {
        let collection = self.catalog.collection(id);
        let equals = |(field, value): (&FieldId, &Value)| Filter::Term {
            path: Path::field(collection.field(*field).name.as_str()),
            negated: false,
            test: Test::Compare {
                operator: Comparison::Eq,
                operand: Operand::One(value.to_text().unwrap_or_default()),
            },
        };
        collection.primary_key.iter().zip(key).map(equals).collect()
    }

    /// What an update sends. Whoever changes an object says when; the tables of collections do so themselves.
    async fn changed_body(&self, id: CollectionId, values: &[(FieldId, Value)]) -> Result<Body, Error> {
        let collection = self.catalog.collection(id);
        let mut values = values.to_vec();
        let field = collection.field_id("updated_at").filter(|_| collection.schema == Schema::Storage);
        if let Some(field) = field.filter(|field| !values.iter().any(|(known, _)| known == field)) {
            values.push((field, Value::Timestamp(now(self.tx).await.map_err(DbError::into_error)?)));
        }
        self.body(id, &values)
    }

    fn body(&self, id: CollectionId, values: &[(FieldId, Value)]) -> Result<Body, Error> {
        let members = object(self.catalog, id, values.iter().map(|(field, value)| (*field, value)));
        Body::parse(members.to_string().as_bytes(), &Limits::default())
    }
}

/// What a refusal means to a case: whether it was the policies that refused.
fn refusal(error: &Error) -> Outcome {
    let details = match &error.details {
        Some(Json::String(details)) => format!("; {details}"),
        Some(_) | None => String::new(),
    };
    let text = format!("{}{details}", error.message);
    match &error.code {
        // What a caller does not know is refused as if it did not exist.
        Code::Denied | Code::DeniedAnonymous | Code::UnknownCollection | Code::UnknownColumn => {
            Outcome::Refused(text)
        }
        // A key that is hidden from the caller cannot be asked for.
        Code::Sqlstate(state) if state == "42703" => Outcome::Refused(text),
        _ => Outcome::Fault(text),
    }
}

fn decoded(catalog: &Catalog, id: CollectionId, plan: &ReadPlan, row: &Row) -> Result<Seen, Error> {
    let collection = catalog.collection(id);
    let column = |(at, (key, yields)): (usize, (&str, Yields))| {
        let field = collection.field_id(key).ok_or_else(|| Error::internal("a column of no field"))?;
        let value = match (yields, row.raw(at)) {
            (_, None) => Value::Null,
            (Yields::Kind(kind), Some(raw)) => Value::from_binary(kind, raw).map_err(Error::internal)?,
            (Yields::Json, Some(_)) => return Err(Error::internal("a field answered as made-up JSON")),
        };
        Ok((field, value))
    };
    plan.node.columns().enumerate().map(column).collect()
}

/// Values as the members of a JSON object, as a client would send them.
fn object<'v>(
    catalog: &Catalog,
    id: CollectionId,
    values: impl Iterator<Item = (FieldId, &'v Value)>,
) -> Json {
    let collection = catalog.collection(id);
    let member = |(field, value): (FieldId, &Value)| {
        let declared = collection.field(field);
        (declared.name.to_string(), json(declared.kind, value))
    };
    Json::Object(values.map(member).collect::<Map<_, _>>())
}

fn json(kind: Kind, value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => Json::from(*truth),
        Value::Integer(number) => Json::from(*number),
        Value::Json(json) => json.clone(),
        Value::Array(elements) => elements.iter().map(|element| json(kind.element(), element)).collect(),
        // JSON has no number for some of these, and loses digits of others: numeric text is taken for both.
        Value::Text(_)
        | Value::Float(_)
        | Value::Decimal(_)
        | Value::Uuid(_)
        | Value::Timestamp(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Interval(_)
        | Value::Bytes(_)
        | Value::Inet(..) => value.to_text().map_or(Json::Null, Json::from),
    }
}
