//! A packed ring by hand.
//!
//! Spec: VIRTIO 1.4 §2.8 "Packed Virtqueues".
#![expect(unsafe_code, reason = "nothing is checked")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use ringway_ring::driver::Segment;
use ringway_ring::shared::Shared;
use ringway_spec::packed as spec;

use crate::case::{BYTES, Case, DEPTH_MAX, SIZE};
use crate::measure;
use crate::other_end::packed::{self as other_end, INDIRECT, NEXT, Position, TURN, WRITE};
use crate::other_end::{Echo, Feeder, RAM, RAM_BYTES, TABLE_BYTES, areas};

const MASK: u16 = SIZE - 1;

/// A ring in this program's memory.
#[derive(Clone, Copy)]
struct Ring {
    descriptors: *mut [u64; 2],
    driver_wish: *mut u32,
    device_wish: *mut u32,
}

impl Ring {
    /// The ring at the start of `ram`. The caller keeps `ram`.
    fn in_ram(ram: &Shared) -> Self {
        let at = |address: u64| ram.base().as_ptr().wrapping_add((address - RAM) as usize);
        let areas = areas();
        Self {
            descriptors: at(areas.descriptor).cast(),
            driver_wish: at(areas.driver).cast(),
            device_wish: at(areas.device).cast(),
        }
    }

    /// The second word of the descriptor at `at`.
    ///
    /// # Safety
    ///
    /// The ring is live, and `at` is below its size.
    #[inline(always)]
    unsafe fn tail<'r>(self, at: usize) -> &'r AtomicU64 {
        // SAFETY: the caller's promise; rings are aligned to pages, and these words are accessed as
        // atomics or volatile.
        unsafe { AtomicU64::from_ptr(self.descriptors.add(at).cast::<u64>().add(1)) }
    }
}

/// Whether an end that came to `now`, `passed` descriptors after the last time, is to tell the one
/// whose wish stands at `wish` (§2.8.10).
///
/// # Safety
///
/// `wish` is one of a live ring.
#[inline(always)]
unsafe fn is_granted(wish: *mut u32, now: Position, passed: usize) -> bool {
    // SAFETY: the caller's promise; wishes are aligned to pages, and accessed as atomics.
    let wish = unsafe { AtomicU32::from_ptr(wish) }.load(Ordering::Relaxed);
    let flags = (wish >> 16) as u16;
    if flags != spec::EVENT_DESC {
        return flags != spec::EVENT_DISABLE;
    }
    let event = usize::from(wish as u16 & !spec::EVENT_WRAP);
    let same_lap = (wish as u16 & spec::EVENT_WRAP != 0) == (now.used != 0);
    let ago = if same_lap {
        now.at.wrapping_sub(event)
    } else {
        (now.at + usize::from(SIZE)).wrapping_sub(event)
    };
    ago.wrapping_sub(1) < passed
}

/// The driver's end. With `IN_ORDER`, ids are given out in turns.
pub(crate) struct Driver<const R: usize, const W: usize, const IN_ORDER: bool> {
    ring: Ring,
    links: [u16; SIZE as usize],
    /// The next id.
    free: u16,
    /// The oldest chain in flight, of those in order, and how many of a batch are to be polled.
    oldest: u16,
    batch: u16,
    available: Position,
    /// Descriptors written since a kick was last considered.
    unconsidered: usize,
    used: Position,
    indirect: bool,
    /// Descriptors of a chain.
    descriptors: usize,
    /// A table for each descriptor.
    tables: *mut [u64; 2],
    requests: Box<[[Segment; 3]; DEPTH_MAX]>,
    _memory: [Shared; 2],
}

impl<const R: usize, const W: usize, const IN_ORDER: bool> Driver<R, W, IN_ORDER> {
    pub(crate) fn new(case: &Case) -> (Self, Echo) {
        let ram = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let tables = usize::from(SIZE) * TABLE_BYTES;
        let tables = Shared::allocate(tables, 4096).expect("there is memory");
        let echo = other_end::Echo::new(&ram, case, u32::from(W != 0));
        let segment = |request: usize, part: usize| Segment {
            address: 0x1000_0000 + (request * 0x2000 + part * 16) as u64,
            len: BYTES[part],
        };
        let request = |number| std::array::from_fn(|part| segment(number, part));
        let indirect = case.indirect && R + W > 1;
        let this = Self {
            ring: Ring::in_ram(&ram),
            links: std::array::from_fn(|id| (id as u16 + 1) & MASK),
            free: 0,
            oldest: 0,
            batch: 0,
            available: Position::FIRST,
            unconsidered: 0,
            used: Position::FIRST,
            indirect,
            descriptors: if indirect { 1 } else { R + W },
            tables: tables.base().as_ptr().cast(),
            requests: Box::new(std::array::from_fn(request)),
            _memory: [ram, tables],
        };
        (this, Echo::Packed(echo))
    }
}

impl<const R: usize, const W: usize, const IN_ORDER: bool> measure::Driver
    for Driver<R, W, IN_ORDER>
{
    #[inline(always)]
    fn submit(&mut self, slot: usize) -> bool {
        let request = &self.requests[slot % DEPTH_MAX];
        let id = self.free;
        let name = u64::from(id) << 32;
        let rest = |part: usize, segment: &Segment| {
            let writable = if part < R { 0 } else { WRITE };
            u64::from(segment.len) | writable
        };
        // SAFETY: ids are below the size, and a case never has more chains than there are
        // descriptors; positions are below the size too. The ring and the tables are live, the
        // tables have four descriptors for each id, and this thread alone uses them.
        unsafe {
            let head = self.available;
            let (address, tail) = if self.indirect {
                let table = self.tables.add(usize::from(id) * (TABLE_BYTES / 16));
                for (part, segment) in request.iter().enumerate().take(R + W) {
                    let words = [segment.address, rest(part, segment)];
                    table.add(part).write_volatile(words);
                }
                self.available.advance(1);
                (table as u64, ((R + W) * 16) as u64 | INDIRECT)
            } else {
                let next = |part: usize| if part + 1 < R + W { NEXT } else { 0 };
                self.available.advance(1);
                for (part, segment) in request.iter().enumerate().take(R + W).skip(1) {
                    let tail = rest(part, segment) | next(part) | name | self.available.available;
                    let at = self.ring.descriptors.add(self.available.at);
                    at.write_volatile([segment.address, tail]);
                    self.available.advance(1);
                }
                (request[0].address, rest(0, &request[0]) | next(0))
            };
            let at = self.ring.descriptors.add(head.at);
            at.cast::<u64>().write_volatile(address);
            let tail = tail | name | head.available;
            self.ring.tail(head.at).store(tail, Ordering::Release);
            self.free = if IN_ORDER {
                (id + 1) & MASK
            } else {
                *self.links.get_unchecked(usize::from(id))
            };
        }
        self.unconsidered += self.descriptors;
        true
    }

    #[inline(always)]
    fn kick_needed(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let passed = std::mem::take(&mut self.unconsidered);
        // SAFETY: the wish is that of the live ring.
        unsafe { is_granted(self.ring.device_wish, self.available, passed) }
    }

    #[inline(always)]
    fn poll(&mut self, _slot: usize) -> bool {
        // SAFETY: the device is the one of this program, whose ids are those that it was given, all
        // below the size; positions are; the ring is live.
        unsafe {
            if !IN_ORDER || self.batch == 0 {
                let tail = self.ring.tail(self.used.at).load(Ordering::Acquire);
                if tail & TURN != self.used.used {
                    return false;
                }
                let id = (tail >> 32) as u16;
                if IN_ORDER {
                    self.batch = (id.wrapping_sub(self.oldest) & MASK) + 1;
                } else {
                    *self.links.get_unchecked_mut(usize::from(id)) = self.free;
                    self.free = id;
                }
                black_box(tail);
            }
        }
        if IN_ORDER {
            black_box(self.oldest);
            self.oldest = (self.oldest + 1) & MASK;
            self.batch -= 1;
        }
        self.used.advance(self.descriptors);
        true
    }
}

/// The device's end. With `IN_ORDER`, it writes one used descriptor for a batch.
pub(crate) struct Device<const IN_ORDER: bool> {
    ring: Ring,
    /// What is to be added to a device address.
    base: u64,
    /// Where the next chain begins, and the next used descriptor goes: chains are used as they come.
    next: Position,
    _memory: Shared,
}

impl<const IN_ORDER: bool> Device<IN_ORDER> {
    pub(crate) fn new(case: &Case) -> (Self, Feeder) {
        let ram = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let feeder = Feeder::new(&ram, case);
        let this = Self {
            ring: Ring::in_ram(&ram),
            base: (ram.base().as_ptr() as u64).wrapping_sub(RAM),
            next: Position::FIRST,
            _memory: ram,
        };
        (this, feeder)
    }

    /// Looks at a buffer, and returns how many bytes of it are written.
    #[inline(always)]
    fn buffer(&self, address: u64, tail: u64) -> u32 {
        black_box((self.base.wrapping_add(address), tail as u32));
        if tail & WRITE != 0 { tail as u32 } else { 0 }
    }
}

impl<const IN_ORDER: bool> measure::Device for Device<IN_ORDER> {
    #[inline(always)]
    fn serve(&mut self, _expected: usize) -> usize {
        let mut served = 0;
        let mut passed = 0;
        let first = self.next;
        let mut answer = 0;
        // SAFETY: the driver is the one of this program: its lists end, and its addresses are within
        // the memory; positions are within the ring; both are live.
        unsafe {
            loop {
                let head = self.next;
                let mut tail = self.ring.tail(head.at).load(Ordering::Acquire);
                if tail & TURN != head.available {
                    break;
                }
                let mut written = 0;
                loop {
                    let [address, _] = self.ring.descriptors.add(self.next.at).read_volatile();
                    self.next.advance(1);
                    passed += 1;
                    if tail & INDIRECT != 0 {
                        let table = self.base.wrapping_add(address) as *mut [u64; 2];
                        for at in 0..tail as u32 as usize / 16 {
                            let [address, tail] = table.add(at).read_volatile();
                            written += self.buffer(address, tail);
                        }
                        break;
                    }
                    written += self.buffer(address, tail);
                    if tail & NEXT == 0 {
                        break;
                    }
                    tail = self.ring.tail(self.next.at).load(Ordering::Relaxed);
                }
                let written = black_box(written);
                let wrote = if written == 0 { 0 } else { WRITE };
                answer = u64::from(written) | tail & 0xffff << 32 | wrote;
                if !IN_ORDER {
                    let tail = self.ring.tail(head.at);
                    tail.store(answer | head.used, Ordering::Release);
                }
                served += 1;
            }
            if IN_ORDER && served != 0 {
                let tail = self.ring.tail(first.at);
                tail.store(answer | first.used, Ordering::Release);
            }
            fence(Ordering::SeqCst);
            black_box(is_granted(self.ring.driver_wish, self.next, passed));
        }
        served
    }
}
