//! Message-signalled interrupts of a function (MSI-X).

use ringway_spec::pci::config::{CAPABILITY_MSIX, SIZE};
use ringway_spec::pci::msix::{
    BIR_MASK, CONTROL_ENABLE, CONTROL_FUNCTION_MASK, CONTROL_TABLE_SIZE_MASK, OFFSET_MASK,
    VECTOR_MASKED, table_bytes,
};

use super::address::{Address, ConfigAccess, read16, read32, write16};
use super::capability::window;
use super::function::Function;
use crate::platform::{Message, Platform, Registers};
use crate::registers::write64;
use crate::transport::Result;

/// Where the fields of the capability are.
const CONTROL: usize = 2;
const TABLE: usize = 4;
const LENGTH: usize = 12;

/// Where the fields of an entry are, and its bytes.
const MESSAGE_ADDRESS: usize = 0;
const MESSAGE_DATA: usize = 8;
const VECTOR_CONTROL: usize = 12;
const ENTRY: usize = 16;

/// A function's vectors: its table, mapped, and the register that switches them on.
#[derive(Debug)]
pub(super) struct Msix<P: Platform> {
    at: usize,
    vectors: u16,
    table: P::Registers,
}

impl<P: Platform + ConfigAccess> Msix<P> {
    /// Finds the table. `None` if the function has none, or says that it is where it cannot be: then it has its line only.
    pub(super) fn find(platform: &P, function: &Function) -> Option<Self> {
        let (at, _) = function
            .capabilities(platform)
            .find(|(at, id)| *id == CAPABILITY_MSIX && at + LENGTH <= SIZE)?;
        let address = function.address;
        // One less than there are.
        let vectors = (read16(platform, address, at + CONTROL) & CONTROL_TABLE_SIZE_MASK) + 1;
        let place = read32(platform, address, at + TABLE);
        // No more than 2048 entries.
        let bytes = table_bytes(vectors) as u32;
        let table = window(
            platform,
            function,
            (place & BIR_MASK) as u8,
            place & OFFSET_MASK,
            bytes,
        )?;
        Some(Self { at, vectors, table })
    }

    /// Switches messages on or off for the function. Entries without a message are masked.
    pub(super) fn enable(&self, platform: &P, address: Address, on: bool) {
        let at = self.at + CONTROL;
        let control = read16(platform, address, at) & !(CONTROL_ENABLE | CONTROL_FUNCTION_MASK);
        write16(
            platform,
            address,
            at,
            if on {
                control | CONTROL_ENABLE
            } else {
                control
            },
        );
    }
}

impl<P: Platform> Msix<P> {
    /// How many there are.
    pub(super) fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Has `vector` send `message`; masked meanwhile, and for good if there is none.
    pub(super) fn set(&self, vector: u16, message: Option<Message>) -> Result<()> {
        let entry = usize::from(vector) * ENTRY;
        let control = self.table.read32(entry + VECTOR_CONTROL)?;
        self.table
            .write32(entry + VECTOR_CONTROL, control | VECTOR_MASKED)?;
        if let Some(message) = message {
            write64(&self.table, entry + MESSAGE_ADDRESS, message.address)?;
            self.table.write32(entry + MESSAGE_DATA, message.data)?;
            self.table
                .write32(entry + VECTOR_CONTROL, control & !VECTOR_MASKED)?;
        }
        Ok(())
    }
}
