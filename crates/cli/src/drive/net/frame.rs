//! Packets that tell what they should be: each is made of the number of its flow and its own, and of
//! nothing else.
//!
//! They are of UDP over IPv4, so that cards that steer by flows can, with both checksums. Whoever returns
//! them may have turned their addresses round.

use std::ops::RangeInclusive;

use ringway_driver::net::{Checksum, ChecksumAt, Received};
use ringway_packet::checksum;
use ringway_spec::le::U16;
use ringway_spec::net::{Header, HeaderFlags, Mac};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Where the two addresses end, which may come back turned round.
const ADDRESSES: usize = 12;
/// Where what is in UDP begins: the mark, the number of the flow, and that of the packet.
const PAYLOAD: usize = ETHERNET + 20 + 8;
/// Bytes of those.
const NAMED: usize = 4 + 2 + 8;

/// Fewest bytes of a packet: those of the shortest on a wire, without its checksum, and whole words.
pub(super) const LEAST: usize = 64;
/// Most bytes of a packet: as many as the length of an IP packet can say.
pub(super) const MOST: usize = ETHERNET + 65535;
const _: () = assert!(PAYLOAD + NAMED <= LEAST);

/// All packets of a run.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    /// What they have in common, and packets of other runs have not.
    pub(super) mark: u32,
    pub(super) sizes: RangeInclusive<usize>,
    pub(super) from: Mac,
    pub(super) to: Mac,
}

/// Which packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Its flow: the pair that it was sent by.
    pub(super) flow: u16,
    pub(super) number: u64,
}

/// What a packet is that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// One of ours, as it was sent.
    Whole(Name),
    /// One of ours, with other bytes or another length.
    Corrupted(Name),
    /// Of somebody else, or not to be recognised.
    Foreign,
}

impl Frames {
    /// Writes packet `name` to `into`, complete.
    pub(super) fn write(&self, name: Name, into: &mut Vec<u8>) {
        let len = self.len(name);
        // No more than `MOST`.
        let ip_len = (len - ETHERNET) as u16;
        into.clear();
        into.extend(self.to);
        into.extend(self.from);
        into.extend([8, 0, 0x45, 0]);
        into.extend(ip_len.to_be_bytes());
        // Not to be fragmented, of UDP.
        into.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        let flow = name.flow.to_be_bytes();
        // For tests, and nobody's (RFC 2544).
        into.extend([198, 18, flow[0], flow[1], 198, 19, flow[0], flow[1]]);
        into.extend((0x4000 | name.flow).to_be_bytes());
        into.extend([0, 9]);
        into.extend((ip_len - 20).to_be_bytes());
        into.extend([0, 0]);
        into.extend(self.mark.to_be_bytes());
        into.extend(flow);
        into.extend(name.number.to_be_bytes());
        let mut word = 0;
        while into.len() < len {
            let bytes = mixed(name.number ^ u64::from(name.flow) << 48 ^ word << 32).to_be_bytes();
            let room = bytes.len().min(len - into.len());
            into.extend_from_slice(&bytes[..room]);
            word += 1;
        }
        let sum = ones_sum(&into[ETHERNET..ETHERNET + 20]);
        into[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&(!sum).to_be_bytes());
        if let Some(at) = leave(into) {
            complete(at, into);
        }
    }

    /// Takes the checksum of UDP out of a packet, so that the device is to put it there.
    pub(super) fn leave_checksum(packet: &mut [u8]) -> Option<ChecksumAt> {
        leave(packet)
    }

    /// What `packet` is. It is changed if its checksum was left to do. `expected` is room for what it
    /// should be.
    pub(super) fn judge(
        &self,
        packet: &mut [u8],
        received: &Received,
        expected: &mut Vec<u8>,
    ) -> Judged {
        let Some(name) = self.name(packet) else {
            return Judged::Foreign;
        };
        self.write(name, expected);
        if let Checksum::Partial(at) = received.checksum {
            complete(at, packet);
        }
        match packet.get(ADDRESSES..) == expected.get(ADDRESSES..) {
            true => Judged::Whole(name),
            false => Judged::Corrupted(name),
        }
    }

    /// Which packet this says that it is.
    fn name(&self, packet: &[u8]) -> Option<Name> {
        let (mark, rest) = packet.get(PAYLOAD..)?.split_first_chunk()?;
        let (flow, rest) = rest.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        (u32::from_be_bytes(*mark) == self.mark).then_some(Name {
            flow: u16::from_be_bytes(*flow),
            number: u64::from_be_bytes(*number),
        })
    }

    fn len(&self, name: Name) -> usize {
        let (least, most) = (*self.sizes.start(), *self.sizes.end());
        let range = (most - least) as u64 + 1;
        // Less than the range, which a size can be.
        least + (mixed(name.number) % range) as usize
    }
}

/// Numbers that look like chance, each from another one (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn leave(packet: &mut [u8]) -> Option<ChecksumAt> {
    let (start, offset) = checksum::leave(packet)?;
    Some(ChecksumAt { start, offset })
}

fn complete(at: ChecksumAt, packet: &mut [u8]) {
    let header = Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        csum_start: U16::new(at.start),
        csum_offset: U16::new(at.offset),
        ..Header::default()
    };
    // One beyond its end is not there, and is found to be missing.
    let _ = checksum::complete(&header, packet);
}

/// The sum of 16-bit words that IP has for its header.
fn ones_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    // What ten words carry is added once more, and no further.
    (sum + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u32 = 0x1234_5678;

    fn frames(sizes: RangeInclusive<usize>) -> Frames {
        Frames {
            mark: MARK,
            sizes,
            from: [2, 0, 0, 0, 0, 1],
            to: [2, 0, 0, 0, 0, 2],
        }
    }

    fn made(frames: &Frames, flow: u16, number: u64) -> Vec<u8> {
        let mut packet = Vec::new();
        frames.write(Name { flow, number }, &mut packet);
        packet
    }

    #[test]
    fn a_packet_is_whole_by_its_checksums_and_recognised_whoever_it_comes_from() {
        for sizes in [LEAST..=LEAST, 65..=1514, MOST..=MOST] {
            let frames = frames(sizes.clone());
            for number in 0..20 {
                let mut packet = made(&frames, 3, number);
                assert!(sizes.contains(&packet.len()));
                assert_eq!(checksum::judge(&packet), ringway_packet::Checksum::Right);

                packet[..ADDRESSES].rotate_left(6);
                let judged = frames.judge(&mut packet, &Received::default(), &mut Vec::new());

                assert_eq!(judged, Judged::Whole(Name { flow: 3, number }));
            }
        }
    }

    #[test]
    fn a_checksum_that_is_left_to_do_is_done_before_the_packet_is_judged() {
        let frames = frames(100..=200);
        let whole = made(&frames, 0, 7);
        let mut packet = whole.clone();
        let at = Frames::leave_checksum(&mut packet).unwrap();
        let unsaid = packet.clone();

        let partial = Received {
            checksum: Checksum::Partial(at),
            ..Received::default()
        };
        let said = frames.judge(&mut packet, &partial, &mut Vec::new());
        let not_said = frames.judge(&mut unsaid.clone(), &Received::default(), &mut Vec::new());

        let name = Name { flow: 0, number: 7 };
        assert_ne!(unsaid, whole);
        assert_eq!(
            [said, not_said],
            [Judged::Whole(name), Judged::Corrupted(name)]
        );
    }

    #[test]
    fn a_byte_that_is_another_one_and_a_length_that_is_another_one_are_found() {
        let frames = frames(LEAST..=256);
        let whole = made(&frames, 1, 9);
        let name = Name { flow: 1, number: 9 };

        for at in ADDRESSES..whole.len() {
            let mut packet = whole.clone();
            packet[at] ^= 0x10;
            let judged = frames.judge(&mut packet, &Received::default(), &mut Vec::new());
            assert_ne!(judged, Judged::Whole(name), "byte {at}");
        }
        for len in [whole.len() - 1, whole.len() + 1] {
            let mut packet = whole.clone();
            packet.resize(len, 0);
            let judged = frames.judge(&mut packet, &Received::default(), &mut Vec::new());
            assert_eq!(judged, Judged::Corrupted(name));
        }
        for mut packet in [vec![], vec![0; 60], whole[..PAYLOAD + NAMED - 1].to_vec()] {
            let judged = frames.judge(&mut packet, &Received::default(), &mut Vec::new());
            assert_eq!(judged, Judged::Foreign);
        }
    }
}
