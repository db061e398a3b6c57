//! The language from its text to its decisions, over a small project: a blog.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::model::{
    Attribute, Collection, CollectionId, Collections, Field, FieldId, Kind, Name, OnDelete, Principal,
    Record, Relation, RelationTarget, Scalar, Schema, Value,
};
use crate::sql::Sql;

fn name(text: &str) -> Name {
    Name::declared(text).unwrap()
}

fn field(text: &str, kind: &str) -> Field {
    Field {
        name: name(text),
        kind: Kind::from_yaml(kind).unwrap(),
        required: false,
        default: None,
        min: None,
        max: None,
        pattern: None,
        values: None,
        relation: None,
        schema: None,
        renamed_from: None,
    }
}

fn relation(text: &str, target: RelationTarget, inverse: &str) -> Field {
    let relation =
        Relation { target, on_delete: OnDelete::Restrict, constraint: name("fk"), inverse: name(inverse) };
    Field { relation: Some(relation), ..field(text, "uuid") }
}

fn collection(text: &str, fields: Vec<Field>) -> Collection {
    let mut all = vec![field("id", "uuid")];
    all.extend(fields);
    Collection {
        name: name(text),
        schema: Schema::Public,
        fields: all,
        primary_key: vec![FieldId(0)],
        unique: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        search: None,
        realtime: true,
        timestamps: false,
        renamed_from: None,
    }
}

fn blog() -> Collections {
    let values = Some(["draft", "review", "published"].map(str::to_owned).to_vec());
    Collections::new(vec![
        collection(
            "profiles",
            vec![field("handle", "text"), relation("account", RelationTarget::Users, "profiles")],
        ),
        collection(
            "posts",
            vec![
                field("title", "text"),
                Field { values, ..field("status", "text") },
                field("views", "integer"),
                field("score", "float"),
                field("price", "decimal"),
                field("pinned", "boolean"),
                field("made", "timestamp"),
                field("day", "date"),
                field("tags", "text[]"),
                field("meta", "json"),
                relation("author", RelationTarget::Collection(CollectionId(0)), "posts"),
            ],
        ),
        collection(
            "comments",
            vec![
                field("body", "text"),
                relation("post", RelationTarget::Collection(CollectionId(1)), "comments"),
            ],
        ),
    ])
}

struct Place {
    collections: Collections,
    on: Option<&'static str>,
    old: bool,
    own_fields_only: bool,
    captures: Vec<Name>,
    named: HashMap<Name, Syntax>,
}

impl Place {
    fn on(collection: &'static str) -> Place {
        let named = [
            ("mine", "author == auth.id"),
            ("live", "status == 'published'"),
            ("loop_a", "loop_b"),
            ("loop_b", "!loop_a"),
        ];
        Place {
            collections: blog(),
            on: Some(collection),
            old: false,
            own_fields_only: false,
            captures: Vec::new(),
            named: named.into_iter().map(|(at, text)| (name(at), parse(text).unwrap())).collect(),
        }
    }

    fn check(&self, text: &str) -> Result<Condition, Vec<Fault>> {
        let scope = Scope {
            collections: &self.collections,
            collection: self.on.map(|on| self.collections.get(self.collections.find(on).unwrap())),
            named: &self.named,
            old: self.old,
            own_fields_only: self.own_fields_only,
            captures: &self.captures,
        };
        parse(text).and_then(|syntax| check(&syntax, &scope))
    }

    /// The first fault as `part of the text: message (hint)`.
    fn fault(&self, text: &str) -> String {
        match self.check(text) {
            Ok(_) => panic!("{text} is taken"),
            Err(faults) => {
                let fault = &faults[0];
                let hint = fault.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
                format!("{}: {}{hint}", &text[fault.span.clone()], fault.message)
            }
        }
    }

    fn sql(&self, text: &str) -> String {
        let condition = self.check(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
        let mut sql = Sql::new();
        let row = sql.fresh();
        let principal = Principal::user(Uuid::nil(), &[]);
        let captures: Vec<String> = self.captures.iter().map(Name::to_string).collect();
        let binding = Binding {
            collections: &self.collections,
            row: Row::Alias(row),
            old: None,
            principal: &principal,
            captures: &captures,
        };
        condition.to_sql(&mut sql, &binding);
        sql.text().to_owned()
    }
}

#[test]
fn a_condition_in_words_means_the_same_and_names_what_it_uses() {
    let posts = Place::on("posts");
    for (text, words) in [
        ("true", "true"),
        ("mine", "mine"),
        ("!mine && (live||pinned)", "!mine && (live || pinned)"),
        ("pinned && mine || title == 'a && b'", "(pinned && mine) || title == 'a && b'"),
        ("!(views == 1) && !(mine || live) && !!pinned", "!(views == 1) && !(mine || live) && !(!pinned)"),
        ("comments.exists(c, c.body == 'a' || mine)", "comments.exists(c, c.body == 'a' || mine)"),
        ("status in ['draft','review']", "status in ['draft','review']"),
        ("author.handle.startsWith('a')", "author.handle.startsWith('a')"),
    ] {
        let condition = posts.check(text).unwrap();
        assert_eq!(condition.to_string(), words);
        assert_eq!(posts.check(words).unwrap(), condition, "{text}");
    }
    let named = posts.check("comments.exists(c, mine) && !live").unwrap().named();
    let named: Vec<String> = named.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    assert_eq!(named, ["live: status == 'published'", "mine: author == auth.id"]);
}

#[test]
fn a_fault_says_where_it_is_and_what_to_write_instead() {
    let posts = Place::on("posts");
    for (text, told) in [
        ("", ": the condition is empty (write `true` for a condition that always holds)"),
        ("status = 'draft'", "=: `=` is not part of the condition language (comparing is written `==`)"),
        ("pinned and pinned", "and: `and` stands where the end of the condition is expected (write `&&`)"),
        ("pinned or pinned", "or: `or` stands where the end of the condition is expected (write `||`)"),
        ("not pinned", "pinned: `pinned` stands where the end of the condition is expected"),
        (
            "title is null",
            "is: `is` stands where the end of the condition is expected (null is tested with `== null` and `!= null`)",
        ),
        (
            "titel == 'a'",
            "titel: `titel` is no field of `posts`, no condition and no variable (did you mean `title`?)",
        ),
        ("mien", "mien: `mien` is no field of `posts`, no condition and no variable (did you mean `mine`?)"),
        ("auth.ide == author", "ide: `auth` has no `ide` (did you mean `id`?)"),
        ("status == 'drafd'", "'drafd': `drafd` is none of the field's values (did you mean `draft`?)"),
        ("author == 'me'", "'me': 'me' is no uuid (for example '018f3a5e-7c1b-7cc2-9d5b-0242ac120002')"),
        ("views == '5'", "'5': text stands where an integer is expected (numbers stand without quotes)"),
        (
            "title == author",
            "title == author: a text is compared with a uuid (a uuid becomes text by adding to text: `auth.id + ''`)",
        ),
        ("title", "title: `title` is a text, not a condition (compare it with something)"),
        (
            "!status == 'draft'",
            "!status ==: `!` before a comparison can be read in two ways (put what is turned around in parentheses: `!(a == b)`)",
        ),
        ("1 < views < 3", "<: comparisons do not chain (join two of them with `&&`: `a < b && b < c`)"),
        ("title < null", "title < null: null has no order (null is tested with `== null` and `!= null`)"),
        ("meta == 'a'", "'a': json can only be compared with null"),
        (
            "meta.a == 'a'",
            "a: `meta` is a field of kind json and has no fields (conditions do not look into JSON; give what policies need a field of its own)",
        ),
        (
            "author.account.email == 'a'",
            "email: `account` refers to a user, whose record cannot be followed (compare it with `auth.id`)",
        ),
        (
            "comments == 3",
            "comments: `comments` is a set of records and has no value (ask for one of them: `comments.exists(x, …)`)",
        ),
        (
            "comments.exists(title, true)",
            "title: the variable `title` would hide a field of the record (choose another name)",
        ),
        (
            "comments.exists(auth, true)",
            "auth: the variable `auth` would hide a word of the language (choose another name)",
        ),
        ("comments.exists(c, c.bodi == 'a')", "bodi: `comments` has no field `bodi` (did you mean `body`?)"),
        ("comments.exists(c, c)", "c: `c` is a whole record (name one of its fields: `c.id`)"),
        (
            "old.status == 'draft'",
            "old: `old.` is the record before the write, which only the `check` of an update has",
        ),
        ("title.beginsWith('a')", "beginsWith: there is no function `beginsWith`"),
        (
            "title.startswith('a')",
            "startswith: there is no function `startswith` (did you mean `startsWith`?)",
        ),
        (
            "title.matches('a(?=b)')",
            "(?: look-around, named groups and inline flags are not part of the pattern language (groups are `( … )` or `(?: … )`; write `[aA]` where case must not matter)",
        ),
        (
            "title == 'a\\d'",
            "\\d: `\\` begins no escape here (there are `\\\\ \\' \\\" \\n \\r \\t \\u0000`; text without escapes is written r'…')",
        ),
        (
            "title == 'it''s'",
            "'': a doubled quote does not stand for a quote (write `\\'`, or use the other kind of quotes outside)",
        ),
        (
            "title == 'a",
            "'a: the text does not end (close it with the quote it began with; inside, write the quote as `\\'`)",
        ),
        (
            "made > now() - duration('7d')",
            "'7d': '7d' is no duration (numbers with `h`, `m`, `s`, `ms` or `us`, less than 1,000 years: `1h30m`, `90s`; a week is `168h`)",
        ),
        (
            "made - day > duration('1h')",
            "made - day: a date is taken from a timestamp (move the difference to the other side: `a > b + duration(\"24h\")`)",
        ),
        (
            "auth.claims.a == auth.claims.b",
            "auth.claims.a == auth.claims.b: nothing here says what kind the claims have (compare a claim with a field or a literal)",
        ),
        ("tags.contains('a')", "tags.contains('a'): an array is not text (write `'a' in tags`)"),
        (
            "status in [auth.role]",
            "auth.role: a list holds literals (compare with this one by itself: `a == b || a in [ … ]`)",
        ),
        (
            "loop_a",
            "loop_a: in the condition `loop_a` → `loop_b`, at `loop_a`: the condition `loop_a` uses itself",
        ),
        (
            "live && views > 'x'",
            "'x': text stands where an integer is expected (numbers stand without quotes)",
        ),
    ] {
        assert_eq!(posts.fault(text), told);
    }
    let on_profiles = Place::on("profiles").fault("handle != null && mine");
    assert_eq!(
        on_profiles,
        "mine: in the condition `mine`, at `author`: `author` is no field of `profiles`, no condition and no variable \
         (did you mean `auth`?)"
    );
}

#[test]
fn every_fault_of_a_condition_is_told_at_once() {
    let faults = Place::on("posts").check("titel == 'a' && (status == 'x' || view > 1)").unwrap_err();
    let spans: Vec<_> = faults.iter().map(|fault| fault.span.clone()).collect();
    assert_eq!(spans, [0..5, 27..30, 34..38]);
}

#[test]
fn a_check_speaks_of_the_records_own_fields_only() {
    let own = Place { own_fields_only: true, ..Place::on("posts") };
    assert!(own.check("status != 'published' || title != null").is_ok());
    for text in [
        "author == auth.id",
        "author.handle == 'a'",
        "comments.exists(c, true)",
        "profiles.exists(p, true)",
        "made < now()",
        "old.title == title",
    ] {
        assert!(own.check(text).is_err(), "{text}");
    }
}

#[test]
fn precedence_is_or_then_and_then_not() {
    let posts = Place::on("posts");
    assert_eq!(
        posts.sql("pinned || !pinned && views > 1 || mine"),
        "(t0.\"pinned\" or ((not t0.\"pinned\") and (t0.\"views\" > $1)) or (t0.\"author\" = $2))"
    );
    assert_eq!(posts.check("pinned && (true || mine)"), posts.check("pinned"));
}

#[test]
fn plain_comparisons_stay_plain_so_that_indexes_serve() {
    let posts = Place::on("posts");
    for (text, sql) in [
        ("author == auth.id", "(t0.\"author\" = $1)"),
        ("status == 'draft'", "(t0.\"status\" = $1)"),
        ("status in ['draft', 'review']", "(t0.\"status\" = any($1))"),
        ("'admin' in auth.roles", "($1 = any($2))"),
        ("title < 'm'", "(t0.\"title\" collate \"C\" < $1)"),
        ("score >= 1", "(t0.\"score\" >= $1)"),
        ("made > now() - duration('24h')", "(t0.\"made\" > (now() - $1))"),
        (
            "author.handle == 'ada'",
            "((select t1.\"handle\" from public.\"profiles\" t1 where t1.\"id\" = t0.\"author\") = $1)",
        ),
        (
            "comments.exists(c, c.body == title)",
            "(exists (select 1 from public.\"comments\" t1 where t1.\"post\" = t0.\"id\" and (t1.\"body\" = t0.\"title\")))",
        ),
        (
            "author.posts.all(p, p.pinned)",
            "(not exists (select 1 from public.\"posts\" t1 where t1.\"author\" = t0.\"author\" and (t1.\"pinned\") is not true))",
        ),
    ] {
        assert_eq!(posts.sql(text), sql, "{text}");
    }
}

#[test]
fn what_a_condition_reaches_and_reads_is_known_without_a_row() {
    let place = Place { old: true, ..Place::on("posts") };
    let of = |text: &str| place.check(text).unwrap();
    assert_eq!(of("mine && live").reach(), Reach::Row);
    assert_eq!(of("author.handle == 'a'").reach(), Reach::Database);
    let reads = of("author.handle == 'a' || comments.exists(c, c.post.author.handle == 'b')").reads();
    assert_eq!(reads.into_iter().map(|id| id.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(of("comments.exists(c, c.body == old.title)").mentions_old());
    assert!(!of("mine").mentions_old());
    assert_eq!(
        of("mine && auth.claims.a.b == 'x' && auth.claims.c != null && author != auth.id").attributes(),
        [
            Attribute::Id,
            Attribute::Claim(vec!["a".to_owned(), "b".to_owned()]),
            Attribute::Claim(vec!["c".to_owned()])
        ]
    );
    let fields: Vec<u16> = of("pinned && author.handle == 'a'").fields().iter().map(|id| id.0).collect();
    assert_eq!(fields, [6, 11]);
}

#[test]
fn conditions_join_and_simplify() {
    let posts = Place::on("posts");
    let (live, mine) = (posts.check("live").unwrap(), posts.check("mine").unwrap());
    assert!(Condition::any([live.clone(), Condition::always()]).is_always());
    assert_eq!(Condition::any([]), Condition::never());
    assert!(Condition::all([]).is_always());
    assert_eq!(Condition::any([Condition::never(), live.clone()]), live);
    assert_eq!(Condition::all([live.clone(), Condition::never(), mine.clone()]), Condition::never());
    assert_eq!(posts.check("!true || live").unwrap(), live);
    assert_ne!(Condition::any([live.clone(), mine.clone()]), Condition::all([live, mine]));
}

#[test]
fn a_claim_of_the_wrong_kind_is_null() {
    let posts = Place::on("posts");
    let mut principal = Principal::user(Uuid::nil(), &[]);
    let claims = json!({ "word": 7, "number": "7", "level": 3.0, "ids": ["00000000-0000-0000-0000-000000000000"], "odd": [1, "a"], "nul": "a\0" });
    principal.claims = claims.as_object().unwrap().clone();
    let record = Record(
        (0..12)
            .map(|at| match at {
                1 => Value::text("7"),
                3 => Value::Integer(7),
                11 => Value::Uuid(Uuid::nil()),
                _ => Value::Null,
            })
            .collect(),
    );
    let rows = Rows::default();
    let decide = |text: &str| {
        let condition = posts.check(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
        let env = Env {
            collections: &posts.collections,
            record: &record,
            old: None,
            principal: &principal,
            now: 0,
            captures: &[],
            rows: &rows,
        };
        assert_eq!(condition.explain(&env).truth, condition.evaluate(&env));
        condition.evaluate(&env)
    };
    assert_eq!(decide("title == auth.claims.word"), None);
    assert_eq!(decide("title == auth.claims.number"), Some(true));
    assert_eq!(decide("views == auth.claims.number"), None);
    assert_eq!(decide("views == auth.claims.word"), Some(true));
    assert_eq!(decide("auth.claims.level >= 3"), Some(true));
    assert_eq!(decide("author in auth.claims.ids"), Some(true));
    assert_eq!(decide("title in auth.claims.odd"), None);
    assert_eq!(decide("!(title in auth.claims.odd)"), None);
    assert_eq!(decide("title != auth.claims.nul"), None);
    assert_eq!(decide("auth.claims.gone == null && auth.claims.word != null"), Some(true));
    assert_eq!(decide("meta == null && title != null"), Some(true));
    assert_eq!(decide("pinned || mine"), Some(true));
    assert_eq!(decide("pinned && mine"), None);
    assert_eq!(decide("author.handle == null"), Some(true));
    assert_eq!(decide("comments.exists(c, true) || !comments.all(c, false)"), Some(false));
}

#[test]
fn an_explanation_names_the_term_that_failed_with_its_values() {
    let posts = Place::on("posts");
    let condition = posts.check("mine && status != 'published'").unwrap();
    let record =
        Record((0..12).map(|at| if at == 11 { Value::Uuid(Uuid::max()) } else { Value::Null }).collect());
    let principal = Principal::user(Uuid::nil(), &[]);
    let env = Env {
        collections: &posts.collections,
        record: &record,
        old: None,
        principal: &principal,
        now: 0,
        captures: &[],
        rows: &Rows::default(),
    };
    let explanation = condition.explain(&env);
    assert_eq!((explanation.part.clone(), explanation.truth), (Part::And, Some(false)));
    let mine = &explanation.children[0];
    assert_eq!((mine.part.clone(), mine.truth), (Part::Named(name("mine")), Some(false)));
    let Part::Term { text, values } = &mine.children[0].part else { panic!("{mine:?}") };
    assert_eq!(&**text, "author == auth.id");
    let told: Vec<_> = values.iter().map(|(text, value)| (&**text, value.clone())).collect();
    assert_eq!(told, [("author", Value::Uuid(Uuid::max())), ("auth.id", Value::Uuid(Uuid::nil()))]);
    assert_eq!(explanation.children[1].truth, None);
}

#[test]
fn a_topics_policy_speaks_of_captures_and_collections() {
    let topic = Place { on: None, captures: vec![name("room")], ..Place::on("posts") };
    assert_eq!(
        topic.sql("posts.exists(p, p.id == room && p.comments.exists(c, c.body == room))"),
        "(exists (select 1 from public.\"posts\" t1 where ((t1.\"id\" = $1) and (exists (select 1 from \
         public.\"comments\" t2 where t2.\"post\" = t1.\"id\" and (t2.\"body\" = $2))))))"
            .replace("         ", "")
    );
    assert!(topic.fault("title == 'a'").starts_with("title: `title` is no part of the topic"));
    assert!(topic.fault("posts.exists(room, true)").contains("would hide a part of the topic"));
}

#[test]
fn nothing_nests_or_grows_without_bound() {
    let posts = Place::on("posts");
    for text in [
        format!("{}true{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}pinned", "!".repeat(5_000)),
        format!("title{} == 'a'", ".lower()".repeat(1_000)),
        format!("title{} == 'a'", " + title".repeat(1_000)),
        format!("made{} < now()", " + duration('1h')".repeat(60)),
        format!("views in [{}", "[".repeat(9_000)),
    ] {
        assert!(posts.check(&text).is_err(), "{}", &text[..40]);
    }
    assert!(posts.check(&format!("title{} == 'a'", " + title".repeat(50))).is_ok());
    // Each uses the one before twice: written out, the last would come to 2^40 terms.
    let mut doubling = Place::on("posts");
    doubling.named.insert(name("d0"), parse("views == 1").unwrap());
    for at in 1..40 {
        let before = at - 1;
        doubling.named.insert(name(&format!("d{at}")), parse(&format!("d{before} && !d{before}")).unwrap());
    }
    assert!(doubling.check("d15").is_err());
    assert!(doubling.check("d39").is_err());
    let many = vec!["d5"; 2_000].join(" && ");
    doubling.named.insert(name("many"), parse(&many).unwrap());
    assert_eq!(doubling.check("many").unwrap_err().len(), 1);
    assert!(doubling.check("d5").is_ok());
}

#[test]
fn texts_take_both_quotes_escapes_and_raw_form() {
    let posts = Place::on("posts");
    for text in [
        r#"title == "it's""#,
        r"title == 'it\'s'",
        r"title == r'it' || title == 'it\u0027s'",
        r"title.matches('^\d+$')",
        r"title.matches(r'^\d+$')",
        r"title.matches('^\\d+$')",
    ] {
        assert!(posts.check(text).is_ok(), "{text}");
    }
}

#[test]
fn kinds_are_ordered_as_postgres_orders_them() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let of = |kind: &str, a: &str, b: &str| {
        let kind = Kind::from_yaml(kind).unwrap();
        compare(&Value::parse(kind, a).unwrap(), &Value::parse(kind, b).unwrap())
    };
    assert_eq!(of("float", "NaN", "Infinity"), Some(Greater));
    assert_eq!(of("float", "NaN", "NaN"), Some(Equal));
    assert_eq!(of("float", "-0", "0"), Some(Equal));
    assert_eq!(of("decimal", "NaN", "Infinity"), Some(Greater));
    assert_eq!(of("decimal", "1.10", "1.1"), Some(Equal));
    assert_eq!(of("decimal", "-1e400", "-1e300"), Some(Less));
    assert_eq!(of("interval", "1 mon", "30 days"), Some(Equal));
    assert_eq!(of("text", "Z", "a"), Some(Less));
    assert_eq!(of("inet", "10.0.0.0/8", "10.0.0.0/16"), Some(Less));
    assert_eq!(of("inet", "255.0.0.0/8", "::/0"), Some(Less));
    assert_eq!(of("text[]", "{a,NULL}", "{a,NULL}"), Some(Equal));
    let mixed = |float: f64, text: &str| {
        compare(&Value::Float(float), &Value::parse(Kind::one(Scalar::Decimal), text).unwrap())
    };
    assert_eq!(mixed(0.1, "0.1"), Some(Equal));
    // The shortest text that Postgres prints for this float is 9.999999999999999e+22.
    assert_eq!(mixed(1e23, "1e23"), Some(Less));
    assert_eq!(
        compare(&Value::Integer(9_007_199_254_740_993), &Value::Float(9_007_199_254_740_992.0)),
        Some(Greater)
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_language_panic(text in any::<String>()) {
        let _ = Place::on("posts").check(&text);
        let _ = Pattern::parse(&text);
    }

    #[test]
    fn no_row_of_tokens_makes_the_language_panic(words in prop::collection::vec(prop::sample::select(vec![
        "title", "status", "author", "comments", "auth", "old", "mine", "claims", "id", ".", ".", "(", ")", "[", "]", ",",
        "==", "!=", "<", "&&", "||", "!", "+", "-", "in", "null", "true", "now()", "'draft'", "\"", "1", "1.5", "exists",
        "all", "x", "size()", "lower()", "matches", "startsWith", "duration('1h')", " ", "r'",
    ]), 0..24)) {
        let place = Place { old: true, ..Place::on("posts") };
        if let Err(faults) = place.check(&words.concat()) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(words.concat().get(fault.span).is_some());
            }
        }
        let _ = place.check(&words.join(" "));
    }

    #[test]
    fn no_row_of_pattern_parts_makes_it_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "a", "\\", "[", "]", "^", "-", "(", ")", "?", ":", "*", "+", "{", "}", ",", "2", "|", "$", ".", "d", "W", "é", "\u{10ffff}",
    ]), 0..20)) {
        let text = parts.concat();
        match Pattern::parse(&text) {
            Ok(pattern) => {
                prop_assert!(regex::Regex::new(&pattern.to_rust()).is_ok());
                let _ = pattern.is_match("ad2é");
            }
            Err(fault) => prop_assert!(text.get(fault.span).is_some()),
        }
    }
}

#[test]
fn a_pattern_says_what_it_is_not() {
    let told = |text: &str| Pattern::parse(text).map_err(|fault| (fault.span, fault.message));
    for (text, span, message) in [
        ("a**", 1..3, "a repetition cannot be repeated"),
        ("a+?", 1..3, "a repetition cannot be repeated"),
        ("*a", 0..1, "there is nothing here to repeat"),
        ("^*", 0..2, "an anchor cannot be repeated"),
        ("(a", 0..1, "the group does not end"),
        ("a)", 1..2, "`)` closes no group"),
        ("[a", 0..2, "the class does not end"),
        ("[]", 1..2, "the class is empty"),
        ("[z-a]", 1..4, "the range runs backwards"),
        ("[[:alpha:]]", 1..2, "`[` inside a class stands for nothing"),
        (r"\1", 0..2, "back-references are not part of the pattern language"),
        (r"\bword", 0..2, "the only anchors are `^` and `$`"),
        (r"\p{L}", 0..2, "classes of Unicode are not part of the pattern language"),
        ("a{3,2}", 1..6, "the upper bound is under the lower one"),
        ("a{256}", 1..6, "a bound is at most 255"),
        ("a{x}", 1..4, "bounds are `{m}`, `{m,}` or `{m,n}`"),
        (r"[^\s\S]", 0..7, "no character is in this class"),
    ] {
        assert_eq!(told(text).unwrap_err(), (span, message.to_owned()), "{text}");
    }
    assert!(told("((a{200}){200}){200}").is_err());
    assert!(told(&"(".repeat(1_000)).is_err());
}

#[test]
fn anchors_and_the_dot_stop_at_lines_alike() {
    let matches = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().is_match(text);
    assert!(!matches("^a$", "a\n"));
    assert!(!matches("^b", "a\nb"));
    assert!(!matches("a.b", "a\nb"));
    assert!(matches(r"a[\s\S]b", "a\nb"));
    assert!(!matches(r"\d", "٣"));
    assert!(!matches(r"\w", "é"));
    assert!(matches("^.$", "𝔘"));
    assert!(matches("b", "abc"));
}
