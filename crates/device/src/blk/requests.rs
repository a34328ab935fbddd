//! Serves one request queue.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;

use ringway_ring::device::{Batch, Chain, Readable, TooShort, Violation, Writable};
use ringway_ring::shared::Shared;
use ringway_spec::Features;
use ringway_spec::blk::{
    F, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE, Segment, SegmentFlags,
};
use zerocopy::{FromZeros, IntoBytes};

use super::disk::{Channel, Disk, Pace, Range, Stable, Tag, Unmap};
use super::kept::{Kept, Request};
use super::{
    BATCH_BYTES, DISCARD_SECTORS_MAX, PUBLISH_BYTES, RANGES_MAX, REQUEST_BYTES_MAX,
    ZEROES_SECTORS_MAX,
};
use crate::error::{Error, Result};
use crate::model::Worker;

/// The worker of a request queue.
pub(super) struct Requests {
    disk: Arc<dyn Disk>,
    channel: Box<dyn Channel>,
    pace: Pace,
    features: Features,
    writeback: Arc<AtomicBool>,
    kept: Kept,
    /// Of the request at hand.
    ranges: Vec<Range>,
}

/// What became of a request that was begun.
enum Begun {
    /// It is done, and so many bytes were written for the driver.
    Done(u32),
    /// It is kept. Its status goes here.
    Kept(Option<Shared>),
}

impl Worker for Requests {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        self.complete(batch);
        let (mut moved, mut unseen) = (0_u64, 0_u64);
        while moved < BATCH_BYTES {
            let Some(chain) = batch.next_chain()? else {
                break;
            };
            let bytes =
                u64::from(chain.readable_bytes()).saturating_add(chain.writable_bytes().into());
            moved = moved.saturating_add(bytes);
            match self.begin(&chain, batch) {
                Ok(Begun::Done(written)) => batch.complete(chain, written),
                Ok(Begun::Kept(status)) => {
                    self.kept.keep(Request { chain, status });
                    continue;
                }
                Err(violation) => return Err(batch.violated(violation)),
            }
            unseen = unseen.saturating_add(bytes);
            // What the next request takes is not for this one to wait for.
            if self.pace == Pace::Waits || unseen >= PUBLISH_BYTES {
                batch.publish();
                unseen = 0;
            }
        }
        self.channel.push();
        self.complete(batch);
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.kept.is_empty()
    }

    fn ready(&self) -> Option<i32> {
        self.channel.ready()
    }
}

impl Requests {
    pub(super) fn new(disk: Arc<dyn Disk>, features: Features, writeback: Arc<AtomicBool>) -> Self {
        let channel = disk.clone().channel();
        Self {
            pace: channel.pace(),
            disk,
            channel,
            features,
            writeback,
            kept: Kept::default(),
            ranges: Vec::new(),
        }
    }

    /// Completes what was kept and is done.
    fn complete(&mut self, batch: &mut Batch<'_>) {
        // As often as requests are kept.
        while !self.kept.is_empty()
            && let Some((tag, result)) = self.channel.next_done()
        {
            let Some(Request { chain, status }) = self.kept.take(tag) else {
                continue;
            };
            let outcome = outcome(result);
            let told = status.is_some_and(|at| at.view().write(0, outcome.as_bytes()).is_ok());
            let written = if told { chain.writable_bytes() } else { 0 };
            batch.complete(chain, written);
        }
    }

    /// Begins what one request asks.
    fn begin(&mut self, chain: &Chain, batch: &Batch<'_>) -> Result<Begun, Violation> {
        let no_header = Violation::Request("block request is shorter than its header (§5.2.6)");
        let no_status = Violation::Request("block request has no room for its status (§5.2.6)");
        let mut data = batch.readable(chain);
        let header: RequestHeader = data.read_value().map_err(|TooShort| no_header)?;
        let mut status = batch.writable(chain);
        let room = status.remaining().checked_sub(1).ok_or(no_status)?;
        let answer = status.split_front(room).map_err(|TooShort| no_status)?;

        let outcome = match header.request_type {
            RequestType::IN => self.read(header.sector.get(), answer),
            _ => self.perform(&header, data, answer),
        };
        let Poll::Ready(outcome) = outcome else {
            let run = status.next_run();
            return Ok(Begun::Kept(run.ok().and_then(|run| run.to_shared())));
        };
        Ok(Begun::Done(match status.write(outcome.as_bytes()) {
            Ok(()) => chain.writable_bytes(),
            // Nothing can be said to the driver where there is no memory.
            Err(TooShort) => 0,
        }))
    }

    fn read(&mut self, sector: u64, answer: Writable<'_>) -> Poll<RequestStatus> {
        match self.offset(sector, answer.remaining()) {
            Ok(at) => self
                .channel
                .read(self.kept.next_tag(), at, answer)
                .map(outcome),
            Err(status) => {
                show_zeroes(answer);
                Poll::Ready(status)
            }
        }
    }

    /// Begins a request that is no read. Whatever it does not fill of the driver's memory is shown
    /// as zeroes, so that what is said to be written is written.
    fn perform(
        &mut self,
        header: &RequestHeader,
        data: Readable<'_>,
        mut answer: Writable<'_>,
    ) -> Poll<RequestStatus> {
        let tag = self.kept.next_tag();
        let begun = match header.request_type {
            RequestType::OUT => self.write(tag, header.sector.get(), data),
            RequestType::FLUSH if self.features.contains(F::FLUSH) => Ok(self.channel.flush(tag)),
            RequestType::GET_ID => {
                let id = self.disk.id();
                match answer.write(&id) {
                    Ok(()) => Ok(Poll::Ready(Ok(()))),
                    Err(TooShort) => Err(RequestStatus::IOERR),
                }
            }
            RequestType::DISCARD if self.features.contains(F::DISCARD) => self
                .read_ranges(data, DISCARD_SECTORS_MAX, SegmentFlags::empty())
                .map(|()| self.channel.discard(tag, &self.ranges)),
            RequestType::WRITE_ZEROES if self.features.contains(F::WRITE_ZEROES) => self
                .read_ranges(data, ZEROES_SECTORS_MAX, SegmentFlags::UNMAP)
                .map(|()| {
                    let stable = self.stable();
                    self.channel.write_zeroes(tag, &self.ranges, stable)
                }),
            _ => Err(RequestStatus::UNSUPP),
        };
        show_zeroes(answer);
        match begun {
            Ok(result) => result.map(outcome),
            Err(status) => Poll::Ready(status),
        }
    }

    fn write(
        &mut self,
        tag: Tag,
        sector: u64,
        data: Readable<'_>,
    ) -> Result<Poll<Result>, RequestStatus> {
        if self.disk.is_read_only() {
            return Err(RequestStatus::IOERR);
        }
        let at = self.offset(sector, data.remaining())?;
        Ok(self.channel.write(tag, at, data, self.stable()))
    }

    /// When what is written now is to be stable (§5.2.6.2).
    fn stable(&self) -> Stable {
        if self.writeback.load(Ordering::SeqCst) {
            Stable::WhenFlushed
        } else {
            Stable::WhenDone
        }
    }

    /// Reads the ranges of a request, every one of them checked, before anything is done for one.
    fn read_ranges(
        &mut self,
        mut data: Readable<'_>,
        sectors_max: u32,
        flags: SegmentFlags,
    ) -> Result<(), RequestStatus> {
        self.ranges.clear();
        let bytes = data.remaining();
        // Whole ranges only.
        if bytes > (RANGES_MAX as u64).saturating_mul(RANGE_BYTES)
            || !bytes.is_multiple_of(RANGE_BYTES)
        {
            return Err(RequestStatus::IOERR);
        }
        while data.remaining() != 0 {
            let mut segment = Segment::new_zeroed();
            if data.read(segment.as_mut_bytes()).is_err() {
                return Err(RequestStatus::IOERR);
            }
            let given = SegmentFlags::from_bits_retain(segment.flags.get());
            if !flags.contains(given) {
                return Err(RequestStatus::UNSUPP);
            }
            let sectors = segment.num_sectors.get();
            if sectors > sectors_max {
                return Err(RequestStatus::IOERR);
            }
            let len = u64::from(sectors).saturating_mul(SECTOR_SIZE as u64);
            self.ranges.push(Range {
                offset: range_offset(&*self.disk, segment.sector.get(), len)?,
                len,
                unmap: if given.contains(SegmentFlags::UNMAP) {
                    Unmap::Allow
                } else {
                    Unmap::Keep
                },
            });
        }
        Ok(())
    }

    /// Where on the disk the `len` bytes of data from `sector` on begin, if they are whole sectors
    /// and on the disk.
    pub(super) fn offset(&self, sector: u64, len: u64) -> Result<u64, RequestStatus> {
        if len > REQUEST_BYTES_MAX || !len.is_multiple_of(SECTOR_SIZE as u64) {
            return Err(RequestStatus::IOERR);
        }
        range_offset(&*self.disk, sector, len)
    }
}

/// Bytes of a range in a request.
const RANGE_BYTES: u64 = size_of::<Segment>() as u64;

/// The first byte of `len` bytes from `sector` on, if they are all on the disk.
fn range_offset(disk: &dyn Disk, sector: u64, len: u64) -> Result<u64, RequestStatus> {
    let offset = sector.checked_mul(SECTOR_SIZE as u64);
    let end = offset.and_then(|offset| offset.checked_add(len));
    let size = disk.sectors().saturating_mul(SECTOR_SIZE as u64);
    offset
        .filter(|_| end.is_some_and(|end| end <= size))
        .ok_or(RequestStatus::IOERR)
}

/// Sets what is left of an answer to zero.
fn show_zeroes(mut answer: Writable<'_>) {
    let rest = answer.remaining();
    // Where there is no memory, nothing is shown.
    let _gone = answer.zero(rest);
}

fn outcome(result: Result) -> RequestStatus {
    match result {
        Ok(()) => RequestStatus::OK,
        Err(Error::Unsupported) => RequestStatus::UNSUPP,
        Err(Error::Medium) => RequestStatus::IOERR,
    }
}
