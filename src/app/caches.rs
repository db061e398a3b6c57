//! [`Caches`]: what a node remembers of the database beside its project, and the one place that the stream of changes
//! keeps it true.

use crate::auth::revocation::Revocations;
use crate::auth::roles::Roles;
use crate::realtime::feed::Feed;
use crate::realtime::system::SystemChange;

/// What a node remembers.
pub struct Caches {
    revocations: Revocations,
    roles: Roles,
}

impl Caches {
    /// Caches that the stream keeps true, once [`Caches::observe`] is called with what it says.
    pub fn new(feed: Feed) -> Caches {
        Caches { revocations: Revocations::default(), roles: Roles::new(feed) }
    }

    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Takes in what the stream says.
    pub fn observe(&self, change: &SystemChange) {
        match change {
            SystemChange::RoleChanged { user, xid } => self.roles.changed(*user, *xid),
            SystemChange::KeyRevoked { jti } => self.revocations.insert(jti),
            // What is revoked is read again every second, and would be wrong to forget meanwhile.
            SystemChange::Lost => self.roles.forget(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_key_is_refused_once_the_stream_says_so() {
        let caches = Caches::new(Feed::new());
        caches.observe(&SystemChange::KeyRevoked { jti: "k1".to_owned() });
        caches.observe(&SystemChange::RoleChanged { user: Uuid::nil(), xid: 7 });
        caches.observe(&SystemChange::Lost);
        assert!(caches.revocations().contains("k1"));
    }
}
