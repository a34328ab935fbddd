//! A disk that is not there.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;

use ringway_ring::device::{Readable, Writable};
use ringway_spec::blk::ID_BYTES;

use super::disk::{Abilities, Channel, Disk, Pace, Range, Stable, Tag};
use crate::error::Result;

/// A disk of any size without any bytes, for measuring what lies before a disk: it does at once
/// whatever it is asked, and touches no data.
///
/// What is written vanishes. What is read is not filled: the driver finds in its buffer what it had
/// there before, which tells it nothing of anyone else's.
#[derive(Clone, Copy, Debug)]
pub struct Null {
    sectors: u64,
}

impl Null {
    /// A disk of `sectors` sectors of 512 bytes.
    pub const fn new(sectors: u64) -> Self {
        Self { sectors }
    }
}

impl Disk for Null {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"null\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            discard: true,
            write_zeroes: true,
            unmap: true,
        }
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Nothing)
    }
}

/// The way to a [`Null`] disk.
struct Nothing;

impl Channel for Nothing {
    fn read(&mut self, _tag: Tag, _offset: u64, _into: Writable<'_>) -> Poll<Result> {
        Poll::Ready(Ok(()))
    }

    fn write(
        &mut self,
        _tag: Tag,
        _offset: u64,
        _from: Readable<'_>,
        _stable: Stable,
    ) -> Poll<Result> {
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, _tag: Tag) -> Poll<Result> {
        Poll::Ready(Ok(()))
    }

    fn discard(&mut self, _tag: Tag, _ranges: &[Range]) -> Poll<Result> {
        Poll::Ready(Ok(()))
    }

    fn write_zeroes(&mut self, _tag: Tag, _ranges: &[Range], _stable: Stable) -> Poll<Result> {
        Poll::Ready(Ok(()))
    }

    fn pace(&self) -> Pace {
        Pace::Copies
    }
}
