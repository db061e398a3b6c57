//! [`Standings`]: sessions that are known to last and the roles of who holds them, remembered for as long as the stream of
//! changes says that they are so.
//!
//! A change may be streamed before a query sees it, and a query may have looked before a change and be answered after.
//! So what was read is kept only if its snapshot saw every change that was streamed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::realtime::feed::Feed;
use crate::realtime::visibility::Visibility;

/// Sessions that are remembered. With one more, all are asked for anew.
const SESSIONS: usize = 1 << 16;

/// Sessions and roles, by what this node knows.
pub struct Standings {
    feed: Feed,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// By session: whose it is, and his roles.
    sessions: HashMap<Uuid, (Uuid, Arc<[String]>)>,
    /// The sessions of each user that are remembered.
    users: HashMap<Uuid, Vec<Uuid>>,
    /// Transactions that changed roles or sessions and that no query is known to have seen. What is streamed is seen a
    /// moment later, so the next answers empty it.
    unseen: Vec<u32>,
    /// Counts the times at which something was forgotten that a query under way may not have seen.
    forgotten: u64,
}

/// A query that is under way.
pub(super) struct Asking {
    forgotten: u64,
}

impl Standings {
    /// Knows nobody yet.
    pub fn new(feed: Feed) -> Standings {
        Standings { feed, state: RwLock::default() }
    }

    /// The roles of the user who holds a session, if both are known and nothing about them may have been missed.
    pub(super) fn get(&self, session: Uuid, user: Uuid) -> Option<Arc<[String]>> {
        if !self.feed.is_current() {
            return None;
        }
        let state = self.state.read();
        let (whose, roles) = state.sessions.get(&session)?;
        (*whose == user).then(|| Arc::clone(roles))
    }

    /// To be called before the database is asked; `None` if the answer cannot be kept.
    pub(super) fn ask(&self) -> Option<Asking> {
        // Of what happens while there is no stream nobody will tell.
        self.feed.is_current().then(|| self.state.read().ask())
    }

    /// Keeps the answer of a query, which saw these transactions: the session lasts, and its user has these roles.
    pub(super) fn keep(
        &self,
        asking: &Asking,
        session: Uuid,
        user: Uuid,
        roles: &Arc<[String]>,
        seen: &Visibility,
    ) {
        self.state.write().keep(asking, session, user, roles, seen);
    }

    /// A transaction changed a user's roles or rights to be here.
    pub fn changed(&self, user: Uuid, xid: u32) {
        self.state.write().change(user, xid);
    }

    /// A transaction ended a session.
    pub fn ended(&self, session: Uuid, xid: u32) {
        self.state.write().end(session, xid);
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

    fn keep(&mut self, asking: &Asking, session: Uuid, user: Uuid, roles: &Arc<[String]>, seen: &Visibility) {
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
        if self.sessions.len() >= SESSIONS {
            self.sessions.clear();
            self.users.clear();
        }
        if self.sessions.insert(session, (user, Arc::clone(roles))).is_none() {
            self.users.entry(user).or_default().push(session);
        }
    }

    fn change(&mut self, user: Uuid, xid: u32) {
        for session in self.users.remove(&user).unwrap_or_default() {
            self.sessions.remove(&session);
        }
        self.unseen_by_all(xid);
    }

    fn end(&mut self, session: Uuid, xid: u32) {
        if let Some((user, _)) = self.sessions.remove(&session)
            && let Some(sessions) = self.users.get_mut(&user)
        {
            sessions.retain(|known| *known != session);
            if sessions.is_empty() {
                self.users.remove(&user);
            }
        }
        self.unseen_by_all(xid);
    }

    fn unseen_by_all(&mut self, xid: u32) {
        if self.unseen.last() != Some(&xid) {
            self.unseen.push(xid);
        }
    }

    fn forget(&mut self) {
        self.sessions.clear();
        self.users.clear();
        self.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);
    /// Sessions: two of Ada's and one of Bob's.
    const A1: Uuid = Uuid::from_u128(11);
    const A2: Uuid = Uuid::from_u128(12);
    const B1: Uuid = Uuid::from_u128(21);

    fn roles(role: &str) -> Arc<[String]> {
        Arc::from(vec![role.to_owned()])
    }

    fn snapshot(text: &str) -> Visibility {
        Visibility::parse(text).unwrap()
    }

    fn known(state: &State, session: Uuid) -> Option<String> {
        state.sessions.get(&session).map(|(_, roles)| roles.join(","))
    }

    #[test]
    fn what_a_query_read_is_kept_until_it_changes() {
        let mut state = State::default();
        let asking = state.ask();
        for session in [A1, A2] {
            state.keep(&asking, session, ADA, &roles("editor"), &snapshot("10:10:"));
        }
        state.keep(&asking, B1, BOB, &roles("admin"), &snapshot("10:10:"));
        assert_eq!(known(&state, A1).as_deref(), Some("editor"));
        state.change(ADA, 11);
        assert_eq!((known(&state, A1), known(&state, A2)), (None, None));
        assert_eq!(known(&state, B1).as_deref(), Some("admin"));
    }

    #[test]
    fn a_session_that_ended_is_forgotten_and_the_users_others_are_not() {
        let mut state = State::default();
        let asking = state.ask();
        for session in [A1, A2] {
            state.keep(&asking, session, ADA, &roles("editor"), &snapshot("10:10:"));
        }
        state.end(A1, 11);
        assert_eq!((known(&state, A1), known(&state, A2).as_deref()), (None, Some("editor")));
        // A query that looked before it ended and is answered after.
        state.keep(&asking, A1, ADA, &roles("editor"), &snapshot("10:10:"));
        assert_eq!(known(&state, A1), None);
        state.end(A2, 12);
        assert!(state.users.is_empty());
    }

    #[test]
    fn a_query_that_did_not_see_the_last_change_is_not_kept() {
        let mut state = State::default();
        let asking = state.ask();
        state.change(ADA, 11);
        // It began before the change, or it began after and the change is streamed but not yet visible.
        for seen in ["10:10:", "11:12:11", "9:15:11"] {
            state.keep(&asking, A1, ADA, &roles("old"), &snapshot(seen));
            assert_eq!(known(&state, A1), None, "{seen}");
        }
        state.keep(&asking, A1, ADA, &roles("new"), &snapshot("12:12:"));
        assert_eq!(known(&state, A1).as_deref(), Some("new"));
    }

    #[test]
    fn an_older_query_that_is_answered_last_is_not_kept() {
        let mut state = State::default();
        let early = state.ask();
        state.change(ADA, 11);
        let late = state.ask();
        state.keep(&late, A1, ADA, &roles("new"), &snapshot("12:12:"));
        // The change is forgotten by now, and so is the query that did not see it.
        state.keep(&early, A1, ADA, &roles("old"), &snapshot("10:10:"));
        assert_eq!(known(&state, A1).as_deref(), Some("new"));
    }

    #[test]
    fn nothing_outlives_a_gap_in_the_stream() {
        let mut state = State::default();
        let asking = state.ask();
        state.keep(&asking, A1, ADA, &roles("editor"), &snapshot("10:10:"));
        state.forget();
        state.keep(&asking, B1, BOB, &roles("admin"), &snapshot("10:10:"));
        assert_eq!((known(&state, A1), known(&state, B1)), (None, None));
    }

    #[test]
    fn without_a_stream_nothing_is_trusted() {
        let cache = Standings::new(Feed::new());
        assert!(cache.ask().is_none());
        let seen = snapshot("10:10:");
        cache.keep(&Asking { forgotten: 0 }, A1, ADA, &roles("editor"), &seen);
        assert!(cache.get(A1, ADA).is_none());
    }
}
