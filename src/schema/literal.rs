//! A value in the text that Postgres reads it from, for defaults and bounds in DDL.

use std::fmt::Write as _;

use crate::model::{Decimal, Interval, Value};

/// The value's text, or `None` for null.
pub(super) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Decimal(Decimal::NegativeInfinity) => "-Infinity".to_owned(),
        Value::Decimal(Decimal::Infinity) => "Infinity".to_owned(),
        Value::Decimal(Decimal::NaN) => "NaN".to_owned(),
        Value::Decimal(Decimal::Finite(number)) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Uuid(id) => id.to_string(),
        Value::Timestamp(i64::MAX) | Value::Date(i32::MAX) => "infinity".to_owned(),
        Value::Timestamp(i64::MIN) | Value::Date(i32::MIN) => "-infinity".to_owned(),
        Value::Timestamp(at) => {
            let (days, rest) = (at.div_euclid(DAY), at.rem_euclid(DAY));
            let (date, era) = civil(days);
            format!("{date} {}+00{era}", clock(rest))
        }
        Value::Date(days) => {
            let (date, era) = civil(i64::from(*days));
            format!("{date}{era}")
        }
        Value::Time(at) => clock(*at),
        Value::Interval(Interval { months, days, microseconds }) => {
            format!("{months} mons {days} days {microseconds} microseconds")
        }
        Value::Json(json) => json.to_string(),
        Value::Bytes(bytes) => {
            let mut text = String::from("\\x");
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
        Value::Inet(address, prefix) => format!("{address}/{prefix}"),
        Value::Array(elements) => array(elements),
    })
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        // The shortest text that reads back as the same number.
        format!("{number:?}")
    }
}

fn array(elements: &[Value]) -> String {
    let mut out = String::from("{");
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match text(element) {
            None => out.push_str("NULL"),
            Some(element) => {
                out.push('"');
                for c in element.chars() {
                    if matches!(c, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    out
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Microseconds since midnight as `hh:mm:ss.ffffff`; 24:00:00 is a time too.
fn clock(at: i64) -> String {
    let seconds = at.div_euclid(SECOND);
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        at.rem_euclid(SECOND)
    )
}

/// Days since 2000-01-01 as a date and its era. Civil calendars of libraries end at the year 9999, Postgres' at
/// 294276, so this is the usual arithmetic over eras of 400 years that begin in March.
fn civil(days: i64) -> (String, &'static str) {
    let days = days + 730_425;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if year > 0 {
        (format!("{year:04}-{month:02}-{day:02}"), "")
    } else {
        (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &Value) -> String {
        text(value).unwrap()
    }

    #[test]
    fn dates_and_times_are_written_over_the_whole_range() {
        assert_eq!(of(&Value::Date(0)), "2000-01-01");
        assert_eq!(of(&Value::Date(-1)), "1999-12-31");
        assert_eq!(of(&Value::Date(59)), "2000-02-29");
        assert_eq!(of(&Value::Date(366)), "2001-01-01");
        assert_eq!(of(&Value::Date(-730_119)), "0001-01-01");
        assert_eq!(of(&Value::Date(-730_120)), "0001-12-31 BC");
        assert_eq!(of(&Value::Date(i32::MAX)), "infinity");
        assert_eq!(of(&Value::Timestamp(-1)), "1999-12-31 23:59:59.999999+00");
        assert_eq!(of(&Value::Time(DAY)), "24:00:00.000000");
    }

    #[test]
    fn an_array_quotes_its_elements() {
        let array = Value::Array(vec![Value::text("a\"\\,{}"), Value::Null, Value::text("NULL")]);
        assert_eq!(of(&array), "{\"a\\\"\\\\,{}\",NULL,\"NULL\"}");
        assert_eq!(of(&Value::Array(vec![])), "{}");
    }
}
