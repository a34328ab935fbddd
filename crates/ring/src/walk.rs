//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in the map.

use alloc::vec::Vec;

use crate::device::{Head, Violation};
use crate::map::{Found, Map, Segment};
use crate::shared::View;

/// Bytes of a descriptor, in a table of either format.
pub(crate) const DESCRIPTOR_BYTES: u32 = 16;

/// The segments of a chain while it is walked.
pub(crate) struct Walk<'w> {
    map: &'w Map,
    found: &'w mut Found,
    segments: &'w mut Vec<Segment>,
    readable: usize,
    readable_bytes: u64,
    writable_bytes: u64,
}

impl<'w> Walk<'w> {
    /// Of a chain whose segments are put into `segments`, which is empty.
    pub(crate) fn new(map: &'w Map, found: &'w mut Found, segments: &'w mut Vec<Segment>) -> Self {
        Self {
            map,
            found,
            segments,
            readable: 0,
            readable_bytes: 0,
            writable_bytes: 0,
        }
    }

    /// Adds one descriptor's bytes: one segment, or more if they go on in the next region. A
    /// descriptor without bytes adds none.
    #[inline(always)]
    pub(crate) fn add(&mut self, address: u64, len: u32, writable: bool) -> Result<(), Violation> {
        if !writable && self.writable_bytes != 0 {
            return Err(Violation::ReadableAfterWritable);
        }
        match self.map.segment(address, len, self.found) {
            Some(segment) if segment.len == len => self.segments.push(segment),
            _ => self.add_across(address, len)?,
        }
        let len = u64::from(len);
        // At most 32768 descriptors of less than 2³² bytes each.
        if writable {
            self.writable_bytes = self.writable_bytes.wrapping_add(len);
        } else {
            self.readable_bytes = self.readable_bytes.wrapping_add(len);
            self.readable = self.segments.len();
        }
        Ok(())
    }

    /// The indirect table of `len` bytes at `address`, on a queue of `size`: its memory, and how
    /// many descriptors it has.
    #[inline]
    pub(crate) fn table(
        &mut self,
        address: u64,
        len: u32,
        size: u16,
    ) -> Result<(View<'w>, u16), Violation> {
        let count = len.wrapping_div(DESCRIPTOR_BYTES);
        if count == 0 || len.wrapping_rem(DESCRIPTOR_BYTES) != 0 || count > u32::from(size) {
            return Err(Violation::IndirectLength(len));
        }
        let map = self.map;
        map.segment(address, len, self.found)
            .filter(|segment| segment.len == len)
            .and_then(|segment| map.view(&segment))
            // No more than the size of the queue.
            .map(|view| (view, count as u16))
            .ok_or(Violation::NotMapped { address, len })
    }

    /// The chain as it was found, which the driver calls `id`, and which has `descriptors` of the
    /// ring.
    #[inline]
    pub(crate) fn finish(&self, id: u16, descriptors: u16) -> Result<Head, Violation> {
        if self.readable_bytes.wrapping_add(self.writable_bytes) > u64::from(u32::MAX) {
            return Err(Violation::ChainTooLarge);
        }
        // There are no more segments than descriptors and regions; the bytes were just found to be
        // below 2³².
        Ok(Head {
            id,
            descriptors,
            readable: self.readable as u32,
            writable_bytes: self.writable_bytes as u32,
        })
    }

    /// Adds bytes that no region holds whole: as many segments as regions that they lie in.
    #[cold]
    fn add_across(&mut self, address: u64, len: u32) -> Result<(), Violation> {
        let not_mapped = Violation::NotMapped { address, len };
        let (mut at, mut left) = (address, len);
        while left != 0 {
            // Each turn takes one region to its end, so there are no more turns than regions.
            let segment = self.map.segment(at, left, self.found).ok_or(not_mapped)?;
            self.segments.push(segment);
            left = left.wrapping_sub(segment.len);
            at = match at.checked_add(u64::from(segment.len)) {
                Some(next) => next,
                None if left == 0 => return Ok(()),
                None => return Err(not_mapped),
            };
        }
        Ok(())
    }
}
