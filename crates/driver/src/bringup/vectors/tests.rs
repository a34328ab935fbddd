use std::string::String;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::vec;
use std::vec::Vec;

use ringway_spec::{DeviceId, Features, InterruptStatus};

use super::*;
use crate::bringup::{Acknowledged, Live, Wanted};
use crate::bus::{Name, attach};
use crate::dma::{Queue, QueueOptions};
use crate::entropy::Rng;
use crate::error::PlatformError;
use crate::interrupt::Processors;
use crate::platform::Trust;
use crate::scripted::Scripted;
use crate::testing::TestPlatform;

type Entropy = Rng<Scripted, Vec<u8>>;
type Queues = Vec<Queue<TestPlatform, Vec<u8>>>;

const OWN: Callback = Callback::Own;
const SLOW: Callback = Callback::Slow;
const NONE: Callback = Callback::None;

fn device() -> Scripted {
    Scripted::new(
        Trust::Revoked,
        DeviceId::ENTROPY,
        Features::NONE,
        vec![0; 16],
    )
}

/// A device that has, agrees to, and is given by the platform as many messages.
fn with_messages(has: u16, agrees: u16, platform: usize) -> Scripted {
    let device = device();
    device.script().messages_max = has;
    device.script().vectors_agreed = agrees;
    device.platform.limit_messages(platform);
    device
}

/// Starts a queue for each of `callbacks`, the first two of them of one kind.
fn start(device: &Scripted, callbacks: &[Callback]) -> (Live<Scripted>, Queues) {
    let acknowledged = Acknowledged::new(device.clone()).unwrap();
    let probed = acknowledged.named(Name::new(3)).driver().unwrap();
    let mut negotiated = probed.negotiate(&Wanted::default()).unwrap();
    let queue = |(index, callback): (u16, &Callback)| {
        let options = QueueOptions {
            callback: *callback,
            kind: if index < 2 { "request" } else { "admin" },
            ..QueueOptions::default()
        };
        negotiated.queue(index, &options).unwrap()
    };
    let queues: Vec<_> = (0..).zip(callbacks).map(queue).collect();
    negotiated.start(queues).unwrap()
}

/// Has the device raise what it was told to for queue `index`. Says whether anybody was there.
fn interrupt(device: &Scripted, live: &Live<Scripted>, index: u16) -> bool {
    if live.interrupts() == Interrupts::Line {
        return device.raise(InterruptStatus::USED_BUFFER);
    }
    let script = device.script();
    let message = script.queue_vectors.get(&index);
    let message = message.map(|vector| script.messages[vector]);
    drop(script);
    message.is_some_and(|message| device.platform.deliver(message))
}

/// Drivers' defect 14: Running out of vectors degrades, and never fails; and whatever the way, an
/// interrupt of every queue reaches it.
///
/// Clauses: drv:pci/op/init/msi-x-vector-cfg:1, drv:pci/op/init/msi-x-vector-cfg:4,
/// drv:pci/op/init/msi-x-vector-cfg:5
#[test]
fn vectors_that_run_out_are_shared_and_every_queue_is_still_heard() {
    let alike: &[(usize, Interrupts)] = &[
        (8, Interrupts::Each),
        (4, Interrupts::Each),
        (3, Interrupts::Shared),
        (2, Interrupts::Shared),
        (1, Interrupts::One),
        (0, Interrupts::Line),
    ];
    let with_a_slow_one: &[(usize, Interrupts)] = &[
        (4, Interrupts::Each),
        (3, Interrupts::SlowShared),
        (2, Interrupts::Shared),
        (1, Interrupts::One),
        (0, Interrupts::Line),
    ];
    let kinds = [
        ([OWN, OWN, OWN], alike),
        ([OWN, OWN, SLOW], with_a_slow_one),
    ];
    for (callbacks, (most, expected)) in kinds
        .map(|(callbacks, cases)| cases.iter().map(move |case| (callbacks, *case)))
        .into_iter()
        .flatten()
    {
        let most_of_device = most as u16;
        for device in [
            with_messages(most_of_device, 8, 8),
            with_messages(8, most_of_device, 8),
            with_messages(8, 8, most),
        ] {
            let (live, queues) = start(&device, &callbacks);

            for (index, queue) in (0..).zip(&queues) {
                let before = queue.signal().count();
                assert!(interrupt(&device, &live, index));
                assert_eq!(queue.signal().count(), before + 1, "{most} {callbacks:?}");
            }

            assert_eq!(live.interrupts(), expected, "{most} {callbacks:?}");
            let uses_messages = expected != Interrupts::Line;
            assert_eq!(device.script().uses_messages, uses_messages);
            drop(live);
            assert!(device.platform.names().is_empty());
        }
    }
}

/// What a slow queue shares is that of the configuration alone; others keep their own.
#[test]
fn a_slow_queue_shares_the_vector_of_the_configuration_before_others_share_any() {
    let device = with_messages(3, 8, 8);

    let (live, queues) = start(&device, &[SLOW, OWN, OWN]);

    assert_eq!(live.interrupts(), Interrupts::SlowShared);
    let vectors = device.script().queue_vectors.clone();
    assert_eq!(vectors.into_values().collect::<Vec<_>>(), [0, 1, 2]);
    let before = queues[0].signal().count();
    assert!(interrupt(&device, &live, 1));
    assert_eq!(queues[0].signal().count(), before, "it is not its own");
}

#[test]
fn a_queue_without_a_callback_takes_no_vector_in_any_way_and_is_polled() {
    for most in 0..4 {
        let device = with_messages(8, 8, most);

        let (live, mut queues) = start(&device, &[OWN, NONE, OWN]);

        let expected = [
            Interrupts::Line,
            Interrupts::One,
            Interrupts::Shared,
            Interrupts::Each,
        ][most];
        assert_eq!(live.interrupts(), expected);
        assert_eq!(device.script().queue_vectors.get(&1), None);
        let silent = &mut queues[1];
        for index in 0..3 {
            interrupt(&device, &live, index);
        }
        assert_eq!(silent.signal().count(), 0);
        assert!(!silent.interrupts());
        silent
            .submit(&(), crate::dma::Data::Writable(vec![0; 4]))
            .unwrap();
        silent.kick().unwrap();
        device.complete(&mut device.queue(1), 7, 4);
        let done = silent.wait(core::time::Duration::from_secs(3600)).unwrap();
        assert_eq!(done.data.buffer(), Some(vec![7; 4]));
    }
}

#[test]
fn a_device_whose_queues_have_no_callbacks_interrupts_for_its_configuration_alone() {
    let device = with_messages(8, 8, 8);

    let (live, _queues) = start(&device, &[NONE, NONE]);

    assert_eq!(live.interrupts(), Interrupts::Each);
    assert_eq!(device.platform.names(), ["virtio3-config"]);
}

/// A way that takes no fewer than one that failed is not tried.
#[test]
fn a_device_that_refuses_every_vector_is_told_of_each_number_once() {
    let device = with_messages(8, 0, 8);

    let (live, _queues) = start(&device, &[SLOW, OWN]);

    assert_eq!(live.interrupts(), Interrupts::Line);
    let script = device.script();
    assert_eq!(
        (script.config_vector, script.queue_vectors.len()),
        (None, 0)
    );
    assert_eq!(device.platform.messages(), []);
}

#[test]
fn interrupts_are_called_after_the_device_and_what_they_are_for() {
    let names = |messages| {
        let device = with_messages(messages, 8, 8);
        let (live, _queues) = start(&device, &[OWN, OWN, SLOW]);
        (live.interrupts(), device.platform.names())
    };
    let expected = |names: &[&str]| names.iter().map(|name| String::from(*name)).collect();

    let each = [
        "virtio3-config",
        "virtio3-request.0",
        "virtio3-request.1",
        "virtio3-admin.0",
    ];
    assert_eq!(names(4), (Interrupts::Each, expected(&each)));
    assert_eq!(names(3), (Interrupts::SlowShared, expected(&each[..3])));
    let shared = ["virtio3-config", "virtio3-virtqueues"];
    assert_eq!(names(2), (Interrupts::Shared, expected(&shared)));
    assert_eq!(names(1), (Interrupts::One, expected(&["virtio3"])));
    assert_eq!(names(0), (Interrupts::Line, expected(&["virtio3"])));
}

#[test]
fn a_device_that_nobody_gave_a_name_has_interrupts_without_a_number() {
    let device = with_messages(8, 8, 8);

    let _rng: Entropy = attach(device.clone()).unwrap();

    assert_eq!(device.platform.names(), ["virtio-config", "virtio-input.0"]);
}

/// One that is shared would move those of others.
#[test]
fn only_a_vector_of_its_own_is_bound_to_processors() {
    let bind = |messages, index| {
        let device = with_messages(messages, 8, 8);
        let (live, _queues) = start(&device, &[OWN, NONE, SLOW]);
        live.set_affinity(index, &Processors::ANY)
    };
    let by_platform = Err(PlatformError::NoAffinity.into());

    assert_eq!([0, 2].map(|index| bind(3, index)), [by_platform; 2]);
    assert_eq!(bind(2, 0), by_platform);
    assert_eq!(
        bind(2, 2),
        Err(Error::NoVector(2)),
        "that of the configuration"
    );
    assert_eq!(bind(1, 0), Err(Error::NoVector(0)));
    assert_eq!(bind(0, 0), Err(Error::NoVector(0)), "the line");
    assert_eq!(bind(3, 1), Err(Error::NoVector(1)), "no callback");
    assert_eq!(bind(3, 7), Err(Error::NoQueue(7)));
}

/// It does not say what of all it is about.
///
/// Clauses: drv:pci/op/notif-of-device-cfg-changes:1
#[test]
fn one_message_for_all_is_heard_by_whoever_waits_for_any_of_it() {
    let device = with_messages(1, 8, 8);
    let (live, queues) = start(&device, &[OWN, NONE, SLOW]);

    assert!(interrupt(&device, &live, 0));

    assert_eq!(live.interrupts(), Interrupts::One);
    let heard = queues.iter().map(|queue| queue.signal().count());
    assert_eq!(heard.collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(live.config_changed().count(), 1);
}

/// A shared line: the device says whether it was it, once, and configuration is told from queues.
///
/// Clauses: drv:pci/op/notif-of-device-cfg-changes:1
#[test]
fn a_line_that_another_device_raised_is_answered_not_mine() {
    let device = device();
    let mut rng: Entropy = attach(device.clone()).unwrap();
    let mut raise = |causes| {
        device.causes_read();
        let ours = device.raise(causes);
        let config = rng.device().config_changed().count();
        (ours, device.causes_read(), config, rng.counts().interrupts)
    };

    let nobody = raise(InterruptStatus::empty());
    let used = raise(InterruptStatus::USED_BUFFER);
    let config = raise(InterruptStatus::CONFIG_CHANGE);
    let both = raise(InterruptStatus::all());

    assert_eq!(nobody, (false, 1, 0, 0));
    assert_eq!(used, (true, 1, 0, 1), "nothing of the configuration");
    // Whoever waits for the queue looks at the status, which may be a cry for a reset.
    assert_eq!(config, (true, 1, 1, 2));
    assert_eq!(both, (true, 1, 2, 3));
}

/// An interrupt says that there may be something, not that there is.
#[test]
fn a_change_of_the_configuration_is_not_taken_for_a_completion() {
    let device = device();
    let mut rng: Entropy = attach(device.clone()).unwrap();
    rng.request(vec![0; 8]).unwrap();

    assert!(device.raise(InterruptStatus::CONFIG_CHANGE));

    assert!(rng.poll().unwrap().is_none());
    assert_eq!(rng.in_flight(), 1);
    let mut queue = device.queue(0);
    rng.kick().unwrap();
    device.complete(&mut queue, 9, 8);
    assert_eq!(rng.poll().unwrap().unwrap().buffer, [9; 8]);
}

/// Holds a handler up while it runs.
struct Gate {
    entered: Sender<()>,
    leave: Mutex<Receiver<()>>,
    left: Sender<()>,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.entered.send(()).unwrap();
        self.leave.lock().unwrap().recv().unwrap();
        self.left.send(()).unwrap();
    }
}

#[test]
fn what_a_device_was_told_of_is_freed_when_no_handler_of_it_runs_any_more() {
    let device = with_messages(8, 8, 8);
    let (live, queues) = start(&device, &[OWN]);
    let (entered, was_entered) = channel();
    let (let_go, leave) = channel();
    let (left, has_left) = channel();
    let gate = Gate {
        entered,
        leave: Mutex::new(leave),
        left,
    };
    queues[0].signal().register(&Waker::from(Arc::new(gate)));
    let message = device.script().messages[&1];
    let (tell, disconnecting) = channel();
    device
        .platform
        .tell_of_disconnecting(move |platform| tell.send(platform.allocations()).unwrap());
    // In custody of the device from here on.
    drop(queues);

    thread::scope(|scope| {
        scope.spawn(|| device.platform.deliver(message));
        was_entered.recv().unwrap();
        let platform = &device.platform;
        let resetting = scope.spawn(move || {
            live.reset().unwrap();
            (has_left.try_recv().is_ok(), platform.allocations())
        });
        let held = disconnecting.recv().unwrap();
        let_go.send(()).unwrap();

        assert_ne!(held, 0, "its rings are there while a handler may run");
        assert_eq!(resetting.join().unwrap(), (true, 0));
    });
}
