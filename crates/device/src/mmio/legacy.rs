//! The registers of a window of version 1: queues are told by the number of a page, whose size the
//! driver says.
//!
//! Spec: VIRTIO 1.4 §4.2.4 "Legacy interface".

use ringway_spec::mmio::{legacy_register, register};

use crate::front::{Front, Interrupts, LegacyRegister, Register};

/// Reads a register that a window of version 1 does not have in common with those of version 2.
/// None if it has no such register.
pub(super) fn read<I: Interrupts>(front: &Front<I>, offset: usize) -> Option<u32> {
    let found = match offset {
        // There is no second word of features, nor another.
        register::DEVICE_FEATURES if front.read(Register::DeviceFeatureSelect) != 0 => {
            return Some(0);
        }
        register::DEVICE_FEATURES => LegacyRegister::DeviceFeatures,
        register::QUEUE_SIZE_MAX => LegacyRegister::QueueSizeMax,
        legacy_register::QUEUE_PFN => LegacyRegister::QueuePage,
        register::STATUS => LegacyRegister::Status,
        _ => return None,
    };
    Some(front.read_legacy(found))
}

/// Writes such a register. What is none is ignored.
pub(super) fn write<I: Interrupts>(front: &Front<I>, offset: usize, value: u32) {
    let common = match offset {
        register::DEVICE_FEATURES_SEL => Register::DeviceFeatureSelect,
        register::DRIVER_FEATURES_SEL => Register::DriverFeatureSelect,
        register::QUEUE_SEL => Register::QueueSelect,
        _ => return write_own(front, offset, value),
    };
    front.write(common, value);
}

fn write_own<I: Interrupts>(front: &Front<I>, offset: usize, value: u32) {
    let found = match offset {
        register::DRIVER_FEATURES if front.read(Register::DriverFeatureSelect) != 0 => return,
        register::DRIVER_FEATURES => LegacyRegister::DriverFeatures,
        legacy_register::GUEST_PAGE_SIZE => LegacyRegister::PageSize,
        register::QUEUE_SIZE => LegacyRegister::QueueSize,
        legacy_register::QUEUE_ALIGN => LegacyRegister::QueueAlign,
        legacy_register::QUEUE_PFN => LegacyRegister::QueuePage,
        register::STATUS => LegacyRegister::Status,
        _ => return,
    };
    front.write_legacy(found, value);
}
