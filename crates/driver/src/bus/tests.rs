use super::*;
use crate::blk::Blk;
use crate::entropy::Rng;
use crate::error::Violation;
use crate::platform::{Leak, Trust};
use crate::scripted::Scripted;
use crate::testing::TestPlatform;
use ringway_spec::{DeviceId, F, Features, InterruptStatus, Status};
use std::boxed::Box;
use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

mod pending;
mod power;

type Entropy = Rng<AnyTransport<TestPlatform>, Vec<u8>>;
type Disk = Blk<AnyTransport<TestPlatform>, Vec<u8>>;

/// An operating system, which keeps what it is given.
#[derive(Default)]
struct System {
    sources: Mutex<Vec<(Name, Entropy)>>,
    disks: Mutex<Vec<(Name, Disk)>>,
    told: Mutex<Vec<Told>>,
}

/// What sinks were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Added(Name),
    Changed(Name, u64),
    Leaving(Name, Parting),
    Resumed(Name),
    Removed(Name, Parting),
}

impl System {
    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    fn take_told(&self) -> Vec<Told> {
        core::mem::take(&mut self.told.lock().unwrap())
    }

    fn take_source(&self) -> Entropy {
        self.sources.lock().unwrap().pop().expect("one was added").1
    }
}

impl Sink<TestPlatform, Entropy> for System {
    fn added(&self, name: Name, device: Entropy) {
        self.tell(Told::Added(name));
        self.sources.lock().unwrap().push((name, device));
    }

    fn leaving(&self, name: Name, why: Parting) {
        self.tell(Told::Leaving(name, why));
    }

    fn resumed(&self, name: Name) {
        self.tell(Told::Resumed(name));
    }

    fn removed(&self, name: Name, why: Parting) {
        self.tell(Told::Removed(name, why));
    }
}

impl Sink<TestPlatform, Disk> for System {
    fn added(&self, name: Name, device: Disk) {
        self.tell(Told::Added(name));
        self.disks.lock().unwrap().push((name, device));
    }

    fn changed(&self, name: Name, change: crate::blk::Disk) {
        self.tell(Told::Changed(name, change.sectors));
    }

    fn removed(&self, name: Name, why: Parting) {
        self.tell(Told::Removed(name, why));
    }
}

const FIRST: Name = Name::new(0);

fn device(id: DeviceId) -> Scripted {
    Scripted::new(Trust::Revoked, id, Features::NONE, vec![0; 64])
}

/// A bus with a driver for sources of entropy.
fn with_entropy() -> (Bus<TestPlatform>, Arc<System>) {
    let mut bus = Bus::new();
    let system = Arc::<System>::default();
    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Entropy, _>("entropy", &ids, Arc::clone(&system))
        .unwrap();
    (bus, system)
}

fn status(device: &Scripted) -> u8 {
    device.script().status.bits()
}

fn what(bus: &mut Bus<TestPlatform>) -> Vec<What> {
    core::iter::from_fn(|| bus.next_event())
        .map(|event| event.what)
        .collect()
}

#[test]
fn a_device_is_called_by_the_lowest_number_that_is_free() {
    let mut bus = Bus::<TestPlatform>::new();
    let add = |bus: &mut Bus<_>| bus.add(Box::new(device(DeviceId::ENTROPY))).number();

    let first = [(); 3].map(|()| add(&mut bus));
    bus.remove(Name::new(1)).unwrap();
    bus.remove(FIRST).unwrap();
    let then = [(); 3].map(|()| add(&mut bus));

    assert_eq!((first, then), ([0, 1, 2], [0, 1, 3]));
}

/// §2.1: noticed, and no more, as long as there is no driver.
#[test]
fn a_device_without_a_driver_is_acknowledged_and_bound_when_its_driver_comes() {
    let [entropy, disk] = [DeviceId::ENTROPY, DeviceId::BLOCK].map(device);
    let mut bus = Bus::new();
    let system = Arc::<System>::default();
    let entropy_name = bus.add(Box::new(entropy.clone()));
    let disk_name = bus.add(Box::new(disk.clone()));
    let before = [status(&entropy), status(&disk)];

    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Entropy, _>("entropy", &ids, Arc::clone(&system))
        .unwrap();

    assert_eq!(before, [1, 1]);
    assert_eq!([status(&entropy), status(&disk)], [1 | 2 | 8 | 4, 1]);
    assert_eq!(system.take_told(), [Told::Added(entropy_name)]);
    let tree = bus.tree();
    let drivers = tree.devices.iter().map(|device| device.driver);
    assert_eq!(drivers.collect::<Vec<_>>(), [Some("entropy"), None]);
    assert_eq!(
        bus.bind(disk_name, "entropy"),
        Err(BusError::NoMatch.into())
    );
    assert_eq!(bus.bind(disk_name, "disk"), Err(BusError::NoDriver.into()));
    assert_eq!(
        bus.bind(entropy_name, "entropy"),
        Err(BusError::Bound.into())
    );
    assert_eq!(bus.unbind(disk_name), Err(BusError::Unbound.into()));
    assert_eq!(bus.unbind(Name::new(7)), Err(BusError::NoDevice(7).into()));
}

#[test]
fn of_two_drivers_for_a_device_the_first_has_it_until_it_goes() {
    let (mut bus, system) = with_entropy();
    bus.register::<Entropy, _>("any", &[Id::ANY], Arc::clone(&system))
        .unwrap();
    let name = bus.add(Box::new(device(DeviceId::ENTROPY)));

    let first = bus.tree().devices[0].driver;
    bus.unregister("entropy").unwrap();
    let gone = bus.tree().devices[0].driver;
    bus.rebind(name).unwrap();
    let second = bus.tree().devices[0].driver;

    assert_eq!([first, gone, second], [Some("entropy"), None, Some("any")]);
    let again = bus.register::<Entropy, _>("any", &[Id::ANY], system);
    assert_eq!(again, Err(BusError::NameTaken.into()));
}

/// §2.1: a driver that gives up says so, and the device stays for others to look at.
#[test]
fn a_device_whose_probe_fails_stays_and_is_marked_failed_and_can_be_tried_again() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    for spoil in [
        |device: &Scripted| device.script().likes_features = false,
        |device: &Scripted| device.script().queue_size_max = 0,
        |device: &Scripted| device.script().enables_queues = false,
    ] {
        spoil(&entropy);
        let name = bus.add(Box::new(entropy.clone()));

        let node = bus.tree().devices.remove(0);
        let failed = Status::from_bits_truncate(status(&entropy));
        entropy.script().likes_features = true;
        entropy.script().queue_size_max = 16;
        entropy.script().enables_queues = true;
        let bound = bus.rebind(name);

        assert_eq!(node.driver, None);
        assert!(node.error.is_some());
        assert!(failed.contains(Status::FAILED | Status::ACKNOWLEDGE | Status::DRIVER));
        assert!(!failed.contains(Status::DRIVER_OK));
        assert_eq!(bound, Ok(()));
        assert_eq!(bus.tree().devices[0].error, None);
        bus.remove(name).unwrap();
    }
    assert_eq!(system.take_told().len(), 9);
}

#[test]
fn what_was_made_of_a_device_that_is_unbound_is_gone_and_gives_buffers_back() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();
    let token = source.request(vec![2; 8]).unwrap();
    source.cancel(token).unwrap();
    entropy.kicks();

    bus.unbind(FIRST).unwrap();

    assert_eq!(status(&entropy), 1);
    let polled = source.poll().err();
    let rejected = source.request(vec![3; 8]).unwrap_err();
    assert_eq!((polled, rejected.why), (Some(Error::Gone), Error::Gone));
    assert_eq!(source.reclaim().unwrap().unwrap().buffer, [1; 8]);
    assert!(source.reclaim().unwrap().is_none());
    assert_eq!(
        entropy.kicks(),
        0,
        "a device that may be another's is told nothing"
    );
    let platform = &entropy.platform;
    assert_eq!((platform.mapped(), platform.leak()), (0, Leak::default()));
    let parting = Parting::Unbound;
    assert_eq!(
        system.take_told(),
        [
            Told::Added(FIRST),
            Told::Leaving(FIRST, parting),
            Told::Removed(FIRST, parting)
        ]
    );
}

/// The device has another driver by then, and what is left of the one before touches neither.
#[test]
fn handles_of_before_do_nothing_to_the_device_that_was_bound_again() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    let mut old = system.take_source();
    bus.unbind(FIRST).unwrap();
    bus.bind(FIRST, "entropy").unwrap();
    let written = entropy.script().statuses_written.len();

    let status_of_old = old.device().status();
    let resized = old.resize(4, drop);
    let (reset, queue) = old.reset();
    drop(queue);

    assert_eq!(status_of_old, Err(Error::Gone));
    assert!(resized.is_err());
    assert_eq!(reset.err(), Some(Error::Gone));
    assert_eq!(entropy.script().statuses_written.len(), written);
    let mut new = system.take_source();
    new.request(vec![0; 4]).unwrap();
    new.kick().unwrap();
    entropy.complete(&mut entropy.queue(0), 9, 4);
    assert_eq!(new.poll().unwrap().unwrap().buffer, [9; 4]);
}

#[test]
fn a_handle_that_the_system_drops_leaves_the_device_without_a_driver() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    what(&mut bus);

    drop(system.take_source());
    let done = [bus.run_pending(), bus.run_pending()];

    assert_eq!(done, [true, false]);
    assert_eq!(what(&mut bus), [What::Unbound("entropy")]);
    assert_eq!(status(&entropy), 1);
    assert_eq!(system.take_told(), [Told::Added(FIRST)]);
    bus.bind(FIRST, "entropy").unwrap();
    let (reset, _queue) = system.take_source().reset();
    assert_eq!(reset.err(), Some(Error::Gone), "the bus has it");
    bus.bind(FIRST, "entropy").unwrap();
}

/// Custody: it may still use what it was told of.
#[test]
fn a_device_that_does_not_confirm_its_reset_when_it_is_unbound_keeps_its_memory() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();
    entropy.script().reset_takes = None;

    let unbound = bus.unbind(FIRST);
    let reclaimed = source.reclaim().err();
    drop(source);

    let error: Error = Violation::ResetNotConfirmed.into();
    assert_eq!((unbound, reclaimed), (Err(error), Some(error)));
    let kept = Leak {
        queues: 1,
        buffers: 1,
    };
    assert_eq!(entropy.platform.leak(), kept);
    let node = bus.tree().devices.remove(0);
    assert_eq!((node.driver, node.error), (None, Some(error)));
    assert_eq!(bus.bind(FIRST, "entropy"), Err(error));
    entropy.script().reset_takes = Some(0);
    assert_eq!(bus.rebind(FIRST), Ok(()));
    assert_eq!(entropy.platform.leak(), kept);
}

/// The platform's word stands for the reset that a device which has gone cannot confirm.
#[test]
fn a_device_that_has_gone_is_not_asked_and_its_memory_is_free() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();
    entropy.script().reset_takes = None;
    let written = entropy.script().statuses_written.len();

    bus.removed(FIRST).unwrap();

    assert_eq!(source.poll().err(), Some(Error::Gone));
    assert_eq!(source.reclaim().unwrap().unwrap().buffer, [1; 8]);
    drop(source);
    assert_eq!(entropy.script().statuses_written.len(), written);
    let platform = &entropy.platform;
    assert_eq!(
        (platform.allocations(), platform.leak()),
        (0, Leak::default())
    );
    assert_eq!(
        system.take_told(),
        [Told::Added(FIRST), Told::Removed(FIRST, Parting::Removed)]
    );
    assert_eq!(bus.removed(FIRST), Err(BusError::NoDevice(0).into()));
    let expected = [
        What::Added,
        What::Bound("entropy"),
        What::Unbound("entropy"),
        What::Removed,
    ];
    assert_eq!(what(&mut bus), expected);
}

#[test]
fn events_that_nobody_asks_for_cost_no_more_than_the_last_of_them() {
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(device(DeviceId::ENTROPY)));

    for _ in 0..200 {
        bus.rebind(FIRST).unwrap();
        drop(system.take_source());
    }
    let kept = what(&mut bus).len() as u64;

    assert_eq!(kept, 256);
    assert_eq!(kept + bus.events_lost(), 2 + 200 * 2);
}

#[test]
fn a_tree_looks_like_that_of_linux() {
    let (mut bus, _system) = with_entropy();
    let entropy = device(DeviceId::ENTROPY);
    entropy.script().messages_max = 2;
    bus.add(Box::new(entropy));
    let disk = device(DeviceId::BLOCK);
    bus.add(Box::new(disk));

    let tree = std::string::ToString::to_string(&bus.tree());
    let event = bus.next_event().map(|event| std::format!("{event}"));

    let zeros = "0".repeat(31);
    let expected = std::format!(
        "devices/
  virtio0/
    device     0x0004
    vendor     0x0000
    status     0x0000000f
    modalias   virtio:d00000004v00000000
    features   0{zeros}1{zeros}
               VERSION_1
    transport  scripted
    interrupts msix-each
    queue 0    input.0, size 16, vector 1, virtio0-input.0
    driver     entropy
  virtio1/
    device     0x0002
    vendor     0x0000
    status     0x00000001
    modalias   virtio:d00000002v00000000
    features   0{zeros}0{zeros}
    transport  scripted
drivers/
  entropy/
    id         virtio:d00000004v*
    device     virtio0
"
    );
    assert_eq!(tree, expected);
    assert_eq!(
        event.as_deref(),
        Some("add@virtio0 MODALIAS=virtio:d00000004v00000000")
    );
    assert_eq!(
        std::format!("{}", FeatureString(F::VERSION_1 | Features::bit(127))).len(),
        128
    );
}
