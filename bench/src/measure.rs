//! How work is counted and timed.
//!
//! What is counted is done inside the functions whose names begin with `counted_`, and nothing else
//! is: callgrind collects while one of them runs. It forgets what it has at [`mark_begin`] and
//! writes it out at [`mark_end`].

use std::hint::black_box;
use std::time::Instant;

use ringway_ring::shared::Shared;

use crate::case::Case;
use crate::other_end::split::RingAreas;
use crate::other_end::{Echo, Feeder, RAM_BYTES, packed, split};

/// A driver's end under measurement. Chains have slots, from 0 to the depth of the case.
pub(crate) trait Driver {
    /// Submits the chain of `slot`. Says whether it was taken.
    fn submit(&mut self, slot: usize) -> bool;
    /// Whether the device wants to be told.
    fn kick_needed(&mut self) -> bool;
    /// Takes a chain back, which is the one of `slot`. Says whether there was one.
    fn poll(&mut self, slot: usize) -> bool;
}

/// A device's end under measurement.
pub(crate) trait Device {
    /// Whether it gives chains back.
    const ANSWERS: bool = true;

    /// Takes, walks and completes what is there, and asks whether to interrupt. Returns how many
    /// chains there were, of `expected`, which only the empty one needs.
    fn serve(&mut self, expected: usize) -> usize;
}

/// A subject and its other end.
pub(crate) trait Rounds {
    /// A batch of `chains`, there and back.
    fn round(&mut self, chains: usize);
}

/// A driver's end, and a device that answers.
pub(crate) struct DriverRounds<D> {
    pub(crate) driver: D,
    pub(crate) echo: Echo,
}

impl<D: Driver> Rounds for DriverRounds<D> {
    fn round(&mut self, chains: usize) {
        let submitted = counted_submit(&mut self.driver, chains);
        self.echo.complete(chains);
        let polled = counted_poll(&mut self.driver, chains);
        assert_eq!((submitted, polled), (chains, chains), "chains were lost");
    }
}

/// A device's end, and a driver that asks.
pub(crate) struct DeviceRounds<D> {
    pub(crate) device: D,
    pub(crate) feeder: Feeder,
}

impl<D: Device> Rounds for DeviceRounds<D> {
    fn round(&mut self, chains: usize) {
        self.feeder.submit(chains);
        let served = counted_serve(&mut self.device, chains);
        assert_eq!(served, chains, "chains were lost");
        let answered = self.feeder.all_completed();
        assert!(answered || !D::ANSWERS, "chains were not given back");
    }
}

#[inline(never)]
fn counted_submit<D: Driver>(driver: &mut D, chains: usize) -> usize {
    let mut taken = 0;
    for slot in 0..chains {
        taken += usize::from(driver.submit(slot));
    }
    black_box(driver.kick_needed());
    taken
}

#[inline(never)]
fn counted_poll<D: Driver>(driver: &mut D, chains: usize) -> usize {
    let mut polled = 0;
    for slot in 0..chains {
        polled += usize::from(driver.poll(slot));
    }
    polled
}

#[inline(never)]
fn counted_serve<D: Device>(device: &mut D, chains: usize) -> usize {
    device.serve(chains)
}

/// Rounds before counting or timing: nothing is done for the first time after them.
const WARM_ROUNDS: usize = 512;
/// Rounds counted: the positions of the ring come by a whole number of times.
const COUNTED_ROUNDS: usize = 512;

/// Does the work of a case between two marks. Returns the number of chains between them.
pub(crate) fn count(rounds: &mut dyn Rounds, depth: usize) -> usize {
    let depth = black_box(depth);
    for _ in 0..WARM_ROUNDS {
        rounds.round(depth);
    }
    mark_begin();
    for _ in 0..COUNTED_ROUNDS {
        rounds.round(depth);
    }
    mark_end();
    COUNTED_ROUNDS * depth
}

/// Where counting begins.
#[inline(never)]
fn mark_begin() {
    black_box(0);
}

/// Where counting ends.
#[inline(never)]
fn mark_end() {
    black_box(1);
}

/// Nanoseconds for each chain, over all samples.
pub(crate) struct Time {
    pub(crate) minimum: f64,
    pub(crate) median: f64,
}

/// Samples of each subject.
const SAMPLES: usize = 301;
/// Chains of a sample: some hundred microseconds, against which the clock is nothing.
const SAMPLE_CHAINS: usize = 8192;

/// Times subjects in turns, so that what disturbs the machine disturbs all of them.
pub(crate) fn time(subjects: &mut [&mut (dyn Rounds + 'static)], depth: usize) -> Vec<Time> {
    let depth = black_box(depth);
    let mut samples = vec![Vec::with_capacity(SAMPLES); subjects.len()];
    for _ in 0..=SAMPLES {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            for _ in 0..SAMPLE_CHAINS / depth {
                subject.round(depth);
            }
            samples.push(start.elapsed().as_secs_f64() * 1e9 / SAMPLE_CHAINS as f64);
        }
    }
    let summary = |mut samples: Vec<f64>| {
        // The first one warmed up.
        samples.remove(0);
        samples.sort_by(f64::total_cmp);
        Time {
            minimum: samples[0],
            median: samples[SAMPLES / 2],
        }
    };
    samples.into_iter().map(summary).collect()
}

/// No driver: what the harness costs.
pub(crate) struct EmptyDriver;

impl EmptyDriver {
    pub(crate) fn new(case: &Case) -> (Self, Echo) {
        let memory = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let echo = if case.is_packed() {
            Echo::Packed(packed::Echo::new(&memory, case, 0))
        } else {
            Echo::Split(split::Echo::new(&RingAreas::in_ram(&memory), 0))
        };
        (Self, echo)
    }
}

impl Driver for EmptyDriver {
    fn submit(&mut self, _slot: usize) -> bool {
        black_box(true)
    }

    fn kick_needed(&mut self) -> bool {
        true
    }

    fn poll(&mut self, _slot: usize) -> bool {
        black_box(true)
    }
}

/// No device: it says that all was done.
pub(crate) struct EmptyDevice;

impl EmptyDevice {
    pub(crate) fn new(case: &Case) -> (Self, Feeder) {
        let memory = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        (Self, Feeder::new(&memory, case))
    }
}

impl Device for EmptyDevice {
    const ANSWERS: bool = false;

    fn serve(&mut self, expected: usize) -> usize {
        let mut served = 0;
        for _ in 0..expected {
            served += usize::from(black_box(true));
        }
        served
    }
}
