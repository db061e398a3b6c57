//! Bodies that come as bare text: CSV and forms.

use super::{Body, Format};
use crate::catalog::Limits;
use crate::error::Code;
use crate::model::Kind;

fn kind(name: &str) -> Option<Kind> {
    let known = [
        ("t", "text"),
        ("n", "integer"),
        ("d", "decimal"),
        ("b", "boolean"),
        ("j", "json"),
        ("ts", "text[]"),
        ("ns", "integer[]"),
        ("js", "json[]"),
    ];
    known.into_iter().find(|(known, _)| *known == name).and_then(|(_, kind)| Kind::from_yaml(kind))
}

fn read(format: Format, text: &str) -> Result<String, crate::error::Error> {
    let body = Body::of_texts(format, text.as_bytes(), &Limits::default(), &kind)?;
    let mut names: Vec<String> = Vec::new();
    for name in body.records.iter().flat_map(|record| record.names()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(body.payload(&names, &[], None))
}

fn refusal(format: Format, text: &str) -> String {
    let error = read(format, text).unwrap_err();
    assert_eq!(error.code, Code::Body, "{text:?}: {error:?}");
    format!("{} {}", error.message, error.details.unwrap_or_default())
}

#[test]
fn a_csv_says_what_the_same_as_json_would() {
    for (csv, json) in [
        ("t,n\na,1\nb,2\n", r#"[{"t":"a","n":1},{"t":"b","n":2}]"#),
        ("t,n\r\na,1\r\nb,2", r#"[{"t":"a","n":1},{"t":"b","n":2}]"#),
        ("\u{feff}t\n\n\na\n\n", r#"[{"t":"a"}]"#),
        (
            "t,n\nNULL,NULL\n\"NULL\",007\n,",
            r#"[{"t":null,"n":null},{"t":"NULL","n":"007"},{"t":"","n":""}]"#,
        ),
        ("\"t\",n\n\"a,\"\"b\"\"\r\nc\",-1", r#"[{"t":"a,\"b\"\r\nc","n":-1}]"#),
        ("t\n\"\"\n\"\"\"\"", r#"[{"t":""},{"t":"\""}]"#),
        (
            "d,b\n1.50,t\nNaN,false\n1e3,maybe",
            r#"[{"d":1.50,"b":true},{"d":"NaN","b":false},{"d":1e3,"b":"maybe"}]"#,
        ),
        (
            "j\n\"{\"\"a\"\": [1.0]}\"\nnull\nword\n\"\"\"s\"\"\"",
            r#"[{"j":{"a": [1.0]}},{"j":null},{"j":"word"},{"j":"s"}]"#,
        ),
        (
            "ts,ns\n\"{a,NULL,\"\"b c\"\"}\",{}\n[1],\"{1,2}\"",
            r#"[{"ts":["a",null,"b c"],"ns":[]},{"ts":"[1]","ns":[1,2]}]"#,
        ),
        ("js\n\"{\"\"[1]\"\",2}\"", r#"[{"js":[[1],2]}]"#),
        ("other\n1\ntrue", r#"[{"other":"1"},{"other":"true"}]"#),
        ("t", "[]"),
        (" t \n a ", r#"[{" t ":" a "}]"#),
    ] {
        assert_eq!(read(Format::Csv, csv).unwrap(), json, "{csv:?}");
    }
}

#[test]
fn a_csv_that_could_be_read_in_two_ways_is_refused_with_its_line() {
    for (csv, said) in [
        ("", "Empty or invalid CSV"),
        ("\n\n", "Empty or invalid CSV"),
        ("t,n\na", "All lines must have same number of fields"),
        ("t\na,b", "Line 2 differs"),
        ("t\n\"x\n\ny\"\na,b", "Line 5 differs"),
        ("t,t\n", "stands twice"),
        ("t\n\"a", "not closed"),
        ("t\n\"a\"b", "Line 2"),
        ("t\na\"b", "quoted as a whole"),
        ("t\na\rb", "quoted as a whole"),
    ] {
        assert!(refusal(Format::Csv, csv).contains(said), "{csv:?}: {}", refusal(Format::Csv, csv));
    }
    let names: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
    assert!(refusal(Format::Csv, &names.join(",")).contains("too many members"));
    assert!(refusal(Format::Csv, &format!("t{}", "\na".repeat(10_001))).contains("10000 records"));
    assert!(refusal(Format::Csv, &format!("j\n{}{}", "[".repeat(70), "]".repeat(70))).contains("deeper"));
}

#[test]
fn a_form_is_one_record() {
    for (form, json) in [
        ("t=a+b%21&n=1&b=true", r#"[{"t":"a b!","n":1,"b":true}]"#),
        ("t=NULL&ts={a}", r#"[{"t":"NULL","ts":["a"]}]"#),
        ("t", r#"[{"t":""}]"#),
        ("", "[{}]"),
    ] {
        assert_eq!(read(Format::Form, form).unwrap(), json, "{form:?}");
    }
    assert!(refusal(Format::Form, "t=a&t=b").contains("stands twice"));
    assert!(refusal(Format::Form, "t=%00").contains("NUL"));
    assert!(refusal(Format::Form, "t=%ff").contains("UTF-8"));
    assert!(refusal(Format::Form, &"&a=1".repeat(100_000)).contains("too many members"));
}

#[test]
fn few_bytes_do_not_become_many() {
    let csv = format!("{}\n{}", "n".repeat(1 << 20), "1\n".repeat(9_999));
    assert_eq!(read(Format::Csv, &csv).unwrap_err().code, Code::PayloadTooLarge);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[a-c1,&=%+\"\\\\{}\\[\\]\r\nNUL]{0,60}") {
        let head = text.split('\n').next().unwrap_or_default().split(',').count();
        if let Ok(body) = Body::of_texts(Format::Csv, text.as_bytes(), &Limits::default(), &kind) {
            // Every record has what the header says, or the header was quoted.
            for record in &body.records {
                proptest::prop_assert!(text.contains('"') || text.starts_with(['\r', '\n']) || record.names().count() == head);
            }
        }
        if let Ok(body) = Body::of_texts(Format::Form, text.as_bytes(), &Limits::default(), &kind) {
            proptest::prop_assert_eq!(body.records.len(), 1);
        }
    }
}
