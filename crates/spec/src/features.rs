//! Feature bits: the set, its names and its dependencies.
//! Spec: VIRTIO 1.4 §2.2 "Feature Bits", §6 "Reserved Feature Bits".

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Sub};

use crate::{DeviceId, names};

/// A set of feature bits, 0 to 127.
///
/// Transports show it through a window of 32 bits; see [`word`](Self::word).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u128);

impl Features {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The bits that are for a device type to define (§2.2).
    pub const OF_DEVICE_TYPES: Self = Self(0x00ff_ffff | 1 << 42 | u128::MAX << 50);

    /// The set of one bit; the empty set for a `number` above 127, where none are defined (§2.2).
    pub const fn bit(number: u32) -> Self {
        match 1u128.checked_shl(number) {
            Some(bit) => Self(bit),
            None => Self::NONE,
        }
    }

    /// This set with bits `32 * select` to `32 * select + 31` replaced by those of `word`;
    /// unchanged if `select` is above 3.
    #[must_use]
    pub const fn with_word(self, select: u32, word: u32) -> Self {
        if select > 3 {
            return self;
        }
        let shift = 32 * select;
        Self(self.0 & !((u32::MAX as u128) << shift) | (word as u128) << shift)
    }

    /// Bits `32 * select` to `32 * select + 31`; 0 if `select` is above 3.
    pub const fn word(self, select: u32) -> u32 {
        if select > 3 {
            return 0;
        }
        (self.0 >> (32 * select)) as u32
    }

    /// Whether every bit of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is in this set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The bits of this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers of the bits that are set, lowest first.
    pub fn bits(self) -> impl Iterator<Item = u32> + Clone {
        (0..u128::BITS).filter(move |&number| self.intersects(Self::bit(number)))
    }

    /// The names of the bits that are set, lowest first, as a device of type `id` means them.
    pub fn names(self, id: DeviceId) -> impl Iterator<Item = Name> + Clone {
        let table = names::table(id);
        // Legacy network devices gave bits 41 and 42 a meaning of their own before they became
        // common property.
        let common_first = self.contains(F::VERSION_1);
        self.bits().map(move |bit| {
            let common = named(CORE_NAMES, bit).map(|name| (name, core_section(bit)));
            let own = named(table.names, bit).map(|name| (name, table.section(bit)));
            Name {
                bit,
                known: if common_first {
                    common.or(own)
                } else {
                    own.or(common)
                },
            }
        })
    }

    /// The first dependency that this set breaks, for a device of type `id`: features in the set,
    /// and those of which it would need at least one more. A driver must not accept such a set
    /// (§2.2.1), nor a device offer it (§2.2.2).
    pub fn missing_dependency(self, id: DeviceId) -> Option<(Self, Self)> {
        names::table(id)
            .dependencies
            .iter()
            .map(|&(features, needed)| (self & features, needed))
            .find(|&(present, needed)| !present.is_empty() && !self.intersects(needed))
    }
}

impl BitOr for Features {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Features {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for Features {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl Sub for Features {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.difference(other)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({:#x})", self.0)
    }
}

/// A feature bit by name. Displays as the name without its prefix (`VERSION_1`, `FLUSH`), or as
/// `BIT_77`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    bit: u32,
    /// The name, and the section that defines it.
    known: Option<(&'static str, &'static str)>,
}

impl Name {
    /// The bit's number.
    pub const fn bit(self) -> u32 {
        self.bit
    }

    /// The bit's name, if it has one.
    pub const fn known(self) -> Option<&'static str> {
        match self.known {
            Some((name, _)) => Some(name),
            None => None,
        }
    }

    /// The number of the section that defines the bit (`5.2.3`), if it has a name.
    pub const fn section(self) -> Option<&'static str> {
        match self.known {
            Some((_, section)) => Some(section),
            None => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(name) => f.write_str(name),
            None => write!(f, "BIT_{}", self.bit),
        }
    }
}

/// The name of a bit in a table of them.
fn named(names: &[(u32, &'static str)], bit: u32) -> Option<&'static str> {
    let found = names.iter().find(|(number, _)| *number == bit)?;
    Some(found.1)
}

/// The section that defines a bit of [`F`].
fn core_section(bit: u32) -> &'static str {
    let legacy = F::NOTIFY_ON_EMPTY | F::ANY_LAYOUT | F::UNUSED;
    if legacy.contains(Features::bit(bit)) {
        "6.3"
    } else {
        "6"
    }
}

features! {
    /// Feature bits that mean the same for every device type (§6). `VIRTIO_F_VERSION_1` is spelled
    /// `F::VERSION_1`.
    struct F;
    /// The bits of [`F`] by name, without their prefix.
    const CORE_NAMES;

    /// The device interrupts when it has run out of chains, even if asked not to (§6.3). Legacy
    /// only.
    NOTIFY_ON_EMPTY = 24, "VIRTIO_F_NOTIFY_ON_EMPTY";
    /// The device accepts any division of a request into descriptors (§6.3). Legacy only.
    ANY_LAYOUT = 27, "VIRTIO_F_ANY_LAYOUT";
    /// A chain may go on in a table of its own (§2.7.5.3).
    INDIRECT_DESC = 28, "VIRTIO_F_INDIRECT_DESC";
    /// Each side says at which index it wants the next notification (§2.7.7, §2.7.10).
    EVENT_IDX = 29, "VIRTIO_F_EVENT_IDX";
    /// Offered by some devices to catch drivers that accept everything (§6.3). Never accept it.
    /// Legacy only.
    UNUSED = 30, "VIRTIO_F_BAD_FEATURE";
    /// The device follows the specification, version 1 or later; without it, it is a legacy device.
    VERSION_1 = 32, "VIRTIO_F_VERSION_1";
    /// Device addresses are the platform's to give out; without it, they are physical addresses.
    ACCESS_PLATFORM = 33, "VIRTIO_F_ACCESS_PLATFORM";
    /// Queues have the packed layout (§2.8).
    RING_PACKED = 34, "VIRTIO_F_RING_PACKED";
    /// Buffers are used in the order in which they were made available (§2.7.9, §2.8.8).
    IN_ORDER = 35, "VIRTIO_F_IN_ORDER";
    /// Memory needs the barriers that the platform has for devices; without it, those between
    /// processors do.
    ORDER_PLATFORM = 36, "VIRTIO_F_ORDER_PLATFORM";
    /// The device has SR-IOV virtual functions. PCI only.
    SR_IOV = 37, "VIRTIO_F_SR_IOV";
    /// Available buffer notifications also say how far the ring has come (§2.9).
    NOTIFICATION_DATA = 38, "VIRTIO_F_NOTIFICATION_DATA";
    /// Available buffer notifications name the queue by a value of the device's choice (§4.1.5.2).
    /// PCI only.
    NOTIF_CONFIG_DATA = 39, "VIRTIO_F_NOTIF_CONFIG_DATA";
    /// Queues can be reset one by one (§2.6.1).
    RING_RESET = 40, "VIRTIO_F_RING_RESET";
    /// The device has administration virtqueues (§2.13). PCI only.
    ADMIN_VQ = 41, "VIRTIO_F_ADMIN_VQ";
    /// The driver can suspend the device (§3.4).
    SUSPEND = 43, "VIRTIO_F_SUSPEND";
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::blk;

    fn names(features: Features, id: DeviceId) -> Vec<std::string::String> {
        features.names(id).map(|name| name.to_string()).collect()
    }

    #[test]
    fn four_words_carry_the_whole_set() {
        let features = Features(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

        let rebuilt = (0..4).fold(Features::NONE, |set, select| {
            set.with_word(select, features.word(select))
        });

        assert_eq!(features.word(1), 0x0011_2233);
        assert_eq!(rebuilt, features);
    }

    #[test]
    fn a_word_replaces_only_its_own_window() {
        let all = Features(u128::MAX);

        let holed = all.with_word(2, 0x0000_0001);

        assert_eq!(holed.word(2), 1);
        assert_eq!(holed | Features(0xffff_ffff << 64), all);
    }

    #[test]
    fn words_beyond_the_fourth_read_zero_and_ignore_writes() {
        let all = Features(u128::MAX);

        for select in [4, 5, u32::MAX] {
            assert_eq!(all.word(select), 0);
            assert_eq!(Features::NONE.with_word(select, u32::MAX), Features::NONE);
        }
    }

    #[test]
    fn bits_beyond_the_last_are_no_bits() {
        assert_eq!(Features::bit(127).bits().collect::<Vec<_>>(), [127]);
        assert!(Features::bit(128).is_empty());
        assert!(Features::bit(u32::MAX).is_empty());
    }

    #[test]
    fn sets_combine_as_sets_do() {
        let [a, b, c] = [0, 64, 127].map(Features::bit);
        let mut grown = a;

        grown |= b;

        assert_eq!(grown, a | b);
        assert_eq!((grown | c) & (b | c), b | c);
        assert_eq!(grown - a, b);
        assert!(grown.contains(a) && !grown.contains(a | c));
        assert!(grown.intersects(a | c) && !grown.intersects(c));
        assert!(grown.contains(Features::NONE) && !grown.intersects(Features::NONE));
    }

    #[test]
    fn names_are_those_of_the_device_type() {
        let features = F::VERSION_1 | Features::bit(9) | Features::bit(77);

        assert_eq!(
            names(features, DeviceId::BLOCK),
            ["FLUSH", "VERSION_1", "BIT_77"]
        );
        assert_eq!(
            names(features, DeviceId::NETWORK),
            ["GUEST_ECN", "VERSION_1", "BIT_77"]
        );
        assert_eq!(
            names(features, DeviceId(4000)),
            ["BIT_9", "VERSION_1", "BIT_77"]
        );
    }

    #[test]
    fn bit_41_is_the_network_device_s_own_only_without_version_1() {
        let bit = Features::bit(41);

        assert_eq!(names(bit, DeviceId::NETWORK), ["GUEST_RSC4"]);
        assert_eq!(
            names(bit | F::VERSION_1, DeviceId::NETWORK),
            ["VERSION_1", "ADMIN_VQ"]
        );
    }

    #[test]
    fn a_name_also_tells_its_number() {
        let name = (blk::F::RO).names(DeviceId::BLOCK).next().unwrap();

        assert_eq!((name.bit(), name.known()), (5, Some("RO")));
    }

    #[test]
    fn a_name_leads_to_the_section_that_defines_it() {
        let section = |features: Features, id| features.names(id).map(Name::section).next();

        for (features, id, expected) in [
            (blk::F::RO, DeviceId::BLOCK, Some("5.2.3")),
            (blk::F::BARRIER, DeviceId::BLOCK, Some("5.2.3.1")),
            (Features::bit(42), DeviceId::NETWORK, Some("5.1.3.2")),
            (F::IN_ORDER, DeviceId::RTC, Some("6")),
            (F::ANY_LAYOUT, DeviceId::RTC, Some("6.3")),
            (Features::bit(1), DeviceId::RTC, None),
        ] {
            assert_eq!(section(features, id), Some(expected), "{features:?}");
        }
    }

    #[test]
    fn core_names_agree_with_the_constants() {
        assert_eq!(F::VERSION_1, Features(1 << 32));
        assert_eq!(F::SUSPEND, Features(1 << 43));
        assert!(CORE_NAMES.contains(&(29, "EVENT_IDX")));
        assert!(CORE_NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_feature_without_the_one_it_needs_is_named_with_it() {
        let [csum, tso4, tso6, ecn] = [0, 11, 12, 13].map(Features::bit);

        assert_eq!(
            (tso4 | tso6).missing_dependency(DeviceId::NETWORK),
            Some((tso4 | tso6, csum))
        );
        assert_eq!(
            (csum | ecn).missing_dependency(DeviceId::NETWORK),
            Some((ecn, tso4 | tso6))
        );
        assert_eq!(
            (csum | ecn | tso6).missing_dependency(DeviceId::NETWORK),
            None
        );
        assert_eq!(tso4.missing_dependency(DeviceId::ENTROPY), None);
    }
}
