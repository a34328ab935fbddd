//! The clock, the tick that keeps it company, and waiting without spinning.
//!
//! The clock is the CPU's time-stamp counter. Its rate, and that of the local APIC's timer, are
//! measured at start against the interval timer: of the ways to learn them it is the one that
//! QEMU's q35 and microvm both have without hardware acceleration.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::interrupts::{in_handler, start_tick, tick_count};
use crate::{cpu, pit};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds between two ticks.
pub const TICK: u64 = 10_000_000;

/// How long the measurement takes, in counts of the interval timer: 10 ms.
const MEASURED: u16 = (pit::RATE / 100) as u16;

/// Most measurements: one fails when the host lets the image wait for 45 ms in the midst of it.
const MOST_TRIES: usize = 20;

/// Most reads of the interval timer in one measurement, so that one which stands still cannot hold
/// us.
const MOST_READS: u32 = 1_000_000;

/// Samples of which the best is taken at either end of the measurement.
const SAMPLES: u32 = 5;

static START: AtomicU64 = AtomicU64::new(0);
static RATE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds in one count of the time-stamp counter, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since the machine was brought up.
pub fn now() -> u64 {
    let passed = cpu::time_stamp().wrapping_sub(START.load(Relaxed));
    ((u128::from(passed) * u128::from(SCALE.load(Relaxed))) >> 32) as u64
}

/// How many times a second the time-stamp counter counts.
pub fn rate() -> u64 {
    RATE.load(Relaxed)
}

/// How many ticks there have been.
pub fn ticks() -> u64 {
    TICKS.load(Relaxed)
}

/// Sleeps until `condition` holds. It is looked at after every interrupt, with interrupts off, so
/// that none can come between the look and the sleep.
///
/// # Panics
///
/// In an interrupt handler.
pub fn halt_until(condition: impl Fn() -> bool) {
    assert!(!in_handler(), "a handler waits");
    loop {
        cpu::disable_interrupts();
        if condition() {
            break;
        }
        cpu::enable_interrupts_and_halt();
    }
    cpu::enable_interrupts();
}

/// Sleeps until `condition` holds, at most for `limit` nanoseconds and a tick. Says whether it
/// holds.
///
/// # Panics
///
/// In an interrupt handler.
pub fn wait(limit: u64, condition: impl Fn() -> bool) -> bool {
    let end = now().saturating_add(limit);
    halt_until(|| condition() || now() >= end);
    condition()
}

/// Measures the clock and starts the tick.
///
/// # Errors
///
/// [`Error::NoClock`]: there is no interval timer.
pub(crate) fn init() -> Result<()> {
    let rates = (0..MOST_TRIES).find_map(|_| measure());
    let (clock, timer) = rates.ok_or(Error::NoClock)?;
    RATE.store(clock, Relaxed);
    SCALE.store(
        ((u128::from(SECOND) << 32) / u128::from(clock)) as u64,
        Relaxed,
    );
    START.store(cpu::time_stamp(), Relaxed);
    let per_tick = u128::from(timer) * u128::from(TICK) / u128::from(SECOND);
    start_tick(u32::try_from(per_tick).unwrap_or(u32::MAX).max(1), true);
    Ok(())
}

/// The timer's interrupt.
pub(crate) fn tick() {
    TICKS.fetch_add(1, Relaxed);
}

/// Three counters at one moment.
struct Sample {
    /// Of the interval timer.
    counted: u16,
    clock: u64,
    timer: u32,
    /// How long taking the sample took, by the time-stamp counter.
    blur: u64,
}

/// How many times a second the time-stamp counter and the local APIC's timer count. `None` if the
/// measurement took too long, or there is nothing to measure against.
fn measure() -> Option<(u64, u64)> {
    start_tick(u32::MAX, false);
    pit::count_down();
    let begin = Sample::best()?;
    let enough = |counted: u16| counted.checked_sub(begin.counted) >= Some(MEASURED);
    (0..MOST_READS).find(|_| pit::counted().is_none_or(enough))?;
    let end = Sample::best()?;

    let counted = u64::from(end.counted.checked_sub(begin.counted)?);
    let rate = |count: u64| {
        (count * pit::RATE)
            .checked_div(counted)
            .filter(|&rate| rate > 0)
    };
    let clock = rate(end.clock.checked_sub(begin.clock)?)?;
    let timer = rate(begin.timer.checked_sub(end.timer)?.into())?;
    Some((clock, timer))
}

impl Sample {
    fn best() -> Option<Self> {
        let samples = (0..SAMPLES).filter_map(|_| Self::take());
        samples.min_by_key(|s| s.blur)
    }

    fn take() -> Option<Self> {
        let before = cpu::time_stamp();
        let counted = pit::counted()?;
        let timer = tick_count();
        let blur = cpu::time_stamp().wrapping_sub(before);
        Some(Self {
            counted,
            clock: before.wrapping_add(blur / 2),
            timer,
            blur,
        })
    }
}
