//! Sets of characters.

use std::ops::RangeInclusive;

/// A set of characters: sorted ranges of code points that neither touch nor overlap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class(pub(super) Vec<(u32, u32)>);

pub(super) const LAST: u32 = char::MAX as u32;
const SURROGATES: RangeInclusive<u32> = 0xd800..=0xdfff;

impl Class {
    pub(super) fn new(mut ranges: Vec<(u32, u32)>) -> Class {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = (*end).max(high),
                _ => merged.push((low, high)),
            }
        }
        Class(merged)
    }

    pub(super) fn complement(&self) -> Class {
        let mut ranges = Vec::with_capacity(self.0.len() + 1);
        // Text holds neither U+0000 nor surrogates, and neither can be written as an end of a range.
        let mut push = |low: u32, high: u32| {
            let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
            let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
            if low <= high {
                ranges.push((low, high));
            }
        };
        let mut next = 1;
        for (low, high) in &self.0 {
            if *low > next {
                push(next, low - 1);
            }
            next = high + 1;
        }
        if next <= LAST {
            push(next, LAST);
        }
        Class(ranges)
    }

    fn digit() -> Class {
        Class::new(vec![(0x30, 0x39)])
    }

    fn word() -> Class {
        Class::new(vec![(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)])
    }

    fn space() -> Class {
        Class::new(vec![(0x09, 0x0d), (0x20, 0x20)])
    }

    /// `\d`, `\W` and so on.
    pub(super) fn escaped(letter: char) -> Option<Class> {
        let class = match letter.to_ascii_lowercase() {
            'd' => Class::digit(),
            'w' => Class::word(),
            's' => Class::space(),
            _ => return None,
        };
        Some(if letter.is_ascii_uppercase() { class.complement() } else { class })
    }
}
