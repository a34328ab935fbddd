//! A device's view of memory: device addresses, and the shared bytes behind them.

use core::fmt;

use alloc::vec::Vec;

use crate::shared::{Shared, View};

/// Most regions of one map. Looking an address up takes steps with their logarithm; adding takes a
/// copy of all.
pub const REGIONS_MAX: usize = 4096;

/// One stretch of device addresses, and the bytes behind it.
#[derive(Clone, Debug)]
pub struct Region {
    /// Device address of the first byte.
    pub start: u64,
    /// The bytes.
    pub memory: Shared,
}

/// Which bytes a device can reach, by device address. Immutable: another view is another map.
#[derive(Debug, Default)]
pub struct Map {
    /// In the order of their addresses, without overlap.
    regions: Vec<Region>,
}

/// A map that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// More than [`REGIONS_MAX`] regions.
    TooManyRegions(usize),
    /// The region at this device address has no bytes, or its end passes the last address.
    BadRegion(u64),
    /// The region at this device address begins before the one below it ends.
    Overlap(u64),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRegions(count) => {
                write!(f, "{count} memory regions, at most {REGIONS_MAX}")
            }
            Self::BadRegion(start) => write!(
                f,
                "memory region at {start:#x} is empty or passes the last address"
            ),
            Self::Overlap(start) => write!(f, "memory region at {start:#x} overlaps another"),
        }
    }
}

impl core::error::Error for MapError {}

/// A run of bytes that the device was given, found in a map: within one region.
///
/// It names its bytes by position, so it can be kept while the map it came from goes; a map that
/// holds no such bytes at that position gives no view of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub(crate) region: u32,
    pub(crate) len: u32,
    pub(crate) offset: u64,
}

/// A region that was found, by value: looking into it again takes no look at the map. It is of the
/// map that found it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    region: u32,
    start: u64,
    /// 0 as long as none was found.
    len: u64,
}

impl Segment {
    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> u32 {
        self.len
    }
}

impl Map {
    /// A map of `regions`, in any order.
    ///
    /// # Errors
    ///
    /// [`MapError`] if they overlap, are empty, pass the last address or are too many.
    pub fn new(mut regions: Vec<Region>) -> Result<Self, MapError> {
        if regions.len() > REGIONS_MAX {
            return Err(MapError::TooManyRegions(regions.len()));
        }
        regions.sort_unstable_by_key(|region| region.start);
        let mut free_from = Some(0);
        for region in &regions {
            if free_from.is_none_or(|free| region.start < free) {
                return Err(MapError::Overlap(region.start));
            }
            let last = (region.memory.len() as u64)
                .checked_sub(1)
                .and_then(|len| region.start.checked_add(len));
            let Some(last) = last else {
                return Err(MapError::BadRegion(region.start));
            };
            free_from = last.checked_add(1);
        }
        Ok(Self { regions })
    }

    /// The regions, in the order of their addresses.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The `len` bytes at `address`, if one region holds them all. What is found is kept alive by
    /// the result.
    pub fn shared(&self, address: u64, len: usize) -> Option<Shared> {
        let found = self.find(address)?;
        let offset = usize::try_from(address.wrapping_sub(found.start)).ok()?;
        self.regions
            .get(found.region as usize)?
            .memory
            .slice(offset, len)
    }

    /// The bytes of `segment`, if this map has them.
    #[inline]
    pub fn view(&self, segment: &Segment) -> Option<View<'_>> {
        let region = self.regions.get(segment.region as usize)?;
        region
            .memory
            .view()
            .slice(usize::try_from(segment.offset).ok()?, segment.len as usize)
    }

    /// Finds the first run of the `len` bytes at `address`: all of them, or as many as its region
    /// holds. `found` is the region found last, which is most often the next one too. `None` if
    /// no region holds `address`, or `len` is 0.
    #[inline]
    pub(crate) fn segment(&self, address: u64, len: u32, found: &mut Found) -> Option<Segment> {
        if address.wrapping_sub(found.start) >= found.len {
            *found = self.find(address)?;
        }
        let offset = address.wrapping_sub(found.start);
        let left = found.len.wrapping_sub(offset);
        // No more than `len`, which has 32 bits.
        let len = u64::from(len).min(left) as u32;
        let region = found.region;
        (len != 0).then_some(Segment {
            region,
            len,
            offset,
        })
    }

    /// The region that holds `address`.
    #[cold]
    fn find(&self, address: u64) -> Option<Found> {
        let region = self.index(address)?;
        let found = self.regions.get(region as usize)?;
        let (start, len) = (found.start, found.memory.len() as u64);
        (address.wrapping_sub(start) < len).then_some(Found { region, start, len })
    }

    /// The region that would hold `address`: the last to begin at or below it.
    fn index(&self, address: u64) -> Option<u32> {
        let after = self
            .regions
            .partition_point(|region| region.start <= address);
        u32::try_from(after.checked_sub(1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn region(start: u64, len: usize) -> Region {
        Region {
            start,
            memory: Shared::allocate(len, 16).unwrap(),
        }
    }

    #[test]
    fn an_address_is_found_in_its_region_and_nowhere_else() {
        let map = Map::new(vec![region(0x8000, 0x1000), region(0x1000, 0x1000)]).unwrap();

        let found = |address, len| map.shared(address, len).map(|shared| shared.len());

        assert_eq!(found(0x1000, 0x1000), Some(0x1000));
        assert_eq!(found(0x8fff, 1), Some(1));
        assert_eq!(found(0x1fff, 2), None);
        assert_eq!(found(0xfff, 1), None);
        assert_eq!(found(0x2000, 1), None);
        assert_eq!(found(u64::MAX, 1), None);
    }

    #[test]
    fn bytes_that_cross_into_the_next_region_are_two_segments() {
        let map = Map::new(vec![region(0x1000, 0x1000), region(0x2000, 0x1000)]).unwrap();
        let mut hint = Found::default();

        let first = map.segment(0x1ffc, 8, &mut hint).unwrap();
        let second = map.segment(0x2000, 8 - first.len(), &mut hint).unwrap();

        assert_eq!((first.region, first.offset, first.len), (0, 0xffc, 4));
        assert_eq!((second.region, second.offset, second.len), (1, 0, 4));
        assert!(map.segment(0x3000, 1, &mut hint).is_none());
    }

    #[test]
    fn regions_that_overlap_or_pass_the_last_address_are_refused() {
        let overlapping = Map::new(vec![region(0x1000, 0x1000), region(0x1fff, 0x10)]);
        let passing = Map::new(vec![region(u64::MAX - 14, 16)]);
        let last = Map::new(vec![region(u64::MAX - 15, 16)]);

        assert_eq!(overlapping.err(), Some(MapError::Overlap(0x1fff)));
        assert_eq!(passing.err(), Some(MapError::BadRegion(u64::MAX - 14)));
        assert!(last.is_ok());
    }

    #[test]
    fn a_map_without_the_bytes_gives_no_view_of_a_segment_kept_from_another() {
        let large = Map::new(vec![region(0, 0x2000)]).unwrap();
        let small = Map::new(vec![region(0, 0x1000)]).unwrap();
        let segment = large.segment(0x1800, 16, &mut Found::default()).unwrap();

        assert!(large.view(&segment).is_some());
        assert!(small.view(&segment).is_none());
        assert!(Map::default().view(&segment).is_none());
    }
}
