//! Device types by number and name. Spec: VIRTIO 1.4 §5 "Device Types".

use core::fmt;

/// A device type. Displays as its short name (`blk`), or as `type 77`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

/// Declares device types as constants of [`DeviceId`], and the table of their names, from one list.
macro_rules! device_ids {
    ($($(#[$meta:meta])* $constant:ident = $id:literal, $name:literal;)*) => {
        impl DeviceId {
            $($(#[$meta])* pub const $constant: Self = Self($id);)*
        }

        const NAMES: &[(DeviceId, &str)] = &[$((DeviceId($id), $name)),*];
    };
}

device_ids! {
    /// A network card (§5.1).
    #[doc(alias = "VIRTIO_ID_NET")]
    NETWORK = 1, "net";
    /// A disk (§5.2).
    #[doc(alias = "VIRTIO_ID_BLOCK")]
    BLOCK = 2, "blk";
    /// A console, with one or many ports (§5.3).
    #[doc(alias = "VIRTIO_ID_CONSOLE")]
    CONSOLE = 3, "console";
    /// A source of random bytes (§5.4).
    #[doc(alias = "VIRTIO_ID_RNG")]
    ENTROPY = 4, "entropy";
    /// The traditional memory balloon (§5.5).
    #[doc(alias = "VIRTIO_ID_BALLOON")]
    BALLOON = 5, "balloon";
    /// ioMemory.
    #[doc(alias = "VIRTIO_ID_IOMEM")]
    IO_MEMORY = 6, "iomem";
    /// Remote processor messaging.
    #[doc(alias = "VIRTIO_ID_RPMSG")]
    RPMSG = 7, "rpmsg";
    /// A SCSI host adapter (§5.6).
    #[doc(alias = "VIRTIO_ID_SCSI")]
    SCSI = 8, "scsi";
    /// A 9P transport.
    #[doc(alias = "VIRTIO_ID_9P")]
    NINE_P = 9, "9p";
    /// A mac80211 wireless network card.
    #[doc(alias = "VIRTIO_ID_MAC80211_WLAN")]
    WLAN = 10, "wlan";
    /// A remote processor's serial port.
    #[doc(alias = "VIRTIO_ID_RPROC_SERIAL")]
    RPROC_SERIAL = 11, "rproc-serial";
    /// A CAIF link.
    #[doc(alias = "VIRTIO_ID_CAIF")]
    CAIF = 12, "caif";
    /// The memory balloon that was to follow [`BALLOON`](Self::BALLOON).
    #[doc(alias = "VIRTIO_ID_MEMORY_BALLOON")]
    MEMORY_BALLOON = 13, "memory-balloon";
    /// A graphics adapter (§5.7).
    #[doc(alias = "VIRTIO_ID_GPU")]
    GPU = 16, "gpu";
    /// A real-time clock (§5.23).
    #[doc(alias = "VIRTIO_ID_CLOCK")]
    RTC = 17, "rtc";
    /// A keyboard, pointer or other input device (§5.8).
    #[doc(alias = "VIRTIO_ID_INPUT")]
    INPUT = 18, "input";
    /// Sockets between driver's and device's side (§5.10).
    #[doc(alias = "VIRTIO_ID_VSOCK")]
    SOCKET = 19, "vsock";
    /// A cryptographic accelerator (§5.9).
    #[doc(alias = "VIRTIO_ID_CRYPTO")]
    CRYPTO = 20, "crypto";
    /// A signal distribution module.
    #[doc(alias = "VIRTIO_ID_SIGNAL_DIST")]
    SIGNAL_DISTRIBUTION = 21, "signal-distribution";
    /// Persistent storage for crash records.
    #[doc(alias = "VIRTIO_ID_PSTORE")]
    PSTORE = 22, "pstore";
    /// An IOMMU (§5.13).
    #[doc(alias = "VIRTIO_ID_IOMMU")]
    IOMMU = 23, "iommu";
    /// Memory that comes and goes (§5.15).
    #[doc(alias = "VIRTIO_ID_MEM")]
    MEMORY = 24, "mem";
    /// A sound card (§5.14).
    #[doc(alias = "VIRTIO_ID_SOUND")]
    SOUND = 25, "sound";
    /// A shared file system (§5.11).
    #[doc(alias = "VIRTIO_ID_FS")]
    FILE_SYSTEM = 26, "fs";
    /// Persistent memory (§5.19).
    #[doc(alias = "VIRTIO_ID_PMEM")]
    PMEM = 27, "pmem";
    /// Replay-protected storage (§5.12).
    #[doc(alias = "VIRTIO_ID_RPMB")]
    RPMB = 28, "rpmb";
    /// A simulated mac80211 radio.
    #[doc(alias = "VIRTIO_ID_MAC80211_HWSIM")]
    WLAN_SIMULATION = 29, "hwsim";
    /// A video encoder.
    #[doc(alias = "VIRTIO_ID_VIDEO_ENCODER")]
    VIDEO_ENCODER = 30, "video-encoder";
    /// A video decoder.
    #[doc(alias = "VIRTIO_ID_VIDEO_DECODER")]
    VIDEO_DECODER = 31, "video-decoder";
    /// A system control and management interface (§5.17).
    #[doc(alias = "VIRTIO_ID_SCMI")]
    SCMI = 32, "scmi";
    /// A Nitro secure module.
    #[doc(alias = "VIRTIO_ID_NITRO_SEC_MOD")]
    NITRO_SECURE_MODULE = 33, "nitro-secure-module";
    /// An I2C adapter (§5.16).
    #[doc(alias = "VIRTIO_ID_I2C_ADAPTER")]
    I2C = 34, "i2c";
    /// A watchdog timer.
    #[doc(alias = "VIRTIO_ID_WATCHDOG")]
    WATCHDOG = 35, "watchdog";
    /// A CAN controller (§5.20).
    #[doc(alias = "VIRTIO_ID_CAN")]
    CAN = 36, "can";
    /// A parameter server.
    #[doc(alias = "VIRTIO_ID_PARAM_SERV")]
    PARAMETER_SERVER = 38, "parameter-server";
    /// An audio policy device.
    #[doc(alias = "VIRTIO_ID_AUDIO_POLICY")]
    AUDIO_POLICY = 39, "audio-policy";
    /// A Bluetooth controller.
    #[doc(alias = "VIRTIO_ID_BT")]
    BLUETOOTH = 40, "bluetooth";
    /// A GPIO controller (§5.18).
    #[doc(alias = "VIRTIO_ID_GPIO")]
    GPIO = 41, "gpio";
    /// A remote direct memory access adapter.
    #[doc(alias = "VIRTIO_ID_RDMA")]
    RDMA = 42, "rdma";
    /// A camera.
    CAMERA = 43, "camera";
    /// Internal shared memory.
    ISM = 44, "ism";
    /// An SPI controller (§5.21).
    #[doc(alias = "VIRTIO_ID_SPI")]
    SPI = 45, "spi";
    /// A trusted execution environment.
    TEE = 46, "tee";
    /// Processors that come and go.
    CPU_BALLOON = 47, "cpu-balloon";
    /// A media device (§5.22).
    MEDIA = 48, "media";
    /// A USB controller.
    USB = 49, "usb";
}

impl DeviceId {
    /// No device: reserved, and what an empty MMIO slot shows (§4.2.2). It has no name.
    pub const INVALID: Self = Self(0);

    /// The type with this short name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(id, _)| *id)
    }

    /// The short, lower-case name of the type, if it has one.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(id, _)| *id == self)
            .map(|(_, name)| *name)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn every_name_leads_back_to_its_one_type() {
        for &(id, name) in NAMES {
            assert_eq!(id.name(), Some(name));
            assert_eq!(DeviceId::from_name(name), Some(id));
            assert_eq!(id.to_string(), name);
        }
    }

    #[test]
    fn the_types_are_those_of_the_specification() {
        let absent = |id: &u32| [0, 14, 15, 37].contains(id);

        for id in 0..=50 {
            assert_eq!(
                DeviceId(id).name().is_none(),
                absent(&id) || id == 50,
                "{id}"
            );
        }
    }

    #[test]
    fn an_unknown_type_shows_its_number() {
        assert_eq!(DeviceId(77).to_string(), "type 77");
        assert_eq!(DeviceId::INVALID.to_string(), "type 0");
        assert_eq!(DeviceId::from_name("type 77"), None);
    }
}
