//! `ringway drive`, as it is typed, against a back-end in this process.
#![cfg(test)]

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ringway_device::blk::{Blk, RamDisk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::net::{Loopback, Net, Nowhere, Options as Card, Port};
use ringway_device::{Device, Offer};
use ringway_spec::Features;
use ringway_vhost::backend::{DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{EventLoop, Options};
use ringway_vhost::eventfd::EventFd;
use serde_json::Value;

const SECTORS: usize = 200;

/// A directory in which a device is served at `vhost.sock`, and the command is run.
struct Scene {
    folder: tempfile::TempDir,
    stop: EventFd,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    // After the thread, which stops rings on it.
    _loop: EventLoop,
}

impl Scene {
    fn new(device: impl Device + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let serving = EventLoop::spawn("rings", Options::default()).unwrap();
        let loops = vec![serving.handle()];
        let carrier =
            DeviceCarrier::new(Box::new(device), Offer::default(), loops, Arc::new(())).unwrap();
        let place = Place::Listen(folder.path().join("vhost.sock"));
        let mut server = Server::new(place, carrier).unwrap();
        let stop = EventFd::new().unwrap();
        let stopped = stop.try_clone().unwrap();
        Self {
            folder,
            stop,
            thread: Some(thread::spawn(move || server.serve(stopped.as_fd()))),
            _loop: serving,
        }
    }

    fn disk() -> Self {
        Self::new(Blk::new(Arc::new(RamDisk::new(SECTORS)), 1))
    }

    /// A network card with two pairs of queues.
    fn card(port: impl Port + 'static) -> Self {
        let card = Card {
            mac: [2, 0, 0, 0, 0, 0x1f],
            mtu: Some(9000),
            pairs: 2,
            without: Features::NONE,
        };
        Self::new(Net::new(Arc::new(port), card))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, sectors: usize, seed: u8) -> Vec<u8> {
        let bytes = (0..sectors * 512).map(|at| (at / 512 * 31 + at * 7) as u8 ^ seed);
        let bytes: Vec<_> = bytes.collect();
        fs::write(self.path(name), &bytes).unwrap();
        bytes
    }

    /// Runs it, and finds that it exits so.
    fn drive(&self, args: &[&str], status: i32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .args(["drive", "vhost.sock"])
            .args(args)
            .current_dir(self.folder.path());
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(status), "{args:?} {done:?}");
        done
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.drive(args, 0).stdout).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.signal();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

fn said(done: &Output) -> &str {
    std::str::from_utf8(&done.stderr).unwrap()
}

#[test]
fn what_is_written_is_read_and_compared() {
    let place = Scene::disk();
    let whole = place.file("whole", SECTORS, 1);
    let part = place.file("part", 3, 2);

    place.drive(&["write", "whole", "--size", "4096", "--depth", "5"], 0);
    place.drive(&["write", "part", "--sector", "8"], 0);
    place.drive(&["read", "copy"], 0);
    let piece = place.drive(&["read", "--sector", "8", "--count", "3", "--poll"], 0);
    place.drive(&["verify", "part", "--sector", "8"], 0);
    let differs = place.drive(&["verify", "whole", "--size", "1024"], 1);

    let mut expected = whole;
    expected[8 * 512..11 * 512].copy_from_slice(&part);
    assert_eq!(fs::read(place.path("copy")).unwrap(), expected);
    assert_eq!(piece.stdout, part);
    assert!(said(&differs).contains("sector 8"), "{differs:?}");
}

#[test]
fn a_device_is_described_by_names() {
    let place = Scene::disk();

    let about = place.json(&["info", "--json"]);
    let text = place.drive(&["info"], 0);

    assert_eq!(about["type"], "blk");
    assert_eq!(about["config"]["capacity"], SECTORS);
    let names = about["features"].as_array().unwrap();
    assert!(names.contains(&"VERSION_1".into()), "{about}");
    let protocol = about["protocol_features"].as_array().unwrap();
    assert!(protocol.contains(&"CONFIG".into()), "{about}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("capacity = 200 sectors"), "{text}");
    assert!(text.lines().all(|line| line.len() < 80), "{text}");
}

struct Sevens;

impl Source for Sevens {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(7);
        Ok(())
    }
}

#[test]
fn a_device_of_another_type_is_described_and_nothing_else() {
    let place = Scene::new(Entropy::new(Sevens));

    let about = place.json(&["info", "--type", "entropy", "--json"]);
    let refused = place.drive(&["read", "x", "--type", "entropy"], 2);

    assert_eq!(about["type"], "entropy");
    assert_eq!(about["queues"], 1);
    assert!(said(&refused).contains("use info"), "{refused:?}");
}

#[test]
fn each_depth_and_size_is_a_row() {
    let place = Scene::disk();
    let args = ["bench", "--depth", "1,4", "--size", "512,2048"];
    let more = ["--time", "0.01", "--sequential", "--json"];

    let measured = place.json(&[&args[..], &more].concat());

    let rows = measured["rows"].as_array().unwrap();
    let places: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["size"].as_u64().unwrap(),
                row["depth"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(places, [(512, 1), (512, 4), (2048, 1), (2048, 4)]);
    assert!(rows.iter().all(|row| row["requests"].as_u64().unwrap() > 0));
}

#[test]
fn a_network_card_is_described_with_its_address() {
    let place = Scene::card(Nowhere);

    let about = place.json(&["info", "--type", "net", "--json"]);
    let text = place.drive(&["info", "--type", "net"], 0);

    assert_eq!(about["type"], "net");
    // Two pairs, and commands.
    assert_eq!(about["queues"], 5);
    assert_eq!(about["config"]["mac"], "02:00:00:00:00:1f");
    assert_eq!(about["config"]["mtu"], 9000);
    assert_eq!(about["config"]["max_virtqueue_pairs"], 2);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("mac = 02:00:00:00:00:1f"), "{text}");
    assert!(text.contains("status = 1 LINK_UP"), "{text}");
}

#[test]
fn packets_that_come_back_are_counted_for_each_size_and_pair() {
    let place = Scene::card(Loopback::default());
    let args = [
        "packets",
        "--count",
        "301",
        "--bytes",
        "64,64..9014",
        "--pairs",
        "2",
    ];

    let sent = place.json(&[&args[..], &["--json"]].concat());
    let others = ["packets", "--checksum", "--without", "mrg_rxbuf", "--poll"];
    let text = place.drive(&[&others[..], &["--count", "50"]].concat(), 0);

    let rows = sent["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((&row["sent"], &row["received"]), (&301.into(), &301.into()));
        for wrong in ["lost", "reordered", "corrupted", "duplicated", "foreign"] {
            assert_eq!(row[wrong], 0, "{row}");
        }
        let pairs = row["by_pair"].as_array().unwrap();
        let of_pairs = pairs.iter().map(|pair| pair["received"].as_u64());
        assert_eq!(of_pairs.collect::<Vec<_>>(), [Some(151), Some(150)]);
    }
    assert_eq!(rows[0]["received_bytes"], 64 * 301);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("1 pair of queues, completions polled"),
        "{text}"
    );
}

#[test]
fn packets_that_do_not_come_back_are_lost_and_what_cannot_be_sent_is_refused() {
    let place = Scene::card(Nowhere);

    let lost = place.drive(
        &["packets", "--patience", "1", "--count", "40", "--json"],
        1,
    );

    assert!(said(&lost).contains("40 lost"), "{lost:?}");
    let counts: Value = serde_json::from_slice(&lost.stdout).unwrap();
    assert_eq!(counts["rows"][0]["lost"], 40);
    for (args, says) in [
        (&["--pairs", "3"][..], "use --pairs 2"),
        (&["--bytes", "9015"], "use --bytes 9014"),
        (&["--mtu", "9001"], "does not come up"),
        (
            &["--bytes", "9014", "--buffer", "128", "--queue-size", "64"],
            "larger --buffer",
        ),
        (
            &["--ring", "split", "--ring-features", "in_order,tea"],
            "tea",
        ),
    ] {
        let refused = place.drive(&[&["packets"], args].concat(), 2);

        let line = said(&refused);
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_a_line_that_says_why() {
    let place = Scene::disk();
    place.file("long", SECTORS + 1, 0);
    fs::write(place.path("ragged"), [0; 100]).unwrap();

    for (args, says) in [
        (&["write", "long"][..], "pass the end"),
        (&["write", "ragged"], "no whole sectors"),
        (&["verify", "none"], "cannot open none"),
        (&["read", "x", "--sector", "201"], "pass the end"),
        (&["read", "x", "--count", "201"], "pass the end"),
        (&["bench", "--size", "100"], "whole sectors"),
        (&["bench", "--size", "1048576"], "less than a request"),
        (&["read", "x", "--depth", "0"], "depth"),
    ] {
        let refused = place.drive(args, 2);

        let line = said(&refused);
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn where_nobody_listens_nothing_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["drive", "none.sock", "info"]);

    let done = command.current_dir(folder.path()).output().unwrap();

    assert_eq!(done.status.code(), Some(2));
    assert!(said(&done).contains("no back-end answers"), "{done:?}");
}
