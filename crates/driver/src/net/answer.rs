//! What a card answers to a command. Spec: VIRTIO 1.4 §5.1.9.5 "Control Virtqueue".

use alloc::boxed::Box;
use core::fmt;

use ringway_spec::le::U64;
use ringway_spec::net::{Ack, Coalescing, Mac, Statistics};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::command::{Kind, Wait};
use super::counters::Counters;
use crate::dma::Token;

/// Most bytes of a result: all groups of counters of a queue take 160 (§5.1.9.5.11.13), and those of a
/// later edition may be larger.
const RESULT_BYTES: usize = 255;

/// A command that the device has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What [`Net::command`](super::Net::command) called it.
    pub token: Token,
    /// What came of it.
    pub result: Result<Answer, Failed>,
}

/// What the device says to a command that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// That it did it.
    Done,
    /// Which groups of counters it has: to [`Command::Statistics`](super::Command::Statistics).
    Statistics(Statistics),
    /// What it counted: to [`Command::Counters`](super::Command::Counters).
    Counters(Box<Counters>),
    /// How long a notification waits: to [`Command::Coalesced`](super::Command::Coalesced).
    Coalesced(Wait),
}

/// Why a command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failed {
    /// The device did not do it. It does not say why (§5.1.9.5).
    Refused(Ack),
    /// The device says that it did it, and what came of it cannot be.
    Malformed(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(ack) => write!(f, "device refused the command, by {}", ack.0),
            Self::Malformed(what) => write!(f, "device answered with {what}"),
        }
    }
}

impl core::error::Error for Failed {}

/// What the device writes: how it went, and the result of a command that has one. What it does not
/// write is all ones, which is no success.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
pub(super) struct Reply {
    ack: Ack,
    result: [u8; RESULT_BYTES],
}

/// What follows when a command is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The card has this address.
    Mac(Mac),
    /// It receives a kind of packets, or does not.
    Receive(Kind, bool),
    /// It uses so many pairs.
    Pairs(u16),
    /// There is a result: which groups of counters there are.
    Statistics,
    /// There is a result: counters of a queue.
    Counters(u16, Statistics),
    /// There is a result: how long a notification waits.
    Coalesced,
}

impl Reply {
    /// What the device says to a command with this `effect`, if it wrote so many bytes.
    pub(super) fn read(&self, written: u32, effect: Effect) -> Result<Answer, Failed> {
        if self.ack != Ack::OK {
            // What else it wrote means nothing (§5.1.9.5.10.5).
            return Err(Failed::Refused(self.ack));
        }
        let len = (written as usize).saturating_sub(size_of::<Ack>());
        let result = self.result.get(..len).unwrap_or(&self.result);
        let short = "a result of too few bytes";
        match effect {
            Effect::None | Effect::Mac(_) | Effect::Receive(..) | Effect::Pairs(_) => {
                Ok(Answer::Done)
            }
            Effect::Statistics => {
                let bits = U64::read_from_prefix(result).map(|(bits, _)| bits.get());
                bits.map(|bits| Answer::Statistics(Statistics::from_bits_retain(bits)))
                    .map_err(|_| Failed::Malformed(short))
            }
            Effect::Counters(index, wanted) => Counters::read(result, index, wanted)
                .map(|counters| Answer::Counters(Box::new(counters)))
                .map_err(Failed::Malformed),
            Effect::Coalesced => Coalescing::read_from_prefix(result)
                .map(|(coalescing, _)| Answer::Coalesced(coalescing.into()))
                .map_err(|_| Failed::Malformed(short)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(ack: Ack, begins: &[u8]) -> Reply {
        let mut result = [0xff; RESULT_BYTES];
        result[..begins.len()].copy_from_slice(begins);
        Reply { ack, result }
    }

    /// §5.1.9.5.10.5: what came with an error is not a wait.
    ///
    /// Clauses: drv:net/op/control-vq/notif-coalescing:4
    #[test]
    fn nothing_is_read_of_a_command_that_the_device_did_not_do() {
        for effect in [Effect::None, Effect::Statistics, Effect::Coalesced] {
            let refused = reply(Ack::ERR, &[7; 8]).read(9, effect);

            assert_eq!(refused, Err(Failed::Refused(Ack::ERR)));
        }
    }

    #[test]
    fn a_result_is_read_as_far_as_the_device_wrote_it() {
        let good = reply(Ack::OK, &[3, 0, 0, 0, 50, 0, 0, 0]);
        let wait = Wait {
            packets: 3,
            micros: 50,
        };

        assert_eq!(good.read(9, Effect::Coalesced), Ok(Answer::Coalesced(wait)));
        for written in [0, 1, 8] {
            let malformed = good.read(written, Effect::Coalesced);
            assert!(matches!(malformed, Err(Failed::Malformed(_))));
            let malformed = good.read(written, Effect::Statistics);
            assert!(matches!(malformed, Err(Failed::Malformed(_))));
        }
    }

    /// Clauses: drv:net/op/control-vq/device-statistics:3
    #[test]
    fn the_counters_of_any_queue_have_room() {
        use ringway_spec::net::*;
        let head = size_of::<StatisticsHeader>();
        let receive = size_of::<ReceiveBasic>()
            + size_of::<ReceiveChecksums>()
            + size_of::<ReceiveSegments>()
            + size_of::<AboveSpeed>();
        let transmit = size_of::<TransmitBasic>()
            + size_of::<TransmitChecksums>()
            + size_of::<TransmitSegments>()
            + size_of::<AboveSpeed>();

        let most = 4 * head + receive.max(transmit);

        assert!(reply(Ack::OK, &[]).result.len() >= most);
    }

    #[test]
    fn a_device_that_says_it_wrote_more_than_there_is_room_for_is_not_believed() {
        let counters =
            reply(Ack::OK, &[]).read(u32::MAX, Effect::Counters(0, Statistics::RX_BASIC));

        assert!(matches!(counters, Err(Failed::Malformed(_))));
    }
}
