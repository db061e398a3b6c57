//! [`Name`]: the only thing that can become an identifier in SQL.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Postgres cuts identifiers at 63 bytes (NAMEDATALEN - 1); a longer one would silently name something else.
const MAX_BYTES: usize = 63;

/// An identifier that Postgres takes as it stands: 1 to 63 bytes, no NUL.
///
/// A `Name` is always quoted when it becomes SQL, so every `Name` is safe there. What an *admin* may
/// choose is narrower ([`Name::declared`]). Names that come from a request are only ever compared
/// with declared ones; they never become SQL themselves.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name has at most 63 bytes")]
    TooLong,
    #[error(
        "a name starts with a lower-case letter or `_` and goes on with lower-case letters, digits and `_`"
    )]
    Characters,
}

impl Name {
    /// Takes any identifier that Postgres can hold (constraint names found in a database, for one).
    pub fn new(text: &str) -> Result<Name, NameFault> {
        if text.is_empty() {
            Err(NameFault::Empty)
        } else if text.len() > MAX_BYTES {
            Err(NameFault::TooLong)
        } else if text.contains('\0') {
            Err(NameFault::Characters)
        } else {
            Ok(Name(Arc::from(text)))
        }
    }

    /// Takes what an admin may write as the name of a collection, field, role or condition.
    pub fn declared(text: &str) -> Result<Name, NameFault> {
        let name = Name::new(text)?;
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if first && rest { Ok(name) } else { Err(NameFault::Characters) }
    }

    /// Joins parts with `_` into the name of a constraint, index or trigger. A result over 63 bytes is
    /// cut and closed with a hash of the whole, so that two long names never collide and the result is stable.
    pub fn joined(parts: &[&str]) -> Name {
        let whole = parts.join("_");
        if whole.len() <= MAX_BYTES {
            return Name(Arc::from(whole));
        }
        // FNV-1a: the result stands in databases, so it may never change with a library.
        let hash = whole
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        let suffix = parts.last().copied().unwrap_or_default();
        let tail = format!("_{:08x}_{}", hash & 0xffff_ffff, suffix);
        let mut room = MAX_BYTES.saturating_sub(tail.len());
        while !whole.is_char_boundary(room) {
            room -= 1;
        }
        let mut text = format!("{}{}", &whole[..room], tail);
        while text.len() > MAX_BYTES {
            text.pop();
        }
        Name(Arc::from(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_name_is_lower_case_and_fits_postgres() {
        for good in ["a", "_a", "posts", "p0_st", &"x".repeat(63)] {
            assert!(Name::declared(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "0a", "a-b", "a b", "ä", "a\0", &"x".repeat(64)] {
            assert!(Name::declared(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_joined_name_keeps_its_suffix_and_stays_unique() {
        let (a, b) = ("a".repeat(60), "b".repeat(60));
        let one = Name::joined(&[&a, &b, "fkey"]);
        let two = Name::joined(&[&a, &a, "fkey"]);
        assert_ne!(one, two);
        assert!(one.as_str().len() <= 63 && one.as_str().ends_with("_fkey"));
        assert_eq!(Name::joined(&["posts", "author", "fkey"]), "posts_author_fkey");
    }
}
