//! JSON text → the same without the members of objects that are null.

/// Appends a JSON text without the null members of its objects, at any depth and without white space, as Postgres'
/// `json_strip_nulls` does. Elements of arrays stay. What is no JSON is passed on as it comes.
pub fn strip_nulls(out: &mut Vec<u8>, json: &[u8]) {
    /// What stands open around a value.
    struct Open {
        object: bool,
        empty: bool,
    }
    let mut around: Vec<Open> = Vec::new();
    // The member whose value comes next.
    let mut member: Option<&[u8]> = None;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let start = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => continue,
            b'}' | b']' => {
                around.pop();
                out.push(*byte);
                continue;
            }
            b'"' => at = end_of_string(json, at),
            b'{' | b'[' => {}
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                at = json[at..].iter().position(ends).map_or(json.len(), |length| at + length);
            }
        }
        let token = &json[start..at];
        if member.is_none() && around.last().is_some_and(|open| open.object) {
            member = Some(token);
            continue;
        }
        let member = member.take();
        if member.is_some() && token == b"null" {
            continue;
        }
        if let Some(open) = around.last_mut() {
            if !open.empty {
                out.push(b',');
            }
            open.empty = false;
        }
        if let Some(name) = member {
            out.extend_from_slice(name);
            out.push(b':');
        }
        out.extend_from_slice(token);
        if matches!(byte, b'{' | b'[') {
            around.push(Open { object: *byte == b'{', empty: true });
        }
    }
}

/// The place after a string's closing quote.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => break,
            _ => {}
        }
    }
    at.min(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(json: &str) -> String {
        let mut out = Vec::new();
        strip_nulls(&mut out, json.as_bytes());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn null_members_go_at_any_depth_and_elements_stay() {
        for (json, expected) in [
            ("null", "null"),
            ("[null, 1]", "[null,1]"),
            (r#"{"a": null}"#, "{}"),
            (r#"{"a": null, "b": 1, "c": null}"#, r#"{"b":1}"#),
            (r#"[{"a": {"b": null, "c": [null, {"d": null}]}}]"#, r#"[{"a":{"c":[null,{}]}}]"#),
            (r#"{"null": "null", "a\"b,}": "x: {y, \\"}"#, r#"{"null":"null","a\"b,}":"x: {y, \\"}"#),
            (r#"{"a": 1.50e3, "b": true, "c": "", "": null}"#, r#"{"a":1.50e3,"b":true,"c":""}"#),
        ] {
            assert_eq!(stripped(json), expected, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_left_is_the_value_without_its_null_members(depth in 0..6_usize, seed in proptest::num::u64::ANY) {
            let value = tree(depth, &mut { seed });
            let mut expected = value.clone();
            prune(&mut expected);
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                proptest::prop_assert_eq!(stripped(&text), expected.to_string());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\{\}\[\]",:\\ nul0-9]{0,60}"#) {
            stripped(&text);
        }
    }

    fn tree(depth: usize, seed: &mut u64) -> serde_json::Value {
        use serde_json::{Value, json};
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = *seed >> 61;
        match pick {
            0 | 1 => Value::Null,
            2 => json!(*seed >> 40),
            3 => json!("a\"\\ ,null}"),
            _ if depth == 0 => json!(true),
            4 | 5 => (0..3).map(|_| tree(depth - 1, seed)).collect(),
            _ => Value::Object((0..3).map(|at| (format!("k{at}\""), tree(depth - 1, seed))).collect()),
        }
    }

    fn prune(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.retain(|_, value| !value.is_null());
                members.values_mut().for_each(prune);
            }
            serde_json::Value::Array(elements) => elements.iter_mut().for_each(prune),
            _ => {}
        }
    }
}
