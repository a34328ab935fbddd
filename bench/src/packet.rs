//! 64-byte packets across a virtqueue, both ends on one processor: ours, and DPDK's virtio-user and
//! vhost in one process. What is counted stands in `docs/bench.md`.

mod card;
mod dpdk;
mod ours;
mod system;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringway_spec::{F, Features};

use card::Cards;
use dpdk::Forwarder;
use ours::Rings;
pub(crate) use system::{Processors, keep_on};

/// Packets of a burst.
const BURST: usize = 32;
/// Bursts under way, as many as testpmd has with two ports.
const BURSTS: usize = 2;
/// Descriptors of every ring.
const SIZE: u16 = 256;
/// Bytes of a packet.
const BYTES: usize = 64;
/// Bytes of what precedes it in its buffer: the header of a network device (§5.1.6).
const HEADER: usize = 12;
/// Laps of a burst in a sample: about a millisecond, as DPDK's samples are.
const SAMPLE_LAPS: usize = 256;
/// Laps before the first sample of a turn.
const WARM_LAPS: usize = 64;

/// Our ends, between which packets go round.
trait Circle {
    /// Goes round for `samples` samples, and adds the cycles for each packet and virtqueue in each of
    /// them to `cycles_each`. The packets are looked at then.
    ///
    /// # Errors
    ///
    /// The ends are at fault.
    fn turn(&mut self, samples: usize, cycles_each: &mut Vec<f64>) -> Result<(), Box<dyn Error>>;
}

/// What of ours moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// The rings' two ends, and nothing else.
    Rings,
    /// A card's driver, and the card.
    Cards,
}

/// A way to cross a virtqueue.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What of ours is measured.
    pub(crate) ours: Ours,
    /// What our two ends agree to.
    features: Features,
    /// What virtio-user is told, in each way that DPDK has to do it.
    theirs: &'static [&'static str],
}

/// The ways that DPDK has to do each.
const SPLIT: &[&str] = &[
    "packed_vq=0,in_order=0,vectorized=0",
    "packed_vq=0,in_order=0,vectorized=1",
];
const PACKED: &[&str] = &["packed_vq=1,in_order=0,vectorized=0"];
const IN_ORDER: &[&str] = &[
    "packed_vq=1,in_order=1,vectorized=0",
    "packed_vq=1,in_order=1,vectorized=1",
];

/// Every case, in the order of the table.
pub(crate) const CASES: [Case; 5] = [
    case("packet-split", Ours::Rings, Features::NONE, SPLIT),
    case("packet-packed", Ours::Rings, F::RING_PACKED, PACKED),
    case("packet-inorder", Ours::Rings, PACKED_IN_ORDER, IN_ORDER),
    case("net-split", Ours::Cards, Features::NONE, SPLIT),
    case("net-inorder", Ours::Cards, PACKED_IN_ORDER, IN_ORDER),
];

const PACKED_IN_ORDER: Features = F::RING_PACKED.union(F::IN_ORDER);

const fn case(
    name: &'static str,
    ours: Ours,
    features: Features,
    theirs: &'static [&'static str],
) -> Case {
    Case {
        name,
        ours,
        features,
        theirs,
    }
}

impl Case {
    fn circle(&self) -> Result<Box<dyn Circle>, Box<dyn Error>> {
        Ok(match self.ours {
            Ours::Rings => Box::new(Rings::new(self.features)?),
            Ours::Cards => Box::new(Cards::new(self.features)?),
        })
    }
}

/// Who DPDK is, and where it may leave things.
pub(crate) struct Peer {
    /// Its packet forwarder.
    testpmd: PathBuf,
    /// A folder that somebody else removes.
    folder: PathBuf,
}

impl Peer {
    pub(crate) fn new(testpmd: &str, folder: &str) -> Self {
        Self {
            testpmd: testpmd.into(),
            folder: folder.into(),
        }
    }
}

/// How long a measurement goes on.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Turns that each party has.
    pub(crate) turns: usize,
    /// Samples of a turn.
    pub(crate) samples: usize,
}

impl Effort {
    /// What numbers are made of.
    pub(crate) const FULL: Self = Self {
        turns: 24,
        samples: 25,
    };
    /// What shows that it works.
    pub(crate) const BRIEF: Self = Self {
        turns: 2,
        samples: 3,
    };
}

/// What came of one party in one case.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    /// Cycles for each packet and virtqueue.
    pub(crate) minimum: f64,
    pub(crate) median: f64,
}

/// Measures `case`: ours and DPDK, whose fastest way counts, in turns on the same processor.
///
/// # Errors
///
/// DPDK did not start, or did not do as it was told.
pub(crate) fn measure(
    case: &Case,
    peer: &Peer,
    processors: Processors,
    effort: Effort,
) -> Result<[Outcome; 2], Box<dyn Error>> {
    keep_on(processors.rest)?;
    let mut circle = case.circle()?;
    let ways = case.theirs.iter();
    let mut forwarders = ways
        .map(|way| Forwarder::start(peer, processors, way))
        .collect::<Result<Vec<_>, _>>()?;
    let mut ours = Vec::new();
    let mut theirs = vec![Vec::new(); forwarders.len()];
    for _ in 0..effort.turns {
        for (forwarder, cycles) in forwarders.iter_mut().zip(&mut theirs) {
            forwarder.turn(effort.samples, cycles)?;
        }
        keep_on(processors.work)?;
        circle.turn(effort.samples, &mut ours)?;
        keep_on(processors.rest)?;
    }
    let theirs = theirs.into_iter().map(|cycles| outcome("dpdk", cycles));
    let fastest = theirs.min_by(|a, b| a.median.total_cmp(&b.median));
    Ok([
        outcome("ours", ours),
        fastest.ok_or("DPDK has no way to do it")?,
    ])
}

/// Measures our ends of `case` alone.
///
/// # Errors
///
/// The system has no memory for them, or they are at fault.
pub(crate) fn laps(
    case: &Case,
    processors: Processors,
    effort: Effort,
) -> Result<Outcome, Box<dyn Error>> {
    keep_on(processors.work)?;
    let mut circle = case.circle()?;
    let mut cycles = Vec::new();
    for _ in 0..effort.turns {
        circle.turn(effort.samples, &mut cycles)?;
    }
    Ok(outcome("ours", cycles))
}

/// Millions of cycles a second, as this machine's counter counts them.
pub(crate) fn counter_rate() -> f64 {
    /// Long beside what it takes to read two clocks.
    const LONG: Duration = Duration::from_millis(50);
    let (start, from) = (Instant::now(), system::cycles());
    while start.elapsed() < LONG {
        std::hint::spin_loop();
    }
    let (took, to) = (start.elapsed(), system::cycles());
    to.wrapping_sub(from) as f64 / took.as_micros() as f64
}

fn outcome(name: &'static str, mut cycles: Vec<f64>) -> Outcome {
    cycles.sort_by(f64::total_cmp);
    Outcome {
        name,
        minimum: cycles[0],
        median: cycles[cycles.len() / 2],
    }
}
