//! Registers by their meaning, and their bytes.

/// A register by its meaning. Each transport has its own place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// Which 32 offered features `DeviceFeature` shows.
    DeviceFeatureSelect,
    DeviceFeature,
    /// Which 32 accepted features `DriverFeature` is.
    DriverFeatureSelect,
    DriverFeature,
    Status,
    Generation,
    QueueSelect,
    QueueSizeMax,
    QueueSize,
    QueueEnable,
    /// Exists with `RING_RESET`.
    QueueReset,
    Area(Area, Half),
}

/// A register of the legacy interface by its meaning. It selects queues by
/// [`Register::QueueSelect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegacyRegister {
    DeviceFeatures,
    DriverFeatures,
    Status,
    /// What pages are counted in by `QueuePage`, if that is the driver's to say.
    PageSize,
    /// The largest size of the queue, which is its size unless the driver chooses another.
    QueueSizeMax,
    QueueSize,
    /// What the device area is aligned to.
    QueueAlign,
    /// The number of the queue's first page; 0 if it is not in use.
    QueuePage,
}

/// One of the three areas of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Descriptor,
    Driver,
    Device,
}

/// Half of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

/// The little-endian value of up to four bytes.
pub(crate) fn load(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// Writes `value`, little-endian, to as many of four bytes as there are, and 0 to the rest.
pub(crate) fn store(value: u32, into: &mut [u8]) {
    into.fill(0);
    for (to, from) in into.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
}
