//! What can be typed after `ringway drive SOCKET packets`.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use ringway_device::net::PAIRS_MAX;
use ringway_spec::Features;
use ringway_spec::net::{F, MTU_MIN, PAIRS_MIN};

use super::frame::{LEAST, MOST};
use crate::refusal::{Refusal, Result};
use crate::ring::{self, Change, Format};
use crate::serve::net::args::{Address, feature, mac};

/// After the help of `ringway drive SOCKET packets`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway drive net.sock packets                  10000 packets of 64 bytes, there and back
  ringway drive net.sock packets --count 1000000 --bytes 64,1514
                                                  a row for each size
  ringway drive net.sock packets --bytes 64..9014 --mtu 9000
                                                  of all sizes, up to those of jumbo frames
  ringway drive net.sock packets --pairs 2 --ring packed --poll
                                                  by two pairs of queues, a thread for each, and packed rings
  ringway drive net.sock packets --without mrg_rxbuf --checksum
                                                  each in one buffer, its checksum left to the back-end
  ringway drive net.sock packets --json           the counts, for programs

A back-end to try it with, which returns what it is sent:
  dpdk-testpmd --no-pci --no-huge -m 256 --vdev net_vhost0,iface=net.sock,queues=2 -- \\
    --rxq=2 --txq=2 --auto-start --forward-mode=io --stats-period=1

Exit codes:
  0  every packet came back once, in its turn, and as it was sent
  1  the device failed, or packets were lost, changed, reordered, or came twice: the counts say which
  2  nothing was sent: the line on standard error says why, and what to do";

/// What packets to send, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Packets {
    /// How many packets, over all pairs
    #[arg(
        long,
        default_value_t = 10_000,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u64).range(1..=100_000_000)
    )]
    pub(crate) count: u64,

    /// Bytes of a packet, from its Ethernet header on: one number, or FROM..TO for all sizes between, or
    /// several, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "64",
        value_name = "LIST",
        value_parser = sizes
    )]
    pub(crate) bytes: Vec<Sizes>,

    /// How many pairs of queues, each with a thread of its own
    #[arg(
        long,
        default_value_t = 1,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(i64::from(PAIRS_MIN)..=i64::from(PAIRS_MAX))
    )]
    pub(crate) pairs: u16,

    /// How many packets to send at once, with one notification
    #[arg(
        long,
        default_value_t = 32,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(crate) burst: u16,

    /// How many packets of a pair may be on their way [default: as many as there is room for when they
    /// come back]
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) depth: Option<u16>,

    /// Bytes of a buffer that packets come back to. Longer ones come in several
    #[arg(
        long,
        default_value_t = 2048,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(128..=65_600)
    )]
    pub(crate) buffer: u32,

    /// Leave the checksums to the back-end
    #[arg(long)]
    pub(crate) checksum: bool,

    /// The address of the card [default: that of the back-end, or one that is made up]
    #[arg(long, value_name = "ADDRESS", value_parser = mac)]
    pub(crate) mac: Option<Address>,

    /// The address that packets go to [default: one that nobody has, which a switch gives to all]
    #[arg(long, value_name = "ADDRESS", value_parser = mac)]
    pub(crate) to: Option<Address>,

    /// Longest packet after its Ethernet header, in bytes, as the back-end is told [default: it is told
    /// none]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u16).range(i64::from(MTU_MIN)..)
    )]
    pub(crate) mtu: Option<u16>,

    /// The format of the rings [default: what the back-end offers]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) ring: Option<Format>,

    /// Ring features to take, or not to, separated by commas: NAME, no-NAME, none. What is not named is
    /// taken if it is offered
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = ring::change
    )]
    pub(crate) ring_features: Vec<Change>,

    /// Features of the card that are not taken, by name, separated by commas
    #[arg(
        long,
        value_name = "FEATURES",
        value_delimiter = ',',
        value_parser = feature
    )]
    pub(crate) without: Vec<Features>,

    /// How many seconds may pass in which no packet comes back, before those on their way are lost
    #[arg(
        long,
        default_value_t = 5,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    pub(crate) patience: u16,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sizes of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(pub(crate) RangeInclusive<usize>);

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = (self.0.start(), self.0.end());
        write!(f, "{least}")?;
        match least == most {
            true => Ok(()),
            false => write!(f, "..{most}"),
        }
    }
}

impl Packets {
    /// Finds options that do nothing together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.checksum && self.is_without(F::CSUM) {
            return Err(Refusal::new(
                "--checksum needs csum: take it out of --without",
            ));
        }
        self.rings().map(drop)
    }

    /// Ring features that are to be agreed to, and those that are not.
    pub(crate) fn rings(&self) -> Result<(Features, Features)> {
        ring::take(self.ring, &self.ring_features)
    }

    /// Features of the card that are not taken.
    pub(crate) fn without(&self) -> Features {
        let without = self.without.iter().copied();
        without.fold(Features::NONE, Features::union)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience.into())
    }

    /// Bytes of the longest packet.
    pub(crate) fn longest(&self) -> usize {
        let longest = self.bytes.iter().map(|sizes| *sizes.0.end());
        longest.max().unwrap_or(LEAST)
    }

    fn is_without(&self, feature: Features) -> bool {
        self.without().contains(feature)
    }
}

fn sizes(text: &str) -> std::result::Result<Sizes, String> {
    let number = |text: &str| {
        let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
        match (LEAST..=MOST).contains(&bytes) {
            true => Ok(bytes),
            false => Err(format!("a packet has {LEAST} to {MOST} bytes")),
        }
    };
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (number(least)?, number(most)?);
    match least <= most {
        true => Ok(Sizes(least..=most)),
        false => Err("write sizes as 64..9014, the smaller one first".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_or_all_between_two() {
        assert_eq!(sizes("64"), Ok(Sizes(64..=64)));
        assert_eq!(sizes("64..9014"), Ok(Sizes(64..=9014)));
        assert_eq!(Sizes(64..=9014).to_string(), "64..9014");
        assert_eq!(Sizes(80..=80).to_string(), "80");
        for (text, says) in [
            ("63", "64 to"),
            ("65550", "64 to"),
            ("", "empty"),
            ("64..", "empty"),
            ("1514..64", "smaller one first"),
        ] {
            let why = sizes(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
