//! Where a test's peer acts between any two loads of this end. Built with
//! `--cfg ringway_interpose` only; it costs nothing otherwise.

extern crate std;

use self::std::boxed::Box;
use core::cell::Cell;

std::thread_local! {
    static HOOK: Cell<Option<Box<dyn FnMut()>>> = const { Cell::new(None) };
}

/// Has `hook` called before every load that this thread makes of shared memory, be it a word or a
/// piece of a copy; not before those that the hook makes itself. `None` ends that.
pub fn set(hook: Option<Box<dyn FnMut()>>) {
    HOOK.set(hook);
}

pub(crate) fn before_load() {
    if let Some(mut hook) = HOOK.take() {
        hook();
        HOOK.set(Some(hook));
    }
}
