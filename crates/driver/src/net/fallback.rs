//! What a device does not do of what is left to do with packets that are sent, done here.
//! Spec: VIRTIO 1.4 §5.1.9.2 "Packet Transmission".

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ringway_packet::{ETHERNET, Headers, Malformed, Pieces, checksum};
use ringway_spec::Features;
use ringway_spec::net::Header;

use super::facts::Facts;
use super::offload::Offload;
use super::transmit::Transmitter;
use crate::dma::{Bytes, Data, Rejected, Token};
use crate::error::{Error, RequestError, Result};
use crate::platform::Platform;

/// A [`Transmitter`] that completes checksums and cuts packets itself, where the device does not. What the
/// device does is left to it, and such packets are not copied.
#[derive(Debug)]
pub struct Fallback<P: Platform, B: Bytes> {
    transmitter: Transmitter<P, B>,
    facts: Facts,
    /// The packet, and a piece of it: buffers are not seen, only copied.
    seen: Vec<u8>,
    piece: Vec<u8>,
    /// Pieces that the ring had no room for yet, in order.
    waiting: VecDeque<B>,
    /// Names the fragments of one packet.
    identification: u32,
}

/// What became of a packet.
#[derive(Debug)]
pub enum Sent<B> {
    /// The device has it.
    Whole(Token),
    /// It was cut, and the device has the pieces of it, or gets them when there is room.
    Pieces {
        /// How many.
        count: usize,
        /// The packet.
        packet: B,
    },
}

impl<P: Platform, B: Bytes> Fallback<P, B> {
    /// Sends by `transmitter`, of a card with these `facts`.
    pub fn new(transmitter: Transmitter<P, B>, facts: Facts) -> Self {
        Self {
            transmitter,
            facts,
            seen: Vec::new(),
            piece: Vec::new(),
            waiting: VecDeque::new(),
            identification: 0,
        }
    }

    /// The transmitter, for waiting, and for its counters.
    pub fn transmitter(&mut self) -> &mut Transmitter<P, B> {
        &mut self.transmitter
    }

    /// Sends a packet, as [`Transmitter::send`] does. If it is to be cut, and the device does not,
    /// `supply` makes a buffer for each piece, of so many bytes.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the packet as it was: on [`Error::QueueFull`], [reclaim](Self::reclaim) and try
    /// again, and on [`Error::PoolFull`] likewise, which `supply` that makes no buffer is, too.
    /// [`RequestError::Malformed`] if it cannot be done with such a packet; otherwise as
    /// [`Transmitter::send`].
    pub fn send(
        &mut self,
        packet: B,
        offload: &Offload,
        supply: impl FnMut(usize) -> Option<B>,
    ) -> Result<Sent<B>, Rejected<B>> {
        let rejected = |why, packet| Rejected {
            why,
            data: Data::Readable(packet),
        };
        if let Err(why) = self.flush() {
            return Err(rejected(why, packet));
        }
        if !self.waiting.is_empty() {
            return Err(rejected(Error::QueueFull, packet));
        }
        if offload.header(self.facts.features).is_ok() {
            return self.transmitter.send(packet, offload).map(Sent::Whole);
        }
        let header = match self.look(&packet, offload) {
            Ok(header) => header,
            Err(why) => return Err(rejected(why.into(), packet)),
        };
        match offload.cut {
            None => self.complete(packet, &header).map(Sent::Whole),
            Some(_) => match self.cut(&header, supply) {
                Ok(count) => Ok(Sent::Pieces { count, packet }),
                Err(why) => Err(rejected(why, packet)),
            },
        }
    }

    /// Tells the device of packets, if it wants to know.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn kick(&mut self) -> Result<bool> {
        self.flush()?;
        self.transmitter.kick()
    }

    /// Hands the buffers of packets and of pieces that were sent to `back`, and sends pieces that waited
    /// for room. Says how many buffers there were.
    ///
    /// # Errors
    ///
    /// As [`Transmitter::reclaim`].
    pub fn reclaim(&mut self, back: impl FnMut(B)) -> Result<usize> {
        let count = self.transmitter.reclaim(back)?;
        if !self.waiting.is_empty() {
            self.kick()?;
        }
        Ok(count)
    }

    /// How many pieces wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Copies a packet to where it is seen. Yields the header that asks for what is left to do, whoever
    /// does it.
    fn look(&mut self, packet: &B, offload: &Offload) -> Result<Header, RequestError> {
        let header = offload.header(Features(u128::MAX))?;
        let (len, before) = (packet.bytes(), self.facts.header_len);
        let least = before + ETHERNET;
        if len < least {
            return Err(RequestError::TooSmall { len, least });
        }
        self.seen.resize(len - before, 0);
        // It has as many.
        let _ = packet.read_at(before, &mut self.seen);
        Ok(header)
    }

    /// Sends the packet that was looked at with its checksum.
    fn complete(&mut self, mut packet: B, header: &Header) -> Result<Token, Rejected<B>> {
        if let Err(why) = checksum::complete(header, &mut self.seen) {
            return Err(Rejected {
                why: RequestError::Malformed(why).into(),
                data: Data::Readable(packet),
            });
        }
        let place = usize::from(header.csum_start.get()) + usize::from(header.csum_offset.get());
        let at = self.facts.header_len + place;
        let mut before = [0; 2];
        // Within the packet, as was seen.
        let _ = packet.read_at(at, &mut before);
        let sum = self.seen.get(place..place + before.len());
        let _ = packet.write_at(at, sum.unwrap_or_default());
        let sent = self.transmitter.send(packet, &Offload::default());
        sent.map_err(|mut rejected| {
            // Who tries again has it completed again.
            if let Data::Readable(packet) = &mut rejected.data {
                let _ = packet.write_at(at, &before);
            }
            rejected
        })
    }

    /// Sends the pieces of the packet that was looked at. Says how many there are.
    fn cut(
        &mut self,
        header: &Header,
        mut supply: impl FnMut(usize) -> Option<B>,
    ) -> Result<usize> {
        let network = Headers::of(&self.seen).map_or(0, |headers| headers.network);
        let pieces = Pieces::of(header, &mut self.seen, self.identification);
        let malformed = |why: Malformed| Error::from(RequestError::Malformed(why));
        let Some(mut pieces) = pieces.map_err(malformed)? else {
            return Ok(0);
        };
        let longest = pieces.longest();
        if let Some(mtu) = self.transmitter.mtu()
            && longest - network > usize::from(mtu)
        {
            let (len, limit) = (longest, network + usize::from(mtu));
            return Err(RequestError::TooLarge { len, limit }.into());
        }
        self.piece.resize(longest, 0);
        let before = self.facts.header_len;
        let mut made = VecDeque::with_capacity(pieces.count());
        while let Ok(Some(piece)) = pieces.write_next(&mut self.piece) {
            let len = before + piece.len();
            let mut buffer = supply(len).ok_or(Error::PoolFull)?;
            if buffer.bytes() != len {
                let (len, least) = (buffer.bytes(), len);
                return Err(RequestError::TooSmall { len, least }.into());
            }
            // It has as many.
            let _ = buffer.write_at(before, piece);
            made.push_back(buffer);
        }
        let count = made.len();
        self.waiting = made;
        self.identification = self.identification.wrapping_add(1);
        match self.flush() {
            Ok(()) if self.waiting.len() < count => Ok(count),
            // Nothing was sent of it, so it can be tried again.
            Ok(()) => {
                self.waiting.clear();
                Err(Error::QueueFull)
            }
            Err(why) => {
                self.waiting.clear();
                Err(why)
            }
        }
    }

    /// Sends pieces that wait, as long as there is room.
    fn flush(&mut self) -> Result<()> {
        // Each turn sends one, or ends.
        while let Some(piece) = self.waiting.pop_front() {
            match self.transmitter.send(piece, &Offload::default()) {
                Ok(_) => {}
                Err(Rejected {
                    why: Error::QueueFull | Error::PoolFull,
                    data,
                }) => {
                    let piece = data.buffer();
                    piece
                        .into_iter()
                        .for_each(|piece| self.waiting.push_front(piece));
                    break;
                }
                Err(rejected) => return Err(rejected.why),
            }
        }
        Ok(())
    }
}
