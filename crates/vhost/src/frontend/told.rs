//! What a back-end was told of a device, so that another one can be told it again.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ringway_driver::transport::QueueSetup;
use ringway_ring::driver::Areas;
use ringway_spec::{F, Features, Status};

use super::error::{Error, Result, Violation};
use super::options::Notify;
use super::resume;
use super::session::{By, Channel, RingSetup, Session};
use super::share::Share;
use crate::eventfd::EventFd;
use crate::memory::{self, MemoryError};
use crate::protocol::{Inflight, ProtocolFeatures};

/// What a back-end was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What the driver accepted.
    pub(crate) features: Features,
    /// How far the driver has come.
    pub(crate) status: Status,
    /// How many pairs of queues are used, the first ones, of a network card whose commands are this
    /// end's.
    pub(crate) pairs: Option<u16>,
    /// How long packets may be, if the driver knows.
    pub(crate) mtu: Option<u16>,
    /// The queues that the driver has enabled.
    pub(crate) rings: BTreeMap<u8, Ring>,
    /// Where back-ends remember what is in flight.
    inflight: Option<(Inflight, OwnedFd)>,
}

/// A queue that the driver has enabled.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    pub(crate) setup: QueueSetup,
    /// Which tells the back-end of chains, if it is told by a signal.
    pub(crate) kick: Arc<EventFd>,
    /// Which tells whoever waits here of completions. Also if nobody waits: there are back-ends that
    /// end if they have nothing to signal (QEMU's).
    pub(crate) call: Arc<EventFd>,
    pub(crate) kicks: Notify,
    pub(crate) calls: Notify,
}

/// How a ring begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// At its beginning.
    Fresh,
    /// Where the back-end before has left it.
    Resumed,
}

impl Told {
    /// Whether the device is at work.
    pub(crate) fn is_live(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.features.contains(F::RING_PACKED)
    }

    /// The features that a back-end hears of: not those that are this end's alone.
    pub(crate) fn for_back_end(&self, offered: u64) -> u64 {
        // Features of more than 64 bits were never offered.
        self.features.0 as u64 & offered
    }

    /// Says which features were accepted, and what goes with them.
    pub(crate) fn accept(&self, session: &mut Session<impl Channel>) -> Result<()> {
        let features = self.for_back_end(session.offered());
        session.set_features(features)?;
        self.mtu.map_or(Ok(()), |mtu| session.set_mtu(mtu))
    }

    /// Has the rings of as many pairs serve as are used, and the others rest.
    pub(crate) fn use_pairs(&self, session: &mut Session<impl Channel>) -> Result<()> {
        self.rings
            .keys()
            .try_for_each(|index| match self.is_used(*index) {
                true => session.enable(*index),
                false => session.disable(*index),
            })?;
        session.catch_up()
    }

    fn is_used(&self, index: u8) -> bool {
        self.pairs.is_none_or(|pairs| u16::from(index / 2) < pairs)
    }

    /// Sets the device to work: for the first time since its reset.
    pub(crate) fn start(
        &mut self,
        session: &mut Session<impl Channel>,
        share: &Share,
        broken: &EventFd,
        size_max: u16,
    ) -> Result<()> {
        self.share(session, share)?;
        let sizes = self.rings.values().map(|ring| ring.setup.size);
        let queues = self
            .rings
            .keys()
            .last()
            .map_or(0, |last| u16::from(*last) + 1);
        // A new one, in which nothing is in flight: large enough for what a queue may become that is
        // reset alone, if there is one so large.
        self.inflight = match sizes.max() {
            Some(size) => match session.inflight(queues, size_max.max(size))? {
                Some(inflight) => Some(inflight),
                None => session.inflight(queues, size)?,
            },
            None => None,
        };
        if let Some((inflight, file)) = &self.inflight {
            session.resume(*inflight, file.as_fd())?;
        }
        self.start_rings(session, share, broken, Begin::Fresh)
    }

    /// Tells a back-end that came in the place of another all that the other one was told, and sets
    /// it to work where the other one has left off.
    pub(crate) fn replay(
        &self,
        session: &mut Session<impl Channel>,
        share: &Share,
        broken: &EventFd,
    ) -> Result<()> {
        session.set_status((self.status - Status::DRIVER_OK).bits())?;
        if self.status.contains(Status::FEATURES_OK) {
            self.accept(session)?;
        }
        if !self.is_live() {
            return Ok(());
        }
        self.share(session, share)?;
        if session.agreed().contains(ProtocolFeatures::INFLIGHT_SHMFD)
            && let Some((inflight, file)) = &self.inflight
        {
            session.resume(*inflight, file.as_fd())?;
        }
        self.start_rings(session, share, broken, Begin::Resumed)?;
        session.set_status(self.status.bits())?;
        session.catch_up()
    }

    /// Starts one ring, of a device that is at work.
    pub(crate) fn start_ring(
        &self,
        session: &mut Session<impl Channel>,
        share: &Share,
        broken: &EventFd,
        (index, ring): (u8, &Ring),
    ) -> Result<()> {
        self.forget(index)?;
        self.begin(session, share, broken, (index, ring), Begin::Fresh)?;
        match self.is_used(index) {
            true => session.enable(index),
            false => Ok(()),
        }
    }

    /// Forgets what was in flight in one ring, whose queue was reset: nothing is.
    fn forget(&self, index: u8) -> Result<()> {
        let Some((inflight, file)) = &self.inflight else {
            return Ok(());
        };
        let each = inflight.size / u64::from(inflight.queues.max(1));
        // Within the file, which has been found to have so many bytes.
        let offset = inflight.file_offset + each * u64::from(index);
        if u16::from(index) < inflight.queues {
            let record = memory::map(file, offset, each).map_err(|error| match error {
                MemoryError::System { error, .. } => Error::os(error),
                _ => Violation::NoLedger(index).into(),
            })?;
            record.view().fill(0);
        }
        Ok(())
    }

    fn share(&self, session: &mut Session<impl Channel>, share: &Share) -> Result<()> {
        session.share(share.region(), share.file())?;
        if self.features.contains(F::ACCESS_PLATFORM) {
            session.translate(&share.region())?;
        }
        Ok(())
    }

    fn start_rings(
        &self,
        session: &mut Session<impl Channel>,
        share: &Share,
        broken: &EventFd,
        how: Begin,
    ) -> Result<()> {
        for (index, ring) in &self.rings {
            self.begin(session, share, broken, (*index, ring), how)?;
        }
        let mut used = self.rings.keys().filter(|index| self.is_used(**index));
        used.try_for_each(|index| session.enable(*index))
    }

    fn begin(
        &self,
        session: &mut Session<impl Channel>,
        share: &Share,
        broken: &EventFd,
        (index, ring): (u8, &Ring),
        how: Begin,
    ) -> Result<()> {
        let base = match (how, self.is_packed()) {
            (Begin::Fresh, false) => 0,
            (Begin::Fresh, true) => resume::PACKED_START,
            (Begin::Resumed, false) => resume::split(index, &ring.setup, share)?,
            (Begin::Resumed, true) => {
                resume::packed(index, &ring.setup, share, self.inflight.as_ref())?
            }
        };
        let areas = self
            .areas(&ring.setup.areas, share)
            .ok_or(Error::NotShared)?;
        session.start(&RingSetup {
            index,
            size: ring.setup.size,
            areas,
            base,
            kick: match ring.kicks {
                Notify::Signal => By::Signal(ring.kick.as_fd()),
                Notify::Message => By::Message,
                Notify::Poll => By::Nothing,
            },
            call: match ring.calls {
                Notify::Signal | Notify::Poll => By::Signal(ring.call.as_fd()),
                Notify::Message => By::Message,
            },
            broken: Some(broken.as_fd()),
        })
    }

    /// Where a back-end finds the areas of a ring: by our own addresses, unless it translates.
    fn areas(&self, areas: &Areas, share: &Share) -> Option<Areas> {
        if self.features.contains(F::ACCESS_PLATFORM) {
            return Some(*areas);
        }
        let user = |address| share.user_address(address);
        Some(Areas {
            descriptor: user(areas.descriptor)?,
            driver: user(areas.driver)?,
            device: user(areas.device)?,
        })
    }
}
