//! [`Plan`]: the typed steps from what a database has to what a project wants.

use std::collections::BTreeSet;
use std::fmt;

use super::database::{Column, Constraint, ConstraintRule, Database, Fingerprint, Table, TableIndex};
use crate::model::{Kind, Name, Search};
use crate::sql::Sql;

/// What a step does to the data that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Loses nothing. It may still fail, if rows do not meet what it asks of them; nothing is applied then.
    Safe,
    /// Loses what the text says.
    Destructive(String),
}

/// Something that the rows must tell: how many there are, hold a value, or hold none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The table's name before the plan.
    pub table: Name,
    /// The column's name before the plan; without one, rows are counted.
    pub column: Option<Name>,
    /// Count the rows in which the column is null instead of those in which it is not.
    pub nulls: bool,
    /// `None` until it is counted.
    pub count: Option<u64>,
}

impl Measure {
    fn is_zero(&self) -> bool {
        self.count == Some(0)
    }

    /// `12,408 records`, `1 value`.
    fn phrase(&self, one: &str, many: &str) -> String {
        match self.count {
            None => format!("an unknown number of {many}"),
            Some(1) => format!("1 {one}"),
            Some(count) => format!("{} {many}", grouped(count)),
        }
    }
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How values pass from one kind to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Every value keeps its meaning.
    Widening,
    /// Values may be rounded, cut or refused.
    Narrowing,
}

/// One change of the database.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The table with everything on it but foreign keys.
    CreateTable(Box<Table>),
    DropTable {
        table: Name,
        rows: Measure,
    },
    RenameTable {
        from: Name,
        to: Name,
    },
    /// `rows` is asked for if the column must have a value and nothing gives one to the rows that are there.
    AddColumn {
        table: Name,
        column: Box<Column>,
        rows: Option<Measure>,
    },
    DropColumn {
        table: Name,
        column: Name,
        values: Measure,
    },
    /// The generated full-text column; its index is a step of its own.
    AddSearch {
        table: Name,
        definition: Sql,
    },
    /// The column with all indexes on it. Whatever it was made of stays.
    DropSearch {
        table: Name,
    },
    RenameColumn {
        table: Name,
        from: Name,
        to: Name,
    },
    ChangeType {
        table: Name,
        column: Name,
        from: Kind,
        to: Kind,
        conversion: Conversion,
        values: Measure,
    },
    SetNotNull {
        table: Name,
        column: Name,
        nulls: Measure,
    },
    DropNotNull {
        table: Name,
        column: Name,
    },
    SetDefault {
        table: Name,
        column: Name,
        default: Sql,
    },
    DropDefault {
        table: Name,
        column: Name,
    },
    AddConstraint {
        table: Name,
        constraint: Constraint,
    },
    DropConstraint {
        table: Name,
        constraint: Constraint,
    },
    RenameConstraint {
        table: Name,
        from: Name,
        to: Name,
    },
    CreateIndex {
        table: Name,
        index: TableIndex,
    },
    DropIndex {
        table: Name,
        index: TableIndex,
    },
    RenameIndex {
        table: Name,
        from: Name,
        to: Name,
    },
    /// The trigger that keeps `updated_at`.
    AddTouchTrigger {
        table: Name,
    },
    DropTouchTrigger {
        table: Name,
    },
    SetFullIdentity {
        table: Name,
    },
    CreatePublication {
        members: Vec<(Name, Name)>,
    },
    Publish {
        schema: Name,
        table: Name,
    },
    Unpublish {
        schema: Name,
        table: Name,
    },
}

impl Step {
    /// The place of a step in a plan: names move first, then goes what stands in the way, then comes the new.
    pub(super) fn phase(&self) -> u8 {
        let foreign_key = |c: &Constraint| matches!(c.rule, ConstraintRule::ForeignKey { .. });
        match self {
            Step::RenameTable { .. } => 0,
            // Its name may be taken by a rename, and what it reads can neither go nor change its type.
            Step::DropSearch { .. } => 1,
            Step::RenameColumn { .. } => 2,
            Step::DropConstraint { constraint, .. } if foreign_key(constraint) => 3,
            Step::DropConstraint { .. } => 4,
            Step::DropIndex { .. } => 5,
            Step::DropTouchTrigger { .. } => 6,
            Step::RenameConstraint { .. } | Step::RenameIndex { .. } => 7,
            Step::DropColumn { .. } => 8,
            Step::Unpublish { .. } => 9,
            Step::DropTable { .. } => 10,
            Step::CreateTable(_) => 11,
            Step::AddColumn { .. } => 12,
            Step::DropNotNull { .. } => 13,
            Step::ChangeType { .. } => 14,
            Step::DropDefault { .. } | Step::SetDefault { .. } => 15,
            Step::SetNotNull { .. } => 16,
            Step::AddSearch { .. } => 17,
            Step::AddConstraint { constraint, .. } if !foreign_key(constraint) => 18,
            Step::CreateIndex { .. } => 19,
            Step::AddConstraint { .. } => 20,
            Step::AddTouchTrigger { .. } | Step::SetFullIdentity { .. } => 21,
            Step::CreatePublication { .. } | Step::Publish { .. } => 22,
        }
    }

    pub fn risk(&self) -> Risk {
        match self {
            Step::DropTable { rows, .. } => Risk::Destructive(rows.phrase("record", "records")),
            Step::DropColumn { values, .. } if !values.is_zero() => {
                Risk::Destructive(values.phrase("non-null value", "non-null values"))
            }
            Step::ChangeType { conversion: Conversion::Narrowing, values, .. } if !values.is_zero() => {
                Risk::Destructive(format!(
                    "{} may be rounded, cut or refused",
                    values.phrase("value", "values")
                ))
            }
            _ => Risk::Safe,
        }
    }

    pub fn is_destructive(&self) -> bool {
        self.risk() != Risk::Safe
    }

    /// Why the rows do not allow it, if they do not.
    pub(super) fn refused(&self) -> Option<Refusal> {
        match self {
            Step::AddColumn { table, column, rows: Some(rows) } if !rows.is_zero() => Some(Refusal {
                subject: format!("{table}.{}", column.name),
                sentence: format!(
                    "is required and has no default, but the table holds {}: give the field a default, or \
                     add it without `required` first",
                    rows.phrase("record", "records")
                ),
            }),
            Step::SetNotNull { table, column, nulls } if !nulls.is_zero() => Some(Refusal {
                subject: format!("{table}.{column}"),
                sentence: format!(
                    "becomes required, but {} no value: give every record one first",
                    match nulls.count {
                        Some(1) => "1 record has".to_owned(),
                        _ => format!("{} have", nulls.phrase("record", "records")),
                    }
                ),
            }),
            _ => None,
        }
    }

    /// What must be counted before the risk of the step is known.
    pub(super) fn measure_mut(&mut self) -> Option<&mut Measure> {
        match self {
            Step::DropTable { rows: measure, .. }
            | Step::AddColumn { rows: Some(measure), .. }
            | Step::DropColumn { values: measure, .. }
            | Step::ChangeType { conversion: Conversion::Narrowing, values: measure, .. }
            | Step::SetNotNull { nulls: measure, .. } => Some(measure),
            _ => None,
        }
    }

    /// The table it changes, under its name after the plan; `None` for a publication or a table of others.
    pub(super) fn table(&self) -> Option<&Name> {
        match self {
            Step::CreateTable(table) => Some(&table.name),
            Step::RenameTable { to, .. } => Some(to),
            Step::DropTable { table, .. }
            | Step::AddColumn { table, .. }
            | Step::DropColumn { table, .. }
            | Step::AddSearch { table, .. }
            | Step::DropSearch { table }
            | Step::RenameColumn { table, .. }
            | Step::ChangeType { table, .. }
            | Step::SetNotNull { table, .. }
            | Step::DropNotNull { table, .. }
            | Step::SetDefault { table, .. }
            | Step::DropDefault { table, .. }
            | Step::AddConstraint { table, .. }
            | Step::DropConstraint { table, .. }
            | Step::RenameConstraint { table, .. }
            | Step::CreateIndex { table, .. }
            | Step::DropIndex { table, .. }
            | Step::RenameIndex { table, .. }
            | Step::AddTouchTrigger { table }
            | Step::DropTouchTrigger { table }
            | Step::SetFullIdentity { table } => Some(table),
            Step::CreatePublication { .. } | Step::Publish { .. } | Step::Unpublish { .. } => None,
        }
    }

    /// It makes sense only after one of the destructive steps `held`, which will not be done.
    fn follows(&self, held: &[Step]) -> bool {
        held.iter().any(|step| match step {
            Step::DropTable { table, .. } => self.table() == Some(table),
            Step::DropColumn { table, column, .. } => match self {
                Step::DropConstraint { table: on, constraint } => {
                    on == table && constraint.columns.contains(column)
                }
                Step::DropIndex { table: on, index } | Step::CreateIndex { table: on, index } => {
                    on == table && index.columns().contains(&column)
                }
                // A field of that name holds the place of the generated column.
                Step::AddSearch { table: on, .. } => on == table && *column == *Search::NAME,
                _ => false,
            },
            // Definitions on the table are written for the new type, foreign keys to it as well.
            Step::ChangeType { table, .. } => match self {
                Step::AddConstraint { table: on, constraint }
                | Step::DropConstraint { table: on, constraint } => {
                    on == table
                        || matches!(&constraint.rule, ConstraintRule::ForeignKey { table: to, .. } if to == table)
                }
                Step::CreateIndex { .. }
                | Step::DropIndex { .. }
                | Step::SetDefault { .. }
                | Step::DropDefault { .. }
                | Step::SetNotNull { .. }
                | Step::AddSearch { .. }
                | Step::DropSearch { .. } => self.table() == Some(table),
                _ => false,
            },
            _ => false,
        })
    }

    /// (sign, subject, what is done)
    fn line(&self) -> (char, String, String) {
        match self {
            Step::CreateTable(table) => {
                ('+', table.name.to_string(), format!("new collection with {} fields", table.columns.len()))
            }
            Step::DropTable { table, rows } => {
                ('-', table.to_string(), format!("drop collection ({})", rows.phrase("record", "records")))
            }
            Step::RenameTable { from, to } => {
                ('~', to.to_string(), format!("rename collection {from} -> {to}"))
            }
            Step::AddColumn { table, column, .. } => {
                ('+', format!("{table}.{}", column.name), format!("add column, {}", column.column_type))
            }
            Step::DropColumn { table, column, values } => (
                '-',
                format!("{table}.{column}"),
                format!("drop column ({})", values.phrase("non-null value", "non-null values")),
            ),
            Step::AddSearch { table, .. } => {
                ('+', format!("{table}.{}", Search::NAME), "add generated column".to_owned())
            }
            Step::DropSearch { table } => {
                ('-', format!("{table}.{}", Search::NAME), "drop generated column".to_owned())
            }
            Step::RenameColumn { table, from, to } => {
                ('~', format!("{table}.{to}"), format!("rename column {from} -> {to}"))
            }
            Step::ChangeType { table, column, from, to, .. } => {
                ('~', format!("{table}.{column}"), format!("change type {from} -> {to}"))
            }
            Step::SetNotNull { table, column, .. } => {
                ('~', format!("{table}.{column}"), "becomes required".to_owned())
            }
            Step::DropNotNull { table, column } => {
                ('~', format!("{table}.{column}"), "is no longer required".to_owned())
            }
            Step::SetDefault { table, column, default } => {
                ('~', format!("{table}.{column}"), format!("set default {}", default.text()))
            }
            Step::DropDefault { table, column } => {
                ('~', format!("{table}.{column}"), "drop default".to_owned())
            }
            Step::AddConstraint { table, constraint } => {
                ('+', table.to_string(), format!("add {} {}", constraint.rule.word(), constraint.name))
            }
            Step::DropConstraint { table, constraint } => {
                ('-', table.to_string(), format!("drop {} {}", constraint.rule.word(), constraint.name))
            }
            Step::RenameConstraint { table, from, to } => {
                ('~', table.to_string(), format!("rename constraint {from} -> {to}"))
            }
            Step::CreateIndex { table, index } => {
                ('+', table.to_string(), format!("create index {}", index.name))
            }
            Step::DropIndex { table, index } => {
                ('-', table.to_string(), format!("drop index {}", index.name))
            }
            Step::RenameIndex { table, from, to } => {
                ('~', table.to_string(), format!("rename index {from} -> {to}"))
            }
            Step::AddTouchTrigger { table } => {
                ('+', table.to_string(), "add the trigger that keeps updated_at".to_owned())
            }
            Step::DropTouchTrigger { table } => {
                ('-', table.to_string(), "drop the trigger that keeps updated_at".to_owned())
            }
            Step::SetFullIdentity { table } => {
                ('~', table.to_string(), "set replica identity full".to_owned())
            }
            Step::CreatePublication { members } => {
                ('+', "publication".to_owned(), format!("create, with {} tables", members.len()))
            }
            Step::Publish { schema, table } => {
                ('+', "publication".to_owned(), format!("add {schema}.{table}"))
            }
            Step::Unpublish { schema, table } => {
                ('-', "publication".to_owned(), format!("remove {schema}.{table}"))
            }
        }
    }
}

/// `posts.slug: rename column permalink -> slug`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, subject, text) = self.line();
        write!(f, "{subject}: {text}")
    }
}

/// Why a project cannot be reached from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `posts` or `posts.rating`.
    pub subject: String,
    /// Goes on after the subject, and says what to do instead.
    pub sentence: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.sentence)
    }
}

/// The steps from what a database has to what a project wants, in the order in which they are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What cannot be done at all. A plan with refusals is not applied.
    pub refusals: Vec<Refusal>,
    /// Steps that [`Plan::safe_only`] took out.
    pub withheld: Vec<Step>,
    pub(super) desired: Database,
    pub(super) notes_differ: bool,
}

impl Plan {
    /// The database is as the project wants it.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.refusals.is_empty() && self.withheld.is_empty()
    }

    /// The tables carry notes of renames that the project no longer asks for, or not of those that it asks for. To
    /// apply the plan, even without a step, brings them up to date: a rename that is noted is not done again.
    pub fn notes_differ(&self) -> bool {
        self.notes_differ
    }

    /// The steps that lose data.
    pub fn destructive(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.withheld).filter(|step| step.is_destructive())
    }

    /// The plan without what loses data and without what makes sense only after that.
    pub fn safe_only(self) -> Plan {
        let (mut withheld, steps): (Vec<Step>, Vec<Step>) =
            self.steps.into_iter().partition(Step::is_destructive);
        let (follow, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| step.follows(&withheld));
        withheld.extend(follow);
        withheld.extend(self.withheld);
        Plan { steps, withheld, ..self }
    }

    /// Every step in one statement each, as they would run.
    pub fn sql(&self) -> Vec<Sql> {
        self.steps.iter().map(Step::sql).collect()
    }

    /// Names the plan: two plans that would run the same statements have the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let text: Vec<String> = self.sql().iter().map(|sql| sql.text().to_owned()).collect();
        Fingerprint::of(&text.join(";\n"))
    }

    /// One line a step, for people.
    pub fn render(&self) -> String {
        let mut lines: Vec<(char, String, String, String)> = Vec::new();
        for refusal in &self.refusals {
            lines.push(('!', refusal.subject.clone(), refusal.sentence.clone(), "REFUSED".to_owned()));
        }
        for (step, note) in
            self.steps.iter().map(|s| (s, "")).chain(self.withheld.iter().map(|s| (s, ", withheld")))
        {
            let (sign, subject, text) = step.line();
            let risk = match step.risk() {
                Risk::Safe => format!("safe{note}"),
                Risk::Destructive(_) => format!("DESTRUCTIVE{note}"),
            };
            lines.push((sign, subject, text, risk));
        }
        let width = |of: fn(&(char, String, String, String)) -> &String| {
            lines.iter().map(|line| of(line).chars().count()).max().unwrap_or_default().min(60)
        };
        let (subjects, texts) = (width(|line| &line.1), width(|line| &line.2));
        lines
            .iter()
            .map(|(sign, subject, text, risk)| {
                format!("{sign} {subject:<subjects$}  {text:<texts$}  {risk}\n")
            })
            .collect()
    }

    /// The columns and constraints that withheld steps leave as they were.
    pub(super) fn kept(&self) -> BTreeSet<(&Name, &Name)> {
        self.withheld
            .iter()
            .filter_map(|step| match step {
                Step::SetDefault { table, column, .. } | Step::ChangeType { table, column, .. } => {
                    Some((table, column))
                }
                Step::AddConstraint { table, constraint } => Some((table, &constraint.name)),
                _ => None,
            })
            .collect()
    }
}

impl Plan {
    /// A withheld step leaves the table's full-text column as it was.
    pub(super) fn keeps_search(&self, table: &Name) -> bool {
        self.withheld.iter().any(|step| {
            matches!(step, Step::AddSearch { table: on, .. } | Step::DropSearch { table: on } if on == table)
        })
    }
}

impl ConstraintRule {
    fn word(&self) -> &'static str {
        match self {
            ConstraintRule::PrimaryKey(_) => "primary key",
            ConstraintRule::Unique(_) => "unique constraint",
            ConstraintRule::ForeignKey { .. } => "foreign key",
            ConstraintRule::Check(_) => "check",
            ConstraintRule::Other(_) => "constraint",
        }
    }
}
