//! Random numbers that a seed repeats.

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A sequence of random numbers. It prints its seed, so that the output of a failed test has it; the variable
/// `BOXOFFICE_TEST_SEED` repeats a run.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Another sequence each time, unless a seed was set.
    pub fn new() -> Self {
        let seed = env::var("BOXOFFICE_TEST_SEED")
            .map_or_else(|_| RandomState::new().build_hasher().finish(), |seed| seed.parse().unwrap());
        eprintln!("to repeat this: BOXOFFICE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A second sequence, seeded by this one, for another client.
    pub fn another(&mut self) -> Self {
        Self(self.below(usize::MAX) as u64)
    }

    /// A number below this one.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((number ^ (number >> 31)) % bound as u64).unwrap()
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}
