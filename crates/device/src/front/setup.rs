//! One queue as the driver sets it up: by its three areas, or, through the legacy interface, by the
//! number of its first page.
//!
//! Spec: VIRTIO 1.4 §2.7.2 "Legacy Interfaces: A Note on Virtqueue Layout".

use ringway_ring::driver::Areas;
use ringway_spec::{pci::legacy, split};

use super::register::{Area, Half};

/// One queue as the driver sets it up.
pub(super) struct Setup {
    pub(super) max: u16,
    /// 0 if the driver asked for a size that cannot be.
    pub(super) size: u16,
    pub(super) enabled: bool,
    /// A reset of the queue alone waits for its task to stop. Nothing of it is written meanwhile.
    pub(super) resetting: bool,
    /// It was reset alone: it may be set up although the driver is ready (§2.6.1.2).
    pub(super) was_reset: bool,
    /// It was handed to the runner.
    pub(super) served: bool,
    /// Another one was served with these areas: where it stood is written there.
    pub(super) goes_on: bool,
    pub(super) areas: Areas,
    /// What the device area of a legacy queue is aligned to; 0 if the driver asked for what cannot
    /// be.
    align: u32,
    /// The page that a legacy queue starts at, as the driver wrote it; 0 for none.
    pub(super) page: u32,
}

impl Setup {
    pub(super) fn new(max: u16) -> Self {
        let possible = max.is_power_of_two() && max <= split::MAX_SIZE;
        let max = if possible { max } else { 0 };
        Self {
            max,
            size: max,
            enabled: false,
            resetting: false,
            was_reset: false,
            served: false,
            goes_on: false,
            areas: Areas::default(),
            // What PCI has, and what a driver finds that says nothing.
            align: legacy::QUEUE_ALIGN,
            page: 0,
        }
    }

    /// A size that cannot be is no size: the queue cannot be enabled with it, and it reads as 0. A
    /// packed queue may have any (§2.8).
    pub(super) fn resize(&mut self, size: u32, packed: bool) {
        self.size = u16::try_from(size)
            .ok()
            .filter(|size| (packed || size.is_power_of_two()) && *size <= self.max)
            .unwrap_or(0);
    }

    pub(super) fn half(&self, area: Area, half: Half) -> u32 {
        let address = match area {
            Area::Descriptor => self.areas.descriptor,
            Area::Driver => self.areas.driver,
            Area::Device => self.areas.device,
        };
        match half {
            Half::Low => address as u32,
            Half::High => (address >> 32) as u32,
        }
    }

    pub(super) fn set_half(&mut self, area: Area, half: Half, value: u32) {
        let address = match area {
            Area::Descriptor => &mut self.areas.descriptor,
            Area::Driver => &mut self.areas.driver,
            Area::Device => &mut self.areas.device,
        };
        *address = match half {
            Half::Low => *address >> 32 << 32 | u64::from(value),
            Half::High => u64::from(*address as u32) | u64::from(value) << 32,
        };
    }

    /// What cannot be an alignment is none: the queue cannot be set up with it.
    pub(super) fn align_to(&mut self, align: u32) {
        self.align = if align.is_power_of_two() { align } else { 0 };
    }

    /// Has a legacy queue start at page `page`, of so many bytes.
    ///
    /// # Errors
    ///
    /// The address at which none can be, with the size and the alignment that it has.
    pub(super) fn start_at(&mut self, page: u32, page_size: u32) -> Result<(), u64> {
        // Less than 2⁶⁴: each has 32 bits.
        let address = u64::from(page).wrapping_mul(page_size.into());
        let areas = Some(address).filter(|_| page_size != 0);
        let areas = areas.and_then(|address| legacy_areas(address, self.size, self.align));
        self.areas = areas.ok_or(address)?;
        self.page = page;
        self.enabled = true;
        Ok(())
    }
}

/// Where the areas of a legacy queue are that begins at `address`. None if that cannot be.
fn legacy_areas(address: u64, size: u16, align: u32) -> Option<Areas> {
    let driver = address.checked_add(split::descriptor_bytes(size) as u64)?;
    let end = driver.checked_add(split::available_bytes(size) as u64)?;
    Some(Areas {
        descriptor: address,
        driver,
        // None for an alignment of 0.
        device: end.checked_next_multiple_of(align.into())?,
    })
    .filter(|_| size != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_ring::driver::Geometry;

    #[test]
    fn a_legacy_queue_lies_where_a_driver_lays_it_out() {
        for (size, align) in [(8, 4096), (128, 64), (256, 4096), (32768, 1 << 16)] {
            let mut setup = Setup::new(size);
            setup.align_to(align);

            setup.start_at(0x12340, 4096).unwrap();

            let geometry = Geometry::legacy(size, 0, align as usize).unwrap();
            assert_eq!(setup.areas, geometry.areas(0x12340 << 12));
        }
    }

    #[test]
    fn a_page_that_is_the_last_there_can_be_is_an_address_and_one_that_ends_beyond_is_none() {
        let mut setup = Setup::new(8);

        assert_eq!(setup.start_at(u32::MAX, 4096), Ok(()));
        assert_eq!(setup.areas.descriptor, 0x0fff_ffff_f000);
        assert_eq!(setup.start_at(1, 0), Err(0));
        assert_eq!(legacy_areas(u64::MAX - 15, 8, 4096), None);
        assert_eq!(legacy_areas(u64::MAX - 4000, 8, 4096), None);
        setup.align_to(3);
        assert!(setup.start_at(1, 4096).is_err());
    }
}
