//! What can be typed after `ringway serve`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringway_device::blk::QUEUES_MAX;
use ringway_spec::DeviceId;
use ringway_spec::blk::SECTOR_SIZE;

use super::meeting::Meeting;
use super::net::args::{NET_EXAMPLES, Net};
use crate::refusal::{Refusal, Result};
use crate::ring::{self, Change, Format};

/// How a device is to be served.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(subcommand)]
    pub(crate) device: Device,
}

/// The device.
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Serve a block device: a disk image, or nothing at all
    #[command(after_help = BLK_EXAMPLES)]
    Blk(Blk),
    /// Serve an entropy device: the operating system's random bytes
    #[command(after_help = ENTROPY_EXAMPLES)]
    Entropy(Entropy),
    /// Serve network cards: one for each socket, all on one switch in this process
    #[command(after_help = NET_EXAMPLES)]
    Net(Net),
}

/// What every help of `ringway serve` ends with.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  told to stop (SIGTERM, SIGINT), and stopped: what was begun was completed
  1  it could not go on serving: the line on standard error says why
  2  nothing was served: the line on standard error says why, and what to do"
    };
}
pub(crate) use exit_codes;

/// After the help of `ringway serve`.
pub(crate) const EXAMPLES: &str = concat!(
    "\
Examples:
  ringway serve blk --image disk.img --vhost-user disk.sock
  ringway serve entropy --vhost-user rng.sock --sandbox
  ringway serve net --vhost-user first.sock --vhost-user second.sock
  ringway serve blk --help              what a type of device can be told

",
    exit_codes!()
);

const BLK_EXAMPLES: &str = concat!(
    "\
Examples:
  ringway serve blk --image disk.img --vhost-user disk.sock
                                        a disk for one virtual machine after another
  ringway serve blk --image disk.img --read-only --vhost-user disk.sock --sandbox
                                        confined: no file but these two, few calls of the system
  ringway serve blk --image disk.img --direct --vhost-user disk.sock
                                        nothing of it stays in the system's memory
  ringway serve blk --image disk.img --queues 4 --vhost-user disk.sock
                                        a queue for each of four processors
  ringway serve blk --null 1T --vhost-user disk.sock --json
                                        a disk without bytes, to measure with, and what happens, for programs
  ringway serve blk --image disk.img --vhost-user disk.sock --connect
                                        the front-end listens

A virtual machine with that disk; its memory is to be shared:
  qemu-system-x86_64 -M q35,memory-backend=mem \\
    -object memory-backend-memfd,id=mem,size=1G,share=on \\
    -chardev socket,id=disk,path=disk.sock \\
    -device vhost-user-blk-pci,chardev=disk,num-queues=1

",
    exit_codes!()
);

const ENTROPY_EXAMPLES: &str = concat!(
    "\
Examples:
  ringway serve entropy --vhost-user rng.sock
  ringway serve entropy --vhost-user rng.sock --sandbox --json

A virtual machine with it; its memory is to be shared:
  qemu-system-x86_64 -M q35,memory-backend=mem \\
    -object memory-backend-memfd,id=mem,size=1G,share=on \\
    -chardev socket,id=rng,path=rng.sock \\
    -device vhost-user-rng-pci,chardev=rng

",
    exit_codes!()
);

const RING_FEATURES: &str = "\
Ring features that it offers, or does not, separated by commas: NAME, no-NAME

The names are indirect_desc, event_idx, access_platform, ring_packed, in_order, order_platform and \
ring_reset. What is not named is as usual: all that costs nothing is offered. After `none`, it is not.";

/// A block device.
#[derive(Args, Debug)]
pub(crate) struct Blk {
    /// The disk: a raw image of whole sectors (512 bytes), or a block device. It is written to
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "null",
        conflicts_with = "null"
    )]
    pub(crate) image: Option<PathBuf>,

    /// A disk of this size without any bytes: writes vanish, and reads bring nothing. In bytes, or
    /// with K, M, G or T
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) null: Option<NonZeroU64>,

    /// Nothing can be written to the image
    #[arg(long, conflicts_with = "null")]
    pub(crate) read_only: bool,

    /// Read and write the image past the system's cache (`O_DIRECT`). Refused where its file system cannot
    #[arg(long, conflicts_with = "null")]
    pub(crate) direct: bool,

    /// Take no lock on the image
    ///
    /// Without this, nobody else writes to the image meanwhile, and whoever can write to it has it
    /// alone, of all who ask: other servers of this program, and QEMU. Where a virtual machine moves,
    /// both ends have the image for a moment: then neither takes a lock.
    #[arg(long, conflicts_with = "null")]
    pub(crate) no_lock: bool,

    /// How many queues there are at most: a driver with several processors may use as many
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(QUEUES_MAX))
    )]
    pub(crate) queues: u16,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) way: Way,
}

/// An entropy device.
#[derive(Args, Debug)]
pub(crate) struct Entropy {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) way: Way,
}

/// Where front-ends of one device are met.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The Unix socket at which front-ends connect. It is made, and removed in the end. One that is
    /// left over is replaced
    #[arg(
        long,
        value_name = "SOCKET",
        required_unless_present = "fd",
        conflicts_with = "fd"
    )]
    pub(crate) vhost_user: Option<PathBuf>,

    /// The front-end listens at the socket: connect, as soon as it does, and again when it is gone
    #[arg(long, conflicts_with = "fd")]
    pub(crate) connect: bool,

    /// A socket that is open already, by its number: it listens, or is connected to a front-end
    #[arg(long, value_name = "NUMBER")]
    pub(crate) fd: Option<i32>,
}

/// How a device is served, whatever it is.
#[derive(Args, Debug)]
pub(crate) struct Way {
    /// Take from this process what it needs no more, before a front-end is met
    ///
    /// It opens no file and reaches no network then, and of the file system it can do no more than
    /// make and remove a socket in its folder (Landlock); what it asks of the system is what
    /// serving takes, and no program can be started (seccomp). Refused where the system cannot.
    #[arg(long)]
    pub(crate) sandbox: bool,

    /// How many threads serve the queues [default: one for each queue, no more than there are
    /// processors]
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(QUEUES_MAX))
    )]
    pub(crate) threads: Option<u16>,

    /// The format of the rings that the device offers [default: both, for the driver to choose]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) ring: Option<Format>,

    /// Ring features that it offers, or does not, separated by commas: NAME, no-NAME
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = ring::change,
        long_help = RING_FEATURES
    )]
    pub(crate) ring_features: Vec<Change>,

    /// Tell what happens as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Serve {
    /// Finds options that do nothing together.
    pub(crate) fn check(&self) -> Result<()> {
        let meetings = self.device.meetings();
        if meetings
            .iter()
            .any(|meeting| matches!(meeting, Meeting::Given(..=2)))
        {
            return Err(Refusal::new(
                "--fd takes a number above 2: those below are standard input, output and error",
            ));
        }
        if let Device::Net(net) = &self.device {
            net.check(&meetings)?;
        }
        self.device.way().offer().map(drop)
    }
}

impl Device {
    pub(crate) fn id(&self) -> DeviceId {
        match self {
            Self::Blk(_) => DeviceId::BLOCK,
            Self::Entropy(_) => DeviceId::ENTROPY,
            Self::Net(_) => DeviceId::NETWORK,
        }
    }

    /// Where front-ends are met: of several devices, in their order.
    pub(crate) fn meetings(&self) -> Vec<Meeting<'_>> {
        match self {
            Self::Blk(Blk { place, .. }) | Self::Entropy(Entropy { place, .. }) => Meeting::all(
                place.vhost_user.as_slice(),
                place.connect,
                place.fd.as_slice(),
            ),
            Self::Net(net) => net.meetings(),
        }
    }

    pub(crate) fn way(&self) -> &Way {
        match self {
            Self::Blk(Blk { way, .. })
            | Self::Entropy(Entropy { way, .. })
            | Self::Net(Net { way, .. }) => way,
        }
    }
}

impl Way {
    /// What is offered of rings.
    pub(crate) fn offer(&self) -> Result<ringway_spec::Features> {
        ring::offer(ring::Place::Socket, self.ring, &self.ring_features)
    }
}

/// A number of bytes, whole sectors of them.
fn size(text: &str) -> std::result::Result<NonZeroU64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let units = ['K', 'M', 'G', 'T'];
            let power = units.iter().position(|&it| it == unit.to_ascii_uppercase());
            let power = power.ok_or("the unit is none of K, M, G and T")?;
            (text.split_at(at).0, 10 * (power + 1))
        }
        _ => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a size as 65536, 64K, 16M, 8G or 1T")?;
    let bytes = number.checked_mul(1 << shift).ok_or("that is too large")?;
    match NonZeroU64::new(bytes) {
        Some(size) if bytes.is_multiple_of(SECTOR_SIZE as u64) => Ok(size),
        Some(_) => Err("a disk has whole sectors of 512 bytes".to_owned()),
        None => Err("a disk has at least one sector of 512 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_sectors_however_it_is_written() {
        for (text, bytes) in [
            ("512", 512),
            ("64K", 64 << 10),
            ("1m", 1 << 20),
            ("8G", 8 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(NonZeroU64::new(bytes).unwrap()));
        }
    }

    #[test]
    fn what_is_no_size_of_a_disk_is_told_why() {
        for (text, says) in [
            ("", "write a size"),
            ("G", "write a size"),
            ("-1G", "write a size"),
            ("1.5G", "write a size"),
            ("1X", "none of K"),
            ("1é", "write a size"),
            ("0", "at least one"),
            ("513", "whole sectors"),
            ("99999999T", "too large"),
        ] {
            let why = size(text).unwrap_err();

            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
