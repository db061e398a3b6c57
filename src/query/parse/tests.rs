use super::fault::RangeFault;
use super::*;
use crate::error::Error;
use crate::query::request::{Comparison, Embed, Filter, FullText, Is, Operand, Order, Path, Step, Test};

const BOUNDS: Bounds = Bounds { embed_depth: 3, filter_terms: 50, in_values: 20 };

fn node(query: &str) -> Result<Node, Fault> {
    read(&parameters(query)?, &BOUNDS)
}

fn good(query: &str) -> Node {
    node(query).unwrap_or_else(|fault| panic!("{query}: {:?}", Error::from(fault)))
}

/// The one filter of a query.
fn filter(query: &str) -> Filter {
    let node = good(query);
    assert_eq!(node.filter.len(), 1, "{query}");
    node.filter.into_iter().next().unwrap()
}

/// The test of the one term that `field=value` is.
fn test(value: &str) -> Test {
    let params = [("a".to_owned(), value.to_owned())];
    match read(&params, &BOUNDS).map(|node| node.filter) {
        Ok(filters) => match filters.as_slice() {
            [Filter::Term { test, negated: false, .. }] => test.clone(),
            other => panic!("{value}: {other:?}"),
        },
        Err(fault) => panic!("{value}: {:?}", Error::from(fault)),
    }
}

/// The error's message and details, as a client sees them.
fn bad(query: &str) -> (String, String) {
    let error = Error::from(node(query).expect_err(query));
    (error.message, error.details.and_then(|details| details.as_str().map(str::to_owned)).unwrap_or_default())
}

fn one(operator: Comparison, operand: &str) -> Test {
    Test::Compare { operator, operand: Operand::One(operand.to_owned()) }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn term(field: &str, test: Test) -> Filter {
    Filter::Term { path: Path::field(field), negated: false, test }
}

fn eq(field: &str, operand: &str) -> Filter {
    term(field, one(Comparison::Eq, operand))
}

#[test]
fn every_operator_is_recognised() {
    for (value, expected) in [
        ("eq.1", one(Comparison::Eq, "1")),
        ("neq.1", one(Comparison::Neq, "1")),
        ("gt.1", one(Comparison::Gt, "1")),
        ("gte.1", one(Comparison::Gte, "1")),
        ("lt.1", one(Comparison::Lt, "1")),
        ("lte.1", one(Comparison::Lte, "1")),
        ("like.*a%_*", one(Comparison::Like, "%a%_%")),
        ("ilike.a*", one(Comparison::Ilike, "a%")),
        ("match.^a.*", one(Comparison::Match, "^a.*")),
        ("imatch.^a*", one(Comparison::Imatch, "^a*")),
        ("isdistinct.a", Test::IsDistinct("a".into())),
        ("in.(a)", Test::In(strings(&["a"]))),
        ("is.null", Test::Is(Is::Null)),
        ("is.not_null", Test::Is(Is::NotNull)),
        ("is.TRUE", Test::Is(Is::True)),
        ("is.False", Test::Is(Is::False)),
        ("is.unknown", Test::Is(Is::Unknown)),
        ("cs.{a,b}", Test::Contains("{a,b}".into())),
        ("cd.{a}", Test::ContainedBy("{a}".into())),
        ("ov.{a}", Test::Overlaps("{a}".into())),
        ("sl.[1,2)", Test::Range { operator: "sl", operand: "[1,2)".into() }),
        ("sr.[1,2)", Test::Range { operator: "sr", operand: "[1,2)".into() }),
        ("nxl.[1,2)", Test::Range { operator: "nxl", operand: "[1,2)".into() }),
        ("nxr.[1,2)", Test::Range { operator: "nxr", operand: "[1,2)".into() }),
        ("adj.[1,2)", Test::Range { operator: "adj", operand: "[1,2)".into() }),
        ("fts.cat", Test::FullText { parser: FullText::Query, config: None, query: "cat".into() }),
        (
            "plfts(english).a cat",
            Test::FullText { parser: FullText::Plain, config: Some("english".into()), query: "a cat".into() },
        ),
        ("phfts.a cat", Test::FullText { parser: FullText::Phrase, config: None, query: "a cat".into() }),
        (
            "wfts(pg_catalog).\"a\" -cat",
            // A schema cannot be named here.
            Test::FullText {
                parser: FullText::Web,
                config: Some("pg_catalog".into()),
                query: "\"a\" -cat".into(),
            },
        ),
        (
            "eq(any).{1,\"a,b\"}",
            Test::Compare { operator: Comparison::Eq, operand: Operand::Any(strings(&["1", "a,b"])) },
        ),
        (
            "like(all).{*a,b*}",
            Test::Compare { operator: Comparison::Like, operand: Operand::All(strings(&["%a", "b%"])) },
        ),
        ("gt(any).{}", Test::Compare { operator: Comparison::Gt, operand: Operand::Any(vec![]) }),
    ] {
        assert_eq!(test(value), expected, "{value}");
    }
}

#[test]
fn an_operand_at_the_top_is_everything_behind_the_operator() {
    for (value, operand) in [
        ("eq.", ""),
        ("eq.a.b,c)", "a.b,c)"),
        ("eq.\"quoted\"", "\"quoted\""),
        ("eq.not.eq.1", "not.eq.1"),
        ("eq. a ", " a "),
        ("eq.{a", "{a"),
        ("eq.é\u{1F980}", "é\u{1F980}"),
    ] {
        assert_eq!(test(value), one(Comparison::Eq, operand), "{value}");
    }
}

#[test]
fn lists_keep_what_quotes_protect() {
    for (value, expected) in [
        ("in.()", vec![]),
        ("in.(\"\")", vec![""]),
        ("in.(1,2,3)", vec!["1", "2", "3"]),
        ("in.(,)", vec!["", ""]),
        (r#"in.("a,b","c)d",e)"#, vec!["a,b", "c)d", "e"]),
        (r#"in.("q\"q","b\\b")"#, vec!["q\"q", "b\\b"]),
        (r#"in.("a"b,c)"#, vec!["\"a\"b", "c"]),
        (r#"in.(a"b",c)"#, vec!["a\"b\"", "c"]),
        ("in.(a b, c)", vec!["a b", " c"]),
        ("in.(\"a)", vec!["\"a"]),
    ] {
        assert_eq!(test(value), Test::In(strings(&expected)), "{value}");
    }
}

#[test]
fn a_filter_may_be_negated_and_repeated() {
    let node = good("age=gt.1&age=not.lt.5&age=not.in.(2)");
    assert_eq!(
        node.filter,
        [
            term("age", one(Comparison::Gt, "1")),
            Filter::Term { path: Path::field("age"), negated: true, test: one(Comparison::Lt, "5") },
            Filter::Term { path: Path::field("age"), negated: true, test: Test::In(strings(&["2"])) },
        ]
    );
}

#[test]
fn json_paths_stand_in_filters_selects_and_orders() {
    let path = Path {
        field: "data".into(),
        steps: vec![Step::Key("a b".into()), Step::Index(-1), Step::Key("0x".into())],
        text: true,
    };
    let node = good("select=x:data->a b->-1->>0x::int&data->a b->-1->>0x=eq.1&order=data->a b->-1->>0x.desc");
    assert_eq!(
        node.select,
        [Item::Field { path: path.clone(), alias: Some("x".into()), cast: Some("int".into()) }]
    );
    assert_eq!(
        node.filter,
        [Filter::Term { path: path.clone(), negated: false, test: one(Comparison::Eq, "1") }]
    );
    assert_eq!(node.order, [Order { relation: None, path, descending: true, nulls_first: None }]);
    let quoted = good("select=data->\"a.b\"->\"c>d\"");
    let path = Path {
        field: "data".into(),
        steps: vec![Step::Key("a.b".into()), Step::Key("c>d".into())],
        text: false,
    };
    assert_eq!(quoted.select, [Item::Field { path, alias: None, cast: None }]);
}

#[test]
fn names_may_be_quoted_or_hold_spaces_dashes_and_other_letters() {
    for (query, name) in [
        ("select=a-b", "a-b"),
        ("select=Ünï_1$", "Ünï_1$"),
        ("select=a b", "a b"),
        ("select=\"a.b,c:d(e)\"", "a.b,c:d(e)"),
        ("select= a ", "a"),
    ] {
        assert_eq!(
            good(query).select,
            [Item::Field { path: Path::field(name), alias: None, cast: None }],
            "{query}"
        );
    }
    assert_eq!(filter("\"a.b\"=eq.1"), eq("a.b", "1"));
}

#[test]
fn a_missing_or_empty_select_is_everything() {
    assert_eq!(good("").select, [Item::All]);
    assert_eq!(good("select=").select, [Item::All]);
    assert_eq!(good("select=*,a").select.len(), 2);
}

#[test]
fn embeds_have_aliases_hints_joins_and_depths() {
    let node = good("select=id,w:author!posts_author_fkey!inner(name,team!left!x(*)),...owner(a),c()");
    let field = |name: &str| Item::Field { path: Path::field(name), alias: None, cast: None };
    let embed = |target: &str, select: Vec<Item>| Embed {
        alias: None,
        target: target.into(),
        hint: None,
        inner: false,
        spread: false,
        node: Node { select, ..Node::default() },
    };
    assert_eq!(
        node.select,
        [
            field("id"),
            Item::Embed(Embed {
                alias: Some("w".into()),
                hint: Some("posts_author_fkey".into()),
                inner: true,
                ..embed(
                    "author",
                    vec![
                        field("name"),
                        Item::Embed(Embed { hint: Some("x".into()), ..embed("team", vec![Item::All]) })
                    ]
                )
            }),
            Item::Embed(Embed { spread: true, ..embed("owner", vec![field("a")]) }),
            Item::Embed(embed("c", vec![])),
        ]
    );
    assert!(node.filter.is_empty());
    assert!(good("select=a(b(c(d)))").select.len() == 1);
    assert_eq!(node_fault("select=a(b(c(d(e))))"), Fault::TooMany { what: "levels of embeds", most: 3 });
}

fn node_fault(query: &str) -> Fault {
    node(query).expect_err(query)
}

#[test]
fn aggregates_are_recognised_as_such() {
    for (select, function) in [
        ("count()", "count"),
        ("n:count()::text", "count"),
        ("price.sum()", "sum"),
        ("x:price::int.avg()::int", "avg"),
        ("a->b.max()", "max"),
    ] {
        assert_eq!(
            good(&format!("select={select}")).select,
            [Item::Aggregate { function: function.into() }],
            "{select}"
        );
    }
    let Some(Item::Embed(embed)) = good("select=comments(count)").select.pop() else { panic!() };
    assert_eq!(embed.node.select, [Item::Field { path: Path::field("count"), alias: None, cast: None }]);
}

#[test]
fn orders_have_directions_nulls_and_relations() {
    let order = |relation: Option<&str>, name: &str, descending, nulls_first| Order {
        relation: relation.map(str::to_owned),
        path: Path::field(name),
        descending,
        nulls_first,
    };
    assert_eq!(
        good("order=a,b.asc,c.desc, d.nullsfirst,e.desc.nullslast,author(name).desc.nullsfirst").order,
        [
            order(None, "a", false, None),
            order(None, "b", false, None),
            order(None, "c", true, None),
            order(None, "d", false, Some(true)),
            order(None, "e", true, Some(false)),
            order(Some("author"), "name", true, Some(true)),
        ]
    );
    for query in
        ["order=", "order=a.up", "order=a.desc.asc", "order=a.nullslast.desc", "order=a,", "order=a(b"]
    {
        assert!(matches!(node_fault(query), Fault::Syntax { what: "order", .. }), "{query}");
    }
}

#[test]
fn logic_trees_nest_negate_and_and_together() {
    let and = |terms, negated| Filter::And { terms, negated };
    let or = |terms, negated| Filter::Or { terms, negated };
    let node = good(
        "or=(a.eq.1,and(b.eq.2,not.or(c.eq.3, d.not.is.null)))&and=(e.eq.4)&not.or=(f.eq.5)&not.and=(g.eq.6)",
    );
    assert_eq!(
        node.filter,
        [
            or(
                vec![
                    eq("a", "1"),
                    and(
                        vec![
                            eq("b", "2"),
                            or(
                                vec![
                                    eq("c", "3"),
                                    Filter::Term {
                                        path: Path::field("d"),
                                        negated: true,
                                        test: Test::Is(Is::Null)
                                    }
                                ],
                                true
                            )
                        ],
                        false
                    )
                ],
                false
            ),
            and(vec![eq("e", "4")], false),
            or(vec![eq("f", "5")], true),
            and(vec![eq("g", "6")], true),
        ]
    );
    let negated = |field: &str, negated| Filter::Term {
        path: Path::field(field),
        negated,
        test: one(Comparison::Eq, "1"),
    };
    assert_eq!(
        filter("or=(not.a.eq.1,b.not.eq.1,not.c.not.eq.1,nota.eq.1)"),
        or(vec![negated("a", true), negated("b", true), negated("c", false), negated("nota", false)], false)
    );
    // Fields may be called like operators, and start with them.
    assert_eq!(filter("or=(order_no.eq.1,and.eq.2)"), or(vec![eq("order_no", "1"), eq("and", "2")], false));
}

#[test]
fn operands_in_trees_end_where_they_should() {
    for (operand, expected) in [
        ("a.b c", "a.b c"),
        ("\"a,b)\"", "a,b)"),
        ("\"a\\\"b\"", "a\"b"),
        ("\"a\"b", "\"a\"b"),
        ("{1,2}", "{1,2}"),
        ("{\"a}b\",{c,d}}", "{\"a}b\",{c,d}}"),
        ("(x", "(x"),
        ("", ""),
    ] {
        let query = [("or".to_owned(), format!("(a.eq.{operand},b.eq.1)"))];
        let node = read(&query, &BOUNDS).unwrap();
        let expected = Filter::Or { terms: vec![eq("a", expected), eq("b", "1")], negated: false };
        assert_eq!(node.filter, [expected], "{operand}");
    }
    assert_eq!(
        filter("or=(r.sl.[1,2),s.in.(1,\"2,3\"),t.cs.{a,b},u.fts(simple).x)"),
        Filter::Or {
            terms: vec![
                term("r", Test::Range { operator: "sl", operand: "[1,2)".into() }),
                term("s", Test::In(strings(&["1", "2,3"]))),
                term("t", Test::Contains("{a,b}".into())),
                term(
                    "u",
                    Test::FullText {
                        parser: FullText::Query,
                        config: Some("simple".into()),
                        query: "x".into()
                    }
                ),
            ],
            negated: false
        }
    );
}

#[test]
fn modifiers_reach_embeds_by_alias_or_target() {
    let node = good(
        "select=id,c:comments(text,author(name))&c.order=id.desc&comments.limit=3&c.offset=1\
         &c.author.name=eq.x&c.or=(a.eq.1)&c.not.and=(b.eq.2)&comments=is.null",
    );
    assert_eq!(node.filter, [term("comments", Test::Is(Is::Null))]);
    let Some(Item::Embed(comments)) = node.select.get(1) else { panic!() };
    assert_eq!(comments.node.limit, Some(3));
    assert_eq!(comments.node.offset, Some(1));
    assert_eq!(comments.node.order.len(), 1);
    assert_eq!(
        comments.node.filter,
        [
            Filter::Or { terms: vec![eq("a", "1")], negated: false },
            Filter::And { terms: vec![eq("b", "2")], negated: true }
        ]
    );
    let Some(Item::Embed(author)) = comments.node.select.get(1) else { panic!() };
    assert_eq!(author.node.filter, [eq("name", "x")]);
}

#[test]
fn an_alias_goes_before_a_target_of_the_same_name() {
    let node = good("select=b(x),b:a(y)&b.limit=1&a.limit=2");
    let limits: Vec<_> = node
        .select
        .iter()
        .map(|item| match item {
            Item::Embed(embed) => embed.node.limit,
            _ => panic!(),
        })
        .collect();
    assert_eq!(limits, [Some(1), Some(2)]);
}

#[test]
fn what_is_not_embedded_cannot_be_modified() {
    for query in ["comments.order=id", "comments.id=eq.1", "comments.or=(a.eq.1)", "select=a(*)&a.b.limit=1"]
    {
        let error = Error::from(node_fault(query));
        assert_eq!(error.code.as_str(), "PGRST108", "{query}");
    }
    let error = Error::from(node_fault("comments.id=eq.1"));
    assert_eq!(error.message, "'comments' is not an embedded resource in this request");
    assert_eq!(
        error.hint.as_deref(),
        Some("Verify that 'comments' is included in the 'select' query parameter.")
    );
}

#[test]
fn faults_say_where_and_what_was_expected() {
    let details = |found: &str, expected: &str| format!("unexpected {found} expecting {expected}");
    assert_eq!(
        bad("age=nope.1"),
        (
            "\"failed to parse filter (nope.1)\" (line 1, column 1)".into(),
            details("\"n\"", "\"not\" or operator (eq, gt, ...)")
        )
    );
    assert_eq!(
        bad("age=is.maybe"),
        (
            "\"failed to parse filter (is.maybe)\" (line 1, column 4)".into(),
            details("\"m\"", "isVal: (null, not_null, true, false, unknown)")
        )
    );
    assert_eq!(
        bad("select=a(b"),
        (
            "\"failed to parse select parameter (a(b)\" (line 1, column 4)".into(),
            details("end of input", "\",\" or \")\"")
        )
    );
    assert_eq!(
        bad("or=(é.eq.1"),
        (
            "\"failed to parse logic tree ((é.eq.1)\" (line 1, column 8)".into(),
            details("end of input", "\",\" or \")\"")
        )
    );
}

#[test]
fn what_is_not_of_the_dialect_is_refused() {
    for query in [
        "a",
        "a=1",
        "a=eq",
        "a=eq1",
        "a=EQ.1",
        "a=not.not.eq.1",
        "a=in.1",
        "a=in.(1",
        "a=in.(1)x",
        "a=is.nullx",
        "a=neq(any).{1}",
        "a=eq(some).{1}",
        "a=eq(any).1",
        "a=eq(any).{1,null}",
        "a=eq(any).{{1}}",
        "a=fts().x",
        "a->>b->c=eq.1",
        "a->=eq.1",
        ".a=eq.1",
        "a.=eq.1",
        "=eq.1",
        "or=()",
        "or=(a)",
        "or=(a.eq.1",
        "or=(a.eq.1)x",
        "or=a.eq.1",
        "or=(a.eq.{1)",
        "or=(a.eq.{1}x)",
        "or=(r.sl.[1,2",
        "select=a,",
        "select=,a",
        "select=a)",
        "select=a(b))",
        "select=a::",
        "select=a:",
        "select=a:b:c",
        "select=a.nope()",
        "select=a.sum",
        "select=\"a",
        "select=a!b!c(d)",
        "select=a!inner!left(d)",
        "select=...a",
        "select=...x:a(b)",
        "limit=x",
        "limit=",
        "offset=1.5",
    ] {
        assert_eq!(Error::from(node_fault(query)).code.as_str(), "PGRST100", "{query}");
    }
}

#[test]
fn requests_are_bounded() {
    let many = |term: &str, count: usize| vec![term; count].join(",");
    assert!(node(&format!("or=({})", many("a.eq.1", 50))).is_ok());
    let too_many = Fault::TooMany { what: "filter terms", most: 50 };
    assert_eq!(node_fault(&format!("or=({})", many("a.eq.1", 51))), too_many);
    assert_eq!(node_fault(&format!("b=eq.1&or=({})", many("a.eq.1", 50))), too_many);
    assert!(node(&format!("a=in.({})", many("1", 20))).is_ok());
    let too_long = Fault::TooMany { what: "values in one list", most: 20 };
    assert_eq!(node_fault(&format!("a=in.({})", many("1", 21))), too_long);
    assert_eq!(node_fault(&format!("a=eq(any).{{{}}}", many("1", 21))), too_long);
    let deep = |depth: usize| format!("or={}a.eq.1{}", "(and".repeat(depth) + "(", ")".repeat(depth + 1));
    assert!(node(&deep(31)).is_ok());
    assert!(matches!(node_fault(&deep(32)), Fault::TooMany { .. }));
    assert!(matches!(node_fault(&deep(100_000)), Fault::TooMany { .. }));
}

#[test]
fn columns_and_conflict_targets_are_names() {
    assert_eq!(columns("a,\"b,c\", d ,a"), Ok(strings(&["a", "b,c", "d"])));
    assert_eq!(on_conflict("a"), Ok(strings(&["a"])));
    assert!(columns("").is_err() && columns("a,").is_err() && columns("a b.c").is_err());
    let error = Error::from(on_conflict("a;").unwrap_err());
    assert_eq!(error.message, "\"failed to parse on_conflict parameter (a;)\" (line 1, column 2)");
}

#[test]
fn query_strings_are_decoded_once() {
    let read = |raw| parameters(raw).map(|pairs| pairs.into_iter().next().unwrap());
    let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
    assert_eq!(read("a=b"), pair("a", "b"));
    assert_eq!(read("a%2eb=c+d%2B%26%3D"), pair("a.b", "c d+&="));
    assert_eq!(read("a=b=c"), pair("a", "b=c"));
    assert_eq!(read("a"), pair("a", ""));
    assert_eq!(read("a=%25zz%z"), pair("a", "%zz%z"));
    assert_eq!(read("a=%c3%A9"), pair("a", "é"));
    assert_eq!(parameters(""), Ok(vec![]));
    assert_eq!(parameters("&&a=1&").map(|pairs| pairs.len()), Ok(1));
    assert!(matches!(parameters("a=%ff"), Err(Fault::Encoding(_))));
    assert!(matches!(parameters("a%00=1"), Err(Fault::Encoding(_))));
}

#[test]
fn limits_and_offsets_are_not_negative() {
    let node = good("limit=0&offset=99999999999999999999");
    assert_eq!((node.limit, node.offset), (Some(0), Some(i64::MAX as u64)));
    let error = Error::from(node_fault("limit=-1"));
    assert_eq!((error.code.as_str(), error.code.status()), ("PGRST103", 416));
    assert_eq!(error.details, Some("Limit should be greater than or equal to zero.".into()));
    assert_eq!(node_fault("offset=-1"), Fault::Range(RangeFault::NegativeOffset));
    assert_eq!(good("limit=-0").limit, Some(0));
}

#[test]
fn a_range_is_rows_from_zero_and_anything_else_is_ignored() {
    let window = |offset, limit| Ok(Some(Window { offset, limit }));
    assert_eq!(range("0-9"), window(0, Some(10)));
    assert_eq!(range(" 5-5 "), window(5, Some(1)));
    assert_eq!(range("10-"), window(10, None));
    assert_eq!(range("0-99999999999999999999"), window(0, Some(i64::MAX as u64)));
    for other in ["", "-", "-5", "bytes=0-1", "a-b", "1-2-3", "1", "0-1,2-3"] {
        assert_eq!(range(other), Ok(None), "{other}");
    }
    assert_eq!(range("5-3"), Err(Fault::Range(RangeFault::Reversed)));
}

#[test]
fn a_range_narrows_limit_and_offset() {
    let narrowed = |query: &str, header: &str| {
        let mut node = good(query);
        range(header)?.unwrap().narrow(&mut node)?;
        Ok((node.offset, node.limit))
    };
    assert_eq!(narrowed("", "0-9"), Ok((None, Some(10))));
    assert_eq!(narrowed("", "5-"), Ok((Some(5), None)));
    assert_eq!(narrowed("limit=3", "0-9"), Ok((None, Some(3))));
    assert_eq!(narrowed("limit=20&offset=5", "0-9"), Ok((Some(5), Some(5))));
    assert_eq!(narrowed("limit=4&offset=2", "4-100"), Ok((Some(4), Some(2))));
    assert_eq!(narrowed("limit=0", "5-9"), Ok((None, Some(0))));
    assert_eq!(narrowed("limit=5", "5-9"), Err(Fault::Range(RangeFault::Disjoint)));
    assert_eq!(narrowed("offset=10", "0-9"), Err(Fault::Range(RangeFault::Disjoint)));
}

#[test]
fn long_hostile_texts_take_linear_time() {
    let started = std::time::Instant::now();
    for piece in ["a->", "\"", "{", "(", "not.", "a.", "\\", "\",", "and(", "{,a.eq.", "a!", "...", "-", ","]
    {
        let long = piece.repeat(200_000);
        for (key, value) in [
            ("select", long.clone()),
            ("order", long.clone()),
            ("or", format!("(a.eq.{long}")),
            ("or", format!("(a.in.({long}")),
            ("a", format!("eq(any).{{{long}")),
            (&long, "eq.1".to_owned()),
        ] {
            let _ = read(&[(key.to_owned(), value)], &Bounds { in_values: 1_000_000, ..BOUNDS });
        }
    }
    // A quadratic pass over 200 kB takes minutes in a debug build; a linear one milliseconds.
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(key in "\\PC{0,30}", value in "\\PC{0,60}") {
        let _ = read(&[(key.clone(), value.clone())], &BOUNDS);
        for key in ["select", "order", "or", "not.and", "limit", "a"] {
            let _ = read(&[(key.to_owned(), value.clone())], &BOUNDS);
        }
        let _ = columns(&value);
        let _ = parameters(&value);
        let _ = range(&value);
        let _ = crate::query::preferences::Preferences::parse([value.as_str()]);
    }

    #[test]
    fn no_text_of_the_grammars_letters_makes_a_parser_panic(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "a", "é", "not", "and", "or", "eq", "in", "is", "null", "count", "inner", "any", "sum", "desc", "0", "-1",
            ".", ",", "(", ")", "{", "}", "[", "]", "\"", "\\", "->", "->>", "::", ":", "!", "...", "*", " ", "()",
        ]), 0..24)
    ) {
        let text = words.concat();
        for key in ["select", "order", "or", "not.and", "a", text.as_str()] {
            let _ = read(&[(key.to_owned(), text.clone())], &BOUNDS);
        }
        let _ = columns(&text);
    }

    #[test]
    fn any_value_survives_quoting(values in proptest::collection::vec("\\PC{0,12}", 1..6)) {
        let quoted: Vec<String> = values
            .iter()
            .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        let list = format!("in.({})", quoted.join(","));
        proptest::prop_assert_eq!(test(&list), Test::In(values.clone()));
        let tree = format!("(a.eq.{},b.eq.1)", quoted[0]);
        let node = read(&[("or".to_owned(), tree)], &BOUNDS);
        let expected = Filter::Or { terms: vec![eq("a", &values[0]), eq("b", "1")], negated: false };
        proptest::prop_assert_eq!(node.map(|node| node.filter), Ok(vec![expected]));
    }

    #[test]
    fn any_query_string_survives_encoding(key in "\\PC{1,12}", value in "\\PC{0,24}") {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let raw = format!("{}={}", encode(&key), encode(&value));
        proptest::prop_assert_eq!(parameters(&raw), Ok(vec![(key, value)]));
    }
}
