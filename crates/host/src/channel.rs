//! A queue's way to an image: at once where nothing is to be waited for, else through a ring of the
//! kernel.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;

use ringway_device as device;
use ringway_device::blk::{Blocking, Bounced, Channel, Pace, Range, Stable, Tag};
use ringway_ring::device::{Readable, Run, TooShort, Writable};
use ringway_ring::shared::Shared;

use crate::disk::{Image, medium};
use crate::options::Method;
use crate::sys::{Lent, Room, Wait};
use crate::uring::{Uring, Work};

/// A queue's way to an image.
pub(crate) struct Reach {
    image: Arc<Image>,
    /// Absent if the method is [`Method::Blocking`] or [`Method::Mapped`].
    uring: Option<Uring>,
    /// How a read, and a write, is tried at once; not at all if absent.
    reads: Option<Wait>,
    writes: Option<Wait>,
    room: Room,
    /// For memory that the medium cannot be told of, where it is reached without a cache.
    bounced: Option<Bounced<Image>>,
}

/// How far a transfer got at once.
enum Got {
    /// It is done, or failed.
    All(device::Result),
    /// The rest has to wait.
    Part,
}

impl Reach {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        let uring = match image.method() {
            Method::Blocking | Method::Mapped => None,
            // Without a ring, for this queue alone: the way without rings does.
            Method::Adaptive | Method::Uring => Uring::new(image.clone()).ok(),
        };
        let at_once = match (&uring, image.method()) {
            (None, _) => Some(Wait::Maybe),
            (Some(_), Method::Uring) => None,
            // All of it waits.
            (Some(_), _) if image.direct().is_some() => None,
            (Some(_), _) if image.is_in_memory() => Some(Wait::Maybe),
            (Some(_), _) => Some(Wait::Never),
        };
        let bounced = image.direct().map(|_| Bounced::new(image.clone()));
        Self {
            image,
            uring,
            reads: at_once,
            writes: at_once,
            room: Room::default(),
            bounced,
        }
    }

    /// The way for memory of which some run is not as the medium needs it.
    fn bounced<'m>(
        &mut self,
        mut next: impl FnMut() -> Result<Run<'m>, TooShort>,
    ) -> Option<&mut Bounced<Image>> {
        let (bounced, direct) = (self.bounced.as_mut()?, self.image.direct()?);
        while let Ok(run) = next() {
            if !direct.suits(run.view()) {
                return Some(bounced);
            }
        }
        None
    }

    /// Whether what may wait is done at once all the same: there is no other way, or it does not in
    /// truth.
    fn waits_here(&self) -> bool {
        self.reads == Some(Wait::Maybe)
    }
}

impl Channel for Reach {
    fn read(&mut self, tag: Tag, offset: u64, into: Writable<'_>) -> Poll<device::Result> {
        if self.image.copy(offset, into.clone()) {
            return Poll::Ready(Ok(()));
        }
        let mut views = into.clone();
        if let Some(bounced) = self.bounced(|| views.next_run()) {
            return bounced.read(tag, offset, into);
        }
        let mut done = 0;
        if let Some(wait) = self.reads {
            let mut views = into.clone();
            let mut lent = self.room.lend();
            while let Ok(run) = views.next_run() {
                lent.push(run.view());
            }
            let file = self.image.as_fd();
            let got = transfer(&mut lent, offset, &mut done, |lent, at| {
                lent.read(file, at, wait)
            });
            match got {
                Ok(Got::All(result)) => {
                    if result.is_err() {
                        zero(into, done);
                    }
                    return Poll::Ready(result);
                }
                Ok(Got::Part) => {}
                // It cannot be said of this file.
                Err(Unsaid) => self.reads = None,
            }
        }
        let Some(uring) = &mut self.uring else {
            zero(into, done);
            return Poll::Ready(Err(device::Error::Medium));
        };
        let mut rest = into;
        if rest.split_front(done).is_err() {
            return Poll::Ready(Err(device::Error::Medium));
        }
        let work = Work::Read(offset.saturating_add(done));
        uring.begin(
            tag,
            work,
            held(|| rest.next_run()?.to_shared().ok_or(TooShort)),
        );
        Poll::Pending
    }

    fn write(
        &mut self,
        tag: Tag,
        offset: u64,
        from: Readable<'_>,
        stable: Stable,
    ) -> Poll<device::Result> {
        let mut views = from.clone();
        if let Some(bounced) = self.bounced(|| views.next_run()) {
            return bounced.write(tag, offset, from, stable);
        }
        let mut done = 0;
        if let Some(wait) = self.writes
            && (stable == Stable::WhenFlushed || wait == Wait::Maybe)
        {
            let mut views = from.clone();
            let mut lent = self.room.lend();
            while let Ok(run) = views.next_run() {
                lent.push(run.view());
            }
            let file = self.image.as_fd();
            let got = transfer(&mut lent, offset, &mut done, |lent, at| {
                lent.write(file, at, wait)
            });
            match got {
                Ok(Got::All(result)) => {
                    return Poll::Ready(result.and_then(|()| self.image.written(stable)));
                }
                Ok(Got::Part) => {}
                Err(Unsaid) => self.writes = None,
            }
        }
        let Some(uring) = &mut self.uring else {
            return Poll::Ready(Err(device::Error::Medium));
        };
        let mut rest = from;
        if rest.split_front(done).is_err() {
            return Poll::Ready(Err(device::Error::Medium));
        }
        let work = Work::Write(offset.saturating_add(done), stable);
        uring.begin(
            tag,
            work,
            held(|| rest.next_run()?.to_shared().ok_or(TooShort)),
        );
        Poll::Pending
    }

    fn flush(&mut self, tag: Tag) -> Poll<device::Result> {
        let here = self.waits_here();
        match &mut self.uring {
            Some(uring) if !here => {
                uring.begin(tag, Work::Flush, std::iter::empty());
                Poll::Pending
            }
            _ => Poll::Ready(self.image.flush()),
        }
    }

    fn discard(&mut self, tag: Tag, ranges: &[Range]) -> Poll<device::Result> {
        let here = self.waits_here();
        match &mut self.uring {
            Some(uring) if !here && ranges.iter().any(is_something) => {
                let ranges = ranges.iter().copied().filter(is_something).collect();
                uring.begin(tag, Work::Discard(ranges), std::iter::empty());
                Poll::Pending
            }
            _ => {
                let mut ranges = ranges.iter();
                let image = &self.image;
                Poll::Ready(ranges.try_for_each(|range| image.discard(range.offset, range.len)))
            }
        }
    }

    fn write_zeroes(&mut self, tag: Tag, ranges: &[Range], stable: Stable) -> Poll<device::Result> {
        let here = self.waits_here();
        match &mut self.uring {
            Some(uring) if !here && ranges.iter().any(is_something) => {
                let ranges = ranges.iter().copied().filter(is_something).collect();
                uring.begin(tag, Work::Zero(ranges, stable), std::iter::empty());
                Poll::Pending
            }
            _ => {
                let image = &self.image;
                let zeroed = ranges
                    .iter()
                    .try_for_each(|range| image.write_zeroes(range.offset, range.len, range.unmap));
                Poll::Ready(zeroed.and_then(|()| image.written(stable)))
            }
        }
    }

    fn push(&mut self) {
        if let Some(uring) = &mut self.uring {
            uring.push();
        }
    }

    fn next_done(&mut self) -> Option<(Tag, device::Result)> {
        self.uring.as_mut()?.next_done()
    }

    fn ready(&self) -> Option<i32> {
        self.uring.as_ref().map(Uring::ready)
    }

    fn pace(&self) -> Pace {
        match self.uring {
            Some(_) => Pace::Copies,
            None => Pace::Waits,
        }
    }
}

/// Whether a call can wait is not said of a file like this.
struct Unsaid;

/// Moves what is lent by `call`s, as far as they go without waiting. `done` counts the bytes.
fn transfer<'m, 'r>(
    lent: &mut Lent<'m, 'r>,
    offset: u64,
    done: &mut u64,
    call: impl Fn(&Lent<'m, 'r>, u64) -> io::Result<usize>,
) -> Result<Got, Unsaid> {
    // Each turn moves a byte at least, but those that a signal interrupts.
    while !lent.is_empty() {
        match call(lent, offset.saturating_add(*done)) {
            // The file was made shorter.
            Ok(0) => return Ok(Got::All(Err(device::Error::Medium))),
            Ok(bytes) => {
                lent.advance(bytes);
                *done = done.saturating_add(bytes as u64);
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(Got::Part),
                Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Err(Unsaid),
                _ => return Ok(Got::All(Err(medium(error)))),
            },
        }
    }
    Ok(Got::All(Ok(())))
}

/// The runs that `next` gives, held.
fn held(mut next: impl FnMut() -> Result<Shared, TooShort>) -> impl Iterator<Item = Shared> {
    std::iter::from_fn(move || next().ok())
}

/// Sets all but the first `done` bytes of `memory` to zero.
fn zero(mut memory: Writable<'_>, done: u64) {
    let rest = memory.split_front(done).map(|_| memory.remaining());
    // Where there is no memory, nothing is shown.
    let _gone = memory.zero(rest.unwrap_or(0));
}

/// Whether a range has any bytes: the system refuses ones that have none.
fn is_something(range: &Range) -> bool {
    range.len != 0
}
