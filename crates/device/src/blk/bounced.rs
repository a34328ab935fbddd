//! A way to a disk that does what it is asked while it is asked.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::task::Poll;

use ringway_ring::device::{Readable, Writable};

use super::disk::{Blocking, Channel, Range, Stable, Tag};
use crate::error::{Error, Result};

/// Bytes moved between disk and driver at a time.
pub(super) const BOUNCE_BYTES: usize = 128 * 1024;

/// A [`Blocking`] disk's channel. A buffer of its own lies between the driver's memory and the disk,
/// which never sees memory that changes under it.
#[derive(Debug)]
pub struct Bounced<D: ?Sized> {
    disk: Arc<D>,
    /// What is on its way.
    bounce: Box<[u8]>,
}

impl<D: Blocking + ?Sized> Bounced<D> {
    /// A way to `disk`.
    pub fn new(disk: Arc<D>) -> Self {
        Self {
            disk,
            bounce: vec![0; BOUNCE_BYTES].into_boxed_slice(),
        }
    }

    fn fill(&mut self, offset: u64, into: &mut Writable<'_>) -> Result {
        let mut at = offset;
        // At most as many turns as the request has bounces.
        while into.remaining() != 0 {
            let bounce = piece(&mut self.bounce, into.remaining());
            self.disk.read_at(at, bounce)?;
            into.write(bounce).map_err(|_| Error::Medium)?;
            at = at.saturating_add(bounce.len() as u64);
        }
        Ok(())
    }

    fn take(&mut self, offset: u64, from: &mut Readable<'_>) -> Result {
        let mut at = offset;
        while from.remaining() != 0 {
            let bounce = piece(&mut self.bounce, from.remaining());
            from.read(bounce).map_err(|_| Error::Medium)?;
            self.disk.write_at(at, bounce)?;
            at = at.saturating_add(bounce.len() as u64);
        }
        Ok(())
    }

    /// Makes a write stable, if it is to be when it is done.
    fn written(&self, stable: Stable) -> Result {
        match stable {
            Stable::WhenDone => self.disk.flush(),
            Stable::WhenFlushed => Ok(()),
        }
    }
}

impl<D: Blocking + ?Sized> Channel for Bounced<D> {
    fn read(&mut self, _tag: Tag, offset: u64, mut into: Writable<'_>) -> Poll<Result> {
        let filled = self.fill(offset, &mut into);
        let rest = into.remaining();
        let zeroed = into.zero(rest).map_err(|_| Error::Medium);
        Poll::Ready(filled.and(zeroed))
    }

    fn write(
        &mut self,
        _tag: Tag,
        offset: u64,
        mut from: Readable<'_>,
        stable: Stable,
    ) -> Poll<Result> {
        let taken = self.take(offset, &mut from);
        Poll::Ready(taken.and_then(|()| self.written(stable)))
    }

    fn flush(&mut self, _tag: Tag) -> Poll<Result> {
        Poll::Ready(self.disk.flush())
    }

    fn discard(&mut self, _tag: Tag, ranges: &[Range]) -> Poll<Result> {
        let mut ranges = ranges.iter();
        Poll::Ready(ranges.try_for_each(|range| self.disk.discard(range.offset, range.len)))
    }

    fn write_zeroes(&mut self, _tag: Tag, ranges: &[Range], stable: Stable) -> Poll<Result> {
        let disk = &self.disk;
        let zeroed = ranges
            .iter()
            .try_for_each(|range| disk.write_zeroes(range.offset, range.len, range.unmap));
        Poll::Ready(zeroed.and_then(|()| self.written(stable)))
    }
}

/// As much of the bounce buffer as the next `left` bytes fill.
fn piece(bounce: &mut [u8], left: u64) -> &mut [u8] {
    let len = usize::try_from(left).map_or(bounce.len(), |left| left.min(bounce.len()));
    bounce.get_mut(..len).unwrap_or_default()
}
