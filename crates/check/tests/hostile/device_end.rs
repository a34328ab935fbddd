//! Histories of the device's end, against a driver.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringway_check::exercise::Numbers;
use ringway_check::hostile::Driver;
use ringway_check::hostile::driver::Offer;
use ringway_ring::device::{Chain, Queue, Violation};

use crate::arena::{Arena, ranges};
use crate::history::{Setup, play};
use crate::seam::{INTERPOSED, Seam};

/// Most reads of shared memory to take a chain: the available index and a head, and
const LOADS_HEAD: usize = 2;
/// for each descriptor that the queue has, one of the ring, as two words, and one of a table, as a word
/// and eight bytes around it.
const LOADS_EACH: usize = 2 + 9;

/// The rules that a driver of either format can break.
const EITHER: [&str; 8] = [
    "TooManyInFlight",
    "ChainTooLong",
    "ReadableAfterWritable",
    "NotMapped",
    "IndirectNotNegotiated",
    "IndirectInIndirect",
    "IndirectWithNext",
    "IndirectLength",
];

struct History {
    setup: Setup,
    numbers: Numbers,
    arena: Arena,
    driver: Rc<RefCell<Driver>>,
    seam: Seam,
    queue: Queue,
    kept: Vec<(Chain, Option<Offer>)>,
    /// What was said to be written, by id, of chains that the driver has not had back.
    completed: BTreeMap<u16, u32>,
}

#[test]
fn no_driver_of_a_split_ring_leads_the_device_astray() {
    let test = "no_driver_of_a_split_ring";
    let rules = [&EITHER[..], &["AvailableTooFar", "DescriptorIndex"]].concat();
    play(test, &rules, |setup| History::new(setup.split()).play());
}

#[test]
fn no_driver_of_a_packed_ring_leads_the_device_astray() {
    let test = "no_driver_of_a_packed_ring";
    let rules = [&EITHER[..], &["NotAvailable"]].concat();
    play(test, &rules, |setup| History::new(setup.packed()).play());
}

impl History {
    fn new(setup: Setup) -> Self {
        let arena = Arena::new(&setup);
        let ring = arena.ring();
        let driver = Driver::new(&ring, arena.room(), setup.conduct, setup.seed).unwrap();
        let queue = Queue::new(&arena.map, ring.size, ring.areas, ring.features, ring.start);
        let driver = Rc::new(RefCell::new(driver));
        let seam = Seam::new(setup.is_honest(), {
            let driver = driver.clone();
            let mut chance = Numbers::new(!setup.seed);
            let haste = setup.haste;
            move || {
                if chance.below(haste) == 0 {
                    driver.borrow_mut().step();
                }
            }
        });
        Self {
            numbers: Numbers::new(setup.seed.rotate_left(32)),
            queue: queue.unwrap(),
            setup,
            arena,
            driver,
            seam,
            kept: Vec::new(),
            completed: BTreeMap::new(),
        }
    }

    fn play(mut self) -> Option<Violation> {
        for _ in 0..20 + self.numbers.below(60) {
            for _ in 0..self.numbers.below(4) {
                self.driver.borrow_mut().step();
            }
            match self.numbers.below(8) {
                0..=3 => {
                    let most = 1 + self.numbers.below(4);
                    self.serve(most);
                }
                4 | 5 => self.complete(),
                6 => {
                    self.call(1, Queue::interrupt_needed);
                }
                _ if self.numbers.below(2) == 0 => {
                    self.call(1, Queue::arm);
                }
                _ => self.call(0, Queue::disarm),
            }
            self.check_returned();
        }
        if self.setup.is_honest() {
            self.drain();
        }
        self.arena.check_guards();
        self.queue.violation()
    }

    /// Makes a call, in which the driver may act, and which writes nothing but what is the
    /// device's.
    fn call<T>(&mut self, loads: usize, call: impl FnOnce(&mut Queue) -> T) -> T {
        let before = (!INTERPOSED).then(|| self.arena.image());
        let result = self.seam.during(loads, || call(&mut self.queue));
        if let Some(before) = before {
            self.arena.changed(&before, &self.arena.device_writes());
        }
        assert_eq!(usize::from(self.queue.in_flight()), self.kept.len());
        assert!(self.queue.in_flight() <= self.setup.size);
        result
    }

    /// Takes so many chains, at most. Each is read and written; most are completed at once.
    fn serve(&mut self, most: u64) {
        for _ in 0..most {
            if self.numbers.below(2) == 0 && self.serve_at_once() {
                continue;
            }
            let loads = LOADS_HEAD + LOADS_EACH * usize::from(self.setup.size);
            let before = self.queue.violation();
            let image = (!INTERPOSED).then(|| self.arena.image());
            let mut batch = self.queue.batch(&self.arena.map);
            let taken = self.seam.during(loads, || batch.next_chain());
            drop(batch);
            if let Some(image) = image {
                self.arena.changed(&image, &self.arena.device_writes());
            }
            match taken {
                Ok(Some(chain)) => {
                    assert_eq!(before, None, "a broken queue was served");
                    let offer = self.driver.borrow_mut().taken().cloned();
                    let offer = offer.filter(|_| self.setup.is_honest());
                    assert!(offer.is_some() || !self.setup.is_honest());
                    self.kept.push((chain, offer));
                    self.use_newest();
                    if self.numbers.below(4) != 0 {
                        self.complete();
                    }
                }
                Ok(None) => {
                    assert_eq!(before, None, "a violation was forgotten");
                    return;
                }
                Err(violation) => {
                    assert!(!self.setup.is_honest(), "nobody did this: {violation}");
                    assert!(before.is_none_or(|before| before == violation));
                    return self.check_latched(violation);
                }
            }
        }
    }

    /// Serves the next chain at once, if it is one that can be. What bytes it has is left alone.
    fn serve_at_once(&mut self) -> bool {
        let before = self.queue.violation();
        // More is claimed at times than there is.
        let written = self.numbers.below(1 << 12) as u32;
        let leaves = self.numbers.below(8) == 0;
        let image = (!INTERPOSED).then(|| self.arena.image());
        let mut found = None;
        let mut batch = self.queue.batch(&self.arena.map);
        let serve = || {
            batch.serve_next(|plain| {
                found = Some((
                    plain.readable().is_some(),
                    plain.writable().map(|v| v.len()),
                ));
                (!leaves).then_some(written)
            })
        };
        let served = self.seam.during(LOADS_HEAD + LOADS_EACH, serve);
        drop(batch);
        if let Some(image) = image {
            self.arena.changed(&image, &self.arena.device_writes());
        }
        assert_eq!(served, found.is_some() && !leaves);
        if let (Some((is_readable, writable)), true) = (found, served) {
            assert_eq!(before, None, "a broken queue was served");
            assert_ne!(is_readable, writable.is_some());
            // What it had back since may be in flight again.
            self.check_returned();
            if self.setup.is_honest() {
                let offer = self.driver.borrow_mut().taken().cloned().unwrap();
                let room = writable.unwrap_or(0) as u32;
                let other = self.completed.insert(offer.id, written.min(room));
                assert_eq!(other, None, "an id of two chains");
            }
        }
        served
    }

    /// Reads all that the newest chain has readable, and writes some of what it has writable.
    fn use_newest(&mut self) {
        let (chain, offer) = self.kept.last().unwrap();
        let batch = self.queue.batch(&self.arena.map);
        let mut readable = batch.readable(chain);
        let mut bytes = vec![0; chain.readable_bytes() as usize];
        assert_eq!(readable.remaining(), bytes.len() as u64);
        // What a driver writes meanwhile is read as it may be.
        let read = self.seam.during(bytes.len(), || readable.read(&mut bytes));
        read.expect("what was checked is there");
        assert_eq!(readable.remaining(), 0);
        let some = self.numbers.below(u64::from(chain.writable_bytes()) + 1) as usize;
        let image = self.arena.image();
        let mut answer = vec![0; some];
        self.numbers.fill(&mut answer);
        let mut writable = batch.writable(chain);
        assert_eq!(writable.remaining(), u64::from(chain.writable_bytes()));

        writable.write(&answer).expect("what was checked is there");

        match offer {
            Some(offer) => {
                assert_eq!(bytes, self.arena.bytes(&offer.readable));
                let there = self.arena.bytes(&offer.writable);
                assert_eq!(there.len(), chain.writable_bytes() as usize);
                assert_eq!(there[..some], answer);
                self.arena.changed(&image, &ranges(&offer.writable));
            }
            None => {
                let anywhere = std::slice::from_ref(&(0..u64::MAX));
                assert!(self.arena.changed(&image, anywhere) <= some);
            }
        }
    }

    /// Completes any of the chains that were kept.
    fn complete(&mut self) {
        let which = self.numbers.below(self.kept.len() as u64) as usize;
        if which >= self.kept.len() {
            return;
        }
        // What it had back since may be in flight again.
        self.check_returned();
        let (chain, offer) = self.kept.swap_remove(which);
        let room = chain.writable_bytes();
        // More is claimed at times than there is; no more than there is may be told.
        let written = self.numbers.below(2 * u64::from(room) + 2) as u32;
        if let Some(offer) = offer {
            let other = self.completed.insert(offer.id, written.min(room));
            assert_eq!(other, None, "an id of two chains");
        }
        let image = self.arena.image();
        let mut batch = self.queue.batch(&self.arena.map);
        self.seam.during(0, || batch.complete(chain, written));
        drop(batch);
        self.arena.changed(&image, &self.arena.device_writes());
    }

    /// What an honest driver has back is what was completed, and all is well with it.
    fn check_returned(&mut self) {
        let mut driver = self.driver.borrow_mut();
        while let Some(back) = driver.returned() {
            if self.setup.is_honest() {
                let written = self.completed.remove(&back.offer.id);
                assert_eq!(written, Some(back.written));
            }
        }
        assert!(driver.complaint().is_none() || !self.setup.is_honest());
    }

    /// Once a rule was broken, the queue says so for good, and nothing moves.
    fn check_latched(&mut self, violation: Violation) {
        let image = self.arena.image();

        for _ in 0..2 {
            let mut batch = self.queue.batch(&self.arena.map);
            assert_eq!(batch.next_chain().err(), Some(violation));
        }

        assert_eq!(self.queue.violation(), Some(violation));
        assert_eq!(usize::from(self.queue.in_flight()), self.kept.len());
        assert_eq!(self.arena.changed(&image, &[]), 0);
    }

    /// Everything that an honest driver made available is taken, completed and had back.
    fn drain(&mut self) {
        self.seam.calm();
        self.driver.borrow_mut().settle();
        self.serve(self.setup.size.into());
        while !self.kept.is_empty() {
            self.complete();
        }
        self.call(1, Queue::interrupt_needed);
        self.driver.borrow_mut().settle();
        self.check_returned();
        assert_eq!(self.driver.borrow().in_flight(), 0, "something was lost");
        assert!(self.completed.is_empty());
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.setup);
            if let Ok(driver) = self.driver.try_borrow() {
                eprintln!("{}", driver.record());
                eprintln!("{:?}", driver.complaint());
            }
        }
    }
}
