//! The common configuration structure: which register is where, and how wide.
//!
//! Spec: VIRTIO 1.4 §4.1.4.3 "Common configuration structure layout".

use ringway_spec::pci::common;

use crate::front::{Area, Half, Register};

/// What a place in the structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// One that every transport has.
    Front(Register),
    NumQueues,
    ConfigVector,
    QueueVector,
    QueueNotifyOff,
    /// Exists with `NOTIF_CONFIG_DATA`.
    QueueNotifyData,
    /// These two exist with `ADMIN_VQ`.
    AdminQueueIndex,
    AdminQueueNum,
}

/// The field that an access of `len` bytes at `offset` reaches: each with its own width, addresses
/// by halves (§4.1.3.1). Fields of features that are not offered are none.
pub(super) fn field(offset: usize, len: usize) -> Option<Field> {
    use Register as R;
    let area = |area, at: usize| {
        let half = match offset.checked_sub(at)? {
            0 => Half::Low,
            4 => Half::High,
            _ => return None,
        };
        Some(Field::Front(R::Area(area, half)))
    };
    let field = match (offset, len) {
        (common::DEVICE_FEATURE_SELECT, 4) => Field::Front(R::DeviceFeatureSelect),
        (common::DEVICE_FEATURE, 4) => Field::Front(R::DeviceFeature),
        (common::DRIVER_FEATURE_SELECT, 4) => Field::Front(R::DriverFeatureSelect),
        (common::DRIVER_FEATURE, 4) => Field::Front(R::DriverFeature),
        (common::CONFIG_MSIX_VECTOR, 2) => Field::ConfigVector,
        (common::NUM_QUEUES, 2) => Field::NumQueues,
        (common::DEVICE_STATUS, 1) => Field::Front(R::Status),
        (common::CONFIG_GENERATION, 1) => Field::Front(R::Generation),
        (common::QUEUE_SELECT, 2) => Field::Front(R::QueueSelect),
        (common::QUEUE_SIZE, 2) => Field::Front(R::QueueSize),
        (common::QUEUE_MSIX_VECTOR, 2) => Field::QueueVector,
        (common::QUEUE_ENABLE, 2) => Field::Front(R::QueueEnable),
        (common::QUEUE_RESET, 2) => Field::Front(R::QueueReset),
        (common::QUEUE_NOTIFY_OFF, 2) => Field::QueueNotifyOff,
        (common::QUEUE_NOTIF_CONFIG_DATA, 2) => Field::QueueNotifyData,
        (common::ADMIN_QUEUE_INDEX, 2) => Field::AdminQueueIndex,
        (common::ADMIN_QUEUE_NUM, 2) => Field::AdminQueueNum,
        (common::QUEUE_DESC..common::QUEUE_DRIVER, 4) => {
            return area(Area::Descriptor, common::QUEUE_DESC);
        }
        (common::QUEUE_DRIVER..common::QUEUE_DEVICE, 4) => {
            return area(Area::Driver, common::QUEUE_DRIVER);
        }
        (common::QUEUE_DEVICE..common::QUEUE_NOTIF_CONFIG_DATA, 4) => {
            return area(Area::Device, common::QUEUE_DEVICE);
        }
        _ => return None,
    };
    Some(field)
}
