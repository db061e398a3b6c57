//! From a transaction to events: what each group sees of each change, live and again.
//!
//! *Before* is the state before the transaction, *after* the state after the whole of it: where a transaction also
//! changes memberships, all its old rows are judged before those are followed, and all its new rows after.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::audience::{GroupId, Place, Side, Told};
use super::change::{Change, Row, What};
use super::cursor::Cursor;
use super::event::{Frame, Seen, look_alike};
use super::feed::WorkerId;
use super::line::{ChannelKey, Delivery, Event, Operation};
use super::related::{self, Ask};
use super::rows::{Known, Mapping};
use super::sets::FamilyId;
use super::stream::{Stream, changed_fields};
use super::system::SystemChange;
use super::transaction::Transaction;
use super::visibility::Held;
use crate::model::{CollectionId, FieldSet};

/// Changes that are judged together.
const CHUNK: usize = 512;
/// What one page of a catch-up holds and looks at, at most.
const PAGE_EVENTS: usize = 128;
const PAGE_BYTES: usize = 128 << 10;
const PAGE_CHANGES: usize = 20_000;
/// How often a question to the database is asked before those who wait for its answer are told to begin anew.
const ATTEMPTS: u32 = 5;
/// Transactions among which those are looked for that the log has told of and queries do not see yet: each is one that a
/// connection still waits for.
const UNSEEN_AMONG: usize = 16_384;

/// One change with its place in the transaction, counted from 1, and how its columns are read.
struct Numbered {
    at: usize,
    change: Change,
    mapping: Arc<Mapping>,
}

/// Who sees a side of a change, and what is masked for them.
type Seeing = Vec<(GroupId, FieldSet)>;

/// The same event for several groups is written once.
#[derive(Default)]
struct Written(Vec<(Look, Bytes)>);

/// What makes two events of a change the same: the operation, the fields, and what is masked in the old and in the new row.
type Look = (Operation, FieldSet, Option<FieldSet>, Option<FieldSet>);

impl Stream {
    /// Tells everybody what they see of a transaction.
    pub(super) async fn deliver(&mut self, transaction: &Transaction) {
        let mut interesting = false;
        let mut two_passes = false;
        let mut looked_at: HashSet<CollectionId> = HashSet::new();
        if transaction.changes.relations().iter().any(|relation| relation.schema == "auth") {
            self.observe_system(transaction).await;
        }
        for relation in transaction.changes.relations() {
            let Some(mapping) = self.audience.mapping(relation) else { continue };
            interesting |= self.audience.listens(mapping.collection);
            two_passes |= self.audience.sets.follow(mapping.collection);
            if self.audience.is_looked_at(mapping.collection) {
                looked_at.insert(mapping.collection);
            }
        }
        if transaction.changes.is_lost() {
            self.lose(transaction).await;
            return;
        }
        let told = if interesting || two_passes {
            self.deliver_changes(transaction, two_passes).await
        } else {
            Ok(())
        };
        if let Err(error) = told.and_then(|()| self.note_related(transaction, &looked_at)) {
            tracing::error!(%error, "a large transaction cannot be read back");
            self.lose(transaction).await;
            return;
        }
        let mut places = std::mem::take(&mut self.access);
        if !places.is_empty() {
            places.sort_unstable();
            places.dedup();
            let cursor = self.cursor().after(transaction.lsn);
            self.access_changed(places, cursor).await;
        }
    }

    async fn observe_system(&mut self, transaction: &Transaction) {
        let mut changes = Vec::new();
        for change in transaction.changes.iter() {
            match change {
                Ok(change) => changes.extend(SystemChange::of(&change, transaction.xid)),
                Err(_) => changes.push(SystemChange::Lost),
            }
        }
        changes.dedup();
        for change in changes {
            self.observe(change).await;
        }
    }

    /// A transaction that cannot be told row by row.
    async fn lose(&mut self, transaction: &Transaction) {
        let (mut places, mut sets) = (Vec::new(), false);
        for relation in transaction.changes.relations() {
            self.ring.lost(&relation.schema, &relation.table, transaction.lsn);
            if let Some(mapping) = self.audience.mapping(relation) {
                places.extend(self.audience.listeners(mapping.collection));
                places.extend(self.audience.seeing_through(mapping.collection));
                sets |= self.audience.sets.follow(mapping.collection);
            }
        }
        if sets {
            self.forget_sets().await;
        }
        self.observe(SystemChange::Lost).await;
        self.resync(places, "transaction_too_large").await;
    }

    fn numbered(&mut self, at: usize, change: Change) -> Option<Numbered> {
        let mapping = self.audience.mapping(&change.relation)?;
        Some(Numbered { at: at + 1, change, mapping })
    }

    async fn deliver_changes(&mut self, transaction: &Transaction, two_passes: bool) -> io::Result<()> {
        let mut before: HashMap<usize, Seeing> = HashMap::new();
        if two_passes {
            let mut changes = transaction.changes.iter().enumerate();
            while let Some(chunk) = self.chunk(&mut changes)? {
                let told = self.ask(&chunk, transaction.xid, true, false).await;
                for numbered in &chunk {
                    if let (Some(old), _) = numbered.change.rows() {
                        let seeing = self.audience.seeing(&side(numbered, old, true, transaction, &told));
                        if !seeing.is_empty() {
                            before.insert(numbered.at, seeing);
                        }
                    }
                }
            }
            self.follow(transaction)?;
        }
        let mut changes = transaction.changes.iter().enumerate();
        while let Some(chunk) = self.chunk(&mut changes)? {
            let told = self.ask(&chunk, transaction.xid, !two_passes, true).await;
            for numbered in &chunk {
                if numbered.change.what == What::Truncate {
                    let places = self.audience.listeners(numbered.mapping.collection);
                    self.resync(places, "truncated").await;
                    continue;
                }
                if numbered.change.is_torn() {
                    // The table's old rows are not whole: what was seen of this one is not known.
                    let places = self.audience.listeners(numbered.mapping.collection);
                    self.resync(places, "old_row_missing").await;
                    continue;
                }
                let (old, new) = numbered.change.rows();
                let olds = match (old, two_passes) {
                    (None, _) => Vec::new(),
                    (Some(_), true) => before.remove(&numbered.at).unwrap_or_default(),
                    (Some(old), false) => {
                        self.audience.seeing(&side(numbered, old, true, transaction, &told))
                    }
                };
                let news = match new {
                    None => Vec::new(),
                    Some(new) => self.audience.seeing(&side(numbered, new, false, transaction, &told)),
                };
                self.tell_change(transaction, numbered, &olds, &news).await;
            }
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        changes: &mut impl Iterator<Item = (usize, io::Result<Change>)>,
    ) -> io::Result<Option<Vec<Numbered>>> {
        let mut chunk = Vec::new();
        for (at, change) in changes {
            if let Some(numbered) = self.numbered(at, change?) {
                chunk.push(numbered);
            }
            if chunk.len() == CHUNK {
                break;
            }
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Asks the database for what memory cannot decide.
    async fn ask(&mut self, chunk: &[Numbered], xid: u32, old: bool, new: bool) -> Told {
        let mut asks = Vec::new();
        for numbered in chunk {
            let collection = numbered.mapping.collection;
            let views = self.audience.asking(collection);
            if views.is_empty() {
                continue;
            }
            let (olds, news) = numbered.change.rows();
            let rows = [(olds.filter(|_| old), true), (news.filter(|_| new), false)];
            for (row, old) in rows.into_iter().filter_map(|(row, old)| Some((row?, old))) {
                asks.extend(views.iter().map(|view| Ask {
                    view: *view,
                    at: numbered.at,
                    old,
                    mapping: &numbered.mapping,
                    row,
                }));
            }
        }
        let mut told = Told::new();
        if asks.is_empty() {
            return told;
        }
        for attempt in 1..=ATTEMPTS {
            match related::ask(&self.pool, &self.audience, &asks, Some(xid), &mut told).await {
                Ok(()) => return told,
                Err(error) if attempt == ATTEMPTS => {
                    tracing::warn!(%error, "the database did not say who may see a change");
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await,
            }
        }
        let collections: HashSet<CollectionId> = asks.iter().map(|ask| ask.mapping.collection).collect();
        let places = collections.into_iter().flat_map(|id| self.audience.listeners(id)).collect();
        self.resync(places, "not_judged").await;
        told
    }

    /// Follows what a transaction changes of memberships.
    fn follow(&mut self, transaction: &Transaction) -> io::Result<()> {
        let catalog = Arc::clone(self.audience.catalog());
        let mut touched: HashSet<(FamilyId, Known)> = HashSet::new();
        for change in transaction.changes.iter() {
            let change = change?;
            let Some(mapping) = self.audience.mapping(&change.relation) else { continue };
            if !self.audience.sets.follow(mapping.collection) {
                continue;
            }
            if change.what == What::Truncate {
                touched.extend(self.audience.sets.truncate(mapping.collection));
                continue;
            }
            let (old, new) = change.rows();
            // What was read with this transaction in it has it already.
            let loaded = std::mem::take(&mut self.loaded);
            let holds = |family: FamilyId, whose: &Known| {
                loaded
                    .get(&(family, whose.clone()))
                    .is_some_and(|loaded| loaded.snapshot.sees(transaction.xid))
            };
            let found = self.audience.sets.follow_change(&catalog.collections, &mapping, old, new, holds);
            self.loaded = loaded;
            touched.extend(found);
        }
        if !touched.is_empty() {
            let places = self.audience.members(&touched);
            self.access.extend(places);
        }
        Ok(())
    }

    /// Does for rows that were just read what their query did not see.
    pub(super) fn follow_again(
        &mut self,
        transaction: &Transaction,
        family: FamilyId,
        whose: &HashSet<Known>,
    ) {
        let catalog = Arc::clone(self.audience.catalog());
        let Some(shape) = self.audience.sets.shape(family) else { return };
        let collection = shape.collection;
        for change in transaction.changes.iter().map_while(Result::ok) {
            let Some(mapping) = self.audience.mapping(&change.relation) else { continue };
            if mapping.collection != collection {
                continue;
            }
            let (old, new) = change.rows();
            let others = |id: FamilyId, known: &Known| id != family || !whose.contains(known);
            self.audience.sets.follow_change(&catalog.collections, &mapping, old, new, others);
        }
    }

    /// Notes whom changes of related rows may concern, where only the database knows.
    fn note_related(
        &mut self,
        transaction: &Transaction,
        looked_at: &HashSet<CollectionId>,
    ) -> io::Result<()> {
        if looked_at.is_empty() {
            return Ok(());
        }
        let catalog = Arc::clone(self.audience.catalog());
        let mut changed: HashMap<CollectionId, FieldSet> = HashMap::new();
        let mut moved: HashSet<CollectionId> = HashSet::new();
        for change in transaction.changes.iter() {
            let change = change?;
            let Some(mapping) = self.audience.mapping(&change.relation) else { continue };
            if !looked_at.contains(&mapping.collection) {
                continue;
            }
            match change.rows() {
                (Some(old), Some(new)) => {
                    let collection = catalog.collection(mapping.collection);
                    let fields = changed_fields(&mapping, collection, old, new);
                    let all = changed.entry(mapping.collection).or_default();
                    *all = all.union(fields);
                }
                _ => {
                    moved.insert(mapping.collection);
                }
            }
        }
        for (collection, fields) in changed {
            let places = self.audience.looking_at(collection, Some(&fields));
            self.access.extend(places);
        }
        for collection in moved {
            let places = self.audience.looking_at(collection, None);
            self.access.extend(places);
        }
        Ok(())
    }

    async fn tell_change(
        &mut self,
        transaction: &Transaction,
        numbered: &Numbered,
        olds: &Seeing,
        news: &Seeing,
    ) {
        let mut written = Written::default();
        let mut deliveries: Vec<(WorkerId, Arc<[ChannelKey]>, Event)> = Vec::new();
        for (group, old, new) in paired(olds, news) {
            let Some((data, cursor)) = self.write(transaction, numbered, group, old, new, &mut written)
            else {
                continue;
            };
            self.audience.told(group, &mut |id, worker, to| {
                let event = Event { id, cursor, data: data.clone() };
                deliveries.push((worker, Arc::clone(to), event));
            });
        }
        for (worker, to, event) in deliveries {
            self.tell(worker, Delivery::Event { to, event }).await;
        }
    }

    /// What a group is told of a change; `None` for nothing.
    fn write(
        &self,
        transaction: &Transaction,
        numbered: &Numbered,
        group: GroupId,
        old_hidden: Option<&FieldSet>,
        new_hidden: Option<&FieldSet>,
        written: &mut Written,
    ) -> Option<(Bytes, Cursor)> {
        let key = self.audience.group_of(group)?.key();
        let view = self.audience.view_of(key.view)?;
        let (old_row, new_row) = numbered.change.rows();
        let sees_old = old_row.is_some() && old_hidden.is_some();
        let sees_new = new_row.is_some() && new_hidden.is_some();
        let operation = match (sees_old, sees_new) {
            (false, true) => Operation::Insert,
            (true, true) => Operation::Update,
            (true, false) => Operation::Delete,
            (false, false) => return None,
        };
        let old = old_row.zip(old_hidden).map(|(row, hidden)| Seen { row, hidden });
        let new = new_row.zip(new_hidden).map(|(row, hidden)| Seen { row, hidden });
        if let (Some(old), Some(new)) = (old, new)
            && look_alike(&numbered.mapping, &view.known, old, new)
        {
            return None;
        }
        if key.operation.is_some_and(|asked| asked != operation) {
            return None;
        }
        let cursor = self.cursor_at(transaction, numbered.at);
        let same = (operation, key.shown, old_hidden.copied(), new_hidden.copied());
        if let Some((_, data)) = written.0.iter().find(|(known, _)| *known == same) {
            return Some((data.clone(), cursor));
        }
        let frame = Frame {
            collection: self.audience.catalog().collection(numbered.mapping.collection),
            mapping: &numbered.mapping,
            operation,
            committed: transaction.committed,
            cursor,
            shown: &key.shown,
            old,
            new,
        };
        match frame.data() {
            Ok(data) => {
                written.0.push((same, data.clone()));
                Some((data, cursor))
            }
            Err(error) => {
                tracing::error!(%error, "a change holds bytes that are not of their kind");
                None
            }
        }
    }

    // --- again

    /// Answers a catch-up with a page of what a channel sees of the changes behind `from`. All is judged with the rights
    /// of now; a channel that comes back is told once where those changed while it was away, behind the changes that
    /// came before and in front of all that came after: whoever is cut off between them is told when he comes back.
    pub(super) async fn page(&mut self, place: Place, from: Cursor, skip: Option<&Held>) {
        let (worker, channel) = place;
        if self.audience.is_suspended(place) {
            // It asks again once it is judged.
            return;
        }
        let lost = if from.system != self.system {
            Some("other_database")
        } else if skip.is_some_and(|held| from.lsn == held.joined.lsn && self.is_early(held)) {
            Some("snapshot_early")
        } else {
            self.missed(place, from.lsn)
        };
        if let Some(reason) = lost {
            self.resync(vec![place], reason).await;
            return;
        }
        let mut away = self.returning.get(&place).copied();
        let rules = self.audience.catalog().digest;
        if away.is_some() && from.rules != rules {
            away = None;
            self.access_changed(vec![place], Cursor { rules, ..from }).await;
        }
        let from = Cursor { rules, ..from };
        let through = if away.is_some() { self.audience.through(place) } else { HashSet::new() };
        let mut turned = false;
        let subs = self.audience.subs(place).to_vec();
        let mut events = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        let mut next = from;
        let mut full = false;
        'transactions: while let Some(transaction) = self.next_of(next) {
            let transaction = &*transaction;
            if !skip.is_some_and(|held| held.visibility.sees(transaction.xid)) {
                // What was told already is passed over unread.
                let told = if transaction.lsn == next.lsn { next.index as usize } else { 0 };
                let mut changes = transaction.changes.iter().enumerate().skip(told);
                loop {
                    let chunk = match self.chunk(&mut changes) {
                        Ok(Some(chunk)) => chunk,
                        Ok(None) => break,
                        Err(error) => {
                            tracing::error!(%error, "a large transaction cannot be read back");
                            self.resync(vec![place], "transaction_too_large").await;
                            return;
                        }
                    };
                    let chunk: Vec<Numbered> = chunk
                        .into_iter()
                        .filter(|numbered| {
                            self.cursor_at(transaction, numbered.at) > from
                                && self.concerns(&subs, numbered.mapping.collection)
                        })
                        .collect();
                    let told = self.ask(&chunk, transaction.xid, true, true).await;
                    for numbered in &chunk {
                        if numbered.change.what == What::Truncate || numbered.change.is_torn() {
                            self.resync(vec![place], "truncated").await;
                            return;
                        }
                        let (old, new) = numbered.change.rows();
                        let mut written = Written::default();
                        for sub in &subs {
                            let judge = |row: &Row, old: bool| {
                                self.audience.sees(sub.group, &side(numbered, row, old, transaction, &told))
                            };
                            let old = old.and_then(|row| judge(row, true));
                            let new = new.and_then(|row| judge(row, false));
                            let event = self.write(
                                transaction,
                                numbered,
                                sub.group,
                                old.as_ref(),
                                new.as_ref(),
                                &mut written,
                            );
                            if let Some((data, cursor)) = event {
                                bytes += data.len();
                                events.push(Event { id: sub.id, cursor, data });
                            }
                        }
                        looked_at += 1;
                        next = self.cursor_at(transaction, numbered.at);
                        if events.len() >= PAGE_EVENTS || bytes >= PAGE_BYTES || looked_at >= PAGE_CHANGES {
                            full = true;
                            break 'transactions;
                        }
                    }
                }
            }
            next = from.after(transaction.lsn);
            if away.is_some_and(|until| transaction.lsn <= until) && self.turns(place, &through, transaction)
            {
                (turned, full) = (true, true);
                break;
            }
            // Transactions that say nothing to the channel are looked at, too.
            looked_at += 1;
            if looked_at >= PAGE_CHANGES {
                full = true;
                break;
            }
        }
        if !full {
            next = self.cursor().max(from);
        }
        if turned || away.is_none_or(|until| next.lsn >= until) {
            self.returning.remove(&place);
        }
        // Whoever is live from now on has passed over the last word on the position.
        self.told_position.0 = 0;
        self.tell(worker, Delivery::Page { channel, events, next, live: !full }).await;
        if turned {
            self.access_changed(vec![place], next).await;
        }
    }

    /// Whether a snapshot was read before it could see all that was told of when its channel joined: neither it nor the
    /// changes behind it have that then. Postgres shows a commit a moment after it is in the log; where a standby is waited
    /// for, that is a long one.
    fn is_early(&self, held: &Held) -> bool {
        let mut before = self.ring.before(held.joined.lsn).take(UNSEEN_AMONG);
        before.any(|transaction| !held.visibility.sees(transaction.xid))
    }

    /// Whether a transaction changed what a channel sees through, which is rows of these collections and what its caller
    /// may be.
    fn turns(&mut self, place: Place, through: &HashSet<CollectionId>, transaction: &Transaction) -> bool {
        let touches = transaction.changes.relations().iter().any(|relation| {
            relation.schema == "auth"
                || self
                    .audience
                    .mapping(relation)
                    .is_some_and(|mapping| through.contains(&mapping.collection))
        });
        touches
            && transaction.changes.iter().any(|change| {
                // What cannot be read back may have been anything.
                let Ok(change) = change else { return true };
                match SystemChange::of(&change, transaction.xid) {
                    Some(SystemChange::RoleChanged { user, .. }) => self.audience.is_of(place, Some(user)),
                    Some(SystemChange::Lost) => self.audience.is_of(place, None),
                    Some(SystemChange::SessionEnded { .. } | SystemChange::KeyRevoked { .. }) | None => {
                        let mapping = self.audience.mapping(&change.relation);
                        // Of which rows it was may not be known either.
                        let unknown = change.what == What::Truncate || change.is_torn();
                        mapping.is_some_and(|mapping| {
                            through.contains(&mapping.collection)
                                && (unknown || self.audience.turns(place, &mapping, &change))
                        })
                    }
                }
            })
    }

    /// The first transaction of the window that has something after a place.
    fn next_of(&self, place: Cursor) -> Option<Arc<Transaction>> {
        let lsn = if place.index == u32::MAX { place.lsn.saturating_add(1) } else { place.lsn };
        self.ring.since(lsn).next().filter(|transaction| transaction.lsn <= self.position).cloned()
    }

    fn concerns(&self, subs: &[super::audience::Sub], collection: CollectionId) -> bool {
        subs.iter()
            .any(|sub| self.audience.group_of(sub.group).is_some_and(|group| group.collection == collection))
    }

    /// Why what a channel asks for is not here any more.
    fn missed(&self, place: Place, lsn: u64) -> Option<&'static str> {
        if lsn < self.ring.floor() {
            return Some("too_old");
        }
        let catalog = self.audience.catalog();
        let subs = self.audience.subs(place).iter();
        let own = subs.filter_map(|sub| Some(self.audience.group_of(sub.group)?.collection));
        let gone = own.chain(self.audience.through(place)).any(|id| {
            let collection = catalog.collection(id);
            lsn < self.ring.floor_of(collection.schema.as_str(), collection.name.as_str())
        });
        gone.then_some("changes_lost")
    }
}

fn side<'a>(
    numbered: &'a Numbered,
    row: &'a Row,
    old: bool,
    transaction: &Transaction,
    told: &'a Told,
) -> Side<'a> {
    Side { mapping: &numbered.mapping, row, at: numbered.at, old, now: transaction.committed, told }
}

/// The groups of either side, with what each hides; both are in order.
fn paired<'s>(
    olds: &'s Seeing,
    news: &'s Seeing,
) -> impl Iterator<Item = (GroupId, Option<&'s FieldSet>, Option<&'s FieldSet>)> {
    let (mut olds, mut news) = (olds.iter().peekable(), news.iter().peekable());
    std::iter::from_fn(move || {
        let next = match (olds.peek(), news.peek()) {
            (None, None) => return None,
            (Some((old, _)), None) => *old,
            (None, Some((new, _))) => *new,
            (Some((old, _)), Some((new, _))) => *old.min(new),
        };
        let old = olds.next_if(|(group, _)| *group == next).map(|(_, hidden)| hidden);
        let new = news.next_if(|(group, _)| *group == next).map(|(_, hidden)| hidden);
        Some((next, old, new))
    })
}
