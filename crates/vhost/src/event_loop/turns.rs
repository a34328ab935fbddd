//! The thread of a loop: whose turn it is.

use core::ops::ControlFlow;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::desk::{Desk, Order};
use super::pace::Pace;
use super::ring::{Ring, Stepped, Waited};
use super::{Key, Kick, Neighbour, Options, Settled};

/// What a loop has in its hands.
pub(super) struct Turns {
    desk: Arc<Desk>,
    options: Options,
    /// How many processors the process may use.
    processors: usize,
    epoll: OwnedFd,
    /// Where a ring is, it stays.
    rings: Vec<Option<Ring>>,
    /// Those that do not sleep.
    awake: Vec<usize>,
    /// When it last was seen that there is nothing to do, if the loop did nothing since.
    idle: Option<Instant>,
    /// How much was done since the loop last heard what has happened.
    deaf_for: u32,
    /// How many somebody waits for to stop, and how many wait for one to settle.
    waited_for: usize,
}

/// Most things that are heard of at once.
const EVENTS_MAX: usize = 64;

/// What is heard of the desk. Of rings, it is [`heard`].
const BELL: u64 = u64::MAX;

/// How much is done before the loop hears what has happened meanwhile, if there is always something
/// to do: so many looks, or batches that count for [`BATCH`] looks each. A look takes some ten
/// nanoseconds, and to hear takes some hundred.
const DEAF_MAX: u32 = 64;
const BATCH: u32 = 16;

/// A look that takes as long was interrupted by others who use the processor.
const INTERRUPTED: Duration = Duration::from_micros(200);

/// How often something is looked at that nothing is heard of.
const TICK: Duration = Duration::from_millis(1);

impl Turns {
    pub(super) fn new(desk: Arc<Desk>, options: Options) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // What is left rings anew each time: the bell is never read.
        let each = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &desk.bell, EventData::new_u64(BELL), each)?;
        Ok(Self {
            desk,
            options,
            processors: thread::available_parallelism().map_or(1, usize::from),
            epoll,
            rings: Vec::new(),
            awake: Vec::new(),
            idle: None,
            deaf_for: 0,
            waited_for: 0,
        })
    }

    /// Serves until the end is ordered.
    pub(super) fn go_on(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            if self.desk.has_something() && self.take_orders().is_break() {
                return;
            }
            self.step();
            let timeout = if self.awake.is_empty() {
                let ticks = || self.rings.iter().flatten().any(Ring::ticks);
                ticks().then_some(TICK)
            } else if self.deaf_for < DEAF_MAX {
                continue;
            } else {
                Some(Duration::ZERO)
            };
            if self.hear(&mut events, timeout).is_break() {
                return;
            }
        }
    }

    /// Lets each ring that does not sleep do something.
    fn step(&mut self) {
        let Some(&first) = self.awake.first() else {
            return;
        };
        let now = Instant::now();
        let idle = self.idle.replace(now);
        if idle.is_some_and(|idle| now.saturating_duration_since(idle) > INTERRUPTED) {
            self.rings
                .iter_mut()
                .flatten()
                .for_each(|ring| ring.give_way(now));
        }
        let mut place = 0;
        let mut next = Some(first);
        while let Some(at) = next {
            let ring = self.rings.get_mut(at).and_then(Option::as_mut);
            let stepped = ring.map_or(Stepped::Asleep, |ring| ring.step(now));
            self.deaf_for += match stepped {
                Stepped::Worked => BATCH,
                Stepped::Looked => 1,
                Stepped::Asleep => 0,
            };
            if stepped != Stepped::Looked {
                self.idle = None;
            }
            if stepped == Stepped::Asleep {
                self.awake.swap_remove(place);
                self.silence_broken(at);
            } else {
                place += 1;
            }
            next = self.awake.get(place).copied();
        }
        self.tell_who_waits();
    }

    /// Waits until something has happened, no longer than `timeout`, and wakes whom it is for.
    fn hear(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> ControlFlow<()> {
        self.deaf_for = 0;
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: 0,
            // Below a second.
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let heard = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref());
        match heard {
            Ok(0) if timeout.is_some_and(|timeout| timeout.tv_nsec != 0) => self.tick(),
            Ok(_) | Err(Errno::INTR) => {}
            // There is no other that this could have.
            Err(_) => return ControlFlow::Break(()),
        }
        for event in events.drain(..) {
            let data = event.data.u64();
            if data == BELL {
                continue;
            }
            let (at, waited) = said(data);
            if let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut) {
                ring.came(&self.epoll, waited, event.flags);
                self.wake(at);
            }
        }
        ControlFlow::Continue(())
    }

    /// Looks at what nothing is heard of.
    fn tick(&mut self) {
        for at in 0..self.rings.len() {
            let ring = self.rings.get(at).and_then(Option::as_ref);
            if ring.is_some_and(Ring::ticks) {
                self.wake(at);
            }
        }
        self.tell_who_waits();
    }

    fn wake(&mut self, at: usize) {
        let ring = self.rings.get_mut(at).and_then(Option::as_mut);
        if ring.is_some_and(Ring::wake) {
            self.awake.push(at);
        }
    }

    fn take_orders(&mut self) -> ControlFlow<()> {
        let left = self.desk.take();
        for order in left.orders {
            match order {
                Order::Start { ring, task, kick } => self.start(
                    ring,
                    Ring::new(
                        ring,
                        *task,
                        self.desk.counters(ring),
                        Pace::new(self.look_max()),
                    ),
                    kick,
                ),
                Order::SetKick { ring, kick } => {
                    if let Some(at) = self.find(ring) {
                        self.set_kick(at, kick);
                    }
                }
                Order::Stop { ring, reply } => {
                    let Some(at) = self.find(ring) else {
                        let _ = reply.send(None);
                        continue;
                    };
                    if let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut) {
                        let until = Instant::now() + self.options.stop_max;
                        self.waited_for += usize::from(ring.stop(reply, until));
                    }
                    self.tell_who_waits();
                }
                Order::Settle { ring, reply } => {
                    let Some(at) = self.find(ring) else {
                        let _ = reply.send(Settled::Done);
                        continue;
                    };
                    if let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut) {
                        ring.settle(reply, Instant::now() + self.options.stop_max);
                        self.waited_for += 1;
                    }
                    self.tell_who_waits();
                }
                Order::End => return ControlFlow::Break(()),
            }
        }
        for ring in left.kicks {
            if let Some(at) = self.find(ring) {
                if let Some(Some(ring)) = self.rings.get_mut(at) {
                    ring.called();
                }
                self.wake(at);
            }
        }
        ControlFlow::Continue(())
    }

    /// The longest that a ring is looked at which starts now.
    fn look_max(&self) -> Duration {
        if self.processors == 1 && self.desk.neighbour() == Neighbour::Unknown {
            return Duration::ZERO;
        }
        self.options.look_max
    }

    fn start(&mut self, key: Key, ring: Ring, kick: Kick) {
        // Only a carrier that does not keep to its contract starts a ring twice.
        if let Some(at) = self.find(key) {
            self.end(at);
        }
        let free = self.rings.iter().position(Option::is_none);
        let at = free.unwrap_or(self.rings.len());
        if free.is_none() {
            self.rings.push(None);
            // So that waking allocates nothing.
            self.awake.reserve(self.rings.len());
        }
        let Some(place) = self.rings.get_mut(at) else {
            return;
        };
        let ring = place.insert(ring);
        ring.watch_worker(&self.epoll, heard(at, Waited::Ready));
        self.set_kick(at, kick);
        self.awake.push(at);
    }

    fn set_kick(&mut self, at: usize, kick: Kick) {
        if let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut) {
            ring.watch_kick(&self.epoll, heard(at, Waited::Kick), kick);
        }
        // What the one before said may not have been heard.
        self.wake(at);
    }

    /// Whoever breaks the rules does not wake the loop any more.
    fn silence_broken(&mut self, at: usize) {
        if let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut)
            && ring.is_broken()
        {
            ring.unwatch(&self.epoll);
        }
    }

    /// Tells who waits for a ring to settle that it has, and ends the rings whose tasks somebody wants,
    /// and can have.
    fn tell_who_waits(&mut self) {
        if self.waited_for == 0 {
            return;
        }
        for at in 0..self.rings.len() {
            let Some(ring) = self.rings.get_mut(at).and_then(Option::as_mut) else {
                continue;
            };
            let told = ring.tell_settled();
            let owes = told != 0 && ring.take_debt();
            let can_stop = ring.can_stop();
            if told != 0 {
                self.waited_for -= told;
                self.silence_broken(at);
                if owes {
                    self.wake(at);
                }
            }
            if can_stop {
                self.end(at);
            }
        }
    }

    fn end(&mut self, at: usize) {
        if let Some(mut ring) = self.rings.get_mut(at).and_then(Option::take) {
            ring.unwatch(&self.epoll);
            self.awake.retain(|&awake| awake != at);
            self.waited_for -= ring.end();
        }
    }

    fn find(&self, key: Key) -> Option<usize> {
        let is_it = |ring: &Option<Ring>| ring.as_ref().is_some_and(|ring| ring.key == key);
        self.rings.iter().position(is_it)
    }
}

/// However it ends: nobody waits for it in vain.
impl Drop for Turns {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// What is heard when what ring `at` waits for has come.
fn heard(at: usize, waited: Waited) -> EventData {
    EventData::new_u64((at as u64) << 1 | u64::from(waited == Waited::Ready))
}

/// The other way round.
fn said(data: u64) -> (usize, Waited) {
    let waited = if data & 1 == 0 {
        Waited::Kick
    } else {
        Waited::Ready
    };
    ((data >> 1) as usize, waited)
}
