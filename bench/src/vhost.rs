//! Block requests over vhost-user: our driver beside libblkio, and our back-end beside
//! qemu-storage-daemon. What is measured stands in `docs/bench.md`.

mod client;
mod libblkio;
mod line;
mod server;

use core::fmt;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::packet::{Processors, keep_on};
use client::{Client, Ours};
use libblkio::Libblkio;
use server::{Export, Server};

/// Bytes of a request, and what people call them.
const SIZES: [(usize, &str); 2] = [(4 << 10, "4k"), (128 << 10, "128k")];
/// Requests in flight.
const DEPTHS: [usize; 3] = [1, 32, 128];

/// A case.
#[derive(Clone, Copy)]
struct Case {
    what: What,
    cores: Cores,
    size: (usize, &'static str),
    depth: usize,
}

/// Which end is ours and which a peer's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Drivers, of the same back-end.
    Driver,
    /// Back-ends without a disk, under the same driver.
    Null,
    /// Back-ends of an image, under the same driver.
    Raw,
}

/// Where the two ends run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// On the same processor. A driver sleeps until it is signalled.
    One,
    /// On a processor each. A driver looks again and again.
    Two,
}

/// The programs that are measured, and where they may leave things.
pub(crate) struct Programs {
    ringway: PathBuf,
    daemon: PathBuf,
    /// A folder for sockets, and one whose files are in memory. Somebody else removes them.
    folder: PathBuf,
    memory: PathBuf,
}

impl Programs {
    pub(crate) fn new(ringway: &str, daemon: &str, folder: &str, memory: &str) -> Self {
        Self {
            ringway: ringway.into(),
            daemon: daemon.into(),
            folder: folder.into(),
            memory: memory.into(),
        }
    }
}

/// How long a measurement goes on.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Samples of each party.
    samples: usize,
    /// Time of a sample.
    time: Duration,
}

impl Pace {
    /// What numbers are made of.
    pub(crate) const FULL: Self = Self {
        samples: 25,
        time: Duration::from_millis(60),
    };
    /// What shows that it works.
    pub(crate) const BRIEF: Self = Self {
        samples: 1,
        time: Duration::from_millis(5),
    };
}

/// The two parties of a case, with their names, and whatever serves them.
struct Parties {
    clients: [(&'static str, Box<dyn Client>); 2],
    // Ended after those whom they serve.
    _servers: Vec<Server>,
}

/// Measures the cases that are `chosen`, and gives a line for each party of each to `tell`.
///
/// # Errors
///
/// A party did not do as it was told.
pub(crate) fn measure(
    chosen: &dyn Fn(&str) -> bool,
    programs: &Programs,
    pace: Pace,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Box<dyn Error>> {
    let processors = Processors::allowed()?;
    for cores in [Cores::One, Cores::Two] {
        if cores == Cores::Two && processors.work == processors.rest {
            eprintln!("there is one processor: nothing is measured on two");
            continue;
        }
        for what in [What::Driver, What::Null, What::Raw] {
            let mut cases = cases(what, cores);
            cases.retain(|case| chosen(&case.to_string()));
            if cases.is_empty() {
                continue;
            }
            if cores == Cores::Two {
                let round_trip = line::round_trip(processors)?;
                tell(&format!("cache-line {} {round_trip:.1}", what.name()));
            }
            let mut parties = Parties::meet(what, cores, processors, programs)?;
            for case in cases {
                eprintln!("{case}");
                for (name, outcome) in parties.compete(&case, pace)? {
                    let Outcome { median, maximum } = outcome;
                    tell(&format!("{case} {name} {median:.0} {maximum:.0}"));
                }
            }
        }
    }
    Ok(())
}

/// Requests a second.
struct Outcome {
    median: f64,
    maximum: f64,
}

impl Parties {
    /// Starts the servers of a group of cases, and brings their drivers up.
    fn meet(
        what: What,
        cores: Cores,
        processors: Processors,
        programs: &Programs,
    ) -> Result<Self, Box<dyn Error>> {
        let there = match cores {
            Cores::One => processors.work,
            Cores::Two => processors.rest,
        };
        keep_on(there)?;
        let (ours, theirs) = server::start(what, programs)?;
        // Before a driver looks where it runs.
        keep_on(processors.work)?;
        let peer: (&'static str, Box<dyn Client>) = match what {
            What::Driver => (
                "libblkio",
                Box::new(Libblkio::connect(&theirs.socket, cores)?),
            ),
            What::Null | What::Raw => (
                "qemu-storage-daemon",
                Box::new(Ours::connect(&theirs.socket, cores)?),
            ),
        };
        let Export { socket, server } = ours;
        let ours: Box<dyn Client> = Box::new(Ours::connect(&socket, cores)?);
        Ok(Self {
            clients: [("ours", ours), peer],
            _servers: server.into_iter().chain(theirs.server).collect(),
        })
    }

    /// Lets both do the same in turns.
    fn compete(
        &mut self,
        case: &Case,
        pace: Pace,
    ) -> Result<[(&'static str, Outcome); 2], Box<dyn Error>> {
        let mut rates = [const { Vec::new() }; 2];
        for turn in 0..=pace.samples {
            for ((_, client), rates) in self.clients.iter_mut().zip(&mut rates) {
                let rate = client.run(case.size.0, case.depth, pace.time)?;
                // In the first, caches and page tables are warmed.
                if turn != 0 {
                    rates.push(rate);
                }
            }
        }
        let [ours, theirs] = rates.map(outcome);
        Ok([(self.clients[0].0, ours), (self.clients[1].0, theirs)])
    }
}

/// What came of samples, of which there is one at least.
fn outcome(mut rates: Vec<f64>) -> Outcome {
    rates.sort_by(f64::total_cmp);
    Outcome {
        median: rates[rates.len() / 2],
        maximum: rates[rates.len() - 1],
    }
}

fn cases(what: What, cores: Cores) -> Vec<Case> {
    let sizes = SIZES.into_iter();
    let all = sizes.flat_map(|size| DEPTHS.map(|depth| (size, depth)));
    let case = |(size, depth)| Case {
        what,
        cores,
        size,
        depth,
    };
    all.map(case).collect()
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Driver => "vhost-driver",
            Self::Null => "vhost-backend-null",
            Self::Raw => "vhost-backend-raw",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = match self.cores {
            Cores::One => "1core",
            Cores::Two => "2core",
        };
        let (what, depth) = (self.what.name(), self.depth);
        write!(f, "{what}-{}-d{depth}-{cores}", self.size.1)
    }
}

/// Where requests go: places that look like chance (xorshift), the same for both parties.
struct Places {
    chance: u64,
}

impl Places {
    fn new() -> Self {
        Self {
            chance: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The next byte offset, of a request of `size` bytes on a disk of so many.
    fn next(&mut self, size: usize, disk: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let size = size as u64;
        self.chance % (disk / size) * size
    }
}
