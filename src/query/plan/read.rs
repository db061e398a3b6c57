//! A read's syntax → a [`ReadPlan`].

use super::relate::Related;
use super::{Cast, Column, Context, EmbedPlan, NodePlan, OrderBy, Output, ReadPlan, Source, Yields};
use crate::error::{Code, Error};
use crate::model::{Action, Kind, Name, Scalar};
use crate::policy::Permit;
use crate::query::request::{Embed, Item, Node, Order, Path};

impl ReadPlan {
    /// Checks a read of the collection that a URL names.
    ///
    /// # Errors
    /// Whatever the caller may not do or does not know, as the dialect says it.
    pub fn new(context: Context<'_>, collection: &str, node: &Node) -> Result<ReadPlan, Error> {
        ReadPlan::under(context, context.permit(collection, Action::Read)?, node)
    }

    /// Checks a read of the permit's collection.
    ///
    /// # Errors
    /// Whatever the caller may not do or does not know, as the dialect says it.
    pub fn under(context: Context<'_>, permit: Permit, node: &Node) -> Result<ReadPlan, Error> {
        Ok(ReadPlan { node: context.node(permit, node)? })
    }

    /// Makes the order one that whoever has the records can tell: text by code point, and at its end the key, so that
    /// no two records have the same place.
    ///
    /// # Errors
    /// The caller may not see the key.
    pub fn order_whole(&mut self, context: Context<'_>) -> Result<(), Error> {
        let collection = context.collection(self.node.permit.collection());
        for field in &collection.primary_key {
            let path = Path::field(collection.field(*field).name.to_string());
            let column = context.column(&self.node.permit, &path, None)?;
            let order =
                OrderBy { embed: None, column, descending: false, nulls_first: None, by_code_point: false };
            self.node.order.push(order);
        }
        for order in &mut self.node.order {
            order.by_code_point = order.column.yields == Yields::Kind(Kind::TEXT);
        }
        Ok(())
    }
}

/// The most embeds of one request, over all levels: each is a query of its own for every record above it.
const MOST_EMBEDS: usize = 50;

/// The most members that the objects of one answer have, over all levels: a caller may name a field many times.
const MOST_MEMBERS: usize = 1_000;

/// What a request has taken up so far. It is held against the bounds while the request is planned: a short `select`
/// can ask for so much that planning all of it first would be the harm.
#[derive(Default)]
struct Taken {
    embeds: usize,
    members: usize,
}

impl Taken {
    fn check(&self) -> Result<(), Error> {
        for (taken, most, what) in [
            (self.embeds, MOST_EMBEDS, "embedded collections"),
            (self.members, MOST_MEMBERS, "members of the answer's objects"),
        ] {
            if taken > most {
                return Err(Error::with(Code::QueryString, format!("at most {most} {what} are allowed")));
            }
        }
        Ok(())
    }
}

impl Context<'_> {
    /// Plans a read under a permit.
    pub(super) fn node(&self, permit: Permit, node: &Node) -> Result<NodePlan, Error> {
        let mut plan = self.level(permit, node, 0, &mut Taken::default())?;
        plan.check_weight()?;
        plan.mark_multiplied(false);
        Ok(plan)
    }

    /// Plans one level of a read.
    fn level(&self, permit: Permit, node: &Node, depth: usize, taken: &mut Taken) -> Result<NodePlan, Error> {
        let limits = &self.catalog.limits;
        if depth > limits.embed_depth {
            return Err(Error::with(
                Code::QueryString,
                format!("at most {} levels of embedded collections are allowed", limits.embed_depth),
            ));
        }
        let mut plan = NodePlan {
            permit,
            outputs: Vec::new(),
            filter: Vec::new(),
            embeds: Vec::new(),
            order: Vec::new(),
            limit: node.limit.unwrap_or(limits.rows).min(limits.rows),
            offset: node.offset.unwrap_or(0),
        };
        let all = [Item::All];
        let items = if node.select.is_empty() && depth == 0 { &all[..] } else { &node.select[..] };
        for item in items {
            let before = plan.outputs.len();
            self.item(&mut plan, item, depth, taken)?;
            taken.members += plan.outputs.len() - before;
            taken.check()?;
        }
        plan.filter = self.predicates(&plan, &node.filter)?;
        plan.order =
            node.order.iter().map(|order| self.order_by(&plan, order)).collect::<Result<Vec<_>, _>>()?;
        Ok(plan)
    }

    fn item(&self, plan: &mut NodePlan, item: &Item, depth: usize, taken: &mut Taken) -> Result<(), Error> {
        match item {
            Item::All => {
                let collection = self.collection(plan.permit.collection());
                for field in collection.field_ids().filter(|field| plan.permit.covers(*field)) {
                    let declared = collection.field(field);
                    let column = Column {
                        field,
                        steps: Vec::new(),
                        text: false,
                        cast: None,
                        yields: Yields::Kind(declared.kind),
                    };
                    plan.outputs
                        .push(Output { key: declared.name.to_string(), source: Source::Column(column) });
                }
            }
            Item::Field { path, alias, cast } => {
                let key = key(alias.as_deref().unwrap_or_else(|| path.output_name()))?;
                let counts = depth > 0
                    && path.field == "count"
                    && path.steps.is_empty()
                    && self.known_field(&plan.permit, "count").is_err();
                let source = if counts {
                    Source::Count
                } else {
                    Source::Column(self.column(&plan.permit, path, cast.as_deref())?)
                };
                plan.outputs.push(Output { key, source });
            }
            Item::Embed(embed) => self.embed(plan, embed, depth, taken)?,
            Item::Aggregate { .. } => return Err(Error::new(Code::AggregatesOff)),
        }
        // A count stands alone: whatever is next to it came right before or right after.
        let counts =
            |output: Option<&Output>| output.is_some_and(|output| matches!(output.source, Source::Count));
        if plan.outputs.len() > 1 && (counts(plan.outputs.first()) || counts(plan.outputs.last())) {
            return Err(Error::new(Code::AggregatesOff));
        }
        Ok(())
    }

    fn embed(
        &self,
        plan: &mut NodePlan,
        embed: &Embed,
        depth: usize,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        taken.embeds += 1;
        taken.check()?;
        let Related { relationship, target, junction } = self.relate(&plan.permit, embed)?;
        let node = self.level(target, &embed.node, depth + 1, taken)?;
        let key = key(embed.key())?;
        if plan.embeds.iter().any(|other| other.key == key) {
            let message = format!("table name \"{key}\" specified more than once");
            return Err(Error::with(Code::Sqlstate("42712".to_owned()), message)
                .hint(format!("Give one of them an alias: `alias:{}(…)`", embed.target)));
        }
        if embed.spread {
            if node.counts() {
                return Err(if relationship.cardinality.to_one() {
                    Error::new(Code::AggregatesOff)
                } else {
                    Error::new(Code::NotSupported)
                        .details("Aggregates are not implemented for one-to-many or many-to-many spreads.")
                });
            }
            let hoisted = node.outputs.iter().enumerate().map(|(place, output)| Output {
                key: output.key.clone(),
                source: Source::Spread(plan.embeds.len(), place),
            });
            plan.outputs.extend(hoisted);
        } else if !node.outputs.is_empty() {
            plan.outputs.push(Output { key: key.clone(), source: Source::Embed(plan.embeds.len()) });
        }
        plan.embeds.push(EmbedPlan {
            key,
            relationship,
            junction,
            inner: embed.inner,
            multiplied: false,
            node,
        });
        Ok(())
    }

    fn order_by(&self, plan: &NodePlan, order: &Order) -> Result<OrderBy, Error> {
        let (embed, permit) = match &order.relation {
            None => (None, &plan.permit),
            Some(relation) => {
                let place = plan.embeds.iter().position(|embed| embed.key == *relation).ok_or_else(|| {
                    let message = format!("'{relation}' is not an embedded resource in this request");
                    Error::with(Code::NotEmbedded, message).hint(format!(
                        "Verify that '{relation}' is included in the 'select' query parameter."
                    ))
                })?;
                let embed = &plan.embeds[place];
                if !embed.relationship.cardinality.to_one() {
                    let from = &self.collection(plan.permit.collection()).name;
                    let message = format!("A related order on '{relation}' is not possible");
                    return Err(Error::with(Code::RelatedOrder, message).details(format!(
                        "'{from}' and '{relation}' do not form a many-to-one or one-to-one relationship"
                    )));
                }
                (Some(place), &embed.node.permit)
            }
        };
        let column = self.column(permit, &order.path, None)?;
        let by_code_point = false;
        Ok(OrderBy {
            embed,
            column,
            descending: order.descending,
            nulls_first: order.nulls_first,
            by_code_point,
        })
    }

    /// Finds a field, checks the path into it and the cast.
    pub(super) fn column(&self, permit: &Permit, path: &Path, cast: Option<&str>) -> Result<Column, Error> {
        let field = self.known_field(permit, &path.field)?;
        let kind = self.collection(permit.collection()).field(field).kind;
        let mut yields = Yields::Kind(kind);
        if !path.steps.is_empty() {
            // Paths lead into JSON; arrays are read as JSON first, as the dialect does.
            if kind.scalar != Scalar::Json && !kind.array {
                let message = format!("operator does not exist: {} -> unknown", kind.sql());
                return Err(Error::with(Code::Sqlstate("42883".to_owned()), message));
            }
            yields = Yields::Kind(if path.text { Kind::TEXT } else { Kind::JSON });
        }
        let cast = cast.map(find_cast).transpose()?;
        if let Some(cast) = cast {
            yields = cast.yields;
        }
        Ok(Column { field, steps: path.steps.clone(), text: path.text, cast, yields })
    }
}

/// A member's name: it becomes an identifier when the object is made by Postgres.
fn key(text: &str) -> Result<String, Error> {
    Name::new(text).map(|name| name.to_string()).map_err(|fault| {
        Error::with(Code::QueryString, format!("\"{text}\" cannot name a member of the answer: {fault}"))
    })
}

/// The casts of `select`: a closed list, so that no text of a request becomes SQL.
fn find_cast(name: &str) -> Result<Cast, Error> {
    let folded = name.trim().to_ascii_lowercase();
    let (element, array) = match folded.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (folded.as_str(), false),
    };
    let scalar = match element {
        "text" | "varchar" | "character varying" => Scalar::Text,
        "integer" | "int" | "int4" => Scalar::Integer,
        "bigint" | "int8" => Scalar::Bigint,
        "float8" | "float" | "double precision" => Scalar::Float,
        "numeric" | "decimal" => Scalar::Decimal,
        "boolean" | "bool" => Scalar::Boolean,
        "uuid" => Scalar::Uuid,
        "timestamptz" | "timestamp with time zone" => Scalar::Timestamp,
        "date" => Scalar::Date,
        "time" | "time without time zone" => Scalar::Time,
        "interval" => Scalar::Interval,
        "jsonb" => Scalar::Json,
        "bytea" => Scalar::Bytes,
        "inet" => Scalar::Inet,
        "json" if !array => return Ok(Cast { sql: "json", yields: Yields::Json }),
        _ => {
            let message = format!("type \"{name}\" does not exist");
            return Err(Error::with(Code::Sqlstate("42704".to_owned()), message));
        }
    };
    let kind = Kind { scalar, array };
    Ok(Cast { sql: kind.sql(), yields: Yields::Kind(kind) })
}
