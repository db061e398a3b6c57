//! A project's own tests: each case is judged twice, and the two must agree.
//!
//! `memory` judges from the permits and the conditions alone, and knows why. `database` runs the plans that
//! requests run, on the records given, in a transaction that is rolled back. What a case expects is held
//! against the first; the second is held against the first, record by record and field by field. So a case
//! that passes says that the policy means what its author expects and that the statements do what it means.

mod database;
mod explain;
mod memory;
mod why;
mod witness;

use std::collections::HashSet;

use crate::catalog::Catalog;
use crate::condition::{self, Rows};
use crate::db::{DbError, Pool};
use crate::model::{Action, Collection, CollectionId, FieldId, FieldSet, Value};
use crate::policy::{Decision, WriteRule};
use crate::project::tests::{Act, Case, Expect, Tests, Told};

pub use explain::{Explained, explain};
pub use witness::{Verdict, Witnessed, witness};

use memory::Judgement;
pub(super) use why::Names;

/// What became of the tests of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file, relative to the project's folder.
    pub file: String,
    /// Why the records given cannot stand in the database; no case was asked of it then.
    pub given: Option<String>,
    pub cases: Vec<CaseReport>,
}

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    pub line: usize,
    pub title: String,
    /// What is wrong, for people; none of a case that passes.
    pub faults: Vec<String>,
}

impl Report {
    /// How many cases failed.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.faults.is_empty()).count()
    }
}

/// What an act comes to.
#[derive(Clone, Debug)]
enum Outcome {
    /// A write was done, and this is the record as it stands afterwards, as far as its values can be foretold;
    /// empty of a delete.
    Done(Seen),
    /// The records that a read answers.
    Seen(Vec<Seen>),
    /// Refused by the policies, or answered as if the record were not there. The text is for people.
    Refused(String),
    /// Refused for a reason that is none of the policies: a value out of bounds, a key that is taken.
    Fault(String),
    /// What a listener is told of a change.
    Told(Told),
}

/// A record as the caller sees it: the fields that exist for him, null where the record hides one.
type Seen = Vec<(FieldId, Value)>;

impl Outcome {
    /// In a word or two.
    fn word(&self) -> String {
        match self {
            Outcome::Done(_) => "allowed".to_owned(),
            Outcome::Seen(records) => match records.len() {
                1 => "1 record".to_owned(),
                count => format!("{count} records"),
            },
            Outcome::Refused(why) if why.is_empty() => "denied".to_owned(),
            Outcome::Refused(why) => format!("denied ({why})"),
            Outcome::Fault(why) => format!("refused, and not by a policy: {why}"),
            Outcome::Told(told) => event(*told).to_owned(),
        }
    }
}

/// Judges the cases in memory alone. `now` is in microseconds since 2000-01-01 UTC.
pub fn in_memory(catalog: &Catalog, tests: &Tests, now: i64) -> Report {
    let names = Names::of(tests);
    let rows = given_rows(tests, now);
    let cases = tests
        .cases
        .iter()
        .map(|case| {
            let judged = memory::judge(catalog, &rows, now, &names, case);
            report(case, unexpected(catalog, case, &judged))
        })
        .collect();
    Report { file: tests.file.clone(), given: None, cases }
}

/// Judges the cases in memory and on a database that has the project's tables and no records. Leaves nothing
/// behind: everything happens in a transaction that is rolled back.
///
/// # Errors
/// The database cannot be asked.
pub async fn in_both(pool: &Pool, catalog: &Catalog, tests: &Tests) -> Result<Report, DbError> {
    let tx = pool.begin().await?;
    let now = database::now(&tx).await?;
    if let Some(given) = database::give(&tx, catalog, tests, now).await? {
        tx.rollback().await?;
        return Ok(Report { given: Some(given), ..in_memory(catalog, tests, now) });
    }
    let names = Names::of(tests);
    let rows = given_rows(tests, now);
    let mut cases = Vec::with_capacity(tests.cases.len());
    for case in &tests.cases {
        let judged = memory::judge(catalog, &rows, now, &names, case);
        let mut faults = unexpected(catalog, case, &judged);
        let outcome = database::ask(&tx, catalog, &rows, case).await?;
        faults.extend(disagreement(catalog, case, &judged.outcome, &outcome));
        cases.push(report(case, faults));
    }
    tx.rollback().await?;
    Ok(Report { file: tests.file.clone(), given: None, cases })
}

fn report(case: &Case, faults: Vec<String>) -> CaseReport {
    CaseReport { line: case.line, title: case.title.clone(), faults }
}

/// The given records, for conditions that follow relations.
fn given_rows(tests: &Tests, now: i64) -> Rows {
    let mut rows = Rows::default();
    for given in &tests.given.records {
        rows.0.entry(given.collection).or_default().push(given.record(now));
    }
    rows
}

/// In what the judgement is not what the case expects.
fn unexpected(catalog: &Catalog, case: &Case, judged: &Judgement) -> Vec<String> {
    let collection = catalog.collection(case.act.collection());
    match (&case.expect, &judged.outcome) {
        (Expect::Allowed { hidden }, Outcome::Done(_) | Outcome::Seen(_)) => hidden
            .iter()
            .filter(|field| !judged.hidden.contains(**field))
            .map(|field| {
                format!("expected `{}` to be hidden, and it is shown", collection.field(*field).name)
            })
            .collect(),
        (Expect::Allowed { .. }, Outcome::Refused(_) | Outcome::Fault(_)) => {
            let mut faults = vec!["expected allowed, and it is denied".to_owned()];
            faults.extend(judged.why());
            faults
        }
        (Expect::Denied { .. }, Outcome::Done(_) | Outcome::Seen(_)) => {
            let by = judged.allowed_by.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
            vec![format!("expected denied, and it is allowed{by}")]
        }
        (Expect::Denied { because: Some(because) }, Outcome::Refused(_) | Outcome::Fault(_))
            if !judged.is_because(because) =>
        {
            let mut faults = vec![format!("denied as expected, but not because of `{because}`")];
            faults.extend(judged.why());
            faults
        }
        (Expect::Denied { .. }, Outcome::Refused(_) | Outcome::Fault(_)) => Vec::new(),
        (Expect::Sees(_), Outcome::Refused(_) | Outcome::Fault(_) | Outcome::Done(_)) => {
            let mut faults = vec!["expected a list, and it is denied".to_owned()];
            faults.extend(judged.why());
            faults
        }
        (Expect::Sees(expected), Outcome::Seen(_)) => {
            let text = |key: &Vec<Value>| judged.names.key(key);
            let missing: Vec<String> =
                expected.iter().filter(|key| !judged.keys.contains(key)).map(text).collect();
            let surplus: Vec<String> =
                judged.keys.iter().filter(|key| !expected.contains(key)).map(text).collect();
            let mut faults = Vec::new();
            if !missing.is_empty() {
                faults.push(format!("expected to see {}, and it is not there", missing.join(" and ")));
                faults.extend(judged.why_not(expected));
            }
            if !surplus.is_empty() {
                faults.push(format!("sees {} too", surplus.join(" and ")));
            }
            faults
        }
        (Expect::Told(expected), Outcome::Told(told)) if expected == told => Vec::new(),
        (Expect::Told(expected), outcome) => {
            let by = judged.allowed_by.as_ref().filter(|_| *expected == Told::Nothing);
            let by = by.map(|rule| format!(" by {rule}")).unwrap_or_default();
            let mut faults = vec![format!("expected {}, and it is {}{by}", event(*expected), outcome.word())];
            faults.extend(judged.why());
            faults
        }
        (Expect::Allowed { .. } | Expect::Denied { .. } | Expect::Sees(_), Outcome::Told(told)) => {
            vec![format!("expected an answer, and it is {}", event(*told))]
        }
    }
}

/// What a listener is told, in words.
fn event(told: Told) -> &'static str {
    match told {
        Told::Insert => "an insert",
        Told::Update => "an update",
        Told::Delete => "a delete",
        Told::Nothing => "nothing",
    }
}

/// What a listener is told of a record that he sees so before and after a change.
fn told(collection: &Collection, before: Option<&Seen>, after: Option<&Seen>) -> Told {
    match (before, after) {
        (None, None) => Told::Nothing,
        (None, Some(_)) => Told::Insert,
        (Some(_), None) => Told::Delete,
        (Some(before), Some(after)) => {
            // Every update moves it; here, all happens in one moment.
            let moves = collection
                .field_id("updated_at")
                .filter(|_| collection.timestamps)
                .is_some_and(|field| after.iter().any(|(known, value)| *known == field && !value.is_null()));
            if moves || !same(before, after) { Told::Update } else { Told::Nothing }
        }
    }
}

/// In what the database did something else than the policies mean.
fn disagreement(catalog: &Catalog, case: &Case, expected: &Outcome, did: &Outcome) -> Option<String> {
    let differ = || format!("in memory: {}; on the database: {}", expected.word(), did.word());
    match (expected, did) {
        (Outcome::Refused(_), Outcome::Refused(_)) => None,
        (Outcome::Done(expected), Outcome::Done(written)) => {
            let foretold: Seen = written
                .iter()
                .filter(|(field, _)| expected.iter().any(|(known, _)| known == field))
                .cloned()
                .collect();
            (!same(expected, &foretold)).then(|| {
                let different = different_record(catalog, case.act.collection(), expected, &[foretold]);
                format!("the record is not written as the rule says: {different}")
            })
        }
        // Whatever else is wrong with it, what the policies refuse is not done.
        (Outcome::Refused(_) | Outcome::Fault(_), Outcome::Fault(_)) => None,
        (Outcome::Done(_) | Outcome::Seen(_), Outcome::Fault(why)) => Some(match case.expect {
            Expect::Denied { .. } => differ(),
            Expect::Allowed { .. } | Expect::Sees(_) | Expect::Told(_) => {
                format!("the policies allow it, and the request is refused: {why}")
            }
        }),
        (Outcome::Seen(expected), Outcome::Seen(seen)) => {
            if expected.len() != seen.len() {
                return Some(differ());
            }
            expected
                .iter()
                .find(|record| !seen.iter().any(|other| same(record, other)))
                .map(|record| different_record(catalog, case.act.collection(), record, seen))
        }
        (Outcome::Fault(_), Outcome::Refused(_)) => None,
        (Outcome::Told(told), Outcome::Told(other)) if told == other => None,
        (
            Outcome::Done(_) | Outcome::Seen(_) | Outcome::Refused(_) | Outcome::Fault(_) | Outcome::Told(_),
            _,
        ) => Some(differ()),
    }
}

/// Which fields of a record the database shows otherwise.
fn different_record(catalog: &Catalog, id: CollectionId, record: &Seen, seen: &[Seen]) -> String {
    let collection = catalog.collection(id);
    let agreeing = |other: &Seen| {
        record
            .iter()
            .filter(|field| other.iter().any(|one| one.0 == field.0 && equal(&one.1, &field.1)))
            .count()
    };
    let nearest = seen.iter().max_by_key(|other| agreeing(other));
    let fields: HashSet<FieldId> =
        record.iter().chain(nearest.into_iter().flatten()).map(|(field, _)| *field).collect();
    let show = |seen: Option<&Seen>, field: FieldId| match seen
        .and_then(|seen| seen.iter().find(|(known, _)| *known == field))
    {
        None => "unknown".to_owned(),
        Some((_, value)) => value.to_text().map_or_else(|| "null".to_owned(), |text| format!("'{text}'")),
    };
    let mut different: Vec<String> = fields
        .into_iter()
        .map(|field| (field, show(Some(record), field), show(nearest, field)))
        .filter(|(_, memory, database)| memory != database)
        .map(|(field, memory, database)| {
            format!("`{}` is {memory} in memory and {database} on the database", collection.field(field).name)
        })
        .collect();
    different.sort_unstable();
    different.join("; ")
}

fn same(one: &Seen, other: &Seen) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .all(|(field, value)| other.iter().any(|(known, seen)| known == field && equal(seen, value)))
}

/// Null equals null here: two pictures of one record are compared.
fn equal(one: &Value, other: &Value) -> bool {
    one == other
        || condition::compare(one, other).is_some_and(std::cmp::Ordering::is_eq)
        || (one.to_text().is_some() && one.to_text() == other.to_text())
}

/// The members that a create sends: what the case says, and what was made up for required fields, as far as a
/// rule that covers what the case says would let the caller send it.
fn sent(catalog: &Catalog, case: &Case) -> Vec<(FieldId, Value)> {
    let Act::Create { collection, values, filled } = &case.act else { return Vec::new() };
    let principal = case.caller.principal();
    let decision = catalog.policies.decide(&principal, Action::Create, *collection);
    let Decision::Permit(permit) = decision else { return values.clone() };
    let written: FieldSet = values.iter().map(|(field, _)| *field).collect();
    let rules = permit.write_rules(&written);
    // What is open under the rule that leaves the least open.
    let open = |rule: &WriteRule<'_>| -> Vec<(FieldId, Value)> {
        let set = |field: FieldId| rule.set.iter().any(|(known, _)| *known == field);
        filled.iter().filter(|(field, _)| !set(*field)).cloned().collect()
    };
    let more = rules.iter().map(open).min_by_key(Vec::len).unwrap_or_default();
    let whole: FieldSet = written.union(more.iter().map(|(field, _)| *field).collect());
    // A rule that lets nobody give a required field admits nothing; then the request must say so itself.
    if permit.write_rules(&whole).is_empty() {
        return values.clone();
    }
    values.iter().cloned().chain(more).collect()
}
