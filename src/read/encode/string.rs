//! JSON strings as Postgres' `escape_json` writes them.

/// Bytes looked at together: the compiler turns the test of a block into vector instructions.
const BLOCK: usize = 32;

/// Appends a text as a JSON string. Only `"`, `\` and control characters below 0x20 are escaped; everything else,
/// 0x7f and all that is not ASCII, stands as it is.
pub fn encode_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut blocks = bytes.chunks_exact(BLOCK);
    for block in blocks.by_ref() {
        if block.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
            escape(out, block);
        } else {
            out.extend_from_slice(block);
        }
    }
    escape(out, blocks.remainder());
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !needs_escape(*byte) {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'"' => b'"',
            b'\\' => b'\\',
            control => {
                out.extend_from_slice(br"\u00");
                crate::model::text::write_hex(out, &[*control]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_escaped_as_postgres_does() {
        let mut out = Vec::new();
        encode_text(&mut out, "\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}é\u{2028}");
        let expected = "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}é\u{2028}\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_string_is_read_back_wherever_in_a_block_the_escape_stands() {
        for at in 0..100 {
            let mut text = "x".repeat(100);
            text.replace_range(at..=at, "\u{2}");
            let mut out = Vec::new();
            encode_text(&mut out, &text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
