//! A bus for people: a row for each device, what is known of it below, and the drivers in the end.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use ringway_spec::{DeviceId, Features};

use super::{Device, Driver, Interrupt, Problem, Queue, Tree, status_names};

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default();

/// What stands where nothing is known.
const UNKNOWN: &str = "?";
/// Most columns that words are put in, one after the other.
const COLUMNS: usize = 100;
/// Columns before what is said of a device.
const INDENT: usize = 16;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Features in a line, interrupts by their names.
    Brief,
    /// A line for each feature, with the section that defines it, and for each interrupt, with how
    /// often it came.
    Full,
}

impl Tree {
    /// Lines of text, with colours.
    pub(crate) fn text(&self, detail: Detail) -> String {
        let mut text = String::new();
        // A `String` takes whatever is written to it.
        let _ = self.write_to(&mut text, detail);
        text
    }

    fn write_to(&self, out: &mut String, detail: Detail) -> fmt::Result {
        let devices = count(self.devices.len(), "device");
        let drivers = count(self.drivers.len(), "driver");
        writeln!(
            out,
            "{STRONG}{}{STRONG:#}: {devices}, {drivers}",
            self.place
        )?;
        let rows: Vec<_> = self.devices.iter().map(cells).collect();
        let widths = widths(&rows);
        for (place, (device, row)) in self.devices.iter().zip(&rows).enumerate() {
            let last = place + 1 == rows.len() && self.drivers.is_empty();
            let (branch, rest) = branches(last);
            write!(out, "{FAINT}{branch}{FAINT:#}")?;
            write_row(out, row, &widths)?;
            let lines = Lines { out, rest };
            about(lines, device, detail)?;
        }
        self.write_drivers(out)?;
        for Problem { attribute, why } in &self.problems {
            writeln!(out, "{BAD}{attribute}: {why}{BAD:#}")?;
        }
        Ok(())
    }

    fn write_drivers(&self, out: &mut String) -> fmt::Result {
        if self.drivers.is_empty() {
            return Ok(());
        }
        writeln!(out, "{FAINT}└─ {FAINT:#}{STRONG}drivers{STRONG:#}")?;
        let rows: Vec<_> = self.drivers.iter().map(driver_cells).collect();
        let widths = widths(&rows);
        for (place, row) in rows.iter().enumerate() {
            let (branch, _) = branches(place + 1 == rows.len());
            write!(out, "   {FAINT}{branch}{FAINT:#}")?;
            write_row(out, row, &widths)?;
        }
        Ok(())
    }
}

/// What stands before a row of a tree, and before what belongs to it.
fn branches(last: bool) -> (&'static str, &'static str) {
    if last {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The columns of a device's row.
fn cells(device: &Device) -> [String; 6] {
    let shown = |known: &Option<String>| known.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let interfaces: Vec<_> = device
        .interfaces
        .iter()
        .map(|interface| format!("{} {}", interface.class, interface.name))
        .collect();
    [
        device.name.clone(),
        device.id.map_or_else(|| UNKNOWN.to_owned(), kind),
        shown(&device.transport),
        shown(&device.parent),
        device
            .driver
            .clone()
            .unwrap_or_else(|| "no driver".to_owned()),
        interfaces.join(", "),
    ]
}

/// A type's name and number.
fn kind(id: DeviceId) -> String {
    match id.name() {
        Some(name) => format!("{name} ({})", id.0),
        None => id.to_string(),
    }
}

fn driver_cells(driver: &Driver) -> [String; 3] {
    let devices = match &driver.devices[..] {
        [] => "no device".to_owned(),
        devices => devices.join(" "),
    };
    let module = driver.module.as_ref();
    let module = module.map_or_else(String::new, |name| format!("module {name}"));
    [driver.name.clone(), module, devices]
}

fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    })
}

/// Writes a row, of which the first cell is a name.
fn write_row(out: &mut String, row: &[String], widths: &[usize]) -> fmt::Result {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        match (column, width) {
            (0, _) => write!(line, "{STRONG}{cell:<width$}{STRONG:#}")?,
            // Nothing is in it in any row.
            (_, 0) => {}
            _ => write!(line, "  {cell:<width$}")?,
        }
    }
    writeln!(out, "{}", line.trim_end())
}

/// Writes what is known of a device, below its row.
fn about(mut lines: Lines<'_>, device: &Device, detail: Detail) -> fmt::Result {
    let vendor = device.vendor.map(|vendor| format!("{vendor:#06x}"));
    let words = [vendor, device.modalias.clone()];
    lines.words("vendor", words.into_iter().flatten())?;
    if let Some(status) = device.status {
        let value = format!("({:#04x})", status.bits());
        lines.words("status", status_names(status).into_iter().chain([value]))?;
    }
    if let Some(features) = device.features {
        if detail == Detail::Full {
            lines.line("bits", &features.string())?;
            lines.features(device)?;
        } else {
            let names = device.feature_names().map(|name| name.to_string());
            lines.words("features", names)?;
        }
        if features.set == Features::NONE {
            lines.line("features", "none")?;
        }
    }
    match detail {
        Detail::Full => lines.table("irqs", device.interrupts.iter().map(interrupt_cells))?,
        Detail::Brief => lines.words("irqs", device.interrupts.iter().map(interrupt_word))?,
    }
    lines.words("irqs", device.interrupt.iter().cloned())?;
    // Those whose size nobody has told are there as interrupts.
    if device.queues.iter().any(|queue| queue.size.is_some()) {
        lines.table("queues", device.queues.iter().map(queue_cells))?;
    }
    for Problem { attribute, why } in &device.problems {
        let what = format!("{BAD}{attribute}: {why}{BAD:#}");
        lines.line("odd", &what)?;
    }
    Ok(())
}

fn interrupt_word(interrupt: &Interrupt) -> String {
    let irq = number(interrupt.irq);
    match &interrupt.name {
        Some(name) => format!("{irq}:{name}"),
        None => irq,
    }
}

fn interrupt_cells(interrupt: &Interrupt) -> [String; 4] {
    [
        number(interrupt.irq),
        interrupt.name.clone().unwrap_or_else(|| "-".to_owned()),
        match interrupt.vector {
            Some(vector) => format!("vector {vector}"),
            None => String::new(),
        },
        match interrupt.count {
            Some(1) => "once".to_owned(),
            Some(count) => format!("{count} times"),
            None => String::new(),
        },
    ]
}

fn queue_cells(queue: &Queue) -> [String; 5] {
    [
        number(queue.index),
        queue.name.clone().unwrap_or_default(),
        format!("size {}", number(queue.size)),
        match queue.vector {
            Some(vector) => format!("vector {vector}"),
            None => String::new(),
        },
        queue.vector_name.clone().unwrap_or_default(),
    ]
}

fn number(number: Option<impl fmt::Display>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

/// Lines below a device's row, each with a head or as the next of one.
struct Lines<'o> {
    out: &'o mut String,
    /// What the tree has before each.
    rest: &'static str,
}

impl Lines<'_> {
    fn line(&mut self, head: &str, what: &str) -> fmt::Result {
        let (rest, width) = (self.rest, INDENT - 6);
        let line = format!("{FAINT}{rest}   {head:width$}{FAINT:#}{what}");
        writeln!(self.out, "{}", line.trim_end())
    }

    /// Words, in lines that fit. None, if there are no words.
    fn words(&mut self, head: &str, words: impl Iterator<Item = String>) -> fmt::Result {
        let mut head = head;
        let mut line = String::new();
        for word in words {
            if !line.is_empty() && INDENT + line.chars().count() + 1 + word.len() > COLUMNS {
                self.line(head, &line)?;
                (head, line) = ("", String::new());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        if line.is_empty() {
            return Ok(());
        }
        self.line(head, &line)
    }

    /// Rows of aligned cells.
    fn table<const N: usize>(
        &mut self,
        head: &str,
        rows: impl Iterator<Item = [String; N]>,
    ) -> fmt::Result {
        let rows: Vec<_> = rows.collect();
        let widths = widths(&rows);
        for (place, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths);
            // Nothing is in a column without a width in any row.
            let cells = cells.filter(|(_, width)| *width != 0);
            let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            self.line(if place == 0 { head } else { "" }, &line)?;
        }
        Ok(())
    }

    /// A line for each feature: number, name, and the section that defines it.
    fn features(&mut self, device: &Device) -> fmt::Result {
        let rows = device.feature_names().map(|name| {
            let section = name.section();
            let section = section.map_or_else(String::new, |section| format!("§{section}"));
            [format!("{:3}", name.bit()), name.to_string(), section]
        });
        self.table("features", rows)
    }
}

#[cfg(test)]
mod tests;
