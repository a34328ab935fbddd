//! Driver for the block device. Spec: VIRTIO 1.4 §5.2 "Block Device".
//!
//! A [`Blk`] is a disk with one request queue, for whoever uses it alone. Opened
//! [with several](Blk::open_with), it has [others](Blk::take_others), each of which is a handle to be
//! sent to a thread of its own.

use core::num::NonZeroU16;
use core::task::{Context, Poll};
use core::time::Duration;

use alloc::vec::Vec;

use ringway_ring::driver::Token;
use ringway_spec::blk::{F, REQUEST_QUEUE};
use ringway_spec::{DeviceId, Features};

use crate::bringup::{Config as DeviceConfig, Live, Probed, Wanted};
use crate::bus::{AnyTransport, Class, Driver};
use crate::dma::{Buffer, Counts, QueueOptions, Rejected};
use crate::error::{Error, Result, Violation};
use crate::platform::Platform;
use crate::transport::Transport;

mod disk;
mod requests;

pub use disk::Disk;
pub use requests::{Done, Failure, Requests};

/// A disk.
///
/// Nothing here waits but [`wait`](Self::wait) and [`next`](Self::next). [`read`](Self::read),
/// [`write`](Self::write), [`flush`](Self::flush) and [`id`](Self::id) hand the device a request,
/// as many as the queue has room for; [`poll`](Self::poll) takes what is done, in the
/// order in which the device has done it.
#[derive(Debug)]
pub struct Blk<T: Transport, B: Buffer = alloc::boxed::Box<[u8]>> {
    device: Live<T>,
    requests: Requests<T::Platform, B>,
    others: Vec<Requests<T::Platform, B>>,
}

/// What a driver of this type calls its queues.
const KIND: &str = "request";

impl<T: Transport, B: Buffer> Driver<T> for Blk<T, B> {
    const ID: DeviceId = DeviceId::BLOCK;

    fn probe(device: Probed<T>) -> Result<Self> {
        Self::open(device, &Wanted::default(), &QueueOptions::default())
    }
}

impl<P: Platform, B: Buffer> Class<P> for Blk<AnyTransport<P>, B> {
    type Change = Disk;

    fn change(config: &mut DeviceConfig<'_, AnyTransport<P>>) -> Result<Option<Disk>> {
        Disk::read(config).map(Some)
    }
}

impl<T: Transport, B: Buffer> Blk<T, B> {
    /// Brings the device up, with one request queue. Features of the disk are added to `wanted`;
    /// limits of the device to `options`.
    ///
    /// # Errors
    ///
    /// What [`bringup`](crate::bringup) finds; [`Violation::BadConfig`] if the device's limits
    /// cannot be.
    pub fn open(device: Probed<T>, wanted: &Wanted, options: &QueueOptions) -> Result<Self> {
        Self::open_with(device, wanted, NonZeroU16::MIN, |_| *options)
    }

    /// As [`open`](Self::open), with as many as `queues` request queues, or all that the device has
    /// if it has fewer; each as `options` says for its index.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). A device that says it has no queue, or more than there are, cannot
    /// be, either.
    pub fn open_with(
        device: Probed<T>,
        wanted: &Wanted,
        queues: NonZeroU16,
        options: impl Fn(u16) -> QueueOptions,
    ) -> Result<Self> {
        let several = match queues {
            NonZeroU16::MIN => Features::NONE,
            _ => F::MQ,
        };
        let disk_features = F::SIZE_MAX | F::SEG_MAX | F::BLK_SIZE | F::RO | F::FLUSH | several;
        let wanted = Wanted {
            optional: wanted.optional | (disk_features - wanted.without),
            ..*wanted
        };
        let mut device = device.negotiate(&wanted)?;
        let disk = Disk::read(&mut device.config())?;
        let queues = queues.min(disk::queues(&mut device.config())?);
        let mut pending = Vec::new();
        for index in REQUEST_QUEUE..queues.get() {
            let options = QueueOptions {
                kind: KIND,
                ..disk::limits(&mut device, &options(index))?
            };
            pending.push(match device.queue(index, &options) {
                // It said so itself that it has this one, as long as it is not the first.
                Err(Error::NoQueue(index)) if index != REQUEST_QUEUE => {
                    return Err(Violation::BadConfig("num_queues is more than there are").into());
                }
                queue => queue?,
            });
        }
        let (device, queues) = device.start(pending)?;
        let mut queues = queues.into_iter().map(|queue| Requests::new(queue, disk));
        Ok(Self {
            device,
            requests: queues.next().ok_or(Error::NoQueue(REQUEST_QUEUE))?,
            others: queues.collect(),
        })
    }

    /// The request queues beside the one that this disk's own methods use: none, unless it was
    /// [opened with several](Self::open_with).
    pub fn others(&mut self) -> &mut [Requests<T::Platform, B>] {
        &mut self.others
    }

    /// As [`others`](Self::others), taken out: to be used by whoever they are sent to. They answer
    /// [`Error::Gone`] when this disk was reset or dropped.
    pub fn take_others(&mut self) -> Vec<Requests<T::Platform, B>> {
        core::mem::take(&mut self.others)
    }

    /// What the device says of its disk.
    pub fn disk(&self) -> &Disk {
        self.requests.disk()
    }

    /// Reads again what the device says of its disk: it may have another size now. Requests that are
    /// made from now on may use all of it; those of queues that were taken out
    /// [are to be told](Requests::set_disk).
    ///
    /// # Errors
    ///
    /// [`Violation::BadConfig`] if it says what cannot be: what it said before stays.
    pub fn look_again(&mut self) -> Result<&Disk> {
        let disk = Disk::read(&mut self.device.config())?;
        self.requests.set_disk(disk);
        self.others
            .iter_mut()
            .for_each(|queue| queue.set_disk(disk));
        Ok(self.disk())
    }

    /// Reads from sector `sector` on, filling `buffer`: whole blocks.
    ///
    /// # Errors
    ///
    /// As [`Requests::read`].
    pub fn read(&mut self, sector: u64, buffer: B) -> Result<Token, Rejected<B>> {
        self.requests.read(sector, buffer)
    }

    /// Writes `buffer`, whole blocks, from sector `sector` on. It is durable after the next
    /// [`flush`](Self::flush), where there is one.
    ///
    /// # Errors
    ///
    /// As [`Requests::write`].
    pub fn write(&mut self, sector: u64, buffer: B) -> Result<Token, Rejected<B>> {
        self.requests.write(sector, buffer)
    }

    /// Makes all writes durable that were completed before (§5.2.6).
    ///
    /// # Errors
    ///
    /// As [`Requests::flush`].
    pub fn flush(&mut self) -> Result<Token, Rejected<B>> {
        self.requests.flush()
    }

    /// Asks for the disk's name, into a buffer of 20 bytes. It ends at the first zero, if there is
    /// one (§5.2.6).
    ///
    /// # Errors
    ///
    /// As [`Requests::id`].
    pub fn id(&mut self, buffer: B) -> Result<Token, Rejected<B>> {
        self.requests.id(buffer)
    }

    /// Tells the device of what was asked, if it wants to know. One kick does for many requests.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn kick(&mut self) -> Result<bool> {
        self.requests.kick()
    }

    /// Takes one completed request, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device broke a rule; [`Error::NeedsReset`] if it asks for a reset.
    pub fn poll(&mut self) -> Result<Option<Done<B>>> {
        match self.requests.poll()? {
            Some(done) => Ok(Some(done)),
            None => self.device.check().map(|()| None),
        }
    }

    /// Waits for one completed request, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], or as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Done<B>> {
        self.requests.wait_for(&mut self.device, limit)
    }

    /// Takes one completed request, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done<B>>> {
        self.requests.poll_next_of(&mut self.device, cx)
    }

    /// The next completed request.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<Done<B>> {
        core::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until the device has nothing any more, at most for `limit`, and hands what it completes to
    /// `done`: before it is taken back in good order. Queues that were taken out are for those who
    /// have them.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]: what is in flight stays there. Otherwise as [`poll`](Self::poll).
    pub fn drain(&mut self, limit: Duration, mut done: impl FnMut(Done<B>)) -> Result<()> {
        let queues = core::iter::once(&mut self.requests).chain(&mut self.others);
        for queue in queues {
            queue.drain(&mut self.device, limit, &mut done)?;
        }
        Ok(())
    }

    /// Says that nobody wants the answer to a request any more. The device goes on with it, and what it
    /// writes is written; the buffer is dropped, not returned, when it comes back.
    ///
    /// # Errors
    ///
    /// As [`Requests::cancel`].
    pub fn cancel(&mut self, token: Token) -> Result<()> {
        self.requests.cancel(token)
    }

    /// The device.
    pub fn device(&mut self) -> &mut Live<T> {
        &mut self.device
    }

    /// What went over its queue.
    pub fn counts(&self) -> Counts {
        self.requests.counts()
    }

    /// How many descriptors its queue has.
    pub fn queue_size(&self) -> u16 {
        self.requests.queue_size()
    }

    /// How many requests the device has of its queue.
    pub fn in_flight(&self) -> u16 {
        self.requests.in_flight()
    }

    /// Takes the queue back from the device, which goes on, and begins again with one of at most
    /// `size` descriptors. Buffers of requests that the device had not completed are handed to
    /// `back`.
    ///
    /// # Errors
    ///
    /// As [`Requests::resize`].
    pub fn resize(&mut self, size: u16, back: impl FnMut(B)) -> Result<()> {
        self.requests.resize(&mut self.device, size, back)
    }

    /// Takes back one request that was in flight when the device was reset, or went. `None` when
    /// there are no more.
    ///
    /// # Errors
    ///
    /// As [`Requests::reclaim`].
    pub fn reclaim(&mut self) -> Result<Option<Done<B>>> {
        self.requests.reclaim()
    }

    /// The handles that the driver is made of, to be used, sent and dropped apart: the device, and its
    /// request queues, less those that were taken out.
    pub fn into_parts(self) -> (Live<T>, Vec<Requests<T::Platform, B>>) {
        let queues = core::iter::once(self.requests).chain(self.others);
        (self.device, queues.collect())
    }

    /// Resets the device. Returns its transport, to begin again, and the queue, from which requests
    /// in flight can be [reclaimed](Requests::reclaim). [Take the others out](Self::take_others)
    /// before, if there are any in use.
    pub fn reset(self) -> (Result<T>, Requests<T::Platform, B>) {
        (self.device.reset(), self.requests)
    }
}

#[cfg(test)]
mod tests;
