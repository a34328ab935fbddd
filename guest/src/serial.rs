//! Lines of JSON on the first serial port: a 16550 at 0x3f8, polled.
//!
//! A line is sent whole, with interrupts off, so that lines never mix. Reports of failure go around
//! the lock: whoever held it will not run again.

#![expect(unsafe_code, reason = "port I/O")]

use alloc::string::String;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::cpu;
use crate::json::Object;
use crate::lock::Lock;

const DATA: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = DATA + 1;
const FIFO_CONTROL: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const MODEM_CONTROL: u16 = DATA + 4;
const LINE_STATUS: u16 = DATA + 5;

/// The transmit FIFO has room for [`FIFO_SIZE`] bytes.
const STATUS_EMPTY: u8 = 1 << 5;
/// The last byte has left.
const STATUS_DRAINED: u8 = 1 << 6;

const FIFO_SIZE: u32 = 16;

/// Most looks at the line status in the course of failing: some seconds. The reader at the other
/// end may be slow, but the image must come to its end without it too. Until then it is waited for,
/// under the watchdog's eyes.
const LAST_LOOKS: u64 = 1 << 24;

static PORT: Lock<Port> = Lock::new(Port::new(u64::MAX));

/// Whether a line has been begun and not ended.
static MID_LINE: AtomicBool = AtomicBool::new(false);

/// The port, as one of its users sees it.
struct Port {
    /// How many bytes the FIFO can certainly take.
    room: u32,
    /// How many more looks at the line status there may be.
    looks: u64,
}

/// Sets the port up: 8 bits, no parity, one stop bit, FIFO on, no interrupts.
pub(crate) fn init() {
    for (port, value) in [
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x80), // the divisor is at DATA now
        (DATA, 1),            // 115200 baud
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x03),
        (FIFO_CONTROL, 0x07),
        (MODEM_CONTROL, 0x0b),
    ] {
        // SAFETY: the 16550 at these ports has no access to memory.
        unsafe { cpu::out8(port, value) };
    }
}

/// Sends `json`, one JSON value, as one line.
///
/// A line break or another control character can stand in JSON only between its tokens, and is sent
/// as a blank.
pub fn line(json: &str) {
    let mut port = PORT.lock();
    port.send(json);
    port.end_line();
}

/// An event on its way to [`print`].
pub fn event(event: &str) -> Object<String> {
    Object::event(String::new(), event)
}

/// Ends `event` and sends it as one line.
pub fn print(event: Object<String>) {
    // A `String` takes whatever is written to it.
    line(&event.end().unwrap_or_default());
}

/// Sends one line in the course of failing: whatever the state of the machine, with no lock and no
/// memory of its own.
pub(crate) fn emergency(write: impl FnOnce(&mut dyn fmt::Write)) {
    let mut port = Port::new(LAST_LOOKS);
    if MID_LINE.load(Relaxed) {
        port.end_line();
    }
    write(&mut port);
    port.end_line();
}

/// Returns once everything sent has left the port, or after a few seconds.
pub(crate) fn drain() {
    Port::new(LAST_LOOKS).wait_for(STATUS_DRAINED);
}

/// Makes the port raise its interrupt line (4) whenever its FIFO is empty, or not.
pub fn interrupt_when_empty(on: bool) {
    // SAFETY: the 16550 at this port has no access to memory.
    unsafe { cpu::out8(INTERRUPT_ENABLE, u8::from(on) << 1) };
}

impl Port {
    const fn new(looks: u64) -> Self {
        Self { room: 0, looks }
    }

    fn send(&mut self, text: &str) {
        MID_LINE.store(true, Relaxed);
        for byte in text.bytes() {
            self.send_byte(if byte < b' ' { b' ' } else { byte });
        }
    }

    fn end_line(&mut self) {
        self.send_byte(b'\n');
        MID_LINE.store(false, Relaxed);
    }

    fn send_byte(&mut self, byte: u8) {
        if self.room == 0 {
            self.wait_for(STATUS_EMPTY);
            self.room = FIFO_SIZE;
        }
        self.room -= 1;
        // SAFETY: the 16550 at this port has no access to memory.
        unsafe { cpu::out8(DATA, byte) };
    }

    fn wait_for(&mut self, status: u8) {
        // SAFETY: the 16550 at this port has no access to memory; reading its line status clears
        // error bits alone.
        while self.looks > 0 && unsafe { cpu::in8(LINE_STATUS) } & status == 0 {
            self.looks -= 1;
        }
    }
}

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text);
        Ok(())
    }
}
