//! What each listener should have been told, by the ledger, held against what he was told.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::world::Listener;

/// One version of one row, as the database kept it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub xid: i64,
    pub table: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

/// All that was committed, a list for each transaction, in the order of the commits.
#[derive(Debug, Default)]
pub struct Ledger(Vec<Vec<Entry>>);

impl Ledger {
    pub fn new(order: impl Iterator<Item = i64>, entries: impl Iterator<Item = Entry>) -> Ledger {
        let mut transactions: HashMap<i64, Vec<Entry>> = HashMap::new();
        for entry in entries {
            transactions.entry(entry.xid).or_default().push(entry);
        }
        let ordered = order.filter_map(|xid| transactions.remove(&xid)).collect();
        assert!(transactions.is_empty(), "committed, and not in the WAL: {transactions:?}");
        Ledger(ordered)
    }

    pub fn changes(&self) -> usize {
        self.0.iter().flatten().filter(|entry| entry.table == "items").count()
    }

    pub fn transactions(&self) -> usize {
        self.0.len()
    }
}

/// An event, as far as it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub kind: String,
    pub record: Option<Value>,
    pub old_record: Option<Value>,
    pub cursor: String,
}

/// What is wrong with what one listener was told.
#[derive(Debug, Default)]
pub struct Verdict {
    pub exact: usize,
    /// Told of, where the rights changed so near that both are right.
    pub either: usize,
    pub missed: usize,
    pub duplicated: usize,
    pub disordered: usize,
    /// What he should not have seen, or not so.
    pub wrong: usize,
    pub samples: Vec<String>,
}

impl Verdict {
    pub fn faults(&self) -> usize {
        self.missed + self.duplicated + self.disordered + self.wrong
    }

    fn sample(&mut self, text: impl FnOnce() -> String) {
        if self.samples.len() < 5 {
            self.samples.push(text());
        }
    }
}

/// An event of the right shape, without its place.
#[derive(Clone, Debug, PartialEq)]
struct Should {
    kind: &'static str,
    record: Option<Value>,
    old_record: Option<Value>,
}

/// What one change is to a listener who is a member of the rows' rooms, or not, before and after.
fn should(listener: &Listener, entry: &Entry, before: bool, after: bool) -> Option<Should> {
    let old_record = entry.old.as_ref().and_then(|row| listener.sees(row, before));
    let record = entry.new.as_ref().and_then(|row| listener.sees(row, after));
    let kind = match (&old_record, &record) {
        (None, None) => return None,
        (None, Some(_)) => "INSERT",
        (Some(_), None) => "DELETE",
        (Some(_), Some(_)) => "UPDATE",
    };
    let wanted = listener.operation.is_none_or(|only| only == kind);
    wanted.then_some(Should { kind, record, old_record })
}

type Rooms = HashSet<String>;

fn is_member(rooms: &Rooms, row: Option<&Value>) -> bool {
    row.and_then(|row| row["room"].as_str()).is_some_and(|room| rooms.contains(room))
}

/// The rooms of a user before the first transaction and after each.
fn memberships(ledger: &Ledger, user: &str) -> Vec<Rooms> {
    let mut states = vec![Rooms::new()];
    for transaction in &ledger.0 {
        let mut rooms = states[states.len() - 1].clone();
        for entry in transaction.iter().filter(|entry| entry.table == "members") {
            let of = |row: &Option<Value>| {
                let row = row.as_ref().filter(|row| row["user"] == user)?;
                row["room"].as_str().map(str::to_owned)
            };
            if let Some(room) = of(&entry.old) {
                rooms.remove(&room);
            }
            if let Some(room) = of(&entry.new) {
                rooms.insert(room);
            }
        }
        states.push(rooms);
    }
    states
}

/// What each change of the items may be to a listener: one answer, or several where his rights changed later and a
/// replay may have been judged with the later ones.
fn possible(listener: &Listener, ledger: &Ledger, user: &str) -> Vec<(Entry, Vec<Option<Should>>)> {
    let states = memberships(ledger, user);
    // Which rooms he was in after a transaction, and which not, over all that followed it.
    let mut later: Vec<(Rooms, Rooms)> = Vec::new();
    let all: Rooms = states.iter().flatten().cloned().collect();
    let (mut ever, mut never) = (Rooms::new(), Rooms::new());
    for state in states.iter().rev() {
        ever.extend(state.iter().cloned());
        never.extend(all.difference(state).cloned());
        later.push((ever.clone(), never.clone()));
    }
    later.reverse();
    let mut found = Vec::new();
    for (at, transaction) in ledger.0.iter().enumerate() {
        for entry in transaction.iter().filter(|entry| entry.table == "items") {
            let (old, new) = (entry.old.as_ref(), entry.new.as_ref());
            let mut options =
                vec![should(listener, entry, is_member(&states[at], old), is_member(&states[at + 1], new))];
            let (ever, never) = &later[at + 1];
            for (before, after) in [(false, false), (false, true), (true, false), (true, true)] {
                // A replay is judged by one state for both rows.
                let fits = |member: bool, row: Option<&Value>| {
                    if member {
                        is_member(ever, row)
                    } else {
                        row.is_none_or(|row| {
                            let room = row["room"].as_str();
                            room.is_none_or(|room| never.contains(room) || !all.contains(room))
                        })
                    }
                };
                if fits(before, old) && fits(after, new) {
                    let option = should(listener, entry, before, after);
                    if !options.contains(&option) {
                        options.push(option);
                    }
                }
            }
            found.push((entry.clone(), options));
        }
    }
    found
}

/// Judges what a listener was told; `told` is in the order of receipt, without what was told before.
pub fn judge(listener: &Listener, ledger: &Ledger, user: &str, told: &[Told]) -> Verdict {
    let mut verdict = Verdict::default();
    let possible = possible(listener, ledger, user);
    // Amounts are never used twice, so that they name versions of rows.
    let amount = |row: &Option<Value>| row.as_ref().and_then(|row| row["amount"].as_i64());
    let (mut made, mut ended) = (HashMap::new(), HashMap::new());
    for (at, (entry, _)) in possible.iter().enumerate() {
        amount(&entry.new).and_then(|amount| made.insert(amount, at));
        amount(&entry.old).and_then(|amount| ended.insert(amount, at));
    }
    let mut had = HashSet::new();
    let (mut last, mut cursor) = (None, "");
    for event in told {
        let change = match amount(&event.record) {
            Some(amount) => made.get(&amount),
            None => amount(&event.old_record).and_then(|amount| ended.get(&amount)),
        };
        let Some(change) = change.copied() else {
            verdict.wrong += 1;
            verdict.sample(|| format!("of nothing that was committed: {event:?}"));
            continue;
        };
        let (entry, options) = &possible[change];
        let same = |option: &Option<Should>| {
            option.as_ref().is_some_and(|should| {
                (should.kind, &should.record, &should.old_record)
                    == (event.kind.as_str(), &event.record, &event.old_record)
            })
        };
        if !options.iter().any(same) {
            verdict.wrong += 1;
            verdict.sample(|| format!("told {event:?}\n  instead of {options:?}\n  for {entry:?}"));
        } else if options.len() == 1 {
            verdict.exact += 1;
        } else {
            verdict.either += 1;
        }
        if !had.insert(change) {
            verdict.duplicated += 1;
            verdict.sample(|| format!("twice: {event:?}"));
        }
        if last.is_some_and(|last| change < last) || event.cursor.as_str() <= cursor {
            verdict.disordered += 1;
            verdict.sample(|| format!("after what came later: {event:?}"));
        }
        (last, cursor) = (last.max(Some(change)), cursor.max(event.cursor.as_str()));
    }
    for (at, (entry, options)) in possible.iter().enumerate() {
        if !had.contains(&at) && !options.contains(&None) {
            verdict.missed += 1;
            verdict.sample(|| format!("missed {options:?}\n  of {entry:?}"));
        }
    }
    verdict
}
