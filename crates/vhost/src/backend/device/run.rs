//! Rings that begin, wait and end.

use ringway_device::task::{Memory, Task};
use ringway_ring::device::Queue;
use ringway_ring::ledger::Ledger;
use rustix::io::fcntl_dupfd_cloexec;

use super::DeviceCarrier;
use crate::backend::ring::{Keeps, State};
use crate::backend::view::{Unseen, View};
use crate::backend::{Chains, Event, Kick, Refusal, Start};
use crate::event_loop;
use crate::ledger::RingLedger;

impl DeviceCarrier {
    /// Runs a ring, or has it wait until its parts are shown.
    pub(super) fn run(&mut self, index: u8, ring: &Start) -> Result<(), Refusal> {
        let areas = match View::areas(&self.table, self.iotlb.as_ref(), ring)? {
            Ok(areas) => areas,
            Err(unseen) => {
                self.wait(index, ring, unseen);
                return Ok(());
            }
        };
        let view = self.view.clone();
        let kick = self.kick_of(index)?;
        let number = u16::from(index);
        let Start { size, features, .. } = *ring;
        let map = view.map();
        let (record, start) = self.records.record(index, ring, areas, &map)?;
        let log = self.log_of(ring, areas, self.translate_for_log());
        let keeps = match (&record, &log) {
            (Some(_), _) => Keeps::Record,
            (None, Some(_)) => Keeps::Log,
            (None, None) => Keeps::Nothing,
        };
        let switch = self.held(index).map(|held| {
            held.log.set(log);
            held.log.clone()
        });
        let ledger = (keeps != Keeps::Nothing).then(|| -> Box<dyn Ledger> {
            let log = switch.unwrap_or_default();
            Box::new(RingLedger { record, log })
        });
        let queue = Queue::resume(&*map, size, areas, features, &start, ledger);
        let queue = queue.map_err(|violation| Refusal::Ring {
            index: index.into(),
            violation,
        })?;
        let worker = self.device.worker(number, features);
        let task = Task::new(number, queue, worker, view, self.wires.clone());
        if let Some(held) = self.held(index) {
            held.state = State::Runs(*ring, areas);
            held.keeps = keeps;
            held.asked.clear();
        }
        self.observer()
            .event(Event::RingStarted { ring: number, size });
        if let Some(handle) = self.handle(index) {
            handle.start(self.key(index), task, kick);
        }
        Ok(())
    }

    /// Has a ring wait for what is not shown of it, and asks for what nobody was asked for yet.
    fn wait(&mut self, index: u8, ring: &Start, Unseen(unseen): Unseen) {
        let Some(held) = self.held(index) else {
            return;
        };
        held.state = State::Waits(*ring);
        let asked = std::mem::replace(&mut held.asked, unseen.clone());
        for missing in unseen {
            if !asked.contains(&missing) {
                self.wires.ask_for(missing);
            }
        }
    }

    /// Stops a ring that runs, and says where it stands.
    pub(super) fn halt(&mut self, index: u8) -> Option<u16> {
        if let Some(held) = self.held(index) {
            held.state = State::Stopped;
        }
        let handle = self.handle(index)?;
        let task = handle.stop(self.key(index))?;
        let chains = if task.is_busy() {
            Chains::Lost
        } else {
            Chains::Completed
        };
        self.observer().event(Event::RingStopped {
            ring: index.into(),
            chains,
            counts: handle.counts(self.key(index)),
        });
        Some(task.position())
    }

    /// How a ring is kicked, for a loop.
    pub(super) fn kick_of(&self, ring: u8) -> Result<event_loop::Kick, Refusal> {
        let held = self.rings.get(usize::from(ring));
        Ok(match held.map(|held| &held.kick) {
            Some(Kick::Descriptor(kick)) => {
                let kick = fcntl_dupfd_cloexec(kick, 0).map_err(|error| Refusal::System {
                    what: "duplicate the descriptor of a kick",
                    error,
                })?;
                event_loop::Kick::Readable(kick)
            }
            Some(Kick::Polled) => event_loop::Kick::Nothing,
            Some(Kick::Message) | None => event_loop::Kick::Called,
        })
    }
}
