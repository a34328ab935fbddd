//! Pieces that are fragments of a datagram.

use super::{Pieces, put};
use crate::Addresses;

/// Bytes of the header of a fragment of IPv6.
pub(super) const HEADER: usize = 8;

/// The number of that header.
const NUMBER: u8 = 44;

impl Pieces<'_> {
    /// Makes a piece a fragment: `later` is what comes after it.
    pub(super) fn be_fragment(&self, piece: &mut [u8], identification: u32, later: &[u8]) {
        let more = u16::from(!later.is_empty());
        self.set_len(piece);
        let network = self.headers.network;
        match self.headers.addresses {
            Addresses::V4 { .. } => {
                // In units of 8 bytes; all that come before have whole ones.
                put(piece, network + 6, more << 13 | (self.done / 8) as u16);
            }
            Addresses::V6 { .. } => {
                let at = self.begin;
                piece[at] = core::mem::replace(&mut piece[network + 6], NUMBER);
                piece[at + 1] = 0;
                put(piece, at + 2, self.done as u16 | more);
                piece[at + 4..at + HEADER].copy_from_slice(&identification.to_be_bytes());
            }
        }
        self.sum_network(piece);
    }
}
