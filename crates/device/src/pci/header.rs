//! The header of a device from before version 1, in I/O ports: which register is where, and how
//! wide. It moves its configuration space when messages are enabled or disabled.
//!
//! Spec: VIRTIO 1.4 §4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout".

use core::ops::Range;

use ringway_spec::pci::legacy::{self, Msix};

use crate::front::{LegacyRegister, Register};

/// What a place in the header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// One that every legacy transport has.
    Front(LegacyRegister),
    /// One that both interfaces have.
    Common(Register),
    QueueNotify,
    IsrStatus,
    ConfigVector,
    QueueVector,
    /// So far into the configuration space of the device's type.
    Config(usize),
}

/// Where the header's registers are, and how many bytes each has: those that are there with messages
/// enabled come last.
const EXTENTS: [(usize, usize); 10] = [
    (legacy::DEVICE_FEATURES, 4),
    (legacy::DRIVER_FEATURES, 4),
    (legacy::QUEUE_ADDRESS, 4),
    (legacy::QUEUE_SIZE, 2),
    (legacy::QUEUE_SELECT, 2),
    (legacy::QUEUE_NOTIFY, 2),
    (legacy::DEVICE_STATUS, 1),
    (legacy::ISR_STATUS, 1),
    (legacy::CONFIG_MSIX_VECTOR, 2),
    (legacy::QUEUE_MSIX_VECTOR, 2),
];

/// The bytes of the register that has the byte at `offset`, if the header has it.
pub(super) fn extent(offset: usize, msix: Msix) -> Option<Range<usize>> {
    let registers = EXTENTS.iter().map(|(at, len)| *at..at.saturating_add(*len));
    registers
        .filter(|register| register.end <= legacy::config(msix))
        .find(|register| register.contains(&offset))
}

/// The field that an access of `len` bytes at `offset` reaches: each of the header's with its own
/// width, what follows with any.
pub(super) fn field(offset: usize, len: usize, msix: Msix) -> Option<Field> {
    use LegacyRegister as R;
    if let Some(offset) = offset.checked_sub(legacy::config(msix)) {
        return Some(Field::Config(offset));
    }
    let field = match (offset, len) {
        (legacy::DEVICE_FEATURES, 4) => Field::Front(R::DeviceFeatures),
        (legacy::DRIVER_FEATURES, 4) => Field::Front(R::DriverFeatures),
        (legacy::QUEUE_ADDRESS, 4) => Field::Front(R::QueuePage),
        (legacy::QUEUE_SIZE, 2) => Field::Front(R::QueueSizeMax),
        (legacy::QUEUE_SELECT, 2) => Field::Common(Register::QueueSelect),
        (legacy::QUEUE_NOTIFY, 2) => Field::QueueNotify,
        (legacy::DEVICE_STATUS, 1) => Field::Front(R::Status),
        (legacy::ISR_STATUS, 1) => Field::IsrStatus,
        // With messages disabled, configuration space is here.
        (legacy::CONFIG_MSIX_VECTOR, 2) => Field::ConfigVector,
        (legacy::QUEUE_MSIX_VECTOR, 2) => Field::QueueVector,
        _ => return None,
    };
    Some(field)
}
