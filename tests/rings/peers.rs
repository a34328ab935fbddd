//! What the peers' interfaces want unsafe code for: memory that is theirs and ours, and buffers
//! lent to their driver.
#![expect(
    unsafe_code,
    reason = "the peers' interfaces take memory as pointers, and buffers on trust"
)]

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;

use ringway_ring::driver::Areas;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::{Backing, Shared};
use virtio_drivers::device::common::Feature;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::common::{CANARY, SEGMENT_BYTES, SEGMENTS_MAX};

/// Where memory is for devices. Unlike any address of this process.
pub(crate) const BASE: u64 = 0x7000_0000_0000;

/// Memory that `vm-memory` owns, and the same bytes as `Shared`.
pub(crate) fn guest(bytes: usize) -> (GuestMemoryMmap, Shared) {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(BASE), bytes)]).unwrap();
    let base = memory.get_host_address(GuestAddress(BASE)).unwrap();
    let mapping = Mapping {
        base: NonNull::new(base).unwrap(),
        len: bytes,
        _memory: memory.clone(),
    };
    (memory, Shared::new(Arc::new(mapping)))
}

struct Mapping {
    base: NonNull<u8>,
    len: usize,
    _memory: GuestMemoryMmap,
}

// SAFETY: the pointer is to a mapping that any thread may use, and that `_memory` keeps.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

// SAFETY: `base` and `len` are of one region, mapped readable and writable as long as `_memory`
// lives. The other way to its bytes, through `vm-memory`, is volatile accesses without references,
// made by the one thread that makes all the others in a test.
unsafe impl Backing for Mapping {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Pages of an arena, for rings.
const PAGES: usize = 64;
/// Bytes of a cell of an arena, for one buffer or one indirect table.
const CELL_BYTES: usize = 128;
/// Cells of an arena: enough for a buffer of each segment of each chain that a queue of 256 can
/// hold, and their tables.
const CELLS: usize = 256 * (SEGMENTS_MAX + 1);
const _: () = assert!(CELL_BYTES >= SEGMENT_BYTES && CELL_BYTES >= 16 * SEGMENTS_MAX);

/// All the memory that devices of the peer's driver can reach, of one thread. Buffers are copied in
/// and out.
struct Arena {
    memory: Shared,
    pages_used: usize,
    free_cells: Vec<usize>,
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

impl Arena {
    fn new() -> Self {
        let bytes = PAGES * PAGE_SIZE + CELLS * CELL_BYTES;
        Self {
            memory: Shared::allocate(bytes, PAGE_SIZE).unwrap(),
            pages_used: 0,
            free_cells: (0..CELLS).collect(),
        }
    }

    fn share(&mut self, bytes: Option<&[u8]>, len: usize) -> u64 {
        let cell = self.free_cells.pop().unwrap();
        let offset = PAGES * PAGE_SIZE + cell * CELL_BYTES;
        let mut content = [CANARY; CELL_BYTES];
        match bytes {
            Some(bytes) => content[..len].copy_from_slice(bytes),
            None => content[..len].fill(0),
        }
        self.memory.view().write(offset, &content).unwrap();
        BASE + offset as u64
    }

    /// Frees a cell, and returns its first `len` bytes. What follows them was not written.
    fn unshare(&mut self, address: u64, len: usize) -> Vec<u8> {
        let offset = usize::try_from(address - BASE).unwrap();
        let mut content = vec![0; CELL_BYTES];
        self.memory.view().read(offset, &mut content).unwrap();
        assert!(content[len..].iter().all(|byte| *byte == CANARY));
        self.free_cells
            .push((offset - PAGES * PAGE_SIZE) / CELL_BYTES);
        content.truncate(len);
        content
    }
}

/// A device's view of the memory of this thread's arena.
pub(crate) fn map() -> Map {
    let memory = ARENA.with_borrow(|arena| arena.memory.clone());
    Map::new(vec![Region {
        start: BASE,
        memory,
    }])
    .unwrap()
}

/// How the peer's driver gets memory: from the arena.
struct FromArena;

// SAFETY: `dma_alloc` returns pages of the arena that nobody else has, zeroed, aligned because the
// arena is, and used by one thread only: the arena is of one thread, and so are the queues made
// from it. The arena lives until its thread ends, longer than any queue of a test.
unsafe impl Hal for FromArena {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        ARENA.with_borrow_mut(|arena| {
            let offset = arena.pages_used * PAGE_SIZE;
            let bytes = arena.memory.slice(offset, pages * PAGE_SIZE).unwrap();
            assert!(arena.pages_used + pages <= PAGES);
            arena.pages_used += pages;
            bytes.view().fill(0);
            (BASE + offset as u64, bytes.base())
        })
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        // There is one queue at a time: its pages are the last in use, and all of them go.
        ARENA.with_borrow_mut(|arena| arena.pages_used -= pages);
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("a queue has no registers")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        // SAFETY: the caller promises a valid buffer that nobody else uses meanwhile.
        let buffer = unsafe { buffer.as_ref() };
        let readable = direction == BufferDirection::DriverToDevice;
        let bytes = readable.then_some(buffer);
        ARENA.with_borrow_mut(|arena| arena.share(bytes, buffer.len()))
    }

    unsafe fn unshare(address: PhysAddr, mut buffer: NonNull<[u8]>, direction: BufferDirection) {
        let bytes = ARENA.with_borrow_mut(|arena| arena.unshare(address, buffer.len()));
        // SAFETY: as for `share`.
        let buffer = unsafe { buffer.as_mut() };
        match direction {
            BufferDirection::DriverToDevice => assert_eq!(buffer, bytes, "only to be read"),
            _ => buffer.copy_from_slice(&bytes),
        }
    }
}

/// The buffers of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) readable: Vec<Vec<u8>>,
    pub(crate) writable: Vec<Vec<u8>>,
}

/// The driver's end of a queue, as the peer has it.
pub(crate) struct PeerDriver<const SIZE: usize> {
    queue: VirtQueue<FromArena, SIZE>,
    /// By the id of its chain.
    in_flight: Vec<Option<Request>>,
    pub(crate) areas: Areas,
}

impl<const SIZE: usize> PeerDriver<SIZE> {
    pub(crate) fn new(indirect: bool, event_index: bool) -> Self {
        let mut transport = Recorder(Areas::default());
        let queue = VirtQueue::new(&mut transport, 0, indirect, event_index).unwrap();
        Self {
            queue,
            in_flight: (0..SIZE).map(|_| None).collect(),
            areas: transport.0,
        }
    }

    /// Gives the device a request, unless the queue is full.
    pub(crate) fn submit(&mut self, mut request: Request) -> Option<u16> {
        let readable: Vec<&[u8]> = request.readable.iter().map(Vec::as_slice).collect();
        let mut writable: Vec<&mut [u8]> =
            request.writable.iter_mut().map(Vec::as_mut_slice).collect();
        // SAFETY: the buffers are on the heap, and `in_flight` keeps them, untouched, until they
        // are popped.
        let id = unsafe { self.queue.add(&readable, &mut writable) }.ok()?;
        let before = self.in_flight[usize::from(id)].replace(request);
        assert!(before.is_none());
        Some(id)
    }

    /// Whether the device has completed one that was not taken back.
    pub(crate) fn has_used(&self) -> bool {
        self.queue.can_pop()
    }

    /// Takes back the request that the device completed next, its id and its length.
    pub(crate) fn poll(&mut self) -> Option<(u16, u32, Request)> {
        let id = self.queue.peek_used()?;
        let mut request = self.in_flight[usize::from(id)].take().unwrap();
        let readable: Vec<&[u8]> = request.readable.iter().map(Vec::as_slice).collect();
        let mut writable: Vec<&mut [u8]> =
            request.writable.iter_mut().map(Vec::as_mut_slice).collect();
        // SAFETY: these are the buffers that were added when the queue returned `id`, in the same
        // order.
        let written = unsafe { self.queue.pop_used(id, &readable, &mut writable) }.unwrap();
        Some((id, written, request))
    }

    pub(crate) fn kick_needed(&self) -> bool {
        self.queue.should_notify()
    }

    pub(crate) fn want_interrupts(&mut self, wanted: bool) {
        self.queue.set_dev_notify(wanted);
    }
}

/// A transport that remembers where a queue is.
struct Recorder(Areas);

impl Transport for Recorder {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        Feature::VERSION_1.bits()
    }

    fn write_driver_features(&mut self, _: u64) {}

    fn max_queue_size(&mut self, _: u16) -> u32 {
        1 << 15
    }

    fn notify(&mut self, _: u16) {}

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::DRIVER_OK
    }

    fn set_status(&mut self, _: DeviceStatus) {}

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        _: u16,
        _: u32,
        descriptor: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.0 = Areas {
            descriptor,
            driver,
            device,
        };
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T>(&self, _: usize) -> virtio_drivers::Result<T> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }

    fn write_config_space<T>(&mut self, _: usize, _: T) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}
