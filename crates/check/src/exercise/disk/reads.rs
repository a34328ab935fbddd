//! Reads a disk again and again, and does nothing else with it: for those who count what that takes.

use alloc::vec::Vec;

use ringway_driver::dma::DmaBuffer;
use ringway_driver::transport::Transport;
use ringway_spec::blk::SECTOR_SIZE;

use super::session::{Job, Request, Session, What};
use crate::exercise::bench::{Bench, Finding};

/// Bytes of a read, if that is a block at least.
const BYTES: u64 = 4096;

/// Reads one piece of a disk after the other, and begins again where it ends.
pub(super) struct ReadAgain {
    /// Reads that are still to be made.
    left: u32,
    /// Sectors of one.
    sectors: u64,
    /// Where the last one begins.
    last: u64,
    /// Where the next one begins.
    next: u64,
    /// Buffers that are not in use.
    free: Vec<DmaBuffer>,
}

impl ReadAgain {
    /// To be done `count` times.
    pub(super) fn new<T: Transport>(session: &Session<'_, '_, T>, count: u32) -> Self {
        let disk = session.blk.disk();
        let sectors = BYTES.max(disk.block_size.into()) / SECTOR_SIZE as u64;
        Self {
            left: count,
            sectors,
            last: disk.sectors.saturating_sub(sectors),
            next: 0,
            free: Vec::new(),
        }
    }
}

impl Job for ReadAgain {
    fn next<T: Transport>(&mut self, session: &mut Session<'_, '_, T>) -> Finding<Option<Request>> {
        if self.left == 0 {
            return Ok(None);
        }
        // No more than a block or `BYTES`: both have 32 bits.
        let bytes = self.sectors as usize * SECTOR_SIZE;
        let buffer = match self.free.pop() {
            Some(buffer) => buffer,
            None => session.buffer(bytes)?,
        };
        self.left -= 1;
        let sector = self.next;
        let following = sector + self.sectors;
        self.next = if following > self.last { 0 } else { following };
        Ok(Some(Request {
            what: What::Read,
            sector,
            buffer,
        }))
    }

    fn done(&mut self, _: u64, buffer: DmaBuffer, _: &mut Bench<'_, '_>) -> Finding {
        self.free.push(buffer);
        Ok(())
    }
}
