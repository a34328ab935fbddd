//! Devices that sleep.

use super::*;

const SUSPENDED: Parting = Parting::Suspended;

/// A bus with a source of entropy that offers `offered`.
fn with(offered: Features) -> (Bus<TestPlatform>, Arc<System>, Scripted) {
    let (mut bus, system) = with_entropy();
    let entropy = Scripted::new(Trust::Revoked, DeviceId::ENTROPY, offered, vec![0; 64]);
    bus.add(Box::new(entropy.clone()));
    system.take_told();
    what(&mut bus);
    (bus, system, entropy)
}

#[test]
fn a_device_is_reset_while_it_sleeps_and_begun_again_with_the_same_features() {
    let (mut bus, system, entropy) = with(F::EVENT_IDX);
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();

    bus.suspend_all().unwrap();
    let asleep = entropy.script().status;
    let accepted = core::mem::take(&mut entropy.script().accepted);
    let bound = [bus.bind(FIRST, "entropy"), bus.rebind(FIRST)];
    bus.resume_all().unwrap();

    assert_eq!(asleep, Status::empty());
    assert_eq!(bound, [Err(BusError::Suspended.into()); 2]);
    assert_eq!(source.reclaim().unwrap().unwrap().buffer, [1; 8]);
    assert_eq!(status(&entropy), 1 | 2 | 8 | 4);
    assert_eq!(entropy.script().accepted, accepted);
    assert_eq!(
        system.take_told(),
        [
            Told::Leaving(FIRST, SUSPENDED),
            Told::Removed(FIRST, SUSPENDED),
            Told::Added(FIRST)
        ]
    );
    let expected = [
        What::Unbound("entropy"),
        What::Suspended,
        What::Bound("entropy"),
        What::Resumed,
    ];
    assert_eq!(what(&mut bus), expected);
    drop(system.take_source());
}

/// §3.4.1: the driver's handles are good still, and give the device nothing meanwhile.
///
/// Clauses: drv:general-initialization-and-op/device-suspend:3,
/// drv:general-initialization-and-op/device-suspend:4
#[test]
fn a_device_that_agreed_to_it_is_suspended_in_its_drivers_hands() {
    let (mut bus, system, entropy) = with(F::SUSPEND);
    let mut source = system.take_source();
    source.request(vec![1; 8]).unwrap();
    source.kick().unwrap();
    let mut queue = entropy.queue(0);
    source.request(vec![2; 8]).unwrap();
    entropy.kicks();

    bus.suspend(FIRST).unwrap();
    let asleep = status(&entropy);
    entropy.complete(&mut queue, 9, 8);
    let completed = source.poll().unwrap().unwrap().buffer;
    let refused = source.request(vec![3; 8]).unwrap_err().why;
    let rung = entropy.kicks();
    let pending = bus.run_pending();
    bus.resume(FIRST).unwrap();
    source.kick().unwrap();

    assert_eq!((asleep, status(&entropy)), (1 | 2 | 8 | 16, 1 | 2 | 8 | 4));
    assert_eq!((completed, refused), (vec![9; 8], Error::Suspended));
    assert_eq!(
        (rung, entropy.kicks()),
        (0, 1),
        "it is told when it goes on"
    );
    assert!(!pending);
    entropy.complete(&mut queue, 8, 8);
    assert_eq!(source.poll().unwrap().unwrap().buffer, [8; 8]);
    assert_eq!(
        system.take_told(),
        [Told::Leaving(FIRST, SUSPENDED), Told::Resumed(FIRST)]
    );
}

/// §3.4.2: it has to, or to say that it cannot. Not all do.
///
/// Clauses: drv:general-initialization-and-op/device-suspend:2
#[test]
fn a_device_that_cannot_be_suspended_is_reset_instead() {
    for spoil in [
        |script: &mut crate::scripted::Script| script.suspends = false,
        |script: &mut crate::scripted::Script| script.status |= Status::NEEDS_RESET,
    ] {
        let (mut bus, system, entropy) = with(F::SUSPEND);
        spoil(&mut entropy.script());

        bus.suspend(FIRST).unwrap();
        let asleep = status(&entropy);
        bus.resume(FIRST).unwrap();

        assert_eq!((asleep, status(&entropy)), (0, 1 | 2 | 8 | 4));
        assert_eq!(
            system.take_told(),
            [
                Told::Leaving(FIRST, SUSPENDED),
                Told::Removed(FIRST, SUSPENDED),
                Told::Added(FIRST)
            ]
        );
    }
}

/// Clauses: drv:general-initialization-and-op/device-suspend:6
#[test]
fn a_device_that_does_not_go_on_is_given_up_and_one_that_needs_a_reset_is_begun_again() {
    let (mut bus, system, silent) = with(F::SUSPEND);
    bus.suspend(FIRST).unwrap();
    silent.script().suspends = false;
    let went_on = bus.resume(FIRST);
    let driver = bus.tree().devices[0].driver;
    let (mut other, _system, broken) = with(F::SUSPEND);
    other.suspend(FIRST).unwrap();
    broken.script().status |= Status::NEEDS_RESET;

    let recovered = other.resume(FIRST);

    assert_eq!(went_on, Err(Violation::SuspendNotConfirmed.into()));
    assert_eq!(driver, None);
    assert_eq!(system.take_source().poll().err(), Some(Error::Gone));
    assert_eq!((recovered, status(&broken)), (Ok(()), 1 | 2 | 8 | 4));
    assert_eq!(other.tree().devices[0].recoveries, 1);
}

/// §2.2.1
#[test]
fn a_device_that_offers_other_features_when_it_wakes_is_not_driven() {
    for offered in [F::EVENT_IDX, F::EVENT_IDX | F::SUSPEND] {
        let (mut bus, _system, entropy) = with(offered);
        bus.suspend(FIRST).unwrap();
        entropy.script().offered = F::VERSION_1 | F::INDIRECT_DESC | (offered & F::SUSPEND);

        let resumed = bus.resume(FIRST);

        let changed = F::EVENT_IDX | F::INDIRECT_DESC;
        assert_eq!(resumed, Err(Violation::FeaturesChanged(changed).into()));
        let node = bus.tree().devices.remove(0);
        assert_eq!((node.driver, node.error), (None, resumed.err()));
        assert!(node.status.unwrap().contains(Status::FAILED));
        assert_eq!(bus.rebind(FIRST), Ok(()), "as another device");
    }
}

#[test]
fn if_one_device_cannot_be_suspended_all_go_on() {
    let (mut bus, system, stuck) = with(Features::NONE);
    let others = [device(DeviceId::ENTROPY), device(DeviceId::BLOCK)];
    for other in &others {
        bus.add(Box::new(other.clone()));
    }
    stuck.script().reset_takes = None;

    let suspended = bus.suspend_all();

    assert_eq!(suspended, Err(Violation::ResetNotConfirmed.into()));
    assert_eq!(others.each_ref().map(status), [1 | 2 | 8 | 4, 1]);
    let tree = bus.tree();
    assert!(tree.devices.iter().all(|device| !device.suspended));
    assert_eq!(tree.devices[0].error, suspended.err());
    drop(system);
}

#[test]
fn a_device_that_goes_or_comes_while_the_machine_sleeps_does_so() {
    let (mut bus, system, _entropy) = with(F::SUSPEND);
    bus.suspend_all().unwrap();

    bus.removed(FIRST).unwrap();
    let new = bus.add(Box::new(device(DeviceId::ENTROPY)));
    bus.resume_all().unwrap();

    assert_eq!(new, FIRST);
    assert_eq!(bus.tree().devices[0].driver, Some("entropy"));
    assert!(
        system
            .take_told()
            .contains(&Told::Removed(FIRST, Parting::Removed))
    );
}
