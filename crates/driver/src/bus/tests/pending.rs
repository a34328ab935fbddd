//! What devices ask for.

use super::*;

/// Drivers' defect 18: what asks for a reset has one, and goes on.
#[test]
fn a_device_that_needs_a_reset_is_begun_again() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    bus.add(Box::new(entropy.clone()));
    bus.run_pending();
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();
    entropy.script().status |= Status::NEEDS_RESET;

    let unheard = bus.run_pending();
    entropy.raise(InterruptStatus::CONFIG_CHANGE);
    let heard = bus.run_pending();

    assert_eq!([unheard, heard], [false, true]);
    assert_eq!(source.poll().err(), Some(Error::Gone));
    assert_eq!(source.reclaim().unwrap().unwrap().buffer, [1; 8]);
    assert_eq!(status(&entropy), 1 | 2 | 8 | 4);
    assert_eq!(
        system.take_told(),
        [
            Told::Added(FIRST),
            Told::Removed(FIRST, Parting::NeedsReset),
            Told::Added(FIRST)
        ]
    );
    assert_eq!(bus.tree().devices[0].recoveries, 1);
    drop(system.take_source());
}

/// A hostile device would have the system do nothing else.
#[test]
fn a_device_that_asks_for_a_reset_each_time_is_given_up() {
    let entropy = device(DeviceId::ENTROPY);
    let (mut bus, system) = with_entropy();
    entropy.script().needs_reset_at_once = true;
    bus.add(Box::new(entropy.clone()));

    let rounds = (0..100).take_while(|_| bus.run_pending()).count();

    assert_eq!(rounds, RECOVERIES_MAX as usize + 1);
    let node = bus.tree().devices.remove(0);
    assert_eq!((node.driver, node.error), (None, Some(Error::NeedsReset)));
    assert!(node.status.unwrap().contains(Status::FAILED));
    entropy.script().needs_reset_at_once = false;
    assert_eq!(bus.rebind(FIRST), Ok(()));
    assert_eq!(bus.tree().devices[0].recoveries, 0);
    assert!(!system.take_told().is_empty());
}

/// A bus with a disk, of 16 sectors.
fn with_disk() -> (Bus<TestPlatform>, Arc<System>, Scripted) {
    let mut bus = Bus::new();
    let system = Arc::<System>::default();
    let disk = device(DeviceId::BLOCK);
    disk.script().config[0] = 16;
    let ids = [Id::of(DeviceId::BLOCK)];
    bus.register::<Disk, _>("disk", &ids, Arc::clone(&system))
        .unwrap();
    bus.add(Box::new(disk.clone()));
    bus.run_pending();
    system.take_told();
    what(&mut bus);
    (bus, system, disk)
}

#[test]
fn a_disk_that_grows_is_told_to_the_system_and_can_be_used_whole() {
    let (mut bus, system, disk) = with_disk();
    let (_, mut handle) = system.disks.lock().unwrap().pop().unwrap();
    let past = handle.read(16, vec![0; 512]).is_err();
    disk.script().config[0] = 32;
    disk.script().generation_changes = 1;

    disk.raise(InterruptStatus::CONFIG_CHANGE);
    let done = [bus.run_pending(), bus.run_pending()];

    assert!(past);
    assert_eq!(done, [true, false]);
    assert_eq!(system.take_told(), [Told::Changed(FIRST, 32)]);
    assert_eq!(what(&mut bus), [What::ConfigChanged]);
    assert_eq!(handle.look_again().map(|disk| disk.sectors), Ok(32));
    assert!(handle.read(16, vec![0; 512]).is_ok());
}

#[test]
fn an_interrupt_without_a_change_is_not_told() {
    let (mut bus, system, disk) = with_disk();

    disk.raise(InterruptStatus::CONFIG_CHANGE);
    let done = bus.run_pending();

    assert!(!done && system.take_told().is_empty());
}

#[test]
fn changes_that_are_held_back_are_not_lost() {
    let (mut bus, system, disk) = with_disk();
    bus.hold_changes_back(FIRST).unwrap();
    disk.script().config[0] = 32;
    disk.script().generation_changes = 1;
    disk.raise(InterruptStatus::CONFIG_CHANGE);

    let held = bus.run_pending();
    bus.let_changes_through(FIRST).unwrap();
    let let_through = bus.run_pending();

    assert_eq!([held, let_through], [false, true]);
    assert_eq!(system.take_told(), [Told::Changed(FIRST, 32)]);
}

/// No interrupt is connected while a device is brought up.
#[test]
fn a_change_while_a_device_is_brought_up_is_not_lost() {
    let disk = device(DeviceId::BLOCK);
    disk.script().config[0] = 16;
    // One reading is the bus's own, the others are the driver's.
    disk.script().generation_changes = 3;
    let system = Arc::<System>::default();
    let mut bus = Bus::new();
    let ids = [Id::of(DeviceId::BLOCK)];
    bus.register::<Disk, _>("disk", &ids, Arc::clone(&system))
        .unwrap();

    bus.add(Box::new(disk));
    let done = bus.run_pending();

    assert!(done);
    assert_eq!(
        system.take_told(),
        [Told::Added(FIRST), Told::Changed(FIRST, 16)]
    );
}
