//! A device as a window of memory-mapped registers: version 2, or 1 for drivers from before it.
//!
//! Control registers answer aligned accesses of 32 bits; any other reads as 0 and writes nothing.
//! Configuration space, from [`CONFIG`] on, answers any width.
//!
//! Spec: VIRTIO 1.4 §4.2 "Virtio Over MMIO".

mod legacy;
mod shared;

use alloc::sync::Arc;

use ringway_ring::device::Violation;
use ringway_spec::mmio::{CONFIG, LEGACY_VERSION, MAGIC, VERSION, register};
use ringway_spec::{DeviceId, F, InterruptStatus};

use crate::admin::Administration;
use crate::front::{Area, Front, Half, Interrupts, Register, load, store};
use crate::interrupt::{Line, Pin};
use crate::limits::Limits;
use crate::parts::{Interface, Parts};
use shared::Regions;

/// Bytes of a window, and its alignment.
pub const WINDOW_BYTES: u64 = 0x1000;

/// What can be presented in a window: configuration space is what registers leave of it.
pub const LIMITS: Limits = Limits {
    id_last: u32::MAX,
    queues: u16::MAX as usize,
    config_bytes: WINDOW_BYTES as usize - CONFIG,
};

/// Who made the device: what the vendor register reads.
pub const VENDOR: u32 = u32::from_le_bytes(*b"RNGW");

/// A device, reached through a window of registers.
pub struct Window {
    version: Version,
    front: Front<Pin>,
    regions: Regions,
}

/// Which registers a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Window {
    /// Presents a device: with [`Interface::Legacy`] in a window of version 1, else of version 2.
    /// `line` is asserted while it has an interrupt that was not acknowledged.
    ///
    /// The memory that it shares is nowhere, unless it is [placed](Self::with_shared_memory_at).
    pub fn new(mut parts: Parts, line: Arc<dyn Line>) -> Self {
        // Kicks name a queue by what PCI has a register for.
        parts.offer = parts.offer.without(F::NOTIF_CONFIG_DATA);
        // Where administration queues are is what PCI has registers for.
        parts.administration = Administration::default();
        Self {
            version: match parts.interface {
                Interface::Legacy => Version::One,
                Interface::Modern | Interface::Transitional => Version::Two,
            },
            front: Front::new(parts, Pin::new(line)),
            regions: Regions::at(0, &[]),
        }
    }

    /// Places the device's shared memory at bus address `base`, which is a multiple of 4096: it is
    /// reached by [`shared_read`](Self::shared_read) and [`shared_write`](Self::shared_write) in the
    /// [`shared_bytes`](Self::shared_bytes) from there on. A window of version 1 has none.
    #[must_use]
    pub fn with_shared_memory_at(mut self, base: u64) -> Self {
        if self.version == Version::Two {
            self.regions = Regions::at(base, self.front.regions());
        }
        self
    }

    /// What type of device it is.
    pub fn id(&self) -> DeviceId {
        self.front.id()
    }

    /// Reads the bytes at `offset`.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        into.fill(0);
        let Ok(offset) = usize::try_from(offset) else {
            return;
        };
        if let Some(offset) = offset.checked_sub(CONFIG) {
            self.front.read_config(offset, into);
        } else if is_register(into) {
            store(self.read_register(offset), into);
        }
    }

    /// Writes the bytes at `offset`.
    pub fn write(&self, offset: u64, from: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else {
            return;
        };
        if let Some(offset) = offset.checked_sub(CONFIG) {
            match self.version {
                Version::One => self.front.write_config_legacy(offset, from),
                Version::Two => self.front.write_config(offset, from),
            }
        } else if is_register(from) {
            self.write_register(offset, load(from));
        }
    }

    /// How many bytes the shared memory takes that was placed.
    pub fn shared_bytes(&self) -> u64 {
        self.regions.bytes()
    }

    /// Reads the bytes at `offset` from where shared memory is. What is in no region, or not whole
    /// in one, reads as 0.
    pub fn shared_read(&self, offset: u64, into: &mut [u8]) {
        into.fill(0);
        if let Some((region, at)) = self.regions.find(offset) {
            // Beyond its end there is nothing, and nothing was read.
            let _ = region.memory.view().read(at, into);
        }
    }

    /// Writes the bytes at `offset` from where shared memory is, if they are whole in a region.
    pub fn shared_write(&self, offset: u64, from: &[u8]) {
        if let Some((region, at)) = self.regions.find(offset) {
            // Beyond its end there is nothing, and nothing was written.
            let _ = region.memory.view().write(at, from);
        }
    }

    /// To be called when the device's configuration has changed: a driver that is ready is told
    /// (§3.2.1).
    pub fn config_changed(&self) {
        self.front.config_changed();
    }

    /// The rule that the driver broke last, and on which queue: why the device asked for a reset.
    pub fn violation(&self) -> Option<(u16, Violation)> {
        self.front.violation()
    }

    fn read_register(&self, offset: usize) -> u32 {
        if self.version == Version::One {
            let found = legacy::read(&self.front, offset);
            return found.unwrap_or_else(|| self.read_own(offset));
        }
        let front = match offset {
            register::DEVICE_FEATURES => Register::DeviceFeature,
            register::QUEUE_SIZE_MAX => Register::QueueSizeMax,
            register::QUEUE_READY => Register::QueueEnable,
            register::QUEUE_RESET => Register::QueueReset,
            register::STATUS => Register::Status,
            register::CONFIG_GENERATION => Register::Generation,
            _ => return self.read_own(offset),
        };
        self.front.read(front)
    }

    /// Reads what the front knows nothing of, without waiting for it.
    fn read_own(&self, offset: usize) -> u32 {
        match offset {
            register::DEVICE_ID => self.front.id().0,
            register::VERSION => match self.version {
                Version::One => LEGACY_VERSION,
                Version::Two => VERSION,
            },
            register::SHM_LEN_LOW
            | register::SHM_LEN_HIGH
            | register::SHM_BASE_LOW
            | register::SHM_BASE_HIGH
                if self.version == Version::Two =>
            {
                self.regions.register(offset)
            }
            register::INTERRUPT_STATUS => self.front.interrupts().causes().bits().into(),
            _ => constant(offset),
        }
    }

    fn write_register(&self, offset: usize, value: u32) {
        if self.version == Version::One {
            return match offset {
                register::QUEUE_NOTIFY => self.kick(value),
                register::INTERRUPT_ACK => self.acknowledge(value),
                _ => legacy::write(&self.front, offset, value),
            };
        }
        let front = match offset {
            register::DEVICE_FEATURES_SEL => Register::DeviceFeatureSelect,
            register::DRIVER_FEATURES => Register::DriverFeature,
            register::DRIVER_FEATURES_SEL => Register::DriverFeatureSelect,
            register::QUEUE_SEL => Register::QueueSelect,
            register::QUEUE_SIZE => Register::QueueSize,
            register::QUEUE_READY => Register::QueueEnable,
            register::QUEUE_RESET => Register::QueueReset,
            register::STATUS => Register::Status,
            register::QUEUE_DESC_LOW => Register::Area(Area::Descriptor, Half::Low),
            register::QUEUE_DESC_HIGH => Register::Area(Area::Descriptor, Half::High),
            register::QUEUE_DRIVER_LOW => Register::Area(Area::Driver, Half::Low),
            register::QUEUE_DRIVER_HIGH => Register::Area(Area::Driver, Half::High),
            register::QUEUE_DEVICE_LOW => Register::Area(Area::Device, Half::Low),
            register::QUEUE_DEVICE_HIGH => Register::Area(Area::Device, Half::High),
            _ => return self.write_own(offset, value),
        };
        self.front.write(front, value);
    }

    /// Writes what does not wait for the front.
    fn write_own(&self, offset: usize, value: u32) {
        match offset {
            register::QUEUE_NOTIFY => self.kick(value),
            register::INTERRUPT_ACK => self.acknowledge(value),
            register::SHM_SEL => self.regions.select(value),
            _ => {}
        }
    }

    fn kick(&self, value: u32) {
        // Without data the whole value is the index: one above 65535 is no queue, not another
        // queue.
        let index = match self.front.kick_format().with_data {
            true => Some(value as u16),
            false => u16::try_from(value).ok(),
        };
        match (index, self.version) {
            (Some(index), Version::One) => self.front.kick_legacy(index),
            (Some(index), Version::Two) => self.front.kick(index),
            (None, _) => {}
        }
    }

    fn acknowledge(&self, value: u32) {
        self.front
            .interrupts()
            .acknowledge(InterruptStatus::from_bits_truncate(value as u8));
    }
}

/// A slot without a device, which a driver passes over in silence (§4.2.2.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Empty;

impl Empty {
    /// Reads the bytes at `offset`: the magic value, the version, and device id 0.
    pub fn read(self, offset: u64, into: &mut [u8]) {
        into.fill(0);
        if let Ok(offset) = usize::try_from(offset)
            && is_register(into)
        {
            store(constant(offset), into);
        }
    }
}

impl Interrupts for Pin {
    fn used(&self, _index: u16) {
        self.raise(InterruptStatus::USED_BUFFER);
    }

    fn config_changed(&self) {
        self.raise(InterruptStatus::CONFIG_CHANGE);
    }

    fn reset_queue(&self, _index: u16) {}

    fn reset(&self) {
        self.take();
    }
}

/// Whether an access of these bytes may be one of a control register (§4.2.2.2). One that is not
/// aligned meets none.
fn is_register(bytes: &[u8]) -> bool {
    bytes.len() == size_of::<u32>()
}

/// Registers that read the same in every slot. Those that are none, and those that are written
/// only, read as 0.
fn constant(offset: usize) -> u32 {
    match offset {
        register::MAGIC_VALUE => MAGIC,
        register::VERSION => VERSION,
        register::VENDOR_ID => VENDOR,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
