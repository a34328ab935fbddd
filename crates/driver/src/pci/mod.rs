//! Virtio over PCI, modern devices. Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".
//!
//! [`scan`] finds functions, [`devices`] the virtio devices among them; [`Pci`] is one of those, as a [`Transport`].

mod address;
mod capability;
mod function;
mod msix;

use ringway_spec::pci::config::{self, Command};
use ringway_spec::pci::{NO_VECTOR, common};
use ringway_spec::{DeviceId, Features, Status};

use crate::error::{Error, TransportError};
use crate::platform::{Message, Platform, Registers};
use crate::registers::{read_config, read_features, write_config, write_features, write64};
use crate::transport::{Cause, Doorbell, DoorbellValue, Line, QueueSetup, Result, Transport};

use address::read8;
pub use address::{Address, ConfigAccess};
use capability::Blocks;
pub use function::{Function, scan};
use msix::Msix;

/// The virtio devices of all buses: each as it is opened, or with the reason why it cannot be.
pub fn devices<P: Platform + ConfigAccess>(
    platform: &P,
) -> impl Iterator<Item = crate::Result<Pci<P>>> + '_ {
    scan(platform)
        .filter(|function| function.virtio_type().is_some())
        .map(|function| Pci::new(platform.clone(), function))
}

/// What the interrupt line register says when there is no line (PCI 3.0 §6.2.4).
const NO_LINE: u8 = 0xff;

/// A device behind a modern PCI function.
#[derive(Debug)]
pub struct Pci<P: Platform + ConfigAccess> {
    platform: P,
    function: Function,
    id: DeviceId,
    blocks: Blocks<P>,
    msix: Option<Msix<P>>,
}

impl<P: Platform + ConfigAccess> Pci<P> {
    /// Finds the function's register blocks and maps them; lets it answer to memory accesses, and master the bus.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if a block is missing, or said to be where it cannot be. [`Error::WrongDevice`] if the function is no virtio device.
    pub fn new(platform: P, function: Function) -> crate::Result<Self> {
        let id = function
            .virtio_type()
            .ok_or(Error::WrongDevice(DeviceId::INVALID))?;
        let blocks = Blocks::find(&platform, &function)?;
        let msix = Msix::find(&platform, &function);
        function.command(
            &platform,
            Command::MEMORY | Command::BUS_MASTER,
            Command::empty(),
        );
        Ok(Self {
            platform,
            function,
            id,
            blocks,
            msix,
        })
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    fn select_queue(&self, index: u16) -> Result<()> {
        self.blocks.common.write16(common::QUEUE_SELECT, index)
    }

    /// Writes a vector and reads back whether the device has it (§4.1.5.1.2.2).
    fn set_vector(&self, register: usize, vector: Option<u16>) -> Result<bool> {
        let vector = vector.unwrap_or(NO_VECTOR);
        self.blocks.common.write16(register, vector)?;
        Ok(self.blocks.common.read16(register)? == vector)
    }
}

impl<P: Platform + ConfigAccess> Drop for Pci<P> {
    fn drop(&mut self) {
        // Reset or not, it reaches no more memory from here on.
        self.function.command(
            &self.platform,
            Command::empty(),
            Command::MEMORY | Command::BUS_MASTER,
        );
    }
}

impl<P: Platform + ConfigAccess> Transport for Pci<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        &self.platform
    }

    fn name(&self) -> &'static str {
        "pci-modern"
    }

    fn device_id(&self) -> DeviceId {
        self.id
    }

    fn vendor_id(&self) -> u32 {
        u32::from(self.function.subsystem_vendor)
    }

    fn transport_features(&self) -> Features {
        Features::NONE
    }

    fn device_features(&mut self) -> Result<Features> {
        read_features(|select| {
            self.blocks
                .common
                .write32(common::DEVICE_FEATURE_SELECT, select)?;
            self.blocks.common.read32(common::DEVICE_FEATURE)
        })
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        write_features(features, |select, word| {
            self.blocks
                .common
                .write32(common::DRIVER_FEATURE_SELECT, select)?;
            self.blocks.common.write32(common::DRIVER_FEATURE, word)
        })
    }

    fn status(&mut self) -> Result<Status> {
        match self.blocks.common.read8(common::DEVICE_STATUS)? {
            // No device has all bits set; a bus without a device answers so.
            u8::MAX => Err(TransportError::Absent),
            status => Ok(Status::from_bits_retain(status)),
        }
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        self.blocks
            .common
            .write8(common::DEVICE_STATUS, status.bits())
    }

    fn config_generation(&mut self) -> Result<u32> {
        self.blocks
            .common
            .read8(common::CONFIG_GENERATION)
            .map(u32::from)
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        let none = TransportError::Range {
            offset,
            len: into.len(),
        };
        read_config(self.blocks.device.as_ref().ok_or(none)?, offset, into)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let none = TransportError::Range {
            offset,
            len: from.len(),
        };
        write_config(self.blocks.device.as_ref().ok_or(none)?, offset, from)
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        if index >= self.blocks.common.read16(common::NUM_QUEUES)? {
            return Ok(0);
        }
        self.select_queue(index)?;
        self.blocks.common.read16(common::QUEUE_SIZE)
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        self.select_queue(index)?;
        Ok(self.blocks.common.read16(common::QUEUE_ENABLE)? != 0)
    }

    /// The steps of §4.1.5.1.3, but for those that [`bringup`](crate::bringup) does for every transport.
    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        self.select_queue(index)?;
        let registers = &self.blocks.common;
        registers.write16(common::QUEUE_SIZE, setup.size)?;
        write64(registers, common::QUEUE_DESC, setup.areas.descriptor)?;
        write64(registers, common::QUEUE_DRIVER, setup.areas.driver)?;
        write64(registers, common::QUEUE_DEVICE, setup.areas.device)?;
        registers.write16(common::QUEUE_ENABLE, 1)
    }

    /// Found by the queue's own `queue_notify_off` (§4.1.4.4), and checked against the block: no product of 16 and 32 bits overflows 64.
    fn doorbell(&mut self, index: u16, _: Features) -> Result<Doorbell<P>> {
        self.select_queue(index)?;
        let notify_off = self.blocks.common.read16(common::QUEUE_NOTIFY_OFF)?;
        let offset = u64::from(notify_off) * u64::from(self.blocks.notify_multiplier);
        let len = size_of::<u16>();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let registers = self
            .blocks
            .notify
            .slice(offset, len)
            .ok_or(TransportError::Range { offset, len })?;
        Doorbell::new(registers, DoorbellValue::Bits16(index))
    }

    fn messages_max(&self) -> u16 {
        self.msix.as_ref().map_or(0, Msix::vectors)
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        self.msix
            .as_ref()
            .map_or(Ok(()), |msix| msix.set(vector, message))
    }

    fn use_messages(&mut self, on: bool) -> Result<()> {
        if let Some(msix) = &self.msix {
            msix.enable(&self.platform, self.function.address, on);
        }
        let (set, clear) = if on {
            (Command::INTX_DISABLE, Command::empty())
        } else {
            (Command::empty(), Command::INTX_DISABLE)
        };
        self.function.command(&self.platform, set, clear);
        Ok(())
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        self.set_vector(common::CONFIG_MSIX_VECTOR, vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        self.select_queue(index)?;
        self.set_vector(common::QUEUE_MSIX_VECTOR, vector)
    }

    fn line(&self) -> Option<Line<P>> {
        let number = read8(
            &self.platform,
            self.function.address,
            config::INTERRUPT_LINE,
        );
        let pin = read8(&self.platform, self.function.address, config::INTERRUPT_PIN);
        let has_line = pin != 0 && number != NO_LINE;
        has_line.then(|| Line {
            number: u32::from(number),
            cause: Cause::ReadClears(self.blocks.isr.clone()),
        })
    }
}
