//! [`Condition`] → SQL: one of the two back ends that decide.
//!
//! What is written never raises, whatever the rows hold: nothing is cast that could fail, sums are guarded,
//! and patterns were narrowed when they were read. Plain comparisons stay plain, so that indexes serve.

use super::arithmetic::{self, MAX_DAYS, MAX_DECIMAL, MAX_HOURS, MAX_MATCHED, MAX_TEXT, MAX_YEARS};
use super::caller;
use super::tree::{Condition, Node, Operand, Path, Quantifier, Set, Slot, Source, Test, TextTest};
use super::{Binding, Row};
use crate::model::{Kind, Name, Scalar, Value};
use crate::sql::{Alias, Sql};

const DECIMAL: Kind = Kind::one(Scalar::Decimal);

impl Condition {
    /// Writes a boolean SQL expression; NULL means unknown. Never raises, whatever the rows hold.
    ///
    /// The expression stands in parentheses wherever it needs them, so it can be joined to others with
    /// `and` and `or` as it is. Own columns are written as `binding.row` says; other rows get fresh aliases.
    pub fn to_sql(&self, sql: &mut Sql, binding: &Binding<'_>) {
        Writer { sql, binding, variables: Vec::new() }.node(&self.root);
    }
}

struct Writer<'s, 'b> {
    sql: &'s mut Sql,
    binding: &'b Binding<'b>,
    /// The aliases of the quantifiers around this point, outermost first.
    variables: Vec<Alias>,
}

impl Writer<'_, '_> {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Constant(true) => drop(self.sql.raw("true")),
            Node::Constant(false) => drop(self.sql.raw("false")),
            Node::And(parts) => self.joined(parts, " and "),
            Node::Or(parts) => self.joined(parts, " or "),
            Node::Not(inner) => {
                self.sql.raw("(not ");
                self.node(inner);
                self.sql.raw(")");
            }
            Node::Named { node, .. } => self.node(node),
            Node::Term { test, .. } => self.test(test),
        }
    }

    fn joined(&mut self, parts: &[Node], between: &'static str) {
        self.sql.raw("(");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.sql.raw(between);
            }
            self.node(part);
        }
        self.sql.raw(")");
    }

    fn test(&mut self, test: &Test) {
        match test {
            Test::Holds(operand) => self.operand(operand),
            Test::IsNull { operand, negated } => {
                self.sql.raw("(");
                self.operand(operand);
                self.sql.raw(if *negated { " is not null)" } else { " is null)" });
            }
            Test::Compare { comparison, left, right } => {
                let (a, b) = (left.kind.scalar, right.kind.scalar);
                // A float meets other numbers as the decimal that its shortest text says: Postgres' own
                // promotion would round the other side, or raise.
                let exact = (a == Scalar::Float) != (b == Scalar::Float);
                self.sql.raw("(");
                if exact {
                    self.decimal(left)
                } else {
                    self.operand(left)
                }
                if comparison.orders() && a == Scalar::Text {
                    self.sql.raw(" collate \"C\"");
                }
                self.sql.raw(comparison.sql());
                if exact {
                    self.decimal(right)
                } else {
                    self.operand(right)
                }
                self.sql.raw(")");
            }
            Test::Among { value, list } => {
                self.sql.raw("(");
                self.operand(value);
                self.sql.raw(" = any(");
                self.operand(list);
                if matches!(&list.source, Source::Path(path) if !path.hops.is_empty()) {
                    // A bare sub-select there would be read as a set of rows; its cast is read as one array.
                    self.sql.raw("::").raw(list.kind.sql());
                }
                self.sql.raw("))");
            }
            Test::Text { test, value, argument } => self.text_test(*test, value, argument),
            Test::Matches { value, pattern } => {
                let guarded = !value.is_constant();
                if guarded {
                    // Postgres widens the text fourfold and raises when that is more than it can hold.
                    self.sql.raw("(case when octet_length(");
                    self.operand(value);
                    self.sql.raw(") <= ").number(MAX_MATCHED).raw(" then ");
                }
                let (binding, variables) = (self.binding, self.variables.clone());
                pattern.to_sql(self.sql, |sql| Writer { sql, binding, variables }.operand(value));
                if guarded {
                    self.sql.raw(" end)");
                }
            }
            Test::Quantified { quantifier, set, body } => self.quantified(*quantifier, set, body),
        }
    }

    fn text_test(&mut self, test: TextTest, value: &Operand, argument: &Operand) {
        match test {
            TextTest::StartsWith => {
                self.sql.raw("starts_with(");
                self.operand(value);
                self.sql.raw(", ");
                self.operand(argument);
                self.sql.raw(")");
            }
            TextTest::Contains => {
                self.sql.raw("(strpos(");
                self.operand(value);
                self.sql.raw(", ");
                self.operand(argument);
                self.sql.raw(") > 0)");
            }
            TextTest::EndsWith => {
                self.sql.raw("(right(");
                self.operand(value);
                self.sql.raw(", char_length(");
                self.operand(argument);
                self.sql.raw(")) = ");
                self.operand(argument);
                self.sql.raw(")");
            }
        }
    }

    fn quantified(&mut self, quantifier: Quantifier, set: &Set, body: &Node) {
        let alias = self.sql.fresh();
        self.sql.raw(match quantifier {
            Quantifier::Exists => "(exists (select 1 from public.",
            Quantifier::All => "(not exists (select 1 from public.",
        });
        self.sql.name(&set.table).raw(" ").alias(alias).raw(" where ");
        if let Some(link) = &set.link {
            self.sql.column(alias, &link.column).raw(" = ");
            self.path(&link.base);
            self.sql.raw(" and ");
        }
        self.variables.push(alias);
        match quantifier {
            Quantifier::Exists => self.node(body),
            Quantifier::All => {
                self.sql.raw("(");
                self.node(body);
                self.sql.raw(") is not true");
            }
        }
        self.variables.pop();
        self.sql.raw("))");
    }

    fn operand(&mut self, operand: &Operand) {
        match &operand.source {
            Source::Literal(value) => drop(self.sql.bind(operand.kind, value.to_text())),
            Source::Path(path) => self.path(path),
            Source::Attribute(attribute) => {
                let value = caller::attribute(self.binding.principal, attribute, operand.kind);
                self.sql.bind(operand.kind, value.to_text());
            }
            Source::AnyClaim(path) => {
                // Only whether it is there matters, so any value stands for it.
                let there = caller::has_claim(self.binding.principal, path).then_some(Value::Boolean(true));
                self.sql.bind(Kind::BOOLEAN, there.and_then(|there| there.to_text()));
            }
            Source::Capture(at) => {
                let value = caller::capture(self.binding.captures, *at, operand.kind);
                self.sql.bind(operand.kind, value.to_text());
            }
            Source::Now => drop(self.sql.raw("now()")),
            Source::Size(inner) => {
                self.sql.raw(match (inner.kind.array, inner.kind.scalar) {
                    (true, _) => "cardinality(",
                    (false, Scalar::Bytes) => "octet_length(",
                    (false, _) => "char_length(",
                });
                self.operand(inner);
                self.sql.raw(")");
            }
            Source::Lower(inner) => {
                self.sql.raw("lower(");
                self.operand(inner);
                self.sql.raw(" collate \"C\")");
            }
            Source::Concat(parts) => self.concat(parts),
            Source::Calculate { minus, left, right } => {
                self.sql.raw("(");
                self.addend(left);
                self.sql.raw(if *minus { " - " } else { " + " });
                self.addend(right);
                self.sql.raw(")");
            }
            Source::Shift { minus, time, interval } => self.shift(*minus, time, interval),
        }
    }

    /// A number as a decimal, exactly.
    fn decimal(&mut self, operand: &Operand) {
        match operand.kind.scalar {
            Scalar::Float => {
                self.sql.raw("(");
                self.operand(operand);
                // numeric's own cast from float keeps 15 digits; the text is the shortest that is exact.
                self.sql.raw(")::text::numeric");
            }
            Scalar::Decimal => self.operand(operand),
            _ => {
                self.sql.raw("(");
                self.operand(operand);
                self.sql.raw(")::numeric");
            }
        }
    }

    /// A number as a decimal, small enough that no sum of a condition leaves what numeric holds.
    fn addend(&mut self, operand: &Operand) {
        match &operand.source {
            Source::Path(path) if operand.kind == DECIMAL => {
                self.sql.raw("case when abs(");
                self.path(path);
                self.sql.raw(") < ").raw(MAX_DECIMAL).raw(" or ");
                self.path(path);
                self.sql.raw(" in ('NaN', 'Infinity', '-Infinity') then ");
                self.path(path);
                self.sql.raw(" end");
            }
            _ => self.decimal(operand),
        }
    }

    fn concat(&mut self, parts: &[Operand]) {
        // Constant parts are short; only what stands in rows can come to more than a text may be.
        let guarded = !parts.iter().all(Operand::is_constant);
        self.sql.raw("(");
        if guarded {
            self.sql.raw("case when ");
            for (at, part) in parts.iter().enumerate() {
                self.sql.raw(if at > 0 { " + octet_length(" } else { "octet_length(" });
                self.textual(part);
                self.sql.raw(")::bigint");
            }
            self.sql.raw(" <= ").number(MAX_TEXT).raw(" then ");
        }
        for (at, part) in parts.iter().enumerate() {
            self.sql.raw(if at > 0 { " || " } else { "" });
            self.textual(part);
        }
        self.sql.raw(if guarded { " end)" } else { ")" });
    }

    fn shift(&mut self, minus: bool, time: &Operand, interval: &Operand) {
        let sign = if minus { " - " } else { " + " };
        let literal =
            matches!(interval.source, Source::Literal(Value::Interval(span)) if arithmetic::bounded(span));
        if literal && time.source == Source::Now {
            // The clock is within the bounds, and plain so that an index on the other side serves.
            self.sql.raw("(now()").raw(sign);
            self.operand(interval);
            self.sql.raw(")");
            return;
        }
        self.sql.raw("(case");
        if !literal {
            self.sql.raw(" when abs(extract(year from ");
            self.operand(interval);
            self.sql.raw(")) < ").number(MAX_YEARS).raw(" and abs(extract(day from ");
            self.operand(interval);
            self.sql.raw(")) < ").number(MAX_DAYS).raw(" and abs(extract(hour from ");
            self.operand(interval);
            self.sql.raw(")) < ").number(MAX_HOURS).raw(" then case");
        }
        // Days and months are those of the calendar in UTC, whatever zone the session is in.
        let (first, end, local) = match time.kind.scalar {
            Scalar::Date => ("date '0001-01-01'", "date '290000-01-01'", "::timestamp"),
            _ => (
                "timestamptz '0001-01-01 00:00:00+00'",
                "timestamptz '290000-01-01 00:00:00+00'",
                " at time zone 'UTC'",
            ),
        };
        self.sql.raw(" when not isfinite(");
        self.operand(time);
        self.sql.raw(") then (");
        self.operand(time);
        self.sql.raw(local).raw(") at time zone 'UTC' when ");
        self.operand(time);
        self.sql.raw(" >= ").raw(first).raw(" and ");
        self.operand(time);
        self.sql.raw(" < ").raw(end).raw(" then ((");
        self.operand(time);
        self.sql.raw(local).raw(")").raw(sign);
        self.operand(interval);
        self.sql.raw(") at time zone 'UTC' end");
        self.sql.raw(if literal { ")" } else { " end)" });
    }

    /// A field of a row in reach, or a scalar sub-select: null where no row is.
    fn path(&mut self, path: &Path) {
        let Some((first, others)) = path.hops.split_first() else {
            self.column(path.slot, &path.column);
            return;
        };
        let aliases: Vec<Alias> = path.hops.iter().map(|_| self.sql.fresh()).collect();
        let (Some(from), Some(last)) = (aliases.first(), aliases.last()) else { return };
        self.sql.raw("(select ").column(*last, &path.column).raw(" from public.").name(&first.table);
        self.sql.raw(" ").alias(*from);
        for (hop, pair) in others.iter().zip(aliases.windows(2)) {
            let [before, here] = pair else { continue };
            self.sql.raw(" join public.").name(&hop.table).raw(" ").alias(*here).raw(" on ");
            self.sql.column(*here, &hop.key_column).raw(" = ").column(*before, &hop.column);
        }
        self.sql.raw(" where ").column(*from, &first.key_column).raw(" = ");
        self.column(path.slot, &first.column);
        self.sql.raw(")");
    }

    fn column(&mut self, slot: Slot, name: &Name) {
        match slot {
            Slot::Record => match self.binding.row {
                Row::Alias(alias) => drop(self.sql.column(alias, name)),
                Row::Bare => drop(self.sql.name(name)),
            },
            Slot::Old => match self.binding.old {
                Some(alias) => drop(self.sql.column(alias, name)),
                // Where there is no row before the write, each of its fields is null. The column of the row
                // itself gives the null its type.
                None => {
                    self.sql.raw("nullif(");
                    self.column(Slot::Record, name);
                    self.sql.raw(", ");
                    self.column(Slot::Record, name);
                    self.sql.raw(")");
                }
            },
            Slot::Variable(at) => match self.variables.get(at) {
                Some(alias) => drop(self.sql.column(*alias, name)),
                // The checker numbers variables by the quantifiers around them.
                None => drop(self.sql.raw("null")),
            },
        }
    }

    fn textual(&mut self, operand: &Operand) {
        self.operand(operand);
        if operand.kind.scalar == Scalar::Uuid {
            self.sql.raw("::text");
        }
    }
}
