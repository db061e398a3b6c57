//! [`Value`] from JSON: bodies, claims, defaults and project tests.

use super::{Kind, Scalar, Value};

impl Value {
    /// Reads JSON as a value of a kind. `null` is [`Value::Null`] for every kind, `json` included, as where
    /// Postgres turns a JSON body into columns.
    ///
    /// Numbers may come as numeric strings; text takes nothing but a string; every kind that JSON lacks
    /// takes the string that [`Value::parse`] reads. `None` for anything else.
    pub fn from_json(kind: Kind, json: &serde_json::Value) -> Option<Value> {
        use serde_json::Value as Json;
        if json.is_null() {
            return Some(Value::Null);
        }
        if kind.array {
            let elements = json.as_array()?;
            return elements
                .iter()
                .map(|element| Value::from_json(kind.element(), element))
                .collect::<Option<_>>()
                .map(Value::Array);
        }
        match (kind.scalar, json) {
            (Scalar::Json, json) => super::text::storable(json).then(|| Value::Json(json.clone())),
            (Scalar::Boolean, Json::Bool(truth)) => Some(Value::Boolean(*truth)),
            (Scalar::Boolean, _) => None,
            (Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal, Json::Number(number)) => {
                Value::parse(kind, &number.to_string())
            }
            (_, Json::String(text)) => Value::parse(kind, text),
            (_, Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Interval;
    use super::*;
    use serde_json::json;

    #[test]
    fn json_becomes_the_value_of_its_kind() {
        let reads = |kind: &str, json| Value::from_json(Kind::from_yaml(kind).unwrap(), &json);
        assert_eq!(reads("integer", json!(7)), Some(Value::Integer(7)));
        assert_eq!(reads("integer", json!("7")), Some(Value::Integer(7)));
        assert_eq!(reads("integer", json!(7.5)), None);
        assert_eq!(reads("integer", json!(2_147_483_648_u64)), None);
        assert_eq!(reads("float", json!("1.5")), Some(Value::Float(1.5)));
        assert_eq!(reads("text", json!(7)), None);
        assert_eq!(reads("text", json!("7")), Some(Value::text("7")));
        assert_eq!(reads("text", json!("\0")), None);
        assert_eq!(reads("boolean", json!("true")), None);
        assert_eq!(reads("boolean", json!(true)), Some(Value::Boolean(true)));
        assert_eq!(reads("json", json!(null)), Some(Value::Null));
        assert_eq!(reads("json", json!({"a": [1]})), Some(Value::Json(json!({"a": [1]}))));
        assert_eq!(reads("timestamp", json!(0)), None);
        assert_eq!(
            reads("interval", json!("1 day")),
            Some(Value::Interval(Interval { months: 0, days: 1, microseconds: 0 }))
        );
        assert_eq!(
            reads("integer[]", json!([1, null, "2"])),
            Some(Value::Array(vec![Value::Integer(1), Value::Null, Value::Integer(2)]))
        );
        assert_eq!(reads("integer[]", json!("{1}")), None);
        assert_eq!(reads("integer[]", json!([[1]])), None);
    }
}
