//! What a PVH loader tells: the command line and the map of physical memory.
//!
//! All of it is copied out of the loader's memory before the heap takes any, and checked on the
//! way.

use core::ops::Range;

use crate::error::{Error, Result};

/// Most regions of a memory map. A PC's firmware lists about ten.
pub const MOST_REGIONS: usize = 128;

/// Most bytes of a command line, without its terminating zero.
pub const LONGEST_COMMAND_LINE: usize = 4095;

/// One range of physical addresses and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The first address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Whether it is RAM that nothing else lives in.
    pub usable: bool,
}

/// The start info, copied.
#[derive(Debug)]
pub struct StartInfo {
    command_line: [u8; LONGEST_COMMAND_LINE + 1],
    command_line_length: usize,
    regions: [Region; MOST_REGIONS],
    region_count: usize,
}

const MAGIC: u32 = 0x336e_c578;
const HEADER_SIZE: usize = 56;
const ENTRY_SIZE: usize = 24;
const ENTRY_IS_RAM: u32 = 1;

impl StartInfo {
    /// Copies the start info at physical address `at`, and what it points to.
    ///
    /// `physical` gives the bytes of a range of physical memory, or nothing where the range cannot
    /// be read.
    ///
    /// # Errors
    ///
    /// [`Error::NoStartInfo`], [`Error::BadMemoryMap`] and [`Error::BadCommandLine`]: what the loader left cannot be
    /// used; start the image with another loader or a shorter command line.
    pub fn read<'m>(at: u64, physical: impl Fn(u64, usize) -> Option<&'m [u8]>) -> Result<Self> {
        let header = physical(at, HEADER_SIZE).ok_or(Error::NoStartInfo)?;
        let word = |offset| u32_at(header, offset).ok_or(Error::NoStartInfo);
        let address = |offset| u64_at(header, offset).ok_or(Error::NoStartInfo);
        // The memory map came with version 1.
        if word(0)? != MAGIC || word(4)? == 0 {
            return Err(Error::NoStartInfo);
        }

        let mut info = Self {
            command_line: [0; LONGEST_COMMAND_LINE + 1],
            command_line_length: 0,
            regions: [Region::default(); MOST_REGIONS],
            region_count: 0,
        };
        info.copy_regions(address(40)?, word(48)?, &physical)?;
        info.copy_command_line(address(24)?, &physical)?;
        Ok(info)
    }

    /// The command line.
    pub fn command_line(&self) -> &str {
        let bytes = self.command_line.get(..self.command_line_length);
        bytes
            .and_then(|b| str::from_utf8(b).ok())
            .unwrap_or_default()
    }

    /// The memory map, in the loader's order.
    pub fn regions(&self) -> &[Region] {
        self.regions.get(..self.region_count).unwrap_or_default()
    }

    fn copy_regions<'m>(
        &mut self,
        at: u64,
        entries: u32,
        physical: impl Fn(u64, usize) -> Option<&'m [u8]>,
    ) -> Result<()> {
        let error = Error::BadMemoryMap { entries };
        let count = usize::try_from(entries).map_err(|_| error)?;
        let into = self.regions.get_mut(..count).ok_or(error)?;
        let bytes = physical(at, count * ENTRY_SIZE).ok_or(error)?;
        for (region, entry) in into.iter_mut().zip(bytes.chunks_exact(ENTRY_SIZE)) {
            let start = u64_at(entry, 0).ok_or(error)?;
            let size = u64_at(entry, 8).ok_or(error)?;
            *region = Region {
                start,
                end: start.checked_add(size).ok_or(error)?,
                usable: u32_at(entry, 16).ok_or(error)? == ENTRY_IS_RAM,
            };
        }
        self.region_count = count;
        Ok(())
    }

    fn copy_command_line<'m>(
        &mut self,
        at: u64,
        physical: impl Fn(u64, usize) -> Option<&'m [u8]>,
    ) -> Result<()> {
        if at == 0 {
            return Ok(());
        }
        let bytes = physical(at, self.command_line.len()).ok_or(Error::BadCommandLine)?;
        self.command_line.copy_from_slice(bytes);
        let end = self.command_line.iter().position(|&b| b == 0);
        self.command_line_length = end.ok_or(Error::BadCommandLine)?;
        let text = self.command_line.get(..self.command_line_length);
        text.and_then(|t| str::from_utf8(t).ok())
            .ok_or(Error::BadCommandLine)?;
        Ok(())
    }
}

/// The largest range inside `within` that is usable RAM and clear of `taken` and of every region
/// that is not.
///
/// Regions may overlap, as firmware's do; what any of them calls unusable is not used.
pub fn largest_usable(
    regions: &[Region],
    taken: &Range<u64>,
    within: &Range<u64>,
) -> Option<Range<u64>> {
    let holes = regions
        .iter()
        .filter(|r| !r.usable)
        .map(|r| r.start..r.end)
        .chain([taken.clone()]);
    let mut largest: Option<Range<u64>> = None;
    for ram in regions.iter().filter(|r| r.usable) {
        let end = ram.end.min(within.end);
        let mut at = ram.start.max(within.start);
        // Each turn passes at least one hole, so there are no more turns than regions.
        while at < end {
            let hole = holes
                .clone()
                .filter(|h| h.start < h.end && h.end > at && h.start < end)
                .min_by_key(|h| h.start);
            let free = at..hole.as_ref().map_or(end, |h| h.start.max(at));
            at = hole.map_or(end, |h| h.end);
            let size = |r: &Range<u64>| r.end - r.start;
            if size(&free) > largest.as_ref().map_or(0, size) {
                largest = Some(free);
            }
        }
    }
    largest
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 0x100;
    const LINE: usize = 0x200;
    const MAP: usize = 0x2000;

    /// A loader's memory: start info, command line, memory map.
    struct Memory(Vec<u8>);

    impl Memory {
        fn new(line: &[u8], map: &[(u64, u64, u32)]) -> Self {
            let mut memory = Self(vec![0; 0x4000]);
            memory.put(HEADER, &MAGIC.to_le_bytes());
            memory.put(HEADER + 4, &1u32.to_le_bytes());
            memory.put(HEADER + 24, &(LINE as u64).to_le_bytes());
            memory.put(HEADER + 40, &(MAP as u64).to_le_bytes());
            memory.put(
                HEADER + 48,
                &u32::try_from(map.len()).unwrap().to_le_bytes(),
            );
            memory.put(LINE, line);
            for (i, (start, size, kind)) in map.iter().enumerate() {
                memory.put(MAP + i * ENTRY_SIZE, &start.to_le_bytes());
                memory.put(MAP + i * ENTRY_SIZE + 8, &size.to_le_bytes());
                memory.put(MAP + i * ENTRY_SIZE + 16, &kind.to_le_bytes());
            }
            memory
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn read(&self) -> Result<StartInfo> {
            StartInfo::read(HEADER as u64, |at, length| {
                self.0.get(usize::try_from(at).ok()?..)?.get(..length)
            })
        }
    }

    #[test]
    fn the_command_line_and_the_map_are_copied() {
        let memory = Memory::new(
            b"selftest=ok\0 beyond",
            &[(0, 0x9fc00, 1), (0xf0000, 0x10000, 2)],
        );

        let info = memory.read().unwrap();

        assert_eq!(info.command_line(), "selftest=ok");
        let ram = Region {
            start: 0,
            end: 0x9fc00,
            usable: true,
        };
        let rom = Region {
            start: 0xf0000,
            end: 0x10_0000,
            usable: false,
        };
        assert_eq!(info.regions(), [ram, rom]);
    }

    #[test]
    fn a_start_info_without_magic_or_of_version_0_is_refused() {
        let mut old = Memory::new(b"", &[]);
        old.put(HEADER + 4, &0u32.to_le_bytes());
        let mut other = Memory::new(b"", &[]);
        other.put(HEADER, b"none");

        assert_eq!(old.read().err(), Some(Error::NoStartInfo));
        assert_eq!(other.read().err(), Some(Error::NoStartInfo));
    }

    #[test]
    fn a_map_that_is_too_long_out_of_reach_or_beyond_the_address_space_is_refused() {
        let mut long = Memory::new(b"", &[]);
        long.put(HEADER + 48, &129u32.to_le_bytes());
        let mut far = Memory::new(b"", &[(0, 1, 1)]);
        far.put(HEADER + 40, &u64::MAX.to_le_bytes());
        let beyond = Memory::new(b"", &[(u64::MAX, 2, 1)]);

        assert_eq!(
            long.read().err(),
            Some(Error::BadMemoryMap { entries: 129 })
        );
        assert_eq!(far.read().err(), Some(Error::BadMemoryMap { entries: 1 }));
        assert_eq!(
            beyond.read().err(),
            Some(Error::BadMemoryMap { entries: 1 })
        );
    }

    #[test]
    fn a_command_line_that_does_not_end_or_is_not_utf8_is_refused() {
        let endless = Memory::new(&[b'a'; LONGEST_COMMAND_LINE + 1], &[]);
        let binary = Memory::new(b"a\xff\0", &[]);
        let mut absent = Memory::new(b"ignored\0", &[]);
        absent.put(HEADER + 24, &[0; 8]);

        assert_eq!(endless.read().err(), Some(Error::BadCommandLine));
        assert_eq!(binary.read().err(), Some(Error::BadCommandLine));
        assert_eq!(absent.read().unwrap().command_line(), "");
    }

    fn ram(range: Range<u64>) -> Region {
        Region {
            start: range.start,
            end: range.end,
            usable: true,
        }
    }

    fn rom(range: Range<u64>) -> Region {
        Region {
            start: range.start,
            end: range.end,
            usable: false,
        }
    }

    #[test]
    fn the_heap_goes_where_neither_the_image_nor_firmware_is() {
        let map = [
            ram(0..0xa0),
            rom(0xf0..0x100),
            ram(0x100..0x1000),
            rom(0xe00..0x1100),
        ];

        let heap = largest_usable(&map, &(0x200..0x400), &(0x100..0x10000));

        assert_eq!(heap, Some(0x400..0xe00));
    }

    #[test]
    fn holes_may_overlap_touch_and_cover() {
        let map = [
            ram(0..100),
            rom(10..30),
            rom(20..25),
            rom(30..40),
            rom(90..200),
            rom(50..50),
        ];

        assert_eq!(largest_usable(&map, &(35..45), &(0..1000)), Some(45..90));
        assert_eq!(largest_usable(&map, &(0..100), &(0..1000)), None);
        assert_eq!(largest_usable(&map, &(0..0), &(0..12)), Some(0..10));
    }

    #[test]
    fn of_several_areas_the_largest_within_reach_is_taken() {
        let map = [ram(0..10), ram(20..50), ram(100..1000)];

        assert_eq!(largest_usable(&map, &(25..30), &(0..110)), Some(30..50));
        assert_eq!(largest_usable(&[], &(0..1), &(0..110)), None);
    }
}
