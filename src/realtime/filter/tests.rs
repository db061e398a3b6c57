use super::*;
use crate::catalog::Catalog;
use crate::model::{Action, Principal};
use crate::policy::Decision;
use crate::project::{Sources, load, render};

const PROJECT: &str = "
collections:
  posts:
    timestamps: false
    fields:
      id: integer
      title: text
      size: integer
      price: decimal
      open: boolean
      data: json
      tags: 'text[]'
      secret: text
      part: text
policies:
  posts:
    read:
      - { role: anon, fields: { except: [secret, part] } }
      - { role: authenticated, when: open, fields: { except: [secret] } }
";

fn catalog() -> Catalog {
    let sources = Sources([("a.yaml".to_owned(), PROJECT.to_owned())].into_iter().collect());
    let project = load(&sources).unwrap_or_else(|faults| panic!("{}", render(&faults)));
    project.catalog(1).unwrap()
}

fn compiled(catalog: &Catalog, principal: &Principal, text: &str) -> Result<Filter, Error> {
    let id = catalog.collections.find("posts").unwrap();
    let Decision::Permit(permit) = catalog.policies.decide(principal, Action::Read, id) else { panic!() };
    Filter::compile(text, Context { catalog, principal }, &permit)
}

fn user() -> Principal {
    Principal::user(uuid::Uuid::nil(), &[])
}

fn of(text: &str) -> Filter {
    compiled(&catalog(), &user(), text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn record(title: Option<&str>, size: Option<i64>) -> Record {
    let json = serde_json::json!({ "a": [1, 2.50] });
    let price = Value::parse(Kind::one(Scalar::Decimal), "1.50").unwrap();
    let tags = Value::Array(vec![Value::text("x"), Value::Null]);
    let title = title.map_or(Value::Null, Value::text);
    let size = size.map_or(Value::Null, Value::Integer);
    let open = Value::Boolean(true);
    let [secret, part] = ["s", "p"].map(Value::text);
    Record(vec![Value::Integer(1), title, size, price, open, Value::Json(json), tags, secret, part])
}

#[test]
fn a_filter_holds_where_a_read_with_it_would_find_the_record() {
    let record = record(Some("Hello, World"), Some(5));
    for (text, holds) in [
        ("size=eq.5", true),
        ("size=neq.5", false),
        ("size=gt.4,size=lt.6", true),
        ("size=gte.5,size=lte.4", false),
        ("size=in.(1,5)", true),
        ("size=not.in.(1,5)", false),
        ("size=in.()", false),
        ("size=not.in.()", true),
        ("size=eq(any).{4,5}", true),
        ("size=gt(all).{3,4}", true),
        ("title=eq.\"Hello, World\"", true),
        ("title=in.(a,\"Hello, World\")", true),
        ("title=like.Hello*", true),
        ("title=like.hello%", false),
        ("title=ilike.hello%", true),
        ("title=match.^Hello", true),
        ("title=imatch.WORLD$", true),
        ("title=not.match.x", true),
        ("title=gt.Hello", true),
        ("title=is.not_null", true),
        ("open=is.true", true),
        ("open=not.is.true", false),
        ("price=eq.1.5", true),
        ("price=isdistinct.1.500", false),
        ("data=eq.{\"a\":[1.0,2.5]}", true),
        ("tags=eq.{x,null}", true),
        ("tags=gt.{w}", true),
    ] {
        assert_eq!(of(text).holds(&record, |_| false), holds, "{text}");
    }
}

#[test]
fn a_value_may_hold_brackets_and_ends_at_the_next_comma() {
    let record = record(Some("f(x)"), Some(1));
    assert!(of("title=eq.f(x),size=eq.1").holds(&record, |_| false));
}

#[test]
fn only_true_passes() {
    let record = record(None, None);
    for text in ["size=eq.1", "size=not.eq.1", "size=in.(1)", "size=not.in.(1)", "title=not.like.a%"] {
        assert!(!of(text).holds(&record, |_| false), "{text}");
    }
    for text in ["size=is.null", "size=not.in.()", "size=isdistinct.1"] {
        assert!(of(text).holds(&record, |_| false), "{text}");
    }
}

#[test]
fn a_masked_field_is_null() {
    let (record, filter) = (record(Some("a"), Some(1)), of("size=is.null,title=eq.a"));
    let size = FieldId(2);
    assert!(!filter.holds(&record, |_| false));
    assert!(filter.holds(&record, |field| field == size));
    assert!(filter.fields().contains(size) && !filter.fields().contains(FieldId(3)));
}

#[test]
fn what_the_permit_hides_answers_like_what_does_not_exist() {
    let catalog = catalog();
    let told = |principal: &Principal, field: &str| {
        let error = compiled(&catalog, principal, &format!("{field}=eq.a")).unwrap_err();
        assert_eq!(error.code.as_str(), "42703");
        error.to_string().replace(field, "FIELD")
    };
    let unknown = told(&user(), "nothing");
    assert_eq!(told(&user(), "secret"), unknown);
    assert!(compiled(&catalog, &user(), "part=eq.a").is_ok());
    assert_eq!(told(&Principal::anonymous(), "part"), unknown);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let catalog = catalog();
    for (text, code) in [
        ("", "PGRST100"),
        ("size", "PGRST100"),
        ("size=5", "PGRST100"),
        ("size=eq.5,", "PGRST100"),
        ("title=eq.a,b", "PGRST100"),
        ("size=eq.five", "22P02"),
        ("size=in.(1,x)", "22P02"),
        ("data=eq.{", "PGRST100"),
        ("data=eq.nothing", "22P02"),
        ("size=like.5", "42883"),
        ("size=is.true", "42804"),
        ("data=gt.1", "42883"),
        ("data->a=eq.1", "PGRST100"),
        ("tags=cs.{x}", "PGRST127"),
        ("title=fts.x", "PGRST127"),
        ("title=match.(", "2201B"),
        ("title=match.(?=a)", "2201B"),
        ("title=like.a\\", "22025"),
    ] {
        let error = compiled(&catalog, &user(), text).err().unwrap_or_else(|| panic!("{text} passes"));
        assert_eq!(error.code.as_str(), code, "{text}: {error:?}");
    }
    let error = compiled(&catalog, &Principal::anonymous(), "title=match.a").unwrap_err();
    assert_eq!(error.code.as_str(), "42501");
}

#[test]
fn filters_that_ask_the_same_are_equal() {
    assert_eq!(of("size=eq.5,title=in.(a,b)"), of("title=in.(b,a,a),size=in.(5)"));
    assert_eq!(of("size=eq.5"), of("size=eq(all).{5}"));
    for (a, b) in [
        ("size=eq.5", "size=neq.5"),
        ("size=eq.5", "size=not.eq.5"),
        ("title=like.a", "title=ilike.a"),
        ("title=eq(any).{a,b}", "title=eq(all).{a,b}"),
        ("title=in.(\"a,b\")", "title=in.(a,b)"),
    ] {
        assert_ne!(of(a), of(b), "{a} {b}");
    }
}

#[test]
fn its_equalities_are_what_must_be_one_of_some_values() {
    let filter = of("size=eq.5,title=in.(b,a),price=gt.1,id=not.eq.2,data=is.null,price=eq(all).{1,2}");
    let equalities = filter.equalities();
    let texts = [Value::text("a"), Value::text("b")];
    assert_eq!(equalities, [(FieldId(1), texts.to_vec()), (FieldId(2), vec![Value::Integer(5)])]);
}
