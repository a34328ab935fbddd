//! A function that a driver has: what both interfaces do alike with it.

use ringway_spec::DeviceId;
use ringway_spec::pci::config::{Command, INTERRUPT_LINE, INTERRUPT_PIN};

use super::capability::Table;
use super::config::Config;
use super::msix::Msix;
use super::{Address, ConfigAccess, Function};
use crate::error::TransportError;
use crate::platform::{Message, Platform};
use crate::transport::{Cause, Line, Result};

/// What the interrupt line reads if it is connected to nothing.
const NO_LINE: u8 = 0xff;

/// A function that answers and reaches memory, from when it is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Owned<P: Platform + ConfigAccess> {
    pub(super) platform: P,
    pub(super) address: Address,
    pub(super) id: DeviceId,
    pub(super) vendor: u16,
    msix: Option<Msix<P::Registers>>,
    line: Option<u8>,
}

impl<P: Platform + ConfigAccess> Owned<P> {
    /// Takes the function, which is to answer at its BARs as `used` says.
    pub(super) fn take(
        platform: P,
        function: &Function,
        table: Option<Table>,
        used: Command,
    ) -> crate::Result<Self> {
        let id = function.virtio()?;
        // Vectors that cannot be mapped are none: the device has its line, or is polled.
        let mut used = used;
        let msix = table.map(|table| Msix {
            capability: table.capability,
            vectors: table.vectors,
            table: table.place.and_then(|place| {
                let registers = place.map(&platform, u64::MAX).ok()?;
                used |= place.command();
                Some(registers)
            }),
        });
        let config = Config::new(&platform, function.address);
        let line = config.read8(INTERRUPT_LINE);
        let has_line = config.read8(INTERRUPT_PIN) != 0 && line != NO_LINE;
        let this = Self {
            address: function.address,
            id,
            vendor: function.subsystem_vendor,
            msix,
            line: has_line.then_some(line),
            platform,
        };
        let config = this.space();
        config.set_command(config.command() | used | Command::BUS_MASTER);
        // Whoever had the device before may have left messages behind.
        this.use_messages(false)?;
        Ok(this)
    }

    fn space(&self) -> Config<'_, P> {
        Config::new(&self.platform, self.address)
    }

    pub(super) fn messages_max(&self) -> u16 {
        self.msix.as_ref().map_or(0, Msix::usable)
    }

    pub(super) fn set_message(&self, vector: u16, message: Option<Message>) -> Result<()> {
        match &self.msix {
            Some(msix) => msix.set(vector, message),
            None => Ok(()),
        }
    }

    pub(super) fn use_messages(&self, on: bool) -> Result<()> {
        match &self.msix {
            Some(msix) => msix.enable(&self.space(), on),
            None => Ok(()),
        }
    }

    /// The function's line, whose cause is in `isr`.
    pub(super) fn line(&self, isr: &P::Registers) -> Option<Line<P>> {
        let number = self.line?.into();
        let cause = Cause::ReadClears(isr.clone());
        Some(Line { number, cause })
    }
}

impl<P: Platform + ConfigAccess> Drop for Owned<P> {
    fn drop(&mut self) {
        // A device that cannot be reached sends no messages.
        let _ = self.use_messages(false);
        let config = self.space();
        let command = config.command() - (Command::MEMORY | Command::IO);
        config.set_command(command);
        // Last: until here the device may have had a use of memory, if it did not confirm its
        // reset.
        config.set_command(command - Command::BUS_MASTER);
    }
}

impl Function {
    /// What type of virtio device it is.
    pub(super) fn virtio(&self) -> Result<DeviceId> {
        let ids = u32::from(self.device) << 16 | u32::from(self.vendor);
        self.device_id().ok_or(TransportError::NotVirtio(ids))
    }
}
