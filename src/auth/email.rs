//! Addresses of mail: what is one, and when two are the same.

/// An address in the one form in which it is stored and compared: ASCII, in lower case. `None` if it is none.
///
/// Only ASCII, so that no two addresses that a database or a mail server might take for the same are two users, and no
/// mail goes to somebody whose address merely looks alike.
pub fn normal(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > 254 || !text.is_ascii() {
        return None;
    }
    let (local, domain) = text.rsplit_once('@')?;
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let dotted = |part: &str, fits: &dyn Fn(char) -> bool| {
        part.split('.').all(|label| !label.is_empty() && label.chars().all(fits))
    };
    let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let sound = local.len() <= 64
        && dotted(local, &atom)
        && dotted(domain, &label)
        && domain.split('.').all(|part| part.len() <= 63 && !part.starts_with('-') && !part.ends_with('-'));
    sound.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (text, expected) in [
            ("Ada@Example.TEST", Some("ada@example.test")),
            (" ada@example.test ", Some("ada@example.test")),
            ("ada+tag@example.test", Some("ada+tag@example.test")),
            ("a.b@localhost", Some("a.b@localhost")),
            ("", None),
            ("ada", None),
            ("@example.test", None),
            ("ada@", None),
            ("ada@@example.test", None),
            ("a@b@example.test", None),
            (".ada@example.test", None),
            ("ada..b@example.test", None),
            ("ada@example..test", None),
            ("ada@-example.test", None),
            ("ada b@example.test", None),
            ("ada@example.test\r\nBcc: all@example.test", None),
            ("ada@example.test,bob@example.test", None),
            ("\"ada\"@example.test", None),
            ("ada@exämple.test", None),
            ("àda@example.test", None),
            ("ada@[127.0.0.1]", None),
            ("ada\0@example.test", None),
        ] {
            assert_eq!(normal(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(normal(&format!("{}@example.test", "a".repeat(65))), None);
        assert_eq!(normal(&format!("a@{}.test", "b".repeat(64))), None);
    }
}
