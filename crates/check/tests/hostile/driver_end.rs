//! Histories of the driver's end, against a device.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringway_check::exercise::Numbers;
use ringway_check::hostile::Device;
use ringway_ring::driver::{Completion, Queue, Refusal, Segment, Token, Violation};

use crate::arena::Arena;
use crate::history::{Setup, play};
use crate::seam::{INTERPOSED, Seam};

/// Most reads of shared memory to take a chain: an index and an element.
const LOADS_MAX: usize = 2;

/// What a chain is given with. Says when it is dropped.
struct Owner {
    number: usize,
    drops: Rc<Cell<usize>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

/// A chain that was submitted.
struct Sent {
    token: Option<Token>,
    writable: u32,
    is_home: bool,
    drops: Rc<Cell<usize>>,
}

struct History {
    setup: Setup,
    numbers: Numbers,
    arena: Arena,
    device: Rc<RefCell<Device>>,
    seam: Seam,
    queue: Queue<Owner>,
    sent: Vec<Sent>,
}

#[test]
fn every_owner_comes_home_once_from_a_split_ring_whatever_the_device_does() {
    let test = "every_owner_comes_home_once_from_a_split_ring";
    let rules = ["UsedTooFar", "UnknownId", "WrittenTooMuch", "BatchTooLong"];
    play(test, &rules, |setup| History::new(setup.split()).play());
}

#[test]
fn every_owner_comes_home_once_from_a_packed_ring_whatever_the_device_does() {
    let test = "every_owner_comes_home_once_from_a_packed_ring";
    let rules = ["UnknownId", "WrittenTooMuch"];
    play(test, &rules, |setup| History::new(setup.packed()).play());
}

impl History {
    fn new(setup: Setup) -> Self {
        let arena = Arena::new(&setup);
        let memory = arena.memory();
        let queue = Queue::new(&memory, setup.geometry(), setup.features, setup.start).unwrap();
        let device = Device::new(&arena.ring(), setup.conduct, setup.seed).unwrap();
        let device = Rc::new(RefCell::new(device));
        let seam = Seam::new(setup.is_honest(), {
            let device = device.clone();
            let mut chance = Numbers::new(!setup.seed);
            let haste = setup.haste;
            move || {
                if chance.below(haste) == 0 {
                    device.borrow_mut().step();
                }
            }
        });
        Self {
            numbers: Numbers::new(setup.seed.rotate_left(32)),
            setup,
            arena,
            device,
            seam,
            queue,
            sent: Vec::new(),
        }
    }

    fn play(mut self) -> Option<Violation> {
        for _ in 0..20 + self.numbers.below(80) {
            for _ in 0..self.numbers.below(4) {
                self.device.borrow_mut().step();
            }
            match self.numbers.below(8) {
                0..=2 => self.submit(),
                3 | 4 => {
                    self.poll();
                }
                5 => {
                    self.call(1, Queue::kick_needed);
                }
                6 => {
                    self.call(1, Queue::arm);
                }
                _ => self.call(0, Queue::disarm),
            }
            self.check_count();
        }
        if self.setup.is_honest() {
            self.drain();
        }
        self.finish()
    }

    /// Makes a call, in which the device may act, and which writes nothing of the device's.
    fn call<T>(&mut self, loads: usize, call: impl FnOnce(&mut Queue<Owner>) -> T) -> T {
        let before = (!INTERPOSED).then(|| self.arena.image());
        let result = self.seam.during(loads, || call(&mut self.queue));
        if let Some(before) = before {
            self.arena.changed(&before, &self.arena.driver_writes());
        }
        result
    }

    /// A new owner, and where it is kept account of.
    fn owner(&mut self, writable: u32) -> Owner {
        let drops = Rc::new(Cell::new(0));
        let number = self.sent.len();
        self.sent.push(Sent {
            token: None,
            writable,
            is_home: false,
            drops: drops.clone(),
        });
        Owner { number, drops }
    }

    /// Up to three, anywhere: nothing reads what they name.
    fn segments(&mut self) -> Vec<Segment> {
        let count = self.numbers.below(4);
        let segment = |_| Segment {
            address: self.numbers.draw(),
            len: self.numbers.below(64) as u32,
        };
        (0..count).map(segment).collect()
    }

    fn submit(&mut self) {
        let (readable, writable) = (self.segments(), self.segments());
        let count = readable.len() + writable.len();
        let bytes = writable.iter().map(|segment| segment.len).sum();
        let owner = self.owner(bytes);
        let number = owner.number;
        let (next_id, has_room) = (self.queue.next_id(), self.queue.has_room(count));

        let result = self.call(0, |queue| queue.submit(&readable, &writable, owner));

        match result {
            Ok(token) => {
                assert!(has_room && count != 0);
                assert_eq!(Some(token.id()), next_id);
                let flying = |sent: &Sent| !sent.is_home && sent.token == Some(token);
                assert!(!self.sent.iter().any(flying), "a token of two chains");
                self.sent[number].token = Some(token);
            }
            Err(rejected) => {
                assert_eq!(rejected.owner.number, number);
                match rejected.why {
                    Refusal::Empty => assert_eq!(count, 0),
                    Refusal::Full => assert!(!has_room && self.in_flight() != 0),
                    Refusal::TooLong { limit, .. } => assert!(count > usize::from(limit)),
                    Refusal::Broken(violation) => {
                        assert_eq!(self.queue.violation(), Some(violation));
                    }
                    other => panic!("{other:?}"),
                }
                self.sent[number].is_home = true;
            }
        }
    }

    /// Takes one chain. Says whether there was one.
    fn poll(&mut self) -> bool {
        let before = self.queue.violation();
        match self.call(LOADS_MAX, Queue::poll) {
            Ok(Some(done)) => {
                assert_eq!(before, None, "a broken queue gave something back");
                self.home(done);
                true
            }
            Ok(None) => {
                assert_eq!(before, None, "a violation was forgotten");
                false
            }
            Err(violation) => {
                assert!(!self.setup.is_honest(), "nobody did this: {violation}");
                assert!(before.is_none_or(|before| before == violation));
                self.check_latched(violation);
                false
            }
        }
    }

    fn home(&mut self, done: Completion<Owner>) {
        let sent = &mut self.sent[done.owner.number];
        assert_eq!(sent.token, Some(done.token));
        assert!(done.written <= sent.writable);
        assert!(!sent.is_home, "an owner came home twice");
        sent.is_home = true;
        if self.setup.is_honest() {
            let said = self.device.borrow_mut().said(done.token.id());
            assert_eq!(said, Some(done.written));
        }
        drop(done.owner);
    }

    /// Once a rule was broken, every call says so, and nothing moves.
    fn check_latched(&mut self, violation: Violation) {
        let before = self.arena.image();
        let in_flight = self.queue.in_flight();
        let owner = self.owner(0);
        let number = owner.number;
        let segment = Segment { address: 0, len: 1 };

        let rejected = self.queue.submit(&[segment], &[], owner).err().unwrap();

        assert_eq!(rejected.why, Refusal::Broken(violation));
        assert_eq!(rejected.owner.number, number);
        self.sent[number].is_home = true;
        assert!(!self.queue.kick_needed(), "a broken queue asks for a kick");
        assert_eq!(self.queue.poll().err(), Some(violation));
        assert_eq!(self.queue.violation(), Some(violation));
        assert_eq!(self.queue.in_flight(), in_flight);
        assert_eq!(self.arena.changed(&before, &[]), 0);
    }

    fn in_flight(&self) -> usize {
        let flying = |sent: &&Sent| !sent.is_home && sent.token.is_some();
        self.sent.iter().filter(flying).count()
    }

    fn check_count(&self) {
        assert_eq!(usize::from(self.queue.in_flight()), self.in_flight());
    }

    /// An honest device gives everything back.
    fn drain(&mut self) {
        self.seam.calm();
        self.call(1, Queue::kick_needed);
        self.device.borrow_mut().settle();
        while self.poll() {
            self.check_count();
        }
        assert_eq!(self.queue.in_flight(), 0, "something was lost");
    }

    /// After a reset, what is still out comes home.
    fn finish(mut self) -> Option<Violation> {
        while let Some(owner) = self.queue.reclaim() {
            let sent = &mut self.sent[owner.number];
            assert!(!sent.is_home, "an owner came home twice");
            sent.is_home = true;
        }
        for sent in &self.sent {
            assert!(sent.is_home, "an owner was lost");
            assert_eq!(sent.drops.get(), 1);
        }
        self.arena.check_guards();
        self.queue.violation()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.setup);
            if let Ok(device) = self.device.try_borrow() {
                eprintln!("{}", device.record());
            }
        }
    }
}
