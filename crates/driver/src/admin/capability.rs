//! What a device can do, and what its driver uses of it. Spec: VIRTIO 1.4 §2.12.1.2 "Device and
//! driver capabilities".

use alloc::vec::Vec;

use ringway_spec::admin::{CapabilityId, ObjectType, PartsCapability};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A capability, as its type defines it.
pub trait Capability: FromBytes + IntoBytes + Immutable {
    /// Which one it is.
    const ID: CapabilityId;

    /// Whether a driver may use so much of it: no limit is larger than that of `offered`, no flag is
    /// set and no entry is there that it has not (§2.12.1.2.5).
    fn is_within(&self, offered: &Self) -> bool;

    /// The kinds of objects that it limits, and how many there may be of each: their numbers are
    /// below (§2.12.1.3). A limit of 0 disables it.
    fn limits(&self) -> Vec<(ObjectType, u32)>;
}

impl Capability for PartsCapability {
    const ID: CapabilityId = CapabilityId::DEV_PARTS;

    fn is_within(&self, offered: &Self) -> bool {
        self.get_parts_resource_objects_limit <= offered.get_parts_resource_objects_limit
            && self.set_parts_resource_objects_limit <= offered.set_parts_resource_objects_limit
    }

    /// Those to get and those to set parts with are of one kind, and have numbers of one range.
    fn limits(&self) -> Vec<(ObjectType, u32)> {
        let [get, set] = [
            self.get_parts_resource_objects_limit,
            self.set_parts_resource_objects_limit,
        ];
        Vec::from([(ObjectType::DEV_PARTS, u32::from(get) + u32::from(set))])
    }
}
