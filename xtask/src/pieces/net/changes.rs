//! A card whose link goes and comes, and which asks its driver to announce itself, over QEMU's monitor.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::boot::devices;
use crate::child::Running;
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::image::{Machine, SUCCESS};
use crate::pieces::linux::qmp::Monitor;
use crate::scratch::Scratch;

/// Most time for each thing to happen, on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What is done, and what the image says of the link then, in order. A request to announce oneself is
/// answered, and then is none any more.
const STEPS: [(Step, &[Said]); 4] = [
    (
        Step::Link(false),
        &[Said {
            up: false,
            announce: false,
        }],
    ),
    (
        Step::Link(true),
        &[Said {
            up: true,
            announce: false,
        }],
    ),
    (Step::Announce, ANNOUNCED),
    (Step::Announce, ANNOUNCED),
];
const ANNOUNCED: &[Said] = &[
    Said {
        up: true,
        announce: true,
    },
    Said {
        up: true,
        announce: false,
    },
];

/// Something that is done with the card.
#[derive(Clone, Copy)]
enum Step {
    /// Its link is there, or is not.
    Link(bool),
    /// It asks its driver to announce itself.
    Announce,
}

/// What the image says of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    up: bool,
    announce: bool,
}

/// Takes all steps with a card of these switches, and says how many changes the bus told.
pub(super) fn run(desk: &Desk<'_>, qemu: &Path, machine: Machine, switches: &str) -> Result<usize> {
    let scratch = Scratch::new("changes")?;
    let socket = scratch.path().join("monitor");
    let mut command = machine.boot(qemu, desk.repo);
    let card = match machine {
        Machine::Q35 => "virtio-net-pci,romfile=,",
        Machine::Microvm | Machine::MicrovmLegacy => "virtio-net-device,",
    };
    command
        .args(["-append", &format!("net=watch changes={}", STEPS.len())])
        .args(["-netdev", "user,id=net,ipv6=off"])
        .args(["-device", &format!("{card}netdev=net,id=card{switches}")])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()));
    let mut image = desk.run.start(&mut command)?;
    let mut due = vec![Said {
        up: true,
        announce: false,
    }];
    wait(&mut image, &due)?;
    let mut monitor = Monitor::connect(&socket)?;
    for (step, said) in STEPS {
        match step {
            Step::Link(up) => monitor.execute("set_link", &json!({"name": "card", "up": up}))?,
            Step::Announce => {
                let times = json!({"initial": 1, "max": 1, "rounds": 1, "step": 1});
                monitor.execute("announce-self", &times)?
            }
        };
        due.extend(said);
        wait(&mut image, &due)?;
    }
    let done = image.finish(LIMIT)?;
    let report = devices(&done.stdout);
    let checks = report
        .first()
        .and_then(|device| device["checks"].as_array());
    let failed = checks.and_then(|checks| checks.iter().find(|check| check["ok"] != true));
    let answers = checks.map_or(0, |checks| {
        let answer = |check: &&Value| check["what"] == "takes an announcement as the answer";
        checks.iter().filter(answer).count()
    });
    if done.status.code() == Some(SUCCESS) && failed.is_none() && answers == 2 {
        return Ok(due.len() - 1);
    }
    Err(Failure {
        what: format!(
            "QEMU ended with {}; {answers} answers; failed: {failed:?}",
            done.status
        ),
        output: done.log,
    })
}

/// Waits until the image has said all that is due.
fn wait(image: &mut Running, due: &[Said]) -> Result<()> {
    let what = format!("say {due:?}");
    image.wait_until(&what, LIMIT, |log| said(log) == due)
}

/// What the image has said of the link so far.
fn said(log: &str) -> Vec<Said> {
    let lines = log.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let links = lines.filter(|line| line["event"] == "link");
    links
        .map(|link| Said {
            up: link["up"] == true,
            announce: link["announce"] == true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_link_is_found_in_the_log() {
        let log = r#"
{"event":"link","device":"virtio0","up":true,"announce":false}
{"event":"begin"}
no event
{"event":"link","device":"virtio0","up":false,"announce":true}
"#;

        let [up, down] = [(true, false), (false, true)].map(|(up, announce)| Said { up, announce });
        assert_eq!(said(log), [up, down]);
    }
}
