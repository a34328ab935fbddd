//! What a card receives, and by which of its queues. Spec: VIRTIO 1.4 §5.1.9.5 "Control Virtqueue".

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_packet::Toeplitz;
use ringway_spec::net::{HashTypes, Mac, Offloads};

/// Most addresses of one table. A driver that has more is answered with an error, and may ask for all.
pub(super) const ADDRESSES_MAX: usize = 256;

/// Most entries of the table that hashes choose from.
pub(super) const TABLE_MAX: usize = 512;

/// Bytes of the bits of all virtual LANs.
const LANS: usize = 4096 / 8;

/// What a driver has said of what it wants to receive.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The card's address.
    pub(super) mac: Mac,
    pub(super) kinds: Kinds,
    /// Addresses that are received beside it.
    pub(super) unicast: Vec<Mac>,
    pub(super) multicast: Vec<Mac>,
    /// A bit for each virtual LAN whose packets are received. None if the driver has no say.
    pub(super) lans: Option<Box<[u8; LANS]>>,
    /// What of packets may be left to the driver.
    pub(super) offloads: Offloads,
    /// Longest packet that is one, with its Ethernet header, in bytes (§5.1.4.1).
    pub(super) longest: usize,
    /// How many pairs of queues are used.
    pub(super) pairs: u16,
    pub(super) hashing: Option<Hashing>,
}

/// Kinds of packets that are received, or not, whatever their address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) any: bool,
    pub(super) any_multicast: bool,
    pub(super) any_unicast: bool,
    pub(super) no_multicast: bool,
    pub(super) no_unicast: bool,
    pub(super) no_broadcast: bool,
}

/// What of packets is hashed, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Hashing {
    pub(super) types: HashTypes,
    pub(super) key: Toeplitz,
    /// Which pair receives the packets of a hash. None if hashes are only reported.
    pub(super) steering: Option<Steering>,
}

#[derive(Clone, Debug)]
pub(super) struct Steering {
    /// A power of two of entries.
    pub(super) table: Vec<u16>,
    pub(super) unclassified: u16,
}

impl Rules {
    /// Those of a driver that has said nothing yet. `filters` says whether it can say anything of
    /// addresses, `lans` of virtual LANs.
    pub(super) fn new(mac: Mac, offloads: Offloads, filters: bool, lans: bool) -> Self {
        Self {
            mac,
            kinds: Kinds {
                // A driver that cannot say what it wants gets all.
                any: !filters,
                ..Kinds::default()
            },
            unicast: Vec::new(),
            multicast: Vec::new(),
            lans: lans.then(|| Box::new([0; LANS])),
            offloads,
            longest: usize::MAX,
            pairs: 1,
            hashing: None,
        }
    }

    /// Whether all packets are for the first pair, and none is hashed.
    #[inline]
    pub(super) fn are_simple(&self) -> bool {
        self.pairs == 1 && self.hashing.is_none()
    }

    /// Whether a packet is received.
    #[inline]
    pub(super) fn wants(&self, packet: &[u8]) -> bool {
        let Some(destination) = packet.first_chunk::<6>() else {
            return false;
        };
        self.wants_lan(packet) && self.wants_address(destination)
    }

    /// Has packets of virtual LAN `id` received, or not. Says whether there is such a LAN.
    pub(super) fn set_lan(&mut self, id: u16, on: bool) -> bool {
        let byte = usize::from(id / 8);
        let Some(byte) = self.lans.as_mut().and_then(|lans| lans.get_mut(byte)) else {
            return false;
        };
        let bit = 1 << (id % 8);
        match on {
            true => *byte |= bit,
            false => *byte &= !bit,
        }
        true
    }

    fn wants_lan(&self, packet: &[u8]) -> bool {
        let Some(lans) = &self.lans else {
            return true;
        };
        match (packet.get(12..14), packet.get(14..16)) {
            (Some([0x81, 0x00]), Some(&[high, low])) => {
                let id = usize::from(u16::from_be_bytes([high & 0xf, low]));
                lans.get(id / 8)
                    .is_some_and(|lans| lans & 1 << (id % 8) != 0)
            }
            // Without a tag it is of no virtual LAN.
            _ => true,
        }
    }

    fn wants_address(&self, destination: &Mac) -> bool {
        let kinds = &self.kinds;
        if kinds.any {
            return true;
        }
        if *destination == [0xff; 6] {
            !kinds.no_broadcast
        } else if destination[0] & 1 != 0 {
            !kinds.no_multicast && (kinds.any_multicast || self.multicast.contains(destination))
        } else {
            !kinds.no_unicast
                && (kinds.any_unicast
                    || *destination == self.mac
                    || self.unicast.contains(destination))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 9];
    const GROUP: Mac = [0x33, 0x33, 0, 0, 0, 1];
    const ALL: Mac = [0xff; 6];

    fn to(destination: Mac) -> Vec<u8> {
        let mut packet = destination.to_vec();
        packet.resize(60, 0);
        packet
    }

    fn wanted(rules: &Rules) -> [bool; 4] {
        [OWN, OTHER, GROUP, ALL].map(|destination| rules.wants(&to(destination)))
    }

    #[test]
    fn a_driver_that_has_said_nothing_receives_what_is_for_it_and_broadcasts() {
        let rules = Rules::new(OWN, Offloads::empty(), true, false);

        assert_eq!(wanted(&rules), [true, false, false, true]);
    }

    /// Clauses: dev:net/op/control-vq/vlan-filtering:1
    #[test]
    fn a_driver_that_can_say_nothing_receives_all() {
        let rules = Rules::new(OWN, Offloads::empty(), false, false);
        let mut tagged = to(OWN);
        tagged[12..16].copy_from_slice(&[0x81, 0, 0, 5]);

        assert_eq!(wanted(&rules), [true; 4]);
        assert!(rules.wants(&tagged));
    }

    #[test]
    fn each_kind_adds_or_takes_away_what_it_says() {
        let with = |change: fn(&mut Rules)| {
            let mut rules = Rules::new(OWN, Offloads::empty(), true, false);
            change(&mut rules);
            wanted(&rules)
        };

        assert_eq!(with(|r| r.kinds.any = true), [true; 4]);
        assert_eq!(
            with(|r| r.kinds.any_multicast = true),
            [true, false, true, true]
        );
        assert_eq!(
            with(|r| r.kinds.any_unicast = true),
            [true, true, false, true]
        );
        assert_eq!(
            with(|r| r.kinds.no_unicast = true),
            [false, false, false, true]
        );
        assert_eq!(
            with(|r| r.kinds.no_broadcast = true),
            [true, false, false, false]
        );
        assert_eq!(with(|r| r.unicast.push(OTHER)), [true, true, false, true]);
        assert_eq!(with(|r| r.multicast.push(GROUP)), [true, false, true, true]);
        let none = |r: &mut Rules| {
            r.multicast.push(GROUP);
            r.kinds.no_multicast = true;
        };
        assert_eq!(with(none), [true, false, false, true]);
    }

    /// Clauses: dev:net/op/control-vq/vlan-filtering:2
    #[test]
    fn tagged_packets_are_received_of_the_lans_that_were_added() {
        let mut rules = Rules::new(OWN, Offloads::empty(), true, true);
        let tagged = |id: u16| {
            let mut packet = to(OWN);
            packet[12..14].copy_from_slice(&[0x81, 0]);
            packet[14..16].copy_from_slice(&(0xe000 | id).to_be_bytes());
            packet
        };

        let before = rules.wants(&tagged(5));
        let added = (rules.set_lan(5, true), rules.set_lan(4095, true));
        let during = [5, 4095, 6].map(|id| rules.wants(&tagged(id)));
        rules.set_lan(5, false);
        let after = rules.wants(&tagged(5));

        assert_eq!((before, during, after), (false, [true, true, false], false));
        assert_eq!((added, rules.set_lan(4096, true)), ((true, true), false));
        assert!(rules.wants(&to(OWN)));
    }
}
