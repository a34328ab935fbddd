//! Where the log has what the driver's addresses name.

use super::{Iotlb, Run, last};
use crate::ledger::Translate;
use crate::memory::Table;

/// Where the log of dirty pages has what the driver's descriptors name: at the addresses that memory
/// has for the driver without an IOMMU.
#[derive(Debug)]
pub struct GuestAddresses {
    /// First and last address that the driver uses, and the address in the log.
    runs: Vec<(u64, u64, u64)>,
}

impl GuestAddresses {
    /// As the translations are now.
    pub fn new(iotlb: &Iotlb, table: &Table) -> Self {
        let runs = iotlb.entries.iter().filter_map(|(&address, entry)| {
            let Run {
                size, user_address, ..
            } = Run::of(address, entry);
            let guest_address = table.guest_address(user_address, size)?;
            Some((address, entry.last, guest_address))
        });
        Self {
            runs: runs.collect(),
        }
    }
}

impl Translate for GuestAddresses {
    fn runs(&self, address: u64, len: u64, each: &mut dyn FnMut(u64, u64)) {
        let Ok(end) = last(address, len) else {
            return;
        };
        let after = self.runs.partition_point(|(_, last, _)| *last < address);
        for &(first, last, guest_address) in self.runs.iter().skip(after) {
            if first > end {
                return;
            }
            let (from, to) = (first.max(address), last.min(end));
            // Within a region, which does not pass the last address.
            each(guest_address + (from - first), to - from + 1);
        }
    }
}
