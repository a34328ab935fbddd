//! What can be typed after `ringway drive`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ringway_spec::DeviceId;

use super::net::args::{EXAMPLES as PACKETS_EXAMPLES, Packets};
use crate::args::choose_type;
use crate::refusal::{Refusal, Result};

pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway drive disk.sock info             what the device is, offers and has
  ringway drive disk.sock info --json      the same, for programs
  ringway drive disk.sock read copy.img    the whole disk, to a file
  ringway drive disk.sock read --sector 8 --count 2 | xxd
                                           1 KiB from byte 4096 on, to standard output
  ringway drive disk.sock write new.img    a file, to the first sectors of the disk
  ringway drive disk.sock verify new.img   whether the disk holds just what the file does
  ringway drive disk.sock bench            4 KiB reads, one and 32 at a time
  ringway drive disk.sock bench --depth 1,8,64 --size 512,65536 --sequential --json
  ringway drive net.sock info --type net   what a network card is, offers and has
  ringway drive net.sock packets           packets to a card, and what comes back (packets --help: how)

A back-end to try it with, if there is none:
  qemu-storage-daemon --blockdev file,filename=disk.img,node-name=d \\
    --export vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=disk.sock,writable=on

Exit codes:
  0  it was done
  1  the device failed, or holds something else
  2  nothing was done: the line on standard error says why, and what to do";

/// Which device to drive, and what to do with it.
#[derive(Args, Debug)]
#[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What to do")]
pub(crate) struct Drive {
    /// The socket at which a vhost-user back-end listens
    #[arg(value_name = "SOCKET")]
    pub(crate) socket: PathBuf,

    #[command(subcommand)]
    pub(crate) what: What,

    /// What type of device it is, which vhost-user does not tell: blk, entropy, net [default: blk, or
    /// what there is to do it to]
    #[arg(
        long = "type",
        global = true,
        value_name = "TYPE",
        value_parser = driven
    )]
    device: Option<DeviceId>,

    /// The most descriptors of a queue, which vhost-user does not tell either
    #[arg(
        long,
        global = true,
        default_value_t = 256,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(2..=32768)
    )]
    pub(crate) queue_size: u16,

    /// How many seconds to wait for a back-end that went away: 0 is not at all [default: for ever]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) reconnect: Option<u32>,

    /// Look for completions again and again, instead of waiting for a signal
    #[arg(long, global = true)]
    pub(crate) poll: bool,
}

/// What to do with a device.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Tell what the device is, what it offers, and what its configuration holds
    Info {
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Read the disk, or a part of it, to a file or to standard output
    Read {
        /// The file, made or overwritten [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        pace: Pace,
    },
    /// Write a file to the disk, and have the disk keep it
    Write {
        /// The file: whole sectors (512 bytes)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        pace: Pace,
    },
    /// Compare the disk, or a part of it, with a file
    Verify {
        /// The file: whole sectors (512 bytes)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        pace: Pace,
    },
    /// Measure how many requests a second the device does
    Bench(Bench),
    /// Send packets to a network card whose other end returns them, and see what comes back
    #[command(after_help = PACKETS_EXAMPLES)]
    Packets(Packets),
}

/// A part of a disk.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Range {
    /// The first sector (512 bytes)
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) sector: u64,

    /// How many sectors [default: all of the disk, or of the file]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
}

/// How much is on its way.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many requests at a time
    #[arg(
        long,
        default_value_t = 16,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(crate) depth: u16,

    /// Bytes of a request, whole sectors
    #[arg(long, default_value_t = 64 << 10, value_name = "BYTES", value_parser = sectors)]
    pub(crate) size: usize,
}

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
    /// How many requests at a time: one number, or several, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,32",
        value_name = "LIST",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(crate) depth: Vec<u16>,

    /// Bytes of a request: one number, or several, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "4096",
        value_name = "LIST",
        value_parser = sectors
    )]
    pub(crate) size: Vec<usize>,

    /// One sector after the other, not here and there
    #[arg(long)]
    pub(crate) sequential: bool,

    /// Write, and so OVERWRITE what the disk holds
    #[arg(long)]
    pub(crate) write: bool,

    /// How many seconds for each row
    #[arg(
        long,
        default_value_t = 1.0,
        value_name = "SECONDS",
        value_parser = seconds
    )]
    pub(crate) time: f64,

    /// Where the requests go follows from this number
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Drive {
    /// Finds options that do nothing together.
    pub(crate) fn check(&self) -> Result<()> {
        let device = self.device();
        match &self.what {
            What::Info { .. } => Ok(()),
            What::Packets(_) if device != DeviceId::NETWORK => Err(Refusal::new(format_args!(
                "a device of type {device} has no packets: use info, or --type net"
            ))),
            What::Packets(packets) => packets.check(),
            _ if device != DeviceId::BLOCK => Err(Refusal::new(format_args!(
                "there is nothing to read, write or measure on a device of type {device}: use info, or \
                 --type blk"
            ))),
            _ => Ok(()),
        }
    }

    /// The type of the device.
    pub(crate) fn device(&self) -> DeviceId {
        self.device.unwrap_or(match self.what {
            What::Packets(_) => DeviceId::NETWORK,
            _ => DeviceId::BLOCK,
        })
    }

    /// How long to wait for a back-end that went away.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.reconnect
            .map(|seconds| Duration::from_secs(u64::from(seconds)))
    }
}

/// Types of devices that can be driven over a socket.
const TYPES: &[DeviceId] = &[DeviceId::BLOCK, DeviceId::ENTROPY, DeviceId::NETWORK];

fn driven(name: &str) -> std::result::Result<DeviceId, String> {
    choose_type(name, TYPES)
}

/// Most bytes of a request.
const SIZE_MAX: usize = 16 << 20;

fn sectors(text: &str) -> std::result::Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    if bytes == 0 || !bytes.is_multiple_of(512) || bytes > SIZE_MAX {
        return Err(format!(
            "a request has whole sectors, 512 to {SIZE_MAX} bytes"
        ));
    }
    Ok(bytes)
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if !(0.001..=3600.0).contains(&seconds) {
        return Err("between 0.001 and 3600".to_owned());
    }
    Ok(seconds)
}
