//! The PC's interval timer, channel 0. It counts at a known rate, so the clock is calibrated
//! against it; then it keeps the watchdog awake.

#![expect(unsafe_code, reason = "port I/O")]

use crate::cpu;

/// Counts in one second.
pub(crate) const RATE: u64 = 1_193_182;

/// Counts in one period of [`repeat`].
pub(crate) const PERIOD: u64 = 1 << 16;

/// The interrupt line it pulls once in each period.
pub(crate) const GSI: u32 = 2;

const CHANNEL: u16 = 0x40;
const COMMAND: u16 = 0x43;

const ONCE: u8 = 0x30;
const REPEAT: u8 = 0x34;
const READ_BACK: u8 = 0xc2;

/// In the status that is read back: the count has reached zero.
const EXPIRED: u8 = 1 << 7;

/// Counts 65535 down, once.
pub(crate) fn count_down() {
    start(ONCE, 0xffff);
}

/// Counts 65536 down, over and over.
pub(crate) fn repeat() {
    start(REPEAT, 0);
}

/// How far [`count_down`] has come. `None` if it is over, or there is no timer.
pub(crate) fn counted() -> Option<u16> {
    // SAFETY: the timer does not touch memory.
    let [status, low, high] = unsafe {
        cpu::out8(COMMAND, READ_BACK);
        [cpu::in8(CHANNEL), cpu::in8(CHANNEL), cpu::in8(CHANNEL)]
    };
    (status & EXPIRED == 0).then(|| 0xffff - u16::from_le_bytes([low, high]))
}

fn start(mode: u8, count: u16) {
    let [low, high] = count.to_le_bytes();
    // SAFETY: the timer does not touch memory.
    unsafe {
        cpu::out8(COMMAND, mode);
        cpu::out8(CHANNEL, low);
        cpu::out8(CHANNEL, high);
    }
}
