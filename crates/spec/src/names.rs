//! What each device type calls its feature bits, and which of them need another.
//! Spec: VIRTIO 1.4 §5 "Device Types".
//!
//! A type with a module of its own keeps its tables there; the others are here, so that any device
//! can be inspected.

use crate::features::Features;
use crate::{DeviceId, blk, entropy};

/// Bits by name.
type Names = &'static [(u32, &'static str)];
/// Sets that hold any of the first must hold one of the second.
type Dependencies = &'static [(Features, Features)];

/// Names of the bits that belong to the type, lowest first.
pub(crate) const fn names(id: DeviceId) -> Names {
    match id {
        DeviceId::NETWORK => NET,
        DeviceId::BLOCK => blk::NAMES,
        DeviceId::CONSOLE => &[(0, "SIZE"), (1, "MULTIPORT"), (2, "EMERG_WRITE")],
        DeviceId::ENTROPY => entropy::NAMES,
        DeviceId::BALLOON => BALLOON,
        DeviceId::SCSI => &[(0, "INOUT"), (1, "HOTPLUG"), (2, "CHANGE"), (3, "T10_PI")],
        DeviceId::GPU => GPU,
        DeviceId::RTC => &[(0, "ALARM")],
        DeviceId::SOCKET => &[(0, "STREAM"), (1, "SEQPACKET"), (2, "NO_IMPLIED_STREAM")],
        DeviceId::CRYPTO => CRYPTO,
        DeviceId::IOMMU => IOMMU,
        DeviceId::MEMORY => MEM,
        DeviceId::SOUND => &[(0, "CTLS")],
        DeviceId::FILE_SYSTEM => &[(0, "NOTIFICATION")],
        DeviceId::PMEM => &[(0, "SHMEM_REGION")],
        DeviceId::SCMI => &[(0, "P2A_CHANNELS"), (1, "SHARED_MEMORY")],
        DeviceId::I2C => &[(0, "ZERO_LENGTH_REQUEST")],
        DeviceId::CAN => CAN,
        DeviceId::GPIO => &[(0, "IRQ")],
        _ => &[],
    }
}

/// Dependencies among the bits of the type.
pub(crate) const fn dependencies(id: DeviceId) -> Dependencies {
    match id {
        DeviceId::NETWORK => NET_DEPENDENCIES,
        DeviceId::BLOCK => blk::DEPENDENCIES,
        DeviceId::ENTROPY => entropy::DEPENDENCIES,
        DeviceId::CRYPTO => CRYPTO_DEPENDENCIES,
        DeviceId::CAN => CAN_DEPENDENCIES,
        _ => &[],
    }
}

const NET: Names = &[
    (0, "CSUM"),
    (1, "GUEST_CSUM"),
    (2, "CTRL_GUEST_OFFLOADS"),
    (3, "MTU"),
    (5, "MAC"),
    (6, "GSO"),
    (7, "GUEST_TSO4"),
    (8, "GUEST_TSO6"),
    (9, "GUEST_ECN"),
    (10, "GUEST_UFO"),
    (11, "HOST_TSO4"),
    (12, "HOST_TSO6"),
    (13, "HOST_ECN"),
    (14, "HOST_UFO"),
    (15, "MRG_RXBUF"),
    (16, "STATUS"),
    (17, "CTRL_VQ"),
    (18, "CTRL_RX"),
    (19, "CTRL_VLAN"),
    (20, "CTRL_RX_EXTRA"),
    (21, "GUEST_ANNOUNCE"),
    (22, "MQ"),
    (23, "CTRL_MAC_ADDR"),
    (41, "GUEST_RSC4"),
    (42, "GUEST_RSC6"),
    (50, "DEVICE_STATS"),
    (51, "HASH_TUNNEL"),
    (52, "VQ_NOTF_COAL"),
    (53, "NOTF_COAL"),
    (54, "GUEST_USO4"),
    (55, "GUEST_USO6"),
    (56, "HOST_USO"),
    (57, "HASH_REPORT"),
    (59, "GUEST_HDRLEN"),
    (60, "RSS"),
    (61, "RSC_EXT"),
    (62, "STANDBY"),
    (63, "SPEED_DUPLEX"),
    (64, "RSS_CONTEXT"),
    (65, "GUEST_UDP_TUNNEL_GSO"),
    (66, "GUEST_UDP_TUNNEL_GSO_CSUM"),
    (67, "HOST_UDP_TUNNEL_GSO"),
    (68, "HOST_UDP_TUNNEL_GSO_CSUM"),
    (69, "OUT_NET_HEADER"),
    (70, "IPSEC"),
];

const BALLOON: Names = &[
    (0, "MUST_TELL_HOST"),
    (1, "STATS_VQ"),
    (2, "DEFLATE_ON_OOM"),
    (3, "FREE_PAGE_HINT"),
    (4, "PAGE_POISON"),
    (5, "PAGE_REPORTING"),
];

const GPU: Names = &[
    (0, "VIRGL"),
    (1, "EDID"),
    (2, "RESOURCE_UUID"),
    (3, "RESOURCE_BLOB"),
    (4, "CONTEXT_INIT"),
    (5, "BLOB_ALIGNMENT"),
];

const CRYPTO: Names = &[
    (0, "REVISION_1"),
    (1, "CIPHER_STATELESS_MODE"),
    (2, "HASH_STATELESS_MODE"),
    (3, "MAC_STATELESS_MODE"),
    (4, "AEAD_STATELESS_MODE"),
    (5, "AKCIPHER_STATELESS_MODE"),
];

const IOMMU: Names = &[
    (0, "INPUT_RANGE"),
    (1, "DOMAIN_RANGE"),
    (2, "MAP_UNMAP"),
    (3, "BYPASS"),
    (4, "PROBE"),
    (5, "MMIO"),
    (6, "BYPASS_CONFIG"),
];

const MEM: Names = &[
    (0, "ACPI_PXM"),
    (1, "UNPLUGGED_INACCESSIBLE"),
    (2, "PERSISTENT_SUSPEND"),
];

const CAN: Names = &[
    (0, "CAN_CLASSIC"),
    (1, "CAN_FD"),
    (2, "RTR_FRAMES"),
    (3, "LATE_TX_ACK"),
];

/// Those of the network device (§5.1.3.1).
const NET_DEPENDENCIES: Dependencies = &[
    // GUEST_TSO4, GUEST_TSO6, GUEST_UFO, GUEST_USO4, GUEST_USO6: GUEST_CSUM.
    (set(&[7, 8, 10, 54, 55]), set(&[1])),
    // GUEST_ECN: GUEST_TSO4 or GUEST_TSO6.
    (set(&[9]), set(&[7, 8])),
    // GUEST_UDP_TUNNEL_GSO: GUEST_TSO4, GUEST_TSO6, GUEST_USO4 and GUEST_USO6.
    (set(&[65]), set(&[7])),
    (set(&[65]), set(&[8])),
    (set(&[65]), set(&[54])),
    (set(&[65]), set(&[55])),
    // GUEST_UDP_TUNNEL_GSO_CSUM: GUEST_UDP_TUNNEL_GSO.
    (set(&[66]), set(&[65])),
    // HOST_TSO4, HOST_TSO6, HOST_UFO, HOST_USO: CSUM.
    (set(&[11, 12, 14, 56]), set(&[0])),
    // HOST_ECN, RSC_EXT: HOST_TSO4 or HOST_TSO6.
    (set(&[13, 61]), set(&[11, 12])),
    // HOST_UDP_TUNNEL_GSO: HOST_TSO4, HOST_TSO6 and HOST_USO.
    (set(&[67]), set(&[11])),
    (set(&[67]), set(&[12])),
    (set(&[67]), set(&[56])),
    // HOST_UDP_TUNNEL_GSO_CSUM: HOST_UDP_TUNNEL_GSO.
    (set(&[68]), set(&[67])),
    // CTRL_RX, CTRL_VLAN, GUEST_ANNOUNCE, MQ, CTRL_MAC_ADDR, HASH_TUNNEL, VQ_NOTF_COAL, NOTF_COAL,
    // RSS, RSS_CONTEXT: CTRL_VQ.
    (set(&[18, 19, 21, 22, 23, 51, 52, 53, 60, 64]), set(&[17])),
    // HASH_TUNNEL: RSS or HASH_REPORT.
    (set(&[51]), set(&[57, 60])),
    // RSS_CONTEXT: RSS.
    (set(&[64]), set(&[60])),
];

/// The stateless modes need `REVISION_1` (§5.9.3.1).
const CRYPTO_DEPENDENCIES: Dependencies = &[(set(&[1, 2, 3, 4, 5]), set(&[0]))];

/// `RTR_FRAMES` needs `CAN_CLASSIC` (§5.20.3.1).
const CAN_DEPENDENCIES: Dependencies = &[(set(&[2]), set(&[0]))];

/// The set of some bits.
const fn set(mut bits: &[u32]) -> Features {
    let mut set = Features::NONE;
    while let [bit, rest @ ..] = bits {
        set = set.union(Features::bit(*bit));
        bits = rest;
    }
    set
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
            let names = names(id);

            assert!(names.is_sorted_by(|a, b| a.0 < b.0), "{id}");
            assert!(names.iter().all(|&(bit, _)| is_device_bit(bit)), "{id}");
        }
    }

    #[test]
    fn dependencies_are_between_bits_that_have_names() {
        for id in (0..64).map(DeviceId) {
            let named = names(id)
                .iter()
                .fold(Features::NONE, |set, &(bit, _)| set | Features::bit(bit));

            for &(features, needed) in dependencies(id) {
                assert!(named.contains(features | needed), "{id}");
            }
        }
    }

    #[test]
    fn udp_tunnel_offload_needs_all_of_its_four() {
        let needed = [1, 7, 8, 54, 55];
        let all = set(&needed) | set(&[65]);

        assert_eq!(all.missing_dependency(DeviceId::NETWORK), None);
        for bit in needed {
            let broken = all - Features::bit(bit);
            assert!(
                broken.missing_dependency(DeviceId::NETWORK).is_some(),
                "{bit}"
            );
        }
    }
}
