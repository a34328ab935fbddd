//! The drivers, at work: finds every virtio device of the machine and puts it through its exercise,
//! and then all of them on a bus.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ringway_check::event::Event;
use ringway_check::exercise::{self, Options};
use ringway_driver::mmio::command_line::slots;
use ringway_driver::pci::Preference;

use crate::command_line::CommandLine;
use crate::platform::Machine;
use crate::{serial, watchdog};

/// Exercises all devices: those of the PCI buses, and those whose windows the command line names.
/// Says whether all checks of all devices passed.
///
/// The command line may give `seed=N`; `first=N`, the number of the first device; `queue=N`, the most
/// descriptors of a queue; and `depth=N`, the most requests that a disk has at a time. With the word
/// `legacy-first`, devices on PCI that have a legacy interface are driven through that.
///
/// # Errors
///
/// What keeps it from beginning, in words.
pub fn run(command_line: &CommandLine) -> Result<bool, String> {
    let number = |key| {
        let number = command_line.number(key);
        number
            .map(Option::unwrap_or_default)
            .map_err(|error| error.to_string())
    };
    let most = |key| {
        let most = u16::try_from(number(key)?).map_err(|error| error.to_string())?;
        Ok::<_, String>((most != 0).then_some(most))
    };
    let options = Options {
        seed: number("seed")?,
        first: u32::try_from(number("first")?).map_err(|error| error.to_string())?,
        queue: most("queue")?,
        depth: most("depth")?,
    };
    let slots = slots(command_line.text())
        .map(|named| named.map(|named| named.slot))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let preference = match command_line.has("legacy-first") {
        true => Preference::LegacyFirst,
        false => Preference::ModernFirst,
    };
    let subjects = exercise::scan_by(&Machine::default(), preference, slots.iter().copied());
    if subjects.is_empty() {
        return Err("the machine has no virtio device".to_string());
    }
    let mut sink = |event: Event| {
        watchdog::pet();
        serial::line(&event.to_line());
    };
    let reports = exercise::run(subjects, &options, &mut sink);
    let bus = exercise::on_bus(&Machine::default(), slots, &options, &mut sink);
    let checks = reports.iter().flat_map(|report| &report.checks);
    Ok(checks.chain(&bus.checks).all(|check| check.ok))
}

/// Says that all is done.
pub fn end(ok: bool) {
    serial::line(&Event::End { ok }.to_line());
}
