//! Which pages were written: a bit for each page of the driver's memory.

use std::sync::{Arc, Mutex, PoisonError};

use ringway_ring::shared::Bits;

use crate::eventfd::EventFd;

/// Bytes of a page, as the log counts them.
const PAGE: u64 = 4096;

/// The log of one connection: from the driver's address 0 on.
#[derive(Debug)]
pub struct Log {
    bits: Bits,
}

impl Log {
    /// A log in `bits`.
    pub fn new(bits: Bits) -> Self {
        Self { bits }
    }

    /// Notes that the `len` bytes at the driver's address `address` were written. What lies beyond the
    /// log is noted nowhere.
    pub fn wrote(&self, address: u64, len: u64) {
        if len == 0 {
            return;
        }
        let last = address.saturating_add(len - 1) / PAGE;
        // The log bounds it, however long a run is.
        for page in address / PAGE..=last {
            if !self.bits.set(page) {
                return;
            }
        }
    }
}

/// How what one ring's device writes is noted.
#[derive(Clone, Debug)]
pub struct RingLog {
    /// The log.
    pub log: Arc<Log>,
    /// What the device writes of the ring itself: driver's addresses and lengths. None if it is not to
    /// be noted.
    pub areas: Vec<(u64, u64)>,
    /// Where what the driver's descriptors name is in the log, if there is an IOMMU between.
    pub translate: Option<Arc<dyn Translate>>,
    /// Signalled when the log was written to, if somebody wants that.
    pub signal: Option<Arc<EventFd>>,
}

/// Whether what one ring's device writes is noted, and how. That changes while the ring is served.
#[derive(Debug, Default)]
pub struct LogSwitch(Mutex<Option<RingLog>>);

impl LogSwitch {
    /// Has it noted so from here on, or not at all. What is written after this returns is.
    pub fn set(&self, log: Option<RingLog>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    /// Does `what`, if it is noted.
    pub(super) fn noting(&self, what: impl FnOnce(&RingLog)) {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &*log {
            what(log);
        }
    }
}

/// Says where the log has what the driver's descriptors name.
pub trait Translate: Send + Sync + core::fmt::Debug {
    /// Calls `each` with the address and the length of each run that the log has of the `len` bytes
    /// at `address`.
    fn runs(&self, address: u64, len: u64, each: &mut dyn FnMut(u64, u64));
}

impl RingLog {
    /// Notes that the device wrote the `len` bytes that the driver calls `address`.
    pub fn wrote(&self, address: u64, len: u64) {
        match &self.translate {
            None => self.log.wrote(address, len),
            Some(translate) => {
                translate.runs(address, len, &mut |address, len| {
                    self.log.wrote(address, len);
                });
            }
        }
    }

    /// Notes that the driver sees chains that came back: the device wrote its part of the ring, and
    /// perhaps what they name.
    pub fn published(&self) {
        self.wrote_ring();
        if let Some(signal) = &self.signal {
            signal.signal();
        }
    }

    /// Notes that the device wrote of what it wants to be told, to its part of the ring.
    pub fn wished(&self) {
        self.wrote_ring();
        if let Some(signal) = self.signal.as_ref().filter(|_| !self.areas.is_empty()) {
            signal.signal();
        }
    }

    fn wrote_ring(&self) {
        for &(address, len) in &self.areas {
            self.log.wrote(address, len);
        }
    }
}
