//! The packed format: one ring of descriptors that both ends write, and what each of them wants to
//! be told of.
//!
//! Spec: VIRTIO 1.4 §2.8 "Packed Virtqueues".

pub(crate) mod device;
pub(crate) mod driver;

use core::hint::cold_path;

use ringway_spec::packed as spec;
use ringway_spec::packed::DescriptorFlags;

use crate::driver::Geometry;

/// Where the parts of a ring are in its memory, from its first byte.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// What the driver wants to be told of. The two ends' wishes are in cache lines of their own.
    pub(crate) driver: usize,
    /// What the device wants to be told of.
    pub(crate) device: usize,
    pub(crate) tables: usize,
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) fn new(geometry: Geometry) -> Self {
        // The largest ring there can be has about 17 thousand million bytes, with tables: nothing
        // here overflows 64 bits.
        let line = |offset: usize| offset.next_multiple_of(Geometry::ALIGN);
        let driver = line(spec::descriptor_bytes(geometry.size));
        let device = driver.wrapping_add(Geometry::ALIGN);
        let tables = device.wrapping_add(Geometry::ALIGN);
        let table_bytes = usize::from(geometry.table).wrapping_mul(size_of::<spec::Descriptor>());
        let bytes = line(tables.wrapping_add(usize::from(geometry.size).wrapping_mul(table_bytes)));
        Self {
            driver,
            device,
            tables,
            bytes,
        }
    }
}

/// A place in a ring, and the wrap counter with which it is passed: as in
/// [`EventSuppression::desc`](spec::EventSuppression).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u16);

impl Position {
    /// Where an end stands that has passed `passed` descriptors of a ring of `size` since it was
    /// new. Wrap counters begin at 1 (§2.8.1).
    pub(crate) fn after(passed: u16, size: u16) -> Self {
        let at = passed.checked_rem(size).unwrap_or_default();
        let laps = passed.checked_div(size).unwrap_or_default();
        let wrap = if laps & 1 == 0 { spec::EVENT_WRAP } else { 0 };
        Self(at | wrap)
    }

    /// The position that `bits` say, as a notification has them (§2.9), if a ring of `size` has it.
    pub(crate) fn from_bits(bits: u16, size: u16) -> Option<Self> {
        (bits & !spec::EVENT_WRAP < size).then_some(Self(bits))
    }

    /// As a notification carries it (§2.9).
    #[inline]
    pub(crate) fn to_bits(self) -> u16 {
        self.0
    }

    /// The descriptor's place in the ring.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0 & !spec::EVENT_WRAP)
    }

    /// The flags of a descriptor that is made available here (§2.8.1).
    #[inline]
    pub(crate) fn available(self) -> DescriptorFlags {
        if self.0 & spec::EVENT_WRAP == 0 {
            DescriptorFlags::USED
        } else {
            DescriptorFlags::AVAIL
        }
    }

    /// The flags of a descriptor that is used here (§2.8.1).
    #[inline]
    pub(crate) fn used(self) -> DescriptorFlags {
        if self.0 & spec::EVENT_WRAP == 0 {
            DescriptorFlags::empty()
        } else {
            TURN
        }
    }

    /// How many descriptors were passed since `before`, modulo two laps.
    #[inline]
    pub(crate) fn since(self, before: Self, size: u16) -> u32 {
        let (now, before) = (self.passed(size), before.passed(size));
        if now < before {
            let laps = u32::from(size).wrapping_mul(2);
            now.wrapping_add(laps).wrapping_sub(before)
        } else {
            now.wrapping_sub(before)
        }
    }

    /// How many descriptors were passed, modulo two laps.
    #[inline]
    fn passed(self, size: u16) -> u32 {
        let lap = if self.0 & spec::EVENT_WRAP == 0 {
            u32::from(size)
        } else {
            0
        };
        u32::from(self.0 & !spec::EVENT_WRAP).wrapping_add(lap)
    }
}

/// A position, as the driver's end goes along with it: what is asked of it for every descriptor is
/// at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// The place in the ring.
    pub(crate) at: u16,
    /// The flags of this lap's descriptors that say whose they are, where a second word has them.
    pub(crate) turn: u64,
    wrap: u16,
}

impl Cursor {
    /// At `position`, where descriptors are made available.
    pub(crate) fn available(position: Position) -> Self {
        Self::new(position, position.available())
    }

    /// At `position`, where descriptors are used.
    pub(crate) fn used(position: Position) -> Self {
        Self::new(position, position.used())
    }

    fn new(position: Position, turn: DescriptorFlags) -> Self {
        Self {
            at: position.0 & !spec::EVENT_WRAP,
            turn: u64::from(turn.bits()) << 48,
            wrap: position.0 & spec::EVENT_WRAP,
        }
    }

    #[inline]
    pub(crate) fn position(self) -> Position {
        Position(self.at | self.wrap)
    }

    /// Goes on by `count` descriptors, at most `size`, on a ring of `size`.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: u16, size: u16) {
        // Below twice 32768.
        self.at = self.at.wrapping_add(count);
        if self.at >= size {
            cold_path();
            self.at = self.at.wrapping_sub(size);
            self.turn ^= TURN_BITS;
            self.wrap ^= spec::EVENT_WRAP;
        }
    }
}

/// [`TURN`], where a second word has it.
pub(crate) const TURN_BITS: u64 = (TURN.bits() as u64) << 48;

/// The two flags that say whose a descriptor is.
const TURN: DescriptorFlags = DescriptorFlags::AVAIL.union(DescriptorFlags::USED);

/// The second word of a descriptor, read and written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) len: u32,
    pub(crate) id: u16,
    pub(crate) flags: DescriptorFlags,
}

impl Tail {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            len: word as u32,
            id: (word >> 32) as u16,
            flags: DescriptorFlags::from_bits_retain((word >> 48) as u16),
        }
    }

    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.len) | u64::from(self.id) << 32 | u64::from(self.flags.bits()) << 48
    }
}

/// Of what an end wants to be told, read and written at once (§2.8.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish(u32);

impl Wish {
    /// Of everything.
    pub(crate) const ALL: Self = Self((spec::EVENT_ENABLE as u32) << 16);
    /// Of nothing.
    pub(crate) const NONE: Self = Self((spec::EVENT_DISABLE as u32) << 16);

    /// Of the descriptor at `position`.
    #[inline]
    pub(crate) fn at(position: Position) -> Self {
        Self(u32::from(spec::EVENT_DESC) << 16 | u32::from(position.0))
    }

    /// Of nothing, by an end that stands at `position`.
    #[cfg(feature = "alloc")]
    pub(crate) fn resting(position: Position) -> Self {
        Self(Self::NONE.0 | u32::from(position.0))
    }

    /// The position in it, as [`Position::to_bits`] has it.
    #[cfg(feature = "alloc")]
    pub(crate) fn position(self) -> u16 {
        self.0 as u16
    }

    #[inline]
    pub(crate) fn from_word(word: u32) -> Self {
        Self(word)
    }

    #[inline]
    pub(crate) fn to_word(self) -> u32 {
        self.0
    }

    /// Whether it is granted by coming to `now`, `passed` descriptors after the last time, on a
    /// ring of `size`: the windowed rule, for positions, right across both ends of the ring. A
    /// wish that makes no sense is one for everything.
    #[inline]
    pub(crate) fn is_granted(
        self,
        event_index: bool,
        now: Position,
        passed: impl FnOnce() -> u32,
        size: u16,
    ) -> bool {
        let event = Position(self.0 as u16);
        match (self.0 >> 16) as u16 & spec::EVENT_FLAGS {
            spec::EVENT_DISABLE => false,
            spec::EVENT_DESC if event_index && event.index() < usize::from(size) => {
                // How many descriptors ago the event was; as many as two laps have if it is the
                // next one.
                let ago = match now.since(event, size) {
                    0 => u32::from(size).wrapping_mul(2),
                    ago => ago,
                };
                ago <= passed()
            }
            _ => true,
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn advanced(position: Position, count: u16, size: u16) -> Position {
        let mut cursor = Cursor::available(position);
        cursor.advance(count, size);
        cursor.position()
    }

    proptest! {
        /// Checked against the definition: one of the descriptors stepped over is the event, wrap counter included.
        #[test]
        fn a_wish_is_granted_if_one_of_the_steps_went_over_it(
            size in 1_u16..20, start in 0_u16..60, event in 0_u16..60, steps in 0_u16..50,
        ) {
            let from = Position::after(start, size);
            let wanted = Position::after(event, size);
            let mut at = from;
            let mut stepped_over = false;
            for _ in 0..steps {
                stepped_over |= at == wanted;
                at = advanced(at, 1, size);
            }

            let granted = Wish::at(wanted).is_granted(true, at, || steps.into(), size);

            prop_assert_eq!(granted, stepped_over);
        }

        #[test]
        fn a_position_moves_as_the_number_of_descriptors_passed(size in 1_u16..=32768, start in 0_u16..0x8000, count: u16) {
            let count = count % size.saturating_add(1);
            let passed = start.wrapping_add(count);

            let moved = advanced(Position::after(start, size), count, size);

            prop_assert_eq!(moved, Position::after(passed, size));
            let mut cursor = Cursor::available(Position::after(start, size));
            cursor.advance(count, size);
            prop_assert_eq!(cursor.position(), moved);
            prop_assert_eq!(cursor.turn, u64::from(moved.available().bits()) << 48);
            let mut cursor = Cursor::used(Position::after(start, size));
            cursor.advance(count, size);
            prop_assert_eq!(cursor.turn, u64::from(moved.used().bits()) << 48);
        }

        #[test]
        fn the_second_word_of_a_descriptor_survives_the_round_trip(word in any::<u64>()) {
            prop_assert_eq!(Tail::from_word(word).to_word(), word);
        }
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_one_for_everything() {
        let now = Position::after(0, 8);
        let granted =
            |word: u32, event_index| Wish::from_word(word).is_granted(event_index, now, || 1, 8);

        assert!(granted(3 << 16, true), "a reserved value");
        assert!(granted(2 << 16 | 8, true), "a place outside the ring");
        assert!(granted(2 << 16 | 5, false), "not negotiated");
        assert!(!granted(2 << 16 | 5, true));
        assert!(
            !granted(0xfffd << 16 | 7, true),
            "reserved bits are ignored"
        );
    }
}
