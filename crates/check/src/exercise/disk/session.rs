//! A disk that is being exercised, and the one loop for all that is done with many requests at a
//! time.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_driver::blk::{Blk, Done};
use ringway_driver::dma::{Data, DmaBuffer, Rejected};
use ringway_driver::error::{Error, PlatformError};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;

use crate::exercise::bench::{Bench, Finding, Tally};
use crate::exercise::way::Way;

/// Completions that are taken before new requests are made, at most: the device is to have enough
/// to do meanwhile.
const BATCH: u16 = 16;

/// How requests are made and completions taken.
#[derive(Clone, Copy)]
struct Pace {
    /// The most requests in flight.
    depth: u16,
    /// Completions that are waited for before new requests are made.
    least: u16,
    /// Completions that are taken before that, at most.
    batch: u16,
}

/// A disk that is being exercised.
pub(super) struct Session<'b, 's, T: Transport> {
    pub(super) blk: Blk<T, DmaBuffer>,
    pub(super) bench: Bench<'b, 's>,
    platform: T::Platform,
    /// The first sector of each request in flight, by its id.
    sectors: Vec<Option<u64>>,
    /// What went wrong with the device itself. Nothing more is asked of it then.
    broken: Option<Error>,
    /// Buffers.
    pub(super) tally: Tally,
    /// The most requests that were in flight.
    pub(super) deepest: u16,
    /// Bytes that were moved.
    pub(super) bytes: u64,
}

/// Something to ask of the disk.
pub(super) struct Request {
    pub(super) what: What,
    pub(super) sector: u64,
    pub(super) buffer: DmaBuffer,
}

/// Which way the bytes go.
#[derive(Clone, Copy)]
pub(super) enum What {
    Read,
    Write,
}

/// Something to be done with many requests.
pub(super) trait Job {
    /// The next request. `None` if there is none, or not before others are done.
    fn next<T: Transport>(&mut self, session: &mut Session<'_, '_, T>) -> Finding<Option<Request>>;

    /// The request at `sector` was done, with this buffer.
    fn done(&mut self, sector: u64, buffer: DmaBuffer, bench: &mut Bench<'_, '_>) -> Finding;
}

impl<'b, 's, T: Transport> Session<'b, 's, T> {
    pub(super) fn new(blk: Blk<T, DmaBuffer>, platform: T::Platform, bench: Bench<'b, 's>) -> Self {
        Self {
            sectors: vec![None; usize::from(blk.queue_size())],
            blk,
            bench,
            platform,
            broken: None,
            tally: Tally::default(),
            deepest: 0,
            bytes: 0,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.platform.now()
    }

    /// A buffer of `len` bytes.
    pub(super) fn buffer(&self, len: usize) -> Finding<DmaBuffer> {
        DmaBuffer::new(&self.platform, len).map_err(|error| error.to_string())
    }

    /// A buffer of `len` bytes, or none if that has to wait for memory until a request is done.
    pub(super) fn buffer_or_wait(&self, len: usize) -> Finding<Option<DmaBuffer>> {
        match DmaBuffer::new(&self.platform, len) {
            Ok(buffer) => Ok(Some(buffer)),
            Err(PlatformError::NoMemory(_)) if self.blk.in_flight() != 0 => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has the queue, of which nothing is in flight, reset alone and begun again at another size.
    ///
    /// QEMU 10 goes on with requests of a disk's queue that was reset meanwhile, and writes to
    /// buffers that are not its own any more.
    pub(super) fn resize(&mut self, size: u16) -> Finding {
        self.usable()?;
        let mut back = 0;
        let resized = self.blk.resize(size, |_| back += 1);
        self.tally.back += back;
        resized.map_err(|error| self.broke(error))?;
        self.sectors = vec![None; usize::from(self.blk.queue_size())];
        Ok(())
    }

    /// Does `job`, its completions taken in this `way`: by a thread that waits, one request at a
    /// time; otherwise as many as there is room for. After the first failure no more are made,
    /// and those in flight are waited for.
    pub(super) fn run(&mut self, way: Way, job: &mut impl Job) -> Finding {
        let depth = self.most();
        let (depth, batch) = match way {
            Way::Polled => (depth, BATCH),
            Way::Blocking => (1, 1),
            Way::Async => (depth, 1),
        };
        let pace = Pace {
            depth,
            least: 1,
            batch,
        };
        self.run_at(pace, way, job)
    }

    /// As [`run`](Self::run), with as many requests as there may be, whatever the `way`. New ones are
    /// made when half of those are done, so that one kick does for many.
    pub(super) fn run_by_halves(&mut self, way: Way, job: &mut impl Job) -> Finding {
        let depth = self.most().min(self.blk.queue_size());
        let pace = Pace {
            depth,
            least: depth.div_ceil(2),
            batch: depth,
        };
        self.run_at(pace, way, job)
    }

    /// Waits for the one request that was made.
    pub(super) fn only<X>(
        &mut self,
        asked: Result<X, Rejected<DmaBuffer>>,
    ) -> Finding<Done<DmaBuffer>> {
        self.usable()?;
        asked.map_err(|rejected| rejected.why.to_string())?;
        let done = Way::Blocking
            .take(&self.platform, &mut self.blk)
            .map_err(|error| self.broke(error))?;
        self.tally.back += u64::from(done.buffer.is_some());
        Ok(done)
    }

    /// Finds that a request was refused, as it `should` be, and that its buffer was handed back.
    pub(super) fn refused<X>(
        &mut self,
        asked: Result<X, Rejected<DmaBuffer>>,
        should: impl FnOnce(Error) -> bool,
    ) -> Finding {
        match asked {
            Ok(_) => {
                self.tally.given += 1;
                self.only(asked)?;
                Err("it was not refused".to_string())
            }
            Err(Rejected {
                data: Data::None, ..
            }) => Err("its buffer was kept".to_string()),
            Err(Rejected { why, .. }) if should(why) => Ok(()),
            Err(Rejected { why, .. }) => Err(format!("it was refused since {why}")),
        }
    }

    fn run_at(&mut self, pace: Pace, way: Way, job: &mut impl Job) -> Finding {
        let mut outcome = self.usable();
        let mut refused = None;
        while self.broken.is_none() {
            if outcome.is_ok() {
                outcome = self.submit(job, pace.depth, &mut refused);
            }
            if self.blk.in_flight() == 0 {
                break;
            }
            outcome = outcome.and(self.take(way, pace, job));
        }
        outcome
    }

    /// The most requests that there may be in flight.
    fn most(&self) -> u16 {
        self.bench.options.depth.unwrap_or(u16::MAX).max(1)
    }

    fn usable(&self) -> Finding {
        self.broken.map_or(Ok(()), |error| Err(error.to_string()))
    }

    /// Makes requests until there are no more, no more room, or `depth` of them in flight.
    fn submit(&mut self, job: &mut impl Job, depth: u16, refused: &mut Option<Request>) -> Finding {
        while self.blk.in_flight() < depth {
            let next = match refused.take() {
                Some(request) => Some(request),
                None => job.next(self)?,
            };
            let Some(request) = next else {
                return Ok(());
            };
            let Request {
                what,
                sector,
                buffer,
            } = request;
            let asked = match what {
                What::Read => self.blk.read(sector, buffer),
                What::Write => self.blk.write(sector, buffer),
            };
            match asked {
                Ok(token) => {
                    if let Some(place) = self.sectors.get_mut(usize::from(token.id())) {
                        *place = Some(sector);
                    }
                    self.tally.given += 1;
                    self.deepest = self.deepest.max(self.blk.in_flight());
                }
                Err(Rejected {
                    why: Error::QueueFull | Error::PoolFull,
                    data: Data::Readable(buffer) | Data::Writable(buffer),
                }) if self.blk.in_flight() != 0 => {
                    *refused = Some(Request {
                        what,
                        sector,
                        buffer,
                    });
                    return Ok(());
                }
                Err(Rejected { why, .. }) => return Err(format!("sector {sector}: {why}")),
            }
        }
        Ok(())
    }

    /// Takes completions: those that are waited for, in this `way`, and then others that are there.
    fn take(&mut self, way: Way, pace: Pace, job: &mut impl Job) -> Finding {
        let mut outcome = Ok(());
        for taken in 0..pace.batch.min(self.blk.in_flight()) {
            let done = if taken < pace.least {
                way.take(&self.platform, &mut self.blk).map(Some)
            } else {
                self.blk.poll()
            };
            let Some(done) = done.map_err(|error| self.broke(error))? else {
                break;
            };
            outcome = outcome.and(self.settle(job, done));
        }
        outcome
    }

    /// Looks at a completion, and lets `job` have it if it is good.
    fn settle(&mut self, job: &mut impl Job, done: Done<DmaBuffer>) -> Finding {
        let place = self.sectors.get_mut(usize::from(done.token.id()));
        let sector = place.and_then(Option::take);
        let sector = sector.ok_or("something was completed that was not asked for")?;
        self.tally.back += u64::from(done.buffer.is_some());
        done.result
            .map_err(|failure| format!("sector {sector}: {failure}"))?;
        let buffer = done.buffer;
        let buffer = buffer.ok_or_else(|| format!("sector {sector}: its buffer is gone"))?;
        self.bytes += buffer.len() as u64;
        job.done(sector, buffer, &mut self.bench)
    }

    fn broke(&mut self, error: Error) -> alloc::string::String {
        self.broken = Some(error);
        error.to_string()
    }
}
