//! A device as a window of memory-mapped registers, version 2.
//!
//! Control registers answer aligned accesses of 32 bits; any other reads as 0 and writes nothing.
//! Configuration space, from [`CONFIG`] on, answers any width.
//!
//! Spec: VIRTIO 1.4 §4.2 "Virtio Over MMIO".

use alloc::sync::Arc;

use ringway_ring::device::Violation;
use ringway_spec::mmio::{CONFIG, MAGIC, VERSION, register};
use ringway_spec::{DeviceId, InterruptStatus};

use crate::front::{Area, Front, Half, Interrupts, Register, load, store};
use crate::interrupt::{Line, Pin};
use crate::parts::Parts;

/// Bytes of a window, and its alignment.
pub const WINDOW_BYTES: u64 = 0x1000;

/// Who made the device: what the vendor register reads.
pub const VENDOR: u32 = u32::from_le_bytes(*b"RNGW");

/// A device, reached through a window of registers.
pub struct Window {
    front: Front<Pin>,
}

impl Window {
    /// Presents a device. `line` is asserted while it has an interrupt that was not acknowledged.
    pub fn new(parts: Parts, line: Arc<dyn Line>) -> Self {
        Self {
            front: Front::new(parts, Pin::new(line)),
        }
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
            self.front.write_config(offset, from);
        } else if is_register(from) {
            self.write_register(offset, load(from));
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
            register::INTERRUPT_STATUS => self.front.interrupts().causes().bits().into(),
            _ => constant(offset),
        }
    }

    fn write_register(&self, offset: usize, value: u32) {
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
            register::QUEUE_NOTIFY => {
                // Without data the whole value is the index: one above 65535 is no queue, not
                // another queue.
                if self.front.kicks_with_data() {
                    self.front.kick(value as u16);
                } else if let Ok(index) = u16::try_from(value) {
                    self.front.kick(index);
                }
            }
            register::INTERRUPT_ACK => self
                .front
                .interrupts()
                .acknowledge(InterruptStatus::from_bits_truncate(value as u8)),
            _ => {}
        }
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
        // There are no shared memory regions.
        register::SHM_LEN_LOW
        | register::SHM_LEN_HIGH
        | register::SHM_BASE_LOW
        | register::SHM_BASE_HIGH => u32::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
