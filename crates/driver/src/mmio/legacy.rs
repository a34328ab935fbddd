//! The registers that version 1 has in place of those of version 2.
//!
//! A queue is told by the number of its first page, in 32 bits, of pages whose size the driver
//! says. That the number is not 0 enables it.
//!
//! Spec: VIRTIO 1.4 §4.2.4 "Legacy interface".

use ringway_ring::barrier;
use ringway_spec::Features;
use ringway_spec::mmio::{legacy_register, register};

use crate::dialect::{Dialect, LegacyRings, RingSize};
use crate::error::TransportError;
use crate::platform::Registers;
use crate::transport::{QueueSetup, Result};

/// Bytes of a page, by whose number a queue is told. Also what its device area is aligned to.
const PAGE: u32 = 4096;

/// The registers of a device of version 1.
#[derive(Debug)]
pub(super) struct Legacy<'d, R>(pub(super) &'d R);

impl<R: Registers> Legacy<'_, R> {
    /// What the queues of such a device have to be like.
    pub(super) const DIALECT: Dialect = Dialect::Legacy(LegacyRings {
        align: PAGE as usize,
        size: RingSize::Chosen,
        last: ((1 << 32) * PAGE as u64) - 1,
    });

    pub(super) fn device_features(&self) -> Result<Features> {
        self.0.write32(register::DEVICE_FEATURES_SEL, 0)?;
        let word = self.0.read32(register::DEVICE_FEATURES)?;
        Ok(Features::NONE.with_word(0, word))
    }

    pub(super) fn set_driver_features(&self, features: Features) -> Result<()> {
        // Here, since it is to be said before any queue is set up, and after the reset, which may
        // have the device forget it.
        self.0.write32(legacy_register::GUEST_PAGE_SIZE, PAGE)?;
        self.0.write32(register::DRIVER_FEATURES_SEL, 0)?;
        self.0.write32(register::DRIVER_FEATURES, features.word(0))
    }

    pub(super) fn enable_selected(&self, setup: &QueueSetup) -> Result<()> {
        let address = setup.areas.descriptor;
        let page = u32::try_from(address / u64::from(PAGE))
            .ok()
            .filter(|page| *page != 0 && address.is_multiple_of(PAGE.into()))
            .ok_or(TransportError::NoPage(address))?;
        self.0.write32(register::QUEUE_SIZE, setup.size.into())?;
        self.0.write32(legacy_register::QUEUE_ALIGN, PAGE)?;
        // The ring as it was cleared, before the register that has the device look at it.
        barrier::doorbell();
        self.0.write32(legacy_register::QUEUE_PFN, page)
    }
}
