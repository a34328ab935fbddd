//! What compiled Rust expects to be linked with where there is no C library.
//!
//! The loops are instructions: written in Rust, the compiler would see what they do and call them.

#![expect(
    unsafe_code,
    reason = "the C library's memory functions, by their C names"
)]

use core::arch::asm;
use core::arch::x86_64::{_mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};

/// Copies `length` bytes from `from` to `to`, which do not overlap. Returns `to`.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: moves blocks of 64 bytes, then words, then bytes, upwards (the direction flag is
    // clear by the ABI), within what the caller says may be read and written. Each step reads
    // all that it moves before it writes.
    unsafe {
        asm!(
            "shr rcx, 6",
            "jz 3f",
            "2:",
            "movups {a}, [rsi]",
            "movups {b}, [rsi + 16]",
            "movups {c}, [rsi + 32]",
            "movups {d}, [rsi + 48]",
            "movups [rdi], {a}",
            "movups [rdi + 16], {b}",
            "movups [rdi + 32], {c}",
            "movups [rdi + 48], {d}",
            "add rsi, 64",
            "add rdi, 64",
            "dec rcx",
            "jnz 2b",
            "3:",
            "mov ecx, {words:e}",
            "rep movsq",
            "mov ecx, {bytes:e}",
            "rep movsb",
            words = in(reg) length % 64 / 8,
            bytes = in(reg) length % 8,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack),
        );
    }
    to
}

/// Copies `length` bytes from `from` to `to`, which may overlap. Returns `to`.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // Upwards is right unless `to` begins inside the bytes to be copied.
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: `memcpy` copies upwards, so no byte is overwritten before it is read.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: from the last byte downwards: first the rest, then words, each below those already
    // moved; the direction flag is clear again afterwards. All within what the caller says may
    // be read and written.
    unsafe {
        asm!(
            "std", "rep movsb",
            "sub rsi, 7", "sub rdi, 7", "mov rcx, {words}", "rep movsq", "cld",
            words = in(reg) length / 8,
            inout("rcx") length % 8 => _,
            inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// Sets `length` bytes from `to` on to the low byte of `value`. Returns `to`.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // Not an array of eight: filling one is a call of this function.
    let word = u64::from(value as u8) * 0x0101_0101_0101_0101;
    // SAFETY: stores `length / 8` words and then the rest, within what the caller says may be
    // written.
    unsafe {
        asm!(
            "rep stosq", "mov rcx, {rest}", "rep stosb",
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => _, inout("rdi") to => _, in("rax") word,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// Compares `length` bytes: negative, zero or positive as `a` is below, equal to or above `b`.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    while length - at >= 64 {
        // SAFETY: `at + 64 <= length`, and the caller says that both can be read up to `length`;
        // the rest is SSE2, which every x86-64 has.
        let same = unsafe {
            let equal = |offset| {
                let [x, y] = [a, b].map(|p| _mm_loadu_si128(p.add(at + offset).cast()));
                _mm_cmpeq_epi8(x, y)
            };
            let low = _mm_and_si128(equal(0), equal(16));
            let high = _mm_and_si128(equal(32), equal(48));
            _mm_movemask_epi8(_mm_and_si128(low, high))
        };
        if same != 0xffff {
            break;
        }
        at += 64;
    }
    while length - at >= 8 {
        // SAFETY: `at + 8 <= length`, as above.
        let words = unsafe { [a.add(at), b.add(at)].map(|p| p.cast::<u64>().read_unaligned()) };
        let [x, y] = words.map(u64::from_be);
        if x != y {
            return if x < y { -1 } else { 1 };
        }
        at += 8;
    }
    while at < length {
        // SAFETY: `at < length`, as above.
        let [x, y] = unsafe { [a.add(at).read(), b.add(at).read()] };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        at += 1;
    }
    0
}

/// Whether `length` bytes differ.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(a, b, length) }
}

/// Never called: a panic ends the machine. The precompiled `core` and `alloc` refer to it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Never called, as above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::cpu::stop()
}
