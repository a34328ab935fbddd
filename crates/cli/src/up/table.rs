//! The report, for people.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use ringway_check::report::{Check, DeviceReport, Place, Report};

const HEADS: [&str; 9] = [
    "DEVICE",
    "TYPE",
    "TRANSPORT",
    "RING",
    "REQUESTS",
    "MOVED",
    "RATE",
    "KICKS/REQ",
    "INTERRUPTS/REQ",
];

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
    let rows: Vec<_> = report.devices.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(String::len).max();
        longest.max(HEADS.get(column).map(|head| head.len()))
    };
    let widths: Vec<_> = (0..HEADS.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();

    write_row(out, STRONG, &HEADS.map(str::to_owned), &widths)?;
    writeln!(out, "  {STRONG}CHECKS{STRONG:#}")?;
    for (device, row) in report.devices.iter().zip(&rows) {
        write_row(out, Style::new(), row, &widths)?;
        write_verdict(out, &device.checks)?;
        let about = match &device.features[..] {
            [] => "no features".to_owned(),
            features => features.join(" "),
        };
        writeln!(out, "         {FAINT}{about}{FAINT:#}")?;
    }
    write_end(out, report)
}

fn write_end(out: &mut String, report: &Report) -> fmt::Result {
    for device in &report.devices {
        write_failures(out, &device.name, &device.checks)?;
    }
    write_failures(out, "the run", &report.checks)?;
    writeln!(out, "{}", summary(report))
}

fn write_row(out: &mut String, style: Style, row: &[String; 9], widths: &[usize]) -> fmt::Result {
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let between = if column == 0 { "" } else { "  " };
        // Words to the left, numbers to the right.
        if column < 4 {
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

fn cells(device: &DeviceReport) -> [String; 9] {
    let per_request = |count: u64| {
        if device.requests == 0 {
            return "-".to_owned();
        }
        format!("{:.3}", count as f64 / device.requests as f64)
    };
    let seconds = device.microseconds as f64 / 1e6;
    let rate = if device.microseconds == 0 {
        "-".to_owned()
    } else {
        size(device.bytes as f64 / seconds) + "/s"
    };
    [
        device.name.clone(),
        device.kind.clone(),
        device.transport.clone(),
        device.ring.clone(),
        device.requests.to_string(),
        size(device.bytes as f64),
        rate,
        per_request(device.kicks),
        per_request(device.interrupts),
    ]
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
        let report = Report::new(Place::Here, 7, devices, checks);
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
