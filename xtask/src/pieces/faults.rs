//! Faults of the bare-metal image, provoked: each must end the machine with a
//! report that says what happened, and none may leave it standing.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

use super::image::{FAILURE, Machine, SUCCESS};
use super::{Desk, cargo};
use crate::failure::{Failure, Result};
use crate::fetch;

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(120);
/// The machines the image runs on.
const MACHINES: [Machine; 2] = [Machine::Q35, Machine::Microvm];
/// Self-tests of the image, and what its failed report calls each; `None`
/// for the one that does not fail.
const CASES: [(&str, Option<&str>); 7] = [
    ("ok", None),
    ("panic", Some("panic")),
    ("exception", Some("exception")),
    ("stack", Some("exception")),
    ("memory", Some("panic")),
    ("hang", Some("hang")),
    ("deadlock", Some("hang")),
];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    cargo::guest(desk)?;
    let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
    let mut wrong = Vec::new();
    for machine in MACHINES {
        for (selftest, what) in CASES {
            let mut command = machine.boot(&qemu.path, desk.repo);
            command.args(["-append", &asked(selftest, what)]);
            let why = match desk.run.run(&mut command, LIMIT) {
                Ok(done) => fault(&done.stdout, done.status, what).map(|why| (why, done.log)),
                Err(failure) => Some((failure.what, failure.output)),
            };
            if let Some((why, log)) = why {
                let log = String::from_utf8_lossy(&log);
                wrong.push(format!(
                    "selftest={selftest} on {}: {why}\n{log}",
                    machine.name()
                ));
            }
        }
    }
    if wrong.is_empty() {
        let count = CASES.len() * MACHINES.len();
        return Ok(vec![format!(
            "{count} boots on QEMU {}, each ended as it should",
            qemu.version
        )]);
    }
    Err(Failure::new(wrong.join("\n")))
}

/// The command line. Only where a hang is due may the watchdog be impatient: a
/// busy machine can hold up the others for seconds.
fn asked(selftest: &str, what: Option<&str>) -> String {
    let watchdog = if what == Some("hang") {
        " watchdog=2"
    } else {
        ""
    };
    format!("selftest={selftest}{watchdog}")
}

/// What is wrong with how the image ended, if anything. `what` is the fault its
/// report must name, or `None` if all must have gone well.
fn fault(stdout: &[u8], status: ExitStatus, what: Option<&str>) -> Option<String> {
    let expected = if what.is_some() { FAILURE } else { SUCCESS };
    if status.code() != Some(expected) {
        return Some(format!("QEMU ended with {status}, not {expected}"));
    }
    let text = String::from_utf8_lossy(stdout);
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) => lines.push(value),
            Err(e) => return Some(format!("a line is no JSON: {e}: {line}")),
        }
    }
    let Some(last) = lines.last() else {
        return Some("there is no report".to_owned());
    };
    let right = match what {
        Some(what) => last["event"] == "failed" && last["what"] == what,
        None => last["event"] == "end" && lines.iter().all(|l| l["ok"] != false),
    };
    (!right).then(|| format!("its report does not end as it should: {last}"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const START: &str = "{\"event\":\"start\"}\r\n";
    const END: &str = "{\"event\":\"end\",\"ok\":true}\r\n";
    const FAILED: &str = "{\"event\":\"failed\",\"what\":\"hang\",\"detail\":\"…\"}\n";

    fn why(lines: &[&str], code: i32, what: Option<&str>) -> Option<String> {
        fault(
            lines.concat().as_bytes(),
            ExitStatus::from_raw(code << 8),
            what,
        )
    }

    #[test]
    fn a_success_and_a_failure_are_told_by_report_and_status() {
        assert_eq!(why(&[START, END], SUCCESS, None), None);
        assert_eq!(why(&[START, FAILED], FAILURE, Some("hang")), None);
    }

    #[test]
    fn a_status_that_contradicts_the_report_is_wrong() {
        assert!(why(&[START, END], FAILURE, None).is_some());
        assert!(why(&[START, FAILED], SUCCESS, Some("hang")).is_some());
        assert!(why(&[], 0, None).is_some());
    }

    #[test]
    fn the_report_must_name_the_fault() {
        assert!(why(&[START, FAILED], FAILURE, Some("panic")).is_some());
        assert!(why(&[START], FAILURE, Some("hang")).is_some());
        assert!(why(&[], FAILURE, Some("hang")).is_some());
    }

    #[test]
    fn a_check_that_failed_is_no_success() {
        let check = "{\"event\":\"check\",\"what\":\"clock\",\"ok\":false}\n";

        assert!(why(&[START, check, END], SUCCESS, None).is_some());
    }

    #[test]
    fn a_line_that_is_cut_short_is_wrong() {
        assert!(why(&["{\"event\":\"fai", FAILED], FAILURE, Some("hang")).is_some());
    }
}
