//! RAM: what drivers get their memory for devices from, and what devices reach.

use std::sync::Arc;

use ringway_driver::pages::Pages;
use ringway_ring::driver::Memory;
use ringway_ring::map::Region;
use ringway_ring::shared::Shared;

use crate::layout::{PAGE, RAM_BASE, RAM_MAX};

/// `bytes` of it, rounded up to whole pages. `None` if the host has no room, or there would be none
/// or too much.
pub(crate) fn new(bytes: usize) -> Option<Arc<Pages>> {
    let bytes = bytes.checked_next_multiple_of(PAGE as usize)?;
    if bytes > RAM_MAX {
        return None;
    }
    Pages::new(Memory {
        shared: Shared::allocate(bytes, PAGE as usize)?,
        address: RAM_BASE,
    })
}

/// All of it, at its device addresses.
pub(crate) fn region(ram: &Pages) -> Region {
    let Memory { shared, address } = ram.memory();
    Region {
        start: *address,
        memory: shared.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_machine_without_ram_or_with_too_much() {
        for bytes in [0, RAM_MAX + 1, usize::MAX] {
            assert!(new(bytes).is_none());
        }
    }
}
