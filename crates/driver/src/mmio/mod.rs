//! Virtio over MMIO, version 2. Spec: VIRTIO 1.4 §4.2 "Virtio Over MMIO".
//!
//! A device is a [`Slot`]: a window of registers, and perhaps an interrupt line. Nothing enumerates slots: the platform knows them.

mod window;

use ringway_spec::mmio::{self, register};
use ringway_spec::{DeviceId, Features, Status};

use crate::error::TransportError;
use crate::platform::{Platform, Registers};
use crate::registers::{read_config, read_features, write_config, write_features, write64};
use crate::transport::{Cause, Doorbell, DoorbellValue, Line, QueueSetup, Result, Transport};

pub use window::Window;

/// Where a device may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Bus address of its registers.
    pub address: u64,
    /// Bytes of registers.
    pub len: u64,
    /// Its interrupt line, if it has one.
    pub line: Option<u32>,
}

/// The devices in `slots`. Empty slots are passed over; a slot that holds something else is an error of its own.
pub fn scan<'p, P: Platform>(
    platform: &'p P,
    slots: impl IntoIterator<Item = Slot> + 'p,
) -> impl Iterator<Item = crate::Result<Mmio<P>>> + 'p {
    slots.into_iter().filter_map(|slot| {
        let opened = platform
            .registers(slot.address, slot.len)
            .map_err(crate::Error::from)
            .and_then(|registers| Ok(Mmio::new(platform.clone(), registers, slot.line)?));
        match opened {
            Err(crate::Error::Transport(TransportError::Placeholder)) => None,
            opened => Some(opened),
        }
    })
}

/// A device behind a window of registers.
#[derive(Debug)]
pub struct Mmio<P: Platform> {
    platform: P,
    registers: P::Registers,
    config: P::Registers,
    line: Option<u32>,
    id: DeviceId,
    vendor: u32,
}

impl<P: Platform> Mmio<P> {
    /// Opens the window, and finds out what is behind it (§4.2.3.1.1).
    ///
    /// # Errors
    ///
    /// [`TransportError::NotVirtio`], [`Version`](TransportError::Version) and
    /// [`Placeholder`](TransportError::Placeholder) say what is there instead of a device of version 2;
    /// [`TransportError::Range`] that the window is too small for its registers.
    pub fn new(platform: P, registers: P::Registers, line: Option<u32>) -> Result<Self> {
        let magic = registers.read32(register::MAGIC_VALUE)?;
        if magic != mmio::MAGIC {
            return Err(TransportError::NotVirtio(magic));
        }
        let version = registers.read32(register::VERSION)?;
        if version != mmio::VERSION {
            return Err(TransportError::Version(version));
        }
        let id = DeviceId(registers.read32(register::DEVICE_ID)?);
        if id == DeviceId::INVALID {
            return Err(TransportError::Placeholder);
        }
        let vendor = registers.read32(register::VENDOR_ID)?;
        let len = registers.len().saturating_sub(mmio::CONFIG);
        let config = registers
            .slice(mmio::CONFIG, len)
            .ok_or(TransportError::Range {
                offset: mmio::CONFIG,
                len: 0,
            })?;
        Ok(Self {
            platform,
            registers,
            config,
            line,
            id,
            vendor,
        })
    }

    fn select_queue(&self, index: u16) -> Result<()> {
        self.registers
            .write32(register::QUEUE_SEL, u32::from(index))
    }
}

impl<P: Platform> Transport for Mmio<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        &self.platform
    }

    fn name(&self) -> &'static str {
        "mmio"
    }

    fn device_id(&self) -> DeviceId {
        self.id
    }

    fn vendor_id(&self) -> u32 {
        self.vendor
    }

    fn transport_features(&self) -> Features {
        Features::NONE
    }

    fn device_features(&mut self) -> Result<Features> {
        read_features(|select| {
            self.registers
                .write32(register::DEVICE_FEATURES_SEL, select)?;
            self.registers.read32(register::DEVICE_FEATURES)
        })
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        write_features(features, |select, word| {
            self.registers
                .write32(register::DRIVER_FEATURES_SEL, select)?;
            self.registers.write32(register::DRIVER_FEATURES, word)
        })
    }

    fn status(&mut self) -> Result<Status> {
        let status = self.registers.read32(register::STATUS)?;
        // No device has all bits set; a bus without a device answers so.
        let status = u8::try_from(status).map_err(|_| TransportError::Absent)?;
        Ok(Status::from_bits_retain(status))
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        self.registers
            .write32(register::STATUS, u32::from(status.bits()))
    }

    fn config_generation(&mut self) -> Result<u32> {
        self.registers.read32(register::CONFIG_GENERATION)
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        read_config(&self.config, offset, into)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        write_config(&self.config, offset, from)
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        self.select_queue(index)?;
        let size = self.registers.read32(register::QUEUE_SIZE_MAX)?;
        // A ring has at most 32768 descriptors, whatever more the device would take (§2.7).
        Ok(u16::try_from(size).unwrap_or(ringway_spec::split::MAX_SIZE))
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        self.select_queue(index)?;
        Ok(self.registers.read32(register::QUEUE_READY)? != 0)
    }

    /// The steps of §4.2.3.2, but for those that [`bringup`](crate::bringup) does for every transport.
    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        self.select_queue(index)?;
        self.registers
            .write32(register::QUEUE_SIZE, u32::from(setup.size))?;
        write64(
            &self.registers,
            register::QUEUE_DESC_LOW,
            setup.areas.descriptor,
        )?;
        write64(
            &self.registers,
            register::QUEUE_DRIVER_LOW,
            setup.areas.driver,
        )?;
        write64(
            &self.registers,
            register::QUEUE_DEVICE_LOW,
            setup.areas.device,
        )?;
        self.registers.write32(register::QUEUE_READY, 1)
    }

    fn doorbell(&mut self, index: u16, _: Features) -> Result<Doorbell<P>> {
        let notify = register::QUEUE_NOTIFY;
        let registers =
            self.registers
                .slice(notify, size_of::<u32>())
                .ok_or(TransportError::Range {
                    offset: notify,
                    len: size_of::<u32>(),
                })?;
        Doorbell::new(registers, DoorbellValue::Bits32(u32::from(index)))
    }

    fn line(&self) -> Option<Line<P>> {
        // Status and acknowledgement are neighbours.
        let cause = self
            .registers
            .slice(register::INTERRUPT_STATUS, 2 * size_of::<u32>())?;
        Some(Line {
            number: self.line?,
            cause: Cause::Acknowledged(cause),
        })
    }
}
