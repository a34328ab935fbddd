//! A bridge to another PCI bus: its configuration space, and what it passes on.
//!
//! It has one interrupt-less function, no BARs, and no window for prefetchable memory, so that
//! everything behind it is below 4 GiB.

use std::sync::Mutex;

use ringway_spec::pci::bridge::{
    CLASS, HEADER_TYPE_BRIDGE, IO_BASE, IO_GRANULE, IO_LIMIT, MEMORY_BASE, MEMORY_GRANULE,
    MEMORY_LIMIT, PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS,
};
use ringway_spec::pci::config::{
    CLASS_CODE, COMMAND, Command, DEVICE_ID, HEADER_TYPE, SIZE, VENDOR_ID,
};

use crate::bus::{PciFunction, Space};
use crate::sync::lock;

/// A bridge of somebody's, which no virtio driver is for.
const VENDOR: u16 = 0x1b36;
const DEVICE: u16 = 0x0001;

/// What a driver may write, as offsets and bits.
const WRITABLE: [(usize, u8); 10] = [
    (COMMAND, 0x07),
    (PRIMARY_BUS, 0xff),
    (SECONDARY_BUS, 0xff),
    (SUBORDINATE_BUS, 0xff),
    (IO_BASE, 0xf0),
    (IO_LIMIT, 0xf0),
    (MEMORY_BASE, 0xf0),
    (MEMORY_BASE + 1, 0xff),
    (MEMORY_LIMIT, 0xf0),
    (MEMORY_LIMIT + 1, 0xff),
];

/// A bridge.
pub(crate) struct Bridge {
    bytes: Mutex<[u8; SIZE]>,
}

impl Default for Bridge {
    /// One that is not configured: it passes on nothing.
    fn default() -> Self {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
        put(VENDOR_ID, &VENDOR.to_le_bytes());
        put(DEVICE_ID, &DEVICE.to_le_bytes());
        put(CLASS_CODE, &CLASS);
        put(HEADER_TYPE, &[HEADER_TYPE_BRIDGE]);
        Self {
            bytes: Mutex::new(bytes),
        }
    }
}

impl Bridge {
    /// The bus behind it.
    pub(crate) fn secondary(&self) -> u8 {
        lock(&self.bytes)[SECONDARY_BUS]
    }

    /// Whether it passes on what is for bus `bus`.
    pub(crate) fn leads_to(&self, bus: u8) -> bool {
        let bytes = lock(&self.bytes);
        bus != 0 && (bytes[SECONDARY_BUS]..=bytes[SUBORDINATE_BUS]).contains(&bus)
    }

    /// Whether it passes on an access of `len` bytes at `address`.
    pub(crate) fn passes(&self, space: Space, address: u64, len: usize) -> bool {
        let bytes = lock(&self.bytes);
        let word = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let (bit, base, limit) = match space {
            Space::Memory => (
                Command::MEMORY,
                word(MEMORY_BASE) << 16,
                (word(MEMORY_LIMIT) << 16) + MEMORY_GRANULE,
            ),
            Space::Ports => (
                Command::IO,
                u64::from(bytes[IO_BASE]) << 8,
                (u64::from(bytes[IO_LIMIT]) << 8) + IO_GRANULE,
            ),
        };
        let command = Command::from_bits_truncate(word(COMMAND) as u16);
        let end = address.checked_add(len as u64);
        command.contains(bit) && address >= base && end.is_some_and(|end| end <= limit)
    }
}

impl PciFunction for Bridge {
    fn config_read(&self, offset: u16, into: &mut [u8]) {
        let bytes = lock(&self.bytes);
        let from = bytes
            .iter()
            .skip(offset.into())
            .chain(std::iter::repeat(&0));
        into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }

    fn config_write(&self, offset: u16, from: &[u8]) {
        let mut bytes = lock(&self.bytes);
        for (at, from) in (usize::from(offset)..).zip(from) {
            let found = WRITABLE.iter().find(|(writable, _)| *writable == at);
            if let Some(&(at, bits)) = found {
                bytes[at] = bytes[at] & !bits | from & bits;
            }
        }
    }

    fn locate(&self, _address: u64, _len: usize) -> Option<(u8, u64)> {
        None
    }

    fn bar_read(&self, _bar: u8, _offset: u64, _into: &mut [u8]) {}

    fn bar_write(&self, _bar: u8, _offset: u64, _from: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_passes_on_what_is_within_its_windows_while_they_are_open() {
        let bridge = Bridge::default();
        let set = |at: usize, bytes: &[u8]| bridge.config_write(at as u16, bytes);
        set(MEMORY_BASE, &[0x10, 0x40, 0x20, 0x40]);
        set(IO_BASE, &[0x10, 0x20]);
        let memory = |address| bridge.passes(Space::Memory, address, 4);
        let ports = |port| bridge.passes(Space::Ports, port, 2);

        let closed = memory(0x4010_0000) || ports(0x1000);
        set(COMMAND, &[7]);
        let inside = [0x4010_0000, 0x402f_fffc].map(memory);
        let outside = [0x400f_fffe, 0x402f_fffd, u64::MAX].map(memory);

        assert!(!closed);
        assert_eq!((inside, outside), ([true; 2], [false; 3]));
        assert_eq!(
            [0xfff, 0x1000, 0x2ffe, 0x2fff].map(ports),
            [false, true, true, false]
        );
        set(MEMORY_BASE, &[0x30, 0x40]);
        assert!(!memory(0x4020_0000));
    }

    #[test]
    fn a_bridge_leads_to_the_buses_that_it_was_told_of_and_to_nothing_else() {
        let bridge = Bridge::default();

        bridge.config_write(PRIMARY_BUS as u16, &[0, 2, 4, 0xff]);
        bridge.config_write(VENDOR_ID as u16, &[0; 4]);

        assert_eq!(bridge.secondary(), 2);
        let reached: Vec<_> = (0..=255).filter(|bus| bridge.leads_to(*bus)).collect();
        assert_eq!(reached, [2, 3, 4]);
        let mut word = [0; 4];
        bridge.config_read(VENDOR_ID as u16, &mut word);
        assert_eq!(word, [0x36, 0x1b, 1, 0]);
    }
}
