//! Random projects that change at random, only ever safely: every record keeps its values, and every plan leads
//! to where it says.
//!
//! `BASEWRIGHT_SEED` repeats a walk; `BASEWRIGHT_WALKS` asks for more of them.

use std::collections::BTreeMap;

use basewright::model::{Collections, Decimal, IndexMethod, Kind, OnDelete, Scalar, Value};
use tokio_postgres::Client;

use super::build::{FieldBuilder, collection, field, project};
use super::{column, destructive, reach, run};
use crate::support::database;

/// SplitMix64: a seed gives the same walk everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

/// Something with a name that the database knows under its former one until the next plan.
#[derive(Clone)]
struct Named {
    name: String,
    /// The name in the database; none if it is not there yet.
    stored: Option<String>,
    /// A `renamed_from` that stays in the YAML after its rename.
    sticky: Option<String>,
    /// What `renamed_from` was in the last plan, of whatever then had the name `stored`.
    noted: Option<String>,
}

impl Named {
    fn new(name: String) -> Named {
        Named { name, stored: None, sticky: None, noted: None }
    }
    fn from(&self) -> Option<&String> {
        match &self.stored {
            Some(stored) if *stored != self.name => Some(stored),
            _ => self.sticky.as_ref(),
        }
    }
    fn settle(&mut self, dice: &mut Dice) {
        self.noted = self.from().cloned();
        if self.stored.as_ref() != Some(&self.name) {
            self.sticky = self.stored.take();
            self.stored = Some(self.name.clone());
        } else if dice.one_in(2) {
            self.sticky = None;
        }
    }
}

#[derive(Clone)]
struct FieldPlan {
    /// Never changes.
    identity: usize,
    named: Named,
    kind: Kind,
    values: Option<usize>,
    required: bool,
    default: bool,
    bounded: bool,
    unique: bool,
    index: bool,
    /// Place of the target's collection.
    relation: Option<(usize, OnDelete)>,
    /// Every record has a value, and another one each.
    filled: bool,
}

#[derive(Clone)]
struct CollectionPlan {
    identity: usize,
    named: Named,
    fields: Vec<FieldPlan>,
    timestamps: bool,
    /// The fields that a search reads, by their identities, and its language.
    search: Option<(Vec<usize>, &'static str)>,
    rows: usize,
}

struct World {
    dice: Dice,
    collections: Vec<CollectionPlan>,
    identities: usize,
}

const KINDS: [Scalar; 6] =
    [Scalar::Text, Scalar::Integer, Scalar::Bigint, Scalar::Boolean, Scalar::Date, Scalar::Uuid];
const WORDS: [&str; 11] =
    ["title", "order", "select", "user", "a", "b", "it's", "Größe", "x y", "we\"ird", "search"];
const CHOICES: [&str; 6] = ["draft", "review", "it's", "d", "e", "f"];

impl World {
    fn new(seed: u64) -> World {
        let mut world = World { dice: Dice(seed), collections: Vec::new(), identities: 0 };
        for _ in 0..2 {
            world.add_collection();
        }
        world
    }

    fn identity(&mut self) -> usize {
        self.identities += 1;
        self.identities
    }

    /// A name that nothing in `taken` has. Few words, so that names are given up and taken again often.
    fn fresh(&mut self, taken: &[String]) -> String {
        loop {
            let word = WORDS[self.dice.roll(WORDS.len())];
            let name = match self.dice.roll(4) {
                0 => format!("{word}{}", "n".repeat(62 - word.len())),
                1 => format!("{word}_2"),
                _ => word.to_owned(),
            };
            if !taken.contains(&name) {
                return name;
            }
        }
    }

    fn add_collection(&mut self) {
        let taken: Vec<String> = self.collections.iter().map(|one| one.named.name.clone()).collect();
        let named = Named::new(self.fresh(&taken));
        let identity = self.identity();
        let timestamps = self.dice.one_in(2);
        self.collections.push(CollectionPlan {
            identity,
            named,
            fields: Vec::new(),
            timestamps,
            search: None,
            rows: 0,
        });
        let at = self.collections.len() - 1;
        for _ in 0..=self.dice.roll(4) {
            self.add_field(at);
        }
    }

    fn add_field(&mut self, at: usize) {
        let mut taken: Vec<String> =
            self.collections[at].fields.iter().map(|field| field.named.name.clone()).collect();
        taken.extend(["id", "created_at", "updated_at"].map(str::to_owned));
        let named = Named::new(self.fresh(&taken));
        let scalar = KINDS[self.dice.roll(KINDS.len())];
        let relation =
            self.dice.one_in(4).then(|| (self.dice.roll(self.collections.len()), OnDelete::Cascade));
        let kind = if relation.is_some() { Kind::UUID } else { Kind::one(scalar) };
        let values = (kind == Kind::TEXT && self.dice.one_in(3)).then_some(2);
        let default = relation.is_none() && self.dice.one_in(2);
        let fresh_table = self.collections[at].rows == 0;
        let filled = fresh_table && relation.is_none() && values.is_none();
        let field = FieldPlan {
            identity: self.identity(),
            named,
            kind,
            values,
            required: default && self.dice.one_in(2),
            default,
            bounded: self.dice.one_in(2),
            unique: filled && kind != Kind::BOOLEAN && self.dice.one_in(3),
            index: self.dice.one_in(4),
            relation,
            filled,
        };
        self.collections[at].fields.push(field);
    }

    fn collections(&self) -> Collections {
        let of = |one: &CollectionPlan| {
            let mut built = collection(&one.named.name);
            if let Some(from) = one.named.from() {
                built = built.from(from);
            }
            if !one.timestamps {
                built = built.without_timestamps();
            }
            for field in &one.fields {
                let plain = field.build();
                built = match &field.relation {
                    Some((to, on_delete)) => {
                        built.relation(plain, &self.collections[*to].named.name, *on_delete)
                    }
                    None => built.field(plain),
                };
            }
            for field in &one.fields {
                let name = field.named.name.as_str();
                if field.unique {
                    built = built.unique(&[name]);
                }
                if field.index {
                    built = built.index(&[name], IndexMethod::Btree);
                }
            }
            if let Some((fields, language)) = one.searched() {
                built = built.search(&fields, language);
            }
            built
        };
        project(self.collections.iter().map(of))
    }

    /// One change that loses nothing and can be told from what was done before.
    fn edit(&mut self) {
        let before = self.collections.clone();
        self.change();
        let columns = |one: &CollectionPlan| one.fields.iter().map(|f| f.named.clone()).collect::<Vec<_>>();
        let tables: Vec<Named> = self.collections.iter().map(|one| one.named.clone()).collect();
        if repeats(&tables) || self.collections.iter().any(|one| repeats(&columns(one))) {
            self.collections = before;
        }
    }

    fn change(&mut self) {
        let at = self.dice.roll(self.collections.len());
        let choice = self.dice.roll(17);
        let which = self.dice.roll(self.collections[at].fields.len());
        let other = self.dice.roll(self.collections[at].fields.len());
        match choice {
            0 if self.collections.len() < 5 => self.add_collection(),
            1 | 2 => self.add_field(at),
            3 => {
                let taken: Vec<String> = self.collections.iter().map(|one| one.named.name.clone()).collect();
                self.collections[at].named.name = self.fresh(&taken);
            }
            4 => {
                let to = self.dice.roll(self.collections.len());
                let name = self.collections[to].named.name.clone();
                self.collections[to].named.name =
                    std::mem::replace(&mut self.collections[at].named.name, name);
            }
            5 => {
                let taken: Vec<String> =
                    self.collections[at].fields.iter().map(|field| field.named.name.clone()).collect();
                self.collections[at].fields[which].named.name = self.fresh(&taken);
            }
            6 => {
                let fields = &mut self.collections[at].fields;
                let name = fields[other].named.name.clone();
                fields[other].named.name = std::mem::replace(&mut fields[which].named.name, name);
            }
            7 => self.collections[at].fields.swap(which, other),
            15 | 16 => {
                let fields = self.collections[at].fields.iter().map(|field| field.identity);
                let language = ["simple", "english", "german"][self.dice.roll(3)];
                let reads: Vec<usize> = fields.filter(|_| self.dice.one_in(2)).collect();
                self.collections[at].search = (!reads.is_empty()).then_some((reads, language));
            }
            _ => {
                let field = &mut self.collections[at].fields[which];
                match choice {
                    8 => field.kind = widened(field),
                    9 => field.values = field.values.map(|count| (count + 1).min(CHOICES.len())),
                    10 => field.required = field.filled && !field.required,
                    11 => {
                        let needed = field.required && !field.filled;
                        field.default = field.relation.is_none() && (needed || !field.default);
                    }
                    12 => field.bounded = !field.bounded,
                    13 => field.unique = field.filled && field.kind != Kind::BOOLEAN && !field.unique,
                    _ => match &mut field.relation {
                        Some((_, on_delete)) => *on_delete = OnDelete::Restrict,
                        None => field.index = !field.index,
                    },
                }
            }
        }
    }

    fn settle(&mut self) {
        for one in &mut self.collections {
            one.named.settle(&mut self.dice);
            for field in &mut one.fields {
                field.named.settle(&mut self.dice);
            }
        }
    }

    /// Gives each collection more records, with values that differ.
    async fn fill(&mut self, client: &Client) {
        for one in &mut self.collections {
            for _ in 0..2 {
                one.rows += 1;
                // A uuid of its own, so that rows are found again.
                let mut columns = vec!["id".to_owned()];
                let mut values = vec![format!("'00000000-0000-0000-{:04}-{:012}'", one.identity, one.rows)];
                for field in one.fields.iter().filter(|field| field.filled) {
                    columns.push(quoted(&field.named.name));
                    values.push(format!("'{}'", value(field.kind, one.rows)));
                }
                let sql = format!(
                    "insert into public.{} ({}) values ({})",
                    quoted(&one.named.name),
                    columns.join(", "),
                    values.join(", ")
                );
                run(client, &sql).await;
            }
        }
    }

    /// Every value in the database, by the identities of collection and field.
    async fn values(&self, client: &Client) -> BTreeMap<(usize, usize), Vec<String>> {
        let mut all = BTreeMap::new();
        for one in &self.collections {
            let Some(table) = &one.named.stored else { continue };
            let mut columns = vec![(0, "id".to_owned())];
            columns.extend(
                one.fields.iter().filter_map(|field| Some((field.identity, field.named.stored.clone()?))),
            );
            for (identity, name) in columns {
                let sql = format!("select {}::text from public.{} order by id", quoted(&name), quoted(table));
                all.insert((one.identity, identity), column(client, &sql).await);
            }
        }
        all
    }
}

/// A rename that the last plan did under the very same words: nobody can tell that it is meant once more. Its
/// `renamed_from` has to leave the YAML in between.
fn repeats(all: &[Named]) -> bool {
    all.iter().any(|moved| {
        moved.stored.as_ref() != Some(&moved.name)
            && all.iter().any(|holder| {
                holder.stored.as_ref() == Some(&moved.name)
                    && holder.noted.is_some()
                    && holder.noted.as_ref() == moved.from()
            })
    })
}

impl CollectionPlan {
    /// The fields of the search that hold text, as they are called now; no search without any, or beside a field of
    /// its name.
    fn searched(&self) -> Option<(Vec<&str>, &'static str)> {
        let (identities, language) = self.search.as_ref()?;
        let is_read =
            |field: &&FieldPlan| identities.contains(&field.identity) && field.kind.scalar == Scalar::Text;
        let fields: Vec<&str> =
            self.fields.iter().filter(is_read).map(|field| field.named.name.as_str()).collect();
        let named = self.fields.iter().any(|field| field.named.name == "search");
        (!fields.is_empty() && !named).then_some((fields, *language))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value of the kind for the `row`th record: another one each but for booleans.
fn value(kind: Kind, row: usize) -> String {
    match kind.scalar {
        Scalar::Boolean => row.is_multiple_of(2).to_string(),
        Scalar::Date => format!("2020-01-{:02}", row % 28 + 1),
        Scalar::Uuid => format!("00000000-0000-0000-0000-{row:012}"),
        Scalar::Text | Scalar::Integer | Scalar::Bigint | Scalar::Decimal => row.to_string(),
        other => unreachable!("{other:?} is not walked through"),
    }
}

/// The next wider kind that prints its values alike.
fn widened(field: &FieldPlan) -> Kind {
    if field.values.is_some() || field.relation.is_some() {
        return field.kind;
    }
    Kind::one(match field.kind.scalar {
        Scalar::Integer => Scalar::Bigint,
        Scalar::Bigint => Scalar::Decimal,
        _ => Scalar::Text,
    })
}

impl FieldPlan {
    fn build(&self) -> FieldBuilder {
        let mut built = field(&self.named.name, &self.kind.to_string());
        if let Some(from) = self.named.from() {
            built = built.from(from);
        }
        if self.required {
            built = built.required();
        }
        if let Some(count) = self.values {
            built = built.values(&CHOICES[..count]);
        }
        let integer = |number: i64| match self.kind.scalar {
            Scalar::Decimal => Value::Decimal(Decimal::Finite(number.into())),
            _ => Value::Integer(number),
        };
        if self.default {
            built = built.default(match self.kind.scalar {
                Scalar::Text => Value::text(CHOICES[0]),
                Scalar::Boolean => Value::Boolean(true),
                Scalar::Date => Value::Date(9),
                Scalar::Uuid => Value::Uuid(uuid::Uuid::from_u128(9)),
                _ => integer(0),
            });
        }
        if self.bounded {
            built = match self.kind.scalar {
                Scalar::Text => built.size(0, 99),
                Scalar::Integer | Scalar::Bigint | Scalar::Decimal => {
                    built.between(integer(-9), integer(999))
                }
                Scalar::Date => built.between(Value::Date(0), Value::Date(99_999)),
                _ => built,
            };
        }
        built
    }
}

async fn walk(seed: u64) {
    let database = database().await;
    let mut client = database.connect_owner().await;
    let mut world = World::new(seed);
    for _ in 0..8 {
        let before = world.values(&client).await;
        let plan = reach(&mut client, &world.collections()).await;
        assert_eq!(destructive(&plan), Vec::<String>::new());
        assert_eq!(plan.refusals, []);
        world.settle();
        let after = world.values(&client).await;
        for (place, values) in before {
            assert_eq!(after[&place], values, "{place:?} after\n{}", plan.render());
        }
        world.fill(&client).await;
        for _ in 0..=world.dice.roll(5) {
            world.edit();
        }
    }
}

#[tokio::test]
async fn safe_changes_at_random_keep_every_value() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Vec<u64> = match number("BASEWRIGHT_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("BASEWRIGHT_WALKS").unwrap_or(12)).collect(),
    };
    for seed in seeds {
        println!("BASEWRIGHT_SEED={seed}");
        walk(seed).await;
    }
}
