//! The common configuration structure: a device's registers for bring-up.
//! Spec: VIRTIO 1.4 §4.1.4.3 "Common configuration structure layout".
//!
//! Both ends reach the registers by their offsets, each with accesses of its own width; 64-bit ones
//! by halves (§4.1.3.1).

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U16, U32, U64};

/// The common configuration structure. Registers marked *R* are read-only for the driver.
#[doc(alias = "virtio_pci_common_cfg")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CommonConfig {
    /// Which 32 features `device_feature` shows.
    pub device_feature_select: U32,
    /// R: the chosen 32 of the offered features.
    pub device_feature: U32,
    /// Which 32 features `driver_feature` takes.
    pub driver_feature_select: U32,
    /// The chosen 32 of the accepted features.
    pub driver_feature: U32,
    /// MSI-X vector for configuration changes, or [`NO_VECTOR`](super::NO_VECTOR).
    pub config_msix_vector: U16,
    /// R: number of queues, without those for administration.
    pub num_queues: U16,
    /// The device status, a [`Status`](crate::Status). Writing 0 resets the device.
    pub device_status: u8,
    /// R: the same value before and after a read of configuration space that saw it whole
    /// (§2.5.1).
    pub config_generation: u8,
    /// Index of the queue that the following registers speak of.
    pub queue_select: U16,
    /// Size of the queue: after a reset, the largest it may have; 0 if there is no such queue.
    pub queue_size: U16,
    /// MSI-X vector for the queue, or [`NO_VECTOR`](super::NO_VECTOR).
    pub queue_msix_vector: U16,
    /// 1 if the device may use the queue. Only a reset makes it 0 again.
    pub queue_enable: U16,
    /// R: where to notify of the queue; see [`NotifyCapability`](super::NotifyCapability).
    pub queue_notify_off: U16,
    /// Address of the queue's descriptor area.
    pub queue_desc: U64,
    /// Address of the queue's driver area.
    pub queue_driver: U64,
    /// Address of the queue's device area.
    pub queue_device: U64,
    /// R: what to write in notifications for the queue's index. Exists with
    /// [`F::NOTIF_CONFIG_DATA`](crate::F::NOTIF_CONFIG_DATA).
    pub queue_notif_config_data: U16,
    /// Writing 1 resets the queue; 0 is read once it is done. Exists with
    /// [`F::RING_RESET`](crate::F::RING_RESET).
    pub queue_reset: U16,
    /// R: index of the first administration queue. Exists with
    /// [`F::ADMIN_VQ`](crate::F::ADMIN_VQ).
    pub admin_queue_index: U16,
    /// R: number of administration queues. Exists with [`F::ADMIN_VQ`](crate::F::ADMIN_VQ).
    pub admin_queue_num: U16,
}

layout!(CommonConfig: 64 {
    device_feature_select = 0, device_feature = 4, driver_feature_select = 8, driver_feature = 12,
    config_msix_vector = 16, num_queues = 18, device_status = 20, config_generation = 21,
    queue_select = 22, queue_size = 24, queue_msix_vector = 26, queue_enable = 28,
    queue_notify_off = 30, queue_desc = 32, queue_driver = 40, queue_device = 48,
    queue_notif_config_data = 56, queue_reset = 58, admin_queue_index = 60, admin_queue_num = 62,
});

/// Bytes that every device has: up to the first register that exists only with a feature.
pub const MIN_LENGTH: usize = QUEUE_NOTIF_CONFIG_DATA;

/// Offset of [`CommonConfig::device_feature_select`], 32 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_DFSELECT")]
pub const DEVICE_FEATURE_SELECT: usize = offset_of!(CommonConfig, device_feature_select);
/// Offset of [`CommonConfig::device_feature`], 32 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_DF")]
pub const DEVICE_FEATURE: usize = offset_of!(CommonConfig, device_feature);
/// Offset of [`CommonConfig::driver_feature_select`], 32 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_GFSELECT")]
pub const DRIVER_FEATURE_SELECT: usize = offset_of!(CommonConfig, driver_feature_select);
/// Offset of [`CommonConfig::driver_feature`], 32 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_GF")]
pub const DRIVER_FEATURE: usize = offset_of!(CommonConfig, driver_feature);
/// Offset of [`CommonConfig::config_msix_vector`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_MSIX")]
pub const CONFIG_MSIX_VECTOR: usize = offset_of!(CommonConfig, config_msix_vector);
/// Offset of [`CommonConfig::num_queues`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_NUMQ")]
pub const NUM_QUEUES: usize = offset_of!(CommonConfig, num_queues);
/// Offset of [`CommonConfig::device_status`], 8 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_STATUS")]
pub const DEVICE_STATUS: usize = offset_of!(CommonConfig, device_status);
/// Offset of [`CommonConfig::config_generation`], 8 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_CFGGENERATION")]
pub const CONFIG_GENERATION: usize = offset_of!(CommonConfig, config_generation);
/// Offset of [`CommonConfig::queue_select`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_SELECT")]
pub const QUEUE_SELECT: usize = offset_of!(CommonConfig, queue_select);
/// Offset of [`CommonConfig::queue_size`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_SIZE")]
pub const QUEUE_SIZE: usize = offset_of!(CommonConfig, queue_size);
/// Offset of [`CommonConfig::queue_msix_vector`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_MSIX")]
pub const QUEUE_MSIX_VECTOR: usize = offset_of!(CommonConfig, queue_msix_vector);
/// Offset of [`CommonConfig::queue_enable`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_ENABLE")]
pub const QUEUE_ENABLE: usize = offset_of!(CommonConfig, queue_enable);
/// Offset of [`CommonConfig::queue_notify_off`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_NOFF")]
pub const QUEUE_NOTIFY_OFF: usize = offset_of!(CommonConfig, queue_notify_off);
/// Offset of [`CommonConfig::queue_desc`], 64 bits: its low half, and 4 bytes on its high half.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_DESCLO")]
pub const QUEUE_DESC: usize = offset_of!(CommonConfig, queue_desc);
/// Offset of [`CommonConfig::queue_driver`], 64 bits: its low half, and 4 bytes on its high half.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_AVAILLO")]
pub const QUEUE_DRIVER: usize = offset_of!(CommonConfig, queue_driver);
/// Offset of [`CommonConfig::queue_device`], 64 bits: its low half, and 4 bytes on its high half.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_USEDLO")]
pub const QUEUE_DEVICE: usize = offset_of!(CommonConfig, queue_device);
/// Offset of [`CommonConfig::queue_notif_config_data`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_NDATA")]
pub const QUEUE_NOTIF_CONFIG_DATA: usize = offset_of!(CommonConfig, queue_notif_config_data);
/// Offset of [`CommonConfig::queue_reset`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_Q_RESET")]
pub const QUEUE_RESET: usize = offset_of!(CommonConfig, queue_reset);
/// Offset of [`CommonConfig::admin_queue_index`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_ADM_Q_IDX")]
pub const ADMIN_QUEUE_INDEX: usize = offset_of!(CommonConfig, admin_queue_index);
/// Offset of [`CommonConfig::admin_queue_num`], 16 bits.
#[doc(alias = "VIRTIO_PCI_COMMON_ADM_Q_NUM")]
pub const ADMIN_QUEUE_NUM: usize = offset_of!(CommonConfig, admin_queue_num);
