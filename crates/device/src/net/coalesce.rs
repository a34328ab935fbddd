//! Notifications that wait for more packets. Spec: VIRTIO 1.4 §5.1.9.5.10 "Notifications Coalescing".
//!
//! A driver finds packets that were completed at once, if it looks; only that it is told of them waits. It
//! waits no longer than the card's [`Clock`] can tell, and a batch of packets is told of at its end: so
//! there may be some more of them than the driver said.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_ring::device::{Batch, Violation};
use ringway_spec::net::Coalescing;
use spin::Mutex;

use crate::model::Worker;

/// Time, for cards whose notifications wait.
pub trait Clock: Send + Sync {
    /// How long it is since some moment. It never goes back.
    fn now(&self) -> Duration;

    /// An alarm that calls `due`, from any thread, when the time has come that it is set to, or soon
    /// after.
    fn alarm(&self, due: Box<dyn Fn() + Send + Sync>) -> Box<dyn Alarm>;
}

/// Goes off once, when the time has come that it was set to last. One that is dropped does not.
pub trait Alarm: Send {
    /// Sets it. Never waits, nor calls.
    fn set(&mut self, at: Duration);
}

/// How long the notifications of each queue wait.
pub(super) struct Waits(Mutex<Table>);

struct Table {
    /// What was said of all transmit, and of all receive queues.
    transmit: Coalescing,
    receive: Coalescing,
    /// Of each queue that is enabled.
    queues: Vec<Option<Coalescing>>,
}

/// Queues of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Transmit,
}

impl Direction {
    /// That of queue `index` (§5.1.2).
    pub(super) fn of(index: u16) -> Self {
        match index.is_multiple_of(2) {
            true => Self::Receive,
            false => Self::Transmit,
        }
    }
}

impl Waits {
    /// Of a card with so many queues for packets, none of them enabled.
    pub(super) fn new(queues: usize) -> Self {
        Self(Mutex::new(Table {
            transmit: Coalescing::default(),
            receive: Coalescing::default(),
            queues: vec![None; queues],
        }))
    }

    /// Queue `index` is enabled: what was said of all of its direction holds for it, and nothing that was
    /// said of it before (§5.1.9.5.10.6).
    fn open(&self, index: u16) {
        let mut table = self.0.lock();
        let wait = table.of_all(Direction::of(index));
        if let Some(queue) = table.queues.get_mut(usize::from(index)) {
            *queue = Some(wait);
        }
    }

    fn close(&self, index: u16) {
        if let Some(queue) = self.0.lock().queues.get_mut(usize::from(index)) {
            *queue = None;
        }
    }

    /// How long queue `index` waits. None if it is not enabled.
    pub(super) fn of(&self, index: u16) -> Option<Coalescing> {
        self.0.lock().queues.get(usize::from(index)).copied()?
    }

    /// Has queue `index` wait. Says whether it is enabled.
    pub(super) fn set(&self, index: u16, wait: Coalescing) -> bool {
        match self.0.lock().queues.get_mut(usize::from(index)) {
            Some(Some(queue)) => {
                *queue = wait;
                true
            }
            _ => false,
        }
    }

    /// Has all queues of a direction wait, and those that are enabled later.
    pub(super) fn set_all(&self, direction: Direction, wait: Coalescing) {
        let mut table = self.0.lock();
        match direction {
            Direction::Receive => table.receive = wait,
            Direction::Transmit => table.transmit = wait,
        }
        for (index, queue) in (0..).zip(&mut table.queues) {
            if Direction::of(index) == direction && queue.is_some() {
                *queue = Some(wait);
            }
        }
    }

    /// Nothing was said.
    pub(super) fn reset(&self) {
        let mut table = self.0.lock();
        (table.transmit, table.receive) = Default::default();
        table.queues.fill(None);
    }
}

impl Table {
    fn of_all(&self, direction: Direction) -> Coalescing {
        match direction {
            Direction::Receive => self.receive,
            Direction::Transmit => self.transmit,
        }
    }
}

/// The worker of a queue for packets, whose notifications wait.
pub(super) struct Coalesced {
    worker: Box<dyn Worker>,
    index: u16,
    waits: Arc<Waits>,
    clock: Arc<dyn Clock>,
    alarm: Box<dyn Alarm>,
    /// How many packets there were so far.
    count: Box<dyn Fn() -> u64 + Send>,
    counted: u64,
    /// Packets that the driver was not told of, and since when there are any.
    untold: u64,
    since: Duration,
    defers: bool,
}

impl Coalesced {
    /// `count` says how many packets `worker`, that of queue `index`, has served so far, and `due` has it
    /// serve again.
    pub(super) fn new(
        worker: Box<dyn Worker>,
        index: u16,
        waits: Arc<Waits>,
        clock: Arc<dyn Clock>,
        count: Box<dyn Fn() -> u64 + Send>,
        due: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        waits.open(index);
        Self {
            worker,
            index,
            waits,
            alarm: clock.alarm(due),
            clock,
            counted: count(),
            count,
            untold: 0,
            since: Duration::ZERO,
            defers: false,
        }
    }

    /// Whether the driver is to be told later of what there is. Sets the alarm then.
    fn waits(&mut self) -> bool {
        let now = self.clock.now();
        if self.untold == 0 {
            self.since = now;
        }
        let count = (self.count)();
        self.untold = self.untold.saturating_add(count.wrapping_sub(self.counted));
        self.counted = count;
        let wait = self.waits.of(self.index).unwrap_or_default();
        let (packets, micros) = (wait.max_packets.get(), wait.max_usecs.get());
        // Without either, each packet is told of (§5.1.9.5.10.1).
        let end = self
            .since
            .saturating_add(Duration::from_micros(micros.into()));
        if packets == 0 || self.untold == 0 || self.untold >= packets.into() || now >= end {
            self.untold = 0;
            return false;
        }
        self.alarm.set(end);
        true
    }
}

impl Drop for Coalesced {
    fn drop(&mut self) {
        self.waits.close(self.index);
    }
}

impl Worker for Coalesced {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        let served = self.worker.serve(batch);
        self.defers = self.waits() && served.is_ok();
        served
    }

    fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    fn ready(&self) -> Option<i32> {
        self.worker.ready()
    }

    fn wants_chains(&self) -> bool {
        self.worker.wants_chains()
    }

    fn defers(&self) -> bool {
        self.defers
    }
}

#[cfg(test)]
pub(super) mod tests;
