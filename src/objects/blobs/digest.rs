//! [`Digest`]: what content is known by, counted while it passes.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::BLOCK;

/// Bytes of a SHA-256.
const WIDTH: usize = 32;

/// SHA-256 of content that comes in one go, or of content that may be gone on with by another process.
///
/// The state of a hash cannot be kept, so that content of the second kind is hashed in blocks of a fixed length: its
/// etag is the SHA-256 over their digests, `-` and their number. It depends on the content alone, not on the pieces in
/// which that came.
pub(super) enum Digest {
    Whole(Context),
    Blocks {
        /// The digests of the blocks that are complete, one after the other.
        done: Vec<u8>,
        block: Context,
        /// Bytes that `block` has seen; never a whole block.
        filled: usize,
    },
}

impl Digest {
    pub(super) fn whole() -> Digest {
        Digest::Whole(Context::new(&SHA256))
    }

    /// Goes on after the blocks that are done. What follows them has to be told again.
    pub(super) fn blocks(done: Vec<u8>) -> Digest {
        Digest::Blocks { done, block: Context::new(&SHA256), filled: 0 }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        match self {
            Digest::Whole(context) => context.update(bytes),
            Digest::Blocks { done, block, filled } => {
                while !bytes.is_empty() {
                    let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - *filled));
                    block.update(now);
                    *filled += now.len();
                    bytes = rest;
                    if *filled == BLOCK {
                        let complete = std::mem::replace(block, Context::new(&SHA256));
                        done.extend_from_slice(complete.finish().as_ref());
                        *filled = 0;
                    }
                }
            }
        }
    }

    /// The digests of the blocks that are complete, as a caller keeps them.
    pub(super) fn kept(&self) -> String {
        match self {
            Digest::Whole(_) => String::new(),
            Digest::Blocks { done, .. } => STANDARD_NO_PAD.encode(done),
        }
    }

    pub(super) fn etag(self) -> String {
        match self {
            Digest::Whole(context) => hexadecimal(context.finish().as_ref()),
            Digest::Blocks { mut done, block, filled } => {
                // Content without a byte is one block without a byte.
                if filled > 0 || done.is_empty() {
                    done.extend_from_slice(block.finish().as_ref());
                }
                let parts = done.len() / WIDTH;
                format!("{}-{parts}", hexadecimal(digest(&SHA256, &done).as_ref()))
            }
        }
    }
}

/// Reads what [`Digest::kept`] wrote: as many digests as there are whole blocks before an offset.
pub(super) fn kept(text: &str, offset: u64) -> Option<Vec<u8>> {
    let done = STANDARD_NO_PAD.decode(text).ok()?;
    let blocks = usize::try_from(offset / BLOCK as u64).ok()?;
    (done.len() == blocks.checked_mul(WIDTH)?).then_some(done)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The etag that content would have, of the kind that a given one is of: how what lies somewhere is compared with what
/// is said of it.
pub struct Rehash(Digest);

impl Rehash {
    pub fn like(etag: &str) -> Rehash {
        Rehash(if etag.contains('-') { Digest::blocks(Vec::new()) } else { Digest::whole() })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn etag(self) -> String {
        self.0.etag()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn etag(mut digest: Digest, pieces: &[&[u8]]) -> String {
        for piece in pieces {
            digest.update(piece);
        }
        digest.etag()
    }

    #[test]
    fn whole_content_has_its_sha_256() {
        // FIPS 180-2, B.1, and the digest of nothing.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(etag(Digest::whole(), &[b"a", b"", b"bc"]), abc);
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(etag(Digest::whole(), &[]), nothing);
    }

    #[test]
    fn blocks_are_counted_as_they_lie_in_the_content() {
        let content = vec![7; 2 * BLOCK + 1];
        let parts: Vec<u8> =
            content.chunks(BLOCK).flat_map(|part| digest(&SHA256, part).as_ref().to_vec()).collect();
        let expected = format!("{}-3", hexadecimal(digest(&SHA256, &parts).as_ref()));
        assert_eq!(etag(Digest::blocks(Vec::new()), &[&content]), expected);
        let whole = etag(Digest::blocks(Vec::new()), &[&content[..BLOCK]]);
        assert!(whole.ends_with("-1"), "{whole}");
        assert!(etag(Digest::blocks(Vec::new()), &[]).ends_with("-1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_etag_does_not_know_the_pieces(
            size in 0..3 * BLOCK,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            seed in any::<u8>(),
        ) {
            let content: Vec<u8> = (0..size).map(|at| (at / 4_096) as u8 ^ seed).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(size + 1)).collect();
            cuts.sort_unstable();
            cuts.push(size);
            let mut digest = Digest::blocks(Vec::new());
            let mut from = 0;
            for cut in cuts {
                digest.update(&content[from..cut]);
                from = cut;
                // As another process goes on: the blocks that are done, and what follows them once more.
                let done = kept(&digest.kept(), from as u64).unwrap();
                digest = Digest::blocks(done);
                digest.update(&content[from / BLOCK * BLOCK..from]);
            }
            prop_assert_eq!(digest.etag(), etag(Digest::blocks(Vec::new()), &[&content]));
        }
    }

    #[test]
    fn digests_that_do_not_fit_the_offset_are_refused() {
        let one = STANDARD_NO_PAD.encode([1; WIDTH]);
        assert!(kept(&one, BLOCK as u64).is_some());
        assert!(kept(&one, 2 * BLOCK as u64 - 1).is_some());
        for (text, offset) in
            [(one.as_str(), 0), (&one, 2 * BLOCK as u64), ("", BLOCK as u64), ("?", 0), ("AAA", 0)]
        {
            assert!(kept(text, offset).is_none(), "{text} at {offset}");
        }
    }
}
