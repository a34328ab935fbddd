//! One ring as the front-end sets it up, and what its base says.

use ringway_spec::{F, Features, packed, split};

use crate::backend::{Refusal, Start};
use crate::protocol::RingAddresses;

/// What the front-end said of a ring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ring {
    /// How many descriptors it has, once that was said.
    pub(super) size: Option<u16>,
    /// Where it is, once that was said.
    pub(super) addresses: Option<RingAddresses>,
    /// Where it begins, if that was said, or where it stopped.
    pub(super) base: Option<u32>,
    /// A kick came, or how one will come was said.
    pub(super) started: bool,
    pub(super) enabled: bool,
    /// The carrier has it.
    pub(super) running: bool,
}

/// The wrap counter in a base of 16 bits.
const WRAP: u16 = 1 << 15;

impl Ring {
    /// What to start, if all is known that has to be.
    pub(super) fn start(&self, index: u32, features: Features) -> Result<Option<Start>, Refusal> {
        let (Some(size), Some(addresses)) = (self.size, self.addresses) else {
            return Ok(None);
        };
        let is_packed = features.contains(F::RING_PACKED);
        let (available, used) = if is_packed {
            packed_places(index, size, self.base.unwrap_or(PACKED_FRESH))?
        } else {
            let base = self.base.unwrap_or(0);
            let base = u16::try_from(base).map_err(|_| Refusal::RingBase { index, base })?;
            (base, base)
        };
        Ok(Some(Start {
            size,
            addresses,
            available,
            used,
            features,
        }))
    }

    /// Notes that it stopped, and where, with nothing in flight. If it was never served, it stands
    /// where it began.
    pub(super) fn stopped(&mut self, position: Option<u16>, features: Features) {
        self.running = false;
        let Some(position) = position.map(u32::from) else {
            return;
        };
        // The place from which chains are taken, and that at which they are given back.
        let is_packed = features.contains(F::RING_PACKED);
        self.base = Some(if is_packed {
            position | position << 16
        } else {
            position
        });
    }

    /// Whether `size` is one that it can have, whatever its format.
    pub(super) fn can_have(size: u32, max: u16) -> Option<u16> {
        u16::try_from(size)
            .ok()
            .filter(|&size| size != 0 && size <= max.min(split::MAX_SIZE))
    }
}

/// Where a packed ring begins that nobody used: both wrap counters are 1 (§2.8.1).
const PACKED_FRESH: u32 = (WRAP as u32) << 16 | WRAP as u32;

/// Where a packed ring of `size` begins that begins at `base`: the place at which the next chain is
/// taken, with the wrap counter above it, and in the upper half that at which the next one is given
/// back. Front-ends that know of the first alone leave the other 0.
fn packed_places(index: u32, size: u16, base: u32) -> Result<(u16, u16), Refusal> {
    let [available, used] = [base as u16, (base >> 16) as u16];
    let used = if used == 0 { available } else { used };
    let is_outside = |place: u16| place & !WRAP >= size;
    if is_outside(available) || is_outside(used) || size > packed::MAX_SIZE {
        return Err(Refusal::RingBase { index, base });
    }
    Ok((available, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(base: u32) -> Result<(u16, u16), Refusal> {
        packed_places(3, 300, base)
    }

    #[test]
    fn a_packed_base_says_place_and_turn_of_both_ends() {
        assert_eq!(places(PACKED_FRESH), Ok((0x8000, 0x8000)));
        assert_eq!(places(0x812b_812b), Ok((0x812b, 0x812b)));
        assert_eq!(places(0), Ok((0, 0)));
        assert_eq!(places(0x8006_8007), Ok((0x8007, 0x8006)));
    }

    #[test]
    fn a_packed_base_of_16_bits_is_taken_for_both_ends() {
        assert_eq!(places(0x8000), Ok((0x8000, 0x8000)));
        assert_eq!(places(0x0007), Ok((7, 7)));
    }

    /// Devices' defect 8: a base out of range.
    #[test]
    fn a_packed_base_outside_the_ring_is_refused() {
        for base in [0x812c_812c, 0x812c_8000, 0x8000_812c] {
            assert_eq!(places(base), Err(Refusal::RingBase { index: 3, base }));
        }
    }
}
