//! `ringway up`, as it is typed.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A directory to run in, with nothing around it that would be found.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts an image there, whose sectors differ.
    fn image(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.path(name);
        let content: Vec<u8> = (0..bytes).map(|at| (at / 512 * 7 + at) as u8).collect();
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts a program there that says it is QEMU, and otherwise does as `script` says.
    fn qemu(&self, script: &str) -> PathBuf {
        let (path, source) = (self.path("qemu"), self.path("source"));
        let version = "test \"$1\" = --version && echo QEMU emulator version 0 && exit";
        fs::write(&source, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
        // Not written by this process: what another test starts just then would have it open still,
        // and busy.
        let mut install = Command::new("install");
        assert!(install.arg(source).arg(&path).status().unwrap().success());
        fs::write(self.path("image"), b"\x7fELF").unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("RINGWAY_QEMU");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it for its report, and finds that it exits as the report says.
    fn report(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        let expected = if report["ok"] == true { 0 } else { 1 };
        assert_eq!(done.status.code(), Some(expected), "{done:?}");
        report
    }

    /// Everything that is there.
    fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let files = fs::read_dir(self.0.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .map(|path| (path.clone(), fs::read(path).ok()))
            .collect()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn devices(report: &Value) -> Vec<(&str, &str, &str)> {
    let devices = report["devices"].as_array().unwrap();
    devices
        .iter()
        .map(|device| {
            let text = |name: &str| device[name].as_str().unwrap();
            (text("name"), text("type"), text("transport"))
        })
        .collect()
}

#[test]
fn every_device_is_driven_and_reported_in_one_object() {
    let place = Place::new();
    place.image("disk.img", 300 * 512);

    let report = place.report(&["up", "--disk", "disk.img", "--net-bytes", "64K"]);

    assert_eq!(
        (&report["ok"], &report["on"]),
        (&true.into(), &"here".into())
    );
    let expected = [
        ("virtio0", "blk", "pci-modern"),
        ("virtio1", "entropy", "pci-modern"),
        ("virtio2", "net", "pci-modern"),
        ("virtio3", "blk", "mmio"),
        ("virtio4", "entropy", "mmio"),
        ("virtio5", "net", "mmio"),
        // Of the machine that the first one's cards are joined to.
        ("virtio6", "net", "pci-modern"),
        ("virtio7", "net", "mmio"),
    ];
    assert_eq!(devices(&report), expected);
    for device in report["devices"].as_array().unwrap() {
        assert_eq!(device["ring"], "split");
        assert!(
            device["features"]
                .as_array()
                .unwrap()
                .contains(&"VERSION_1".into())
        );
        let checks = device["checks"].as_array().unwrap();
        assert!(!checks.is_empty());
        for check in checks {
            assert!(check["what"].is_string() && check["ok"] == true, "{check}");
        }
        for count in ["requests", "bytes", "kicks", "interrupts"] {
            assert!(device[count].is_u64(), "{count}: {device}");
        }
        assert!(device["requests"].as_u64() > Some(1));
        assert!(device["bytes"].as_u64() >= Some(300 * 512));
    }
}

#[test]
fn cards_of_two_machines_move_bytes_in_every_way_and_each_is_told() {
    let place = Place::new();
    for (ring, seed) in [("split", &[][..]), ("packed", &["--seed", "5"])] {
        let args = ["up", "--only", "net", "--net-bytes", "100K", "--ring", ring];

        let report = place.report(&[&args[..], seed].concat());

        assert_eq!(report["ok"], true, "{report}");
        let transfers = report["transfers"].as_array().unwrap();
        let ways = transfers.iter().map(|transfer| {
            assert_eq!(transfer["ring"], ring);
            assert_eq!(transfer["bytes"], 2 * 100 * 1024);
            for count in ["packets", "kicks", "interrupts", "microseconds"] {
                assert!(transfer[count].as_u64() > Some(0), "{count}: {transfer}");
            }
            for check in transfer["checks"].as_array().unwrap() {
                assert_eq!(check["ok"], true, "{check}");
            }
            let numbers = ["mtu", "pairs"].map(|name| transfer[name].as_u64().unwrap());
            let [one, other] = [0, 1].map(|end| transfer["devices"][end].as_str().unwrap());
            (one, other, transfer["offloads"].as_bool().unwrap(), numbers)
        });
        let expected = [("virtio0", "virtio2"), ("virtio1", "virtio3")].map(|(one, other)| {
            [1500, 9000].map(|mtu| {
                [false, true].map(|on| [1, 4].map(|pairs| (one, other, on, [mtu, pairs])))
            })
        });
        let expected = expected.iter().flatten().flatten().flatten().copied();
        assert_eq!(ways.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn the_bus_of_the_machine_is_shown_if_it_is_asked_for() {
    let place = Place::new();

    let report = place.report(&["up", "--tree", "--seed", "3", "--only", "blk,entropy"]);

    assert_eq!(report["ok"], true);
    let [bus] = &report["buses"].as_array().unwrap()[..] else {
        panic!("{report}");
    };
    assert_eq!(bus["place"], "this process");
    let devices = bus["devices"].as_array().unwrap();
    let driven = devices.iter().map(|device| {
        assert_eq!(device["status"]["value"], 15);
        let queues = device["queues"].as_array().unwrap();
        let names: Vec<_> = queues.iter().map(|queue| queue["name"].as_str()).collect();
        let on_pci = device["transport"] == "pci-modern";
        assert_eq!(names[1..], [Some("admin.0")][..usize::from(on_pci)]);
        if device["interrupt"] == "msix-each" {
            for queue in queues {
                let [name, queue_name] = [&device["name"], &queue["name"]].map(|it| it.as_str());
                let whole = format!("{}-{}", name.unwrap(), queue_name.unwrap());
                assert_eq!(queue["vector_name"], whole.as_str());
            }
        }
        (device["type"].as_str(), device["driver"].as_str())
    });
    let [blk, entropy] = [Some("blk"), Some("entropy")].map(|name| (name, name));
    assert_eq!(driven.collect::<Vec<_>>(), [blk, entropy, blk, entropy]);
    assert_eq!(bus["drivers"][1]["devices"][1], "virtio2");
}

#[test]
fn each_of_two_machines_has_a_bus_and_a_card_its_queues_by_name() {
    let place = Place::new();

    let report = place.report(&[
        "up",
        "--tree",
        "--seed",
        "3",
        "--only",
        "net",
        "--net-bytes",
        "1K",
    ]);

    assert_eq!(report["ok"], true);
    let buses = report["buses"].as_array().unwrap();
    let cards: Vec<_> = buses
        .iter()
        .flat_map(|bus| bus["devices"].as_array().unwrap())
        .map(|device| {
            assert_eq!(device["driver"], "net");
            let queues = device["queues"].as_array().unwrap();
            let names = queues.iter().map(|queue| queue["name"].as_str().unwrap());
            let names: Vec<_> = names.take(3).collect();
            (device["name"].as_str().unwrap(), names)
        })
        .collect();
    let expected = ["virtio0", "virtio1", "virtio2", "virtio3"];
    let names = vec!["input.0", "output.0", "control.0"];
    assert_eq!(cards, expected.map(|name| (name, names.clone())));
}

#[test]
fn an_image_is_written_only_if_it_is_to_be() {
    let place = Place::new();
    let path = place.image("disk.img", 1 << 20);
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();

    let copied = place.report(&["up", "--only", "blk", "--disk", "disk.img"]);
    let untouched = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let written = place.report(&["up", "--only", "blk", "--disk", "disk.img", "--write"]);
    let after = fs::read(&path).unwrap();

    assert_eq!(
        (&copied["ok"], &written["ok"]),
        (&true.into(), &true.into())
    );
    assert!(untouched == before);
    assert_eq!(after.len(), before.len());
    assert!(after[..512] != before[..512]);
    let same = (0..2048).filter(|at| after[at * 512..][..512] == before[at * 512..][..512]);
    assert!(same.count() > 100);
    assert_eq!(place.contents().len(), 1);
}

#[test]
fn a_disk_may_be_as_small_as_a_sector() {
    let place = Place::new();
    place.image("disk.img", 512);

    let report = place.report(&["up", "--only", "blk", "--disk", "disk.img"]);

    assert_eq!(report["ok"], true);
    assert_eq!(report["devices"][0]["disk"]["sectors"], 1);
}

#[test]
fn only_the_types_that_are_asked_for_are_driven() {
    let place = Place::new();
    place.image("disk.img", 4096);

    let entropy = place.report(&["up", "--only", "entropy"]);
    let blk = place.report(&["up", "--only", "blk", "--disk", "disk.img"]);

    let expected = |kind| [("virtio0", kind, "pci-modern"), ("virtio1", kind, "mmio")];
    assert_eq!(devices(&entropy), expected("entropy"));
    assert_eq!(devices(&blk), expected("blk"));
    assert_eq!((&entropy["ok"], &blk["ok"]), (&true.into(), &true.into()));
}

#[test]
fn devices_have_the_rings_that_are_asked_for_and_say_so() {
    let place = Place::new();
    place.image("disk.img", 1 << 16);
    for (args, ring, with, without) in [
        (&["--ring", "packed"][..], "packed", "EVENT_IDX", "IN_ORDER"),
        (&["--ring", "split"], "split", "EVENT_IDX", "RING_PACKED"),
        (
            &["--ring-features", "none,ring_packed,order_platform"],
            "packed",
            "ORDER_PLATFORM",
            "EVENT_IDX",
        ),
        (
            &["--ring-features", "access_platform,no-indirect_desc"],
            "split",
            "ACCESS_PLATFORM",
            "INDIRECT_DESC",
        ),
    ] {
        let report =
            place.report(&[&["up", "--net-bytes", "4K", "--disk", "disk.img"], args].concat());

        assert_eq!(report["ok"], true, "{report}");
        for device in report["devices"].as_array().unwrap() {
            let features = device["features"].as_array().unwrap();
            let has = |name: &str| features.iter().any(|feature| feature == name);
            assert_eq!(device["ring"], ring, "{args:?}");
            assert!(has(with) && !has(without), "{args:?}: {features:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_again() {
    let place = Place::new();
    place.image("disk.img", 1 << 17);
    let some = ["up", "--net-bytes", "4K", "--disk", "disk.img"];
    let run = |seed| place.report(&[&some[..], &["--seed", seed]].concat());

    let first = run("7");

    assert_eq!(first["seed"], 7);
    assert_eq!(first, run("7"));
    assert_ne!(first, run("8"));
}

#[test]
fn the_table_is_plain_where_no_terminal_is() {
    let place = Place::new();
    place.image("disk.img", 4096);

    let some = ["up", "--net-bytes", "4K", "--disk", "disk.img"];
    let done = place.run(&[&some[..], &["--seed", "3"]].concat());

    let table = text(&done.stdout);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""));
    assert!(!table.contains('\x1b'), "{table}");
    assert!(table.starts_with("DEVICE "), "{table}");
    assert!(table.contains("EVENT_IDX"), "{table}");
    assert!(
        table.ends_with("✓ every check passed, in this process, with seed 3\n"),
        "{table}"
    );
}

#[test]
fn help_teaches_and_is_what_comes_without_arguments() {
    let place = Place::new();

    let (alone, help) = (place.run(&[]), place.run(&["up", "--help"]));

    assert_eq!(
        (alone.status.code(), help.status.code()),
        (Some(0), Some(0))
    );
    assert!(text(&alone.stdout).contains("Usage: ringway"));
    for taught in [
        "Examples:",
        "Exit codes:",
        "--seed",
        "RINGWAY_QEMU",
        "--ring-features",
        "notification_data",
    ] {
        assert!(text(&help.stdout).contains(taught), "{taught}");
    }
}

#[test]
fn bad_input_is_one_line_and_nothing_is_written() {
    let place = Place::new();
    place.image("empty.img", 0);
    place.image("odd.img", 1025);
    place.image("disk.img", 4096);
    place.image("text", 3);
    fs::create_dir(place.path("folder")).unwrap();
    let qemu = place.qemu("exit 1");
    let qemu = qemu.to_str().unwrap();
    let before = place.contents();

    for (args, says) in [
        (&["--disk", "missing.img"][..], &["missing.img"][..]),
        (&["--disk", "empty.img"], &["empty.img is empty"]),
        (&["--disk", "odd.img"], &["odd.img has 1025 bytes", "512"]),
        (&["--disk", "folder"], &["folder is neither"]),
        (&["--disk", "/dev/null"], &["/dev/null is neither"]),
        (&["--disk", "disk.img", "--only", "entropy"], &["--only"]),
        (&["--net-bytes", "1", "--only", "blk"], &["add net"]),
        (&["--net-bytes", "1Z"], &["1Z", "K, M, G and T"]),
        (&["--on", "qemu", "--only", "net"], &["no network cards"]),
        (&["--write"], &["--disk"]),
        (&["--frobnicate"], &["--frobnicate", "--help"]),
        (&["--seed", "x"], &["--seed", "'x'"]),
        (&["--only", "tea"], &["tea", "net, blk, entropy"]),
        (&["--ring", "round"], &["round", "split, packed, inorder"]),
        (
            &["--ring-features", "tea"],
            &["tea", "indirect_desc", "no-"],
        ),
        (
            &["--ring", "packed", "--ring-features", "no-ring_packed"],
            &["--ring packed", "ring_packed", "leave one"],
        ),
        (
            &["--on", "qemu", "--ring-features", "order_platform"],
            &["order_platform", "--on here"],
        ),
        (&["--on", "mars"], &["mars", "here, qemu"]),
        (
            &["--on", "qemu"],
            &["no QEMU", "install", "cargo xtask fetch qemu"],
        ),
        (&["--on", "qemu", "--qemu", "none"], &["none cannot be run"]),
        (
            &["--on", "qemu", "--qemu", "/bin/true"],
            &["does not say that it is QEMU"],
        ),
        (&["--on", "qemu", "--qemu", qemu], &["no image", "--image"]),
        (
            &["--on", "qemu", "--qemu", qemu, "--image", "text"],
            &["text", "ELF"],
        ),
    ] {
        let mut command = place.command(&[&["up"], args].concat());
        let done = command.env("PATH", "/nowhere").output().unwrap();

        let line = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {line}");
        assert!(done.stdout.is_empty(), "{args:?}");
        assert!(
            line.starts_with("error: ") && line.lines().count() == 1,
            "{line}"
        );
        assert!(says.iter().all(|it| line.contains(it)), "{args:?}: {line}");
    }
    assert!(place.contents() == before);
}

#[test]
fn an_image_in_qemu_that_fails_is_a_failed_check_with_what_it_said() {
    let place = Place::new();
    place.image("disk.img", 4096);
    let qemu = place.qemu(
        r#"echo '{"event":"start"}'
        echo '{"event":"failed","what":"panic","detail":"at the disco"}'
        echo oh dear >&2
        exit 35"#,
    );
    let qemu = qemu.to_str().unwrap();

    let on = ["up", "--on", "qemu", "--qemu", qemu, "--image", "image"];
    let report = place.report(&[&on[..], &["--disk", "disk.img"]].concat());

    assert_eq!(
        (&report["ok"], &report["on"]),
        (&false.into(), &"qemu".into())
    );
    let checks = report["checks"].as_array().unwrap();
    for (check, what) in checks
        .iter()
        .zip(["q35 runs to its end", "microvm runs to its end"])
    {
        assert_eq!(check["what"], what);
        assert_eq!(check["detail"], "panic: at the disco\noh dear");
    }
    assert_eq!(checks[2]["detail"], "0 of 4 were found");
}

#[test]
fn what_qemu_is_told_is_what_is_asked_for() {
    let place = Place::new();
    let disk = place.image("a disk, of sorts.img", 4096);
    // It looks at the disk that it is given, and tells it, as QEMU's standard error.
    let qemu = place.qemu(
        r#"disk=$(echo "$@" | sed 's/.*"filename":"\([^"]*\)".*/\1/')
        cat "$disk" | wc -c >&2
        echo "$@" >&2"#,
    );
    let (qemu, disk) = (qemu.to_str().unwrap(), disk.to_str().unwrap());

    let on = ["up", "--on", "qemu", "--qemu", qemu, "--image", "image"];
    let report = place.report(&[&on[..], &["--disk", disk, "--seed", "5"]].concat());

    let said = report["checks"][0]["detail"].as_str().unwrap();
    assert!(said.contains("\n4096\n"), "{said}");
    assert!(said.contains("seed=5 first=0"), "{said}");
    assert!(said.contains("-display none"), "{said}");
}

#[test]
fn qemu_does_not_outlive_whoever_started_it() {
    let place = Place::new();
    let pipe = place.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    // The pipe is closed when the shell ends, and by nothing else.
    let qemu = place.qemu("exec 9>pipe; echo up >&9; sleep 60 9>&-; echo survived >&9");
    let (qemu, limit) = (qemu.to_str().unwrap(), Duration::from_secs(60));
    let on = ["up", "--on", "qemu", "--only", "entropy"];
    let with = ["--qemu", qemu, "--image", "image"];
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(File::open(pipe).unwrap()).lines() {
            say.send(line.unwrap()).unwrap();
        }
    });

    let mut command = place.command(&[&on[..], &with].concat());
    let mut ringway = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(said.recv_timeout(limit).as_deref(), Ok("up"));
    ringway.kill().unwrap();
    ringway.wait().unwrap();

    assert_eq!(
        said.recv_timeout(limit),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}
