//! [`Caches`]: what a node remembers of the database beside its project, and the one place that the stream of changes
//! keeps it true.

use tokio::sync::broadcast;

use crate::auth::revocation::Revocations;
use crate::auth::standing::Standings;
use crate::realtime::feed::Feed;
use crate::realtime::system::SystemChange;

/// Changes that may wait for a worker. One that falls behind is told that it missed some.
const WAITING: usize = 1_024;

/// What a node remembers.
pub struct Caches {
    revocations: Revocations,
    standings: Standings,
    changes: broadcast::Sender<SystemChange>,
}

impl Caches {
    /// Caches that the stream keeps true, once [`Caches::observe`] is called with what it says.
    pub fn new(feed: Feed) -> Caches {
        Caches {
            revocations: Revocations::default(),
            standings: Standings::new(feed),
            changes: broadcast::Sender::new(WAITING),
        }
    }

    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Takes in what the stream says. Whoever is subscribed hears of it when the caches know it already.
    pub fn observe(&self, change: SystemChange) {
        match &change {
            SystemChange::RoleChanged { user, xid } => self.standings.changed(*user, *xid),
            SystemChange::SessionEnded { session, xid, .. } => self.standings.ended(*session, *xid),
            SystemChange::KeyRevoked { jti } => self.revocations.extend([jti.as_str()]),
            // What is revoked stays so, and is read again every second.
            SystemChange::Lost => self.standings.forget(),
        }
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }

    /// What the stream says from now on, for those who hold principals: a changed user's are to be found anew. Having
    /// fallen behind means the same as [`SystemChange::Lost`].
    pub fn subscribe(&self) -> broadcast::Receiver<SystemChange> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn whoever_hears_of_a_change_finds_the_caches_changed() {
        let caches = Caches::new(Feed::new());
        let mut heard = caches.subscribe();
        let revoked = SystemChange::KeyRevoked { jti: "k1".to_owned() };
        let changed = SystemChange::RoleChanged { user: Uuid::nil(), xid: 7 };
        for change in [revoked, changed, SystemChange::Lost] {
            caches.observe(change.clone());
            assert_eq!(heard.try_recv().unwrap(), change);
        }
        assert!(caches.revocations().contains("k1"));
    }
}
