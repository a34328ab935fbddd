//! Custody: what becomes of memory that a device was told of, whatever the program does with its
//! handles.

mod fates;
mod several;

use crate::bringup::Wanted;
use crate::bus::attach;
use crate::dma::{Buffer, Queue, QueueOptions};
use crate::entropy::Rng;
use crate::error::{Error, PlatformError, RequestError, Violation};
use crate::platform::{Leak, Trust};
use crate::scripted::Scripted;
use core::future::Future;
use core::mem::forget;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use ringway_spec::{DeviceId, F, Features, InterruptStatus};
use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::vec;
use std::vec::Vec;

type Entropy<B> = Rng<Scripted, B>;

fn device(trust: Trust) -> Scripted {
    Scripted::new(
        trust,
        DeviceId::ENTROPY,
        F::INDIRECT_DESC | F::EVENT_IDX,
        vec![0; 16],
    )
}

/// Drivers' defect 3: A wait that ends early leaves the buffer where it is: with the device.
#[test]
fn a_wait_that_times_out_keeps_the_buffer_in_flight_until_it_is_completed() {
    let device = device(Trust::Revoked);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    let token = rng.request(vec![0; 16]).unwrap();

    let waited = rng.wait(Duration::from_millis(50)).err();

    assert_eq!(waited, Some(Error::TimedOut));
    assert_eq!((rng.in_flight(), device.platform.mapped()), (1, 1));
    device.complete(&mut device.queue(0), 3, 16);
    let late = rng.wait(Duration::from_millis(50)).unwrap();
    assert_eq!((late.token, late.buffer), (token, vec![3; 16]));
}

#[test]
fn a_revoked_buffer_is_unmapped_before_it_is_given_back() {
    let device = device(Trust::Revoked);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 16]).unwrap();
    rng.kick().unwrap();
    device.complete(&mut device.queue(0), 3, 16);

    let unmaps = device.platform.unmaps();
    let done = rng.poll().unwrap().unwrap();

    assert_eq!(
        (unmaps, device.platform.unmaps(), device.platform.mapped()),
        (0, 1, 0)
    );
    assert_eq!(done.buffer, [3; 16]);
}

/// Drivers' defect 5: With a pool, the device sees copies, and no more of what it wrote is handed
/// on than it says, and than there is room for.
///
/// Clauses: drv:entropy/op:2, drv:split/used-ring:1
#[test]
fn a_pooled_buffer_receives_what_was_written_and_nothing_more() {
    let device = device(Trust::Pool);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![1; 16]).unwrap();
    rng.kick().unwrap();

    let map = device.platform.device_map();
    let mut queue = device.queue(0);
    let mut batch = queue.batch(&map);
    let chain = batch.next_chain().unwrap().unwrap();
    batch.writable(&chain).write(&[9; 16]).unwrap();
    batch.complete(chain, 4);
    drop(batch);
    let done = rng.poll().unwrap().unwrap();

    assert_eq!(
        device.platform.mapped(),
        0,
        "nothing of the program's own is mapped"
    );
    assert_eq!(done.random, 4);
    assert_eq!(done.buffer, [[9; 4], [1; 4], [1; 4], [1; 4]].concat());
}

#[test]
fn a_full_pool_is_to_be_tried_again_and_a_buffer_beyond_it_is_not() {
    let device = device(Trust::Pool);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 600 << 10]).unwrap();

    let full = rng.request(vec![0; 600 << 10]).unwrap_err();
    let beyond = rng.request(vec![0; 2 << 20]).unwrap_err();

    assert_eq!(
        (full.why, full.data.buffer().map(|buffer| buffer.len())),
        (Error::PoolFull, Some(600 << 10))
    );
    assert!(matches!(
        beyond.why,
        Error::Request(RequestError::TooLarge { .. })
    ));
    rng.kick().unwrap();
    device.complete(&mut device.queue(0), 1, 8);
    rng.poll().unwrap().unwrap();
    rng.request(vec![0; 600 << 10]).unwrap();
}

/// Submit many, kick once.
#[test]
fn a_batch_is_kicked_once_and_a_kick_that_was_forgotten_is_made_by_the_poll() {
    let device = device(Trust::Trusted);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    device.platform.take_log();

    for _ in 0..4 {
        rng.request(vec![0; 8]).unwrap();
    }
    let polled = rng.poll().unwrap().is_some();

    assert!(!polled);
    assert_eq!(device.kicks(), 1);
    assert_eq!(rng.counts().kicks, 1);
}

#[test]
fn a_kick_says_where_the_next_chain_will_be_if_that_is_agreed_on() {
    for (ring, data) in [(Features::NONE, 3), (F::RING_PACKED, 0x8003)] {
        for features in [ring, ring | F::NOTIFICATION_DATA] {
            let device = device(Trust::Trusted);
            device.script().offered = F::VERSION_1 | features;
            let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
            device.platform.take_log();

            for _ in 0..3 {
                rng.request(vec![0; 8]).unwrap();
            }
            rng.kick().unwrap();

            let with_data = features.contains(F::NOTIFICATION_DATA);
            let (width, value) = if with_data { (4, data << 16) } else { (2, 0) };
            let at = crate::scripted::REGISTERS;
            let kick = crate::testing::Access::Write { at, width, value };
            assert_eq!(device.platform.take_log(), [kick], "{features:?}");
        }
    }
}

#[test]
fn a_full_ring_gives_the_buffer_back_unmapped() {
    let device = device(Trust::Revoked);
    device.script().queue_size_max = 2;
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 8]).unwrap();
    rng.request(vec![0; 8]).unwrap();

    let rejected = rng.request(vec![5; 8]).unwrap_err();

    assert_eq!(
        (rejected.why, rejected.data.buffer()),
        (Error::QueueFull, Some(vec![5; 8]))
    );
    assert_eq!(device.platform.mapped(), 2);
}

#[test]
fn a_violation_of_the_ring_is_the_devices_fault_and_keeps_the_buffers() {
    let device = device(Trust::Revoked);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 8]).unwrap();
    let map = device.platform.device_map();
    let used = device.script().queues[&0].areas.device;
    map.shared(used + 2, 2)
        .unwrap()
        .view()
        .write(0, &[200, 0])
        .unwrap();

    let polled = rng.poll().err();

    assert!(matches!(polled, Some(Error::Device(Violation::Ring(_)))));
    assert_eq!((rng.in_flight(), device.platform.mapped()), (1, 1));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The future sleeps until the interrupt, on whatever executor: here, a hand.
#[test]
fn a_future_is_woken_by_the_interrupt_and_not_before() {
    let device = device(Trust::Trusted);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 8]).unwrap();
    let wakes = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut queue = device.queue(0);
    let mut future = Box::pin(rng.next());

    let first = future.as_mut().poll(&mut cx);
    let woken_early = wakes.0.load(Ordering::Relaxed);
    device.complete(&mut queue, 4, 8);
    assert!(queue.interrupt_needed(), "it was armed");
    device.raise(InterruptStatus::USED_BUFFER);
    let woken = wakes.0.load(Ordering::Relaxed);

    assert!(first.is_pending());
    assert_eq!((woken_early, woken), (0, 1));
    let Poll::Ready(Ok(done)) = future.as_mut().poll(&mut cx) else {
        panic!("it was woken for this")
    };
    assert_eq!(done.buffer, [4; 8]);
}

/// A future that is dropped leaves its request in flight; the next one takes what comes.
#[test]
fn a_future_that_is_dropped_frees_nothing() {
    let device = device(Trust::Revoked);
    let mut rng: Entropy<Vec<u8>> = attach(device.clone()).unwrap();
    rng.request(vec![0; 8]).unwrap();
    let mut cx = Context::from_waker(Waker::noop());

    let mut future = Box::pin(rng.next());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    drop(future);

    assert_eq!((rng.in_flight(), device.platform.mapped()), (1, 1));
    device.complete(&mut device.queue(0), 6, 8);
    assert_eq!(rng.poll().unwrap().unwrap().buffer, [6; 8]);
}

#[test]
fn options_choose_the_size_of_the_queue_within_what_the_device_has() {
    let packed = F::RING_PACKED;
    for (ring, asked, has, got) in [
        (Features::NONE, 256, 16, 16),
        (Features::NONE, 4, 16, 4),
        (Features::NONE, 7, 16, 4),
        (Features::NONE, 256, 24, 16),
        (Features::NONE, 1, 16, 1),
        (packed, 7, 16, 7),
        (packed, 256, 24, 24),
        (packed, 1, 16, 1),
    ] {
        let device = device(Trust::Trusted);
        device.script().offered = F::VERSION_1 | ring;
        device.script().queue_size_max = has;
        let probed = crate::bringup::Acknowledged::new(device)
            .unwrap()
            .driver()
            .unwrap();
        let options = QueueOptions {
            size: asked,
            ..QueueOptions::default()
        };
        let wanted = Wanted {
            without: Features::NONE,
            ..Wanted::default()
        };

        let rng = Entropy::<Vec<u8>>::open(probed, &wanted, &options).unwrap();

        assert_eq!(rng.queue_size(), got);
    }
}
