//! A device's view of memory: device addresses, and the shared bytes behind them.
//!
//! [`Regions`] is the view itself, borrowed; [`Map`] owns one on the heap.

use core::fmt;

#[cfg(feature = "alloc")]
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

/// Which bytes a device can reach, by device address: regions in the order of their addresses,
/// without overlap. Immutable: another view is another value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Regions<'m> {
    regions: &'m [Region],
    /// Of a view that is not all there is: what the device may do with each region.
    translated: Option<&'m [Access]>,
}

/// [`Regions`] of the heap.
#[cfg(feature = "alloc")]
#[derive(Debug, Default)]
pub struct Map {
    /// As [`Regions`] wants them.
    regions: Vec<Region>,
    translated: Option<Vec<Access>>,
}

/// What a device may do with a region that an IOMMU shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing but read it.
    Read,
    /// Nothing but write it.
    Write,
    /// Both.
    ReadWrite,
}

/// Bytes that a chain names and that the device was not shown yet: more may be shown later
/// ([`Map::translated`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The device address of the first.
    pub address: u64,
    /// What the device is to do with them: [`Access::Read`] or [`Access::Write`].
    pub access: Access,
}

/// What was found at an address.
pub(crate) enum Lookup<'m> {
    /// A region, for what is to be done.
    Found(Found<'m>),
    /// A region, for something else.
    Forbidden,
    /// None yet.
    Missing(Missing),
    /// None.
    Nowhere,
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
/// It names its bytes by their address, so it can be kept while the map it came from goes; a map whose
/// regions do not hold them gives no view of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Which region had them.
    pub(crate) region: u32,
    pub(crate) len: u32,
    pub(crate) address: u64,
}

impl Segment {
    /// No bytes.
    pub(crate) const EMPTY: Self = Self {
        region: 0,
        len: 0,
        address: 0,
    };
}

/// A region that was found, by value: looking into it again takes no look at the map. It is of the
/// map that found it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'m> {
    pub(crate) region: u32,
    start: u64,
    memory: View<'m>,
}

impl<'m> Found<'m> {
    /// None was found yet.
    const NOTHING: Self = Self {
        region: 0,
        start: 0,
        memory: View::EMPTY,
    };

    /// The `len` bytes at `address`, if the region has them all.
    #[inline(always)]
    pub(crate) fn segment(&self, address: u64, len: u32) -> Option<Segment> {
        let offset = address.wrapping_sub(self.start);
        // An end that passes the last address is left at the offset, which is further than any
        // memory reaches by itself: one comparison does for both.
        let end = offset.checked_add(len.into()).unwrap_or(offset);
        (end <= self.memory.len() as u64).then_some(Segment {
            region: self.region,
            len,
            address,
        })
    }

    /// As many of the `len` bytes at `address` as the region has, if it has any.
    pub(crate) fn part(&self, address: u64, len: u32) -> Option<Segment> {
        let offset = address.wrapping_sub(self.start);
        let left = (self.memory.len() as u64).checked_sub(offset)?;
        // No more than `len`, which has 32 bits.
        let len = u64::from(len).min(left) as u32;
        (len != 0).then_some(Segment {
            region: self.region,
            len,
            address,
        })
    }

    /// The `len` bytes at `address`, if the region has them all, to be read.
    #[inline(always)]
    pub(crate) fn view(&self, address: u64, len: u32) -> Option<View<'m>> {
        let offset = usize::try_from(address.wrapping_sub(self.start)).ok()?;
        self.memory.slice(offset, len as usize)
    }
}

impl<'m> Regions<'m> {
    /// The view that has `regions`, which are put in order.
    ///
    /// # Errors
    ///
    /// [`MapError`] if they overlap, are empty, pass the last address or are too many.
    pub fn new(regions: &'m mut [Region]) -> Result<Self, MapError> {
        if regions.len() > REGIONS_MAX {
            return Err(MapError::TooManyRegions(regions.len()));
        }
        regions.sort_unstable_by_key(|region| region.start);
        let mut free_from = Some(0);
        for region in &*regions {
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
        Ok(Self {
            regions,
            translated: None,
        })
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

    /// The bytes of `segment`, if there are any there.
    #[inline]
    pub(crate) fn view(&self, segment: &Segment) -> Option<View<'m>> {
        let Segment {
            region,
            len,
            address,
        } = *segment;
        let there = self.regions.get(region as usize).and_then(|region| {
            let offset = usize::try_from(address.wrapping_sub(region.start)).ok()?;
            region.memory.view().slice(offset, len as usize)
        });
        // Another map may have it elsewhere.
        there.or_else(|| self.find(address)?.view(address, len))
    }

    /// The memory that has the bytes of `segment`, and where in it they begin.
    pub(crate) fn place(&self, segment: &Segment) -> Option<(&'m Shared, usize)> {
        let Segment {
            region,
            len,
            address,
        } = *segment;
        let within = |region: &'m Region| {
            let offset = usize::try_from(address.wrapping_sub(region.start)).ok()?;
            let view = region.memory.view().slice(offset, len as usize);
            view.map(|_| (&region.memory, offset))
        };
        let there = self.regions.get(region as usize).and_then(within);
        there.or_else(|| within(self.regions.get(self.find(address)?.region as usize)?))
    }

    /// Region `index`, if there is one: a guess at what will be found next. Nothing is guessed where
    /// it is to be looked at what the device may do.
    #[inline]
    pub(crate) fn guess(&self, index: u32) -> Found<'m> {
        let found = self.translated.is_none().then(|| self.found(index));
        found.flatten().unwrap_or(Found::NOTHING)
    }

    /// Region `index`, if there is one.
    #[inline]
    fn found(&self, index: u32) -> Option<Found<'m>> {
        let region = self.regions.get(index as usize)?;
        Some(Found {
            region: index,
            start: region.start,
            memory: region.memory.view(),
        })
    }

    /// The region that holds `address`, for a device that is to do what `access` says there.
    #[cold]
    pub(crate) fn look_up(&self, address: u64, access: Access) -> Lookup<'m> {
        let found = self.find(address);
        match (found, self.translated) {
            (Some(found), None) => Lookup::Found(found),
            (None, None) => Lookup::Nowhere,
            (None, Some(_)) => Lookup::Missing(Missing { address, access }),
            (Some(found), Some(accesses)) => match accesses.get(found.region as usize) {
                Some(&may) if may == access || may == Access::ReadWrite => Lookup::Found(found),
                _ => Lookup::Forbidden,
            },
        }
    }

    /// Whether a region that was found may be tried first for what is looked up next.
    pub(crate) fn may_guess(&self) -> bool {
        self.translated.is_none()
    }

    /// The region that holds `address`.
    #[cold]
    pub(crate) fn find(&self, address: u64) -> Option<Found<'m>> {
        // The last to begin at or below it.
        let after = self
            .regions
            .partition_point(|region| region.start <= address);
        let at = after.checked_sub(1)?;
        let found = self.found(u32::try_from(at).ok()?)?;
        found.part(address, 1).map(|_| found)
    }
}

#[cfg(feature = "alloc")]
impl Map {
    /// A map of `regions`, in any order.
    ///
    /// # Errors
    ///
    /// As for [`Regions::new`].
    pub fn new(mut regions: Vec<Region>) -> Result<Self, MapError> {
        Regions::new(&mut regions)?;
        Ok(Self {
            regions,
            translated: None,
        })
    }

    /// What an IOMMU has shown of memory so far, in any order: a chain that names other bytes waits in
    /// the ring until they are shown, by another map ([`Queue::missing`](crate::device::Queue::missing)).
    ///
    /// # Errors
    ///
    /// As for [`Regions::new`].
    pub fn translated(mut shown: Vec<(Region, Access)>) -> Result<Self, MapError> {
        shown.sort_unstable_by_key(|(region, _)| region.start);
        let (regions, accesses): (Vec<_>, Vec<_>) = shown.into_iter().unzip();
        Ok(Self {
            translated: Some(accesses),
            ..Self::new(regions)?
        })
    }

    /// Its regions, in the order of their addresses.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The `len` bytes at `address`, if one region holds them all. What is found is kept alive by
    /// the result.
    pub fn shared(&self, address: u64, len: usize) -> Option<Shared> {
        Regions::from(self).shared(address, len)
    }
}

#[cfg(feature = "alloc")]
impl<'m> From<&'m Map> for Regions<'m> {
    fn from(map: &'m Map) -> Self {
        Self {
            regions: &map.regions,
            translated: map.translated.as_deref(),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "alloc")]
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
        let regions = Regions::from(&map);

        let found = regions.find(0x1ffc).unwrap();
        let first = found.part(0x1ffc, 8).unwrap();
        let second = regions.find(0x2000).unwrap();
        let second = second.segment(0x2000, 8 - first.len).unwrap();

        assert_eq!((first.region, first.address, first.len), (0, 0x1ffc, 4));
        assert_eq!((second.region, second.address, second.len), (1, 0x2000, 4));
        assert!(found.segment(0x1ffc, 5).is_none() && found.segment(0x2000, 1).is_none());
        assert!(found.segment(0x1ffc, 0).is_some() && found.segment(0xfff, 1).is_none());
        assert!(found.segment(0xfff, 0).is_none() && found.segment(u64::MAX, 2).is_none());
        assert!(regions.find(0x3000).is_none());
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
        let none = Map::default();
        let [large, small, none] = [&large, &small, &none].map(Regions::from);
        let found = large.find(0x1800).unwrap();

        let segment = found.segment(0x1800, 16).unwrap();

        assert!(large.view(&segment).is_some());
        assert!(small.view(&segment).is_none() && none.view(&segment).is_none());
    }
}
