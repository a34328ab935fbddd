//! A device behind mapped registers.

use ringway_ring::barrier;
use ringway_spec::mmio::{CONFIG, LEGACY_VERSION, MAGIC, VERSION, legacy_register, register};
use ringway_spec::{DeviceId, F, Features, Status};

use super::legacy::Legacy;
use crate::dialect::Dialect;
use crate::error::TransportError;
use crate::platform::{Platform, Registers};
use crate::registers;
use crate::transport::{
    Cause, Doorbell, DoorbellValue, Line, QueueSetup, Result, SharedMemory, Transport,
};

/// A device behind mapped registers. One of version 1 is driven through the
/// [legacy interface](Dialect::Legacy).
#[derive(Debug)]
pub struct Mmio<P: Platform> {
    platform: P,
    registers: P::Registers,
    config: P::Registers,
    notify: P::Registers,
    id: DeviceId,
    vendor: u32,
    version: Version,
    line: Option<Line<P>>,
    /// The last of the queues that were enabled since the device was last reset.
    last_enabled: Option<u16>,
}

/// Which registers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Version 1.
    Legacy,
    /// Version 2.
    Modern,
}

impl<P: Platform> Mmio<P> {
    /// The device whose registers, configuration space included, are `registers`, and whose
    /// interrupt line is `line`.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if there are fewer registers than every device has;
    /// [`TransportError::Absent`], [`TransportError::NotVirtio`],
    /// [`TransportError::Placeholder`] or [`TransportError::Version`] if there is no device that
    /// can be driven.
    pub fn new(platform: P, registers: P::Registers, line: Option<u32>) -> Result<Self> {
        let part = |offset, len| {
            let range = TransportError::Range { offset, len };
            registers.slice(offset, len).ok_or(range)
        };
        let config = part(CONFIG, registers.len().saturating_sub(CONFIG))?;
        let notify = part(register::QUEUE_NOTIFY, 4)?;
        let interrupt = part(register::INTERRUPT_STATUS, 8)?;
        match registers.read32(register::MAGIC_VALUE)? {
            MAGIC => {}
            u32::MAX => return Err(TransportError::Absent),
            other => return Err(TransportError::NotVirtio(other)),
        }
        let version = match registers.read32(register::VERSION)? {
            LEGACY_VERSION => Version::Legacy,
            VERSION => Version::Modern,
            other => return Err(TransportError::Version(other)),
        };
        // An empty slot is of the version that its machine has: of it, nothing else is of interest
        // (§4.2.3.1.1).
        let id = DeviceId(registers.read32(register::DEVICE_ID)?);
        if id == DeviceId::INVALID {
            return Err(TransportError::Placeholder);
        }
        Ok(Self {
            vendor: registers.read32(register::VENDOR_ID)?,
            version,
            line: line.map(|number| Line {
                number,
                cause: Cause::Acknowledged(interrupt),
            }),
            platform,
            registers,
            config,
            notify,
            id,
            last_enabled: None,
        })
    }

    /// Reads a register that never has all its bits set.
    fn read(&self, offset: usize) -> Result<u32> {
        match self.registers.read32(offset)? {
            u32::MAX => Err(TransportError::Absent),
            value => Ok(value),
        }
    }

    fn legacy(&self) -> Option<Legacy<'_, P::Registers>> {
        (self.version == Version::Legacy).then_some(Legacy(&self.registers))
    }

    fn select(&self, index: u16) -> Result<()> {
        self.registers.write32(register::QUEUE_SEL, index.into())
    }

    /// Stops using queue `index`. Reading back has the device be done with it (§4.2.2.2).
    fn stop_queue(&self, index: u16) -> Result<u32> {
        self.select(index)?;
        self.registers.write32(register::QUEUE_READY, 0)?;
        self.registers.read32(register::QUEUE_READY)
    }
}

impl<P: Platform> Transport for Mmio<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        &self.platform
    }

    fn name(&self) -> &'static str {
        match self.version {
            Version::Legacy => "mmio-legacy",
            Version::Modern => "mmio",
        }
    }

    fn dialect(&self) -> Dialect {
        match self.version {
            Version::Legacy => Legacy::<P::Registers>::DIALECT,
            Version::Modern => Dialect::Modern,
        }
    }

    fn device_id(&self) -> DeviceId {
        self.id
    }

    fn vendor_id(&self) -> u32 {
        self.vendor
    }

    fn transport_features(&self) -> Features {
        match self.version {
            Version::Legacy => Features::NONE,
            Version::Modern => F::VERSION_1 | F::NOTIFICATION_DATA | F::RING_RESET,
        }
    }

    fn device_features(&mut self) -> Result<Features> {
        if let Some(legacy) = self.legacy() {
            return legacy.device_features();
        }
        let features = registers::read_features(|select| {
            self.registers
                .write32(register::DEVICE_FEATURES_SEL, select)?;
            self.registers.read32(register::DEVICE_FEATURES)
        })?;
        // A device from before there were four words may look at one bit of the selector only, or
        // leave a selector that it does not know where it was. Then the higher words are
        // the lower ones again, which are never empty (VERSION_1).
        let repeats = features.word(3) == features.word(1);
        Ok(if repeats {
            features.with_word(2, 0).with_word(3, 0)
        } else {
            features
        })
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        if let Some(legacy) = self.legacy() {
            return legacy.set_driver_features(features);
        }
        registers::write_features(features, |select, word| {
            self.registers
                .write32(register::DRIVER_FEATURES_SEL, select)?;
            self.registers.write32(register::DRIVER_FEATURES, word)
        })
    }

    fn status(&mut self) -> Result<Status> {
        // The status is the low byte.
        let status = self.read(register::STATUS)? as u8;
        Ok(Status::from_bits_truncate(status))
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        if status.is_empty() {
            for index in self
                .last_enabled
                .take()
                .into_iter()
                .flat_map(|last| 0..=last)
            {
                // Whatever comes of it: only the reset that follows makes the driver believe that
                // the device has let go.
                let _ = self.stop_queue(index);
            }
        }
        // What was written to the rings, before the status that has the device look at them.
        barrier::doorbell();
        self.registers
            .write32(register::STATUS, status.bits().into())
    }

    fn config_generation(&mut self) -> Result<u32> {
        match self.version {
            // Which has none: fields are read twice.
            Version::Legacy => Ok(0),
            Version::Modern => self.registers.read32(register::CONFIG_GENERATION),
        }
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        match self.version {
            Version::Legacy => registers::read_bytes(&self.config, offset, into),
            Version::Modern => registers::read_config(&self.config, offset, into),
        }
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        match self.version {
            Version::Legacy => registers::write_bytes(&self.config, offset, from),
            Version::Modern => registers::write_config(&self.config, offset, from),
        }
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        self.select(index)?;
        let size = self.read(register::QUEUE_SIZE_MAX)?;
        Ok(u16::try_from(size).unwrap_or(u16::MAX))
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        self.select(index)?;
        let enabled = match self.version {
            Version::Legacy => self.registers.read32(legacy_register::QUEUE_PFN)?,
            Version::Modern => self.read(register::QUEUE_READY)?,
        };
        Ok(enabled != 0)
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        if let Some(legacy) = self.legacy() {
            self.select(index)?;
            return legacy.enable_selected(setup);
        }
        // §4.2.3.2, whose steps 2 and 3 are `queue_enabled` and `queue_size_max`.
        let QueueSetup { size, areas } = setup;
        self.select(index)?;
        self.registers
            .write32(register::QUEUE_SIZE, (*size).into())?;
        for (low, address) in [
            (register::QUEUE_DESC_LOW, areas.descriptor),
            (register::QUEUE_DRIVER_LOW, areas.driver),
            (register::QUEUE_DEVICE_LOW, areas.device),
        ] {
            registers::write64(&self.registers, low, address)?;
        }
        self.last_enabled = self.last_enabled.max(Some(index));
        // The ring as it was cleared, before the register that has the device look at it.
        barrier::doorbell();
        self.registers.write32(register::QUEUE_READY, 1)
    }

    fn reset_queue(&mut self, index: u16) -> Result<()> {
        self.select(index)?;
        self.registers.write32(register::QUEUE_RESET, 1)
    }

    fn queue_is_reset(&mut self, index: u16) -> Result<bool> {
        self.select(index)?;
        Ok(self.read(register::QUEUE_RESET)? == 0 && self.read(register::QUEUE_READY)? == 0)
    }

    fn doorbell(&mut self, index: u16, features: Features) -> Result<Doorbell<P>> {
        let value = if features.contains(F::NOTIFICATION_DATA) {
            DoorbellValue::WithData(index)
        } else {
            DoorbellValue::Bits32(index.into())
        };
        Doorbell::new(self.notify.clone(), value)
    }

    fn shared_memory(&mut self, id: u8) -> Result<Option<SharedMemory>> {
        if self.version == Version::Legacy {
            return Ok(None);
        }
        self.registers.write32(register::SHM_SEL, id.into())?;
        let len = registers::read64(&self.registers, register::SHM_LEN_LOW)?;
        let address = registers::read64(&self.registers, register::SHM_BASE_LOW)?;
        // A region that there is not is of all ones, and such a one has no last byte (§4.2.2.1).
        let last = address.checked_add(len.saturating_sub(1));
        let there = len != 0 && len != u64::MAX && last.is_some();
        Ok(there.then_some(SharedMemory { address, len }))
    }

    fn line(&self) -> Option<Line<P>> {
        self.line.clone()
    }
}

#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod obeyed;
#[cfg(test)]
mod tests;
