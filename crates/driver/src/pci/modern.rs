//! A virtio device on PCI, through its modern interface: structures of registers that capabilities
//! locate.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use ringway_ring::barrier;
use ringway_spec::pci::config::Command;
use ringway_spec::pci::{CommonConfig, NO_VECTOR, common};
use ringway_spec::{DeviceId, F, Features, Status};

use super::capability::{Layout, Table};
use super::owned::Owned;
use super::shared::Regions;
#[cfg(feature = "alloc")]
use super::sriov::{Agreement, VirtualFunctions};
use super::structure::Structure;
use super::{Address, CONFIG_BYTES_MAX, ConfigAccess, Function};
use crate::error::{PlatformError, TransportError};
use crate::platform::{Message, Platform, Registers};
use crate::registers;
use crate::transport::{
    AdminQueues, Doorbell, DoorbellValue, Line, QueueSetup, Result, SharedMemory, Transport,
};

/// A virtio device on PCI, through its modern interface.
///
/// Dropped, it cannot reach memory any more, reset or not. Its doorbells then ring nowhere.
#[derive(Debug)]
pub struct Modern<P: Platform + ConfigAccess> {
    function: Owned<P>,
    common: P::Registers,
    notify: P::Registers,
    notify_multiplier: u32,
    isr: P::Registers,
    config: Option<P::Registers>,
    shared: Regions,
    name: &'static str,
    /// Whether the driver has accepted `ADMIN_VQ`: the registers that it comes with count.
    administers: bool,
    #[cfg(feature = "alloc")]
    virtuals: Box<Agreement>,
}

impl<P: Platform + ConfigAccess> Modern<P> {
    /// Takes `function`, whose registers are at `layout`.
    pub(super) fn open(
        platform: P,
        function: &Function,
        layout: &Layout,
        table: Option<Table>,
        #[cfg(feature = "alloc")] virtuals: Agreement,
    ) -> crate::Result<Self> {
        // Memory is not turned on for vectors where a BAR without an address would answer, too.
        let is_placed = |structure: &Structure| structure.place.is_some();
        let table = table.map(|table| Table {
            place: table.place.filter(|_| layout.structures().all(is_placed)),
            ..table
        });
        // A queue's address is at most as far from the first as the highest offset there is.
        let notify_most = u64::from(u16::MAX) * u64::from(layout.notify_multiplier) + 4;
        let common_most = size_of::<CommonConfig>() as u64;
        let (mut used, mut name) = (Command::empty(), "pci-modern");
        let mut reach = |structure: &Structure, most| {
            let (registers, answers) = structure.reach(&platform, most)?;
            match answers {
                Some(answers) => used |= answers,
                None => name = "pci-window",
            }
            Ok::<_, PlatformError>(registers)
        };
        let common = reach(&layout.common, common_most)?;
        let notify = reach(&layout.notify, notify_most)?;
        let isr = reach(&layout.isr, 1)?;
        let config = match &layout.device {
            Some(device) => Some(reach(device, CONFIG_BYTES_MAX)?),
            None => None,
        };
        Ok(Self {
            common,
            notify,
            notify_multiplier: layout.notify_multiplier,
            isr,
            config,
            shared: layout.shared,
            #[cfg(feature = "alloc")]
            virtuals: Box::new(virtuals),
            name,
            administers: false,
            function: Owned::take(platform, function, table, used)?,
        })
    }

    /// Where the function is.
    pub fn address(&self) -> Address {
        self.function.address
    }

    /// The virtual functions that it can have, for the first who asks. `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Violation::Capability`](crate::error::Violation::Capability) if what it says of them cannot be:
    /// the rest of it can be used nevertheless.
    #[cfg(feature = "alloc")]
    pub fn virtual_functions(&mut self) -> crate::Result<Option<VirtualFunctions<P>>> {
        let Owned {
            platform, address, ..
        } = &self.function;
        VirtualFunctions::take(platform, *address, &mut self.virtuals)
    }

    fn select(&self, index: u16) -> Result<()> {
        self.common.write16(common::QUEUE_SELECT, index)
    }

    /// Reads a register that never has all its bits set.
    fn read16(&self, offset: usize) -> Result<u16> {
        match self.common.read16(offset)? {
            u16::MAX => Err(TransportError::Absent),
            value => Ok(value),
        }
    }

    /// Writes a vector, or none, to a register, and reads back whether the device agrees
    /// (§4.1.5.1.2.2).
    fn set_vector(&self, register: usize, vector: Option<u16>) -> Result<bool> {
        if vector.is_some_and(|vector| vector >= self.messages_max()) {
            return Ok(false);
        }
        let vector = vector.unwrap_or(NO_VECTOR);
        self.common.write16(register, vector)?;
        Ok(self.common.read16(register)? == vector)
    }

    /// Configuration space, for an access to the `len` bytes at `offset`.
    fn device_config(&self, offset: usize, len: usize) -> Result<&P::Registers> {
        let range = TransportError::Range { offset, len };
        self.config.as_ref().ok_or(range)
    }
}

impl<P: Platform + ConfigAccess> Transport for Modern<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        &self.function.platform
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn device_id(&self) -> DeviceId {
        self.function.id
    }

    fn vendor_id(&self) -> u32 {
        self.function.vendor.into()
    }

    fn transport_features(&self) -> Features {
        // A device that has the feature and not the register is taken at its registers.
        let with = |feature, register: usize| match self.common.len() {
            len if len >= register + 2 => feature,
            _ => Features::NONE,
        };
        #[cfg(feature = "alloc")]
        let virtuals = self.virtuals.features();
        #[cfg(not(feature = "alloc"))]
        let virtuals = Features::NONE;
        virtuals
            | F::VERSION_1
            | F::NOTIFICATION_DATA
            | with(F::NOTIF_CONFIG_DATA, common::QUEUE_NOTIF_CONFIG_DATA)
            | with(F::RING_RESET, common::QUEUE_RESET)
            | with(F::ADMIN_VQ, common::ADMIN_QUEUE_NUM)
    }

    fn device_features(&mut self) -> Result<Features> {
        registers::read_features(|select| {
            self.common.write32(common::DEVICE_FEATURE_SELECT, select)?;
            self.common.read32(common::DEVICE_FEATURE)
        })
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        self.administers = features.contains(F::ADMIN_VQ);
        #[cfg(feature = "alloc")]
        self.virtuals.propose(features);
        registers::write_features(features, |select, word| {
            self.common.write32(common::DRIVER_FEATURE_SELECT, select)?;
            self.common.write32(common::DRIVER_FEATURE, word)
        })
    }

    fn status(&mut self) -> Result<Status> {
        match self.common.read8(common::DEVICE_STATUS)? {
            u8::MAX => Err(TransportError::Absent),
            status => {
                let status = Status::from_bits_truncate(status);
                #[cfg(feature = "alloc")]
                self.virtuals.heed(status);
                Ok(status)
            }
        }
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        // What was written to the rings, before the status that has the device look at them.
        barrier::doorbell();
        self.common.write8(common::DEVICE_STATUS, status.bits())
    }

    fn config_generation(&mut self) -> Result<u32> {
        self.common.read8(common::CONFIG_GENERATION).map(u32::from)
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        registers::read_config(self.device_config(offset, into.len())?, offset, into)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        registers::write_config(self.device_config(offset, from.len())?, offset, from)
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        let is_admin = |queues: AdminQueues| {
            let place = index.checked_sub(queues.first);
            place.is_some_and(|place| place < queues.count)
        };
        if index >= self.common.read16(common::NUM_QUEUES)?
            && !self.admin_queues()?.is_some_and(is_admin)
        {
            return Ok(0);
        }
        self.select(index)?;
        self.read16(common::QUEUE_SIZE)
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        self.select(index)?;
        Ok(self.read16(common::QUEUE_ENABLE)? != 0)
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        let QueueSetup { size, areas } = setup;
        self.select(index)?;
        self.common.write16(common::QUEUE_SIZE, *size)?;
        for (register, address) in [
            (common::QUEUE_DESC, areas.descriptor),
            (common::QUEUE_DRIVER, areas.driver),
            (common::QUEUE_DEVICE, areas.device),
        ] {
            registers::write64(&self.common, register, address)?;
        }
        // The ring as it was cleared, before the register that has the device look at it.
        barrier::doorbell();
        self.common.write16(common::QUEUE_ENABLE, 1)
    }

    fn reset_queue(&mut self, index: u16) -> Result<()> {
        self.select(index)?;
        self.common.write16(common::QUEUE_RESET, 1)
    }

    fn queue_is_reset(&mut self, index: u16) -> Result<bool> {
        self.select(index)?;
        Ok(self.read16(common::QUEUE_RESET)? == 0 && self.read16(common::QUEUE_ENABLE)? == 0)
    }

    fn admin_queues(&mut self) -> Result<Option<AdminQueues>> {
        if !self.administers {
            return Ok(None);
        }
        Ok(Some(AdminQueues {
            first: self.common.read16(common::ADMIN_QUEUE_INDEX)?,
            count: self.common.read16(common::ADMIN_QUEUE_NUM)?,
            others: self.common.read16(common::NUM_QUEUES)?,
        }))
    }

    fn doorbell(&mut self, index: u16, features: Features) -> Result<Doorbell<P>> {
        self.select(index)?;
        // Not an offset in bytes, and not the index (§4.1.4.4). In 64 bits, the product of 16 and
        // 32 does not overflow.
        let number = self.common.read16(common::QUEUE_NOTIFY_OFF)?;
        let offset = u64::from(number) * u64::from(self.notify_multiplier);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        // The device's own name for the queue, in the place of the index (§4.1.5.2).
        let name = match features.contains(F::NOTIF_CONFIG_DATA) {
            true => self.common.read16(common::QUEUE_NOTIF_CONFIG_DATA)?,
            false => index,
        };
        let (value, len) = if features.contains(F::NOTIFICATION_DATA) {
            (DoorbellValue::WithData(name), 4)
        } else {
            (DoorbellValue::Bits16(name), 2)
        };
        let registers = self
            .notify
            .slice(offset, len)
            .filter(|_| offset.is_multiple_of(len))
            .ok_or(TransportError::Range { offset, len })?;
        Doorbell::new(registers, value)
    }

    fn shared_memory(&mut self, id: u8) -> Result<Option<SharedMemory>> {
        Ok(self.shared.find(id))
    }

    fn messages_max(&self) -> u16 {
        self.function.messages_max()
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        self.function.set_message(vector, message)
    }

    fn use_messages(&mut self, on: bool) -> Result<()> {
        self.function.use_messages(on)
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        self.set_vector(common::CONFIG_MSIX_VECTOR, vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        self.select(index)?;
        self.set_vector(common::QUEUE_MSIX_VECTOR, vector)
    }

    fn line(&self) -> Option<Line<P>> {
        self.function.line(&self.isr)
    }
}

#[cfg(test)]
mod obeyed;
#[cfg(test)]
mod tests;
