use super::*;
use crate::bringup::{Interrupts, RESET_LIMIT};
use crate::bus::attach;
use crate::entropy::Rng;
use crate::error::Violation;
use crate::platform::{Leak, Trust};
use crate::scripted::Scripted;
use crate::testing::TestPlatform;
use ringway_spec::{DeviceId, Features};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

type Entropy = Rng<Scripted, Box<[u8]>>;

const TRUSTS: [Trust; 3] = [Trust::Trusted, Trust::Pool, Trust::Revoked];
const FORMATS: [Features; 2] = [Features::NONE, F::RING_PACKED];

fn device(trust: Trust, features: Features) -> Scripted {
    let offered = features | F::RING_RESET | F::INDIRECT_DESC;
    Scripted::new(trust, DeviceId::ENTROPY, offered, Vec::new())
}

/// A driver that has given the device this many buffers, each full of its number.
fn asking(device: &Scripted, buffers: u8) -> Entropy {
    let mut rng: Entropy = attach(device.clone()).unwrap();
    for number in 0..buffers {
        rng.request(Box::from([number; 8])).unwrap();
    }
    rng.kick().unwrap();
    rng
}

/// Mapped buffers, and pieces of memory for devices.
fn held(platform: &TestPlatform) -> (usize, usize) {
    (platform.mapped(), platform.allocations())
}

/// Has the device serve one request at the queue's start.
fn goes_on(device: &Scripted, rng: &mut Entropy) {
    rng.request(Box::from([0; 8])).unwrap();
    rng.kick().unwrap();
    device.complete(&mut device.queue(0), 9, 8);
    assert_eq!(*rng.poll().unwrap().unwrap().buffer, [9; 8]);
}

#[test]
fn a_queue_that_is_resized_gives_every_buffer_in_flight_back_once_and_goes_on() {
    for (trust, format) in TRUSTS.iter().flat_map(|t| FORMATS.map(|f| (*t, f))) {
        let device = device(trust, format);
        let mut rng = asking(&device, 5);
        device.complete(&mut device.queue(0), 7, 8);
        let done = rng.poll().unwrap().unwrap();
        let allocations = device.platform.allocations();

        for (size, in_flight) in [(4, 4), (16, 0), (1, 0)] {
            let mut back = Vec::new();
            rng.resize(size, |buffer| back.push(buffer[0])).unwrap();

            back.sort_unstable();
            assert_eq!(back.len(), in_flight, "{trust:?} {format:?}");
            assert!(in_flight == 0 || back == [1, 2, 3, 4], "{back:?}");
            assert_eq!((rng.queue_size(), rng.in_flight()), (size, 0));
            goes_on(&device, &mut rng);
            assert_eq!(held(&device.platform), (0, allocations));
        }

        assert_eq!(*done.buffer, [7; 8]);
        assert_eq!(rng.counts().completed, 4);
        drop(rng);
        assert_eq!(held(&device.platform), (0, 0));
        assert_eq!(device.platform.leak(), Leak::default());
    }
}

/// Clauses: drv:basic/vq/vq-reset/vq-re-enable:1
#[test]
fn a_split_queue_is_resized_to_a_power_of_two_that_the_device_has() {
    for (format, asked, got) in [
        (Features::NONE, 7, 4),
        (Features::NONE, 100, 16),
        (F::RING_PACKED, 7, 7),
        (F::RING_PACKED, 100, 16),
    ] {
        let device = device(Trust::Trusted, format);
        let mut rng = asking(&device, 0);

        rng.resize(asked, drop).unwrap();

        assert_eq!(rng.queue_size(), got);
        assert_eq!(device.script().queues[&0].size, got);
    }
}

#[test]
fn what_was_completed_before_a_queue_reset_can_still_be_polled() {
    for format in FORMATS {
        let device = device(Trust::Revoked, format);
        let (mut live, mut queue) = asking(&device, 3).into_parts();
        device.complete(&mut device.queue(0), 7, 8);

        queue.reset(&mut live).unwrap();
        let done = queue.poll().unwrap().unwrap();
        let then = queue.poll().err();
        let reclaimed = [(); 3].map(|()| {
            queue
                .reclaim()
                .unwrap()
                .and_then(Data::buffer)
                .map(|buffer| buffer[0])
        });

        assert_eq!(*done.data.buffer().unwrap(), [7; 8]);
        assert_eq!(then, Some(Error::QueueReset));
        let mut left: Vec<u8> = reclaimed.into_iter().flatten().collect();
        left.sort_unstable();
        assert_eq!((left, reclaimed[2]), (vec![1, 2], None));
        assert_eq!(device.platform.mapped(), 0);
    }
}

/// The device may still be at it: nothing is freed before its own reset, and then all of it is, or
/// none.
///
/// Clauses: drv:basic/vq/vq-reset:1, drv:general-initialization-and-op/device-cleanup:2
#[test]
fn a_queue_reset_that_is_not_confirmed_keeps_what_is_in_flight_until_the_device_is_reset() {
    for (trust, format) in TRUSTS.iter().flat_map(|t| FORMATS.map(|f| (*t, f))) {
        for confirms in [true, false] {
            let device = device(trust, format);
            device.script().queue_reset_takes = None;
            let (mut live, mut queue) = asking(&device, 3).into_parts();
            let before = held(&device.platform);
            device.platform.take_log();

            let began = device.platform.now();
            let reset = queue.resize(&mut live, 4, |_| panic!("it is the device's"));
            let took = device.platform.now() - began;
            let more = queue.submit(&(), crate::dma::Data::None).map(drop);
            let kicked = (queue.kick(), device.kicks());
            let reclaimed = queue.reclaim().err();

            let violation = Violation::QueueResetNotConfirmed(0);
            assert_eq!(reset, Err(violation.into()));
            assert!(took >= RESET_LIMIT);
            assert_eq!(more.unwrap_err().why, Error::QueueReset);
            assert_eq!(kicked, (Ok(false), 0));
            assert_eq!(reclaimed, Some(Error::StillDriven));
            assert_eq!(queue.in_flight(), 3);
            assert_eq!(held(&device.platform), before);
            // It goes on as if nothing had been asked, and is believed.
            device.complete(&mut device.queue(0), 7, 8);
            let late = queue.poll().unwrap().unwrap();
            assert_eq!(*late.data.buffer().unwrap(), [7; 8]);

            drop(queue);
            let parked = device.platform.allocations();
            if !confirms {
                device.script().reset_takes = None;
            }
            drop(live);

            let leak = Leak {
                queues: 1,
                buffers: 2,
            };
            let (left, leaked) = if confirms {
                (0, Leak::default())
            } else {
                (parked, leak)
            };
            assert_eq!(device.platform.allocations(), left, "{trust:?} {format:?}");
            assert_eq!(device.platform.leak(), leaked, "{trust:?} {format:?}");
        }
    }
}

#[test]
fn a_queue_reset_is_awaited_and_can_be_tried_again() {
    let device = device(Trust::Revoked, Features::NONE);
    let mut rng = asking(&device, 2);
    device.script().queue_reset_takes = None;
    let first = rng.resize(4, drop);
    device.script().queue_reset_takes = Some(20);

    let mut back = 0;
    rng.resize(4, |_| back += 1).unwrap();

    let violation = Violation::QueueResetNotConfirmed(0);
    assert_eq!((first, back), (Err(violation.into()), 2));
    goes_on(&device, &mut rng);
}

/// With a pool, what the device can still reach is its own: neither what was given back, nor the
/// new ring.
#[test]
fn a_device_that_confirms_a_queue_reset_and_keeps_writing_changes_nothing_that_was_given_back() {
    for format in FORMATS {
        let device = device(Trust::Pool, format);
        let mut rng = asking(&device, 4);
        let (map, old) = (device.platform.device_map(), device.script().queues[&0]);

        let mut back = Vec::new();
        rng.resize(8, |buffer| back.push(buffer)).unwrap();
        let scribble = |address| {
            let ring = map.shared(address, 16).unwrap();
            ring.view().fill(0xee);
        };
        scribble(old.areas.descriptor);
        scribble(old.areas.device & !15);

        for mut buffer in back.iter().map(|buffer| buffer.to_vec()) {
            buffer.dedup();
            assert!(matches!(buffer[..], [0..4]), "{buffer:?}");
        }
        assert_eq!(back.len(), 4);
        goes_on(&device, &mut rng);
    }
}

/// With mappings that end, they end before the buffer is anybody else's.
#[test]
fn a_buffer_is_out_of_the_device_s_reach_before_a_queue_reset_gives_it_back() {
    let device = device(Trust::Revoked, Features::NONE);
    let mut rng = asking(&device, 3);
    let platform = device.platform.clone();

    let mut mapped = Vec::new();
    rng.resize(8, |_| mapped.push(platform.mapped())).unwrap();

    assert_eq!((mapped, platform.unmaps()), (vec![2, 1, 0], 3));
}

#[test]
fn a_queue_that_was_broken_is_mended_by_its_reset() {
    let device = device(Trust::Revoked, Features::NONE);
    let mut rng = asking(&device, 1);
    let used = device.script().queues[&0].areas.device;
    let map = device.platform.device_map();
    let index = map.shared(used + 2, 2).unwrap();
    index.view().write(0, &[200, 0]).unwrap();
    let broken = rng.poll().err();

    let mut back = 0;
    rng.resize(16, |_| back += 1).unwrap();

    assert!(matches!(broken, Some(Error::Device(Violation::Ring(_)))));
    assert_eq!(back, 1);
    goes_on(&device, &mut rng);
}

#[test]
fn a_queue_is_reset_by_its_own_device_alone_and_only_if_that_is_agreed_on() {
    let [agreed, other] = [(); 2].map(|()| device(Trust::Trusted, Features::NONE));
    let plain = device(Trust::Trusted, Features::NONE);
    plain.script().offered = F::VERSION_1;
    let (mut live, mut queue) = asking(&agreed, 1).into_parts();
    let mut stranger = asking(&other, 0).into_parts().0;
    let mut without = asking(&plain, 1);

    let strange = queue.reset(&mut stranger);
    let missing = without.resize(4, drop);
    let driven = queue.restart(&mut live, 4);

    assert_eq!(strange, Err(Error::NoQueue(0)));
    assert_eq!(missing, Err(Error::FeaturesMissing(F::RING_RESET)));
    assert_eq!(driven, Err(Error::StillDriven));
    // None of it changed anything.
    goes_on_as_before(&agreed, &mut queue);
    drop(live);
    assert_eq!(queue.reclaim().err(), None);
}

fn goes_on_as_before(device: &Scripted, queue: &mut Queue<TestPlatform, Box<[u8]>>) {
    device.complete(&mut device.queue(0), 3, 8);
    let done = queue.poll().unwrap().unwrap();
    assert_eq!(*done.data.buffer().unwrap(), [3; 8]);
}

#[test]
fn a_device_that_does_not_take_the_new_ring_keeps_it_until_the_next_reset() {
    let device = device(Trust::Revoked, Features::NONE);
    let mut rng = asking(&device, 1);
    device.script().enables_queues = false;
    let refused = rng.resize(4, drop);
    let asked = rng.request(Box::from([0; 8])).unwrap_err().why;
    device.script().enables_queues = true;

    rng.resize(4, drop).unwrap();

    assert_eq!(refused, Err(Violation::QueueNotEnabled(0).into()));
    assert_eq!(asked, Error::QueueReset);
    goes_on(&device, &mut rng);
}

/// §2.6.1.2.2: a queue is set up anew, its vector among it.
///
/// Clauses: drv:basic/vq/vq-reset/vq-re-enable:1
#[test]
fn a_queue_that_is_restarted_interrupts_as_before() {
    let device = device(Trust::Trusted, Features::NONE);
    device.script().messages_max = 4;
    let mut rng = asking(&device, 1);

    rng.resize(4, drop).unwrap();

    assert_eq!(rng.device().interrupts(), Interrupts::Each);
    assert_eq!(device.script().queue_vectors[&0], 1);
    let (message, seen) = (device.script().messages[&1], rng.counts().interrupts);
    assert!(device.platform.deliver(message));
    assert_eq!(rng.counts().interrupts, seen + 1);
}

#[test]
fn a_queue_that_was_reset_alone_is_freed_when_it_is_dropped_though_the_device_goes_on() {
    for (trust, format) in TRUSTS.iter().flat_map(|t| FORMATS.map(|f| (*t, f))) {
        let device = device(trust, format);
        let (mut live, mut queue) = asking(&device, 3).into_parts();
        queue.reset(&mut live).unwrap();

        drop(queue);

        let pool = usize::from(trust == Trust::Pool);
        assert_eq!(held(&device.platform), (0, pool), "{trust:?} {format:?}");
        live.reset().unwrap();
        assert_eq!(device.platform.leak(), Leak::default());
    }
}
