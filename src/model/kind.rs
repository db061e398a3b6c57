//! [`Kind`]: what a field holds. **The one table** of kind ↔ Postgres ↔ YAML ↔ TypeScript ↔ ordering.
//!
//! A new kind is one row of [`TABLE`] and the arms the compiler then asks for.

use std::fmt;

/// The kind of one element. `enum` is text with a list of values and `relation` is the kind of the
/// target's key, so neither is a scalar of its own (see `Field::values`, `Field::relation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    Text,
    Integer,
    Bigint,
    Float,
    Decimal,
    Boolean,
    Uuid,
    Timestamp,
    Date,
    Time,
    Interval,
    Json,
    Bytes,
    Inet,
}

/// What a field, an expression or a parameter holds: one element or a one-dimensional array of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub scalar: Scalar,
    pub array: bool,
}

struct Row {
    scalar: Scalar,
    /// The word in YAML.
    yaml: &'static str,
    /// The type as Postgres' `format_type` prints it.
    sql: &'static str,
    sql_array: &'static str,
    /// `pg_type.oid` of the type and of its array type: fixed since PostgreSQL's first releases.
    oid: u32,
    array_oid: u32,
    /// What the JSON of a value is in TypeScript.
    typescript: &'static str,
    /// `<` and friends mean something for people.
    ordered: bool,
}

#[rustfmt::skip]
const TABLE: [Row; 14] = [
    Row { scalar: Scalar::Text,      yaml: "text",      sql: "text",                     sql_array: "text[]",                     oid: 25,   array_oid: 1009, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Integer,   yaml: "integer",   sql: "integer",                  sql_array: "integer[]",                  oid: 23,   array_oid: 1007, typescript: "number",  ordered: true },
    Row { scalar: Scalar::Bigint,    yaml: "bigint",    sql: "bigint",                   sql_array: "bigint[]",                   oid: 20,   array_oid: 1016, typescript: "number",  ordered: true },
    Row { scalar: Scalar::Float,     yaml: "float",     sql: "double precision",         sql_array: "double precision[]",         oid: 701,  array_oid: 1022, typescript: "number",  ordered: true },
    Row { scalar: Scalar::Decimal,   yaml: "decimal",   sql: "numeric",                  sql_array: "numeric[]",                  oid: 1700, array_oid: 1231, typescript: "number",  ordered: true },
    Row { scalar: Scalar::Boolean,   yaml: "boolean",   sql: "boolean",                  sql_array: "boolean[]",                  oid: 16,   array_oid: 1000, typescript: "boolean", ordered: true },
    Row { scalar: Scalar::Uuid,      yaml: "uuid",      sql: "uuid",                     sql_array: "uuid[]",                     oid: 2950, array_oid: 2951, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Timestamp, yaml: "timestamp", sql: "timestamp with time zone", sql_array: "timestamp with time zone[]", oid: 1184, array_oid: 1185, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Date,      yaml: "date",      sql: "date",                     sql_array: "date[]",                     oid: 1082, array_oid: 1182, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Time,      yaml: "time",      sql: "time without time zone",   sql_array: "time without time zone[]",   oid: 1083, array_oid: 1183, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Interval,  yaml: "interval",  sql: "interval",                 sql_array: "interval[]",                 oid: 1186, array_oid: 1187, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Json,      yaml: "json",      sql: "jsonb",                    sql_array: "jsonb[]",                    oid: 3802, array_oid: 3807, typescript: "Json",    ordered: false },
    Row { scalar: Scalar::Bytes,     yaml: "bytes",     sql: "bytea",                    sql_array: "bytea[]",                    oid: 17,   array_oid: 1001, typescript: "string",  ordered: true },
    Row { scalar: Scalar::Inet,      yaml: "inet",      sql: "inet",                     sql_array: "inet[]",                     oid: 869,  array_oid: 1041, typescript: "string",  ordered: true },
];

impl Scalar {
    /// Every scalar, in the table's order.
    pub fn all() -> impl Iterator<Item = Scalar> {
        TABLE.iter().map(|row| row.scalar)
    }

    fn row(self) -> &'static Row {
        // The table is written in the order of the enum; a test holds it there.
        &TABLE[self as usize]
    }

    /// The word in YAML and in messages.
    pub fn yaml(self) -> &'static str {
        self.row().yaml
    }

    pub fn ordered(self) -> bool {
        self.row().ordered
    }

    /// `integer bigint float decimal`: numbers compare and add with each other.
    pub fn numeric(self) -> bool {
        matches!(self, Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal)
    }
}

impl Kind {
    pub const TEXT: Kind = Kind::one(Scalar::Text);
    pub const BOOLEAN: Kind = Kind::one(Scalar::Boolean);
    pub const UUID: Kind = Kind::one(Scalar::Uuid);
    pub const BIGINT: Kind = Kind::one(Scalar::Bigint);
    pub const JSON: Kind = Kind::one(Scalar::Json);
    pub const TIMESTAMP: Kind = Kind::one(Scalar::Timestamp);

    pub const fn one(scalar: Scalar) -> Kind {
        Kind { scalar, array: false }
    }

    pub const fn many(scalar: Scalar) -> Kind {
        Kind { scalar, array: true }
    }

    /// The kind of an element: itself unless an array.
    pub const fn element(self) -> Kind {
        Kind::one(self.scalar)
    }

    /// The Postgres type's name, as `format_type(oid, -1)` prints it.
    pub fn sql(self) -> &'static str {
        let row = self.scalar.row();
        if self.array { row.sql_array } else { row.sql }
    }

    /// The Postgres type's oid.
    pub fn oid(self) -> u32 {
        let row = self.scalar.row();
        if self.array { row.array_oid } else { row.oid }
    }

    /// The kind of a Postgres type, if it is one of ours.
    pub fn from_oid(oid: u32) -> Option<Kind> {
        TABLE.iter().find_map(|row| {
            if row.oid == oid {
                Some(Kind::one(row.scalar))
            } else if row.array_oid == oid {
                Some(Kind::many(row.scalar))
            } else {
                None
            }
        })
    }

    /// Reads `text`, `text[]` and so on; not `enum`, `relation`, `file` or `vector(n)`, which need more than a word.
    pub fn from_yaml(word: &str) -> Option<Kind> {
        let (word, array) = match word.strip_suffix("[]") {
            Some(element) => (element, true),
            None => (word, false),
        };
        TABLE.iter().find(|row| row.yaml == word).map(|row| Kind { scalar: row.scalar, array })
    }

    /// The TypeScript type of the JSON of a value that is not null.
    pub fn typescript(self) -> String {
        let element = self.scalar.row().typescript;
        if self.array { format!("({element} | null)[]") } else { element.to_owned() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scalar.yaml())?;
        if self.array { f.write_str("[]") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_enum() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.scalar as usize, at);
        }
    }

    #[test]
    fn a_kind_is_found_again_by_its_oid_and_its_word() {
        for scalar in Scalar::all() {
            for kind in [Kind::one(scalar), Kind::many(scalar)] {
                assert_eq!(Kind::from_oid(kind.oid()), Some(kind));
                assert_eq!(Kind::from_yaml(&kind.to_string()), Some(kind));
            }
        }
    }
}
