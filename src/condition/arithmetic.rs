//! Sums that are never out of range: the bounds that both back ends keep, and the sums in memory.

use bigdecimal::num_bigint::Sign;

use crate::model::{Decimal, Interval};

/// Microseconds of an hour and of a day.
pub(super) const HOUR: i64 = 3_600_000_000;
pub(super) const DAY: i64 = 24 * HOUR;

/// An interval is added only if each of its three parts is shorter than about 1,000 years. Beyond that, or
/// for a timestamp outside [`FIRST`]`..`[`END`], the sum is null: no sum within the bounds leaves what a
/// timestamp can hold, whatever the calendar makes of the months.
pub(super) const MAX_YEARS: i64 = 1_000;
pub(super) const MAX_DAYS: i64 = 365_250;
pub(super) const MAX_HOURS: i64 = 8_766_000;

/// `0001-01-01` and `290000-01-01`, in microseconds since 2000-01-01.
const FIRST: i64 = -63_082_281_600_000_000;
const END: i64 = 9_088_402_176_000_000_000;

/// A decimal field is added only if it has at most this many digits before the point; numeric holds 131,072.
pub(super) const MAX_DECIMAL: &str = "1e100000::numeric";
const MAX_DECIMAL_DIGITS: i64 = 100_000;

/// Texts are joined only if the whole has at most this many bytes; Postgres raises at four times as much.
pub(super) const MAX_TEXT: i64 = 1 << 28;

/// A text is matched only if it has at most this many bytes; Postgres raises at four times as much.
pub(super) const MAX_MATCHED: i64 = 1 << 26;

/// Each of the three parts is short enough to be added.
pub(super) fn bounded(interval: Interval) -> bool {
    (i64::from(interval.months) / 12).abs() < MAX_YEARS
        && i64::from(interval.days).abs() < MAX_DAYS
        && (interval.microseconds / HOUR).unsigned_abs() < MAX_HOURS.unsigned_abs()
}

/// `time ± interval`, in microseconds since 2000-01-01 UTC; infinity stays what it is.
pub(super) fn shift(time: i64, interval: Interval, minus: bool) -> Option<i64> {
    if !bounded(interval) {
        return None;
    }
    let (months, days, microseconds) =
        (i64::from(interval.months), i64::from(interval.days), interval.microseconds);
    if time == i64::MAX || time == i64::MIN {
        return Some(time);
    }
    if !(FIRST..END).contains(&time) {
        return None;
    }
    let sign = if minus { -1 } else { 1 };
    let (mut day, clock) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    if months != 0 {
        let (year, month, of_month) = civil(day);
        let month = year * 12 + (month - 1) + sign * months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        // The 31st of a month that has none is its last day.
        day = days_since_2000(year, month, of_month.min(month_length(year, month)));
    }
    Some((day + sign * days) * DAY + clock + sign * microseconds)
}

/// Midnight UTC of a date within the bounds of [`shift`]; infinity stays what it is.
pub(super) fn midnight(date: i32) -> Option<i64> {
    match date {
        i32::MAX => Some(i64::MAX),
        i32::MIN => Some(i64::MIN),
        date => i64::from(date).checked_mul(DAY),
    }
}

/// Year, month and day in the proleptic Gregorian calendar, of days since 2000-01-01. Year 0 is 1 BC.
fn civil(day: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let day = day + 730_425;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_month)
}

fn days_since_2000(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 730_425
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `left ± right` as numeric has it: infinity less infinity is NaN.
pub(super) fn calculate(left: &Decimal, right: &Decimal, minus: bool) -> Decimal {
    use Decimal::{Finite, Infinity, NaN, NegativeInfinity};
    let right = match (right, minus) {
        (Finite(number), true) => Finite(-number),
        (Infinity, true) => NegativeInfinity,
        (NegativeInfinity, true) => Infinity,
        (other, _) => other.clone(),
    };
    match (left, right) {
        (NaN, _) | (_, NaN) | (Infinity, NegativeInfinity) | (NegativeInfinity, Infinity) => NaN,
        (Infinity, _) | (_, Infinity) => Infinity,
        (NegativeInfinity, _) | (_, NegativeInfinity) => NegativeInfinity,
        (Finite(left), Finite(right)) => Finite(left + right),
    }
}

/// Short enough to be added, as the guard in SQL has it.
pub(super) fn addable(number: &Decimal) -> bool {
    match number {
        Decimal::Finite(number) => {
            let (digits, scale) = number.as_bigint_and_exponent();
            // |number| < 10^MAX exactly if it has no more than MAX digits before the point.
            digits.sign() == Sign::NoSign || number.digits() as i64 - scale <= MAX_DECIMAL_DIGITS
        }
        Decimal::Infinity | Decimal::NegativeInfinity | Decimal::NaN => true,
    }
}
