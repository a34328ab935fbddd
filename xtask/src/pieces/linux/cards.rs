//! Our network cards, and what they say of their drivers.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::backend::{Backend, Server};
use super::report::Report;
use crate::failure::{Failure, Result};
use crate::pieces::Desk;

/// Who is where, for the script `net.sh`.
pub(in crate::pieces) const GIVEN: &[(&str, &str)] = &[
    ("PEER", PEER),
    ("PEER6", PEER6),
    ("HERE", "192.0.2.2"),
    ("HERE6", "2001:db8::2"),
];
const PEER: &str = "192.0.2.1";
const PEER6: &str = "2001:db8::1";

/// Starts our cards, confined, one at each of the `sockets`, with these options of `serve net`.
///
/// # Errors
///
/// They do not come to be served.
pub(in crate::pieces) fn start(
    desk: &Desk<'_>,
    ringway: &Path,
    sockets: &[&Path],
    options: &[&str],
) -> Result<Backend> {
    let mut command = Command::new(ringway);
    command.args(["serve", "net", "--json", "--sandbox"]);
    for socket in sockets {
        command.arg("--vhost-user").arg(socket);
    }
    command.args(options);
    Backend::listen(desk, Server::Ringway, command, sockets)
}

/// The options that have our own driver be the peer.
pub(in crate::pieces) fn with_peer() -> Vec<String> {
    let addresses = [format!("{PEER}/24"), format!("{PEER6}/64")];
    let options = addresses
        .into_iter()
        .map(|address| ["--peer".into(), address]);
    options.flatten().collect()
}

/// Checks what the cards have said so far: nothing was refused and no rule broken, and each of the
/// `features` was agreed to, or not, with every driver.
///
/// # Errors
///
/// What is not so.
pub(in crate::pieces) fn judge(log: &str, with: &[&str], without: &[&str]) -> Result<()> {
    let events: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let bad = |event: &&Value| {
        let kind = event["event"].as_str().unwrap_or_default();
        ["refused", "violation", "channel_lost"].contains(&kind)
    };
    if let Some(event) = events.iter().find(bad) {
        return Err(Failure::new(format!("the card says: {event}")));
    }
    let mut agreed = events.iter().filter(|event| event["event"] == "features");
    // What was agreed to last is what holds.
    let Some(last) = agreed.next_back() else {
        return Err(Failure::new("no features were agreed to"));
    };
    let has = |name: &&&str| {
        let names = last["features"].as_array();
        names.is_some_and(|names| names.iter().any(|agreed| agreed == **name))
    };
    let missing = with.iter().find(|name| !has(name));
    let wrong = missing.or_else(|| without.iter().find(has));
    match wrong {
        Some(name) => Err(Failure::new(format!("not as it is to be, {name}: {last}"))),
        None => Ok(()),
    }
}

/// What a row says of what `net.sh` reported.
pub(in crate::pieces) fn told(report: &Report) -> String {
    let steps = report.steps.len();
    let each = report.value("each").unwrap_or("?");
    format!("{steps} steps, {each} bytes in each packet sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"warning: something
{"card":0,"event":"features","features":["MAC"]}
{"card":0,"event":"features","features":["CSUM","MAC"]}"#;

    #[test]
    fn what_was_agreed_to_last_is_judged() {
        assert!(judge(LOG, &["CSUM"], &["MQ"]).is_ok());
        for (with, without) in [(&["MQ"][..], &[][..]), (&[], &["CSUM"])] {
            let what = judge(LOG, with, without).unwrap_err().what;
            assert!(what.contains("not as it is to be"), "{what}");
        }
        assert!(
            judge("", &[], &[])
                .unwrap_err()
                .what
                .contains("no features")
        );
    }

    #[test]
    fn what_was_refused_is_a_fault_whatever_else_is_right() {
        for kind in ["refused", "violation", "channel_lost"] {
            let log = format!("{LOG}\n{{\"event\":\"{kind}\"}}");

            assert!(judge(&log, &[], &[]).unwrap_err().what.contains(kind));
        }
    }
}
