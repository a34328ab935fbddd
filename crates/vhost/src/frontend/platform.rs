//! An ordinary process as drivers see it: the operating system's side, as one value.
#![expect(
    unsafe_code,
    reason = "the contract of a platform is an unsafe trait; nothing unsafe is done here"
)]

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ringway_driver::error::PlatformError;
use ringway_driver::interrupt::{Handler, Signal};
use ringway_driver::platform::{self, Direction, Leak, Message, Segments, Trust, ends_by};
use ringway_ring::driver::Memory;
use rustix::thread::sched_getaffinity;

use super::calls::Calls;
use super::error::{Error, Result};
use super::kick::Kick;
use super::links::Links;
use super::share::Share;

/// Most time that a thread waits at once. It then looks again by itself.
const WAIT_LIMIT: Duration = Duration::from_millis(100);

/// A yield that takes less time has given the processor to nobody.
const ALONE: Duration = Duration::from_micros(1);

/// How often a thread that was alone looks again before it yields the next time: for about as long as
/// a yield that gives the processor to somebody.
const SPINS: u32 = 32;

/// Whether memory is of huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// It is not.
    #[default]
    No,
    /// It is, if the system has as many free.
    IfAvailable,
}

/// Memory for back-ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// How many bytes there can be. They are taken from the system when they are first used.
    pub bytes: usize,
    /// Of which pages.
    pub pages: HugePages,
    /// How far back-ends are trusted. Buffers that are to go to them as they are, with
    /// [`Trust::Trusted`], must have been made in this memory
    /// ([`DmaBuffer`](ringway_driver::dma::DmaBuffer)); [`Trust::Revoked`] is the same here, since
    /// what is shared is so for ever.
    pub trust: Trust,
}

impl Default for MemoryOptions {
    /// A gigabyte, to be used through copies, or as buffers made in it.
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            pages: HugePages::No,
            trust: Trust::Pool,
        }
    }
}

/// An ordinary process, for the drivers in it: memory that is shared with back-ends, interrupts,
/// time. A cheap handle.
///
/// All back-ends of a platform are given the same memory, all of it. Back-ends that are not to see
/// what others do need platforms of their own.
#[derive(Clone)]
pub struct Platform(Arc<Parts>);

/// What a platform is made of.
struct Parts {
    trust: Trust,
    share: Share,
    calls: Calls,
    links: Links,
    start: Instant,
    /// Whether whoever is waited for may be able to go on only when this process does not.
    shares_processor: bool,
    /// How often who waits need not yield.
    spins: AtomicU32,
    leaked_queues: AtomicUsize,
    leaked_buffers: AtomicUsize,
}

impl Platform {
    /// Reserves memory.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] and [`Error::Os`] if the system has no room for it.
    pub fn new(memory: &MemoryOptions) -> Result<Self> {
        Ok(Self(Arc::new(Parts {
            trust: memory.trust,
            share: Share::new(memory.bytes, memory.pages)?,
            calls: Calls::new().map_err(Error::os)?,
            links: Links::new().map_err(Error::os)?,
            start: Instant::now(),
            shares_processor: sched_getaffinity(None).is_ok_and(|may| may.count() == 1),
            spins: AtomicU32::new(0),
            leaked_queues: AtomicUsize::new(0),
            leaked_buffers: AtomicUsize::new(0),
        })))
    }

    /// Waits on a thread of its own for whatever happens, until what is returned is dropped: for
    /// futures, which nobody waits for otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if there is no thread to be had.
    pub fn dispatch(&self) -> Result<Dispatcher> {
        let over = Arc::new(AtomicBool::new(false));
        let (platform, ends) = (self.clone(), Arc::clone(&over));
        let thread = thread::Builder::new().name("ringway-calls".to_owned());
        let thread = thread.spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                platform.wait_for(None);
            }
        });
        let thread = thread.map_err(|error| Error::Os(error.raw_os_error().unwrap_or_default()))?;
        Ok(Dispatcher {
            platform: self.clone(),
            over,
            thread: Some(thread),
        })
    }

    /// Bytes of memory that somebody has, in whole pages.
    pub fn memory_used(&self) -> u64 {
        self.0.share.pages().used()
    }

    /// Memory that drivers said they keep from everybody, since a device did not confirm its reset.
    pub fn leak(&self) -> Leak {
        Leak {
            queues: self.0.leaked_queues.load(Ordering::Relaxed),
            buffers: self.0.leaked_buffers.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn share(&self) -> &Share {
        &self.0.share
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    /// How long after the platform's beginning `moment` is.
    pub(crate) fn since_start(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.0.start)
    }

    /// Waits once, and looks after the connections if there is reason to.
    fn wait_for(&self, waiting: Option<(&Signal, u32)>) {
        let Parts { calls, links, .. } = &*self.0;
        let due = links.due_in(|| self.since_start(Instant::now()));
        let limit = due.map_or(WAIT_LIMIT, |due| due.min(WAIT_LIMIT));
        let woken = calls.wait(waiting, links.as_fd(), limit);
        if woken.by_other || due.is_some() {
            links.look_after();
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform")
            .field("trust", &self.0.trust)
            .field("share", &self.0.share)
            .finish_non_exhaustive()
    }
}

// SAFETY: devices are in other processes. They reach this one's memory only where it is shared with
// them: the file that `Share` made, which is mapped by `memory::create`. So whatever they do, and
// whenever, is done to memory that the program has no reference to, but `Shared`, which makes atomic
// accesses. Beyond that:
// - `dma` gives out pages of that file that nobody else has until the last handle to them is dropped
//   (`Pages::take`). `Share::region` tells every back-end that the file is at the address that
//   `Memory::address` counts from, from its byte 0 on, as `Pages` has it: so the bytes are where it
//   says. The file is sealed against becoming smaller, and the mapping lives as long as a handle.
// - `map` looks the bytes up by their address in the program (`Pages::find`), refuses others, and
//   reports where back-ends have exactly those.
// - `Revoked` is not what `trust` ever says: there is nothing that `unmap` would have to end.
unsafe impl platform::Platform for Platform {
    type Registers = Kick;

    fn trust(&self) -> Trust {
        match self.0.trust {
            Trust::Pool => Trust::Pool,
            Trust::Trusted | Trust::Revoked => Trust::Trusted,
        }
    }

    fn dma(&self, len: usize, align: usize, last: u64) -> Result<Memory, PlatformError> {
        let memory = self.0.share.pages().take(len, align);
        memory
            .filter(|memory| ends_by(memory, last))
            .ok_or(PlatformError::NoMemory(len))
    }

    fn map(
        &self,
        at: NonNull<u8>,
        len: usize,
        _direction: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<(), PlatformError> {
        let memory = self.0.share.pages().find(at, len);
        let Memory { address, .. } = memory.ok_or(PlatformError::NotReachable)?;
        segments.push(address, len)
    }

    fn unmap(&self, _at: NonNull<u8>, _len: usize, _direction: Direction, _first: u64) {}

    fn registers(&self, address: u64, _len: u64) -> Result<Kick, PlatformError> {
        Err(PlatformError::NotMapped(address))
    }

    fn message(&self, handler: Handler<Self>) -> Option<Message> {
        let number = self.0.calls.provide(handler)?;
        Some(Message {
            address: 0,
            data: number,
        })
    }

    fn line(&self, _line: u32, _handler: Handler<Self>) -> bool {
        false
    }

    fn disconnect(&self, handler: &Handler<Self>) {
        self.0.calls.disconnect(handler);
    }

    fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    fn relax(&self) {
        // Threads that count down at once are no harm: one of them yields some time.
        let Parts { spins, .. } = &*self.0;
        let left = spins.load(Ordering::Relaxed);
        if left != 0 {
            spins.store(left - 1, Ordering::Relaxed);
        }
        if left != 0 || !self.0.shares_processor {
            return core::hint::spin_loop();
        }
        let start = Instant::now();
        thread::yield_now();
        if start.elapsed() < ALONE {
            spins.store(SPINS, Ordering::Relaxed);
        }
    }

    fn wait(&self, signal: &Signal, seen: u32) {
        self.wait_for(Some((signal, seen)));
    }

    fn gather(&self) {
        // The signal has taken the processor from a back-end that was about to complete more.
        if self.0.shares_processor {
            thread::yield_now();
        }
    }

    fn leaked(&self, leak: Leak) {
        let queues = &self.0.leaked_queues;
        queues.fetch_add(leak.queues, Ordering::Relaxed);
        let buffers = &self.0.leaked_buffers;
        buffers.fetch_add(leak.buffers, Ordering::Relaxed);
    }
}

/// A thread that waits for whatever happens on a platform. Ends when this is dropped.
pub struct Dispatcher {
    platform: Platform,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.platform.0.calls.wake();
        if let Some(thread) = self.thread.take() {
            // It ends by itself, unless a handler panicked: that was told by then.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}
