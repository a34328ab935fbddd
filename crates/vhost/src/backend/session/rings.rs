//! What requests do to rings.

use ringway_spec::Features;

use super::Session;
use super::ring::Ring;
use crate::backend::{Carrier, Kick, Refusal};
use crate::protocol::{Code, PROTOCOL_FEATURES, Reply, RingAddresses, RingState};

impl<C: Carrier> Session<'_, C> {
    pub(super) fn set_size(&mut self, state: RingState) -> Result<(), Refusal> {
        let RingState { index, num: size } = state;
        let max = self.queue_size(index);
        let ring = self.ring(index)?;
        let size = Ring::can_have(size, max).ok_or(Refusal::RingSize { index, size, max })?;
        if ring.running && ring.size != Some(size) {
            return Err(Refusal::RingRuns {
                index,
                request: Code::SetVringNum,
            });
        }
        ring.size = Some(size);
        self.settle(index)
    }

    pub(super) fn set_addresses(&mut self, addresses: RingAddresses) -> Result<(), Refusal> {
        let index = addresses.index;
        let ring = self.ring(index)?;
        let places = |at: RingAddresses| (at.descriptor, at.available, at.used);
        let moved = ring.addresses.map(places) != Some(places(addresses));
        if ring.running && moved {
            return Err(Refusal::RingRuns {
                index,
                request: Code::SetVringAddr,
            });
        }
        ring.addresses = Some(addresses);
        if ring.running {
            // There are at most 256.
            self.carrier.set_ring_log(index as u8, addresses)?;
        }
        self.settle(index)
    }

    pub(super) fn set_base(&mut self, state: RingState) -> Result<(), Refusal> {
        let RingState { index, num: base } = state;
        let ring = self.ring(index)?;
        if ring.running {
            return Err(Refusal::RingRuns {
                index,
                request: Code::SetVringBase,
            });
        }
        ring.base = Some(base);
        self.settle(index)
    }

    /// Stops a ring until it is kicked anew, and tells where it stands.
    pub(super) fn stop_for_good(&mut self, index: u32) -> Result<Reply<C::Descriptor>, Refusal> {
        self.ring(index)?.started = false;
        self.settle(index)?;
        self.carrier.set_kick(index as u8, Kick::Message)?;
        let ring = self.ring(index)?;
        let num = ring.base.unwrap_or(0);
        Ok(Reply::Ring(RingState { index, num }))
    }

    pub(super) fn set_kick(
        &mut self,
        index: u8,
        kick: Option<C::Descriptor>,
    ) -> Result<(), Refusal> {
        self.ring(index.into())?;
        let kick = kick.map_or(Kick::Polled, Kick::Descriptor);
        self.carrier.set_kick(index, kick)?;
        self.ring(index.into())?.started = true;
        self.settle(index.into())
    }

    pub(super) fn kick(&mut self, index: u32) -> Result<(), Refusal> {
        let ring = self.ring(index)?;
        if ring.running {
            self.carrier.kick(index as u8);
            return Ok(());
        }
        ring.started = true;
        self.settle(index)
    }

    pub(super) fn set_enabled(&mut self, state: RingState) -> Result<(), Refusal> {
        let RingState { index, num } = state;
        // Before features are settled it may come, too: QEMU enables queues of network devices so.
        if self.accepted.is_some() && !self.has_enable {
            return Err(Refusal::NeedsFeatures {
                request: Code::SetVringEnable,
                needed: Features(PROTOCOL_FEATURES.into()),
            });
        }
        self.ring(index)?.enabled = match num {
            0 => false,
            1 => true,
            _ => return Err(Refusal::RingState { index, num }),
        };
        self.settle(index)
    }

    /// Stops every ring until it is kicked and enabled anew.
    pub(super) fn disable_all(&mut self) -> Result<(), Refusal> {
        self.stop_all();
        for (index, ring) in self.rings.iter_mut().enumerate() {
            ring.enabled = false;
            if std::mem::take(&mut ring.started) {
                // There are at most 256.
                self.carrier.set_kick(index as u8, Kick::Message)?;
            }
        }
        Ok(())
    }

    /// Brings every ring to where what is known of it says.
    pub(super) fn settle_all(&mut self) -> Result<(), Refusal> {
        let mut first = Ok(());
        for index in 0..self.rings.len() {
            let settled = self.settle(index as u32);
            first = first.and(settled);
        }
        first
    }

    /// Runs a ring, or stops it, as what is known of it says.
    fn settle(&mut self, index: u32) -> Result<(), Refusal> {
        let Some(features) = self.accepted else {
            return Ok(());
        };
        let is_enabled_alike = !self.has_enable;
        let ring = self.ring(index)?;
        let wanted = ring.started && (ring.enabled || is_enabled_alike);
        match (wanted, ring.running) {
            (true, false) => {
                if let Err(refusal) = self.start(index, features) {
                    // It is to be kicked anew: what comes next is not refused for its sake.
                    self.ring(index)?.started = false;
                    return Err(refusal);
                }
            }
            (false, true) => {
                // There are at most 256.
                let position = self.carrier.stop(index as u8);
                self.ring(index)?.stopped(position, features);
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    /// Runs a ring, if all is known that has to be.
    fn start(&mut self, index: u32, features: Features) -> Result<(), Refusal> {
        let ring = self.ring(index)?;
        if let Some(start) = ring.start(index, features)? {
            // There are at most 256.
            self.carrier.start(index as u8, &start)?;
            self.ring(index)?.running = true;
        }
        Ok(())
    }

    /// Stops every ring. What is known of them stays.
    pub(super) fn stop_all(&mut self) {
        let features = self.accepted.unwrap_or_default();
        for (index, ring) in self.rings.iter_mut().enumerate() {
            if ring.running {
                // There are at most 256.
                let position = self.carrier.stop(index as u8);
                ring.stopped(position, features);
            }
        }
    }

    pub(super) fn ring(&mut self, index: u32) -> Result<&mut Ring, Refusal> {
        let rings = self.rings.len();
        self.rings
            .get_mut(index as usize)
            .ok_or(Refusal::NoRing { index, rings })
    }

    fn queue_size(&self, index: u32) -> u16 {
        let sizes = self.carrier.queue_sizes();
        sizes.get(index as usize).copied().unwrap_or(0)
    }
}
