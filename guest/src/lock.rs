//! A lock for one CPU: interrupts stay off while it is held.
//!
//! So no handler ever meets a lock that the program it interrupted holds, and what both use (the
//! heap, the serial port) cannot deadlock.

#![expect(unsafe_code, reason = "lock_api's trait is unsafe to implement")]

use core::sync::atomic::{AtomicBool, Ordering};

use lock_api::{GuardNoSend, RawMutex};

use crate::cpu;

/// A value behind a [`RawLock`].
pub type Lock<T> = lock_api::Mutex<RawLock, T>;

/// See the module.
#[derive(Debug)]
pub struct RawLock {
    held: AtomicBool,
    /// Whether interrupts were on when the lock was taken. Written by its holder alone.
    interrupts: AtomicBool,
}

// SAFETY: exclusive, since `held` goes from false to true in one atomic step and only `unlock`
// takes it back.
unsafe impl RawMutex for RawLock {
    const INIT: Self = Self {
        held: AtomicBool::new(false),
        interrupts: AtomicBool::new(false),
    };

    type GuardMarker = GuardNoSend;

    /// # Panics
    ///
    /// When the lock is held: with one CPU, and no interrupts while it is held, only its own holder
    /// can be here, and would wait for itself.
    fn lock(&self) {
        assert!(self.try_lock(), "a lock is taken twice");
    }

    fn try_lock(&self) -> bool {
        let interrupts = cpu::disable_interrupts();
        let taken = !self.held.swap(true, Ordering::Acquire);
        if taken {
            self.interrupts.store(interrupts, Ordering::Relaxed);
        } else if interrupts {
            cpu::enable_interrupts();
        }
        taken
    }

    unsafe fn unlock(&self) {
        let interrupts = self.interrupts.load(Ordering::Relaxed);
        self.held.store(false, Ordering::Release);
        if interrupts {
            cpu::enable_interrupts();
        }
    }
}
