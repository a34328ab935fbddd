//! Linux's own network judges a card of ours: a machine in this process has it, with our driver and
//! smoltcp, and at the other end of the cable is a TAP interface of the kernel that this runs on. Each
//! pings the other, bytes go both ways over TCP, and every one is compared; large datagrams of the
//! driver's are cut by whoever is to do it.
//!
//! It is for a network of its own, in which it may make interfaces (`cargo xtask test tap`):
//!
//! ```console
//! $ unshare -rn ringway-tap BUSYBOX
//! ```
//!
//! What it says is in the form of `xtask/src/pieces/linux/report.sh`.

mod datagrams;
mod linux;
mod machine;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_driver::net::RECEIVE_OFFLOADS;
use ringway_host::net::{Tap, TapCounts, TapOptions, Work};
use ringway_spec::Features;
use ringway_spec::net::F;

use linux::Linux;
use machine::Host;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: ringway-tap BUSYBOX";

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes that go each way over a connection.
const BYTES: usize = 4 << 20;

/// Most bytes of a segment of TCP that is not to be cut.
const SEGMENT: usize = 1460;

/// Both addresses.
const LINUX: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// How the two are joined.
struct Row {
    name: &'static str,
    options: TapOptions,
    /// What the card does not offer.
    without: Features,
    /// What the driver takes beside the usual.
    optional: Features,
}

const KERNEL: TapOptions = TapOptions {
    queues: 1,
    work: Work::Kernel,
};

const ROWS: [Row; 5] = [
    Row {
        name: "all is left to the other end",
        options: KERNEL,
        without: Features::NONE,
        optional: RECEIVE_OFFLOADS,
    },
    Row {
        name: "the card does what its driver does not",
        options: KERNEL,
        without: Features::NONE,
        optional: Features::NONE,
    },
    Row {
        name: "the driver leaves nothing",
        options: KERNEL,
        without: F::CSUM,
        optional: Features::NONE,
    },
    Row {
        name: "nothing is left to the kernel, nor by it",
        options: TapOptions {
            work: Work::Here,
            ..KERNEL
        },
        without: Features::NONE,
        optional: RECEIVE_OFFLOADS,
    },
    Row {
        name: "four queues",
        options: TapOptions {
            queues: 4,
            ..KERNEL
        },
        without: Features::NONE,
        optional: RECEIVE_OFFLOADS,
    },
];

fn main() -> ExitCode {
    let done = judge();
    match &done {
        Ok(()) => say("end"),
        Err(error) => say(&format!("failed {error}")),
    }
    ExitCode::from(u8::from(done.is_err()))
}

fn judge() -> Result {
    let busybox = env::args_os().nth(1).ok_or(USAGE)?;
    let linux = Linux::new(busybox);
    for row in &ROWS {
        let begin = Instant::now();
        let counts = row.run(&linux).map_err(|e| format!("{}: {e}", row.name))?;
        let TapCounts {
            sent,
            sent_undone,
            received,
            received_undone,
            ..
        } = counts;
        say(&format!(
            "ok {}: {sent} packets there, {sent_undone} with something left to do, {received} back, \
             {received_undone}; {:.1} s",
            row.name,
            begin.elapsed().as_secs_f64()
        ));
    }
    for work in [Work::Kernel, Work::Here] {
        let sent = datagrams::run(&linux, work).map_err(|e| format!("datagrams, {work:?}: {e}"))?;
        let [sent, undone] = sent;
        say(&format!(
            "ok large datagrams are cut ({work:?}): {sent} packets there, {undone} with something left to do"
        ));
        if work == Work::Kernel {
            // One is for the kernel to fragment; the other it cuts if it can, and gets in pieces if not.
            let cuts = if sent == undone { "kernel" } else { "port" };
            say(&format!("value datagrams {cuts}"));
        }
    }
    Ok(())
}

impl Row {
    fn run(&self, linux: &Linux) -> Result<TapCounts> {
        let tap = open(self.options)?;
        linux.set_up(tap.name())?;
        let mut host = Host::new(tap.clone(), self.without, self.optional)?;
        linux.ping(OURS, |ended| host.poll_until(ended))?;
        host.ping(LINUX)?;
        host.exchange(linux.connects()?, machine::Opens::Linux)?;
        host.exchange(linux.listens()?, machine::Opens::Machine)?;
        self.check(&tap.counts())?;
        Ok(tap.counts())
    }

    /// Whether packets went as they were to.
    fn check(&self, counts: &TapCounts) -> Result {
        let dropped = [counts.refused, counts.malformed];
        expect(dropped == [0; 2], "packets were dropped", counts)?;
        // Linux leaves checksums, and segments, wherever it may.
        let passed = self.options.work == Work::Kernel;
        expect(
            (counts.received_undone > 0) == passed,
            "left by Linux",
            counts,
        )?;
        let whole = 2 * BYTES / SEGMENT;
        let large = counts.received < whole as u64;
        expect(large == passed, "as few as if they were large", counts)?;
        let left = passed && !self.without.contains(F::CSUM);
        expect((counts.sent_undone > 0) == left, "left to Linux", counts)
    }
}

/// Opens an interface of its own.
fn open(options: TapOptions) -> Result<Arc<Tap>> {
    let failed = |error| say(&format!("failed the interface: {error}"));
    Ok(Arc::new(Tap::open("ringway%d", options, failed)?))
}

fn expect(is: bool, what: &str, counts: &TapCounts) -> Result {
    match is {
        true => Ok(()),
        false => Err(format!("not so: {what}: {counts:?}").into()),
    }
}

/// The byte at `at` of what is sent.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 11) as u8
}

fn say(what: &str) {
    println!("ringway: {what}");
}
