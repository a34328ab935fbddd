//! Copies between private and shared memory on x86-64: sixteen bytes an instruction, at whatever
//! alignment, each byte once.
//!
//! A copy that races with the peer is outside the language's memory model here: what an instruction
//! of the processor reads and writes is no access of the program's.
#![expect(
    unsafe_code,
    reason = "loads and stores of the processor, to memory shared with a peer"
)]

use core::arch::asm;

/// Moves one piece of `$bytes` bytes, and goes on after it.
macro_rules! piece {
    ($class:ident, $load:literal, $store:literal, $from:ident, $to:ident, $bytes:literal) => {
        // SAFETY: the caller has found that there are so many bytes left at both places, which it
        // was promised are live memory. The instructions access nothing else, need no alignment,
        // and change one register, which is theirs.
        unsafe {
            asm!(
                $load, $store,
                piece = out($class) _, from = in(reg) $from, to = in(reg) $to,
                options(nostack, preserves_flags)
            );
        }
        $from = $from.wrapping_add($bytes);
        $to = $to.wrapping_add($bytes);
    };
}

/// Copies `len` bytes.
///
/// # Safety
///
/// The `len` bytes at `from` can be read, and those at `to` written; the program makes no access of
/// its own to the ones or the others meanwhile, but for atomic ones to those that are shared.
#[inline]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let (mut from, mut to, mut left) = (from, to, len);
    // Four pieces a turn, as long as there are as many.
    #[cfg(target_feature = "sse2")]
    while let Some(less) = left.checked_sub(64) {
        // SAFETY: as for a piece; there are 64 bytes left.
        unsafe {
            asm!(
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                from = in(reg) from, to = in(reg) to,
                options(nostack, preserves_flags)
            );
        }
        from = from.wrapping_add(64);
        to = to.wrapping_add(64);
        left = less;
    }
    #[cfg(target_feature = "sse2")]
    while let Some(less) = left.checked_sub(16) {
        piece!(
            xmm_reg,
            "movups {piece}, [{from}]",
            "movups [{to}], {piece}",
            from,
            to,
            16
        );
        left = less;
    }
    while let Some(less) = left.checked_sub(8) {
        piece!(
            reg,
            "mov {piece}, [{from}]",
            "mov [{to}], {piece}",
            from,
            to,
            8
        );
        left = less;
    }
    if left & 4 != 0 {
        piece!(
            reg,
            "mov {piece:e}, [{from}]",
            "mov [{to}], {piece:e}",
            from,
            to,
            4
        );
    }
    if left & 2 != 0 {
        piece!(
            reg,
            "mov {piece:x}, [{from}]",
            "mov [{to}], {piece:x}",
            from,
            to,
            2
        );
    }
    if left & 1 != 0 {
        piece!(
            reg_byte,
            "mov {piece}, [{from}]",
            "mov [{to}], {piece}",
            from,
            to,
            1
        );
    }
    let _ = (from, to);
}
