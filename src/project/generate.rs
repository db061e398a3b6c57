//! Values made up for what a project's tests leave out: fixed for a project, different from one
//! another, and within what their field demands.

use super::literal;
use crate::model::{Bound, Decimal, Field, Interval, Kind, Scalar, Value};

/// Makes up values, no two alike where the kind has room.
#[derive(Default)]
pub(super) struct Generator {
    made: u64,
}

impl Generator {
    /// A value that meets its field; `None` where none of the tries does (a `match` or a `schema` that asks for more).
    pub(super) fn value(&mut self, field: &Field) -> Option<Value> {
        // A few tries, each with the next number: a range or a pattern may have no room for the first.
        (0..8).find_map(|_| {
            self.made += 1;
            self.tries(field).into_iter().find(|value| literal::meets(value, field).is_ok())
        })
    }

    fn tries(&self, field: &Field) -> Vec<Value> {
        if field.kind.array {
            let count = match field.min {
                Some(Bound::Size(least)) => usize::try_from(least).unwrap_or(usize::MAX).min(1_000),
                Some(Bound::Value(_)) | None => 0,
            };
            let element = Field { kind: field.kind.element(), min: None, max: None, ..field.clone() };
            let Some(one) =
                self.scalars(&element).into_iter().find(|value| literal::meets(value, &element).is_ok())
            else {
                return Vec::new();
            };
            return vec![Value::Array(vec![one; count])];
        }
        self.scalars(field)
    }

    fn scalars(&self, field: &Field) -> Vec<Value> {
        let number = i64::try_from(self.made).unwrap_or(i64::MAX);
        // What a range starts or ends with is in it.
        let mut values: Vec<Value> = [&field.min, &field.max]
            .into_iter()
            .filter_map(|bound| match bound {
                Some(Bound::Value(value)) => Some(value.clone()),
                Some(Bound::Size(_)) | None => None,
            })
            .collect();
        match field.kind.scalar {
            Scalar::Text => match &field.values {
                Some(allowed) => values.extend(allowed.first().map(Value::text)),
                None => values.extend(self.texts(field).into_iter().map(Value::Text)),
            },
            Scalar::Integer | Scalar::Bigint => {
                if let Some(Value::Integer(least)) = values.first().cloned() {
                    values.insert(0, Value::Integer(least.saturating_add(number - 1)));
                } else {
                    values.push(Value::Integer(number));
                }
            }
            Scalar::Float => values.insert(0, Value::Float(self.made as f64)),
            Scalar::Decimal => {
                values.insert(0, Value::Decimal(Decimal::Finite(bigdecimal::BigDecimal::from(number))));
            }
            Scalar::Boolean => values.push(Value::Boolean(false)),
            Scalar::Uuid => {
                values.push(Value::Uuid(super::tests::named_uuid(&format!("made up {}", self.made))));
            }
            // Days, seconds and so on after the start of 2000, by the number.
            Scalar::Timestamp => values.insert(0, Value::Timestamp(number.saturating_mul(1_000_000))),
            Scalar::Date => values.insert(0, Value::Date(i32::try_from(number).unwrap_or(0))),
            Scalar::Time => values.insert(0, Value::Time(number % 86_400 * 1_000_000)),
            Scalar::Interval => {
                values.push(Value::Interval(Interval { months: 0, days: 0, microseconds: number }));
            }
            Scalar::Json => values.extend(
                [serde_json::json!({}), serde_json::json!([]), serde_json::json!(""), serde_json::json!(0)]
                    .map(Value::Json),
            ),
            Scalar::Bytes => {
                let least = match field.min {
                    Some(Bound::Size(least)) => usize::try_from(least).unwrap_or(usize::MAX).min(1 << 20),
                    Some(Bound::Value(_)) | None => 0,
                };
                let mut bytes = self.made.to_le_bytes().to_vec();
                bytes.resize(least.max(bytes.len()), 0);
                values.push(Value::Bytes(bytes));
                values.push(Value::Bytes(vec![0; least]));
            }
            Scalar::Inet => values.extend(Value::parse(Kind::one(Scalar::Inet), "192.0.2.1")),
        }
        values
    }

    /// Texts of common forms, each of a size that fits.
    fn texts(&self, field: &Field) -> Vec<String> {
        let size = |bound: &Option<Bound>, otherwise: usize| match bound {
            Some(Bound::Size(size)) => usize::try_from(*size).unwrap_or(otherwise),
            Some(Bound::Value(_)) | None => otherwise,
        };
        let (least, most) = (size(&field.min, 0).min(1 << 20), size(&field.max, usize::MAX));
        let number = self.made;
        let letters: String =
            (0..4).map(|place| char::from(b'a' + ((number / 26_u64.pow(place)) % 26) as u8)).collect();
        [
            format!("{} {number}", field.name),
            format!("{}{number}", field.name),
            format!("{letters}{number}"),
            letters.clone(),
            letters.to_uppercase(),
            number.to_string(),
            format!("{letters}@example.test"),
            format!("https://example.test/{letters}"),
            format!("+1555{number:07}"),
        ]
        .into_iter()
        .map(|text| {
            let text: String = text.chars().take(most).collect();
            let missing = least.saturating_sub(text.chars().count());
            let filler = text.chars().last().filter(char::is_ascii_alphanumeric).unwrap_or('x');
            text.chars().chain(std::iter::repeat_n(filler, missing)).collect()
        })
        .collect()
    }
}
