//! What realtime needs to know of a condition ahead of any row: by which of its values a record is found to matter to
//! a caller, and which related rows decide that can be kept in memory.
//!
//! Both speak of a condition that is TRUE: what is said is necessary for that, never sufficient. The row itself is
//! judged by [`Condition::evaluate`].

use super::caller;
use super::syntax::Comparison;
use super::tree::{Condition, Link, Node, Operand, Path, Quantifier, Set, Slot, Source, Test};
use crate::model::{CollectionId, FieldId, FieldSet, Principal, Value};

/// A record for which the condition is TRUE has one of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// The field has this value.
    Equals(FieldId, Value),
    /// Some row of the membership is linked to the record.
    Member(Membership),
}

/// The rows of another collection that an `exists` looks at on behalf of one caller: those whose `field` has `value`.
/// Rows outside cannot make it TRUE.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub collection: CollectionId,
    pub field: FieldId,
    pub value: Value,
    /// The field of those rows that equals a field of the record: (theirs, the record's).
    pub link: Option<(FieldId, FieldId)>,
    /// What is looked at in those rows, `field` and the link included.
    pub fields: FieldSet,
}

impl Condition {
    /// One of these is true of every record for which the condition is TRUE; none at all if no record can be.
    /// `None`: nothing of the kind is known.
    pub fn keys(&self, principal: &Principal) -> Option<Vec<Key>> {
        keys(&self.root, principal)
    }

    /// The memberships that, with the record and the caller, decide the condition. `None`: it looks at related rows
    /// in other ways, too, and only the database can decide it.
    pub fn memberships(&self, principal: &Principal) -> Option<Vec<Membership>> {
        let mut found: Vec<Membership> = Vec::new();
        collect(&self.root, principal, &mut found).then_some(found)
    }

    /// The collections of whose rows it asks whether there are such.
    pub fn quantified(&self) -> Vec<CollectionId> {
        let mut found = Vec::new();
        self.root.each_test(&mut |test| {
            if let Test::Quantified { set, .. } = test {
                found.push(set.collection);
            }
        });
        found
    }

    /// The fields of other collections that it looks at: a change of another field there changes nothing here.
    pub fn related_fields(&self) -> Vec<(CollectionId, FieldId)> {
        let mut found = Vec::new();
        let mut variables = Vec::new();
        related(&self.root, &mut variables, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn keys(node: &Node, principal: &Principal) -> Option<Vec<Key>> {
    match node {
        Node::Constant(true) | Node::Not(_) => None,
        Node::Constant(false) => Some(Vec::new()),
        Node::Named { node, .. } => keys(node, principal),
        // Any part will do; the one with the fewest keys is looked up fastest.
        Node::And(parts) => parts.iter().filter_map(|part| keys(part, principal)).min_by_key(Vec::len),
        Node::Or(parts) => {
            let all: Option<Vec<Vec<Key>>> = parts.iter().map(|part| keys(part, principal)).collect();
            all.map(|all| all.into_iter().flatten().collect())
        }
        Node::Term { test, .. } => match test {
            Test::Compare { comparison: Comparison::Equal, left, right } => {
                let (path, other) = match (own(left, Slot::Record), own(right, Slot::Record)) {
                    (Some(field), None) => (field, right),
                    (None, Some(field)) => (field, left),
                    (Some(_), Some(_)) | (None, None) => return None,
                };
                known(other, principal).map(|value| equals(path, value).into_iter().collect())
            }
            Test::Among { value, list } => {
                let field = own(value, Slot::Record)?;
                match known(list, principal)? {
                    Value::Array(values) => {
                        Some(values.into_iter().filter_map(|value| equals(field, value)).collect())
                    }
                    Value::Null => Some(Vec::new()),
                    _ => None,
                }
            }
            Test::Quantified { quantifier: Quantifier::Exists, set, body } => {
                let membership = membership(set, body, principal)?;
                membership.link?;
                Some(if membership.value.is_null() { Vec::new() } else { vec![Key::Member(membership)] })
            }
            Test::Holds(operand) => {
                own(operand, Slot::Record).map(|field| vec![Key::Equals(field, Value::Boolean(true))])
            }
            Test::Quantified { .. }
            | Test::IsNull { .. }
            | Test::Compare { .. }
            | Test::Text { .. }
            | Test::Matches { .. } => None,
        },
    }
}

/// Nothing equals null.
fn equals(field: FieldId, value: Value) -> Option<Key> {
    (!value.is_null()).then_some(Key::Equals(field, value))
}

/// A field of this very row.
fn own(operand: &Operand, slot: Slot) -> Option<FieldId> {
    match &operand.source {
        Source::Path(path) if path.slot == slot && path.hops.is_empty() => Some(path.field),
        _ => None,
    }
}

/// The value of what no row decides.
fn known(operand: &Operand, principal: &Principal) -> Option<Value> {
    match &operand.source {
        Source::Literal(value) => Some(value.clone()),
        Source::Attribute(attribute) => Some(caller::attribute(principal, attribute, operand.kind)),
        _ => None,
    }
}

/// False: something in the node is no membership and looks beyond the record.
fn collect(node: &Node, principal: &Principal, found: &mut Vec<Membership>) -> bool {
    match node {
        Node::Constant(_) => true,
        Node::Named { node, .. } => collect(node, principal, found),
        Node::Not(inner) => collect(inner, principal, found),
        Node::And(parts) | Node::Or(parts) => parts.iter().all(|part| collect(part, principal, found)),
        Node::Term { test: Test::Quantified { quantifier: Quantifier::Exists, set, body }, .. } => {
            let Some(membership) = membership(set, body, principal) else { return false };
            if !found.contains(&membership) {
                found.push(membership);
            }
            true
        }
        Node::Term { test: Test::Quantified { .. }, .. } => false,
        Node::Term { test, .. } => hopless(test),
    }
}

/// Every path of the test ends in a row that is at hand.
fn hopless(test: &Test) -> bool {
    let mut at_hand = true;
    test.each_path(&mut |path| at_hand &= path.hops.is_empty());
    at_hand
}

fn membership(set: &Set, body: &Node, principal: &Principal) -> Option<Membership> {
    // The first quantifier around the body, so that its variable is the first.
    let variable = Slot::Variable(0);
    let mut conjuncts = Vec::new();
    spread(body, &mut conjuncts);
    let mut bound: Option<(FieldId, Value)> = None;
    let mut link = match &set.link {
        None => None,
        Some(Link { field, base, .. }) => {
            if base.slot != Slot::Record || !base.hops.is_empty() {
                return None;
            }
            Some((*field, base.field))
        }
    };
    for test in &conjuncts {
        let Test::Compare { comparison: Comparison::Equal, left, right } = test else { continue };
        for (mine, other) in [(left, right), (right, left)] {
            let Some(field) = own(mine, variable) else { continue };
            match (known(other, principal), own(other, Slot::Record)) {
                // What speaks of the caller bounds the rows to few.
                (Some(value), _) if bound.is_none() && matches!(other.source, Source::Attribute(_)) => {
                    bound = Some((field, value));
                }
                (None, Some(base)) if link.is_none() => link = Some((field, base)),
                _ => {}
            }
        }
    }
    let (field, value) = bound?;
    let mut fields = FieldSet::EMPTY;
    fields.insert(field);
    if let Some((theirs, _)) = link {
        fields.insert(theirs);
    }
    let mut plain = true;
    body.each_test(&mut |test| {
        plain &= !matches!(test, Test::Quantified { .. });
        test.each_path(&mut |path: &Path| {
            plain &= path.hops.is_empty();
            match path.slot {
                Slot::Variable(0) => fields.insert(path.field),
                Slot::Record => {}
                Slot::Variable(_) | Slot::Old => plain = false,
            }
        });
    });
    plain.then_some(Membership { collection: set.collection, field, value, link, fields })
}

/// The tests that all must hold.
fn spread<'n>(node: &'n Node, found: &mut Vec<&'n Test>) {
    match node {
        Node::And(parts) => parts.iter().for_each(|part| spread(part, found)),
        Node::Named { node, .. } => spread(node, found),
        Node::Term { test, .. } => found.push(test),
        Node::Constant(_) | Node::Or(_) | Node::Not(_) => {}
    }
}

fn related(node: &Node, variables: &mut Vec<CollectionId>, found: &mut Vec<(CollectionId, FieldId)>) {
    match node {
        Node::Constant(_) => {}
        Node::Named { node, .. } => related(node, variables, found),
        Node::Not(inner) => related(inner, variables, found),
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| related(part, variables, found)),
        Node::Term { test, .. } => {
            test.each_path(&mut |path| {
                let mut at = match path.slot {
                    Slot::Record | Slot::Old => None,
                    Slot::Variable(at) => variables.get(at).copied(),
                };
                for hop in &path.hops {
                    found.extend(at.map(|collection| (collection, hop.field)));
                    found.push((hop.target, hop.key));
                    at = Some(hop.target);
                }
                found.extend(at.map(|collection| (collection, path.field)));
            });
            if let Test::Quantified { set, body, .. } = test {
                found.extend(set.link.as_ref().map(|link| (set.collection, link.field)));
                variables.push(set.collection);
                related(body, variables, found);
                variables.pop();
            }
        }
    }
}
