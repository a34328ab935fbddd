//! A function's message-signalled interrupts: the table of its vectors, and the switch between them
//! and its line.

use core::mem::offset_of;

use ringway_spec::pci::config::Command;
use ringway_spec::pci::msix::{
    CONTROL_ENABLE, CONTROL_FUNCTION_MASK, Capability, TableEntry, VECTOR_MASKED, table_bytes,
};

use super::ConfigAccess;
use super::config::Config;
use crate::platform::{Message, Registers};
use crate::registers::write64;
use crate::transport::Result;

/// The vectors of a function.
#[derive(Debug)]
pub(super) struct Msix<R> {
    /// Offset of the capability in configuration space.
    pub(super) capability: usize,
    pub(super) vectors: u16,
    /// Absent where it cannot be mapped, so that no message is used: no window leads to it
    /// (§4.1.4.9.2).
    pub(super) table: Option<R>,
}

impl<R: Registers> Msix<R> {
    /// How many of the vectors can be used.
    pub(super) fn usable(&self) -> u16 {
        self.table.as_ref().map_or(0, |_| self.vectors)
    }

    /// Has `vector` send `message`, or nothing.
    pub(super) fn set(&self, vector: u16, message: Option<Message>) -> Result<()> {
        let Some(table) = &self.table else {
            return Ok(());
        };
        // An entry is masked while it is neither its old nor its new message.
        mask(table, vector, true)?;
        if let Some(message) = message {
            let entry = table_bytes(vector);
            let address = entry + offset_of!(TableEntry, address_low);
            write64(table, address, message.address)?;
            table.write32(entry + offset_of!(TableEntry, data), message.data)?;
            mask(table, vector, false)?;
        }
        Ok(())
    }

    /// Has the function send messages instead of raising its line, or, with all its vectors masked,
    /// the other way round.
    pub(super) fn enable(&self, config: &Config<'_, impl ConfigAccess>, on: bool) -> Result<()> {
        let command = config.command();
        if on && self.usable() != 0 {
            config.set_command(command | Command::INTX_DISABLE);
            self.control(config, CONTROL_ENABLE);
            return Ok(());
        }
        self.control(config, 0);
        config.set_command(command - Command::INTX_DISABLE);
        match &self.table {
            Some(table) => (0..self.vectors).try_for_each(|vector| mask(table, vector, true)),
            None => Ok(()),
        }
    }

    fn control(&self, config: &Config<'_, impl ConfigAccess>, value: u16) {
        // In the upper half of the first word; of the other bits of both, none can be written.
        let word = config.read32(self.capability);
        let shift = 8 * offset_of!(Capability, control);
        let bits = u32::from(CONTROL_ENABLE | CONTROL_FUNCTION_MASK) << shift;
        config.write32(self.capability, word & !bits | u32::from(value) << shift);
    }
}

fn mask(table: &impl Registers, vector: u16, masked: bool) -> Result<()> {
    let control = table_bytes(vector) + offset_of!(TableEntry, vector_control);
    // The other bits are to stay as they are.
    let others = table.read32(control)? & !VECTOR_MASKED;
    let bit = if masked { VECTOR_MASKED } else { 0 };
    table.write32(control, others | bit)
}
