//! Bytes to write: those that entropy devices gave, and numbers that follow from a seed.

use alloc::vec::Vec;

/// Numbers that follow from a seed (`SplitMix64`). For choosing, not for secrets.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Those that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product: below the limit, and as even as 64 bits can be.
        ((u128::from(self.draw()) * u128::from(limit)) >> u64::BITS) as u64
    }

    /// Fills `bytes` with numbers.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(size_of::<u64>()) {
            let number = self.draw().to_le_bytes();
            for (byte, from) in word.iter_mut().zip(number) {
                *byte = from;
            }
        }
    }
}

/// What disks are written with.
#[derive(Debug)]
pub(crate) struct Random {
    /// From entropy devices, and how many of them were taken.
    given: Vec<u8>,
    taken: usize,
    numbers: Numbers,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            given: Vec::new(),
            taken: 0,
            numbers: Numbers::new(seed),
        }
    }

    /// Adds what an entropy device gave.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        self.given.extend_from_slice(bytes);
    }

    /// `len` bytes that nobody had before: from entropy devices as long as there are any, and then
    /// made up.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let given = self.given.get(self.taken..).unwrap_or_default();
        let mut bytes: Vec<u8> = given.iter().take(len).copied().collect();
        let taken = bytes.len();
        self.taken += taken;
        bytes.resize(len, 0);
        self.numbers
            .fill(bytes.get_mut(taken..).unwrap_or_default());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_taken_once_and_in_order() {
        let mut random = Random::new(1);
        random.give(&[1, 2, 3]);
        random.give(&[4, 5]);

        let (first, second) = (random.take(2), random.take(6));

        assert_eq!(first, [1, 2]);
        assert_eq!(second.len(), 6);
        assert_eq!(second[..3], [3, 4, 5]);
    }

    #[test]
    fn made_up_bytes_are_the_same_for_the_same_seed_alone() {
        let take = |seed| Random::new(seed).take(100);

        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_all_below_it() {
        let mut numbers = Numbers::new(3);

        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[numbers.below(5) as usize] = true;
        }

        assert_eq!(seen, [true; 5]);
        assert_eq!(numbers.below(0), 0);
        assert_eq!(numbers.below(1), 0);
    }
}
