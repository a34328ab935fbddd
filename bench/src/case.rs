//! What is measured: the cases, and who takes part in each.

use std::fmt;

use ringway_spec::{F, Features};

use crate::measure::{DeviceRounds, DriverRounds, EmptyDevice, EmptyDriver, Rounds};
use crate::other_end::{Echo, Feeder};
use crate::{floor, ours, rust_vmm, vdrivers};

/// Descriptors of every ring.
pub(crate) const SIZE: u16 = 256;
/// Most chains in flight in any case: chains of three fit [`SIZE`].
pub(crate) const DEPTH_MAX: usize = 64;
/// Bytes of a request's header, data and status.
pub(crate) const BYTES: [u32; 3] = [16, 4096, 1];

/// Whose work is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Driver,
    Device,
}

/// A ring format. Another is a row of [`FORMATS`], its other end and its floor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    name: &'static str,
    /// The feature bits that choose it.
    features: Features,
    /// Whether the peers have it.
    peers: bool,
}

const FORMATS: &[Format] = &[
    Format {
        name: "split",
        features: Features::NONE,
        peers: true,
    },
    Format {
        name: "packed",
        features: F::RING_PACKED,
        peers: false,
    },
    Format {
        name: "inorder",
        features: F::RING_PACKED.union(F::IN_ORDER),
        peers: false,
    },
];

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    end: End,
    format: Format,
    /// Of a chain: 1 readable, and if there are 3, 2 writable.
    pub(crate) segments: u16,
    pub(crate) indirect: bool,
    /// Chains in a batch, and so in flight.
    pub(crate) depth: usize,
}

impl Case {
    /// What both ends agreed to.
    pub(crate) fn features(&self) -> Features {
        let features = self.format.features | F::EVENT_IDX;
        if self.indirect {
            features | F::INDIRECT_DESC
        } else {
            features
        }
    }

    /// Whether the ring is packed.
    pub(crate) fn is_packed(&self) -> bool {
        self.format.features.contains(F::RING_PACKED)
    }

    /// Whether chains are used in the order in which they were made available, several at a time.
    pub(crate) fn in_order(&self) -> bool {
        self.format.features.contains(F::IN_ORDER)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Driver => "driver",
            End::Device => "device",
        };
        let indirect = if self.indirect { "i" } else { "" };
        let (format, segments, depth) = (self.format.name, self.segments, self.depth);
        write!(f, "{end}-{format}-{segments}{indirect}-d{depth}")
    }
}

/// Every case, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for end in [End::Driver, End::Device] {
        for &format in FORMATS {
            for (segments, indirect) in [(1, false), (3, false), (1, true), (3, true)] {
                cases.extend([1, DEPTH_MAX].map(|depth| Case {
                    end,
                    format,
                    segments,
                    indirect,
                    depth,
                }));
            }
        }
    }
    cases
}

/// One who takes part in a case.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) rounds: Box<dyn Rounds>,
}

/// Who takes part in `case`: ours, the peer, the floor, and nobody, which is what the harness
/// costs.
pub(crate) fn subjects(case: &Case) -> Vec<Subject> {
    match (case.end, case.segments) {
        (End::Driver, 1) => drivers::<1, 0>(case),
        (End::Driver, _) => drivers::<1, 2>(case),
        (End::Device, _) => devices(case),
    }
}

fn drivers<const R: usize, const W: usize>(case: &Case) -> Vec<Subject> {
    let mut subjects = vec![
        driver("ours", ours::Driver::<R, W>::new(case)),
        match (case.is_packed(), case.in_order()) {
            (false, _) => driver("floor", floor::split::Driver::<R, W>::new(case)),
            (true, false) => driver("floor", floor::packed::Driver::<R, W, false>::new(case)),
            (true, true) => driver("floor", floor::packed::Driver::<R, W, true>::new(case)),
        },
        driver("empty", EmptyDriver::new(case)),
    ];
    if case.format.peers {
        subjects.push(driver(
            "virtio-drivers",
            vdrivers::Driver::<R, W>::new(case),
        ));
    }
    subjects
}

fn devices(case: &Case) -> Vec<Subject> {
    let mut subjects = vec![
        device("ours", ours::Device::new(case)),
        match (case.is_packed(), case.in_order()) {
            (false, _) => device("floor", floor::split::Device::new(case)),
            (true, false) => device("floor", floor::packed::Device::<false>::new(case)),
            (true, true) => device("floor", floor::packed::Device::<true>::new(case)),
        },
        device("empty", EmptyDevice::new(case)),
    ];
    if case.format.peers {
        subjects.push(device("virtio-queue", rust_vmm::Device::new(case)));
    }
    subjects
}

fn driver(
    name: &'static str,
    (driver, echo): (impl crate::measure::Driver + 'static, Echo),
) -> Subject {
    let rounds = Box::new(DriverRounds { driver, echo });
    Subject { name, rounds }
}

fn device(
    name: &'static str,
    (device, feeder): (impl crate::measure::Device + 'static, Feeder),
) -> Subject {
    let rounds = Box::new(DeviceRounds { device, feeder });
    Subject { name, rounds }
}
