//! The interrupt controllers of a PC: the local APIC of the one CPU, and the I/O APIC whose lines
//! devices pull. The legacy pair is silenced.

use core::ptr::without_provenance_mut;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{SPURIOUS, TICK, VECTORS, without};
use crate::cpu;
use crate::error::{Error, Result};

/// How a line asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By going high (ISA devices, timers).
    Edge,
    /// By staying high until served (virtio-mmio on QEMU's microvm).
    LevelHigh,
    /// By staying low until served (PCI's `INTx`).
    LevelLow,
}

/// Registers of the local APIC, as offsets.
const ID: u64 = 0x020;
const TASK_PRIORITY: u64 = 0x080;
const END_OF_INTERRUPT: u64 = 0x0b0;
const SPURIOUS_VECTOR: u64 = 0x0f0;
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const TIMER: u64 = 0x320;
const PINS: [u64; 2] = [0x350, 0x360];
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;

const SOFTWARE_ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const TIMER_PERIODIC: u32 = 1 << 17;
const DIVIDE_BY_16: u32 = 0b0011;

/// The MSR with the address of the local APIC's registers and its mode.
const APIC_BASE: u32 = 0x1b;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The I/O APIC: a register is selected at its base, and accessed at `IO_WINDOW`.
const IO_APIC: u64 = 0xfec0_0000;
const IO_WINDOW: u64 = 0x10;
const IO_VERSION: u32 = 1;
const IO_ENTRIES: u32 = 0x10;

const IO_NMI: u32 = 4 << 8;
const IO_ACTIVE_LOW: u32 = 1 << 13;
const IO_LEVEL: u32 = 1 << 15;

/// Where devices write their messages; the CPU's number goes into bits 12 to 19.
const MESSAGES: u64 = 0xfee0_0000;

/// Ports and initialisation of the legacy pair. Its vectors are moved out of the exceptions' way,
/// then masked.
const LEGACY: [(u16, u8); 10] = [
    (0x20, 0x11),
    (0xa0, 0x11),
    (0x21, 0x20),
    (0xa1, 0x28),
    (0x21, 0x04),
    (0xa1, 0x02),
    (0x21, 0x01),
    (0xa1, 0x01),
    (0x21, 0xff),
    (0xa1, 0xff),
];

/// Where the local APIC's registers are. 0 before [`init`].
static LOCAL: AtomicU64 = AtomicU64::new(0);

/// Silences the legacy controllers, turns the local APIC on, and masks every line of the I/O APIC.
///
/// # Errors
///
/// [`Error::NoApic`].
pub(crate) fn init() -> Result<()> {
    for (port, value) in LEGACY {
        // SAFETY: the legacy controllers do not touch memory.
        unsafe { cpu::out8(port, value) };
    }

    // SAFETY: every 64-bit CPU has the register.
    let base = unsafe { cpu::read_msr(APIC_BASE) };
    let registers = base & BASE_ADDRESS;
    if registers >> 32 != 0 || registers < IO_APIC {
        return Err(Error::NoApic);
    }
    if base & BASE_X2APIC != 0 {
        // The way from x2APIC mode to the registers in memory leads through off.
        // SAFETY: as below; a local APIC that is off raises nothing.
        unsafe { cpu::write_msr(APIC_BASE, registers) };
    }
    // SAFETY: turns the local APIC on at the address it has, which is no RAM: see the check above.
    unsafe { cpu::write_msr(APIC_BASE, registers | BASE_ENABLE) };
    LOCAL.store(registers, Relaxed);

    write(TASK_PRIORITY, 0);
    write(TIMER, MASKED);
    for pin in PINS {
        write(pin, MASKED);
    }
    write(SPURIOUS_VECTOR, SOFTWARE_ENABLE | u32::from(SPURIOUS));
    (0..lines()).for_each(|gsi| set_entry(gsi, MASKED));
    Ok(())
}

/// Makes interrupt line `gsi` raise `vector`.
///
/// # Errors
///
/// [`Error::BadVector`]: not one of [`VECTORS`]. [`Error::NoLine`]: there is no such line.
pub fn route_gsi(gsi: u32, vector: u8, trigger: Trigger) -> Result<()> {
    if !VECTORS.contains(&vector) {
        return Err(Error::BadVector { vector });
    }
    let mode = match trigger {
        Trigger::Edge => 0,
        Trigger::LevelHigh => IO_LEVEL,
        Trigger::LevelLow => IO_LEVEL | IO_ACTIVE_LOW,
    };
    route(gsi, mode | u32::from(vector))
}

/// Makes interrupt line `gsi` raise nothing.
///
/// # Errors
///
/// [`Error::NoLine`]: there is no such line.
pub fn mask_gsi(gsi: u32) -> Result<()> {
    route(gsi, MASKED)
}

/// The address and the data that a device writes to raise `vector`.
pub fn message(vector: u8) -> (u64, u32) {
    (MESSAGES | u64::from(cpu_id()) << 12, vector.into())
}

/// Raises `vector`.
pub fn send_to_self(vector: u8) {
    without(|| {
        write(COMMAND_HIGH, cpu_id() << 24);
        write(COMMAND_LOW, vector.into());
    });
}

/// Makes interrupt line `gsi` raise the interrupt that cannot be turned off.
///
/// # Errors
///
/// [`Error::NoLine`]: there is no such line.
pub(crate) fn route_to_watchdog(gsi: u32) -> Result<()> {
    route(gsi, IO_NMI)
}

/// Starts the timer from `count`, which it counts down at its own rate: again and again, raising
/// [`TICK`] each time, or once and silently.
pub(crate) fn start_tick(count: u32, repeat: bool) {
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(
        TIMER,
        if repeat {
            TIMER_PERIODIC | u32::from(TICK)
        } else {
            MASKED
        },
    );
    write(TIMER_INITIAL, count);
}

/// What is left of the timer's count.
pub(crate) fn tick_count() -> u32 {
    read(TIMER_CURRENT)
}

/// Tells the local APIC that the interrupt has been handled.
pub(super) fn acknowledge() {
    write(END_OF_INTERRUPT, 0);
}

fn cpu_id() -> u32 {
    read(ID) >> 24
}

fn route(gsi: u32, entry: u32) -> Result<()> {
    let lines = lines();
    if gsi >= lines {
        return Err(Error::NoLine { gsi, lines });
    }
    set_entry(gsi, entry);
    Ok(())
}

/// How many lines the I/O APIC has.
fn lines() -> u32 {
    (io_read(IO_VERSION) >> 16 & 0xff) + 1
}

fn set_entry(gsi: u32, entry: u32) {
    let register = IO_ENTRIES + 2 * gsi;
    without(|| {
        // Masked while its two halves do not belong together.
        io_write(register, MASKED);
        io_write(register + 1, cpu_id() << 24);
        io_write(register, entry);
    });
}

fn io_read(register: u32) -> u32 {
    without(|| {
        poke(IO_APIC, register);
        peek(IO_APIC + IO_WINDOW)
    })
}

fn io_write(register: u32, value: u32) {
    without(|| {
        poke(IO_APIC, register);
        poke(IO_APIC + IO_WINDOW, value);
    });
}

fn read(register: u64) -> u32 {
    peek(LOCAL.load(Relaxed) + register)
}

fn write(register: u64, value: u32) {
    poke(LOCAL.load(Relaxed) + register, value);
}

fn peek(register: u64) -> u32 {
    // SAFETY: a register of the local APIC or the I/O APIC: mapped, aligned, no memory of Rust's.
    // Before `init` has set `LOCAL` nothing here is called; see `bring_up`.
    unsafe { without_provenance_mut::<u32>(register as usize).read_volatile() }
}

fn poke(register: u64, value: u32) {
    // SAFETY: as in `peek`. What the controllers raise arrives at a gate that restores all it
    // changes.
    unsafe { without_provenance_mut::<u32>(register as usize).write_volatile(value) };
}
