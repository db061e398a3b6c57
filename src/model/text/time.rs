//! Dates, times and timestamps in ISO form, over the whole range that Postgres has.
//!
//! The civil calendar is computed here because no calendar library reaches the year 5874897.

use super::Scan;
use super::number::{pair, write_unsigned};

const MICROSECONDS_A_SECOND: i64 = 1_000_000;
pub(crate) const MICROSECONDS_A_DAY: i64 = 86_400 * MICROSECONDS_A_SECOND;
/// 4714-11-24 BC, the first day Postgres knows, in days since 2000-01-01.
const FIRST_DAY: i64 = -2_451_545;
/// 5874897-12-31.
const LAST_DAY: i64 = 2_145_031_948;
/// The first microsecond after 294276-12-31.
const END_OF_TIME: i64 = 9_223_371_331_200_000_000;
/// A time zone is less than sixteen hours away.
const MAX_OFFSET: i64 = 16 * 3_600;

/// Days since 2000-01-01 of a day of the proleptic Gregorian calendar; year 0 is 1 BC.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their odd day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 730,425 days lie between 0000-03-01 and 2000-01-01.
    era * 146_097 + day_of_era - 730_425
}

/// (year, month, day); year 0 is 1 BC.
pub(crate) fn civil_of(days: i64) -> (i64, u64, u64) {
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `2024-01-02`; the caller has taken ` BC` off the end.
fn scan_date(scan: &mut Scan<'_>, before_christ: bool) -> Option<i64> {
    let year = scan.number(4, 7)?;
    if !scan.eat(b'-') {
        return None;
    }
    let month = scan.number(2, 2)?;
    if !scan.eat(b'-') {
        return None;
    }
    let day = scan.number(2, 2)?;
    if year == 0 {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    let valid = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    valid.then(|| days_of(year, month, day))
}

/// `03:04[:05[.678]]` in microseconds; 24:00:00 included.
fn scan_time(scan: &mut Scan<'_>) -> Option<i64> {
    let hours = scan.number(2, 2)?;
    if !scan.eat(b':') {
        return None;
    }
    let minutes = scan.number(2, 2)?;
    let (seconds, fraction) =
        if scan.eat(b':') { (scan.number(2, 2)?, scan.microseconds()?) } else { (0, 0) };
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let time = (hours * 3_600 + minutes * 60 + seconds) * MICROSECONDS_A_SECOND + fraction;
    (time <= MICROSECONDS_A_DAY).then_some(time)
}

/// `Z`, `+02`, `+02:30`, `+0230`, `+02:30:15` in seconds east of UTC; 0 where nothing stands.
fn scan_offset(scan: &mut Scan<'_>) -> Option<i64> {
    if scan.done() || scan.eat(b'Z') || scan.eat(b'z') {
        return Some(0);
    }
    if !matches!(scan.peek(), Some(b'+' | b'-')) {
        return None;
    }
    let negative = scan.sign();
    let digits = scan.digits();
    let two = |at: usize| i64::from(digits[at] - b'0') * 10 + i64::from(digits[at + 1] - b'0');
    let (hours, minutes, seconds) = match digits.len() {
        2 if scan.eat(b':') => {
            let minutes = scan.number(2, 2)?;
            (two(0), minutes, if scan.eat(b':') { scan.number(2, 2)? } else { 0 })
        }
        2 => (two(0), 0, 0),
        4 => (two(0), two(2), 0),
        _ => return None,
    };
    let offset = hours * 3_600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && offset < MAX_OFFSET).then_some(if negative { -offset } else { offset })
}

fn strip_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

pub(crate) fn parse_date(text: &str) -> Option<i32> {
    match text {
        "infinity" => return Some(i32::MAX),
        "-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let (text, before_christ) = strip_era(text);
    let mut scan = Scan::new(text);
    let days = scan_date(&mut scan, before_christ)?;
    if scan.done() && (FIRST_DAY..=LAST_DAY).contains(&days) { i32::try_from(days).ok() } else { None }
}

/// A timestamp without an offset is in UTC, as in every session of ours.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (text, before_christ) = strip_era(text);
    let mut scan = Scan::new(text);
    let days = scan_date(&mut scan, before_christ)?;
    let (time, offset) = if scan.done() {
        (0, 0)
    } else if scan.eat(b'T') || scan.eat(b't') || scan.eat(b' ') {
        (scan_time(&mut scan)?, scan_offset(&mut scan)?)
    } else {
        return None;
    };
    if !scan.done() {
        return None;
    }
    let at = days
        .checked_mul(MICROSECONDS_A_DAY)?
        .checked_add(time)?
        .checked_sub(offset * MICROSECONDS_A_SECOND)?;
    (FIRST_DAY * MICROSECONDS_A_DAY..END_OF_TIME).contains(&at).then_some(at)
}

pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut scan = Scan::new(text);
    let time = scan_time(&mut scan)?;
    scan.done().then_some(time)
}

/// How a timestamp is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `2024-01-02 03:04:05.1+00`, as a cast to text prints it.
    Text,
    /// `2024-01-02T03:04:05.1+00:00`, as `to_json` prints it.
    Json,
}

fn write_civil(out: &mut Vec<u8>, days: i64) -> bool {
    let (year, month, day) = civil_of(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year }.unsigned_abs();
    if year < 10_000 {
        out.extend_from_slice(&pair(year / 100));
        out.extend_from_slice(&pair(year % 100));
    } else {
        write_unsigned(out, year);
    }
    let [m, n] = pair(month);
    let [d, e] = pair(day);
    out.extend_from_slice(&[b'-', m, n, b'-', d, e]);
    before_christ
}

/// `.123456` without the zeros at its end, and nothing for none.
pub(crate) fn write_fraction(out: &mut Vec<u8>, microseconds: u64) {
    if microseconds == 0 {
        return;
    }
    let mut fraction = [b'.', 0, 0, 0, 0, 0, 0];
    fraction[1..3].copy_from_slice(&pair(microseconds / 10_000));
    fraction[3..5].copy_from_slice(&pair(microseconds / 100));
    fraction[5..7].copy_from_slice(&pair(microseconds));
    let end = fraction.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    out.extend_from_slice(&fraction[..=end]);
}

pub(crate) fn write_date(out: &mut Vec<u8>, days: i32) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        days => {
            if write_civil(out, i64::from(days)) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

pub(crate) fn write_timestamp(out: &mut Vec<u8>, at: i64, style: Style) {
    match at {
        i64::MAX => return out.extend_from_slice(b"infinity"),
        i64::MIN => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let before_christ = write_civil(out, at.div_euclid(MICROSECONDS_A_DAY));
    out.push(match style {
        Style::Text => b' ',
        Style::Json => b'T',
    });
    write_time(out, at.rem_euclid(MICROSECONDS_A_DAY));
    out.extend_from_slice(match style {
        Style::Text => b"+00",
        Style::Json => b"+00:00",
    });
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// A negative time is none; its size is written, so that no input makes this panic.
pub(crate) fn write_time(out: &mut Vec<u8>, time: i64) {
    let time = time.unsigned_abs();
    let seconds = time / MICROSECONDS_A_SECOND.unsigned_abs();
    let [h, i] = pair(seconds / 3_600);
    let [m, n] = pair(seconds / 60 % 60);
    let [s, t] = pair(seconds % 60);
    out.extend_from_slice(&[h, i, b':', m, n, b':', s, t]);
    write_fraction(out, time % MICROSECONDS_A_SECOND.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_itself_over_the_whole_range() {
        let step = 997;
        let mut days = FIRST_DAY;
        while days <= LAST_DAY {
            let (year, month, day) = civil_of(days);
            assert_eq!(days_of(year, month as i64, day as i64), days);
            days += step * 1_009;
        }
        assert_eq!(civil_of(0), (2000, 1, 1));
        assert_eq!(civil_of(-1), (1999, 12, 31));
        assert_eq!(civil_of(FIRST_DAY), (-4713, 11, 24));
        assert_eq!(civil_of(LAST_DAY), (5_874_897, 12, 31));
    }

    #[test]
    fn every_day_of_four_centuries_is_its_successor() {
        let mut before = civil_of(-1);
        for days in 0..146_097 {
            let (year, month, day) = civil_of(days);
            let (last_year, last_month, last_day) = before;
            let follows = (year, month, day) == (last_year, last_month, last_day + 1)
                || (day == 1
                    && last_day as i64 == days_in(last_year, last_month as i64)
                    && (year, month)
                        == if last_month == 12 { (last_year + 1, 1) } else { (last_year, last_month + 1) });
            assert!(follows, "{before:?} is followed by {:?}", (year, month, day));
            before = (year, month, day);
        }
    }
}
