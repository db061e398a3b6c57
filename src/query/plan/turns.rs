//! The order in which the rules of a write are tried: what one rule sets never stands in a record that another
//! one admits, so rules that set different values are different ways to write.

use super::write::Way;
use crate::model::{Collection, DefaultValue, FieldId, FieldSet};
use crate::policy::{Permit, WriteRule};

/// The rules of an update that writes these columns, each with the number of its group: those that set the same.
pub(super) fn grouped<'a>(permit: &'a Permit, columns: &[FieldId]) -> Vec<(usize, WriteRule<'a>)> {
    let mut sets: Vec<&[(FieldId, DefaultValue)]> = Vec::new();
    let rules = permit.write_rules(&columns.iter().copied().collect());
    rules
        .into_iter()
        .map(|rule| {
            let place = sets.iter().position(|set| *set == rule.set).unwrap_or_else(|| {
                sets.push(rule.set);
                sets.len() - 1
            });
            (place, rule)
        })
        .collect()
}

/// How many orders of its rules an update that writes these columns has to try.
pub(super) fn turns(permit: &Permit, columns: &[FieldId]) -> usize {
    match grouped(permit, columns).iter().map(|(group, _)| group + 1).max() {
        None | Some(0 | 1) => 1,
        Some(groups) => groups + 1,
    }
}

/// The rules of an update that writes these columns: in declared order, and in later turns those of one group
/// before the others. Of several rules whose `when` holds, the first says what is set.
pub(super) fn rules_in_turn<'a>(permit: &'a Permit, columns: &[FieldId], turn: usize) -> Vec<WriteRule<'a>> {
    let (mut first, others): (Vec<_>, Vec<_>) =
        grouped(permit, columns).into_iter().partition(|(group, _)| turn == 0 || group + 1 == turn);
    first.extend(others);
    first.into_iter().map(|(_, rule)| rule).collect()
}

/// The ways of an insert that writes these fields, in the order of their first rules.
pub(super) fn ways(collection: &Collection, permit: &Permit, written: &FieldSet) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for rule in permit.write_rules(written) {
        if let Some(way) = ways.iter_mut().find(|way| way.set == rule.set) {
            way.rules.push(rule.place);
            continue;
        }
        let set = rule.set.to_vec();
        let mut filled: Vec<(FieldId, DefaultValue)> =
            set.iter().filter(|(field, _)| !written.contains(*field)).cloned().collect();
        for field in collection.field_ids() {
            if let Some(default @ DefaultValue::Attribute(_)) = &collection.field(field).default
                && !written.contains(field)
                && !filled.iter().any(|(known, _)| *known == field)
            {
                filled.push((field, default.clone()));
            }
        }
        ways.push(Way { rules: vec![rule.place], set, filled });
    }
    ways
}
