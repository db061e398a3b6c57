//! Who may join a topic.

use crate::model::Principal;

/// What a channel may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) private: bool,
    pub(super) write: bool,
}

/// What somebody may do on a topic (without its prefix), who asks for a private one or not. `None` is nothing.
pub(super) fn rights(_topic: &str, private: bool, principal: &Principal) -> Option<Rights> {
    // No topic is declared: a public one is everybody's, a private one nobody's.
    (!private || principal.is_service()).then_some(Rights { private, write: true })
}
