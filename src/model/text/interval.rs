//! Intervals: Postgres' own style, ISO 8601, and the short durations of conditions.

use super::super::Interval;
use super::Scan;
use super::number::{pair, write_integer, write_unsigned};
use super::time::write_fraction;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// What a number in an interval counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    fn from_word(word: &str) -> Option<Unit> {
        match word {
            "year" | "years" => Some(Unit::Year),
            "mon" | "mons" | "month" | "months" => Some(Unit::Month),
            "week" | "weeks" => Some(Unit::Week),
            "day" | "days" => Some(Unit::Day),
            "hour" | "hours" => Some(Unit::Hour),
            "min" | "mins" | "minute" | "minutes" => Some(Unit::Minute),
            "sec" | "secs" | "second" | "seconds" => Some(Unit::Second),
            _ => None,
        }
    }
}

/// Adds up an interval; each unit may be said once.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    microseconds: i64,
    seen: u8,
}

impl Sum {
    /// Adds `number` of a unit, with microseconds (of the same sign) that only seconds can have.
    fn add(&mut self, unit: Unit, number: i64, fraction: i64) -> Option<()> {
        let bit = 1 << unit as u8;
        if self.seen & bit != 0 || (fraction != 0 && unit != Unit::Second) {
            return None;
        }
        self.seen |= bit;
        let (sum, size) = match unit {
            Unit::Year => (&mut self.months, 12),
            Unit::Month => (&mut self.months, 1),
            Unit::Week => (&mut self.days, 7),
            Unit::Day => (&mut self.days, 1),
            Unit::Hour => (&mut self.microseconds, HOUR),
            Unit::Minute => (&mut self.microseconds, MINUTE),
            Unit::Second => (&mut self.microseconds, SECOND),
        };
        *sum = number.checked_mul(size)?.checked_add(fraction)?.checked_add(*sum)?;
        Some(())
    }

    fn interval(self) -> Option<Interval> {
        let interval = Interval {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            microseconds: self.microseconds,
        };
        // From PostgreSQL 17 on these two are the infinities, and no finite interval reads as one.
        (self.seen != 0 && interval != INFINITY && interval != NEGATIVE_INFINITY).then_some(interval)
    }
}

const INFINITY: Interval = Interval { months: i32::MAX, days: i32::MAX, microseconds: i64::MAX };
const NEGATIVE_INFINITY: Interval = Interval { months: i32::MIN, days: i32::MIN, microseconds: i64::MIN };

/// A signed number with a fraction: (number, microseconds), both of the number's sign.
fn scan_quantity(scan: &mut Scan<'_>) -> Option<(i64, i64)> {
    let negative = scan.sign();
    let number = scan.number(1, 18)?;
    let fraction = scan.microseconds()?;
    Some(if negative { (-number, -fraction) } else { (number, fraction) })
}

/// `1 year 2 mons -3 days 04:05:06.7` or `P1Y2M-3DT4H5M6.7S`.
pub(crate) fn parse(text: &str) -> Option<Interval> {
    if let Some(rest) = text.strip_prefix('P') {
        return parse_iso(rest);
    }
    let mut sum = Sum::default();
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let mut scan = Scan::new(word);
        if word.contains(':') {
            let negative = scan.sign();
            let hours = scan.number(1, 10)?;
            if !scan.eat(b':') {
                return None;
            }
            let minutes = scan.number(2, 2)?;
            let (seconds, fraction) =
                if scan.eat(b':') { (scan.number(2, 2)?, scan.microseconds()?) } else { (0, 0) };
            if minutes > 59 || seconds > 59 || !scan.done() {
                return None;
            }
            let sign = if negative { -1 } else { 1 };
            sum.add(Unit::Hour, sign * hours, 0)?;
            sum.add(Unit::Minute, sign * minutes, 0)?;
            sum.add(Unit::Second, sign * seconds, sign * fraction)?;
        } else {
            let (number, fraction) = scan_quantity(&mut scan)?;
            if !scan.done() {
                return None;
            }
            sum.add(Unit::from_word(words.next()?)?, number, fraction)?;
        }
    }
    sum.interval()
}

fn parse_iso(text: &str) -> Option<Interval> {
    let mut sum = Sum::default();
    let mut scan = Scan::new(text);
    let mut time = false;
    while !scan.done() {
        if !time && scan.eat(b'T') {
            time = true;
            // A `T` announces at least one part.
            if scan.done() {
                return None;
            }
        }
        if scan.peek() == Some(b'+') {
            return None;
        }
        let (number, fraction) = scan_quantity(&mut scan)?;
        let unit = match (scan.peek()?, time) {
            (b'Y', false) => Unit::Year,
            (b'M', false) => Unit::Month,
            (b'W', false) => Unit::Week,
            (b'D', false) => Unit::Day,
            (b'H', true) => Unit::Hour,
            (b'M', true) => Unit::Minute,
            (b'S', true) => Unit::Second,
            _ => return None,
        };
        scan.rest = &scan.rest[1..];
        sum.add(unit, number, fraction)?;
    }
    sum.interval()
}

impl Interval {
    /// Reads a duration as conditions write it: `30s`, `30m`, `24h`, `7d`, `2w`, or several such parts
    /// together (`1h30m`). A day is a day and not 24 hours, as in Postgres. No sign, no fraction.
    pub fn parse_duration(text: &str) -> Option<Interval> {
        let mut sum = Sum::default();
        let mut scan = Scan::new(text);
        while !scan.done() {
            let number = scan.number(1, 10)?;
            let unit = match scan.peek()? {
                b'w' => Unit::Week,
                b'd' => Unit::Day,
                b'h' => Unit::Hour,
                b'm' => Unit::Minute,
                b's' => Unit::Second,
                _ => return None,
            };
            scan.rest = &scan.rest[1..];
            sum.add(unit, number, 0)?;
        }
        sum.interval()
    }
}

/// As Postgres prints it with `IntervalStyle` at `postgres`.
pub(crate) fn write(out: &mut Vec<u8>, interval: Interval) {
    // Intervals are infinite from PostgreSQL 17 on; before that, these two were merely absurd.
    if interval == INFINITY {
        return out.extend_from_slice(b"infinity");
    }
    if interval == NEGATIVE_INFINITY {
        return out.extend_from_slice(b"-infinity");
    }
    let mut first = true;
    // A part that is positive says so when the one before it was negative.
    let mut after_negative = false;
    for (number, unit) in
        [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")]
    {
        if number == 0 {
            continue;
        }
        if !first {
            out.push(b' ');
        }
        if after_negative && number > 0 {
            out.push(b'+');
        }
        write_integer(out, i64::from(number));
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        if number != 1 {
            out.push(b's');
        }
        after_negative = number < 0;
        first = false;
    }
    if first || interval.microseconds != 0 {
        if !first {
            out.push(b' ');
        }
        if interval.microseconds < 0 {
            out.push(b'-');
        } else if after_negative {
            out.push(b'+');
        }
        let time = interval.microseconds.unsigned_abs();
        let seconds = time / SECOND.unsigned_abs();
        let hours = seconds / 3_600;
        if hours < 10 {
            out.push(b'0');
        }
        write_unsigned(out, hours);
        let [m, n] = pair(seconds / 60 % 60);
        let [s, t] = pair(seconds % 60);
        out.extend_from_slice(&[b':', m, n, b':', s, t]);
        write_fraction(out, time % SECOND.unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_days_and_hours_apart() {
        let duration = |text| Interval::parse_duration(text);
        let interval = |days, microseconds| Some(Interval { months: 0, days, microseconds });
        assert_eq!(duration("24h"), interval(0, 24 * HOUR));
        assert_eq!(duration("7d"), interval(7, 0));
        assert_eq!(duration("2w"), interval(14, 0));
        assert_eq!(duration("1h30m"), interval(0, HOUR + 30 * MINUTE));
        assert_eq!(duration("0s"), interval(0, 0));
        for bad in ["", "h", "1", "-1h", "1.5h", "1h1h", "1y", "1 h", "99999999999d", "9999999999d"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
