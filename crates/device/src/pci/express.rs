//! What the configuration space of a function with virtual ones has beside that of others, and what
//! that of a virtual one has not.
//!
//! The numbers are those of the PCI Express Base Specification 5.0, chapters 7 and 9.

use ringway_spec::pci::config::{self, Command};
use ringway_spec::pci::extended::{
    self, DeviceControl, EXPRESS_BYTES, EXPRESS_DEVICE_CAPABILITIES, EXPRESS_DEVICE_CONTROL,
    EXPRESS_INTEGRATED_ENDPOINT, EXPRESS_REGISTER, FUNCTION_LEVEL_RESET, ROLE_BASED_ERRORS,
};

use super::Unfit;
use super::space::Space;

impl Space {
    /// Adds what says that the function is one of PCI Express, which has more than 256 bytes of
    /// configuration space, and can be reset alone.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if there is no room for it.
    pub(super) fn add_express(&mut self) -> Result<(), Unfit> {
        let at = self.add(extended::CAPABILITY_EXPRESS, &[0; EXPRESS_BYTES])?;
        let put =
            |space: &mut Self, offset, from: &[u8]| space.put(at.saturating_add(offset), from);
        let can = FUNCTION_LEVEL_RESET | ROLE_BASED_ERRORS;
        put(
            self,
            EXPRESS_REGISTER,
            &EXPRESS_INTEGRATED_ENDPOINT.to_le_bytes(),
        );
        put(self, EXPRESS_DEVICE_CAPABILITIES, &can.to_le_bytes());
        // In the higher of its two bytes.
        let control = at.saturating_add(EXPRESS_DEVICE_CONTROL).saturating_add(1);
        self.reset_control = Some((control, (DeviceControl::RESET.bits() >> 8) as u8));
        Ok(())
    }

    /// Takes out what a virtual function leaves to its physical one: what it is, its BARs, and that
    /// they answer; and its pin, which it has not.
    pub(super) fn leave_to_physical(&mut self) {
        self.put(config::VENDOR_ID, &config::NO_FUNCTION.to_le_bytes());
        self.put(config::DEVICE_ID, &config::NO_FUNCTION.to_le_bytes());
        let bars = [0; 4 * config::BARS as usize];
        for (at, zeroes) in [(config::BAR0, &bars[..]), (config::INTERRUPT_LINE, &[0; 2])] {
            self.put(at, zeroes);
            self.allow(at, zeroes);
        }
        self.allow(config::COMMAND, &Command::BUS_MASTER.bits().to_le_bytes());
    }
}
