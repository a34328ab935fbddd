//! Driver for the block device. Spec: VIRTIO 1.4 §5.2 "Block Device".

use core::task::{Context, Poll};
use core::time::Duration;

use ringway_ring::driver::Token;
use ringway_spec::DeviceId;
use ringway_spec::blk::{
    Config, F, ID_BYTES, REQUEST_QUEUE, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE,
};
use ringway_spec::le::{U32, U64};

use crate::bringup::{Config as DeviceConfig, Live, Negotiated, Probed, Wanted};
use crate::bus::{AnyTransport, Class, Driver};
use crate::dma::{Buffer, Completion, Counts, Data, Queue, QueueOptions, Rejected};
use crate::error::{RequestError, Result, Violation};
use crate::platform::Platform;
use crate::transport::Transport;

/// A disk.
///
/// Nothing here waits but [`wait`](Self::wait) and [`next`](Self::next). [`read`](Self::read),
/// [`write`](Self::write), [`flush`](Self::flush) and [`id`](Self::id) hand the device a request,
/// as many as the queue has room for; [`poll`](Self::poll) takes what is done, in the
/// order in which the device has done it.
#[derive(Debug)]
pub struct Blk<T: Transport, B: Buffer = alloc::boxed::Box<[u8]>> {
    device: Live<T>,
    requests: Queue<T::Platform, B, RequestHeader, RequestStatus>,
    disk: Disk,
}

/// What the device says of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Size, in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a logical block, of which requests must be whole ones. At least 512.
    pub block_size: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether writes may be kept in a cache until [`Blk::flush`].
    pub can_flush: bool,
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
    /// Brings the device up. Features of the disk are added to `wanted`; limits of the device to
    /// `options`.
    ///
    /// # Errors
    ///
    /// What [`bringup`](crate::bringup) finds; [`Violation::BadConfig`] if the device's limits
    /// cannot be.
    pub fn open(device: Probed<T>, wanted: &Wanted, options: &QueueOptions) -> Result<Self> {
        let disk_features = F::SIZE_MAX | F::SEG_MAX | F::BLK_SIZE | F::RO | F::FLUSH;
        let wanted = Wanted {
            optional: wanted.optional | (disk_features - wanted.without),
            ..*wanted
        };
        let mut device = device.negotiate(&wanted)?;
        let disk = Disk::read(&mut device.config())?;
        let options = limits(&mut device, options)?;
        let requests = device.queue(REQUEST_QUEUE, &options)?;
        let (device, requests) = device.start(requests)?;
        Ok(Self {
            device,
            requests,
            disk,
        })
    }

    /// What the device says of its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Reads again what the device says of its disk: it may have another size now. Requests that are
    /// made from now on may use all of it.
    ///
    /// # Errors
    ///
    /// [`Violation::BadConfig`] if it says what cannot be: what it said before stays.
    pub fn look_again(&mut self) -> Result<&Disk> {
        self.disk = Disk::read(&mut self.device.config())?;
        Ok(&self.disk)
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

    /// Makes all writes durable that were completed before (§5.2.6).
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
        self.requests
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
        self.requests
            .submit(&header(RequestType::GET_ID, 0), Data::Writable(buffer))
    }

    /// Tells the device of what was asked, if it wants to know. One kick does for many requests.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn kick(&mut self) -> Result<bool> {
        self.requests.kick()
    }

    /// Takes one completed request, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device broke a rule;
    /// [`Error::NeedsReset`](crate::Error::NeedsReset) if it asks for a reset.
    pub fn poll(&mut self) -> Result<Option<Done<B>>> {
        match self.requests.poll()? {
            Some(done) => Ok(Some(judge(done))),
            None => self.device.check().map(|()| None),
        }
    }

    /// Waits for one completed request, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut), or as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Done<B>> {
        self.requests.wait_for(&mut self.device, limit).map(judge)
    }

    /// Takes one completed request, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done<B>>> {
        self.requests
            .poll_next_of(&mut self.device, cx)
            .map(|done| done.map(judge))
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
    /// `done`: before it is taken back in good order.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut): what is in flight stays there. Otherwise as
    /// [`poll`](Self::poll).
    pub fn drain(&mut self, limit: Duration, mut done: impl FnMut(Done<B>)) -> Result<()> {
        let each = |completion| done(judge(completion));
        self.requests.drain(&mut self.device, limit, each)
    }

    /// Says that nobody wants the answer to a request any more. The device goes on with it, and what it
    /// writes is written; the buffer is dropped, not returned, when it comes back.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::cancel`].
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
        self.requests.size()
    }

    /// How many requests the device has.
    pub fn in_flight(&self) -> u16 {
        self.requests.in_flight()
    }

    /// Takes the queue back from the device, which goes on, and begins again with one of at most
    /// `size` descriptors. Buffers of requests that the device had not completed are handed to
    /// `back`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::resize`].
    pub fn resize(&mut self, size: u16, mut back: impl FnMut(B)) -> Result<()> {
        // There is one at most for each request.
        let back = |data: Data<B>| data.buffer().into_iter().for_each(&mut back);
        self.requests.resize(&mut self.device, size, back)
    }

    /// Takes back one request that was in flight when the device was reset, or went. `None` when
    /// there are no more.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::reclaim`].
    pub fn reclaim(&mut self) -> Result<Option<Done<B>>> {
        let reclaimed = self.requests.reclaim_request()?;
        Ok(reclaimed.map(|(token, data)| Done {
            token,
            buffer: data.buffer(),
            result: Err(Failure::Gone),
        }))
    }

    /// The two handles that the driver is made of, to be used, sent and dropped apart.
    pub fn into_parts(self) -> (Live<T>, Queue<T::Platform, B, RequestHeader, RequestStatus>) {
        (self.device, self.requests)
    }

    /// Resets the device. Returns its transport, to begin again, and the queue, from which buffers
    /// in flight can be [reclaimed](Queue::reclaim).
    pub fn reset(
        self,
    ) -> (
        Result<T>,
        Queue<T::Platform, B, RequestHeader, RequestStatus>,
    ) {
        (self.device.reset(), self.requests)
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
        self.requests.submit(&header(what, sector), data)
    }
}

impl Disk {
    /// Reads what the device says, and refuses what cannot be.
    fn read<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<Self> {
        let features = config.features();
        let sectors = config.read(Config::CAPACITY)?.get();
        let block_size = config
            .read_gated(Config::BLK_SIZE)?
            .map_or(SECTOR_SIZE as u32, U32::get);
        if !block_size.is_power_of_two() || (block_size as usize) < SECTOR_SIZE {
            return Err(
                Violation::BadConfig("blk_size is not a power of two of at least 512").into(),
            );
        }
        Ok(Self {
            sectors,
            block_size,
            read_only: features.contains(F::RO),
            can_flush: features.contains(F::FLUSH),
        })
    }

    /// Whether `len` bytes from `sector` on are whole blocks of the disk.
    fn check(&self, sector: u64, len: usize) -> Result<(), RequestError> {
        let unit = self.block_size;
        let aligned = len.is_multiple_of(unit as usize)
            && sector.is_multiple_of(u64::from(unit) / SECTOR_SIZE as u64);
        let sectors = (len / SECTOR_SIZE) as u64;
        if len == 0 {
            Err(RequestError::Empty)
        } else if !aligned {
            Err(RequestError::NotWholeBlocks { len, unit })
        } else if sector
            .checked_add(sectors)
            .is_none_or(|end| end > self.sectors)
        {
            Err(RequestError::PastEnd {
                sector,
                sectors,
                capacity: self.sectors,
            })
        } else {
            Ok(())
        }
    }
}

/// Bounds the pieces of a request by what the device takes.
fn limits<T: Transport>(
    device: &mut Negotiated<T>,
    options: &QueueOptions,
) -> Result<QueueOptions> {
    let mut config = device.config();
    // A device may say 0 and mean that it has no limit: QEMU's, and Linux's reading of it.
    let limit = |value: Option<U32>| {
        value
            .map(U32::get)
            .filter(|value| *value != 0)
            .unwrap_or(u32::MAX)
    };
    let longest = limit(config.read_gated(Config::SIZE_MAX)?).min(options.longest);
    let segments = limit(config.read_gated(Config::SEG_MAX)?).min(u32::from(options.segments));
    // No more than `options.segments`, which has 16 bits.
    Ok(QueueOptions {
        longest,
        segments: segments as u16,
        ..*options
    })
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

#[cfg(test)]
mod tests;
