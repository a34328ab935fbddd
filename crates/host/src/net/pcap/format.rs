//! The form of a capture: blocks of pcapng (draft-ietf-opsawg-pcapng), little-endian.

use super::Counts;

/// Which way a packet went, seen from the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

mod kind {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
}

/// Options, by the block that has them.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(super) const PACKET_FLAGS: u16 = 2;
    pub(super) const STATISTICS_RECEIVED: u16 = 4;
    pub(super) const STATISTICS_DROPPED: u16 = 5;
}

/// Packets that begin with an Ethernet header.
const ETHERNET: u16 = 1;

/// Times are in units of ten to this power, less than a second.
const NANOSECONDS: u8 = 9;

/// What all numbers are aligned to.
const ALIGNMENT: usize = 4;

/// Bytes that a packet takes beside its own: a block's 12, 20 of numbers, its flags and the end of its
/// options, 12, and as many as align it.
const PACKET: usize = 12 + 20 + 12 + ALIGNMENT - 1;

/// Most bytes that a packet takes of which so much is written.
pub(super) fn packet_bytes(seen: &[u8]) -> usize {
    seen.len().saturating_add(PACKET)
}

/// Of which interface something is, and when it was.
pub(super) type At = (u32, u64);

/// What a capture begins with.
pub(super) fn begin(to: &mut Vec<u8>) {
    block(to, kind::SECTION, |to| {
        // Which order its bytes have, the version, and that nobody knows how long it will be.
        to.extend(0x1a2b_3c4d_u32.to_le_bytes());
        to.extend([1_u16, 0].map(u16::to_le_bytes).as_flattened());
        to.extend(u64::MAX.to_le_bytes());
    });
}

/// One more interface: the first is 0. Of its packets there are `snap` bytes at most.
pub(super) fn interface(to: &mut Vec<u8>, snap: u32, name: &str) {
    block(to, kind::INTERFACE, |to| {
        to.extend([ETHERNET, 0].map(u16::to_le_bytes).as_flattened());
        to.extend(snap.to_le_bytes());
        option(to, option::INTERFACE_NAME, name.as_bytes());
        option(to, option::INTERFACE_RESOLUTION, &[NANOSECONDS]);
        option(to, option::END, &[]);
    });
}

/// A packet of `len` bytes, of which the first are `seen`.
pub(super) fn packet(to: &mut Vec<u8>, when: At, direction: Direction, seen: &[u8], len: usize) {
    let flags: u32 = match direction {
        Direction::In => 1,
        Direction::Out => 2,
    };
    block(to, kind::PACKET, |to| {
        at(to, when);
        // No card carries what has no place here.
        to.extend((seen.len() as u32).to_le_bytes());
        to.extend((len as u32).to_le_bytes());
        to.extend_from_slice(seen);
        align(to);
        option(to, option::PACKET_FLAGS, &flags.to_le_bytes());
        option(to, option::END, &[]);
    });
}

/// What a capture ends with, for each interface.
pub(super) fn end(to: &mut Vec<u8>, when: At, counts: &Counts) {
    block(to, kind::STATISTICS, |to| {
        at(to, when);
        let received = counts.noted.saturating_add(counts.missed);
        option(to, option::STATISTICS_RECEIVED, &received.to_le_bytes());
        option(to, option::STATISTICS_DROPPED, &counts.missed.to_le_bytes());
        option(to, option::END, &[]);
    });
}

fn at(to: &mut Vec<u8>, (interface, time): At) {
    let words = [interface, (time >> 32) as u32, time as u32];
    to.extend(words.map(u32::to_le_bytes).as_flattened());
}

/// A block, which says before its body, and after it, how long it is.
fn block(to: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = to.len();
    to.extend([kind, 0].map(u32::to_le_bytes).as_flattened());
    body(to);
    let len = to.len().saturating_sub(begin).saturating_add(ALIGNMENT);
    // No longer than a packet.
    let len = (len as u32).to_le_bytes();
    to.extend(len);
    if let Some(place) = to.get_mut(begin..).and_then(|block| block.get_mut(4..8)) {
        place.copy_from_slice(&len);
    }
}

fn option(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Eight bytes at most.
    to.extend(
        [code, value.len() as u16]
            .map(u16::to_le_bytes)
            .as_flattened(),
    );
    to.extend_from_slice(value);
    align(to);
}

/// Fills up: all that was there before was aligned.
fn align(to: &mut Vec<u8>) {
    to.resize(to.len().next_multiple_of(ALIGNMENT), 0);
}
