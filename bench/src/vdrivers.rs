//! The driver's peer: `virtio-drivers`, through its public interface, as a driver on it uses it.
//! Buffers are shared as they are: addresses are device addresses.
#![expect(unsafe_code, reason = "the peer's interface is unsafe")]

use std::alloc::{Layout, alloc_zeroed};
use std::hint::black_box;
use std::ptr::NonNull;

use ringway_ring::shared::Shared;
use ringway_spec::split as spec;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PAGE_SIZE, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::case::{BYTES, Case, DEPTH_MAX, SIZE};
use crate::measure;
use crate::other_end::Echo;
use crate::other_end::split::{self as other_end, RingAreas};

/// A request's buffers, and what the queue called it.
struct Request<const R: usize, const W: usize> {
    inputs: [&'static [u8]; R],
    outputs: [&'static mut [u8]; W],
    token: u16,
}

/// The driver's end.
pub(crate) struct Driver<const R: usize, const W: usize> {
    queue: VirtQueue<Identity, { SIZE as usize }>,
    requests: Box<[Request<R, W>; DEPTH_MAX]>,
}

impl<const R: usize, const W: usize> Driver<R, W> {
    pub(crate) fn new(case: &Case) -> (Self, Echo) {
        let mut transport = Registers::default();
        let queue = VirtQueue::new(&mut transport, 0, case.indirect, true)
            .expect("there is memory for a queue");
        let area = |address: PhysAddr, bytes| {
            let base = NonNull::new(address as *mut u8).expect("a queue is not at 0");
            // SAFETY: the queue said that the area begins there, in memory of
            // `Identity::dma_alloc`, which stays until the program ends
            // since `dma_dealloc` keeps it. The peer's own accesses are on this one thread.
            unsafe { Shared::from_raw_parts(base, bytes) }
        };
        let ring = RingAreas {
            available: area(transport.driver_area, spec::available_bytes(SIZE)),
            used: area(transport.device_area, spec::used_bytes(SIZE)),
        };
        let bytes = |part: usize| vec![0; BYTES[part] as usize].leak();
        let requests = Box::new(std::array::from_fn(|_| Request {
            inputs: std::array::from_fn(|part| &*bytes(part)),
            outputs: std::array::from_fn(|part| bytes(R + part)),
            token: 0,
        }));
        (
            Self { queue, requests },
            Echo::Split(other_end::Echo::new(&ring, u32::from(W != 0))),
        )
    }
}

impl<const R: usize, const W: usize> measure::Driver for Driver<R, W> {
    fn submit(&mut self, slot: usize) -> bool {
        let request = &mut self.requests[slot % DEPTH_MAX];
        // SAFETY: the buffers are static, and nobody touches them before `poll` takes this request
        // back.
        match unsafe { self.queue.add(&request.inputs, &mut request.outputs) } {
            Ok(token) => {
                request.token = token;
                true
            }
            Err(_) => false,
        }
    }

    fn kick_needed(&mut self) -> bool {
        self.queue.should_notify()
    }

    fn poll(&mut self, slot: usize) -> bool {
        let request = &mut self.requests[slot % DEPTH_MAX];
        let mut outputs = request.outputs.each_mut().map(|output| &mut **output);
        // SAFETY: these are the buffers that `submit` added when it was given this token.
        let done = unsafe {
            self.queue
                .pop_used(request.token, &request.inputs, &mut outputs)
        };
        black_box(done).is_ok()
    }
}

/// Memory whose device addresses are its addresses.
struct Identity;

// SAFETY: `dma_alloc` returns fresh zeroed pages that are never freed, so nothing aliases them;
// `share` gives the address of the buffer, which is what the device of this program would use.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE)
            .ok()
            .filter(|layout| layout.size() != 0)
            .expect("a queue has a few pages");
        // SAFETY: the layout is not of size zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("there is memory");
        (base.as_ptr() as PhysAddr, base)
    }

    /// Keeps the pages: the other end still has them.
    unsafe fn dma_dealloc(_address: PhysAddr, _base: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _size: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).expect("no device is at 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// A transport that remembers where the queue is, and has nothing else.
#[derive(Default)]
struct Registers {
    driver_area: PhysAddr,
    device_area: PhysAddr,
}

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        0
    }

    fn write_driver_features(&mut self, _features: u64) {}

    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        u32::from(SIZE)
    }

    fn notify(&mut self, _queue: u16) {}

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::empty()
    }

    fn set_status(&mut self, _status: DeviceStatus) {}

    fn set_guest_page_size(&mut self, _bytes: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        _queue: u16,
        _size: u32,
        _descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.driver_area = driver_area;
        self.device_area = device_area;
    }

    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, _queue: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, _offset: usize) -> Result<T> {
        Err(Error::ConfigSpaceMissing)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _offset: usize,
        _value: T,
    ) -> Result<()> {
        Err(Error::ConfigSpaceMissing)
    }
}
