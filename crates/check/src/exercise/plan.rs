//! Which blocks of a disk are written.

use alloc::vec::Vec;

use ringway_spec::blk::SECTOR_SIZE;

use super::random::Numbers;

/// The most ranges that are written.
pub const RANGES_MAX: u64 = 64;

/// The most bytes of a range, if they are more than one block.
const BYTES_MAX: u64 = 16 * 1024;

/// Some blocks of a disk, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first sector, of 512 bytes.
    pub sector: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// The ranges that are written on a disk of `sectors` sectors: whole blocks of `block_size` bytes
/// (a power of two, at least 512), scattered as `seed` says, in order and apart. The first and the
/// last block are among them.
pub fn ranges(sectors: u64, block_size: u32, seed: u64) -> Vec<Range> {
    let block = u64::from(block_size).max(SECTOR_SIZE as u64);
    let block_sectors = block / SECTOR_SIZE as u64;
    let blocks = sectors / block_sectors;
    let count = blocks.min(RANGES_MAX);
    let longest = (BYTES_MAX / block).max(1);
    let mut numbers = Numbers::new(seed);
    // One range in each of as many strips, so that none meets another.
    let strip = |number: u64| {
        // No more than `blocks`, which has 64 bits.
        (u128::from(blocks) * u128::from(number))
            .checked_div(u128::from(count))
            .unwrap_or(0) as u64
    };
    (0..count)
        .map(|number| {
            let (begin, end) = (strip(number), strip(number + 1));
            let room = end - begin;
            let len = 1 + numbers.below(longest.min(room));
            let first = match number {
                0 => begin,
                _ if number + 1 == count => end - len,
                _ => begin + numbers.below(room - len + 1),
            };
            Range {
                sector: first * block_sectors,
                bytes: len * block,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(range: &Range) -> u64 {
        range.sector + range.bytes / 512
    }

    #[test]
    fn ranges_are_whole_blocks_apart_and_reach_both_ends() {
        for (sectors, block_size) in [(1, 512), (2, 512), (63, 512), (8192, 512), (8192, 4096)] {
            for seed in 0..50 {
                let ranges = ranges(sectors, block_size, seed);

                assert_eq!(ranges[0].sector, 0);
                assert_eq!(ranges.last().map(end), Some(sectors));
                assert!(ranges.len() as u64 <= RANGES_MAX);
                assert!(ranges.is_sorted_by(|a, b| end(a) <= b.sector), "{ranges:?}");
                assert!(ranges.iter().all(|range| {
                    range.bytes != 0
                        && range.bytes % u64::from(block_size) == 0
                        && range.sector * 512 % u64::from(block_size) == 0
                }));
            }
        }
    }

    #[test]
    fn a_small_disk_of_one_block_is_written_whole_and_one_of_none_not_at_all() {
        let one = Range {
            sector: 0,
            bytes: 4096,
        };

        assert_eq!(ranges(8, 4096, 1), [one]);
        assert_eq!(ranges(7, 4096, 1), []);
        assert_eq!(ranges(0, 512, 1), []);
    }

    #[test]
    fn lengths_vary_and_stay_within_their_bound() {
        let ranges = ranges(1 << 21, 512, 9);

        let lengths: alloc::collections::BTreeSet<_> =
            ranges.iter().map(|range| range.bytes).collect();
        assert!(lengths.len() > 10, "{lengths:?}");
        assert!(lengths.iter().all(|bytes| *bytes <= BYTES_MAX));
    }

    #[test]
    fn the_same_seed_chooses_the_same_and_the_largest_disk_overflows_nothing() {
        assert_eq!(ranges(9999, 512, 4), ranges(9999, 512, 4));
        assert_ne!(ranges(9999, 512, 4), ranges(9999, 512, 5));

        assert_eq!(ranges(u64::MAX, 512, 4).last().map(end), Some(u64::MAX));
    }
}
