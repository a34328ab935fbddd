//! What can be typed, and what is said when something else is.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ringway_check::exercise::TYPES;
use ringway_spec::{DeviceId, Features};

use crate::drive::args::{Drive, EXAMPLES as DRIVE_EXAMPLES};
use crate::ls::args::{EXAMPLES as LS_EXAMPLES, Ls};
use crate::refusal::{Refusal, Result};
use crate::ring::{self, Change, Format};
use crate::serve::args::{EXAMPLES as SERVE_EXAMPLES, Serve};

/// Virtio, whole: drivers, devices, and the rings between them.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, after_help = EXIT_CODES)]
struct Ringway {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring a machine up and drive its devices
    ///
    /// Brings up a machine with a disk, an entropy device and a network card on PCI, and the same on
    /// MMIO, and drives them for real: reads the whole disk and compares it with its file, writes
    /// random bytes from the entropy device to scattered places, reads them back, and looks from
    /// outside whether the file holds them and nothing else has changed. A switch joins the cards
    /// to those of a second machine: over TCP, with packets of 1500 and of 9000 bytes, with offloads
    /// and without, by one and by four pairs of queues, bytes go there and back, and each is compared.
    #[command(after_help = UP_EXAMPLES)]
    Up(Up),
    /// Serve a device to virtual machines, over a vhost-user socket
    ///
    /// The device is in this process, and a virtual machine, or any other front-end of vhost-user,
    /// has the driver. One front-end is served after another, until the process is told to stop.
    #[command(after_help = SERVE_EXAMPLES, arg_required_else_help = false)]
    Serve(Serve),
    /// Drive a device behind a vhost-user socket: look at it, copy it, measure it
    ///
    /// The drivers of this program, in this process, without a virtual machine: they share their
    /// memory with the back-end that listens at the socket. Should it end, the drivers wait for
    /// another one, and go on.
    #[command(after_help = DRIVE_EXAMPLES, arg_required_else_help = false)]
    Drive(Drive),
    /// List the virtio devices and drivers of this system
    ///
    /// What Linux tells of its bus of virtio devices, decoded: types, status and features by name,
    /// transports, drivers, interrupts, and the disks and network interfaces that they have become.
    #[command(after_help = LS_EXAMPLES)]
    Ls(Ls),
}

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  every check passed
  1  a check failed: the report says which
  2  nothing was checked: the line on standard error says why, and what to do"
    };
}

const EXIT_CODES: &str = exit_codes!();

const UP_EXAMPLES: &str = concat!(
    "\
Examples:
  ringway up                            our drivers and our devices, in this process
  ringway up --on qemu                  the same drivers, on bare metal, and QEMU's devices
  ringway up --disk disk.img            with a disk image of yours: only a copy of it is written
  ringway up --tree                     what is on the bus of the machine
  ringway up --only entropy --json      one type of device, and a report for programs
  ringway up --only net --net-bytes 1G  cards, and 1 GiB each way, in every way of driving them
  ringway up --ring packed              with rings of the other format
  ringway up --ring-features no-event_idx,in_order
                                        with less of one thing, and more of another
  ringway up --seed 7                   one thread, one step at a time: the same again each time

",
    exit_codes!()
);

const RING_FEATURES: &str = "\
Ring features that they offer, or do not, separated by commas: NAME, no-NAME

The names are indirect_desc, event_idx, access_platform, ring_packed, in_order, order_platform, \
notification_data and ring_reset. What is not named is as usual: all that costs nothing is offered. \
After `none`, it is not. The report says what each device and its driver agreed to.

QEMU's devices know no order_platform and no notification_data, and ring_reset on PCI alone; \
with in_order, its queues have 8 descriptors, and its disks one request at a time.";

/// How to bring a machine up.
#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Where the devices are
    #[arg(long, value_enum, default_value_t = On::Here, value_name = "PLACE")]
    pub(crate) on: On,

    /// The disk: a raw image of whole sectors (512 bytes). Made up, 64 MiB, if none is given
    #[arg(long, value_name = "FILE")]
    pub(crate) disk: Option<PathBuf>,

    /// Write to the image itself, not to a copy of it in a temporary directory
    #[arg(long, requires = "disk")]
    pub(crate) write: bool,

    /// How many bytes each of two network cards sends the other, in every way of driving them. With K,
    /// M, G or T [default: 2M]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) net_bytes: Option<u64>,

    /// The types of devices to drive, separated by commas: net, blk, entropy [default: all that there
    /// are at the place]
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = device_type)]
    pub(crate) only: Vec<DeviceId>,

    /// The format of the rings that the devices offer [default: split]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) ring: Option<Format>,

    /// Ring features that they offer, or do not, separated by commas: NAME, no-NAME
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = ring::change,
        long_help = RING_FEATURES
    )]
    pub(crate) ring_features: Vec<Change>,

    /// Take whatever is left to chance from this number
    ///
    /// In this process, everything then happens on one thread, in an order that follows from the
    /// number, and random bytes follow from it, too: the same number gives the same run again.
    /// In QEMU it chooses what is written where.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Show the bus of each machine, with its devices and drivers, as `ringway ls` shows that of a
    /// system. With --json, beside the report
    #[arg(long)]
    pub(crate) tree: bool,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// The QEMU to use: qemu-system-x86_64
    ///
    /// Otherwise the one that the environment names in `RINGWAY_QEMU`, one on the PATH, or one
    /// that `cargo xtask fetch qemu` has brought.
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,

    /// The bare-metal image to run in QEMU. Built from the checkout around the current directory,
    /// if none is given
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
}

/// Where devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// In this process
    Here,
    /// In QEMU: two machines, one with PCI, one with MMIO
    Qemu,
}

/// What was typed. `None` if it asked for help, which was printed.
pub(crate) fn parse() -> Result<Option<Command>> {
    let command = match Ringway::try_parse() {
        Ok(Ringway { command }) => command,
        Err(error) => {
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) {
                // Whoever closed standard output does not want to read it.
                let _ = error.print();
                return Ok(None);
            }
            let words: Vec<_> = std::env::args().collect();
            return Err(Refusal::new(shortened(&error.to_string(), &words)));
        }
    };
    match &command {
        None => anstream::print!("{}", Ringway::command().render_help().ansi()),
        Some(Command::Up(up)) => up.check()?,
        Some(Command::Serve(serve)) => serve.check()?,
        Some(Command::Drive(drive)) => drive.check()?,
        Some(Command::Ls(_)) => {}
    }
    Ok(command)
}

impl Up {
    /// Whether devices of this type are to be driven.
    pub(crate) fn wants(&self, id: DeviceId) -> bool {
        match self.only.is_empty() {
            true => self.on == On::Here || id != DeviceId::NETWORK,
            false => self.only.contains(&id),
        }
    }

    /// What the devices are to offer of rings.
    pub(crate) fn offer(&self) -> Result<Features> {
        ring::offer(self.on.into(), self.ring, &self.ring_features)
    }

    /// Finds options that do nothing together.
    fn check(&self) -> Result<()> {
        if self.on == On::Here && self.qemu.is_some() {
            return Err(Refusal::new("--qemu needs --on qemu"));
        }
        if self.on == On::Here && self.image.is_some() {
            return Err(Refusal::new("--image needs --on qemu"));
        }
        if self.disk.is_some() && !self.wants(DeviceId::BLOCK) {
            return Err(Refusal::new(
                "--disk needs a disk to be driven: add blk to --only",
            ));
        }
        if self.on == On::Qemu && self.wants(DeviceId::NETWORK) {
            return Err(Refusal::new(
                "machines in QEMU have no network cards here: leave net out of --only, or use --on here",
            ));
        }
        if self.net_bytes.is_some() && !self.wants(DeviceId::NETWORK) {
            return Err(Refusal::new(
                "--net-bytes needs network cards to be driven: add net to --only, and use --on here",
            ));
        }
        self.offer().map(drop)
    }
}

/// A number of bytes.
pub(crate) fn bytes(text: &str) -> std::result::Result<u64, String> {
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
    let bytes = number.checked_mul(1 << shift);
    Ok(bytes.ok_or("that is too large")?)
}

/// A type that can be driven.
pub(crate) fn device_type(name: &str) -> std::result::Result<DeviceId, String> {
    choose_type(name, &TYPES)
}

/// One of these types.
pub(crate) fn choose_type(name: &str, types: &[DeviceId]) -> std::result::Result<DeviceId, String> {
    let found = DeviceId::from_name(name);
    if let Some(id) = found.filter(|id| types.contains(id)) {
        return Ok(id);
    }
    let why = match found {
        Some(_) => "there is no driver for it yet",
        None => "there is no such type of device",
    };
    let known: Vec<_> = types.iter().map(ToString::to_string).collect();
    Err(format!("{why}: choose from {}", known.join(", ")))
}

/// An error of clap's about these words, as one line that says where there is help.
fn shortened(error: &str, words: &[impl AsRef<str>]) -> String {
    let about = error
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let about = about.strip_prefix("error: ").unwrap_or(&about);
    let mut command = Ringway::command();
    let mut help = command.get_name().to_owned();
    // The words that name commands, as far as they do.
    for word in words.iter().skip(1).map(AsRef::as_ref) {
        let Some(named) = command.find_subcommand(word).cloned() else {
            break;
        };
        help = format!("{help} {word}");
        command = named;
    }
    format!("{about} (see `{help} --help`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        let all = ["ringway"].iter().chain(args);
        match Ringway::try_parse_from(all.clone()) {
            Ok(Ringway { command }) => match command.expect("it does not ask for help") {
                Command::Up(up) => up.check().unwrap_err().to_string(),
                Command::Serve(serve) => serve.check().unwrap_err().to_string(),
                Command::Drive(drive) => drive.check().unwrap_err().to_string(),
                Command::Ls(ls) => unreachable!("nothing of it is refused: {ls:?}"),
            },
            Err(error) => shortened(&error.to_string(), &all.collect::<Vec<_>>()),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Ringway::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_one_line_that_says_what_can() {
        for (args, says) in [
            (&["up", "--frobnicate"][..], &["--frobnicate", "--help"][..]),
            (&["up", "--on", "mars"], &["mars", "here", "qemu"]),
            (&["up", "--seed", "a"], &["--seed", "a"]),
            (&["up", "--seed", "-1"], &["-1"]),
            (&["up", "--write"], &["--disk"]),
            (&["up", "--only", "tea"], &["tea", "blk", "entropy"]),
            (
                &["up", "--only", "blk,gpu"],
                &["gpu", "no driver", "net, blk"],
            ),
            (&["up", "--net-bytes", "1X"], &["1X", "K, M, G and T"]),
            (&["up", "--net-bytes", "1G", "--only", "blk"], &["add net"]),
            (&["up", "--on", "qemu", "--only", "net"], &["--on here"]),
            (&["up", "--on", "qemu", "--net-bytes", "1"], &["--on here"]),
            (&["up", "--only", "", "--disk", "x"], &["no such type"]),
            (&["up", "--only", "entropy", "--disk", "x"], &["--only"]),
            (&["up", "--qemu", "x"], &["--on qemu"]),
            (&["up", "--image", "x"], &["--on qemu"]),
            (&["up", "--ring", "round"], &["split, packed, inorder"]),
            (
                &["up", "--ring-features", "event_idx,tea"],
                &["tea", "indirect_desc"],
            ),
            (
                &["up", "--ring", "split", "--ring-features", "ring_packed"],
                &["contradict"],
            ),
            (
                &["up", "--on", "qemu", "--ring-features", "order_platform"],
                &["order_platform", "--on here"],
            ),
            (&["ls", "--json", "--verbose"], &["--json", "--verbose"]),
            (&["ls", "--all"], &["--all", "`ringway ls --help`"]),
            (&["down"], &["down", "`ringway --help`"]),
            (&["drive"], &["info", "`ringway drive --help`"]),
            (
                &["drive", "s"],
                &["info", "bench", "`ringway drive --help`"],
            ),
            (&["drive", "s", "tea"], &["tea", "--help"]),
            (
                &["drive", "s", "read", "--type", "entropy"],
                &["use info", "--type blk"],
            ),
            (&["drive", "s", "info", "--type", "tea"], &["tea", "blk"]),
            (&["drive", "s", "read", "--size", "513"], &["513", "512"]),
            (
                &["drive", "s", "bench", "--depth", "1,0"],
                &["--depth", "0"],
            ),
            (&["drive", "s", "bench", "--time", "0"], &["--time", "3600"]),
            (
                &["drive", "s", "packets", "--type", "blk"],
                &["no packets", "--type net"],
            ),
            (
                &["drive", "s", "packets", "--bytes", "64,63"],
                &["63", "64 to 65549"],
            ),
            (
                &["drive", "s", "packets", "--pairs", "17"],
                &["17", "1..=16"],
            ),
            (
                &[
                    "drive",
                    "s",
                    "packets",
                    "--ring",
                    "split",
                    "--ring-features",
                    "ring_packed",
                ],
                &["contradict"],
            ),
            (
                &["drive", "s", "packets", "--checksum", "--without", "csum"],
                &["--checksum needs csum"],
            ),
            (&["serve"], &["blk", "entropy", "net"]),
            (
                &["serve", "net"],
                &["--vhost-user", "`ringway serve net --help`"],
            ),
            (
                &["serve", "net", "--vhost-user", "x", "--vhost-user", "x"],
                &["x is given twice"],
            ),
            (
                &["serve", "net", "--fd", "3", "--fd", "3"],
                &["--fd 3 is given twice"],
            ),
            (&["serve", "net", "--fd", "3", "--fd", "2"], &["above 2"]),
            (
                &["serve", "net", "--fd", "3", "--mac", "01:00:00:00:00:00"],
                &["--mac", "several stations"],
            ),
            (
                &[
                    "serve",
                    "net",
                    "--fd",
                    "3",
                    "--fd",
                    "4",
                    "--mac",
                    "02:ff:ff:ff:ff:ff",
                ],
                &["02:ff:ff:ff:ff:ff", "2 cards"],
            ),
            (
                &["serve", "net", "--fd", "3", "--mtu", "67"],
                &["--mtu", "68"],
            ),
            (
                &["serve", "net", "--fd", "3", "--queues", "17"],
                &["17", "1..=16"],
            ),
            (
                &["serve", "net", "--fd", "3", "--tap-queues", "4"],
                &["--tap <NAME>"],
            ),
            (
                &["serve", "net", "--fd", "3", "--snap", "96"],
                &["--pcap <FILE>"],
            ),
            (
                &["serve", "net", "--fd", "3", "--peer", "192.0.2.1"],
                &["--peer", "192.0.2.1/24"],
            ),
            (
                &[
                    "serve",
                    "net",
                    "--fd",
                    "3",
                    "--peer",
                    "10.0.0.1/8",
                    "--peer",
                    "10.0.0.2/8",
                    "--peer",
                    "10.0.0.3/8",
                ],
                &["--peer", "two"],
            ),
            (
                &["serve", "net", "--fd", "3", "--without", "csum,tea"],
                &["tea", "mrg_rxbuf"],
            ),
            (&["serve", "tea"], &["tea", "`ringway serve --help`"]),
            (
                &["serve", "blk"],
                &["--image", "`ringway serve blk --help`"],
            ),
            (&["serve", "blk", "--null", "1G"], &["--vhost-user"]),
            (
                &["serve", "blk", "--null", "1G", "--image", "x"],
                &["--null", "--image"],
            ),
            (
                &["serve", "blk", "--null", "1X", "--fd", "3"],
                &["1X", "K, M, G and T"],
            ),
            (&["serve", "blk", "--null", "1", "--fd", "3"], &["512"]),
            (
                &["serve", "blk", "--null", "1G", "--fd", "3", "--read-only"],
                &["--read-only", "--null"],
            ),
            (
                &[
                    "serve", "blk", "--null", "1G", "--fd", "3", "--queues", "65",
                ],
                &["65", "1..=64"],
            ),
            (
                &["serve", "entropy", "--fd", "3", "--vhost-user", "x"],
                &["--fd"],
            ),
            (&["serve", "entropy", "--fd", "2"], &["above 2"]),
            (
                &["serve", "entropy", "--fd", "3", "--connect"],
                &["--connect", "--fd"],
            ),
            (
                &[
                    "serve",
                    "entropy",
                    "--fd",
                    "3",
                    "--ring-features",
                    "notification_data",
                ],
                &["notification_data", "ring_packed"],
            ),
        ] {
            let line = refused(args);

            assert_eq!(line.lines().count(), 1, "{line}");
            for word in says {
                assert!(line.contains(word), "{line}");
            }
        }
    }

    #[test]
    fn without_only_every_type_is_driven_that_there_is_at_the_place() {
        let wants = |args: &[&str]| {
            let all = ["ringway", "up"].iter().chain(args);
            match Ringway::try_parse_from(all).unwrap().command {
                Some(Command::Up(up)) => TYPES.map(|id| up.wants(id)),
                Some(Command::Serve(_) | Command::Drive(_) | Command::Ls(_)) | None => {
                    panic!("{args:?} asks for nothing")
                }
            }
        };

        assert_eq!(wants(&[]), [true; 3]);
        assert_eq!(wants(&["--on", "qemu"]), [false, true, true]);
        assert_eq!(wants(&["--only", "entropy"]), [false, false, true]);
        assert_eq!(wants(&["--only", "blk,net"]), [true, true, false]);
    }
}
