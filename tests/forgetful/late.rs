//! A disk in a file whose requests are done at once, and said to be done later: some soon, and some
//! after others that came later.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringway_device::blk::{Blocking, Bounced, Channel, Disk, Range, Stable, Tag};
use ringway_device::{Error, Result};
use ringway_ring::device::{Readable, Writable};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// How long most requests take, and how often it is looked whether one is done.
const SOON: Duration = Duration::from_millis(1);

/// The disk.
pub(crate) struct LateDisk {
    file: File,
    sectors: u64,
    /// How long every third request takes.
    late: Duration,
}

impl LateDisk {
    pub(crate) fn open(image: &Path, late: Duration) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(image)?;
        let sectors = file.metadata()?.len() / SECTOR_SIZE as u64;
        Ok(Self {
            file,
            sectors,
            late,
        })
    }
}

impl Disk for LateDisk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"late\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        match timer() {
            Ok(timer) => Box::new(Late {
                late: self.late,
                inner: Bounced::new(self),
                timer,
                kept: Vec::new(),
                number: 0,
            }),
            // It would be of no use: a judge would find nothing.
            Err(error) => panic!("there is no timer: {error}"),
        }
    }
}

impl Blocking for LateDisk {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result {
        let read = self.file.read_exact_at(into, offset);
        read.map_err(|_| Error::Medium)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result {
        let written = self.file.write_all_at(from, offset);
        written.map_err(|_| Error::Medium)
    }

    fn flush(&self) -> Result {
        // What is killed is a process, and no machine.
        Ok(())
    }
}

/// A queue's way to it.
struct Late {
    late: Duration,
    inner: Bounced<LateDisk>,
    /// Becomes readable again and again.
    timer: OwnedFd,
    kept: Vec<Kept>,
    /// Of the next request.
    number: u64,
}

/// A request that is done, and of which nobody knows.
struct Kept {
    tag: Tag,
    result: Result,
    due: Instant,
}

impl Late {
    fn keep(&mut self, tag: Tag, done: Poll<Result>) -> Poll<Result> {
        if let Poll::Ready(result) = done {
            let takes = if self.number.is_multiple_of(3) {
                self.late
            } else {
                SOON
            };
            self.number += 1;
            let due = Instant::now() + takes;
            self.kept.push(Kept { tag, result, due });
        }
        Poll::Pending
    }
}

impl Channel for Late {
    fn read(&mut self, tag: Tag, offset: u64, into: Writable<'_>) -> Poll<Result> {
        let done = self.inner.read(tag, offset, into);
        self.keep(tag, done)
    }

    fn write(&mut self, tag: Tag, offset: u64, from: Readable<'_>, stable: Stable) -> Poll<Result> {
        let done = self.inner.write(tag, offset, from, stable);
        self.keep(tag, done)
    }

    fn flush(&mut self, tag: Tag) -> Poll<Result> {
        let done = self.inner.flush(tag);
        self.keep(tag, done)
    }

    fn discard(&mut self, _: Tag, _: &[Range]) -> Poll<Result> {
        Poll::Ready(Err(Error::Unsupported))
    }

    fn write_zeroes(&mut self, _: Tag, _: &[Range], _: Stable) -> Poll<Result> {
        Poll::Ready(Err(Error::Unsupported))
    }

    fn next_done(&mut self) -> Option<(Tag, Result)> {
        // Not readable before the next time.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        let now = Instant::now();
        let at = self.kept.iter().position(|kept| kept.due <= now)?;
        let Kept { tag, result, .. } = self.kept.swap_remove(at);
        Some((tag, result))
    }

    fn ready(&self) -> Option<i32> {
        Some(self.timer.as_raw_fd())
    }
}

/// A timer that becomes readable again and again.
fn timer() -> rustix::io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let often = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(SOON.subsec_nanos()),
    };
    let times = Itimerspec {
        it_interval: often,
        it_value: often,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
    Ok(timer)
}
