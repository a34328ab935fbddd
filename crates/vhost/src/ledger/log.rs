//! Which pages were written: a bit for each page of the driver's memory.

use std::sync::{Arc, Mutex};

use ringway_ring::shared::Bits;

use crate::eventfd::EventFd;
use crate::sync::lock;

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
        *lock(&self.0) = log;
    }

    /// Does `what`, if it is noted.
    pub(super) fn noting(&self, what: impl FnOnce(&RingLog)) {
        let log = lock(&self.0);
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

#[cfg(test)]
mod tests {
    use ringway_ring::ledger::Ledger;
    use ringway_ring::shared::Shared;

    use super::*;
    use crate::ledger::RingLedger;

    /// 32 pages, and a ring in the first of them.
    fn log(bytes: &Shared) -> RingLog {
        RingLog {
            log: Arc::new(Log::new(Bits::new(bytes.clone()))),
            areas: vec![(0x10, 0x20)],
            translate: None,
            signal: None,
        }
    }

    fn marked(bytes: &Shared) -> u32 {
        let word = bytes.view().read_value(0).unwrap();
        bytes.view().fill(0);
        u32::from_le_bytes(word)
    }

    #[test]
    fn each_page_of_what_was_written_is_marked_and_what_is_beyond_the_log_nowhere() {
        let bytes = Shared::allocate(4, 4).unwrap();
        let log = log(&bytes);
        for (address, len, pages) in [
            (0x1000, 1, 0b10),
            (0x1fff, 2, 0b110),
            (0x1fff, 1, 0b10),
            (0x1000, 0, 0),
            (0x1f000, u64::MAX, 1 << 31),
            (0x20000, 0x1000, 0),
            (u64::MAX, 1, 0),
        ] {
            log.wrote(address, len);

            assert_eq!(marked(&bytes), pages, "{address:#x}");
        }
    }

    #[test]
    fn a_ring_notes_what_it_writes_from_when_it_is_told_to_until_it_is_told_not_to() {
        let bytes = Shared::allocate(4, 4).unwrap();
        let switch = Arc::new(LogSwitch::default());
        let mut ledger = RingLedger {
            record: None,
            log: switch.clone(),
        };
        let mut write = || {
            ledger.completed(0, &mut [(0x1000, 8), (0x3ffc, 8)].into_iter());
            ledger.published();
            marked(&bytes)
        };

        let before = write();
        switch.set(Some(log(&bytes)));
        let meanwhile = write();
        switch.set(None);

        assert_eq!([before, meanwhile, write()], [0, 0b11011, 0]);
    }

    #[test]
    fn who_wants_to_know_is_told_of_what_was_written_and_of_nothing_else() {
        let bytes = Shared::allocate(4, 4).unwrap();
        let signal = Arc::new(EventFd::new().unwrap());
        let mut log = RingLog {
            signal: Some(signal.clone()),
            ..log(&bytes)
        };

        log.wished();
        let wished = signal.take();
        log.areas.clear();
        log.wished();
        let unlogged = signal.take();
        log.published();

        assert_eq!((wished, unlogged), (Ok(true), Ok(false)));
        assert_eq!(signal.take(), Ok(true));
    }
}
