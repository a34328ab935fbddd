//! The guard against hangs: a program that reports no progress for too long is ended with a report.
//!
//! It looks by the interrupt that cannot be turned off, pulled by the interval timer. So it also
//! sees what a tick would not: a handler that waits for a lock which the program it interrupted
//! holds.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::Result;
use crate::{failure, interrupts, pit};

/// Seconds without progress that are a hang, unless the command line's `watchdog=` says otherwise.
pub const DEFAULT_SECONDS: u64 = 60;

/// Looks without progress that are a hang.
static LIMIT: AtomicU64 = AtomicU64::new(0);
/// Looks since the last progress.
static IDLE: AtomicU64 = AtomicU64::new(0);
static LOOKS: AtomicU64 = AtomicU64::new(0);

/// Reports progress. To be called by the program whenever it has got something done, and not while
/// it merely waits.
pub fn pet() {
    IDLE.store(0, Relaxed);
}

/// How many times the watchdog has looked.
pub fn looks() -> u64 {
    LOOKS.load(Relaxed)
}

/// Sets the watchdog on whoever reports no progress for `seconds`, and at least one period of the
/// interval timer.
///
/// # Errors
///
/// [`Error::NoLine`](crate::Error::NoLine): the machine has no line for the interval timer.
pub(crate) fn start(seconds: u64) -> Result<()> {
    let limit = seconds.saturating_mul(pit::RATE) / pit::PERIOD + 1;
    LIMIT.store(limit, Relaxed);
    pet();
    pit::repeat();
    interrupts::route_to_watchdog(pit::GSI)
}

/// A look at whether there was progress. `rip` is what was interrupted.
pub(crate) fn look(rip: u64) {
    LOOKS.fetch_add(1, Relaxed);
    if IDLE.fetch_add(1, Relaxed) >= LIMIT.load(Relaxed) {
        let seconds = LIMIT.load(Relaxed) * pit::PERIOD / pit::RATE;
        failure::fail(
            "hang",
            format_args!("no progress for {seconds} s, rip {rip:#x}"),
        );
    }
}
