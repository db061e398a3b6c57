//! Requests that nobody means well with, from a seed: each position of the dialect, filled with what is right, what
//! is nearly right and what is nonsense, so that every floor of the server meets some of it.

use std::ops::{Deref, DerefMut};

use basewright::model::{Kind, Scalar};

use super::wire::Request;
use super::words::{
    ACCEPT, BAD, BAD_OPERATORS, BODIES, CASTS, CONTENT_TYPES, NAMES, OPERATORS, PREFER, RANGES, STEPS,
    as_json, good,
};
use super::world::{self, Field, RECORDS, Target};
use crate::campaign::Dice;

/// Where a request's choices come from. Half of the requests are wrong only here and there: what is wrong everywhere
/// is refused at the first door and says little of those behind it.
#[derive(Debug)]
pub struct Choices {
    dice: Dice,
    tame: bool,
}

impl Choices {
    pub fn new(mut dice: Dice) -> Choices {
        let tame = !dice.one_in(3);
        Choices { dice, tame }
    }

    /// Whether to do something wrong, once in `n` times where much is wrong.
    fn odd(&mut self, n: u64) -> bool {
        let n = if self.tame { n * 15 } else { n };
        self.dice.one_in(n)
    }
}

impl Deref for Choices {
    type Target = Dice;

    fn deref(&self) -> &Dice {
        &self.dice
    }
}

impl DerefMut for Choices {
    fn deref_mut(&mut self) -> &mut Dice {
        &mut self.dice
    }
}

/// Makes requests.
#[derive(Debug)]
pub struct Maker {
    targets: Vec<Target>,
}

/// Who may send a request: an index into the callers, and whether his rights are everybody's.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Writes without a filter would empty the tables for everybody.
    pub careful: bool,
}

impl Maker {
    pub fn new() -> Maker {
        Maker { targets: world::targets() }
    }

    /// A request; the caller's own headers are not in it.
    pub fn request(&self, dice: &mut Choices, sender: Sender) -> Request {
        self.aimed(dice, sender).1
    }

    /// A request, and the collection that it is aimed at.
    pub fn aimed(&self, dice: &mut Choices, sender: Sender) -> (usize, Request) {
        let place = dice.below(self.targets.len() as u64) as usize;
        let method = match dice.below(40) {
            0 if dice.odd(1) => {
                dice.pick(&["PUT", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "G", "M-SEARCH"])
            }
            1..=3 => "HEAD",
            4..=13 => "POST",
            14..=20 => "PATCH",
            21..=24 => "DELETE",
            25 | 26 => "PUT",
            _ => "GET",
        };
        let mut parameters = self.parameters(dice, place);
        let key = dice.below(RECORDS as u64 + 5) as usize;
        if method == "PUT" && !dice.odd(3) {
            parameters.retain(|(name, _)| name == "select");
            let names: &[&str] = if place == 2 { &["one", "many"] } else { &["id"] };
            parameters
                .extend(names.iter().map(|name| ((*name).to_owned(), format!("eq.{}", world::key(key)))));
        }
        let unguarded = matches!(method, "PATCH" | "DELETE") && sender.careful;
        if unguarded {
            // Only a few of the records.
            let key = dice.below(RECORDS as u64) as usize;
            let field = if place == 2 { "one" } else { "id" };
            parameters.push((field.to_owned(), format!("eq.{}", world::key(key))));
        }
        if matches!(method, "POST" | "PATCH") && dice.one_in(6) {
            let names = self.names(dice, place);
            parameters.push(("columns".to_owned(), names));
        }
        if method == "POST" && dice.one_in(3) {
            let names = match dice.below(4) {
                0 => self.names(dice, place),
                1 => "code".to_owned(),
                2 => "id".to_owned(),
                _ => "one,many".to_owned(),
            };
            parameters.push(("on_conflict".to_owned(), names));
        }
        let mut target = self.path(dice, place).into_bytes();
        for (at, (name, value)) in parameters.iter().enumerate() {
            target.push(if at == 0 { b'?' } else { b'&' });
            encode(dice, name, &mut target);
            target.push(b'=');
            encode(dice, value, &mut target);
        }
        if dice.odd(30) {
            target.extend_from_slice(
                dice.pick(&[
                    "&",
                    "&&&",
                    "&=",
                    "&=eq.1",
                    "&%",
                    "&%zz=%",
                    "&select",
                    "?",
                    "&a=%00",
                    "&a=%ff",
                    "&%ed%a0%80=eq.%c0%af",
                ])
                .as_bytes(),
            );
        }
        if dice.odd(60) {
            // Longer than a target may be, or just as long.
            let length = dice.pick(&[8_000_usize, 16_000, 16_384, 40_000, 120_000]);
            target.extend(std::iter::repeat_n(b'a', length));
        }
        let body = match method {
            "PUT" if !dice.odd(3) => Some(self.whole(dice, place, key)),
            "POST" | "PATCH" | "PUT" => Some(self.body(dice, place)),
            _ if dice.odd(20) => Some(self.body(dice, place)),
            _ => None,
        };
        let headers = headers(dice, body.is_some());
        (place, Request { method: method.to_owned(), target, headers, body })
    }

    fn path(&self, dice: &mut Choices, place: usize) -> String {
        if !dice.odd(20) {
            let name = if dice.one_in(80) { "" } else { self.targets[place].name };
            return format!("/rest/v1/{name}");
        }
        (dice.pick(&[
            "/rest/v1",
            "/rest/v1/",
            "/rest/v1/%00",
            "/rest/v1/%ff",
            "/rest/v1/nope",
            "/rest/v1/rpc/nope",
            "/rest/v1/scalars/1",
            "/rest/v1/scalars/",
            "/rest/v1//scalars",
            "//rest/v1/scalars",
            "/rest/v1/../v1/scalars",
            "/rest/v1/%2e%2e/scalars",
            "/rest/v1/scalars%2f",
            "/rest/v1/SCALARS",
            "/rest/v1/scalars%20",
            "/rest/v1/%22scalars%22",
            "/rest/v1/public.scalars",
            "/rest/v1/auth.users",
            "/rest/v1/canaries%00",
            "/REST/v1/scalars",
            "/",
            "/rest/v1/%ed%a0%80",
            "/rest/v1/scalars;a=b",
            "/rest/v1/%",
            "/rest/v1/%zz",
            "/rest/v1/pg_class",
            "*",
            "/rest/v1/scalars%3Fselect=id",
        ]))
        .to_owned()
    }

    fn parameters(&self, dice: &mut Choices, place: usize) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut select = if dice.one_in(2) { self.select(dice, place, 0) } else { String::new() };
        for _ in 0..dice.below(4) {
            let prefix = match dice.below(6) {
                0 => {
                    let (embed, _) = dice.pick(self.targets[place].embeds);
                    let alias = format!("e{}", select.len());
                    if !dice.odd(2) {
                        select +=
                            &format!("{}{alias}:{embed}(*)", if select.is_empty() { "*," } else { "," });
                    }
                    format!("{alias}.")
                }
                _ => String::new(),
            };
            list.push(match dice.below(12) {
                0 | 1 => (format!("{prefix}order"), self.order(dice, place)),
                2 => (format!("{prefix}{}", dice.pick(&["limit", "offset"])), number(dice)),
                3 | 4 => {
                    let name = dice.pick(&["or", "and", "not.or", "not.and"]);
                    (format!("{prefix}{name}"), self.tree(dice, place))
                }
                5 if dice.odd(4) => (dice.pick(NAMES).to_owned(), dice.pick(BAD).to_owned()),
                _ => {
                    let (name, test) = self.filter(dice, place);
                    (format!("{prefix}{name}"), test)
                }
            });
        }
        if !select.is_empty() {
            list.push(("select".to_owned(), select));
        }
        if dice.one_in(150) {
            let count = dice.pick(&[499_usize, 501, 1_200]);
            let separator = ",digit.eq.1";
            list.push(("or".to_owned(), format!("(digit.eq.1{})", separator.repeat(count))));
        }
        if dice.one_in(150) {
            let depth = dice.pick(&[30_usize, 33, 900]);
            list.push((
                "or".to_owned(),
                format!("{}id.is.null{}", "(and".repeat(depth) + "(", ")".repeat(depth + 1)),
            ));
        }
        if dice.one_in(150) {
            // Short to ask for and long to write out.
            let (count, terms) = (dice.pick(&[30_usize, 400, 900]), dice.pick(&[5_usize, 100, 490]));
            let what = dice.pick(&["...children", "...parent", "...parent(...parent", "children"]);
            let close = ")".repeat(what.matches('(').count() + 1);
            let below = if what.matches('(').count() > 0 { "parent.parent" } else { what.trim_matches('.') };
            list.push(("select".to_owned(), format!("{what}(id{}{close}", ",id".repeat(count))));
            list.push((format!("{below}.or"), format!("(digit.eq.1{})", ",digit.eq.1".repeat(terms))));
            list.push(("order".to_owned(), format!("parent(digit){}", ",parent(digit)".repeat(count / 4))));
        }
        if dice.one_in(150) {
            list.push(("select".to_owned(), format!("*{}", ",*".repeat(dice.pick(&[20_usize, 400, 7_000])))));
        }
        if dice.one_in(150) {
            let (field, count) = (self.field(dice, place), dice.pick(&[999_usize, 1_001, 4_000]));
            let one = good(field.kind.scalar)[0];
            list.push((field.name.to_owned(), format!("in.({})", vec![one; count].join(","))));
        }
        list
    }

    fn field(&self, dice: &mut Choices, place: usize) -> Field {
        dice.pick(&self.targets[place].fields)
    }

    /// A field with its path, and what is asked of it.
    fn filter(&self, dice: &mut Choices, place: usize) -> (String, String) {
        if place == 0 && dice.one_in(20) {
            let operator = dice.pick(&["fts", "plfts", "phfts", "wfts", "not.wfts", "fts(english)", "eq"]);
            return ("search".to_owned(), format!("{operator}.{}", dice.pick(BAD)));
        }
        let (name, kind) = self.named(dice, place);
        (name, test(dice, kind, false))
    }

    fn named(&self, dice: &mut Choices, place: usize) -> (String, Kind) {
        let field = self.field(dice, place);
        let mut name = match dice.odd(12) {
            true if dice.one_in(2) => dice.pick(NAMES).to_owned(),
            true => dice.pick(self.targets[place].embeds).0.to_owned(),
            false => field.name.to_owned(),
        };
        let mut kind = field.kind;
        if (kind.scalar == Scalar::Json || kind.array) && dice.one_in(3) {
            let (steps, text) = dice.pick(&[
                ("->a", false),
                ("->0", false),
                ("->a->b->>1", true),
                ("->>-1", true),
                ("->>a", true),
            ]);
            name += steps;
            kind = if text { Kind::TEXT } else { Kind::JSON };
        } else if dice.odd(20) {
            name += dice.pick(STEPS);
        }
        (name, kind)
    }

    fn tree(&self, dice: &mut Choices, place: usize) -> String {
        let mut text = String::from(if dice.odd(30) { "" } else { "(" });
        for at in 0..=dice.below(4) {
            if at > 0 {
                text.push(',');
            }
            let (name, kind) = self.named(dice, place);
            match dice.below(8) {
                0 => text += &format!("not.{name}.{}", test(dice, kind, true)),
                1 => {
                    let word = if dice.odd(8) { "not" } else { dice.pick(&["and", "or", "not.or"]) };
                    text += &format!("{word}{}", self.tree_of_one(dice, place));
                }
                _ => text += &format!("{name}.{}", test(dice, kind, true)),
            }
        }
        if !dice.odd(30) {
            text.push(')');
        }
        text
    }

    fn tree_of_one(&self, dice: &mut Choices, place: usize) -> String {
        let (name, kind) = self.named(dice, place);
        format!("({name}.{})", test(dice, kind, true))
    }

    fn select(&self, dice: &mut Choices, place: usize, depth: u64) -> String {
        if dice.one_in(300) {
            return format!("id{}", ",id".repeat(dice.pick(&[1_600_usize, 1_700, 4_000])));
        }
        let mut items = Vec::new();
        for _ in 0..=dice.below(4) {
            let (name, _) = self.named(dice, place);
            let alias = match dice.below(4) {
                0 if dice.odd(2) => format!("{}:", dice.pick(NAMES)),
                0 => format!("x{}:", items.len()),
                _ => String::new(),
            };
            items.push(match dice.below(14) {
                0 => "*".to_owned(),
                1 if dice.odd(2) => format!(
                    "{alias}{}",
                    dice.pick(&[
                        "count()",
                        "digit.sum()",
                        "f_json.avg()",
                        "count",
                        "id.nope()",
                        "f_float::int.max()::text"
                    ])
                ),
                2..=4 if depth < 3 || dice.odd(2) && depth < 7 => {
                    let (embed, of) = dice.pick(self.targets[place].embeds);
                    let spread = if dice.one_in(5) { "..." } else { "" };
                    // What is spread has no name of its own.
                    let alias = if spread.is_empty() || dice.odd(6) { &alias } else { "" };
                    let inside = if dice.odd(8) {
                        (dice.pick(&["", "*", "count", "nope"])).to_owned()
                    } else {
                        self.select(dice, of, depth + 1)
                    };
                    format!("{spread}{alias}{embed}({inside})")
                }
                5 | 6 => format!(
                    "{alias}{name}::{}",
                    if dice.odd(2) { dice.pick(CASTS) } else { dice.pick(&CASTS[..17]) }
                ),
                _ => format!("{alias}{name}"),
            });
        }
        if dice.odd(20) {
            items.push(
                (dice.pick(&[
                    "",
                    ")",
                    "(",
                    "a(",
                    "a(b))",
                    ":",
                    "::",
                    "a:b:c",
                    "!inner(id)",
                    "parent!!inner(id)",
                    "...",
                    "...",
                ]))
                .to_owned(),
            );
        }
        items.join(",")
    }

    fn order(&self, dice: &mut Choices, place: usize) -> String {
        let mut terms = Vec::new();
        for _ in 0..=dice.below(3) {
            let (name, _) = self.named(dice, place);
            let name = if dice.odd(8) {
                format!("{}({name})", dice.pick(self.targets[place].embeds).0)
            } else {
                name
            };
            let odd = &[".nope", ".asc.desc", "."];
            let fitting = &["", "", ".asc", ".desc", ".desc.nullslast", ".nullsfirst"];
            let more = if dice.odd(4) { dice.pick(odd) } else { dice.pick(fitting) };
            terms.push(format!("{name}{more}"));
        }
        terms.join(",")
    }

    fn names(&self, dice: &mut Choices, place: usize) -> String {
        if dice.odd(30) {
            return format!("id{}", ",f_text".repeat(2_000));
        }
        let mut names = Vec::new();
        for _ in 0..=dice.below(3) {
            let name =
                if dice.odd(6) { self.named(dice, place).0 } else { self.field(dice, place).name.to_owned() };
            names.push(name);
        }
        names.join(",")
    }

    /// A record with the key that its URL names, or nearly.
    fn whole(&self, dice: &mut Choices, place: usize, key: usize) -> Vec<u8> {
        let key = if dice.odd(6) { key + 1 } else { key };
        let names: &[&str] = if place == 2 { &["one", "many"] } else { &["id"] };
        let mut members: Vec<String> =
            names.iter().map(|name| format!("\"{name}\":\"{}\"", world::key(key))).collect();
        for _ in 0..dice.below(4) {
            let field = self.field(dice, place);
            if !names.contains(&field.name) && !members.iter().any(|one| one.contains(field.name)) {
                members.push(format!("\"{}\":{}", field.name, value(dice, field.name, field.kind)));
            }
        }
        format!("{{{}}}", members.join(",")).into_bytes()
    }

    fn body(&self, dice: &mut Choices, place: usize) -> Vec<u8> {
        if dice.odd(5) {
            return dice.pick(BODIES).as_bytes().to_vec();
        }
        if dice.odd(8) {
            return (0..dice.below(300)).map(|_| dice.below(256) as u8).collect();
        }
        if dice.one_in(25) {
            return large(dice);
        }
        let records = if dice.one_in(3) { 1 + dice.below(4) } else { 1 };
        let mut names: Vec<(String, Kind)> = Vec::new();
        for _ in 0..=dice.below(5) {
            let field = self.field(dice, place);
            let name = if dice.odd(20) { (dice.pick(NAMES)).to_owned() } else { field.name.to_owned() };
            if !names.iter().any(|(known, ..)| *known == name) || dice.odd(10) {
                names.push((name, field.kind));
            }
        }
        if place == 2 && !dice.odd(2) && names.iter().all(|(name, _)| name != "one" && name != "many") {
            names.extend([("one".to_owned(), Kind::UUID), ("many".to_owned(), Kind::UUID)]);
        }
        let mut text = String::new();
        for record in 0..records {
            text += if record > 0 { ",{" } else { "{" };
            for (at, (name, kind)) in names.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text += &serde_json::Value::from(name.as_str()).to_string();
                text.push(':');
                text += &value(dice, name, *kind);
            }
            text.push('}');
        }
        if records > 1 || dice.one_in(5) { format!("[{text}]").into_bytes() } else { text.into_bytes() }
    }
}

/// A few bodies of a size.
fn large(dice: &mut Choices) -> Vec<u8> {
    let nested = |depth: usize| format!("{{\"f_json\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let text = match dice.below(11) {
        0 => nested(62),
        1 => nested(64),
        2 => nested(20_000),
        3 => {
            // More members than any collection has fields.
            let members: Vec<String> = (0..10_000).map(|at| format!("\"c{at}\":{at}")).collect();
            format!("{{{}}}", members.join(","))
        }
        4 => format!("[{}{{}}]", "{},".repeat(500)),
        5 if dice.one_in(4) => format!("[{}{{}}]", "{},".repeat(10_000)),
        6 => format!("{{\"f_text\":\"{}\"}}", "x".repeat(2 << 20)),
        7 => format!("{{\"f_decimal\":{}}}", "9".repeat(140_000)),
        8 => format!("{{\"a_integer\":[{}1]}}", "1,".repeat(100_000)),
        9 if dice.one_in(4) => return vec![b' '; 11 << 20],
        _ => format!("{{\"a_text\":[{}1]}}", "1,".repeat(50_000)),
    };
    text.into_bytes()
}

/// What stands behind a field: right, wrong and nonsense.
fn test(dice: &mut Choices, kind: Kind, in_tree: bool) -> String {
    let operand = |dice: &mut Choices| -> &'static str {
        if dice.odd(3) { dice.pick(BAD) } else { dice.pick(good(kind.scalar)) }
    };
    let list = |dice: &mut Choices| -> String {
        let values: Vec<&str> = (0..dice.below(4)).map(|_| operand(dice)).collect();
        values.join(",")
    };
    let not = if dice.one_in(8) { "not." } else { "" };
    if dice.odd(12) {
        return format!("{not}{}.{}", dice.pick(BAD_OPERATORS), operand(dice));
    }
    let fitting: &[&str] = match (kind.array, kind.scalar) {
        (true, _) => &["eq", "neq", "gt", "lte", "is", "isdistinct", "cs", "cd", "ov"],
        (false, Scalar::Json) => {
            &["eq", "neq", "gt", "lt", "is", "isdistinct", "cs", "cd", "in", "fts", "wfts"]
        }
        (false, Scalar::Text) => &OPERATORS[..17],
        (false, _) => &["eq", "neq", "gt", "gte", "lt", "lte", "in", "is", "isdistinct"],
    };
    let operator = if dice.odd(3) { dice.pick(OPERATORS) } else { dice.pick(fitting) };
    match operator {
        "in" => format!("{not}in.({})", list(dice)),
        "is" if dice.odd(3) => {
            format!("{not}is.{}", dice.pick(&["NULL", "maybe", "1", "", "true", "unknown"]))
        }
        "is" if kind == Kind::BOOLEAN => format!("{not}is.{}", dice.pick(&["true", "false", "unknown"])),
        "is" => format!("{not}is.{}", dice.pick(&["null", "not_null"])),
        _ if kind.array && !dice.odd(3) => format!("{not}{operator}.{{{}}}", list(dice)),
        "eq" | "gt" | "lt" | "like" | "ilike" | "match" if dice.one_in(5) => {
            let quantifier = dice.pick(&["any", "all"]);
            format!("{not}{operator}({quantifier}).{{{}}}", list(dice))
        }
        "fts" | "plfts" | "phfts" | "wfts" if dice.one_in(3) => {
            let odd = &["nope", "12345", "0", "4294967295", "99999999999999", "pg_catalog", " english "];
            let config = if dice.odd(1) { dice.pick(odd) } else { dice.pick(&["english", "simple"]) };
            format!("{not}{operator}({config}).{}", operand(dice))
        }
        _ => {
            let operand = operand(dice);
            let quoted = in_tree && dice.one_in(2);
            if quoted {
                format!("{not}{operator}.\"{operand}\"")
            } else {
                format!("{not}{operator}.{operand}")
            }
        }
    }
}

fn number(dice: &mut Choices) -> String {
    let odd = &["-1", "-0", "9223372036854775808", "99999999999999999999", "1.5", "x", "", "1e3", "+1", "２"];
    let number = if dice.odd(2) {
        dice.pick(odd)
    } else {
        dice.pick(&["0", "1", "5", "1000000", "9223372036854775807"])
    };
    number.to_owned()
}

/// The JSON text of one member.
fn value(dice: &mut Choices, name: &str, kind: Kind) -> String {
    const ODD: &[&str] = &[
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e400",
        "\"\"",
        "[]",
        "{}",
        "[[]]",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "99999999999999999999",
        "\"x\"",
    ];
    let one = |dice: &mut Choices| -> String {
        if dice.odd(8) {
            return serde_json::Value::from(dice.pick(BAD)).to_string();
        }
        if dice.odd(8) {
            return dice.pick(ODD).to_owned();
        }
        match name {
            "id" | "parent" | "list" | "one" | "many" => {
                serde_json::Value::from(world::key(dice.below(RECORDS as u64 + 3) as usize)).to_string()
            }
            "word" => "\"word\"".to_owned(),
            "digit" => dice.below(10).to_string(),
            "choice" => "\"a\"".to_owned(),
            "created_at" | "updated_at" => "\"2024-01-01T00:00:00Z\"".to_owned(),
            _ => as_json(kind.scalar, dice.pick(good(kind.scalar))).to_string(),
        }
    };
    if kind.array != dice.odd(10) {
        let elements: Vec<String> = (0..dice.below(4)).map(|_| one(dice)).collect();
        return format!("[{}]", elements.join(","));
    }
    one(dice)
}

/// Percent-encodes as a client would, as a careless one would, or more than it must.
fn encode(dice: &mut Choices, text: &str, out: &mut Vec<u8>) {
    let most = dice.odd(10);
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~*(),:!$@'".contains(&byte);
        if plain && !most {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn headers(dice: &mut Choices, body: bool) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, value: &[u8]| list.push((name.to_owned(), value.to_vec()));
    for _ in 0..dice.below(3) {
        let fitting = &[
            "return=representation",
            "return=minimal",
            "return=headers-only",
            "count=exact",
            "resolution=merge-duplicates",
            "resolution=ignore-duplicates",
            "missing=default",
            "handling=lenient",
            "handling=strict, max-affected=1",
            "handling=strict, max-affected=20",
            "count=planned",
            "count=estimated",
        ];
        let value = if dice.odd(3) { dice.pick(PREFER) } else { dice.pick(fitting) };
        add("prefer", value.as_bytes());
    }
    if dice.one_in(6) {
        let value = if dice.odd(1) { dice.pick(RANGES) } else { "0-9" };
        add("range", value.as_bytes());
    }
    if dice.odd(5) {
        add("accept", dice.pick(ACCEPT).as_bytes());
    } else if dice.one_in(6) {
        let fitting = &[
            "application/vnd.pgrst.object+json",
            "text/csv",
            "application/vnd.pgrst.array+json;nulls=stripped",
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/openapi+json, application/json",
        ];
        add("accept", dice.pick(fitting).as_bytes());
    }
    if dice.odd(6) {
        add("content-type", dice.pick(CONTENT_TYPES).as_bytes());
    } else if body {
        add("content-type", b"application/json");
    }
    if dice.odd(12) {
        let name = dice.pick(&["accept-profile", "content-profile"]);
        add(name, dice.pick(&["public", "auth", "basewright", "", "public, auth"]).as_bytes());
    }
    if dice.odd(12) {
        // Letters beyond ASCII are let through by the protocol.
        let name = dice.pick(&[
            "prefer",
            "accept",
            "range",
            "content-type",
            "accept-profile",
            "origin",
            "x-request-id",
        ]);
        add(name, &[0xff, 0xfe, b'a', 0xc3, 0x28]);
    }
    if dice.odd(12) {
        add("origin", dice.pick(&["null", "https://a.example", "x", ""]).as_bytes());
    }
    if dice.odd(20) {
        add("content-encoding", dice.pick(&["gzip", "br", "identity", "x", ""]).as_bytes());
    }
    if dice.odd(20) {
        add("x-http-method-override", b"DELETE");
    }
    if dice.odd(30) {
        let value = vec![b'a'; dice.pick(&[4_000_usize, 33_000, 90_000])];
        add("prefer", &value);
    }
    if dice.odd(40) {
        for _ in 0..dice.pick(&[60_usize, 90, 200]) {
            add("x-many", b"1");
        }
    }
    list
}
