//! Rings that log what they write.

use std::sync::Arc;

use ringway_ring::driver::Areas;
use ringway_ring::ledger::Ledger;

use super::DeviceCarrier;
use crate::backend::ring::{Keeps, State};
use crate::backend::{Refusal, Start};
use crate::iotlb::GuestAddresses;
use crate::ledger::{RingLedger, RingLog, Translate};

impl DeviceCarrier {
    /// How a ring logs what it writes, if it does.
    pub(super) fn log_of(
        &self,
        ring: &Start,
        areas: Areas,
        translate: Option<Arc<dyn Translate>>,
    ) -> Option<RingLog> {
        self.records.log(ring, areas, translate)
    }

    /// Where the log has what the driver's addresses name, if that is elsewhere, and something is
    /// logged.
    pub(super) fn translate_for_log(&self) -> Option<Arc<dyn Translate>> {
        let iotlb = self.iotlb.as_ref();
        let iotlb = iotlb.filter(|_| self.records.is_logging())?;
        Some(Arc::new(GuestAddresses::new(iotlb, &self.table)))
    }

    /// Has every ring that runs log what it writes as is said now.
    pub(super) fn log_anew(&mut self) -> Result<(), Refusal> {
        let translate = self.translate_for_log();
        let mut first = Ok(());
        for index in 0..self.rings.len() {
            let Some(ring) = self.rings.get(index) else {
                break;
            };
            let State::Runs(start, areas) = ring.state else {
                continue;
            };
            let keeps = ring.keeps;
            let log = self.log_of(&start, areas, translate.clone());
            let wanted = match (keeps, &log) {
                (Keeps::Record, _) => Keeps::Record,
                (_, Some(_)) => Keeps::Log,
                (_, None) => Keeps::Nothing,
            };
            ring.log.set(log);
            if wanted != keeps {
                // There are at most 256.
                first = first.and(self.keep(index as u8, wanted));
            }
        }
        first
    }

    /// Has a ring that runs write down what is logged, or no longer.
    fn keep(&mut self, index: u8, keeps: Keeps) -> Result<(), Refusal> {
        let kick = self.kick_of(index)?;
        let key = self.key(index);
        let log = self.held(index).map(|held| {
            held.keeps = keeps;
            held.log.clone()
        });
        let Some(handle) = self.handle(index) else {
            return Ok(());
        };
        if let Some(mut task) = handle.stop(key) {
            let log = log.filter(|_| keeps != Keeps::Nothing);
            let ledger = |log| -> Box<dyn Ledger> { Box::new(RingLedger { record: None, log }) };
            task.set_ledger(log.map(ledger));
            handle.start(key, task, kick);
        }
        Ok(())
    }
}
