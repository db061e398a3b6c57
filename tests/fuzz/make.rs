//! Query strings to try: from the grammar of hostile requests, from what clients really send, and from both by
//! mutation. What led somewhere new is kept and changed further.

use crate::campaign::Dice;
use crate::hostile::requests::{Choices, Maker, Sender};
use crate::hostile::words::{BAD, BAD_OPERATORS, CASTS, NAMES, OPERATORS, STEPS};

/// A request for one of the collections.
#[derive(Clone, Debug)]
pub struct Input {
    pub place: usize,
    /// As it stands in a URL.
    pub query: String,
    pub body: Option<Vec<u8>>,
}

/// Words that no statement may hold, unless as the name of a member of the answer.
pub const CANARIES: &[&str] = &["zqcanaryqz", "Zq'Canary", "7391846205", "zq\"; select zqcanary --"];

/// The longest query string that the server reads.
pub const LONGEST: usize = 16 << 10;
/// Inputs that are kept for further changes.
const KEPT: usize = 4_000;

/// What clients send, one for each part of the grammar.
const REAL: &[(usize, &str)] = &[
    (0, "select=*"),
    (0, "select=id,f_text&id=eq.00000000-0000-4000-8000-000000000001"),
    (0, "select=id,name:f_text,price:f_decimal::text,f_json->a->>b,f_json->0,f_json->>-1"),
    (0, "digit=gte.1&digit=lt.9&f_text=not.is.null&order=created_at.desc.nullslast,id&limit=20&offset=40"),
    (0, "f_text=ilike.*abc*&f_text=match.^a&f_text=not.imatch.B$&f_text=like(any).{a*,*b}"),
    (0, "id=in.(00000000-0000-4000-8000-000000000001,\"00000000-0000-4000-8000-000000000002\")"),
    (0, "or=(digit.eq.1,and(digit.gt.2,not.f_text.is.null),not.or(word.eq.\"a,b\",code.in.(a,\"b)\")))"),
    (0, "not.and=(f_integer.eq.1,f_bigint.neq.2)&and=(f_boolean.is.true,f_boolean.not.is.false)"),
    (
        0,
        "f_text=fts(english).cat%20%26%20dog&f_text=plfts.cat&f_text=phfts(simple).a%20b&f_text=wfts.-a%20or%20b",
    ),
    (0, "search=wfts.soup%20-onions&or=(search.fts(english).a,not.search.plfts.b)"),
    (0, "f_json=cs.{\"a\":1}&f_json=cd.{}&f_json->a=eq.1&f_json->>a=eq.1&order=f_json->a->>b.desc"),
    (
        0,
        "select=id,parent(id,f_text,parent(id)),children(id,digit)&children.order=digit.desc&children.limit=3",
    ),
    (0, "select=id,list!inner(id,a_text)&list.a_text=cs.{a}&order=list(id).desc"),
    (0, "select=id,arrays!pairs(id,a_integer)&arrays.a_integer=ov.{1,2}&arrays.limit=2"),
    (0, "select=id,...parent(up:f_text,deep:parent(id)),...children(digit,word)"),
    (0, "select=id,children(count),pairs(note,many(id))&children=not.is.null&pairs=is.null"),
    (0, "select=id,a:children(id),b:children!inner(id)&a.digit=eq.1&b.or=(digit.eq.2,digit.eq.3)&b.offset=1"),
    (0, "columns=f_text,f_integer,\"word\"&select=id&on_conflict=code"),
    (0, "f_integer=isdistinct.1&f_decimal=eq(any).{1,2.5}&f_date=gt.2024-01-01&f_timestamp=lte.infinity"),
    (1, "a_text=cs.{a,\"b,c\"}&a_integer=cd.{1,2}&a_decimal=ov.{1.5}&a_json->0=eq.1&select=id,a_text->0"),
    (1, "select=*,singles(*,parent(*)),scalars!pairs(id)&singles.choice=eq.a&limit=5"),
    (2, "select=note,one(id,children(id)),many(id)&one.children.order=id&note=eq.note"),
    (2, "one=eq.00000000-0000-4000-8000-000000000001&many=eq.00000000-0000-4000-8000-000000000005"),
];

/// Pieces that the grammar has a meaning for.
const PIECES: &[&str] = &[
    ",",
    ".",
    "(",
    ")",
    ":",
    "::",
    "!",
    "!inner",
    "!left",
    "->",
    "->>",
    "...",
    "*",
    "\"",
    "\\",
    "{",
    "}",
    "&",
    "=",
    "%",
    "%25",
    "+",
    " ",
    "not.",
    "and(",
    "or(",
    "and=",
    "or=",
    "not.or=",
    "select=",
    "order=",
    "limit=",
    "offset=",
    "columns=",
    "on_conflict=",
    "eq.",
    "in.(",
    "is.null",
    "(any).",
    "(all).",
    ".desc",
    ".nullsfirst",
    "count",
    "count()",
    ".sum()",
    "parent(",
    "children(",
    "list(",
    "arrays!pairs(",
    "...children(",
    "pairs(",
    "digit",
    "f_json",
    "f_text",
    "a_text",
    "id",
    "0",
    "-1",
    "é",
    "\u{1f980}",
    "\u{202e}",
];

pub struct Inputs {
    dice: Dice,
    maker: Maker,
    kept: Vec<Input>,
}

impl Inputs {
    pub fn new(seed: u64) -> Inputs {
        let kept =
            REAL.iter().map(|(place, query)| Input { place: *place, query: (*query).to_owned(), body: None });
        Inputs { dice: Dice(seed), maker: Maker::new(), kept: kept.collect() }
    }

    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// An input that led where none had been.
    pub fn keep(&mut self, input: &Input) {
        if self.kept.len() < KEPT {
            self.kept.push(input.clone());
        } else {
            let place = self.dice.below(KEPT as u64) as usize;
            self.kept[place] = input.clone();
        }
    }

    pub fn next(&mut self) -> Input {
        let mut input = match self.dice.below(6) {
            0 => self.grammar(),
            1 if self.dice.one_in(20) => self.heavy(),
            _ => {
                let place = self.dice.below(self.kept.len() as u64) as usize;
                self.kept[place].clone()
            }
        };
        for _ in 0..self.dice.below(5) {
            self.mutate(&mut input);
        }
        cut(&mut input.query, LONGEST);
        input
    }

    fn grammar(&mut self) -> Input {
        let mut choices = Choices::new(self.dice.clone());
        let (place, request) = self.maker.aimed(&mut choices, Sender { careful: false });
        self.dice.next();
        let target = String::from_utf8_lossy(&request.target).into_owned();
        let query = target.split_once('?').map_or(String::new(), |(_, query)| query.to_owned());
        Input { place, query, body: request.body.filter(|body| body.len() < 10_000) }
    }

    /// Much of one thing, up to the length of a URL.
    fn heavy(&mut self) -> Input {
        let times = |text: &str, length: usize| text.repeat(length / text.len());
        let room = LONGEST - 400;
        let half = room / 2;
        let query = match self.dice.below(16) {
            0 => format!("select=id{}", times(",id", room)),
            1 => format!("select=id{}", times(",parent(id)", room)),
            2 => format!("select={}id{}", times("parent(", room), times(")", room)),
            3 => format!("or={}id.is.null{}", times("(and", half), times(")", half)),
            4 => format!("or=(digit.eq.1{})", times(",digit.eq.1", room)),
            5 => format!("order=id{}", times(",id", room)),
            6 => format!("order=f_json{}", times("->a", room)),
            7 => format!("id=in.(a{})", times(",a", room)),
            8 => format!("f_text=like(any).{{a{}}}", times(",a", room)),
            9 => times("a.b.c.d=eq.1&", room),
            10 => format!(
                "select=...children(id{})&children.or=(digit.eq.1{})",
                ",id".repeat(900),
                ",digit.eq.1".repeat(490)
            ),
            11 => format!(
                "select=...parent(...parent(...parent(id{})))&parent.parent.parent.or=(digit.eq.1{})",
                ",id".repeat(240),
                ",digit.eq.1".repeat(490)
            ),
            12 => format!("select=f_json{}&f_json{}=eq.1", times("->a", half), times("->b", half)),
            13 => format!("select={}", times("*,", room)),
            14 => format!("columns=id{}", times(",id", room)),
            _ => format!(
                "select=a:children(id){}&{}",
                times(",b:children(id)", half),
                times("a.limit=1&", half)
            ),
        };
        Input { place: 0, query, body: None }
    }

    fn piece(&mut self) -> String {
        let lists: &[&[&str]] =
            &[CANARIES, CANARIES, PIECES, PIECES, BAD, BAD_OPERATORS, OPERATORS, NAMES, STEPS, CASTS];
        let list = self.dice.pick(lists);
        self.dice.pick(list).to_owned()
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.dice.below(text.len() as u64 + 1) as usize;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn mutate(&mut self, input: &mut Input) {
        let text = &mut input.query;
        let (one, other) = (self.place(text), self.place(text));
        let (start, end) = (one.min(other), one.max(other));
        match self.dice.below(9) {
            0 | 1 => {
                let piece = self.piece();
                text.insert_str(start, &piece);
            }
            2 => {
                // In the place of the word that stands there.
                let piece = self.piece();
                let word = |letter: char| letter.is_alphanumeric() || letter == '_';
                let end = text[start..].find(|letter| !word(letter)).map_or(text.len(), |end| start + end);
                text.replace_range(start..end, &piece);
            }
            3 => text.replace_range(start..end, ""),
            4 => {
                let part = text[start..end].to_owned();
                let times = if self.dice.one_in(10) { 1 + self.dice.below(200) as usize } else { 1 };
                if part.len() * times <= LONGEST {
                    text.insert_str(end, &part.repeat(times));
                }
            }
            5 => {
                // Of another input the end.
                let place = self.dice.below(self.kept.len() as u64) as usize;
                let other = self.kept[place].query.clone();
                let from = self.place(&other);
                text.truncate(start);
                *text += &other[from..];
            }
            6 => {
                let place = self.dice.below(self.kept.len() as u64) as usize;
                if !text.is_empty() {
                    text.push('&');
                }
                let other = self.kept[place].query.clone();
                *text += &other;
            }
            7 => {
                let letter = char::from_u32(self.dice.below(0x300) as u32).unwrap_or('x');
                text.insert(start, letter);
            }
            _ => input.place = self.dice.below(3) as usize,
        }
        cut(text, LONGEST);
    }
}

fn cut(text: &mut String, length: usize) {
    let mut at = text.len().min(length);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
}
