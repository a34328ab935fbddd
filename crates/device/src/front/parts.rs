//! What can be taken from a device and given to another, so that it goes on in its place: what the
//! driver has set, and what the model says of itself. Where queues stand is in their rings.
//!
//! A carrier adds what is its own, and makes parts of it.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts".

use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::Poll;

use ringway_ring::driver::Areas;
use ringway_spec::{F, Features, Status};

use super::status::SETTABLE;
use super::{Driven, Front, Interrupts, State};
use crate::admin::Inadmissible;
use crate::model::{Device, StateError};

/// What a device is, beside what it is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Portrait {
    /// What the driver accepted.
    pub(crate) accepted: Features,
    pub(crate) device_select: u32,
    pub(crate) driver_select: u32,
    pub(crate) queue_select: u32,
    pub(crate) generation: u32,
    /// The status as it reads.
    pub(crate) status: Status,
    pub(crate) queues: Vec<QueuePortrait>,
    /// What the model says of itself; nothing, if it cannot, or works.
    pub(crate) state: Option<Vec<u8>>,
}

/// A queue as it was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuePortrait {
    pub(crate) size: u16,
    pub(crate) enabled: bool,
    pub(crate) areas: Areas,
}

/// A kind of part, in the order in which they are taken and given (§2.12.1.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    DeviceFeatures,
    DriverFeatures,
    Register,
    Status,
    Queue,
    Notify,
    /// Of the model.
    State,
}

/// Which kinds of parts a device was given since it was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given(u8);

impl Given {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether all kinds are there that must be before this one (§2.12.1.4.4). The features that are
    /// offered may be missing: they are only compared.
    pub(crate) fn is_ready_for(self, kind: Kind) -> bool {
        let before = (1_u8 << kind as u8).wrapping_sub(1) & !(1 << Kind::DeviceFeatures as u8);
        self.0 & before == before
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

impl<I: Interrupts> Front<I> {
    /// What the device offers.
    pub(crate) fn offered(&self) -> Features {
        self.offered
    }

    /// What it is now. [`Poll::Pending`] while it is being reset: ask again.
    pub(crate) fn portrait(&self) -> Poll<Portrait> {
        let state = self.state.lock();
        if state.resetting {
            return Poll::Pending;
        }
        Poll::Ready(self.portrait_of(&state))
    }

    /// Has the device be what `change` makes of what it is: it says which kinds of parts were
    /// given, and is told which were before. Takes effect when the device goes on.
    /// [`Poll::Pending`] while it is being reset: ask again.
    ///
    /// # Errors
    ///
    /// [`Inadmissible`], of the change or of what comes of it: the device is as it was.
    pub(crate) fn redraw(
        &self,
        change: impl FnOnce(&mut Portrait, Given) -> Result<Given, Inadmissible>,
    ) -> Poll<Result<(), Inadmissible>> {
        let mut state = self.state.lock();
        if state.resetting || state.redrawn {
            return Poll::Pending;
        }
        if !self.has_stopped(&state) {
            return Poll::Ready(Err(Inadmissible::Running));
        }
        // The queues rest. They are made anew when the device goes on.
        let mut resting = Vec::new();
        for (index, queue) in (0..).zip(&mut state.queues) {
            if core::mem::take(&mut queue.served) {
                queue.goes_on = true;
                resting.push(index);
            }
        }
        state.redrawn = true;
        let parked = core::mem::take(&mut state.parked);
        drop(state);
        drop(parked);
        // Not with the lock held: what a task has may do anything when it goes.
        resting
            .into_iter()
            .for_each(|index| self.runner.stop(index));

        let mut state = self.state.lock();
        state.redrawn = false;
        if state.resetting {
            return Poll::Pending;
        }
        let mut portrait = self.portrait_of(&state);
        let given = change(&mut portrait, state.given);
        Poll::Ready(given.and_then(|given| self.become_like(&mut state, portrait, given)))
    }

    /// Whether a device that was given parts can go on with them.
    pub(super) fn check(&self, state: &State) -> Result<(), Inadmissible> {
        if state.given.is_empty() {
            return Ok(());
        }
        let packed = state.accepted.contains(F::RING_PACKED);
        let settled = state.status.contains(Status::FEATURES_OK)
            || state.driven == Some(Driven::Legacy) && self.suits_legacy(state.accepted);
        for (index, queue) in (0..).zip(&state.queues) {
            let sized = queue.size != 0 && (packed || queue.size.is_power_of_two());
            if queue.enabled && !(sized && settled) {
                return Err(Inadmissible::Queue(index));
            }
        }
        Ok(())
    }

    fn portrait_of(&self, state: &State) -> Portrait {
        let queues = state.queues.iter().map(|queue| QueuePortrait {
            size: queue.size,
            enabled: queue.enabled,
            areas: queue.areas,
        });
        Portrait {
            accepted: state.accepted,
            device_select: state.device_select,
            driver_select: state.driver_select,
            queue_select: state.queue_select,
            generation: state.generation,
            status: self.shown_status(state),
            queues: queues.collect(),
            // Not while workers run.
            state: self
                .has_stopped(state)
                .then(|| state.device.save())
                .flatten(),
        }
    }

    /// Takes a portrait over. What can fail comes first.
    fn become_like(
        &self,
        state: &mut State,
        portrait: Portrait,
        given: Given,
    ) -> Result<(), Inadmissible> {
        let status = Settled::of(portrait.status)?;
        let in_use = portrait.queues.iter().any(|queue| queue.enabled);
        let driven = status.driven(in_use);
        let fits = match driven {
            Some(Driven::Modern) => self.agrees_to(portrait.accepted),
            Some(Driven::Legacy) => self.suits_legacy(portrait.accepted),
            None => true,
        };
        if !fits {
            return Err(Inadmissible::Features);
        }
        if status.suspended && !portrait.accepted.contains(F::SUSPEND) {
            return Err(Inadmissible::Status);
        }
        let mut queues = Vec::new();
        for ((index, from), to) in (0..).zip(&portrait.queues).zip(&state.queues) {
            let page = from.areas.descriptor.checked_div(state.page_size.into());
            let page = page.and_then(|page| u32::try_from(page).ok());
            let page = match driven {
                Some(Driven::Legacy) if from.enabled => page,
                _ => Some(0),
            };
            let possible = from.size <= to.max && (from.size != 0 || !from.enabled);
            queues.push(
                page.filter(|_| possible)
                    .ok_or(Inadmissible::Queue(index))?,
            );
        }
        let settled = status.is_settled().then_some(portrait.accepted);
        let saved = portrait.state.filter(|_| given.has(Kind::State));
        settle(state, settled, saved.as_deref()).map_err(Inadmissible::State)?;

        for ((queue, from), page) in state.queues.iter_mut().zip(portrait.queues).zip(queues) {
            (queue.size, queue.areas, queue.enabled) = (from.size, from.areas, from.enabled);
            queue.page = page;
            queue.goes_on |= given.has(Kind::Queue);
            // Whether it was is not told: a driver that did it finds it so.
            queue.was_reset = !from.enabled && portrait.accepted.contains(F::RING_RESET);
        }
        state.driven = driven;
        state.accepted = portrait.accepted;
        state.device_select = portrait.device_select;
        state.driver_select = portrait.driver_select;
        state.queue_select = portrait.queue_select;
        state.generation = portrait.generation;
        state.status = status.bits;
        state.suspended = status.suspended;
        state.started = status.bits.contains(Status::DRIVER_OK);
        state.given = Given(state.given.0 | given.0);
        self.settle_kicks(settled.unwrap_or(Features::NONE));
        for (is, whether) in [
            (&self.common.legacy, driven == Some(Driven::Legacy)),
            (&self.common.broken, status.broken),
            (&self.common.needs_reset, status.broken),
        ] {
            is.store(whether, Ordering::SeqCst);
        }
        if status.suspended {
            // This is what its driver finds until it has the device go on (§3.4.2).
            self.show_config(state);
            state.generation = portrait.generation;
        }
        // So that a driver that was reading it reads all of it again (§4.1.4.3.1).
        self.common.changed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a legacy driver could have accepted these.
    fn suits_legacy(&self, accepted: Features) -> bool {
        self.takes_legacy_queues() && self.usable(accepted.word(0)) == accepted
    }
}

/// A status as it reads, taken apart.
struct Settled {
    bits: Status,
    suspended: bool,
    broken: bool,
}

impl Settled {
    fn of(shown: Status) -> Result<Self, Inadmissible> {
        let extra = Status::SUSPEND | Status::NEEDS_RESET;
        let suspended = shown.contains(Status::SUSPEND);
        let mut bits = shown.difference(extra);
        // It does not show while the device is suspended (§3.4.2).
        bits.set(
            Status::DRIVER_OK,
            suspended || bits.contains(Status::DRIVER_OK),
        );
        let possible =
            SETTABLE.contains(bits) && (!suspended || bits.contains(Status::FEATURES_OK));
        let this = Self {
            bits,
            suspended,
            broken: shown.contains(Status::NEEDS_RESET),
        };
        possible.then_some(this).ok_or(Inadmissible::Status)
    }

    /// Through which interface the device was driven to be so. One from before version 1 has no
    /// `FEATURES_OK`, and sets queues up before it is ready.
    fn driven(&self, in_use: bool) -> Option<Driven> {
        if self.bits.contains(Status::FEATURES_OK) {
            Some(Driven::Modern)
        } else {
            (in_use || self.bits.contains(Status::DRIVER_OK)).then_some(Driven::Legacy)
        }
    }

    fn is_settled(&self) -> bool {
        self.bits
            .intersects(Status::FEATURES_OK | Status::DRIVER_OK)
    }
}

/// Has the model be one whose driver has `settled` on these features, if on any, and that has said
/// this of itself. No worker runs.
///
/// # Errors
///
/// [`StateError`], and the model is as it was.
fn settle(
    state: &mut State,
    settled: Option<Features>,
    saved: Option<&[u8]>,
) -> Result<(), StateError> {
    let before = (state.status.contains(Status::FEATURES_OK)
        || state.driven == Some(Driven::Legacy) && state.started)
        .then_some(state.accepted);
    let device = &mut state.device;
    // What it is stays, where there is nothing new to be told.
    if settled == before {
        return saved.map_or(Ok(()), |saved| device.load(saved));
    }
    if let (None, None, Some(features)) = (before, saved, settled) {
        device.negotiated(features);
        return Ok(());
    }
    let own = device.save();
    turn(&mut **device, settled, saved).inspect_err(|_| {
        // What it said itself it does not refuse.
        let _ = turn(&mut **device, before, own.as_deref());
    })
}

fn turn(
    device: &mut dyn Device,
    settled: Option<Features>,
    saved: Option<&[u8]>,
) -> Result<(), StateError> {
    device.reset();
    if let Some(features) = settled {
        device.negotiated(features);
    }
    saved.map_or(Ok(()), |saved| device.load(saved))
}
