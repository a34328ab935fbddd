//! The report, for people.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use ringway_check::report::{Check, DeviceReport, Place, Report, TransferReport};

/// What stands in the columns of a table.
struct Columns<const N: usize> {
    heads: [&'static str; N],
    /// So many of the first have words, which stand to the left. Numbers stand to the right.
    words: usize,
}

const DEVICES: Columns<9> = Columns {
    heads: [
        "DEVICE",
        "TYPE",
        "TRANSPORT",
        "RING",
        "REQUESTS",
        "MOVED",
        "RATE",
        "KICKS/REQ",
        "INTERRUPTS/REQ",
    ],
    words: 4,
};

const TRANSFERS: Columns<10> = Columns {
    heads: [
        "TCP BETWEEN",
        "TRANSPORT",
        "RING",
        "OFFLOADS",
        "MTU",
        "PAIRS",
        "RATE",
        "PACKETS/S",
        "KICKS/PACKET",
        "INTERRUPTS/PACKET",
    ],
    words: 4,
};

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The report as lines of text, with colours: a table of the devices, what each of them agreed to,
/// and what is not as it should be.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    let _ = write_to(&mut text, report);
    text
}

/// What is not as it should be, and whether anything is.
pub(super) fn verdict(report: &Report) -> String {
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    let _ = write_end(&mut text, report);
    text
}

fn write_to(out: &mut String, report: &Report) -> fmt::Result {
    let devices = report.devices.iter().map(|device| Row {
        cells: device_cells(device),
        checks: &device.checks,
        about: Some(match &device.features[..] {
            [] => "no features".to_owned(),
            features => features.join(" "),
        }),
    });
    write_table(out, &DEVICES, &devices.collect::<Vec<_>>())?;
    let transfers = report.transfers.iter().map(|transfer| Row {
        cells: transfer_cells(transfer),
        checks: &transfer.checks,
        about: None,
    });
    let transfers: Vec<_> = transfers.collect();
    if !transfers.is_empty() {
        writeln!(out)?;
        write_table(out, &TRANSFERS, &transfers)?;
    }
    write_end(out, report)
}

/// A row of a table.
struct Row<'r, const N: usize> {
    cells: [String; N],
    checks: &'r [Check],
    /// What stands in a line of its own below.
    about: Option<String>,
}

fn write_table<const N: usize>(
    out: &mut String,
    columns: &Columns<N>,
    rows: &[Row<'_, N>],
) -> fmt::Result {
    let heads = columns.heads.map(str::to_owned);
    let mut widths = [0; N];
    for cells in rows.iter().map(|row| &row.cells).chain([&heads]) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.len().max(*width);
        }
    }
    write_row(out, STRONG, &heads, columns.words, &widths)?;
    writeln!(out, "  {STRONG}CHECKS{STRONG:#}")?;
    for row in rows {
        write_row(out, Style::new(), &row.cells, columns.words, &widths)?;
        write_verdict(out, row.checks)?;
        if let Some(about) = &row.about {
            writeln!(out, "         {FAINT}{about}{FAINT:#}")?;
        }
    }
    Ok(())
}

fn write_end(out: &mut String, report: &Report) -> fmt::Result {
    for device in &report.devices {
        write_failures(out, &device.name, &device.checks)?;
    }
    for transfer in &report.transfers {
        let [one, other] = &transfer.devices;
        let (mtu, pairs) = (transfer.mtu, transfer.pairs);
        let offloads = offloads(transfer);
        let whose = format!("{one} and {other}, mtu {mtu}, pairs {pairs}, offloads {offloads}:");
        write_failures(out, &whose, &transfer.checks)?;
    }
    write_failures(out, "the run", &report.checks)?;
    writeln!(out, "{}", summary(report))
}

fn write_row<const N: usize>(
    out: &mut String,
    style: Style,
    row: &[String; N],
    words: usize,
    widths: &[usize; N],
) -> fmt::Result {
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let between = if column == 0 { "" } else { "  " };
        if column < words {
            write!(out, "{between}{style}{cell:<width$}{style:#}")?;
        } else {
            write!(out, "{between}{style}{cell:>width$}{style:#}")?;
        }
    }
    Ok(())
}

fn write_verdict(out: &mut String, checks: &[Check]) -> fmt::Result {
    let (all, failed) = (
        checks.len(),
        checks.iter().filter(|check| !check.ok).count(),
    );
    match (all, failed) {
        (0, _) => writeln!(out, "  no driver"),
        (_, 0) => writeln!(out, "  {GOOD}✓ {all}{GOOD:#}"),
        _ => writeln!(out, "  {BAD}✗ {failed} of {all}{BAD:#}"),
    }
}

fn write_failures(out: &mut String, whose: &str, checks: &[Check]) -> fmt::Result {
    for check in checks.iter().filter(|check| !check.ok) {
        let detail = check.detail.as_deref().unwrap_or_default();
        let detail = detail.replace('\n', "\n    ");
        writeln!(out, "{BAD}✗{BAD:#} {whose} {}: {detail}", check.what)?;
    }
    Ok(())
}

fn summary(report: &Report) -> String {
    let place = match report.on {
        Place::Here => "in this process",
        Place::Qemu => "in QEMU",
    };
    let seed = report.seed;
    if report.ok {
        format!("{GOOD}✓{GOOD:#} every check passed, {place}, with seed {seed}")
    } else {
        format!("{BAD}✗ not every check passed{BAD:#}, {place}, with seed {seed}")
    }
}

fn device_cells(device: &DeviceReport) -> [String; 9] {
    [
        device.name.clone(),
        device.kind.clone(),
        device.transport.clone(),
        device.ring.clone(),
        device.requests.to_string(),
        size(device.bytes as f64),
        rate(device.bytes, device.microseconds),
        per(device.kicks, device.requests),
        per(device.interrupts, device.requests),
    ]
}

fn transfer_cells(transfer: &TransferReport) -> [String; 10] {
    let TransferReport {
        packets,
        microseconds,
        ..
    } = *transfer;
    [
        transfer.devices.join(" "),
        transfer.transport.clone(),
        transfer.ring.clone(),
        offloads(transfer).to_owned(),
        transfer.mtu.to_string(),
        transfer.pairs.to_string(),
        rate(transfer.bytes, microseconds),
        match microseconds {
            0 => "-".to_owned(),
            _ => format!("{:.0}", packets as f64 / seconds(microseconds)),
        },
        per(transfer.kicks, packets),
        per(transfer.interrupts, packets),
    ]
}

fn offloads(transfer: &TransferReport) -> &'static str {
    if transfer.offloads { "on" } else { "off" }
}

/// How many there are of something for each of something else.
fn per(count: u64, each: u64) -> String {
    match each {
        0 => "-".to_owned(),
        _ => format!("{:.3}", count as f64 / each as f64),
    }
}

fn rate(bytes: u64, microseconds: u64) -> String {
    match microseconds {
        0 => "-".to_owned(),
        _ => size(bytes as f64 / seconds(microseconds)) + "/s",
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// A number of bytes, by the largest unit of which there is one.
fn size(bytes: f64) -> String {
    let mut size = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            return if unit == "B" {
                format!("{size:.0} B")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceReport {
        DeviceReport {
            name: "virtio0".to_owned(),
            kind: "blk".to_owned(),
            transport: "pci-modern".to_owned(),
            ring: "split".to_owned(),
            features: vec!["FLUSH".to_owned(), "VERSION_1".to_owned()],
            checks: vec![Check::new("comes up", Ok::<_, String>(()))],
            requests: 4,
            bytes: 3 << 20,
            kicks: 1,
            interrupts: 8,
            microseconds: 500_000,
            ..DeviceReport::default()
        }
    }

    fn plain(devices: Vec<DeviceReport>, checks: Vec<Check>) -> String {
        let report = Report::new(Place::Here, 7, devices, Vec::new(), checks);
        anstream::adapter::strip_str(&render(&report)).to_string()
    }

    #[test]
    fn a_device_is_one_row_and_its_features_another() {
        let text = plain(vec![device()], Vec::new());

        let expected = "\
DEVICE   TYPE  TRANSPORT   RING   REQUESTS    MOVED       RATE  KICKS/REQ  INTERRUPTS/REQ  CHECKS
virtio0  blk   pci-modern  split         4  3.0 MiB  6.0 MiB/s      0.250           2.000  ✓ 1
         FLUSH VERSION_1
✓ every check passed, in this process, with seed 7
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_transfer_is_a_row_of_a_table_of_its_own() {
        let mut transfer = TransferReport {
            devices: ["virtio2", "virtio6"].map(str::to_owned),
            transport: "mmio".to_owned(),
            ring: "packed".to_owned(),
            mtu: 9000,
            offloads: true,
            pairs: 4,
            bytes: 3 << 20,
            packets: 400,
            kicks: 100,
            interrupts: 20,
            microseconds: 500_000,
            ..TransferReport::default()
        };
        transfer.check("moves every byte as it was", Err("byte 7 is another"));
        let report = Report::new(Place::Here, 7, vec![device()], vec![transfer], Vec::new());

        let text = anstream::adapter::strip_str(&render(&report)).to_string();

        let expected = "
TCP BETWEEN      TRANSPORT  RING    OFFLOADS   MTU  PAIRS       RATE  PACKETS/S  KICKS/PACKET  INTERRUPTS/PACKET  CHECKS
virtio2 virtio6  mmio       packed  on        9000      4  6.0 MiB/s        800         0.250              0.050  ✗ 1 of 1
✗ virtio2 and virtio6, mtu 9000, pairs 4, offloads on: moves every byte as it was: byte 7 is another
✗ not every check passed, in this process, with seed 7
";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn what_failed_is_told_with_what_was_found() {
        let mut bad = device();
        bad.check("can be flushed", Err("two\nlines"));
        let run = Check::new("finds every device", Err("1 of 2 were found"));

        let text = plain(vec![bad], vec![run]);

        assert!(text.contains("✗ 1 of 2\n"), "{text}");
        assert!(text.contains("✗ virtio0 can be flushed: two\n    lines\n"));
        assert!(text.contains("✗ the run finds every device: 1 of 2 were found\n"));
        assert!(text.ends_with("✗ not every check passed, in this process, with seed 7\n"));
    }

    #[test]
    fn a_device_that_did_nothing_divides_by_nothing() {
        let idle = DeviceReport {
            requests: 0,
            microseconds: 0,
            checks: Vec::new(),
            features: Vec::new(),
            ..device()
        };

        let text = plain(vec![idle], Vec::new());

        assert!(
            text.contains("  -          -               -  no driver\n         no features\n"),
            "{text}"
        );
    }

    #[test]
    fn sizes_are_told_by_their_largest_unit() {
        let sizes = [0.0, 1023.0, 1024.0, 1.5 * 1048576.0, 2e12].map(size);

        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1862.6 GiB"]);
    }
}
