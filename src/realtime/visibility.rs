//! [`Visibility`]: which transactions a query saw.

use std::sync::Arc;

use super::cursor::Cursor;

/// What `pg_current_snapshot()` says: `xmin:xmax:xip,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visibility {
    /// Everything before it is over, and was seen if it committed.
    xmin: u64,
    /// Nothing from it on was seen.
    xmax: u64,
    /// Those between that were under way, in order.
    running: Vec<u64>,
}

impl Visibility {
    /// Reads Postgres' own text.
    pub fn parse(text: &str) -> Option<Visibility> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mut running: Vec<u64> = match parts.next()? {
            "" => Vec::new(),
            list => list.split(',').map(|xid| xid.parse().ok()).collect::<Option<_>>()?,
        };
        running.sort_unstable();
        parts.next().is_none().then_some(Visibility { xmin, xmax, running })
    }

    /// Whether a committed transaction was seen. The WAL names transactions by the lower half of their number; the
    /// other half is that of the snapshot, give or take one.
    pub fn sees(&self, xid: u32) -> bool {
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        let full = self.xmax.wrapping_add_signed(i64::from(distance));
        full < self.xmin || (full < self.xmax && self.running.binary_search(&full).is_err())
    }
}

/// What a channel that begins with a snapshot has already.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which transactions are in the snapshot.
    pub visibility: Arc<Visibility>,
    /// Where the channel had joined before it was read.
    pub joined: Cursor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_was_over_when_it_was_taken() {
        let snapshot = Visibility::parse("10:20:12,15").unwrap();
        for (xid, seen) in [
            (9, true),
            (10, true),
            (11, true),
            (12, false),
            (15, false),
            (16, true),
            (19, true),
            (20, false),
            (21, false),
        ] {
            assert_eq!(snapshot.sees(xid), seen, "{xid}");
        }
    }

    #[test]
    fn transaction_numbers_wrap() {
        // 2^32 + 5 is the next one: what is a little below 2^32 is long over.
        let snapshot = Visibility::parse("4294967300:4294967301:").unwrap();
        assert!(snapshot.sees(u32::MAX) && snapshot.sees(4) && !snapshot.sees(5) && !snapshot.sees(6));
    }

    #[test]
    fn what_is_no_snapshot_is_none() {
        for text in ["", "1", "1:2", "1:2:3:4", "a:2:", "1:2:x"] {
            assert_eq!(Visibility::parse(text), None, "{text}");
        }
    }
}
