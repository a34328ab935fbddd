//! How long notifications wait, as a driver says. Spec: VIRTIO 1.4 §5.1.9.5.10 "Notifications
//! Coalescing".

use alloc::vec::Vec;

use ringway_spec::le::U16;
use ringway_spec::net::{Coalescing, Control, F, QueueCoalescing};
use zerocopy::IntoBytes;

use super::{Answer, Commands, Data, Refused};
use crate::net::coalesce::Direction;

impl Commands {
    /// Commands for notifications that wait.
    pub(super) fn coalesce(&self, control: Control, data: &mut Data<'_>) -> Answer {
        match control {
            Control::NOTF_COAL_TX_SET => self.coalesce_all(Direction::Transmit, data),
            Control::NOTF_COAL_RX_SET => self.coalesce_all(Direction::Receive, data),
            Control::NOTF_COAL_VQ_SET => {
                self.needs(F::VQ_NOTF_COAL)?;
                // What is reserved in it is not looked at (§5.1.9.5.10.6).
                let wanted: QueueCoalescing = data.value()?;
                data.end()?;
                let index = wanted.vq_index.get();
                if !self.shared.waits.set(index, wanted.coal) {
                    return Err(Refused);
                }
                self.shared.due_queue(index);
                Ok(Vec::new())
            }
            Control::NOTF_COAL_VQ_GET => {
                self.needs(F::VQ_NOTF_COAL)?;
                let [index, _reserved]: [U16; 2] = data.value()?;
                data.end()?;
                let wait = self.shared.waits.of(index.get()).ok_or(Refused)?;
                Ok(wait.as_bytes().to_vec())
            }
            _ => Err(Refused),
        }
    }

    fn coalesce_all(&self, direction: Direction, data: &mut Data<'_>) -> Answer {
        self.needs(F::NOTF_COAL)?;
        let wait: Coalescing = data.value()?;
        data.end()?;
        self.shared.waits.set_all(direction, wait);
        // What waits may have waited long enough now (§5.1.9.5.10.4).
        for index in 0..self.pairs.saturating_mul(2) {
            if Direction::of(index) == direction {
                self.shared.due_queue(index);
            }
        }
        Ok(Vec::new())
    }
}
