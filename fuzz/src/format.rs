//! What the two ring formats differ in, for whoever plays the other end.

use ringway_ring::driver::Geometry;
use ringway_spec::packed::{DescriptorFlags, EVENT_WRAP};
use ringway_spec::{F, Features};

use crate::input::Input;

/// A ring format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Split,
    Packed,
}

/// What the first bytes of an input say of a queue.
pub(crate) struct Setup {
    pub(crate) size: u16,
    /// The bits that mean nothing here are for the target.
    pub(crate) bits: u8,
    pub(crate) features: Features,
    /// How much went over the ring before.
    pub(crate) start: u16,
}

impl Setup {
    pub(crate) fn new(format: Format, input: &mut Input<'_>) -> Self {
        let (size, bits, start) = (input.u8(), input.u8(), input.u16());
        let (size, mut features) = match format {
            Format::Split => (1 << (size % 7), Features::NONE),
            Format::Packed => (u16::from(size % 64) + 1, F::RING_PACKED),
        };
        for (bit, feature) in [
            (0x02, F::INDIRECT_DESC),
            (0x04, F::EVENT_IDX),
            (0x08, F::ORDER_PLATFORM),
            (0x10, F::IN_ORDER),
        ] {
            if bits & bit != 0 {
                features |= feature;
            }
        }
        // Indices are most interesting shortly before they wrap.
        let start = if bits & 0x20 != 0 {
            (start & 0x7f).wrapping_neg()
        } else {
            start
        };
        Self {
            size,
            bits,
            features,
            start,
        }
    }

    /// The ring, with tables of `table` segments.
    pub(crate) fn geometry(&self, table: u16) -> Geometry {
        let packed = self.features.contains(F::RING_PACKED);
        let geometry = if packed {
            Geometry::packed(self.size, table)
        } else {
            Geometry::new(self.size, table)
        };
        geometry.expect("a size of the format")
    }
}

/// How far an end has come: an index of a split ring, a place in a packed one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    format: Format,
    size: u16,
    at: u16,
    /// The wrap counter of a packed ring.
    wrap: bool,
}

impl Place {
    /// After `start` chains (split) or descriptors (packed).
    pub(crate) fn new(format: Format, size: u16, start: u16) -> Self {
        let (at, wrap) = match format {
            Format::Split => (start, false),
            Format::Packed => (start % size, (start / size).is_multiple_of(2)),
        };
        Self {
            format,
            size,
            at,
            wrap,
        }
    }

    /// Which element of the ring comes next.
    pub(crate) fn slot(self) -> usize {
        usize::from(self.at % self.size)
    }

    /// Goes past `chains` of so many `descriptors` in all.
    pub(crate) fn pass(&mut self, chains: u16, descriptors: u16) {
        match self.format {
            Format::Split => self.at = self.at.wrapping_add(chains),
            Format::Packed => {
                let at = self.at + descriptors;
                self.wrap ^= at / self.size % 2 == 1;
                self.at = at % self.size;
            }
        }
    }

    /// The index, or the place and its wrap counter.
    pub(crate) fn bits(self) -> u16 {
        if self.wrap {
            self.at | EVENT_WRAP
        } else {
            self.at
        }
    }

    /// The flags of a packed descriptor that is made available here (§2.8.1).
    pub(crate) fn available(self) -> u16 {
        if self.wrap {
            DescriptorFlags::AVAIL.bits()
        } else {
            DescriptorFlags::USED.bits()
        }
    }

    /// The flags of a packed descriptor that is used here (§2.8.1).
    pub(crate) fn used(self) -> u16 {
        if self.wrap {
            (DescriptorFlags::AVAIL | DescriptorFlags::USED).bits()
        } else {
            0
        }
    }
}
