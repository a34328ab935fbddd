//! One processor, and its cycle counter.
#![expect(unsafe_code, reason = "the counter is read by an instruction")]

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processors by number: the last and the first that this program may use.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    /// Where packets are moved, by either party in turn.
    pub(super) work: usize,
    /// Where everything else is done.
    pub(super) rest: usize,
}

impl Processors {
    /// To be asked before this thread is [kept](keep_on) on one of them.
    pub(crate) fn allowed() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
        let rest = numbers.next().unwrap_or_default();
        let work = numbers.next_back().unwrap_or(rest);
        Ok(Self { work, rest })
    }
}

/// Keeps this thread, and those that it starts, on one processor.
pub(super) fn keep_on(processor: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(processor);
    Ok(sched_setaffinity(None, &one)?)
}

/// The time-stamp counter, which ticks at one rate and is the same on all processors. DPDK reads it
/// too.
#[cfg(target_arch = "x86_64")]
pub(super) fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; no system that runs this program forbids
    // it, and one that did would end it, harming nothing.
    unsafe { core::arch::x86_64::_rdtsc() }
}
