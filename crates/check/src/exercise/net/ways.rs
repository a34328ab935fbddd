//! The ways in which two cards are driven.

use alloc::vec::Vec;
use core::fmt;

use ringway_driver::net::RECEIVE_OFFLOADS;
use ringway_spec::Features;
use ringway_spec::net::F;

/// The most pairs of queues that are used.
const PAIRS: u16 = 4;

/// All that a card does to a packet, or leaves to its driver.
const OFFLOADS: Features = Features(
    RECEIVE_OFFLOADS.0
        | F::CSUM.0
        | F::HOST_TSO4.0
        | F::HOST_TSO6.0
        | F::HOST_ECN.0
        | F::HOST_UFO.0
        | F::HOST_USO.0
        | F::CTRL_GUEST_OFFLOADS.0
        | F::GUEST_HDRLEN.0,
);

/// A way to drive a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Packets are as long as the card says. Otherwise as Ethernet's usually are.
    pub(super) long: bool,
    /// Checksums are left to the other end.
    pub(super) offloads: bool,
    /// How many pairs of queues, if the card has so many.
    pub(super) pairs: u16,
}

/// All ways to drive cards that offer this.
pub(super) fn ways(offered: Features) -> Vec<Way> {
    let either = |feature: Features| match offered.intersects(feature) {
        true => &[false, true][..],
        false => &[false],
    };
    let long = either(F::MTU).iter();
    let ways = long.flat_map(|&long| {
        either(F::CSUM | F::GUEST_CSUM)
            .iter()
            .map(move |&on| (long, on))
    });
    let several = either(F::MQ);
    ways.flat_map(|(long, offloads)| {
        several.iter().map(move |several| Way {
            long,
            offloads,
            pairs: if *several { PAIRS } else { 1 },
        })
    })
    .collect()
}

impl Way {
    /// Features that are accepted beside the usual.
    pub(super) fn optional(&self) -> Features {
        match self.offloads {
            true => RECEIVE_OFFLOADS,
            false => Features::NONE,
        }
    }

    /// Features that are not accepted.
    pub(super) fn without(&self) -> Features {
        let offloads = match self.offloads {
            true => Features::NONE,
            false => OFFLOADS,
        };
        let mtu = match self.long {
            true => Features::NONE,
            false => F::MTU,
        };
        offloads | mtu
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            long,
            offloads,
            pairs,
        } = self;
        let packets = if *long { "long" } else { "usual" };
        let offloads = if *offloads { ", offloads" } else { "" };
        write!(f, "{packets} packets, {pairs} of queues{offloads}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_card_is_driven_in_each_way_that_it_can_be_and_no_way_is_like_another() {
        for (offered, count) in [
            (Features::NONE, 1),
            (F::CSUM, 2),
            (F::MQ | F::MTU, 4),
            (F::GUEST_CSUM | F::MQ | F::MTU, 8),
        ] {
            let ways = ways(offered);

            let names: alloc::collections::BTreeSet<_> =
                ways.iter().map(ToString::to_string).collect();
            assert_eq!((ways.len(), names.len()), (count, count), "{offered:?}");
        }
    }
}
