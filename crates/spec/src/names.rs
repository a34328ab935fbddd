//! What each device type calls its feature bits, and which of them need another: where the tables
//! of the types are. Spec: VIRTIO 1.4 §5 "Device Types".

use crate::features::Features;
use crate::{
    DeviceId, balloon, blk, can, console, crypto, entropy, fs, gpio, gpu, i2c, input, iommu, media,
    mem, net, pmem, rpmb, rtc, scmi, scsi, sound, spi, vsock,
};

/// Bits by name.
type Names = &'static [(u32, &'static str)];
/// Sets that hold any of the first must hold one of the second.
type Dependencies = &'static [(Features, Features)];

/// What a device type says of its feature bits.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// Names of the bits that belong to the type, lowest first.
    pub(crate) names: Names,
    /// Dependencies among them.
    pub(crate) dependencies: Dependencies,
    /// The section that defines them.
    section: &'static str,
    /// Those that are for legacy devices, and their section.
    legacy: (Features, &'static str),
}

/// What the type says of its feature bits; nothing, if the specification has no section for it.
pub(crate) const fn table(id: DeviceId) -> Table {
    macro_rules! of {
        ($module:ident, $section:literal) => {
            Table {
                names: $module::NAMES,
                dependencies: $module::DEPENDENCIES,
                section: $section,
                legacy: (Features::NONE, ""),
            }
        };
    }
    match id {
        DeviceId::NETWORK => Table {
            legacy: (
                any(&[net::F::GSO, net::F::GUEST_RSC4, net::F::GUEST_RSC6]),
                "5.1.3.2",
            ),
            ..of!(net, "5.1.3")
        },
        DeviceId::BLOCK => Table {
            legacy: (any(&[blk::F::BARRIER, blk::F::SCSI]), "5.2.3.1"),
            ..of!(blk, "5.2.3")
        },
        DeviceId::CONSOLE => of!(console, "5.3.3"),
        DeviceId::ENTROPY => of!(entropy, "5.4.3"),
        DeviceId::BALLOON => of!(balloon, "5.5.3"),
        DeviceId::SCSI => of!(scsi, "5.6.3"),
        DeviceId::GPU => of!(gpu, "5.7.3"),
        DeviceId::INPUT => of!(input, "5.8.3"),
        DeviceId::CRYPTO => of!(crypto, "5.9.3"),
        DeviceId::SOCKET => of!(vsock, "5.10.3"),
        DeviceId::FILE_SYSTEM => of!(fs, "5.11.3"),
        DeviceId::RPMB => of!(rpmb, "5.12.3"),
        DeviceId::IOMMU => of!(iommu, "5.13.3"),
        DeviceId::SOUND => of!(sound, "5.14.3"),
        DeviceId::MEMORY => of!(mem, "5.15.3"),
        DeviceId::I2C => of!(i2c, "5.16.3"),
        DeviceId::SCMI => of!(scmi, "5.17.3"),
        DeviceId::GPIO => of!(gpio, "5.18.3"),
        DeviceId::PMEM => of!(pmem, "5.19.3"),
        DeviceId::CAN => of!(can, "5.20.3"),
        DeviceId::SPI => of!(spi, "5.21.3"),
        DeviceId::MEDIA => of!(media, "5.22.3"),
        DeviceId::RTC => of!(rtc, "5.23.3"),
        _ => Table {
            names: &[],
            dependencies: &[],
            section: "",
            legacy: (Features::NONE, ""),
        },
    }
}

impl Table {
    /// The section that defines a bit of the type.
    pub(crate) const fn section(&self, bit: u32) -> &'static str {
        let (legacy, section) = self.legacy;
        if legacy.intersects(Features::bit(bit)) {
            section
        } else {
            self.section
        }
    }
}

/// The bits of any of the sets.
pub(crate) const fn any(mut sets: &[Features]) -> Features {
    let mut all = Features::NONE;
    while let [set, rest @ ..] = sets {
        all = all.union(*set);
        sets = rest;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits that §2.2 leaves to device types.
    fn is_device_bit(bit: u32) -> bool {
        matches!(bit, 0..=23 | 41 | 42 | 50..=127)
    }

    #[test]
    fn names_are_in_order_and_on_bits_of_device_types() {
        for id in (0..64).map(DeviceId) {
            let names = table(id).names;

            assert!(names.is_sorted_by(|a, b| a.0 < b.0), "{id}");
            assert!(names.iter().all(|&(bit, _)| is_device_bit(bit)), "{id}");
        }
    }

    #[test]
    fn dependencies_are_between_bits_that_have_names() {
        for id in (0..64).map(DeviceId) {
            let Table {
                names,
                dependencies,
                ..
            } = table(id);
            let named = names
                .iter()
                .fold(Features::NONE, |set, &(bit, _)| set | Features::bit(bit));

            for &(features, needed) in dependencies {
                assert!(named.contains(features | needed), "{id}");
            }
        }
    }

    #[test]
    fn a_type_has_a_section_if_it_has_names() {
        for id in (0..64).map(DeviceId) {
            let Table { names, section, .. } = table(id);

            assert!(names.is_empty() || section.ends_with(".3"), "{id}");
        }
    }

    #[test]
    fn udp_tunnel_offload_needs_all_of_its_four() {
        use net::F;
        let needed = [
            F::GUEST_CSUM,
            F::GUEST_TSO4,
            F::GUEST_TSO6,
            F::GUEST_USO4,
            F::GUEST_USO6,
        ];
        let all = any(&needed) | F::GUEST_UDP_TUNNEL_GSO;

        assert_eq!(all.missing_dependency(DeviceId::NETWORK), None);
        for feature in needed {
            let broken = (all - feature).missing_dependency(DeviceId::NETWORK);
            assert!(broken.is_some(), "{feature:?}");
        }
    }
}
