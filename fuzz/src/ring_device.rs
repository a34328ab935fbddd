//! The device's end of a queue of either format, on a driver that writes what it likes: rings,
//! descriptors, indirect tables.

use std::collections::VecDeque;
use std::ops::Range;

use ringway_ring::device::{Chain, Queue, Violation};
use ringway_ring::driver::Areas;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_ring::slab::{Block, Slab};
use ringway_spec::packed::{self, DescriptorFlags};
use ringway_spec::{F, Features, split};

use crate::format::{Format, Place, Setup};
use crate::input::Input;

/// Where memory is for the device: a ring and two stretches of buffers, the second right after the
/// first.
const RING: u64 = 0x7000_0000_0000;
const BUFFERS: u64 = 0x1000;
const BUFFER_BYTES: usize = 2048;
/// Bytes around each stretch that the device was not given.
const GUARD: usize = 256;
const CANARY: u8 = 0xee;
/// The flags of a packed descriptor that say whose it is.
const TURN: u16 = DescriptorFlags::AVAIL.union(DescriptorFlags::USED).bits();

/// A chain that the device has.
struct Kept {
    /// How many it took before.
    number: usize,
    chain: Chain,
}

struct Bench<S: Slab> {
    format: Format,
    /// The ring and the buffers, each with what is around it.
    memory: [Shared; 3],
    map: Map,
    size: u16,
    areas: Areas,
    features: Features,
    queue: Queue<S>,
    kept: Vec<Kept>,
    /// How many chains were taken.
    taken: usize,
    /// Of those that were taken and not given back, whether they were completed.
    completed: VecDeque<bool>,
    /// How many were given back. The next one has this number if they come in order.
    given_back: usize,
    start: u16,
    /// How far the driver has come, when it is honest.
    available: Place,
    news: bool,
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
    let mut areas = setup.geometry(0).areas(RING);
    if setup.bits & 0x01 != 0 {
        // Anywhere, and over each other.
        areas.descriptor = areas.descriptor.wrapping_add(u64::from(input.u16()));
        areas.driver = areas.driver.wrapping_sub(u64::from(input.u16()));
        areas.device = areas.device.wrapping_sub(u64::from(input.u16()));
    }
    let size = if setup.bits & 0x40 != 0 {
        input.u16()
    } else {
        setup.size
    };
    if setup.bits & 0x80 != 0 {
        let mut few = vec![Block::EMPTY; usize::from(input.u8() % 16)];
        play(format, &setup, areas, size, few.as_mut_slice(), &mut input);
    } else {
        play(format, &setup, areas, size, Vec::new(), &mut input);
    }
}

/// Serves a queue of `size` at `areas`, with `slab`, as long as there is input.
fn play(
    format: Format,
    setup: &Setup,
    areas: Areas,
    size: u16,
    slab: impl Slab,
    input: &mut Input<'_>,
) {
    let Some(mut bench) = Bench::new(format, setup, areas, size, slab) else {
        return;
    };
    while let Some(step) = input.step() {
        bench.step(step, input);
        assert_eq!(usize::from(bench.queue.in_flight()), bench.kept.len());
    }
    bench.check_guards();
}

impl<S: Slab> Bench<S> {
    /// `None` if there can be no such queue.
    fn new(format: Format, setup: &Setup, areas: Areas, size: u16, slab: S) -> Option<Self> {
        let geometry = setup.geometry(0);
        let memory = [geometry.bytes(), BUFFER_BYTES, BUFFER_BYTES].map(|bytes| {
            let memory = Shared::allocate(GUARD + bytes + GUARD, 64).expect("small");
            memory.view().fill(CANARY);
            memory
        });
        let inner = |index: usize| {
            let memory: &Shared = &memory[index];
            let inner = memory
                .slice(GUARD, memory.len() - 2 * GUARD)
                .expect("within");
            inner.view().fill(0);
            inner
        };
        let region = |start, index| Region {
            start,
            memory: inner(index),
        };
        let map = Map::new(vec![
            region(RING, 0),
            region(BUFFERS, 1),
            region(BUFFERS + BUFFER_BYTES as u64, 2),
        ])
        .expect("apart");
        let (features, start) = (setup.features, setup.start);
        let queue = Queue::with_slab(&map, size, areas, features, start, slab).ok()?;
        let bench = Self {
            format,
            memory,
            map,
            size,
            areas,
            features,
            queue,
            kept: Vec::new(),
            taken: 0,
            completed: VecDeque::new(),
            given_back: 0,
            start,
            available: Place::new(format, size, start),
            news: false,
        };
        if format == Format::Split {
            // As a driver that has come so far left it.
            bench.poke(
                bench.areas.driver + split::INDEX as u64,
                &start.to_le_bytes(),
            );
        }
        Some(bench)
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step % 12 {
            0..=2 => {
                let index = input.u8();
                // Of a packed one: it is made available at once, or looks used, or neither.
                let turn = match index >> 6 {
                    0 | 1 => self.available.available(),
                    2 => self.available.used(),
                    _ => !self.available.available() & TURN,
                };
                let descriptor = Descriptor::new(input).bytes(self.format, turn);
                self.poke(self.at(usize::from(index)), &descriptor);
            }
            3 => {
                let at = BUFFERS + u64::from(input.u8()) * 16;
                let descriptor = Descriptor::new(input).bytes(self.format, 0);
                self.poke(at, &descriptor);
            }
            4 | 5 => self.make_available(step, input),
            6 => {
                let (at, value) = (u64::from(input.u16()), input.u64());
                self.poke(RING + at % 4096, &value.to_le_bytes());
            }
            7 => {
                let (which, value) = (input.u8(), input.u16());
                let wish = u32::from(value) | u32::from(which % 4) << 16;
                let offset = match (self.format, which % 3) {
                    (Format::Packed, _) => {
                        self.poke(self.areas.driver, &wish.to_le_bytes());
                        return;
                    }
                    (Format::Split, 0) => split::INDEX,
                    (Format::Split, 1) => split::FLAGS,
                    (Format::Split, _) => split::used_event_offset(self.size),
                };
                self.poke(self.areas.driver + offset as u64, &value.to_le_bytes());
            }
            8 | 9 => self.serve(input),
            10 => self.complete(step, input),
            _ => match step / 12 % 3 {
                0 => {
                    let (_, changed) = self.changes(|this| this.queue.arm());
                    self.assert_only(&changed, Self::is_wish);
                }
                1 => {
                    let ((), changed) = self.changes(|this| this.queue.disarm());
                    self.assert_only(&changed, Self::is_wish);
                }
                _ => {
                    let (needed, changed) = self.changes(|this| this.queue.interrupt_needed());
                    assert!(changed.is_empty());
                    assert!(self.news || !needed, "an interrupt for nothing");
                    self.news = false;
                }
            },
        }
    }

    /// Makes a chain available as an honest driver does, or nearly.
    fn make_available(&mut self, step: u8, input: &mut Input<'_>) {
        let (errs, head) = (step & 0x80 != 0, u16::from(input.u8()));
        match self.format {
            Format::Split => {
                let limit = if errs { 2 } else { 1 };
                let head = head % self.size.saturating_mul(limit);
                let ring = self.areas.driver + split::RING as u64;
                let at = ring + self.available.slot() as u64 * 2;
                self.poke(at, &head.to_le_bytes());
                self.available.pass(1, 1);
                let index = self.areas.driver + split::INDEX as u64;
                self.poke(index, &self.available.bits().to_le_bytes());
            }
            Format::Packed => {
                let count = (head % 8 + 1).min(self.size);
                for left in (0..count).rev() {
                    let mut descriptor = Descriptor::new(input);
                    if !errs {
                        descriptor.next = head as u8;
                        descriptor.flags.set(DescriptorFlags::NEXT, left != 0);
                    }
                    let bytes = descriptor.bytes(self.format, self.available.available());
                    self.poke(self.at(self.available.slot()), &bytes);
                    self.available.pass(1, 1);
                }
            }
        }
    }

    /// Takes chains, reads all that is readable, and writes all that is writable.
    fn serve(&mut self, input: &mut Input<'_>) {
        let limit = usize::from(input.u8()) + 1;
        let before = self.queue.violation();
        let ((taken, ended), changed) = self.changes(|this| {
            let mut batch = this.queue.batch(&this.map);
            let mut taken = Vec::new();
            let mut ended: Option<Option<Violation>> = None;
            while taken.len() < limit && ended.is_none() {
                match batch.next_chain() {
                    Ok(Some(chain)) => taken.push(chain),
                    Ok(None) => ended = Some(None),
                    Err(violation) => ended = Some(Some(violation)),
                }
            }
            (taken, ended)
        });
        assert!(changed.is_empty(), "taking chains writes nothing");
        assert!(taken.len() <= usize::from(self.size), "a batch without end");
        if let Some(Some(violation)) = ended {
            assert!(before.is_none_or(|before| before == violation));
            assert_eq!(self.queue.violation(), Some(violation), "latched");
        }
        assert!(
            before.is_none() || taken.is_empty(),
            "a broken queue was served"
        );
        let batch = self.queue.batch(&self.map);
        for chain in &taken {
            let mut readable = batch.readable(chain);
            let mut bytes = vec![0; readable.remaining() as usize];
            // Each descriptor names what there is, once.
            assert!(bytes.len() <= usize::from(self.size) * 2 * BUFFER_BYTES.max(4096));
            readable
                .read(&mut bytes)
                .expect("what was checked is there");
            assert_eq!(readable.remaining(), 0);

            let before = everything(&self.memory);
            let mut writable = batch.writable(chain);
            assert_eq!(writable.remaining(), u64::from(chain.writable_bytes()));
            let bytes = vec![0x5a; chain.writable_bytes() as usize];
            writable.write(&bytes).expect("what was checked is there");
            assert!(writable.write(&[0]).is_err(), "there is no more");
            let after = everything(&self.memory);
            let changed = before.iter().flatten().zip(after.iter().flatten());
            let changed = changed.filter(|(before, after)| before != after).count();
            assert!(changed <= bytes.len(), "more was written than was given");
        }
        drop(batch);
        for chain in taken {
            let number = self.taken;
            self.kept.push(Kept { number, chain });
            self.completed.push_back(false);
            self.taken += 1;
        }
        self.check_guards();
    }

    /// Completes a few chains in one batch: the driver sees them only when it ends, and no more of
    /// them than it may.
    fn complete(&mut self, step: u8, input: &mut Input<'_>) {
        let (which, written) = (usize::from(input.u8()), input.u32());
        let count = usize::from(step / 12 % 4 + 1).min(self.kept.len());
        if count == 0 {
            return;
        }
        let in_order = self.features.contains(F::IN_ORDER);
        let chains: Vec<_> = (0..count)
            .map(|_| self.kept.swap_remove(which % self.kept.len()))
            .collect();
        let numbers: Vec<_> = chains.iter().map(|kept| kept.number).collect();
        let before = everything(&self.memory);
        let mut unpublished = before.clone();
        let ((), changed) = self.changes(|this| {
            let mut batch = this.queue.batch(&this.map);
            for kept in chains {
                batch.complete(kept.chain, written);
            }
            unpublished = everything(&this.memory);
        });
        self.assert_only(&changed, Self::is_answer);
        let given_back = if in_order {
            for number in numbers {
                self.completed[number - self.given_back] = true;
            }
            let done = self.completed.iter().take_while(|done| **done).count();
            self.completed.drain(..done);
            done
        } else {
            count
        };
        self.given_back += given_back;
        self.news |= given_back != 0;

        let after = everything(&self.memory);
        let early = self.elements_changed(&before, &unpublished);
        let late = self.elements_changed(&unpublished, &after);
        assert!(early + late <= given_back, "more elements than chains");
        if self.format == Format::Packed {
            // The first one hides the others until the batch ends. In order, a run that may still
            // grow is written then too.
            let at_the_end = if in_order { 2 } else { 1 };
            assert!(
                early < given_back.max(1) && late <= at_the_end,
                "published too early"
            );
        }
        if self.format == Format::Split {
            let index = |parts: &[Vec<u8>; 3]| {
                let at = Self::offset(self.areas.device) + split::INDEX;
                u16::from_le_bytes([parts[0][at], parts[0][at + 1]])
            };
            assert_eq!(index(&unpublished), index(&before), "published too early");
            if given_back != 0 {
                let so_far = self.start.wrapping_add(self.given_back as u16);
                assert_eq!(index(&after), so_far, "the used index");
            }
        }
    }

    /// Does `what`, and says which bytes of the ring's memory it changed, from its guard on. No other
    /// memory changes.
    fn changes<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> (T, Vec<usize>) {
        let before = everything(&self.memory);
        let result = what(self);
        let after = everything(&self.memory);
        assert_eq!(before[1..], after[1..], "a buffer was written");
        let mut changed = Vec::new();
        if before[0] != after[0] {
            let pairs = before[0].iter().zip(&after[0]).enumerate();
            let differing = pairs.filter(|(_, (before, after))| before != after);
            changed.extend(differing.map(|(at, _)| at));
        }
        (result, changed)
    }

    fn assert_only(&self, changed: &[usize], may: impl Fn(&Self, usize) -> bool) {
        for at in changed {
            assert!(may(self, *at), "byte {at} was written");
        }
    }

    /// Where `address` is in the ring's memory.
    fn offset(address: u64) -> usize {
        (address - RING) as usize + GUARD
    }

    /// Whether a byte says of what the device wants to be told.
    fn is_wish(&self, at: usize) -> bool {
        let device = Self::offset(self.areas.device);
        let (first, len) = match self.format {
            Format::Packed => (device, packed::EVENT_BYTES),
            Format::Split if self.features.contains(F::EVENT_IDX) => {
                (device + split::avail_event_offset(self.size), 2)
            }
            Format::Split => (device + split::FLAGS, 2),
        };
        (first..first + len).contains(&at)
    }

    /// Whether a byte says that a chain was used.
    fn is_answer(&self, at: usize) -> bool {
        let elements = self.elements();
        let index = Self::offset(self.areas.device) + split::INDEX;
        match self.format {
            Format::Split => elements.contains(&at) || (index..index + 2).contains(&at),
            // The address stays as it is.
            Format::Packed => elements.contains(&at) && (at - elements.start) % 16 >= 8,
        }
    }

    /// Where used elements are.
    fn elements(&self) -> Range<usize> {
        let first = match self.format {
            Format::Split => Self::offset(self.areas.device) + split::RING,
            Format::Packed => Self::offset(self.areas.descriptor),
        };
        first..first + usize::from(self.size) * self.element_bytes()
    }

    fn element_bytes(&self) -> usize {
        match self.format {
            Format::Split => 8,
            Format::Packed => 16,
        }
    }

    /// How many used elements are not the same.
    fn elements_changed(&self, before: &[Vec<u8>; 3], after: &[Vec<u8>; 3]) -> usize {
        let bytes = self.element_bytes();
        let [before, after] = [before, after].map(|parts| parts[0][self.elements()].chunks(bytes));
        before
            .zip(after)
            .filter(|(before, after)| before != after)
            .count()
    }

    /// The device address of descriptor `index`, modulo the size.
    fn at(&self, index: usize) -> u64 {
        self.areas.descriptor + (index % usize::from(self.size)) as u64 * 16
    }

    fn poke(&self, address: u64, bytes: &[u8]) {
        if let Some(memory) = self.map.shared(address, bytes.len()) {
            memory.view().write(0, bytes).expect("all of it");
        }
    }

    fn check_guards(&self) {
        for bytes in everything(&self.memory) {
            let after = bytes.len() - GUARD;
            let guards = bytes[..GUARD].iter().chain(&bytes[after..]);
            assert!(
                guards.copied().all(|byte| byte == CANARY),
                "written outside"
            );
        }
    }
}

fn everything(memory: &[Shared; 3]) -> [Vec<u8>; 3] {
    memory.each_ref().map(|memory| {
        let mut bytes = vec![0; memory.len()];
        memory.view().read(0, &mut bytes).expect("all of it");
        bytes
    })
}

/// A descriptor, most often of something that is there.
struct Descriptor {
    address: u64,
    len: u32,
    /// The same in both formats.
    flags: DescriptorFlags,
    /// The number of the next one, or of a packed one its id.
    next: u8,
}

impl Descriptor {
    fn new(input: &mut Input<'_>) -> Self {
        let (kind, at, len) = (input.u8(), input.u16(), input.u16());
        let (address, len) = match kind & 3 {
            0 | 1 => (BUFFERS + u64::from(at % 4096), u32::from(len % 512)),
            2 => (RING + u64::from(at % 4096), u32::from(len)),
            _ => (input.u64(), input.u32()),
        };
        Self {
            address,
            // An indirect table has whole descriptors, most often.
            len: if kind & 0x80 == 0 { len & !15 } else { len },
            flags: DescriptorFlags::from_bits_retain(u16::from(kind >> 2 & 7)),
            next: input.u8() & 0x3f,
        }
    }

    /// As it stands in memory; of a packed one, `turn` says whose it is.
    fn bytes(&self, format: Format, turn: u16) -> [u8; 16] {
        let flags = self.flags.bits();
        let (third, fourth) = match format {
            Format::Split => (flags, u16::from(self.next)),
            Format::Packed => (self.next.into(), flags | turn),
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&third.to_le_bytes());
        bytes[14..].copy_from_slice(&fourth.to_le_bytes());
        bytes
    }
}
