//! Serves a transmit queue. Spec: VIRTIO 1.4 §5.1.9.2 "Packet Transmission".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use ringway_packet::{Pieces, checksum};
use ringway_ring::device::{Batch, Violation};
use ringway_spec::Features;
use ringway_spec::net::{F, GsoType, Header, HeaderFlags};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::counts::TransmitCounts;
use super::inlet::Shared;
use super::packet::{PACKET_BYTES_MAX, Packet, Port};
use crate::model::Worker;
use spin::Mutex;

/// Packets that are sent on at once.
const BURST: usize = 32;

/// Bytes of the shortest packet: an Ethernet header.
const PACKET_BYTES_MIN: usize = 14;

/// The worker of a transmit queue.
pub(super) struct Transmit {
    pub(super) pair: u16,
    pub(super) features: Features,
    /// Bytes that stand before a packet.
    pub(super) before: usize,
    /// Longest packet that is not cut, in bytes, if that was agreed.
    pub(super) longest: Option<usize>,
    pub(super) shared: Arc<Shared>,
    pub(super) port: Arc<dyn Port>,
    pub(super) counts: Arc<Mutex<TransmitCounts>>,
    /// Memory for packets that are sent on at once.
    pub(super) burst: Vec<Packet>,
}

/// Why a packet is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It is no packet, or longer than any.
    Length,
    /// More is left to do than was agreed to, or what cannot be.
    Header,
}

impl Worker for Transmit {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        let mut counts = TransmitCounts::default();
        let mut burst = mem::take(&mut self.burst);
        // How many of them are packets: the others are memory for such.
        let mut filled = 0;
        let served = loop {
            let Some(packet) = burst.get_mut(filled) else {
                if filled < BURST {
                    burst.push(Packet::default());
                } else {
                    self.send(&mut burst, &mut filled);
                    batch.publish();
                }
                continue;
            };
            match self.next(batch, packet) {
                Ok(Some(Ok(()))) => {
                    counts.sent(&packet.header, packet.bytes.len());
                    filled = filled.saturating_add(1);
                }
                Ok(Some(Err(Refused::Length | Refused::Header))) => counts.malformed(),
                Ok(None) => break Ok(()),
                Err(violation) => break Err(violation),
            }
        };
        self.send(&mut burst, &mut filled);
        self.burst = burst;
        if counts != TransmitCounts::default() {
            self.counts.lock().add(&counts);
        }
        served
    }
}

impl Transmit {
    /// Sends the first `filled` of a burst on. What is there then is memory for others.
    fn send(&self, burst: &mut Vec<Packet>, filled: &mut usize) {
        if *filled == 0 {
            return;
        }
        let mut rest = match burst.len() == *filled {
            true => Vec::new(),
            false => burst.split_off(*filled),
        };
        *filled = 0;
        self.port.send(burst);
        burst.append(&mut rest);
        burst.truncate(BURST);
    }

    /// Takes the next packet, if there is one, and says whether it can be.
    #[inline(always)]
    fn next(
        &self,
        batch: &mut Batch<'_>,
        packet: &mut Packet,
    ) -> Result<Option<Result<(), Refused>>, Violation> {
        let mut taken = Err(Refused::Length);
        // Most are in one piece.
        let served = batch.serve_next(
            #[inline(always)]
            |plain| {
                let view = plain.readable()?;
                let read = |room: &mut [u8]| view.read(0, room).ok();
                taken = self.take(view.len(), read, packet);
                // Nothing is written (§5.1.9.2).
                Some(0)
            },
        );
        if served {
            return Ok(Some(taken));
        }
        self.next_of_any_kind(batch, packet)
    }

    #[inline(never)]
    fn next_of_any_kind(
        &self,
        batch: &mut Batch<'_>,
        packet: &mut Packet,
    ) -> Result<Option<Result<(), Refused>>, Violation> {
        let Some(chain) = batch.next_chain()? else {
            return Ok(None);
        };
        let mut readable = batch.readable(&chain);
        // Where that is not so, the driver gives as many bytes as there is no memory for.
        let len = usize::try_from(readable.remaining()).unwrap_or(usize::MAX);
        let taken = self.take(len, |room| readable.read(room).ok(), packet);
        batch.complete(chain, 0);
        Ok(Some(taken))
    }

    /// Copies a packet out of the driver's memory, once, by `read`, and looks whether it can be. With what
    /// stands before, it is `all` bytes long.
    #[inline(always)]
    fn take(
        &self,
        all: usize,
        read: impl FnOnce(&mut [u8]) -> Option<()>,
        packet: &mut Packet,
    ) -> Result<(), Refused> {
        let before = self.before;
        let len = all.checked_sub(before).ok_or(Refused::Length)?;
        if !(PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&len) {
            return Err(Refused::Length);
        }
        let room = packet.bytes.with_front(before, len);
        read(room).ok_or(Refused::Length)?;
        // What more stands there is for packets that are received; less, before version 1.
        let header = match Header::read_from_prefix(room) {
            Ok((header, _)) if before >= size_of::<Header>() => header,
            _ => legacy(room, before),
        };
        packet.hash = None;
        packet.header = self.judge(&header, &packet.bytes)?;
        self.shared.sent(&packet.bytes, self.pair);
        Ok(())
    }

    /// What is left to do with a packet, if it was agreed that it may be, and can be. Flags that are
    /// not known are not looked at (§5.1.9.2.2), and neither is `hdr_len`.
    #[inline]
    fn judge(&self, header: &Header, packet: &[u8]) -> Result<Header, Refused> {
        let too_long = self.longest.is_some_and(|longest| packet.len() > longest);
        if header.is_plain() && !too_long {
            return Ok(Header::default());
        }
        self.judge_offloads(header, packet, too_long)
    }

    /// The same, where something is left to do.
    #[inline(never)]
    fn judge_offloads(
        &self,
        header: &Header,
        packet: &[u8],
        too_long: bool,
    ) -> Result<Header, Refused> {
        let mut judged = Header {
            flags: header.flags & HeaderFlags::NEEDS_CSUM.bits(),
            ..Header::default()
        };
        if judged.flags != 0 {
            if !self.features.contains(F::CSUM) {
                return Err(Refused::Header);
            }
            judged.csum_start = header.csum_start;
            judged.csum_offset = header.csum_offset;
            checksum::check(&judged, packet).map_err(|_| Refused::Header)?;
        }
        let kind = header.gso_type;
        let tunnels = GsoType::UDP_TUNNEL_IPV4 | GsoType::UDP_TUNNEL_IPV6;
        if kind.0 & tunnels != 0 {
            return Err(Refused::Header);
        }
        let needed = match kind.kind() {
            GsoType::NONE => {
                return match too_long {
                    true => Err(Refused::Length),
                    false => Ok(judged),
                };
            }
            GsoType::TCPV4 => F::HOST_TSO4,
            GsoType::TCPV6 => F::HOST_TSO6,
            GsoType::UDP => F::HOST_UFO,
            GsoType::UDP_L4 => F::HOST_USO,
            _ => return Err(Refused::Header),
        };
        let ecn = !kind.has(GsoType::ECN) || self.features.contains(F::HOST_ECN);
        if !ecn || !self.features.contains(needed) {
            return Err(Refused::Header);
        }
        judged.gso_type = kind;
        judged.gso_size = header.gso_size;
        // Nobody who gets it is to find out that it cannot be.
        match Pieces::check(&judged, packet) {
            Ok(()) => Ok(judged),
            Err(_) => Err(Refused::Header),
        }
    }
}

/// The header of a packet of a driver from before version 1, of `len` bytes.
#[cold]
fn legacy(from: &[u8], len: usize) -> Header {
    let mut header = Header::new_zeroed();
    for (to, from) in header.as_mut_bytes().iter_mut().zip(from).take(len) {
        *to = *from;
    }
    header
}

#[cfg(test)]
mod tests;
