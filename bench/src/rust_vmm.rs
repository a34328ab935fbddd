//! The device's peer: `virtio-queue` over `vm-memory`, through its public interface, as a device
//! model uses it.
#![expect(unsafe_code, reason = "the other end writes the peer's memory")]

use std::hint::black_box;
use std::ptr::NonNull;

use ringway_ring::shared::Shared;
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::case::{Case, SIZE};
use crate::measure;
use crate::other_end::{Feeder, RAM, RAM_BYTES, areas};

/// The device's end.
pub(crate) struct Device {
    queue: Queue,
    memory: &'static GuestMemoryMmap<()>,
}

impl Device {
    pub(crate) fn new(case: &Case) -> (Self, Feeder) {
        let ranges = [RAM, 1 << 32].map(|start| (GuestAddress(start), RAM_BYTES));
        let memory = GuestMemoryMmap::from_ranges(&ranges).expect("there is memory");
        let memory: &'static _ = Box::leak(Box::new(memory));
        let base = memory
            .get_host_address(GuestAddress(RAM))
            .expect("the range begins there");
        let base = NonNull::new(base).expect("mapped memory is not at 0");
        // SAFETY: the mapping is `RAM_BYTES` long, readable and writable, and leaked, so it stays
        // until the program ends. The program reaches it through this handle and through
        // vm-memory, which makes volatile and atomic accesses only, on this one thread.
        let ram = unsafe { Shared::from_raw_parts(base, RAM_BYTES) };
        let feeder = Feeder::new(&ram, case);

        let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
        let areas = areas();
        let mut queue = Queue::new(SIZE).expect("256 descriptors can be");
        let (low, high) = halves(areas.descriptor);
        queue.set_desc_table_address(low, high);
        let (low, high) = halves(areas.driver);
        queue.set_avail_ring_address(low, high);
        let (low, high) = halves(areas.device);
        queue.set_used_ring_address(low, high);
        queue.set_event_idx(true);
        queue.set_ready(true);
        assert!(queue.is_valid(memory), "the ring lies in memory");
        (Self { queue, memory }, feeder)
    }
}

impl measure::Device for Device {
    fn serve(&mut self, _expected: usize) -> usize {
        let memory = self.memory;
        let mut served = 0;
        while let Some(mut chain) = self.queue.pop_descriptor_chain(memory) {
            let mut written = 0_u32;
            for descriptor in &mut chain {
                let len = descriptor.len();
                let Ok(slice) = memory.get_slice(descriptor.addr(), len as usize) else {
                    return served;
                };
                black_box(slice.ptr_guard().as_ptr());
                if descriptor.is_write_only() {
                    written = written.wrapping_add(len);
                }
            }
            let written = black_box(written);
            if self
                .queue
                .add_used(memory, chain.head_index(), written)
                .is_err()
            {
                return served;
            }
            served += 1;
        }
        black_box(
            self.queue
                .needs_notification(memory)
                .is_ok_and(|needed| needed),
        );
        served
    }
}
