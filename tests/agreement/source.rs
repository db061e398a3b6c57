//! Random well-typed conditions, as text: what is written here goes through the whole language.

use basewright::model::{
    Collection, CollectionId, Collections, Kind, Relation, RelationTarget, Scalar, Value,
};

use super::random::Random;
use super::world::{CAPTURES, STATUSES, claim_name, edges};

pub(super) struct Source<'a> {
    pub(super) random: &'a mut Random,
    pub(super) collections: &'a Collections,
    pub(super) record: CollectionId,
    /// Variables of the quantifiers around this point.
    pub(super) variables: Vec<(String, CollectionId)>,
    /// `old.` may be used.
    pub(super) old: bool,
    /// Named conditions that may be used.
    pub(super) named: &'a [String],
}

const INTERVAL: Kind = Kind::one(Scalar::Interval);
const NUMBERS: [Scalar; 4] = [Scalar::Integer, Scalar::Bigint, Scalar::Float, Scalar::Decimal];

impl Source<'_> {
    pub(super) fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.one_in(3) {
            return self.term(depth);
        }
        match self.random.below(7) {
            0 | 1 => format!("({} && {})", self.condition(depth - 1), self.condition(depth - 1)),
            2 | 3 => format!("({} || {})", self.condition(depth - 1), self.condition(depth - 1)),
            4 => format!("!({})", self.condition(depth - 1)),
            // Without parentheses: precedence is part of what both sides must agree on.
            5 => format!("({} || {} && {})", self.term(0), self.term(0), self.term(0)),
            _ => self.quantified(depth - 1),
        }
    }

    fn term(&mut self, depth: usize) -> String {
        match self.random.below(16) {
            0..=4 => self.comparison(depth),
            5 => self.mixed(depth),
            6 | 7 => self.null_test(),
            8 | 9 => self.among(depth),
            10 => self.text_test(depth),
            11 => self.pattern_test(depth),
            12 => self.boolean(),
            13 if !self.named.is_empty() => self.random.pick(self.named).clone(),
            14 => self.array_comparison(),
            15 if self.random.one_in(4) => (*self.random.pick(&["true", "false", "!true"])).to_owned(),
            _ => self.quantified(depth),
        }
    }

    fn comparison(&mut self, depth: usize) -> String {
        let scalars: Vec<Scalar> = Scalar::all().filter(|scalar| *scalar != Scalar::Json).collect();
        let kind = Kind::one(*self.random.pick(&scalars));
        let operator = *self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let left = self.anchored(kind, depth);
        let right = self.value(kind, depth);
        if self.random.one_in(4) {
            format!("{right} {operator} {left}")
        } else {
            format!("{left} {operator} {right}")
        }
    }

    /// Kinds that differ and can still be compared.
    fn mixed(&mut self, depth: usize) -> String {
        let operator = *self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let (left, right) = if self.random.one_in(4) {
            let (a, b) = (Kind::one(Scalar::Date), Kind::TIMESTAMP);
            if self.random.one_in(2) { (a, b) } else { (b, a) }
        } else {
            (Kind::one(*self.random.pick(&NUMBERS)), Kind::one(*self.random.pick(&NUMBERS)))
        };
        format!("{} {operator} {}", self.anchored(left, depth), self.anchored(right, depth))
    }

    fn array_comparison(&mut self) -> String {
        let scalars: Vec<Scalar> = Scalar::all().filter(|scalar| *scalar != Scalar::Json).collect();
        let kind = Kind::many(*self.random.pick(&scalars));
        let left = self.path(kind);
        let right = match self.random.below(4) {
            0 => format!("auth.claims.{}", claim_name(kind)),
            1 => self.list(kind.element(), true),
            _ => self.path(kind),
        };
        format!("{left} {} {right}", self.random.pick(&["==", "!="]))
    }

    fn null_test(&mut self) -> String {
        let all: Vec<Scalar> = Scalar::all().collect();
        let scalar = *self.random.pick(&all);
        let kind = if self.random.one_in(3) { Kind::many(scalar) } else { Kind::one(scalar) };
        let value = match self.random.below(8) {
            0 => format!("auth.claims.{}", claim_name(kind)),
            1 => (*self.random.pick(&[
                "auth.id",
                "auth.email",
                "auth.aal",
                "auth.roles",
                "auth.claims.nested.inner",
                "auth.claims.gone",
            ]))
            .to_owned(),
            2 if kind != Kind::JSON && !kind.array => self.anchored(kind, 1),
            _ => self.path(kind),
        };
        format!("{value} {} null", self.random.pick(&["==", "!="]))
    }

    fn among(&mut self, depth: usize) -> String {
        let scalars: Vec<Scalar> = Scalar::all().filter(|scalar| *scalar != Scalar::Json).collect();
        let scalar = *self.random.pick(&scalars);
        let kind = Kind::one(scalar);
        match self.random.below(6) {
            0 => format!("{} in {}", self.anchored(kind, depth), self.list(kind, false)),
            1 => format!("{} in auth.roles", self.value(Kind::TEXT, depth)),
            2 => format!("{} in auth.claims.{}", self.anchored(kind, depth), claim_name(Kind::many(scalar))),
            3 => format!("{} in {}", self.status(), self.list_of(&STATUSES)),
            4 => {
                let exact = [Scalar::Integer, Scalar::Bigint, Scalar::Decimal];
                let (a, b) = (*self.random.pick(&exact), *self.random.pick(&exact));
                format!("{} in {}", self.anchored(Kind::one(a), depth), self.path(Kind::many(b)))
            }
            _ => format!("{} in {}", self.value(kind, depth), self.path(Kind::many(scalar))),
        }
    }

    fn list(&mut self, kind: Kind, exact: bool) -> String {
        if exact && kind.scalar.numeric() {
            // A whole array is compared with literals of its own kind only.
            return (*self.random.pick(&["[]", "[0]", "[1, 2]", "[-1, 0]"])).to_owned();
        }
        let items: Vec<String> = (0..self.random.below(4)).map(|_| self.literal(kind)).collect();
        format!("[{}]", items.join(", "))
    }

    fn list_of(&mut self, values: &[&str]) -> String {
        let items: Vec<String> =
            (0..self.random.below(3)).map(|_| format!("'{}'", self.random.pick(values))).collect();
        format!("[{}]", items.join(", "))
    }

    fn status(&mut self) -> String {
        let (root, _) = self.root();
        format!("{root}status")
    }

    fn text_test(&mut self, depth: usize) -> String {
        let test = *self.random.pick(&["startsWith", "endsWith", "contains"]);
        let value = match self.random.below(6) {
            0 => self.literal(Kind::TEXT),
            1 => format!("auth.claims.{}", claim_name(Kind::TEXT)),
            _ => self.anchored(Kind::TEXT, depth),
        };
        format!("{value}.{test}({})", self.value(Kind::TEXT, depth))
    }

    fn pattern_test(&mut self, depth: usize) -> String {
        let pattern = pattern(self.random, 2);
        let value = self.anchored(Kind::TEXT, depth);
        if pattern.contains('\'') || self.random.one_in(2) {
            let escaped = pattern.replace('\\', "\\\\").replace('"', "\\\"");
            return format!("{value}.matches(\"{escaped}\")");
        }
        format!("{value}.matches(r'{pattern}')")
    }

    fn boolean(&mut self) -> String {
        match self.random.below(6) {
            0 => "auth.is_anonymous".to_owned(),
            1 => format!("auth.claims.{}", claim_name(Kind::BOOLEAN)),
            2 => format!("{} == {}", self.path(Kind::BOOLEAN), self.random.pick(&["true", "false"])),
            3 => format!("!{}", self.path(Kind::BOOLEAN)),
            _ => self.path(Kind::BOOLEAN),
        }
    }

    fn quantified(&mut self, depth: usize) -> String {
        if self.variables.len() >= 2 {
            return self.boolean();
        }
        let (root, id) = self.root();
        let through: Vec<(String, CollectionId)> = self.relations(id);
        let (root, id) = match self.random.below(3) {
            0 if !through.is_empty() => {
                let (name, target) = self.random.pick(&through).clone();
                (format!("{root}{name}."), target)
            }
            _ => (root, id),
        };
        let mut inverses: Vec<(String, CollectionId)> = self
            .collections
            .inverses_of(id)
            .map(|(name, inverse)| (format!("{root}{name}"), inverse.collection))
            .collect();
        // The map's order is not the seed's.
        inverses.sort_by(|a, b| a.0.cmp(&b.0));
        let (set, collection) = if inverses.is_empty() || self.random.one_in(4) {
            let ids: Vec<CollectionId> = self.collections.ids().collect();
            let id = *self.random.pick(&ids);
            (self.collections.get(id).name.to_string(), id)
        } else {
            self.random.pick(&inverses).clone()
        };
        let variable = format!("v{}", self.variables.len());
        self.variables.push((variable.clone(), collection));
        let mut body = self.condition(depth.min(1));
        if self.random.one_in(2) {
            let bound = self.membership(&variable, collection, inverses.is_empty());
            body = if self.random.one_in(2) { bound } else { format!("{bound} && ({body})") };
        }
        self.variables.pop();
        format!("{set}.{}({variable}, {body})", self.random.pick(&["exists", "all"]))
    }

    /// What makes a quantifier one of memberships: a row's field that speaks of the caller, and one that links it.
    fn membership(&mut self, variable: &str, collection: CollectionId, link: bool) -> String {
        let named = |source: &Self, id: CollectionId, kind: Kind| -> Vec<String> {
            let fields = &source.collections.get(id).fields;
            fields.iter().filter(|field| field.kind == kind).map(|field| field.name.to_string()).collect()
        };
        let mut parts = Vec::new();
        for (kind, attribute) in
            [(Kind::UUID, "auth.id"), (Kind::TEXT, "auth.email"), (Kind::TEXT, "auth.role")]
        {
            let fields = named(self, collection, kind);
            if !fields.is_empty() && parts.is_empty() {
                parts.push(format!("{variable}.{} == {attribute}", self.random.pick(&fields)));
            }
        }
        if link {
            let record = self.record;
            for kind in [Kind::UUID, Kind::BIGINT, Kind::TEXT] {
                let (theirs, ours) = (named(self, collection, kind), named(self, record, kind));
                if !theirs.is_empty() && !ours.is_empty() && parts.len() < 2 {
                    let ours = self.random.pick(&ours).clone();
                    parts.push(format!("{variable}.{} == {ours}", self.random.pick(&theirs)));
                }
            }
        }
        if parts.is_empty() { "true".to_owned() } else { parts.join(" && ") }
    }

    /// A row in reach: the text before a field's name, and the row's collection.
    fn root(&mut self) -> (String, CollectionId) {
        if !self.variables.is_empty() && !self.random.one_in(3) {
            let (name, id) = self.random.pick(&self.variables).clone();
            return (format!("{name}."), id);
        }
        if self.old && self.random.one_in(3) {
            return ("old.".to_owned(), self.record);
        }
        (String::new(), self.record)
    }

    fn relations(&self, id: CollectionId) -> Vec<(String, CollectionId)> {
        let fields = &self.collections.get(id).fields;
        fields
            .iter()
            .filter_map(|field| match &field.relation {
                Some(Relation { target: RelationTarget::Collection(target), .. }) => {
                    Some((field.name.to_string(), *target))
                }
                _ => None,
            })
            .collect()
    }

    /// A field of a kind, of the record or through relations.
    fn path(&mut self, kind: Kind) -> String {
        let (mut text, mut id) = self.root();
        for _ in 0..2 {
            let relations = self.relations(id);
            if relations.is_empty() || !self.random.one_in(5) {
                break;
            }
            let (name, target) = self.random.pick(&relations).clone();
            text = format!("{text}{name}.");
            id = target;
        }
        let collection: &Collection = self.collections.get(id);
        let fields: Vec<&str> = collection
            .fields
            .iter()
            .filter(|field| field.kind == kind && field.values.is_none())
            .map(|field| field.name.as_str())
            .collect();
        format!("{text}{}", self.random.pick(&fields))
    }

    /// A value whose kind is plain without its place.
    fn anchored(&mut self, kind: Kind, depth: usize) -> String {
        if depth == 0 || !self.random.one_in(3) {
            return self.path(kind);
        }
        match kind.scalar {
            Scalar::Text => match self.random.below(5) {
                0 => format!("{}.lower()", self.anchored(Kind::TEXT, depth - 1)),
                1 => format!(
                    "({} + {})",
                    self.anchored(Kind::TEXT, depth - 1),
                    self.value(Kind::TEXT, depth - 1)
                ),
                2 => format!("({} + {})", self.path(Kind::UUID), self.anchored(Kind::TEXT, depth - 1)),
                3 => format!("({} + {} + '/')", self.literal(Kind::TEXT), self.path(Kind::UUID)),
                _ => format!("(auth.id + {})", self.literal(Kind::TEXT)),
            },
            Scalar::Bigint => {
                let kinds = [
                    Kind::TEXT,
                    Kind::one(Scalar::Bytes),
                    Kind::many(Scalar::Text),
                    Kind::many(Scalar::Json),
                ];
                format!("{}.size()", {
                    let kind = *self.random.pick(&kinds);
                    self.path(kind)
                })
            }
            Scalar::Decimal => {
                let operator = *self.random.pick(&["+", "-"]);
                let (a, b) = (Kind::one(*self.random.pick(&NUMBERS)), Kind::one(*self.random.pick(&NUMBERS)));
                let (a, b) = (self.anchored(a, depth - 1), self.value(b, depth - 1));
                if self.random.one_in(3) {
                    format!("({b} {operator} {a})")
                } else {
                    format!("({a} {operator} {b})")
                }
            }
            Scalar::Timestamp => {
                let time = match self.random.below(4) {
                    0 => "now()".to_owned(),
                    1 => self.path(Kind::one(Scalar::Date)),
                    _ => self.anchored(Kind::TIMESTAMP, depth - 1),
                };
                let interval = self.interval();
                match self.random.below(4) {
                    0 => format!("({interval} + {time})"),
                    1 | 2 => format!("({time} - {interval})"),
                    _ => format!("({time} + {interval})"),
                }
            }
            Scalar::Uuid => "auth.id".to_owned(),
            Scalar::Interval => self.interval(),
            _ => self.path(kind),
        }
    }

    fn interval(&mut self) -> String {
        match self.random.below(4) {
            0 => self.path(INTERVAL),
            1 => format!(
                "duration('{}')",
                self.random.pick(&["0s", "24h", "-1h30m", "1.5s", "8765999h", "-8765999h", "999ms1us"])
            ),
            2 => self.path(INTERVAL),
            _ => "duration(\"720h\")".to_owned(),
        }
    }

    /// Any value that takes a kind: what is anchored, a literal, a claim or a capture.
    fn value(&mut self, kind: Kind, depth: usize) -> String {
        match self.random.below(8) {
            0..=2 => self.literal(kind),
            3 => format!("auth.claims.{}", claim_name(kind)),
            4 if kind == Kind::TEXT => {
                (*self.random.pick(&["auth.role", "auth.email", "auth.aal", "auth.claims.nested.inner"]))
                    .to_owned()
            }
            4 if kind == Kind::UUID => "auth.id".to_owned(),
            4 if kind == Kind::TIMESTAMP => "now()".to_owned(),
            5 if matches!(kind.scalar, Scalar::Text | Scalar::Uuid | Scalar::Bigint | Scalar::Date) => {
                (*self.random.pick(&CAPTURES)).to_owned()
            }
            _ => self.anchored(kind, depth),
        }
    }

    /// A literal of a kind, as it is written in a condition.
    fn literal(&mut self, kind: Kind) -> String {
        loop {
            let text = *self.random.pick(edges(kind.scalar));
            if kind.scalar == Scalar::Boolean {
                return text.to_owned();
            }
            if kind.scalar.numeric() {
                // A literal of one kind of number in the place of another, now and then.
                let text =
                    if self.random.one_in(4) { *self.random.pick(edges(Scalar::Decimal)) } else { text };
                let long =
                    text.contains("e1") && text.len() > 4 || text.contains("e-163") || text.contains("e99");
                let word = text.contains(['N', 'I']);
                let fits = kind.scalar != Scalar::Float || Value::parse(kind, text).is_some();
                if !long && !word && fits {
                    return text.to_owned();
                }
                continue;
            }
            if Value::parse(kind, text).is_some() {
                return quoted(text);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t");
    format!("'{escaped}'")
}

/// A pattern of the subset.
pub fn pattern(random: &mut Random, depth: usize) -> String {
    const ATOMS: [&str; 36] = [
        "a",
        "b",
        "A",
        "é",
        "𝔘",
        ".",
        r"\d",
        r"\w",
        r"\s",
        r"\D",
        r"\W",
        r"\S",
        "[a-c]",
        "[^a]",
        r"[^\n]",
        r"[\s\S]",
        "[é-𝔘]",
        r"[^\W]",
        r"[^\u{d7ff}é]",
        r"\.",
        "-",
        "&",
        "~",
        "#",
        "/",
        r"\\",
        r"[\]\-^]",
        " ",
        "_",
        r"\n",
        "[a-]",
        r"\{",
        r"\|",
        "[%_]",
        "%",
        "[^a-z𝔘]",
    ];
    let mut out = String::new();
    for _ in 0..1 + random.below(4) {
        match random.below(10) {
            0 => {
                out.push('^');
                continue;
            }
            1 => {
                out.push('$');
                continue;
            }
            2 if depth > 0 => {
                let (a, b) = (pattern(random, depth - 1), pattern(random, depth - 1));
                match random.below(4) {
                    0 => out.push_str(&format!("({a}|{b})")),
                    1 => out.push_str(&format!("(?:{a})")),
                    2 => out.push_str(&format!("(|{a})")),
                    _ => out.push_str(&format!("({a}|{b}|)")),
                }
            }
            _ => {
                let atom = *random.pick(&ATOMS);
                out.push_str(&atom.replace(r"\u{d7ff}", "\u{d7ff}"));
            }
        }
        out.push_str(random.pick::<&str>(&["", "", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"]));
    }
    out
}
