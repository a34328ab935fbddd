//! Processors, as a hint where interrupts are to be handled.

use core::fmt;

/// Bits of a word of the set.
const WORD: u32 = u64::BITS;

/// One processor at least, by numbers that the platform gives them. A value of a fixed size: nothing
/// is allocated for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Processors {
    words: [u64; (Self::MOST / WORD) as usize],
}

impl Processors {
    /// How many there can be. Numbers are below this.
    pub const MOST: u32 = 1024;

    /// All of them: wherever the platform likes, which is what holds for interrupts at first.
    pub const ANY: Self = Self {
        words: [u64::MAX; (Self::MOST / WORD) as usize],
    };

    /// Processor `number` alone. `None` if that is not below [`MOST`](Self::MOST).
    pub fn only(number: u32) -> Option<Self> {
        let nobody = Self {
            words: [0; (Self::MOST / WORD) as usize],
        };
        nobody.with(number)
    }

    /// These, and processor `number`. `None` if that is not below [`MOST`](Self::MOST).
    pub fn with(mut self, number: u32) -> Option<Self> {
        *self.words.get_mut((number / WORD) as usize)? |= 1 << (number % WORD);
        Some(self)
    }

    /// Whether processor `number` is one of them.
    pub fn contains(&self, number: u32) -> bool {
        let word = self.words.get((number / WORD) as usize);
        word.is_some_and(|word| word >> (number % WORD) & 1 != 0)
    }

    /// Their numbers, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..Self::MOST).filter(|number| self.contains(*number))
    }

    /// The highest number of those from `first` on that are all among them.
    fn run_from(&self, first: u32) -> u32 {
        let mut after = first..=Self::MOST;
        let end = after.find(|number| !self.contains(*number));
        end.unwrap_or(Self::MOST).saturating_sub(1)
    }
}

/// As Linux writes lists of processors: `0,2-3`.
impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begins = |number: &u32| *number == 0 || !self.contains(number - 1);
        for (place, first) in self.iter().filter(begins).enumerate() {
            if place != 0 {
                f.write_str(",")?;
            }
            match self.run_from(first) {
                last if last == first => write!(f, "{first}")?,
                last => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Processors({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn processors_are_those_that_were_named_and_are_written_as_linux_does() {
        let some = [2, 64, 3, 1023]
            .into_iter()
            .try_fold(Processors::only(0).unwrap(), Processors::with)
            .unwrap();

        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 2, 3, 64, 1023]);
        assert_eq!(some.to_string(), "0,2-3,64,1023");
        assert_eq!(Processors::ANY.to_string(), "0-1023");
        assert!(!some.contains(1) && !some.contains(u32::MAX));
    }

    #[test]
    fn a_number_beyond_the_most_is_refused() {
        assert_eq!(Processors::only(Processors::MOST), None);
        assert_eq!(Processors::ANY.with(u32::MAX), None);
    }
}
