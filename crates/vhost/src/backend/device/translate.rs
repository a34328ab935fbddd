//! Rings behind an IOMMU, whose translations come and go.

use super::DeviceCarrier;
use crate::backend::ring::State;
use crate::backend::view::View;
use crate::backend::{Carrier, Event, Refusal, Start};
use crate::event_loop::Settled;
use crate::protocol::{Code, Iotlb, IotlbKind};

impl DeviceCarrier {
    /// Learns a translation, or forgets some.
    pub(super) fn learn(&mut self, told: &Iotlb) -> Result<(), Refusal> {
        let Some(iotlb) = &mut self.iotlb else {
            return Err(Refusal::Unsupported(Code::IotlbMsg));
        };
        let done = match told.kind {
            IotlbKind::Update if iotlb.knows(told, &self.table) => Ok(()),
            IotlbKind::Update => {
                // What it takes the place of goes first: what is written there is logged as what it is.
                let is_less = iotlb.make_room(told, &self.table)?;
                let hidden = if is_less { self.hide() } else { Ok(()) };
                hidden.and_then(|()| self.show(told))
            }
            IotlbKind::Invalidate => {
                iotlb.invalidate(told.address, told.size)?;
                self.hide()
            }
            // For this end to say.
            IotlbKind::Miss | IotlbKind::AccessFail => Err(Refusal::Unsupported(Code::IotlbMsg)),
        };
        self.follow_translations();
        done
    }

    /// Has rings no longer see what was forgotten, nor the device reach it, not even for what it was
    /// asked for before. Rings that are there themselves go on: they are to
    /// [follow](Self::follow_translations).
    fn hide(&mut self) -> Result<(), Refusal> {
        let Some(iotlb) = &self.iotlb else {
            return Ok(());
        };
        let hidden = self.view.hide(&self.table, iotlb);
        // Before rings go on, or what they then ask for would be asked for again.
        self.wires.told(|_| true);
        let settled = self.settle();
        let hidden = hidden.and(settled);
        // What was written as long as they saw it is in the log.
        self.log_translated().and(hidden)
    }

    /// Has rings complete what they have taken, whose memory may be what was forgotten. One that takes
    /// too long is given up.
    fn settle(&mut self) -> Result<(), Refusal> {
        // All of them at once: none is to wait for the others.
        let asked: Vec<_> = (0..=u8::MAX)
            .zip(&self.rings)
            .filter(|(_, ring)| ring.runs())
            .filter_map(|(index, _)| Some((index, self.handle(index)?.settle(self.key(index)))))
            .collect();
        let mut settled = Ok(());
        for (index, settling) in asked {
            if settling.wait() == Settled::Late {
                settled = Err(Refusal::StillServed);
                self.wires.given_up(index.into());
            }
        }
        settled
    }

    /// Learns a translation for which there is room, and has rings see what is behind it.
    fn show(&mut self, told: &Iotlb) -> Result<(), Refusal> {
        let Some(iotlb) = &mut self.iotlb else {
            return Ok(());
        };
        iotlb.update(told, &self.table)?;
        // Before something is written there.
        let logged = self.log_translated();
        if let Some(iotlb) = &self.iotlb {
            self.view.show(&self.table, iotlb);
        }
        self.wires
            .told(|address| address.wrapping_sub(told.address) < told.size);
        logged
    }

    fn log_translated(&mut self) -> Result<(), Refusal> {
        if self.records.is_logging() {
            self.log_anew()?;
        }
        Ok(())
    }

    /// Goes on with the rings whose parts were shown, and has those wait whose parts no longer are.
    pub(super) fn follow_translations(&mut self) {
        for index in 0..self.rings.len() {
            // There are at most 256.
            let index = index as u8;
            let state = self.held(index).map(|held| held.state);
            let followed = match state {
                Some(State::Waits(start)) => self.run(index, &start),
                Some(State::Runs(start, _)) => self.follow(index, start),
                Some(State::Stopped) | None => Ok(()),
            };
            if let Err(refusal) = followed {
                self.give_up(index, refusal);
            }
        }
    }

    fn follow(&mut self, index: u8, start: Start) -> Result<(), Refusal> {
        if View::areas(&self.table, self.iotlb.as_ref(), &start)?.is_ok() {
            // It may have waited for a buffer.
            self.kick(index);
            return Ok(());
        }
        let Some(position) = self.halt(index) else {
            return Ok(());
        };
        let start = Start {
            available: position,
            used: position,
            ..start
        };
        self.run(index, &start)
    }

    /// A ring cannot go on: not for the sake of what was just told, which is well, but of what the
    /// front-end has said of the ring.
    fn give_up(&mut self, index: u8, refusal: Refusal) {
        if let Some(held) = self.held(index) {
            held.state = State::Stopped;
        }
        let request = Code::IotlbMsg.number();
        self.observer().event(Event::Refused { request, refusal });
        self.wires.given_up(index.into());
    }
}
