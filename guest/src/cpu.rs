//! Single instructions that Rust has no words for.

#![expect(unsafe_code, reason = "privileged instructions and port I/O")]

use core::arch::asm;
use core::arch::x86_64::{_mm_lfence, _rdtsc};

/// The interrupt-enable bit of RFLAGS.
const RFLAGS_IF: u64 = 1 << 9;

/// Reads a byte from I/O port `port`.
///
/// # Safety
///
/// What the read does to the device behind the port must not touch memory that Rust owns.
pub(crate) unsafe fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: the instruction itself touches `al` and the port alone; the caller answers for the
    // port.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Writes a byte to I/O port `port`.
///
/// # Safety
///
/// As for [`in8`].
pub(crate) unsafe fn out8(port: u16, value: u8) {
    // SAFETY: the instruction itself touches the port alone; the caller answers for the port.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags));
    }
}

/// Writes 32 bits to I/O port `port`.
///
/// # Safety
///
/// As for [`in8`].
pub(crate) unsafe fn out32(port: u16, value: u32) {
    // SAFETY: as in `out8`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}

/// Reads a model-specific register.
///
/// # Safety
///
/// The CPU must have the register.
pub(crate) unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller says that the register exists; reading it changes nothing.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
            options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
///
/// The CPU must have the register, and Rust's view of memory must survive what the value does.
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    let [low, high] = [value as u32, (value >> 32) as u32];
    // SAFETY: the caller answers for the register and the value.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high,
            options(nostack, preserves_flags));
    }
}

/// The page-table root.
pub(crate) fn cr3() -> u64 {
    let value;
    // SAFETY: ring 0 may read the register, and that changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The address that the last page fault was about.
pub(crate) fn cr2() -> u64 {
    let value;
    // SAFETY: ring 0 may read the register, and that changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Forgets every cached translation, after page tables were changed.
pub(crate) fn flush_translations() {
    // SAFETY: writes back the root that is there; the tables it names are the valid ones already in
    // use.
    unsafe {
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// The time-stamp counter, read after everything before it has been done.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: both instructions are of the x86-64 baseline and allowed in ring 0.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// Turns interrupts off, and says whether they were on.
pub(crate) fn disable_interrupts() -> bool {
    let flags: u64;
    // SAFETY: pushes and pops one word (no red zone: the block is not marked `nostack`); taking no
    // interrupts breaks no promise to Rust. Memory accesses are not moved across, since the
    // block may touch memory.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & RFLAGS_IF != 0
}

/// Turns interrupts on. Every vector has had its gate since before the first call: see `bring_up`.
pub(crate) fn enable_interrupts() {
    // SAFETY: an interrupt runs on a stack of its own and restores every register it changes; see
    // `interrupts::gates`.
    unsafe { asm!("sti", options(nostack)) };
}

/// Turns interrupts on and sleeps until one has come. One that was already waiting ends the sleep
/// at once: `sti` takes effect only after the instruction that follows it.
pub(crate) fn enable_interrupts_and_halt() {
    // SAFETY: as for `enable_interrupts`; the CPU goes on after the interrupt.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops for good.
pub(crate) fn stop() -> ! {
    loop {
        // SAFETY: with interrupts off the CPU sleeps; should anything wake it, it goes back to
        // sleep.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Reads address 0, which is never mapped: a page fault.
pub(crate) fn read_null() {
    // SAFETY: the read faults and the machine is ended; an instruction is used because Rust itself
    // has no null access.
    unsafe {
        asm!("mov {}, byte ptr [0]", out(reg_byte) _, options(nostack, readonly, preserves_flags));
    }
}
