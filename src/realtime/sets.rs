//! [`Sets`]: the related rows that decide memberships, kept in memory for the callers who listen, out of the same
//! stream as the changes: a change is judged by what they were at its commit.
//!
//! Rows that look alike from all conditions are kept by *family*: the rows of one collection, found by the field that
//! speaks of the caller and by the field that links them to a record.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::change::Row;
use super::rows::{Known, Mapping};
use crate::condition::{Membership, Rows};
use crate::model::{Collection, CollectionId, Collections, FieldId, FieldSet, Record};

/// A family's place in [`Sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FamilyId(usize);

/// What a family is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) collection: CollectionId,
    /// Speaks of the caller.
    pub(super) field: FieldId,
    /// Equals a field of the record.
    pub(super) link: Option<FieldId>,
    pub(super) fields: FieldSet,
}

/// A membership's rows: a family, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) family: FamilyId,
    /// The record's field that the rows are linked by.
    pub(super) base: Option<FieldId>,
    pub(super) whose: Known,
}

/// Rows that a view needs before it can be judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) family: FamilyId,
    pub(super) whose: Known,
}

/// Which row of a collection, by the bytes of its key.
type RowKey = Vec<u8>;

struct Family {
    shape: Shape,
    /// Whose rows are kept, and by how many views.
    wanted: HashMap<Known, usize>,
    /// By link (none where there is no link), then by whose they are.
    rows: HashMap<Option<Known>, HashMap<Known, HashMap<RowKey, Record>>>,
}

/// All families.
#[derive(Default)]
pub(super) struct Sets {
    families: Vec<Family>,
}

impl Sets {
    /// Whether rows can be kept for a membership: its values must be such as can be looked up.
    pub(super) fn can_keep(collections: &Collections, membership: &Membership) -> bool {
        use crate::model::Scalar;
        let collection = collections.get(membership.collection);
        let plain = |field: FieldId| {
            let kind = collection.field(field).kind;
            !kind.array
                && matches!(
                    kind.scalar,
                    Scalar::Text | Scalar::Integer | Scalar::Bigint | Scalar::Uuid | Scalar::Boolean
                )
        };
        plain(membership.field)
            && membership.link.is_none_or(|(theirs, _)| plain(theirs))
            && (membership.value.is_null() || Known::of(&membership.value).is_some())
    }

    /// Takes an interest in a membership's rows. True: they are not there yet and are to be loaded.
    /// `None` for a caller of whom there can be no rows.
    pub(super) fn want(&mut self, membership: &Membership) -> Option<(Member, bool)> {
        let whose = Known::of(&membership.value)?;
        let shape = Shape {
            collection: membership.collection,
            field: membership.field,
            link: membership.link.map(|(theirs, _)| theirs),
            fields: membership.fields,
        };
        let at = self.families.iter().position(|family| family.shape == shape).unwrap_or_else(|| {
            self.families.push(Family { shape, wanted: HashMap::new(), rows: HashMap::new() });
            self.families.len() - 1
        });
        let member = Member {
            family: FamilyId(at),
            base: membership.link.map(|(_, ours)| ours),
            whose: whose.clone(),
        };
        let new = match self.families[at].wanted.entry(whose) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(1);
                true
            }
        };
        Some((member, new))
    }

    /// The opposite of [`Sets::want`].
    pub(super) fn release(&mut self, member: &Member) {
        let Some(family) = self.families.get_mut(member.family.0) else { return };
        if let Entry::Occupied(mut entry) = family.wanted.entry(member.whose.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                for by_whom in family.rows.values_mut() {
                    by_whom.remove(&member.whose);
                }
                family.rows.retain(|_, by_whom| !by_whom.is_empty());
            }
        }
    }

    /// Forgets all rows; returns those that are still wanted.
    pub(super) fn clear(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (at, family) in self.families.iter_mut().enumerate() {
            family.rows.clear();
            wanted.extend(
                family.wanted.keys().map(|whose| Wanted { family: FamilyId(at), whose: whose.clone() }),
            );
        }
        wanted
    }

    pub(super) fn shape(&self, family: FamilyId) -> Option<&Shape> {
        self.families.get(family.0).map(|family| &family.shape)
    }

    /// Whether any family is of this collection.
    pub(super) fn follow(&self, collection: CollectionId) -> bool {
        self.families.iter().any(|family| family.shape.collection == collection && !family.wanted.is_empty())
    }

    /// Whose rows are linked to a record.
    pub(super) fn linked(&self, family: FamilyId, link: &Known) -> impl Iterator<Item = &Known> {
        let family = self.families.get(family.0);
        let by_whom = family.and_then(|family| family.rows.get(&Some(link.clone())));
        by_whom.into_iter().flat_map(HashMap::keys)
    }

    /// The rows that a caller's memberships can find for a record.
    pub(super) fn rows(&self, members: &[Member], record: &Record) -> Rows {
        let mut found = Rows::default();
        for member in members {
            let Some(family) = self.families.get(member.family.0) else { continue };
            let link = match member.base {
                None => None,
                // Null is linked to nothing.
                Some(base) => match Known::of(record.get(base)) {
                    None => continue,
                    known => known,
                },
            };
            let rows = family.rows.get(&link).and_then(|by_whom| by_whom.get(&member.whose));
            let list = found.0.entry(family.shape.collection).or_default();
            list.extend(rows.into_iter().flat_map(HashMap::values).cloned());
        }
        found
    }

    /// Takes over a loaded row of a family.
    pub(super) fn load(&mut self, id: FamilyId, key: RowKey, record: Record) {
        if let Some(family) = self.families.get_mut(id.0) {
            family.put(key, record);
        }
    }

    /// Follows a change of a row; returns whose memberships it changed. `skip` says which rows were loaded with this
    /// change in them already.
    pub(super) fn follow_change(
        &mut self,
        collections: &Collections,
        mapping: &Mapping,
        old: Option<&Row>,
        new: Option<&Row>,
        skip: impl Fn(FamilyId, &Known) -> bool,
    ) -> Vec<(FamilyId, Known)> {
        let mut touched = Vec::new();
        let collection = collections.get(mapping.collection);
        for (at, family) in self.families.iter_mut().enumerate() {
            if family.shape.collection != mapping.collection || family.wanted.is_empty() {
                continue;
            }
            let id = FamilyId(at);
            let (old, new) = family.sides(mapping, collection, old, new);
            if let Some((whose, key, record)) = old
                && family.wanted.contains_key(&whose)
                && !skip(id, &whose)
            {
                family.remove(&whose, &key, &record);
                touched.push((id, whose));
            }
            if let Some((whose, key, record)) = new
                && family.wanted.contains_key(&whose)
                && !skip(id, &whose)
            {
                family.put(key, record);
                touched.push((id, whose));
            }
        }
        touched
    }

    /// Whether a change of a row changes a membership.
    pub(super) fn touches(
        &self,
        member: &Member,
        collection: &Collection,
        mapping: &Mapping,
        old: Option<&Row>,
        new: Option<&Row>,
    ) -> bool {
        let family = self.families.get(member.family.0);
        let Some(family) = family.filter(|family| family.shape.collection == mapping.collection) else {
            return false;
        };
        let (old, new) = family.sides(mapping, collection, old, new);
        old.into_iter().chain(new).any(|(whose, ..)| whose == member.whose)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.families.iter().all(|family| family.wanted.is_empty() && family.rows.is_empty())
    }

    /// All rows of a collection went; returns whose memberships those may have been.
    pub(super) fn truncate(&mut self, collection: CollectionId) -> Vec<(FamilyId, Known)> {
        let mut touched = Vec::new();
        for (at, family) in self.families.iter_mut().enumerate() {
            if family.shape.collection == collection {
                family.rows.clear();
                touched.extend(family.wanted.keys().map(|whose| (FamilyId(at), whose.clone())));
            }
        }
        touched
    }
}

/// A row as a family keeps it: whose it is, its key, and what of it decides.
type Kept = (Known, RowKey, Record);

impl Family {
    /// What a change is to it: nothing on either side where it keeps the same before and after.
    fn sides(
        &self,
        mapping: &Mapping,
        collection: &Collection,
        old: Option<&Row>,
        new: Option<&Row>,
    ) -> (Option<Kept>, Option<Kept>) {
        let side = |row: Option<&Row>| {
            let row = row?;
            let record = mapping.record(row, &self.shape.fields);
            let whose = Known::of(record.get(self.shape.field))?;
            Some((whose, row_key(mapping, collection, row), record))
        };
        let (old, new) = (side(old), side(new));
        if old == new { (None, None) } else { (old, new) }
    }

    fn link(&self, record: &Record) -> Option<Option<Known>> {
        match self.shape.link {
            None => Some(None),
            Some(field) => Known::of(record.get(field)).map(Some),
        }
    }

    fn put(&mut self, key: RowKey, record: Record) {
        let (Some(link), Some(whose)) = (self.link(&record), Known::of(record.get(self.shape.field))) else {
            return;
        };
        self.rows.entry(link).or_default().entry(whose).or_default().insert(key, record);
    }

    fn remove(&mut self, whose: &Known, key: &[u8], record: &Record) {
        let Some(link) = self.link(record) else { return };
        let Entry::Occupied(mut by_link) = self.rows.entry(link) else { return };
        if let Entry::Occupied(mut by_whom) = by_link.get_mut().entry(whose.clone()) {
            by_whom.get_mut().remove(key);
            if by_whom.get().is_empty() {
                by_whom.remove();
            }
        }
        if by_link.get().is_empty() {
            by_link.remove();
        }
    }
}

/// A row's key from its raw columns.
fn row_key(mapping: &Mapping, collection: &Collection, row: &Row) -> RowKey {
    key_of(collection, |field| mapping.raw(row, field).map(|raw| &raw[..]))
}

/// A row's key as bytes, whatever they come from.
pub(super) fn key_of<'r>(collection: &Collection, raw: impl Fn(FieldId) -> Option<&'r [u8]>) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    for field in &collection.primary_key {
        let raw = raw(*field).unwrap_or_default();
        key.extend_from_slice(&(raw.len() as u32).to_be_bytes());
        key.extend_from_slice(raw);
    }
    key
}
