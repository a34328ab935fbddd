//! The registers by which a physical function's driver has virtual ones, in extended configuration
//! space.

use ringway_spec::DeviceId;
use ringway_spec::pci::config::{BAR_64, BAR_MEMORY_MASK, BAR_PREFETCHABLE, BARS};
use ringway_spec::pci::sriov::{
    self, BYTES, CONTROL, Control, FIRST_VF_OFFSET, INITIAL_VFS, NUM_VFS, REQUIRED_PAGE_SIZES,
    SMALLEST_PAGE, SUPPORTED_PAGE_SIZES, SYSTEM_PAGE_SIZE, TOTAL_VFS, VF_BAR0, VF_DEVICE_ID,
    VF_STRIDE, page_bytes,
};
use ringway_spec::pci::{MODERN_DEVICE_BASE, extended};

use super::Routing;
use crate::front::load;
use crate::pci::{Bar, BarKind};

/// The registers.
pub(super) struct Registers {
    bytes: [u8; BYTES],
    total: u16,
    /// For each BAR, how many bytes a virtual function has there at most, and where that is.
    bars: [Option<(BarKind, u64)>; BARS as usize],
    /// Virtual functions that were there come to rest.
    leaving: bool,
}

/// What becomes of the virtual functions by a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// They are there as before, or not.
    Same,
    /// So many are there from now on.
    Set(u16),
    /// None is there any more.
    Cleared,
}

impl Registers {
    /// Registers for `total` virtual functions of type `id`, which together have `bars`.
    pub(super) fn new<'b>(
        id: DeviceId,
        total: u16,
        routing: Routing,
        bars: impl Iterator<Item = &'b Bar>,
    ) -> Self {
        let mut this = Self {
            bytes: [0; BYTES],
            total,
            bars: [None; BARS as usize],
            leaving: false,
        };
        for bar in bars {
            if let Some(known) = this.bars.get_mut(usize::from(bar.index)) {
                let most = known.map_or(0, |(_, size)| size).max(bar.size);
                *known = Some((bar.kind, most));
            }
        }
        let header = extended::header(sriov::CAPABILITY, sriov::VERSION, 0);
        let device = MODERN_DEVICE_BASE.saturating_add(id.0 as u16);
        this.put(0, &header.to_le_bytes());
        for (at, value) in [
            (INITIAL_VFS, total),
            (TOTAL_VFS, total),
            (FIRST_VF_OFFSET, routing.offset),
            (VF_STRIDE, routing.stride),
            (VF_DEVICE_ID, device),
        ] {
            this.put(at, &value.to_le_bytes());
        }
        this.put(SUPPORTED_PAGE_SIZES, &REQUIRED_PAGE_SIZES.to_le_bytes());
        this.reset();
        this
    }

    /// Reads the bytes at `at`; 0 past the end, where there is no other capability.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) {
        for (to, from) in into.iter_mut().zip(self.bytes.iter().skip(at)) {
            *to = *from;
        }
    }

    /// Forgets what the driver wrote.
    pub(super) fn reset(&mut self) -> Written {
        let enabled = self.is_enabled();
        self.put(CONTROL, &[0; 2]);
        self.put(NUM_VFS, &[0; 2]);
        self.put(SYSTEM_PAGE_SIZE, &SMALLEST_PAGE.to_le_bytes());
        for (index, bar) in (0..BARS).zip(self.bars) {
            if let (Some((kind, _)), Some(at)) = (bar, sriov::bar(index)) {
                self.put(at, &kind_bits(kind).to_le_bytes());
                if kind.is_wide() {
                    self.put(at.saturating_add(4), &[0; 4]);
                }
            }
        }
        self.leaving |= enabled;
        if enabled {
            Written::Cleared
        } else {
            Written::Same
        }
    }

    /// Writes what can be written of the bytes at `at`. A number of functions that there are not, and
    /// a size of pages that is not supported, change nothing.
    pub(super) fn write(&mut self, at: usize, from: &[u8]) -> Written {
        let (before, was) = (self.bytes, self.is_enabled());
        for (at, value) in (at..).zip(from) {
            let mask = self.writable(at, was);
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte = *byte & !mask | value & mask;
            }
        }
        if self.load16(NUM_VFS) > self.total {
            self.put_back(NUM_VFS..NUM_VFS.saturating_add(2), &before);
        }
        let page = self.load32(SYSTEM_PAGE_SIZE);
        if page & REQUIRED_PAGE_SIZES == 0 || page_bytes(page).is_none() {
            self.put_back(
                SYSTEM_PAGE_SIZE..SYSTEM_PAGE_SIZE.saturating_add(4),
                &before,
            );
        }
        self.trim();
        if self.leaving && self.is_enabled() {
            // Not before the last ones are at rest.
            let control = self.control().difference(Control::VF_ENABLE);
            self.put(CONTROL, &control.bits().to_le_bytes());
        }
        match (was, self.is_enabled()) {
            (false, true) => Written::Set(self.load16(NUM_VFS)),
            (true, false) => {
                self.leaving = true;
                Written::Cleared
            }
            (true, true) | (false, false) => Written::Same,
        }
    }

    /// The virtual functions that were there are at rest, so that there can be some again.
    pub(super) fn at_rest(&mut self) {
        self.leaving = false;
    }

    /// Where `bar` of the virtual function after `index` others answers, if it does.
    pub(super) fn base(&self, bar: &Bar, index: u16) -> Option<u64> {
        let answers = Control::VF_ENABLE | Control::VF_MEMORY;
        let (_, size) = self.bars.get(usize::from(bar.index)).copied().flatten()?;
        let at = sriov::bar(bar.index)?;
        let low = u64::from(self.load32(at) & BAR_MEMORY_MASK);
        let high = match bar.kind.is_wide() {
            true => u64::from(self.load32(at.saturating_add(4))) << 32,
            false => 0,
        };
        let before = self.aperture(size).checked_mul(index.into())?;
        let base = (high | low).checked_add(before)?;
        self.control().contains(answers).then_some(base)
    }

    /// How far the bytes of one virtual function are from those of the next: whole pages.
    fn aperture(&self, size: u64) -> u64 {
        size.max(page_bytes(self.load32(SYSTEM_PAGE_SIZE)).unwrap_or(0))
    }

    /// Which bits of a byte can be written, while virtual functions are there or not.
    fn writable(&self, at: usize, enabled: bool) -> u8 {
        const NUM_LAST: usize = NUM_VFS + 1;
        const PAGE_LAST: usize = SYSTEM_PAGE_SIZE + 3;
        match at {
            CONTROL => (Control::VF_ENABLE | Control::VF_MEMORY).bits() as u8,
            NUM_VFS..=NUM_LAST | SYSTEM_PAGE_SIZE..=PAGE_LAST if !enabled => 0xff,
            VF_BAR0..sriov::MIGRATION_STATE => {
                let within = at.saturating_sub(VF_BAR0);
                let mask = self.bar_mask(within / 4).to_le_bytes();
                mask.get(within % 4).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Which bits of BAR `index` are those of an address, if it is one, or the high half of one.
    fn bar_mask(&self, index: usize) -> u32 {
        let bar = |index: usize| self.bars.get(index).copied().flatten();
        let address = |size| !self.aperture(size).wrapping_sub(1);
        let before = index.checked_sub(1).and_then(bar);
        match (bar(index), before) {
            (Some((_, size)), _) => address(size) as u32,
            (None, Some((kind, size))) if kind.is_wide() => (address(size) >> 32) as u32,
            (None, _) => 0,
        }
    }

    /// Clears the bits of addresses that are none with pages as large as they now are.
    fn trim(&mut self) {
        for index in 0..BARS {
            if let Some(at) = sriov::bar(index) {
                let bits = self.bar_mask(index.into());
                let kind = self.bars.get(usize::from(index)).copied().flatten();
                let kind = kind.map_or(0, |(kind, _)| kind_bits(kind));
                let value = self.load32(at) & bits | kind;
                self.put(at, &value.to_le_bytes());
            }
        }
    }

    fn is_enabled(&self) -> bool {
        self.control().contains(Control::VF_ENABLE)
    }

    fn control(&self) -> Control {
        Control::from_bits_truncate(self.load16(CONTROL))
    }

    fn load16(&self, at: usize) -> u16 {
        self.load32(at) as u16
    }

    fn load32(&self, at: usize) -> u32 {
        load(self.bytes.get(at..).unwrap_or_default())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }

    fn put_back(&mut self, range: core::ops::Range<usize>, before: &[u8; BYTES]) {
        if let Some(bytes) = before.get(range.clone()) {
            self.put(range.start, bytes);
        }
    }
}

/// The bits of a BAR that say what it is at.
fn kind_bits(kind: BarKind) -> u32 {
    match kind {
        BarKind::Ports | BarKind::Memory32 => 0,
        BarKind::Memory64 => BAR_64,
        BarKind::Prefetchable => BAR_64 | BAR_PREFETCHABLE,
    }
}
