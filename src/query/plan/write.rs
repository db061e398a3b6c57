//! A write's request → a plan: which rules cover it, what is set, what the body lacks.

use super::given::Given;
use super::turns::{turns, ways};
use super::{Context, Cost, NodePlan};
use crate::error::{Code, Error};
use crate::model::{Action, Collection, DefaultValue, FieldId, FieldSet};
use crate::policy::{Decision, Permit};
use crate::query::body::Body;
use crate::query::preferences::Resolution;
use crate::query::request::Node;

/// What every write needs to know about its answer.
#[derive(Debug)]
pub struct Answer {
    /// The representation asked for; `None` for a count alone.
    pub node: Option<NodePlan>,
    /// More than one affected row, or one that the caller could not read, undoes the write.
    pub singular: bool,
    /// More affected rows than this undo the write, whether the caller may read them or not.
    pub max_affected: Option<u64>,
}

/// Any of the writes.
#[derive(Debug)]
pub enum WritePlan {
    Insert(InsertPlan),
    Update(UpdatePlan),
    Delete(DeletePlan),
}

#[derive(Debug)]
pub struct InsertPlan {
    pub(crate) permit: Permit,
    /// The columns that come from the body.
    pub(crate) columns: Vec<FieldId>,
    /// Columns that some records of the body lack and that then take their default (`missing=default`):
    /// each with the flag that the record carries.
    pub(crate) defaulted: Vec<(FieldId, String)>,
    /// Never empty; tried one after the other until one is admitted.
    pub(crate) ways: Vec<Way>,
    pub(crate) given: Given,
    pub(crate) count: usize,
    pub(crate) conflict: Option<Conflict>,
    pub(crate) answer: Answer,
}

/// One way to make the new records: the rules that set the same fields to the same values. What one rule sets
/// never stands in a record that another one admits.
#[derive(Debug)]
pub(crate) struct Way {
    /// Their places in [`Permit::rules`].
    pub(crate) rules: Vec<usize>,
    /// What these rules set.
    pub(crate) set: Vec<(FieldId, DefaultValue)>,
    /// Columns outside the body: what the rules set there, and what defaults to the caller's attributes.
    pub(crate) filled: Vec<(FieldId, DefaultValue)>,
}

/// What happens to a record whose key is taken.
#[derive(Debug)]
pub struct Conflict {
    pub(crate) target: Vec<FieldId>,
    /// `None` leaves the stored record alone.
    pub(crate) update: Option<ConflictUpdate>,
}

#[derive(Debug)]
pub(crate) struct ConflictUpdate {
    /// To judge the stored record: it must be one the caller may read.
    pub(crate) read: Permit,
    pub(crate) permit: Permit,
    /// The body's columns without the conflict's own.
    pub(crate) columns: Vec<FieldId>,
}

#[derive(Debug)]
pub struct UpdatePlan {
    pub(crate) permit: Permit,
    /// The rows to act on: visible to the caller, and the filter.
    pub(crate) rows: NodePlan,
    pub(crate) columns: Vec<FieldId>,
    pub(crate) given: Given,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub struct DeletePlan {
    pub(crate) permit: Permit,
    pub(crate) rows: NodePlan,
    pub(crate) answer: Answer,
}

/// How an insert treats what the body leaves open.
#[derive(Clone, Debug, Default)]
pub struct InsertOptions {
    /// `columns=`: only these members count.
    pub columns: Option<Vec<String>>,
    /// `missing=default`.
    pub missing_default: bool,
    pub resolution: Option<Resolution>,
    /// `on_conflict=`; without it the primary key.
    pub on_conflict: Option<Vec<String>>,
}

impl WritePlan {
    pub fn answer(&self) -> &Answer {
        match self {
            WritePlan::Insert(plan) => &plan.answer,
            WritePlan::Update(plan) => &plan.answer,
            WritePlan::Delete(plan) => &plan.answer,
        }
    }

    /// The same write, undone if it affects more rows than this. New records are never too many: their number is
    /// the request's own.
    pub fn with_max_affected(mut self, rows: Option<u64>) -> WritePlan {
        match &mut self {
            WritePlan::Insert(_) => {}
            WritePlan::Update(UpdatePlan { answer, .. }) | WritePlan::Delete(DeletePlan { answer, .. }) => {
                answer.max_affected = rows;
            }
        }
        self
    }

    /// The permit of the write itself.
    pub fn permit(&self) -> &Permit {
        match self {
            WritePlan::Insert(plan) => &plan.permit,
            WritePlan::Update(plan) => &plan.permit,
            WritePlan::Delete(plan) => &plan.permit,
        }
    }

    /// The representation asked for.
    pub fn represented(&self) -> Option<&NodePlan> {
        self.answer().node.as_ref()
    }

    /// An upsert that updates records whose key is taken: its answer tells new records from old ones.
    pub fn merges(&self) -> bool {
        match self {
            WritePlan::Insert(plan) => {
                plan.conflict.as_ref().is_some_and(|conflict| conflict.update.is_some())
            }
            WritePlan::Update(_) | WritePlan::Delete(_) => false,
        }
    }

    /// How many statements there are to try, the next one when a policy refused the one before. Rules that set
    /// different values make different records of the same request, and each of them has its turn.
    pub fn ways(&self) -> usize {
        match self {
            WritePlan::Insert(plan) => {
                let update = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref());
                plan.ways.len() * update.map_or(1, |update| turns(&update.permit, &update.columns))
            }
            WritePlan::Update(plan) => turns(&plan.permit, &plan.columns),
            WritePlan::Delete(_) => 1,
        }
    }

    /// A write of one record by its key, or of one new record, may share a pipelined connection.
    pub fn cost(&self, context: Context<'_>) -> Cost {
        match self {
            WritePlan::Insert(plan) if plan.count == 1 && plan.conflict.is_none() => Cost::OneRow,
            WritePlan::Insert(_) => Cost::Unknown,
            WritePlan::Update(UpdatePlan { rows, .. }) | WritePlan::Delete(DeletePlan { rows, .. }) => {
                context.cost_by_key(rows)
            }
        }
    }

    /// Nothing can be affected: an empty array inserts nothing, an empty object changes nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            WritePlan::Insert(plan) => plan.count == 0,
            WritePlan::Update(plan) => plan.columns.is_empty(),
            WritePlan::Delete(_) => false,
        }
    }
}

impl InsertPlan {
    /// Checks an insert or upsert.
    ///
    /// # Errors
    /// Unknown members (PGRST204), fields that no rule covers (42501), and every fault of every record at once.
    pub fn new(
        context: Context<'_>,
        collection: &str,
        body: &Body,
        options: &InsertOptions,
        answer: (Option<&Node>, bool),
    ) -> Result<InsertPlan, Error> {
        InsertPlan::under(context, context.permit(collection, Action::Create)?, body, options, answer)
    }

    /// Checks an insert or upsert into the permit's collection.
    ///
    /// # Errors
    /// As [`InsertPlan::new`].
    pub fn under(
        context: Context<'_>,
        permit: Permit,
        body: &Body,
        options: &InsertOptions,
        answer: (Option<&Node>, bool),
    ) -> Result<InsertPlan, Error> {
        let declared = context.collection(permit.collection());
        let names = match &options.columns {
            Some(columns) => columns.clone(),
            None => members(body, options.missing_default)?,
        };
        let columns = context.written_fields(&permit, &names)?;
        let written: FieldSet = columns.iter().copied().collect();
        if permit.write_rules(&written).is_empty() {
            return Err(context.not_covered(&permit, &columns));
        }
        let mut ways = ways(declared, &permit, &written);
        let lacking = |field: FieldId| {
            let name = declared.field(field).name.as_str();
            body.records.iter().any(|record| record.get(name).is_none())
        };
        let defaulted: Vec<(FieldId, String)> = columns
            .iter()
            .filter(|field| options.missing_default && lacking(**field))
            .map(|field| (*field, format!("?{}", field.0)))
            .collect();
        let mut provided = ways.iter().fold(FieldSet::EMPTY, |all, way| all.union(way.provides()));
        // A way that leaves out what is required is none, if there is another.
        let required = declared.field_ids().filter(|field| {
            let field_is = declared.field(*field);
            field_is.required && field_is.default.is_none() && !written.contains(*field)
        });
        let required: FieldSet = required.collect();
        if ways.iter().any(|way| way.provides().covers(&required)) {
            ways.retain(|way| way.provides().covers(&required));
            provided = ways.iter().fold(FieldSet::EMPTY, |all, way| all.union(way.provides()));
        }
        context.judge_bodies(&permit, body, &names, Some((provided, &defaulted)))?;
        let conflict = context.conflict(declared, &columns, options)?;
        let flags: Vec<(usize, String)> = columns
            .iter()
            .enumerate()
            .filter_map(|(at, field)| {
                defaulted.iter().find(|(known, _)| known == field).map(|(_, flag)| (at, flag.clone()))
            })
            .collect();
        let bound = match &body.records[..] {
            // A conflict's statement speaks of the body's record in several places.
            [record] if conflict.is_none() => Given::one(declared, &columns, record, &names),
            _ => None,
        };
        let given = bound.unwrap_or_else(|| Given::json(declared, &columns, body, &names, &flags));
        let answer = context.answer(&permit, answer)?;
        Ok(InsertPlan {
            columns,
            defaulted,
            ways,
            given,
            count: body.records.len(),
            conflict,
            answer,
            permit,
        })
    }
}

impl UpdatePlan {
    /// Checks an update of the rows that `node`'s filter names.
    ///
    /// # Errors
    /// As [`InsertPlan::new`]; 42501 too where the caller may update but not read.
    pub fn new(
        context: Context<'_>,
        collection: &str,
        node: &Node,
        body: &Body,
        options: &InsertOptions,
        answer: (bool, bool),
    ) -> Result<UpdatePlan, Error> {
        UpdatePlan::under(context, context.permit(collection, Action::Update)?, node, body, options, answer)
    }

    /// Checks an update in the permit's collection.
    ///
    /// # Errors
    /// As [`UpdatePlan::new`].
    pub fn under(
        context: Context<'_>,
        permit: Permit,
        node: &Node,
        body: &Body,
        options: &InsertOptions,
        answer: (bool, bool),
    ) -> Result<UpdatePlan, Error> {
        if body.records.len() > 1 {
            return Err(Error::with(Code::Body, "An update takes one object"));
        }
        let names = match &options.columns {
            Some(columns) => columns.clone(),
            None => members(body, false)?,
        };
        let names: Vec<String> = names
            .into_iter()
            .filter(|name| {
                options.columns.is_none() || body.records.iter().any(|record| record.get(name).is_some())
            })
            .collect();
        let columns = context.written_fields(&permit, &names)?;
        let written: FieldSet = columns.iter().copied().collect();
        if permit.write_rules(&written).is_empty() {
            return Err(context.not_covered(&permit, &columns));
        }
        context.judge_bodies(&permit, body, &names, None)?;
        let (rows, represented) = context.rows_to_write(&permit, node, answer.0)?;
        let declared = context.collection(permit.collection());
        let record = body.records.first();
        let bound = record.and_then(|record| Given::one(declared, &columns, record, &names));
        let given = bound.unwrap_or_else(|| Given::json(declared, &columns, body, &names, &[]));
        Ok(UpdatePlan {
            rows,
            columns,
            given,
            answer: Answer { node: represented, singular: answer.1, max_affected: None },
            permit,
        })
    }
}

impl DeletePlan {
    /// Checks a delete of the rows that `node`'s filter names. `answer` is (a representation is wanted, one row is wanted).
    ///
    /// # Errors
    /// 42501 where the caller may delete but not read.
    pub fn new(
        context: Context<'_>,
        collection: &str,
        node: &Node,
        answer: (bool, bool),
    ) -> Result<DeletePlan, Error> {
        DeletePlan::under(context, context.permit(collection, Action::Delete)?, node, answer)
    }

    /// Checks a delete in the permit's collection.
    ///
    /// # Errors
    /// As [`DeletePlan::new`].
    pub fn under(
        context: Context<'_>,
        permit: Permit,
        node: &Node,
        answer: (bool, bool),
    ) -> Result<DeletePlan, Error> {
        let (rows, represented) = context.rows_to_write(&permit, node, answer.0)?;
        Ok(DeletePlan {
            permit,
            rows,
            answer: Answer { node: represented, singular: answer.1, max_affected: None },
        })
    }
}

impl Way {
    pub(super) fn provides(&self) -> FieldSet {
        self.set.iter().chain(&self.filled).map(|(field, _)| *field).collect()
    }

    /// What a record gets in a field that its body does not hold.
    pub(crate) fn value_of<'a>(
        &'a self,
        collection: &'a Collection,
        field: FieldId,
    ) -> Option<&'a DefaultValue> {
        let given = self.set.iter().chain(&self.filled).find(|(known, _)| *known == field);
        given.map(|(_, value)| value).or(collection.field(field).default.as_ref())
    }
}

/// The members of a body's records: the same in each, unless what is missing takes its default.
fn members(body: &Body, may_differ: bool) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for record in &body.records {
        for name in record.names() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    let whole = body.records.iter().all(|record| record.names().count() == names.len());
    if whole || may_differ { Ok(names) } else { Err(Error::with(Code::Body, "All object keys must match")) }
}

impl Context<'_> {
    /// Finds the fields that a body names. A field that the caller can neither read nor write does not exist for him.
    fn written_fields(&self, permit: &Permit, names: &[String]) -> Result<Vec<FieldId>, Error> {
        let collection = self.collection(permit.collection());
        let nameable = self.nameable_fields(permit);
        names
            .iter()
            .map(|name| {
                collection.field_id(name).filter(|field| nameable.contains(*field)).ok_or_else(|| {
                    let message = format!(
                        "Could not find the '{name}' column of '{}' in the schema cache",
                        collection.name
                    );
                    Error::with(Code::UnknownColumn, message)
                })
            })
            .collect()
    }

    /// No one rule covers all the fields of a body.
    fn not_covered(&self, permit: &Permit, columns: &[FieldId]) -> Error {
        let collection = self.collection(permit.collection());
        let refused: Vec<&str> = columns
            .iter()
            .filter(|field| !permit.covers(**field))
            .map(|field| collection.field(*field).name.as_str())
            .collect();
        let what = if refused.is_empty() { "these fields together".to_owned() } else { refused.join(", ") };
        Error::with(self.denial(), format!("permission denied for table {}", collection.name))
            .details(format!("No rule allows to {} {what}", permit.action().as_str()))
    }

    /// The conflict's target and what happens then.
    fn conflict(
        &self,
        collection: &Collection,
        columns: &[FieldId],
        options: &InsertOptions,
    ) -> Result<Option<Conflict>, Error> {
        let Some(resolution) = options.resolution else { return Ok(None) };
        let read = self.permit(collection.name.as_str(), Action::Read)?;
        let target = match &options.on_conflict {
            None => collection.primary_key.clone(),
            Some(names) => {
                names.iter().map(|name| self.known_field(&read, name)).collect::<Result<Vec<_>, _>>()?
            }
        };
        if !collection.is_unique(&target) {
            return Err(Error::with(
                Code::Sqlstate("42P10".to_owned()),
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            ));
        }
        let update = match resolution {
            Resolution::IgnoreDuplicates => None,
            Resolution::MergeDuplicates => {
                let permit = self.permit(collection.name.as_str(), Action::Update)?;
                let columns: Vec<FieldId> =
                    columns.iter().copied().filter(|field| !target.contains(field)).collect();
                if permit.write_rules(&columns.iter().copied().collect()).is_empty() {
                    return Err(self.not_covered(&permit, &columns));
                }
                Some(ConflictUpdate { read, permit, columns })
            }
        };
        Ok(Some(Conflict { target, update }))
    }

    fn answer(&self, permit: &Permit, (node, singular): (Option<&Node>, bool)) -> Result<Answer, Error> {
        let node = match node {
            None => None,
            Some(node) => Some(self.node(self.permit_to_read(permit)?, node)?),
        };
        Ok(Answer { node, singular, max_affected: None })
    }

    /// The rows that an update or a delete acts on, and the representation if one is wanted: both are reads.
    fn rows_to_write(
        &self,
        permit: &Permit,
        node: &Node,
        represented: bool,
    ) -> Result<(NodePlan, Option<NodePlan>), Error> {
        let read = self.permit_to_read(permit)?;
        let unfiltered = Node { filter: Vec::new(), ..node.clone() };
        let filtered = Node { order: Vec::new(), ..node.clone() };
        let rows = self.node(read.clone(), &filtered)?;
        let represented = if represented { Some(self.node(read, &unfiltered)?) } else { None };
        Ok((rows, represented))
    }

    /// Updates, deletes and representations need rows that the caller may read.
    fn permit_to_read(&self, write: &Permit) -> Result<Permit, Error> {
        let id = write.collection();
        match self.catalog.policies.decide(self.principal, Action::Read, id) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Denied | Decision::Unknown => Err(self
                .denied(id)
                .details("This needs records that you may read, and no read rule speaks for you")),
        }
    }
}
