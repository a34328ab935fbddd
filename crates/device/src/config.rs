//! Configuration space as device models have it: a structure, read in pieces and written field by
//! field.
//!
//! Spec: VIRTIO 1.4 §2.5 "Device Configuration Space".

use ringway_spec::config::Field;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Fills `into` with the bytes of `config` from `offset` on. What lies beyond its end is left as it
/// is.
pub fn read(config: &(impl IntoBytes + Immutable), offset: usize, into: &mut [u8]) {
    for (to, from) in into.iter_mut().zip(config.as_bytes().iter().skip(offset)) {
        *to = *from;
    }
}

/// What a driver that writes `from` at `offset` writes to `field`: `None` if that is not just all of
/// it. Drivers write a field with one access, but for one of 64 bits, which may be written in halves
/// (§4.1.3.1): no device is to wait for those.
pub fn written<V: FromBytes>(field: Field<V>, offset: usize, from: &[u8]) -> Option<V> {
    let value = V::read_from_bytes(from).ok()?;
    (offset == field.offset()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_spec::le::{U16, U32};

    #[test]
    fn a_structure_is_read_in_pieces_and_nothing_beyond_its_end() {
        let config = [U32::new(0x0403_0201), U32::new(0x0807_0605)];

        let [mut middle, mut last, mut beyond] = [[0xee; 3]; 3];
        read(&config, 3, &mut middle);
        read(&config, 6, &mut last);
        read(&config, usize::MAX, &mut beyond);

        assert_eq!([middle, last, beyond], [[4, 5, 6], [7, 8, 0xee], [0xee; 3]]);
    }

    #[test]
    fn a_field_is_written_whole_at_its_place_or_not_at_all() {
        let field = Field::<U16>::at(4);

        let writes = [(4, &[1, 2][..]), (4, &[1]), (4, &[1, 2, 3]), (5, &[1, 2])];
        let values = writes.map(|(offset, from)| written(field, offset, from).map(U16::get));

        assert_eq!(values, [Some(0x0201), None, None, None]);
    }
}
