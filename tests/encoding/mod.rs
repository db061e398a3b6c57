//! The encoding test: our JSON is Postgres' own, byte for byte, and our texts and Postgres' are the same values.
//!
//! Every kind goes through with hand-picked edges and with random values. The seed is printed when it fails;
//! `ENCODING_SEED` runs that one again, and `ENCODING_CASES` multiplies the random cases.

use std::net::{Ipv4Addr, Ipv6Addr};

use basewright::model::{Interval, Kind, Malformed, Scalar, Value};
use basewright::read::encode::{encode, encode_csv, encode_json, encode_plain, encode_text};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, Type};

/// Random values of one kind, before `ENCODING_CASES` multiplies them.
const CASES: usize = 3_000;
/// How many values go to Postgres in one statement.
const BATCH: usize = 4_000;

/// A column's bytes as they came.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn seeded() -> Random {
        let seed = std::env::var("ENCODING_SEED").ok().map_or_else(
            || {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.unwrap().as_nanos() as u64
            },
            |seed| seed.parse().unwrap(),
        );
        println!("ENCODING_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Between both, either included; small distances from 0 are as likely as large ones.
    fn between(&mut self, first: i64, last: i64) -> i64 {
        let shifted = self.next().cast_signed() >> self.below(64);
        if (first..=last).contains(&shifted) {
            return shifted;
        }
        let span = (i128::from(last) - i128::from(first) + 1) as u128;
        (i128::from(first) + (u128::from(self.next()) % span) as i128) as i64
    }

    fn one_of<'t, T: ?Sized>(&mut self, choices: &[&'t T]) -> &'t T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        let length = if self.below(20) == 0 { 200 } else { self.below(12) };
        (0..length)
            .map(|_| match self.below(8) {
                0 => char::from(1 + self.below(31) as u8),
                1 => ['"', '\\', '/', '{', '}', ',', '\u{7f}', ' '][self.below(8) as usize],
                2 => char::from_u32(self.below(0x11_0000) as u32).filter(|c| *c != '\0').unwrap_or('é'),
                _ => char::from(b' ' + self.below(95) as u8),
            })
            .collect()
    }

    fn decimal(&mut self) -> String {
        let digits = |random: &mut Random, count: u64| -> String {
            (0..count)
                .map(|_| if random.below(3) == 0 { '0' } else { char::from(b'0' + random.below(10) as u8) })
                .collect()
        };
        let most = [2, 5, 9, 17, 40, 2_000][self.below(6) as usize];
        let (whole, fraction) = (1 + self.below(most), self.below(most));
        let sign = self.one_of(&["", "-"]);
        let mut text = format!("{sign}{}", digits(self, whole));
        if fraction > 0 {
            text = format!("{text}.{}", digits(self, fraction));
        }
        if self.below(4) == 0 {
            text = format!("{text}e{}", self.between(-30, 30));
        }
        text
    }

    fn json(&mut self, depth: u64) -> serde_json::Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => serde_json::Value::Null,
            1 => (self.below(2) == 0).into(),
            2 => self.between(-1_000_000, 1_000_000).into(),
            3 => self.text().into(),
            4 => (0..self.below(4)).map(|_| self.json(depth - 1)).collect(),
            _ => (0..self.below(4)).map(|_| (self.text(), self.json(depth - 1))).collect(),
        }
    }

    fn value(&mut self, scalar: Scalar) -> Value {
        const DAY: i64 = 86_400_000_000;
        match scalar {
            Scalar::Text => Value::Text(self.text()),
            Scalar::Integer => Value::Integer(self.between(i32::MIN.into(), i32::MAX.into())),
            Scalar::Bigint => Value::Integer(self.between(i64::MIN, i64::MAX)),
            Scalar::Float => Value::Float(f64::from_bits(self.next())),
            Scalar::Decimal => loop {
                let text = self.decimal();
                if let Some(value) = Value::parse(Kind::one(scalar), &text) {
                    return value;
                }
            },
            Scalar::Boolean => Value::Boolean(self.below(2) == 0),
            Scalar::Uuid => {
                let bits = u128::from(self.next()) << 64 | u128::from(self.next());
                Value::Uuid(uuid::Uuid::from_u128(bits))
            }
            Scalar::Timestamp => Value::Timestamp(match self.below(2) {
                0 => self.between(-211_813_488_000_000_000, 9_223_371_331_199_999_999),
                // Recent times, of whole milliseconds.
                _ => self.between(-40_000 * DAY, 40_000 * DAY) / 1_000 * 1_000,
            }),
            Scalar::Date => Value::Date(self.between(-2_451_545, 2_145_031_948) as i32),
            Scalar::Time => Value::Time(self.between(0, DAY)),
            Scalar::Interval => Value::Interval(Interval {
                months: self.between(-2_000_000_000, 2_000_000_000) as i32,
                days: self.between(i32::MIN.into(), i32::MAX.into()) as i32,
                microseconds: self.between(-9_000_000_000_000_000_000, 9_000_000_000_000_000_000),
            }),
            Scalar::Json => Value::Json(self.json(3)),
            Scalar::Bytes => {
                let length = self.below(40);
                Value::Bytes((0..length).map(|_| self.next() as u8).collect())
            }
            Scalar::Inet => {
                if self.below(2) == 0 {
                    Value::Inet(Ipv4Addr::from(self.next() as u32).into(), self.below(33) as u8)
                } else {
                    let words = std::array::from_fn(|_| match self.below(4) {
                        0 | 1 => 0,
                        2 => self.one_of(&[&0xffff_u16, &1, &0x0abc, &0x10]).to_owned(),
                        _ => self.next() as u16,
                    });
                    let words: [u16; 8] = words;
                    Value::Inet(Ipv6Addr::from(words).into(), self.below(129) as u8)
                }
            }
        }
    }

    fn array(&mut self, scalar: Scalar) -> Value {
        let length = self.below(5);
        Value::Array(
            (0..length).map(|_| if self.below(5) == 0 { Value::Null } else { self.value(scalar) }).collect(),
        )
    }
}

/// Values that have gone wrong somewhere before, or sit at a border.
pub fn edges(scalar: Scalar) -> Vec<String> {
    let texts: &[&str] = match scalar {
        Scalar::Text => &[
            "",
            " ",
            "NULL",
            "null",
            "\"",
            "\\",
            "a\"b\\c/d",
            "\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}",
            "é",
            "\u{1F980}",
            "\u{2028}\u{2029}",
            "<script>",
            "{}",
            "\u{10ffff}",
            "\u{ffff}",
        ],
        Scalar::Integer => {
            &["0", "-0", "+1", "9", "10", "99", "100", "101", "-1", "2147483647", "-2147483648"]
        }
        Scalar::Bigint => &[
            "0",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "1000000000000000000",
            "-10",
        ],
        Scalar::Float => &[
            "0",
            "-0",
            "1",
            "-1",
            "0.1",
            "0.3",
            "0.0001",
            "0.00001",
            "0.00012345",
            "123456789012345",
            "1234567890123456",
            "1e14",
            "1e15",
            "1e16",
            "999999999999999.9",
            "999999999999999",
            "1e100",
            "1e-100",
            "1e23",
            "9e22",
            "2e23",
            "8.5e22",
            "5e-324",
            "1e-323",
            "2.2250738585072014e-308",
            "2.225073858507201e-308",
            "1.7976931348623157e308",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994",
            "4503599627370496.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "inf",
            "3.4028234663852886e+38",
            "1.7800590868057611e-307",
            "2.98023223876953125e-8",
            "5.764607523034235e39",
            "1.152921504606847e40",
            "2.305843009213694e40",
            "4.4501477170144023e-308",
        ],
        Scalar::Decimal => &[
            "0",
            "-0",
            "0.0",
            "0.00",
            "1",
            "-1",
            "10000",
            "9999",
            "99999999",
            "100000000",
            "0.1",
            "0.0001",
            "0.00001",
            "-0.00010001",
            "1.10",
            "1e10",
            "1e-10",
            "1.5e3",
            "123456789.987654321",
            "10000.0001",
            "1000000000000000000000",
            "0.99999999",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e131071",
            "1e-16383",
            "12345.000",
            "20000.00005",
            "-inf",
        ],
        Scalar::Boolean => &["true", "false", "t", "f"],
        Scalar::Uuid => &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ],
        Scalar::Timestamp => &[
            "2000-01-01",
            "1999-12-31 23:59:59.999999+00",
            "2024-02-29T12:00:00Z",
            "2024-01-02 03:04:05.120000+00",
            "2024-01-02 03:04:05.000001+00",
            "0001-01-01 00:00:00+00",
            "0001-12-31 00:00:00+00 BC",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "10000-01-01 00:00:00+00",
            "infinity",
            "-infinity",
            "2024-06-01 12:00:00+05:30",
            "2024-06-01 12:00:00-15:59:59",
            "1900-02-28 24:00:00+00",
            "1970-01-01 00:00:00+00",
            "0044-03-15 12:00:00.5+00 BC",
            "2024-01-02T03:04:05.1234567Z",
            "2024-01-02T03:04:05.9999995Z",
            "2024-01-02T03:04:05.9999999Z",
            "2024-01-02T03:04",
        ],
        Scalar::Date => &[
            "2000-01-01",
            "1999-12-31",
            "2024-02-29",
            "1900-02-28",
            "2000-02-29",
            "0001-01-01",
            "0001-12-31 BC",
            "0001-02-29 BC",
            "4714-11-24 BC",
            "5874897-12-31",
            "10000-01-01",
            "infinity",
            "-infinity",
            "9999-12-31",
        ],
        Scalar::Time => {
            &["00:00:00", "24:00:00", "23:59:59.999999", "03:04", "03:04:05.100000", "00:00:00.000001"]
        }
        Scalar::Interval => &[
            "00:00:00",
            "1 day",
            "-1 days",
            "1 mon",
            "2 mons",
            "-1 mons",
            "1 year",
            "11 mons",
            "13 mons",
            "-13 mons",
            "1 year -1 mons",
            "1 mon -1 days",
            "-1 mons +1 day",
            "-1 days +02:03:00",
            "-1 days -02:03:00",
            "1 day -00:00:01",
            "100:00:00",
            "-00:00:00.000001",
            "00:00:00.5",
            "1 year 2 mons 3 days 04:05:06.789",
            "P1Y2M3DT4H5M6.5S",
            "P-1Y2M",
            "PT-0.5S",
            "P2W",
            "PT36H",
            "3 weeks",
            "90 minutes",
            "1.5 seconds",
            "-1.5 secs",
            "1 hour 30 mins",
            "178956970 years 7 mons",
            "-178956970 years -8 mons",
            "2562047788:00:54.775807",
            "2147483647 days",
            "1 year -400 days +00:00:01",
        ],
        Scalar::Json => &[
            "null",
            "true",
            "0",
            "-0",
            "1.0",
            "1.10",
            "\"\"",
            "\"a\\\"\\u00e9\\n\"",
            "[]",
            "{}",
            "[1, [2, {\"a\": null}]]",
            "{\"b\": 1, \"a\": {\"c\": [true, false]}, \"aa\": \"x\"}",
            "\"\\u0001\\u001f\\u007f\"",
            "{\"a\": 1, \"a\": 2}",
            "123456789012345678",
            "\"\u{1F980}\"",
            "1e5",
            "-1.5e-3",
        ],
        Scalar::Bytes => &["\\x", "\\x00", "\\xff", "\\x00ff10", "\\xDEADBEEF"],
        Scalar::Inet => &[
            "0.0.0.0",
            "0.0.0.0/0",
            "255.255.255.255",
            "10.1.2.3/8",
            "192.168.0.1/24",
            "192.168.0.1/32",
            "::",
            "::/0",
            "::1",
            "::2",
            "::1:0",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "::ffff:0:0",
            "::fffe:1.2.3.4",
            "1::",
            "1::8",
            "2001:db8::1/64",
            "2001:db8:0:0:1:0:0:1",
            "2001:0:0:1:0:0:0:1",
            "1:0:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:0",
            "0:2:3:4:5:6:7:8",
            "0:0:3:4:5:6:7:8",
            "1:2:3:4:5:6:0:0",
            "::1:2:3:4:5:6:7",
            "fe80::abcd:ef01:2345:6789/10",
            "::ffff:ffff:1:2",
            "0:0:0:0:0:1:2:3",
            "::abcd:1234",
            "::1:1",
        ],
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Array literals that no single element stands for.
fn array_edges(scalar: Scalar) -> Vec<String> {
    let mut texts: Vec<String> = vec!["{}".into(), "{NULL}".into(), "{NULL,NULL}".into()];
    let quote = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let edges: Vec<String> = edges(scalar).iter().map(quote).collect();
    texts.push(format!("{{{}}}", edges.join(",")));
    texts.extend(edges.iter().map(|edge| format!("{{{edge}}}")));
    let (one, two) = (&edges[0], &edges[1]);
    texts.push(format!("{{{{{one},{two}}},{{NULL,{one}}}}}"));
    texts.push(format!("{{{{{{{one}}},{{{two}}}}},{{{{{one}}},{{{two}}}}},{{{{NULL}},{{{one}}}}}}}"));
    texts.push(format!("[0:1]={{{one},{two}}}"));
    texts
}

/// The cast of one text, so that the one at fault can be named.
async fn blame(client: &Client, kind: Kind, texts: &[String]) -> String {
    for text in texts {
        if let Err(error) = client.query_one(&format!("select ($1::text)::{}", kind.sql()), &[text]).await {
            return format!("{kind} {text:?}: {error:?}");
        }
    }
    format!("{kind}: fails only together")
}

/// Texts that Postgres takes: our JSON, values and texts of them are its own.
async fn agree(client: &Client, kind: Kind, texts: &[String]) {
    for texts in texts.chunks(BATCH) {
        let sql = format!(
            "select r.v, to_json(r.v)::text, row_to_json(r)::text, r.v::text, to_json(r.v::text), r::text, format('%s', r.v)
             from unnest($1::text[]) with ordinality as t (x, n), lateral (select t.x::{} as v) as r order by n",
            kind.sql()
        );
        let rows = match client.query(&sql, &[&texts]).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}: {}", blame(client, kind, texts).await),
        };
        assert_eq!(rows.len(), texts.len());
        let mut rewritten = Vec::new();
        let mut originals = Vec::new();
        for (text, row) in texts.iter().zip(&rows) {
            let Raw(raw) = row.get(0);
            let [json, record, cast]: [String; 3] = [row.get(1), row.get(2), row.get(3)];
            let mut ours = Vec::new();
            encode(&mut ours, kind, Some(&raw)).unwrap_or_else(|fault| panic!("{kind} {text:?}: {fault}"));
            let ours = String::from_utf8(ours).unwrap();
            assert_eq!(ours, json, "{kind} {text:?}");
            assert_eq!(format!("{{\"v\":{ours}}}"), record, "{kind} {text:?}");

            // A literal has no bounds of ours, as JSON has none.
            if !cast.starts_with('[') {
                let (mut plain, mut field) = (Vec::new(), Vec::new());
                encode_plain(&mut plain, kind, &raw).unwrap();
                // A cast spells a boolean out, which its own output does not.
                let printed: String = row.get(6);
                assert_eq!(String::from_utf8(plain).unwrap(), printed, "{kind} {text:?} as it is");
                encode_csv(&mut field, kind, Some(&raw)).unwrap();
                let field = String::from_utf8(field).unwrap();
                assert_eq!(format!("({field})"), row.get::<_, String>(5), "{kind} {text:?} in a record");
            }

            let Raw(json_of_cast) = row.get(4);
            let (mut passed, mut quoted) = (Vec::new(), Vec::new());
            encode_json(&mut passed, Some(&json_of_cast)).unwrap();
            encode_text(&mut quoted, &cast);
            assert_eq!(passed, quoted, "{kind} {text:?} as text");

            let value = match Value::from_binary(kind, &raw) {
                Ok(value) => value,
                // `{{…}}`, and `[0:1]={{…}}` alike.
                Err(Malformed::Dimensions(_)) if json.starts_with("[[") => continue,
                Err(fault) => panic!("{kind} {text:?}: {fault}"),
            };
            // Our reading of what Postgres prints is what it sent; its bounds of arrays are not ours.
            if !cast.starts_with('[') {
                let parsed = Value::parse(kind, &cast);
                let parsed = parsed.unwrap_or_else(|| panic!("{kind}: {cast:?} is a value"));
                assert_eq!(parsed.to_text(), value.to_text(), "{kind} {cast:?}");
                rewritten.push(value.to_text().unwrap());
                originals.push(cast);
            }
        }
        // Postgres' reading of what we print is what it had. `jsonb` keeps the scale of numbers, memory does not.
        let same = if kind.scalar == Scalar::Json { "" } else { "::text" };
        let sql = format!(
            "select ours, theirs from unnest($1::text[], $2::text[]) as t (ours, theirs)
             where (ours::{0}){same} is distinct from (theirs::{0}){same}",
            kind.sql()
        );
        match client.query(&sql, &[&rewritten, &originals]).await {
            Ok(differ) => {
                let differ: Vec<(String, String)> =
                    differ.iter().map(|row| (row.get(0), row.get(1))).collect();
                assert!(differ.is_empty(), "{kind}: {differ:?}");
            }
            Err(error) => panic!("{error}: {}", blame(client, kind, &rewritten).await),
        }
    }
}

/// Texts that we take: Postgres takes them too, and as the same values.
async fn postgres_reads_alike(client: &Client, kind: Kind, texts: &[(String, Value)]) {
    for pairs in texts.chunks(BATCH) {
        let texts: Vec<String> = pairs.iter().map(|(text, _)| text.clone()).collect();
        let sql = format!(
            "select x::{} from unnest($1::text[]) with ordinality as t (x, n) order by n",
            kind.sql()
        );
        let rows = match client.query(&sql, &[&texts]).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}: {}", blame(client, kind, &texts).await),
        };
        for ((text, value), row) in pairs.iter().zip(&rows) {
            let Raw(raw) = row.get(0);
            let theirs = Value::from_binary(kind, &raw).unwrap();
            assert_eq!(theirs.to_text(), value.to_text(), "{kind} {text:?}");
        }
    }
}

fn cases() -> usize {
    let times: usize = std::env::var("ENCODING_CASES").map_or(1, |times| times.parse().unwrap());
    CASES * times
}

async fn client() -> (crate::support::Database, Client) {
    let database = crate::support::database().await;
    let client = database.connect().await;
    (database, client)
}

#[tokio::test]
async fn every_kind_is_encoded_as_to_json_prints_it() {
    let (_database, client) = client().await;
    for scalar in Scalar::all() {
        agree(&client, Kind::one(scalar), &edges(scalar)).await;
        agree(&client, Kind::many(scalar), &array_edges(scalar)).await;
    }
}

#[tokio::test]
async fn random_values_of_every_kind_are_encoded_as_to_json_prints_them() {
    let (_database, client) = client().await;
    let mut random = Random::seeded();
    for scalar in Scalar::all() {
        let texts = |values: Vec<Value>| -> Vec<(String, Value)> {
            values.into_iter().map(|value| (value.to_text().unwrap(), value)).collect()
        };
        let single = texts((0..cases()).map(|_| random.value(scalar)).collect());
        let arrays = texts((0..cases()).map(|_| random.array(scalar)).collect());
        for (kind, pairs) in [(Kind::one(scalar), single), (Kind::many(scalar), arrays)] {
            // What we meant is what Postgres holds, before what it prints is compared.
            postgres_reads_alike(&client, kind, &pairs).await;
            let texts: Vec<String> = pairs.into_iter().map(|(text, _)| text).collect();
            agree(&client, kind, &texts).await;
        }
    }
}

#[tokio::test]
async fn what_is_read_as_a_value_is_read_alike_by_postgres() {
    let (_database, client) = client().await;
    let mut random = Random::seeded();
    for scalar in Scalar::all() {
        // `jsonb` spells numbers anew (`1e2` is `100`), so there the text of the value cannot be compared.
        if scalar == Scalar::Json {
            continue;
        }
        let edges = edges(scalar);
        let pieces = [
            "0", "1", "9", "00", "-", "+", ".", "e", "E", ":", "/", " ", "T", "Z", "BC", " BC", "day",
            " days", "mons", "P", "M", "D", "S", "inf", "nan", "\\x", "a", "F", ",", "{", "}", "\"", "NULL",
        ];
        let mut single = Vec::new();
        let mut arrays = Vec::new();
        for _ in 0..cases() * 4 {
            // A known text with something put in, taken out or put behind.
            let mut text = edges[random.below(edges.len() as u64) as usize].clone();
            for _ in 0..=random.below(2) {
                let letters: Vec<char> = text.chars().collect();
                let at = random.below(letters.len() as u64 + 1) as usize;
                let drop = random.below(3) as usize;
                let piece = random.one_of(&pieces);
                text = letters[..at].iter().collect::<String>()
                    + piece
                    + letters[(at + drop).min(letters.len())..].iter().collect::<String>().as_str();
            }
            if let Some(value) = Value::parse(Kind::one(scalar), &text) {
                single.push((text.clone(), value));
            }
            let literal = format!("{{{text},{}}}", edges[0]);
            if let Some(value) = Value::parse(Kind::many(scalar), &literal) {
                arrays.push((literal, value));
            }
        }
        assert!(single.len() > 5, "{scalar:?}: only {} texts were values", single.len());
        postgres_reads_alike(&client, Kind::one(scalar), &single).await;
        postgres_reads_alike(&client, Kind::many(scalar), &arrays).await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_floats_have_postgres_shortest_digits() {
    let (_database, client) = client().await;
    let mut random = Random::seeded();
    let mut floats: Vec<f64> = (0..100_000).map(|_| f64::from_bits(random.next())).collect();
    // Powers of two are where the gaps on both sides differ, and short decimals where ties are.
    for exponent in 0..2_047_u64 {
        let power = exponent << 52;
        floats.extend([power, power + 1, power.saturating_sub(1)].map(f64::from_bits));
    }
    for digits in 1..300_u32 {
        for scale in -30..40 {
            floats.push(format!("{digits}e{scale}").parse().unwrap());
        }
    }
    // Middles of two neighbours that are short decimals: odd multiples of powers of five.
    for _ in 0..10_000 {
        let scale = random.below(24) as i32;
        let most = random.below(17) as u32;
        let digits = random.next() % 10_u64.pow(1 + most);
        floats.push(format!("{digits}e{scale}").parse().unwrap());
        floats.push(
            (1_u64 << 53) as f64 * 2_f64.powi(random.between(-60, 60) as i32) + random.below(1 << 20) as f64,
        );
    }
    for floats in floats.chunks(20_000) {
        let rows = client
            .query(
                "select v, to_json(v)::text from unnest($1::float8[]) with ordinality as t (v, n) order by n",
                &[&floats],
            )
            .await
            .unwrap();
        for (float, row) in floats.iter().zip(&rows) {
            let Raw(raw) = row.get(0);
            assert_eq!(raw, float.to_be_bytes());
            let mut ours = Vec::new();
            encode(&mut ours, Kind::one(Scalar::Float), Some(&raw)).unwrap();
            assert_eq!(String::from_utf8(ours).unwrap(), row.get::<_, String>(1), "{:x}", float.to_bits());
        }
    }
}

#[tokio::test]
async fn columns_that_are_null_are_null_in_every_kind() {
    let (_database, client) = client().await;
    for scalar in Scalar::all() {
        for kind in [Kind::one(scalar), Kind::many(scalar)] {
            let sql = format!("select json_build_array(null::{0})::text, null::{0}", kind.sql());
            let row = client.query_one(&sql, &[]).await.unwrap();
            let raw: Option<Raw> = row.get(1);
            let mut ours = Vec::new();
            encode(&mut ours, kind, raw.as_ref().map(|raw| raw.0.as_slice())).unwrap();
            assert_eq!(format!("[{}]", String::from_utf8(ours).unwrap()), row.get::<_, String>(0), "{kind}");
        }
    }
}
