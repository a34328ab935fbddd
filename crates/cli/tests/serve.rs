//! `ringway serve`, as it is typed, before `ringway drive`.
#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A directory to run in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts an image there, whose sectors differ.
    fn image(&self, name: &str, bytes: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..bytes).map(|at| (at / 512 * 7 + at) as u8).collect();
        fs::write(self.path(name), &content).unwrap();
        content
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.args(args).current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Drives what is behind a socket. Without it, does not wait for long.
    fn drive(&self, args: &[&str]) -> Output {
        self.run(&[&["drive", "--reconnect", "5"], args].concat())
    }

    /// Starts a server, and waits until it is ready.
    fn serve(&self, args: &[&str]) -> Server {
        let args = [&["serve"], args, &["--json"]].concat();
        Server::start(self.command(&args))
    }
}

/// A server in a process of its own. Killed if it still runs in the end.
struct Server {
    process: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self { process, events };
        server.until("ready");
        server
    }

    /// The next event of this kind.
    fn until(&mut self, kind: &str) -> Value {
        for line in &mut self.events {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
        panic!("it ended without {kind}");
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.process);
        kill_process(id, signal).unwrap();
    }

    /// Tells it to stop, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.until("stopped");
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn succeeded(done: &Output) {
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{error}");
}

#[test]
fn a_disk_is_served_to_one_driver_after_another_and_its_socket_goes_in_the_end() {
    for confined in [&[][..], &["--sandbox"]] {
        let place = Place::new();
        let content = place.image("disk.img", 1 << 20);
        let args = ["blk", "--image", "disk.img", "--vhost-user", "disk.sock"];
        let mut server = place.serve(&[&args, confined].concat());

        succeeded(&place.drive(&["disk.sock", "read", "copy.img"]));
        server.until("disconnected");
        fs::write(place.path("new.img"), [7; 4096]).unwrap();
        succeeded(&place.drive(&["disk.sock", "write", "new.img"]));
        let stopped = server.until("ring_stopped");
        assert_eq!(server.stop(), Some(0));

        assert!(fs::read(place.path("copy.img")).unwrap() == content);
        let written = fs::read(place.path("disk.img")).unwrap();
        assert!(written[..4096] == [7; 4096] && written[4096..] == content[4096..]);
        assert_eq!(stopped["completed"], true);
        assert!(!place.path("disk.sock").exists());
    }
}

#[test]
fn cards_are_served_at_sockets_of_their_own_which_go_in_the_end() {
    let place = Place::new();
    let sockets = ["first.sock", "second.sock", "third.sock"];
    let at = sockets.map(|socket| ["--vhost-user", socket]).concat();
    let args = [&["net", "--queues", "2", "--sandbox"], &at[..]].concat();

    let mut server = place.serve(&args);
    // The first is known to be.
    let ready = [(); 2].map(|()| server.until("ready"));
    let front = UnixStream::connect(place.path("third.sock")).unwrap();
    let connected = server.until("connected");
    drop(front);
    let disconnected = server.until("disconnected");
    assert_eq!(server.stop(), Some(0));

    assert!(
        ready
            .iter()
            .all(|card| card["queues"] == 5 && card["device"] == "net")
    );
    assert_eq!(
        (&connected["card"], &disconnected["card"]),
        (&2.into(), &2.into())
    );
    assert!(sockets.iter().all(|socket| !place.path(socket).exists()));
}

#[test]
fn a_disk_that_is_read_only_is_not_written_to() {
    let place = Place::new();
    let content = place.image("disk.img", 8192);
    fs::write(place.path("new.img"), [7; 512]).unwrap();
    let args = ["blk", "--image", "disk.img", "--read-only"];
    let server = place.serve(&[&args[..], &["--vhost-user", "disk.sock"]].concat());

    let done = place.drive(&["disk.sock", "write", "new.img"]);

    assert!(!done.status.success());
    assert_eq!(server.stop(), Some(0));
    assert!(fs::read(place.path("disk.img")).unwrap() == content);
}

#[test]
fn an_image_that_another_server_has_is_refused_unless_no_lock_is_wanted() {
    let place = Place::new();
    place.image("disk.img", 8192);
    let serve = |socket| ["blk", "--image", "disk.img", "--vhost-user", socket];
    let first = place.serve(&serve("first.sock"));

    let refused = place.run(&[&["serve"], &serve("second.sock")[..]].concat());
    let unlocked = place.serve(&[&serve("third.sock")[..], &["--no-lock"]].concat());

    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        error.contains("disk.img is in use: stop the server"),
        "{error}"
    );
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!((first.stop(), unlocked.stop()), (Some(0), Some(0)));
    let free = place.serve(&serve("first.sock"));
    assert_eq!(free.stop(), Some(0));
}

/// In a folder whose files are in memory, and past the cache where they are not: the calls of both
/// are those of a confined process.
#[test]
fn an_image_is_served_as_its_file_system_has_it() {
    let place = Place::new();
    let content = place.image("disk.img", 1 << 20);
    let memory = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    fs::write(&memory, &content).unwrap();
    let in_memory = memory.path().to_str().unwrap();
    let direct = |image| {
        let args = [
            "blk",
            "--direct",
            "--image",
            image,
            "--vhost-user",
            "d.sock",
        ];
        [&args[..], &["--sandbox"]].concat()
    };
    let mapped = [
        "blk",
        "--image",
        in_memory,
        "--vhost-user",
        "m.sock",
        "--sandbox",
    ];

    let refused = place.run(&[&["serve"], &direct(in_memory)[..]].concat());
    let (mapped, direct) = (place.serve(&mapped), place.serve(&direct("disk.img")));

    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("leave out --direct"), "{error}");
    for (server, socket) in [(mapped, "m.sock"), (direct, "d.sock")] {
        succeeded(&place.drive(&[socket, "read", "copy.img"]));
        assert!(
            fs::read(place.path("copy.img")).unwrap() == content,
            "{socket}"
        );
        fs::remove_file(place.path("copy.img")).unwrap();
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn entropy_and_a_disk_without_bytes_say_what_they_are() {
    let place = Place::new();
    let null = [
        "blk",
        "--null",
        "1G",
        "--queues",
        "4",
        "--vhost-user",
        "null.sock",
    ];
    let null = place.serve(&null);
    let entropy = place.serve(&["entropy", "--vhost-user", "rng.sock", "--sandbox"]);

    let disk = place.drive(&["null.sock", "info", "--json"]);
    let rng = place.drive(&["--type", "entropy", "rng.sock", "info", "--json"]);

    succeeded(&disk);
    succeeded(&rng);
    let disk = String::from_utf8(disk.stdout).unwrap();
    assert!(disk.contains(&(1_u64 << 30 >> 9).to_string()), "{disk}");
    assert_eq!((null.stop(), entropy.stop()), (Some(0), Some(0)));
}

#[test]
fn the_rings_are_those_that_were_asked_for() {
    let place = Place::new();
    for (args, packed) in [
        (&[][..], true),
        (&["--ring", "split"], false),
        (&["--ring", "packed"], true),
        (&["--ring-features", "none"], false),
    ] {
        let socket = ["entropy", "--vhost-user", "rng.sock"];
        let server = place.serve(&[&socket, args].concat());

        let done = place.drive(&["--type", "entropy", "rng.sock", "info"]);

        succeeded(&done);
        let features = String::from_utf8(done.stdout).unwrap();
        let offered = features.contains("RING_PACKED");
        assert_eq!(offered, packed, "{args:?}: {features}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn a_socket_that_was_left_over_is_replaced_and_one_that_is_in_use_is_not() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("rng.sock")).unwrap());
    fs::write(place.path("file"), "precious").unwrap();

    let server = place.serve(&["entropy", "--vhost-user", "rng.sock"]);
    let second = place.run(&["serve", "entropy", "--vhost-user", "rng.sock"]);
    let file = place.run(&["serve", "entropy", "--vhost-user", "file"]);
    let nowhere = place.run(&["serve", "entropy", "--vhost-user", "none/rng.sock"]);

    for (refused, says) in [
        (second, "somebody listens"),
        (file, "no socket"),
        (nowhere, "folder"),
    ] {
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            error.contains(says) && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!(refused.status.code(), Some(2));
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(fs::read(place.path("file")).unwrap(), b"precious");
    assert!(UnixStream::connect(place.path("rng.sock")).is_ok());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_server_connects_to_a_front_end_that_listens_late_and_again_when_it_is_gone() {
    let place = Place::new();
    let args = [
        "entropy",
        "--vhost-user",
        "rng.sock",
        "--connect",
        "--sandbox",
    ];
    let mut server = place.serve(&args);

    let listener = UnixListener::bind(place.path("rng.sock")).unwrap();
    let (first, _) = listener.accept().unwrap();
    server.until("connected");
    drop(first);
    server.until("disconnected");
    let (_second, _) = listener.accept().unwrap();
    server.until("connected");

    assert_eq!(server.stop(), Some(0));
    assert!(place.path("rng.sock").exists(), "it is not the server's");
}

/// Starts a server whose descriptor of this number is `socket`.
fn with_descriptor(place: &Place, number: i32, socket: OwnedFd) -> Command {
    let mut command = Command::new("sh");
    let ringway = env!("CARGO_BIN_EXE_ringway");
    let script =
        format!("exec {number}<&0 </dev/null; exec {ringway} serve entropy --json --fd {number}");
    command
        .args(["-c", &script])
        .current_dir(place.0.path())
        .stdin(socket);
    command
}

#[test]
fn a_socket_may_be_given_that_listens_or_is_connected() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("rng.sock")).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();

    let mut listening = Server::start(with_descriptor(&place, 7, listener.into()));
    let done = place.drive(&["--type", "entropy", "rng.sock", "info"]);
    let mut connected = Server::start(with_descriptor(&place, 3, theirs.into()));

    succeeded(&done);
    listening.until("disconnected");
    assert_eq!(listening.stop(), Some(0));
    // With its one connection it ends by itself.
    drop(ours);
    connected.until("disconnected");
    assert_eq!(connected.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_descriptor_that_is_no_socket_of_this_machine_is_refused() {
    let place = Place::new();
    let file: OwnedFd = tempfile::tempfile().unwrap().into();
    let tcp: OwnedFd = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();

    for socket in [file, tcp] {
        assert!(socket.as_fd().as_raw_fd() > 2);
        let refused = with_descriptor(&place, 5, socket).output().unwrap();

        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(error.contains("descriptor 5"), "{error}");
        assert_eq!(refused.status.code(), Some(2));
    }
}

#[test]
fn a_second_signal_ends_a_server_that_is_stopping() {
    use std::os::unix::process::ExitStatusExt;

    let place = Place::new();
    let mut server = place.serve(&["entropy", "--vhost-user", "rng.sock"]);

    server.signal(Signal::INT);
    server.signal(Signal::INT);

    // Unless it was faster.
    let status = server.process.wait().unwrap();
    let ended = (status.code(), status.signal());
    assert!([(Some(0), None), (None, Some(Signal::INT.as_raw()))].contains(&ended));
}

#[test]
fn who_reads_lines_is_told_in_lines() {
    let place = Place::new();
    let mut command = place.command(&["serve", "entropy", "--vhost-user", "rng.sock"]);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();

    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();

    let last = lines.last().unwrap().unwrap();
    assert_eq!(first, "entropy with 1 queue listens at rng.sock");
    assert_eq!(last, "stopped");
    assert_eq!(process.wait().unwrap().code(), Some(0));
}
