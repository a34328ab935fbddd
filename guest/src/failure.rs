//! Every way to fail ends here: one line that says what and why, then the failure exit.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::exit::{Outcome, exit};
use crate::json::Object;
use crate::{cpu, serial};

static FAILING: AtomicBool = AtomicBool::new(false);

/// Prints `{"event":"failed","what":…,"detail":…}` and ends the machine. A failure of this very
/// report ends it too.
///
/// `what` is `panic`, `exception`, `hang`, or `setup` for a machine or a command line that cannot
/// be used.
pub fn fail(what: &str, detail: fmt::Arguments<'_>) -> ! {
    cpu::disable_interrupts();
    if !FAILING.swap(true, Relaxed) {
        serial::emergency(|port| {
            let report = Object::event(port, "failed")
                .text("what", what)
                .text("detail", detail);
            // The port takes everything; should a `Display` inside `detail` refuse, the line stays
            // cut short.
            let _ = report.end();
        });
    }
    exit(Outcome::Failure)
}

/// Reads where nothing is mapped, to show what becomes of an exception. Does not return.
pub fn provoke_exception() {
    cpu::read_null();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(location) => fail("panic", format_args!("{} ({location})", info.message())),
        None => fail("panic", format_args!("{}", info.message())),
    }
}
