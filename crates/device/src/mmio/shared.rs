//! The shared memory of a window: where its regions are, and what the registers say of the selected
//! one.
//!
//! Spec: VIRTIO 1.4 §2.10 "Shared Memory Regions".

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use ringway_spec::mmio::register;

use crate::model::SharedRegion;

/// Regions start where a page could.
const PAGE: u64 = 0x1000;

/// A device's regions, one after the other.
pub(super) struct Regions {
    base: u64,
    /// Each with its offset from the base.
    regions: Vec<(u64, SharedRegion)>,
    /// The id that the driver selected.
    selected: AtomicU32,
}

impl Regions {
    /// Places them from address `base` on.
    pub(super) fn at(base: u64, regions: &[SharedRegion]) -> Self {
        let mut end = 0_u64;
        let placed = regions.iter().map(|region| {
            let offset = end;
            end = end
                .saturating_add(region.memory.len() as u64)
                .next_multiple_of(PAGE);
            (offset, region.clone())
        });
        Self {
            regions: placed.collect(),
            base,
            selected: AtomicU32::new(0),
        }
    }

    pub(super) fn select(&self, id: u32) {
        self.selected.store(id, Ordering::SeqCst);
    }

    /// What a register says of the selected region; all ones if there is no such region.
    pub(super) fn register(&self, offset: usize) -> u32 {
        let id = self.selected.load(Ordering::SeqCst);
        let found = self
            .regions
            .iter()
            .find(|(_, region)| u32::from(region.id) == id);
        let (base, len) = found.map_or((u64::MAX, u64::MAX), |(offset, region)| {
            let base = self.base.saturating_add(*offset);
            (base, region.memory.len() as u64)
        });
        match offset {
            register::SHM_LEN_LOW => len as u32,
            register::SHM_LEN_HIGH => (len >> 32) as u32,
            register::SHM_BASE_LOW => base as u32,
            _ => (base >> 32) as u32,
        }
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> u64 {
        self.regions.last().map_or(0, |(offset, region)| {
            offset.saturating_add(region.memory.len() as u64)
        })
    }

    /// The region that has the byte at `offset`, and where in it.
    pub(super) fn find(&self, offset: u64) -> Option<(&SharedRegion, usize)> {
        self.regions.iter().find_map(|(start, region)| {
            let within = usize::try_from(offset.checked_sub(*start)?).ok()?;
            (within < region.memory.len()).then_some((region, within))
        })
    }
}
