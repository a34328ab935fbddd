//! The ends that are not counted: as little as will do, the same for every subject.

pub(crate) mod packed;
pub(crate) mod split;

use ringway_ring::driver::Areas;
use ringway_ring::shared::{Shared, Word, Words};

use crate::case::{BYTES, Case};

/// A device's memory, as far as it is used: the ring, tables and buffers.
pub(crate) const RAM_BYTES: usize = 1 << 20;
/// Where it begins, for the device.
pub(crate) const RAM: u64 = 0x10_0000;
/// Where what begins in it.
const DEVICE_AREA: usize = 0x2000;
const DRIVER_AREA: usize = 0x1000;
const TABLES: usize = 0x4000;
const BUFFERS: usize = 0x1_0000;
/// Bytes from one request's buffers to the next's.
const STRIDE: usize = 0x2000;
/// Bytes from one table to the next: four descriptors.
pub(crate) const TABLE_BYTES: usize = 64;

/// Where the ring is, for the device.
pub(crate) fn areas() -> Areas {
    Areas {
        descriptor: RAM,
        driver: RAM + DRIVER_AREA as u64,
        device: RAM + DEVICE_AREA as u64,
    }
}

/// The device of the drivers: gives every chain back at once, in order.
pub(crate) enum Echo {
    Split(split::Echo),
    Packed(packed::Echo),
}

impl Echo {
    /// Gives the next `chains` back.
    #[inline(never)]
    pub(crate) fn complete(&mut self, chains: usize) {
        match self {
            Self::Split(echo) => echo.complete(chains),
            Self::Packed(echo) => echo.complete(chains),
        }
    }
}

/// The driver of the devices.
pub(crate) enum Feeder {
    Split(split::Feeder),
    Packed(packed::Feeder),
}

impl Feeder {
    /// Lays the ring and the chains of `case` out in `ram`, which the device finds at [`RAM`].
    pub(crate) fn new(ram: &Shared, case: &Case) -> Self {
        if case.is_packed() {
            Self::Packed(packed::Feeder::new(ram, case))
        } else {
            Self::Split(split::Feeder::new(ram, case))
        }
    }

    /// Makes the next `chains` available.
    #[inline(never)]
    pub(crate) fn submit(&mut self, chains: usize) {
        match self {
            Self::Split(feeder) => feeder.submit(chains),
            Self::Packed(feeder) => feeder.submit(chains),
        }
    }

    /// Whether all came back.
    #[inline(never)]
    pub(crate) fn all_completed(&self) -> bool {
        match self {
            Self::Split(feeder) => feeder.all_completed(),
            Self::Packed(feeder) => feeder.all_completed(),
        }
    }
}

fn words<W: Word>(shared: &Shared, offset: usize, count: usize) -> Words<W> {
    Words::new(shared, offset, count).expect("the ring is aligned and whole")
}

/// The segments of `request`, in the memory of a device: address, length, and whether it may write.
fn segments(request: usize, count: usize) -> impl Iterator<Item = (u64, u32, bool)> {
    let first = RAM + (BUFFERS + request * STRIDE) as u64;
    let placed = BYTES.iter().scan(first, |next, &len| {
        let at = *next;
        *next += u64::from(len);
        Some((at, len))
    });
    placed
        .take(count)
        .enumerate()
        .map(|(part, (at, len))| (at, len, part != 0))
}
