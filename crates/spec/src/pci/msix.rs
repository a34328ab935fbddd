//! MSI-X: interrupts as writes to memory, each from an entry of a table.
//! Spec: VIRTIO 1.4 §4.1.5.1.2 "MSI-X Vector Configuration".
//!
//! The numbers are those of the PCI Local Bus Specification 3.0, section 6.8.2.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U16, U32};

/// Most vectors that a function may have (§4.1.5.1.2).
pub const MAX_VECTORS: u16 = 0x800;

/// The bits of the control word that are the number of vectors, less one. Read-only.
pub const CONTROL_TABLE_SIZE_MASK: u16 = 0x07ff;
/// The bit of the control word that masks every vector.
pub const CONTROL_FUNCTION_MASK: u16 = 1 << 14;
/// The bit of the control word that puts MSI-X in the place of the interrupt pin.
pub const CONTROL_ENABLE: u16 = 1 << 15;

/// The bits of [`Capability::table`] and [`Capability::pba`] that are the number of a BAR.
pub const BIR_MASK: u32 = 0x7;
/// The bits of [`Capability::table`] and [`Capability::pba`] that are an offset in the BAR.
pub const OFFSET_MASK: u32 = !BIR_MASK;

/// The bit of [`TableEntry::vector_control`] that masks the vector. Set after a reset.
pub const VECTOR_MASKED: u32 = 1 << 0;

/// The capability, in PCI configuration space. Written by the device, but for two bits of
/// `control`; do not trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Capability {
    /// [`CAPABILITY_MSIX`](super::config::CAPABILITY_MSIX).
    pub id: u8,
    /// Offset of the next capability in PCI configuration space, 0 at the end.
    pub next: u8,
    /// The control word.
    pub control: U16,
    /// Where the table is: BAR and offset. One [`TableEntry`] for each vector.
    pub table: U32,
    /// Where the pending bits are: BAR and offset. One bit for each vector, in 64-bit words.
    pub pba: U32,
}

layout!(Capability: 12 { id = 0, next = 1, control = 2, table = 4, pba = 8 });

/// One vector: what to write, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TableEntry {
    /// Address to write to, low half; a multiple of 4.
    pub address_low: U32,
    /// Address to write to, high half.
    pub address_high: U32,
    /// What to write.
    pub data: U32,
    /// [`VECTOR_MASKED`], or not.
    pub vector_control: U32,
}

layout!(TableEntry: 16 { address_low = 0, address_high = 4, data = 8, vector_control = 12 });

/// Bytes of a table of `vectors` entries.
pub const fn table_bytes(vectors: u16) -> usize {
    vectors as usize * size_of::<TableEntry>()
}

/// Bytes of the pending bits of `vectors` vectors.
pub const fn pba_bytes(vectors: u16) -> usize {
    vectors.div_ceil(64) as usize * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_bits_come_in_words_of_64() {
        assert_eq!(pba_bytes(0), 0);
        assert_eq!(pba_bytes(1), 8);
        assert_eq!(pba_bytes(64), 8);
        assert_eq!(pba_bytes(65), 16);
        assert_eq!(pba_bytes(MAX_VECTORS), 256);
    }

    #[test]
    fn a_table_has_one_entry_for_each_vector() {
        assert_eq!(table_bytes(3), 48);
    }
}
