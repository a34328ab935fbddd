//! Packets that go: each by the pair of its flow.

use alloc::vec::Vec;

use ringway_driver::dma::Bytes;
use ringway_driver::net::{ChecksumAt, Facts, Offload, Transmitter};
use ringway_driver::platform::Platform;
use ringway_driver::{Error, Result};
use ringway_packet::{checksum, hash};
use ringway_spec::net::F;

/// The transmit queues of a card, and their buffers.
#[derive(Debug)]
pub(crate) struct Outgoing<P: Platform, B: Bytes> {
    transmitters: Vec<Transmitter<P, B>>,
    facts: Facts,
    /// Buffers that nobody has, no more than the queues have room for.
    free: Vec<B>,
    /// A packet that is made where it can be seen, before it is copied into its buffer.
    made: Vec<u8>,
    /// Interrupts tell of room.
    armed: bool,
    drops: u64,
    fault: Option<Error>,
}

/// How a packet goes.
struct Way {
    offload: Offload,
    /// Which of the queues it goes by.
    queue: usize,
}

impl<P: Platform, B: Bytes> Outgoing<P, B> {
    pub(crate) fn new(transmitters: Vec<Transmitter<P, B>>, facts: Facts) -> Self {
        Self {
            transmitters,
            facts,
            free: Vec::new(),
            made: Vec::new(),
            armed: false,
            drops: 0,
            fault: None,
        }
    }

    /// Whether there is room for a packet, whichever queue it is for.
    pub(crate) fn has_room(&mut self) -> bool {
        let is_full = |queue: &Transmitter<P, B>| queue.in_flight() == queue.depth();
        if self.transmitters.iter().any(is_full)
            && let Err(error) = self.tidy()
        {
            self.fault = self.fault.or(Some(error));
        }
        !self.transmitters.iter().any(is_full)
    }

    /// Sends a packet of `len` bytes that `fill` makes.
    pub(crate) fn send<R>(
        &mut self,
        len: usize,
        make: &mut impl FnMut(usize) -> Option<B>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let before = self.facts.header_len;
        let mut buffer = self.buffer(before + len, make);
        let place = buffer.as_mut().and_then(B::as_mut_slice);
        let place = place.and_then(|bytes| bytes.get_mut(before..));
        let (filled, way) = match place {
            Some(packet) => (fill(packet), self.way(packet)),
            None => {
                let mut made = core::mem::take(&mut self.made);
                if made.len() < len {
                    made.resize(len, 0);
                }
                let packet = made.get_mut(..len).unwrap_or_default();
                let (filled, way) = (fill(packet), self.way(packet));
                buffer = buffer.and_then(|mut buffer| {
                    let written = buffer.write_at(before, packet);
                    written.is_ok().then_some(buffer)
                });
                self.made = made;
                (filled, way)
            }
        };
        let queue = self.transmitters.get_mut(way.queue);
        match queue.zip(buffer) {
            Some((queue, buffer)) => {
                if let Err(rejected) = queue.send(buffer, &way.offload) {
                    self.drops += 1;
                    self.free.extend(rejected.data.buffer());
                }
            }
            None => self.drops += 1,
        }
        filled
    }

    /// Tells the device of packets, if it wants to know.
    pub(crate) fn kick(&mut self) {
        for queue in &mut self.transmitters {
            if let Err(error) = queue.kick() {
                self.fault = self.fault.or(Some(error));
            }
        }
    }

    /// Tells the device of packets, and takes buffers back.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.fault.take().map_or(Ok(()), Err)?;
        self.tidy()
    }

    /// Has interrupts tell of room, until some was found. Says whether there may be some now.
    pub(crate) fn arm(&mut self) -> bool {
        self.armed = true;
        let mut come = false;
        for queue in &mut self.transmitters {
            come |= queue.arm() || !queue.queue().interrupts();
        }
        come
    }

    pub(crate) fn transmitters(&self) -> &[Transmitter<P, B>] {
        &self.transmitters
    }

    pub(crate) fn into_transmitters(self) -> Vec<Transmitter<P, B>> {
        self.transmitters
    }

    pub(crate) fn drops(&self) -> u64 {
        self.drops
    }

    /// How a packet goes. Its checksum is left to the device, if the device does them.
    fn way(&self, packet: &mut [u8]) -> Way {
        let left = match self.facts.features.contains(F::CSUM) {
            true => checksum::leave(packet),
            false => None,
        };
        Way {
            offload: Offload {
                checksum: left.map(|(start, offset)| ChecksumAt { start, offset }),
                cut: None,
            },
            queue: match self.transmitters.len() {
                1 => 0,
                // What is of no flow, such as a question for an address, goes by the first.
                count => hash::flow(packet).map_or(0, |flow| flow as usize % count),
            },
        }
    }

    fn tidy(&mut self) -> Result<()> {
        let free = &mut self.free;
        for queue in &mut self.transmitters {
            queue.kick()?;
            let count = queue.reclaim(|buffer| free.push(buffer))?;
            if self.armed && count != 0 {
                queue.disarm();
            }
        }
        Ok(())
    }

    /// A buffer of `len` bytes: one that was used before, if it can have so many.
    fn buffer(&mut self, len: usize, make: &mut impl FnMut(usize) -> Option<B>) -> Option<B> {
        // What was used last is the nearest.
        let fits = self.free.iter_mut().rposition(|buffer| buffer.set_len(len));
        if let Some(place) = fits {
            return Some(self.free.swap_remove(place));
        }
        // Buffers of one length only, of which none is right, and nobody waits for more of them.
        let depth = |queue: &Transmitter<P, B>| usize::from(queue.depth());
        if self.free.len() >= self.transmitters.iter().map(depth).sum() {
            self.free.swap_remove(0);
        }
        let whole = match B::RESIZES {
            true => len.max(self.facts.header_len + crate::longest(&self.facts)),
            false => len,
        };
        let mut buffer = make(whole)?;
        buffer.set_len(len).then_some(buffer)
    }
}
