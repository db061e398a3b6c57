//! [`Key`]: what an object is called in its bucket.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

use crate::error::{Error, StorageCode};

/// Longest key, in bytes.
const MAX_BYTES: usize = 1_024;

/// Parts between slashes, in Unicode's normal form C, so that a name typed on two systems is one key. It is never a path
/// on a disk: content lies under keys of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Takes a key as a caller writes it, decoded.
    ///
    /// # Errors
    /// `InvalidKey`: longer than 1,024 bytes, an empty part, `.` or `..` as a part, a backslash, a control character.
    pub fn parse(text: &str) -> Result<Key, Error> {
        // Normal form C is at most three times as long in bytes; what is longer beforehand need not be looked at.
        if text.len() > 4 * MAX_BYTES {
            return Err(invalid(text));
        }
        let key: String = text.nfc().collect();
        let sound = (1..=MAX_BYTES).contains(&key.len())
            && key.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !key
                .chars()
                .any(|c| c.is_control() || matches!(c, '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
        if sound { Ok(Key(key)) } else { Err(invalid(text)) }
    }

    /// Takes the beginning of keys, which may be empty or end inside a part.
    ///
    /// # Errors
    /// `InvalidKey`, where no key begins so.
    pub fn prefix(text: &str) -> Result<String, Error> {
        let begun = text.trim_start_matches('/');
        match begun {
            "" => Ok(String::new()),
            _ => match Key::parse(&format!("{begun}x")) {
                Ok(_) => Ok(begun.nfc().collect()),
                Err(_) => Err(invalid(text)),
            },
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It stands for a folder without objects, as clients make one: nothing is in it.
    pub fn is_placeholder(&self) -> bool {
        self.0.ends_with(".emptyFolderPlaceholder")
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was refused, as far as it can be printed.
fn invalid(text: &str) -> Error {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(128).collect();
    Error::with(StorageCode::InvalidKey, format!("Invalid key: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parts_between_slashes() {
        for text in [
            "a",
            "a/b.png",
            "ada/größe ☃.txt",
            "a b/c+d&e",
            ".hidden",
            "...",
            "a/..b",
            "x".repeat(1_024).as_str(),
        ] {
            assert!(Key::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/./b",
            "a/../b",
            "../a",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "a\u{2028}b",
            "\u{feff}a",
            "x".repeat(1_025).as_str(),
        ] {
            let error = Key::parse(text).unwrap_err();
            assert_eq!(error.code.as_str(), "InvalidKey", "{text:?}");
            assert!(!error.message.contains('\n'), "{text:?}");
        }
    }

    #[test]
    fn one_name_typed_on_two_systems_is_one_key() {
        assert_eq!(Key::parse("u\u{308}").unwrap(), Key::parse("ü").unwrap());
        assert_eq!(Key::parse("a/b").unwrap().file_name(), "b");
    }

    #[test]
    fn a_prefix_may_end_anywhere_in_a_key() {
        for (text, prefix) in [("", ""), ("/", ""), ("a/", "a/"), ("a/b", "a/b"), ("u\u{308}", "ü")] {
            assert_eq!(Key::prefix(text).unwrap(), prefix);
        }
        for text in ["../", "a//", "a/\0"] {
            assert!(Key::prefix(text).is_err(), "{text:?}");
        }
    }
}
