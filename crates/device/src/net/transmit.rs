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
use super::inlet::{Shared, keep};
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
    pub(super) burst: Vec<Packet>,
    /// Memory for packets.
    pub(super) spare: Vec<Packet>,
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
        let mut packet = self.spare.pop().unwrap_or_default();
        loop {
            let mut taken = Err(Refused::Length);
            // Most packets are in one piece.
            let served = batch.serve_next(|plain| {
                let view = plain.readable()?;
                let read = |room: &mut [u8]| view.read(0, room).ok();
                taken = self.take(view.len(), read, &mut packet);
                // Nothing is written (§5.1.9.2).
                Some(0)
            });
            if !served {
                let Some(chain) = batch.next_chain()? else {
                    break;
                };
                let mut readable = batch.readable(&chain);
                // Where that is not so, the driver gives as many bytes as there is no memory for.
                let len = usize::try_from(readable.remaining()).unwrap_or(usize::MAX);
                taken = self.take(len, |room| readable.read(room).ok(), &mut packet);
                batch.complete(chain, 0);
            }
            match taken {
                Ok(()) => {
                    counts.sent(packet.bytes.len());
                    let next = self.spare.pop().unwrap_or_default();
                    self.burst.push(mem::replace(&mut packet, next));
                }
                Err(Refused::Length | Refused::Header) => counts.malformed(),
            }
            if self.burst.len() == BURST {
                self.send();
                batch.publish();
            }
        }
        self.spare.push(packet);
        self.send();
        if counts != TransmitCounts::default() {
            self.counts.lock().add(&counts);
        }
        Ok(())
    }
}

impl Transmit {
    /// Sends what is there on, and keeps memory for other packets.
    fn send(&mut self) {
        if self.burst.is_empty() {
            return;
        }
        self.port.send(&mut self.burst);
        keep(&mut self.burst, &mut self.spare);
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
        let tunnels = GsoType::UDP_TUNNEL_IPV4 | GsoType::UDP_TUNNEL_IPV6;
        let ecn = !kind.has(GsoType::ECN) || self.features.contains(F::HOST_ECN);
        if kind.0 & tunnels != 0 || !ecn || !self.features.contains(needed) {
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
