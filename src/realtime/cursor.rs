//! [`Cursor`]: a place in the stream of changes, opaque on the wire and ordered.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// The letters stand in the order of their bytes, so that cursors as text compare as cursors do.
const ORDERED: &str = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// 27 bytes are 36 letters.
const LENGTH: usize = 27;

/// Whose WAL a position is of: positions of different systems do not compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct System {
    /// Postgres' system identifier.
    pub id: u64,
    /// Counts promotions.
    pub timeline: u32,
}

/// After the `index`th change of the transaction whose commit ends at `lsn`; with index 0, before its first and
/// past everything before that commit.
///
/// A transaction's changes are numbered from 1. [`Cursor::after`] is past all of them.
///
/// The rules stand last: they tell whoever comes back by which ones he was judged, and places compare without them but
/// for two that are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    pub system: System,
    /// The end of a commit in the WAL, or any position between two.
    pub lsn: u64,
    pub index: u32,
    /// [`Catalog::digest`](crate::catalog::Catalog::digest) of the version that was in force.
    pub rules: [u8; 3],
}

impl Cursor {
    /// Past everything that was committed up to a position of the same WAL.
    pub fn after(self, lsn: u64) -> Cursor {
        Cursor { lsn, index: u32::MAX, ..self }
    }

    /// The place just before this change.
    pub fn before(self) -> Cursor {
        Cursor { index: self.index.saturating_sub(1), ..self }
    }
}

fn engine() -> Option<GeneralPurpose> {
    Alphabet::new(ORDERED).ok().map(|alphabet| GeneralPurpose::new(&alphabet, NO_PAD))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&self.system.id.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.system.timeline.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.lsn.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.index.to_be_bytes());
        bytes[24..].copy_from_slice(&self.rules);
        match engine() {
            Some(engine) => f.write_str(&engine.encode(bytes)),
            None => Err(fmt::Error),
        }
    }
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this server")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Cursor, NoCursor> {
        let mut bytes = engine().ok_or(NoCursor)?.decode(text).map_err(|_| NoCursor)?;
        // Those of earlier versions of the server say nothing of rules.
        if bytes.len() == LENGTH - 3 {
            bytes.extend([0; 3]);
        }
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| NoCursor)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, lsn @ .., m, n, o, p, q, r, s] = bytes;
        Ok(Cursor {
            system: System {
                id: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                timeline: u32::from_be_bytes([i, j, k, l]),
            },
            lsn: u64::from_be_bytes(lsn),
            index: u32::from_be_bytes([m, n, o, p]),
            rules: [q, r, s],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(id: u64, timeline: u32, lsn: u64, index: u32, rules: [u8; 3]) -> Cursor {
        Cursor { system: System { id, timeline }, lsn, index, rules }
    }

    proptest! {
        #[test]
        fn cursors_survive_their_text_and_texts_order_as_cursors_do(
            a: (u64, u32, u64, u32, [u8; 3]), b: (u64, u32, u64, u32, [u8; 3])
        ) {
            let (a, b) = (cursor(a.0, a.1, a.2, a.3, a.4), cursor(b.0, b.1, b.2, b.3, b.4));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", "x", "0/16B3748", "éééééééééééééééééééééééééééééééé", &"-".repeat(33), &"=".repeat(32)]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }

    #[test]
    fn a_transaction_stands_between_the_position_before_it_and_the_one_after_it() {
        let before = Cursor::default().after(100);
        let first = cursor(0, 0, 200, 1, [0; 3]);
        assert!(before < first.before() && first.before() < first && first < Cursor::default().after(200));
    }

    #[test]
    fn a_cursor_of_an_earlier_version_is_the_same_place() {
        let now = cursor(7, 1, 200, 3, [0; 3]);
        assert_eq!(now.to_string()[..32].parse(), Ok(now));
    }
}
