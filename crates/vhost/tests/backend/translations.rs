//! Rings and buffers behind an IOMMU: by addresses of the driver's that the back-end asks for.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use ringway_ring::driver::{Geometry, Memory, Queue, Segment};
use ringway_ring::map::Access;
use ringway_spec::{F, Features};
use ringway_vhost::backend::{Event, Refusal};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::protocol::{
    BackRequest, Iotlb, IotlbKind, LOG_ALL, Permissions, ProtocolFeatures, Request, RingAddresses,
    RingFlags,
};
use ringway_vhost::socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::front::{Front, GUEST, PROTOCOL, Ring, USER, base_of, bytes, channel, region, request};
use crate::log::{LOGS, Log, pages, written};
use crate::notifications::Many;
use crate::served::{LIMIT, Served, entropy};

/// Where the driver has the memory behind the IOMMU.
const IOVA: u64 = 0x10_0000_0000;
pub(crate) const PAGE: u64 = 4096;
const FORMATS: [Features; 3] = [
    Features::NONE,
    F::EVENT_IDX.union(F::INDIRECT_DESC).union(F::IN_ORDER),
    F::RING_PACKED.union(F::EVENT_IDX),
];

fn both() -> Permissions {
    Permissions::READ | Permissions::WRITE
}

/// What the driver calls it behind the IOMMU.
fn iova(address: u64) -> u64 {
    address - GUEST + IOVA
}

/// A front-end with an IOMMU.
pub(crate) struct Behind {
    pub(crate) front: Front,
    pub(crate) channel: Socket,
    /// What it was asked for.
    asked: BTreeSet<(u64, u8)>,
}

impl Behind {
    pub(crate) fn new(served: &Served, protocol: ProtocolFeatures, features: Features) -> Self {
        let features = features | F::ACCESS_PLATFORM;
        let front = Front::ready(served.connect(), protocol, features);
        let channel = channel(&front);
        let asked = BTreeSet::new();
        Self {
            front,
            channel,
            asked,
        }
    }

    pub(crate) fn allocate(&mut self, len: usize) -> (ringway_ring::shared::Shared, u64) {
        let (shared, address) = self.front.allocate(len);
        (shared, iova(address))
    }

    /// A ring, all of it by the driver's addresses.
    pub(crate) fn ring(&mut self, index: u8, size: u16, features: Features, passed: u16) -> Ring {
        let geometry = Geometry::largest(size, 4, features).unwrap();
        let (shared, address) = self.allocate(geometry.bytes());
        let memory = Memory { shared, address };
        Ring {
            index,
            queue: Queue::new(&memory, geometry, features, passed).unwrap(),
            geometry,
            address,
            kick: EventFd::new().unwrap(),
            call: EventFd::new().unwrap(),
        }
    }

    pub(crate) fn start(&self, ring: &Ring, base: u32) {
        let front = &self.front;
        let size = ring.geometry.size().into();
        front.tell(Request::SetVringNum(ring.state(size)));
        front.tell(Request::SetVringBase(ring.state(base)));
        front.tell(Request::SetVringAddr(addresses(ring)));
        let call = Some(ring.call_descriptor());
        front.tell(Request::SetVringCall(ring.index, call));
        let kick = Some(ring.kick_descriptor());
        front.tell(Request::SetVringKick(ring.index, kick));
        front.tell(Request::SetVringEnable(ring.state(1)));
    }

    pub(crate) fn told(
        &self,
        kind: IotlbKind,
        address: u64,
        size: u64,
        permissions: Permissions,
    ) -> u64 {
        self.front.value(Request::IotlbMsg(Iotlb {
            address,
            size,
            user_address: address - IOVA + USER,
            permissions,
            kind,
        }))
    }

    pub(crate) fn update(&self, address: u64, size: u64, permissions: Permissions) {
        let told = self.told(IotlbKind::Update, address, size, permissions);
        assert_eq!(told, 0);
    }

    pub(crate) fn update_all(&self) {
        self.update(IOVA, region().size, both());
    }

    fn invalidate(&self, address: u64, size: u64) {
        let told = self.told(IotlbKind::Invalidate, address, size, Permissions::empty());
        assert_eq!(told, 0);
    }

    /// What the back-end asks for next.
    fn miss(&mut self) -> Iotlb {
        match request(&self.channel) {
            BackRequest::Iotlb(miss) => {
                assert_eq!(miss.kind, IotlbKind::Miss);
                let is_new = self.asked.insert((miss.address, miss.permissions.bits()));
                assert!(is_new, "{miss:?} again");
                miss
            }
            other => panic!("{other:?} asks for nothing"),
        }
    }

    /// Forgets what was asked for up to now.
    fn forget(&mut self, served: &Served) {
        served.notifier.config_changed();
        while request(&self.channel) != BackRequest::ConfigChange {}
        self.asked.clear();
    }

    /// Nothing is asked for that was not heard of.
    fn is_asked_for_nothing(&self, served: &Served) {
        served.notifier.config_changed();
        assert_eq!(request(&self.channel), BackRequest::ConfigChange);
    }

    /// Answers with a page for each miss, until a chain comes back.
    fn wait(&mut self, ring: &mut Ring) -> Vec<u8> {
        loop {
            if let Some(done) = ring.queue.poll().unwrap() {
                return bytes((done.written, done.owner));
            }
            if ring.queue.arm() {
                continue;
            }
            if either(&ring.call, &self.channel) {
                let miss = self.miss();
                self.update(miss.address / PAGE * PAGE, PAGE, both());
            } else {
                ring.call.take().unwrap();
            }
        }
    }
}

fn addresses(ring: &Ring) -> RingAddresses {
    let areas = ring.geometry.areas(ring.address);
    RingAddresses {
        index: ring.index.into(),
        flags: 0,
        descriptor: areas.descriptor,
        used: areas.device,
        available: areas.driver,
        log: 0,
    }
}

/// Waits for one of two, and says whether it was the second.
fn either(first: impl AsFd, second: impl AsFd) -> bool {
    let limit = Timespec {
        tv_sec: LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut fds =
        [first.as_fd(), second.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    assert_ne!(poll(&mut fds, Some(&limit)), Ok(0), "nothing came");
    !fds[1].revents().is_empty()
}

/// A buffer over the end of a page, and a half.
fn submit(behind: &mut Behind, ring: &mut Ring) -> u64 {
    let (shared, address) = behind.allocate(2 * PAGE as usize);
    let shared = shared.slice(PAGE as usize - 3, 6).unwrap();
    let segment = |at, len| Segment {
        address: address + PAGE - 3 + at,
        len,
    };
    ring.submit(&[], &[segment(0, 4), segment(4, 2)], shared);
    address
}

#[test]
fn rings_and_buffers_are_asked_for_piece_by_piece_and_each_piece_once() {
    for (features, passed) in FORMATS.into_iter().zip([0xfffa, 3, 500]) {
        let served = entropy();
        let mut behind = Behind::new(&served, PROTOCOL, features);
        let mut ring = behind.ring(0, 256, features, passed);
        behind.start(&ring, base_of(features, 256, passed));

        for _ in 0..10 {
            submit(&mut behind, &mut ring);
            assert_eq!(behind.wait(&mut ring), [7; 6], "{features:?}");
        }

        assert!(behind.asked.len() >= 20);
    }
}

#[test]
fn what_was_told_of_before_is_not_asked_for() {
    for features in FORMATS {
        let served = entropy();
        let mut behind = Behind::new(&served, PROTOCOL, features);
        let mut ring = behind.ring(0, 16, features, 0);
        behind.update_all();
        behind.start(&ring, base_of(features, 16, 0));

        submit(&mut behind, &mut ring);
        let drawn = bytes(ring.wait());

        assert_eq!(drawn, [7; 6]);
        behind.is_asked_for_nothing(&served);
    }
}

#[test]
fn a_ring_whose_translation_is_taken_back_waits_and_goes_on_at_the_same_place() {
    for (features, passed) in FORMATS.into_iter().zip([0xfffa, 3, 29]) {
        let served = entropy();
        let mut behind = Behind::new(&served, PROTOCOL, features);
        let mut ring = behind.ring(0, 16, features, passed);
        behind.update_all();
        behind.start(&ring, base_of(features, 16, passed));

        for _ in 0..10 {
            submit(&mut behind, &mut ring);
            assert_eq!(bytes(ring.wait()), [7; 6]);
            // One byte of it is enough.
            behind.invalidate(ring.geometry.areas(ring.address).device, 1);
            submit(&mut behind, &mut ring);
            behind.front.tell(Request::SetOwner);
            assert!(ring.queue.poll().unwrap().is_none());

            assert_eq!(behind.wait(&mut ring), [7; 6], "{features:?}");
            behind.forget(&served);
            behind.update_all();
        }
    }
}

#[test]
fn a_buffer_whose_translation_is_taken_back_is_asked_for_again() {
    let served = entropy();
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut ring = behind.ring(0, 16, Features::NONE, 0);
    let ring_pages = (ring.geometry.bytes() as u64).next_multiple_of(PAGE);
    behind.update(ring.address, ring_pages, both());
    behind.start(&ring, 0);
    let (shared, address) = behind.allocate(8);
    let segment = Segment { address, len: 8 };

    for _ in 0..10 {
        ring.submit(&[], &[segment], shared.clone());
        let miss = behind.miss();
        assert_eq!(
            (miss.address, miss.permissions),
            (address, Permissions::WRITE)
        );
        // What else comes meanwhile does not have it ask again.
        behind.update(address + 0x10_0000, PAGE, both());
        behind.update(address, PAGE, both());
        assert_eq!(bytes(ring.wait()), [7; 8]);
        behind.asked.clear();
        behind.invalidate(address, PAGE);
    }
}

#[test]
fn what_is_translated_for_reading_alone_is_not_written() {
    let served = entropy();
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut ring = behind.ring(0, 16, Features::NONE, 0);
    let used = ring.geometry.areas(ring.address).device;
    behind.update_all();
    behind.update(used / PAGE * PAGE, PAGE, Permissions::READ);
    // That one took the place of all.
    behind.update(ring.address, PAGE, Permissions::READ);

    behind.start(&ring, 0);
    let ring_is_asked_for = behind.miss();
    behind.update(ring.address, PAGE, both());
    let (shared, address) = behind.allocate(8);
    behind.update(address, PAGE, Permissions::READ);
    ring.submit(&[], &[Segment { address, len: 8 }], shared.clone());
    let broken = served
        .events
        .wait(|event| matches!(event, Event::Violation { .. }));

    assert_eq!(ring_is_asked_for.address, used);
    assert_eq!(ring_is_asked_for.permissions, both());
    let violation = ringway_ring::device::Violation::Forbidden {
        address,
        access: Access::Write,
    };
    assert_eq!(broken, Event::Violation { ring: 0, violation });
    assert_eq!(shared.view().read_value(0), Ok([0_u8; 8]));
}

#[test]
fn a_ring_that_is_never_translated_waits_and_can_be_stopped_where_it_was_to_begin() {
    for (features, passed) in FORMATS.into_iter().zip([0xfffa, 3, 29]) {
        let served = entropy();
        let mut behind = Behind::new(&served, PROTOCOL, features);
        let mut ring = behind.ring(0, 16, features, passed);
        let base = base_of(features, 16, passed);
        behind.start(&ring, base);

        submit(&mut behind, &mut ring);
        let stopped_at = behind.front.stop(&ring);
        behind.update_all();
        let served_meanwhile = ring.queue.poll().unwrap().is_some();
        behind.start(&ring, base);

        assert_eq!(stopped_at, base);
        assert!(!served_meanwhile);
        assert_eq!(bytes(ring.wait()), [7; 6]);
    }
}

#[test]
fn a_flood_of_translations_is_borne_and_what_it_pushed_out_is_asked_for_again() {
    let served = entropy();
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut ring = behind.ring(0, 16, Features::NONE, 0);
    behind.start(&ring, 0);
    submit(&mut behind, &mut ring);
    assert_eq!(behind.wait(&mut ring), [7; 6]);
    behind.forget(&served);

    for nth in 0..2100 {
        let told = behind.front.value(Request::IotlbMsg(Iotlb {
            address: 2 * IOVA + nth * 2 * PAGE,
            size: PAGE,
            user_address: USER,
            permissions: both(),
            kind: IotlbKind::Update,
        }));
        assert_eq!(told, 0);
    }
    submit(&mut behind, &mut ring);

    assert_eq!(behind.wait(&mut ring), [7; 6]);
}

#[test]
fn rings_that_wait_are_asked_for_once_however_much_is_told_of_others() {
    let served = Served::new(Many);
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut rings: Vec<_> = (0..60)
        .map(|index| behind.ring(index, 8, Features::NONE, 0))
        .collect();

    // The front-end waits for each answer, and hears nothing of what it is asked for meanwhile.
    for ring in &rings {
        behind.start(ring, 0);
    }
    for ring in rings.iter().rev() {
        behind.update(ring.address, PAGE, both());
    }
    let asked: Vec<_> = (0..180).map(|_| behind.miss().address).collect();
    behind.is_asked_for_nothing(&served);

    assert!(asked.iter().all(|address| *address >= IOVA));
    let index = 47;
    submit(&mut behind, &mut rings[index]);
    assert_eq!(behind.wait(&mut rings[index]), [47, 0]);
}

#[test]
fn a_ring_that_cannot_be_when_it_is_shown_is_given_up_and_what_was_told_holds() {
    let served = entropy();
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut bad = behind.ring(0, 256, Features::NONE, 0);
    // No part of it is in one page.
    bad.address += 64;
    let error = EventFd::new().unwrap();
    let descriptor: OwnedFd = error.try_clone().unwrap().into();
    behind.front.tell(Request::SetVringErr(0, Some(descriptor)));
    behind.start(&bad, 5);

    // Its pages are in turned order.
    let pages = (bad.geometry.bytes() as u64 + 64).div_ceil(PAGE);
    for page in 0..pages {
        let told = behind.front.value(Request::IotlbMsg(Iotlb {
            address: bad.address - 64 + page * PAGE,
            size: PAGE,
            user_address: USER + (pages - page) * PAGE,
            permissions: both(),
            kind: IotlbKind::Update,
        }));
        assert_eq!(told, 0);
    }
    let refused = served
        .events
        .wait(|event| matches!(event, Event::Refused { .. }));

    assert!(
        matches!(
            refused,
            Event::Refused {
                refusal: Refusal::Ring { index: 0, .. },
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(error.take(), Ok(true));
    assert_eq!(behind.front.stop(&bad), 5);
}

#[test]
fn memory_that_goes_away_takes_its_translations_with_it() {
    let served = entropy();
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut ring = behind.ring(0, 16, Features::NONE, 0);
    behind.update_all();
    behind.start(&ring, 0);
    submit(&mut behind, &mut ring);
    assert_eq!(bytes(ring.wait()), [7; 6]);

    behind.front.tell(Request::RemMemReg(region()));
    let again = behind.front.again();
    behind.front.tell(Request::AddMemReg(region(), again));
    submit(&mut behind, &mut ring);

    assert_eq!(behind.wait(&mut ring), [7; 6]);
}

#[test]
fn the_log_has_what_is_behind_the_iommu_also_if_it_was_shown_after_logging_began() {
    for features in FORMATS {
        let served = entropy();
        let mut behind = Behind::new(&served, LOGS, features);
        let mut ring = behind.ring(0, 256, features, 0);
        behind.start(&ring, base_of(features, 256, 0));
        submit(&mut behind, &mut ring);
        behind.wait(&mut ring);
        let log = Log::new();

        log.give(&behind.front);
        behind.front.accept(features | F::ACCESS_PLATFORM, LOG_ALL);
        behind.front.tell(Request::SetVringAddr(RingAddresses {
            flags: RingFlags::LOG.bits(),
            ..addresses(&ring)
        }));
        log.take();
        let address = submit(&mut behind, &mut ring) - IOVA + GUEST;
        behind.wait(&mut ring);
        behind.front.stop(&ring);

        ring.address = ring.address - IOVA + GUEST;
        let mut expected = written(&ring, features);
        expected.extend(pages(address + PAGE - 3, 6));
        assert_eq!(log.take(), expected, "{features:?}");
    }
}
