//! [`Version`]: under which key the content of an object lies.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::path::Path;
use uuid::Uuid;

use crate::model::text::time::civil_of;

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;
/// Days between 1970-01-01 and 2000-01-01, from where the calendar counts.
const EPOCH: i64 = 10_957;
/// What lies under finished keys, before the hour.
pub(crate) const FINISHED: &str = "v";

/// The name of one content: made for it, never used again, and without any part of what its object is called.
///
/// A UUID of version 7 (RFC 9562, 5.7), whose first 48 bits are the time in milliseconds: contents of one hour lie
/// together, so that what is old enough to be judged by a sweeper is found without looking at the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Uuid);

impl Version {
    /// A new one, of this moment.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Version {
        Version(Uuid::now_v7())
    }

    /// The hour in which it was made, as `yyyymmddhh` in UTC.
    pub fn hour(self) -> Hour {
        let bits = self.0.as_u128() >> 80;
        let hours = u64::try_from(bits).unwrap_or(u64::MAX) / HOUR;
        Hour::since_epoch(hours)
    }

    /// The first one of the moment that was so long ago. For comparing: nothing lies there.
    pub fn before(age: Duration) -> Version {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(age);
        Version::first(since)
    }

    /// The first one of a moment, told by the time since 1970.
    fn first(since: Duration) -> Version {
        let milliseconds = since.as_millis().min((1 << 48) - 1);
        Version(Uuid::from_u128(milliseconds << 80))
    }

    /// Whether it was made before another one, or in the same millisecond.
    pub fn is_older(self, other: Version) -> bool {
        self.0.as_u128() >> 80 <= other.0.as_u128() >> 80
    }

    /// The one after it.
    pub fn next(self) -> Version {
        Version(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }

    /// The first one of the hour after its own.
    pub fn next_hour(self) -> Version {
        let bits = u64::try_from(self.0.as_u128() >> 80).unwrap_or(u64::MAX);
        Version::first(Duration::from_millis((bits / HOUR + 1) * HOUR))
    }

    /// The first one of its hour.
    pub fn this_hour(self) -> Version {
        let bits = u64::try_from(self.0.as_u128() >> 80).unwrap_or(u64::MAX);
        Version::first(Duration::from_millis(bits / HOUR * HOUR))
    }

    /// Where its content lies in a store: `v/<hour>/<uuid>`.
    pub fn key(self) -> Path {
        Path::from_iter([FINISHED, self.hour().as_str(), &self.to_string()])
    }

    /// Reads the name of a content, in the one spelling in which it is written.
    pub fn parse(text: &str) -> Option<Version> {
        let uuid = Uuid::try_parse(text).ok()?;
        let version = Version(uuid);
        (version.to_string() == text).then_some(version)
    }
}

impl From<Uuid> for Version {
    fn from(uuid: Uuid) -> Version {
        Version(uuid)
    }
}

impl From<Version> for Uuid {
    fn from(version: Version) -> Uuid {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An hour of UTC, as ten digits: they sort as time goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(String);

impl Hour {
    /// An hour by how many whole hours came before it since 1970.
    pub fn since_epoch(hours: u64) -> Hour {
        let days = i64::try_from(hours / 24).unwrap_or(i64::MAX / 2) - EPOCH;
        let (year, month, day) = civil_of(days);
        Hour(format!("{year:04}{month:02}{day:02}{:02}", hours % 24))
    }

    /// Reads ten digits, or more from the year 10000 on.
    pub fn parse(text: &str) -> Option<Hour> {
        let is_hour = text.len() >= 10 && text.len() <= 11 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_hour.then(|| Hour(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uuid: &str, key: &str) {
        let version = Version::parse(uuid).unwrap();
        assert_eq!(version.key().as_ref(), key);
        assert_eq!(Version::from(Uuid::from(version)), version);
    }

    #[test]
    fn a_key_has_the_hour_of_its_uuid_in_utc() {
        // The example of RFC 9562, A.6: 2022-02-22 14:22:22 in New York is 19:22:22 in UTC.
        check("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "v/2022022219/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        check("00000000-0000-7000-8000-000000000000", "v/1970010100/00000000-0000-7000-8000-000000000000");
        // One millisecond before and at the turn of a leap year's February.
        check("018df74f-83ff-7000-8000-000000000000", "v/2024022923/018df74f-83ff-7000-8000-000000000000");
        check("018df74f-8400-7000-8000-000000000000", "v/2024030100/018df74f-8400-7000-8000-000000000000");
        // Not made by us, but any uuid has a key.
        check("ffffffff-ffff-ffff-ffff-ffffffffffff", "v/10889080205/ffffffff-ffff-ffff-ffff-ffffffffffff");
    }

    #[test]
    fn a_version_is_read_in_its_own_spelling_only() {
        for text in [
            "",
            "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
            "017f22e279b07cc398c4dc0c0c07398f",
            "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
            "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f.tmp",
            "../017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hours_sort_as_time_goes() {
        let hours: Vec<Hour> = (0..9_000).step_by(37).map(|n| Hour::since_epoch(473_352 + n)).collect();
        assert!(hours.is_sorted());
        for hour in hours {
            assert_eq!(Hour::parse(hour.as_str()).as_ref(), Some(&hour));
        }
        for text in ["", "202402292", "20240229-1", "lost+found", "2024022923x", "202402292300"] {
            assert_eq!(Hour::parse(text), None, "{text}");
        }
    }
}
