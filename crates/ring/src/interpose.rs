//! Where a test's peer acts between any two loads of this end, and where this end is killed between
//! any two stores. Built with `--cfg ringway_interpose` only; it costs nothing otherwise.

extern crate std;

use self::std::boxed::Box;
use core::cell::Cell;

/// What acts. It is told the place of the load, as an address of this process.
pub type Hook = Box<dyn FnMut(usize)>;

std::thread_local! {
    static HOOK: Cell<Option<Hook>> = const { Cell::new(None) };
    static STORES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
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

/// Lets this thread make `count` more stores of words to shared memory, and no more: as if it was
/// killed then, whatever it does after. Those of copies do not count. Says how many were left.
pub fn kill_after(count: u64) -> u64 {
    STORES_LEFT.replace(count)
}

pub(crate) fn may_store() -> bool {
    let left = STORES_LEFT.get();
    STORES_LEFT.set(left.saturating_sub(1));
    left != 0
}
