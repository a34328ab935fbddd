//! Where the parts of the image lie: the addresses that `link.ld` defines.

#![expect(unsafe_code, reason = "symbols that the linker defines")]

use core::ops::Range;

/// Size of the unmapped page below each stack, in bytes.
pub(crate) const GUARD_SIZE: u64 = 4096;

/// A stack: it grows down from `top`, to the unmapped page at `guard`.
#[derive(Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) guard: u64,
    pub(crate) top: u64,
}

/// Everything the image occupies.
pub(crate) fn image() -> Range<u64> {
    address(&raw const image_start)..address(&raw const image_end)
}

/// Code and constants: whole 2 MiB pages.
pub(crate) fn code() -> Range<u64> {
    address(&raw const image_start)..address(&raw const code_end)
}

/// Of the program, of interrupt handlers, of exceptions, of the watchdog. They share one 2 MiB
/// page.
pub(crate) fn stacks() -> [Stack; 4] {
    let stack = |name, guard, top| Stack {
        name,
        guard: address(guard),
        top: address(top),
    };
    [
        stack(
            "main",
            &raw const main_stack_guard,
            &raw const main_stack_top,
        ),
        stack(
            "interrupt",
            &raw const interrupt_stack_guard,
            &raw const interrupt_stack_top,
        ),
        stack(
            "exception",
            &raw const exception_stack_guard,
            &raw const exception_stack_top,
        ),
        stack(
            "watchdog",
            &raw const nmi_stack_guard,
            &raw const nmi_stack_top,
        ),
    ]
}

/// The stack in whose guard page `address` lies.
pub(crate) fn overflown(address: u64) -> Option<Stack> {
    let mut stacks = stacks().into_iter();
    stacks.find(|s| (s.guard..s.guard + GUARD_SIZE).contains(&address))
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

// Only their addresses mean anything; nothing is read through them.
unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
    static code_end: u8;
    static main_stack_guard: u8;
    static main_stack_top: u8;
    static interrupt_stack_guard: u8;
    static interrupt_stack_top: u8;
    static exception_stack_guard: u8;
    static exception_stack_top: u8;
    static nmi_stack_guard: u8;
    static nmi_stack_top: u8;
}
