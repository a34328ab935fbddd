//! The front-end of others against our back-end: that of rust-vmm's `vhost`, which several virtual
//! machine monitors have.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use ringway_device::blk::{Blk, RamDisk};
use ringway_ring::driver::{Geometry, Segment};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};
use ringway_vhost::backend::{Event, Reason};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag};
use vhost::vhost_user::{
    Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::front::{Front, Ring, bytes, region};
use crate::served::{LIMIT, Served, entropy};

const PROTOCOL: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
    .union(VhostUserProtocolFeatures::REPLY_ACK)
    .union(VhostUserProtocolFeatures::CONFIG)
    .union(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    .union(VhostUserProtocolFeatures::RESET_DEVICE);

/// Their front-end, with the protocol and `features` agreed on.
fn theirs(served: &Served, features: Features) -> Frontend {
    let mut frontend = Frontend::connect(&served.path, 1).unwrap();
    frontend.set_owner().unwrap();
    let offered = frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    assert!(protocol.contains(PROTOCOL));
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    frontend.set_protocol_features(PROTOCOL).unwrap();
    let features = (F::VERSION_1 | features).0 as u64;
    assert_eq!(offered & features, features);
    let per_ring = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    frontend.set_features(features | per_ring).unwrap();
    frontend
}

/// The memory of one of our front-ends, which has no connection, for theirs.
fn memory(ours: &Front) -> VhostUserMemoryRegionInfo {
    let region = region();
    VhostUserMemoryRegionInfo {
        guest_phys_addr: region.guest_address,
        memory_size: region.size,
        userspace_addr: region.user_address,
        mmap_offset: region.file_offset,
        mmap_handle: ours.file.as_raw_fd(),
    }
}

fn alone() -> Front {
    Front::new(std::os::unix::net::UnixStream::pair().unwrap().0)
}

fn start(frontend: &mut Frontend, ring: &Ring, base: u16, kick: &EventFd, call: &EventFd) {
    let addresses = ring.addresses();
    let size = ring.geometry.size();
    let config = VringConfigData {
        queue_max_size: size,
        queue_size: size,
        flags: 0,
        desc_table_addr: addresses.descriptor,
        used_ring_addr: addresses.used,
        avail_ring_addr: addresses.available,
        log_addr: None,
    };
    frontend.set_vring_num(0, size).unwrap();
    frontend.set_vring_addr(0, &config).unwrap();
    frontend.set_vring_base(0, base).unwrap();
    frontend.set_vring_call(0, call).unwrap();
    frontend.set_vring_kick(0, kick).unwrap();
    frontend.set_vring_enable(0, true).unwrap();
}

/// Gives the device one chain to fill, and waits for it.
fn draw(front: &mut Front, ring: &mut Ring, kick: &EventFd, call: &EventFd) -> Vec<u8> {
    let (shared, address) = front.allocate(32);
    ring.queue.arm();
    let segment = Segment { address, len: 32 };
    assert!(ring.queue.submit(&[], &[segment], shared).is_ok());
    if ring.queue.kick_needed() {
        kick.write(1).unwrap();
    }
    let done = |ring: &mut Ring| -> (u32, Shared) {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if call.read().is_ok()
                && let Some(done) = ring.queue.poll().unwrap()
            {
                return (done.written, done.owner);
            }
            std::thread::yield_now();
        }
        panic!("no chain came back");
    };
    bytes(done(ring))
}

#[test]
fn their_front_end_has_requests_done_in_both_formats_and_stops_at_a_base() {
    let served = entropy();
    for (features, base, after) in [
        (Features::NONE, 0xffff, 2),
        // They know of the place at which chains are taken alone.
        (F::RING_PACKED, 0x800f, 0x0002_0002),
    ] {
        let mut frontend = theirs(&served, features);
        let mut front = alone();
        let passed = if features.is_empty() { base } else { 15 };
        let geometry = Geometry::largest(16, 0, features).unwrap();
        let mut ring = front.ring(0, geometry, features, passed);
        let [kick, call] = [(); 2].map(|()| EventFd::new(EFD_NONBLOCK).unwrap());

        frontend.set_mem_table(&[memory(&front)]).unwrap();
        start(&mut frontend, &ring, base, &kick, &call);
        for _ in 0..3 {
            assert_eq!(draw(&mut front, &mut ring, &kick, &call), [7; 32]);
        }

        assert_eq!(frontend.get_queue_num().unwrap(), 1);
        assert_eq!(frontend.get_vring_base(0).unwrap(), after);
        frontend.reset_device().unwrap();
        drop(frontend);
        assert_eq!(served.events.disconnected(), Reason::Closed);
    }
}

#[test]
fn their_front_end_adds_and_removes_memory_and_hears_of_what_is_refused() {
    let served = entropy();
    let mut frontend = theirs(&served, Features::NONE);
    let front = alone();

    let slots = frontend.get_max_mem_slots().unwrap();
    frontend.add_mem_region(&memory(&front)).unwrap();
    let twice = frontend.add_mem_region(&memory(&front));
    served
        .events
        .wait(|event| matches!(event, Event::Refused { .. }));
    frontend.remove_mem_region(&memory(&front)).unwrap();

    assert_eq!(slots, 509);
    assert!(twice.is_err());
}

#[test]
fn their_front_end_reads_configuration() {
    let served = Served::new(Blk::new(Arc::new(RamDisk::new(77)), 1));
    let mut frontend = theirs(&served, Features::NONE);

    let flags = VhostUserConfigFlags::empty();
    let (_, capacity) = frontend.get_config(0, 8, flags, &[0; 8]).unwrap();

    assert_eq!(capacity, 77_u64.to_le_bytes());
}
