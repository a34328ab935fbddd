//! What orders accesses to shared memory against the peer's, and against a doorbell.
//!
//! Three orders are needed on a ring, and one towards a register:
//!
//! | barrier | the earlier access | the later access | without it |
//! |---|---|---|---|
//! | [`Order::publish`] | what an element says, and the last looks at what goes with it | the index that publishes it | the peer reads a stale element, or writes over what we still read |
//! | [`Order::consume`] | the peer's index | the elements below it, and what is written in their place | we read a stale element |
//! | [`Order::store_load`] | our index | the peer's event field | both sides wait: a lost notification |
//! | [`doorbell`] | our index | the write to a notification register | the device looks before we have written |
//!
//! The models in `tests/models` show of each place where a ring asks for one of the first three that
//! it is needed there, and that with it nothing is lost. What they cannot see is argued here:
//!
//! - *The platform's own instructions.* Models run with [`Order::Processors`]. Each instruction of
//!   [`Order::Platform`] orders the same pairs of accesses as the fence beside it, or more, for
//!   more observers: what holds with the one holds with the other.
//! - *The doorbell.* Of `x = 1; doorbell; R = 0` here, and a device that sees the write to `R` and
//!   then loads `x`, it must find 1. A model has no registers, so only the instructions say so: x86-64
//!   keeps stores in order, the others are told to.
//!
//! Spec: VIRTIO 1.4 §2.7.13 "Supplying Buffers to The Device".
#![expect(
    unsafe_code,
    reason = "barriers against devices are the architecture's own instructions"
)]

use core::sync::atomic::Ordering;
#[cfg(not(loom))]
use core::sync::atomic::fence;

#[cfg(loom)]
use crate::model::fence;
use ringway_spec::{F, Features};

/// How strong the barriers of a queue must be. Chosen by `ORDER_PLATFORM` (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The peer is a processor of the same machine: the barriers between processors do.
    Processors,
    /// The peer may be hardware behind a bus (`ORDER_PLATFORM` negotiated): the
    /// barriers that the platform demands for device access.
    Platform,
}

impl Order {
    /// What a queue needs whose ends agreed to `features`.
    pub(crate) fn negotiated(features: Features) -> Self {
        if features.contains(F::ORDER_PLATFORM) {
            Self::Platform
        } else {
            Self::Processors
        }
    }

    /// Orders every earlier load and store before every later store. The loads count: what a device
    /// has read, or a driver has taken out, is the peer's to write over as soon as it is given back.
    #[inline]
    #[cfg_attr(loom, track_caller)]
    pub fn publish(self) {
        match self {
            Self::Processors => fence(Ordering::Release),
            Self::Platform => platform::publish(),
        }
    }

    /// Orders every earlier load before every later load and store.
    #[inline]
    #[cfg_attr(loom, track_caller)]
    pub fn consume(self) {
        match self {
            Self::Processors => fence(Ordering::Acquire),
            Self::Platform => platform::consume(),
        }
    }

    /// Orders every earlier store before every later load: the one order that no
    /// processor gives for nothing. Without it, this side may read the peer's
    /// event field before its own index is visible, while the peer does the same
    /// the other way round; then neither notifies.
    #[inline]
    #[cfg_attr(loom, track_caller)]
    pub fn store_load(self) {
        match self {
            Self::Processors => fence(Ordering::SeqCst),
            Self::Platform => platform::store_load(),
        }
    }
}

/// Orders every earlier store to memory before a later store to a device register.
///
/// Register writes are volatile, which the barriers between processors say
/// nothing of; this one orders them for the compiler and for the bus.
#[inline]
pub fn doorbell() {
    platform::doorbell();
}

#[cfg(target_arch = "x86_64")]
mod platform {
    use core::arch::asm;

    // Stores are seen in order, and loads are made in order, by every observer of
    // write-back memory, devices included (total store order). Only the compiler
    // is left to be held; a store followed by a load needs the instruction.

    #[inline]
    pub(super) fn publish() {
        // SAFETY: no instruction at all. Not `nomem`, so the compiler moves no access across it.
        unsafe { asm!("", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn consume() {
        publish();
    }

    #[inline]
    pub(super) fn store_load() {
        // SAFETY: `mfence` is in every x86-64 processor, has no operands and changes no register.
        unsafe { asm!("mfence", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn doorbell() {
        // A store to uncached memory is not passed by earlier stores: the compiler alone is held.
        publish();
    }
}

#[cfg(target_arch = "aarch64")]
mod platform {
    use core::arch::asm;

    // The outer shareable domain holds the devices; the inner one may not.

    #[inline]
    pub(super) fn publish() {
        // `dmb oshst` would let earlier loads pass.
        // SAFETY: a barrier has no operands and changes no register.
        unsafe { asm!("dmb osh", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn consume() {
        // SAFETY: as above.
        unsafe { asm!("dmb oshld", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn store_load() {
        publish();
    }

    #[inline]
    pub(super) fn doorbell() {
        // Normal memory before device memory: both are stores in the outer domain.
        // SAFETY: as above.
        unsafe { asm!("dmb oshst", options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "riscv64")]
mod platform {
    use core::arch::asm;

    // `r` and `w` are memory; `i` and `o` are device registers. A device that
    // reads memory is an observer of memory, so `rw` orders rings.

    #[inline]
    pub(super) fn publish() {
        // SAFETY: a fence has no operands and changes no register.
        unsafe { asm!("fence rw, w", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn consume() {
        // SAFETY: as above.
        unsafe { asm!("fence r, rw", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn store_load() {
        // SAFETY: as above.
        unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
    }

    #[inline]
    pub(super) fn doorbell() {
        // SAFETY: as above.
        unsafe { asm!("fence w, o", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "ringway-ring knows the device barriers of x86-64, AArch64 and RISC-V (64 bit) only"
);
