//! Images that are read and written past the system's cache (`O_DIRECT`), and what that asks for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ringway_ring::shared::View;
use ringway_spec::blk::SECTOR_SIZE;
use rustix::fs::{AtFlags, StatxFlags, statx};

/// What is asked for where the system cannot say: the largest that media have in practice.
const UNSAID: u64 = 4096;

/// Most bytes that are bounced at a time.
const BOUNCE_BYTES: usize = 1 << 20;

/// How memory, and places in a file, must be aligned: powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    memory: u64,
    block: u64,
}

impl Direct {
    /// What `file` asks for, which was opened so. `None` if its file system has no such thing.
    pub(crate) fn of(file: &File) -> Option<Self> {
        let asked = StatxFlags::DIOALIGN;
        let found = statx(file, "", AtFlags::EMPTY_PATH, asked).ok();
        let found = found.filter(|found| found.stx_mask & asked.bits() != 0);
        let (memory, block) = found.map_or((UNSAID, UNSAID), |found| {
            (
                found.stx_dio_mem_align.into(),
                found.stx_dio_offset_align.into(),
            )
        });
        let possible = |bytes: u64| bytes.is_power_of_two() && bytes <= BOUNCE_BYTES as u64;
        (possible(memory) && possible(block)).then_some(Self {
            memory,
            // A disk has no smaller ones.
            block: block.max(SECTOR_SIZE as u64),
        })
    }

    /// Bytes of a block: what is read or written begins and ends with one.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// Whether the medium can be told of these bytes by their address.
    pub(crate) fn suits(&self, view: View<'_>) -> bool {
        let aligned = |at: usize, to: u64| (at as u64).is_multiple_of(to);
        aligned(view.base().addr().get(), self.memory) && aligned(view.len(), self.block)
    }

    /// Fills `into` from `offset` on, through memory that is aligned.
    pub(crate) fn read(&self, file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut bounce = self.bounce(into.len());
        let mut at = offset;
        for piece in into.chunks_mut(BOUNCE_BYTES) {
            let bounce = self.aligned(&mut bounce, piece.len())?;
            file.read_exact_at(bounce, at)?;
            piece.copy_from_slice(bounce);
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Writes `from` from `offset` on, through memory that is aligned.
    pub(crate) fn write(&self, file: &File, offset: u64, from: &[u8]) -> io::Result<()> {
        let mut bounce = self.bounce(from.len());
        let mut at = offset;
        for piece in from.chunks(BOUNCE_BYTES) {
            let bounce = self.aligned(&mut bounce, piece.len())?;
            bounce.copy_from_slice(piece);
            file.write_all_at(bounce, at)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Room for so many bytes, or a piece of them, wherever it begins.
    fn bounce(&self, len: usize) -> Vec<u8> {
        vec![0; len.min(BOUNCE_BYTES).saturating_add(self.memory as usize)]
    }

    /// The first `len` aligned bytes of `room`.
    fn aligned<'r>(&self, room: &'r mut [u8], len: usize) -> io::Result<&'r mut [u8]> {
        let skip = room.as_ptr().align_offset(self.memory as usize);
        let aligned = room.get_mut(skip..).and_then(|room| room.get_mut(..len));
        aligned.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}
