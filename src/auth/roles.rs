//! [`Roles`]: the roles that the database grants to users, remembered for as long as the stream of changes says that they
//! are so.
//!
//! A change may be streamed before a query sees it, and a query may have looked before a change and be answered after.
//! So what was read is kept only if its snapshot saw every change that was streamed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::realtime::feed::Feed;
use crate::realtime::visibility::Visibility;

/// Users that are remembered. With one more, all are asked for anew.
const USERS: usize = 1 << 16;

/// The roles of users, by what this node knows.
pub struct Roles {
    feed: Feed,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    granted: HashMap<Uuid, Arc<[String]>>,
    /// Transactions that changed roles and that no query is known to have seen. What is streamed is seen a moment
    /// later, so the next answers empty it.
    unseen: Vec<u32>,
    /// Counts the times at which something was forgotten that a query under way may not have seen.
    forgotten: u64,
}

/// A query that is under way.
pub(super) struct Asking {
    forgotten: u64,
}

impl Roles {
    /// Knows nobody yet.
    pub fn new(feed: Feed) -> Roles {
        Roles { feed, state: RwLock::default() }
    }

    /// The roles of a user, if they are known and nothing about them may have been missed.
    pub(super) fn get(&self, user: Uuid) -> Option<Arc<[String]>> {
        if self.feed.is_current() { self.state.read().granted.get(&user).cloned() } else { None }
    }

    /// To be called before the database is asked; `None` if the answer cannot be kept.
    pub(super) fn ask(&self) -> Option<Asking> {
        // Of what happens while there is no stream nobody will tell.
        self.feed.is_current().then(|| self.state.read().ask())
    }

    /// Keeps the answer of a query, which saw these transactions.
    pub(super) fn keep(&self, asking: &Asking, user: Uuid, roles: &Arc<[String]>, seen: &Visibility) {
        self.state.write().keep(asking, user, roles, seen);
    }

    /// A transaction changed a user's roles.
    pub fn changed(&self, user: Uuid, xid: u32) {
        self.state.write().change(user, xid);
    }

    /// Forgets everything: changes may have been missed.
    pub fn forget(&self) {
        self.state.write().forget();
    }
}

impl State {
    fn ask(&self) -> Asking {
        Asking { forgotten: self.forgotten }
    }

    fn keep(&mut self, asking: &Asking, user: Uuid, roles: &Arc<[String]>, seen: &Visibility) {
        if asking.forgotten != self.forgotten {
            return;
        }
        let before = self.unseen.len();
        // What this query saw, every later one sees. An earlier one that is still under way may not have.
        self.unseen.retain(|xid| !seen.sees(*xid));
        self.forgotten += u64::from(self.unseen.len() < before);
        if !self.unseen.is_empty() {
            return;
        }
        if self.granted.len() >= USERS {
            self.granted.clear();
        }
        self.granted.insert(user, Arc::clone(roles));
    }

    fn change(&mut self, user: Uuid, xid: u32) {
        self.granted.remove(&user);
        if self.unseen.last() != Some(&xid) {
            self.unseen.push(xid);
        }
    }

    fn forget(&mut self) {
        self.granted.clear();
        self.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);

    fn roles(role: &str) -> Arc<[String]> {
        Arc::from(vec![role.to_owned()])
    }

    fn snapshot(text: &str) -> Visibility {
        Visibility::parse(text).unwrap()
    }

    fn known(state: &State, user: Uuid) -> Option<String> {
        state.granted.get(&user).map(|roles| roles.join(","))
    }

    #[test]
    fn what_a_query_read_is_kept_until_it_changes() {
        let mut state = State::default();
        let asking = state.ask();
        state.keep(&asking, ADA, &roles("editor"), &snapshot("10:10:"));
        state.keep(&asking, BOB, &roles("admin"), &snapshot("10:10:"));
        assert_eq!(known(&state, ADA).as_deref(), Some("editor"));
        state.change(ADA, 11);
        assert_eq!((known(&state, ADA), known(&state, BOB).as_deref()), (None, Some("admin")));
    }

    #[test]
    fn a_query_that_did_not_see_the_last_change_is_not_kept() {
        let mut state = State::default();
        let asking = state.ask();
        state.change(ADA, 11);
        // It began before the change, or it began after and the change is streamed but not yet visible.
        for seen in ["10:10:", "11:12:11", "9:15:11"] {
            state.keep(&asking, ADA, &roles("old"), &snapshot(seen));
            assert_eq!(known(&state, ADA), None, "{seen}");
        }
        state.keep(&asking, ADA, &roles("new"), &snapshot("12:12:"));
        assert_eq!(known(&state, ADA).as_deref(), Some("new"));
    }

    #[test]
    fn an_older_query_that_is_answered_last_is_not_kept() {
        let mut state = State::default();
        let early = state.ask();
        state.change(ADA, 11);
        let late = state.ask();
        state.keep(&late, ADA, &roles("new"), &snapshot("12:12:"));
        // The change is forgotten by now, and so is the query that did not see it.
        state.keep(&early, ADA, &roles("old"), &snapshot("10:10:"));
        assert_eq!(known(&state, ADA).as_deref(), Some("new"));
    }

    #[test]
    fn nothing_outlives_a_gap_in_the_stream() {
        let mut state = State::default();
        let asking = state.ask();
        state.keep(&asking, ADA, &roles("editor"), &snapshot("10:10:"));
        state.forget();
        state.keep(&asking, BOB, &roles("admin"), &snapshot("10:10:"));
        assert_eq!((known(&state, ADA), known(&state, BOB)), (None, None));
    }

    #[test]
    fn without_a_stream_nothing_is_trusted() {
        let cache = Roles::new(Feed::new());
        assert!(cache.ask().is_none());
        let seen = snapshot("10:10:");
        cache.keep(&Asking { forgotten: 0 }, ADA, &roles("editor"), &seen);
        assert!(cache.get(ADA).is_none());
    }
}
