//! A block device on PCI for tests: registers as a device has them, and configuration space that a
//! test can spoil.

use std::vec;
use std::vec::Vec;

use ringway_spec::Features;
use ringway_spec::pci::config::{COMMAND, Command};
use ringway_spec::pci::{CapabilityType, NO_VECTOR, common, legacy as header};

use super::legacy::Legacy;
use super::modern::Modern;
use super::{Address, Function, Pci, Preference, open};
use crate::error::Result;
use crate::platform::Trust;
use crate::testing::{Access, TestPlatform, config_space, port};

/// Where the function is.
pub(super) const AT: Address = Address::new(0, 2, 0);
/// BAR 0, of I/O ports: where a legacy device has its registers.
pub(super) const PORTS: u32 = 0xc000;
pub(super) const PORTS_LEN: u32 = 0x40;
/// BAR 4, of 64 bits: where the registers are.
pub(super) const REGISTERS: u64 = 0x8_0000_4000;
pub(super) const REGISTERS_LEN: u32 = 0x4000;
pub(super) const COMMON: u64 = REGISTERS;
pub(super) const ISR: u64 = REGISTERS + 0x1000;
pub(super) const CONFIG: u64 = REGISTERS + 0x2000;
pub(super) const NOTIFY: u64 = REGISTERS + 0x3000;
pub(super) const NOTIFY_MULTIPLIER: u32 = 8;
/// BAR 1, of 32 bits: where the vectors are.
pub(super) const TABLE: u64 = 0xfebf_0000;
pub(super) const VECTORS: u16 = 4;
/// Vectors above the first two are refused.
pub(super) const VECTORS_AGREED: u16 = 2;

/// Offsets of the capabilities. They are linked in this order.
pub(super) const MSIX_CAPABILITY: usize = 0x40;
pub(super) const COMMON_CAPABILITY: usize = 0x50;
pub(super) const NOTIFY_CAPABILITY: usize = 0x60;
pub(super) const ISR_CAPABILITY: usize = 0x78;
pub(super) const DEVICE_CAPABILITY: usize = 0x88;
/// Of a device that has a window.
pub(super) const WINDOW_CAPABILITY: usize = 0x98;
/// From here on there is nothing, in one that has none.
pub(super) const FREE: usize = 0x98;

/// The function, before it is on its bus.
pub(super) struct Fake {
    /// Configuration space.
    pub(super) header: Vec<u8>,
    /// Which of its bits can be written.
    pub(super) writable: Vec<u8>,
    pub(super) offered: Features,
    /// The size of each queue, and its place among the notification addresses.
    pub(super) queues: Vec<(u16, u16)>,
}

impl Fake {
    pub(super) fn new() -> Self {
        let mut fake = Self {
            header: vec![0; 256],
            writable: vec![0; 256],
            offered: Features(0x4_0000_0003_0000_0001_0000_0200),
            queues: vec![(256, 3), (128, 0)],
        };
        fake.put(0x00, &[0xf4, 0x1a, 0x42, 0x10]);
        // A status that would be cleared by what is read being written.
        fake.put(0x04, &[0x00, 0x01, 0x10, 0xf8]);
        fake.put(0x08, &[0x01, 0x00, 0x80, 0x01]);
        fake.put(0x10, &(PORTS | 1).to_le_bytes());
        fake.put(0x14, &(TABLE as u32).to_le_bytes());
        fake.put(0x20, &(REGISTERS | 0xc).to_le_bytes());
        fake.put(0x2c, &[0x34, 0x12, 0x00, 0x11]);
        fake.put(0x34, &[MSIX_CAPABILITY as u8]);
        fake.put(0x3c, &[11, 1]);
        fake.put(
            MSIX_CAPABILITY,
            &[0x11, COMMON_CAPABILITY as u8, VECTORS as u8 - 1, 0],
        );
        fake.put(MSIX_CAPABILITY + 4, &1_u32.to_le_bytes());
        for (at, next, cfg_type, address, len) in [
            (
                COMMON_CAPABILITY,
                NOTIFY_CAPABILITY,
                CapabilityType::COMMON_CFG,
                COMMON,
                0x1000,
            ),
            (
                NOTIFY_CAPABILITY,
                ISR_CAPABILITY,
                CapabilityType::NOTIFY_CFG,
                NOTIFY,
                0x1000,
            ),
            (
                ISR_CAPABILITY,
                DEVICE_CAPABILITY,
                CapabilityType::ISR_CFG,
                ISR,
                0x1000,
            ),
            (DEVICE_CAPABILITY, 0, CapabilityType::DEVICE_CFG, CONFIG, 60),
        ] {
            fake.virtio(at, next, cfg_type, (4, (address - REGISTERS) as u32, len));
        }
        fake.put(NOTIFY_CAPABILITY + 2, &[20]);
        fake.put(NOTIFY_CAPABILITY + 16, &NOTIFY_MULTIPLIER.to_le_bytes());
        fake.allow(0x04, &[0xff, 0xff]);
        fake.allow(0x10, &(!(PORTS_LEN - 1)).to_le_bytes());
        fake.allow(0x14, &0xffff_f000_u32.to_le_bytes());
        fake.allow(0x20, &(!u64::from(REGISTERS_LEN - 1)).to_le_bytes());
        fake.allow(MSIX_CAPABILITY + 3, &[0xc0]);
        fake
    }

    /// A device that can be used through either interface.
    pub(super) fn transitional() -> Self {
        let mut fake = Self::new();
        fake.put(0x02, &[0x01, 0x10]);
        fake.put(0x08, &[0x00]);
        fake.put(0x2e, &[0x02, 0x00]);
        fake
    }

    /// A device that can be used through the legacy interface alone.
    pub(super) fn legacy() -> Self {
        let mut fake = Self::transitional();
        fake.put(MSIX_CAPABILITY + 1, &[0]);
        fake
    }

    /// A device with a window on its BARs, in the capability that is [`WINDOW_CAPABILITY`].
    pub(super) fn with_window() -> Self {
        let mut fake = Self::new();
        fake.put(DEVICE_CAPABILITY + 1, &[WINDOW_CAPABILITY as u8]);
        fake.put(WINDOW_CAPABILITY, &[9, 0, 20, CapabilityType::PCI_CFG.0]);
        // What is beside the number of the BAR is not the driver's.
        fake.put(WINDOW_CAPABILITY + 5, &[0xaa, 0xbb, 0xcc]);
        fake.allow(WINDOW_CAPABILITY + 4, &[0xff]);
        fake.allow(WINDOW_CAPABILITY + 8, &[0xff; 12]);
        fake
    }

    /// Changes configuration space.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Says which bits can be written.
    pub(super) fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable[at..][..bits.len()].copy_from_slice(bits);
    }

    /// Puts a virtio capability at `at`, for `place`: the BAR, offset and length.
    pub(super) fn virtio(
        &mut self,
        at: usize,
        next: usize,
        cfg_type: CapabilityType,
        (bar, offset, len): (u8, u32, u32),
    ) {
        self.put(at, &[9, next as u8, 16, cfg_type.0, bar, 0, 0, 0]);
        self.put(at + 8, &offset.to_le_bytes());
        self.put(at + 12, &len.to_le_bytes());
    }

    /// Puts the function on the bus of a platform.
    pub(super) fn plug(self) -> TestPlatform {
        let platform = TestPlatform::new(Trust::Trusted);
        self.plug_at(&platform, AT);
        platform
    }

    /// Puts the function at `at` of a platform, and its registers where the last that was put has
    /// them.
    pub(super) fn plug_at(self, platform: &TestPlatform, at: Address) {
        let Self {
            header,
            writable,
            offered,
            queues,
        } = self;
        let original = header.clone();
        if header::DEVICE_IDS.contains(&u16::from_le_bytes([header[2], header[3]])) {
            let mut bytes = vec![0; PORTS_LEN as usize];
            bytes[..4].copy_from_slice(&offered.word(0).to_le_bytes());
            platform.place(port(PORTS), bytes, legacy_behaviour(&queues));
        }
        platform.place(config_space(at), header, move |bytes, access| {
            if !access.is_write() {
                return;
            }
            for ((byte, original), writable) in bytes.iter_mut().zip(&original).zip(&writable) {
                *byte = *byte & writable | original & !writable;
            }
        });
        let entries = vec![0xff; usize::from(VECTORS) * 16];
        platform.place(TABLE, entries, |_, _| {});
        let registers = vec![0; REGISTERS_LEN as usize];
        platform.place(REGISTERS, registers, behaviour(offered, &queues));
        platform.poke(COMMON + common::NUM_QUEUES as u64, &[2, 0]);
    }
}

/// The device, opened by its modern interface.
pub(super) fn modern(platform: &TestPlatform) -> Result<Modern<TestPlatform>> {
    let function = Function::read(platform, AT).unwrap();
    match open(platform, &function, Preference::ModernFirst)? {
        Pci::Modern(modern) => Ok(modern),
        Pci::Legacy(_) => panic!("it has a modern interface"),
    }
}

/// The device, opened by its legacy interface.
pub(super) fn legacy(platform: &TestPlatform) -> Result<Legacy<TestPlatform>> {
    let function = Function::read(platform, AT).unwrap();
    match open(platform, &function, Preference::LegacyFirst)? {
        Pci::Legacy(legacy) => Ok(legacy),
        Pci::Modern(_) => panic!("it has a legacy interface"),
    }
}

/// The platform of a device, and the device, of which nothing is in the log yet.
pub(super) fn opened<D>(
    fake: Fake,
    open: impl FnOnce(&TestPlatform) -> Result<D>,
) -> (TestPlatform, D) {
    let platform = fake.plug();
    let device = open(&platform).unwrap();
    platform.take_log();
    (platform, device)
}

/// What the function is let do.
pub(super) fn command(platform: &TestPlatform) -> Command {
    let [low, high, ..] = platform.peek::<4>(config_space(AT) + COMMAND as u64);
    Command::from_bits_retain(u16::from_le_bytes([low, high]))
}

/// The upper half of the control word of MSI-X.
pub(super) fn msix_control(platform: &TestPlatform) -> u8 {
    platform.peek::<1>(config_space(AT) + MSIX_CAPABILITY as u64 + 3)[0]
}

/// The writes since the log was last taken.
pub(super) fn writes(platform: &TestPlatform) -> Vec<Access> {
    let log = platform.take_log();
    log.into_iter().filter(Access::is_write).collect()
}

/// What the registers do when they are written.
fn behaviour(offered: Features, queues: &[(u16, u16)]) -> impl FnMut(&mut [u8], Access) + use<> {
    const BANK: core::ops::Range<usize> = common::QUEUE_SIZE..common::MIN_LENGTH;
    let bank = |&(size, notify_off): &(u16, u16)| {
        let mut bank = vec![0; BANK.len()];
        bank[..2].copy_from_slice(&size.to_le_bytes());
        bank[2..4].copy_from_slice(&NO_VECTOR.to_le_bytes());
        let at = common::QUEUE_NOTIFY_OFF - BANK.start;
        bank[at..at + 2].copy_from_slice(&notify_off.to_le_bytes());
        bank
    };
    let mut banks: Vec<_> = queues.iter().map(bank).collect();
    let mut selected = None;
    move |bytes, access| {
        let Access::Write { at, value, .. } = access else {
            return;
        };
        match at as usize {
            common::DEVICE_FEATURE_SELECT => {
                let word = offered.word(value).to_le_bytes();
                bytes[common::DEVICE_FEATURE..][..4].copy_from_slice(&word);
            }
            common::QUEUE_SELECT => {
                if let Some(bank) = selected.and_then(|index: usize| banks.get_mut(index)) {
                    bank.copy_from_slice(&bytes[BANK]);
                }
                selected = Some(value as usize);
                match banks.get(value as usize) {
                    Some(bank) => bytes[BANK].copy_from_slice(bank),
                    None => bytes[BANK].fill(0),
                }
            }
            at @ (common::CONFIG_MSIX_VECTOR | common::QUEUE_MSIX_VECTOR)
                if value >= VECTORS_AGREED.into() =>
            {
                bytes[at..][..2].copy_from_slice(&NO_VECTOR.to_le_bytes());
            }
            _ => {}
        }
    }
}

/// What the registers of a legacy device do. A reset makes it forget nothing but its status.
fn legacy_behaviour(queues: &[(u16, u16)]) -> impl FnMut(&mut [u8], Access) + use<> {
    /// The registers that there is one of for each queue.
    const BANK: [core::ops::Range<usize>; 3] = [8..12, 12..14, 22..24];
    let bank = |&(size, _): &(u16, u16)| {
        let [low, high] = size.to_le_bytes();
        [0, 0, 0, 0, low, high, 0xff, 0xff]
    };
    let mut banks: Vec<_> = queues.iter().map(bank).collect();
    let mut selected = usize::MAX;
    move |bytes, access| match access {
        Access::Read { at, .. } => {
            if at as usize == header::ISR_STATUS {
                bytes[header::ISR_STATUS] = 0;
            }
        }
        Access::Write {
            at,
            width: 2,
            value,
        } => match at as usize {
            header::QUEUE_SELECT => {
                if let Some(bank) = banks.get_mut(selected) {
                    let now = BANK.iter().cloned().flatten().map(|at| bytes[at]);
                    bank.iter_mut().zip(now).for_each(|(old, now)| *old = now);
                }
                selected = value as usize;
                let bank = banks.get(selected).copied().unwrap_or_default();
                for (at, byte) in BANK.iter().cloned().flatten().zip(bank) {
                    bytes[at] = byte;
                }
            }
            at @ (header::CONFIG_MSIX_VECTOR | header::QUEUE_MSIX_VECTOR)
                if value >= VECTORS_AGREED.into() =>
            {
                bytes[at..][..2].copy_from_slice(&NO_VECTOR.to_le_bytes());
            }
            _ => {}
        },
        Access::Write { .. } => {}
    }
}
