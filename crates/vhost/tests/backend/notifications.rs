//! Who tells whom, and how.

use std::os::fd::OwnedFd;

use ringway_device::model::{Device, Worker};
use ringway_ring::device::{Batch, Violation};
use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::{DeviceId, Features, Status};
use ringway_vhost::backend::Event;
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::protocol::{BackRequest, ProtocolFeatures, Request, RingState};

use crate::front::{Front, PROTOCOL, Ring, channel, readable, request};
use crate::served::{Served, entropy};

fn ring(front: &mut Front, index: u8) -> Ring {
    let geometry = Geometry::new(8, 0).unwrap();
    front.ring(index, geometry, Features::NONE, 0)
}

#[test]
fn notifications_are_messages_both_ways_if_agreed_on() {
    let served = entropy();
    let inband = PROTOCOL | ProtocolFeatures::INBAND_NOTIFICATIONS;
    let mut front = Front::ready(served.connect(), inband, Features::NONE);
    let channel = channel(&front);
    let mut ring = ring(&mut front, 0);
    front.describe(&ring, 0);
    front.tell(Request::SetVringEnable(ring.state(1)));

    for _ in 0..20 {
        let (shared, address) = front.allocate(4);
        ring.queue.arm();
        ring.submit(&[], &[Segment { address, len: 4 }], shared);
        front.tell(Request::VringKick(ring.state(0)));

        let call = BackRequest::VringCall(RingState { index: 0, num: 0 });
        assert_eq!(request(&channel), call);
        assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4);
    }
}

#[test]
fn a_descriptor_is_preferred_to_a_message_and_polling_to_both() {
    let served = entropy();
    let inband = PROTOCOL | ProtocolFeatures::INBAND_NOTIFICATIONS;
    let mut front = Front::ready(served.connect(), inband, Features::NONE);
    let channel = channel(&front);
    let mut ring = ring(&mut front, 0);
    front.start(&ring, 0);

    let by_descriptor = ring.draw(&mut front, 3);
    front.tell(Request::SetVringCall(0, None));
    let (shared, address) = front.allocate(3);
    ring.submit(&[], &[Segment { address, len: 3 }], shared);
    while ring.queue.poll().unwrap().is_none() {
        std::thread::yield_now();
    }
    front.stop(&ring);
    served.notifier.config_changed();

    assert_eq!(by_descriptor, [7; 3]);
    // The first message that there is.
    assert_eq!(request(&channel), BackRequest::ConfigChange);
}

#[test]
fn a_ring_whose_kicks_are_not_sent_is_looked_at() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let mut ring = ring(&mut front, 0);
    front.describe(&ring, 0);
    front.tell(Request::SetVringCall(0, Some(ring.call_descriptor())));
    front.tell(Request::SetVringKick(0, None));
    front.tell(Request::SetVringEnable(ring.state(1)));

    for _ in 0..10 {
        // Its kick goes nowhere.
        assert_eq!(ring.draw(&mut front, 2), [7; 2]);
    }
}

#[test]
fn descriptors_that_are_replaced_while_a_ring_runs_are_used_from_there_on() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let mut ring = ring(&mut front, 0);
    front.start(&ring, 0);
    assert_eq!(ring.draw(&mut front, 2), [7; 2]);

    ring.kick = EventFd::new().unwrap();
    ring.call = EventFd::new().unwrap();
    front.tell(Request::SetVringCall(0, Some(ring.call_descriptor())));
    // What was used meanwhile may have been said to the one before.
    assert_eq!(ring.call.take(), Ok(true));
    front.tell(Request::SetVringKick(0, Some(ring.kick_descriptor())));

    assert_eq!(ring.draw(&mut front, 2), [7; 2]);
}

#[test]
fn a_driver_that_breaks_a_rule_is_told_by_descriptor_or_message_and_in_the_status() {
    for inband in [
        ProtocolFeatures::empty(),
        ProtocolFeatures::INBAND_NOTIFICATIONS,
    ] {
        let served = entropy();
        let mut front = Front::ready(served.connect(), PROTOCOL | inband, Features::NONE);
        let channel = channel(&front);
        let mut ring = ring(&mut front, 0);
        let error = EventFd::new().unwrap();
        if inband.is_empty() {
            let error: OwnedFd = error.try_clone().unwrap().into();
            front.tell(Request::SetVringErr(0, Some(error)));
        }
        front.start(&ring, 0);

        let (shared, _) = front.allocate(1);
        let address = 0xdead_0000;
        ring.submit(&[], &[Segment { address, len: 1 }], shared);
        let violation = served
            .events
            .wait(|event| matches!(event, Event::Violation { .. }));

        let (ring_index, len) = (0, 1);
        let not_mapped = Violation::NotMapped { address, len };
        assert_eq!(
            violation,
            Event::Violation {
                ring: ring_index,
                violation: not_mapped
            }
        );
        if inband.is_empty() {
            readable(&error);
        } else {
            let said = BackRequest::VringErr(RingState { index: 0, num: 0 });
            assert_eq!(request(&channel), said);
        }
        let needs_reset = u64::from(Status::NEEDS_RESET.bits());
        assert_eq!(front.value(Request::GetStatus), needs_reset);
        front.tell(Request::SetStatus(0));
        assert_eq!(front.value(Request::GetStatus), 0);
    }
}

#[test]
fn a_front_end_that_reads_no_requests_of_the_back_end_is_sent_no_more() {
    let served = entropy();
    let front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let channel = channel(&front);

    // A socket has room for some of them.
    let lost = std::thread::scope(|scope| {
        let flood = || {
            (0..1_000_000).find(|_| {
                served.notifier.config_changed();
                served
                    .events
                    .has(|event| matches!(event, Event::ChannelLost(_)))
            })
        };
        scope.spawn(flood).join().unwrap()
    });

    assert!(lost.is_some());
    drop(channel);
    front.tell(Request::SetOwner);
}

/// More queues than a word has bits, each of which writes its own index.
pub(crate) struct Many;

struct Index(u16);

impl Device for Many {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64; 256]
    }

    fn config_bytes(&self) -> usize {
        // So that a front-end hears of changes of it.
        1
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn worker(&mut self, index: u16, _features: Features) -> Box<dyn Worker> {
        Box::new(Index(index))
    }

    fn reset(&mut self) {}
}

impl Worker for Index {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            let wrote = batch.writable(&chain).write(&self.0.to_le_bytes());
            assert!(wrote.is_ok());
            batch.complete(chain, 2);
        }
        Ok(())
    }
}

#[test]
fn all_256_queues_of_a_device_are_served() {
    let served = Served::new(Many);
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let queues = front.value(Request::GetQueueNum);
    let mut rings: Vec<_> = (0..=255).map(|index| ring(&mut front, index)).collect();
    for ring in &rings {
        front.start(ring, 0);
    }

    for ring in &mut rings {
        let index = u16::from(ring.index).to_le_bytes();
        assert_eq!(ring.draw(&mut front, 2), index);
    }

    assert_eq!(queues, 256);
}
