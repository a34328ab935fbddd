//! Serves a receive queue. Spec: VIRTIO 1.4 §5.1.9.4 "Processing of Incoming Packets".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use ringway_ring::device::{Batch, Chain, Violation};
use ringway_spec::Features;
use ringway_spec::le::U32;
use ringway_spec::net::{F, HashReport, Header, ReportedHash, header_len};
use zerocopy::{Immutable, IntoBytes};

use super::inlet::{Inbox, Shared, WAITING_MAX, received};
use super::packet::Packet;
use crate::model::Worker;

/// Packets that are taken at once.
const BURST: usize = 32;

/// Most buffers of one packet, against drivers whose buffers are tiny.
const BUFFERS_MAX: usize = 64;

/// What stands before a packet, at most.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct Before {
    header: Header,
    hash: ReportedHash,
}

/// The worker of a receive queue.
pub(super) struct Receive {
    pair: u16,
    features: Features,
    shared: Arc<Shared>,
    /// Packets that were taken and found no buffers yet, the next one last.
    taken: Vec<Packet>,
    /// Buffers for the next packet, too few so far.
    held: Vec<Chain>,
}

/// What became of a packet.
enum Put {
    /// It is in buffers.
    Done,
    /// It never fits into the driver's.
    TooLong,
    /// There are too few buffers so far.
    Short(Packet),
}

impl Receive {
    pub(super) fn new(pair: u16, features: Features, shared: Arc<Shared>) -> Self {
        let receive = Self {
            pair,
            features,
            shared,
            taken: Vec::new(),
            held: Vec::new(),
        };
        receive.inbox(|inbox| inbox.open = true);
        receive
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        // Nobody waits for packets any more; those that wait are for nobody.
        self.inbox(|inbox| {
            inbox.open = false;
            inbox.packets.clear();
        });
    }
}

impl Worker for Receive {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        // As many as wait now: a sender that never stops keeps nobody here.
        for _ in 0..WAITING_MAX {
            let Some(packet) = self.next() else {
                return Ok(());
            };
            let len = packet.bytes.len();
            match self.put(batch, packet)? {
                Put::Done => self.inbox(|inbox| inbox.counts.received(len)),
                Put::TooLong => self.inbox(|inbox| inbox.counts.dropped()),
                Put::Short(packet) => {
                    self.taken.push(packet);
                    return Ok(());
                }
            }
        }
        // The others are served when it is run again.
        self.shared.due(self.pair);
        Ok(())
    }
}

impl Receive {
    /// The next packet: of those that wait, some are taken at once.
    fn next(&mut self) -> Option<Packet> {
        if self.taken.is_empty() {
            let mut taken = mem::take(&mut self.taken);
            self.inbox(|inbox| {
                let now = inbox.packets.len().min(BURST);
                taken.extend(inbox.packets.drain(..now).rev());
            });
            self.taken = taken;
        }
        self.taken.pop()
    }

    /// Puts a packet into the driver's buffers.
    fn put(&mut self, batch: &mut Batch<'_>, packet: Packet) -> Result<Put, Violation> {
        let needed = self.before().saturating_add(packet.bytes.len()) as u64;
        let most = match self.features.contains(F::MRG_RXBUF) {
            true => BUFFERS_MAX,
            false => 1,
        };
        loop {
            let room = |chain| batch.writable(chain).remaining();
            let room: u64 = self.held.iter().map(room).sum();
            if room >= needed && !self.held.is_empty() {
                break;
            }
            if self.held.len() == most {
                return Ok(self.give_up(batch));
            }
            match batch.next_chain()? {
                Some(chain) => self.held.push(chain),
                None => return Ok(Put::Short(packet)),
            }
        }
        Ok(self.fill(batch, &packet))
    }

    /// Fills the buffers that are held with a packet: each to its end, but the last (§5.1.9.4.1).
    fn fill(&mut self, batch: &mut Batch<'_>, packet: &Packet) -> Put {
        // No more than `BUFFERS_MAX`.
        let header = received(packet, self.held.len() as u16);
        let (value, report) = packet.hash.unwrap_or((0, HashReport::NONE));
        let before = Before {
            header,
            hash: ReportedHash {
                hash_value: U32::new(value),
                hash_report: report,
                ..ReportedHash::default()
            },
        };
        let before = before.as_bytes().get(..self.before()).unwrap_or_default();
        let mut parts = [before, &packet.bytes];
        for chain in self.held.drain(..) {
            let mut to = batch.writable(&chain);
            let mut written = 0_u32;
            for part in &mut parts {
                let now = (part.len() as u64).min(to.remaining()) as usize;
                let (now, later) = part.split_at_checked(now).unwrap_or_default();
                // There is room for it.
                if to.write(now).is_ok() {
                    written = written.saturating_add(now.len() as u32);
                }
                *part = later;
            }
            batch.complete(chain, written);
        }
        Put::Done
    }

    /// No buffers of the driver's are as long as the packet: they are for the next one, or, if they are
    /// many, back with nothing in them.
    fn give_up(&mut self, batch: &mut Batch<'_>) -> Put {
        if self.held.len() > 1 {
            for chain in self.held.drain(..) {
                batch.complete(chain, 0);
            }
        }
        Put::TooLong
    }

    /// Bytes that stand before a packet.
    fn before(&self) -> usize {
        header_len(self.features)
    }

    fn inbox<T: Default>(&self, look: impl FnOnce(&mut Inbox) -> T) -> T {
        let inbox = self.shared.boxes.get(usize::from(self.pair));
        inbox.map_or_else(T::default, |inbox| look(&mut inbox.lock()))
    }
}

#[cfg(test)]
mod tests;
