//! The ways from one collection to another, as the project declares them, and who knows of which.

use std::sync::LazyLock;

use super::oracle::{Action, Door, Who};
use super::world::tables;

/// One way from a collection to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Relation {
    pub(super) from: &'static str,
    pub(super) local: &'static str,
    pub(super) target: &'static str,
    pub(super) foreign: &'static str,
    pub(super) to_one: bool,
    /// What the side that is embedded is called: the field, the inverse, or through a junction the target.
    pub(super) name: &'static str,
    /// The foreign key stands in `from`.
    pub(super) ours: bool,
    pub(super) junction: Option<Junction>,
}

/// What stands between two collections that are many on both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Junction {
    pub(super) table: &'static str,
    pub(super) near: &'static str,
    pub(super) far: &'static str,
}

/// Every relation, from both of its sides.
pub(super) fn relations() -> &'static [Relation] {
    static RELATIONS: LazyLock<Vec<Relation>> = LazyLock::new(declared);
    &RELATIONS
}

fn declared() -> Vec<Relation> {
    let mut all = Vec::new();
    for table in tables() {
        for field in &table.fields {
            let Some((target, inverse)) = field.to else { continue };
            let there = Relation {
                from: table.name,
                local: field.name,
                target,
                foreign: "id",
                to_one: true,
                name: field.name,
                ours: true,
                junction: None,
            };
            all.push(there);
            all.push(Relation {
                from: target,
                local: "id",
                target: table.name,
                foreign: field.name,
                to_one: field.unique,
                name: inverse,
                ours: false,
                junction: None,
            });
        }
        if table.has_id() {
            continue;
        }
        let keys = || table.key.iter().filter_map(|key| Some((*key, table.field(key)?.to?.0)));
        for (near, from) in keys() {
            for (far, target) in keys().filter(|(far, _)| *far != near) {
                let junction = Some(Junction { table: table.name, near, far });
                all.push(Relation {
                    from,
                    local: "id",
                    target,
                    foreign: "id",
                    to_one: false,
                    name: target,
                    ours: false,
                    junction,
                });
            }
        }
    }
    all
}

impl Relation {
    /// The name of the foreign key, through a junction of the one that leads to the target.
    pub(super) fn constraint(&self) -> String {
        let (table, field) = match self.junction {
            Some(junction) => (junction.table, junction.far),
            None if self.ours => (self.from, self.local),
            None => (self.target, self.foreign),
        };
        format!("{table}_{field}_fkey")
    }

    /// The relations that somebody knows of and that the target's own name means, with or without a hint.
    fn by_target(&self, who: &Who) -> Vec<&'static Relation> {
        let itself = self.from == self.target;
        let same = |other: &&Relation| {
            other.from == self.from && other.target == self.target && !(itself && other.ours)
        };
        relations().iter().filter(same).filter(|other| other.refusal(who) != 400).collect()
    }

    /// The relations that the target's bare name means to somebody, if those are several.
    pub(super) fn ambiguous(&self, who: &Who) -> Vec<&'static Relation> {
        let all = self.by_target(who);
        if all.len() > 1 { all } else { Vec::new() }
    }

    /// How the details of an ambiguity tell it.
    pub(super) fn told(&self) -> String {
        match self.junction {
            None => format!(
                "{} using {}({}) and {}({})",
                self.constraint(),
                self.from,
                self.local,
                self.target,
                self.foreign
            ),
            Some(Junction { table, near, far }) => {
                format!("{table} using {table}_{near}_fkey({near}) and {}({far})", self.constraint())
            }
        }
    }

    /// How somebody's `select` may spell it.
    pub(super) fn spellings(&self, who: &Who) -> Vec<String> {
        let others = || self.by_target(who).into_iter().filter(|other| *other != self);
        let itself = self.from == self.target;
        let target = self.target;
        let Some(Junction { table, far, .. }) = self.junction else {
            let mut spellings = vec![self.name.to_owned()];
            if !itself && others().count() == 0 {
                spellings.push(target.to_owned());
            }
            if !itself {
                spellings.push(format!("{target}!{}", self.constraint()));
                spellings.push(self.constraint());
            }
            spellings.sort();
            spellings.dedup();
            return spellings;
        };
        let mut spellings = vec![format!("{target}!{}", self.constraint())];
        if others().count() == 0 {
            spellings.push(target.to_owned());
        }
        let through = |other: &Relation| other.junction.is_some_and(|junction| junction.table == table);
        if !others().any(through) {
            spellings.push(format!("{target}!{table}"));
        }
        let by_far = |other: &Relation| match other.junction {
            Some(junction) => junction.far == far,
            None => other.foreign == far || other.name == far,
        };
        if !others().any(by_far) {
            spellings.push(format!("{target}!{far}"));
        }
        spellings
    }

    /// One spelling that always means it.
    pub(super) fn spelled(&self) -> String {
        match self.junction {
            None => self.name.to_owned(),
            Some(_) => format!("{}!{}", self.target, self.constraint()),
        }
    }

    /// Whether it exists for somebody who reads its source: 0 if so, else the status of the refusal.
    pub(super) fn refusal(&self, who: &Who) -> u16 {
        let knows = |name: &str| who.knows(tables().iter().find(|table| table.name == name).unwrap());
        let writes = |table: &str, field: &str| {
            [Action::Create, Action::Update].iter().any(|action| match who.door(*action, table) {
                Door::Open(rules) => rules.iter().any(|rule| rule.covers(field)),
                Door::Missing | Door::Shut => false,
            })
        };
        if !knows(self.from).contains(self.local) {
            return 400;
        }
        let target = who.door(Action::Read, self.target);
        if let Some(Junction { table, near, far }) = self.junction {
            match who.door(Action::Read, table) {
                Door::Missing => return 400,
                Door::Shut => {
                    let known = writes(table, near) && writes(table, far);
                    return if known && !matches!(target, Door::Missing) { who.refusal() } else { 400 };
                }
                // Whoever sees the pairs knows what both of their fields hold.
                Door::Open(_) if [near, far].iter().all(|key| knows(table).contains(key)) => {}
                Door::Open(_) => return 400,
            }
        }
        match target {
            Door::Missing => 400,
            Door::Shut if self.ours || self.junction.is_some() || writes(self.target, self.foreign) => {
                who.refusal()
            }
            Door::Shut => 400,
            Door::Open(_) => {
                if knows(self.target).contains(self.foreign) {
                    0
                } else {
                    400
                }
            }
        }
    }
}
