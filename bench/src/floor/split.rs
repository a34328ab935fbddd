//! A split ring by hand.
//!
//! Spec: VIRTIO 1.4 §2.7 "Split Virtqueues".
#![expect(unsafe_code, reason = "nothing is checked")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use ringway_ring::driver::Segment;
use ringway_ring::shared::Shared;
use ringway_spec::split as spec;

use crate::case::{BYTES, Case, DEPTH_MAX, SIZE};
use crate::measure;
use crate::other_end::split::{self as other_end, RingAreas};
use crate::other_end::{Echo, Feeder, RAM, RAM_BYTES, TABLE_BYTES, areas};

const MASK: u16 = SIZE - 1;
const NEXT: u64 = 1 << 32;
const WRITE: u64 = 2 << 32;
const INDIRECT: u64 = 4 << 32;

/// A ring in this program's memory.
#[derive(Clone, Copy)]
struct Ring {
    descriptors: *mut [u64; 2],
    available: *mut u16,
    used: *mut u16,
}

impl Ring {
    /// The ring at the start of `ram`. The caller keeps `ram`.
    fn in_ram(ram: &Shared) -> Self {
        let at = |address: u64| ram.base().as_ptr().wrapping_add((address - RAM) as usize);
        let areas = areas();
        Self {
            descriptors: at(areas.descriptor).cast(),
            available: at(areas.driver).cast(),
            used: at(areas.device).cast(),
        }
    }

    /// The word of `area` that both ends look at.
    ///
    /// # Safety
    ///
    /// `area` is one of a live ring, which has more than `at` words.
    #[inline(always)]
    unsafe fn word<'r>(area: *mut u16, at: usize) -> &'r AtomicU16 {
        // SAFETY: the caller's promise; rings are aligned to pages, and words are accessed as
        // atomics or volatile.
        unsafe { AtomicU16::from_ptr(area.add(at)) }
    }
}

/// The driver's end.
pub(crate) struct Driver<const R: usize, const W: usize> {
    ring: Ring,
    links: [u16; SIZE as usize],
    /// The last descriptor of each chain, by its first.
    last: [u16; SIZE as usize],
    free: u16,
    available: u16,
    considered: u16,
    used: u16,
    indirect: bool,
    /// A table for each descriptor.
    tables: *mut [u64; 2],
    requests: Box<[[Segment; 3]; DEPTH_MAX]>,
    _memory: [Shared; 2],
}

impl<const R: usize, const W: usize> Driver<R, W> {
    pub(crate) fn new(case: &Case) -> (Self, Echo) {
        let ram = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let tables = usize::from(SIZE) * TABLE_BYTES;
        let tables = Shared::allocate(tables, 4096).expect("there is memory");
        let echo = other_end::Echo::new(&RingAreas::in_ram(&ram), u32::from(W != 0));
        let segment = |request: usize, part: usize| Segment {
            address: 0x1000_0000 + (request * 0x2000 + part * 16) as u64,
            len: BYTES[part],
        };
        let request = |number| std::array::from_fn(|part| segment(number, part));
        let this = Self {
            ring: Ring::in_ram(&ram),
            links: std::array::from_fn(|id| id as u16 + 1),
            last: [0; SIZE as usize],
            free: 0,
            available: 0,
            considered: 0,
            used: 0,
            indirect: case.indirect && R + W > 1,
            tables: tables.base().as_ptr().cast(),
            requests: Box::new(std::array::from_fn(request)),
            _memory: [ram, tables],
        };
        (this, Echo::Split(echo))
    }
}

impl<const R: usize, const W: usize> measure::Driver for Driver<R, W> {
    #[inline(always)]
    fn submit(&mut self, slot: usize) -> bool {
        let request = &self.requests[slot % DEPTH_MAX];
        let head = self.free;
        let words = |part: usize, segment: &Segment, next| {
            let writable = if part < R { 0 } else { WRITE };
            [segment.address, u64::from(segment.len) | writable | next]
        };
        // SAFETY: ids on the free list are below the size, and a case never has more chains than
        // there are descriptors, so the list does not run out; the ring has `SIZE` of
        // everything, the tables four descriptors for each id, and this thread alone uses them.
        unsafe {
            let mut last = head;
            if self.indirect {
                let table = self.tables.add(usize::from(head) * (TABLE_BYTES / 16));
                for (part, segment) in request.iter().enumerate().take(R + W) {
                    let next = if part + 1 < R + W {
                        NEXT | (part as u64 + 1) << 48
                    } else {
                        0
                    };
                    table.add(part).write_volatile(words(part, segment, next));
                }
                let descriptor = [table as u64, ((R + W) * 16) as u64 | INDIRECT];
                let at = self.ring.descriptors.add(usize::from(head));
                at.write_volatile(descriptor);
            } else {
                for (part, segment) in request.iter().enumerate().take(R + W) {
                    let id = if part == 0 {
                        head
                    } else {
                        *self.links.get_unchecked(usize::from(last))
                    };
                    last = id;
                    let next = if part + 1 < R + W {
                        let next = *self.links.get_unchecked(usize::from(id));
                        NEXT | u64::from(next) << 48
                    } else {
                        0
                    };
                    let at = self.ring.descriptors.add(usize::from(id));
                    at.write_volatile(words(part, segment, next));
                }
            }
            *self.last.get_unchecked_mut(usize::from(head)) = last;
            self.free = *self.links.get_unchecked(usize::from(last));
            let at = spec::RING / 2 + usize::from(self.available & MASK);
            Ring::word(self.ring.available, at).store(head, Ordering::Relaxed);
            self.available = self.available.wrapping_add(1);
            Ring::word(self.ring.available, spec::INDEX / 2)
                .store(self.available, Ordering::Release);
        }
        true
    }

    #[inline(always)]
    fn kick_needed(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let considered = std::mem::replace(&mut self.considered, self.available);
        // SAFETY: the event word lies in the used area of the live ring.
        let event = unsafe { Ring::word(self.ring.used, spec::avail_event_offset(SIZE) / 2) };
        passed(event.load(Ordering::Relaxed), self.available, considered)
    }

    #[inline(always)]
    fn poll(&mut self, _slot: usize) -> bool {
        // SAFETY: the device is the one of this program, whose ids are those that it was given, all
        // below the size; the ring is live.
        unsafe {
            if Ring::word(self.ring.used, spec::INDEX / 2).load(Ordering::Acquire) == self.used {
                return false;
            }
            let at = spec::RING / 2 + usize::from(self.used & MASK) * 4;
            let element = self.ring.used.add(at).cast::<u64>().read_unaligned();
            let id = element as u16;
            let last = *self.last.get_unchecked(usize::from(id));
            *self.links.get_unchecked_mut(usize::from(last)) = self.free;
            self.free = id;
            self.used = self.used.wrapping_add(1);
            black_box(element);
        }
        true
    }
}

/// The device's end.
pub(crate) struct Device {
    ring: Ring,
    /// What is to be added to a device address.
    base: u64,
    available: u16,
    used: u16,
    considered: u16,
    _memory: Shared,
}

impl Device {
    pub(crate) fn new(case: &Case) -> (Self, Feeder) {
        let ram = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let feeder = Feeder::new(&ram, case);
        let this = Self {
            ring: Ring::in_ram(&ram),
            base: (ram.base().as_ptr() as u64).wrapping_sub(RAM),
            available: 0,
            used: 0,
            considered: 0,
            _memory: ram,
        };
        (this, feeder)
    }
}

impl measure::Device for Device {
    #[inline(always)]
    fn serve(&mut self, _expected: usize) -> usize {
        let mut served = 0;
        // SAFETY: the driver is the one of this program: its indices, ids and addresses are within
        // the ring and the memory, both live.
        unsafe {
            let index = Ring::word(self.ring.available, spec::INDEX / 2);
            while index.load(Ordering::Acquire) != self.available {
                let at = spec::RING / 2 + usize::from(self.available & MASK);
                let id = Ring::word(self.ring.available, at).load(Ordering::Relaxed);
                self.available = self.available.wrapping_add(1);
                let mut table = self.ring.descriptors;
                let mut at = usize::from(id);
                let mut written = 0_u32;
                loop {
                    let [address, tail] = table.add(at).read_volatile();
                    let host = self.base.wrapping_add(address);
                    if tail & INDIRECT != 0 {
                        (table, at) = (host as *mut [u64; 2], 0);
                        continue;
                    }
                    black_box((host, tail as u32));
                    if tail & WRITE != 0 {
                        written += tail as u32;
                    }
                    if tail & NEXT == 0 {
                        break;
                    }
                    at = (tail >> 48) as usize;
                }
                let written = black_box(written);
                let at = spec::RING / 2 + usize::from(self.used & MASK) * 4;
                let element = u64::from(id) | u64::from(written) << 32;
                self.ring
                    .used
                    .add(at)
                    .cast::<u64>()
                    .write_unaligned(element);
                self.used = self.used.wrapping_add(1);
                Ring::word(self.ring.used, spec::INDEX / 2).store(self.used, Ordering::Release);
                served += 1;
            }
            fence(Ordering::SeqCst);
            let event = Ring::word(self.ring.available, spec::used_event_offset(SIZE) / 2);
            let considered = std::mem::replace(&mut self.considered, self.used);
            black_box(passed(event.load(Ordering::Relaxed), self.used, considered));
        }
        served
    }
}

/// Whether the index moved past `event` on its way from `old` to `new` (§2.7.7.2).
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
