//! The interrupt controller: messages and lines come in from devices, handlers are called.
//!
//! Devices only ever mark an interrupt as pending. Handlers are called by whoever
//! [delivers](Controller::deliver): a thread of its own, or the scheduler between two steps. No
//! lock is held meanwhile, so a handler may do what drivers do.
//!
//! A message is an edge: sent again before it is delivered, it is delivered once. A line is a
//! level: as long as a device asserts it, its handlers are called again.

use core::fmt;
use core::ops::Bound;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use ringway_device::interrupt::{Line as DeviceLine, MessageSink};
use ringway_driver::interrupt::{Handler, Processors, VectorName};
use ringway_driver::platform::{Message, Platform};

use crate::counters::Counters;
use crate::layout::{MESSAGE_DATA, MESSAGE_STRIDE, MESSAGES};
use crate::sync::lock;

/// How often a line that stays as it is is delivered, against a device that never lets go of it.
/// Then it is shut off until a device changes it.
pub const REDELIVERIES_MAX: u32 = 256;

/// Where an interrupt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A message, by its vector.
    Vector(u16),
    /// A line, by its number.
    Line(u32),
}

/// What the controller saw, since the machine was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterruptCounts {
    /// Interrupts delivered.
    pub delivered: u64,
    /// Of those, the ones that no handler wanted: no device of theirs had raised the line.
    pub unwanted: u64,
    /// Messages that no vector was provided for.
    pub lost: u64,
}

/// What is called for an interrupt, as `/proc/interrupts` has it on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// What it is called for.
    pub source: Source,
    /// What it is called.
    pub name: VectorName,
    /// Which processors its driver wants to take it. There is but one here.
    pub processors: Processors,
    /// How often the source was delivered since it was connected first.
    pub delivered: u64,
}

/// What is called for an interrupt.
pub(crate) trait Handle: Clone + Send + Sync {
    /// Says whether it was its device's.
    fn handle(&self) -> bool;
    fn name(&self) -> VectorName;
    fn same_as(&self, other: &Self) -> bool;
}

impl<P: Platform> Handle for Handler<P> {
    fn handle(&self) -> bool {
        self.handle()
    }

    fn name(&self) -> VectorName {
        self.name()
    }

    fn same_as(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

/// Vectors, lines, and the handlers connected to them.
pub(crate) struct Controller<H> {
    state: Mutex<State<H>>,
    /// Something is pending, or the machine is switched off.
    arrived: Condvar,
    /// A delivery has ended.
    delivered: Condvar,
}

struct State<H> {
    off: bool,
    /// As many as there can be.
    vectors: Vec<Option<Vector<H>>>,
    lines: BTreeMap<u32, LineState<H>>,
    /// What can be delivered now.
    ready: BTreeSet<Source>,
    /// What was delivered last.
    last: Option<Source>,
    running: Option<Running<H>>,
    /// Threads that wait for deliveries to end.
    waiting: usize,
    counts: InterruptCounts,
}

struct Vector<H> {
    handlers: Arc<[H]>,
    processors: Processors,
    delivered: u64,
    /// Who sent the message that is pending.
    sender: Option<Arc<Counters>>,
}

struct LineState<H> {
    handlers: Arc<[H]>,
    delivered: u64,
    /// The devices that assert it.
    asserted: BTreeMap<usize, Arc<Counters>>,
    /// Deliveries since one of them changed it.
    deliveries: u32,
}

/// A delivery that is going on.
struct Running<H> {
    thread: ThreadId,
    handlers: Arc<[H]>,
}

impl<H: Handle> Controller<H> {
    /// With as many vectors as `vectors`, and the lines of these numbers.
    pub(crate) fn new(vectors: u16, lines: impl IntoIterator<Item = u32>) -> Self {
        let lines = lines.into_iter().map(|line| (line, LineState::new()));
        Self {
            state: Mutex::new(State {
                off: false,
                vectors: (0..vectors).map(|_| None).collect(),
                lines: lines.collect(),
                ready: BTreeSet::new(),
                last: None,
                running: None,
                waiting: 0,
                counts: InterruptCounts::default(),
            }),
            arrived: Condvar::new(),
            delivered: Condvar::new(),
        }
    }

    /// Provides a vector, if one is left.
    pub(crate) fn provide(&self, handler: H) -> Option<Message> {
        let mut state = lock(&self.state);
        if state.off {
            return None;
        }
        let (number, vector) = (0_u16..)
            .zip(&mut state.vectors)
            .find(|(_, vector)| vector.is_none())?;
        *vector = Some(Vector {
            handlers: Arc::new([handler]),
            processors: Processors::ANY,
            delivered: 0,
            sender: None,
        });
        Some(Message {
            address: MESSAGES + u64::from(number) * MESSAGE_STRIDE,
            data: MESSAGE_DATA + u32::from(number),
        })
    }

    /// Connects a handler to a line, if there is such a line.
    pub(crate) fn connect(&self, number: u32, handler: H) -> bool {
        let mut state = lock(&self.state);
        if state.off {
            return false;
        }
        let Some(line) = state.lines.get_mut(&number) else {
            return false;
        };
        line.handlers = line.handlers.iter().cloned().chain([handler]).collect();
        line.deliveries = 0;
        state.refresh(number);
        self.announce(state);
        true
    }

    /// Forgets a handler, and returns when it does not run, unless it is the handler that calls
    /// this.
    pub(crate) fn disconnect(&self, handler: &H) {
        let mut state = lock(&self.state);
        let gone: Vec<_> = (0_u16..)
            .zip(&mut state.vectors)
            .filter_map(|(number, vector)| {
                vector.take_if(|vector| vector.handlers.iter().any(|it| it.same_as(handler)))?;
                Some(Source::Vector(number))
            })
            .collect();
        for source in gone {
            state.ready.remove(&source);
        }
        let numbers: Vec<_> = state.lines.keys().copied().collect();
        for number in numbers {
            if let Some(line) = state.lines.get_mut(&number) {
                let left = line.handlers.iter().filter(|it| !it.same_as(handler));
                line.handlers = left.cloned().collect();
            }
            state.refresh(number);
        }
        let _idle = self.wait_while(state, |state| {
            state.running.as_ref().is_some_and(|running| {
                running.thread != thread::current().id()
                    && running.handlers.iter().any(|it| it.same_as(handler))
            })
        });
    }

    /// Binds the vector of a handler to processors. Says whether it has one.
    pub(crate) fn bind(&self, handler: &H, processors: &Processors) -> bool {
        let mut state = lock(&self.state);
        let vector = state.vector_of(handler);
        vector
            .map(|vector| vector.processors = *processors)
            .is_some()
    }

    /// What the vector of a handler is bound to, if it has one.
    pub(crate) fn bound(&self, handler: &H) -> Option<Processors> {
        let mut state = lock(&self.state);
        state.vector_of(handler).map(|vector| vector.processors)
    }

    /// What is connected: vectors, and then lines, by their numbers.
    pub(crate) fn connected(&self) -> Vec<Connected> {
        let state = lock(&self.state);
        let vectors = (0_u16..).zip(&state.vectors);
        let vectors = vectors.filter_map(|(number, vector)| {
            let vector = vector.as_ref()?;
            Some((
                Source::Vector(number),
                &vector.handlers,
                vector.processors,
                vector.delivered,
            ))
        });
        let lines = state.lines.iter().map(|(number, line)| {
            let source = Source::Line(*number);
            (source, &line.handlers, Processors::ANY, line.delivered)
        });
        let sources = vectors.chain(lines);
        let rows = sources.flat_map(|(source, handlers, processors, delivered)| {
            handlers.iter().map(move |handler| Connected {
                source,
                name: handler.name(),
                processors,
                delivered,
            })
        });
        rows.collect()
    }

    /// A device sends a message.
    fn send(&self, sender: &Arc<Counters>, address: u64, data: u32) {
        let mut state = lock(&self.state);
        let Some((number, vector)) = state.vector(address, data) else {
            state.counts.lost += 1;
            return;
        };
        vector.sender = Some(Arc::clone(sender));
        state.ready.insert(Source::Vector(number));
        self.announce(state);
    }

    /// A device asserts a line, or no longer does.
    fn set(&self, number: u32, device: usize, counters: &Arc<Counters>, asserted: bool) {
        let mut state = lock(&self.state);
        let Some(line) = state.lines.get_mut(&number) else {
            return;
        };
        if asserted {
            line.asserted.insert(device, Arc::clone(counters));
        } else {
            line.asserted.remove(&device);
        }
        line.deliveries = 0;
        state.refresh(number);
        self.announce(state);
    }

    /// How many interrupts can be delivered now.
    pub(crate) fn ready(&self) -> usize {
        lock(&self.state).ready.len()
    }

    /// Calls the handlers of the `nth` interrupt that can be delivered now, and says which it was.
    pub(crate) fn deliver(&self, nth: usize) -> Option<Source> {
        let state = lock(&self.state);
        let source = state.ready.iter().nth(nth).copied()?;
        drop(self.run(state, source));
        Some(source)
    }

    /// Delivers interrupts, each source in its turn, until the machine is switched off.
    pub(crate) fn dispatch(&self) {
        let mut state = lock(&self.state);
        while !state.off {
            state = match state.next() {
                Some(source) => self.run(state, source),
                None => self
                    .arrived
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Returns when `done` says so, which is asked whenever an interrupt was delivered, or after
    /// `limit`.
    pub(crate) fn wait(&self, limit: Duration, done: impl Fn() -> bool) {
        let mut state = lock(&self.state);
        state.waiting += 1;
        let (mut state, _) = self
            .delivered
            .wait_timeout_while(state, limit, |state| !state.off && !done())
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
    }

    /// Forgets all handlers, and takes no more.
    pub(crate) fn off(&self) {
        let mut state = lock(&self.state);
        state.off = true;
        state.ready.clear();
        let vectors = core::mem::take(&mut state.vectors);
        let lines = core::mem::take(&mut state.lines);
        drop(state);
        self.arrived.notify_all();
        self.delivered.notify_all();
        // Not with the lock: a handler is the last to know of a driver's registers.
        drop((vectors, lines));
    }

    /// What the controller saw.
    pub(crate) fn counts(&self) -> InterruptCounts {
        lock(&self.state).counts
    }

    /// Calls the handlers of `source`, without the lock.
    fn run<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<H>>,
        source: Source,
    ) -> MutexGuard<'s, State<H>> {
        let handlers = state.begin(source);
        drop(state);
        let mut wanted = false;
        for handler in handlers.iter() {
            // All of them: two devices may have raised the line.
            wanted |= handler.handle();
        }
        let mut state = lock(&self.state);
        state.running = None;
        state.counts.delivered += 1;
        state.counts.unwanted += u64::from(!wanted);
        if state.waiting != 0 {
            self.delivered.notify_all();
        }
        state
    }

    /// Tells who delivers that there may be something to deliver.
    fn announce(&self, state: MutexGuard<'_, State<H>>) {
        let ready = !state.ready.is_empty();
        drop(state);
        if ready {
            self.arrived.notify_one();
        }
    }

    fn wait_while<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<H>>,
        condition: impl FnMut(&mut State<H>) -> bool,
    ) -> MutexGuard<'s, State<H>> {
        state.waiting += 1;
        let mut state = self
            .delivered
            .wait_while(state, condition)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }
}

impl<H: Handle> State<H> {
    /// The vector that a message is for.
    fn vector(&mut self, address: u64, data: u32) -> Option<(u16, &mut Vector<H>)> {
        let number = u16::try_from(data.checked_sub(MESSAGE_DATA)?).ok()?;
        let expected = MESSAGES + u64::from(number) * MESSAGE_STRIDE;
        let vector = self.vectors.get_mut(usize::from(number))?.as_mut()?;
        (address == expected).then_some((number, vector))
    }

    /// The vector that was provided for a handler.
    fn vector_of(&mut self, handler: &H) -> Option<&mut Vector<H>> {
        let mut vectors = self.vectors.iter_mut().flatten();
        vectors.find(|vector| vector.handlers.iter().any(|it| it.same_as(handler)))
    }

    /// Whether a line can be delivered may have changed.
    fn refresh(&mut self, number: u32) {
        let source = Source::Line(number);
        if self.lines.get(&number).is_some_and(LineState::is_ready) {
            self.ready.insert(source);
        } else {
            self.ready.remove(&source);
        }
    }

    /// The next in turn, so that none keeps the others from being delivered.
    fn next(&self) -> Option<Source> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.ready.range((after, Bound::Unbounded));
        later.next().or_else(|| self.ready.first()).copied()
    }

    /// Begins a delivery: from here on, the interrupt can be raised again. Returns who is to be
    /// called.
    fn begin(&mut self, source: Source) -> Arc<[H]> {
        let handlers = match source {
            Source::Vector(number) => {
                self.ready.remove(&source);
                let vector = self.vectors.get_mut(usize::from(number));
                vector.and_then(Option::as_mut).map(|vector| {
                    vector.delivered += 1;
                    if let Some(sender) = vector.sender.take() {
                        sender.interrupted();
                    }
                    Arc::clone(&vector.handlers)
                })
            }
            Source::Line(number) => {
                let handlers = self.lines.get_mut(&number).map(|line| {
                    line.deliveries += 1;
                    line.delivered += 1;
                    line.asserted.values().for_each(|it| it.interrupted());
                    Arc::clone(&line.handlers)
                });
                self.refresh(number);
                handlers
            }
        };
        // What is ready has handlers.
        let handlers = handlers.unwrap_or_else(|| Arc::new([]));
        self.last = Some(source);
        self.running = Some(Running {
            thread: thread::current().id(),
            handlers: Arc::clone(&handlers),
        });
        handlers
    }
}

impl<H> LineState<H> {
    fn new() -> Self {
        Self {
            handlers: Arc::new([]),
            delivered: 0,
            asserted: BTreeMap::new(),
            deliveries: 0,
        }
    }

    fn is_ready(&self) -> bool {
        !self.asserted.is_empty() && !self.handlers.is_empty() && self.deliveries < REDELIVERIES_MAX
    }
}

impl<H> fmt::Debug for Controller<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Controller")
            .field("ready", &state.ready)
            .field("counts", &state.counts)
            .finish_non_exhaustive()
    }
}

/// A device's wires to the controller.
pub(crate) struct Wires<H> {
    controller: Arc<Controller<H>>,
    /// Tells the devices on a line apart.
    device: usize,
    line: u32,
    counters: Arc<Counters>,
}

impl<H: Handle> Wires<H> {
    pub(crate) fn new(
        controller: Arc<Controller<H>>,
        device: usize,
        line: u32,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            controller,
            device,
            line,
            counters,
        }
    }
}

impl<H: Handle> MessageSink for Wires<H> {
    fn send(&self, address: u64, data: u32) {
        self.controller.send(&self.counters, address, data);
    }
}

impl<H: Handle> DeviceLine for Wires<H> {
    fn set(&self, asserted: bool) {
        self.controller
            .set(self.line, self.device, &self.counters, asserted);
    }
}

#[cfg(test)]
mod tests;
