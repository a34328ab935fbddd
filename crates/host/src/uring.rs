//! Requests for an image that wait, many at once, in a ring of the kernel.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use ringway_device as device;
use ringway_device::blk::{Blocking, Range, Stable, Tag, Unmap};
use ringway_ring::shared::Shared;
use rustix::fs::FallocateFlags;

use crate::disk::{Image, medium};
use crate::sys::{Operation, Ring};

/// Entries of a ring: a queue's requests, so that one call tells of them all.
const ENTRIES: u32 = 256;

/// Most bytes that are in flight at once, so that a reset does not wait long: what is beyond waits
/// here. One request may have more, alone.
const IN_FLIGHT_BYTES: u64 = 16 * 1024 * 1024;

/// An image, and the requests for it that are not done.
pub(crate) struct Uring {
    ring: Ring<File>,
    /// By tag.
    requests: Vec<Request>,
    /// Those that the ring does not have, the oldest first.
    waiting: VecDeque<u16>,
    /// Bytes of those that it has.
    in_flight: u64,
}

/// The file of an image.
struct File(Arc<Image>);

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A request for an image.
#[derive(Debug)]
struct Request {
    work: Work,
    bytes: u64,
    /// Of them are done.
    done: u64,
}

/// What it is to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Fill memory from here on.
    Read(u64),
    /// Write memory from here on.
    Write(u64, Stable),
    /// Have what was written stable.
    Flush,
    /// Forget these, the first one first.
    Discard(VecDeque<Range>),
    /// Make these zero, the first one first.
    Zero(VecDeque<Range>, Stable),
}

/// Whether the system gives rings for `file`: a kernel may have none, or refuse them to this process.
pub(crate) fn is_available(file: impl AsFd) -> bool {
    Ring::new(file, 1).is_ok()
}

impl Uring {
    pub(crate) fn new(image: Arc<Image>) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(File(image), ENTRIES)?,
            requests: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
        })
    }

    pub(crate) fn ready(&self) -> i32 {
        self.ring.ready()
    }

    /// Begins a request, with the memory that it fills or writes.
    pub(crate) fn begin(&mut self, tag: Tag, work: Work, memory: impl Iterator<Item = Shared>) {
        let Tag(tag) = tag;
        self.ring.hold(tag, memory);
        let held = self.ring.held(tag).iter();
        let request = Request {
            work,
            bytes: held.fold(0, |sum, run| sum.saturating_add(run.len() as u64)),
            done: 0,
        };
        let index = usize::from(tag);
        while self.requests.len() <= index {
            self.requests.push(Request {
                work: Work::Flush,
                bytes: 0,
                done: 0,
            });
        }
        if let Some(place) = self.requests.get_mut(index) {
            *place = request;
            self.waiting.push_back(tag);
        }
    }

    /// Gives the kernel as much as may be in flight.
    pub(crate) fn push(&mut self) {
        while let Some(&tag) = self.waiting.front()
            && let Some(request) = self.requests.get(usize::from(tag))
        {
            let bytes = self.in_flight.saturating_add(request.bytes);
            if self.ring.in_flight() != 0 && bytes > IN_FLIGHT_BYTES {
                break;
            }
            if !self.ring.push(tag, request.operation()) {
                break;
            }
            self.in_flight = bytes;
            self.waiting.pop_front();
        }
        // Where all is said, the kernel does its part uncalled.
        while self.ring.is_unsaid()
            && let Err(error) = self.ring.enter(0)
        {
            // Out of memory, or of room for what is done: the next call may have better luck. What
            // the ring has is not lost meanwhile.
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }

    /// Takes a request that is done.
    pub(crate) fn next_done(&mut self) -> Option<(Tag, device::Result)> {
        // As many turns as there are requests, and pieces of them.
        loop {
            while let Some((tag, moved)) = self.ring.next_done() {
                if let Some(result) = self.goes_on(tag, moved) {
                    return Some((Tag(tag), result));
                }
            }
            if self.waiting.is_empty() && !self.ring.is_unsaid() {
                return None;
            }
            self.push();
            let (tag, moved) = self.ring.next_done()?;
            if let Some(result) = self.goes_on(tag, moved) {
                return Some((Tag(tag), result));
            }
        }
    }

    /// An operation of request `tag` is done: what comes of the request, if it has no more of them.
    fn goes_on(&mut self, tag: u16, moved: io::Result<usize>) -> Option<device::Result> {
        let request = self.requests.get_mut(usize::from(tag))?;
        self.in_flight = self.in_flight.saturating_sub(request.bytes);
        let image = &*self.ring.file().0;
        let result = match request.next(image, moved) {
            Next::Rest(bytes) if self.ring.advance(tag, bytes) => None,
            Next::Rest(_) => Some(Ok(())),
            Next::More => None,
            Next::Done(result) => Some(result),
        };
        let Some(result) = result else {
            // Before those that have not begun.
            self.waiting.push_front(tag);
            return None;
        };
        if result.is_err() && matches!(request.work, Work::Read(_)) {
            zero(self.ring.held(tag), request.done);
        }
        self.ring.release(tag);
        Some(result)
    }
}

/// What a request is to do after an operation.
enum Next {
    /// The same, less so many bytes; nothing, if none are left.
    Rest(usize),
    /// Another operation.
    More,
    /// Nothing.
    Done(device::Result),
}

impl Request {
    /// The operation that it is at.
    fn operation(&self) -> Operation {
        let Self { work, done, .. } = self;
        let first = |ranges: &VecDeque<Range>| ranges.front().copied();
        match work {
            Work::Read(offset) => Operation::Read(offset.saturating_add(*done)),
            Work::Write(offset, Stable::WhenFlushed) => {
                Operation::Write(offset.saturating_add(*done))
            }
            Work::Write(offset, Stable::WhenDone) => {
                Operation::WriteStable(offset.saturating_add(*done))
            }
            Work::Discard(ranges) | Work::Zero(ranges, _) => {
                first(ranges).map_or(Operation::Sync, |range| {
                    let mode = match (work, range.unmap) {
                        (Work::Zero(..), Unmap::Keep) => FallocateFlags::ZERO_RANGE,
                        _ => FallocateFlags::PUNCH_HOLE,
                    };
                    let mode = mode | FallocateFlags::KEEP_SIZE;
                    Operation::Allocate(mode, range.offset, range.len)
                })
            }
            Work::Flush => Operation::Sync,
        }
    }

    /// What comes after the operation that `moved` so many bytes.
    fn next(&mut self, image: &Image, moved: io::Result<usize>) -> Next {
        let again = matches!(&moved, Err(error) if error.kind() == io::ErrorKind::Interrupted);
        if again {
            return Next::More;
        }
        match &mut self.work {
            Work::Read(_) | Work::Write(..) => match moved {
                // The file was made shorter.
                Ok(0) => Next::Done(Err(device::Error::Medium)),
                Ok(bytes) => {
                    self.done = self.done.saturating_add(bytes as u64);
                    Next::Rest(bytes)
                }
                Err(error) => Next::Done(Err(medium(error))),
            },
            Work::Flush => Next::Done(moved.map(drop).map_err(medium)),
            Work::Discard(ranges) => {
                let result = match moved {
                    Err(error) if is_unsupported(&error) => Ok(()),
                    other => other.map(drop).map_err(medium),
                };
                ranges.pop_front();
                match result {
                    Ok(()) if !ranges.is_empty() => Next::More,
                    result => Next::Done(result),
                }
            }
            Work::Zero(ranges, stable) => {
                let Some(range) = ranges.pop_front() else {
                    // They were made stable.
                    return Next::Done(moved.map(drop).map_err(medium));
                };
                let result = match moved {
                    Err(error) if is_unsupported(&error) => {
                        image.write_zeroes(range.offset, range.len, range.unmap)
                    }
                    other => other.map(drop).map_err(medium),
                };
                match result {
                    Ok(()) if !ranges.is_empty() || *stable == Stable::WhenDone => Next::More,
                    result => Next::Done(result),
                }
            }
        }
    }
}

/// Whether the file system has no such short cut.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV)
    )
}

/// Sets all but the first `done` bytes of `memory` to zero.
fn zero(memory: &[Shared], done: u64) {
    let mut skip = done;
    for run in memory {
        let len = run.len() as u64;
        let start = skip.min(len);
        skip = skip.saturating_sub(start);
        // Within a run.
        let left = run.len().saturating_sub(start as usize);
        if let Some(rest) = run.view().slice(start as usize, left) {
            rest.fill(0);
        }
    }
}
