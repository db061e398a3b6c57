//! Requests that nobody means well with, from a seed: each position of the dialect, filled with what is right, what
//! is nearly right and what is nonsense, so that every floor of the server meets some of it.

use basewright::model::Scalar;

use super::wire::Request;
use super::words::{
    ACCEPT, BAD, BAD_OPERATORS, BODIES, CASTS, CONTENT_TYPES, NAMES, OPERATORS, PREFER, RANGES, STEPS,
    as_json, good,
};
use super::world::{self, Field, RECORDS, Target};
use crate::campaign::Dice;

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
    pub fn request(&self, dice: &mut Dice, sender: Sender) -> Request {
        let place = dice.below(self.targets.len() as u64) as usize;
        let method = match dice.below(40) {
            0 => dice.pick(&["PUT", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "G", "M-SEARCH"]),
            1..=3 => "HEAD",
            4..=13 => "POST",
            14..=20 => "PATCH",
            21..=24 => "DELETE",
            _ => "GET",
        };
        let mut parameters = self.parameters(dice, place);
        let unguarded = matches!(method, "PATCH" | "DELETE") && sender.careful;
        if unguarded {
            // Only a few of the records.
            let key = dice.below(RECORDS as u64) as usize;
            let field = if place == 2 { "one" } else { "id" };
            parameters.push((field.to_owned(), format!("eq.{}", world::key(key))));
        }
        if matches!(method, "POST" | "PATCH") && dice.one_in(3) {
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
        if dice.one_in(30) {
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
        if dice.one_in(60) {
            // Longer than a target may be, or just as long.
            let length = dice.pick(&[8_000_usize, 16_000, 16_384, 40_000, 120_000]);
            target.extend(std::iter::repeat_n(b'a', length));
        }
        let body = match method {
            "POST" | "PATCH" | "PUT" => Some(self.body(dice, place)),
            _ if dice.one_in(20) => Some(self.body(dice, place)),
            _ => None,
        };
        Request { method: method.to_owned(), target, headers: headers(dice, body.is_some()), body }
    }

    fn path(&self, dice: &mut Dice, place: usize) -> String {
        if !dice.one_in(40) {
            return format!("/rest/v1/{}", self.targets[place].name);
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

    fn parameters(&self, dice: &mut Dice, place: usize) -> Vec<(String, String)> {
        let mut list = Vec::new();
        if dice.one_in(2) {
            list.push(("select".to_owned(), self.select(dice, place, 0)));
        }
        for _ in 0..dice.below(4) {
            let prefix = match dice.below(6) {
                0 => {
                    let (embed, _) = dice.pick(self.targets[place].embeds);
                    let embed = embed.split('!').next().unwrap_or_default();
                    if dice.one_in(2) {
                        list.push(("select".to_owned(), format!("*,{embed}(*)")));
                    }
                    format!("{embed}.")
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
                5 if dice.one_in(4) => ((dice.pick(NAMES)).to_owned(), (dice.pick(BAD)).to_owned()),
                _ => {
                    let (name, test) = self.filter(dice, place);
                    (format!("{prefix}{name}"), test)
                }
            });
        }
        if dice.one_in(120) {
            let count = dice.pick(&[499_usize, 501, 1_200]);
            let separator = ",digit.eq.1";
            list.push(("or".to_owned(), format!("(digit.eq.1{})", separator.repeat(count))));
        }
        if dice.one_in(120) {
            let depth = dice.pick(&[30_usize, 33, 900]);
            list.push((
                "or".to_owned(),
                format!("{}id.is.null{}", "(and".repeat(depth) + "(", ")".repeat(depth + 1)),
            ));
        }
        if dice.one_in(120) {
            let (field, count) = (self.field(dice, place), dice.pick(&[999_usize, 1_001, 4_000]));
            let one = good(field.kind.scalar)[0];
            list.push((field.name.to_owned(), format!("in.({})", vec![one; count].join(","))));
        }
        list
    }

    fn field(&self, dice: &mut Dice, place: usize) -> Field {
        dice.pick(&self.targets[place].fields)
    }

    /// A field with its path, and what is asked of it.
    fn filter(&self, dice: &mut Dice, place: usize) -> (String, String) {
        let (name, scalar) = self.named(dice, place);
        (name, test(dice, scalar, false))
    }

    fn named(&self, dice: &mut Dice, place: usize) -> (String, Scalar) {
        let field = self.field(dice, place);
        let mut name = match dice.below(25) {
            0 => (dice.pick(NAMES)).to_owned(),
            1 => (dice.pick(self.targets[place].embeds)).0.to_owned(),
            _ => field.name.to_owned(),
        };
        if dice.one_in(if field.kind.scalar == Scalar::Json || field.kind.array { 3 } else { 25 }) {
            name += dice.pick(STEPS);
        }
        (name, field.kind.scalar)
    }

    fn tree(&self, dice: &mut Dice, place: usize) -> String {
        let mut text = String::from(if dice.one_in(30) { "" } else { "(" });
        for at in 0..=dice.below(4) {
            if at > 0 {
                text.push(',');
            }
            let (name, scalar) = self.named(dice, place);
            match dice.below(8) {
                0 => text += &format!("not.{name}.{}", test(dice, scalar, true)),
                1 => {
                    text += &format!(
                        "{}{}",
                        dice.pick(&["and", "or", "not.or", "not"]),
                        self.tree_of_one(dice, place)
                    )
                }
                _ => text += &format!("{name}.{}", test(dice, scalar, true)),
            }
        }
        if !dice.one_in(30) {
            text.push(')');
        }
        text
    }

    fn tree_of_one(&self, dice: &mut Dice, place: usize) -> String {
        let (name, scalar) = self.named(dice, place);
        format!("({name}.{})", test(dice, scalar, true))
    }

    fn select(&self, dice: &mut Dice, place: usize, depth: u64) -> String {
        if dice.one_in(150) {
            return format!("id{}", ",id".repeat(dice.pick(&[1_600_usize, 1_700, 4_000])));
        }
        let mut items = Vec::new();
        for _ in 0..=dice.below(4) {
            let (name, _) = self.named(dice, place);
            let alias = match dice.below(8) {
                0 => format!("{}:", dice.pick(NAMES)),
                1 => "x:".to_owned(),
                _ => String::new(),
            };
            items.push(match dice.below(14) {
                0 => "*".to_owned(),
                1 => format!(
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
                2..=4 if depth < 6 => {
                    let (embed, of) = dice.pick(self.targets[place].embeds);
                    let spread = if dice.one_in(12) { "..." } else { "" };
                    let inside = if dice.one_in(8) {
                        (dice.pick(&["", "*", "count", "nope"])).to_owned()
                    } else {
                        self.select(dice, of, depth + 1)
                    };
                    format!("{spread}{alias}{embed}({inside})")
                }
                5 | 6 => format!("{alias}{name}::{}", dice.pick(CASTS)),
                _ => format!("{alias}{name}"),
            });
        }
        if dice.one_in(40) {
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

    fn order(&self, dice: &mut Dice, place: usize) -> String {
        let mut terms = Vec::new();
        for _ in 0..=dice.below(3) {
            let (name, _) = self.named(dice, place);
            let name = if dice.one_in(8) {
                format!("{}({name})", dice.pick(self.targets[place].embeds).0)
            } else {
                name
            };
            let more = dice.pick(&[
                "",
                "",
                ".asc",
                ".desc",
                ".desc.nullslast",
                ".nullsfirst",
                ".nope",
                ".asc.desc",
                ".",
            ]);
            terms.push(format!("{name}{more}"));
        }
        terms.join(",")
    }

    fn names(&self, dice: &mut Dice, place: usize) -> String {
        if dice.one_in(30) {
            return format!("id{}", ",f_text".repeat(3_000));
        }
        let mut names = Vec::new();
        for _ in 0..=dice.below(3) {
            names.push(self.named(dice, place).0);
        }
        names.join(",")
    }

    fn body(&self, dice: &mut Dice, place: usize) -> Vec<u8> {
        match dice.below(40) {
            0..=7 => return dice.pick(BODIES).as_bytes().to_vec(),
            8 => {
                let depth = dice.pick(&[10_usize, 63, 64, 130, 20_000]);
                return format!("{{\"f_json\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
            }
            9 => {
                // More members than any collection has fields.
                let members: Vec<String> = (0..10_000).map(|at| format!("\"c{at}\":{at}")).collect();
                return format!("{{{}}}", members.join(",")).into_bytes();
            }
            10 if dice.one_in(3) => {
                return format!("[{}{{}}]", "{},".repeat(dice.pick(&[500_usize, 10_000]))).into_bytes();
            }
            11 => return (0..dice.below(300)).map(|_| dice.below(256) as u8).collect(),
            12 if dice.one_in(2) => {
                return format!("{{\"f_text\":\"{}\"}}", "x".repeat(2 << 20)).into_bytes();
            }
            13 if dice.one_in(2) => return format!("{{\"f_decimal\":{}}}", "9".repeat(140_000)).into_bytes(),
            14 if dice.one_in(2) => {
                return format!("{{\"a_integer\":[{}1]}}", "1,".repeat(200_000)).into_bytes();
            }
            15 if dice.one_in(8) => return vec![b' '; 11 << 20],
            _ => {}
        }
        let records = if dice.one_in(3) { 1 + dice.below(4) } else { 1 };
        let mut names: Vec<(String, Scalar, bool)> = Vec::new();
        for _ in 0..=dice.below(5) {
            let field = self.field(dice, place);
            let name = if dice.one_in(40) { (dice.pick(NAMES)).to_owned() } else { field.name.to_owned() };
            if !names.iter().any(|(known, ..)| *known == name) || dice.one_in(20) {
                names.push((name, field.kind.scalar, field.kind.array));
            }
        }
        if place == 2 && !dice.one_in(4) {
            names.extend([("one".to_owned(), Scalar::Uuid, false), ("many".to_owned(), Scalar::Uuid, false)]);
        }
        let mut text = String::new();
        for record in 0..records {
            text += if record > 0 { ",{" } else { "{" };
            for (at, (name, scalar, array)) in names.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text += &serde_json::Value::from(name.as_str()).to_string();
                text.push(':');
                text += &value(dice, name, *scalar, *array);
            }
            text.push('}');
        }
        if records > 1 || dice.one_in(5) { format!("[{text}]").into_bytes() } else { text.into_bytes() }
    }
}

/// What stands behind a field: right, wrong and nonsense.
fn test(dice: &mut Dice, scalar: Scalar, in_tree: bool) -> String {
    let operand = |dice: &mut Dice| -> String {
        match dice.below(3) {
            0 => (dice.pick(BAD)).to_owned(),
            _ => (dice.pick(good(scalar))).to_owned(),
        }
    };
    let not = if dice.one_in(8) { "not." } else { "" };
    if dice.one_in(25) {
        return format!("{not}{}.{}", dice.pick(BAD_OPERATORS), operand(dice));
    }
    let operator = dice.pick(OPERATORS);
    let list = |dice: &mut Dice| -> String {
        let count = dice.below(4);
        let values: Vec<String> = (0..count).map(|_| operand(dice)).collect();
        values.join(",")
    };
    match operator {
        "in" => format!("{not}in.({})", list(dice)),
        "is" => format!(
            "{not}is.{}",
            dice.pick(&["null", "not_null", "true", "false", "unknown", "NULL", "maybe", "1", ""])
        ),
        "cs" | "cd" | "ov" if !dice.one_in(3) => format!("{not}{operator}.{{{}}}", list(dice)),
        "eq" | "gt" | "lt" | "like" | "ilike" | "match" if dice.one_in(5) => {
            let quantifier = if dice.one_in(2) { "any" } else { "all" };
            format!("{not}{operator}({quantifier}).{{{}}}", list(dice))
        }
        "fts" | "plfts" | "phfts" | "wfts" if dice.one_in(3) => {
            let config = dice.pick(&[
                "english",
                "simple",
                "nope",
                "12345",
                "0",
                "4294967295",
                "99999999999999",
                "pg_catalog",
                " english ",
            ]);
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

fn number(dice: &mut Dice) -> String {
    (dice.pick(&[
        "0",
        "1",
        "5",
        "1000000",
        "-1",
        "-0",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999",
        "1.5",
        "x",
        "",
        "1e3",
        "+1",
        "２",
    ]))
    .to_owned()
}

/// The JSON text of one member.
fn value(dice: &mut Dice, name: &str, scalar: Scalar, array: bool) -> String {
    let one = |dice: &mut Dice| -> String {
        match dice.below(12) {
            0 => serde_json::Value::from(dice.pick(BAD)).to_string(),
            1 => (dice.pick(&[
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
            ]))
            .to_owned(),
            _ => match name {
                "id" | "parent" | "list" | "one" | "many" => {
                    serde_json::Value::from(world::key(dice.below(RECORDS as u64 + 3) as usize)).to_string()
                }
                "word" => "\"word\"".to_owned(),
                "digit" => dice.below(10).to_string(),
                "choice" => "\"a\"".to_owned(),
                _ => as_json(scalar, dice.pick(good(scalar))).to_string(),
            },
        }
    };
    if array != dice.one_in(20) {
        let elements: Vec<String> = (0..dice.below(4)).map(|_| one(dice)).collect();
        return format!("[{}]", elements.join(","));
    }
    one(dice)
}

/// Percent-encodes as a client would, as a careless one would, or more than it must.
fn encode(dice: &mut Dice, text: &str, out: &mut Vec<u8>) {
    let most = dice.one_in(20);
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~*(),:!$@'".contains(&byte);
        if plain && !most {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn headers(dice: &mut Dice, body: bool) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, value: &[u8]| list.push((name.to_owned(), value.to_vec()));
    for _ in 0..dice.below(3) {
        add("prefer", dice.pick(PREFER).as_bytes());
    }
    if dice.one_in(6) {
        add("range", dice.pick(RANGES).as_bytes());
    }
    if dice.one_in(5) {
        add("accept", dice.pick(ACCEPT).as_bytes());
    }
    match dice.below(8) {
        0 => add("content-type", dice.pick(CONTENT_TYPES).as_bytes()),
        1 => {}
        _ if body => add("content-type", b"application/json"),
        _ => {}
    }
    if dice.one_in(25) {
        let name = dice.pick(&["accept-profile", "content-profile"]);
        add(name, dice.pick(&["public", "auth", "basewright", "", "public, auth"]).as_bytes());
    }
    if dice.one_in(25) {
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
    if dice.one_in(25) {
        add("origin", dice.pick(&["null", "https://a.example", "x", ""]).as_bytes());
    }
    if dice.one_in(40) {
        add("content-encoding", dice.pick(&["gzip", "br", "identity", "x", ""]).as_bytes());
    }
    if dice.one_in(40) {
        add("x-http-method-override", b"DELETE");
    }
    if dice.one_in(60) {
        let value = vec![b'a'; dice.pick(&[4_000_usize, 33_000, 90_000])];
        add("prefer", &value);
    }
    if dice.one_in(80) {
        for _ in 0..dice.pick(&[60_usize, 90, 200]) {
            add("x-many", b"1");
        }
    }
    list
}
