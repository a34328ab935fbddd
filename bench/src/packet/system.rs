//! What packets ask of the system: one processor, its cycle counter, and memory.
#![expect(
    unsafe_code,
    reason = "memory is mapped, and an instruction reads the counter"
)]

use std::io;
use std::ptr::{NonNull, null_mut};

use ringway_ring::shared::Shared;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processors by number: the last and the first that this program may use.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    /// Where packets are moved, by either party in turn.
    pub(crate) work: usize,
    /// Where everything else is done.
    pub(crate) rest: usize,
}

impl Processors {
    /// Those that have a cycle counter. Otherwise as [`allowed`](Self::allowed).
    ///
    /// # Errors
    ///
    /// They cannot be asked for, or are not of the one kind that can be measured on.
    pub(crate) fn with_counter() -> io::Result<Self> {
        if cfg!(not(target_arch = "x86_64")) {
            let why = "packets are measured in cycles of x86-64";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Self::allowed()
    }

    /// To be asked before this thread is [kept](keep_on) on one of them.
    ///
    /// # Errors
    ///
    /// They cannot be asked for.
    pub(crate) fn allowed() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
        let rest = numbers.next().unwrap_or_default();
        let work = numbers.next_back().unwrap_or(rest);
        Ok(Self { work, rest })
    }
}

/// Keeps this thread, and those that it starts, on one processor.
pub(crate) fn keep_on(processor: usize) -> io::Result<()> {
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

/// There is none elsewhere: [`Processors::with_counter`] has said so.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn cycles() -> u64 {
    unreachable!()
}

/// `len` zeroed bytes until the program ends, come by as DPDK comes by its own without huge pages,
/// so that both have pages of one kind.
pub(super) fn memory(len: usize) -> io::Result<Shared> {
    let file = memfd_create("ringway", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, len as u64)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: the system chooses a place that nothing else is at.
    let base = unsafe { mmap(null_mut(), len, access, flags, &file, 0) }?;
    let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: `mmap` has just put `len` bytes of a file that is as long there, readable and
    // writable. Nobody unmaps them or shortens the file, which has no name, and nobody else knows
    // where they are.
    Ok(unsafe { Shared::from_raw_parts(base, len) })
}
