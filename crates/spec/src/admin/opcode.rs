//! What commands there are, and sets of them. Spec: VIRTIO 1.4 §2.12.1 "Group administration
//! commands".

use core::fmt;

use crate::le::U64;

codes! {
    /// What a command asks for (§2.12.1). Open set; those from 0x8000 on may look different.
    ///
    /// QUERY and MODIFY have the numbers of the table in §2.12.1: the text of §2.12.1.3 gives each
    /// the other's.
    struct Opcode;

    /// Which commands there are for the group: the device writes an array of 64-bit words, a bit
    /// for each.
    LIST_QUERY = 0x00, "VIRTIO_ADMIN_CMD_LIST_QUERY";
    /// Which of them the driver is going to use: it sends such an array.
    LIST_USE = 0x01, "VIRTIO_ADMIN_CMD_LIST_USE";
    /// Write a register of a member's legacy header, as if through it: a
    /// [`LegacyWrite`](super::LegacyWrite).
    LEGACY_COMMON_CFG_WRITE = 0x02, "VIRTIO_ADMIN_CMD_LEGACY_COMMON_CFG_WRITE";
    /// Read one: a [`LegacyRead`](super::LegacyRead).
    LEGACY_COMMON_CFG_READ = 0x03, "VIRTIO_ADMIN_CMD_LEGACY_COMMON_CFG_READ";
    /// Write a member's configuration space as a legacy driver does: a
    /// [`LegacyWrite`](super::LegacyWrite).
    LEGACY_DEV_CFG_WRITE = 0x04, "VIRTIO_ADMIN_CMD_LEGACY_DEV_CFG_WRITE";
    /// Read it: a [`LegacyRead`](super::LegacyRead).
    LEGACY_DEV_CFG_READ = 0x05, "VIRTIO_ADMIN_CMD_LEGACY_DEV_CFG_READ";
    /// Where a legacy driver's notifications can be written: the device writes a
    /// [`NotifyInfoResult`](super::NotifyInfoResult).
    LEGACY_NOTIFY_INFO = 0x06, "VIRTIO_ADMIN_CMD_LEGACY_NOTIFY_INFO";
    /// Which capabilities the device has: it writes an array of 64-bit words, a bit for each.
    CAP_ID_LIST_QUERY = 0x07, "VIRTIO_ADMIN_CMD_CAP_ID_LIST_QUERY";
    /// What a capability of the device is: a [`CapabilityHeader`](super::CapabilityHeader).
    DEVICE_CAP_GET = 0x08, "VIRTIO_ADMIN_CMD_DEVICE_CAP_GET";
    /// What the driver is going to use of it: a [`CapabilityHeader`](super::CapabilityHeader), and
    /// the capability.
    DRIVER_CAP_SET = 0x09, "VIRTIO_ADMIN_CMD_DRIVER_CAP_SET";
    /// Make an object: an [`ObjectCommand`](super::ObjectCommand), and the object.
    RESOURCE_OBJ_CREATE = 0x0a, "VIRTIO_ADMIN_CMD_RESOURCE_OBJ_CREATE";
    /// What an object is: an [`ObjectCommand`](super::ObjectCommand).
    RESOURCE_OBJ_QUERY = 0x0b, "VIRTIO_ADMIN_CMD_RESOURCE_OBJ_QUERY";
    /// Change an object: an [`ObjectCommand`](super::ObjectCommand), and the object.
    RESOURCE_OBJ_MODIFY = 0x0c, "VIRTIO_ADMIN_CMD_RESOURCE_OBJ_MODIFY";
    /// End an object: an [`ObjectHeader`](super::ObjectHeader).
    RESOURCE_OBJ_DESTROY = 0x0d, "VIRTIO_ADMIN_CMD_RESOURCE_OBJ_DESTROY";
    /// Which parts a member has: a [`PartsMetadata`](super::PartsMetadata).
    DEV_PARTS_METADATA_GET = 0x0e, "VIRTIO_ADMIN_CMD_DEV_PARTS_METADATA_GET";
    /// What is in them: a [`PartsGet`](super::PartsGet).
    DEV_PARTS_GET = 0x0f, "VIRTIO_ADMIN_CMD_DEV_PARTS_GET";
    /// What is to be in them: an [`ObjectHeader`](super::ObjectHeader), and the parts.
    DEV_PARTS_SET = 0x10, "VIRTIO_ADMIN_CMD_DEV_PARTS_SET";
    /// Stop a member, or let it go on: a [`ModeSet`](super::ModeSet).
    DEV_MODE_SET = 0x11, "VIRTIO_ADMIN_CMD_DEV_MODE_SET";
}

/// A set of opcodes: of those below 64, which all are that have a name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Opcodes(pub u64);

impl Opcodes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that can be used before the driver has said anything (§2.12.1).
    pub const LISTS: Self = Self::of(&[Opcode::LIST_QUERY, Opcode::LIST_USE]);
    /// Those for capabilities, which are for [`GroupType::SELF`](super::GroupType::SELF) alone
    /// (§2.12.1.2).
    pub const CAPABILITIES: Self = Self::of(&[
        Opcode::CAP_ID_LIST_QUERY,
        Opcode::DEVICE_CAP_GET,
        Opcode::DRIVER_CAP_SET,
    ]);
    /// Those for resource objects (§2.12.1.3).
    pub const OBJECTS: Self = Self::of(&[
        Opcode::RESOURCE_OBJ_CREATE,
        Opcode::RESOURCE_OBJ_QUERY,
        Opcode::RESOURCE_OBJ_MODIFY,
        Opcode::RESOURCE_OBJ_DESTROY,
    ]);
    /// Those for device parts, beside [`OBJECTS`](Self::OBJECTS) (§2.12.1.4).
    pub const PARTS: Self = Self::of(&[
        Opcode::DEV_PARTS_METADATA_GET,
        Opcode::DEV_PARTS_GET,
        Opcode::DEV_PARTS_SET,
        Opcode::DEV_MODE_SET,
    ]);
    /// Those for a member's legacy interface, without
    /// [`LEGACY_NOTIFY_INFO`](Opcode::LEGACY_NOTIFY_INFO) (§2.12.1.1).
    pub const LEGACY: Self = Self::of(&[
        Opcode::LEGACY_COMMON_CFG_WRITE,
        Opcode::LEGACY_COMMON_CFG_READ,
        Opcode::LEGACY_DEV_CFG_WRITE,
        Opcode::LEGACY_DEV_CFG_READ,
    ]);

    /// The set of these. Those from 64 on are left out.
    pub const fn of(opcodes: &[Opcode]) -> Self {
        let (mut bits, mut rest) = (0, opcodes);
        while let [opcode, more @ ..] = rest {
            bits |= bit(*opcode);
            rest = more;
        }
        Self(bits)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `opcode` is one of them.
    pub const fn has(self, opcode: Opcode) -> bool {
        self.0 & bit(opcode) != 0
    }

    /// Whether all of `others` are.
    pub const fn contains(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// These and `others`.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that `others` has, too.
    #[must_use]
    pub const fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that `others` has not.
    #[must_use]
    pub const fn difference(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Each of them, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Opcode> + Clone {
        let numbers = (0..64_u16).map(Opcode::from_u16);
        numbers.filter(move |&opcode| self.has(opcode))
    }

    /// The array of words that says so: as long as need be.
    pub const fn to_words(self) -> [U64; 1] {
        [U64::new(self.0)]
    }
}

/// The bit of an opcode; none of those from 64 on.
const fn bit(opcode: Opcode) -> u64 {
    let number = opcode.to_u16();
    if number < 64 { 1 << number } else { 0 }
}

impl fmt::Debug for Opcodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .iter()
            .map(|opcode| fmt::from_fn(move |f| fmt::Display::fmt(&opcode, f)));
        f.debug_set().entries(names).finish()
    }
}
