//! [`Audience`]: who listens, sorted so that a change costs what those cost who may care for it.
//!
//! Subscriptions that cannot be told apart are one *group*: the same collection, the same rights (a *view*: the same
//! rules, and callers who agree on all that those rules ask of a caller), the same filter, fields and operation. A group
//! is found by a value that its records must have (of its filter, or of its rules), by a membership, or, where nothing of
//! the kind is known, by going through the rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::change::{Change, Relation, Row};
use super::feed::WorkerId;
use super::filter::Filter;
use super::line::{Binding, ChannelKey, Operation};
use super::rows::{Known, Mapping, Mappings};
use super::sets::{FamilyId, Member, Sets, Wanted};
use super::slab::Slab;
use super::stream::changed_fields;
use crate::catalog::Catalog;
use crate::condition::{Condition, Env, Key, Membership, Rows};
use crate::error::{Code, Error};
use crate::model::{Action, Attribute, Collection, CollectionId, FieldId, FieldSet, Principal, Record};
use crate::policy::{Decision, Permit, Rule};
use crate::query::plan::Context;

/// A channel, and whose.
pub(super) type Place = (WorkerId, ChannelKey);
pub(super) type ViewId = usize;
pub(super) type GroupId = usize;

/// How a view's conditions are decided.
#[derive(Debug)]
pub(super) enum Way {
    /// By the record alone.
    Record,
    /// By the record and rows that are kept.
    Members(Vec<Member>),
    /// By asking the database.
    Database,
}

/// The same rights, for callers who agree on what they ask.
pub(super) struct View {
    key: ViewKey,
    pub(super) permit: Permit,
    /// One of the callers: the others would be answered alike.
    pub(super) principal: Arc<Principal>,
    pub(super) way: Way,
    /// The fields that exist for these callers.
    pub(super) known: FieldSet,
    /// Those of them that some rows hide.
    pub(super) masked: Vec<FieldId>,
    groups: HashSet<GroupId>,
}

impl View {
    /// All that decides what its callers see.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let masks = self.masked.iter().filter_map(|field| self.permit.mask(*field));
        self.permit.when().into_iter().chain(masks)
    }

    /// Whether rows of another collection decide what its callers see: by these fields of them, or, where `changed` is
    /// none, by there being one.
    fn looks_at(&self, collection: CollectionId, changed: Option<&FieldSet>) -> bool {
        self.conditions().any(|condition| match changed {
            None => condition.quantified().contains(&collection),
            Some(changed) => {
                let mut looked_at = condition.related_fields().into_iter();
                looked_at.any(|(known, field)| known == collection && changed.contains(field))
            }
        })
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ViewKey {
    collection: CollectionId,
    permit: usize,
    attributes: String,
}

/// Subscriptions that are told the same.
pub(super) struct Group {
    key: GroupKey,
    pub(super) collection: CollectionId,
    index: Vec<Indexed>,
    /// By binding id.
    units: HashMap<u32, Unit>,
    /// How many subscriptions use it, active or not.
    uses: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) view: ViewId,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) operation: Option<Operation>,
    /// The fields that records of its events have.
    pub(super) shown: FieldSet,
}

impl Group {
    pub(super) fn key(&self) -> &GroupKey {
        &self.key
    }
}

/// Where a group stands in the index.
#[derive(Clone, PartialEq, Eq)]
enum Indexed {
    Value(FieldId, Known),
    Member(Member),
    Rest,
}

/// The channels of a group for which the event has the same id.
#[derive(Default)]
struct Unit {
    /// By worker: the channels, and the same as they were last told.
    workers: Vec<(Vec<ChannelKey>, Option<Listeners>)>,
}

/// A channel's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sub {
    pub(super) group: GroupId,
    pub(super) id: u32,
}

struct Channel {
    principal: Arc<Principal>,
    bindings: Vec<Binding>,
    subs: Vec<Sub>,
    active: bool,
    /// The caller's roles are being asked for: until they are known nothing is told.
    suspended: bool,
}

impl Channel {
    fn is_told(&self) -> bool {
        self.active && !self.suspended
    }
}

/// The listeners of one collection.
#[derive(Default)]
struct Listening {
    by_value: HashMap<FieldId, HashMap<Known, Vec<GroupId>>>,
    by_member: Vec<(FamilyId, FieldId, HashMap<Known, Vec<GroupId>>)>,
    rest: Vec<GroupId>,
    /// The fields that decide anything for anybody.
    needed: FieldSet,
    groups: usize,
}

/// Bindings that cannot be served, by their place, and why.
type Refused = Vec<(usize, Error)>;

/// The channels of one worker that are told the same.
type Listeners = Arc<[ChannelKey]>;

/// What became of a subscription.
pub(super) struct Compiled {
    pub(super) refused: Refused,
    pub(super) wanted: Vec<Wanted>,
}

/// What the database says of (view, change, whether it is the old row): `None` is not visible.
pub(super) type Told = HashMap<(ViewId, usize, bool), Option<FieldSet>>;

/// One side of a change, as it is judged.
pub(super) struct Side<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) row: &'a Row,
    /// The change's place in its transaction.
    pub(super) at: usize,
    pub(super) old: bool,
    /// The commit's time, microseconds since 2000-01-01 UTC.
    pub(super) now: i64,
    pub(super) told: &'a Told,
}

pub(super) struct Audience {
    catalog: Arc<Catalog>,
    mappings: Mappings,
    channels: HashMap<Place, Channel>,
    views: Slab<View>,
    views_by_key: HashMap<ViewKey, ViewId>,
    groups: Slab<Group>,
    groups_by_key: HashMap<GroupKey, GroupId>,
    listening: HashMap<CollectionId, Listening>,
    pub(super) sets: Sets,
    /// The views that only the database can decide, by their collection.
    asking: HashMap<CollectionId, Vec<ViewId>>,
}

impl Audience {
    pub(super) fn new(catalog: Arc<Catalog>) -> Audience {
        Audience {
            catalog,
            mappings: Mappings::default(),
            channels: HashMap::new(),
            views: Slab::default(),
            views_by_key: HashMap::new(),
            groups: Slab::default(),
            groups_by_key: HashMap::new(),
            listening: HashMap::new(),
            sets: Sets::default(),
            asking: HashMap::new(),
        }
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn mapping(&mut self, relation: &Arc<Relation>) -> Option<Arc<Mapping>> {
        self.mappings.of(&self.catalog.collections, relation)
    }

    // --- joining and leaving

    /// Prepares a channel's subscriptions: they are told nothing before [`Audience::activate`].
    pub(super) fn subscribe(
        &mut self,
        place: Place,
        principal: Arc<Principal>,
        bindings: Vec<Binding>,
    ) -> Compiled {
        self.unsubscribe(place);
        let (subs, compiled) = self.compile(&principal, &bindings);
        self.channels.insert(place, Channel { principal, bindings, subs, active: false, suspended: false });
        compiled
    }

    /// From now on the channel is told.
    pub(super) fn activate(&mut self, place: Place) {
        let Some(channel) = self.channels.get_mut(&place) else { return };
        if !std::mem::replace(&mut channel.active, true) && !channel.suspended {
            for sub in channel.subs.clone() {
                self.enter(place, sub);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, place: Place) {
        if let Some(channel) = self.channels.remove(&place) {
            self.drop_subs(place, &channel.subs, channel.is_told());
        }
    }

    pub(super) fn subs(&self, place: Place) -> &[Sub] {
        self.channels.get(&place).map_or(&[], |channel| &channel.subs)
    }

    /// Judges a channel anew, for another caller. True: it may see other things than before.
    pub(super) fn rejudge(&mut self, place: Place, principal: Arc<Principal>) -> Option<(Compiled, bool)> {
        let channel = self.channels.get(&place)?;
        let (bindings, old, active) = (channel.bindings.clone(), channel.subs.clone(), channel.active);
        let told = channel.is_told();
        let (subs, compiled) = self.compile(&principal, &bindings);
        let changed = subs != old;
        if active {
            for sub in &subs {
                self.enter(place, *sub);
            }
        }
        // Only now, so that what both have in common is not let go in between.
        self.drop_subs_of(place, &old, told, &subs);
        if let Some(channel) = self.channels.get_mut(&place) {
            (channel.principal, channel.subs, channel.suspended) = (principal, subs, false);
        }
        Some((compiled, changed))
    }

    /// Tells the channels of a user nothing more until they are judged anew; of every user, without one. Returns them.
    pub(super) fn suspend(&mut self, user: Option<Uuid>) -> Vec<Place> {
        let concerned = |channel: &Channel| match (user, channel.principal.id) {
            (None, id) => id.is_some(),
            (Some(user), id) => id == Some(user),
        };
        let places: Vec<Place> =
            self.channels.iter().filter(|(_, channel)| concerned(channel)).map(|(place, _)| *place).collect();
        places.iter().for_each(|place| self.suspend_channel(*place));
        places
    }

    pub(super) fn suspend_channel(&mut self, place: Place) {
        let Some(channel) = self.channels.get_mut(&place) else { return };
        let told = channel.is_told();
        channel.suspended = true;
        if told {
            let subs = channel.subs.clone();
            for sub in &subs {
                self.part(place, *sub);
            }
        }
    }

    pub(super) fn is_suspended(&self, place: Place) -> bool {
        self.channels.get(&place).is_some_and(|channel| channel.suspended)
    }

    /// The channel's caller is this user; is anybody in particular, without one.
    pub(super) fn is_of(&self, place: Place, user: Option<Uuid>) -> bool {
        let id = self.channels.get(&place).and_then(|channel| channel.principal.id);
        id.is_some() && (user.is_none() || user == id)
    }

    fn views_of(&self, place: Place) -> impl Iterator<Item = &View> {
        let views = self.subs(place).iter().filter_map(|sub| Some(self.groups.get(sub.group)?.key.view));
        views.filter_map(|view| self.views.get(view))
    }

    /// The collections through which a channel sees what it sees.
    pub(super) fn through(&self, place: Place) -> HashSet<CollectionId> {
        self.views_of(place).flat_map(|view| self.through_of(view)).collect()
    }

    fn through_of(&self, view: &View) -> Vec<CollectionId> {
        match &view.way {
            Way::Record => Vec::new(),
            Way::Members(members) => {
                let shapes = members.iter().filter_map(|member| self.sets.shape(member.family));
                shapes.map(|shape| shape.collection).collect()
            }
            Way::Database => view.conditions().flat_map(|condition| condition.reads()).collect(),
        }
    }

    /// Whether a change of a row through which a channel sees changes what it sees.
    pub(super) fn turns(&self, place: Place, mapping: &Mapping, change: &Change) -> bool {
        let (old, new) = change.rows();
        let collection = self.catalog.collection(mapping.collection);
        let changed = old.zip(new).map(|(old, new)| changed_fields(mapping, collection, old, new));
        self.views_of(place).any(|view| match &view.way {
            Way::Record => false,
            Way::Members(members) => {
                members.iter().any(|member| self.sets.touches(member, collection, mapping, old, new))
            }
            Way::Database => view.looks_at(mapping.collection, changed.as_ref()),
        })
    }

    /// What decides what a channel is told.
    fn told_by(&self, place: Place) -> Vec<Terms> {
        let subs = self.channels.get(&place).map_or(&[][..], |channel| &channel.subs);
        let terms = |sub: &Sub| {
            let group = self.groups.get(sub.group)?;
            let view = self.views.get(group.key.view)?;
            Some(Terms {
                id: sub.id,
                collection: self.catalog.collection(group.collection).clone(),
                rules: view.permit.rules().to_vec(),
                bypass: view.permit.bypass(),
                shown: group.key.shown,
            })
        };
        subs.iter().filter_map(terms).collect()
    }

    /// Puts another version of the project in force: everybody is judged anew. Returns what is wanted, and whose terms
    /// are others now, with what was refused.
    pub(super) fn replace(&mut self, catalog: Arc<Catalog>) -> (Vec<Wanted>, Vec<(Place, Refused)>) {
        let before: HashMap<Place, Vec<Terms>> =
            self.channels.keys().map(|place| (*place, self.told_by(*place))).collect();
        let channels = std::mem::take(&mut self.channels);
        // Where the collections are the same, so are the rows that are kept of them: read anew, they would be those of
        // a moment that the stream has not reached.
        let same = self.catalog.collections.iter().eq(catalog.collections.iter());
        let sets = std::mem::take(&mut self.sets);
        let views = std::mem::take(&mut self.views);
        *self = Audience::new(catalog);
        if same {
            self.sets = sets;
        }
        let (mut wanted, mut told) = (Vec::new(), Vec::new());
        for (place, channel) in channels {
            let compiled = self.subscribe(place, channel.principal, channel.bindings);
            if channel.suspended {
                self.suspend_channel(place);
            }
            if channel.active {
                self.activate(place);
                if before.get(&place) != Some(&self.told_by(place)) {
                    told.push((place, compiled.refused));
                }
            }
            wanted.extend(compiled.wanted);
        }
        if same {
            for (_, view) in views.iter() {
                if let Way::Members(members) = &view.way {
                    members.iter().for_each(|member| self.sets.release(member));
                }
            }
        }
        (wanted, told)
    }

    /// Every active channel that listens to rows.
    pub(super) fn places(&self) -> Vec<Place> {
        self.channels.iter().filter(|(_, channel)| channel.active).map(|(place, _)| *place).collect()
    }

    fn compile(&mut self, principal: &Arc<Principal>, bindings: &[Binding]) -> (Vec<Sub>, Compiled) {
        let (mut subs, mut refused, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (at, binding) in bindings.iter().enumerate() {
            let id = at as u32 + 1;
            match self.compile_binding(principal, binding) {
                Ok(keys) => {
                    for (view, key) in keys {
                        let group = self.group(view, principal, key, &mut wanted);
                        subs.push(Sub { group, id });
                    }
                }
                Err(error) => refused.push((at, error)),
            }
        }
        (subs, Compiled { refused, wanted })
    }

    /// The rights that a binding needs, with what it asks for.
    fn compile_binding(
        &self,
        principal: &Arc<Principal>,
        binding: &Binding,
    ) -> Result<Vec<(Permit, Asked)>, Error> {
        let catalog = Arc::clone(&self.catalog);
        let context = Context { catalog: &catalog, principal };
        let Some(id) = binding.collection(&catalog.collections)? else {
            if binding.filter.is_some() || binding.select.is_some() {
                return Err(Error::with(Code::NotSupported, "A filter needs the table that it is about"));
            }
            // Whatever the caller may read: nothing is an answer, too.
            let all = catalog.collections.with_objects();
            let readable = all.filter(|(_, one)| one.realtime && binding.has(one.schema));
            return Ok(readable
                .filter_map(|(id, _)| match catalog.policies.decide(principal, Action::Read, id) {
                    Decision::Permit(permit) => Some((permit, Asked::all(binding.operation))),
                    Decision::Denied | Decision::Unknown => None,
                })
                .collect());
        };
        let permit = context.permit_on(id, Action::Read)?;
        let collection = catalog.collection(id);
        if !collection.realtime {
            let message = format!(
                "The collection `{}` sends no changes: it is declared with `realtime: false`",
                collection.title()
            );
            return Err(Error::with(Code::NotSupported, message));
        }
        let filter = match binding.filter.as_deref() {
            None | Some("") => None,
            Some(text) => Some(Arc::new(Filter::compile(text, context, &permit)?)),
        };
        let select = match &binding.select {
            None => None,
            Some(names) => {
                let mut fields: FieldSet =
                    collection.primary_key.iter().copied().filter(|field| permit.covers(*field)).collect();
                for name in names.iter().filter(|name| *name != "*") {
                    fields.insert(context.known_field(&permit, name)?);
                }
                Some(fields).filter(|_| !names.iter().any(|name| name == "*"))
            }
        };
        Ok(vec![(permit, Asked { filter, operation: binding.operation, select })])
    }

    /// The group of a subscription; one use more.
    fn group(
        &mut self,
        permit: Permit,
        principal: &Arc<Principal>,
        asked: Asked,
        wanted: &mut Vec<Wanted>,
    ) -> GroupId {
        let collection = permit.collection();
        let view = self.view(permit, principal, wanted);
        let known = self.views.get(view).map_or(FieldSet::EMPTY, |view| view.known);
        let key = GroupKey {
            view,
            filter: asked.filter,
            operation: asked.operation,
            shown: asked.select.unwrap_or(known),
        };
        if let Some(id) = self.groups_by_key.get(&key) {
            let id = *id;
            if let Some(group) = self.groups.get_mut(id) {
                group.uses += 1;
            }
            return id;
        }
        let index = self.index_of(&key);
        let group =
            Group { key: key.clone(), collection, index: index.clone(), units: HashMap::new(), uses: 1 };
        let id = self.groups.insert(group);
        self.groups_by_key.insert(key.clone(), id);
        if let Some(view) = self.views.get_mut(view) {
            view.groups.insert(id);
        }
        let needed = self.fields_needed(&key);
        let listening = self.listening.entry(collection).or_default();
        listening.groups += 1;
        listening.needed = listening.needed.union(needed);
        for indexed in index {
            match indexed {
                Indexed::Value(field, known) => {
                    listening.by_value.entry(field).or_default().entry(known).or_default().push(id);
                }
                Indexed::Member(Member { family, base: Some(base), whose }) => {
                    let found =
                        listening.by_member.iter().position(|(known, by, _)| (*known, *by) == (family, base));
                    let at = found.unwrap_or_else(|| {
                        listening.by_member.push((family, base, HashMap::new()));
                        listening.by_member.len() - 1
                    });
                    listening.by_member[at].2.entry(whose).or_default().push(id);
                }
                Indexed::Member(Member { base: None, .. }) | Indexed::Rest => listening.rest.push(id),
            }
        }
        id
    }

    fn view(&mut self, permit: Permit, principal: &Arc<Principal>, wanted: &mut Vec<Wanted>) -> ViewId {
        let catalog = Arc::clone(&self.catalog);
        let collection = catalog.collection(permit.collection());
        let known: FieldSet = collection.field_ids().filter(|field| permit.covers(*field)).collect();
        let masked: Vec<FieldId> = known.iter().filter(|field| permit.mask(*field).is_some()).collect();
        let conditions: Vec<&Condition> =
            permit.when().into_iter().chain(masked.iter().filter_map(|field| permit.mask(*field))).collect();
        let key = ViewKey {
            collection: permit.collection(),
            permit: permit.identity(),
            attributes: fingerprint(&conditions, principal),
        };
        if let Some(id) = self.views_by_key.get(&key) {
            return *id;
        }
        let way = self.way(&conditions, principal, wanted);
        let asks = matches!(way, Way::Database);
        let view = View {
            key: key.clone(),
            permit: permit.clone(),
            principal: Arc::clone(principal),
            way,
            known,
            masked: masked.clone(),
            groups: HashSet::new(),
        };
        let id = self.views.insert(view);
        if asks {
            self.asking.entry(key.collection).or_default().push(id);
        }
        self.views_by_key.insert(key, id);
        id
    }

    fn way(&mut self, conditions: &[&Condition], principal: &Principal, wanted: &mut Vec<Wanted>) -> Way {
        let mut memberships: Vec<Membership> = Vec::new();
        for condition in conditions {
            let Some(found) = condition.memberships(principal) else { return Way::Database };
            memberships.extend(found);
        }
        if memberships.is_empty() {
            return Way::Record;
        }
        let collections = &self.catalog.collections;
        if !memberships.iter().all(|membership| Sets::can_keep(collections, membership)) {
            return Way::Database;
        }
        let mut members = Vec::new();
        for membership in &memberships {
            if let Some((member, new)) = self.sets.want(membership) {
                if new {
                    wanted.push(Wanted { family: member.family, whose: member.whose.clone() });
                }
                members.push(member);
            }
        }
        Way::Members(members)
    }

    /// By what a group is found.
    fn index_of(&self, key: &GroupKey) -> Vec<Indexed> {
        let values = |field: FieldId, values: &[crate::model::Value]| {
            values
                .iter()
                .filter(|value| !value.is_null())
                .map(|value| Known::of(value).map(|known| Indexed::Value(field, known)))
                .collect::<Option<Vec<Indexed>>>()
        };
        let asked = key.filter.iter().flat_map(|filter| filter.equalities());
        let by_filter = asked.filter_map(|(field, list)| values(field, &list)).min_by_key(Vec::len);
        let by_rights = || {
            let view = self.views.get(key.view)?;
            let keys = view.permit.when()?.keys(&view.principal)?;
            keys.iter()
                .map(|key| match key {
                    Key::Equals(field, value) => Known::of(value).map(|known| Indexed::Value(*field, known)),
                    Key::Member(membership) => {
                        let Way::Members(members) = &view.way else { return None };
                        let known = Known::of(&membership.value)?;
                        let member = members.iter().find(|member| {
                            member.whose == known
                                && member.base == membership.link.map(|(_, ours)| ours)
                                && self.sets.shape(member.family).is_some_and(|shape| {
                                    shape.collection == membership.collection
                                        && shape.field == membership.field
                                        && shape.link == membership.link.map(|(theirs, _)| theirs)
                                        && shape.fields == membership.fields
                                })
                        });
                        member.cloned().map(Indexed::Member)
                    }
                })
                .collect::<Option<Vec<Indexed>>>()
        };
        let mut index = by_filter.or_else(by_rights).unwrap_or_else(|| vec![Indexed::Rest]);
        let mut seen = Vec::new();
        index.retain(|indexed| {
            !seen.contains(indexed) && {
                seen.push(indexed.clone());
                true
            }
        });
        index
    }

    fn fields_needed(&self, key: &GroupKey) -> FieldSet {
        let mut fields = key.filter.as_ref().map_or(FieldSet::EMPTY, |filter| filter.fields());
        if let Some(view) = self.views.get(key.view) {
            fields = view.conditions().fold(fields, |fields, condition| fields.union(condition.fields()));
            if let Way::Members(members) = &view.way {
                members.iter().filter_map(|member| member.base).for_each(|base| fields.insert(base));
            }
        }
        fields
    }

    fn enter(&mut self, (worker, channel): Place, sub: Sub) {
        let Some(group) = self.groups.get_mut(sub.group) else { return };
        let unit = group.units.entry(sub.id).or_default();
        if unit.workers.len() <= worker {
            unit.workers.resize_with(worker + 1, Default::default);
        }
        let (keys, ready) = &mut unit.workers[worker];
        if !keys.contains(&channel) {
            keys.push(channel);
            *ready = None;
        }
    }

    fn drop_subs(&mut self, place: Place, subs: &[Sub], told: bool) {
        self.drop_subs_of(place, subs, told, &[]);
    }

    /// The opposite of [`Audience::enter`].
    fn part(&mut self, (worker, channel): Place, sub: Sub) {
        let Some(group) = self.groups.get_mut(sub.group) else { return };
        let Some(unit) = group.units.get_mut(&sub.id) else { return };
        if let Some((keys, ready)) = unit.workers.get_mut(worker)
            && let Some(at) = keys.iter().position(|key| *key == channel)
        {
            keys.swap_remove(at);
            *ready = None;
        }
        if unit.workers.iter().all(|(keys, _)| keys.is_empty()) {
            group.units.remove(&sub.id);
        }
    }

    /// Lets subscriptions go; those that are also in `kept` stay entered, and lose only one use.
    fn drop_subs_of(&mut self, place: Place, subs: &[Sub], told: bool, kept: &[Sub]) {
        for sub in subs {
            if told && !kept.contains(sub) {
                self.part(place, *sub);
            }
            let Some(group) = self.groups.get_mut(sub.group) else { continue };
            group.uses -= 1;
            if group.uses == 0 {
                self.drop_group(sub.group);
            }
        }
    }

    fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(id) else { return };
        self.groups_by_key.remove(&group.key);
        if let Some(listening) = self.listening.get_mut(&group.collection) {
            listening.groups -= 1;
            for indexed in &group.index {
                match indexed {
                    Indexed::Value(field, known) => {
                        if let Some(by_value) = listening.by_value.get_mut(field) {
                            leave(by_value, known, id);
                            if by_value.is_empty() {
                                listening.by_value.remove(field);
                            }
                        }
                    }
                    Indexed::Member(Member { family, base: Some(base), whose }) => {
                        for (known, by, groups) in &mut listening.by_member {
                            if (*known, *by) == (*family, *base) {
                                leave(groups, whose, id);
                            }
                        }
                        listening.by_member.retain(|(_, _, groups)| !groups.is_empty());
                    }
                    Indexed::Member(Member { base: None, .. }) | Indexed::Rest => {
                        listening.rest.retain(|group| *group != id);
                    }
                }
            }
            if listening.groups == 0 {
                self.listening.remove(&group.collection);
            }
        }
        let Some(view) = self.views.get_mut(group.key.view) else { return };
        view.groups.remove(&id);
        if view.groups.is_empty()
            && let Some(view) = self.views.remove(group.key.view)
        {
            self.views_by_key.remove(&view.key);
            if let Some(asking) = self.asking.get_mut(&view.key.collection) {
                asking.retain(|id| *id != group.key.view);
                if asking.is_empty() {
                    self.asking.remove(&view.key.collection);
                }
            }
            if let Way::Members(members) = &view.way {
                for member in members {
                    self.sets.release(member);
                }
            }
        }
    }

    /// Nobody listens, and nothing is kept for anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
            && self.views.iter().next().is_none()
            && self.groups.iter().next().is_none()
            && self.views_by_key.is_empty()
            && self.groups_by_key.is_empty()
            && self.listening.is_empty()
            && self.sets.is_empty()
            && self.asking.is_empty()
    }

    // --- matching

    /// Somebody listens to this collection.
    pub(super) fn listens(&self, collection: CollectionId) -> bool {
        self.listening.contains_key(&collection)
    }

    /// The views of a collection that only the database can decide.
    pub(super) fn asking(&self, collection: CollectionId) -> &[ViewId] {
        self.asking.get(&collection).map_or(&[], Vec::as_slice)
    }

    pub(super) fn view_of(&self, id: ViewId) -> Option<&View> {
        self.views.get(id)
    }

    pub(super) fn group_of(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// Every group that sees this side of a change, with the fields that are masked for it.
    pub(super) fn seeing(&self, side: &Side<'_>) -> Vec<(GroupId, FieldSet)> {
        let Some(listening) = self.listening.get(&side.mapping.collection) else { return Vec::new() };
        let record = side.mapping.record(side.row, &listening.needed);
        let mut candidates: Vec<GroupId> = listening.rest.clone();
        for (field, by_value) in &listening.by_value {
            if let Some(known) = Known::of(record.get(*field)) {
                candidates.extend(by_value.get(&known).into_iter().flatten());
            }
        }
        for (family, base, groups) in &listening.by_member {
            if let Some(link) = Known::of(record.get(*base)) {
                for whose in self.sets.linked(*family, &link) {
                    candidates.extend(groups.get(whose).into_iter().flatten());
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let mut judged: Vec<(ViewId, Option<FieldSet>)> = Vec::new();
        let mut seeing = Vec::new();
        for id in candidates {
            let Some(group) = self.groups.get(id).filter(|group| !group.units.is_empty()) else { continue };
            let view = group.key.view;
            let verdict = match judged.iter().find(|(known, _)| *known == view) {
                Some((_, verdict)) => *verdict,
                None => {
                    let verdict = self.judge(view, side, &record);
                    // Views of many callers are met once each: a long list would cost more than it saves.
                    if judged.len() < 8 {
                        judged.push((view, verdict));
                    }
                    verdict
                }
            };
            if let Some(hidden) = verdict
                && passes(&group.key, &record, &hidden)
            {
                seeing.push((id, hidden));
            }
        }
        seeing
    }

    /// Whether one group sees this side of a change, and which fields are masked for it.
    pub(super) fn sees(&self, group: GroupId, side: &Side<'_>) -> Option<FieldSet> {
        let group = self.groups.get(group).filter(|group| group.collection == side.mapping.collection)?;
        let record = side.mapping.record(side.row, &self.fields_needed(&group.key));
        let hidden = self.judge(group.key.view, side, &record)?;
        passes(&group.key, &record, &hidden).then_some(hidden)
    }

    /// `None`: the view's callers do not see the row. Else the fields that are masked in it.
    fn judge(&self, view: ViewId, side: &Side<'_>, record: &Record) -> Option<FieldSet> {
        let id = view;
        let view = self.views.get(id)?;
        let rows = match &view.way {
            Way::Record => Rows::default(),
            Way::Members(members) => self.sets.rows(members, record),
            // What could not be asked is not shown.
            Way::Database => return side.told.get(&(id, side.at, side.old)).copied().flatten(),
        };
        let env = Env {
            collections: &self.catalog.collections,
            record,
            old: None,
            principal: &view.principal,
            now: side.now,
            captures: &[],
            rows: &rows,
        };
        if view.permit.when().is_some_and(|when| when.evaluate(&env) != Some(true)) {
            return None;
        }
        let hides =
            |field: &FieldId| view.permit.mask(*field).is_some_and(|mask| mask.evaluate(&env) != Some(true));
        Some(view.masked.iter().copied().filter(hides).collect())
    }

    /// A group's listeners: for each binding id and worker, the channels.
    pub(super) fn told(&mut self, group: GroupId, tell: &mut dyn FnMut(u32, WorkerId, &Listeners)) {
        let Some(group) = self.groups.get_mut(group) else { return };
        for (id, unit) in &mut group.units {
            for (worker, (keys, ready)) in unit.workers.iter_mut().enumerate() {
                if !keys.is_empty() {
                    let ready = ready.get_or_insert_with(|| Arc::from(keys.as_slice()));
                    tell(*id, worker, ready);
                }
            }
        }
    }

    /// The channels that listen to a collection.
    pub(super) fn listeners(&self, collection: CollectionId) -> Vec<Place> {
        self.places_of(
            self.groups.iter().filter(|(_, group)| group.collection == collection).map(|(_, group)| group),
        )
    }

    /// The channels that see through these memberships.
    pub(super) fn members(&self, touched: &HashSet<(FamilyId, Known)>) -> Vec<Place> {
        let through = |view: &View| match &view.way {
            Way::Members(members) => {
                members.iter().any(|member| touched.contains(&(member.family, member.whose.clone())))
            }
            Way::Record | Way::Database => false,
        };
        self.places_where(through)
    }

    /// The channels whose rights the database decides by rows of a collection: by these fields of them, or, where
    /// `changed` is none, by there being one.
    pub(super) fn looking_at(&self, collection: CollectionId, changed: Option<&FieldSet>) -> Vec<Place> {
        if self.asking.is_empty() {
            return Vec::new();
        }
        self.places_where(|view| matches!(view.way, Way::Database) && view.looks_at(collection, changed))
    }

    /// The channels that see through rows of a collection.
    pub(super) fn seeing_through(&self, collection: CollectionId) -> Vec<Place> {
        self.places_where(|view| self.through_of(view).contains(&collection))
    }

    /// A collection decides for somebody through the database.
    pub(super) fn is_looked_at(&self, collection: CollectionId) -> bool {
        let views = self.asking.values().flatten().filter_map(|id| self.views.get(*id));
        views.flat_map(View::conditions).any(|condition| condition.reads().contains(&collection))
    }

    fn places_where(&self, holds: impl Fn(&View) -> bool) -> Vec<Place> {
        let views = self.views.iter().filter(|(_, view)| holds(view));
        let groups = views.flat_map(|(_, view)| &view.groups);
        self.places_of(groups.filter_map(|id| self.groups.get(*id)))
    }

    fn places_of<'g>(&self, groups: impl Iterator<Item = &'g Group>) -> Vec<Place> {
        let mut places: Vec<Place> = groups
            .flat_map(|group| group.units.values())
            .flat_map(|unit| unit.workers.iter().enumerate())
            .flat_map(|(worker, (keys, _))| keys.iter().map(move |key| (worker, *key)))
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// What decides what a subscription is told.
#[derive(PartialEq)]
struct Terms {
    id: u32,
    collection: Collection,
    rules: Vec<Arc<Rule>>,
    bypass: Option<&'static str>,
    shown: FieldSet,
}

/// What a binding asks for, besides the rights.
struct Asked {
    filter: Option<Arc<Filter>>,
    operation: Option<Operation>,
    select: Option<FieldSet>,
}

impl Asked {
    fn all(operation: Option<Operation>) -> Asked {
        Asked { filter: None, operation, select: None }
    }
}

fn passes(key: &GroupKey, record: &Record, hidden: &FieldSet) -> bool {
    key.filter.as_ref().is_none_or(|filter| filter.holds(record, |field| hidden.contains(field)))
}

fn leave(groups: &mut HashMap<Known, Vec<GroupId>>, known: &Known, id: GroupId) {
    if let Some(list) = groups.get_mut(known) {
        list.retain(|group| *group != id);
        if list.is_empty() {
            groups.remove(known);
        }
    }
}

/// What these conditions ask of a caller, with his answers: whoever has the same is judged alike.
fn fingerprint(conditions: &[&Condition], principal: &Principal) -> String {
    let mut asked: Vec<Attribute> = Vec::new();
    for attribute in conditions.iter().flat_map(|condition| condition.attributes()) {
        if !asked.contains(&attribute) {
            asked.push(attribute);
        }
    }
    let answer = |attribute: &Attribute| match attribute {
        Attribute::Id => format!("{:?}", principal.id),
        Attribute::Role => format!("{:?}", principal.role),
        Attribute::Roles => format!("{:?}", principal.roles),
        Attribute::Email => format!("{:?}", principal.email),
        Attribute::IsAnonymous => format!("{:?}", principal.is_anonymous),
        Attribute::Aal => format!("{:?}", principal.aal),
        Attribute::Claim(path) => {
            let found = path.split_first().and_then(|(first, rest)| {
                rest.iter().try_fold(principal.claims.get(first)?, |json, step| json.as_object()?.get(step))
            });
            format!("{path:?}={found:?}")
        }
    };
    asked.iter().map(answer).collect::<Vec<_>>().join("\u{1}")
}
