//! [`Failures`]: whoever fails again and again waits longer and longer.

use std::time::Duration;

use super::table::Table;

/// The first wait, and the longest: nobody is kept out for good by what somebody else does.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Failures are forgotten when there was none for so long.
const MEMORY: Duration = Duration::from_secs(3_600);

/// What is known of one key. Times are nanoseconds since the limits began.
#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    /// When the next attempt may be made.
    next: u64,
    last: u64,
}

/// How often attempts failed, by key.
pub(super) struct Failures {
    table: Table<Failed>,
}

/// How an attempt stands that was let through.
#[derive(Clone, Copy)]
pub(super) struct Reserved {
    key: u64,
    /// What to put back if it is not made after all.
    before: Option<(u64, u64)>,
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The wait after so many failures, of which the first ones are free: a second, and double that with each one more.
fn delay(count: u32, free: u32) -> u64 {
    let Some(doublings) = count.checked_sub(free) else { return 0 };
    let factor = 1_u32.checked_shl(doublings.min(31)).unwrap_or(u32::MAX);
    nanos(FIRST.saturating_mul(factor).min(LONGEST))
}

impl Failures {
    pub(super) fn new() -> Failures {
        Failures { table: Table::new() }
    }

    /// Lets an attempt through, and keeps others waiting meanwhile where there were failures.
    ///
    /// # Errors
    /// The nanoseconds after which it would be let through.
    pub(super) fn begin(&self, key: u64, free: u32, now: u64) -> Result<Reserved, u64> {
        self.table.change(key, worth, |known| match known {
            Some(known) if now.saturating_sub(known.last) > nanos(MEMORY) => {
                (None, Ok(Reserved { key, before: None }))
            }
            Some(known) if known.next > now => (Some(known), Err(known.next - now)),
            Some(known) if known.count >= free => {
                let next = now + delay(known.count, free);
                (Some(Failed { next, ..known }), Ok(Reserved { key, before: Some((known.next, next)) }))
            }
            known => (known, Ok(Reserved { key, before: None })),
        })
    }

    /// The attempt was not made.
    pub(super) fn undo(&self, reserved: Reserved) {
        let Some((before, after)) = reserved.before else { return };
        self.table.change(reserved.key, worth, |known| {
            (
                known.map(|known| if known.next == after { Failed { next: before, ..known } } else { known }),
                (),
            )
        });
    }

    /// The attempt failed.
    pub(super) fn failed(&self, reserved: Reserved, free: u32, now: u64) {
        self.table.change(reserved.key, worth, |known| {
            let count = known.map_or(0, |known| known.count).saturating_add(1);
            (Some(Failed { count, next: now + delay(count, free), last: now }), ())
        });
    }

    /// The attempt succeeded: all is forgotten.
    pub(super) fn succeeded(&self, reserved: Reserved) {
        self.table.change(reserved.key, worth, |_| (None, ()));
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

fn worth(failed: &Failed) -> u64 {
    failed.next
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_a_success_ends_it() {
        let failures = Failures::new();
        let mut now = 5 * SECOND;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let reserved = match failures.begin(1, 3, now) {
                Ok(reserved) => {
                    waits.push(0);
                    reserved
                }
                Err(wait) => {
                    waits.push(wait / SECOND);
                    assert!(failures.begin(1, 3, now + wait - 1).is_err());
                    now += wait;
                    failures.begin(1, 3, now).unwrap()
                }
            };
            failures.failed(reserved, 3, now);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        now += 60 * SECOND;
        let reserved = failures.begin(1, 3, now).unwrap();
        failures.succeeded(reserved);
        assert!(failures.begin(1, 3, now).is_ok());
    }

    #[test]
    fn where_there_were_failures_one_attempt_is_under_way_at_a_time() {
        let failures = Failures::new();
        for _ in 0..3 {
            let reserved = failures.begin(1, 3, 0).unwrap();
            failures.failed(reserved, 3, 0);
        }
        let first = failures.begin(1, 3, SECOND).unwrap();
        assert_eq!(failures.begin(1, 3, SECOND).err(), Some(SECOND));
        // Another limit refused it: it does not count.
        failures.undo(first);
        assert!(failures.begin(1, 3, SECOND).is_ok());
        assert!(failures.begin(2, 3, SECOND).is_ok());
    }

    #[test]
    fn failures_are_forgotten_after_an_hour() {
        let failures = Failures::new();
        for _ in 0..10 {
            failures.failed(Reserved { key: 1, before: None }, 3, 0);
        }
        assert!(failures.begin(1, 3, SECOND).is_err());
        assert!(failures.begin(1, 3, 3_601 * SECOND).is_ok());
        failures.failed(Reserved { key: 1, before: None }, 3, 3_601 * SECOND);
        assert!(failures.begin(1, 3, 3_601 * SECOND).is_ok(), "the first of a new count");
    }
}
