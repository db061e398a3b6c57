//! Text → tokens. Knows the spelling of the language and nothing of its grammar or of names.

use std::ops::Range;

use super::Fault;

/// The longest condition, in bytes. Far above what a person writes, far below what could hurt.
pub(super) const MAX_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// As written: `12`, `1.5`, `2e3`.
    Number(String),
    Text(Text),
    Symbol(&'static str),
    End,
}

/// A string literal with its escapes resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) value: String,
    /// The first backslash that begins no escape of the language. It stands in `value` as written, which
    /// is what a pattern (`'^\d+$'`) and bytes (`'\x00'`) mean; everywhere else it is a mistake.
    pub(super) stray: Option<Range<usize>>,
}

#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 17] =
    ["||", "&&", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", ".", "+", "-"];

/// What people write from habit, and what to write here.
const STRANGERS: [(&str, &str); 12] = [
    ("=", "comparing is written `==`"),
    ("<>", "write `!=`"),
    ("&", "write `&&`"),
    ("|", "write `||`"),
    ("*", "only `+` and `-` calculate"),
    ("/", "only `+` and `-` calculate"),
    ("%", "only `+` and `-` calculate; for text use `startsWith`, `endsWith`, `contains` or `matches`"),
    ("?", "there is no `a ? b : c`; write `(a && b) || (!a && c)`"),
    (":", "there is no `a ? b : c` and no `::` cast here"),
    ("{", "lists are written `['a', 'b']`"),
    (";", "a condition is one expression"),
    ("$", "values of the caller are written `auth.…`"),
];

pub(super) fn lex(text: &str) -> Result<Vec<Spanned>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault {
            span: 0..text.len(),
            message: format!("a condition has at most {MAX_BYTES} bytes"),
            hint: Some("move parts of it into named conditions".to_owned()),
        });
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = if c == '\'' || c == '"' {
            let (value, length) = string(rest, at)?;
            (Token::Text(value), length)
        } else if c == 'r' && matches!(rest.as_bytes().get(1), Some(b'\'' | b'"')) {
            let (value, length) = raw_string(rest, at)?;
            (Token::Text(value), length)
        } else if c.is_ascii_digit() {
            number(rest, at)?
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Name(rest[..length].to_owned()), length)
        } else {
            symbol(rest, at, c)?
        };
        tokens.push(Spanned { token, span: at..at + length });
        at += length;
    }
    tokens.push(Spanned { token: Token::End, span: text.len()..text.len() });
    Ok(tokens)
}

fn symbol(rest: &str, at: usize, c: char) -> Result<(Token, usize), Fault> {
    let known = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
    let stranger = STRANGERS
        .iter()
        .filter(|(stranger, _)| rest.starts_with(stranger))
        .max_by_key(|(stranger, _)| stranger.len());
    match (known, stranger) {
        (Some(symbol), stranger) if stranger.is_none_or(|(text, _)| text.len() <= symbol.len()) => {
            Ok((Token::Symbol(symbol), symbol.len()))
        }
        (_, Some((text, instead))) => Err(Fault {
            span: at..at + text.len(),
            message: format!("`{text}` is not part of the condition language"),
            hint: Some((*instead).to_owned()),
        }),
        _ => Err(Fault {
            span: at..at + c.len_utf8(),
            message: format!("`{}` is not part of the condition language", c.escape_debug()),
            hint: (!c.is_ascii())
                .then(|| "names are made of a-z, 0-9 and `_`; other text belongs in quotes".to_owned()),
        }),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Fault> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && bytes.get(length + 1).is_some_and(u8::is_ascii_digit) {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let tail = bytes[length..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    if tail > 0 {
        return Err(Fault {
            span: at..at + length + tail,
            message: format!("`{}` is no number", &rest[..length + tail]),
            hint: Some("text stands in quotes, and so does a uuid".to_owned()),
        });
    }
    Ok((Token::Number(rest[..length].to_owned()), length))
}

fn raw_string(rest: &str, at: usize) -> Result<(Text, usize), Fault> {
    let quote = rest[1..].chars().next().unwrap_or('\'');
    match rest[2..].find(quote) {
        Some(length) => Ok((Text { value: rest[2..2 + length].to_owned(), stray: None }, length + 3)),
        None => Err(unterminated(at, rest.len())),
    }
}

fn unterminated(at: usize, length: usize) -> Fault {
    Fault {
        span: at..at + length,
        message: "the text does not end".to_owned(),
        hint: Some("close it with the quote it began with; inside, write the quote as `\\'`".to_owned()),
    }
}

/// `rest` begins with a quote that stands at byte `at` of the condition.
fn string(rest: &str, at: usize) -> Result<(Text, usize), Fault> {
    let mut chars = rest.char_indices();
    let quote = chars.next().map_or('\'', |(_, c)| c);
    let mut value = String::new();
    let mut stray = None;
    while let Some((index, c)) = chars.next() {
        if c == quote {
            // SQL's doubled quote would silently be two texts side by side.
            if rest[index + 1..].starts_with(quote) {
                return Err(Fault {
                    span: at + index..at + index + 2,
                    message: "a doubled quote does not stand for a quote".to_owned(),
                    hint: Some(format!("write `\\{quote}`, or use the other kind of quotes outside")),
                });
            }
            return Ok((Text { value, stray }, index + 1));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, '\\')) => value.push('\\'),
            Some((_, '\'')) => value.push('\''),
            Some((_, '"')) => value.push('"'),
            Some((_, 'n')) => value.push('\n'),
            Some((_, 'r')) => value.push('\r'),
            Some((_, 't')) => value.push('\t'),
            Some((_, 'u')) => {
                let code = rest.get(index + 2..index + 6).and_then(|hex| {
                    hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
                });
                match code.and_then(char::from_u32).filter(|c| *c != '\0') {
                    Some(c) => {
                        value.push(c);
                        chars.by_ref().take(4).for_each(drop);
                    }
                    None => {
                        return Err(Fault {
                            span: at + index..at + index + 2,
                            message: "`\\u` is followed by the four hexadecimal digits of a character"
                                .to_owned(),
                            hint: Some(
                                "for example `\\u00e9`; characters beyond `\\uffff` are written as they are"
                                    .to_owned(),
                            ),
                        });
                    }
                }
            }
            Some((next, c)) => {
                stray.get_or_insert(at + index..at + next + c.len_utf8());
                value.push('\\');
                value.push(c);
            }
            None => break,
        }
    }
    Err(unterminated(at, rest.len()))
}
