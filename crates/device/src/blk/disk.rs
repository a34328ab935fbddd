//! What a block device stands on, and how its queues reach it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;

use ringway_ring::device::{Readable, Writable};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE, Topology};

use crate::error::Result;

/// What a block device stands on. Several queues use it at once, each through a [`Channel`] of its
/// own.
///
/// One that does what it is asked while it is asked implements [`Blocking`] too, and has
/// [`Bounced`](super::Bounced) channels.
pub trait Disk: Send + Sync {
    /// Its size, in sectors of 512 bytes.
    fn sectors(&self) -> u64;

    /// Whether it cannot be written. Then nothing that writes is asked of its channels.
    fn is_read_only(&self) -> bool;

    /// Who it is: ASCII, filled up with zeroes.
    fn id(&self) -> [u8; ID_BYTES];

    /// The block size that suits it, in bytes: a power of two, 512 or more.
    fn block_size(&self) -> u32 {
        SECTOR_SIZE as u32
    }

    /// The transfers that suit it, if it knows.
    fn topology(&self) -> Option<Topology> {
        None
    }

    /// What it can do without data being moved.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// A way to it, for one queue.
    fn channel(self: Arc<Self>) -> Box<dyn Channel>;
}

/// A queue's way to its disk.
///
/// Each request is either done when the call that begins it returns, or is kept,
/// [`Poll::Pending`], and [comes](Self::next_done) later, whenever it is done. Requests that are
/// kept at the same time are done in any order.
///
/// A channel that keeps a request keeps its memory, too, [`Run::to_shared`]: the driver's memory may
/// be another by then. One that is dropped first waits until nothing reaches the memory of what it
/// keeps; its owner then tells the driver that it has its memory back.
///
/// Offsets and lengths are in bytes, whole sectors, and within the disk: the device has checked
/// them.
///
/// [`Run::to_shared`]: ringway_ring::device::Run::to_shared
pub trait Channel: Send {
    /// Begins to fill `into` from `offset` on. What a read that fails does not fill it sets to
    /// zero: all of it is said to be written.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error), now or when it is done: the driver is told that it failed.
    fn read(&mut self, tag: Tag, offset: u64, into: Writable<'_>) -> Poll<Result>;

    /// Begins to write `from` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error), now or when it is done: what the sectors hold is anyone's guess.
    fn write(&mut self, tag: Tag, offset: u64, from: Readable<'_>, stable: Stable) -> Poll<Result>;

    /// Begins to make safe from a loss of power what was written: every write of every channel that
    /// is done by now.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error), now or when it is done: it may not be.
    fn flush(&mut self, tag: Tag) -> Poll<Result>;

    /// Begins to forget `ranges`, which may read as anything afterwards. Called with
    /// [`Abilities::discard`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error), now or when it is done: some may be forgotten.
    fn discard(&mut self, tag: Tag, ranges: &[Range]) -> Poll<Result>;

    /// Begins to make `ranges` zero. Called with [`Abilities::write_zeroes`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error), now or when it is done: some may be zero.
    fn write_zeroes(&mut self, tag: Tag, ranges: &[Range], stable: Stable) -> Poll<Result>;

    /// Sees to it that what was begun goes on. Called once for several requests.
    fn push(&mut self) {}

    /// Takes a kept request that is done.
    fn next_done(&mut self) -> Option<(Tag, Result)> {
        None
    }

    /// The number of the file descriptor that becomes readable when a kept request is done, where
    /// there are such things: see [`Worker::ready`](crate::Worker::ready).
    fn ready(&self) -> Option<i32> {
        None
    }

    /// How long it takes what it does at once.
    fn pace(&self) -> Pace {
        Pace::Waits
    }
}

/// A disk that does what it is asked while it is asked.
///
/// Offsets and lengths are as for a [`Channel`].
pub trait Blocking: Disk {
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): what is in `into` is not shown to the driver.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result;

    /// Writes `from` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): what the sectors hold is anyone's guess.
    fn write_at(&self, offset: u64, from: &[u8]) -> Result;

    /// Returns once everything written before is safe from a loss of power.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): it may not be.
    fn flush(&self) -> Result;

    /// Forgets `len` bytes from `offset` on; afterwards they may read as anything. Called with
    /// [`Abilities::discard`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): some may be forgotten.
    fn discard(&self, _offset: u64, _len: u64) -> Result {
        Err(crate::Error::Unsupported)
    }

    /// Makes `len` bytes from `offset` on zero; with `unmap`, their space may be given back. Called
    /// with [`Abilities::write_zeroes`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): some may be zero.
    fn write_zeroes(&self, _offset: u64, _len: u64, _unmap: Unmap) -> Result {
        Err(crate::Error::Unsupported)
    }
}

/// What a request is called while its channel keeps it: no other one of that channel is. Below the
/// size of the largest queue, so that it can be an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u16);

/// When a write is to be safe from a loss of power (§5.2.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stable {
    /// When it is done.
    WhenDone,
    /// After the next flush.
    WhenFlushed,
}

/// How long a channel takes what it does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As long as its bytes take to copy: the driver may as well hear of several requests together.
    Copies,
    /// A medium may have to move for it: the driver hears of each as it is done.
    Waits,
}

/// A part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// Of zeroes to be written: whether the space may be given back.
    pub unmap: Unmap,
}

/// What a disk can do without data being moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// [`Channel::discard`] works.
    pub discard: bool,
    /// [`Channel::write_zeroes`] works.
    pub write_zeroes: bool,
    /// [`Channel::write_zeroes`] can give space back.
    pub unmap: bool,
}

/// Whether space that is zeroed may be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmap {
    /// It stays.
    Keep,
    /// It may go.
    Allow,
}
