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
use ringway_driver::interrupt::Handler;
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

/// What is called for an interrupt.
pub(crate) trait Handle: Clone + Send + Sync + 'static {
    /// Says whether it was its device's.
    fn handle(&self) -> bool;
    fn same_as(&self, other: &Self) -> bool;
}

impl<P: Platform> Handle for Handler<P> {
    fn handle(&self) -> bool {
        self.handle()
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
    /// Who sent the message that is pending.
    sender: Option<Arc<Counters>>,
}

struct LineState<H> {
    handlers: Arc<[H]>,
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
                    if let Some(sender) = vector.sender.take() {
                        sender.interrupted();
                    }
                    Arc::clone(&vector.handlers)
                })
            }
            Source::Line(number) => {
                let handlers = self.lines.get_mut(&number).map(|line| {
                    line.deliveries += 1;
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
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    type Called = Arc<dyn Fn(u32) -> bool + Send + Sync>;

    /// A handler that counts its calls, and is told the count.
    #[derive(Clone)]
    struct Test {
        calls: Arc<AtomicU32>,
        called: Called,
    }

    impl Test {
        fn new(called: impl Fn(u32) -> bool + Send + Sync + 'static) -> Self {
            Self {
                calls: Arc::default(),
                called: Arc::new(called),
            }
        }

        fn calls(&self) -> u32 {
            self.calls.load(Ordering::SeqCst)
        }
    }

    impl Handle for Test {
        fn handle(&self) -> bool {
            (self.called)(self.calls.fetch_add(1, Ordering::SeqCst) + 1)
        }

        fn same_as(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.calls, &other.calls)
        }
    }

    fn controller() -> Arc<Controller<Test>> {
        Arc::new(Controller::new(2, [5]))
    }

    fn wires(controller: &Arc<Controller<Test>>, device: usize) -> (Wires<Test>, Arc<Counters>) {
        let counters = Arc::<Counters>::default();
        let wires = Wires::new(Arc::clone(controller), device, 5, Arc::clone(&counters));
        (wires, counters)
    }

    #[test]
    fn a_message_sent_twice_before_it_is_delivered_is_delivered_once() {
        let controller = controller();
        let (wires, counters) = wires(&controller, 0);
        let handler = Test::new(|_| true);
        let message = controller.provide(handler.clone()).unwrap();

        wires.send(message.address, message.data);
        wires.send(message.address, message.data);

        assert_eq!(controller.deliver(0), Some(Source::Vector(0)));
        assert_eq!(controller.deliver(0), None);
        wires.send(message.address, message.data);
        assert_eq!(controller.deliver(0), Some(Source::Vector(0)));
        assert_eq!((handler.calls(), counters.interrupts()), (2, 2));
    }

    #[test]
    fn vectors_run_out_and_come_back() {
        let controller = controller();
        let handlers = [(); 3].map(|()| Test::new(|_| true));

        let messages: Vec<_> = handlers
            .iter()
            .map(|it| controller.provide(it.clone()))
            .collect();

        assert_eq!(messages[2], None);
        assert_ne!(messages[0], messages[1]);
        controller.disconnect(&handlers[0]);
        assert_eq!(controller.provide(handlers[2].clone()), messages[0]);
    }

    #[test]
    fn a_message_that_is_nobodys_is_lost_and_counted() {
        let controller = controller();
        let (wires, _) = wires(&controller, 0);
        let handler = Test::new(|_| true);
        let message = controller.provide(handler.clone()).unwrap();

        wires.send(message.address + MESSAGE_STRIDE, message.data);
        wires.send(message.address, message.data + 1);
        wires.send(message.address, 0);
        controller.disconnect(&handler);
        wires.send(message.address, message.data);

        assert_eq!(controller.ready(), 0);
        assert_eq!(controller.counts().lost, 4);
    }

    #[test]
    fn a_line_is_delivered_to_all_its_handlers_while_one_device_asserts_it() {
        let controller = controller();
        let (first, first_counters) = wires(&controller, 0);
        let (second, second_counters) = wires(&controller, 1);
        let handlers = [(); 2].map(|()| Test::new(|calls| calls < 3));
        for handler in &handlers {
            assert!(controller.connect(5, handler.clone()));
        }

        first.set(true);
        second.set(true);
        controller.deliver(0).unwrap();
        first.set(false);
        controller.deliver(0).unwrap();
        controller.deliver(0).unwrap();
        second.set(false);

        assert_eq!(controller.deliver(0), None);
        assert_eq!(handlers.each_ref().map(Test::calls), [3, 3]);
        assert_eq!(first_counters.interrupts(), 1);
        assert_eq!(second_counters.interrupts(), 3);
        assert_eq!(controller.counts().unwanted, 1);
    }

    #[test]
    fn a_line_that_is_never_let_go_of_is_shut_off_until_a_device_changes_it() {
        let controller = controller();
        let (stuck, _) = wires(&controller, 0);
        let (honest, _) = wires(&controller, 1);
        let handler = Test::new(|_| false);
        controller.connect(5, handler.clone());

        stuck.set(true);
        while controller.deliver(0).is_some() {}

        assert_eq!(handler.calls(), REDELIVERIES_MAX);
        assert_eq!(controller.counts().unwanted, u64::from(REDELIVERIES_MAX));
        honest.set(true);
        assert_eq!(controller.deliver(0), Some(Source::Line(5)));
    }

    #[test]
    fn a_line_without_handlers_waits_for_one() {
        let controller = controller();
        let (wires, _) = wires(&controller, 0);
        let handler = Test::new(|_| true);

        wires.set(true);

        assert_eq!(controller.ready(), 0);
        assert!(!controller.connect(6, handler.clone()), "no such line");
        assert!(controller.connect(5, handler.clone()));
        assert_eq!(controller.ready(), 1);
        controller.disconnect(&handler);
        assert_eq!(controller.ready(), 0);
    }

    #[test]
    fn a_handler_may_disconnect_itself() {
        let controller = controller();
        let (wires, _) = wires(&controller, 0);
        let itself: Arc<Mutex<Option<Test>>> = Arc::default();
        let handler = Test::new({
            let (controller, itself) = (Arc::downgrade(&controller), Arc::clone(&itself));
            move |_| {
                let handler = lock(&itself).clone().unwrap();
                controller.upgrade().unwrap().disconnect(&handler);
                true
            }
        });
        *lock(&itself) = Some(handler.clone());
        controller.connect(5, handler.clone());

        wires.set(true);
        controller.deliver(0).unwrap();

        assert_eq!(controller.deliver(0), None);
        lock(&itself).take();
    }

    #[test]
    fn a_handler_that_is_disconnected_does_not_run_any_more() {
        let controller = controller();
        let (wires, _) = wires(&controller, 0);
        let (entered, was_entered) = channel();
        let (leave, may_leave) = channel();
        let may_leave = Mutex::new(may_leave);
        let left = Arc::new(AtomicU32::new(0));
        let handler = Test::new({
            let left = Arc::clone(&left);
            move |_| {
                entered.send(()).unwrap();
                lock(&may_leave).recv().unwrap();
                left.store(1, Ordering::SeqCst);
                true
            }
        });
        let message = controller.provide(handler.clone()).unwrap();

        thread::scope(|scope| {
            scope.spawn(|| controller.dispatch());
            wires.send(message.address, message.data);
            was_entered.recv().unwrap();
            let disconnecting = scope.spawn(|| {
                controller.disconnect(&handler);
                left.load(Ordering::SeqCst)
            });
            while lock(&controller.state).waiting == 0 {
                thread::yield_now();
            }
            leave.send(()).unwrap();

            assert_eq!(disconnecting.join().unwrap(), 1);
            controller.off();
        });
        assert_eq!(handler.calls(), 1);
    }

    #[test]
    fn whoever_waits_is_woken_by_a_delivery_or_gives_up() {
        let controller = controller();
        let (wires, _) = wires(&controller, 0);
        let handler = Test::new(|_| true);
        let message = controller.provide(handler.clone()).unwrap();
        let long = Duration::from_secs(3600);

        thread::scope(|scope| {
            scope.spawn(|| controller.dispatch());
            let waiting = scope.spawn(|| controller.wait(long, || handler.calls() != 0));
            wires.send(message.address, message.data);

            waiting.join().unwrap();
            controller.wait(Duration::ZERO, || false);
            controller.off();
            controller.wait(long, || false);
        });
        assert_eq!(handler.calls(), 1);
        assert_eq!(controller.provide(handler), None);
    }
}
