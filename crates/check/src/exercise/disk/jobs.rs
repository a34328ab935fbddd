//! What is done with a disk: it is read whole, written here and there, and what was written is read
//! back.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ringway_driver::dma::DmaBuffer;
use ringway_driver::transport::Transport;
use ringway_spec::blk::SECTOR_SIZE;
use sha2::{Digest, Sha256};

use super::session::{Job, Request, Session, What};
use crate::exercise::bench::{Bench, Finding, Progress, hex};
use crate::exercise::plan::Range;

/// Bytes of one request when the disk is read whole, if that is a block at least.
const CHUNK: u64 = 64 * 1024;

/// The most bytes that are in flight when the disk is read whole.
const IN_FLIGHT: u64 = 16 * 1024 * 1024;

/// Reads all of a disk, and hashes it in the order of its sectors, however the requests are
/// completed.
pub(super) struct ReadAll {
    /// Bytes of one request, but for the last.
    chunk: u64,
    /// Where the last whole block ends, in bytes.
    end: u64,
    /// Where the next request begins.
    next: u64,
    /// Up to where all was hashed.
    hashed: u64,
    hash: Sha256,
    /// What came before its turn, by its sector.
    early: BTreeMap<u64, DmaBuffer>,
    /// Buffers of one chunk that are not in use, and how many more may be made.
    free: Vec<DmaBuffer>,
    to_make: u64,
    /// What is being hashed.
    bytes: Vec<u8>,
    progress: Progress,
}

impl ReadAll {
    pub(super) fn new<T: Transport>(session: &Session<'_, '_, T>) -> Self {
        let disk = session.blk.disk();
        let block = u64::from(disk.block_size);
        let bytes = disk.sectors.saturating_mul(SECTOR_SIZE as u64);
        let chunk = CHUNK.max(block);
        Self {
            chunk,
            end: bytes.saturating_sub(bytes.checked_rem(block).unwrap_or(0)),
            next: 0,
            hashed: 0,
            hash: Sha256::new(),
            early: BTreeMap::new(),
            free: Vec::new(),
            to_make: (IN_FLIGHT / chunk).clamp(1, session.blk.queue_size().into()),
            bytes: Vec::new(),
            progress: Progress::of(bytes),
        }
    }

    /// The SHA-256 of what was read, in hexadecimal.
    pub(super) fn sha256(self) -> String {
        hex(&self.hash.finalize())
    }

    /// A buffer for the next request, if there is one.
    fn buffer<T: Transport>(
        &mut self,
        session: &Session<'_, '_, T>,
        len: u64,
    ) -> Finding<Option<DmaBuffer>> {
        // No longer than a chunk, which is no longer than a block or `CHUNK`: both have 32 bits.
        let bytes = len as usize;
        if len != self.chunk {
            return session.buffer_or_wait(bytes);
        }
        if let Some(buffer) = self.free.pop() {
            return Ok(Some(buffer));
        }
        if self.to_make == 0 {
            return Ok(None);
        }
        self.to_make -= 1;
        session.buffer_or_wait(bytes)
    }
}

impl Job for ReadAll {
    fn next<T: Transport>(&mut self, session: &mut Session<'_, '_, T>) -> Finding<Option<Request>> {
        let len = self.chunk.min(self.end - self.next);
        if len == 0 {
            return Ok(None);
        }
        let Some(buffer) = self.buffer(session, len)? else {
            return Ok(None);
        };
        let sector = self.next / SECTOR_SIZE as u64;
        self.next += len;
        Ok(Some(Request {
            what: What::Read,
            sector,
            buffer,
        }))
    }

    fn done(&mut self, sector: u64, buffer: DmaBuffer, bench: &mut Bench<'_, '_>) -> Finding {
        self.early.insert(sector, buffer);
        // At most as many turns as there are buffers.
        while let Some(buffer) = self.early.remove(&(self.hashed / SECTOR_SIZE as u64)) {
            read(&buffer, &mut self.bytes)?;
            self.hash.update(&self.bytes);
            self.hashed += buffer.len() as u64;
            if buffer.len() as u64 == self.chunk {
                self.free.push(buffer);
            }
        }
        bench.progress(&mut self.progress, self.hashed);
        Ok(())
    }
}

/// Writes random bytes to some ranges.
pub(super) struct Write {
    ranges: vec::IntoIter<Range>,
    in_flight: BTreeMap<u64, Vec<u8>>,
    written: BTreeMap<u64, Vec<u8>>,
}

impl Write {
    pub(super) fn new(ranges: Vec<Range>) -> Self {
        Self {
            ranges: ranges.into_iter(),
            in_flight: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// What was written, by its first sector.
    pub(super) fn written(self) -> BTreeMap<u64, Vec<u8>> {
        self.written
    }
}

impl Job for Write {
    fn next<T: Transport>(&mut self, session: &mut Session<'_, '_, T>) -> Finding<Option<Request>> {
        let Some(Range { sector, bytes }) = self.ranges.as_slice().first().copied() else {
            return Ok(None);
        };
        // Some blocks, of 32 bits.
        let len = bytes as usize;
        let Some(mut buffer) = session.buffer_or_wait(len)? else {
            return Ok(None);
        };
        self.ranges.next();
        let bytes = session.bench.random.take(len);
        // As long as the buffer.
        let _ = buffer.write(0, &bytes);
        self.in_flight.insert(sector, bytes);
        Ok(Some(Request {
            what: What::Write,
            sector,
            buffer,
        }))
    }

    fn done(&mut self, sector: u64, _: DmaBuffer, bench: &mut Bench<'_, '_>) -> Finding {
        if let Some(bytes) = self.in_flight.remove(&sector) {
            bench.wrote(sector, &bytes);
            self.written.insert(sector, bytes);
        }
        Ok(())
    }
}

/// Reads what was written, and compares.
pub(super) struct ReadBack<'w> {
    written: &'w BTreeMap<u64, Vec<u8>>,
    /// From where on it is still to be read, in sectors.
    next: u64,
    bytes: Vec<u8>,
}

impl<'w> ReadBack<'w> {
    pub(super) fn new(written: &'w BTreeMap<u64, Vec<u8>>) -> Self {
        Self {
            written,
            next: 0,
            bytes: Vec::new(),
        }
    }
}

impl Job for ReadBack<'_> {
    fn next<T: Transport>(&mut self, session: &mut Session<'_, '_, T>) -> Finding<Option<Request>> {
        let Some((&sector, bytes)) = self.written.range(self.next..).next() else {
            return Ok(None);
        };
        let Some(buffer) = session.buffer_or_wait(bytes.len())? else {
            return Ok(None);
        };
        self.next = sector.saturating_add(1);
        Ok(Some(Request {
            what: What::Read,
            sector,
            buffer,
        }))
    }

    fn done(&mut self, sector: u64, buffer: DmaBuffer, _: &mut Bench<'_, '_>) -> Finding {
        read(&buffer, &mut self.bytes)?;
        let expected = self.written.get(&sector).map_or(&[][..], Vec::as_slice);
        let differs = expected.iter().zip(&self.bytes).position(|(a, b)| a != b);
        match differs {
            None => Ok(()),
            Some(at) => Err(format!(
                "sector {sector}: byte {at} of {} is not what was written",
                expected.len()
            )),
        }
    }
}

/// Copies all of a buffer out.
fn read(buffer: &DmaBuffer, into: &mut Vec<u8>) -> Finding {
    into.resize(buffer.len(), 0);
    // Cannot fail: it is as long as the buffer.
    buffer
        .read(0, into)
        .map_err(|_| "a buffer has become shorter".into())
}
