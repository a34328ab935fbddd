//! What happens when a file loses what was mapped.
//!
//! An access to a page that is gone is answered by the system with the signal SIGBUS, which ends a
//! program. Here it does not: the handler looks the address up among the mappings that are
//! registered here, marks the mapping as lost, and puts a page of zeroes there. A fault elsewhere goes
//! to whoever handled the signal before.
#![expect(
    unsafe_code,
    reason = "the handler of a signal is a promise that the compiler cannot check"
)]

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mm::{self, MapFlags, ProtFlags};

/// Most mappings at a time, in the whole program: the handler of a signal can only look through
/// something that never moves. Eight connections with as many regions as there can be, and images.
pub const MAPPINGS_MAX: usize = 4096;

/// How often a page was lost, in the whole program, since it began.
pub fn losses() -> usize {
    LOSSES.load(Ordering::Acquire)
}

static LOSSES: AtomicUsize = AtomicUsize::new(0);

/// What the handler knows of a mapping.
///
/// Whoever faults keeps the mapping alive meanwhile, so its own entry does not change; but others
/// may, while the handler looks at them. The version tells it.
#[derive(Debug)]
pub(crate) struct Entry {
    taken: AtomicBool,
    /// Odd while the next three are being changed.
    version: AtomicU32,
    start: AtomicUsize,
    len: AtomicUsize,
    page: AtomicUsize,
    lost: AtomicBool,
}

static ENTRIES: [Entry; MAPPINGS_MAX] = [const { Entry::new() }; MAPPINGS_MAX];

impl Entry {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            version: AtomicU32::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            page: AtomicUsize::new(1),
            lost: AtomicBool::new(false),
        }
    }

    fn set(&self, start: usize, len: usize, page: usize) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        // The odd version is seen by who sees any of these.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.page.store(page, Ordering::Relaxed);
        // These are seen by who sees the even version.
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Whether a page was lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Has the handler know it no more, and others have it.
    pub(crate) fn clear(&self) {
        self.set(0, 0, 1);
        self.lost.store(false, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
    }

    /// The page at `address` and its size, if it is of this mapping.
    fn page_at(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let len = self.len.load(Ordering::Relaxed);
        let page = self.page.load(Ordering::Relaxed);
        // What was loaded above was loaded before the version is looked at again.
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && version == self.version.load(Ordering::Relaxed);
        let offset = address.wrapping_sub(start);
        (whole && offset < len).then(|| (address & !(page - 1), page))
    }
}

/// An entry that nobody else has.
pub(crate) struct Claim(&'static Entry);

impl Claim {
    /// # Errors
    ///
    /// `NOMEM` if there are [`MAPPINGS_MAX`] mappings.
    pub(crate) fn new() -> Result<Self, Errno> {
        let free = |entry: &&Entry| !entry.taken.swap(true, Ordering::Acquire);
        ENTRIES.iter().find(free).map(Self).ok_or(Errno::NOMEM)
    }

    /// Tells the handler of the `len` bytes at `start`, in pages of `page` bytes.
    pub(crate) fn keep(self, start: usize, len: usize, page: usize) -> &'static Entry {
        let entry = self.0;
        core::mem::forget(self);
        entry.set(start, len, page);
        entry
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Who handled the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once.
pub(crate) fn survive() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // Known before it can be asked for.
        let before = action_for(None);
        BEFORE.get_or_init(|| before);
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
        let mut action = default_action();
        action.sa_sigaction = handler as libc::sighandler_t;
        // On the stack that threads of Rust have for signals, like the handler that was there
        // before.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        action_for(Some(&action));
    });
}

/// What is done at the signal, replaced by `action` if there is one.
fn action_for(action: Option<&libc::sigaction>) -> libc::sigaction {
    let mut before = default_action();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are null or to valid values of this frame or the caller's. A handler
    // among them is `on_bus_error`, which does only what a handler may. The call cannot fail: the
    // signal exists, and can be handled.
    unsafe { libc::sigaction(libc::SIGBUS, action, &raw mut before) };
    before
}

fn default_action() -> libc::sigaction {
    // SAFETY: all zeroes are a valid value of this C structure: the default action (0), no flags,
    // an empty mask, and no restorer.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Handles the signal. May run between any two instructions of any thread: only loads and stores of
/// atomics, and system calls that keep no state in the program.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO` the system passes a valid pointer.
    let code = unsafe { (*info).si_code };
    // Not one that was sent, and not an access that was misaligned.
    if code == libc::BUS_ADRERR || code == libc::BUS_MCEERR_AR {
        // SAFETY: as above; with these codes there is an address.
        let address = unsafe { (*info).si_addr() }.addr();
        if replace(address) {
            return;
        }
    }
    hand_on(signal, info, context);
}

/// Puts zeroes in place of the page at `address`, if it is one of ours.
fn replace(address: usize) -> bool {
    let found = ENTRIES
        .iter()
        .find_map(|entry| Some((entry, entry.page_at(address)?)));
    let Some((entry, (start, page))) = found else {
        return false;
    };
    // Before there are zeroes: whoever reads them finds it out afterwards.
    entry.lost.store(true, Ordering::Release);
    LOSSES.fetch_add(1, Ordering::Release);
    // SAFETY: the page is of a mapping that is alive: an access to it is under way. It has no
    // references into it, and holds nothing any more; it stays readable, and writable if it was, at
    // its address.
    let replaced = unsafe {
        mm::mmap_anonymous(
            ptr::with_exposed_provenance_mut(start),
            page,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED,
        )
    };
    replaced.is_ok()
}

/// Has the signal handled by whoever did before.
fn hand_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().copied().unwrap_or_else(default_action);
    // SAFETY: `info` is what the system passed.
    let sent = unsafe { (*info).si_code } <= 0;
    match before.sa_sigaction {
        libc::SIG_IGN if sent => {}
        // A fault cannot be ignored: the access would fail again, for ever.
        libc::SIG_DFL | libc::SIG_IGN => {
            action_for(Some(&default_action()));
            // SAFETY: raising a signal is permitted in a handler. It is taken when this one
            // returns, and ends the program.
            unsafe { libc::raise(signal) };
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with `SA_SIGINFO`, what was installed is a function of this type; it is given
            // what the system passed.
            unsafe {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    core::mem::transmute(handler);
                handler(signal, info, context);
            }
        }
        handler => {
            // SAFETY: without `SA_SIGINFO`, and being neither of the two constants, what was
            // installed is a function of this type.
            unsafe {
                let handler: extern "C" fn(c_int) = core::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
