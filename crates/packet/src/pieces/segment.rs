//! Pieces that are segments of TCP, or datagrams of UDP.

use super::{Pieces, put};
use crate::checksum::{Sum, not_zero, pseudo};

/// Flags in the header of TCP.
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const PSH: u8 = 0x08;
    pub(super) const CWR: u8 = 0x80;
}

impl Pieces<'_> {
    /// Makes a piece a segment of TCP: `later` is what comes after it.
    pub(super) fn be_tcp(&self, piece: &mut [u8], later: &[u8]) {
        self.set_network(piece);
        let at = self.transport();
        let sequence = [0, 1, 2, 3].map(|byte| piece[at + 4 + byte]);
        // What was cut before it has 32 bits: so has every sum of lengths.
        let sequence = u32::from_be_bytes(sequence).wrapping_add(self.done as u32);
        piece[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
        if !later.is_empty() {
            piece[at + 13] &= !(flag::FIN | flag::PSH);
        }
        if self.index != 0 {
            // The window was reduced once.
            piece[at + 13] &= !flag::CWR;
        }
        self.sum_transport(piece, 6, at + 16);
    }

    /// Makes a piece a datagram of UDP.
    pub(super) fn be_udp(&self, piece: &mut [u8]) {
        self.set_network(piece);
        let at = self.transport();
        put(piece, at + 4, (piece.len() - at) as u16);
        self.sum_transport(piece, 17, at + 6);
    }

    fn set_network(&self, piece: &mut [u8]) {
        self.set_len(piece);
        if let crate::Addresses::V4 { .. } = self.headers.addresses {
            let at = self.headers.network + 4;
            let identification = u16::from_be_bytes([piece[at], piece[at + 1]]);
            put(piece, at, identification.wrapping_add(self.index));
        }
        self.sum_network(piece);
    }

    fn transport(&self) -> usize {
        self.headers.transport.map_or(self.begin, |(_, at)| at)
    }

    fn sum_transport(&self, piece: &mut [u8], number: u8, field: usize) {
        let segment = self.transport();
        put(piece, field, 0);
        let sum: Sum = pseudo(&self.headers.addresses, number, piece.len() - segment);
        let sum = sum.bytes(&piece[segment..]).folded();
        put(piece, field, not_zero(!sum));
    }
}
