//! From what a database has to what a project wants, without asking anybody.
//!
//! Renames are settled first; what was found is then looked at under its new names, so that everything after
//! compares like with like.

use std::collections::{BTreeMap, BTreeSet};

use super::database::{
    Column, ColumnType, Constraint, ConstraintRule, Database, Definition, Publication, Table, TableIndex,
    TableIndexRule, TouchTrigger,
};
use super::desired::{public, search_column};
use super::plan::{Conversion, Measure, Plan, Refusal, Step};
use super::rename::{self, Move};
use crate::model::{Kind, Name, Scalar};

/// The steps from `current` to `desired`. What the rows must tell is not yet counted ([`Measure::count`]), and
/// what is not counted is taken for destructive.
pub fn diff(current: &Database, desired: &Database) -> Plan {
    let (renamed, former, steps) = settle_renames(current, desired);
    let mut diff = Diff {
        current: &renamed,
        desired,
        former,
        retyped: BTreeSet::new(),
        steps,
        refusals: Vec::new(),
        moves: Vec::new(),
    };
    diff.tables();
    for (name, wanted) in &desired.tables {
        if let Some(found) = renamed.tables.get(name) {
            diff.columns(found, wanted);
        }
    }
    for (name, wanted) in &desired.tables {
        if let Some(found) = renamed.tables.get(name) {
            diff.constraints(found, wanted);
            let anew = diff.search(found, wanted);
            diff.indexes(found, wanted, anew);
            diff.table_options(found, wanted);
        }
    }
    diff.publication();
    let Diff { mut steps, refusals, moves, .. } = diff;
    steps.extend(rename::ordered(moves).into_iter().map(|Move { from, to, what }| match what {
        Renamed::Constraint(table) => Step::RenameConstraint { table, from, to },
        Renamed::Index(table) => Step::RenameIndex { table, from, to },
    }));
    // Stable: within a phase the order of finding stays.
    steps.sort_by_key(Step::phase);
    let notes_differ = desired
        .tables
        .iter()
        .any(|(name, wanted)| current.tables.get(name).is_some_and(|found| !is_noted(found, wanted)));
    Plan { steps, refusals, withheld: Vec::new(), desired: desired.clone(), notes_differ }
}

/// The renames that a table's mark tells of are those that the project asks for.
fn is_noted(found: &Table, wanted: &Table) -> bool {
    let asked = wanted.columns.iter().filter_map(|column| {
        let from = column.renamed_from.as_ref()?;
        Some((column.name.to_string(), from.to_string()))
    });
    found.mark.columns == asked.collect::<BTreeMap<_, _>>()
        && found.mark.renamed_from == wanted.renamed_from.as_ref().map(ToString::to_string)
}

#[derive(Clone)]
enum Renamed {
    /// Of this table.
    Constraint(Name),
    Index(Name),
}

/// Names before the plan, by names after it. What is absent was not renamed.
#[derive(Default)]
struct Former {
    tables: BTreeMap<Name, Name>,
    /// By table and column, both after.
    columns: BTreeMap<(Name, Name), Name>,
}

impl Former {
    fn measure(&self, table: &Name, column: Option<&Name>, nulls: bool) -> Measure {
        let column_before =
            column.map(|column| self.columns.get(&(table.clone(), column.clone())).unwrap_or(column).clone());
        let table = self.tables.get(table).unwrap_or(table).clone();
        Measure { table, column: column_before, nulls, count: None }
    }
}

/// Finds the renames of tables and columns that are due, and gives what was found under its new names.
fn settle_renames(current: &Database, desired: &Database) -> (Database, Former, Vec<Step>) {
    let mut steps = Vec::new();
    let mut former = Former::default();
    let present: BTreeSet<&Name> = current.tables.keys().collect();
    let asked = desired
        .tables
        .values()
        .filter(|table| !current.foreign.contains(&table.name))
        .map(|table| (&table.name, table.renamed_from.as_ref()));
    let done = |from: &Name, to: &Name| {
        current.tables.get(to).is_some_and(|table| table.mark.renamed_from.as_deref() == Some(from.as_str()))
    };
    let tables: BTreeMap<Name, Name> = rename::due(asked, &present, done).into_iter().collect();
    let moves =
        tables.iter().map(|(from, to)| Move { from: from.clone(), to: to.clone(), what: () }).collect();
    steps.extend(
        rename::ordered(moves).into_iter().map(|Move { from, to, .. }| Step::RenameTable { from, to }),
    );

    let new_table = |name: &Name| tables.get(name).unwrap_or(name).clone();
    // By table before and column before, so that foreign keys can look up the other side.
    let mut columns: BTreeMap<(Name, Name), Name> = BTreeMap::new();
    for (before, table) in &current.tables {
        let after = new_table(before);
        if after != *before {
            former.tables.insert(after.clone(), before.clone());
        }
        let Some(wanted) = desired.tables.get(&after) else { continue };
        let present: BTreeSet<&Name> = table.columns.iter().map(|column| &column.name).collect();
        let asked = wanted.columns.iter().map(|column| (&column.name, column.renamed_from.as_ref()));
        let done = |from: &Name, to: &Name| {
            table.mark.columns.get(to.as_str()).is_some_and(|known| *known == from.as_str())
        };
        let due = rename::due(asked, &present, done);
        for (from, to) in &due {
            columns.insert((before.clone(), from.clone()), to.clone());
            former.columns.insert((after.clone(), to.clone()), from.clone());
        }
        let moves = due.into_iter().map(|(from, to)| Move { from, to, what: () }).collect();
        steps.extend(rename::ordered(moves).into_iter().map(|Move { from, to, .. }| Step::RenameColumn {
            table: after.clone(),
            from,
            to,
        }));
    }

    let new_column =
        |table: &Name, column: &Name| columns.get(&(table.clone(), column.clone())).unwrap_or(column).clone();
    let renamed = Database {
        tables: current
            .tables
            .iter()
            .map(|(name, table)| {
                let table = under_new_names(table, &new_table, &new_column);
                (new_table(name), table)
            })
            .collect(),
        foreign: current.foreign.clone(),
        publication: current.publication.as_ref().map(|publication| Publication {
            all_tables: publication.all_tables,
            members: publication
                .members
                .iter()
                .map(|((schema, table), whole)| {
                    let table = if *schema == public() { new_table(table) } else { table.clone() };
                    ((schema.clone(), table), *whole)
                })
                .collect(),
        }),
    };
    (renamed, former, steps)
}

fn under_new_names(
    found: &Table,
    new_table: &impl Fn(&Name) -> Name,
    new_column: &impl Fn(&Name, &Name) -> Name,
) -> Table {
    let own = |columns: &[Name]| columns.iter().map(|column| new_column(&found.name, column)).collect();
    let mut table = found.clone();
    table.name = new_table(&found.name);
    for column in &mut table.columns {
        column.name = new_column(&found.name, &column.name);
    }
    for constraint in &mut table.constraints {
        constraint.columns = own(&constraint.columns);
        match &mut constraint.rule {
            ConstraintRule::PrimaryKey(columns) | ConstraintRule::Unique(columns) => *columns = own(columns),
            ConstraintRule::ForeignKey { columns, schema, table, target, .. } => {
                *columns = own(columns);
                if *schema == public() {
                    *target = target.iter().map(|column| new_column(table, column)).collect();
                    *table = new_table(table);
                }
            }
            // The text that made a check speaks of the former names, so a renamed column's checks are made again.
            ConstraintRule::Check(_) | ConstraintRule::Other(_) => {}
        }
    }
    for index in &mut table.indexes {
        if let TableIndexRule::Plain { columns, .. } = &mut index.rule {
            for (column, _) in columns {
                *column = new_column(&found.name, column);
            }
        }
    }
    table
}

struct Diff<'a> {
    /// What was found, under its new names.
    current: &'a Database,
    desired: &'a Database,
    former: Former,
    /// Columns whose type changes.
    retyped: BTreeSet<(Name, Name)>,
    steps: Vec<Step>,
    refusals: Vec<Refusal>,
    /// Constraints and indexes that only change their names.
    moves: Vec<Move<Renamed>>,
}

impl Diff<'_> {
    fn refuse(&mut self, subject: impl ToString, sentence: impl Into<String>) {
        self.refusals.push(Refusal { subject: subject.to_string(), sentence: sentence.into() });
    }

    /// Tables that come and tables that go.
    fn tables(&mut self) {
        let desired = self.desired;
        for (name, wanted) in &desired.tables {
            if self.current.tables.contains_key(name) {
                continue;
            }
            if self.current.foreign.contains(name) {
                self.refuse(
                    name,
                    format!(
                        "is the name of something in schema public that this project did not make: rename the \
                         collection or the other one (a table that is the project's and lost its comment is \
                         taken back by: comment on table \"{name}\" is 'basewright')"
                    ),
                );
                continue;
            }
            self.steps.push(Step::CreateTable(Box::new(wanted.clone())));
            for constraint in &wanted.constraints {
                if matches!(constraint.rule, ConstraintRule::ForeignKey { .. }) {
                    let constraint = constraint.clone();
                    self.steps.push(Step::AddConstraint { table: name.clone(), constraint });
                }
            }
        }
        let current = self.current;
        for (name, found) in &current.tables {
            if desired.tables.contains_key(name) {
                continue;
            }
            for constraint in &found.constraints {
                // Tables that go together may refer to each other in a circle.
                if matches!(&constraint.rule, ConstraintRule::ForeignKey { table, .. } if table != name) {
                    let constraint = constraint.clone();
                    self.steps.push(Step::DropConstraint { table: name.clone(), constraint });
                }
            }
            let rows = self.former.measure(name, None, false);
            self.steps.push(Step::DropTable { table: name.clone(), rows });
        }
    }

    fn columns(&mut self, found: &Table, wanted: &Table) {
        let table = &wanted.name;
        for column in &wanted.columns {
            match found.column(&column.name) {
                Some(before) => self.column(table, before, column),
                None => {
                    let rows = (column.not_null && column.default.is_none())
                        .then(|| self.former.measure(table, None, false));
                    let column = Box::new(column.clone());
                    self.steps.push(Step::AddColumn { table: table.clone(), column, rows });
                }
            }
        }
        for column in &found.columns {
            if wanted.column(&column.name).is_none() {
                let values = self.former.measure(table, Some(&column.name), false);
                self.steps.push(Step::DropColumn {
                    table: table.clone(),
                    column: column.name.clone(),
                    values,
                });
            }
        }
    }

    fn column(&mut self, table: &Name, found: &Column, wanted: &Column) {
        let column = &wanted.name;
        let (from, to) = match (&found.column_type, &wanted.column_type) {
            (ColumnType::Kind(from), ColumnType::Kind(to)) => (*from, *to),
            (from, to) => {
                self.refuse(
                    format!("{table}.{column}"),
                    format!("was altered by hand to `{from}` and should be {to}: alter it back"),
                );
                return;
            }
        };
        let retyped = from != to;
        if retyped {
            let Some(conversion) = conversion(from, to) else {
                self.refuse(
                    format!("{table}.{column}"),
                    format!(
                        "cannot become {to}: there is no way from {from}; declare a new field beside it and \
                         remove this one when its values have moved"
                    ),
                );
                return;
            };
            let values = self.former.measure(table, Some(column), false);
            self.retyped.insert((table.clone(), column.clone()));
            self.steps.push(Step::ChangeType {
                table: table.clone(),
                column: column.clone(),
                from,
                to,
                conversion,
                values,
            });
        }
        match (&wanted.default, &found.default) {
            (Some(wanted), Some(found)) if wanted.agrees(found) && !retyped => {}
            (Some(Definition::Wanted(default)), _) => self.steps.push(Step::SetDefault {
                table: table.clone(),
                column: column.clone(),
                default: default.clone(),
            }),
            // A change of type has dropped it.
            (None, Some(_)) if !retyped => {
                self.steps.push(Step::DropDefault { table: table.clone(), column: column.clone() });
            }
            (None | Some(Definition::Found { .. }), _) => {}
        }
        if wanted.not_null && !found.not_null {
            let nulls = self.former.measure(table, Some(column), true);
            self.steps.push(Step::SetNotNull { table: table.clone(), column: column.clone(), nulls });
        }
        if !wanted.not_null && found.not_null {
            self.steps.push(Step::DropNotNull { table: table.clone(), column: column.clone() });
        }
    }

    /// Two columns of different types in one foreign key stand in each other's way while one changes.
    fn is_retyped(&self, table: &Name, rule: &ConstraintRule) -> bool {
        let ConstraintRule::ForeignKey { columns, schema, table: to, target, .. } = rule else {
            return false;
        };
        let hit = |table: &Name, columns: &[Name]| {
            columns.iter().any(|column| self.retyped.contains(&(table.clone(), column.clone())))
        };
        hit(table, columns) || (*schema == public() && hit(to, target))
    }

    fn constraints(&mut self, found: &Table, wanted: &Table) {
        let table = &wanted.name;
        let mut left: Vec<&Constraint> = found.constraints.iter().collect();
        let mut missing: Vec<&Constraint> = Vec::new();
        for constraint in &wanted.constraints {
            let same = |one: &&Constraint| {
                one.name == constraint.name
                    && one.rule.agrees(&constraint.rule)
                    && !self.is_retyped(table, &one.rule)
            };
            match left.iter().position(same) {
                Some(at) => drop(left.remove(at)),
                None => missing.push(constraint),
            }
        }
        for constraint in missing {
            let is_key = matches!(constraint.rule, ConstraintRule::PrimaryKey(_));
            // One of ours that says the same under another name; there is only one primary key, so it is ours.
            let same = |one: &&Constraint| {
                one.rule.agrees(&constraint.rule)
                    && !self.is_retyped(table, &one.rule)
                    && (is_key || found.mark.made.contains(one.name.as_str()))
            };
            if let Some(at) = left.iter().position(same) {
                let from = left.remove(at).name.clone();
                let what = Renamed::Constraint(table.clone());
                self.moves.push(Move { from, to: constraint.name.clone(), what });
                continue;
            }
            if let (ConstraintRule::PrimaryKey(to), Some(before)) = (&constraint.rule, found.primary_key()) {
                let (from, to) = (listed(&before.columns), listed(to));
                self.refuse(
                    table,
                    format!(
                        "cannot change its primary key from ({from}) to ({to}): other records and callers know \
                         its records by it; declare a new collection and move them"
                    ),
                );
                left.retain(|one| one.name != before.name);
                continue;
            }
            self.steps.push(Step::AddConstraint { table: table.clone(), constraint: constraint.clone() });
        }
        for constraint in left {
            // What somebody else made on our table stays, unless it has a name that we need.
            let named = wanted.constraint(&constraint.name).is_some();
            if named || found.mark.made.contains(constraint.name.as_str()) {
                self.steps
                    .push(Step::DropConstraint { table: table.clone(), constraint: constraint.clone() });
            }
        }
    }

    /// The generated full-text column, which is never altered but made again. Returns whether the one that is there
    /// now, or a field of its name, goes.
    fn search(&mut self, found: &Table, wanted: &Table) -> bool {
        let table = &wanted.name;
        match (&found.search, &wanted.search) {
            (Some(there), Some(definition)) if definition.agrees(there) => return false,
            (_, Some(Definition::Wanted(definition))) => {
                let definition = definition.clone();
                self.steps.push(Step::AddSearch { table: table.clone(), definition });
            }
            (_, None | Some(Definition::Found { .. })) => {}
        }
        if found.search.is_some() {
            self.steps.push(Step::DropSearch { table: table.clone() });
        }
        found.search.is_some() || wanted.search.is_some()
    }

    /// `searchless`: the column `search` that is there now goes, and what is on it with it.
    fn indexes(&mut self, found: &Table, wanted: &Table, searchless: bool) {
        let table = &wanted.name;
        let on_search = |index: &TableIndex| index.columns().contains(&&search_column());
        let mut left: Vec<&TableIndex> =
            found.indexes.iter().filter(|index| !(searchless && on_search(index))).collect();
        let mut missing: Vec<&TableIndex> = Vec::new();
        for index in &wanted.indexes {
            match left.iter().position(|one| one.name == index.name && one.rule.agrees(&index.rule)) {
                Some(at) => drop(left.remove(at)),
                None => missing.push(index),
            }
        }
        for index in missing {
            let same = |one: &&TableIndex| {
                one.rule.agrees(&index.rule) && found.mark.made.contains(one.name.as_str())
            };
            match left.iter().position(same) {
                Some(at) => {
                    let from = left.remove(at).name.clone();
                    let what = Renamed::Index(table.clone());
                    self.moves.push(Move { from, to: index.name.clone(), what });
                }
                None => {
                    self.steps.push(Step::CreateIndex { table: table.clone(), index: index.clone() });
                }
            }
        }
        for index in left {
            let named = wanted.indexes.iter().any(|one| one.name == index.name);
            if named || found.mark.made.contains(index.name.as_str()) {
                self.steps.push(Step::DropIndex { table: table.clone(), index: index.clone() });
            }
        }
    }

    fn table_options(&mut self, found: &Table, wanted: &Table) {
        let table = || wanted.name.clone();
        match (found.touch, wanted.touch) {
            (TouchTrigger::Absent, TouchTrigger::Present) => {
                self.steps.push(Step::AddTouchTrigger { table: table() });
            }
            (TouchTrigger::Altered, TouchTrigger::Present) => {
                self.steps.push(Step::DropTouchTrigger { table: table() });
                self.steps.push(Step::AddTouchTrigger { table: table() });
            }
            (TouchTrigger::Present | TouchTrigger::Altered, TouchTrigger::Absent) => {
                self.steps.push(Step::DropTouchTrigger { table: table() });
            }
            (TouchTrigger::Absent, TouchTrigger::Absent)
            | (TouchTrigger::Present, TouchTrigger::Present)
            // Nobody wants an altered one.
            | (_, TouchTrigger::Altered) => {}
        }
        if wanted.full_identity && !found.full_identity {
            self.steps.push(Step::SetFullIdentity { table: table() });
        }
    }

    fn publication(&mut self) {
        let Some(wanted) = &self.desired.publication else { return };
        let Some(found) = &self.current.publication else {
            self.steps.push(Step::CreatePublication { members: wanted.members.keys().cloned().collect() });
            return;
        };
        if found.all_tables {
            self.refuse(
                "publication basewright",
                "was made by hand for all tables: drop it, and it is made anew for the project's",
            );
            return;
        }
        for ((schema, table), whole) in &found.members {
            let member = (schema.clone(), table.clone());
            // A table that is dropped leaves by itself.
            let goes = *schema == public()
                && self.current.tables.contains_key(table)
                && !self.desired.tables.contains_key(table);
            if (!wanted.members.contains_key(&member) || !whole) && !goes {
                self.steps.push(Step::Unpublish { schema: schema.clone(), table: table.clone() });
            }
        }
        for (schema, table) in wanted.members.keys() {
            let member = (schema.clone(), table.clone());
            if found.members.get(&member) != Some(&true) {
                self.steps.push(Step::Publish { schema: schema.clone(), table: table.clone() });
            }
        }
    }
}

fn listed(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// How values of one kind become values of another; `None` if they cannot.
fn conversion(from: Kind, to: Kind) -> Option<Conversion> {
    use Scalar::{Bigint, Date, Decimal, Float, Integer, Json, Text, Time, Timestamp};
    if from.array && !to.array {
        return None;
    }
    if from.scalar == to.scalar {
        // One value becomes a list of one.
        return Some(Conversion::Widening);
    }
    // There is no one JSON of a list of values, and none that a list of JSON is.
    if (from.array || to.array) && (from.scalar == Json || to.scalar == Json) {
        return None;
    }
    match (from.scalar, to.scalar) {
        (Integer, Bigint | Decimal | Float) | (Bigint, Decimal) | (Date, Timestamp) => {
            Some(Conversion::Widening)
        }
        // Everything has a text, and everything but text has one JSON.
        (_, Text) => Some(Conversion::Widening),
        (from, Json) if from != Text => Some(Conversion::Widening),
        (Text, _)
        | (Bigint | Float | Decimal, Integer)
        | (Float | Decimal, Bigint)
        | (Bigint | Decimal, Float)
        | (Float, Decimal)
        | (Timestamp, Date | Time) => Some(Conversion::Narrowing),
        _ => None,
    }
}
