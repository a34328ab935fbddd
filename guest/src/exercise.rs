//! The drivers, at work: finds every virtio device of the machine and puts it through its exercise,
//! and then all of them on a bus.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::num::NonZeroU16;

use ringway_check::event::Event;
use ringway_check::exercise::{self, Options, Reads, Way};
use ringway_driver::mmio::command_line::slots;
use ringway_driver::pci::Preference;
use ringway_spec::{F, Features};

use crate::command_line::CommandLine;
use crate::platform::{Interrupts, Lines, Machine, Reach};
use crate::{net, serial, watchdog};

/// What the ways are called of noticing that a read is done; the first is the usual one.
const WAYS: [(&str, Way); 3] = [
    ("polled", Way::Polled),
    ("blocking", Way::Blocking),
    ("async", Way::Async),
];

/// The features that drivers can be told to do without.
const WITHOUT: [(&str, Features); 4] = [
    ("EVENT_IDX", F::EVENT_IDX),
    ("INDIRECT_DESC", F::INDIRECT_DESC),
    ("RING_PACKED", F::RING_PACKED),
    ("RING_RESET", F::RING_RESET),
];

/// Exercises all devices: those of the PCI buses, and those whose windows the command line names.
/// Says whether all checks of all devices passed.
///
/// | the command line may give | |
/// | --- | --- |
/// | `seed=N` | what follows from chance |
/// | `first=N` | the number of the first device |
/// | `queue=N` | the most descriptors of a queue |
/// | `queues=N`, `slow=N` | the most request queues of a disk, and how many of them are slow |
/// | `depth=N` | the most requests that a disk has at a time |
/// | `without=NAME,NAME` | features of rings that are not accepted |
/// | `messages=N`, `lines=cut` | the most messages that devices have at a time; no interrupt lines |
/// | `reads=N`, `way=polled`, `blocking` or `async` | disks are read so often, so, and nothing else |
/// | `departures=N` | devices that come to slots are used until so many have gone, and nothing else is done |
/// | `net=client` | cards fetch `bytes=N` from the port `http=N` of their router, in buffers of `short=N` if that is given, and nothing else is done |
/// | `net=watch` | `changes=N` of a card's link are waited for, and nothing else is done |
/// | `net=listen`, `net=connect` | `bytes=N` go to another machine and come from it, and nothing else is done |
/// | `legacy-first` | devices on PCI that have a legacy interface are driven through that |
/// | `window` | no registers are mapped: those of PCI are behind windows in configuration space |
///
/// # Errors
///
/// What keeps it from beginning, in words.
pub fn run(command_line: &CommandLine) -> Result<bool, String> {
    let options = options(command_line)?;
    let slots = slots(command_line.text())
        .map(|named| named.map(|named| named.slot))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let preference = match command_line.has("legacy-first") {
        true => Preference::LegacyFirst,
        false => Preference::ModernFirst,
    };
    let reach = match command_line.has("window") {
        true => Reach::Window,
        false => Reach::Direct,
    };
    let machine = Machine::new(interrupts(command_line)?, reach);
    let mut sink = |event: Event| {
        watchdog::pet();
        serial::line(&event.to_line());
    };
    if let Some(task) = task(command_line)? {
        return net::run(task, &machine, (preference, &slots), &options, &mut sink);
    }
    if let Some(departures) = number(command_line, "departures")? {
        let report = exercise::in_slots(&machine, departures, &options, &mut sink);
        return Ok(report.checks.iter().all(|check| check.ok));
    }
    let subjects = exercise::scan_by(&machine, preference, slots.iter().copied());
    if subjects.is_empty() {
        return Err("the machine has no virtio device".to_string());
    }
    let reports = exercise::run(subjects, &options, &mut sink);
    let mut ok = reports
        .iter()
        .flat_map(|report| &report.checks)
        .all(|check| check.ok);
    // Whoever counts what reads cost wants nothing else done.
    if options.reads.is_none() {
        let bus = exercise::on_bus(&machine, slots, &options, &mut sink);
        ok &= bus.checks.iter().all(|check| check.ok);
    }
    Ok(ok)
}

/// Says that all is done.
pub fn end(ok: bool) {
    serial::line(&Event::End { ok }.to_line());
}

fn options(command_line: &CommandLine) -> Result<Options, String> {
    let reads = number(command_line, "reads")?.map(|count| {
        let way = command_line.value("way").unwrap_or(WAYS[0].0);
        let known = WAYS.into_iter().find(|(name, _)| *name == way);
        let (_, way) = known.ok_or_else(|| format!("there is no way {way}"))?;
        Ok::<_, String>(Reads { count, way })
    });
    let queues = number(command_line, "queues")?
        .map(|count| NonZeroU16::new(count).ok_or_else(|| "queues: there is one".to_string()));
    let seed = command_line.number("seed");
    let without = command_line.value("without").into_iter();
    let mut without = without.flat_map(|names| names.split(',')).map(feature);
    Ok(Options {
        seed: seed.map_err(|error| error.to_string())?.unwrap_or_default(),
        first: number(command_line, "first")?.unwrap_or_default(),
        queue: number(command_line, "queue")?,
        queues: queues.transpose()?,
        slow: number(command_line, "slow")?.unwrap_or_default(),
        depth: number(command_line, "depth")?,
        without: without.try_fold(Features::NONE, |all, one| Ok::<_, String>(all | one?))?,
        reads: reads.transpose()?,
        // Two cards of one machine are not met here.
        moved: None,
    })
}

/// What is to be done with network cards, if that is all.
fn task(command_line: &CommandLine) -> Result<Option<net::Task>, String> {
    let Some(task) = command_line.value("net") else {
        return Ok(None);
    };
    let bytes = number(command_line, "bytes")?.unwrap_or_default();
    Ok(Some(match task {
        "client" => net::Task::Client {
            port: number(command_line, "http")?.unwrap_or_default(),
            bytes,
            short: number(command_line, "short")?,
        },
        "watch" => net::Task::Watch {
            changes: number(command_line, "changes")?.unwrap_or_default(),
        },
        "listen" => net::Task::Listen { bytes },
        "connect" => net::Task::Connect { bytes },
        other => return Err(format!("there is no {other} of cards")),
    }))
}

fn interrupts(command_line: &CommandLine) -> Result<Interrupts, String> {
    let usual = Interrupts::default();
    Ok(Interrupts {
        messages: number(command_line, "messages")?.unwrap_or(usual.messages),
        lines: match command_line.value("lines") {
            None => usual.lines,
            Some("cut") => Lines::Cut,
            Some(other) => return Err(format!("there are no lines {other}")),
        },
    })
}

/// The feature of rings that is called so.
fn feature(name: &str) -> Result<Features, String> {
    let known = WITHOUT.into_iter().find(|(known, _)| *known == name);
    let (_, feature) = known.ok_or_else(|| format!("there is no feature {name}"))?;
    Ok(feature)
}

/// The number that the command line gives, if it gives one, and it fits.
fn number<N: TryFrom<u64, Error: Display>>(
    command_line: &CommandLine,
    key: &str,
) -> Result<Option<N>, String> {
    let given = command_line.number(key);
    let given = given.map_err(|error| error.to_string())?;
    let fits = |number: u64| N::try_from(number).map_err(|error| format!("{key}: {error}"));
    given.map(fits).transpose()
}
