//! Bad input to the `ringway` command: each is refused in a line or two that
//! say what to do, with nothing on standard output and nothing written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Desk;
use super::cargo::{self, cargo};
use crate::child::Finished;
use crate::failure::{Failure, Result};
use crate::scratch::Scratch;

/// Most time until the command has refused.
const LIMIT: Duration = Duration::from_secs(60);
/// The user who owns nothing, and his group.
const NOBODY: u32 = 65534;
/// Most lines of an error, blank ones not counted: the error, a hint, the
/// usage, and where to read more.
const MOST_LINES: usize = 4;

/// One bad input.
struct Case {
    what: &'static str,
    args: &'static [&'static str],
    /// What the error must say: the culprit, and what to do about it.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "an image that is missing",
        args: &["up", "--disk", "missing.img"],
        says: &["missing.img"],
    },
    Case {
        what: "an image that is empty",
        args: &["up", "--disk", "empty.img"],
        says: &["empty.img", "empty"],
    },
    Case {
        what: "an image that is no whole number of sectors",
        args: &["up", "--disk", "odd.img"],
        says: &["odd.img", "512"],
    },
    Case {
        what: "a folder for an image",
        args: &["up", "--disk", "folder"],
        says: &["folder"],
    },
    Case {
        what: "an image that may not be read",
        args: &["up", "--disk", "locked.img"],
        says: &["locked.img"],
    },
    Case {
        what: "an option that is unknown",
        args: &["up", "--frobnicate"],
        says: &["--frobnicate", "--help"],
    },
    Case {
        what: "a device type that is unknown",
        args: &["up", "--only", "frobnicator"],
        says: &["frobnicator"],
    },
    Case {
        what: "a place that is unknown",
        args: &["up", "--on", "mars"],
        says: &["mars", "qemu"],
    },
    Case {
        what: "a format of rings that is unknown",
        args: &["up", "--ring", "round"],
        says: &["round", "inorder"],
    },
    Case {
        what: "a ring feature that is unknown",
        args: &["up", "--ring-features", "frobnication"],
        says: &["frobnication", "event_idx"],
    },
    Case {
        what: "a format and features that contradict it",
        args: &["up", "--ring", "split", "--ring-features", "ring_packed"],
        says: &["--ring split", "ring_packed"],
    },
    Case {
        what: "a ring feature that QEMU's devices do not know",
        args: &["up", "--on", "qemu", "--ring-features", "order_platform"],
        says: &["order_platform", "--on here"],
    },
    Case {
        what: "a QEMU that is not there",
        args: &["up", "--on", "qemu", "--qemu", "no-such-qemu"],
        says: &["no-such-qemu"],
    },
    Case {
        what: "no QEMU anywhere",
        args: &["up", "--on", "qemu"],
        says: &["QEMU", "cargo xtask fetch qemu"],
    },
    Case {
        what: "a system without virtio to list",
        args: &["ls", "--root", "folder"],
        says: &["folder/sys/bus/virtio", "--root"],
    },
    Case {
        what: "a list for people and for programs at once",
        args: &["ls", "--json", "--verbose"],
        says: &["--json", "--verbose", "--help"],
    },
    Case {
        what: "nothing to serve",
        args: &["serve"],
        says: &["blk", "entropy", "--help"],
    },
    Case {
        what: "a device that nobody can serve",
        args: &["serve", "frobnicator", "--vhost-user", "new.sock"],
        says: &["frobnicator", "--help"],
    },
    Case {
        what: "a device to serve, and nowhere",
        args: &["serve", "entropy"],
        says: &["--vhost-user"],
    },
    Case {
        what: "an image to serve that is missing",
        args: &[
            "serve",
            "blk",
            "--image",
            "missing.img",
            "--vhost-user",
            "new.sock",
        ],
        says: &["missing.img"],
    },
    Case {
        what: "an image to serve that is no whole number of sectors",
        args: &[
            "serve",
            "blk",
            "--image",
            "odd.img",
            "--vhost-user",
            "new.sock",
        ],
        says: &["odd.img", "512"],
    },
    Case {
        what: "an image to serve that may not be read",
        args: &[
            "serve",
            "blk",
            "--image",
            "locked.img",
            "--vhost-user",
            "new.sock",
        ],
        says: &["locked.img"],
    },
    Case {
        what: "a size that is none",
        args: &["serve", "blk", "--null", "1X", "--vhost-user", "new.sock"],
        says: &["1X", "K, M, G and T"],
    },
    Case {
        what: "more queues than there can be",
        args: &[
            "serve",
            "blk",
            "--null",
            "1G",
            "--queues",
            "65",
            "--vhost-user",
            "new.sock",
        ],
        says: &["65", "64"],
    },
    Case {
        what: "a file where a socket is to be",
        args: &["serve", "entropy", "--vhost-user", "odd.img"],
        says: &["odd.img", "no socket"],
    },
    Case {
        what: "a socket in a folder that is missing",
        args: &["serve", "entropy", "--vhost-user", "missing/new.sock"],
        says: &["missing/new.sock", "folder"],
    },
    Case {
        what: "a network card, and nowhere",
        args: &["serve", "net"],
        says: &["--vhost-user"],
    },
    Case {
        what: "two network cards at one socket",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--vhost-user",
            "new.sock",
        ],
        says: &["new.sock", "twice"],
    },
    Case {
        what: "a second socket where a file is",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--vhost-user",
            "odd.img",
        ],
        says: &["odd.img", "no socket"],
    },
    Case {
        what: "an address of several stations",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--mac",
            "ff:ff:ff:ff:ff:ff",
        ],
        says: &["--mac", "even"],
    },
    Case {
        what: "an interface that none can be called",
        args: &["serve", "net", "--vhost-user", "new.sock", "--tap", "a/b"],
        says: &["a/b", "15 bytes"],
    },
    Case {
        what: "a capture in a folder that is missing",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--pcap",
            "missing/cards.pcapng",
        ],
        says: &["missing/cards.pcapng"],
    },
    Case {
        what: "a peer at no address",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--peer",
            "192.0.2.1/33",
        ],
        says: &["--peer", "192.0.2.1/24"],
    },
    Case {
        what: "a feature that network cards have not",
        args: &[
            "serve",
            "net",
            "--vhost-user",
            "new.sock",
            "--without",
            "frobnication",
        ],
        says: &["frobnication", "guest_csum"],
    },
    Case {
        what: "a descriptor that is not open",
        args: &["serve", "entropy", "--fd", "9"],
        says: &["descriptor 9", "--fd"],
    },
    Case {
        what: "a ring feature that vhost-user cannot carry",
        args: &[
            "serve",
            "entropy",
            "--fd",
            "9",
            "--ring-features",
            "notification_data",
        ],
        says: &["notification_data", "event_idx"],
    },
];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let build = ["build", "--locked", "--release", "-p", "ringway"];
    desk.run.succeed(&mut cargo(desk, &build), cargo::LIMIT)?;
    // Where everybody may start it.
    let shelf = Scratch::new("bad-input-program")?;
    let program = shelf.path().join("ringway");
    let built = desk.repo.join("target/release/ringway");
    fs::copy(&built, &program).map_err(Failure::io("copy", &built))?;
    let scratch = Scratch::new("bad-input")?;
    let place = scratch.path();
    let lockable = furnish(place).map_err(Failure::io("furnish", place))?;

    let before = contents(place)?;
    let mut wrong = Vec::new();
    for case in CASES {
        let mut command = Command::new(&program);
        if case.args.contains(&"locked.img") && !lockable {
            // The superuser may read everything: somebody else is to try.
            command.uid(NOBODY).gid(NOBODY);
        }
        command
            .args(case.args)
            .current_dir(place)
            .env("PATH", place.join("empty-path"))
            .env_remove("RINGWAY_QEMU");
        let done = desk.run.run(&mut command, LIMIT)?;
        let mut faults = faults(&done, case.says);
        if contents(place)? != before {
            faults.push("it wrote something".to_owned());
        }
        if !faults.is_empty() {
            let said = String::from_utf8_lossy(&done.log).into_owned();
            wrong.push(format!("{}: {}\n{said}", case.what, faults.join("; ")));
        }
    }
    if wrong.is_empty() {
        return Ok(vec![format!("{} bad inputs refused", CASES.len())]);
    }
    Err(Failure::new(wrong.join("\n")))
}

/// Puts the bad images in place. Says whether one could be made unreadable.
fn furnish(place: &Path) -> std::io::Result<bool> {
    fs::create_dir(place.join("empty-path"))?;
    fs::create_dir(place.join("folder"))?;
    fs::write(place.join("empty.img"), "")?;
    fs::write(place.join("odd.img"), [0x5a; 1025])?;
    let locked = place.join("locked.img");
    fs::write(&locked, [0x5a; 1024])?;
    lock(&locked)?;
    Ok(File::open(&locked).is_err())
}

#[cfg(unix)]
fn lock(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o000))
}

#[cfg(not(unix))]
fn lock(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Every path below `place`, with the bytes of the files that can be read.
fn contents(place: &Path) -> Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![place.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Failure::io("list", &folder))? {
            let path = entry.map_err(Failure::io("list", &folder))?.path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let bytes = fs::read(&path).ok();
            found.insert(path, bytes);
        }
    }
    Ok(found)
}

/// What is wrong with how the command refused.
fn faults(done: &Finished, says: &[&str]) -> Vec<String> {
    let error = String::from_utf8_lossy(&done.stderr);
    let lines = error.lines().filter(|line| !line.trim().is_empty()).count();
    let mut faults = Vec::new();
    match done.status.code() {
        Some(0) => faults.push("it succeeded".to_owned()),
        Some(code) if code < 100 => {}
        _ => faults.push(format!("it ended by {}", done.status)),
    }
    if !done.stdout.is_empty() {
        faults.push("it wrote to standard output".to_owned());
    }
    if lines == 0 || lines > MOST_LINES {
        faults.push(format!("its error has {lines} lines, of 1 to {MOST_LINES}"));
    }
    let missing = says.iter().filter(|word| !error.contains(**word));
    faults.extend(missing.map(|word| format!("its error does not say `{word}`")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Runner;

    fn after(script: &str) -> Vec<String> {
        let run = Runner::TEST;
        let done = run.run(Command::new("sh").args(["-c", script]), LIMIT);
        faults(&done.unwrap(), &["disk.img", "512"])
    }

    #[test]
    fn one_line_that_names_the_culprit_is_right() {
        let faults = after("echo 'disk.img: not a multiple of 512 bytes' >&2; exit 1");

        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn success_silence_and_output_are_each_a_fault() {
        let faults = after("echo fine");

        assert_eq!(faults.len(), 5, "{faults:?}");
    }

    #[test]
    fn a_panic_is_no_refusal() {
        let faults = after("echo disk.img 512 >&2; exit 101");

        assert_eq!(faults, ["it ended by exit status: 101"]);
    }

    #[test]
    fn a_long_error_is_no_clear_line() {
        let faults = after("for n in 1 2 3 4 5; do echo disk.img 512; done >&2; exit 1");

        assert_eq!(faults, ["its error has 5 lines, of 1 to 4"]);
    }

    #[test]
    fn a_file_written_beside_is_seen() {
        let scratch = Scratch::new("beside").unwrap();
        furnish(scratch.path()).unwrap();
        let before = contents(scratch.path()).unwrap();

        fs::write(scratch.path().join("folder/new"), "").unwrap();

        assert_ne!(contents(scratch.path()).unwrap(), before);
    }
}
