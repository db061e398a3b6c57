//! [`Like`]: SQL's `like` in memory, in time that grows with the text and not with what the pattern could try.

/// A pattern of `like` or `ilike`, ready to match.
#[derive(Clone, Debug)]
pub(super) struct Like {
    /// What stands between `%`. The first is bound to the text's start and the last to its end.
    parts: Vec<Part>,
    ignore_case: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LikeFault {
    /// It ends with a `\` that escapes nothing.
    Escape,
    /// It is longer than [`MOST_LETTERS`].
    Long,
}

/// What one text costs to match grows with the pattern's length, too.
pub(super) const MOST_LETTERS: usize = 1_024;

/// Letters that stand next to each other; `None` is any one.
#[derive(Clone, Debug)]
struct Part {
    letters: Vec<Option<char>>,
    /// For each letter that occurs, in order: the places where it may stand, a bit each.
    places: Vec<(char, Vec<u64>)>,
    /// The places where every letter may stand.
    anywhere: Vec<u64>,
}

impl Like {
    /// Reads a pattern: `%` is any text, `_` any letter, `\` takes the next letter as it is.
    pub(super) fn parse(text: &str, ignore_case: bool) -> Result<Like, LikeFault> {
        let mut parts = vec![Vec::new()];
        let mut letters = text.chars();
        if letters.clone().count() > MOST_LETTERS {
            return Err(LikeFault::Long);
        }
        while let Some(letter) = letters.next() {
            let letter = match letter {
                '%' => {
                    parts.push(Vec::new());
                    continue;
                }
                '_' => None,
                '\\' => Some(letters.next().ok_or(LikeFault::Escape)?),
                letter => Some(letter),
            };
            if let Some(part) = parts.last_mut() {
                part.push(letter.map(|letter| fold(letter, ignore_case)));
            }
        }
        Ok(Like { parts: parts.into_iter().map(Part::new).collect(), ignore_case })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().map(|letter| fold(letter, self.ignore_case)).collect();
        let mut rest = letters.as_slice();
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else { return false };
        if self.parts.len() == 1 {
            return rest.len() == first.letters.len() && first.stands_at(rest, 0);
        }
        if rest.len() < first.letters.len() + last.letters.len() || !first.stands_at(rest, 0) {
            return false;
        }
        let end = rest.len() - last.letters.len();
        if !last.stands_at(rest, end) {
            return false;
        }
        rest = &rest[first.letters.len()..end];
        // The earliest place of each leaves most to those that follow.
        for part in &self.parts[1..self.parts.len() - 1] {
            match part.find(rest) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }
}

/// As Postgres folds: letter by letter.
fn fold(letter: char, ignore_case: bool) -> char {
    if ignore_case { letter.to_lowercase().next().unwrap_or(letter) } else { letter }
}

impl Part {
    fn new(letters: Vec<Option<char>>) -> Part {
        let blocks = letters.len().div_ceil(64);
        let mut anywhere = vec![0; blocks];
        for (at, _) in letters.iter().enumerate().filter(|(_, letter)| letter.is_none()) {
            anywhere[at / 64] |= 1 << (at % 64);
        }
        let mut known: Vec<char> = letters.iter().flatten().copied().collect();
        known.sort_unstable();
        known.dedup();
        let places = known.into_iter().map(|letter| {
            let mut places = anywhere.clone();
            for (at, _) in letters.iter().enumerate().filter(|(_, other)| **other == Some(letter)) {
                places[at / 64] |= 1 << (at % 64);
            }
            (letter, places)
        });
        Part { places: places.collect(), anywhere, letters }
    }

    fn stands_at(&self, text: &[char], at: usize) -> bool {
        text.get(at..at + self.letters.len()).is_some_and(|text| {
            text.iter()
                .zip(&self.letters)
                .all(|(letter, wanted)| wanted.is_none_or(|wanted| wanted == *letter))
        })
    }

    /// Where its first occurrence ends. All beginnings that may still become one go along at once, a bit each.
    fn find(&self, text: &[char]) -> Option<usize> {
        let Some(last) = self.letters.len().checked_sub(1) else { return Some(0) };
        let mut begun = vec![0_u64; self.anywhere.len()];
        for (at, letter) in text.iter().enumerate() {
            let places = match self.places.binary_search_by_key(letter, |(letter, _)| *letter) {
                Ok(found) => &self.places[found].1,
                Err(_) => &self.anywhere,
            };
            let mut carry = 1;
            for (block, places) in begun.iter_mut().zip(places) {
                let next = *block >> 63;
                *block = (*block << 1 | carry) & places;
                carry = next;
            }
            if begun[last / 64] & (1 << (last % 64)) != 0 {
                return Some(at + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn like(pattern: &str, text: &str) -> bool {
        Like::parse(pattern, false).unwrap().matches(text)
    }

    #[test]
    fn percent_is_any_text_and_underscore_any_letter() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("_", "é", true),
            ("__", "é", false),
            ("%_b_%", "abc", true),
            ("%_b_%", "ab", false),
            ("a\\%", "a%", true),
            ("a\\%", "ab", false),
            ("\\a", "a", true),
            ("%ab%ba%", "aba", false),
            ("%ab%ba%", "abba", true),
            ("%A%", "a", false),
        ] {
            assert_eq!(like(pattern, text), matches, "{pattern} on {text}");
        }
        assert!(Like::parse("%É_s%", true).unwrap().matches("les écSoles"));
        assert_eq!(Like::parse("a\\", false).unwrap_err(), LikeFault::Escape);
        assert_eq!(Like::parse(&"a".repeat(MOST_LETTERS + 1), false).unwrap_err(), LikeFault::Long);
    }

    #[test]
    fn a_part_longer_than_a_word_of_bits_is_found() {
        let long = format!("{}_{}", "ab".repeat(40), "c".repeat(60));
        assert!(like(&format!("%{long}%"), &format!("ab{}x{}c", "ab".repeat(40), "c".repeat(60))));
        assert!(!like(&format!("%{long}%"), &format!("ab{}x{}", "ab".repeat(40), "c".repeat(59))));
    }

    /// By trying everything.
    fn tried(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['%', rest @ ..], _) => (0..=text.len()).any(|at| tried(rest, &text[at..])),
            (['_', rest @ ..], [_, text @ ..]) => tried(rest, text),
            ([letter, rest @ ..], [first, text @ ..]) => letter == first && tried(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_trying_everything_matches(pattern in "[ab%_]{0,8}", text in "[abc]{0,10}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(like(&pattern, &text), tried(&letters(&pattern), &letters(&text)));
        }
    }
}
