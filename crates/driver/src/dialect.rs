//! Which of virtio's two interfaces a device is driven through, and what the older one asks for.
//!
//! Before version 1 a device had 32 feature bits, no `FEATURES_OK`, no generation of its
//! configuration, and rings in one stretch of memory that is told by the number of its first page.
//! Where those registers are is a transport's affair. What is different above them is said here
//! once, so that neither bring-up nor a driver asks which transport it has.
//!
//! A legacy device has the byte order of its driver. It is driven from little-endian machines
//! alone, where that is the byte order of everything else; on others it lacks `VERSION_1`.
//!
//! Spec: VIRTIO 1.4 §1.3 "Terminology".

/// Which of the two interfaces a device is driven through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// That of the specification.
    Modern,
    /// The one before, with rings like these.
    Legacy(LegacyRings),
}

/// What a legacy transport asks of the rings' memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyRings {
    /// To what the ring, and the device area in it, is aligned, in bytes: a power of two.
    pub align: usize,
    /// Who chooses how many descriptors there are.
    pub size: RingSize,
    /// The last address that the ring may have a byte at: what the device's register can tell.
    pub last: u64,
}

/// Who chooses the size of a legacy device's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSize {
    /// The device, which has no register for another.
    Fixed,
    /// The driver, up to what the device has.
    Chosen,
}

impl Dialect {
    /// Whether it is the older one.
    pub fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy(_))
    }
}
