//! The device's end of a split queue, on a driver that writes what it likes: rings, descriptors,
//! indirect tables.

use ringway_ring::device::{Chain, Queue};
use ringway_ring::driver::{Areas, Geometry};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features, split};

use crate::input::Input;

/// Where memory is for the device: a ring and two stretches of buffers, the second right after the
/// first.
const RING: u64 = 0x7000_0000_0000;
const BUFFERS: u64 = 0x1000;
const BUFFER_BYTES: usize = 2048;
/// Bytes around each stretch that the device was not given.
const GUARD: usize = 256;
const CANARY: u8 = 0xee;

struct Bench {
    /// The ring and the buffers, each with what is around it.
    memory: [Shared; 3],
    map: Map,
    size: u16,
    areas: Areas,
    queue: Queue,
    kept: Vec<Chain>,
    /// The available index as the driver keeps it, when it is honest.
    available: u16,
    news: bool,
}

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.u8();
    let size = 1_u16 << (setup & 7).min(6);
    let geometry = Geometry::new(size, 0).expect("a power of two");
    let mut features = Features::NONE;
    for (bit, feature) in [
        (0x08, F::INDIRECT_DESC),
        (0x10, F::EVENT_IDX),
        (0x20, F::ORDER_PLATFORM),
    ] {
        if setup & bit != 0 {
            features |= feature;
        }
    }
    let start = input.u16();
    let mut areas = geometry.areas(RING);
    if setup & 0x40 != 0 {
        // Anywhere, and over each other.
        areas.descriptor = areas.descriptor.wrapping_add(u64::from(input.u16()));
        areas.driver = areas.driver.wrapping_sub(u64::from(input.u16()));
        areas.device = areas.device.wrapping_sub(u64::from(input.u16()));
    }
    let asked = if setup & 0x80 != 0 { input.u16() } else { size };

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
    let Ok(queue) = Queue::new(&map, asked, areas, features, start) else {
        return;
    };
    let mut bench = Bench {
        memory,
        map,
        size: asked,
        areas,
        queue,
        kept: Vec::new(),
        available: start,
        news: false,
    };
    while let Some(step) = input.step() {
        bench.step(step, &mut input);
        assert_eq!(usize::from(bench.queue.in_flight()), bench.kept.len());
    }
    bench.check_guards();
}

impl Bench {
    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        let slot = |index: u16| u64::from(index % self.size);
        match step % 12 {
            0..=2 => {
                let index = u16::from(input.u8());
                let descriptor = descriptor(input);
                self.poke(self.areas.descriptor + slot(index) * 16, &descriptor);
            }
            3 => {
                let at = BUFFERS + u64::from(input.u8()) * 16;
                let descriptor = descriptor(input);
                self.poke(at, &descriptor);
            }
            4 | 5 => {
                let head = u16::from(input.u8()) % self.size.saturating_mul(2).max(1);
                let head = if step & 0x80 == 0 {
                    head % self.size
                } else {
                    head
                };
                let at = self.areas.driver + split::RING as u64 + slot(self.available) * 2;
                self.poke(at, &head.to_le_bytes());
                self.available = self.available.wrapping_add(1);
                let index = self.areas.driver + split::INDEX as u64;
                self.poke(index, &self.available.to_le_bytes());
            }
            6 => {
                let (at, value) = (u64::from(input.u16()), input.u64());
                self.poke(RING + at % 4096, &value.to_le_bytes());
            }
            7 => {
                let (which, value) = (input.u8(), input.u16());
                let offset = match which % 3 {
                    0 => split::INDEX,
                    1 => split::FLAGS,
                    _ => split::used_event_offset(self.size),
                };
                self.poke(self.areas.driver + offset as u64, &value.to_le_bytes());
            }
            8 | 9 => self.serve(input),
            10 => {
                let (which, written) = (usize::from(input.u8()), input.u32());
                if !self.kept.is_empty() {
                    let chain = self.kept.swap_remove(which % self.kept.len());
                    self.only_the_device_area_changes(|this| {
                        this.queue.batch(&this.map).complete(chain, written);
                    });
                    self.news = true;
                }
            }
            _ => self.only_the_device_area_changes(|this| match step / 12 % 3 {
                0 => {
                    this.queue.arm();
                }
                1 => this.queue.disarm(),
                _ => {
                    let needed = this.queue.interrupt_needed();
                    assert!(this.news || !needed, "an interrupt for nothing");
                    this.news = false;
                }
            }),
        }
    }

    /// Writes as the driver, where there is memory.
    fn poke(&self, address: u64, bytes: &[u8]) {
        if let Some(memory) = self.map.shared(address, bytes.len()) {
            memory.view().write(0, bytes).expect("all of it");
        }
    }

    /// Takes chains, reads all that is readable, and writes all that is writable.
    fn serve(&mut self, input: &mut Input<'_>) {
        let limit = usize::from(input.u8()) + 1;
        let before = self.queue.violation();
        let taken = self.only_the_device_area_changes(|this| {
            let mut batch = this.queue.batch(&this.map);
            let mut taken = Vec::new();
            let mut ended = None;
            while taken.len() < limit && ended.is_none() {
                match batch.next_chain() {
                    Ok(Some(chain)) => taken.push(chain),
                    Ok(None) => ended = Some(None),
                    Err(violation) => ended = Some(Some(violation)),
                }
            }
            drop(batch);
            assert!(taken.len() <= usize::from(this.size), "a batch without end");
            if let Some(Some(violation)) = ended {
                assert!(before.is_none_or(|before| before == violation));
                assert_eq!(this.queue.violation(), Some(violation), "latched");
            }
            taken
        });
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
        self.kept.extend(taken);
        self.check_guards();
    }

    /// Does `what`, which may write to the device area and to nothing else.
    fn only_the_device_area_changes<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> T {
        let before = everything(&self.memory);
        let result = what(self);
        let after = everything(&self.memory);
        let first = (self.areas.device - RING) as usize + GUARD;
        let area = first..first + split::used_bytes(self.size);
        for (part, (before, after)) in before.iter().zip(&after).enumerate() {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                let ours = part == 0 && area.contains(&at);
                assert!(ours || before == after, "byte {at} of part {part}");
            }
        }
        result
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
fn descriptor(input: &mut Input<'_>) -> [u8; 16] {
    let (kind, at, len) = (input.u8(), input.u16(), input.u16());
    let (address, len) = match kind & 3 {
        0 | 1 => (BUFFERS + u64::from(at % 4096), u32::from(len % 512)),
        2 => (RING + u64::from(at % 4096), u32::from(len)),
        _ => (input.u64(), input.u32()),
    };
    // An indirect table has whole descriptors, most often.
    let len = if kind & 0x80 == 0 { len & !15 } else { len };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12] = kind >> 2 & 7;
    bytes[14] = input.u8() & 0x3f;
    bytes
}
