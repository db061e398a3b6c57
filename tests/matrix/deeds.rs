//! What a write does, as the policy text says: the answer and the records afterwards.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ask::{Ask, Sight, Views};
use super::oracle::{Action, Door, Rule, Who};
use super::world::{Row, Table, World, tables};

/// A key that the database makes up.
pub(super) const MADE_UP: &str = "?";

#[derive(Clone, Debug)]
pub(super) enum Deed {
    Insert(Insert),
    Update { filter: Ask, body: Row, columns: Option<Vec<&'static str>>, most: Option<usize> },
    Delete { filter: Ask, most: Option<usize> },
}

/// New records, and what happens to those that are there already.
#[derive(Clone, Debug, Default)]
pub(super) struct Insert {
    pub(super) rows: Vec<Row>,
    pub(super) conflict: Option<Conflict>,
    /// `on_conflict=`; without it the key.
    pub(super) target: Option<Vec<&'static str>>,
    /// `columns=`
    pub(super) columns: Option<Vec<&'static str>>,
    /// `missing=default`
    pub(super) missing: bool,
    /// `PUT` of one record under this key.
    pub(super) put: Option<Row>,
}

impl Deed {
    pub(super) fn update(filter: Ask, body: Row) -> Deed {
        Deed::Update { filter, body, columns: None, most: None }
    }

    pub(super) fn delete(filter: Ask) -> Deed {
        Deed::Delete { filter, most: None }
    }

    pub(super) fn insert(rows: Vec<Row>) -> Deed {
        Deed::Insert(Insert::of(rows))
    }
}

impl Insert {
    pub(super) fn of(rows: Vec<Row>) -> Insert {
        Insert { rows, ..Insert::default() }
    }

    /// The members that count, and the records that they make. None where records have different members.
    fn bodies(&self) -> Option<(BTreeSet<String>, Vec<Row>)> {
        let all: BTreeSet<String> = self.rows.iter().flat_map(|row| row.keys().cloned()).collect();
        let alike = self.rows.iter().all(|row| row.len() == all.len());
        let names = match &self.columns {
            Some(columns) => columns.iter().map(|name| (*name).to_owned()).collect(),
            None if alike || self.missing => all,
            None => return None,
        };
        // What is missing is null, or is left to whoever fills it.
        let body = |row: &Row| {
            let counts = names.iter().filter(|name| row.contains_key(*name) || !self.missing);
            counts.map(|name| (name.clone(), row.get(name).cloned().unwrap_or_default())).collect()
        };
        let rows = self.rows.iter().map(body).collect();
        Some((names, rows))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Conflict {
    Merge,
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wanted {
    Nothing,
    /// The `Location` of the one new record.
    Location,
    Representation,
    /// As one object.
    Object,
    /// As CSV.
    Table,
}

/// What must come back, and what must stand in the tables then.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    /// Of a refusal.
    pub(super) code: &'static str,
    /// Where several things are wrong with the records of one request, what it may be refused for as well.
    pub(super) or: Vec<Refusal>,
    /// The representation.
    pub(super) rows: Vec<Row>,
    pub(super) affected: usize,
    pub(super) after: World,
}

/// Status and code.
pub(super) type Refusal = (u16, &'static str);

pub(super) struct Judge<'a> {
    pub(super) who: &'a Who,
    pub(super) world: &'a World,
    pub(super) table: &'a Table,
}

impl Judge<'_> {
    pub(super) fn outcome(&self, deed: &Deed, wanted: Wanted) -> Outcome {
        let judged = match deed {
            Deed::Insert(insert) => self.insert(insert, wanted),
            Deed::Update { filter, body, columns, most } => {
                let counts = |name: &String| columns.as_ref().is_none_or(|all| all.contains(&name.as_str()));
                let body = body.clone().into_iter().filter(|(name, _)| counts(name)).collect();
                self.update(filter, &body, wanted, *most)
            }
            Deed::Delete { filter, most } => self.delete(filter, wanted, *most),
        };
        judged.unwrap_or_else(|(status, code)| Outcome {
            status,
            code,
            or: self.also(deed, wanted),
            rows: Vec::new(),
            affected: 0,
            after: self.world.clone(),
        })
    }

    /// Which of two records' faults is met first is nobody's business.
    fn also(&self, deed: &Deed, wanted: Wanted) -> Vec<Refusal> {
        let insert = match deed {
            Deed::Insert(insert) => insert,
            Deed::Update { most: Some(_), .. } | Deed::Delete { most: Some(_), .. } => {
                // Too many of them, and something is wrong with one.
                let of_most = |most| match deed.clone() {
                    Deed::Update { filter, body, columns, .. } => {
                        Deed::Update { filter, body, columns, most }
                    }
                    Deed::Delete { filter, .. } => Deed::Delete { filter, most },
                    Deed::Insert(_) => unreachable!("an insert has no such bound"),
                };
                let without = self.outcome(&of_most(None), wanted);
                let mut also = vec![(400, "PGRST124")];
                also.extend((without.status >= 300).then_some((without.status, without.code)));
                also.extend(without.or);
                return also;
            }
            Deed::Delete { .. } if wanted == Wanted::Object => return vec![(406, "PGRST116")],
            Deed::Update { .. } | Deed::Delete { .. } => return Vec::new(),
        };
        if insert.rows.len() < 2 {
            return Vec::new();
        }
        let one = |row: &Row| Deed::Insert(Insert { rows: vec![row.clone()], ..insert.clone() });
        let mut also: Vec<Refusal> = insert
            .rows
            .iter()
            .map(|row| self.outcome(&one(row), Wanted::Nothing))
            .filter(|outcome| outcome.status >= 300)
            .map(|outcome| (outcome.status, outcome.code))
            .collect();
        if wanted == Wanted::Object {
            also.push((406, "PGRST116"));
        }
        also
    }

    fn denied(&self) -> Refusal {
        (self.who.refusal(), "42501")
    }

    fn rules(&self, action: Action) -> Result<Vec<&'static Rule>, Refusal> {
        match self.who.door(action, self.table.name) {
            Door::Missing => Err((404, "PGRST205")),
            Door::Shut => Err(self.denied()),
            Door::Open(rules) => Ok(rules),
        }
    }

    fn needs_to_read(&self) -> Result<(), Refusal> {
        self.rules(Action::Read).map(|_| ()).map_err(|_| self.denied())
    }

    fn covers(&self, rule: &Rule, names: &BTreeSet<&str>) -> bool {
        let set = rule.set(&self.who.id).map(|(field, _)| field);
        names.iter().all(|name| rule.covers(name) || set == Some(*name))
    }

    /// The members of a body must exist for the caller.
    fn known(&self, action: Action, names: &BTreeSet<&str>) -> Result<(), Refusal> {
        let may_name = self.who.may_name(action, self.table);
        if names.iter().all(|name| may_name.contains(name)) { Ok(()) } else { Err((400, "PGRST204")) }
    }

    /// No value that the collection's schema does not have.
    fn valid(&self, rows: &[Row]) -> Result<(), Refusal> {
        let fine = |row: &Row| {
            row.iter().all(|(name, value)| {
                // What the database makes up is there.
                let missing = self.table.field(name).unwrap().required && value.is_null();
                let is_status = self.table.name == "docs" && name == "status";
                !missing && (!is_status || ["draft", "final", "locked"].iter().any(|status| value == status))
            })
        };
        if rows.iter().all(fine) { Ok(()) } else { Err((400, "validation_failed")) }
    }

    /// No other record than the old one has what stands once.
    fn unique(&self, world: &World, old: &Row, row: &Row) -> Result<(), Refusal> {
        let others = || world.rows(self.table.name).iter().filter(|other| !self.table.same(other, old));
        let keys = self.table.uniques();
        let taken = |key: &Vec<&str>| {
            let made_up = key.iter().any(|field| row[*field] == MADE_UP);
            !made_up
                && others().any(|other| {
                    key.iter().all(|field| !row[*field].is_null() && row[*field] == other[*field])
                })
        };
        if keys.iter().any(taken) { Err((409, "23505")) } else { Ok(()) }
    }

    fn refers(&self, world: &World, row: &Row) -> Result<(), Refusal> {
        let leads_somewhere = self.table.fields.iter().all(|field| match field.to {
            Some((target, _)) => row[field.name].is_null() || world.find(target, &row[field.name]).is_some(),
            None => true,
        });
        if leads_somewhere { Ok(()) } else { Err((409, "23503")) }
    }

    /// In the place of the old one, if there was one.
    fn put(&self, world: &mut World, old: Option<&Row>, row: Row) {
        let rows = world.0.get_mut(self.table.name).unwrap();
        match rows.iter_mut().find(|known| old.is_some_and(|old| self.table.same(known, old))) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
    }

    fn visible(&self, world: &World, rows: &[Row]) -> Vec<Row> {
        rows.iter().filter_map(|row| self.who.sees(world, self.table, row)).collect()
    }

    /// The answer's status and rows; one object is one record, and one that the caller may read.
    fn answered(
        &self,
        after: World,
        seen: Vec<Row>,
        affected: usize,
        wanted: Wanted,
        (quiet, told): (u16, u16),
    ) -> Result<Outcome, Refusal> {
        if wanted == Wanted::Object {
            match (affected, seen.len()) {
                (1, 1) => {}
                (1, _) => return Err(self.denied()),
                _ => return Err((406, "PGRST116")),
            }
        }
        let represented = wanted != Wanted::Nothing;
        Ok(Outcome {
            status: if represented { told } else { quiet },
            code: "",
            or: Vec::new(),
            rows: if represented { seen } else { Vec::new() },
            affected,
            after,
        })
    }

    /// The filter of a `PUT` names the key, and the body holds it.
    fn puts(&self, insert: &Insert, key: &Row) -> Result<(), Refusal> {
        self.rules(Action::Read)?;
        let knows = self.who.knows(self.table);
        if !key.keys().all(|name| knows.contains(name.as_str())) {
            return Err((400, "42703"));
        }
        if !key.keys().map(String::as_str).eq(self.key_names()) {
            return Err((405, "PGRST105"));
        }
        let [row] = &insert.rows[..] else { return Err((400, "PGRST115")) };
        let counts = |name: &str| insert.columns.as_ref().is_none_or(|columns| columns.contains(&name));
        let holds = key.iter().all(|(name, value)| counts(name) && row.get(name) == Some(value));
        if holds { Ok(()) } else { Err((400, "PGRST115")) }
    }

    fn key_names(&self) -> BTreeSet<&'static str> {
        self.table.key.iter().copied().collect()
    }

    fn insert(&self, insert: &Insert, wanted: Wanted) -> Result<Outcome, Refusal> {
        let rules = self.rules(Action::Create)?;
        if let Some(key) = &insert.put {
            self.puts(insert, key)?;
        }
        let Some((names, rows)) = insert.bodies() else { return Err((400, "PGRST102")) };
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        self.known(Action::Create, &names)?;
        let covering: Vec<&Rule> = rules.iter().copied().filter(|rule| self.covers(rule, &names)).collect();
        if covering.is_empty() {
            return Err(self.denied());
        }
        self.valid(&rows)?;
        let given = |field: &str| {
            rows.iter().all(|row| row.contains_key(field))
                || covering.iter().any(|rule| rule.set(&self.who.id).is_some_and(|(set, _)| set == field))
        };
        if self
            .table
            .fields
            .iter()
            .any(|field| field.required && field.default.is_empty() && !given(field.name))
        {
            return Err((400, "validation_failed"));
        }
        let conflict = if insert.put.is_some() { Some(Conflict::Merge) } else { insert.conflict };
        let mut target: Vec<&str> = self.table.key.to_vec();
        let mut update = None;
        if let Some(conflict) = conflict {
            self.rules(Action::Read)?;
            if let (Some(named), None) = (&insert.target, &insert.put) {
                let knows = self.who.knows(self.table);
                if !named.iter().all(|name| knows.contains(name)) {
                    return Err((400, "42703"));
                }
                let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
                if !self.table.uniques().iter().any(|unique| set(unique) == set(named)) {
                    return Err((400, "42P10"));
                }
                target.clone_from(named);
            }
            if conflict == Conflict::Merge {
                let rules = self.rules(Action::Update)?;
                let names: BTreeSet<&str> =
                    names.iter().copied().filter(|name| !target.contains(name)).collect();
                if !rules.iter().any(|rule| self.covers(rule, &names)) {
                    return Err(self.denied());
                }
                update = Some((rules, names));
            }
        }
        if wanted != Wanted::Nothing {
            self.needs_to_read()?;
        }
        // The first rule that covers the body and admits all of its records says what is set.
        let mut refusal = self.denied();
        for rule in &covering {
            match self.insert_by(rule, &covering, &rows, (conflict, &target), update.as_ref()) {
                Ok((after, written, inserted)) => {
                    let seen = self.visible(&after, &written);
                    let merged = conflict == Some(Conflict::Merge) && inserted == 0 && !written.is_empty();
                    let status = if merged { 200 } else { 201 };
                    let quiet = if merged && insert.put.is_some() { 204 } else { status };
                    return self.answered(after, seen, written.len(), wanted, (quiet, status));
                }
                Err(other) => refusal = other,
            }
            if refusal != self.denied() {
                break;
            }
        }
        Err(refusal)
    }

    fn insert_by(
        &self,
        rule: &Rule,
        covering: &[&Rule],
        rows: &[Row],
        (conflict, target): (Option<Conflict>, &[&str]),
        update: Option<&(Vec<&'static Rule>, BTreeSet<&str>)>,
    ) -> Result<(World, Vec<Row>, usize), Refusal> {
        let mut after = self.world.clone();
        let mut written = Vec::new();
        let mut judged = Vec::new();
        let mut inserted = 0;
        for body in rows {
            let taken = |row: &&Row| target.iter().all(|name| body.get(*name) == Some(&row[*name]));
            let names_it = target.iter().all(|name| body.get(*name).is_some_and(|value| !value.is_null()));
            let stored = self.world.rows(self.table.name).iter().find(taken).filter(|_| names_it).cloned();
            match (stored, conflict) {
                (Some(_), Some(Conflict::Ignore)) => {}
                (Some(_), None) => return Err((409, "23505")),
                (Some(old), Some(Conflict::Merge)) => {
                    let (rules, names) = update.unwrap();
                    if self.who.sees(self.world, self.table, &old).is_none()
                        || !rules.iter().any(|rule| self.who.admits(rule, self.world, &old))
                    {
                        return Err(self.denied());
                    }
                    let mut new = old.clone();
                    let setting = rules.iter().find(|rule| self.covers(rule, names));
                    if let Some((field, value)) = setting.and_then(|rule| rule.set(&self.who.id)) {
                        new.insert(field.to_owned(), value);
                    }
                    new.extend(body.clone());
                    let fresh = self.fresh(body, rule);
                    for name in names.iter().filter(|name| !body.contains_key(**name)) {
                        new.insert((*name).to_owned(), fresh[*name].clone());
                    }
                    self.unique(&after, &old, &new)?;
                    self.put(&mut after, Some(&old), new.clone());
                    written.push(new.clone());
                    judged.push((new, Some(old)));
                }
                (None, _) => {
                    let new = self.fresh(body, rule);
                    self.unique(&after, &Row::new(), &new)?;
                    self.put(&mut after, None, new.clone());
                    written.push(new.clone());
                    inserted += 1;
                    judged.push((new, None));
                }
            }
        }
        for (new, old) in &judged {
            let admitted = match (old, update) {
                (Some(old), Some((rules, names))) => rules.iter().any(|rule| {
                    self.covers(rule, names)
                        && self.who.admits(rule, self.world, old)
                        && self.who.accepts(rule, &after, new, Some(old))
                }),
                _ => covering.iter().any(|rule| self.who.accepts(rule, &after, new, None)),
            };
            if !admitted {
                return Err(self.denied());
            }
        }
        for row in &written {
            self.refers(&after, row)?;
        }
        Ok((after, written, inserted))
    }

    /// A record of defaults, of what the rule sets and of what the body says.
    fn fresh(&self, body: &Row, rule: &Rule) -> Row {
        let mut row: Row = self
            .table
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), serde_json::from_str(field.default).unwrap_or(Value::Null)))
            .collect();
        if let Some((field, value)) = rule.set(&self.who.id) {
            row.insert(field.to_owned(), value);
        }
        row.extend(body.clone());
        row
    }

    /// The records that the caller sees, that his filter names and that some rule of the action speaks of.
    fn met(&self, filter: &Ask, rules: &[&Rule]) -> Vec<Row> {
        // Filters of writes look at the collection alone.
        let views = Views::default();
        let sight = Sight { who: self.who, views: &views };
        let stored = self.world.rows(self.table.name).iter();
        let meets = |row: &&Row| {
            let seen = self.who.sees(self.world, self.table, row);
            seen.is_some_and(|seen| !sight.qualify(filter, vec![seen]).is_empty())
                && rules.iter().any(|rule| self.who.admits(rule, self.world, row))
        };
        stored.filter(meets).cloned().collect()
    }

    fn update(
        &self,
        filter: &Ask,
        body: &Row,
        wanted: Wanted,
        most: Option<usize>,
    ) -> Result<Outcome, Refusal> {
        let rules = self.rules(Action::Update)?;
        let names: BTreeSet<&str> = body.keys().map(String::as_str).collect();
        self.known(Action::Update, &names)?;
        let covering: Vec<&Rule> = rules.iter().copied().filter(|rule| self.covers(rule, &names)).collect();
        if covering.is_empty() {
            return Err(self.denied());
        }
        self.valid(std::slice::from_ref(body))?;
        self.needs_to_read()?;
        let mut after = self.world.clone();
        let mut written = Vec::new();
        for old in if names.is_empty() { Vec::new() } else { self.met(filter, &rules) } {
            let mut new = old.clone();
            let setting = covering.iter().find(|rule| self.who.admits(rule, self.world, &old));
            if let Some((field, value)) = setting.and_then(|rule| rule.set(&self.who.id)) {
                new.insert(field.to_owned(), value);
            }
            new.extend(body.clone());
            self.unique(&after, &old, &new)?;
            self.put(&mut after, Some(&old), new.clone());
            written.push((old, new));
        }
        for (old, new) in &written {
            let by_one = covering.iter().any(|rule| {
                self.who.admits(rule, self.world, old) && self.who.accepts(rule, &after, new, Some(old))
            });
            if !by_one {
                return Err(self.denied());
            }
        }
        let written: Vec<Row> = written.into_iter().map(|(_, new)| new).collect();
        for row in &written {
            self.refers(&after, row)?;
        }
        if most.is_some_and(|most| written.len() > most) {
            return Err((400, "PGRST124"));
        }
        let seen = self.visible(&after, &written);
        self.answered(after, seen, written.len(), wanted, (204, 200))
    }

    fn delete(&self, filter: &Ask, wanted: Wanted, most: Option<usize>) -> Result<Outcome, Refusal> {
        let rules = self.rules(Action::Delete)?;
        self.needs_to_read()?;
        let gone = self.met(filter, &rules);
        if most.is_some_and(|most| gone.len() > most) {
            return Err((400, "PGRST124"));
        }
        let seen = self.visible(self.world, &gone);
        let mut after = self.world.clone();
        let is_gone = |row: &Row| gone.iter().any(|other| self.table.same(other, row));
        after.0.get_mut(self.table.name).unwrap().retain(|row| !is_gone(row));
        for table in tables() {
            for field in table
                .fields
                .iter()
                .filter(|field| field.to.is_some_and(|(target, _)| target == self.table.name))
            {
                let refers = |row: &Row| gone.iter().any(|other| other["id"] == row[field.name]);
                if matches!(table.name, "remarks" | "doc_labels" | "pins") && field.name == "doc" {
                    after.0.get_mut(table.name).unwrap().retain(|row| !refers(row));
                } else if after.rows(table.name).iter().any(refers) {
                    return Err((409, "23503"));
                }
            }
        }
        self.answered(after, seen, gone.len(), wanted, (204, 200))
    }
}
