//! A request queue of a disk: what is asked, and what became of it.

use core::task::{Context, Poll};
use core::time::Duration;

use ringway_ring::driver::Token;
use ringway_spec::blk::{ID_BYTES, RequestHeader, RequestStatus, RequestType};
use ringway_spec::le::U64;

use super::disk::Disk;
use crate::bringup::Live;
use crate::dma::{Buffer, Completion, Counts, Data, Queue, Rejected};
use crate::error::{RequestError, Result, Violation};
use crate::platform::Platform;
use crate::transport::Transport;

/// A request queue of a disk. A handle of its own: it may be sent to another thread, shares no lock
/// with other queues, and has its own doorbell.
///
/// Nothing here waits but [`wait`](Self::wait) and [`next`](Self::next). Whether the device asks for
/// a reset, [`Live::check`] says, to whoever has the device.
#[derive(Debug)]
pub struct Requests<P: Platform, B: Buffer = alloc::boxed::Box<[u8]>> {
    queue: Queue<P, B, RequestHeader, RequestStatus>,
    disk: Disk,
}

/// A request that the device has completed.
#[derive(Debug)]
pub struct Done<B> {
    /// What the call that made the request called it.
    pub token: Token,
    /// The buffer that went with it: filled, if it was for the device to fill and `result` is
    /// good.
    pub buffer: Option<B>,
    /// How it went.
    pub result: Result<(), Failure>,
}

/// A request that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The medium's fault: the device could not do it (`IOERR`).
    Io,
    /// The device does not do this (`UNSUPP`).
    Unsupported,
    /// The device gave a status of another kind, or none at all (255).
    Status(u8),
    /// The device says that it succeeded, and that it wrote fewer bytes than that takes.
    Device(Violation),
    /// The device was reset, or has gone, before it was done. It may have done all or part of it.
    Gone,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Io => f.write_str("input or output error on the disk"),
            Self::Unsupported => f.write_str("disk does not do this"),
            Self::Status(status) => write!(f, "unexpected status {status}"),
            Self::Device(violation) => write!(f, "device broke the protocol: {violation}"),
            Self::Gone => f.write_str("device was reset or is gone"),
        }
    }
}

impl core::error::Error for Failure {}

impl<P: Platform, B: Buffer> Requests<P, B> {
    pub(super) fn new(queue: Queue<P, B, RequestHeader, RequestStatus>, disk: Disk) -> Self {
        Self { queue, disk }
    }

    /// What requests are measured by: what the device said of its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Has requests measured by `disk` from now on: what the device says when its configuration has
    /// changed ([`Blk::look_again`](super::Blk::look_again)).
    pub fn set_disk(&mut self, disk: Disk) {
        self.disk = disk;
    }

    /// Reads from sector `sector` on, filling `buffer`: whole blocks.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffer: on [`Error::QueueFull`](crate::Error::QueueFull) and
    /// [`Error::PoolFull`](crate::Error::PoolFull), take a completion and try again;
    /// [`Error::Request`](crate::Error::Request) if there are no such blocks.
    pub fn read(&mut self, sector: u64, buffer: B) -> Result<Token, Rejected<B>> {
        self.transfer(RequestType::IN, sector, buffer)
    }

    /// Writes `buffer`, whole blocks, from sector `sector` on. It is durable after the next
    /// [`flush`](Self::flush), where there is one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); [`RequestError::ReadOnly`] if the disk is.
    pub fn write(&mut self, sector: u64, buffer: B) -> Result<Token, Rejected<B>> {
        if self.disk.read_only {
            return Err(Rejected {
                why: RequestError::ReadOnly.into(),
                data: Data::Readable(buffer),
            });
        }
        self.transfer(RequestType::OUT, sector, buffer)
    }

    /// Makes all writes durable that were completed before, by whichever queue (§5.2.6).
    ///
    /// # Errors
    ///
    /// [`RequestError::Unsupported`] if the device keeps no cache: writes are durable when
    /// completed. Otherwise as [`read`](Self::read).
    pub fn flush(&mut self) -> Result<Token, Rejected<B>> {
        if !self.disk.can_flush {
            return Err(Rejected {
                why: RequestError::Unsupported.into(),
                data: Data::None,
            });
        }
        self.queue
            .submit(&header(RequestType::FLUSH, 0), Data::None)
    }

    /// Asks for the disk's name, into a buffer of 20 bytes. It ends at the first zero, if there is
    /// one (§5.2.6).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); completed with [`Failure::Unsupported`] by a device that has no
    /// names.
    pub fn id(&mut self, buffer: B) -> Result<Token, Rejected<B>> {
        let len = buffer.bytes();
        if len != ID_BYTES {
            let why = RequestError::NotWholeBlocks {
                len,
                unit: ID_BYTES as u32,
            };
            return Err(Rejected {
                why: why.into(),
                data: Data::Writable(buffer),
            });
        }
        self.queue
            .submit(&header(RequestType::GET_ID, 0), Data::Writable(buffer))
    }

    /// Tells the device of what was asked, if it wants to know. One kick does for many requests.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn kick(&mut self) -> Result<bool> {
        self.queue.kick()
    }

    /// Takes one completed request, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device broke a rule;
    /// [`Error::Gone`](crate::Error::Gone) if it was reset.
    pub fn poll(&mut self) -> Result<Option<Done<B>>> {
        Ok(self.queue.poll()?.map(judge))
    }

    /// Waits for one completed request, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut), or as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Done<B>> {
        self.queue.wait(limit).map(judge)
    }

    /// Takes one completed request, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done<B>>> {
        self.queue.poll_next(cx).map(|done| done.map(judge))
    }

    /// The next completed request.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<Done<B>> {
        core::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Says that nobody wants the answer to a request any more. The device goes on with it, and what it
    /// writes is written; the buffer is dropped, not returned, when it comes back.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::cancel`].
    pub fn cancel(&mut self, token: Token) -> Result<()> {
        self.queue.cancel(token)
    }

    /// What went over the queue.
    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    /// Which of the device's queues it is: for [`Live::set_affinity`].
    pub fn index(&self) -> u16 {
        self.queue.index()
    }

    /// How many descriptors the queue has.
    pub fn queue_size(&self) -> u16 {
        self.queue.size()
    }

    /// How many requests the device has of this queue.
    pub fn in_flight(&self) -> u16 {
        self.queue.in_flight()
    }

    /// Takes the queue back from `device`, whose queue it is and which goes on, and begins again
    /// with one of at most `size` descriptors. Buffers of requests that the device had not completed
    /// are handed to `back`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::resize`].
    pub fn resize<T: Transport<Platform = P>>(
        &mut self,
        device: &mut Live<T>,
        size: u16,
        mut back: impl FnMut(B),
    ) -> Result<()> {
        // There is one at most for each request.
        let back = |data: Data<B>| data.buffer().into_iter().for_each(&mut back);
        self.queue.resize(device, size, back)
    }

    /// Takes back one request that was in flight when the device was reset, or went. `None` when
    /// there are no more.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::reclaim`].
    pub fn reclaim(&mut self) -> Result<Option<Done<B>>> {
        let reclaimed = self.queue.reclaim_request()?;
        Ok(reclaimed.map(|(token, data)| Done {
            token,
            buffer: data.buffer(),
            result: Err(Failure::Gone),
        }))
    }

    /// As [`wait`](Self::wait), and notices when `device` asks for a reset.
    pub(super) fn wait_for<T>(&mut self, device: &mut Live<T>, limit: Duration) -> Result<Done<B>>
    where
        T: Transport<Platform = P>,
    {
        self.queue.wait_for(device, limit).map(judge)
    }

    /// As [`poll_next`](Self::poll_next), and notices when `device` asks for a reset.
    pub(super) fn poll_next_of<T>(
        &mut self,
        device: &mut Live<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Done<B>>>
    where
        T: Transport<Platform = P>,
    {
        let done = self.queue.poll_next_of(device, cx);
        done.map(|done| done.map(judge))
    }

    /// Waits until nothing is in flight, at most for `limit`, and hands what is completed to `done`.
    pub(super) fn drain<T>(
        &mut self,
        device: &mut Live<T>,
        limit: Duration,
        mut done: impl FnMut(Done<B>),
    ) -> Result<()>
    where
        T: Transport<Platform = P>,
    {
        let each = |completion| done(judge(completion));
        self.queue.drain(device, limit, each)
    }

    fn transfer(
        &mut self,
        what: RequestType,
        sector: u64,
        buffer: B,
    ) -> Result<Token, Rejected<B>> {
        let checked = self.disk.check(sector, buffer.bytes());
        let data = if what == RequestType::IN {
            Data::Writable(buffer)
        } else {
            Data::Readable(buffer)
        };
        if let Err(why) = checked {
            let why = why.into();
            return Err(Rejected { why, data });
        }
        self.queue.submit(&header(what, sector), data)
    }
}

fn header(what: RequestType, sector: u64) -> RequestHeader {
    RequestHeader {
        sector: U64::new(sector),
        ..RequestHeader::new(what)
    }
}

/// What the device's answer means.
fn judge<B>(done: Completion<B, RequestStatus>) -> Done<B> {
    let Completion {
        token,
        data,
        written,
        fillable,
        answer,
    } = done;
    let result = match answer {
        // What was to be read has been written, says the length; whether the status counts in it is
        // said differently by devices.
        RequestStatus::OK if written >= fillable => Ok(()),
        RequestStatus::OK => Err(Failure::Device(Violation::TooShort {
            written,
            needed: fillable,
        })),
        RequestStatus::IOERR => Err(Failure::Io),
        RequestStatus::UNSUPP => Err(Failure::Unsupported),
        RequestStatus(other) => Err(Failure::Status(other)),
    };
    Done {
        token,
        buffer: data.buffer(),
        result,
    }
}
