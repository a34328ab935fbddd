//! Which BARs a function has, and which structure is where in them.

use alloc::vec::Vec;

use ringway_spec::pci::{Capability, CapabilityType, CommonConfig, msix};

/// A memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5. A wide one takes the next number too.
    pub index: u8,
    /// How many bytes it has, a power of two. Its address is a multiple of that.
    pub size: u64,
    /// Its address has 64 bits, not 32.
    pub wide: bool,
}

/// Bytes between the notification addresses of one queue and the next: so that each has its own,
/// and the address alone says which it is.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// The BAR that holds virtio's registers, and where in it they are.
const REGISTERS_BAR: u8 = 0;
const COMMON_OFFSET: u32 = 0x0000;
pub(super) const ISR_OFFSET: u32 = 0x1000;
pub(super) const DEVICE_OFFSET: u32 = 0x2000;
pub(super) const NOTIFY_OFFSET: u32 = 0x3000;

/// The BAR that holds the MSI-X table and the pending bits.
const MSIX_BAR: u8 = 2;

/// Structures are apart by pages, so that they can be mapped apart.
const PAGE: u32 = 0x1000;

/// A structure's place in a BAR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bar: u8,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// What is where.
pub(super) struct Layout {
    pub(super) bars: Vec<Bar>,
    pub(super) common: Place,
    pub(super) isr: Place,
    pub(super) device: Place,
    pub(super) notify: Place,
    pub(super) table: Place,
    pub(super) pba: Place,
}

impl Layout {
    pub(super) fn new(queues: u16, vectors: u16) -> Self {
        let at = |bar, offset, length| Place {
            bar,
            offset,
            length,
        };
        // Both are below 2²⁰: an index has 16 bits, a vector 11.
        let notify = u32::from(queues.max(1)).saturating_mul(NOTIFY_MULTIPLIER);
        let table = msix::table_bytes(vectors) as u32;
        let pba = msix::pba_bytes(vectors) as u32;
        let pba_offset = table.next_multiple_of(PAGE);
        let size = |bytes: u32| u64::from(bytes.max(PAGE).next_power_of_two());
        let registers = Bar {
            index: REGISTERS_BAR,
            size: size(NOTIFY_OFFSET.saturating_add(notify)),
            wide: true,
        };
        let msix = Bar {
            index: MSIX_BAR,
            size: size(pba_offset.saturating_add(pba)),
            wide: false,
        };
        Self {
            bars: core::iter::once(registers)
                .chain((vectors != 0).then_some(msix))
                .collect(),
            common: at(
                REGISTERS_BAR,
                COMMON_OFFSET,
                size_of::<CommonConfig>() as u32,
            ),
            isr: at(REGISTERS_BAR, ISR_OFFSET, 1),
            device: at(REGISTERS_BAR, DEVICE_OFFSET, PAGE),
            notify: at(REGISTERS_BAR, NOTIFY_OFFSET, notify),
            table: at(MSIX_BAR, 0, table),
            pba: at(MSIX_BAR, pba_offset, pba),
        }
    }

    /// The MSI-X capability for a table of `vectors`; none for none.
    pub(super) fn msix(&self, vectors: u16) -> Option<msix::Capability> {
        let at = |place: Place| u32::from(place.bar) | place.offset;
        Some(msix::Capability {
            control: vectors.checked_sub(1)?.into(),
            table: at(self.table).into(),
            pba: at(self.pba).into(),
            ..msix::Capability::default()
        })
    }
}

impl Place {
    /// Where in the structure the `len` bytes at `offset` of `bar` are, if they are all in it.
    pub(super) fn find(&self, bar: u8, offset: u64, len: usize) -> Option<usize> {
        let within = offset.checked_sub(self.offset.into())?;
        let end = within.checked_add(len as u64)?;
        let found = bar == self.bar && len != 0 && end <= u64::from(self.length);
        usize::try_from(within).ok().filter(|_| found)
    }

    pub(super) fn capability(&self, cfg_type: CapabilityType, bytes: usize) -> Capability {
        Capability {
            cap_len: bytes as u8,
            cfg_type,
            bar: self.bar,
            offset: self.offset.into(),
            length: self.length.into(),
            ..Capability::default()
        }
    }
}
