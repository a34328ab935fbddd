//! Serves a receive queue. Spec: VIRTIO 1.4 §5.1.9.4 "Processing of Incoming Packets".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use ringway_ring::device::{Batch, Chain, Violation};
use ringway_spec::Features;
use ringway_spec::le::{U16, U32};
use ringway_spec::net::{F, GsoType, Header, HeaderFlags, ReportedHash, header_len};
use zerocopy::{Immutable, IntoBytes};

use super::counts::ReceiveCounts;
use super::inlet::{Inbox, Shared};
use super::packet::Packet;
use crate::model::Worker;

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

/// That of a packet with which there is nothing left to do, in one buffer.
const PLAIN: Header = Header {
    flags: 0,
    gso_type: GsoType::NONE,
    hdr_len: U16::ZERO,
    gso_size: U16::ZERO,
    csum_start: U16::ZERO,
    csum_offset: U16::ZERO,
    num_buffers: U16::new(1),
};

impl Before {
    /// That of a packet which is in `buffers` buffers.
    #[inline]
    fn new(packet: &Packet, buffers: u16) -> Self {
        let mut before = Self::default();
        if !packet.header.is_plain() {
            before.header = packet.header;
            // Nothing else is said to a driver.
            before.header.flags &= (HeaderFlags::NEEDS_CSUM | HeaderFlags::DATA_VALID).bits();
        }
        before.header.num_buffers = U16::new(buffers);
        if let Some((value, report)) = packet.hash {
            before.hash.hash_value = U32::new(value);
            before.hash.hash_report = report;
        }
        before
    }
}

/// How often a worker looks for packets in one batch.
const LOOKS_MAX: usize = 3;

/// The worker of a receive queue.
pub(super) struct Receive {
    pair: u16,
    features: Features,
    /// Bytes that stand before a packet.
    before: usize,
    shared: Arc<Shared>,
    /// Packets that were taken, and how many of them are received: the others found no buffers yet.
    taken: Vec<Packet>,
    received: usize,
    /// Buffers for the next packet, too few so far.
    held: Vec<Chain>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// It is in buffers.
    Done,
    /// It never fits into the driver's.
    TooLong,
    /// There are too few buffers so far.
    Short,
}

impl Receive {
    pub(super) fn new(pair: u16, features: Features, shared: Arc<Shared>) -> Self {
        let receive = Self {
            pair,
            features,
            before: header_len(features),
            shared,
            taken: Vec::new(),
            received: 0,
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
            inbox.spare.clear();
        });
    }
}

impl Worker for Receive {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        let mut counts = ReceiveCounts::default();
        let mut taken = mem::take(&mut self.taken);
        let more = self.receive(batch, &mut taken, &mut counts);
        self.taken = taken;
        if counts != ReceiveCounts::default() {
            self.inbox(|inbox| inbox.counts.add(&counts));
        }
        if more? {
            // The others are served when it is run again.
            self.shared.due(self.pair);
        }
        Ok(())
    }

    /// Buffers are taken for packets that wait, and for nothing else.
    fn wants_chains(&self) -> bool {
        !self.taken.is_empty()
    }
}

impl Receive {
    /// Puts what was `taken`, and what waits, into the driver's buffers. Says whether more waits: a
    /// sender that never stops keeps nobody here.
    fn receive(
        &mut self,
        batch: &mut Batch<'_>,
        taken: &mut Vec<Packet>,
        counts: &mut ReceiveCounts,
    ) -> Result<bool, Violation> {
        for _ in 0..LOOKS_MAX {
            while let Some(packet) = taken.get_mut(self.received) {
                match self.put(batch, packet)? {
                    Put::Done => counts.received(&packet.header, packet.bytes.len()),
                    Put::TooLong => counts.dropped(),
                    Put::Short => return Ok(false),
                }
                self.received = self.received.saturating_add(1);
            }
            self.received = 0;
            self.inbox(|inbox| inbox.take(taken, counts));
            if taken.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a packet into the driver's buffers.
    #[inline]
    fn put(&mut self, batch: &mut Batch<'_>, packet: &mut Packet) -> Result<Put, Violation> {
        let needed = self.before.saturating_add(packet.bytes.len()) as u64;
        if self.held.is_empty() {
            // Most buffers are in one piece, and long enough.
            let before = self.before;
            let served = batch.serve_next(
                #[inline(always)]
                |plain| {
                    let view = plain.writable()?;
                    if (view.len() as u64) < needed {
                        return None;
                    }
                    if before == size_of::<Header>() && packet.header.is_plain() {
                        view.write_value(0, &PLAIN).ok()?;
                    } else {
                        let header = Before::new(packet, 1);
                        let header = header.as_bytes().get(..before).unwrap_or_default();
                        view.write(0, header).ok()?;
                    }
                    // Apart: a copy of both would read what was not written together, and wait for it.
                    view.write(before, &packet.bytes).ok()?;
                    // No longer than the view, whose length has 32 bits.
                    Some(needed as u32)
                },
            );
            if served {
                return Ok(Put::Done);
            }
            let Some(chain) = batch.next_chain()? else {
                return Ok(Put::Short);
            };
            self.held.push(chain);
        }
        self.put_into_several(batch, packet, needed)
    }

    /// Puts a packet into buffers that are held, and others if they are too few.
    #[inline(never)]
    fn put_into_several(
        &mut self,
        batch: &mut Batch<'_>,
        packet: &mut Packet,
        needed: u64,
    ) -> Result<Put, Violation> {
        let most = match self.features.contains(F::MRG_RXBUF) {
            true => BUFFERS_MAX,
            false => 1,
        };
        loop {
            let room = |chain| batch.writable(chain).remaining();
            let room: u64 = self.held.iter().map(room).sum();
            if room >= needed {
                break;
            }
            if self.held.len() == most {
                return Ok(self.give_up(batch));
            }
            match batch.next_chain()? {
                Some(chain) => self.held.push(chain),
                None => return Ok(Put::Short),
            }
        }
        Ok(self.fill(batch, packet))
    }

    /// Fills the buffers that are held with a packet: each to its end, but the last (§5.1.9.4.1).
    fn fill(&mut self, batch: &mut Batch<'_>, packet: &Packet) -> Put {
        // No more than `BUFFERS_MAX`.
        let before = Before::new(packet, self.held.len() as u16);
        let before = before.as_bytes().get(..self.before).unwrap_or_default();
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

    fn inbox<T: Default>(&self, look: impl FnOnce(&mut Inbox) -> T) -> T {
        let inbox = self.shared.boxes.get(usize::from(self.pair));
        inbox.map_or_else(T::default, |inbox| look(&mut inbox.lock()))
    }
}

#[cfg(test)]
mod tests;
