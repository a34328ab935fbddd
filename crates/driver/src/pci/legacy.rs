//! A virtio device on PCI, through the interface from before version 1: a header of registers at
//! the beginning of the first BAR, which is of I/O ports.
//!
//! Spec: VIRTIO 1.4 §4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout".

use ringway_ring::barrier;
use ringway_spec::pci::config::Command;
use ringway_spec::pci::legacy::{self, Msix, PAGE};
use ringway_spec::pci::{NO_VECTOR, common};
use ringway_spec::{DeviceId, Features, Status};

use super::bar::{Bars, Place, Space};
use super::capability::Table;
use super::owned::Owned;
use super::{Address, CONFIG_BYTES_MAX, ConfigAccess, Function};
use crate::dialect::{Dialect, LegacyRings, RingSize};
use crate::error::{TransportError, Violation};
use crate::platform::{Message, Platform, Registers};
use crate::transport::{Doorbell, DoorbellValue, Line, QueueSetup, Result, Transport};

/// The last address that a ring may have a byte at: its first page has a number of 32 bits.
const LAST: u64 = (PAGE << u32::BITS) - 1;
/// Bytes of the header, with vectors or without.
const HEADER_BYTES_MAX: u64 = legacy::config(Msix::Enabled) as u64;

/// What becomes of a reset of a queue alone.
const NO_QUEUE_RESET: TransportError = TransportError::Range {
    offset: common::QUEUE_RESET,
    len: 2,
};

/// A virtio device on PCI, through its legacy interface.
///
/// Dropped, it cannot reach memory any more, reset or not. Its doorbells then ring nowhere.
#[derive(Debug)]
pub struct Legacy<P: Platform + ConfigAccess> {
    function: Owned<P>,
    /// The header, and configuration space after it.
    registers: P::Registers,
    isr: P::Registers,
    notify: P::Registers,
    /// Whether the header has vectors.
    msix: Msix,
    /// How many queues the device was told of: those below this one.
    told: u16,
}

/// Where the header of `function` is, if it has one (§4.1.2.3).
pub(super) fn header<C: ConfigAccess>(
    function: &Function,
    bars: &mut Bars<'_, C>,
) -> Option<Place> {
    if !legacy::DEVICE_IDS.contains(&function.device) || function.revision != legacy::REVISION {
        return None;
    }
    let bar = bars.find(legacy::BAR)?;
    (bar.space == Space::Ports).then_some(Place {
        space: bar.space,
        address: bar.address,
        len: bar.size,
    })
}

impl<P: Platform + ConfigAccess> Legacy<P> {
    /// Takes `function`, whose header is at `header`.
    ///
    /// Rings have to be where the device can be told that they are. Whether there is any such
    /// memory is found out here, while there may be another interface to turn to.
    pub(super) fn open(
        platform: P,
        function: &Function,
        header: Place,
        table: Option<Table>,
    ) -> crate::Result<Self> {
        let msix_or_not = match table {
            Some(_) => Msix::Enabled,
            None => Msix::Disabled,
        };
        if header.len < legacy::config(msix_or_not) as u64 {
            return Err(Violation::Capability("legacy registers are too short").into());
        }
        drop(platform.dma(PAGE as usize, PAGE as usize, LAST)?);
        let registers = header.map(&platform, HEADER_BYTES_MAX + CONFIG_BYTES_MAX)?;
        let part = |offset, len| {
            let range = TransportError::Range { offset, len };
            registers.slice(offset, len).ok_or(range)
        };
        Ok(Self {
            isr: part(legacy::ISR_STATUS, 1)?,
            notify: part(legacy::QUEUE_NOTIFY, 2)?,
            registers,
            function: Owned::take(platform, function, table, Command::IO)?,
            msix: Msix::Disabled,
            told: 0,
        })
    }

    /// Where the function is.
    pub fn address(&self) -> Address {
        self.function.address
    }

    fn select(&self, index: u16) -> Result<()> {
        self.registers.write16(legacy::QUEUE_SELECT, index)
    }

    /// Reads the number of a queue's first page, 0 if the device has been told of none.
    fn page(&self) -> Result<u32> {
        match self.registers.read32(legacy::QUEUE_ADDRESS)? {
            // Its ring would have to begin and end in the last page.
            u32::MAX => Err(TransportError::Absent),
            page => Ok(page),
        }
    }

    /// Writes a vector, or none, to a register that exists with MSI-X alone, and reads back whether
    /// the device agrees.
    fn set_vector(&self, register: usize, vector: Option<u16>) -> Result<bool> {
        if self.msix == Msix::Disabled {
            // There, configuration space is.
            return Ok(vector.is_none());
        }
        if vector.is_some_and(|vector| vector >= self.messages_max()) {
            return Ok(false);
        }
        let vector = vector.unwrap_or(NO_VECTOR);
        self.registers.write16(register, vector)?;
        Ok(self.registers.read16(register)? == vector)
    }

    /// Where the `len` bytes at `offset` of configuration space are, which moves with MSI-X.
    fn config(&self, offset: usize, len: usize) -> Result<core::ops::Range<usize>> {
        let range = TransportError::Range { offset, len };
        let start = legacy::config(self.msix).checked_add(offset).ok_or(range)?;
        let end = start.checked_add(len).ok_or(range)?;
        if end > self.registers.len() {
            return Err(range);
        }
        Ok(start..end)
    }
}

impl<P: Platform + ConfigAccess> Transport for Legacy<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        &self.function.platform
    }

    fn name(&self) -> &'static str {
        "pci-legacy"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Legacy(LegacyRings {
            align: legacy::QUEUE_ALIGN as usize,
            size: RingSize::Fixed,
            last: LAST,
        })
    }

    fn device_id(&self) -> DeviceId {
        self.function.id
    }

    fn vendor_id(&self) -> u32 {
        self.function.vendor.into()
    }

    fn transport_features(&self) -> Features {
        Features::NONE
    }

    fn device_features(&mut self) -> Result<Features> {
        let word = self.registers.read32(legacy::DEVICE_FEATURES)?;
        Ok(Features::NONE.with_word(0, word))
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        self.registers
            .write32(legacy::DRIVER_FEATURES, features.word(0))
    }

    fn status(&mut self) -> Result<Status> {
        match self.registers.read8(legacy::DEVICE_STATUS)? {
            u8::MAX => Err(TransportError::Absent),
            status => Ok(Status::from_bits_truncate(status)),
        }
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        // What was written to the rings, before the status that has the device look at them.
        barrier::doorbell();
        self.registers
            .write8(legacy::DEVICE_STATUS, status.bits())?;
        if status.is_empty() {
            // Devices differ in whether a reset makes them forget their rings.
            for index in 0..core::mem::take(&mut self.told) {
                self.select(index)?;
                self.registers.write32(legacy::QUEUE_ADDRESS, 0)?;
            }
        }
        Ok(())
    }

    /// Always the same: a legacy device has none.
    fn config_generation(&mut self) -> Result<u32> {
        Ok(0)
    }

    /// By bytes, which a device takes for any field (§4.1.4.10), and which are aligned wherever
    /// configuration space begins.
    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        let places = self.config(offset, into.len())?;
        for (at, byte) in places.zip(into) {
            *byte = self.registers.read8(at)?;
        }
        Ok(())
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let mut places = self.config(offset, from.len())?.zip(from);
        places.try_for_each(|(at, byte)| self.registers.write8(at, *byte))
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        self.select(index)?;
        match self.registers.read16(legacy::QUEUE_SIZE)? {
            u16::MAX => Err(TransportError::Absent),
            size => Ok(size),
        }
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        self.select(index)?;
        Ok(self.page()? != 0)
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        let address = setup.areas.descriptor;
        let range = TransportError::Range {
            offset: legacy::QUEUE_ADDRESS,
            len: size_of::<u32>(),
        };
        // Nobody asks for another: a ring is where `dialect` says.
        let page = u32::try_from(address / PAGE).map_err(|_| range)?;
        self.select(index)?;
        self.told = self.told.max(index.saturating_add(1));
        // The ring as it was cleared, before the register that has the device look at it.
        barrier::doorbell();
        self.registers.write32(legacy::QUEUE_ADDRESS, page)
    }

    /// Refused: there is no register for it, as there is no bit for `RING_RESET`.
    fn reset_queue(&mut self, _: u16) -> Result<()> {
        Err(NO_QUEUE_RESET)
    }

    fn queue_is_reset(&mut self, _: u16) -> Result<bool> {
        Err(NO_QUEUE_RESET)
    }

    fn doorbell(&mut self, index: u16, _: Features) -> Result<Doorbell<P>> {
        Doorbell::new(self.notify.clone(), DoorbellValue::Bits16(index))
    }

    fn messages_max(&self) -> u16 {
        self.function.messages_max()
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        self.function.set_message(vector, message)
    }

    fn use_messages(&mut self, on: bool) -> Result<()> {
        self.function.use_messages(on)?;
        self.msix = match on && self.messages_max() != 0 {
            true => Msix::Enabled,
            false => Msix::Disabled,
        };
        Ok(())
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        self.set_vector(legacy::CONFIG_MSIX_VECTOR, vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        self.select(index)?;
        self.set_vector(legacy::QUEUE_MSIX_VECTOR, vector)
    }

    fn line(&self) -> Option<Line<P>> {
        self.function.line(&self.isr)
    }
}

#[cfg(test)]
mod tests;
