//! Interrupts: a handler for each vector, the lines that lead to vectors, and the messages that
//! devices send.
//!
//! Handlers run one at a time, with interrupts off, on a stack of their own, and the interrupt is
//! acknowledged after the handler: a level-triggered line must have been quieted by then. Finding
//! the handler takes no lock and no memory. A handler may use the heap and print; it must not wait.

#![expect(unsafe_code, reason = "handlers behind atomic pointers")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::RangeInclusive;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::error::{Error, Result};
use crate::{cpu, failure, layout, time, watchdog};

mod apic;
mod gates;

pub use apic::{Trigger, mask_gsi, message, route_gsi, send_to_self};
pub(crate) use apic::{init as init_controllers, route_to_watchdog, start_tick, tick_count};
pub(crate) use gates::init as init_gates;

/// What a vector calls.
pub type Handler = Arc<dyn Fn() + Send + Sync>;

/// The vectors that devices may use.
pub const VECTORS: RangeInclusive<u8> = 0x30..=0xef;

/// The tick of the local APIC's timer: above every device, so that a device cannot hold it off.
const TICK: u8 = 0xf0;
/// Raised by a local APIC that has nothing to say.
const SPURIOUS: u8 = 0xff;

const NMI: u64 = 2;
const PAGE_FAULT: u64 = 14;

/// One for each of [`VECTORS`]: null, or a boxed handler that the table owns.
static HANDLERS: [AtomicPtr<Handler>; 192] = [const { AtomicPtr::new(null_mut()) }; 192];

/// Whether a handler is running.
static IN_HANDLER: AtomicBool = AtomicBool::new(false);

/// How many interrupts came on vectors without a handler.
static STRAY: AtomicU64 = AtomicU64::new(0);

/// Calls `handler` whenever `vector` is raised.
///
/// # Errors
///
/// [`Error::BadVector`]: not one of [`VECTORS`]. [`Error::VectorTaken`]: unregister its handler first.
pub fn register(vector: u8, handler: Handler) -> Result<()> {
    let slot = slot(vector).ok_or(Error::BadVector { vector })?;
    let new = Box::into_raw(Box::new(handler));
    let taken = slot.compare_exchange(null_mut(), new, AcqRel, Relaxed);
    taken.map(|_| ()).map_err(|_| {
        // SAFETY: `new` came from `Box::into_raw` above, and the table did not take it.
        drop(unsafe { Box::from_raw(new) });
        Error::VectorTaken { vector }
    })
}

/// Calls `handler` on a vector that has none so far, and says which.
///
/// # Errors
///
/// [`Error::NoVector`]: all are taken; share one.
pub fn allocate(handler: &Handler) -> Result<u8> {
    let free = |&vector: &u8| register(vector, Arc::clone(handler)).is_ok();
    VECTORS.into_iter().find(free).ok_or(Error::NoVector)
}

/// Takes the handler of `vector` away. It does not run after this returns.
///
/// # Panics
///
/// Inside a handler: what runs cannot be taken away.
pub fn unregister(vector: u8) {
    assert!(!in_handler(), "a handler takes a handler away");
    if let Some(slot) = slot(vector) {
        let old = slot.swap(null_mut(), AcqRel);
        if !old.is_null() {
            // SAFETY: the table owned it and does not any more; `dispatch` holds it only while a
            // handler runs, and with one CPU none does while this program is outside of
            // one.
            drop(unsafe { Box::from_raw(old) });
        }
    }
}

/// Runs `f` with interrupts off.
pub fn without<T>(f: impl FnOnce() -> T) -> T {
    let interrupts = cpu::disable_interrupts();
    let result = f();
    if interrupts {
        cpu::enable_interrupts();
    }
    result
}

/// Whether this is called by a handler.
pub fn in_handler() -> bool {
    IN_HANDLER.load(Relaxed)
}

/// How many interrupts have come that no handler was registered for.
pub fn stray() -> u64 {
    STRAY.load(Relaxed)
}

fn slot(vector: u8) -> Option<&'static AtomicPtr<Handler>> {
    HANDLERS.get(usize::from(vector.checked_sub(*VECTORS.start())?))
}

/// Every interrupt and exception arrives here, with interrupts off and its own stack.
extern "C" fn dispatch(frame: &gates::Frame) {
    match frame.vector {
        NMI => watchdog::look(frame.rip),
        0..32 => exception(frame),
        _ => interrupt(frame.vector as u8),
    }
}

fn interrupt(vector: u8) {
    match slot(vector) {
        Some(slot) => {
            let handler = slot.load(Acquire);
            // SAFETY: null, or a handler that the table owns; `unregister` cannot run before this
            // one has returned.
            match unsafe { handler.as_ref() } {
                Some(handler) => {
                    IN_HANDLER.store(true, Relaxed);
                    handler();
                    IN_HANDLER.store(false, Relaxed);
                }
                None => _ = STRAY.fetch_add(1, Relaxed),
            }
        }
        None if vector == TICK => time::tick(),
        // A spurious vector, or one of the legacy controllers': there is nothing to acknowledge.
        None => return,
    }
    apic::acknowledge();
}

fn exception(frame: &gates::Frame) {
    let (vector, code, rip, rsp) = (frame.vector, frame.error_code, frame.rip, frame.rsp);
    let name = NAMES.get(vector as usize).copied().unwrap_or("reserved");
    let cr2 = cpu::cr2();
    match layout::overflown(cr2).filter(|_| vector == PAGE_FAULT) {
        Some(stack) => failure::fail(
            "exception",
            format_args!(
                "stack overflow: the {} stack is full, rip {rip:#x}, cr2 {cr2:#x}",
                stack.name
            ),
        ),
        None => failure::fail(
            "exception",
            format_args!(
                "vector {vector} ({name}), error code {code:#x}, rip {rip:#x}, rsp {rsp:#x}, cr2 {cr2:#x}"
            ),
        ),
    }
}

/// The exceptions by vector.
const NAMES: [&str; 22] = [
    "divide error",
    "debug",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "reserved",
    "x87 floating point",
    "alignment check",
    "machine check",
    "SIMD floating point",
    "virtualization",
    "control protection",
];

const _: () = assert!(HANDLERS.len() == (*VECTORS.end() - *VECTORS.start()) as usize + 1);
