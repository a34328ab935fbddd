//! The order in which a machine comes up: first what reports failures, then what can fail.

#![expect(unsafe_code, reason = "what is promised by being first")]

use crate::command_line::CommandLine;
use crate::error::Result;
use crate::{cpu, interrupts, memory, paging, serial, time, watchdog};

/// Takes the machine from its entry to one with a heap, interrupts, a clock and a watchdog, and
/// returns the command line that it was started with.
///
/// # Errors
///
/// [`Error`](crate::Error): the machine or its command line cannot be used. Failures can be
/// reported by then.
///
/// # Safety
///
/// Must be called once, by the entry, on the one CPU that runs, with interrupts off, the first 4
/// GiB mapped at their physical addresses, `.bss` zeroed, and the physical address of the loader's
/// start info.
pub unsafe fn bring_up(start_info: u32) -> Result<CommandLine> {
    serial::init();
    // SAFETY: called once, and interrupts are off, as the caller says.
    unsafe { interrupts::init_gates() };
    // SAFETY: called once, on the entry's page tables, with the loader's own address, as the caller
    // says.
    let command_line = CommandLine::new(unsafe { memory::init(start_info) }?);
    // SAFETY: called once, on the entry's page tables, as the caller says.
    unsafe { paging::protect() };
    interrupts::init_controllers()?;
    time::init()?;
    let patience = command_line.number("watchdog")?;
    watchdog::start(patience.unwrap_or(watchdog::DEFAULT_SECONDS))?;
    cpu::enable_interrupts();
    Ok(command_line)
}
