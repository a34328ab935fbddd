//! The driver's end of a queue of either format, on a device that does as it likes between any two
//! of its calls. As long as the device is honest, what comes back is exactly what it gave.

use std::collections::VecDeque;

use ringway_ring::driver::{Geometry, Memory, Queue, Refusal, Segment, Token};
use ringway_ring::shared::Shared;
use ringway_spec::packed::{self, DescriptorFlags};
use ringway_spec::{F, Features, split};

use crate::format::{Format, Place, Setup};
use crate::input::Input;

/// Bytes before and after the ring that are not the queue's.
const GUARD: usize = 256;
const CANARY: u8 = 0xee;
/// Where the ring is for the device.
const RING: u64 = 0x7000_0000_0000;

/// A chain that the driver submitted.
struct Sent {
    token: Token,
    writable: u32,
    /// Those that it takes of the ring.
    descriptors: u16,
    /// The device may know of it.
    published: bool,
    /// The device has given it back.
    served: bool,
    back: bool,
}

struct Bench {
    format: Format,
    memory: Shared,
    ring: Shared,
    geometry: Geometry,
    features: Features,
    queue: Queue<usize>,
    sent: Vec<Sent>,
    /// How far the driver published.
    published: Place,
    /// How far it polled.
    polled: Place,
    /// How far the device has come, as long as it is honest.
    used: Place,
    /// What it gave back and the driver did not poll: owners, and bytes written.
    given: VecDeque<(usize, u32)>,
    honest: bool,
}

/// Does what `data` says, with a split queue.
pub fn split(data: &[u8]) {
    run(Format::Split, data);
}

/// Does what `data` says, with a packed queue.
pub fn packed(data: &[u8]) {
    run(Format::Packed, data);
}

fn run(format: Format, data: &[u8]) {
    let mut input = Input::new(data);
    let setup = Setup::new(format, &mut input);
    let mut bench = Bench::new(format, &setup);
    while let Some(step) = input.step() {
        bench.step(step, &mut input);
        assert_eq!(usize::from(bench.queue.in_flight()), bench.outstanding());
        if bench.queue.violation().is_none() {
            assert_eq!(bench.queue.notification_data(), bench.published.bits());
        }
    }
    bench.finish();
}

impl Bench {
    fn new(format: Format, setup: &Setup) -> Self {
        let &Setup {
            size,
            features,
            start,
            ..
        } = setup;
        let table = if setup.bits & 1 != 0 { size.min(4) } else { 0 };
        let geometry = setup.geometry(table);
        let bytes = geometry.bytes();
        let memory = Shared::allocate(GUARD + bytes + GUARD, 4096).expect("small");
        memory.view().fill(CANARY);
        let ring = memory.slice(GUARD, bytes).expect("within");
        let lent = Memory {
            shared: ring.clone(),
            address: RING,
        };
        let queue = Queue::new(&lent, geometry, features, start).expect("large enough");
        let place = Place::new(format, size, start);
        Self {
            format,
            memory,
            ring,
            geometry,
            features,
            queue,
            sent: Vec::new(),
            published: place,
            polled: place,
            used: place,
            given: VecDeque::new(),
            honest: true,
        }
    }

    fn outstanding(&self) -> usize {
        self.sent.iter().filter(|sent| !sent.back).count()
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step % 12 {
            0..=2 => self.submit(input),
            3 => self.poll(),
            4 => {
                // No more than what is in flight comes back.
                for _ in 0..=self.queue.in_flight() {
                    self.poll();
                }
            }
            5 => {
                let (came, changed) = self.changes(|queue| queue.arm());
                self.assert_only(&changed, Self::is_wish);
                assert!(!self.honest || came != self.given.is_empty());
            }
            6 => {
                let ((), changed) = self.changes(Queue::disarm);
                self.assert_only(&changed, Self::is_wish);
            }
            7 => self.kick(),
            8 | 9 => self.serve(step, usize::from(input.u8()), input.u32()),
            10 => self.forge(input.u16(), input.u64()),
            _ => {
                let (at, value) = (usize::from(input.u16()), input.u64());
                self.write(at % (self.ring.len() - 8), &value.to_le_bytes());
                self.honest = false;
            }
        }
    }

    fn submit(&mut self, input: &mut Input<'_>) {
        let shape = input.u8();
        let segments = |count: u8, input: &mut Input<'_>| -> Vec<Segment> {
            let segment = |_| Segment {
                address: u64::from(input.u16()),
                len: u32::from(input.u8()),
            };
            (0..count).map(segment).collect()
        };
        let readable = segments(shape & 7, input);
        let writable = segments(shape >> 3 & 7, input);
        let count = readable.len() + writable.len();
        let (owner, broken) = (self.sent.len(), self.queue.violation());
        let (id, has_room) = (self.queue.next_id(), self.queue.has_room(count));
        let (result, changed) = self.changes(|queue| queue.submit(&readable, &writable, owner));
        let rejected = match result {
            Ok(token) => {
                assert!(has_room && broken.is_none());
                assert_eq!(id, Some(token.id()));
                let twin = |sent: &Sent| !sent.back && sent.token.id() == token.id();
                assert!(!self.sent.iter().any(twin), "an id of two chains");
                // The device must not find the chain before it is published.
                self.assert_only(&changed, Self::is_unseen);
                let table = usize::from(self.geometry.table());
                let in_table =
                    self.features.contains(F::INDIRECT_DESC) && (2..=table).contains(&count);
                self.sent.push(Sent {
                    token,
                    writable: writable.iter().map(|segment| segment.len).sum(),
                    descriptors: if in_table { 1 } else { count as u16 },
                    published: false,
                    served: false,
                    back: false,
                });
                return;
            }
            Err(rejected) => rejected,
        };
        assert_eq!(rejected.owner, owner);
        assert!(changed.is_empty(), "what was refused was written");
        match rejected.why {
            Refusal::Empty => assert_eq!(count, 0),
            Refusal::Broken(violation) => assert_eq!(broken, Some(violation)),
            why => assert!(!has_room && broken.is_none(), "{why:?}"),
        }
    }

    fn kick(&mut self) {
        let news: Vec<_> = self.sent.iter().filter(|sent| !sent.published).collect();
        let (chains, descriptors) = (
            news.len() as u16,
            news.iter().map(|sent| sent.descriptors).sum(),
        );
        let (needed, changed) = self.changes(Queue::kick_needed);
        if chains == 0 {
            assert!(!needed, "a kick for nothing");
            assert!(changed.is_empty());
            return;
        }
        self.assert_only(&changed, Self::publishes);
        self.published.pass(chains, descriptors);
        for sent in &mut self.sent {
            sent.published = true;
        }
    }

    fn poll(&mut self) {
        let before = self.queue.violation();
        let (polled, changed) = self.changes(Queue::poll);
        assert!(changed.is_empty(), "polling writes nothing");
        let expected = self.given.pop_front().filter(|_| self.honest);
        match polled {
            Ok(Some(done)) => {
                assert!(before.is_none(), "a broken queue gives nothing back");
                if self.honest {
                    assert_eq!(Some((done.owner, done.written)), expected);
                }
                if self.features.contains(F::IN_ORDER) {
                    let oldest = self.sent.iter().position(|sent| !sent.back);
                    assert_eq!(Some(done.owner), oldest, "not in order");
                }
                let sent = self.sent.get_mut(done.owner).expect("was submitted");
                assert!(!sent.back, "an owner came back twice");
                assert_eq!(done.token, sent.token);
                assert!(done.written <= sent.writable);
                sent.back = true;
                self.polled.pass(1, sent.descriptors);
            }
            Ok(None) => assert!(before.is_none() && expected.is_none()),
            Err(violation) => {
                assert!(!self.honest, "{violation:?} of an honest device");
                assert!(before.is_none_or(|before| before == violation));
                assert_eq!(self.queue.violation(), Some(violation), "latched");
            }
        }
    }

    /// Gives a chain back, or all up to it, as an honest device does, unless it errs in what it says.
    fn serve(&mut self, step: u8, which: usize, len: u32) {
        let (errs, too_long, silent) = (step & 0x40 != 0, step & 0x80 != 0, step & 0x20 != 0);
        let open = |sent: &Sent| {
            if errs {
                !sent.back
            } else {
                sent.published && !sent.served
            }
        };
        let mut run: Vec<_> = (0..self.sent.len())
            .filter(|at| self.sent.get(*at).is_some_and(open))
            .collect();
        if run.is_empty() {
            return;
        }
        let which = which % run.len();
        if self.features.contains(F::IN_ORDER) && !errs {
            run.truncate(which + 1);
        } else {
            run = vec![run[which]];
        }
        self.honest &= !errs && !too_long;
        let mut descriptors = 0;
        for at in &run {
            let sent = &mut self.sent[*at];
            sent.served = true;
            descriptors += sent.descriptors;
            self.given.push_back((*at, sent.writable));
        }
        let sent = &self.sent[run[run.len() - 1]];
        let len = if too_long {
            len
        } else {
            len % (sent.writable + 1)
        };
        if let Some((_, written)) = self.given.back_mut() {
            *written = len;
        }
        let id = sent.token.id();
        match self.format {
            Format::Split => {
                let element = u64::from(id) | u64::from(len) << 32;
                let area = self.areas().1;
                let at = area + split::RING + self.used.slot() * 8;
                self.write(at, &element.to_le_bytes());
                self.used.pass(run.len() as u16, descriptors);
                self.write(area + split::INDEX, &self.used.bits().to_le_bytes());
            }
            Format::Packed => {
                let wrote = if len == 0 || silent {
                    0
                } else {
                    DescriptorFlags::WRITE.bits()
                };
                let flags = self.used.used() | wrote;
                self.write(self.used.slot() * 16 + 8, &tail(len, id, flags));
                self.used.pass(run.len() as u16, descriptors);
            }
        }
    }

    /// Writes where it may hurt.
    fn forge(&mut self, at: u16, value: u64) {
        let area = self.areas().1;
        let size = self.geometry.size();
        let slot = usize::from(at / 4 % size);
        self.honest &= at % 4 > 1;
        match (self.format, at % 4) {
            (Format::Split, 0) => {
                self.write(area + split::RING + slot * 8, &value.to_le_bytes());
            }
            (Format::Split, 1) => self.write(area + split::INDEX, &(value as u16).to_le_bytes()),
            (Format::Split, 2) => self.write(area + split::FLAGS, &(value as u16).to_le_bytes()),
            (Format::Split, _) => {
                let event = area + split::avail_event_offset(size);
                self.write(event, &(value as u16).to_le_bytes());
            }
            (Format::Packed, 0) => self.write(slot * 16 + 8, &value.to_le_bytes()),
            (Format::Packed, 1) => {
                // Where the driver looks next.
                let id = (value >> 32) as u16 % (size * 2);
                let flags = self.polled.used() | (value >> 48) as u16 & 7;
                self.write(
                    self.polled.slot() * 16 + 8,
                    &tail(value as u32 & 0x3ff, id, flags),
                );
            }
            (Format::Packed, _) => self.write(area, &(value as u32).to_le_bytes()),
        }
    }

    /// After a reset, all that is out comes home, once.
    fn finish(mut self) {
        for _ in 0..self.outstanding() {
            let owner = self.queue.reclaim().expect("an owner was lost");
            let sent = self.sent.get_mut(owner).expect("was submitted");
            assert!(!sent.back, "an owner came back twice");
            sent.back = true;
        }
        assert_eq!(self.queue.reclaim(), None);
        let bytes = self.bytes();
        let after = GUARD + self.ring.len();
        let guards = bytes[..GUARD].iter().chain(&bytes[after..]);
        assert!(
            guards.copied().all(|byte| byte == CANARY),
            "written outside the ring"
        );
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.memory.len()];
        self.memory.view().read(0, &mut bytes).expect("all of it");
        bytes
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        self.ring.view().write(at, bytes).expect("within");
    }

    /// Where the driver area and the device area are in the ring.
    fn areas(&self) -> (usize, usize) {
        let areas = self.geometry.areas(0);
        (areas.driver as usize, areas.device as usize)
    }

    /// Does `what`, and says which bytes of the ring it changed.
    fn changes<T>(&mut self, what: impl FnOnce(&mut Queue<usize>) -> T) -> (T, Vec<usize>) {
        let before = self.bytes();
        let result = what(&mut self.queue);
        let after = self.bytes();
        let mut changed = Vec::new();
        if before != after {
            let pairs = before.iter().zip(&after).enumerate();
            let differing = pairs.filter(|(_, (before, after))| before != after);
            changed.extend(differing.map(|(at, _)| at.wrapping_sub(GUARD)));
        }
        (result, changed)
    }

    fn assert_only(&self, changed: &[usize], may: impl Fn(&Self, usize) -> bool) {
        for at in changed {
            assert!(may(self, *at), "byte {at} was written");
        }
    }

    /// Whether a byte says of what the driver wants to be told.
    fn is_wish(&self, at: usize) -> bool {
        let driver = self.areas().0;
        let size = self.geometry.size();
        let (first, len) = match self.format {
            Format::Packed => (driver, packed::EVENT_BYTES),
            Format::Split if self.features.contains(F::EVENT_IDX) => {
                (driver + split::used_event_offset(size), 2)
            }
            Format::Split => (driver + split::FLAGS, 2),
        };
        (first..first + len).contains(&at)
    }

    /// Whether a byte makes what was submitted available.
    fn publishes(&self, at: usize) -> bool {
        let (first, len) = match self.format {
            Format::Split => (self.areas().0 + split::INDEX, 2),
            Format::Packed => (self.published.slot() * 16 + 8, 8),
        };
        (first..first + len).contains(&at)
    }

    /// Whether a byte is of a chain, and is not looked at before it is published. A device that gives
    /// chains back before that may bring a packed ring round to the place where the device looks.
    fn is_unseen(&self, at: usize) -> bool {
        let (driver, device) = self.areas();
        let size = self.geometry.size();
        let entries = driver + split::RING;
        let (within, tables) = match self.format {
            Format::Split => (
                at < split::descriptor_bytes(size)
                    || (entries..entries + 2 * usize::from(size)).contains(&at),
                device + split::used_bytes(size),
            ),
            Format::Packed => (
                at < packed::descriptor_bytes(size) && !(self.honest && self.publishes(at)),
                device + packed::EVENT_BYTES,
            ),
        };
        within || (tables..self.ring.len()).contains(&at)
    }
}

/// The second word of a packed descriptor.
fn tail(len: u32, id: u16, flags: u16) -> [u8; 8] {
    (u64::from(len) | u64::from(id) << 32 | u64::from(flags) << 48).to_le_bytes()
}
