//! Serves an administration queue. Spec: VIRTIO 1.4 §2.13 "Administration Virtqueues".

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::Poll;

use ringway_ring::device::{Batch, Chain, TooShort, Violation};
use ringway_spec::admin::{GRANULE, StatusHeader};
use zerocopy::IntoBytes;

use super::owner::{Answer, Owner};
use crate::model::Worker;

/// The largest size of an administration queue.
pub const QUEUE_SIZE: u16 = 64;

/// Most bytes of a command that are looked at: more than any has, and so little that a driver
/// cannot make the device grow. What is beyond is ignored, as behind every command (§2.13.1).
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a result, against drivers that have room for 4 GiB.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// The worker of an administration queue.
pub(crate) struct Commands {
    owner: Arc<Owner>,
    /// The command that takes longer. Those after it wait: a queue's are carried out in their order
    /// (§2.13.1).
    kept: Option<Kept>,
}

/// A command that was taken and is not done.
struct Kept {
    chain: Chain,
    readable: Vec<u8>,
}

impl Commands {
    /// One of the queues of `owner`.
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Self { owner, kept: None }
    }
}

impl Worker for Commands {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        loop {
            let command = match self.kept.take() {
                Some(kept) => kept,
                None => match batch.next_chain()? {
                    Some(chain) => take(batch, chain).map_err(|why| batch.violated(why))?,
                    None => return Ok(()),
                },
            };
            let writable = batch.writable(&command.chain);
            // Below 2¹⁷.
            let room = writable.remaining().min(ANSWER_BYTES_MAX) as usize;
            let space = room.saturating_sub(size_of::<StatusHeader>());
            let Poll::Ready(answer) = self.owner.execute(&command.readable, space) else {
                self.kept = Some(command);
                return Ok(());
            };
            let bytes = bytes(&answer, room);
            let mut writable = batch.writable(&command.chain);
            let written = match writable.write(&bytes) {
                // No more than there is room for.
                Ok(()) => bytes.len() as u32,
                // Nothing can be said to the driver where there is no memory.
                Err(TooShort) => 0,
            };
            batch.complete(command.chain, written);
            // What the next command takes is not for this one to wait for.
            batch.publish();
        }
    }

    fn is_busy(&self) -> bool {
        self.kept.is_some()
    }
}

/// Most bytes of a status and a result.
const ANSWER_BYTES_MAX: u64 = (size_of::<StatusHeader>() + RESULT_BYTES_MAX) as u64;

/// Reads the command of a chain, however long or short it is.
fn take(batch: &Batch<'_>, chain: Chain) -> Result<Kept, Violation> {
    let mut readable = batch.readable(&chain);
    let len = readable.remaining().min(COMMAND_BYTES_MAX as u64);
    let mut bytes = vec![0; len as usize];
    let no_memory =
        Violation::Request("administration command is where there is no memory (§2.13)");
    readable.read(&mut bytes).map_err(|TooShort| no_memory)?;
    Ok(Kept {
        chain,
        readable: bytes,
    })
}

/// An answer as the driver gets it: filled up to a multiple of 8 bytes, and as much of it as there
/// is room for (§2.13.1).
fn bytes(answer: &Answer, room: usize) -> Vec<u8> {
    let mut bytes = answer.header.as_bytes().to_vec();
    bytes.extend_from_slice(&answer.result);
    bytes.resize(bytes.len().next_multiple_of(GRANULE), 0);
    bytes.truncate(room);
    bytes
}

#[cfg(test)]
mod tests;
