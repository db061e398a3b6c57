//! The raw query string → decoded parameters.

use std::borrow::Cow;

use super::Fault;

/// Splits and decodes a raw query string, in order and with repetitions. `+` is a space; a `%` that no two
/// hexadecimal digits follow is itself, as browsers have it. A parameter without `=` has an empty value.
///
/// # Errors
/// [`Fault::Encoding`] for what is not UTF-8 once decoded, and for a NUL, which no text of Postgres can hold.
pub fn parameters(raw_query: &str) -> Result<Vec<(String, String)>, Fault> {
    raw_query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Fault> {
    let bytes = text.as_bytes();
    let decoded: Cow<'_, [u8]> = if bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let hex = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            at += 1;
            decoded.push(match (byte, hex(at), hex(at + 1)) {
                (b'%', Some(high), Some(low)) => {
                    at += 2;
                    (high << 4 | low) as u8
                }
                (b'+', _, _) => b' ',
                (byte, _, _) => *byte,
            });
        }
        decoded.into()
    } else {
        bytes.into()
    };
    if decoded.contains(&0) {
        return Err(Fault::Encoding("a NUL character"));
    }
    String::from_utf8(decoded.into_owned()).map_err(|_| Fault::Encoding("bytes that are not UTF-8"))
}
