//! Where a test's peer acts between any two loads of this end. Built with
//! `--cfg ringway_interpose` only; it costs nothing otherwise.

extern crate std;

use self::std::boxed::Box;
use core::cell::Cell;

/// What acts. It is told the place of the load, as an address of this process.
pub type Hook = Box<dyn FnMut(usize)>;

std::thread_local! {
    static HOOK: Cell<Option<Hook>> = const { Cell::new(None) };
}

/// Has `hook` called before every load that this thread makes of shared memory, be it a word or a
/// piece of a copy; not before those that the hook makes itself. `None` ends that.
pub fn set(hook: Option<Hook>) {
    HOOK.set(hook);
}

pub(crate) fn before_load(at: *const u8) {
    if let Some(mut hook) = HOOK.take() {
        hook(at.addr());
        HOOK.set(Some(hook));
    }
}
