//! Campaigns: many rounds of something hostile against the real server, judged by an oracle of their own.
//!
//! Each has a short form that every test run includes and a long one (`BASEWRIGHT_LONG=1`), prints the seed of
//! its choices (`BASEWRIGHT_SEED` repeats them; what the machine makes of them may differ) and one last line
//! with its figures.

mod kills;
mod races;
mod storage;
mod stream;

/// The long form is asked for.
pub fn long() -> bool {
    std::env::var("BASEWRIGHT_LONG").is_ok_and(|value| value == "1")
}

/// The seed of this run's choices.
pub fn seed() -> u64 {
    let given = std::env::var("BASEWRIGHT_SEED").ok().and_then(|text| text.parse().ok());
    let seed =
        given.unwrap_or_else(|| u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap()));
    println!("BASEWRIGHT_SEED={seed} {}", std::thread::current().name().unwrap_or_default());
    seed
}

/// SplitMix64: a seed gives the same choices everywhere.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let place = self.below(list.len() as u64);
        list[usize::try_from(place).unwrap()]
    }
}
